//! Section B: challenges.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    Anonymous, JwtAuthLayer, RoleGuardLayer, Verifier,
    error::ErrorCode,
    key::Algorithm,
    layer::{
        extract::{Bearer, Query},
        response::{OAuthJson, Refusal},
    },
    test_util::{TestIssuer, TestKeys},
};

use crate::support::{
    answer::{Answer, send},
    challenge::parse_challenges,
    fixture::{Fixture, authorization, bearer},
    unreachable::Unreachable,
};

/// Text that must never come back.
const POISON: &str = "p01s0n";

/// Values that break out of a quoted string, a header or a page.
const HOSTILE: [&str; 9] = [
    "p01s0n\"",
    "p01s0n\\",
    "p01s0n\\\", error=\"none",
    "p01s0n\r\nSet-Cookie: p01s0n=1",
    "p01s0n\n",
    "p01s0n\u{0}",
    "p01s0n😀",
    "p01s0n<script>",
    "p01s0né\u{2028}",
];

/// Tokens that are refused, one way each, with the poison wherever there is room for it.
fn refused(fixture: &Fixture) -> Vec<(String, String)> {
    let mut refused = Vec::new();
    let mut add = |case: &str, token: String| refused.push((case.to_owned(), token));
    for hostile in HOSTILE {
        let edit = |name: &'static str| {
            fixture
                .with_header(&fixture.header(|header| header.insert(name.into(), json!(hostile))))
        };
        add("kid", edit("kid"));
        add("typ", edit("typ"));
        add("alg", edit("alg"));
        add("crit", edit("crit"));
        for claim in ["iss", "aud", "exp", "nbf", "cnf"] {
            add(claim, fixture.with(claim, json!(hostile)));
        }
        add("subject", {
            let mut claims = fixture.payload(|_| ());
            claims.insert_str(1, &format!(r#""sub":{},"#, json!(hostile)));
            fixture.with_payload(claims)
        });
    }
    add("expired", fixture.with("exp", json!(fixture.now() - 3600)));
    add("early", fixture.with("nbf", json!(fixture.now() + 3600)));
    add(
        "issuer",
        fixture.with("iss", json!("https://p01s0n.example")),
    );
    add("audience", fixture.with("aud", json!("p01s0n")));
    add("signature", {
        let other = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other());
        let kid = TestKeys::new().kid(Algorithm::Es256);
        other
            .clock(fixture.clock.clone())
            .kid(Some(&kid))
            .token(|_| ())
    });
    add("malformed", "p01s0n.p01s0n.p01s0n".into());
    add("key", POISON.into());
    add("use", fixture.with("token_use", json!("refresh")));
    refused
}

/// Requests that are refused for their form.
fn malformed() -> Vec<Request<String>> {
    let mut two = bearer(POISON);
    let value = HeaderValue::from_static("Basic p01s0n");
    two.headers_mut().append("authorization", value);
    vec![
        authorization("Bearer"),
        bearer("p01s0n\""),
        bearer("p01s0n p01s0n"),
        bearer(b"p01s0n\xFF"),
        bearer(POISON.repeat(10_000)),
        two,
    ]
}

async fn all_refusals(layer: impl Fn() -> JwtAuthLayer, fixture: &Fixture) -> Vec<Answer> {
    let mut answers = vec![
        send(layer(), Request::new(String::new())).await,
        send(layer(), authorization("Basic p01s0n")).await,
    ];
    for (_, token) in refused(fixture) {
        answers.push(send(layer(), bearer(token)).await);
    }
    for request in malformed() {
        answers.push(send(layer(), request).await);
    }
    let guarded = |guard: RoleGuardLayer| ServiceBuilder::new().layer(layer()).layer(guard);
    for guard in [
        RoleGuardLayer::any_of(["p01s0n-role"]),
        RoleGuardLayer::scope("b a"),
    ] {
        let token = fixture.with("roles", json!([POISON]));
        answers.push(send(guarded(guard), bearer(token)).await);
    }
    answers
}

#[tokio::test]
async fn b1_every_401_carries_a_challenge() {
    let fixture = Fixture::new();
    let answers = all_refusals(|| fixture.layer(), &fixture).await;
    let unauthorized: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::UNAUTHORIZED)
        .collect();
    assert!(unauthorized.len() > 80);
    for answer in unauthorized {
        answer.challenge();
    }

    // A responder that forgets it does not get away with it.
    let forgetful = fixture.layer().responder(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
    });
    send(forgetful.clone(), Request::new(String::new()))
        .await
        .bare("forgetful");
    send(forgetful, bearer("a.b.c"))
        .await
        .invalid_token("forgetful");
}

#[tokio::test]
async fn b2_the_challenge_has_a_parameter_for_every_realm() {
    let fixture = Fixture::new();
    for realm in ["", "api", "a b"] {
        let layer = fixture.layer().realm(realm).terse();
        let answer = send(layer, Request::new(String::new())).await;
        assert_eq!(answer.bare(realm).challenge().get("realm"), Some(realm));
    }
}

