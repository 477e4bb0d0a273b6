//! The layer's switches: skip, strip, forward, and what it leaves for those outside.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderName, HeaderValue, Request};
use tower::{Service, ServiceBuilder, ServiceExt, layer::layer_fn};
use tower_jwt_auth::{
    Anonymous, AuthError, JwtAuthLayer, Principal, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    key::{KeyLookup, KeyNotifier, KeyQuery, KeySource, KeyWait},
    layer::{
        extract::{Bearer, Cookie, Header, Query, WebSocketProtocol},
        jwt::ForwardedClaim,
    },
};

use crate::support::{
    answer::{Answer, Inner, send},
    fixture::{Fixture, bearer, keys},
    request::target,
    request::with,
};

#[tokio::test]
async fn skipped_requests_pass_as_nobody_without_a_look_at_their_credential() {
    let fixture = Fixture::new();
    let layer = || {
        fixture
            .layer()
            .skip_if(|head| head.uri().path() == "/health")
            .skip_if(|head| head.headers().contains_key("x-probe"))
    };
    for bad in [
        None,
        Some("a.b.c"),
        Some("a b"),
        Some(fixture.token().as_str()),
    ] {
        for probe in [false, true] {
            let mut request = match bad {
                None => target("/"),
                Some(token) => bearer(token),
            };
            if probe {
                let value = HeaderValue::from_static("1");
                request.headers_mut().insert("x-probe", value);
            } else {
                *request.uri_mut() = "/health".parse().unwrap();
            }
            let answer = send(layer(), request).await.passes("skipped");
            let extensions = &answer.seen().extensions;
            assert!(extensions.get::<Anonymous>().is_some());
            assert!(extensions.get::<Principal>().is_none());
        }
    }
    for path in ["/", "/health/", "/healthz", "/HEALTH"] {
        send(layer(), target(path)).await.bare(path);
    }
    // A guard inside still refuses.
    let guarded = ServiceBuilder::new()
        .layer(layer())
        .layer(RoleGuardLayer::authenticated());
    send(guarded, target("/health")).await.bare("guard");
}

#[tokio::test]
async fn a_stripped_credential_never_reaches_the_inner_service() {
    let fixture = Fixture::new();
    let token = fixture.token();
    let places = || {
        (
            Bearer::new(),
            Header::new(HeaderName::from_static("x-jwt")),
            (Cookie::new("at").unwrap(), Query::new("access_token")),
            WebSocketProtocol::new("bearer"),
        )
    };
    let handshake = with(target("/ws"), "upgrade", "websocket");
    for request in [
        with(bearer(&token), "x-kept", "1"),
        with(target("/a?b=1"), "x-jwt", &token),
        with(target("/a?b=1"), "cookie", &format!("a=1; at={token}; b=2")),
        target(&format!("/a?b=1&access_token={token}&c=2")),
        with(
            handshake,
            "sec-websocket-protocol",
            &format!("chat, bearer, {token}"),
        ),
    ] {
        let layer = fixture.layer().extractor(places()).strip_credential();
        let answer = send(layer, request.clone()).await.passes("stripped");
        let parts = answer.seen();
        assert!(!format!("{:?}{}", parts.headers, parts.uri).contains(&token));
        assert_eq!(answer.caller().subject(), Some("alice"));

        // Control: not asked to, the layer leaves it there.
        let answer = send(fixture.layer().extractor(places()), request).await;
        let parts = answer.seen();
        assert!(format!("{:?}{}", parts.headers, parts.uri).contains(&token));
    }
    // Nothing else goes.
    let layer = || fixture.layer().extractor(places()).strip_credential();
    let answer = send(layer(), target(&format!("/a?b=1&access_token={token}&c=2"))).await;
    assert_eq!(answer.seen().uri, "/a?b=1&c=2");
    let request = with(target("/"), "cookie", &format!("a=1; at={token}; b=2"));
    assert_eq!(
        send(layer(), request).await.seen().headers["cookie"],
        "a=1; b=2"
    );
}

#[tokio::test]
async fn stripping_holds_for_requests_that_pass_as_nobody_too() {
    let fixture = Fixture::new();
    let token = fixture.token();
    let skipping = fixture.layer().skip_if(|_| true).strip_credential();
    let answer = send(skipping, bearer(&token)).await.passes("skip");
    assert!(answer.seen().headers.get("authorization").is_none());
    let optional = fixture
        .layer()
        .extractor(Cookie::new("at").unwrap())
        .optional()
        .strip_credential();
    let answer = send(optional, with(target("/"), "cookie", "at=bad; b=1"))
        .await
        .passes("bad cookie");
    assert_eq!(answer.seen().headers["cookie"], "b=1");
    // Another scheme is not ours to remove.
    let optional = fixture.layer().optional().strip_credential();
    let answer = send(optional, with(target("/"), "authorization", "Basic YTpi")).await;
    assert_eq!(
        answer.passes("Basic").seen().headers["authorization"],
        "Basic YTpi"
    );
}

