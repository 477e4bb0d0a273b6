//! Kids that nobody published, and kids of keys that do not fit: D26, D54, Q6.

use std::sync::Arc;

use http::StatusCode;
use tower_jwt_auth::{
    error::AuthErrorKind,
    key::Algorithm,
    test_util::{Answer, TestClock, TestIssuer, TestKeys},
};

use crate::support::remote::{
    SHORT, Scripted, Setup, issuer_of, kind, seconds, token_of, token_with_kid, verifier,
};
use crate::support::{settle::settle, until::until};

#[tokio::test]
async fn d26_a_thousand_random_kids_are_two_fetches_and_valid_tokens_pass() {
    let setup = Setup::ready().await;
    let valid = setup.token();
    for number in 0..1000 {
        let unknown = token_with_kid(&format!("random-{number}"), &setup.clock);
        assert_eq!(setup.status(&unknown).await.0, StatusCode::UNAUTHORIZED);
        if number % 10 == 0 {
            assert_eq!(setup.status(&valid).await.0, StatusCode::OK);
        }
    }
    assert_eq!(setup.server.hits(), 1 + 2);

    // Then one per cooldown.
    for cooldown in 1..=5 {
        setup.clock.advance(seconds(10));
        for number in 0..50 {
            let kid = format!("late-{cooldown}-{number}");
            let unknown = token_with_kid(&kid, &setup.clock);
            assert_eq!(setup.status(&unknown).await.0, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(setup.server.hits(), 3 + cooldown);
    }
}

#[tokio::test]
async fn q10_what_has_no_form_of_a_token_causes_no_fetch() {
    let setup = Setup::ready().await;
    let by_issuer = tower_jwt_auth::Verifier::key_source(setup.keys.clone())
        .dangerous_any_audience()
        .dangerous_any_issuer()
        .clock(setup.clock.clone())
        .build()
        .unwrap();
    for verifier in [&setup.verifier, &by_issuer] {
        for number in 0..6 {
            let token = token_with_kid(&format!("no-form-{number}"), &setup.clock);
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = match number {
                0 => "{}".to_owned(),
                1 => String::new(),
                2 => format!("{signature}="),
                3 => format!("{signature}\""),
                4 => format!("+{}", &signature[1..]),
                _ => signature[..1].to_owned(),
            };
            let edited = format!("{message}.{signature}");
            let malformed = Err(AuthErrorKind::MalformedToken);
            assert_eq!(kind(verifier, &edited), malformed, "{signature}");
            let (status, _) = crate::support::remote::status(verifier, &edited).await;
            assert!(status.is_client_error());
        }
        let token = token_with_kid("no-payload", &setup.clock);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let edited = format!("{header}.{{}}.{signature}");
        assert!(kind(verifier, &edited).is_err());
    }
    settle().await;
    assert_eq!(setup.server.hits(), 1);
    // Control: with the form of a token it does.
    let _ = kind(&setup.verifier, &token_with_kid("unknown", &setup.clock));
    until(|| setup.server.hits() == 2).await;
}

#[tokio::test]
async fn d26_a_long_silence_earns_a_burst_of_two_and_no_more() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    for (advance, expected) in [(0, 2), (5, 0), (5, 1), (9, 0), (1, 1), (200, 2), (20, 2)] {
        clock.advance(seconds(advance));
        let before = client.calls();
        for number in 0..20 {
            let kid = format!("{advance}-{number}-{before}");
            let _ = kind(&verifier, &token_with_kid(&kid, &clock));
            settle().await;
        }
        assert_eq!(client.calls() - before, expected, "after {advance} s");
    }
}

#[tokio::test]
async fn d26_a_kid_that_was_not_found_is_not_asked_for_twice_in_a_row() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    for _ in 0..5 {
        let refused = verifier.verify(token_with_kid("gone", &clock)).await;
        assert_eq!(refused.unwrap_err().kind(), AuthErrorKind::UnknownKey);
    }
    assert_eq!(client.calls(), 2);
}

/// Issuers sign with a key before every cache in front of their key set has seen it.
#[tokio::test]
async fn d26_a_kid_that_is_published_late_is_accepted_after_the_cooldown() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    let refused = verifier.verify(token_of(TestKeys::other(), &clock)).await;
    assert_eq!(refused.unwrap_err().kind(), AuthErrorKind::UnknownKey);

    client.serve(TestKeys::other().jwks());
    clock.advance(seconds(11));
    let token = token_of(TestKeys::other(), &clock);
    assert!(verifier.verify(token).await.is_ok());
}

#[tokio::test]
async fn d26_an_unknown_kid_leaves_the_negative_cache_at_the_next_successful_fetch() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    assert!(
        verifier
            .verify(token_of(TestKeys::other(), &clock))
            .await
            .is_err()
    );
    client.serve(TestKeys::other().jwks());
    // Another kid uses the second fetch of the burst.
    let _ = verifier.verify(token_with_kid("another", &clock)).await;
    assert_eq!(
        kind(&verifier, &token_of(TestKeys::other(), &clock)),
        Ok(())
    );
    assert_eq!(client.calls(), 3);
}

