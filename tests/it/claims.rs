//! Section E: claims. Every rule is asked of every shape of claims type.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    test_util::TestIssuer,
    verify::{CheckError, VerifierBuilder},
};

use crate::support::{AUDIENCE, Answer, Fixture, ISSUER, bearer, judge, send};

/// A token whose claims hold this member as it is written here.
fn with_text(fixture: &Fixture, claim: &str, value: &str) -> String {
    let claims = fixture.payload(|claims| claims.remove(claim));
    fixture.with_payload(claims.replacen('{', &format!("{{\"{claim}\":{value},"), 1))
}

#[tokio::test]
async fn e1_an_expired_token_is_an_invalid_token() {
    let fixture = Fixture::new();
    for seconds in [61, 3_600, 1_000_000_000] {
        let token = fixture.with("exp", json!(fixture.now() - seconds));
        fixture
            .judge(&token)
            .await
            .is_it("expired")
            .because(AuthErrorKind::Expired);
    }
    let token = fixture.with("exp", json!(fixture.now() - 59));
    fixture.judge(&token).await.is_ok("within the leeway");
}

#[tokio::test]
async fn e2_a_token_is_rejected_from_exp_and_leeway_on() {
    let fixture = Fixture::new();
    for leeway in [0, 60, 300] {
        let by = |builder: VerifierBuilder| builder.leeway(Duration::from_secs(leeway));
        let fixture = Fixture::new();
        let token = fixture.with("exp", json!(fixture.now() + 10));
        let edge = fixture.clock.timestamp() + 10 + i64::try_from(leeway).unwrap();
        let edge = UNIX_EPOCH + Duration::from_secs(edge.try_into().unwrap());
        fixture.clock.set(edge - Duration::from_nanos(1));
        fixture.judge_by(by, &token).await.is_ok("just before");
        fixture.clock.set(edge);
        fixture.judge_by(by, &token).await.is_it("at the edge");
        fixture.clock.set(edge + Duration::from_secs(1));
        fixture.judge_by(by, &token).await.is_it("after");
    }
    // By default the leeway is 60 s.
    let token = fixture.with("exp", json!(fixture.now() - 60));
    fixture.judge(&token).await.is_it("60 s");
}

#[tokio::test]
async fn e3_a_token_without_exp_is_an_invalid_token() {
    let fixture = Fixture::new();
    fixture
        .judge(&fixture.without("exp"))
        .await
        .is_it("missing")
        .because(AuthErrorKind::MissingClaim("exp"));
}

/// Values that are no `NumericDate`.
const NO_DATES: [&str; 9] = [
    r#""1700000000""#,
    r#""4102444800""#,
    "null",
    "true",
    "false",
    "[]",
    "[4102444800]",
    "{}",
    r#"{"$serde_json::private::Number":"4102444800"}"#,
];

#[tokio::test]
async fn e4_exp_of_another_type_is_an_invalid_token() {
    let fixture = Fixture::new();
    for value in NO_DATES {
        let token = with_text(&fixture, "exp", value);
        fixture
            .judge(&token)
            .await
            .is_it(value)
            .because(AuthErrorKind::MalformedClaims);
    }
}

#[tokio::test]
async fn e5_a_fraction_of_a_second_is_a_number() {
    let fixture = Fixture::new();
    let by = |builder: VerifierBuilder| builder.leeway(Duration::ZERO);
    fixture
        .clock
        .set(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    for (value, passes) in [
        ("1700000000.5", true),
        ("1700000000.0", false),
        ("1699999999.9", false),
        ("17000000005e-1", true),
        ("1.7000000005E9", true),
        ("1.7e9", false),
    ] {
        let answer = fixture
            .judge_by(by, &with_text(&fixture, "exp", value))
            .await;
        if passes {
            answer.is_ok(value);
        } else {
            answer.is_it(value).because(AuthErrorKind::Expired);
        }
    }
}

#[tokio::test]
async fn e6_extreme_numbers_neither_overflow_nor_panic() {
    let fixture = Fixture::new();
    for (value, passes) in [
        ("1e300", true),
        ("1.7976931348623157e308", true),
        ("9223372036854775807", true),
        ("9223372036854775808", true),
        ("18446744073709551615", true),
        ("18446744073709551616", true),
        ("99999999999999999999999999999999999999999999", true),
        ("-1", false),
        ("0", false),
        ("-0", false),
        ("-0.0", false),
        ("-9223372036854775808", false),
        ("-9223372036854775809", false),
        ("-1e300", false),
        ("1e-300", false),
        ("1e400", false),
        ("-1e400", false),
        ("1e99999999999", false),
    ] {
        let answer = fixture.judge(&with_text(&fixture, "exp", value)).await;
        if passes {
            let answer = answer.is_ok(value);
            assert!(answer.caller().expires_at().is_some());
        } else {
            answer.is_it(value);
        }
        // The other dates, and the sums that are made of them.
        for claim in ["nbf", "iat"] {
            let token = with_text(&fixture, claim, value);
            let aged = |builder: VerifierBuilder| builder.max_age(Duration::MAX);
            for answer in [
                fixture.judge(&token).await,
                fixture.judge_by(aged, &token).await,
            ] {
                assert!(
                    matches!(answer.status.as_u16(), 200 | 401),
                    "{claim} {value}"
                );
            }
        }
    }
    for time in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_secs(1 << 40)] {
        fixture.clock.set(time);
        let token = with_text(&fixture, "exp", "1e300");
        fixture.judge(&token).await.is_ok("before 1970");
    }
}

