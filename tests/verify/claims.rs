//! Section E, E11 to E21: all claims but the dates. Every rule is asked of every claims type.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyQuery, KeySource},
    test_util::TestIssuer,
    verify::{CheckError, VerifierBuilder},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{AUDIENCE, Fixture, ISSUER, bearer, judge, keys},
};

#[tokio::test]
async fn e11_the_issuer_is_compared_exactly() {
    let fixture = Fixture::new();
    for issuer in [
        "https://as.example/",
        "https://as.example//",
        "https://AS.example",
        "HTTPS://as.example",
        "https://as.example:443",
        "http://as.example",
        "https://as%2Eexample",
        "https://as.exampl%65",
        "https://as.example.",
        "https://as.example?",
        "https://as.example#",
        "https://as.example.evil.example",
        "https://as.exampl",
        "https://user@as.example",
        " https://as.example",
        "https://as.example ",
        "as.example",
        "",
    ] {
        fixture
            .judge(&fixture.with("iss", json!(issuer)))
            .await
            .invalid_token(issuer)
            .because(AuthErrorKind::WrongIssuer);
    }
    fixture
        .judge(&fixture.with("iss", json!(ISSUER)))
        .await
        .passes("equal");
    // Escaped in JSON it is the same string.
    let escaped = fixture.with_text("iss", r#""https:\/\/\u0061s.example""#);
    fixture.judge(&escaped).await.passes("escaped");
}

#[tokio::test]
async fn e12_an_issuer_missing_or_of_another_type_is_an_invalid_token() {
    let fixture = Fixture::new();
    fixture
        .judge(&fixture.without("iss"))
        .await
        .invalid_token("missing")
        .because(AuthErrorKind::MissingClaim("iss"));
    for value in [
        json!(null),
        json!([ISSUER]),
        json!([]),
        json!({}),
        json!(1),
        json!(true),
    ] {
        fixture
            .judge(&fixture.with("iss", value))
            .await
            .invalid_token("type");
    }
}

#[tokio::test]
async fn e14_another_issuer_is_refused() {
    let fixture = Fixture::new();
    for issuer in ["https://evil.example", "https://as.example.evil.example"] {
        let token = fixture.es.clone().issuer(issuer).token(|_| ());
        fixture.judge(&token).await.invalid_token(issuer);
    }
    let by = |builder: VerifierBuilder| builder.issuer("https://second.example");
    let second = fixture
        .es
        .clone()
        .issuer("https://second.example")
        .token(|_| ());
    fixture
        .judge_by(by, &second)
        .await
        .passes("several names of one issuer");
    fixture
        .judge_by(by, &fixture.token())
        .await
        .passes("the first name");
}

/// A source that would have to fetch its keys, and asks first whether the token is worth it.
struct Fetching(Arc<AtomicUsize>);

impl KeySource for Fetching {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        if !query.issuer_is_trusted() {
            return KeyLookup::Absent;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        keys().lookup(query)
    }
}

#[tokio::test]
async fn e14_a_source_can_tell_an_untrusted_issuer_before_it_fetches() {
    let fixture = Fixture::new();
    let fetches = Arc::<AtomicUsize>::default();
    let builder = || fixture.expecting(Verifier::key_source(Fetching(Arc::clone(&fetches))));
    for token in [
        fixture.with("iss", json!("https://evil.example")),
        fixture.with("iss", json!("https://as.example/")),
        fixture.with("iss", json!([ISSUER])),
        fixture.with("iss", json!(null)),
        fixture.without("iss"),
        fixture
            .with("nested", json!({ "iss": ISSUER }))
            .replacen('.', ".x", 1),
        fixture.with_payload(json!({ "nested": { "iss": ISSUER } }).to_string()),
        fixture.with_payload("[]"),
    ] {
        judge(builder, bearer(token))
            .await
            .invalid_token("untrusted");
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 0);
    judge(builder, bearer(fixture.token()))
        .await
        .passes("trusted");
    assert!(fetches.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn e15_aud_equal_or_containing_passes() {
    let fixture = Fixture::new();
    for aud in [
        json!(AUDIENCE),
        json!([AUDIENCE]),
        json!(["https://other.example", AUDIENCE]),
        json!([AUDIENCE, "https://other.example", ""]),
    ] {
        fixture
            .judge(&fixture.with("aud", aud))
            .await
            .passes("ours");
    }
    let by = |builder: VerifierBuilder| builder.audience("second");
    fixture
        .judge_by(by, &fixture.with("aud", json!("second")))
        .await
        .passes("second");
}

#[tokio::test]
async fn e16_aud_missing_or_other_or_of_another_type_is_an_invalid_token() {
    let fixture = Fixture::new();
    fixture
        .judge(&fixture.without("aud"))
        .await
        .invalid_token("missing")
        .because(AuthErrorKind::MissingClaim("aud"));
    for aud in [
        json!([]),
        json!(""),
        json!([""]),
        json!("https://other.example"),
        json!(["https://other.example"]),
        json!(1),
        json!([1]),
        json!([AUDIENCE, 1]),
        json!([1, AUDIENCE]),
        json!([AUDIENCE, null]),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, {}]),
        json!({}),
        json!({AUDIENCE: AUDIENCE}),
        json!(null),
        json!(true),
        json!([null]),
    ] {
        let case = aud.to_string();
        fixture
            .judge(&fixture.with("aud", aud))
            .await
            .invalid_token(&case);
    }
}

#[tokio::test]
async fn e17_aud_that_only_resembles_ours_is_an_invalid_token() {
    let fixture = Fixture::new();
    for aud in [
        "https://api.example/",
        "https://api.example.evil.example",
        "https://api.exampl",
        "https://evil.example/https://api.example",
        "https://API.example",
        "api.example",
        " https://api.example",
        "https://api.example ",
        "https://api.example,x",
        "https://api.example https://other.example",
        "https://api.example\u{0}",
    ] {
        for value in [json!(aud), json!([aud])] {
            fixture
                .judge(&fixture.with("aud", value))
                .await
                .invalid_token(aud)
                .because(AuthErrorKind::WrongAudience);
        }
    }
}

#[tokio::test]
async fn e18_sub_and_jti_that_are_no_strings_are_an_invalid_token() {
    let fixture = Fixture::new();
    for claim in ["sub", "jti", "client_id", "azp", "sid", "iss"] {
        for value in [
            json!(1),
            json!(null),
            json!(true),
            json!([]),
            json!(["a"]),
            json!({}),
            json!(1.5),
        ] {
            let case = format!("{claim} {value}");
            fixture
                .judge(&fixture.with(claim, value))
                .await
                .invalid_token(&case)
                .because(AuthErrorKind::MalformedClaims);
        }
    }
    for claim in ["sub", "jti"] {
        fixture
            .judge(&fixture.without(claim))
            .await
            .passes("missing");
        fixture
            .judge(&fixture.with(claim, json!("")))
            .await
            .passes("a string");
    }
}

#[tokio::test]
async fn e19_names_and_values_are_compared_code_point_by_code_point() {
    let fixture = Fixture::new();
    let (composed, decomposed) = ("https://\u{e9}.example", "https://e\u{301}.example");
    for (expected, given) in [(composed, decomposed), (decomposed, composed)] {
        let builder = || {
            fixture
                .builder()
                .audience(expected.to_owned())
                .issuer(expected.to_owned())
        };
        for claim in ["iss", "aud"] {
            let answer = judge(builder, bearer(fixture.with(claim, json!(given)))).await;
            answer.invalid_token("another normal form");
            let answer = judge(builder, bearer(fixture.with(claim, json!(expected)))).await;
            answer.passes("the same");
        }
    }
    for name in ["EXP", "Exp", "ｅxp", "exp ", "e\u{301}xp"] {
        let claims = fixture.payload(|claims| {
            let exp = claims.remove("exp").unwrap();
            claims.insert(name.into(), exp)
        });
        fixture
            .judge(&fixture.with_payload(claims))
            .await
            .invalid_token(name)
            .because(AuthErrorKind::MissingClaim("exp"));
    }
    // A name written with escapes is the name.
    let claims = fixture
        .payload(|_| ())
        .replacen("\"exp\"", "\"\\u0065x\\u0070\"", 1);
    fixture
        .judge(&fixture.with_payload(claims))
        .await
        .passes("escaped");
    let roles = fixture.with("roles", json!(["\u{e9}"]));
    let answer = fixture.judge(&roles).await.passes("role");
    assert!(answer.caller().has_role("\u{e9}") && !answer.caller().has_role("e\u{301}"));
}

#[derive(Deserialize)]
struct Tenancy {
    tenant: String,
}

async fn checked(fixture: &Fixture, tenant: &str) -> Answer {
    let verifier = fixture
        .builder()
        .claims::<Tenancy>()
        .validate_with(|token| match token.tenant.as_str() {
            "p01s0n-banned" => Err(CheckError::rejected(format!("{} is banned", token.tenant))),
            "p01s0n-unknown" => Err(CheckError::unavailable("the p01s0n list is away")),
            _ => Ok(()),
        })
        .validate_with(|token| match token.tenant.as_str() {
            "second" => Err(CheckError::rejected("said the second check")),
            _ => Ok(()),
        })
        .build()
        .unwrap();
    send(
        JwtAuthLayer::new(verifier),
        bearer(fixture.with("tenant", json!(tenant))),
    )
    .await
}

#[tokio::test]
async fn e21_a_check_that_says_no_is_an_invalid_token() {
    let fixture = Fixture::new();
    checked(&fixture, "acme").await.passes("yes");
    for tenant in ["p01s0n-banned", "second"] {
        let answer = checked(&fixture, tenant).await.invalid_token(tenant);
        let answer = answer.because(AuthErrorKind::Rejected);
        assert!(!format!("{:?}{:?}", answer.headers, answer.body).contains("p01s0n"));
        // The reason is for the log.
        let source = std::error::Error::source(answer.error.as_ref().unwrap()).unwrap();
        assert!(source.to_string().contains("ban") || tenant == "second");
    }
}

#[tokio::test]
async fn e21_a_check_that_cannot_say_is_503() {
    let fixture = Fixture::new();
    let answer = checked(&fixture, "p01s0n-unknown")
        .await
        .unavailable("away");
    let answer = answer.because(AuthErrorKind::CheckUnavailable);
    assert!(!format!("{:?}{:?}", answer.headers, answer.body).contains("p01s0n"));
    // Not even an optional route lets it through.
    let verifier = fixture
        .builder()
        .validate_with(|_| Err(CheckError::unavailable("away")))
        .build()
        .unwrap();
    let layer = JwtAuthLayer::new(verifier).optional();
    send(layer, bearer(fixture.token()))
        .await
        .unavailable("optional");
}

#[tokio::test]
async fn e21_the_check_is_asked_last() {
    let fixture = Fixture::new();
    let builder = || {
        fixture.builder().validate_with(|token| {
            Err(CheckError::rejected(
                token.subject().unwrap_or("?").to_owned(),
            ))
        })
    };
    for token in [
        fixture.with("exp", json!(0)),
        fixture.with("iss", json!("x")),
        fixture.with("aud", json!("x")),
        fixture.with("cnf", json!({})),
        fixture.with("type", json!("refresh")),
    ] {
        let answer = send(JwtAuthLayer::new(builder().build().unwrap()), bearer(token)).await;
        assert_ne!(
            answer.invalid_token("earlier").kind(),
            Some(AuthErrorKind::Rejected)
        );
    }
}

#[tokio::test]
async fn e_a_token_that_does_not_fit_the_applications_type_is_an_invalid_token() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().claims::<Tenancy>().build().unwrap();
    let layer = || JwtAuthLayer::new(verifier.clone());
    for (token, case) in [
        (fixture.token(), "missing"),
        (fixture.with("tenant", json!(5)), "number"),
        (fixture.with("tenant", json!(null)), "null"),
    ] {
        let answer = send(layer(), bearer(token)).await.invalid_token(case);
        answer.because(AuthErrorKind::MalformedClaims);
    }
    // A type that no object fits accepts nothing.
    for token in [
        fixture.token(),
        fixture.with_payload("null"),
        fixture.with_payload("[]"),
    ] {
        let unit = fixture.builder().claims::<()>().build().unwrap();
        send(JwtAuthLayer::new(unit), bearer(&token))
            .await
            .invalid_token("()");
        let list = fixture.builder().claims::<Vec<Value>>().build().unwrap();
        send(JwtAuthLayer::new(list), bearer(&token))
            .await
            .invalid_token("Vec");
        let text = fixture
            .builder()
            .claims::<Option<String>>()
            .build()
            .unwrap();
        send(JwtAuthLayer::new(text), bearer(&token))
            .await
            .invalid_token("Option<String>");
    }
}

