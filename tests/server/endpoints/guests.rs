//! Guests over HTTP: asked for twice, linked, planted, promoted.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tower_jwt_auth::{
    layer::rate_limit::PeerAddr,
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        login::{Login, MemoryThrottle},
        session::{Guests, Sessions},
    },
    store::port::{GuestRecord, GuestStore},
};

use crate::support::endpoints::{Browser, PASSWORD, Server, ada, bearer, json as post};

fn linking() -> Value {
    let mut login = ada();
    login["link"] = true.into();
    login
}

impl Server {
    fn subject(&self, token: &str) -> String {
        let token = self.verifier.verify_now(token).unwrap();
        token.subject().unwrap().to_owned()
    }

    async fn record(&self, token: &str) -> GuestRecord {
        let found = self.store.find_guest(&self.subject(token)).await.unwrap();
        found.unwrap().guest
    }

    /// A guest with cookies, and its access token.
    async fn visitor(&self) -> (Browser, String) {
        let answer = self.send(post("guest?transport=cookie", &json!({}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let mut browser = Browser::default();
        browser.keep(&answer);
        let token = browser.cookies["__Host-at"].clone();
        (browser, token)
    }
}

#[tokio::test]
async fn w1_a_guest_that_asks_again_keeps_its_token() {
    let server = Server::start().await;
    let answer = server.post("guest", &json!({})).await.not_kept();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.refresh().is_empty());
    let token = answer.access();
    assert!(server.subject(&token).starts_with("gst_"));

    let again = server.send(bearer(post("guest", &json!({})), &token)).await;
    assert_eq!(
        (again.status, again.access()),
        (StatusCode::OK, token.clone())
    );
    assert!(again.json()["expires_in"].as_u64().unwrap() > 500);
    let (browser, token) = server.visitor().await;
    let again = server.send(browser.request("guest?transport=cookie")).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.cookies(), [""; 0]);
    assert!(again.json().get("access_token").is_none());
    assert!(server.is_alive(&token).await);

    // After signing out comes another one; who is signed in is asked to sign out.
    let mut gone = server.post("guest", &json!({})).await.access();
    server.send(bearer(post("logout", &json!({})), &gone)).await;
    let other = server.send(bearer(post("guest", &json!({})), &gone)).await;
    assert_ne!(server.subject(&other.access()), server.subject(&gone));
    gone = server.sign_in().await.access();
    let refused = server.send(bearer(post("guest", &json!({})), &gone)).await;
    refused.is(400, "invalid_request");
}

/// The refresh token in a cookie outlives the access token beside it.
#[tokio::test]
async fn w1_a_guest_request_by_cookie_replaces_no_session_that_is_alive() {
    let server = Server::start().await;
    let (mut guest, token) = server.visitor().await;
    let subject = server.subject(&token);
    let mut user = server.browser().await;
    server.advance(Duration::from_secs(11 * 60));
    for browser in [&mut guest, &mut user] {
        browser.cookies.remove("__Host-at");
    }

    let again = server.send(guest.request("guest?transport=cookie")).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    guest.keep(&again);
    assert_eq!(server.subject(&guest.cookies["__Host-at"]), subject);

    let refused = server.send(user.request("guest?transport=cookie")).await;
    let refused = refused.is(400, "invalid_request");
    assert!(refused.cookies().is_empty());
    let refreshed = server.send(user.request("refresh")).await;
    assert_eq!(refreshed.status, StatusCode::OK);

    // Without the proof the cookie may be planted, and tells nothing.
    let mut unproved = guest.request("guest?transport=cookie");
    unproved.headers_mut().remove("x-csrf-token");
    let mut cookies = guest.cookies.clone();
    cookies.remove("__Host-at");
    let cookies = cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let cookies = cookies.collect::<Vec<_>>().join("; ");
    unproved
        .headers_mut()
        .insert("cookie", cookies.try_into().unwrap());
    let mut other = Browser::default();
    other.keep(&server.send(unproved).await);
    assert_ne!(server.subject(&other.cookies["__Host-at"]), subject);

    // Nor does the session of a guest who has signed out.
    guest.cookies.remove("__Host-at");
    let proof = guest.request("guest?transport=cookie");
    server.send(guest.request("logout")).await;
    other.keep(&server.send(proof).await);
    assert_ne!(server.subject(&other.cookies["__Host-at"]), subject);
}

#[tokio::test]
async fn w2_a_login_with_link_claims_the_guest_and_ends_its_session() {
    let server = Server::start().await;
    let guest = server.post("guest", &json!({})).await;
    let answer = server
        .send(bearer(post("login", &linking()), &guest.access()))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(server.subject(&answer.access()), "u-ada");
    let claim = server.record(&guest.access()).await.claim.unwrap();
    assert_eq!((claim.user.as_str(), claim.is_settled()), ("u-ada", true));
    assert!(!server.is_alive(&guest.access()).await);
    assert!(server.is_alive(&answer.access()).await);
    let refused = server
        .post("refresh", &json!({"refresh_token": guest.refresh()}))
        .await;
    refused.is(400, "invalid_grant");

    // By cookie, with the device's.
    let (browser, token) = server.visitor().await;
    let login = browser.dress(post("login?transport=cookie", &linking()));
    assert_eq!(server.send(login).await.status, StatusCode::OK);
    assert!(server.record(&token).await.claim.is_some());
    assert!(!server.is_alive(&token).await);
}

#[tokio::test]
async fn w4_a_planted_guest_cookie_without_the_flag_or_the_device_is_ignored() {
    let server = Server::start().await;
    let (attacker, planted) = server.visitor().await;
    let (mut victim, _) = server.visitor().await;
    let access = attacker.cookies["__Host-at"].clone();
    victim.cookies.insert("__Host-at".to_owned(), access);
    for body in [ada(), linking()] {
        let answer = server.send(victim.dress(post("login", &body))).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(server.subject(&answer.access()), "u-ada");
        assert_eq!(server.record(&planted).await.claim, None);
        assert!(server.is_alive(&planted).await);
    }
    // Nor does another site's page link what the browser holds.
    let (browser, token) = server.visitor().await;
    let mut foreign = browser.dress(post("login?transport=cookie", &linking()));
    let cross = HeaderValue::from_static("cross-site");
    foreign.headers_mut().insert("sec-fetch-site", cross);
    server.send(foreign).await.is(403, "access_denied");
    assert_eq!(server.record(&token).await.claim, None);
}

#[tokio::test]
async fn a_guest_who_registers_keeps_its_subject_and_none_of_its_tokens() {
    let server = Server::start().await;
    let guest = server.post("guest", &json!({})).await.access();
    let taken = json!({"email": "ada@example.org", "password": PASSWORD, "link": true});
    let refused = server.send(bearer(post("register", &taken), &guest)).await;
    refused.is(409, "invalid_request");
    assert!(server.is_alive(&guest).await, "a taken name costs nothing");

    let new = json!({"email": "eve@example.org", "password": PASSWORD, "link": true});
    let answer = server.send(bearer(post("register", &new), &guest)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(server.subject(&answer.access()), server.subject(&guest));
    assert!(server.is_alive(&answer.access()).await);
    assert!(!server.is_alive(&guest).await);
    let login = json!({"email": "eve@example.org", "password": PASSWORD});
    let again = server.post("login", &login).await;
    assert_eq!(server.subject(&again.access()), server.subject(&guest));

    // Without the flag an account has a subject of its own.
    let guest = server.post("guest", &json!({})).await.access();
    let new = json!({"email": "fay@example.org", "password": PASSWORD});
    let answer = server.send(bearer(post("register", &new), &guest)).await;
    assert_ne!(server.subject(&answer.access()), server.subject(&guest));
    assert!(server.is_alive(&guest).await);
}

/// A guest that comes back outlives its first refresh token, and must stay one that can be linked.
#[tokio::test]
async fn a_guests_device_is_known_for_as_long_as_the_guest() {
    let server = Server::start().await;
    let answer = server.send(post("guest?transport=cookie", &json!({})));
    let answer = answer.await;
    let age = |name: &str| {
        let cookies = answer.cookies();
        let mut cookies = cookies.iter().filter(|cookie| cookie.starts_with(name));
        let age = cookies.next().unwrap().split("; ");
        let age = age.filter_map(|part| part.strip_prefix("Max-Age="));
        age.last().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(age("__Secure-rt="), 7 * 24 * 3600);
    assert_eq!(age("__Host-gst="), 30 * 24 * 3600);
}

/// It is not known then that nobody is signed in.
#[tokio::test]
async fn a_store_that_cannot_say_who_asks_starts_no_guest() {
    let server = Server::start().await;
    let user = server.sign_in().await.access();
    let guest = server.post("guest", &json!({})).await.access();
    server.blind();
    for token in [user, guest] {
        let answer = server.send(bearer(post("guest", &json!({})), &token)).await;
        let answer = answer.is(503, "temporarily_unavailable");
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn strangers_are_thirty_an_hour_for_a_network() {
    let server = Server::start().await;
    let first = server.post("guest", &json!({})).await;
    let register = async |n: usize| {
        let eve = json!({ "email": format!("eve{n}@example.org"), "password": PASSWORD });
        server.post("register", &eve).await
    };
    for n in 1..30 {
        let answer = match n % 2 {
            0 => server.post("guest", &json!({})).await,
            _ => register(n).await,
        };
        assert!(answer.status.is_success(), "{n}: {answer:?}");
    }
    let refused = server.post("guest", &json!({})).await.is(429, "slow_down");
    let wait: u32 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=120).contains(&wait), "{wait}");
    register(30).await.is(429, "slow_down");

    // Who is a guest already, who signs in, and who comes from elsewhere is let in.
    let again = bearer(post("guest", &json!({})), &first.access());
    assert_eq!(server.send(again).await.status, StatusCode::OK);
    server.sign_in().await;
    let mut elsewhere = post("guest", &json!({}));
    elsewhere
        .extensions_mut()
        .insert(PeerAddr("198.51.100.1:1".parse().unwrap()));
    assert_eq!(server.send(elsewhere).await.status, StatusCode::OK);
    // All who come from nowhere would share one budget: they have none.
    for _ in 0..40 {
        let mut nowhere = post("guest", &json!({}));
        nowhere.extensions_mut().remove::<PeerAddr>();
        assert_eq!(server.send(nowhere).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn guests_of_other_sessions_are_refused() {
    let server = Server::start().await;
    let secret = SecretKey::generate();
    let others = Sessions::builder(server.sessions.issuer().clone(), server.store.clone())
        .secret(secret.clone())
        .build()
        .unwrap();
    for (sessions, fits) in [(others, false), (server.sessions.clone(), true)] {
        let guests = Guests::builder(sessions, server.store.clone()).build();
        let login = Login::builder(server.store.clone(), MemoryThrottle::new(), secret.clone());
        let endpoints =
            AuthEndpoints::builder(server.sessions.clone(), login.build(), secret.clone())
                .guests(guests.unwrap())
                .build();
        assert_eq!(endpoints.is_ok(), fits);
    }
}
