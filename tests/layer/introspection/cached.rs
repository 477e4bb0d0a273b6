//! The cache of answers, and requests that share a call: I4, I7, I8.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use futures_util::future::join_all;
use http::Response;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{JwtAuthLayer, error::AuthErrorKind, test_util::Answer, time::Timestamp};

use super::{TOKEN, World, ask, bearer, unavailable};
use crate::support::until::until;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn i4_an_answer_is_used_for_a_minute() {
    let world = World::new();
    let layer = world.layer();
    world.activate(TOKEN, |_| ());
    for _ in 0..5 {
        ask(&layer, TOKEN).await.passes("cached");
    }
    assert_eq!(world.server.hits(), 1);
    world.server.revoke(TOKEN);
    world.clock.advance(seconds(59));
    ask(&layer, TOKEN).await.passes("not yet");
    world.clock.advance(seconds(1));
    ask(&layer, TOKEN).await.invalid_token("after a minute");
    assert_eq!(world.server.hits(), 2);
}

#[tokio::test]
async fn i4_a_clock_that_is_set_back_ends_every_answer() {
    let world = World::new();
    let layer = world.layer();
    world.activate(TOKEN, |_| ());
    ask(&layer, TOKEN).await.passes("active");
    ask(&layer, "unknown").await.invalid_token("inactive");
    world.server.revoke(TOKEN);
    world.activate("unknown", |_| ());
    ask(&layer, TOKEN).await.passes("cached");
    ask(&layer, "unknown").await.invalid_token("cached");
    assert_eq!(world.server.hits(), 2);
    let now = world.clock.timestamp();
    world.clock.set(Timestamp::from_secs(now - 30));
    ask(&layer, TOKEN).await.invalid_token("called again");
    ask(&layer, "unknown").await.passes("called again");
    assert_eq!(world.server.hits(), 4);
}

#[tokio::test]
async fn i4_an_answer_ends_with_its_token() {
    let world = World::new();
    let settings = world.settings().cache_for(seconds(3600));
    let layer = world.layer_with(settings);
    let now = world.clock.timestamp();
    world.activate(TOKEN, |answer| answer.insert("exp".into(), json!(now + 30)));
    ask(&layer, TOKEN).await.passes("at first");
    world.clock.advance(seconds(29));
    ask(&layer, TOKEN).await.passes("before the end");
    assert_eq!(world.server.hits(), 1);
    // The server decides after that: the leeway of the clocks is its own.
    world.clock.advance(seconds(1));
    ask(&layer, TOKEN).await.passes("within the leeway");
    ask(&layer, TOKEN).await.passes("within the leeway");
    assert_eq!(world.server.hits(), 3);
    world.clock.advance(seconds(60));
    ask(&layer, TOKEN)
        .await
        .invalid_token("expired")
        .because(AuthErrorKind::Expired);
}

#[tokio::test]
async fn i4_without_a_cache_every_request_asks() {
    let world = World::new();
    world.activate(TOKEN, |_| ());
    let by_time = world.settings().cache_for(Duration::ZERO);
    let by_number = world.builder().without_cache().build().unwrap();
    let by_number = JwtAuthLayer::new(by_number);
    for layer in [world.layer_with(by_time), by_number] {
        let before = world.server.hits();
        for _ in 0..3 {
            ask(&layer, TOKEN).await.passes("asked");
            ask(&layer, "unknown").await.invalid_token("asked");
        }
        assert_eq!(world.server.hits(), before + 6);
    }
}

#[tokio::test]
async fn i7_requests_with_one_token_share_a_call() {
    for cache in [60, 0] {
        let world = World::new();
        let settings = world.settings().cache_for(seconds(cache));
        let layer = world.layer_with(settings);
        world.activate(TOKEN, |_| ());
        let answer =
            json!({ "active": true, "aud": super::AUDIENCE, "exp": world.clock.timestamp() + 60 });
        let answer = Answer::json(answer.to_string()).held();
        world.server.answer_to(TOKEN, answer);
        let requests = join_all((0..100).map(|_| ask(&layer, TOKEN)));
        let release = async {
            until(|| world.server.hits() == 1).await;
            // Time for a second call, if there were one.
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.server.release();
        };
        let (answers, ()) = tokio::join!(requests, release);
        for answer in answers {
            answer.passes("shared");
        }
        assert_eq!(world.server.hits(), 1, "{cache} s");
    }
}