#[tokio::test]
async fn c13_a_type_that_needs_no_object_does_not_make_one_needless() {
    async fn by<C: DeserializeOwned + Send + Sync + 'static>(
        fixture: &Fixture,
        token: &str,
    ) -> bool {
        // Nothing is expected of the claims, so that only their form is left to refuse.
        let builder = Verifier::key_set(keys())
            .dangerous_any_audience()
            .dangerous_optional_expiry()
            .clock(fixture.clock.clone())
            .claims::<C>();
        let layer = JwtAuthLayer::new(builder.build().unwrap());
        send(layer, bearer(token)).await.ran()
    }

    let fixture = Fixture::new();
    for payload in ["null", "true", "1", "\"text\"", "[]", "[null]", ""] {
        let token = fixture.with_payload(payload);
        assert!(!by::<Option<Tenancy>>(&fixture, &token).await, "{payload}");
        assert!(!by::<Option<Value>>(&fixture, &token).await, "{payload}");
        assert!(!by::<()>(&fixture, &token).await, "{payload}");
        assert!(!by::<Value>(&fixture, &token).await, "{payload}");
        assert!(!by::<IgnoredAny>(&fixture, &token).await, "{payload}");
        assert!(!by::<Vec<Value>>(&fixture, &token).await, "{payload}");
        assert!(!by::<bool>(&fixture, &token).await, "{payload}");
        assert!(!by::<f64>(&fixture, &token).await, "{payload}");
        assert!(!by::<String>(&fixture, &token).await, "{payload}");
    }
    let empty = fixture.with_payload("{}");
    assert!(by::<Value>(&fixture, &empty).await && by::<Option<Value>>(&fixture, &empty).await);
}

#[tokio::test]
async fn e16_a_plain_key_may_go_without_an_audience_and_then_refuses_tokens_that_name_one() {
    let fixture = Fixture::new();
    let secret = [b's'; 32];
    let issuer = TestIssuer::with_secret(Algorithm::Hs256, &secret).clock(fixture.clock.clone());
    let builder = || Verifier::hs256(secret).clock(fixture.clock.clone());
    let token = issuer.token(|claims| claims.remove("aud"));
    judge(builder, bearer(token))
        .await
        .passes("none named, none expected");
    for aud in [json!(AUDIENCE), json!([]), json!([AUDIENCE])] {
        let token = issuer.token(|claims| claims["aud"] = aud);
        judge(builder, bearer(token))
            .await
            .invalid_token("one named, none expected")
            .because(AuthErrorKind::WrongAudience);
    }
}
