//! The near-cache: how long it is believed, and how it is told better.

use std::time::Duration;

use tokio::{runtime::Builder, task::JoinSet, time::timeout};
use tower::Layer;
use tower_jwt_auth::{
    error::{AuthErrorKind, StoreError},
    layer::api_key::ApiKeyLayer,
    revocation::{Broadcast, Feed, RETENTION, Revocation, RevocationSet},
    time::{Clock, Timestamp},
};

use crate::support::{
    answer::{Inner, send},
    api_key::{Fixture, ask, format, issue, x_api_key},
    settle::settle,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_hundred_first_requests_of_one_key_are_one_question() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let layer = ApiKeyLayer::new(&keys);
    fixture.store.hold();
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let service = layer.layer(Inner::default());
        let request = x_api_key(key.expose());
        requests.spawn(async { tower::ServiceExt::oneshot(service, request).await });
    }
    settle().await;
    assert_eq!(fixture.store.finds(), 1);
    fixture.store.release();
    while let Some(response) = requests.join_next().await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }
    assert_eq!(fixture.store.finds(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_first_requests_on_several_threads_are_one_question() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    for round in 1..=20 {
        let key = issue(&keys).await;
        let mut requests = JoinSet::new();
        for _ in 0..100 {
            let (keys, text) = (keys.clone(), key.expose().to_owned());
            requests.spawn(async move { keys.verify(&text).await.is_ok() });
        }
        assert!(requests.join_all().await.into_iter().all(|good| good));
        assert_eq!(fixture.store.finds(), round);
    }
}

#[tokio::test]
async fn a_known_key_is_remembered_for_thirty_seconds_of_the_monotonic_clock() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    ask(&keys, key.expose()).await.passes("first");
    let wall = fixture.clock.now();
    fixture.clock.advance(29 * SECOND);
    ask(&keys, key.expose()).await.passes("remembered");
    assert_eq!(fixture.store.finds(), 1);
    // A clock that is set back keeps nothing alive.
    fixture.clock.set(wall);
    fixture.clock.advance(SECOND);
    ask(&keys, key.expose()).await.passes("asked again");
    assert_eq!(fixture.store.finds(), 2);
}

#[tokio::test]
async fn an_unknown_key_is_remembered_for_five_seconds() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = format().mint();
    for finds in [1, 1] {
        let answer = ask(&keys, key.expose()).await.is("401/it", "unknown");
        answer.because(AuthErrorKind::InvalidApiKey);
        assert_eq!(fixture.store.finds(), finds);
    }
    fixture.clock.advance(5 * SECOND);
    ask(&keys, key.expose()).await.is("401/it", "unknown");
    assert_eq!(fixture.store.finds(), 2);
}

#[tokio::test]
async fn a_wrong_secret_asks_the_store_at_most_every_five_seconds() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let forged = format().mint_for(key.id().clone());
    for _ in 0..10 {
        ask(&keys, forged.expose()).await.is("401/it", "forged");
        ask(&keys, key.expose()).await.passes("the right one");
    }
    assert_eq!(fixture.store.finds(), 1);
    fixture.clock.advance(5 * SECOND);
    for _ in 0..10 {
        ask(&keys, forged.expose()).await.is("401/it", "forged");
    }
    assert_eq!(fixture.store.finds(), 2);
}

#[tokio::test]
async fn v5_a_key_rolled_elsewhere_is_accepted_after_five_seconds() {
    let fixture = Fixture::new();
    let (here, there) = (fixture.keys(), fixture.keys());
    let old = issue(&here).await;
    ask(&here, old.expose()).await.passes("old");
    let new = there.roll("alice", old.id(), Duration::ZERO).await.unwrap();
    ask(&here, new.expose())
        .await
        .is("401/it", "not heard of yet");
    fixture.clock.advance(5 * SECOND);
    ask(&here, new.expose()).await.passes("new");
    ask(&here, old.expose()).await.is("401/it", "old");
}

#[tokio::test]
async fn a_revocation_elsewhere_is_noticed_by_the_feed_or_when_the_memory_ends() {
    let fixture = Fixture::new();
    // The set that follows has the system's clock.
    fixture.clock.set(std::time::SystemTime::now());
    let news = Broadcast::new();
    let heard = RevocationSet::follow(news.feed()).unwrap();
    assert!(heard.loaded(60 * SECOND).await);
    // Names of sessions and subjects are an issuer's; identifiers of keys are not.
    let heard = heard.of_issuer("https://as.example");
    let listening = fixture.builder().revocation(heard.clone()).build().unwrap();
    let deaf = fixture.keys();
    let there = fixture
        .builder()
        .revocation_log(news.clone())
        .build()
        .unwrap();
    let key = issue(&there).await;
    for keys in [&listening, &deaf] {
        ask(keys, key.expose()).await.passes("before");
    }
    there.revoke("alice", key.id()).await.unwrap();
    settle().await;
    let answer = ask(&listening, key.expose()).await.is("401/it", "told");
    answer.because(AuthErrorKind::Revoked);
    ask(&deaf, key.expose()).await.passes("not told");
    fixture.clock.advance(30 * SECOND);
    ask(&deaf, key.expose()).await.is("401/it", "forgotten");
}

