//! S5: the published key set.

use axum::Router;
use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;
use tower_jwt_auth::{
    key::{Algorithm, KeySet, SigningKey},
    layer::response::Whole,
    server::issue::{JwksService, KeyRing},
    test_util::TestClock,
};

use crate::support::issuing::{PUBLIC, SECRET, generated, plain, ring};

async fn ask(service: &JwksService, request: Request<()>) -> Response<Whole> {
    service.clone().oneshot(request).await.unwrap()
}

async fn text(answer: Response<Whole>) -> Bytes {
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn s5_the_set_is_a_jwk_set_with_an_age_and_a_tag() {
    let issuer = plain(&TestClock::new());
    let answer = ask(&issuer.jwks(), Request::new(())).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/jwk-set+json");
    assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=600");
    let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
    assert!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() == 45,
        "{tag}"
    );
    assert_eq!(
        answer.body().size_hint().exact(),
        Some(issuer.keys().jwks().len() as u64)
    );
    let body = text(answer).await;
    assert_eq!(body, issuer.keys().jwks());
    assert_eq!(KeySet::from_jwks(&body).unwrap().len(), 1);
}

#[test]
fn s5_the_golden_set() {
    let key = include_str!("../../../src/key/signing/test-only/p256.pkcs8.pem");
    let next = include_str!("../../../src/key/signing/test-only/rsa2048.pkcs1.pem");
    let next = SigningKey::from_pem(next)
        .unwrap()
        .with_algorithm(Algorithm::Ps256)
        .unwrap();
    let keys = KeyRing::builder(SigningKey::from_pem(key).unwrap())
        .next(next.with_kid("2026-02"))
        .build()
        .unwrap();
    let found: Value = serde_json::from_str(&keys.jwks()).unwrap();
    let golden: Value = serde_json::from_str(include_str!("golden.jwks.json")).unwrap();
    assert_eq!(found, golden);
}

#[test]
fn s5_no_secret_and_no_private_member_is_ever_published() {
    let clock = TestClock::new();
    for algorithm in PUBLIC.into_iter().chain(SECRET) {
        let keys = KeyRing::builder(generated(algorithm))
            .next(generated(algorithm))
            .retiring(generated(algorithm))
            .clock(clock.clone())
            .build()
            .unwrap();
        let set: Value = serde_json::from_str(&keys.jwks()).unwrap();
        let entries = set["keys"].as_array().unwrap();
        assert_eq!(
            entries.len(),
            if algorithm.is_hmac() { 0 } else { 3 },
            "{algorithm}"
        );
        for entry in entries {
            assert_ne!(entry["kty"], "oct");
            assert_eq!(
                (&entry["use"], &entry["alg"]),
                (&json!("sig"), &json!(algorithm.as_str()))
            );
            for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                assert!(entry.get(private).is_none(), "{algorithm}: {private}");
            }
            let allowed = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"];
            for name in entry.as_object().unwrap().keys() {
                assert!(allowed.contains(&name.as_str()), "{algorithm}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn s5_a_known_tag_is_answered_with_304_until_the_set_changes() {
    let clock = TestClock::new();
    let issuer = plain(&clock);
    let service = issuer.jwks();
    let tag = ask(&service, Request::new(())).await.headers()[ETAG].clone();
    let asking = |known: &[&str]| {
        let mut request = Request::new(());
        for known in known {
            request
                .headers_mut()
                .append(IF_NONE_MATCH, known.parse().unwrap());
        }
        request
    };
    let tag = tag.to_str().unwrap();
    let weak = format!("W/{tag}");
    let listed = format!("\"a\" , {tag},\"b\"");
    for known in [&[tag][..], &[&weak], &["*"], &[&listed], &["\"a\"", tag]] {
        let answer = ask(&service, asking(known)).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known:?}");
        assert_eq!(answer.headers()[ETAG], tag);
        assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=600");
        assert!(answer.headers().get(CONTENT_LENGTH).is_none());
        assert!(text(answer).await.is_empty());
    }
    for unknown in ["\"a\"", tag.trim_matches('"'), "", "W/\"\""] {
        assert_eq!(
            ask(&service, asking(&[unknown])).await.status(),
            StatusCode::OK
        );
    }

    issuer.keys().publish(generated(Algorithm::EdDsa)).unwrap();
    let changed = ask(&service, asking(&[tag])).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()[ETAG], tag);
}

#[tokio::test]
async fn s5_head_is_get_without_the_body_and_other_methods_are_405() {
    let service = plain(&TestClock::new()).jwks();
    let get = ask(&service, Request::new(())).await;
    let head = Request::builder().method(Method::HEAD).body(()).unwrap();
    let head = ask(&service, head).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers(), get.headers());
    assert!(text(head).await.is_empty());

    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ] {
        let request = Request::builder().method(method).body(()).unwrap();
        let answer = ask(&service, request).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[ALLOW], "GET, HEAD");
        assert!(text(answer).await.is_empty());
    }
}

#[tokio::test]
async fn s5_the_age_is_the_rings() {
    let keys = ring(&TestClock::new())
        .max_age(Duration::from_secs(120))
        .build()
        .unwrap();
    let answer = ask(&JwksService::new(keys), Request::new(())).await;
    assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=120");
}

#[tokio::test]
async fn s5_it_is_a_route_of_axum_over_http() {
    let issuer = plain(&TestClock::new());
    let app = Router::new().route_service("/.well-known/jwks.json", issuer.jwks());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<Bytes>>();
    let url: http::Uri = format!("http://{address}/.well-known/jwks.json")
        .parse()
        .unwrap();

    let answer = client.get(url.clone()).await.unwrap();
    let length = answer.headers()[CONTENT_LENGTH].clone();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, issuer.keys().jwks());

    let head = Request::head(url)
        .body(http_body_util::Empty::new())
        .unwrap();
    let head = client.request(head).await.unwrap();
    assert_eq!(head.headers()[CONTENT_LENGTH], length);
    assert!(
        head.into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
    server.abort();
}