#[tokio::test]
async fn d26_thousands_of_unknown_kids_at_once_are_all_refused_after_one_fetch() {
    let setup = Arc::new(Setup::ready().await);
    let published = Answer::json(TestKeys::new().jwks());
    setup.server.answer(published.clone().held());
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..5000 {
        let setup = Arc::clone(&setup);
        let token = token_with_kid(&format!("at-once-{number}"), &setup.clock);
        requests.spawn(async move { setup.status(&token).await });
    }
    until(|| setup.server.hits() == 2).await;
    settle().await;
    setup.server.answer(published);
    setup.server.release();
    for (status, _) in requests.join_all().await {
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn e14_an_unknown_kid_of_an_issuer_that_is_not_trusted_is_no_fetch() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    for issuer in ["https://evil.example", "https://as.example/", ""] {
        let token = issuer_of(TestKeys::other(), &clock)
            .issuer(issuer)
            .token(|_| ());
        let refused = verifier.verify(token).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    let token = issuer_of(TestKeys::other(), &clock).token(|claims| claims.remove("iss"));
    assert_eq!(kind(&verifier, &token), Err(AuthErrorKind::UnknownKey));
    settle().await;
    assert_eq!(client.calls(), 1);
}

#[tokio::test]
async fn d26_keys_that_are_due_are_fetched_for_an_unknown_kid_whatever_its_allowance() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client
        .builder(&clock)
        .cooldown(seconds(3600))
        .build()
        .unwrap();
    settle().await;
    let verifier = verifier(&keys, &clock);
    for kid in ["one", "two", "three"] {
        assert!(verifier.verify(token_with_kid(kid, &clock)).await.is_err());
    }
    assert_eq!(client.calls(), 3);
    client.serve(TestKeys::other().jwks());
    clock.advance(seconds(601));
    let token = token_of(TestKeys::other(), &clock);
    assert!(verifier.verify(token).await.is_ok());
}

#[tokio::test]
async fn d31_an_unknown_kid_in_an_outage_is_401_while_the_set_is_young_and_503_when_it_is_stale() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    client.fail();
    let unknown = |clock: &TestClock| token_of(TestKeys::other(), clock);
    for _ in 0..3 {
        let refused = verifier.verify(unknown(&clock)).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::UnknownKey);
    }
    assert_eq!(client.calls(), 2);

    clock.advance(seconds(600));
    for _ in 0..3 {
        let refused = verifier.verify(unknown(&clock)).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::KeysUnavailable);
        assert!(refused.retry_after().is_some_and(|seconds| seconds >= 1));
    }
    assert_eq!(client.calls(), 3);
    assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
}

#[tokio::test]
async fn q6_a_failed_fetch_is_no_verdict_about_a_kid() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    client.fail();
    let token = token_of(TestKeys::other(), &clock);
    assert!(verifier.verify(&token).await.is_err());
    client.serve(TestKeys::other().jwks());
    // The backoff is over, the cooldown is not: the very same token, asked again.
    clock.advance(seconds(1));
    assert!(verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_hundred_thousand_distinct_kids_keep_the_memory_bounded() {
    let setup = Setup::ready_with(|keys| keys.wait(SHORT)).await;
    // The worst moment: a fetch is under way, and every request might wait for it.
    setup.server.answer(Answer::hang());
    let parts = token_with_kid("a", &setup.clock);
    let rest = parts.split_once('.').unwrap().1;
    let mut number = 0_u32;
    let mut flood = |count| {
        for _ in 0..count {
            number += 1;
            let kid = format!("{number:08}");
            let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
            let token = format!("{}.{rest}", base64(header.as_bytes()));
            assert!(setup.verifier.verify_now(token).is_err());
        }
    };
    flood(10_000);
    // The bound is 10 bytes for each of them.
    let counted = allocation_counter::measure(|| flood(100_000));
    assert!(counted.bytes_current < 1 << 20, "{counted:?}");
    assert!(counted.bytes_max < 1 << 20, "{counted:?}");
    assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()));
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn d54_a_kid_of_a_key_for_another_algorithm_spends_nothing_of_the_allowance() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    let kid = TestKeys::new().kid(Algorithm::Rs256);
    let misfit = TestIssuer::new(Algorithm::Ps256)
        .clock(clock.clone())
        .kid(Some(&kid));
    for _ in 0..20 {
        let refused = verifier.verify(misfit.token(|_| ())).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::KeyAlgorithmMismatch);
    }
    // The burst of two is still there: the next rotation is seen at the first request.
    let before = client.calls();
    let _ = verifier.verify(token_with_kid("another", &clock)).await;
    client.serve(TestKeys::other().jwks());
    let rotated = token_of(TestKeys::other(), &clock);
    assert!(verifier.verify(rotated).await.is_ok());
    assert_eq!(client.calls(), before + 2);
}
