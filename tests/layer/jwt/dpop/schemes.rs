//! The schemes `Bearer` and `DPoP` on one route: B12, B13, G21 to G23, G28, G39, G40.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderValue, Request, StatusCode};
use serde_json::{Map, Value, json};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer,
    error::AuthErrorKind,
    layer::extract::{Bearer, Cookie, Query},
    revocation::{Revocation, RevocationSet, RevocationStatus, check_fn},
};

use super::{TARGET, World, ask, asked_for, challenges, invalid_proof, refused, request};
use crate::{
    jwt::revocation::later,
    support::{
        answer::{send, send_to},
        fixture::bearer,
        request::{nobody, with},
    },
};

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test]
async fn b12_without_a_credential_both_schemes_are_offered_and_none_has_an_error() {
    let world = World::new();
    let both = [("Bearer", None), ("DPoP", None)];
    asked_for(
        &ask(&world.layer(), nobody()).await,
        UNAUTHORIZED,
        &both,
        "nothing",
    );
    let basic = with(nobody(), "authorization", "Basic YTpi");
    asked_for(
        &ask(&world.layer(), basic).await,
        UNAUTHORIZED,
        &both,
        "Basic",
    );
    // A guard around a route for everybody offers the same.
    let guarded = ServiceBuilder::new()
        .layer(world.layer().optional())
        .layer(RoleGuardLayer::any_of(["admin"]));
    asked_for(
        &send(guarded, nobody()).await,
        UNAUTHORIZED,
        &both,
        "a guard",
    );
}

#[tokio::test]
async fn b13_only_the_scheme_that_failed_has_an_error() {
    let world = World::new();
    let layer = world.layer();
    let expired = |bound: bool| {
        let edit = |claims: &mut Map<_, _>| claims.insert("exp".into(), json!(1));
        match bound {
            true => world.fixture.es.bound_token(&world.client, edit),
            false => world.fixture.es.token(edit),
        }
    };
    let of_bearer = [("Bearer", Some("invalid_token")), ("DPoP", None)];
    let answer = ask(&layer, bearer(expired(false))).await;
    asked_for(&answer, UNAUTHORIZED, &of_bearer, "Bearer");
    let token = expired(true);
    let proof = world.client.proof("GET", TARGET, &token);
    let answer = ask(&layer, request(&token, &[&proof])).await;
    refused(&answer, "invalid_token", "DPoP");
    answer.because(AuthErrorKind::Expired);
    let answer = ask(&layer, request("", &["x"])).await;
    let malformed = [("DPoP", Some("invalid_request"))];
    let found = challenges(&answer);
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        found
            .iter()
            .any(|one| (one.scheme.as_str(), one.get("error")) == malformed[0])
    );
}

