//! The layer: where a key is read, what it gives, and how it is refused.

use std::sync::atomic::Ordering;

use http::{HeaderValue, Request, Response};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_jwt_auth::{
    Anonymous, Principal, RoleGuardLayer, error::AuthErrorKind, layer::api_key::ApiKeyLayer,
    principal::PrincipalKind,
};

use crate::support::{
    answer::send,
    api_key::{Fault, Fixture, HOUR, ask, issue, wanted, x_api_key},
    fixture::bearer,
    request::{nobody, with},
    settle::settle,
    touchy::Touchy,
};

#[tokio::test]
async fn a_key_in_either_place_is_its_owners() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    for optional in [false, true] {
        let layer = || match optional {
            false => ApiKeyLayer::new(&keys),
            true => ApiKeyLayer::new(&keys).optional(),
        };
        for request in [x_api_key(key.expose()), bearer(key.expose())] {
            let answer = send(layer(), request).await.passes("good");
            let caller = answer.caller();
            assert_eq!(caller.subject(), Some("alice"));
            assert_eq!(caller.kind(), PrincipalKind::Service);
            assert_eq!(caller.token_id(), Some(key.id().as_str()));
            assert!(caller.has_scope("orders:read") && !caller.has_scope("orders:write"));
            assert_eq!(caller.roles().count(), 0);
            assert!(caller.expires_at().is_some());
        }
    }
}

#[tokio::test]
async fn v1_a_bad_checksum_costs_no_store_hit() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let text = key.expose();
    let mut mistyped = text.to_owned();
    let last = if mistyped.ends_with('A') { "B" } else { "A" };
    mistyped.replace_range(text.len() - 1.., last);
    let cut = &text[..text.len() - 1];
    let long = text.repeat(100);
    for bad in [&*mistyped, cut, "acme_live_", "acme_live_x_y", &long] {
        for request in [x_api_key(bad), bearer(bad)] {
            let answer = send(ApiKeyLayer::new(&keys), request).await;
            answer
                .is("401/it", bad)
                .because(AuthErrorKind::InvalidApiKey);
        }
    }
    assert_eq!(fixture.store.finds(), 0);
    ask(&keys, text).await.passes("control");
    assert_eq!(fixture.store.finds(), 1);
}

#[tokio::test]
async fn v3_expired_revoked_and_wrong_scope() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let short = keys.issue(wanted().lifetime(HOUR)).await.unwrap();
    let revoked = issue(&keys).await;
    let good = issue(&keys).await;
    for key in [&short, &revoked, &good] {
        ask(&keys, key.expose()).await.passes("before");
    }
    let layers = ServiceBuilder::new()
        .layer(ApiKeyLayer::new(&keys))
        .layer(RoleGuardLayer::scope("orders:write"));
    let answer = send(layers, x_api_key(good.expose())).await;
    let answer = answer.is("403/is", "scope");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"scope="orders:write""#), "{challenge}");

    // To the instant, though the row is remembered.
    fixture
        .clock
        .advance(HOUR - std::time::Duration::from_millis(1));
    ask(&keys, short.expose()).await.passes("in time");
    let asked = fixture.store.finds();
    fixture.clock.advance(std::time::Duration::from_millis(1));
    let answer = ask(&keys, short.expose()).await.is("401/it", "expired");
    answer.because(AuthErrorKind::Expired);
    assert_eq!(fixture.store.finds(), asked);

    keys.revoke("alice", revoked.id()).await.unwrap();
    let answer = ask(&keys, revoked.expose()).await.is("401/it", "revoked");
    answer.because(AuthErrorKind::Revoked);
    ask(&keys, good.expose()).await.passes("another key");
}