#[tokio::test]
async fn i7_a_client_that_goes_does_not_end_the_call() {
    let world = World::new();
    let layer = world.layer();
    let now = world.clock.timestamp();
    let answer = json!({ "active": true, "aud": super::AUDIENCE, "exp": now + 60 });
    world
        .server
        .answer_to(TOKEN, Answer::json(answer.to_string()).held());
    let service = layer.layer(service_fn(async |_| {
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    }));
    let mut stays = pin!(ask(&layer, TOKEN));
    {
        let mut goes = pin!(service.oneshot(bearer(TOKEN)));
        poll_fn(|cx| {
            assert!(goes.as_mut().poll(cx).is_pending());
            assert!(stays.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        until(|| world.server.hits() == 1).await;
    }
    world.server.release();
    stays.await.passes("stayed");
    assert_eq!(world.server.hits(), 1);
}

#[tokio::test]
async fn i7_a_call_without_a_waiting_request_is_forgotten() {
    let world = World::new();
    let layer = world.layer();
    let now = world.clock.timestamp();
    let answer = json!({ "active": true, "aud": super::AUDIENCE, "exp": now + 60 }).to_string();
    world.server.answer_to(TOKEN, Answer::json(&*answer).held());
    {
        let mut goes = pin!(ask(&layer, TOKEN));
        poll_fn(|cx| {
            assert!(goes.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        until(|| world.server.hits() == 1).await;
    }
    world.server.answer_to(TOKEN, Answer::json(answer));
    // The call in the air is joined, or over.
    world.server.release();
    ask(&layer, TOKEN).await.passes("the next client");
    assert!(world.server.hits() <= 2);
    ask(&layer, TOKEN).await.passes("cached");
    assert!(world.server.hits() <= 2);
}

#[tokio::test]
async fn i7_calls_wait_for_their_turn() {
    let world = World::new();
    let settings = world.settings().max_concurrent_calls(1);
    let layer = world.layer_with(settings);
    let now = world.clock.timestamp();
    let answer = json!({ "active": true, "aud": super::AUDIENCE, "exp": now + 60 }).to_string();
    world.server.answer(Answer::json(answer).held());
    let tokens: Vec<_> = (0..5).map(|number| format!("token-{number}")).collect();
    let requests = join_all(tokens.iter().map(|token| ask(&layer, token)));
    let release = async {
        for done in 0..5 {
            until(|| world.server.hits() == done + 1).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_eq!(world.server.hits(), done + 1);
            world.server.release();
        }
    };
    let (answers, ()) = tokio::join!(requests, release);
    for answer in answers {
        answer.passes("in turn");
    }
}

#[tokio::test]
async fn i7_a_flood_is_refused_and_cached_answers_stay() {
    let world = World::new();
    let settings = world.settings().max_concurrent_calls(1);
    let layer = world.layer_with(settings);
    world.activate(TOKEN, |_| ());
    ask(&layer, TOKEN).await.passes("before");
    let held = Answer::json(r#"{"active":false}"#).held();
    world.server.answer(held);
    let tokens: Vec<_> = (0..1100).map(|number| format!("token-{number}")).collect();
    let mut flood = pin!(join_all(tokens.iter().map(|token| ask(&layer, token))));
    poll_fn(|cx| {
        assert!(flood.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    until(|| world.server.hits() == 2).await;
    unavailable(ask(&layer, "one-more").await, "full");
    ask(&layer, TOKEN).await.passes("cached");
    world.server.answer(Answer::json(r#"{"active":false}"#));
    world.server.release();
    let answers = flood.await;
    let refused =
        |kind| move |answer: &&crate::support::answer::Answer| answer.kind() == Some(kind);
    let inactive = answers.iter().filter(refused(AuthErrorKind::Inactive));
    assert_eq!(inactive.count(), 1025);
    let full = refused(AuthErrorKind::IntrospectionUnavailable);
    assert_eq!(answers.iter().filter(full).count(), 75);
    ask(&layer, TOKEN).await.passes("cached");
    assert_eq!(world.server.hits_of(TOKEN), 1);
}

#[tokio::test]
async fn i8_a_refusal_is_used_for_seconds() {
    let world = World::new();
    let layer = world.layer();
    for _ in 0..3 {
        ask(&layer, TOKEN)
            .await
            .invalid_token("not active")
            .because(AuthErrorKind::Inactive);
    }
    assert_eq!(world.server.hits(), 1);
    // As a token that is used before the server has told its other nodes.
    world.activate(TOKEN, |_| ());
    world.clock.advance(Duration::from_millis(4_999));
    ask(&layer, TOKEN).await.invalid_token("not yet");
    world.clock.advance(Duration::from_millis(1));
    ask(&layer, TOKEN).await.passes("after five seconds");
    assert_eq!(world.server.hits(), 2);
}

#[tokio::test]
async fn i8_a_flood_of_refusals_evicts_no_answer() {
    let world = World::new();
    let layer = JwtAuthLayer::new(world.builder().cache_capacity(64).build().unwrap());
    world.activate(TOKEN, |_| ());
    ask(&layer, TOKEN).await.passes("before");
    for number in 0..500 {
        ask(&layer, &format!("made-up-{number}"))
            .await
            .invalid_token("made up");
    }
    ask(&layer, TOKEN).await.passes("after");
    assert_eq!(world.server.hits_of(TOKEN), 1);
}
