//! Section A: credentials in the request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use serde_json::json;
use tower_jwt_auth::{
    Anonymous, JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    layer::extract::{Bearer, Cookie, Header, Query, TokenExtractor, WebSocketProtocol},
};

use crate::support::{
    answer::{Answer, send, send_to},
    fixture::{Counting, Fixture, authorization, bearer},
    request::target,
    request::with as add,
};

fn query(token: &str) -> Request<String> {
    target(&format!("/?access_token={token}"))
}

async fn ask(fixture: &Fixture, request: Request<String>) -> Answer {
    send(fixture.layer(), request).await
}

async fn ask_by(
    fixture: &Fixture,
    extractor: impl TokenExtractor,
    request: Request<String>,
) -> Answer {
    send(fixture.layer().extractor(extractor), request).await
}

#[tokio::test]
async fn a1_no_authorization_is_401_without_an_error_code() {
    let fixture = Fixture::new();
    ask(&fixture, Request::new(String::new()))
        .await
        .bare("no credential")
        .because(AuthErrorKind::MissingCredential);
}

#[tokio::test]
async fn a2_a_valid_token_passes() {
    let fixture = Fixture::new();
    for token in [fixture.es.token(|_| ()), fixture.rs.token(|_| ())] {
        let answer = fixture.judge(&token).await.passes("valid");
        assert_eq!(answer.caller().subject(), Some("alice"));
    }
}

#[tokio::test]
async fn a3_the_scheme_is_compared_without_case() {
    let fixture = Fixture::new();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let request = authorization(format!("{scheme} {}", fixture.token()));
        ask(&fixture, request).await.passes(scheme);
    }
}

#[tokio::test]
async fn a4_several_spaces_after_the_scheme_pass() {
    let fixture = Fixture::new();
    for spaces in 2..6 {
        let request = authorization(format!("Bearer{:spaces$}{}", "", fixture.token()));
        ask(&fixture, request).await.passes("spaces");
    }
    // `1*SP`: a tab is none.
    let tab = authorization(format!("Bearer\t{}", fixture.token()));
    ask(&fixture, tab).await.invalid_request("tab");
}

#[tokio::test]
async fn a5_a_scheme_with_nothing_after_it_is_bad_request() {
    let fixture = Fixture::new();
    for value in ["Bearer", "Bearer ", "Bearer    ", "bearer", "BEARER  "] {
        ask(&fixture, authorization(value))
            .await
            .invalid_request(value);
    }
}

#[tokio::test]
async fn a6_a_character_outside_b64token_is_bad_request() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for bad in r#" ,;"'{}()[]<>@:\?!#$%&*^`|"#.chars().chain(['\t']) {
        let in_front = format!("{bad}{token}");
        let in_the_middle = token.replacen('.', &format!("{bad}."), 1);
        let behind = format!("{token}{bad}");
        let twice = format!("{token}{bad}{token}");
        for value in [&in_front, &in_the_middle, &behind, &twice] {
            // One more space in front belongs to the scheme's `1*SP`.
            if !(bad == ' ' && *value == in_front) {
                ask(&fixture, bearer(value)).await.invalid_request(value);
            }
        }
        ask(&fixture, bearer(format!("a{bad}c")))
            .await
            .invalid_request("a?c");
    }
    ask(&fixture, bearer(&token)).await.passes("unchanged");
}

#[tokio::test]
async fn a6_a_b64token_that_is_no_jwt_is_an_invalid_token() {
    let fixture = Fixture::new();
    for value in ["abc", "a.b.c", "-._~+/", "abc==", "...", "."] {
        ask(&fixture, bearer(value)).await.invalid_token(value);
    }
}

