//! Logout that the identity provider sends: section X.

mod attacks;

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Verifier,
    error::{AuthErrorKind, StoreError},
    event::{EventRecord, sink_fn},
    key::Algorithm,
    layer::{logout::BackChannelLogout, response::Whole},
    revocation::{Broadcast, Revocation, RevocationLog, RevocationSet},
    test_util::{TestIssuer, TestKeys},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{AUDIENCE, Fixture, ISSUER, bearer, keys},
};

const CLIENT: &str = "shop-web";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

struct Provider {
    fixture: Fixture,
    revoked: RevocationSet,
    logout: BackChannelLogout,
}

impl Provider {
    fn new() -> Self {
        let fixture = Fixture::new();
        let revoked = RevocationSet::local_with_clock(fixture.clock.clone()).of_issuer(ISSUER);
        let verifier = fixture.builder().build().unwrap();
        let logout = BackChannelLogout::new(&verifier, CLIENT, &revoked).unwrap();
        Self {
            fixture,
            revoked,
            logout,
        }
    }

    /// The claims of a logout of the subject `alice` in the session `s1`.
    fn claims(&self) -> Map<String, Value> {
        let now = self.fixture.now();
        let claims = json!({
            "iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "l1",
            "sub": "alice", "sid": "s1", "events": { EVENT: {} },
        });
        serde_json::from_value(claims).unwrap()
    }

    fn token<R>(&self, edit: impl FnOnce(&mut Map<String, Value>) -> R) -> String {
        self.typed(Some("logout+jwt"), edit)
    }

    fn typed<R>(
        &self,
        typ: Option<&str>,
        edit: impl FnOnce(&mut Map<String, Value>) -> R,
    ) -> String {
        let mut claims = self.claims();
        edit(&mut claims);
        self.raw(typ, &Value::Object(claims).to_string())
    }

    fn raw(&self, typ: Option<&str>, claims: &str) -> String {
        let header = self.fixture.header(|header| {
            header.remove("typ");
            typ.map(|typ| header.insert("typ".into(), typ.into()))
        });
        self.fixture.es.raw(&header, claims.as_bytes())
    }

    async fn post(&self, token: &str) -> Response<Whole> {
        post(&self.logout, &form(token)).await
    }

    /// Sends a token that must be refused.
    async fn refuses(&self, case: &str, token: &str) {
        let response = self.post(token).await;
        refused(case, response).await;
        assert!(self.revoked.is_empty(), "{case}");
    }

    async fn call(&self, token: &str) -> Answer {
        let layer = self.fixture.layer().revocation(self.revoked.clone());
        send(layer, bearer(token)).await
    }

    /// An access token of `alice`.
    fn access<R>(&self, edit: impl FnOnce(&mut Map<String, Value>) -> R) -> String {
        self.fixture.es.token(|claims| {
            claims.insert("sub".into(), "alice".into());
            edit(claims);
        })
    }
}

async fn refused(case: &str, response: Response<Whole>) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{case}");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let Ok(body) = response.into_body().collect().await;
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    assert_eq!(body["error"], "invalid_request", "{case}");
}

fn form(token: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("logout_token", token)
        .append_pair("other", "ignored")
        .finish()
}

async fn post(logout: &BackChannelLogout, form: &str) -> Response<Whole> {
    let request = Request::post("/backchannel-logout")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(form.to_owned())
        .unwrap();
    let Ok(response) = logout.clone().oneshot(request).await;
    response
}

#[tokio::test]
async fn x1_a_logout_token_ends_the_session_and_is_answered_with_200() {
    let provider = Provider::new();
    let of_session = provider.access(|claims| claims.insert("sid".into(), "s1".into()));
    let of_other = provider.access(|claims| claims.insert("sid".into(), "s2".into()));
    provider.call(&of_session).await.passes("before");
    let response = provider.post(&provider.token(|_| ())).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let answer = provider.call(&of_session).await;
    answer
        .invalid_token("after")
        .because(AuthErrorKind::Revoked);
    provider.call(&of_other).await.passes("another session");
}