#[tokio::test]
async fn two_credentials_are_bad_request() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let key = key.expose();
    let doubled = [
        with(x_api_key(key), "authorization", &format!("Bearer {key}")),
        with(x_api_key(key), "authorization", "Bearer a.b.c"),
        with(x_api_key(key), "x-api-key", key),
        with(bearer(key), "authorization", "Basic YTpi"),
    ];
    for request in doubled {
        for layer in [ApiKeyLayer::new(&keys), ApiKeyLayer::new(&keys).optional()] {
            let answer = send(layer, request.clone()).await;
            answer
                .is("400/ir", "two")
                .because(AuthErrorKind::MultipleCredentials);
        }
    }
    assert_eq!(fixture.store.finds(), 0);
    // What is no credential of these kinds does not count.
    let basic = with(x_api_key(key), "authorization", "Basic YTpi");
    send(ApiKeyLayer::new(&keys), basic).await.passes("Basic");
}

#[tokio::test]
async fn what_is_malformed_is_bad_request_and_nothing_is_nobody() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    for request in [
        x_api_key(""),
        bearer(""),
        x_api_key("a b"),
        bearer("acme_live_a b"),
    ] {
        for layer in [ApiKeyLayer::new(&keys), ApiKeyLayer::new(&keys).optional()] {
            send(layer, request.clone()).await.is("400/ir", "malformed");
        }
    }
    send(ApiKeyLayer::new(&keys), nobody())
        .await
        .is("401/bare", "none");
    let answer = send(ApiKeyLayer::new(&keys).optional(), nobody()).await;
    let seen = answer.passes("optional").seen.unwrap();
    assert!(seen.extensions.get::<Anonymous>().is_some());
    assert!(seen.extensions.get::<Principal>().is_none());
    // `X-API-Key` is nobody else's: what stands there is a key, and a bad one.
    let answer = send(ApiKeyLayer::new(&keys).optional(), x_api_key("acme_test_x")).await;
    answer.is("401/it", "another prefix");
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn r3_a_token_where_only_keys_are_accepted_is_refused_without_a_store_hit() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    for token in ["a.b.c", "abc"] {
        let answer = send(ApiKeyLayer::new(&keys), bearer(token)).await;
        answer.is("401/it", token);
        let answer = send(ApiKeyLayer::new(&keys), x_api_key(token)).await;
        answer.is("401/it", token);
        // Where keys are optional its form says that it is another layer's.
        let answer = send(ApiKeyLayer::new(&keys).optional(), bearer(token)).await;
        assert!(
            answer
                .passes(token)
                .seen
                .unwrap()
                .extensions
                .get::<Anonymous>()
                .is_some()
        );
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn while_the_store_is_away_a_key_is_503_and_never_nobody() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let (known, unknown) = (issue(&keys).await, issue(&keys).await);
    ask(&keys, known.expose()).await.passes("known");
    for fault in [Fault::Down, Fault::Panic] {
        fixture.store.fails(Some(fault));
        for layer in [ApiKeyLayer::new(&keys), ApiKeyLayer::new(&keys).optional()] {
            let answer = send(layer, x_api_key(unknown.expose())).await;
            answer
                .is("503", "unknown")
                .because(AuthErrorKind::StoreUnavailable);
        }
        ask(&keys, known.expose()).await.passes("remembered");
    }
    // That it was away is not remembered.
    fixture.store.fails(None);
    ask(&keys, unknown.expose()).await.passes("back");
}

#[tokio::test]
async fn grpc_calls_are_refused_in_their_own_way() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let grpc = |request| {
        let mut request = with(request, "content-type", "application/grpc");
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        request
    };
    let status = |answer: crate::support::answer::Answer| {
        assert!(answer.seen.is_none() && answer.status == 200);
        answer.header("grpc-status").unwrap().to_owned()
    };
    let layer = || ApiKeyLayer::new(&keys);
    assert_eq!(status(send(layer(), grpc(nobody())).await), "16");
    assert_eq!(
        status(send(layer(), grpc(x_api_key("acme_live_x"))).await),
        "16"
    );
    assert_eq!(status(send(layer(), grpc(x_api_key(""))).await), "3");
    let guarded = ServiceBuilder::new()
        .layer(layer())
        .layer(RoleGuardLayer::scope("orders:write"));
    assert_eq!(
        status(send(guarded, grpc(x_api_key(key.expose()))).await),
        "7"
    );
    keys.forget(key.id());
    fixture.store.fails(Some(Fault::Down));
    assert_eq!(
        status(send(layer(), grpc(x_api_key(key.expose()))).await),
        "14"
    );
}