#[tokio::test]
async fn b13_a_guard_refuses_a_bound_token_in_its_scheme() {
    let world = World::new();
    let guarded = ServiceBuilder::new()
        .layer(world.layer())
        .layer(RoleGuardLayer::any_of(["admin"]));
    let answer = send(guarded, world.proven()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let found = challenges(&answer);
    let of = |scheme: &str| found.iter().find(|one| one.scheme == scheme);
    assert_eq!(of("DPoP").unwrap().get("error"), Some("insufficient_scope"));
    assert!(of("Bearer").is_none_or(|bearer| bearer.get("error").is_none()));
}

#[tokio::test]
async fn g28_the_challenge_lists_the_algorithms() {
    let world = World::new();
    let answer = ask(&world.layer(), nobody()).await;
    let found = challenges(&answer);
    let dpop = found.iter().find(|one| one.scheme == "DPoP").unwrap();
    let algorithms: Vec<_> = dpop.get("algs").unwrap().split(' ').collect();
    assert!(algorithms.contains(&"ES256") && algorithms.contains(&"EdDSA"));
    assert!(
        !algorithms
            .iter()
            .any(|one| *one == "none" || one.starts_with("HS"))
    );
    let bearer = found.iter().find(|one| one.scheme == "Bearer").unwrap();
    assert_eq!(bearer.get("algs"), None);
}

#[tokio::test]
async fn g21_an_unbound_token_is_invalid_in_the_scheme_dpop() {
    let world = World::new();
    let layer = world.layer();
    let token = world.fixture.token();
    let proof = || world.client.proof("GET", TARGET, &token);
    let answer = ask(&layer, request(&token, &[&proof()])).await;
    refused(&answer, "invalid_token", "unbound");
    answer.because(AuthErrorKind::NotSenderConstrained);
    // Nor one that the cache holds, where it stays.
    ask(&layer, bearer(&token)).await.passes("Bearer");
    let answer = ask(&layer, request(&token, &[&proof()])).await;
    answer.because(AuthErrorKind::NotSenderConstrained);
    ask(&layer, bearer(&token)).await.passes("Bearer again");
}

#[tokio::test]
async fn g22_a_bound_token_is_never_a_bearer_token() {
    let world = World::new();
    let plain = world.fixture.layer();
    for (case, layer) in [("with DPoP", world.layer()), ("without", plain)] {
        for layer in [layer.clone(), layer.optional()] {
            let answer = ask(&layer, bearer(&world.token)).await;
            assert_eq!(answer.status, UNAUTHORIZED, "{case}");
            answer.because(AuthErrorKind::SenderConstrained);
            let proof = world.client.proof("GET", TARGET, &world.token);
            let proven = with(bearer(&world.token), "dpop", &proof);
            let answer = ask(&layer, proven).await;
            answer.because(AuthErrorKind::SenderConstrained);
        }
    }
}

#[tokio::test]
async fn g22_a_bound_token_in_another_place_is_refused() {
    let world = World::new();
    let places = (
        Bearer::new(),
        Cookie::new("at").unwrap(),
        Query::new("access_token"),
    );
    let layer = world.layer().extractor(places);
    let proof = || world.client.proof("GET", TARGET, &world.token);
    let cookie = with(nobody(), "cookie", &format!("at={}", world.token));
    let cookie = with(cookie, "dpop", &proof());
    let answer = ask(&layer, cookie).await;
    answer.because(AuthErrorKind::SenderConstrained);
    let query = Request::get(format!("/notes?access_token={}", world.token));
    let query = with(query.body(String::new()).unwrap(), "dpop", &proof());
    let answer = ask(&layer, query).await;
    answer.because(AuthErrorKind::SenderConstrained);
    ask(&layer, world.proven()).await.passes("in its own place");
}

#[tokio::test]
async fn g23_two_credentials_are_refused_in_both_schemes() {
    let world = World::new();
    let both = [
        ("Bearer", Some("invalid_request")),
        ("DPoP", Some("invalid_request")),
    ];
    let plain = format!("Bearer {}", world.fixture.token());
    let second = with(world.proven(), "authorization", &plain);
    let first = with(
        bearer(world.fixture.token()),
        "authorization",
        &format!("DPoP {}", world.token),
    );
    let twice = with(
        world.proven(),
        "authorization",
        &format!("DPoP {}", world.token),
    );
    for (case, request) in [
        ("Bearer second", second),
        ("Bearer first", first),
        ("DPoP twice", twice),
    ] {
        let answer = ask(&world.layer(), request).await;
        asked_for(&answer, StatusCode::BAD_REQUEST, &both, case);
    }
    // A cookie is a second credential too, whatever the order of the setters.
    let cookie = || Cookie::new("at").unwrap();
    let rules = || world.rules().build().unwrap();
    let layers = [
        world
            .fixture
            .layer()
            .dpop(rules())
            .extractor((Bearer::new(), cookie())),
        world
            .fixture
            .layer()
            .extractor((cookie(), Bearer::new()))
            .dpop(rules()),
        world.fixture.layer().extractor(cookie()).dpop(rules()),
    ];
    for layer in layers {
        let request = with(
            world.proven(),
            "cookie",
            &format!("at={}", world.fixture.token()),
        );
        let answer = ask(&layer, request).await;
        asked_for(&answer, StatusCode::BAD_REQUEST, &both, "a cookie");
        ask(&layer, world.proven()).await.passes("alone");
    }
}

#[tokio::test]
async fn g39_where_a_proof_is_required_a_plain_token_is_none() {
    let world = World::new();
    let layer = world.layer_with(world.rules().required());
    let alone = [("DPoP", None)];
    for layer in [layer.clone(), layer.clone().optional()] {
        let answer = ask(&layer, bearer(world.fixture.token())).await;
        asked_for(&answer, UNAUTHORIZED, &alone, "a plain token");
        let answer = ask(&layer, bearer(&world.token)).await;
        asked_for(&answer, UNAUTHORIZED, &alone, "a bound one");
        ask(&layer, world.proven()).await.passes("with a proof");
    }
    asked_for(
        &ask(&layer, nobody()).await,
        UNAUTHORIZED,
        &alone,
        "nothing",
    );
    ask(&layer.clone().optional(), nobody())
        .await
        .passes("anonymous");
    let answer = ask(&layer, request(&world.token, &[])).await;
    asked_for(
        &answer,
        UNAUTHORIZED,
        &[("DPoP", Some("invalid_dpop_proof"))],
        "no proof",
    );
    let layer = layer.extractor((Bearer::new(), Cookie::new("at").unwrap()));
    let cookie = with(nobody(), "cookie", &format!("at={}", world.fixture.token()));
    asked_for(&ask(&layer, cookie).await, UNAUTHORIZED, &alone, "a cookie");
}

#[tokio::test]
async fn g39_where_a_proof_is_allowed_both_kinds_of_tokens_pass() {
    let world = World::new();
    ask(&world.layer(), bearer(world.fixture.token()))
        .await
        .passes("plain");
    ask(&world.layer(), world.proven()).await.passes("bound");
}

#[tokio::test]
async fn g40_a_proxy_removes_token_and_proof_and_forwards_neither_as_bearer() {
    let world = World::new();
    let layer = world.layer().strip_credential();
    let answer = ask(&layer, world.proven()).await.passes("stripped");
    let headers = &answer.seen().headers;
    assert!(!headers.contains_key("authorization") && !headers.contains_key("dpop"));
    // Without this setting, both arrive as they were sent.
    let answer = ask(&world.layer(), world.proven()).await.passes("kept");
    let value = &answer.seen().headers["authorization"];
    assert_eq!(value, &format!("DPoP {}", world.token));
    assert!(answer.seen().headers.contains_key("dpop"));
    // A proof beside a plain token is removed too: an upstream must not take it for a check.
    let plain = with(bearer(world.fixture.token()), "dpop", "x.y.z");
    let answer = ask(&layer, plain).await.passes("plain");
    assert!(!answer.seen().headers.contains_key("dpop"));
}

#[tokio::test]
async fn t12_a_revoked_bound_token_is_refused_with_a_proof() {
    let world = World::new();
    let revoked = RevocationSet::local_with_clock(world.clock().clone());
    let layer = world.layer().revocation(revoked.clone());
    let token = world
        .fixture
        .es
        .bound_token(&world.client, |claims| claims["jti"] = json!("t1"));
    let proven = || request(&token, &[&world.client.proof("GET", TARGET, &token)]);
    send(layer.clone(), proven()).await.passes("not yet");
    revoked.insert(&Revocation::token("t1", later(world.clock())));
    let answer = send(layer, proven()).await;
    refused(&answer, "invalid_token", "revoked");
    answer.because(AuthErrorKind::Revoked);
}

#[tokio::test]
async fn g33_a_revoked_token_causes_no_signature_and_no_query() {
    let world = World::new();
    let rules = world.rules().build().unwrap();
    let revoked = RevocationSet::local_with_clock(world.clock().clone());
    let queries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&queries);
    let query = check_fn(move |_| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            RevocationStatus::Valid
        }
    });
    let layer = world.fixture.layer().dpop(rules.clone());
    let layer = layer.revocation(revoked.clone()).revocation(query);
    let of = |id: &'static str| {
        let edit = |claims: &mut Map<String, Value>| claims["jti"] = json!(id);
        world.fixture.es.bound_token(&world.client, edit)
    };
    let (good, bad) = (of("t1"), of("t2"));
    let own = |token: &str| world.client.proof("GET", TARGET, token);
    revoked.insert(&Revocation::token("t2", later(world.clock())));
    let costs = || {
        (
            rules.verifications(),
            rules.remembered(),
            queries.load(Ordering::SeqCst),
        )
    };

    let answer = send(layer.clone(), request(&bad, &[&own(&bad)])).await;
    refused(&answer, "invalid_token", "revoked");
    assert_eq!(costs(), (0, 0, 0));
    // A query waits for the proof.
    let forged = own(&good);
    let (message, _) = forged.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(86));
    let answer = send(layer.clone(), request(&good, &[&forged])).await;
    invalid_proof(&answer, "forged");
    assert_eq!(costs(), (1, 0, 0));
    send(layer, request(&good, &[&own(&good)]))
        .await
        .passes("good");
    assert_eq!(costs(), (2, 1, 1));
}

