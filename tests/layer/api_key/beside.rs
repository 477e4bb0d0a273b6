//! Decision 16: keys and tokens on one route, in either order.

use serde_json::json;
use tower::{ServiceBuilder, layer::util::Identity};
use tower_jwt_auth::{
    Claims, JwtAuthLayer, RoleGuardLayer, Verified, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    layer::{
        api_key::{ApiKeyLayer, ApiKeys},
        extract::{Bearer, Cookie},
    },
    principal::PrincipalKind,
    test_util::{TestIssuer, TestKeys},
};

use crate::support::{
    answer::{Answer, send},
    api_key::{Fixture, issue, x_api_key},
    fixture::bearer,
    request::{nobody, with},
};

fn tokens(fixture: &Fixture) -> (TestIssuer, JwtAuthLayer) {
    let issuer = TestIssuer::new(Algorithm::Es256).clock(fixture.clock.clone());
    let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(fixture.clock.clone())
        .build()
        .unwrap();
    let except = Bearer::new().except_prefix("acme_live_");
    (issuer, JwtAuthLayer::new(verifier).extractor(except))
}

/// Through both layers, in both orders, and a guard.
async fn both_orders(
    keys: &ApiKeys,
    tokens: &JwtAuthLayer,
    request: http::Request<String>,
) -> [Answer; 2] {
    let (token, key) = (tokens.clone().optional(), ApiKeyLayer::new(keys).optional());
    let guard = || RoleGuardLayer::scope("orders:read");
    let outside = ServiceBuilder::<Identity>::new()
        .layer(token.clone())
        .layer(key.clone())
        .layer(guard());
    let inside = ServiceBuilder::new().layer(key).layer(token).layer(guard());
    [
        send(outside, request.clone()).await,
        send(inside, request).await,
    ]
}

#[tokio::test]
async fn keys_and_tokens_stand_side_by_side() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let key = key.expose();
    let (issuer, layer) = tokens(&fixture);
    let token = issuer.token(|claims| {
        claims.insert("sub".into(), json!("bob"));
        claims.insert("scope".into(), json!("orders:read"));
    });
    let expired = issuer.token(|claims| claims["exp"] = json!(1));
    let (front, last) = key.split_at(key.len() - 1);
    let bad_key = format!("{front}{}", if last == "A" { "B" } else { "A" });
    let authorization = |value: &str| format!("Bearer {value}");

    for (request, kind, subject) in [
        (bearer(&token), PrincipalKind::User, "bob"),
        (bearer(key), PrincipalKind::Service, "alice"),
        (x_api_key(key), PrincipalKind::Service, "alice"),
    ] {
        for answer in both_orders(&keys, &layer, request).await {
            let answer = answer.passes(subject);
            assert_eq!(answer.caller().kind(), kind);
            assert_eq!(answer.caller().subject(), Some(subject));
            let claims = answer
                .seen
                .as_ref()
                .unwrap()
                .extensions
                .get::<Verified<Claims>>();
            assert_eq!(claims.is_some(), kind == PrincipalKind::User);
        }
    }
    // What the first and the second order make of it: the token's layer outside, and inside.
    for (request, expected, case) in [
        (nobody(), ["401/bare"; 2], "nothing"),
        (bearer(&expired), ["401/it"; 2], "bad token"),
        (bearer(&bad_key), ["401/it"; 2], "bad key as Bearer"),
        (x_api_key(&bad_key), ["401/it"; 2], "bad key"),
        (bearer("garbage"), ["401/it"; 2], "neither's form"),
        (bearer("a.b.c"), ["401/it"; 2], "a token's form"),
        (bearer(format!("{key}.a.b")), ["401/it"; 2], "both forms"),
        (
            with(x_api_key(key), "authorization", &authorization(&token)),
            ["400/ir"; 2],
            "both",
        ),
        (
            with(x_api_key(&bad_key), "authorization", &authorization(&token)),
            ["400/ir"; 2],
            "a token and a bad key",
        ),
        (
            with(x_api_key(key), "authorization", &authorization(&expired)),
            ["401/it", "400/ir"],
            "a bad token and a key",
        ),
        (
            with(x_api_key(key), "authorization", &authorization(key)),
            ["400/ir"; 2],
            "a key twice",
        ),
    ] {
        let answers = both_orders(&keys, &layer, request).await;
        for (answer, expected) in answers.into_iter().zip(expected) {
            answer.is(expected, case);
        }
    }
}

