//! Sign-ins by other means than a password: U31, U16, U17, S7.

use http::{Request, StatusCode, request::Parts};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_jwt_auth::{
    error::StoreError,
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        login::{Login, MemoryThrottle, SignIn},
        session::{ClaimsSource, Session, SessionClaims, Sessions},
    },
    store::port::UserRecord,
};

use crate::support::endpoints::{Answer, ORIGIN, Server, ada, bearer, json as post, request};

/// The head of a callback's request.
fn head(path: &str) -> Parts {
    let empty = Full::<bytes::Bytes>::default();
    let request: Request<_> = request("POST", path).body(empty).unwrap();
    request.into_parts().0
}

fn from(path: &str, site: &'static str) -> Parts {
    let mut parts = head(path);
    let site = http::HeaderValue::from_static(site);
    parts.headers.insert("sec-fetch-site", site);
    parts
}

impl Server {
    async fn admit(&self, parts: &Parts, who: SignIn) -> Answer {
        Answer::of(self.endpoints.sign_in(parts, who).await).await
    }
}

fn passkey() -> SignIn {
    SignIn::new("u-ada").amr(["hwk", "user"])
}

fn members(answer: &Answer) -> Vec<String> {
    answer.json().as_object().unwrap().keys().cloned().collect()
}

fn names(answer: &Answer) -> Vec<String> {
    let name = |cookie: &&str| cookie.split_once('=').unwrap().0.to_owned();
    answer.cookies().iter().map(name).collect()
}

fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn u31_a_sign_in_by_other_means_is_answered_as_a_login() {
    let server = Server::start().await;
    let login = server.sign_in().await;
    let parts = head("callback");
    let who = passkey().label("A phone").auth_time(std::time::UNIX_EPOCH);
    let answer = server.admit(&parts, who).await.not_kept();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(members(&answer), members(&login));
    let token = claims(&answer.access());
    assert_eq!(token["amr"], json!(["hwk", "user"]));
    assert_eq!(token["auth_time"], 0);
    assert_eq!(token["roles"], json!(["admin"]));
    assert_eq!(claims(&login.access())["amr"], json!(["pwd"]));
    let list = request("GET", "sessions").body(Full::default()).unwrap();
    let list = server.send(bearer(list, &answer.access())).await.json();
    let labels: Vec<_> = list["sessions"].as_array().unwrap().iter().collect();
    assert!(labels.iter().any(|one| one["label"] == "A phone"), "{list}");
    // The session refreshes as any other, and the device is a known one.
    let refresh = json!({ "refresh_token": answer.refresh() });
    assert_eq!(server.post("refresh", &refresh).await.status, 200);
    let wrong = json!({ "email": "ada@example.org", "password": "wrong" });
    for _ in 0..6 {
        server.post("login", &wrong).await;
    }
    assert_eq!(server.post("login", &ada()).await.status, 429);
    let mut known = ada();
    known["device_token"] = answer.text("device_token").into();
    assert_eq!(server.post("login", &known).await.status, 200);
}

#[tokio::test]
async fn u31_cookies_follow_the_query_or_the_application() {
    let server = Server::start().await;
    let login = server.send(post("login?transport=cookie", &ada())).await;
    for (path, who) in [
        ("callback?transport=cookie", passkey()),
        ("callback", passkey().in_cookies(true)),
        ("callback?transport=body", passkey().in_cookies(true)),
    ] {
        let answer = server.admit(&from(path, "same-origin"), who).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(names(&answer), names(&login), "{path}");
        assert_eq!(members(&answer), members(&login), "{path}");
    }
    let body = passkey().in_cookies(false);
    let answer = server.admit(&head("callback?transport=cookie"), body).await;
    assert!(answer.cookies().is_empty() && !answer.access().is_empty());

    let plain = Server::with(false).await;
    let answer = plain
        .admit(&head("callback"), passkey().in_cookies(true))
        .await;
    answer.is(400, "invalid_request");
}

