//! Nonces of the server: G24 to G27, G36.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use serde_json::json;
use tower::Layer;
use tower_jwt_auth::{
    JwtAuthLayer, error::AuthErrorKind, layer::dpop::DpopBuilder, verify::proof::Nonces,
};

use super::{TARGET, World, ask, invalid_proof, refused};
use crate::support::answer::{Answer, Inner, send_to};

const KEY: [u8; 32] = [7; 32];

fn demanding(world: &World) -> DpopBuilder {
    world.rules().nonces(Nonces::with_key(KEY).unwrap())
}

/// A client that has the current nonce.
async fn ready(world: &World, layer: &JwtAuthLayer) -> String {
    let answer = ask(layer, world.proven()).await;
    use_nonce(&answer, "the first request");
    assert!(world.client.take_nonce(&answer.headers));
    nonce_of(&answer).unwrap().to_owned()
}

#[track_caller]
fn use_nonce(answer: &Answer, case: &str) {
    refused(answer, "use_dpop_nonce", case);
    assert!(nonce_of(answer).is_some(), "{case}");
}

/// The nonce of a response, of which there must be at most one.
fn nonce_of(answer: &Answer) -> Option<&str> {
    answer.header("dpop-nonce")
}

#[tokio::test]
async fn g24_a_proof_without_a_nonce_is_refused_with_the_one_to_use() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    let nonce = ready(&world, &layer).await;
    let answer = ask(&layer, world.proven()).await.passes("with the nonce");
    assert_eq!(nonce_of(&answer), None, "a fresh nonce is not replaced");
    let plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    assert!(nonce.bytes().all(plain));
    // A refusal for another reason has no nonce.
    let request = world.with_claim("htm", json!("POST"));
    let answer = ask(&layer, request).await;
    invalid_proof(&answer, "another method");
    assert_eq!(nonce_of(&answer), None);
}

#[tokio::test]
async fn g24_the_client_of_a_test_repeats_the_request_with_the_nonce() {
    let world = World::new();
    let mut service = world.layer_with(demanding(&world)).layer(Inner::default());
    let mut call = async |advance| {
        world.clock().advance(Duration::from_secs(advance));
        let request = Request::get("/notes").body("a body".to_owned()).unwrap();
        let sent = world
            .client
            .call(&mut service, request, TARGET, &world.token);
        let Ok(response) = sent.await;
        (
            response.status(),
            response.headers().contains_key("dpop-nonce"),
        )
    };
    assert_eq!(call(0).await, (StatusCode::OK, false));
    // The next nonce comes with a success.
    assert_eq!(call(150).await, (StatusCode::OK, true));
    // That one is too old now.
    assert_eq!(call(301).await, (StatusCode::OK, false));
}

#[tokio::test]
async fn g24_an_ageing_nonce_passes_and_the_response_has_the_next_one() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    let first = ready(&world, &layer).await;
    world.clock().advance(Duration::from_secs(150));
    let answer = ask(&layer, world.proven()).await.passes("ageing");
    let next = nonce_of(&answer).expect("the next nonce").to_owned();
    assert_ne!(next, first);
    world.client.set_nonce(Some(&next));
    let answer = ask(&layer, world.proven()).await.passes("the next one");
    assert_eq!(nonce_of(&answer), None);
    // The first one is valid for two windows.
    world.clock().advance(Duration::from_secs(150));
    world.client.set_nonce(Some(&first));
    use_nonce(&ask(&layer, world.proven()).await, "too old");
}

#[tokio::test]
async fn g24_nodes_with_one_key_accept_the_nonces_of_each_other() {
    let world = World::new();
    let (one, other) = (
        world.layer_with(demanding(&world)),
        world.layer_with(demanding(&world)),
    );
    ready(&world, &one).await;
    ask(&other, world.proven()).await.passes("on another node");
    let foreign = world.rules().nonces(Nonces::with_key([8; 32]).unwrap());
    use_nonce(
        &ask(&world.layer_with(foreign), world.proven()).await,
        "another key",
    );
}

#[tokio::test]
async fn g25_any_other_nonce_is_answered_with_the_right_one() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    let nonce = ready(&world, &layer).await;
    for other in [
        "x",
        &nonce[1..],
        &format!("{nonce}x"),
        &nonce.to_uppercase(),
    ] {
        world.client.set_nonce(Some(other));
        let answer = ask(&layer, world.proven()).await;
        use_nonce(&answer, other);
        assert_eq!(nonce_of(&answer), Some(nonce.as_str()));
    }
}

#[tokio::test]
async fn g26_with_nonces_no_proof_passes_without_one() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    ready(&world, &layer).await;
    ask(&layer, world.proven()).await.passes("with the nonce");
    world.client.set_nonce(None);
    for _ in 0..3 {
        use_nonce(&ask(&layer, world.proven()).await, "without");
    }
}

#[tokio::test]
async fn g27_a_response_with_a_nonce_is_stored_by_no_cache() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    ready(&world, &layer).await;
    let inner = || {
        let public = HeaderValue::from_static("public, max-age=600");
        let own = HeaderValue::from_static("of-the-handler");
        HeaderMap::from_iter([
            (http::header::CACHE_CONTROL, public),
            (
                http::HeaderName::from_static("cdn-cache-control"),
                HeaderValue::from_static("max-age=9"),
            ),
            (http::HeaderName::from_static("dpop-nonce"), own),
        ])
    };
    let answer = send_to(inner(), layer.clone(), world.proven()).await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=600"));
    world.clock().advance(Duration::from_secs(150));
    let answer = send_to(inner(), layer, world.proven()).await;
    assert_ne!(nonce_of(&answer), Some("of-the-handler"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("cdn-cache-control"), None);
}

#[tokio::test]
async fn g36_with_a_nonce_the_clock_of_the_client_has_no_effect() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    ready(&world, &layer).await;
    for seconds in [-86_400, -3_600, 3_600, 86_400 * 365] {
        let request = world.with_claim("iat", json!(world.fixture.now() + seconds));
        ask(&layer, request).await.passes(&seconds.to_string());
    }
    // The claim is still required.
    let request = world.edited(|_, claims| claims.remove("iat"));
    invalid_proof(&ask(&layer, request).await, "no time");
}

#[tokio::test]
async fn g14_a_proof_with_a_nonce_is_used_once_while_the_nonce_is_valid() {
    let world = World::new();
    let layer = world.layer_with(demanding(&world));
    ready(&world, &layer).await;
    let request = world.proven();
    ask(&layer, request.clone()).await.passes("first");
    for _ in 0..5 {
        world.clock().advance(Duration::from_secs(50));
        invalid_proof(&ask(&layer, request.clone()).await, "again");
    }
    world.clock().advance(Duration::from_secs(50));
    let answer = ask(&layer, request).await;
    answer.because(AuthErrorKind::ProofNonceRequired);
}
