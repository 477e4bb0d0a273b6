//! What a published document may hold: D17 to D22, D36, D39, D41, D42.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    event::{AuthEvent, sink_fn},
    key::Algorithm,
    test_util::{Answer, JwksFixture, TestClock, TestIssuer, TestKeys},
};

use crate::support::remote::{
    ALGORITHM, Scripted, Setup, issuer_of, kind, seconds, token_of, verifier,
};
use crate::support::settle::settle;

/// The other set's key as a JWK, edited.
fn odd(edit: impl FnOnce(&mut Value)) -> Value {
    let mut jwk = serde_json::from_str(&TestKeys::other().jwk(ALGORITHM)).unwrap();
    edit(&mut jwk);
    jwk
}

/// What becomes of the other set's token where this entry stands before a good one, whose token
/// must verify whatever the entry is.
async fn beside(entry: Value) -> Result<(), AuthErrorKind> {
    let good: Value = serde_json::from_str(&TestKeys::new().jwk(ALGORITHM)).unwrap();
    let clock = TestClock::new();
    let client = Scripted::new(json!({ "keys": [entry, good] }).to_string());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
    let verdict = verifier.verify(token_of(TestKeys::other(), &clock)).await;
    verdict.map(drop).map_err(|error| error.kind())
}

#[tokio::test]
async fn d17_an_encryption_key_from_the_network_verifies_nothing() {
    assert_eq!(beside(odd(|_| ())).await, Ok(()));
    assert_eq!(
        beside(odd(|jwk| jwk["use"] = json!("enc"))).await,
        Err(AuthErrorKind::UnknownKey)
    );
}

#[tokio::test]
async fn d18_a_key_whose_operations_do_not_name_verify_is_not_used() {
    let with = |operations: Value| odd(|jwk| jwk["key_ops"] = operations);
    assert_eq!(beside(with(json!(["verify"]))).await, Ok(()));
    for operations in [json!(["encrypt"]), json!([]), json!("verify")] {
        assert_eq!(
            beside(with(operations)).await,
            Err(AuthErrorKind::UnknownKey)
        );
    }
}

#[tokio::test]
async fn d19_a_secret_from_the_network_never_verifies() {
    let secret = TestKeys::other().secret(Algorithm::Hs256);
    let clock = TestClock::new();
    let forged = TestIssuer::with_secret(Algorithm::Hs256, secret)
        .clock(clock.clone())
        .kid(Some("smuggled"))
        .token(|_| ());
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let smuggled = json!({
        "kty": "oct", "kid": "smuggled", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret),
    });
    let good: Value = serde_json::from_str(&TestKeys::new().jwk(ALGORITHM)).unwrap();
    let client = Scripted::new(json!({ "keys": [smuggled, good] }).to_string());
    let keys = client.keys(&clock).await;
    assert_eq!(
        kind(&verifier(&keys, &clock), &forged),
        Err(AuthErrorKind::AlgorithmNotAllowed)
    );
    // Also where the application allowed the algorithm by mistake.
    let mistaken = Verifier::key_source(keys)
        .algorithms([Algorithm::Hs256])
        .dangerous_any_issuer()
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let refused = mistaken.verify(forged).await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::UnknownKey);

    // Alone it is no key set at all.
    client.serve(json!({ "keys": [smuggled] }).to_string());
    let keys = client.keys(&clock).await;
    assert!(!keys.is_usable() && keys.last_error().is_some());
}

#[tokio::test]
async fn d20_an_odd_entry_does_not_spoil_the_set() {
    for entry in [
        odd(|jwk| jwk["kty"] = json!("XYZ")),
        odd(|jwk| jwk["kty"] = json!(5)),
        odd(|jwk| jwk["crv"] = json!("secp256k1")),
        odd(|jwk| jwk["alg"] = json!("ES256K")),
        odd(|jwk| jwk["alg"] = json!("none")),
        odd(|jwk| jwk["alg"] = json!("RS256")),
        odd(|jwk| jwk["x"] = json!("")),
        odd(|jwk| jwk["x"] = json!("!")),
        odd(|jwk| jwk["y"] = jwk["x"].clone()),
        odd(|jwk| jwk["kid"] = json!(7)),
        odd(|jwk| drop(jwk.as_object_mut().unwrap().remove("kty"))),
        json!(null),
        json!("key"),
        json!([]),
        json!({}),
    ] {
        let verdict = beside(entry.clone()).await;
        assert_eq!(verdict, Err(AuthErrorKind::UnknownKey), "{entry}");
    }
}

