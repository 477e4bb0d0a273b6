//! Decision 17: optional authentication, and several places at once.

use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::json;
use tower_jwt_auth::{
    Anonymous, JwtAuthLayer, Principal, Verifier,
    error::AuthErrorKind,
    layer::extract::{Bearer, Cookie},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, authorization, bearer},
    request::nobody,
    unreachable::Unreachable,
};

fn with_cookie(mut request: Request<String>, value: &str) -> Request<String> {
    let value = HeaderValue::from_str(&format!("at={value}")).unwrap();
    request.headers_mut().append("cookie", value);
    request
}

fn both(fixture: &Fixture) -> JwtAuthLayer {
    fixture
        .layer()
        .extractor((Bearer::new(), Cookie::new("at").unwrap()))
}

#[track_caller]
fn is_anonymous(answer: Answer, case: &str) -> Answer {
    let answer = answer.passes(case);
    let extensions = &answer.seen().extensions;
    assert!(extensions.get::<Anonymous>().is_some(), "{case}");
    assert!(extensions.get::<Principal>().is_none(), "{case}");
    answer
}

#[tokio::test]
async fn a18_a_header_and_an_enabled_cookie_are_bad_request_also_when_equal() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for cookie in [&token, &fixture.token(), "bad"] {
        for layer in [both(&fixture), both(&fixture).optional()] {
            let request = with_cookie(bearer(&token), cookie);
            send(layer, request).await.invalid_request(cookie);
        }
        // A cookie that the layer was not told to read does not count.
        for layer in [fixture.layer(), fixture.layer().optional()] {
            let request = with_cookie(bearer(&token), cookie);
            send(layer, request).await.passes(cookie);
        }
    }
}

#[tokio::test]
async fn b16_another_scheme_is_nobody_where_that_is_optional() {
    let fixture = Fixture::new();
    for value in ["Basic YTpi", "Digest x", "DPoPx y", "DP x"] {
        let answer = send(fixture.layer().optional(), authorization(value)).await;
        is_anonymous(answer, value);
    }
    // A second Authorization line is refused here as well.
    let mut two = authorization("Basic YTpi");
    let value = HeaderValue::from_static("Bearer x");
    two.headers_mut().append("authorization", value);
    send(fixture.layer().optional(), two)
        .await
        .invalid_request("two lines");
}

#[tokio::test]
async fn b16_while_the_keys_are_unavailable_a_token_is_503_and_never_nobody() {
    let fixture = Fixture::new();
    let verifier = fixture
        .expecting(Verifier::key_source(Unreachable))
        .build()
        .unwrap();
    let layer = || JwtAuthLayer::new(verifier.clone()).optional();
    let cookies = || layer().extractor(Cookie::new("at").unwrap());
    let answer = send(layer(), bearer(fixture.token())).await;
    let answer = answer
        .unavailable("header")
        .because(AuthErrorKind::KeysUnavailable);
    assert_eq!(answer.header("set-cookie"), None);
    // Nor is the cookie cleared: it may be good.
    let answer = send(cookies(), with_cookie(nobody(), &fixture.token())).await;
    assert_eq!(answer.unavailable("cookie").header("set-cookie"), None);
    // Without a token nothing has to be looked up.
    is_anonymous(send(layer(), nobody()).await, "no token");
    is_anonymous(send(cookies(), nobody()).await, "no cookie");
}

#[tokio::test]
async fn b16_a_bad_cookie_counts_as_absent_and_is_cleared() {
    let fixture = Fixture::new();
    let optional = || {
        fixture
            .layer()
            .extractor(Cookie::new("at").unwrap())
            .optional()
    };
    for (token, case) in [
        (fixture.with("exp", json!(0)), "expired"),
        (fixture.with("iss", json!("x")), "issuer"),
        ("a.b.c".to_owned(), "malformed"),
        ("not-a-token".to_owned(), "no token"),
        ("not a token".to_owned(), "no b64token"),
        ("{}".to_owned(), "JSON"),
        ("x".repeat(20_000), "over the limit"),
    ] {
        let answer = send(optional(), with_cookie(nobody(), &token)).await;
        let answer = is_anonymous(answer, case);
        let clear = answer.header("set-cookie").expect(case);
        assert!(
            clear.starts_with("at=;") && clear.contains("Max-Age=0"),
            "{clear}"
        );
        // Where a token is required, it is refused.
        let required = fixture.layer().extractor(Cookie::new("at").unwrap());
        let answer = send(required, with_cookie(nobody(), &token)).await;
        assert!(!answer.ran() && answer.header("set-cookie").is_none());
        // So is the same in a header.
        let answer = send(fixture.layer().optional(), bearer(&token)).await;
        assert!(!answer.ran() && answer.status.is_client_error(), "{case}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let answer = send(optional(), with_cookie(nobody(), &fixture.token()))
        .await
        .passes("good");
    assert_eq!(answer.caller().subject(), Some("alice"));
    assert_eq!(answer.header("set-cookie"), None);
    is_anonymous(send(optional(), with_cookie(nobody(), "")).await, "empty");
}

#[tokio::test]
async fn n9_two_cookies_are_refused_where_authentication_is_optional_too() {
    let fixture = Fixture::new();
    let optional = fixture
        .layer()
        .extractor(Cookie::new("at").unwrap())
        .optional();
    let two = with_cookie(with_cookie(nobody(), &fixture.token()), "x");
    send(optional, two).await.invalid_request("two cookies");
}

#[tokio::test]
async fn n2_a_forged_request_is_forbidden_where_authentication_is_optional_too() {
    let fixture = Fixture::new();
    let optional = fixture
        .layer()
        .extractor(Cookie::new("at").unwrap())
        .optional();
    let mut forged = with_cookie(nobody(), &fixture.token());
    *forged.method_mut() = Method::POST;
    let value = HeaderValue::from_static("cross-site");
    forged.headers_mut().insert("sec-fetch-site", value);
    let answer = send(optional, forged).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.kind(), Some(AuthErrorKind::CrossSite));
    assert!(!answer.ran());
}

#[tokio::test]
async fn a21_a_bound_token_while_dpop_is_off_is_refused_also_where_that_is_optional() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for value in [
        format!("DPoP {token}"),
        format!("dpop {token}"),
        format!("DPOP  {token}"),
        "DPoP x".to_owned(),
        "DPoP".to_owned(),
        "DPoP ".to_owned(),
    ] {
        for layer in [
            fixture.layer(),
            fixture.layer().optional(),
            both(&fixture).optional(),
        ] {
            let answer = send(layer.clone(), authorization(&value)).await;
            answer.bare(&value);
            // Another credential beside it does not help.
            let request = with_cookie(authorization(&value), &token);
            let answer = send(layer, request).await;
            assert!(!answer.ran() && answer.status.is_client_error(), "{value}");
        }
    }
}

#[tokio::test]
async fn a21_a_bound_token_is_not_handed_on_by_a_proxy() {
    let fixture = Fixture::new();
    let layer = fixture.layer().strip_credential().skip_if(|_| true);
    let answer = send(layer, authorization("DPoP x")).await.passes("skipped");
    assert!(answer.seen().headers.is_empty());
}