#[tokio::test]
async fn e7_nbf_counts_within_the_leeway() {
    let fixture = Fixture::new();
    for (ahead, passes) in [
        (0, true),
        (-1, true),
        (60, true),
        (61, false),
        (100_000, false),
    ] {
        let answer = fixture
            .judge(&fixture.with("nbf", json!(fixture.now() + ahead)))
            .await;
        if passes {
            answer.is_ok("started");
        } else {
            answer.is_it("early").because(AuthErrorKind::NotYetValid);
        }
    }
    let token = fixture.with("nbf", json!(fixture.now()));
    let by = |builder: VerifierBuilder| builder.leeway(Duration::ZERO);
    fixture.judge_by(by, &token).await.is_ok("equal to now");
    fixture.clock.set(fixture_start() - Duration::from_nanos(1));
    fixture.judge_by(by, &token).await.is_it("a moment before");
}

fn fixture_start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(Fixture::new().now().try_into().unwrap())
}

#[tokio::test]
async fn e8_iat_and_nbf_that_are_no_numbers_are_an_invalid_token() {
    let fixture = Fixture::new();
    for claim in ["iat", "nbf"] {
        for value in NO_DATES {
            let token = with_text(&fixture, claim, value);
            fixture
                .judge(&token)
                .await
                .is_it(value)
                .because(AuthErrorKind::MalformedClaims);
        }
    }
}

#[tokio::test]
async fn e9_iat_in_the_future_alone_is_accepted() {
    let fixture = Fixture::new();
    let token = fixture.with("iat", json!(fixture.now() + 100_000));
    fixture.judge(&token).await.is_ok("no such rule");
    let aged = |builder: VerifierBuilder| builder.max_age(Duration::from_secs(600));
    fixture
        .judge_by(aged, &token)
        .await
        .is_it("with a maximum age");
    let token = fixture.with("iat", json!(fixture.now() + 60));
    fixture
        .judge_by(aged, &token)
        .await
        .is_ok("within the leeway");
}

#[tokio::test]
async fn e10_with_a_maximum_age_iat_is_required_and_counts() {
    let fixture = Fixture::new();
    let aged = |builder: VerifierBuilder| builder.max_age(Duration::from_secs(600));
    let answer = fixture.judge_by(aged, &fixture.without("iat")).await;
    answer
        .is_it("missing")
        .because(AuthErrorKind::MissingClaim("iat"));
    for (age, passes) in [
        (0, true),
        (600, true),
        (659, true),
        (660, false),
        (100_000, false),
    ] {
        let answer = fixture
            .judge_by(aged, &fixture.with("iat", json!(fixture.now() - age)))
            .await;
        if passes {
            answer.is_ok("young");
        } else {
            answer.is_it("old").because(AuthErrorKind::TooOld);
        }
    }
    fixture
        .judge(&fixture.without("iat"))
        .await
        .is_ok("without a maximum age");
}

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
            .is_it(issuer)
            .because(AuthErrorKind::WrongIssuer);
    }
    fixture
        .judge(&fixture.with("iss", json!(ISSUER)))
        .await
        .is_ok("equal");
    // Escaped in JSON it is the same string.
    let escaped = with_text(&fixture, "iss", r#""https:\/\/\u0061s.example""#);
    fixture.judge(&escaped).await.is_ok("escaped");
}

#[tokio::test]
async fn e12_an_issuer_missing_or_of_another_type_is_an_invalid_token() {
    let fixture = Fixture::new();
    fixture
        .judge(&fixture.without("iss"))
        .await
        .is_it("missing")
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
            .is_it("type");
    }
}

#[tokio::test]
async fn e14_another_issuer_is_refused() {
    let fixture = Fixture::new();
    for issuer in ["https://evil.example", "https://as.example.evil.example"] {
        let token = fixture.es.clone().issuer(issuer).token(|_| ());
        fixture.judge(&token).await.is_it(issuer);
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
        .is_ok("several names of one issuer");
    fixture
        .judge_by(by, &fixture.token())
        .await
        .is_ok("the first name");
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
        fixture.judge(&fixture.with("aud", aud)).await.is_ok("ours");
    }
    let by = |builder: VerifierBuilder| builder.audience("second");
    fixture
        .judge_by(by, &fixture.with("aud", json!("second")))
        .await
        .is_ok("second");
}