#[tokio::test]
async fn b3_no_parameter_occurs_twice() {
    let fixture = Fixture::new();
    for answer in all_refusals(|| fixture.layer(), &fixture).await {
        let names: Vec<_> = answer
            .challenge()
            .parameters
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for name in ["realm", "scope", "error", "error_description", "error_uri"] {
            assert!(names.iter().filter(|own| *own == name).count() <= 1);
        }
        assert!(names.iter().all(|name| {
            ["realm", "scope", "error", "error_description"].contains(&name.as_str())
        }));
    }
}

#[tokio::test]
async fn b4_hostile_values_do_not_reach_the_error_attributes() {
    let fixture = Fixture::new();
    for (case, token) in refused(&fixture) {
        // `challenge` checks the characters of each attribute.
        let challenge = fixture.judge(&token).await.invalid_token(&case).challenge();
        let description = challenge.get("error_description").unwrap();
        assert!(!description.contains(POISON), "{case}");
    }
}

#[tokio::test]
async fn b5_the_scope_attribute_holds_scope_tokens_and_single_spaces() {
    let fixture = Fixture::new();
    for scope in ["read", "a:b/c?d=e", "!#[]^~", "b a", "  b   a  a "] {
        let guard = RoleGuardLayer::try_scope(scope).unwrap();
        let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard);
        let challenge = send(layers, bearer(fixture.token()))
            .await
            .insufficient_scope(scope)
            .challenge();
        let mut needed: Vec<_> = scope.split_ascii_whitespace().collect();
        needed.sort_unstable();
        needed.dedup();
        assert_eq!(challenge.get("scope"), Some(needed.join(" ").as_str()));
    }
    for scope in ["a\"b", "a\\b", "é", "a\tb", "a\nb", "a\u{7f}"] {
        assert!(RoleGuardLayer::try_scope(scope).is_err(), "{scope:?}");
    }
}

#[tokio::test]
async fn b6_every_challenge_parses_strictly_whatever_the_realm() {
    let fixture = Fixture::new();
    for realm in ["api", "say \"hi\"", "back\\slash", "\\\"", "ä\r\n😀\0"] {
        let layer = || fixture.layer().realm(realm);
        for answer in all_refusals(layer, &fixture).await {
            let challenge = answer.challenge();
            let shown: String = realm
                .chars()
                .map(|one| if (' '..='~').contains(&one) { one } else { ' ' })
                .collect();
            assert_eq!(challenge.get("realm"), Some(shown.as_str()));
        }
    }
}

#[tokio::test]
async fn b7_a_token_that_is_no_good_is_an_invalid_token() {
    let fixture = Fixture::new();
    for (case, token) in refused(&fixture) {
        fixture.judge(&token).await.invalid_token(&case);
    }
    fixture.judge(&fixture.token()).await.passes("control");
}

#[tokio::test]
async fn b8_lacking_scope_is_403_that_names_all_scopes_needed() {
    let fixture = Fixture::new();
    let guard = || RoleGuardLayer::scope("orders:write orders:read");
    let ask = async |scope: &str| {
        let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard());
        send(layers, bearer(fixture.with("scope", json!(scope)))).await
    };
    for held in ["", "orders:read", "orders:write other"] {
        let answer = ask(held).await.insufficient_scope(held);
        let challenge = answer.challenge();
        assert_eq!(challenge.get("scope"), Some("orders:read orders:write"));
    }
    ask("orders:read orders:write").await.passes("both");
}

#[tokio::test]
async fn b9_a_malformed_request_is_400_with_a_challenge() {
    let fixture = Fixture::new();
    for request in malformed() {
        let case = format!("{:?}", request.headers());
        send(fixture.layer(), request).await.invalid_request(&case);
    }
}

