//! V6: the keys of an owner who is disabled, and all of an owner's keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    error::{AuthErrorKind, StoreError},
    layer::api_key::NewApiKey,
    revocation::{Broadcast, RevocationSet},
};

use crate::support::api_key::{Fault, Fixture, ask, issue};
use crate::support::settle::settle;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn v6_the_keys_of_a_disabled_owner_are_refused_on_every_node_within_two_seconds() {
    const ACTIVE: u8 = 0;
    const DISABLED: u8 = 1;
    const UNKNOWN: u8 = 2;
    let (state, asked) = (
        Arc::new(AtomicU8::new(ACTIVE)),
        Arc::new(AtomicUsize::new(0)),
    );
    let fixture = Fixture::new();
    let node = || {
        let (state, asked) = (Arc::clone(&state), Arc::clone(&asked));
        let owners = move |owner: String| {
            asked.fetch_add(1, Ordering::SeqCst);
            let state = state.load(Ordering::SeqCst);
            async move {
                assert_eq!(owner, "alice");
                match state {
                    UNKNOWN => Err(StoreError::unavailable("unplugged")),
                    state => Ok(state == ACTIVE),
                }
            }
        };
        let builder = fixture.builder().remember(60 * SECOND).owners(owners);
        builder.build().unwrap()
    };
    let nodes = [node(), node()];
    let key = issue(&nodes[0]).await;
    for node in &nodes {
        for _ in 0..10 {
            ask(node, key.expose()).await.passes("active");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once for each node");

    state.store(DISABLED, Ordering::SeqCst);
    fixture.clock.advance(2 * SECOND);
    for node in &nodes {
        let refused = ask(node, key.expose()).await.is("401/it", "disabled");
        refused.because(AuthErrorKind::Revoked);
        let verdict = node.verify(key.expose()).await;
        assert_eq!(verdict.unwrap_err().kind(), AuthErrorKind::Revoked);
    }
    // The key itself is not revoked.
    state.store(ACTIVE, Ordering::SeqCst);
    fixture.clock.advance(2 * SECOND);
    ask(&nodes[0], key.expose()).await.passes("active again");
    state.store(UNKNOWN, Ordering::SeqCst);
    fixture.clock.advance(2 * SECOND);
    ask(&nodes[0], key.expose()).await.is("503", "not known");
}

#[tokio::test]
async fn v6_one_call_revokes_all_keys_of_an_owner_wherever_a_set_is_told() {
    for fault in [None, Some(Fault::LostAnswer)] {
        let fixture = Fixture::new();
        // The set that follows has the system's clock.
        fixture.clock.set(std::time::SystemTime::now());
        let news = Broadcast::new();
        let heard = RevocationSet::follow(news.feed()).unwrap();
        assert!(heard.loaded(60 * SECOND).await);
        let elsewhere = fixture.builder().revocation(heard).build().unwrap();
        let keys = fixture.builder().revocation_log(news).build().unwrap();
        let alices = [issue(&keys).await, issue(&keys).await, issue(&keys).await];
        let bobs = keys.issue(NewApiKey::new("bob")).await.unwrap();
        for key in alices.iter().chain([&bobs]) {
            ask(&elsewhere, key.expose()).await.passes("before");
            ask(&keys, key.expose()).await.passes("before");
        }
        fixture.store.fails(fault);
        assert_eq!(keys.revoke_all("alice").await.unwrap(), 3);
        settle().await;
        for key in &alices {
            ask(&keys, key.expose()).await.is("401/it", "here");
            ask(&elsewhere, key.expose())
                .await
                .is("401/it", "elsewhere");
        }
        ask(&keys, bobs.expose()).await.passes("another owner's");
        assert_eq!(keys.revoke_all("nobody").await.unwrap(), 0);
    }
}
