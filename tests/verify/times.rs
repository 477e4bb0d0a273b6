//! Section E, E1 to E10 and E20: expiry and the other dates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tower_jwt_auth::{ConfigError, error::AuthErrorKind, verify::VerifierBuilder};

use crate::support::fixture::Fixture;

#[tokio::test]
async fn e1_an_expired_token_is_an_invalid_token() {
    let fixture = Fixture::new();
    for seconds in [61, 3_600, 1_000_000_000] {
        let token = fixture.with("exp", json!(fixture.now() - seconds));
        fixture
            .judge(&token)
            .await
            .invalid_token("expired")
            .because(AuthErrorKind::Expired);
    }
    let token = fixture.with("exp", json!(fixture.now() - 59));
    fixture.judge(&token).await.passes("within the leeway");
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
        fixture.judge_by(by, &token).await.passes("just before");
        fixture.clock.set(edge);
        fixture
            .judge_by(by, &token)
            .await
            .invalid_token("at the edge");
        fixture.clock.set(edge + Duration::from_secs(1));
        fixture.judge_by(by, &token).await.invalid_token("after");
    }
    // By default the leeway is 60 s.
    let token = fixture.with("exp", json!(fixture.now() - 60));
    fixture.judge(&token).await.invalid_token("60 s");
}

#[tokio::test]
async fn e3_a_token_without_exp_is_an_invalid_token() {
    let fixture = Fixture::new();
    fixture
        .judge(&fixture.without("exp"))
        .await
        .invalid_token("missing")
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
        let token = fixture.with_text("exp", value);
        fixture
            .judge(&token)
            .await
            .invalid_token(value)
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
        let answer = fixture.judge_by(by, &fixture.with_text("exp", value)).await;
        if passes {
            answer.passes(value);
        } else {
            answer.invalid_token(value).because(AuthErrorKind::Expired);
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
        let answer = fixture.judge(&fixture.with_text("exp", value)).await;
        if passes {
            let answer = answer.passes(value);
            assert!(answer.caller().expires_at().is_some());
        } else {
            answer.invalid_token(value);
        }
        // The other dates, and the sums that are made of them.
        for claim in ["nbf", "iat"] {
            let token = fixture.with_text(claim, value);
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
        let token = fixture.with_text("exp", "1e300");
        fixture.judge(&token).await.passes("before 1970");
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
            answer.passes("started");
        } else {
            answer
                .invalid_token("early")
                .because(AuthErrorKind::NotYetValid);
        }
    }
    let token = fixture.with("nbf", json!(fixture.now()));
    let by = |builder: VerifierBuilder| builder.leeway(Duration::ZERO);
    fixture.judge_by(by, &token).await.passes("equal to now");
    fixture.clock.set(fixture_start() - Duration::from_nanos(1));
    fixture
        .judge_by(by, &token)
        .await
        .invalid_token("a moment before");
}

fn fixture_start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(Fixture::new().now().try_into().unwrap())
}

#[tokio::test]
async fn e8_iat_and_nbf_that_are_no_numbers_are_an_invalid_token() {
    let fixture = Fixture::new();
    for claim in ["iat", "nbf"] {
        for value in NO_DATES {
            let token = fixture.with_text(claim, value);
            fixture
                .judge(&token)
                .await
                .invalid_token(value)
                .because(AuthErrorKind::MalformedClaims);
        }
    }
}

#[tokio::test]
async fn e9_iat_in_the_future_alone_is_accepted() {
    let fixture = Fixture::new();
    let token = fixture.with("iat", json!(fixture.now() + 100_000));
    fixture.judge(&token).await.passes("no such rule");
    let aged = |builder: VerifierBuilder| builder.max_age(Duration::from_secs(600));
    fixture
        .judge_by(aged, &token)
        .await
        .invalid_token("with a maximum age");
    let token = fixture.with("iat", json!(fixture.now() + 60));
    fixture
        .judge_by(aged, &token)
        .await
        .passes("within the leeway");
}

#[tokio::test]
async fn e10_with_a_maximum_age_iat_is_required_and_counts() {
    let fixture = Fixture::new();
    let aged = |builder: VerifierBuilder| builder.max_age(Duration::from_secs(600));
    let answer = fixture.judge_by(aged, &fixture.without("iat")).await;
    answer
        .invalid_token("missing")
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
            answer.passes("young");
        } else {
            answer.invalid_token("old").because(AuthErrorKind::TooOld);
        }
    }
    fixture
        .judge(&fixture.without("iat"))
        .await
        .passes("without a maximum age");
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