#[tokio::test]
async fn a7_bytes_outside_ascii_are_bad_request() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for bad in [&b"\xFF"[..], b"\x80", "é".as_bytes(), "🔑".as_bytes()] {
        for value in [
            [bad, token.as_bytes()].concat(),
            [token.as_bytes(), bad].concat(),
            bad.to_vec(),
        ] {
            ask(&fixture, bearer(value))
                .await
                .invalid_request("outside ASCII");
        }
    }
    // Such a scheme is no scheme of ours, and breaks nothing.
    ask(&fixture, authorization(b"\xFF\xFE x"))
        .await
        .bare("scheme");
    let answer = ask(&fixture, authorization(b"Bearer\xFFx")).await;
    answer.invalid_request("after the scheme");
}

#[tokio::test]
async fn a8_two_authorization_headers_are_bad_request() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for second in [
        format!("Bearer {token}"),
        "Bearer x".to_owned(),
        "Basic YTpi".to_owned(),
        "DPoP x".to_owned(),
        String::new(),
    ] {
        let request = add(bearer(&token), "authorization", &second);
        ask(&fixture, request).await.invalid_request(&second);
        let reversed = add(
            authorization(&second),
            "authorization",
            &format!("Bearer {token}"),
        );
        ask(&fixture, reversed).await.invalid_request(&second);
    }
}

#[tokio::test]
async fn a9_another_scheme_is_no_credential() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for value in [
        "Basic YTpi".to_owned(),
        "Digest username=\"a\"".to_owned(),
        format!("DPoP {token}"),
        format!("Token {token}"),
        format!("Bearerx {token}"),
        format!("Bearer{token}"),
        format!("xBearer {token}"),
        token,
        String::new(),
    ] {
        ask(&fixture, authorization(&value)).await.bare(&value);
    }
}

#[tokio::test]
async fn a10_a_token_in_the_body_is_never_read() {
    // Body tokens are not offered, so that there is nothing to conflict with.
    let fixture = Fixture::new();
    let form = |mut request: Request<String>| {
        *request.method_mut() = Method::POST;
        *request.body_mut() = format!("access_token={}", fixture.token());
        add(request, "content-type", "application/x-www-form-urlencoded")
    };
    let both = form(bearer(fixture.token()));
    ask(&fixture, both).await.passes("header and body");
    let body = form(Request::new(String::new()));
    ask(&fixture, body).await.bare("body alone");
}

#[tokio::test]
async fn a11_a_token_in_header_and_query_is_bad_request() {
    let fixture = Fixture::new();
    let token = fixture.token();
    let places = || (Bearer::new(), Query::new("access_token"));
    for in_query in [&token, &fixture.token(), "x"] {
        let request = add(query(in_query), "authorization", &format!("Bearer {token}"));
        ask_by(&fixture, places(), request)
            .await
            .invalid_request(in_query)
            .because(AuthErrorKind::MultipleCredentials);
    }
}

#[tokio::test]
async fn a12_the_query_parameter_twice_is_bad_request() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for query in [
        format!("access_token={token}&access_token={token}"),
        format!("access_token={token}&x=1&access_token="),
        format!("access_token=&access_token={token}"),
        format!("access_token={token}&access%5Ftoken={token}"),
        format!("access_token&access_token={token}"),
    ] {
        let request = target(&format!("/?{query}"));
        ask_by(&fixture, Query::new("access_token"), request)
            .await
            .invalid_request(&query);
    }
    // Control: other parameters do not matter, names are compared with their case.
    let request = target(&format!("/?a=1&access_token={token}&Access_Token=x&a=1"));
    let answer = ask_by(&fixture, Query::new("access_token"), request).await;
    answer.passes("once");
}

#[tokio::test]
async fn a13_a_query_token_is_ignored_unless_the_query_is_enabled() {
    let fixture = Fixture::new();
    ask(&fixture, query(&fixture.token()))
        .await
        .bare("disabled");
    // The value is ignored, a bad one too.
    let both = add(
        query("nonsense"),
        "authorization",
        &format!("Bearer {}", fixture.token()),
    );
    ask(&fixture, both).await.passes("ignored");
    let enabled = ask_by(
        &fixture,
        Query::new("access_token"),
        query(&fixture.token()),
    );
    enabled.await.passes("enabled");
}