#[tokio::test]
async fn strip_and_forward_go_together() {
    let fixture = Fixture::new();
    let layer = fixture
        .layer()
        .strip_credential()
        .forward_as(HeaderName::from_static("x-user"), ForwardedClaim::Subject)
        .skip_if(|head| head.uri().path() == "/health");
    let forged = |path| with(with(target(path), "x_user", "root"), "x-user", "root");
    let request = with(
        forged("/"),
        "authorization",
        &format!("Bearer {}", fixture.token()),
    );
    let answer = send(layer.clone(), request).await.passes("token");
    let headers = &answer.seen().headers;
    assert_eq!(headers["x-user"], "alice");
    assert!(!headers.contains_key("x_user") && !headers.contains_key("authorization"));
    let answer = send(layer, forged("/health")).await.passes("skipped");
    let headers = &answer.seen().headers;
    assert!(!headers.contains_key("x_user") && !headers.contains_key("x-user"));
}

#[tokio::test]
async fn a_refusal_carries_its_error_for_the_layers_outside() {
    let fixture = Fixture::new();
    let seen = Arc::new(std::sync::Mutex::new(None));
    let noted = Arc::clone(&seen);
    let outside = layer_fn(move |inner| {
        let noted = Arc::clone(&noted);
        tower::util::MapResponse::new(inner, move |response: http::Response<_>| {
            *noted.lock().unwrap() = response.extensions().get::<AuthError>().cloned();
            response
        })
    });
    let layers = ServiceBuilder::new().layer(outside).layer(fixture.layer());
    for (token, expected) in [
        ("a.b.c".to_owned(), Some(AuthErrorKind::MalformedHeader)),
        ("a b".to_owned(), Some(AuthErrorKind::MalformedCredential)),
        (fixture.token(), None),
    ] {
        send(layers.clone(), bearer(token)).await;
        let error = seen.lock().unwrap().take();
        assert_eq!(error.as_ref().map(AuthError::kind), expected);
        if let Some(error) = error {
            assert_eq!(error.as_str(), error.kind().as_str());
        }
    }
}

/// A source whose keys come later, or never.
struct Later {
    lookups: Arc<AtomicUsize>,
    news: Arc<std::sync::Mutex<Vec<KeyNotifier>>>,
    arrive: bool,
}

impl KeySource for Later {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        let asked = self.lookups.fetch_add(1, Ordering::Relaxed);
        if asked > 0 && self.arrive {
            return keys().lookup(query);
        }
        let (news, wait) = KeyWait::new();
        self.news.lock().unwrap().push(news);
        KeyLookup::Wait(wait)
    }
}

async fn ask_later(arrive: bool, token: &str) -> (Answer, usize) {
    let fixture = Fixture::new();
    let (lookups, news) = (Arc::<AtomicUsize>::default(), Arc::default());
    let source = Later {
        lookups: Arc::clone(&lookups),
        news: Arc::clone(&news),
        arrive,
    };
    let verifier = fixture
        .expecting(Verifier::key_source(source))
        .build()
        .unwrap();
    let announce = async {
        while let Some(news) = { news.lock().unwrap().pop() } {
            news.notify();
            tokio::task::yield_now().await;
        }
    };
    let asked = send(JwtAuthLayer::new(verifier), bearer(token));
    let (answer, ()) = tokio::join!(asked, announce);
    (answer, lookups.load(Ordering::Relaxed))
}

#[tokio::test]
async fn q10_a_request_waits_for_its_key_and_is_decided_once_more() {
    let fixture = Fixture::new();
    let (answer, lookups) = ask_later(true, &fixture.token()).await;
    assert_eq!(
        answer.passes("the keys came").caller().subject(),
        Some("alice")
    );
    assert_eq!(lookups, 2);
    let (answer, lookups) = ask_later(false, &fixture.token()).await;
    answer
        .unavailable("they did not")
        .because(AuthErrorKind::KeysUnavailable);
    assert_eq!(lookups, 2);
    let (answer, _) = ask_later(true, &fixture.with("exp", serde_json::json!(0))).await;
    answer.invalid_token("they came, and the token is expired");
    // What cannot be a token waits for nothing.
    let (answer, _) = ask_later(true, &format!("{}\"", fixture.token())).await;
    answer.invalid_request("malformed");
}

#[tokio::test]
async fn b1_the_inner_service_is_not_polled_for_a_refusal_and_errors_pass_through() {
    let fixture = Fixture::new();
    let failing =
        tower::service_fn(async |_: Request<String>| Err::<http::Response<String>, _>("full"));
    let service = ServiceBuilder::new()
        .layer(fixture.layer())
        .service(failing);
    let refused = service.clone().oneshot(bearer("a.b.c")).await.unwrap();
    assert_eq!(refused.status(), 401);
    let failed = service.oneshot(bearer(fixture.token())).await.unwrap_err();
    assert_eq!(failed, "full");

    let mut service = ServiceBuilder::new()
        .layer(fixture.layer())
        .service(Inner::default());
    let ready = ServiceExt::<Request<String>>::ready(&mut service)
        .await
        .unwrap();
    drop(ready.call(bearer(fixture.token())));
}