#[tokio::test]
async fn g24_the_next_nonce_survives_a_revocation_check_that_waits() {
    let world = World::new();
    let nonces = tower_jwt_auth::verify::proof::Nonces::generate().unwrap();
    let slow = check_fn(|_| async {
        tokio::task::yield_now().await;
        RevocationStatus::Valid
    });
    let layer = world
        .layer_with(world.rules().nonces(nonces))
        .revocation(slow);
    let answer = send(layer.clone(), world.proven()).await;
    assert!(world.client.take_nonce(&answer.headers));
    world.clock().advance(std::time::Duration::from_secs(150));
    let answer = send(layer, world.proven()).await.passes("after a wait");
    assert!(answer.header("dpop-nonce").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn g31_a_gateway_needs_the_target_of_its_client() {
    let world = World::new();
    let gateway = |layer: JwtAuthLayer| layer.gateway().build();
    assert!(gateway(world.layer()).is_err());
    let header = |name: &'static str| {
        move |head: tower_jwt_auth::layer::extract::RequestHead<'_>| {
            let value: Option<&HeaderValue> = head.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        }
    };
    let (method, path) = (header("x-original-method"), header("x-original-uri"));
    let rules = world
        .rules()
        .target_method(move |head| method(head)?.parse().ok())
        .target_uri(move |head| Some(format!("https://api.example{}", path(head)?)));
    let layer = gateway(world.layer_with(rules)).unwrap();
    let proof = world
        .client
        .proof("POST", "https://api.example/orders", &world.token);
    let asked = with(world.with_proof(&proof), "x-original-method", "POST");
    let asked = with(asked, "x-original-uri", "/orders?x=1");
    ask(&layer, asked).await.passes("for the client's request");
    let headers = http::HeaderMap::new();
    let answer = send_to(headers, layer, world.proven()).await;
    answer.because(AuthErrorKind::Misconfigured);
}
