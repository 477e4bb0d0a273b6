//! Issuers that are known from the start.

use std::time::Duration;

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, remote::RemoteKeySet},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::{CheckError, Provider},
};

use super::{A, AUDIENCE, B, memory::Memory, published, refusal, rules, signer};

fn both(algorithm: Algorithm, clock: &TestClock) -> Verifier {
    let a = rules(A, TestKeys::new(), algorithm, clock).build().unwrap();
    let b = rules(B, TestKeys::other(), algorithm, clock)
        .build()
        .unwrap();
    Verifier::by_issuer([a, b]).unwrap()
}

#[test]
fn e13_a_key_of_one_issuer_never_verifies_a_token_of_another() {
    let clock = TestClock::new();
    // Same kid, same kind of key, same audience: nothing but the issuer tells them apart.
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::EdDsa,
        Algorithm::Hs256,
    ] {
        let verifier = both(algorithm, &clock);
        let token = |issuer, keys| signer(issuer, keys, algorithm, &clock).token(|_| ());

        for (issuer, keys) in [(A, TestKeys::new()), (B, TestKeys::other())] {
            let principal = verifier
                .verify_now(token(issuer, keys))
                .unwrap()
                .principal();
            assert_eq!(principal.issuer(), Some(issuer), "{algorithm}");
        }
        for (issuer, keys) in [(A, TestKeys::other()), (B, TestKeys::new())] {
            let kind = refusal(&verifier, &token(issuer, keys));
            assert_eq!(kind, AuthErrorKind::InvalidSignature, "{algorithm}");
        }
    }
}

