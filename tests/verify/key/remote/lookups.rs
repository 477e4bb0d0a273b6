//! Which keys serve, and for how long: D25, D27 to D32, D37.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL};
use tower_jwt_auth::{
    error::AuthErrorKind,
    key::remote::RemoteKeySet,
    test_util::{Answer, JwksFixture, TestClock, TestKeys},
};

use crate::support::remote::{ALGORITHM, LONG, Scripted, Setup, kind, seconds, token_of, verifier};
use crate::support::{settle::settle, until::until};

#[tokio::test]
async fn d25_a_rotated_key_is_picked_up_by_the_very_request_that_needs_it() {
    let setup = Setup::ready().await;
    assert_eq!(setup.status(&setup.token()).await.0, StatusCode::OK);
    setup.server.serve(TestKeys::other().jwks());
    assert_eq!(setup.status(&setup.other_token()).await.0, StatusCode::OK);
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d25_many_requests_share_the_fetch_for_a_rotated_key() {
    let setup = Arc::new(Setup::ready().await);
    let next = Answer::json(TestKeys::other().jwks());
    setup.server.answer(next.held());
    let token = setup.other_token();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (setup, token) = (Arc::clone(&setup), token.clone());
        requests.spawn(async move { setup.status(&token).await });
    }
    until(|| setup.server.hits() == 2).await;
    settle().await;
    setup.server.release();
    for (status, _) in requests.join_all().await {
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d27_a_hundred_first_requests_at_once_are_one_fetch() {
    let server = JwksFixture::start();
    server.answer(Answer::json(TestKeys::new().jwks()).held());
    let setup = Arc::new(Setup::new(server, |keys| keys));
    let token = setup.token();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (setup, token) = (Arc::clone(&setup), token.clone());
        requests.spawn(async move { setup.status(&token).await });
    }
    until(|| setup.server.hits() == 1).await;
    settle().await;
    setup.server.release();
    for (status, _) in requests.join_all().await {
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(setup.server.hits(), 1);
}

#[tokio::test]
async fn d28_a_fetch_goes_on_when_the_client_that_caused_it_disconnects() {
    let setup = Arc::new(Setup::ready().await);
    setup
        .server
        .answer(Answer::json(TestKeys::other().jwks()).held());
    let ask = |setup: &Arc<Setup>| {
        let setup = Arc::clone(setup);
        tokio::spawn(async move { setup.status(&setup.other_token()).await })
    };
    let first = ask(&setup);
    until(|| setup.server.hits() == 2).await;
    let second = ask(&setup);
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    setup.server.release();
    assert_eq!(second.await.unwrap().0, StatusCode::OK);
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d28_a_fetch_that_nobody_waits_for_any_more_still_brings_the_keys() {
    let setup = Setup::ready().await;
    setup
        .server
        .answer(Answer::json(TestKeys::other().jwks()).held());
    let token = setup.other_token();
    let gone = tokio::time::timeout(Duration::from_millis(1), setup.status(&token)).await;
    assert!(gone.is_err());
    until(|| setup.server.hits() == 2).await;
    setup.server.release();
    until(|| setup.verifier.verify_now(&token).is_ok()).await;
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d29_a_withdrawn_key_dies_at_the_next_successful_fetch() {
    let setup = Setup::ready().await;
    setup.server.serve(TestKeys::other().jwks());
    // Nobody knows yet, and nothing is fetched before it is due.
    setup.clock.advance(seconds(440));
    assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()));
    assert_eq!(setup.server.hits(), 1);

    // At 85 % of max_age at the latest a request has the keys fetched.
    setup.refreshed(seconds(75), &setup.token()).await;
    let token = setup.token();
    until(|| setup.verifier.verify_now(&token).is_err()).await;
    let refused = setup.verifier.verify(&token).await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::UnknownKey);
    assert_eq!(setup.status(&setup.other_token()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn d29_a_key_that_is_replaced_under_its_kid_no_longer_verifies() {
    let setup = Setup::ready().await;
    let replaced = TestKeys::other().jwks().replace("other-", "first-");
    setup.server.serve(replaced);
    setup.refreshed(seconds(515), &setup.token()).await;
    let token = setup.token();
    until(|| kind(&setup.verifier, &token) == Err(AuthErrorKind::InvalidSignature)).await;
}

/// Without a request nobody would notice that the keys are due; the stale window is for outages,
/// not for a quiet night.
#[tokio::test]
async fn d29_keys_are_refreshed_within_max_age_though_no_request_comes() {
    let server = JwksFixture::start();
    let keys = RemoteKeySet::jwks(&server.url())
        .max_age(seconds(1))
        .timeout(LONG)
        .build()
        .unwrap();
    keys.ready().await.unwrap();
    server.serve(TestKeys::other().jwks());
    until(|| server.hits() >= 3).await;
    let clock = TestClock::at(std::time::SystemTime::now());
    let verifier = verifier(&keys, &clock);
    let withdrawn = token_of(TestKeys::new(), &clock);
    assert_ne!(kind(&verifier, &withdrawn), Ok(()));
    assert_eq!(
        kind(&verifier, &token_of(TestKeys::other(), &clock)),
        Ok(())
    );
}

#[tokio::test]
async fn d30_old_keys_serve_through_an_outage_and_not_past_the_stale_window() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    client.fail();

    clock.advance(seconds(600 + 3599));
    let token = token_of(TestKeys::new(), &clock);
    assert_eq!(kind(&verifier, &token), Ok(()));
    settle().await;
    assert!(keys.last_error().is_some());
    assert!(keys.is_usable() && !keys.is_fresh());
    assert_eq!(kind(&verifier, &token), Ok(()));

    clock.advance(seconds(1));
    let (status, retry_after) = crate::support::remote::status(&verifier, &token).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(retry_after.is_some_and(|seconds| seconds >= 1));
    assert!(!keys.is_usable());

    // And back.
    client.serve(TestKeys::new().jwks());
    clock.advance(seconds(60));
    let token = token_of(TestKeys::new(), &clock);
    assert!(verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn d31_keys_that_were_never_reachable_are_503_with_retry_after() {
    let server = JwksFixture::start();
    server.down();
    let setup = Setup::new(server, |keys| keys);
    for token in [setup.token(), setup.other_token()] {
        let (status, retry_after) = setup.status(&token).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(retry_after.is_some_and(|seconds| (1..=5).contains(&seconds)));
    }
    assert!(!setup.verifier.is_ready());

    setup.server.up();
    setup.clock.advance(seconds(5));
    assert_eq!(setup.status(&setup.token()).await.0, StatusCode::OK);
    assert!(setup.verifier.is_ready());
}

/// Counts the attempts while requests come every second.
async fn attempts(client: &Scripted, clock: &TestClock, keys: &RemoteKeySet, span: u64) -> usize {
    let verifier = verifier(keys, clock);
    let before = client.calls();
    for _ in 0..span {
        let _ = kind(&verifier, &token_of(TestKeys::new(), clock));
        let _ = kind(&verifier, &token_of(TestKeys::other(), clock));
        settle().await;
        clock.advance(seconds(1));
    }
    client.calls() - before
}

#[tokio::test]
async fn d32_failures_back_off_to_a_minute_while_old_keys_serve() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    clock.advance(seconds(515));
    client.fail();
    // After 0, 1, 2, 4, … seconds; a second is never split here.
    assert!((3..=4).contains(&attempts(&client, &clock, &keys, 7).await));
    attempts(&client, &clock, &keys, 120).await;
    // Then every 54 to 60 seconds.
    assert!((5..=6).contains(&attempts(&client, &clock, &keys, 300).await));
}

#[tokio::test]
async fn d32_failures_back_off_to_five_seconds_while_no_keys_serve() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    client.fail();
    let keys = client.keys(&clock).await;
    assert!((2..=4).contains(&attempts(&client, &clock, &keys, 7).await));
    assert!((11..=13).contains(&attempts(&client, &clock, &keys, 60).await));
}

#[tokio::test]
async fn d32_a_success_ends_the_backing_off() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    client.fail();
    let keys = client.keys(&clock).await;
    attempts(&client, &clock, &keys, 60).await;
    client.serve(TestKeys::new().jwks());
    attempts(&client, &clock, &keys, 6).await;
    assert!(keys.is_fresh() && keys.last_error().is_none());

    // The next failure starts from the beginning.
    client.fail();
    clock.advance(seconds(515));
    assert!((3..=4).contains(&attempts(&client, &clock, &keys, 7).await));
}

/// How long a set counts as fresh, by `is_fresh` and to the second.
async fn lifetime(cache_control: Option<&str>, explicit: Option<Duration>) -> u64 {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let mut response = Response::new(TestKeys::new().jwks().into());
    if let Some(value) = cache_control {
        let value = HeaderValue::from_str(value).unwrap();
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    client.reply(Ok(response));
    let mut builder = client.builder(&clock);
    if let Some(max_age) = explicit {
        builder = builder.max_age(max_age);
    }
    let keys = builder.build().unwrap();
    settle().await;
    let mut lifetime = 0;
    while keys.is_fresh() {
        clock.advance(seconds(1));
        lifetime += 1;
    }
    lifetime
}

#[tokio::test]
async fn d37_cache_control_moves_the_lifetime_within_its_bounds() {
    for (header, expected) in [
        (None, 600),
        (Some("public"), 600),
        (Some("max-age=120"), 120),
        (Some("public, Max-Age=\"300\" , must-revalidate"), 300),
        (Some("max-age=1"), 60),
        (Some("max-age=0"), 60),
        (Some("max-age=86400"), 3600),
        (Some("no-store"), 60),
        (Some("no-cache, max-age=1200"), 60),
        (Some("max-age=1200, no-store"), 60),
        (Some("max-age=soon"), 600),
        (Some("max-age=-1"), 600),
    ] {
        assert_eq!(lifetime(header, None).await, expected, "{header:?}");
    }
}

#[tokio::test]
async fn d37_an_explicit_max_age_is_exact() {
    for explicit in [1, 5, 7200] {
        for header in [None, Some("no-store"), Some("max-age=300")] {
            let lifetime = lifetime(header, Some(seconds(explicit))).await;
            assert_eq!(lifetime, explicit, "{header:?}");
        }
    }
}

#[tokio::test]
async fn d37_no_store_is_no_fetch_per_request() {
    let setup = Setup::ready_with(|keys| keys).await;
    let answer = Answer::json(TestKeys::new().jwks()).header("Cache-Control", "no-store");
    setup.server.answer(answer);
    setup.refreshed(seconds(515), &setup.token()).await;
    for _ in 0..200 {
        assert_eq!(setup.status(&setup.token()).await.0, StatusCode::OK);
    }
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d37_an_etag_is_sent_back_and_304_keeps_the_keys() {
    let server = JwksFixture::start();
    let tagged = |keys: TestKeys, tag| Answer::json(keys.jwks()).etag(tag);
    server.answer(tagged(TestKeys::new(), "\"one\""));
    let setup = Setup::new(server, |keys| keys);
    setup.keys.ready().await.unwrap();
    let first = setup.keys.last_success();

    setup.refreshed(seconds(515), &setup.token()).await;
    until(|| setup.keys.last_success() > first).await;
    assert_eq!((setup.server.hits(), setup.server.confirmed()), (2, 1));
    assert!(setup.keys.is_fresh());
    assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()));

    setup.server.answer(tagged(TestKeys::other(), "\"two\""));
    setup.refreshed(seconds(515), &setup.token()).await;
    let token = setup.other_token();
    until(|| setup.verifier.verify_now(&token).is_ok()).await;
    assert_eq!(setup.server.confirmed(), 1);
}

#[tokio::test]
async fn q7_the_wall_clock_does_not_age_keys() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    let start = tower_jwt_auth::time::Clock::now(&clock);
    for wall in [
        start.plus(seconds(20 * 365 * 24 * 3600)),
        start.minus(seconds(3600)),
        tower_jwt_auth::time::Timestamp::from_secs(-1),
    ] {
        clock.set(wall);
        assert!(keys.is_fresh());
        assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
        settle().await;
    }
    assert_eq!(client.calls(), 1);
}

#[tokio::test]
async fn requests_whose_key_is_known_are_answered_while_the_server_hangs() {
    let setup =
        Setup::ready_with(|keys| keys.wait(crate::support::remote::SHORT).timeout(LONG)).await;
    setup.server.answer(Answer::hang());
    setup.refreshed(seconds(515), &setup.token()).await;
    // `verify_now` cannot wait, so that an answer proves that nothing was waited for.
    for _ in 0..100 {
        assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()));
    }
    assert_eq!(setup.server.hits(), 2);
    // An unknown kid has its answer after the wait, long before the fetch is given up.
    let (status, retry_after) = setup.status(&setup.other_token()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(retry_after.is_some());
    let forged = tower_jwt_auth::test_util::TestIssuer::with_keys(ALGORITHM, TestKeys::other())
        .clock(setup.clock.clone())
        .kid(Some(&TestKeys::new().kid(ALGORITHM)))
        .token(|_| ());
    assert_eq!(setup.status(&forged).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.server.hits(), 2);
}