#[tokio::test]
async fn a_token_in_a_cookie_and_a_key_are_two_credentials() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let (issuer, layer) = tokens(&fixture);
    let except = Bearer::new().except_prefix("acme_live_");
    let layer = layer.extractor((except, Cookie::new("at").unwrap()));
    let cookie = format!("at={}", issuer.token(|_| ()));
    for request in [bearer(key.expose()), x_api_key(key.expose())] {
        let request = with(request, "cookie", &cookie);
        for answer in both_orders(&keys, &layer, request).await {
            let answer = answer.is("400/ir", "cookie and key");
            answer.because(AuthErrorKind::MultipleCredentials);
        }
    }
}

#[tokio::test]
async fn a_guard_does_not_care_whose_scope_it_reads() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let (issuer, layer) = tokens(&fixture);
    let wanted = crate::support::api_key::wanted().scope("orders:write");
    let key = keys.issue(wanted).await.unwrap();
    let token = issuer.token(|claims| claims.insert("scope".into(), json!("orders:write")));
    for credential in [key.expose(), &token] {
        for answer in both_orders(&keys, &layer, bearer(credential)).await {
            answer.is("403/is", "scope");
        }
    }
}

#[tokio::test]
async fn r3_a_key_where_only_tokens_are_accepted_is_refused_without_a_store_hit() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let (_, layer) = tokens(&fixture);
    let plain = layer.clone().extractor(Bearer::new());
    for required in [layer, plain.clone(), plain.optional()] {
        let answer = send(required, bearer(key.expose())).await;
        answer.is("401/it", "a key as Bearer");
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_layer_that_requires_its_own_is_not_satisfied_by_the_other() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let (issuer, layer) = tokens(&fixture);
    let token = issuer.token(|_| ());
    let required_key = ServiceBuilder::new()
        .layer(layer.clone().optional())
        .layer(ApiKeyLayer::new(&keys));
    send(required_key, bearer(&token))
        .await
        .is("401/it", "a token");
    let required_token = ServiceBuilder::new()
        .layer(ApiKeyLayer::new(&keys).optional())
        .layer(layer);
    let answer = send(required_token.clone(), x_api_key(key.expose())).await;
    answer.is("401/bare", "a key");
    let answer = send(required_token, bearer(key.expose())).await;
    answer.is("401/it", "a key as Bearer");
}

#[tokio::test]
async fn a_token_layer_that_strips_leaves_the_key_for_its_own_layer() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let (_, layer) = tokens(&fixture);
    let layers = ServiceBuilder::new()
        .layer(layer.optional().strip_credential())
        .layer(ApiKeyLayer::new(&keys).strip_credential());
    let answer = send(layers, bearer(key.expose())).await.passes("key");
    assert!(answer.seen.unwrap().headers.is_empty());
}

#[tokio::test]
async fn p8_without_the_framing_both_kinds_stand_behind_a_gateway() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let key = key.expose();
    let (issuer, layer) = tokens(&fixture);
    let token = issuer.token(|claims| claims.insert("scope".into(), json!("orders:read")));
    let stack = ServiceBuilder::new()
        .layer(layer.optional().grpc(false))
        .layer(ApiKeyLayer::new(&keys).optional().grpc(false))
        .layer(RoleGuardLayer::scope("orders:read").gateway());
    for kind in ["application/grpc", "application/grpc-web", "text/plain"] {
        let call = |request| {
            let mut request = with(request, "content-type", kind);
            *request.method_mut() = http::Method::POST;
            *request.version_mut() = http::Version::HTTP_2;
            request
        };
        for (request, status) in [
            (nobody(), 401),
            (bearer("a.b.c"), 401),
            (bearer("a b"), 400),
            (x_api_key("acme_live_x"), 401),
            (with(x_api_key(key), "authorization", "Bearer a.b.c"), 401),
            (bearer(issuer.token(|_| ())), 403),
        ] {
            let answer = send(stack.clone(), call(request)).await;
            assert_eq!(answer.status, status, "{kind}");
            assert!(answer.seen.is_none() && answer.header("grpc-status").is_none());
        }
        for request in [bearer(&token), x_api_key(key)] {
            send(stack.clone(), call(request)).await.passes(kind);
        }
    }
}