#[tokio::test]
async fn a_key_outlives_the_logout_of_its_owner() {
    let fixture = Fixture::new();
    let set = RevocationSet::local_with_clock(fixture.clock.clone());
    let keys = fixture.builder().revocation(set.clone()).build().unwrap();
    let key = issue(&keys).await;
    let until = fixture.clock.now().plus(RETENTION);
    set.insert(&Revocation::subject("alice", 7, until));
    ask(&keys, key.expose())
        .await
        .passes("the owner's sessions ended");
    set.insert(&Revocation::token(key.id().as_str(), until));
    ask(&keys, key.expose())
        .await
        .is("401/it", "the key itself");
}

/// A feed whose store is away.
struct Away;

impl Feed for Away {
    async fn load(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        Err(StoreError::unavailable("unplugged"))
    }

    async fn next(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        Err(StoreError::unavailable("unplugged"))
    }
}

#[tokio::test]
async fn q12_two_revocation_sets_both_count() {
    let fixture = Fixture::new();
    let key = issue(&fixture.keys()).await;
    let set = || RevocationSet::local_with_clock(fixture.clock.clone());
    let (revoked, other) = (set(), set());
    let until = fixture.clock.now().plus(RETENTION);
    revoked.insert(&Revocation::token(key.id().as_str(), until));
    for (one, two) in [(&revoked, &other), (&other, &revoked)] {
        let builder = fixture.builder().revocation(one.clone());
        let keys = builder.revocation(two.clone()).build().unwrap();
        let answer = send(ApiKeyLayer::new(&keys), x_api_key(key.expose())).await;
        answer
            .is("401/it", "revoked")
            .because(AuthErrorKind::Revoked);
    }
    let builder = fixture.builder().revocation(other.clone());
    let keys = builder.revocation(other).build().unwrap();
    let answer = send(ApiKeyLayer::new(&keys), x_api_key(key.expose())).await;
    answer.passes("not revoked");
}

#[tokio::test]
async fn where_the_revocation_set_was_never_loaded_a_key_is_503() {
    let fixture = Fixture::new();
    let never = RevocationSet::follow(Away).unwrap();
    let keys = fixture.builder().revocation(never.clone()).build().unwrap();
    let key = issue(&keys).await;
    let answer = ask(&keys, key.expose()).await.is("503", "never loaded");
    answer.because(AuthErrorKind::RevocationUnavailable);
    // What is known to be revoked stays so.
    let until = Timestamp::from(std::time::SystemTime::now()).plus(RETENTION);
    never.insert(&Revocation::token(key.id().as_str(), until));
    ask(&keys, key.expose()).await.is("401/it", "revoked");
}

#[tokio::test]
async fn a_row_that_was_read_before_its_revocation_is_not_remembered() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    fixture.store.hold();
    let (early, text) = (keys.clone(), key.expose().to_owned());
    let request = tokio::spawn(async move { ask(&early, &text).await });
    settle().await;
    // Read, and on its way back.
    assert_eq!(fixture.store.finds(), 1);
    keys.revoke("alice", key.id()).await.unwrap();
    fixture.store.release();
    // It was under way before.
    request.await.unwrap().passes("overlapping");
    let answer = ask(&keys, key.expose()).await.is("401/it", "after");
    answer.because(AuthErrorKind::Revoked);
    assert_eq!(fixture.store.finds(), 2);
}

#[test]
fn q19_no_request_waits_for_the_runtime_that_the_keys_were_built_on() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = Fixture::new();
    // One that nobody drives after the start.
    let first = runtime();
    let (keys, key) = first.block_on(async {
        let keys = fixture.keys();
        let key = issue(&keys).await;
        (keys, key)
    });
    keys.forget(key.id());
    let asked = || async {
        let answer = ask(&keys, key.expose());
        timeout(Duration::from_secs(60), answer).await.unwrap()
    };
    runtime().block_on(asked()).passes("idle");
    keys.forget(key.id());
    drop(first);
    runtime().block_on(asked()).passes("gone");
}