#[test]
fn e13_an_issuer_is_compared_code_point_by_code_point() {
    let clock = TestClock::new();
    let verifier = both(Algorithm::Rs256, &clock);
    for issuer in [
        "https://a.example/",
        "https://A.example",
        "HTTPS://a.example",
        "https://a.example ",
        " https://a.example",
        "https://a.example#",
        "https://a.example\u{0}",
        "https://\u{430}.example",
        "https://a.example.evil.example",
        "a.example",
        "",
    ] {
        let token = signer(issuer, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
        assert_eq!(
            refusal(&verifier, &token),
            AuthErrorKind::WrongIssuer,
            "{issuer:?}"
        );
    }
}

#[test]
fn e13_a_token_without_one_readable_issuer_is_refused() {
    let clock = TestClock::new();
    let verifier = both(Algorithm::Rs256, &clock);
    let signer = signer(A, TestKeys::new(), Algorithm::Rs256, &clock);
    for value in [
        json!(null),
        json!(5),
        json!(true),
        json!([A]),
        json!({"iss": A}),
    ] {
        let token = signer.token(|claims| claims.insert("iss".into(), value.clone()));
        assert_eq!(
            refusal(&verifier, &token),
            AuthErrorKind::MissingClaim("iss"),
            "{value}"
        );
    }
    let nothing = signer.token(|claims| claims.remove("iss"));
    assert_eq!(
        refusal(&verifier, &nothing),
        AuthErrorKind::MissingClaim("iss")
    );
    for not_claims in ["", "null", "[]", r#""https://a.example""#, "{", "{}x"] {
        let token = signer.raw(r#"{"alg":"RS256","kid":"k1"}"#, not_claims.as_bytes());
        assert!(verifier.verify_now(token).is_err(), "{not_claims}");
    }
}

#[test]
fn e13_a_second_issuer_in_the_token_never_counts() {
    let clock = TestClock::new();
    let verifier = both(Algorithm::Rs256, &clock);
    let exp = clock.timestamp() + 60;
    for keys in [TestKeys::new(), TestKeys::other()] {
        let signer = signer(A, keys, Algorithm::Rs256, &clock);
        for (first, second) in [(A, B), (B, A), (A, A), (B, B)] {
            for name in ["iss", r"\u0069ss"] {
                let claims = format!(
                    r#"{{"iss":"{first}","aud":"{AUDIENCE}","sub":"x","exp":{exp},"{name}":"{second}"}}"#
                );
                let token = signer.raw(r#"{"alg":"RS256","kid":"k1"}"#, claims.as_bytes());
                assert!(verifier.verify_now(token).is_err(), "{claims}");
            }
        }
        // An issuer further down is no issuer.
        let nested = format!(r#"{{"x":{{"iss":"{A}"}},"aud":"{AUDIENCE}","exp":{exp}}}"#);
        let token = signer.raw(r#"{"alg":"RS256","kid":"k1"}"#, nested.as_bytes());
        assert_eq!(
            refusal(&verifier, &token),
            AuthErrorKind::MissingClaim("iss")
        );
    }
}

#[test]
fn e13_each_issuer_has_rules_of_its_own() {
    let clock = TestClock::new();
    let no_mallory =
        |token: &tower_jwt_auth::Verified<tower_jwt_auth::Claims>| match token.subject() {
            Some("mallory") => Err(CheckError::rejected("mallory")),
            _ => Ok(()),
        };
    let a = rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
        .audience("a")
        .leeway(Duration::ZERO)
        .roles_at("groups")
        .validate_with(no_mallory)
        .build()
        .unwrap();
    let b = rules(B, TestKeys::new(), Algorithm::Es256, &clock)
        .audience("b")
        .leeway(Duration::from_secs(120))
        .build()
        .unwrap();
    let verifier = Verifier::by_issuer([a, b]).unwrap();
    let of = |issuer, algorithm| signer(issuer, TestKeys::new(), algorithm, &clock);
    let (a, b) = (of(A, Algorithm::Rs256), of(B, Algorithm::Es256));

    let verdict = |signer: &TestIssuer, name: &str, value: serde_json::Value| {
        let token = signer.token(|claims| claims.insert(name.into(), value));
        verifier.verify_now(token).map(|token| token.principal())
    };
    let kind = |verdict: Result<_, tower_jwt_auth::AuthError>| {
        verdict
            .map(|_: tower_jwt_auth::Principal| ())
            .map_err(|error| error.kind())
    };

    assert_eq!(kind(verdict(&a, "aud", json!("a"))), Ok(()));
    assert_eq!(kind(verdict(&b, "aud", json!("b"))), Ok(()));
    let wrong_audience = Err(AuthErrorKind::WrongAudience);
    assert_eq!(kind(verdict(&a, "aud", json!("b"))), wrong_audience);
    assert_eq!(kind(verdict(&b, "aud", json!("a"))), wrong_audience);

    let late = json!(clock.timestamp() - 60);
    assert_eq!(
        kind(verdict(&a, "exp", late.clone())),
        Err(AuthErrorKind::Expired)
    );
    assert_eq!(kind(verdict(&b, "exp", late)), Ok(()));

    let mallory = json!("mallory");
    assert_eq!(
        kind(verdict(&a, "sub", mallory.clone())),
        Err(AuthErrorKind::Rejected)
    );
    assert_eq!(kind(verdict(&b, "sub", mallory)), Ok(()));

    let admin = json!(["admin"]);
    assert!(
        verdict(&a, "groups", admin.clone())
            .unwrap()
            .has_role("admin")
    );
    assert!(
        !verdict(&a, "roles", admin.clone())
            .unwrap()
            .has_role("admin")
    );
    assert!(
        !verdict(&b, "groups", admin.clone())
            .unwrap()
            .has_role("admin")
    );
    assert!(verdict(&b, "roles", admin).unwrap().has_role("admin"));

    // The other's algorithm, with a key that the other trusts.
    for (issuer, algorithm) in [(A, Algorithm::Es256), (B, Algorithm::Rs256)] {
        let token = of(issuer, algorithm).token(|_| ());
        assert_eq!(
            refusal(&verifier, &token),
            AuthErrorKind::AlgorithmNotAllowed
        );
    }
}

#[test]
fn e13_the_longest_limit_lets_no_longer_token_through_the_shorter() {
    let clock = TestClock::new();
    let a = rules(A, TestKeys::new(), Algorithm::Es256, &clock).max_token_bytes(1024);
    let b = rules(B, TestKeys::other(), Algorithm::Es256, &clock).max_token_bytes(4096);
    let verifier = Verifier::by_issuer([a.build().unwrap(), b.build().unwrap()]).unwrap();
    let long = |issuer, keys| {
        let filling = json!("x".repeat(1000));
        signer(issuer, keys, Algorithm::Es256, &clock)
            .token(|claims| claims.insert("filling".into(), filling))
    };
    let token = long(A, TestKeys::new());
    assert_eq!(
        refusal(&verifier, &token),
        AuthErrorKind::OversizedCredential
    );
    assert!(verifier.verify_now(long(B, TestKeys::other())).is_ok());
    assert_eq!(
        refusal(&verifier, &"x".repeat(5000)),
        AuthErrorKind::OversizedCredential
    );
}

#[tokio::test]
async fn e14_an_untrusted_issuer_costs_no_fetch() {
    let clock = TestClock::new();
    let memory = Memory::default().with(
        "https://b.example/keys",
        json!({"keys": [published(Algorithm::Rs256, json!({"kid": "k1"}))]}),
    );
    let keys = RemoteKeySet::jwks("https://b.example/keys")
        .fetch(memory.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    keys.ready().await.unwrap();
    let remote = Verifier::key_source(keys)
        .issuer(B)
        .audience(AUDIENCE)
        .clock(clock.clone())
        .build()
        .unwrap();
    let fixed = rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
        .build()
        .unwrap();
    let group = Verifier::by_issuer([fixed, remote.clone()]).unwrap();
    assert_eq!(memory.asked().len(), 1);

    for number in 0..50 {
        // Past the time when a background refresh would be due, too.
        clock.advance(Duration::from_secs(30));
        for (issuer, verifier) in [
            (format!("https://{number}.example"), &group),
            (format!("https://{number}.example"), &remote),
            // A trusted one, whose keys are at hand: nothing to fetch for it either.
            (A.to_owned(), &group),
        ] {
            let token = signer(&issuer, TestKeys::new(), Algorithm::Rs256, &clock)
                .kid(Some(&format!("kid-{number}")))
                .token(|_| ());
            let error = verifier.verify(token).await.unwrap_err();
            assert_eq!(error.status(), http::StatusCode::UNAUTHORIZED);
        }
    }
    assert_eq!(memory.asked().len(), 1);

    // The same kid from the issuer that is trusted is worth a fetch.
    let token = signer(B, TestKeys::new(), Algorithm::Rs256, &clock).kid(Some("kid-0"));
    assert!(remote.verify(token.token(|_| ())).await.is_err());
    assert_eq!(memory.asked().len(), 2);
}

#[tokio::test]
async fn e14_a_token_of_a_static_issuer_passes_while_the_remote_one_is_down() {
    let clock = TestClock::new();
    let memory = Memory::default();
    memory.down(true);
    let keys = RemoteKeySet::oidc(B)
        .fetch(memory.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    assert!(keys.ready().await.is_err());
    let remote = Verifier::key_source(keys).issuer(B).audience(AUDIENCE);
    let remote = remote.clock(clock.clone()).build().unwrap();
    let fixed = rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
        .build()
        .unwrap();
    let group = Verifier::by_issuer([fixed, remote]).unwrap();
    assert!(!group.is_ready());
    assert!(group.ready().await.is_err());

    let of = |issuer| signer(issuer, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
    assert!(group.verify(of(A)).await.is_ok());
    let error = group.verify(of(B)).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::KeysUnavailable);
    assert!(error.retry_after().is_some());
}

#[tokio::test]
async fn ready_asks_for_no_keys_that_are_there() {
    let clock = TestClock::new();
    let memory = Memory::default().with(
        "https://b.example/keys",
        json!({"keys": [published(Algorithm::Rs256, json!({"kid": "k1"}))]}),
    );
    let keys = RemoteKeySet::jwks("https://b.example/keys").fetch(memory.clone());
    let keys = keys.clock(clock.clone()).build().unwrap();
    let verifier = Verifier::key_source(keys)
        .issuer(B)
        .audience(AUDIENCE)
        .build()
        .unwrap();
    for _ in 0..20 {
        verifier.ready().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(memory.asked().len(), 1);
}

#[test]
fn e13_groups_can_stand_in_groups() {
    let clock = TestClock::new();
    let old = rules(A, TestKeys::new(), Algorithm::Hs256, &clock)
        .build()
        .unwrap();
    let new = rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
        .build()
        .unwrap();
    let other = rules(B, TestKeys::other(), Algorithm::Es256, &clock)
        .build()
        .unwrap();
    let migrating = Verifier::by_algorithm([old, new]).unwrap();
    let verifier = Verifier::by_issuer([migrating, other]).unwrap();

    let token = |issuer, keys, algorithm| signer(issuer, keys, algorithm, &clock).token(|_| ());
    for good in [
        token(A, TestKeys::new(), Algorithm::Hs256),
        token(A, TestKeys::new(), Algorithm::Rs256),
        token(B, TestKeys::other(), Algorithm::Es256),
    ] {
        assert!(verifier.verify_now(good).is_ok());
    }
    for bad in [
        token(B, TestKeys::new(), Algorithm::Hs256),
        token(B, TestKeys::new(), Algorithm::Rs256),
        token(A, TestKeys::other(), Algorithm::Es256),
        token(A, TestKeys::other(), Algorithm::Hs256),
        token(A, TestKeys::other(), Algorithm::Rs256),
    ] {
        assert!(verifier.verify_now(bad).is_err());
    }
}

#[test]
fn a_group_of_algorithms_with_an_issuer_each_mixes_no_issuers() {
    let clock = TestClock::new();
    let a = rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
        .build()
        .unwrap();
    let b = rules(B, TestKeys::new(), Algorithm::Es256, &clock)
        .build()
        .unwrap();
    let inner = Verifier::by_algorithm([a, b]).unwrap();
    let verifier = Verifier::by_issuer([inner]).unwrap();
    let token =
        |issuer, algorithm| signer(issuer, TestKeys::new(), algorithm, &clock).token(|_| ());
    assert!(verifier.verify_now(token(A, Algorithm::Rs256)).is_ok());
    assert!(verifier.verify_now(token(B, Algorithm::Es256)).is_ok());
    for (issuer, algorithm) in [(B, Algorithm::Rs256), (A, Algorithm::Es256)] {
        let kind = refusal(&verifier, &token(issuer, algorithm));
        assert_eq!(kind, AuthErrorKind::WrongIssuer);
    }
}

#[test]
fn groups_that_cannot_tell_their_members_apart_are_refused() {
    let clock = TestClock::new();
    let of = |issuer| {
        rules(issuer, TestKeys::new(), Algorithm::Rs256, &clock)
            .build()
            .unwrap()
    };
    let anybody = || Verifier::hs256([7; 32]).build().unwrap();
    let refused =
        |group: Result<Verifier, tower_jwt_auth::ConfigError>| group.unwrap_err().to_string();

    let text = refused(Verifier::by_issuer(Vec::<Verifier>::new()));
    assert!(
        text.contains("by_issuer") && text.contains("no verifier"),
        "{text}"
    );
    let text = refused(Verifier::by_issuer([of(A), anybody()]));
    assert!(text.contains("no issuer"), "{text}");
    let text = refused(Verifier::by_issuer([of(A), of(B), of(A)]));
    assert!(text.contains("two verifiers") && text.contains(A), "{text}");
    let mixed = Verifier::by_algorithm([of(A), anybody()]).unwrap();
    let text = refused(Verifier::by_issuer([mixed]));
    assert!(text.contains("no issuer"), "{text}");

    let text = refused(Verifier::by_algorithm(Vec::<Verifier>::new()));
    assert!(
        text.contains("any_of") && text.contains("no verifier"),
        "{text}"
    );
    let text = refused(Verifier::by_algorithm([of(A), of(B)]));
    assert!(text.contains("RS256"), "{text}");
    let by_issuer = Verifier::by_issuer([of(A), of(B)]).unwrap();
    let text = refused(Verifier::by_algorithm([by_issuer, anybody()]));
    assert!(text.contains("chosen by issuer"), "{text}");
}

#[test]
fn an_issuer_that_is_named_twice_is_one_issuer() {
    let clock = TestClock::new();
    // As `Verifier::oidc(…)` with a preset does.
    let preset = Provider::okta("shop.okta.com", "default");
    let issuer = preset.issuer().to_owned();
    let verifier = rules(&issuer, TestKeys::new(), Algorithm::Rs256, &clock)
        .provider(preset)
        .build()
        .unwrap();
    let verifier = Verifier::by_issuer([verifier]).unwrap();
    let token = signer(&issuer, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
    assert!(verifier.verify_now(token).is_ok());
}

#[test]
fn one_issuer_under_two_names_is_found_by_both() {
    let clock = TestClock::new();
    let google = rules(
        "https://accounts.google.com",
        TestKeys::new(),
        Algorithm::Rs256,
        &clock,
    )
    .issuer("accounts.google.com")
    .build()
    .unwrap();
    let other = rules(B, TestKeys::other(), Algorithm::Rs256, &clock)
        .build()
        .unwrap();
    let verifier = Verifier::by_issuer([google, other]).unwrap();
    for issuer in ["https://accounts.google.com", "accounts.google.com"] {
        let token = signer(issuer, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
        assert!(verifier.verify_now(token).is_ok(), "{issuer}");
    }
}

#[test]
fn d4_algorithms_side_by_side_have_keys_of_their_own() {
    let clock = TestClock::new();
    let keys = TestKeys::new();
    let old = rules(A, keys, Algorithm::Hs256, &clock).build().unwrap();
    let new = rules(A, keys, Algorithm::Rs256, &clock).build().unwrap();
    let verifier = Verifier::by_algorithm([old, new]).unwrap();
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256] {
        let token = signer(A, keys, algorithm, &clock).token(|_| ());
        assert!(verifier.verify_now(token).is_ok(), "{algorithm}");
    }

    // The public key in every form that a naive verifier might take for a secret.
    let jwk = keys.jwk(Algorithm::Rs256);
    let members: serde_json::Value = serde_json::from_str(&jwk).unwrap();
    let pem = keys.public_pem(Algorithm::Rs256);
    for secret in [
        pem.to_owned(),
        pem.trim().to_owned(),
        pem.lines().filter(|line| !line.starts_with('-')).collect(),
        jwk,
        keys.jwks(),
        members["n"].as_str().unwrap().to_owned(),
    ] {
        let token = TestIssuer::with_secret(Algorithm::Hs256, secret.as_bytes())
            .issuer(A)
            .audience(AUDIENCE)
            .kid(Some("k1"))
            .clock(clock.clone())
            .token(|_| ());
        assert_eq!(refusal(&verifier, &token), AuthErrorKind::InvalidSignature);
    }
    // The old secret signs nothing in the name of the new algorithm, and no third one passes.
    let token = signer(A, TestKeys::other(), Algorithm::Rs256, &clock).token(|_| ());
    assert_eq!(refusal(&verifier, &token), AuthErrorKind::InvalidSignature);
    for algorithm in [Algorithm::Hs384, Algorithm::Rs384, Algorithm::Es256] {
        let token = signer(A, keys, algorithm, &clock).token(|_| ());
        assert_eq!(
            refusal(&verifier, &token),
            AuthErrorKind::AlgorithmNotAllowed
        );
    }
    let unsigned = "eyJhbGciOiJub25lIn0.e30.";
    assert!(verifier.verify_now(unsigned).is_err());
}
