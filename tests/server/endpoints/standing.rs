//! What a session says of its user, at its start and later: U16, U17, S7, S10.

use std::{sync::Arc, time::Duration};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    error::StoreError,
    key::{Algorithm, SigningKey},
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        issue::{KeyRing, TokenIssuer},
        login::{Argon2Cost, Login, MemoryThrottle, PasswordHasher},
        session::{ClaimsSource, Session, SessionClaims, Sessions, StartSession, StaticClaims},
    },
    store::MemoryStore,
};

use crate::support::endpoints::{
    Answer, ORIGIN, PASSWORD, Server, ada, bearer, form, json as post,
};

/// The claims of a token, as they stand in it.
fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Endpoints over the server's users and these grants.
async fn with_claims<G: ClaimsSource>(
    server: &Server,
    claims: G,
    request: Request<Full<bytes::Bytes>>,
) -> Answer {
    let secret = SecretKey::generate();
    let sessions = Sessions::builder(server.sessions.issuer().clone(), server.store.clone())
        .secret(secret.clone())
        .claims_source(claims)
        .build()
        .unwrap();
    let cheap = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cheap).build().unwrap();
    let login = Login::builder(server.users.clone(), MemoryThrottle::new(), secret.clone());
    let login = login.hasher(hasher).build();
    let endpoints = AuthEndpoints::builder(sessions, login, secret)
        .registration(true)
        .build()
        .unwrap();
    let Ok(response) = endpoints.oneshot(request).await;
    Answer::of(response).await
}

/// Refuses everybody.
struct Nobody;

impl ClaimsSource for Nobody {
    async fn claims(&self, _: &Session) -> Result<Option<SessionClaims>, StoreError> {
        Ok(None)
    }
}

#[tokio::test]
async fn u16_a_login_beside_a_logout_everywhere_signs_in_or_comes_again() {
    let server = Server::start().await;
    let password = PASSWORD.replace(' ', "+");
    let token = format!("grant_type=password&username=ada%40example.org&password={password}");
    for request in [post("login", &ada()), form("token", &token)] {
        for (times, status) in [(1, 200), (2, 200), (1000, 503)] {
            server.cross(times);
            let answer = server.send(request.clone()).await.not_kept();
            assert_eq!(answer.status, status, "{times}: {answer:?}");
            if status == 200 {
                assert!(server.is_alive(&answer.access()).await);
            } else {
                assert_eq!(answer.text("error"), "temporarily_unavailable");
                assert_eq!(answer.headers["retry-after"], "1");
                assert_eq!(answer.json().get("code"), None);
            }
        }
        server.cross(0);
    }
    // Other ways to a session.
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    let mine = server.sign_in().await.access();
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    for request in [
        post("register", &eve),
        post("guest", &json!({})),
        bearer(post("password", &change), &mine),
    ] {
        server.cross(1000);
        let answer = server.send(request).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("refresh"), "{body}");
        if !answer.status.is_success() {
            assert_eq!(answer.status, 503, "{body}");
        }
    }
}

/// The logout came with a new password: the old one is no longer right.
#[tokio::test]
async fn u16_a_user_who_is_disabled_beside_the_login_is_refused_as_any_other() {
    let server = Server::start().await;
    let users = server.users.clone();
    let refused = server
        .post(
            "login",
            &json!({ "email": "ada@example.org", "password": "wrong" }),
        )
        .await;
    users.change("ada@example.org", |user| user.disabled(true));
    let answer = server.post("login", &ada()).await.is(401, "invalid_grant");
    assert_eq!(answer.body, refused.body);
}

#[tokio::test]
async fn u16_a_claims_source_that_refuses_at_login_has_an_error_of_its_own() {
    let server = Server::start().await;
    let password = PASSWORD.replace(' ', "+");
    let token = format!("grant_type=password&username=ada%40example.org&password={password}");
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    for (request, status) in [
        (post("login", &ada()), 403),
        (form("token", &token), 400),
        (post("register", &eve), 403),
    ] {
        let answer = with_claims(&server, Nobody, request).await;
        let answer = answer.is(status, "access_denied");
        assert_eq!(answer.json().get("code"), None);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("refresh"), "{body}");
    }
}