#[tokio::test]
async fn p7_what_is_not_grpc_is_answered_with_its_http_status() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let guarded = ServiceBuilder::new()
        .layer(ApiKeyLayer::new(&keys))
        .layer(RoleGuardLayer::scope("orders:write"));
    for (method, version, kind) in [
        ("GET", http::Version::HTTP_11, "application/grpc"),
        ("HEAD", http::Version::HTTP_2, "application/grpc"),
        ("POST", http::Version::HTTP_11, "application/grpc+proto"),
        ("GET", http::Version::HTTP_2, "application/grpc-web"),
    ] {
        for (request, status) in [
            (nobody(), 401),
            (x_api_key("acme_live_x"), 401),
            (x_api_key(""), 400),
            (x_api_key(key.expose()), 403),
        ] {
            let mut request = with(request, "content-type", kind);
            *request.method_mut() = method.parse().unwrap();
            *request.version_mut() = version;
            let answer = send(guarded.clone(), request).await;
            assert_eq!(answer.status, status, "{method} {version:?} {kind}");
            assert!(answer.header("grpc-status").is_none() && answer.seen.is_none());
            assert!(answer.header("www-authenticate").is_some());
        }
    }
}

#[tokio::test]
async fn p8_in_gateway_mode_no_refusal_is_an_allowance() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let layer = ApiKeyLayer::new(&keys).gateway().build().unwrap();
    // The guard's own realm does not bring the framing back.
    let guard = RoleGuardLayer::scope("orders:write").realm("own");
    let guarded = ServiceBuilder::new().layer(layer.clone()).layer(guard);
    for kind in ["application/grpc", "application/grpc-web", "text/plain"] {
        for (request, status) in [
            (nobody(), 401),
            (x_api_key("acme_live_x"), 401),
            (x_api_key(""), 401),
            (x_api_key(key.expose()), 403),
        ] {
            let mut request = with(request, "content-type", kind);
            *request.method_mut() = http::Method::POST;
            *request.version_mut() = http::Version::HTTP_2;
            let answer = send(guarded.clone(), request).await;
            assert_eq!(answer.status, status, "{kind}");
            assert!(answer.header("www-authenticate").is_some() && answer.seen.is_none());
        }
    }
    send(layer.clone(), x_api_key(key.expose()))
        .await
        .passes("a good key");

    for opened in [layer.clone().optional(), layer.skip_if(|_| true)] {
        let error = opened.clone().build().unwrap_err().to_string();
        assert!(error.starts_with("gateway: "), "{error}");
        for request in [nobody(), x_api_key(key.expose())] {
            let answer = send(opened.clone(), request).await;
            assert!(answer.status == 503 && answer.seen.is_none());
        }
    }
}

#[tokio::test]
async fn shared_caches_are_kept_away_from_answers_to_x_api_key() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let answer = ask(&keys, key.expose()).await.passes("asked");
    assert_eq!(answer.header("cache-control"), Some("private"));
    let answer = ask(&keys, key.expose()).await.passes("remembered");
    assert_eq!(answer.header("cache-control"), Some("private"));
    // RFC 9111 §3.5: caches know this one.
    let answer = send(ApiKeyLayer::new(&keys), bearer(key.expose())).await;
    assert_eq!(answer.passes("bearer").header("cache-control"), None);
}