#[tokio::test]
async fn b10_head_gets_the_headers_of_get_and_no_content() {
    let fixture = Fixture::new();
    for (token, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("a.b.c"), StatusCode::UNAUTHORIZED),
        (Some("a b"), StatusCode::BAD_REQUEST),
    ] {
        let ask = async |method: Method| {
            let mut request = match token {
                Some(token) => bearer(token),
                None => Request::new(String::new()),
            };
            *request.method_mut() = method;
            send(fixture.layer(), request).await
        };
        let (get, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
        assert_eq!((get.status, head.status), (expected, expected));
        assert_eq!(get.headers, head.headers);
        assert!(!get.body.is_empty() && head.body.is_empty());
        assert_eq!(
            get.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn b14_nothing_of_the_request_comes_back() {
    let fixture = Fixture::new();
    let layers: [fn(JwtAuthLayer) -> JwtAuthLayer; 2] =
        [|layer| layer, |layer| layer.responder(OAuthJson::new())];
    for change in layers {
        for answer in all_refusals(|| change(fixture.layer()), &fixture).await {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            let headers = format!("{:?}", answer.headers);
            for text in [&body, &headers] {
                assert!(!text.contains(POISON), "{text}");
                for library in [
                    "serde",
                    "base64",
                    "aws",
                    "line 1",
                    "column",
                    "jsonwebtoken",
                    ".rs",
                    "/src",
                    "as.example",
                    "api.example",
                    "first-",
                ] {
                    assert!(!text.contains(library), "{library} in {text}");
                }
            }
        }
    }
    let layer = fixture
        .layer()
        .extractor((Bearer::new(), Query::new("access_token")));
    let request = Request::get("/p01s0n?access_token=p01s0n&x=p01s0n");
    let answer = send(layer, request.body(String::new()).unwrap()).await;
    let answer = answer.invalid_token("query");
    assert!(!format!("{:?}{:?}", answer.headers, answer.body).contains(POISON));
}

#[tokio::test]
async fn b14_an_unavailable_key_server_is_not_described() {
    let fixture = Fixture::new();
    let verifier = fixture
        .expecting(Verifier::key_source(Unreachable))
        .build()
        .unwrap();
    let answer = send(JwtAuthLayer::new(verifier), bearer(fixture.token())).await;
    let answer = answer.unavailable("keys");
    assert_eq!(answer.header("retry-after"), Some("7"));
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!body.contains("key") && !body.contains("http"), "{body}");
}

#[tokio::test]
async fn b15_without_details_the_description_goes_and_the_code_stays() {
    let fixture = Fixture::new();
    for (token, code) in [
        (fixture.with("exp", json!(0)), ErrorCode::InvalidToken),
        ("a b".to_owned(), ErrorCode::InvalidRequest),
    ] {
        let full = send(fixture.layer(), bearer(&token)).await;
        assert!(full.challenge().get("error_description").is_some());
        assert!(full.json().get("detail").is_some());

        for layer in [
            fixture.layer().terse(),
            fixture.layer().terse().realm("other"),
            fixture.layer().terse().responder(OAuthJson::new()),
        ] {
            let terse = send(layer, bearer(&token)).await;
            let challenge = terse.challenge();
            assert_eq!(challenge.get("error"), Some(code.as_str()));
            assert_eq!(challenge.get("error_description"), None);
            let body = terse.json();
            assert_eq!(body["error"], code.as_str());
            assert!(body.get("detail").is_none());
            assert!(body.get("error_description").is_none());
        }
    }
}

#[tokio::test]
async fn b16_on_an_optional_route_nobody_passes_and_a_bad_token_does_not() {
    let fixture = Fixture::new();
    let layer = || fixture.layer().optional();
    let answer = send(layer(), Request::new(String::new())).await;
    let answer = answer.passes("no token");
    assert!(answer.seen().extensions.get::<Anonymous>().is_some());
    for (case, token) in refused(&fixture) {
        send(layer(), bearer(token)).await.invalid_token(&case);
    }
    let answer = send(layer(), bearer(fixture.token())).await.passes("token");
    assert!(answer.seen().extensions.get::<Anonymous>().is_none());
    assert_eq!(answer.caller().subject(), Some("alice"));
}

#[tokio::test]
async fn b1_a_responder_may_answer_with_a_challenge_of_its_own() {
    let fixture = Fixture::new();
    let own = fixture.layer().responder(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::from_static(b"own"));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let value = HeaderValue::from_static("Custom x=\"1\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
        response
    });
    let answer = send(own, Request::new(String::new())).await;
    assert_eq!(answer.header("www-authenticate"), Some("Custom x=\"1\""));
    assert_eq!((answer.status.as_u16(), answer.ran()), (401, false));
}

#[test]
fn b6_the_parser_reads_what_is_right_and_refuses_what_is_not() {
    let good = r#"Bearer realm="a \"b\" \\", error=invalid_token, Negotiate abc==, DPoP algs="ES256", Basic"#;
    let challenges = parse_challenges(good).unwrap();
    let schemes: Vec<_> = challenges.iter().map(|one| one.scheme.as_str()).collect();
    assert_eq!(schemes, ["Bearer", "Negotiate", "DPoP", "Basic"]);
    assert_eq!(challenges[0].get("realm"), Some(r#"a "b" \"#));
    assert_eq!(challenges[0].get("error"), Some("invalid_token"));
    assert_eq!(challenges[1].token68.as_deref(), Some("abc=="));

    for bad in [
        "",
        " ",
        ",Bearer",
        "Bearer,",
        "Bearer ",
        "Bearer realm=",
        "Bearer realm",
        r#"Bearer realm ="a""#,
        r#"Bearer realm= "a""#,
        r#"Bearer realm="a"#,
        r#"Bearer realm="a"b"#,
        r#"Bearer realm="a" error="b""#,
        r#"Bearer realm="a",, error="b""#,
        r#"Bearer realm="a", Realm="b""#,
        r#"Bearer realm="a\"#,
        "Bearer realm=\"a\u{7f}\"",
        "Bearer realm=\"a\r\n\"",
        "Bearer realm=\"ä\"",
        "Bearer error=invalid token",
        r#"="a""#,
    ] {
        if let Ok(parsed) = parse_challenges(bad) {
            // A lone word after a scheme is a token68, which Bearer never has.
            let token68 = parsed.iter().any(|one| one.token68.is_some());
            assert!(token68, "{bad:?} was read as {parsed:?}");
        }
    }
}