#[tokio::test]
async fn x2_what_a_logout_token_must_hold_is_checked() {
    let provider = Provider::new();
    let now = provider.fixture.now();
    for (claim, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!(null)),
        ("iss", json!([ISSUER])),
        ("aud", json!("other")),
        ("aud", json!(AUDIENCE)),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("aud", json!({ "shop-web": true })),
        ("iat", json!(now + 61)),
        ("iat", json!("1")),
        ("iat", json!(null)),
        ("exp", json!(now - 61)),
        ("exp", json!("never")),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("events", json!({})),
        ("events", json!([EVENT])),
        ("events", json!(EVENT)),
        ("events", json!({ EVENT: null })),
        ("events", json!({ EVENT: [] })),
        (
            "events",
            json!({ "http://schemas.openid.net/event/other": {} }),
        ),
    ] {
        let token = provider.token(|claims| claims.insert(claim.into(), value.clone()));
        provider.refuses(&format!("{claim}: {value}"), &token).await;
    }
    for claim in ["iss", "aud", "iat", "jti", "events"] {
        let token = provider.token(|claims| claims.remove(claim));
        provider.refuses(&format!("without {claim}"), &token).await;
    }
    for typ in ["at+jwt", "id_token+jwt", "secevent+jwt", "dpop+jwt", "x"] {
        let token = provider.typed(Some(typ), |_| ());
        provider.refuses(typ, &token).await;
    }
    let kid = TestKeys::new().kid(Algorithm::Es256);
    let thief = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other());
    let header = json!({ "alg": "ES256", "kid": kid, "typ": "logout+jwt" }).to_string();
    let claims = Value::Object(provider.claims()).to_string();
    let forged = thief.raw(&header, claims.as_bytes());
    provider.refuses("another key", &forged).await;
    let none = json!({ "alg": "none", "typ": "logout+jwt" }).to_string();
    let unsigned = provider.fixture.es.raw(&none, claims.as_bytes());
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    provider.refuses("no signature", &unsigned).await;
    let twice = claims.replacen('{', r#"{"sub":"bob","#, 1);
    provider
        .refuses("a claim twice", &provider.raw(Some("logout+jwt"), &twice))
        .await;

    for (case, token) in [
        ("logout+jwt", provider.token(|_| ())),
        (
            "any case",
            provider.typed(Some("application/Logout+JWT"), |_| ()),
        ),
        ("JWT", provider.typed(Some("JWT"), |_| ())),
        ("no typ", provider.typed(None, |_| ())),
        (
            "several audiences",
            provider.token(|claims| claims.insert("aud".into(), json!(["other", CLIENT]))),
        ),
        ("no exp", provider.token(|claims| claims.remove("exp"))),
        (
            "a fraction",
            provider.token(|claims| claims.insert("iat".into(), json!(now as f64 - 0.5))),
        ),
        (
            "another event beside",
            provider.token(|claims| {
                claims.insert("events".into(), json!({ EVENT: {}, "urn:other": 1 }))
            }),
        ),
    ] {
        assert_eq!(
            provider.post(&token).await.status(),
            StatusCode::OK,
            "{case}"
        );
    }
}

#[tokio::test]
async fn x3_a_token_with_a_nonce_is_refused() {
    let provider = Provider::new();
    for nonce in [json!("n"), json!(""), json!(null), json!(1)] {
        let token = provider.token(|claims| claims.insert("nonce".into(), nonce.clone()));
        provider.refuses(&nonce.to_string(), &token).await;
    }
}

#[tokio::test]
async fn x4_the_session_ends_or_all_tokens_of_the_subject() {
    let provider = Provider::new();
    for (case, edit) in [
        ("neither", &["sub", "sid"][..]),
        ("an empty session", &["sub"][..]),
    ] {
        let token = provider.token(|claims| {
            edit.iter().for_each(|claim| {
                claims.remove(*claim);
            });
            if case != "neither" {
                claims.insert("sid".into(), "".into());
            }
        });
        provider.refuses(case, &token).await;
    }

    let now = provider.fixture.now();
    let at = |second: i64, session: Option<&str>| {
        provider.access(|claims| {
            claims.insert("iat".into(), json!(second));
            session.map(|session| claims.insert("sid".into(), session.into()))
        })
    };
    let (old, of_session) = (at(now, None), at(now - 5, Some("s9")));
    let (later, other) = (
        at(now + 1, None),
        provider
            .fixture
            .es
            .token(|claims| claims.insert("sub".into(), "bob".into())),
    );
    let by_subject = provider.token(|claims| claims.remove("sid"));
    assert_eq!(provider.post(&by_subject).await.status(), StatusCode::OK);
    for (case, token) in [("no session", &old), ("a session", &of_session)] {
        let answer = provider.call(token).await;
        answer.invalid_token(case).because(AuthErrorKind::Revoked);
    }
    let undated = provider.access(|claims| claims.remove("iat"));
    let answer = provider.call(&undated).await;
    answer
        .invalid_token("no iat")
        .because(AuthErrorKind::Revoked);
    provider.call(&later).await.passes("signed in again");
    provider.call(&other).await.passes("another subject");
}