#[tokio::test]
async fn d20_a_weak_rsa_key_from_the_network_is_refused() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    for (bytes, exponent) in [(128, "AQAB"), (255, "AQAB"), (256, "AQ"), (256, "Ag")] {
        let modulus = URL_SAFE_NO_PAD.encode(vec![0xC5; bytes]);
        let weak = json!({
            "kty": "RSA", "kid": "weak", "alg": "RS256", "n": modulus, "e": exponent,
        });
        let client = Scripted::new(json!({ "keys": [weak] }).to_string());
        let keys = client.keys(&TestClock::new()).await;
        assert!(!keys.is_usable(), "{bytes} bytes, {exponent}");
    }
}

#[tokio::test]
async fn d21_an_answer_that_is_no_key_set_is_a_failure_and_the_old_keys_stay() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    let success = keys.last_success();
    let many = vec![odd(|_| ()); 101];
    for body in [
        "<!doctype html><title>Sign in</title>".to_owned(),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        r#"{"error":"try again"}"#.to_owned(),
        format!("{} trailing", TestKeys::other().jwks()),
        json!({ "keys": many }).to_string(),
    ] {
        client.serve(body.clone());
        clock.advance(std::time::Duration::from_secs(515));
        let calls = client.calls();
        assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
        settle().await;
        assert_eq!(client.calls(), calls + 1, "{body}");
        assert!(keys.last_error().is_some(), "{body}");
        assert_eq!(keys.last_success(), success, "{body}");
        assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
        // Back to the start.
        client.serve(TestKeys::new().jwks());
        clock.advance(std::time::Duration::from_secs(2));
        let _ = kind(&verifier, &token_of(TestKeys::new(), &clock));
        settle().await;
        assert!(keys.last_error().is_none());
        let since = keys.last_success();
        assert!(since > success);
        // The next round compares with the last success again.
        clock.set(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600));
        clock.advance(std::time::Duration::from_secs(515));
        let _ = kind(&verifier, &token_of(TestKeys::new(), &clock));
        clock.set(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600));
        settle().await;
        assert_eq!(keys.last_success(), success);
    }
}

#[tokio::test]
async fn d22_a_token_without_kid_needs_exactly_one_key_that_fits() {
    let clock = TestClock::new();
    let client = Scripted::new(format!(
        r#"{{"keys":[{}]}}"#,
        TestKeys::new().jwk(ALGORITHM)
    ));
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    let nameless = TestIssuer::new(ALGORITHM)
        .clock(clock.clone())
        .kid(None)
        .token(|_| ());
    assert_eq!(kind(&verifier, &nameless), Ok(()));
}

#[tokio::test]
async fn d36_the_media_type_does_not_matter() {
    for media_type in [
        "application/json",
        "application/jwk-set+json",
        "application/json; charset=utf-8",
        "text/plain",
    ] {
        let server = JwksFixture::start();
        let answer = Answer::bytes(TestKeys::new().jwks()).header("Content-Type", media_type);
        server.answer(answer);
        let setup = Setup::new(server, |keys| keys);
        assert!(setup.keys.ready().await.is_ok(), "{media_type}");
    }
}

