//! Q8: what happened is told, once, to one sink.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Method, Request};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer,
    event::{AuthEvent, EventSink, sink_fn},
    layer::extract::Cookie,
    revocation::{RETENTION, Revocation, RevocationSet},
    test_util::{TestIssuer, TestKeys},
    time::Clock,
};

use crate::support::{
    answer::send,
    fixture::{Fixture, bearer},
};

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn sink(&self) -> impl EventSink {
        let told = Arc::clone(&self.0);
        sink_fn(move |event| {
            told.lock().unwrap().push(match event {
                AuthEvent::Allowed {
                    caller, remembered, ..
                } => format!(
                    "{} {} {remembered}",
                    event.name(),
                    caller.subject().unwrap()
                ),
                AuthEvent::Denied { error, .. } => format!("{} {}", event.name(), error.as_str()),
                _ => event.name().to_owned(),
            });
        })
    }
}

fn options() -> Request<String> {
    let mut request = Request::new(String::new());
    *request.method_mut() = Method::OPTIONS;
    for name in ["origin", "access-control-request-method"] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static("PUT"));
    }
    request
}

#[tokio::test]
async fn q8_every_decision_is_told_with_its_reason() {
    let fixture = Fixture::new();
    let told = Told::default();
    let layer = || fixture.layer().events(told.sink());
    let token = fixture.with("sid", json!("s1"));

    send(layer(), bearer(&token)).await.passes("first");
    assert_eq!(told.take(), ["request.allowed alice false"]);
    let same = layer();
    for remembered in [false, true] {
        send(same.clone(), bearer(&token)).await.passes("again");
        let expected = format!("request.allowed alice {remembered}");
        assert_eq!(told.take(), [expected]);
    }
    send(layer(), Request::new(String::new()))
        .await
        .bare("no token");
    assert_eq!(told.take(), ["request.denied missing_credential"]);
    let other = TestIssuer::with_keys(tower_jwt_auth::key::Algorithm::Es256, TestKeys::other());
    let unknown = other.clock(fixture.clock.clone()).token(|_| ());
    send(layer(), bearer(unknown))
        .await
        .invalid_token("kid miss");
    assert_eq!(told.take(), ["request.denied unknown_key"]);
    send(layer().optional(), Request::new(String::new()))
        .await
        .passes("optional");
    assert_eq!(told.take(), ["request.anonymous"]);
    send(layer().allow_preflight(), options())
        .await
        .passes("preflight");
    assert_eq!(told.take(), ["request.preflight"]);
    send(layer().skip_if(|_| true), bearer("bad"))
        .await
        .passes("skipped");
    assert_eq!(told.take(), ["request.skipped"]);

    let revoked = RevocationSet::local_with_clock(fixture.clock.clone());
    let until = fixture.clock.now().plus(RETENTION);
    revoked.insert(&Revocation::session("s1", until));
    send(layer().revocation(revoked), bearer(&token))
        .await
        .invalid_token("revoked");
    assert_eq!(told.take(), ["request.denied revoked"]);
}

#[tokio::test]
async fn q8_a_guards_refusal_is_told_to_the_sink_of_the_layer_around_it() {
    let fixture = Fixture::new();
    let told = Told::default();
    for guard in [
        RoleGuardLayer::any_of(["nobody"]),
        RoleGuardLayer::any_of(["nobody"]).realm("a realm of its own"),
    ] {
        let layer: JwtAuthLayer = fixture.layer().events(told.sink());
        let guarded = ServiceBuilder::new().layer(layer).layer(guard);
        let answer = send(guarded.into_inner(), bearer(fixture.token())).await;
        answer.insufficient_scope("a role is missing");
        assert_eq!(
            told.take(),
            ["request.allowed alice false", "request.denied forbidden"]
        );
    }
}

#[tokio::test]
async fn two_sinks_hear_the_same() {
    let fixture = Fixture::new();
    let (one, two) = (Told::default(), Told::default());
    let layer = fixture.layer().events(one.sink().and(two.sink()));
    send(layer, bearer(fixture.token())).await.passes("token");
    assert_eq!(one.take(), two.take());
}

#[tokio::test]
async fn what_another_site_tried_has_a_name_of_its_own() {
    let (fixture, told) = (Fixture::new(), Told::default());
    let layer = fixture.layer().events(told.sink());
    let layer = layer.extractor(
        Cookie::new("at")
            .unwrap()
            .public_origin("https://api.example")
            .unwrap(),
    );
    let mut request = Request::post("/").body(String::new()).unwrap();
    for (name, value) in [
        ("cookie", format!("at={}", fixture.token())),
        ("sec-fetch-site", "cross-site".to_owned()),
    ] {
        let value = HeaderValue::try_from(value).unwrap();
        request.headers_mut().insert(name, value);
    }
    send(layer, request).await;
    assert_eq!(told.take(), ["csrf.rejected cross_site"]);
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_no_request_waits() {
    use tower_jwt_auth::event::channel;

    let fixture = Fixture::new();
    let (sink, mut events) = channel(2);
    let layer = fixture.layer().events(sink);
    send(layer.clone(), bearer(fixture.token()))
        .await
        .passes("not queued");
    for _ in 0..5 {
        send(layer.clone(), bearer("bad"))
            .await
            .invalid_token("queued");
    }
    assert_eq!(events.dropped(), 3);
    for _ in 0..2 {
        let record = events.recv().await.unwrap();
        assert_eq!(record.name, "request.denied");
        assert_eq!(record.detail, Some("malformed_token"));
        assert_eq!(record.subject, None);
    }
    assert_eq!(events.try_recv(), None);
    drop(layer);
    assert_eq!(events.recv().await, None);
}