#[tokio::test]
async fn a21_a_bound_token_beside_keys_is_refused_while_dpop_is_off() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let (issuer, layer) = tokens(&fixture);
    let bound = format!("DPoP {}", issuer.token(|_| ()));
    let dpop = with(nobody(), "authorization", &bound);
    for answer in both_orders(&keys, &layer, dpop.clone()).await {
        answer.is("401/bare", "DPoP");
    }
    // Without the guard as well: the token's layer refuses it.
    let (token, optional) = (layer.clone().optional(), ApiKeyLayer::new(&keys).optional());
    let outside = ServiceBuilder::new()
        .layer(token.clone())
        .layer(optional.clone());
    let inside = ServiceBuilder::new().layer(optional).layer(token);
    send(outside, dpop.clone()).await.is("401/bare", "outside");
    send(inside, dpop.clone()).await.is("401/bare", "inside");
    // With a key it is a second credential.
    let both = with(x_api_key(key.expose()), "authorization", &bound);
    let answers = both_orders(&keys, &layer, both).await;
    for (answer, expected) in answers.into_iter().zip(["401/bare", "400/ir"]) {
        answer.is(expected, "DPoP and a key");
    }
    send(ApiKeyLayer::new(&keys), dpop.clone())
        .await
        .is("401/bare", "a key is required");
    // The key's layer leaves it for the token's.
    let stripping = ServiceBuilder::new()
        .layer(ApiKeyLayer::new(&keys).optional().strip_credential())
        .layer(layer.optional());
    send(stripping, dpop).await.is("401/bare", "stripped");
}

#[tokio::test]
async fn one_key_before_two_layers_for_it_is_one_credential() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let layer = || ApiKeyLayer::new(&keys);
    let twice = || ServiceBuilder::new().layer(layer()).layer(layer());
    for request in [x_api_key(key.expose()), bearer(key.expose())] {
        let answer = send(twice(), request.clone())
            .await
            .passes("both demand it");
        assert_eq!(answer.caller().subject(), Some("alice"));
        let stripped = ServiceBuilder::new()
            .layer(layer().strip_credential())
            .layer(layer().optional());
        let answer = send(stripped, request).await.passes("stripped outside");
        assert_eq!(answer.caller().subject(), Some("alice"));
    }
    let both = with(
        x_api_key(key.expose()),
        "authorization",
        &format!("Bearer {}", key.expose()),
    );
    let answer = send(twice(), both).await;
    assert_eq!(answer.kind(), Some(AuthErrorKind::MultipleCredentials));
    // The inner layer decides by its own keys.
    let other = Fixture::new();
    let stacked = ServiceBuilder::new()
        .layer(layer())
        .layer(ApiKeyLayer::new(&other.keys()));
    let answer = send(stacked, x_api_key(key.expose())).await;
    assert_eq!(answer.kind(), Some(AuthErrorKind::InvalidApiKey));
}

#[tokio::test]
async fn a_token_layer_may_leave_the_keys_of_several_services_alone() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let (_, layer) = tokens(&fixture);
    let except = Bearer::new()
        .except_prefix("acme_live_")
        .except_prefix("acme_test_");
    let layers = ServiceBuilder::new()
        .layer(layer.extractor(except).optional())
        .layer(ApiKeyLayer::new(&keys).optional());
    send(layers, bearer(key.expose()))
        .await
        .passes("the first prefix");
}