#[tokio::test]
async fn x5_whatever_is_wrong_revokes_nothing() {
    let provider = Provider::new();
    let good = provider.token(|_| ());
    for (case, body) in [
        ("no body", String::new()),
        ("no token", "token=x".to_owned()),
        ("two tokens", format!("{}&{}", form(&good), form(&good))),
        ("no JWT", form("x")),
        ("too long", form(&"x".repeat(70_000))),
    ] {
        refused(case, post(&provider.logout, &body).await).await;
        assert!(provider.revoked.is_empty(), "{case}");
    }
    for kind in [None, Some("application/json"), Some("text/plain")] {
        let mut request = Request::post("/").body(form(&good)).unwrap();
        if let Some(kind) = kind {
            let kind = http::HeaderValue::from_static(kind);
            request.headers_mut().insert("content-type", kind);
        }
        let Ok(response) = provider.logout.clone().oneshot(request).await;
        refused("content type", response).await;
    }
    let request = Request::get("/").body(String::new()).unwrap();
    let Ok(response) = provider.logout.clone().oneshot(request).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "POST");
    assert!(provider.revoked.is_empty());
}

/// A store that fails, then recovers.
#[derive(Clone, Default)]
struct Failing(Arc<Mutex<Vec<Revocation>>>, Arc<Mutex<bool>>);

impl RevocationLog for Failing {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        if !*self.1.lock().unwrap() {
            return Err(StoreError::unavailable("down"));
        }
        self.0.lock().unwrap().push(revocation);
        Ok(())
    }
}

#[tokio::test]
async fn x5_a_store_that_is_down_is_503_and_the_next_try_revokes() {
    let provider = Provider::new();
    let store = Failing::default();
    let logout = provider.logout.clone().log(store.clone());
    let token = form(&provider.token(|_| ()));
    let response = post(&logout, &token).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert!(provider.revoked.is_empty());
    *store.1.lock().unwrap() = true;
    assert_eq!(post(&logout, &token).await.status(), StatusCode::OK);
    let written = store.0.lock().unwrap().len();
    assert_eq!((written, provider.revoked.len()), (2, 2));
}

#[tokio::test]
async fn x1_another_node_refuses_the_tokens_as_well() {
    let provider = Provider::new();
    let store = Broadcast::new();
    let other = RevocationSet::follow(store.feed())
        .unwrap()
        .of_issuer(ISSUER);
    assert!(other.loaded(std::time::Duration::from_secs(5)).await);
    let token = provider.access(|claims| claims.insert("sid".into(), "s1".into()));
    let there = || provider.fixture.layer().revocation(other.clone());
    send(there(), bearer(&token)).await.passes("before");
    let mut changes = other.changes();
    let logout = provider.logout.clone().log(store);
    let response = post(&logout, &form(&provider.token(|_| ()))).await;
    assert_eq!(response.status(), StatusCode::OK);
    changes.changed().await;
    let answer = send(there(), bearer(&token)).await;
    answer
        .invalid_token("after")
        .because(AuthErrorKind::Revoked);
}

#[tokio::test]
async fn x6_the_same_token_twice_is_harmless() {
    let provider = Provider::new();
    let token = provider.token(|_| ());
    for _ in 0..2 {
        assert_eq!(provider.post(&token).await.status(), StatusCode::OK);
    }
    assert_eq!(provider.revoked.len(), 2);
}