#[tokio::test]
async fn a14_body_tokens_are_ignored_whatever_method_and_type() {
    let fixture = Fixture::new();
    for (method, kind) in [
        (Method::GET, "application/x-www-form-urlencoded"),
        (Method::POST, "text/plain"),
        (Method::POST, "multipart/form-data; boundary=x"),
        (Method::POST, "application/json"),
        (Method::POST, "application/x-www-form-urlencoded"),
        (Method::PUT, "application/x-www-form-urlencoded"),
    ] {
        let request = Request::builder()
            .method(method)
            .header("content-type", kind)
            .body(format!("access_token={}", fixture.token()))
            .unwrap();
        ask(&fixture, request).await.bare(kind);
    }
}

#[tokio::test]
async fn a15_the_answer_to_a_query_token_is_private() {
    let fixture = Fixture::new();
    for (own, expected) in [
        (None, "private"),
        (Some("public, max-age=60"), "private, max-age=60"),
        (Some("no-store"), "no-store"),
        (Some("private, max-age=5"), "private, max-age=5"),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(own) = own {
            headers.insert("cache-control", HeaderValue::from_static(own));
        }
        let layer = fixture.layer().extractor(Query::new("access_token"));
        let answer = send_to(headers.clone(), layer, query(&fixture.token())).await;
        let answer = answer.passes("query");
        assert_eq!(answer.header("cache-control"), Some(expected));
        // Control: nothing is added to the answer to a header token.
        let answer = send_to(headers, fixture.layer(), bearer(fixture.token())).await;
        assert_eq!(answer.header("cache-control"), own);
    }
    let refused = ask_by(&fixture, Query::new("access_token"), query("x")).await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a16_proxy_authorization_is_never_read() {
    let fixture = Fixture::new();
    for scheme in ["Bearer", "DPoP"] {
        let value = format!("{scheme} {}", fixture.token());
        let request = add(target("/"), "proxy-authorization", &value);
        ask(&fixture, request).await.bare(scheme);
    }
    let both = add(
        bearer(fixture.token()),
        "proxy-authorization",
        "Bearer nonsense",
    );
    ask(&fixture, both).await.passes("not a second credential");
}

/// Every place, and a request with this token in it.
fn places(token: &str) -> [(&'static str, Request<String>); 4] {
    let handshake = add(target("/"), "upgrade", "websocket");
    let protocols = format!("bearer, {token}");
    [
        ("header", bearer(token)),
        ("own header", add(target("/"), "x-jwt", token)),
        ("cookie", add(target("/"), "cookie", &format!("at={token}"))),
        (
            "websocket",
            add(handshake, "sec-websocket-protocol", &protocols),
        ),
    ]
}

fn everywhere() -> impl TokenExtractor {
    (
        Bearer::new(),
        Header::new(HeaderName::from_static("x-jwt")),
        Cookie::new("at").unwrap().dangerous_without_csrf_check(),
        WebSocketProtocol::new("bearer"),
    )
}

#[tokio::test]
async fn a17_of_several_enabled_places_the_filled_one_is_used() {
    let fixture = Fixture::new();
    for (place, request) in places(&fixture.token()) {
        ask_by(&fixture, everywhere(), request).await.passes(place);
    }
    for (place, request) in places("a.b.c") {
        ask_by(&fixture, everywhere(), request)
            .await
            .invalid_token(place);
    }
    let places = (Bearer::new(), Query::new("access_token"));
    ask_by(&fixture, places, query(&fixture.token()))
        .await
        .passes("query");
}

#[tokio::test]
async fn a18_two_places_with_different_tokens_are_rejected_whichever_is_valid() {
    let fixture = Fixture::new();
    let good = fixture.token();
    for (one, first) in places(&good) {
        for other in [good.as_str(), "a.b.c", "x"] {
            for (two, second) in places(other) {
                if one == two {
                    continue;
                }
                let mut both = first.clone();
                both.headers_mut().extend(second.headers().clone());
                ask_by(&fixture, everywhere(), both)
                    .await
                    .invalid_request(&format!("{one} and {two}"))
                    .because(AuthErrorKind::MultipleCredentials);
            }
        }
    }
}

#[tokio::test]
async fn a19_a_token_over_the_limit_is_refused_before_it_is_decoded() {
    let fixture = Fixture::new();
    let keys = Counting::new();
    let layer = |limit: Option<usize>| {
        let builder = fixture.expecting(Verifier::key_source(keys.clone()));
        let builder = match limit {
            Some(limit) => builder.max_token_bytes(limit),
            None => builder,
        };
        JwtAuthLayer::new(builder.build().unwrap())
    };

    let big = fixture.with("big", json!("x".repeat(16 * 1024)));
    send(layer(None), bearer(&big))
        .await
        .invalid_request("default")
        .because(AuthErrorKind::OversizedCredential);
    send(layer(None), bearer("x".repeat(300_000)))
        .await
        .invalid_request("not even a token");
    assert!(keys.asked().is_empty(), "nothing was decoded");

    let fits = fixture.with("big", json!("x".repeat(8 * 1024)));
    send(layer(None), bearer(&fits)).await.passes("8 KiB");
    send(layer(Some(fits.len())), bearer(&fits))
        .await
        .passes("the limit itself");
    let short = layer(Some(fits.len() - 1));
    send(short, bearer(&fits))
        .await
        .invalid_request("a byte less");
    assert_eq!(keys.asked().len(), 2);
}

fn preflight() -> Request<String> {
    let mut request = target("/");
    *request.method_mut() = Method::OPTIONS;
    let request = add(request, "origin", "https://app.example");
    add(request, "access-control-request-method", "PUT")
}

#[tokio::test]
async fn a20_a_preflight_request_passes_where_that_was_allowed() {
    let fixture = Fixture::new();
    let allowed = || fixture.layer().allow_preflight();
    let answer = send(allowed(), preflight()).await.passes("preflight");
    assert!(answer.seen().extensions.get::<Anonymous>().is_some());

    // Whatever lacks a part of it is no preflight request.
    for missing in ["origin", "access-control-request-method"] {
        let mut request = preflight();
        request.headers_mut().remove(missing);
        send(allowed(), request).await.bare(missing);
    }
    for method in [Method::GET, Method::POST, Method::HEAD] {
        let mut request = preflight();
        *request.method_mut() = method.clone();
        send(allowed(), request).await.bare(method.as_str());
    }
    send(allowed(), bearer("a.b.c"))
        .await
        .invalid_token("no preflight");
}

#[tokio::test]
async fn a20_a_preflight_request_is_refused_by_default() {
    let fixture = Fixture::new();
    send(fixture.layer(), preflight()).await.bare("default");
}

#[tokio::test]
async fn a9_white_space_before_the_scheme_is_no_part_of_the_field() {
    let fixture = Fixture::new();
    let token = fixture.token();
    // RFC 9110 §5.5. HTTP/2 carries it along, and a server behind over HTTP/1.1 drops it.
    for space in [" ", "\t", "  "] {
        let good = authorization(format!("{space}Bearer {token}"));
        send(fixture.layer(), good.clone()).await.passes(space);
        let optional = || fixture.layer().optional().strip_credential();
        let answer = send(optional(), good).await;
        let answer = answer.passes(space);
        assert_eq!(answer.caller().subject(), Some("alice"));
        assert!(answer.seen().headers.is_empty(), "{space:?}");
        let bad = authorization(format!("{space}Bearer {token}x"));
        send(optional(), bad).await.invalid_token(space);
        let bound = authorization(format!("{space}DPoP {token}"));
        send(optional(), bound).await.bare(space);
    }
}