#[tokio::test]
async fn u17_a_disabled_user_does_not_refresh_and_roles_come_from_the_user_store() {
    let server = Server::start().await;
    let mut tokens = server.sign_in().await;
    let refresh = async |tokens: &Answer| {
        server.advance(Duration::from_secs(60));
        let body = json!({ "refresh_token": tokens.refresh() });
        server.post("refresh", &body).await
    };
    assert_eq!(claims(&tokens.access())["roles"], json!(["admin"]));
    server
        .users
        .change("ada@example.org", |user| user.roles(["editor"]));
    tokens = refresh(&tokens).await;
    assert_eq!(claims(&tokens.access())["roles"], json!(["editor"]));
    server
        .users
        .change("ada@example.org", |user| user.roles([""; 0]));
    tokens = refresh(&tokens).await;
    assert_eq!(claims(&tokens.access()).get("roles"), None);

    server
        .users
        .change("ada@example.org", |user| user.disabled(true));
    refresh(&tokens).await.is(400, "invalid_grant");
    // Also where the application refreshes by itself, and by cookie.
    let direct = server.sessions.refresh(&tokens.refresh()).await;
    assert_eq!(direct.unwrap_err().code(), Some("session_revoked"));
    // Nothing was used up: an account that is enabled again goes on.
    server
        .users
        .change("ada@example.org", |user| user.disabled(false));
    assert_eq!(refresh(&tokens).await.status, 200);

    // Guests are no users of the store.
    let guest = server.post("guest", &json!({})).await;
    assert_eq!(refresh(&guest).await.status, 200);
}

#[tokio::test]
async fn u17_a_source_that_was_chosen_is_kept() {
    let server = Server::start().await;
    let secret = SecretKey::generate();
    let sessions = Sessions::builder(server.sessions.issuer().clone(), server.store.clone())
        .secret(secret.clone())
        .claims_source(StaticClaims)
        .build()
        .unwrap();
    let login = Login::builder(server.users.clone(), MemoryThrottle::new(), secret.clone());
    let _endpoints = AuthEndpoints::builder(sessions.clone(), login.build(), secret)
        .build()
        .unwrap();
    let start =
        StartSession::new("somebody elsewhere").claims(SessionClaims::new().roles(["admin"]));
    let first = sessions.start(start).await.unwrap();
    let second = sessions.refresh(first.refresh_token().expose()).await;
    let token = second.unwrap().access_token().expose().clone();
    assert_eq!(claims(&token)["roles"], json!(["admin"]));
}

#[tokio::test]
async fn s7_a_refresh_never_changes_auth_time_amr_and_acr() {
    let (store, secret) = (MemoryStore::new(), SecretKey::generate());
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let clock = Arc::new(tower_jwt_auth::test_util::TestClock::new());
    let ring = KeyRing::builder(key).clock(clock.as_ref().clone());
    let issuer = TokenIssuer::builder(ring.build().unwrap())
        .issuer("https://auth.example")
        .audience("api")
        .build()
        .unwrap();
    let build = |acr: Option<&str>| {
        let builder = Sessions::builder(issuer.clone(), store.clone()).secret(secret.clone());
        match acr {
            Some(acr) => builder.mfa_acr(acr),
            None => builder,
        }
        .build()
        .unwrap()
    };
    let (plain, mapped) = (build(None), build(Some("urn:example:mfa")));
    let other = build(Some("urn:example:other"));
    for (amr, acr) in [
        (&["pwd"][..], None),
        (&["pwd", "otp"], Some("urn:example:mfa")),
        (&["mfa"], Some("urn:example:mfa")),
        (&["hwk", "pin"], Some("urn:example:mfa")),
        (&["otp", "sms"], None),
        (&[], None),
    ] {
        let start = || StartSession::new("ada").amr(amr.iter().copied());
        let first = mapped.start(start()).await.unwrap();
        let begun = claims(first.access_token().expose());
        assert_eq!(begun.get("acr").and_then(Value::as_str), acr, "{amr:?}");
        assert!(begun["auth_time"].is_u64());
        // Another configuration, another clock: the session says what it said.
        clock.advance(Duration::from_secs(3));
        for sessions in [&other, &plain] {
            let next = sessions.refresh(first.refresh_token().expose()).await;
            let later = claims(next.unwrap().access_token().expose());
            for name in ["auth_time", "amr", "acr"] {
                assert_eq!(begun.get(name), later.get(name), "{amr:?} {name}");
            }
        }
        let none = plain.start(start()).await.unwrap();
        assert_eq!(claims(none.access_token().expose()).get("acr"), None);
        let own = mapped.start(start().acr("own")).await.unwrap();
        assert_eq!(claims(own.access_token().expose())["acr"], "own");
    }
}

