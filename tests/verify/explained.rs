//! `Verifier::explain`: every check of a token.

use serde::Deserialize;
use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
    verify::{CheckError, Explanation, VerifierBuilder},
};

use crate::support::{
    fixture::{AUDIENCE, Fixture, ISSUER},
    unreachable::Unreachable,
};

fn failed(explanation: &Explanation) -> Vec<&'static str> {
    let failed = explanation
        .checks()
        .filter(|check| check.passed() == Some(false));
    failed.map(|check| check.name()).collect()
}

fn row<'e>(explanation: &'e Explanation, name: &str) -> (&'e str, &'e str) {
    let check = explanation.checks().find(|check| check.name() == name);
    let check = check.unwrap_or_else(|| panic!("no row {name}: {explanation}"));
    (check.expected(), check.found())
}

/// Tokens, each with the only check that it fails.
fn tokens(fixture: &Fixture) -> Vec<(String, AuthErrorKind, &'static str)> {
    use AuthErrorKind::{
        AlgorithmNotAllowed, Expired, InvalidSignature, MalformedClaims, MalformedHeader,
        MalformedToken, MissingClaim, NotYetValid, OversizedCredential, SenderConstrained,
        UnknownKey, UnsupportedHeader, WrongAudience, WrongIssuer, WrongType, WrongUse,
    };

    let now = fixture.now();
    let thief = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other());
    let thief = thief.clock(fixture.clock.clone());
    let kid = TestKeys::new().kid(Algorithm::Es256);
    vec![
        ("x".repeat(20_000), OversizedCredential, "size"),
        ("a.b".into(), MalformedToken, "form"),
        (fixture.with_header("[]"), MalformedHeader, "header"),
        (
            fixture.with_header(r#"{"alg":"ES256","crit":["x"]}"#),
            UnsupportedHeader,
            "header",
        ),
        (
            fixture.issuer(Algorithm::Hs256).token(|_| ()),
            AlgorithmNotAllowed,
            "alg",
        ),
        (
            fixture.with_header(r#"{"alg":"none"}"#),
            AlgorithmNotAllowed,
            "alg",
        ),
        (
            fixture.es.clone().typ(Some("id+jwt")).token(|_| ()),
            WrongType,
            "typ",
        ),
        (thief.token(|_| ()), UnknownKey, "key"),
        (
            thief.kid(Some(&kid)).token(|_| ()),
            InvalidSignature,
            "signature",
        ),
        (fixture.with_payload("[]"), MalformedClaims, "claims"),
        (
            fixture.with("iss", json!("https://other.example")),
            WrongIssuer,
            "iss",
        ),
        (fixture.without("iss"), MissingClaim("iss"), "iss"),
        (fixture.with("aud", json!(["a", "b"])), WrongAudience, "aud"),
        (fixture.without("aud"), MissingClaim("aud"), "aud"),
        (fixture.with("exp", json!(now - 100)), Expired, "exp"),
        (fixture.without("exp"), MissingClaim("exp"), "exp"),
        (fixture.with("nbf", json!(now + 100)), NotYetValid, "nbf"),
        (
            fixture.with("token_type", json!("refresh")),
            WrongUse,
            "use",
        ),
        (fixture.with("cnf", json!({})), SenderConstrained, "cnf"),
    ]
}

#[tokio::test]
async fn q23_the_failed_check_is_the_reason_of_the_refusal() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    for (token, kind, name) in tokens(&fixture) {
        let explanation = verifier.explain(&token).await;
        assert_eq!(explanation.refusal().unwrap().kind(), kind, "{name}");
        assert_eq!(verifier.verify(&token).await.unwrap_err().kind(), kind);
        assert_eq!(failed(&explanation), [name], "{explanation}");
        let text = explanation.to_string();
        assert!(
            text.starts_with(&format!("refused: {}", kind.as_str())),
            "{text}"
        );
        if let Some(signature) = token.split('.').nth(2) {
            assert!(!text.contains(signature), "{text}");
        }
    }
}