#[tokio::test]
async fn x7_a_token_older_than_two_minutes_is_refused() {
    let provider = Provider::new();
    let now = provider.fixture.now();
    let issued = |second: i64| {
        provider.token(|claims| {
            claims.insert("iat".into(), json!(second));
            claims.remove("exp")
        })
    };
    // Two minutes, and a leeway of one.
    provider.refuses("old", &issued(now - 180)).await;
    assert_eq!(
        provider.post(&issued(now - 179)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn x8_neither_token_passes_as_the_other() {
    let provider = Provider::new();
    for typ in [Some("logout+jwt"), Some("JWT"), None] {
        let token = provider.typed(typ, |claims| {
            claims.insert("aud".into(), json!([CLIENT, AUDIENCE]))
        });
        let answer = provider.call(&token).await;
        answer.invalid_token("a logout token");
    }
    let access = provider.access(|claims| {
        claims.insert("aud".into(), json!([CLIENT, AUDIENCE]));
        claims.insert("sid".into(), "s1".into())
    });
    provider.refuses("an access token", &access).await;
}

#[tokio::test]
async fn x9_tokens_without_a_session_end_by_issuer_and_subject() {
    let provider = Provider::new();
    let now = provider.fixture.now();
    let without = provider.access(|_| ());
    let of_other_session = provider.access(|claims| claims.insert("sid".into(), "s2".into()));
    let later = provider.access(|claims| claims.insert("iat".into(), json!(now + 1)));
    let foreign = "https://other.example";
    let others = Verifier::key_set(keys())
        .clock(provider.fixture.clock.clone())
        .issuer(foreign)
        .audience(AUDIENCE);
    let others = JwtAuthLayer::new(others.build().unwrap()).revocation(provider.revoked.clone());
    let of_other_issuer = provider.access(|claims| claims.insert("iss".into(), foreign.into()));

    let response = provider.post(&provider.token(|_| ())).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = provider.call(&without).await;
    answer
        .invalid_token("before the logout")
        .because(AuthErrorKind::Revoked);
    provider
        .call(&of_other_session)
        .await
        .passes("another session");
    provider.call(&later).await.passes("after the logout");
    send(others, bearer(&of_other_issuer))
        .await
        .passes("another issuer");
}

#[tokio::test]
async fn x9_the_audience_is_the_client() {
    let fixture = Fixture::new();
    let revoked = RevocationSet::local();
    let verifier = fixture.builder().build().unwrap();
    let invalid = |result: Result<BackChannelLogout, ConfigError>| match result.unwrap_err() {
        ConfigError::Invalid { name, .. } => name.into_owned(),
        other => panic!("{other}"),
    };
    assert_eq!(
        invalid(BackChannelLogout::new(&verifier, "", &revoked)),
        "client_id"
    );
    let by_oid = fixture.builder().subject_claim("oid").build().unwrap();
    assert_eq!(
        invalid(BackChannelLogout::new(&by_oid, CLIENT, &revoked)),
        "subject_claim"
    );
    let any = Verifier::key_set(keys())
        .audience(AUDIENCE)
        .dangerous_any_issuer();
    let any = any.build().unwrap();
    let error = BackChannelLogout::new(&any, CLIENT, &revoked).unwrap_err();
    assert!(matches!(error, ConfigError::IssuerRequired), "{error}");
}

#[tokio::test]
async fn x1_a_logout_and_a_refusal_are_events() {
    let provider = Provider::new();
    let events: Arc<Mutex<Vec<EventRecord>>> = Arc::default();
    let sink = Arc::clone(&events);
    let logout = provider.logout.clone().events(sink_fn(move |event| {
        sink.lock().unwrap().push(EventRecord::of(event));
    }));
    post(&logout, &form(&provider.token(|_| ()))).await;
    post(
        &logout,
        &form(&provider.token(|claims| claims.remove("jti"))),
    )
    .await;
    let events = events.lock().unwrap();
    let [done, refused] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(done.name, "backchannel.logged_out");
    assert_eq!(done.subject.as_deref(), Some("alice"));
    assert_eq!(done.object.as_deref(), Some("s1"));
    assert_eq!(refused.name, "request.denied");
    assert_eq!(refused.detail, Some("missing_claim"));
    assert_eq!(refused.request.as_deref(), Some("POST /backchannel-logout"));
}