#[tokio::test]
async fn s7_logins_name_their_method_and_a_guest_has_no_class() {
    let server = Server::start().await;
    let now = || {
        let now = tower_jwt_auth::time::Clock::now(&server.clock);
        u64::try_from(now.as_secs()).unwrap()
    };
    let begun = now();
    let login = claims(&server.sign_in().await.access());
    assert_eq!(login["amr"], json!(["pwd"]));
    assert!(login["auth_time"].as_u64().unwrap().abs_diff(begun) <= 1);
    assert_eq!(login.get("acr"), None);
    let guest = server.post("guest", &json!({})).await;
    assert_eq!(claims(&guest.access()).get("acr"), None, "decision 56");
}

#[tokio::test]
async fn s10_a_token_names_its_client() {
    let server = Server::start().await;
    let default = server.sign_in().await;
    assert_eq!(claims(&default.access())["client_id"], "first-party");
    let mut unknown = ada();
    unknown["client_id"] = "spa".into();
    let answer = server.post("login", &unknown).await;
    assert_eq!(claims(&answer.access())["client_id"], "first-party");

    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let issuer = TokenIssuer::builder(KeyRing::new(key).unwrap())
        .issuer("https://auth.example")
        .audience("api")
        .client_id("web")
        .client_id("spa")
        .build()
        .unwrap();
    let verifier = issuer.verifier().build().unwrap();
    let (store, secret) = (MemoryStore::new(), SecretKey::generate());
    let sessions = Sessions::builder(issuer, store.clone())
        .secret(secret.clone())
        .build()
        .unwrap();
    let guests = tower_jwt_auth::server::session::Guests::builder(sessions.clone(), store.clone());
    let login = Login::builder(server.users.clone(), MemoryThrottle::new(), secret.clone());
    let cheap = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cheap).build().unwrap();
    let endpoints = AuthEndpoints::builder(sessions, login.hasher(hasher).build(), secret)
        .registration(true)
        .guests(guests.build().unwrap())
        .public_origin(ORIGIN)
        .build()
        .unwrap();
    let send = async |request: Request<Full<bytes::Bytes>>| {
        let Ok(response) = endpoints.clone().oneshot(request).await;
        Answer::of(response).await
    };
    let password = PASSWORD.replace(' ', "+");
    let form_of = |client: &str| {
        let user = format!("username=ada%40example.org&password={password}");
        form("token", &format!("grant_type=password&{user}{client}"))
    };
    let named = |mut body: Value, client: &str| {
        body["client_id"] = client.into();
        body
    };
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    for (request, client) in [
        (post("login", &ada()), "web"),
        (post("login", &named(ada(), "web")), "web"),
        (post("login", &named(ada(), "spa")), "spa"),
        (form_of(""), "web"),
        (form_of("&client_id="), "web"),
        (form_of("&client_id=spa"), "spa"),
        (post("register", &named(eve, "spa")), "spa"),
        (post("guest", &named(json!({}), "spa")), "spa"),
        (post("guest", &json!({})), "web"),
    ] {
        let answer = send(request).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(claims(&answer.access())["client_id"], client);
        assert!(verifier.verify_now(answer.access()).is_ok());
        // RFC 6749 §10.4: the refresh token is bound to the client.
        let mut tokens = answer;
        let other = ["web", "spa"].into_iter().find(|one| *one != client);
        for (asked, status, error) in [
            (other, 400, "invalid_grant"),
            (Some(client), 200, ""),
            (Some("unknown"), 200, ""),
            (None, 200, ""),
        ] {
            let mut body = json!({ "refresh_token": tokens.refresh() });
            if let Some(asked) = asked {
                body["client_id"] = asked.into();
            }
            let answer = send(post("refresh", &body)).await;
            assert_eq!(answer.status, status, "{asked:?}");
            if status == 200 {
                assert_eq!(claims(&answer.access())["client_id"], client);
                tokens = answer;
            } else {
                assert_eq!(answer.text("error"), error);
            }
        }
    }
    // A new password keeps the client.
    let tokens = send(post("login", &named(ada(), "spa"))).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    let answer = send(bearer(post("password", &change), &tokens.access())).await;
    assert_eq!(claims(&answer.access())["client_id"], "spa");
}