#[tokio::test]
async fn q23_an_accepted_token_passes_every_check() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    // Twice: the second time the token is in the cache.
    let token = fixture.token();
    for _ in 0..2 {
        let explanation = verifier.explain(&token).await;
        assert!(explanation.refusal().is_none());
        assert!(
            explanation
                .checks()
                .all(|check| check.passed() == Some(true))
        );
        assert!(explanation.to_string().starts_with("accepted\nok"));
        let names: Vec<_> = explanation.checks().map(|check| check.name()).collect();
        let expected = [
            "size",
            "form",
            "header",
            "alg",
            "typ",
            "key",
            "signature",
            "claims",
            "iss",
            "aud",
            "client",
            "exp",
            "nbf",
            "iat",
            "use",
            "cnf",
            "claims type",
        ];
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn q23_expected_and_found_values_are_shown() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    let now = fixture.now();
    let token = fixture.es.token(|claims| {
        claims["aud"] = json!(["a", "b"]);
        claims["iss"] = json!("https://x.example\n\u{202e}");
        claims["exp"] = json!(now - 3600);
        claims.insert("secret".into(), json!("p01s0n"));
    });
    let explanation = verifier.explain(&token).await;
    assert_eq!(failed(&explanation), ["iss", "aud", "exp"]);
    let issuer = format!("one of: {ISSUER}");
    let found = "https://x.example\\n\\u{202e}";
    assert_eq!(row(&explanation, "iss"), (issuer.as_str(), found));
    let audience = format!("one of: {AUDIENCE}");
    assert_eq!(row(&explanation, "aud"), (audience.as_str(), "a, b"));
    let expired = format!("{}, 3600 s ago", now - 3600);
    assert_eq!(row(&explanation, "exp").1, expired);
    assert_eq!(row(&explanation, "alg"), ("one of: RS256, ES256", "ES256"));
    assert!(!explanation.to_string().contains("p01s0n"));
    assert!(!format!("{explanation:?}").contains("p01s0n"));

    let long = fixture.with("iss", json!("y".repeat(4000)));
    let explanation = verifier.explain(long).await;
    assert!(row(&explanation, "iss").1.len() < 140, "{explanation}");
}

#[tokio::test]
async fn q23_checks_of_the_application_and_of_the_type_are_listed() {
    #[derive(Deserialize)]
    struct Tenant {
        #[expect(dead_code, reason = "it only has to be read")]
        tenant: u32,
    }

    let fixture = Fixture::new();
    let builder: VerifierBuilder<Tenant> = fixture.builder().claims();
    let verifier = builder
        .validate_with(|token| match token.subject() {
            Some("alice") => Err(CheckError::rejected("not alice")),
            _ => Ok(()),
        })
        .build()
        .unwrap();
    let explanation = verifier.explain(fixture.token()).await;
    assert_eq!(failed(&explanation), ["claims type"], "{explanation}");
    assert_eq!(row(&explanation, "check").1, "not called");
    let explanation = verifier.explain(fixture.with("tenant", json!(1))).await;
    assert_eq!(failed(&explanation), ["check"], "{explanation}");
    assert_eq!(row(&explanation, "check").1, "rejected");
    let bob = fixture.es.token(|claims| {
        claims["sub"] = json!("bob");
        claims.insert("tenant".into(), json!(1))
    });
    let explanation = verifier.explain(bob).await;
    assert!(explanation.refusal().is_none(), "{explanation}");
    assert_eq!(row(&explanation, "check").1, "it passes");
}

#[tokio::test]
async fn q23_unavailable_keys_and_groups_are_explained() {
    let fixture = Fixture::new();
    let away = fixture.expecting(Verifier::key_source(Unreachable));
    let explanation = away.build().unwrap().explain(fixture.token()).await;
    assert_eq!(failed(&explanation), ["key"], "{explanation}");
    assert_eq!(row(&explanation, "key").1, "the keys are unavailable");
    assert_eq!(row(&explanation, "iss").1, ISSUER);

    let old = VerifyingKey::from_secret(Algorithm::Hs256, [7; 32]).unwrap();
    let old = Verifier::key(old)
        .issuer("https://old.example")
        .audience("x");
    let group = [fixture.builder().build().unwrap(), old.build().unwrap()];
    let group = Verifier::by_issuer(group).unwrap();
    let explanation = group.explain(fixture.token()).await;
    assert!(explanation.refusal().is_none(), "{explanation}");
    assert_eq!(row(&explanation, "verifier").1, "selected");
    let other = fixture.with("iss", json!("https://third.example"));
    let explanation = group.explain(other).await;
    assert_eq!(failed(&explanation), ["verifier"], "{explanation}");
    let (expected, found) = row(&explanation, "verifier");
    assert!(expected.contains(ISSUER) && expected.contains("https://old.example"));
    assert_eq!(found, "wrong_issuer");
}

#[tokio::test]
async fn q23_a_profile_names_the_claim_that_is_missing() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().rfc9068().build().unwrap();
    let explanation = verifier.explain(fixture.without("jti")).await;
    assert_eq!(failed(&explanation), ["profile"], "{explanation}");
    assert_eq!(row(&explanation, "profile").1, "the claim `jti` is missing");
    let max_age = fixture
        .builder()
        .max_age(std::time::Duration::from_secs(60));
    let old = fixture.with("iat", json!(fixture.now() - 500));
    let explanation = max_age.build().unwrap().explain(old).await;
    assert_eq!(failed(&explanation), ["iat"], "{explanation}");
}