#[tokio::test]
async fn q14_a_refusal_of_x_api_key_is_private_whatever_the_responder_says() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let cacheable = |denial: &tower_jwt_auth::layer::response::Refusal<'_>| {
        let mut response = Response::new(bytes::Bytes::new());
        *response.status_mut() = denial.status();
        let value = HeaderValue::from_static("public, max-age=60");
        response.headers_mut().insert("cache-control", value);
        response
    };
    let unknown = issue(&keys).await;
    keys.revoke("alice", unknown.id()).await.unwrap();
    for key in ["garbage", unknown.expose()] {
        let layer = ApiKeyLayer::new(&keys).responder(cacheable);
        let answer = send(layer, x_api_key(key)).await;
        assert_eq!(answer.status, 401);
        let expected = Some("private, max-age=60");
        assert_eq!(answer.header("cache-control"), expected, "{key}");
    }
}

#[tokio::test]
async fn a_proxy_hands_no_key_on_and_leaves_other_credentials() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let strip = || ApiKeyLayer::new(&keys).strip_credential();
    for request in [x_api_key(key.expose()), bearer(key.expose())] {
        for layer in [strip(), strip().skip_if(|_| true)] {
            let answer = send(layer, request.clone()).await.passes("stripped");
            assert!(answer.seen.unwrap().headers.is_empty());
        }
    }
    let answer = send(strip().optional(), bearer("a.b.c"))
        .await
        .passes("token");
    assert_eq!(answer.seen.unwrap().headers.len(), 1);
    let kept = send(ApiKeyLayer::new(&keys), x_api_key(key.expose())).await;
    assert_eq!(kept.seen.unwrap().headers.len(), 1);
}

#[tokio::test]
async fn nothing_prints_a_key() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let secret = &key.expose()[21..40];
    let layer = ApiKeyLayer::new(&keys);
    let mut service = layer.layer(crate::support::answer::Inner::default());
    let future = service.call(x_api_key(key.expose()));
    let printed = format!(
        "{keys:?} {layer:?} {service:?} {future:?} {:?} {key:?}",
        fixture.builder()
    );
    assert!(!printed.contains(secret), "{printed}");
    let answer = future.await.unwrap();
    assert!(!format!("{answer:?}").contains(secret));
    let refused = service.call(x_api_key(&key.expose()[..60])).await.unwrap();
    assert!(!format!("{refused:?}").contains(secret));
}

#[tokio::test]
async fn a_service_that_panics_unready_is_called_ready() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let touchy = Touchy::default();
    let mut service = ApiKeyLayer::new(&keys).layer(touchy.clone());
    // The first has to wait for the store, the second does not.
    for calls in 1..=2 {
        let Ok(ready) = ServiceExt::<Request<String>>::ready(&mut service).await;
        let future = ready.call(x_api_key(key.expose()));
        assert_eq!(
            touchy.calls.load(Ordering::SeqCst),
            usize::from(calls == 2) * 2
        );
        future.await.unwrap();
        assert_eq!(touchy.calls.load(Ordering::SeqCst), calls);
    }
    assert_eq!(fixture.store.finds(), 1);
}

#[tokio::test]
async fn a_dropped_request_never_reaches_the_service_and_its_answer_is_kept() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let touchy = Touchy::default();
    let mut service = ApiKeyLayer::new(&keys).layer(touchy.clone());
    fixture.store.hold();
    let Ok(ready) = ServiceExt::<Request<String>>::ready(&mut service).await;
    let future = ready.call(x_api_key(key.expose()));
    let task = tokio::spawn(future);
    settle().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    fixture.store.release();
    settle().await;
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 0);
    let Ok(ready) = ServiceExt::<Request<String>>::ready(&mut service).await;
    let future = ready.call(x_api_key(key.expose()));
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 1);
    future.await.unwrap();
    assert_eq!(fixture.store.finds(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let mut request = nobody();
    let value = HeaderValue::from_bytes(b"acme_live_\xff").unwrap();
    request.headers_mut().insert("x-api-key", value);
    send(ApiKeyLayer::new(&keys), request)
        .await
        .is("400/ir", "bytes");
}