#[test]
fn d35_a_document_within_the_limit_costs_no_more_memory_than_a_huge_one() {
    for piece in [r#"{"":0},"#, "[0],", r#"{"a":{"":0}},"#, "0,", "[[["] {
        let filling = piece.repeat((512 * 1024 - 32) / piece.len());
        for body in [
            format!(r#"{{"keys":[{filling}0]}}"#),
            format!(r#"{{"x":[{filling}0],"keys":[]}}"#),
        ] {
            let counted = allocation_counter::measure(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(async {
                        let keys = Scripted::new(body).keys(&TestClock::new()).await;
                        assert!(!keys.is_usable() && keys.last_error().is_some());
                    });
            });
            assert!(counted.bytes_max < 16 << 20, "{piece}: {counted:?}");
        }
    }
}

#[tokio::test]
async fn d20_a_hundred_keys_with_certificates_are_read() {
    let chain = vec!["M".repeat(1200); 3];
    let entries: Vec<_> = (0..100)
        .map(|number| {
            odd(|jwk| {
                jwk["kid"] = json!(format!("key-{number}"));
                jwk["x5c"] = json!(chain);
                jwk["x5t"] = json!("x");
                jwk["issuer"] = json!("https://as.example");
            })
        })
        .collect();
    let client = Scripted::new(json!({ "keys": entries }).to_string());
    let keys = client.keys(&TestClock::new()).await;
    assert!(keys.is_usable(), "{:?}", keys.last_error());
}

#[tokio::test]
async fn a_failure_does_not_repeat_what_the_server_wrote() {
    let kid = "injected\n".repeat(10_000);
    let entry = json!({ "kty": "XYZ", "kid": kid });
    let client = Scripted::new(json!({ "keys": vec![entry; 5] }).to_string());
    let keys = client.keys(&TestClock::new()).await;
    let error = keys.last_error().unwrap();
    let source = std::error::Error::source(&error).unwrap();
    for text in [error.to_string(), source.to_string(), format!("{error:?}")] {
        assert!(text.len() < 2000, "{} bytes", text.len());
        assert!(!text.contains("injected\n"));
    }
}

#[tokio::test]
async fn d41_a_byte_order_mark_before_a_fetched_key_set_is_ignored() {
    let clock = TestClock::new();
    let client = Scripted::new(format!("\u{FEFF}{}", TestKeys::new().jwks()));
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
}

#[tokio::test]
async fn d42_an_entry_that_is_left_out_is_reported_once() {
    let clock = TestClock::new();
    let good = |keys: TestKeys| serde_json::from_str::<Value>(&keys.jwk(ALGORITHM)).unwrap();
    let unusable = |kid: &str| {
        odd(|jwk| {
            jwk["kid"] = json!(kid);
            jwk["x"] = json!("AA==");
        })
    };
    let document = |entries: &[Value]| json!({ "keys": entries }).to_string();
    let client = Scripted::new(document(&[unusable("one"), good(TestKeys::new())]));
    let reported = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reported);
    let keys = client
        .builder(&clock)
        .max_age(seconds(100))
        .events(sink_fn(move |event| {
            if let AuthEvent::KeySkipped { kid, reason, .. } = event {
                assert_eq!(event.name(), "keys.skipped");
                let entry = format!("{}: {reason}", kid.unwrap());
                sink.lock().unwrap().push(entry);
            }
        }))
        .build()
        .unwrap();
    assert!(keys.key_set().is_none());
    settle().await;
    let verifier = verifier(&keys, &clock);
    let reason = "`x` is not base64url without padding (RFC 7515 §2)";
    let both = document(&[
        unusable("one"),
        unusable("two"),
        good(TestKeys::new()),
        good(TestKeys::other()),
    ]);
    let mut expected = vec![format!("one: {reason}")];
    assert_eq!(*reported.lock().unwrap(), expected);
    // The same document, then another one with the same entry and a new one, then that again.
    for body in [None, Some(both), None] {
        let calls = client.calls();
        if let Some(body) = body {
            client.serve(body);
            expected.push(format!("two: {reason}"));
        }
        clock.advance(seconds(90));
        assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
        settle().await;
        assert_eq!(client.calls(), calls + 1);
        assert_eq!(*reported.lock().unwrap(), expected);
    }
    let set = keys.key_set().unwrap();
    let listed: Vec<_> = set.skipped().map(|(kid, _)| kid.unwrap()).collect();
    assert_eq!((set.len(), listed), (2, vec!["one", "two"]));
}

#[tokio::test]
async fn d39_a_certificate_that_is_published_later_is_fetched_for() {
    let clock = TestClock::new();
    let certified = |keys: TestKeys, x5t: &str| {
        let mut jwk: Value = serde_json::from_str(&keys.jwk(ALGORITHM)).unwrap();
        jwk["x5t"] = json!(x5t);
        jwk
    };
    let old = certified(TestKeys::new(), "old");
    let client = Scripted::new(json!({ "keys": [old] }).to_string());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    let named = |x5t: &str| {
        let header = json!({"alg": ALGORITHM.as_str(), "x5t": x5t}).to_string();
        let claims = token_of(TestKeys::new(), &clock);
        let claims = claims.split('.').nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        issuer_of(TestKeys::other(), &clock).raw(&header, &claims)
    };
    let refused = verifier.verify(named("new")).await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::UnknownKey);
    assert_eq!(client.calls(), 2);
    // Another thumbprint is another question.
    let new = certified(TestKeys::other(), "newer");
    client.serve(json!({ "keys": [new] }).to_string());
    assert!(verifier.verify(named("newer")).await.is_ok());
    assert_eq!(client.calls(), 3);
}