#[tokio::test]
async fn u31_another_site_signs_nobody_in() {
    let server = Server::start().await;
    for site in ["cross-site", "same-site"] {
        let parts = from("callback", site);
        let answer = server.admit(&parts, passkey()).await;
        answer.is(403, "access_denied");
        assert_eq!(server.told(), ["csrf.rejected cross_site"]);
        let checked = passkey().dangerous_cross_site();
        assert_eq!(server.admit(&parts, checked).await.status, 200);
    }
    let mut parts = head("callback");
    let origin = http::HeaderValue::from_static("https://evil.example");
    parts.headers.insert("origin", origin);
    let answer = server.admit(&parts, passkey()).await;
    answer.is(403, "access_denied");
    let origin = http::HeaderValue::from_static(ORIGIN);
    parts.headers.insert("origin", origin);
    assert_eq!(server.admit(&parts, passkey()).await.status, 200);
}

#[tokio::test]
async fn u31_a_guest_is_linked_only_if_the_application_asks() {
    let server = Server::start().await;
    for links in [false, true] {
        let guest = server.post("guest", &json!({})).await.access();
        let empty = post("callback?link=true", &json!({}));
        let (parts, _) = bearer(empty, &guest).into_parts();
        let who = match links {
            true => passkey().link_guest(),
            false => passkey(),
        };
        let answer = server.admit(&parts, who).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let outcome = answer.json()["link"]["outcome"].clone();
        match links {
            true => assert_eq!(outcome, "linked"),
            false => assert_eq!(outcome, Value::Null),
        }
    }
}

#[tokio::test]
async fn u17_a_disabled_or_unknown_user_is_not_signed_in_by_other_means() {
    let server = Server::start().await;
    for subject in ["u-bob", "u-nobody"] {
        let who = SignIn::new(subject).amr(["hwk"]);
        let answer = server.admit(&head("callback"), who).await;
        answer.is(403, "access_denied");
    }
    server
        .users
        .put("eve@example.org", UserRecord::new("u-eve"));
    let who = SignIn::new("u-eve").amr(["hwk"]);
    let answer = server.admit(&head("callback"), who).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    server.unplug_users();
    let answer = server.admit(&head("callback"), passkey()).await;
    answer.is(503, "temporarily_unavailable");
}

/// Refuses everybody.
struct Nobody;

impl ClaimsSource for Nobody {
    async fn claims(&self, _: &Session) -> Result<Option<SessionClaims>, StoreError> {
        Ok(None)
    }
}

#[tokio::test]
async fn u16_a_claims_source_that_refuses_has_its_own_error_for_every_sign_in() {
    let server = Server::start().await;
    let secret = SecretKey::generate();
    let sessions = Sessions::builder(server.sessions.issuer().clone(), server.store.clone())
        .secret(secret.clone())
        .claims_source(Nobody)
        .build()
        .unwrap();
    let login = Login::builder(server.users.clone(), MemoryThrottle::new(), secret.clone());
    let endpoints = AuthEndpoints::builder(sessions, login.build(), secret);
    let endpoints = endpoints.build().unwrap();
    let answer = endpoints.sign_in(&head("callback"), passkey()).await;
    let answer = Answer::of(answer).await.is(403, "access_denied");
    assert!(!String::from_utf8_lossy(&answer.body).contains("refresh"));
}

#[tokio::test]
async fn u16_a_sign_in_beside_a_logout_everywhere_signs_in_or_comes_again() {
    let server = Server::start().await;
    for (times, status) in [(1, 200), (2, 200), (1000, 503)] {
        server.cross(times);
        let answer = server.admit(&head("callback"), passkey()).await.not_kept();
        assert_eq!(answer.status, status, "{times}: {answer:?}");
        match status {
            200 => assert!(server.is_alive(&answer.access()).await),
            _ => assert_eq!(answer.headers["retry-after"], "1"),
        }
    }
    // With an epoch, the authentication may be older than the logout.
    server.cross(0);
    let epoch = server.sessions.epoch("u-ada").await.unwrap();
    server.cross(1);
    let answer = server
        .admit(&head("callback"), passkey().epoch(epoch))
        .await;
    answer.is(503, "temporarily_unavailable");
    let answer = server
        .admit(&head("callback"), passkey().epoch(epoch))
        .await;
    answer.is(503, "temporarily_unavailable");
    let answer = server
        .admit(&head("callback"), passkey().epoch(epoch + 1))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn s7_the_application_sets_the_context_class() {
    let server = Server::start().await;
    let who = passkey().amr(["hwk", "pin"]).acr("level-2");
    let answer = server.admit(&head("callback"), who).await;
    assert_eq!(claims(&answer.access())["acr"], "level-2");
}