#[tokio::test]
async fn e16_aud_missing_or_other_or_of_another_type_is_an_invalid_token() {
    let fixture = Fixture::new();
    fixture
        .judge(&fixture.without("aud"))
        .await
        .is_it("missing")
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
        fixture.judge(&fixture.with("aud", aud)).await.is_it(&case);
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
                .is_it(aud)
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
                .is_it(&case)
                .because(AuthErrorKind::MalformedClaims);
        }
    }
    for claim in ["sub", "jti"] {
        fixture
            .judge(&fixture.without(claim))
            .await
            .is_ok("missing");
        fixture
            .judge(&fixture.with(claim, json!("")))
            .await
            .is_ok("a string");
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
            answer.is_it("another normal form");
            let answer = judge(builder, bearer(fixture.with(claim, json!(expected)))).await;
            answer.is_ok("the same");
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
            .is_it(name)
            .because(AuthErrorKind::MissingClaim("exp"));
    }
    // A name written with escapes is the name.
    let claims = fixture
        .payload(|_| ())
        .replacen("\"exp\"", "\"\\u0065x\\u0070\"", 1);
    fixture
        .judge(&fixture.with_payload(claims))
        .await
        .is_ok("escaped");
    let mut roles = fixture.with("roles", json!(["\u{e9}"]));
    let answer = fixture.judge(&roles).await.is_ok("role");
    assert!(answer.caller().has_role("\u{e9}") && !answer.caller().has_role("e\u{301}"));
    roles.clear();
}

#[test]
fn e20_a_leeway_of_more_than_five_minutes_is_refused() {
    let fixture = Fixture::new();
    let build = |leeway| fixture.builder().leeway(leeway).build();
    for leeway in [0, 60, 300] {
        assert!(build(Duration::from_secs(leeway)).is_ok());
    }
    for leeway in [
        Duration::from_secs(300) + Duration::from_nanos(1),
        Duration::from_secs(301),
        Duration::MAX,
    ] {
        assert!(matches!(build(leeway), Err(ConfigError::Invalid { .. })));
    }
}

#[derive(Deserialize)]
struct Tenancy {
    tenant: String,
}

async fn checked(fixture: &Fixture, tenant: &str) -> Answer {
    let verifier = fixture
        .builder()
        .claims::<Tenancy>()
        .check(|token| match token.tenant.as_str() {
            "p01s0n-banned" => Err(CheckError::rejected(format!("{} is banned", token.tenant))),
            "p01s0n-unknown" => Err(CheckError::unavailable("the p01s0n list is away")),
            _ => Ok(()),
        })
        .check(|token| match token.tenant.as_str() {
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
    checked(&fixture, "acme").await.is_ok("yes");
    for tenant in ["p01s0n-banned", "second"] {
        let answer = checked(&fixture, tenant).await.is_it(tenant);
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
        .is_unavailable("away");
    let answer = answer.because(AuthErrorKind::CheckUnavailable);
    assert!(!format!("{:?}{:?}", answer.headers, answer.body).contains("p01s0n"));
    // Not even an optional route lets it through.
    let verifier = fixture
        .builder()
        .check(|_| Err(CheckError::unavailable("away")))
        .build()
        .unwrap();
    let layer = JwtAuthLayer::new(verifier).optional();
    send(layer, bearer(fixture.token()))
        .await
        .is_unavailable("optional");
}

#[tokio::test]
async fn e21_the_check_is_asked_last() {
    let fixture = Fixture::new();
    let builder = || {
        fixture.builder().check(|token| {
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
            answer.is_it("earlier").kind(),
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
        let answer = send(layer(), bearer(token)).await.is_it(case);
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
            .is_it("()");
        let list = fixture.builder().claims::<Vec<Value>>().build().unwrap();
        send(JwtAuthLayer::new(list), bearer(&token))
            .await
            .is_it("Vec");
        let text = fixture
            .builder()
            .claims::<Option<String>>()
            .build()
            .unwrap();
        send(JwtAuthLayer::new(text), bearer(&token))
            .await
            .is_it("Option<String>");
    }
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
        .is_ok("none named, none expected");
    for aud in [json!(AUDIENCE), json!([]), json!([AUDIENCE])] {
        let token = issuer.token(|claims| claims["aud"] = aud);
        judge(builder, bearer(token))
            .await
            .is_it("one named, none expected")
            .because(AuthErrorKind::WrongAudience);
    }
}
