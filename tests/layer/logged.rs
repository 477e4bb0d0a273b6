//! What a refusal leaves in the log and in its event.
#![cfg(feature = "tracing")]

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    RoleGuardLayer,
    event::{EventRecord, channel},
    key::Algorithm,
    layer::{
        extract::{Bearer, Cookie},
        role_guard::Rule,
    },
    revocation::{RETENTION, Revocation, RevocationSet},
    test_util::{TestIssuer, TestKeys},
    time::Clock,
};

use crate::{
    secrecy::logged,
    support::{
        answer::send,
        fixture::{AUDIENCE, Fixture, ISSUER, bearer},
    },
};

fn to(path: &str, token: &str) -> Request<String> {
    let mut request = bearer(token);
    *request.uri_mut() = path.parse().unwrap();
    request
}

/// The log lines of a request to `/orders`.
async fn log_of(fixture: &Fixture, token: &str) -> String {
    logged(async {
        send(fixture.layer(), to("/orders?secret=1", token)).await;
    })
    .await
}

#[tokio::test]
async fn q20_the_log_names_expected_and_received_values() {
    let fixture = Fixture::new();
    let expected = format!("expected_iss=\"{ISSUER}\" expected_aud=\"{AUDIENCE}\"");
    let kid = TestKeys::new().kid(Algorithm::Es256);
    for (token, values) in [
        (
            fixture.with("iss", json!("https://other.example")),
            vec!["reason=\"wrong_issuer\"", "iss=\"https://other.example\""],
        ),
        (
            fixture.with("aud", json!(["one", "two"])),
            vec!["reason=\"wrong_audience\"", "aud=\"one, two\""],
        ),
        (
            TestIssuer::with_keys(Algorithm::Es256, TestKeys::other())
                .kid(Some("other-key"))
                .token(|_| ()),
            vec!["reason=\"unknown_key\"", "alg=\"ES256\" kid=\"other-key\""],
        ),
        (
            fixture.issuer(Algorithm::Hs256).token(|_| ()),
            vec![
                "reason=\"algorithm_not_allowed\"",
                "alg=\"HS256\"",
                "expected_alg=\"RS256, ES256\"",
            ],
        ),
        (
            fixture.with("exp", json!(1)),
            vec!["reason=\"expired\"", kid.as_str()],
        ),
    ] {
        let log = log_of(&fixture, &token).await;
        let line = log.lines().find(|line| line.contains("request refused"));
        let line = line.unwrap_or_else(|| panic!("no line: {log}"));
        for value in values.into_iter().chain([
            "DEBUG",
            "method=\"GET\" path=\"/orders\"",
            expected.as_str(),
        ]) {
            assert!(line.contains(value), "{value} is not in {line}");
        }
        assert!(!log.contains("secret"), "{log}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "{log}");
    }
}

#[tokio::test]
async fn q20_values_from_a_token_are_escaped_and_cut() {
    let fixture = Fixture::new();
    let forged = format!("a\nERROR forged{}", "x".repeat(5_000));
    let log = log_of(&fixture, &fixture.with("iss", json!(forged))).await;
    let longest = log.lines().map(str::len).max().unwrap();
    assert!(longest < 1_000, "{log}");
    assert!(!log.lines().any(|line| line.starts_with("ERROR")), "{log}");
    assert!(log.contains("\\nERROR forged"), "{log}");
    assert!(log.contains('…'), "{log}");
}

fn records() -> (
    impl tower_jwt_auth::event::EventSink,
    impl FnMut() -> EventRecord,
) {
    let (sink, mut events) = channel(16);
    (sink, move || events.try_recv().expect("an event"))
}

#[tokio::test]
async fn q20_an_event_of_a_known_caller_names_the_subject() {
    let fixture = Fixture::new();
    let (sink, mut next) = records();
    let revoked = RevocationSet::local_with_clock(fixture.clock.clone());
    let until = fixture.clock.now().plus(RETENTION);
    revoked.insert(&Revocation::session("s1", until));
    let layer = fixture.layer().events(sink).revocation(revoked);
    let token = fixture.with("sid", json!("s1"));
    send(layer.clone(), to("/orders?x=1", &token)).await;
    let event = next();
    assert_eq!(
        (event.name, event.detail),
        ("request.denied", Some("revoked"))
    );
    assert_eq!(event.subject.as_deref(), Some("alice"));
    assert_eq!(event.request.as_deref(), Some("GET /orders"));

    let guarded = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(RoleGuardLayer::any_of(["admin"]));
    send(guarded.into_inner(), to("/admin", &fixture.token())).await;
    let event = next();
    assert_eq!(event.subject.as_deref(), Some("alice"));
    assert_eq!(event.missing.as_deref(), Some("the role `admin`"));
    assert_eq!(event.request.as_deref(), Some("GET /admin"));

    // The values of a token that does not verify are not those of a known caller.
    send(layer, bearer(fixture.with("aud", json!("invoices")))).await;
    let event = next();
    assert_eq!(event.subject, None);
    let token = event.token.unwrap();
    assert_eq!(token.audience(), Some("invoices"));
    assert_eq!(token.expected_audience(), AUDIENCE);
    assert_eq!(token.issuer(), Some(ISSUER));
    assert_eq!(token.algorithm(), Some("ES256"));
}

#[tokio::test]
async fn q20_a_denied_handler_is_reported_with_its_subject_and_without_a_request() {
    let fixture = Fixture::new();
    let (sink, mut next) = records();
    let answer = send(fixture.layer().events(sink), bearer(fixture.token())).await;
    let denied = answer.caller().require_role("admin").unwrap_err();
    let _ = denied.to_response();
    let event = next();
    assert_eq!(event.subject.as_deref(), Some("alice"));
    assert_eq!(event.missing.as_deref(), Some("the role `admin`"));
    assert_eq!(event.request, None);
}

#[tokio::test]
async fn q20_the_log_names_the_origin_that_was_refused() {
    let fixture = Fixture::new();
    let cookie = Cookie::new("at").unwrap();
    let layer = fixture.layer().extractor(cookie);
    let mut request = Request::post("/orders").body(String::new()).unwrap();
    for (name, value) in [
        ("cookie", format!("at={}", fixture.token())),
        ("origin", "https://evil.example".to_owned()),
        ("sec-fetch-site", "cross-site".to_owned()),
    ] {
        let value = HeaderValue::try_from(value).unwrap();
        request.headers_mut().insert(name, value);
    }
    let log = logged(async { drop(send(layer, request).await) }).await;
    assert!(log.contains("reason=\"cross_site\""), "{log}");
    assert!(
        log.contains("Origin: `https://evil.example`, Sec-Fetch-Site: `cross-site`"),
        "{log}"
    );
}

#[tokio::test]
async fn q22_the_log_names_what_is_missing() {
    let fixture = Fixture::new();
    for (rule, missing) in [
        (Rule::any_of(["admin"]), "missing=\"the role `admin`\""),
        (
            Rule::check(|_, _| false).named("own order"),
            "missing=\"the rule `own order`\"",
        ),
    ] {
        let guarded = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(RoleGuardLayer::new(rule))
            .into_inner();
        let log = logged(async { drop(send(guarded, bearer(fixture.token())).await) }).await;
        assert!(log.contains(missing), "{log}");
    }
}

#[tokio::test]
async fn q8_a_caller_by_key_is_not_counted_as_anonymous() {
    use tower_jwt_auth::{
        event::sink_fn,
        layer::api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys, NewApiKey},
        store::MemoryStore,
    };

    let fixture = Fixture::new();
    let format = ApiKeyFormat::new("acme_live").unwrap();
    let keys = ApiKeys::builder(format, MemoryStore::new())
        .build()
        .unwrap();
    let key = keys.issue(NewApiKey::new("bob")).await.unwrap();
    let names = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let names = Arc::clone(&names);
        Arc::new(sink_fn(move |event| {
            names.lock().unwrap().push(event.name())
        }))
    };
    let tokens = || {
        let extractor = Bearer::new().except_prefix("acme_live_");
        let layer = fixture.layer().extractor(extractor).optional();
        layer.events(Arc::clone(&sink))
    };
    let by_key = || ApiKeyLayer::new(&keys).optional().events(Arc::clone(&sink));
    let header = || {
        let mut request = Request::new(String::new());
        let value = HeaderValue::try_from(key.expose()).unwrap();
        request.headers_mut().insert("x-api-key", value);
        request
    };
    let seen = || std::mem::take(&mut *names.lock().unwrap());
    for request in [header(), bearer(key.expose())] {
        let stack = ServiceBuilder::new().layer(by_key()).layer(tokens());
        let answer = send(stack.into_inner(), request).await;
        answer.passes("the keys' layer is outside");
        assert_eq!(seen(), ["request.allowed"]);
    }
    let stack = ServiceBuilder::new().layer(tokens()).layer(by_key());
    let answer = send(stack.into_inner(), bearer(key.expose())).await;
    answer.passes("the keys' layer is inside");
    assert_eq!(seen(), ["request.allowed"]);
    // Control: a request without a credential is anonymous.
    send(tokens(), Request::new(String::new())).await;
    assert_eq!(seen(), ["request.anonymous"]);
}

#[tokio::test]
async fn q21_a_debug_build_names_a_mistake_in_the_response() {
    let guard = RoleGuardLayer::any_of(["admin"]);
    let problem = "the guard needs an authenticating layer around it";
    let answer = send(guard.clone(), Request::new(String::new())).await;
    let expected = cfg!(debug_assertions).then_some(problem);
    assert_eq!(answer.json()["detail"].as_str(), expected);
    let mut call = Request::post("/a/B").body(String::new()).unwrap();
    *call.version_mut() = http::Version::HTTP_2;
    let kind = HeaderValue::from_static("application/grpc");
    call.headers_mut().insert("content-type", kind);
    let answer = send(guard.clone(), call).await;
    let message = answer.headers.get("grpc-message");
    let message = message.map(|message| message.to_str().unwrap());
    assert_eq!(message, expected);
    let terse = send(guard.terse(), Request::new(String::new())).await;
    assert_eq!(terse.json().get("detail"), None);
}
