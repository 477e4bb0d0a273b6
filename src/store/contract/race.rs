//! Concurrent calls.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use super::{Fixture, new_name, new_session, outcome, peek, session_of, start};
use crate::{
    event::RefreshOutcome,
    principal::SessionId,
    secret,
    server::refresh::RefreshPolicy,
    store::port::{CreateOutcome, NewSessionRecord, RevokeReason, SecretStore, SessionStore},
};

/// 100 concurrent refreshes with one token cause one rotation, and all return the same successor.
pub async fn t1_hundred_refreshes_are_one_rotation(fixture: &impl Fixture) {
    let id = start(&fixture.store(), new_session()).await.id;
    for live in 1..=3 {
        let outcomes = hundred(fixture, id, live - 1, RefreshPolicy::browser()).await;
        let found: Vec<_> = outcomes.keys().copied().collect();
        assert!(
            found.iter().all(|(_, generation)| *generation == live),
            "all return generation {live}: {outcomes:?}"
        );
        assert_eq!(outcomes.get(&("rotated", live)), Some(&1), "{outcomes:?}");
        assert_eq!(outcomes.get(&("retried", live)), Some(&99), "{outcomes:?}");
        fixture.age(id, super::SECOND * 31).await;
    }
}

/// Without a grace window one refresh succeeds, and the others end the session.
pub async fn t1_strict_lets_one_of_a_hundred_through(fixture: &impl Fixture) {
    let store = fixture.store();
    let id = start(&store, new_session()).await.id;
    let outcomes = hundred(fixture, id, 0, RefreshPolicy::strict()).await;
    assert_eq!(outcomes.get(&("rotated", 1)), Some(&1), "{outcomes:?}");
    assert_eq!(outcomes.get(&("late_parent", 1)), Some(&1), "{outcomes:?}");
    assert_eq!(outcomes.get(&("revoked", 1)), Some(&98), "{outcomes:?}");
    assert!(peek(&store, id).await.session.family.revoked);
}

/// The number of results for each outcome and live generation.
async fn hundred(
    fixture: &impl Fixture,
    id: SessionId,
    presented: u64,
    policy: RefreshPolicy,
) -> BTreeMap<(&'static str, u64), u32> {
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let store = fixture.store();
        tasks.spawn(async move { outcome(&store, id, presented, policy).await });
    }
    let mut outcomes = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (outcome, generation) = done.expect("the store does not panic");
        *outcomes.entry((outcome.as_str(), generation)).or_default() += 1;
    }
    outcomes
}

/// A session that is revoked during a refresh stays revoked.
pub async fn t10_no_refresh_survives_the_end(fixture: &impl Fixture) {
    for round in 0..ROUNDS {
        let store = fixture.store();
        let subject = new_name("subject");
        let id = start(&store, session_of(&subject)).await.id;
        let mut tasks = JoinSet::new();
        for presented in [0, 1] {
            let store = fixture.store();
            tasks.spawn(async move {
                outcome(&store, id, presented, RefreshPolicy::browser()).await;
            });
        }
        let ending = fixture.store();
        tasks.spawn(async move {
            let reason = RevokeReason::Logout;
            match round % 3 {
                0 => drop(ending.revoke(id, reason).await.expect("revoke")),
                1 => drop(
                    ending
                        .revoke_all(&subject, reason)
                        .await
                        .expect("revoke_all"),
                ),
                _ => {
                    let keep = super::new_id();
                    let ended = ending.revoke_others(&subject, keep, reason).await;
                    ended.expect("revoke_others");
                }
            }
        });
        while let Some(done) = tasks.join_next().await {
            done.expect("the store does not panic");
        }
        let session = peek(&store, id).await.session;
        assert!(session.family.revoked, "round {round}: {session:?}");
        let live = session.family.generation;
        let after = outcome(&store, id, live, RefreshPolicy::browser()).await;
        assert_eq!(after, (RefreshOutcome::Revoked, live), "round {round}");
    }
}

/// A login that read the epoch before `revoke_all` cannot create a live session.
pub async fn t10_no_login_survives_the_end_of_all(fixture: &impl Fixture) {
    for round in 0..ROUNDS {
        let store = fixture.store();
        let subject = new_name("subject");
        let read = store.epoch(&subject).await.expect("epoch");
        let mut logins = JoinSet::new();
        for _ in 0..4 {
            let store = fixture.store();
            let login = NewSessionRecord {
                epoch: Some(read),
                ..session_of(&subject)
            };
            let id = login.id;
            logins.spawn(async move { (id, store.create(login).await.expect("create")) });
        }
        let (ending, whose) = (fixture.store(), subject.clone());
        let end = tokio::spawn(async move {
            let reason = RevokeReason::CredentialsChanged;
            ending.revoke_all(&whose, reason).await.expect("revoke_all")
        });
        while let Some(login) = logins.join_next().await {
            let (id, creation) = login.expect("the store does not panic");
            match creation {
                CreateOutcome::Created(record) => assert_eq!((record.id, record.epoch), (id, read)),
                other => assert_eq!(other, CreateOutcome::EpochMoved),
            }
        }
        assert_eq!(end.await.expect("the store does not panic"), read + 1);
        let alive = store.list(&subject, 100).await.expect("list");
        assert_eq!(alive, [], "round {round}");
    }
}

/// Nodes that start concurrently, each with a fresh secret, all receive the same secret.
pub async fn all_are_given_one_secret(fixture: &impl Fixture) {
    let name = new_name("secret");
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (store, name) = (fixture.store(), name.clone());
        tasks.spawn(async move {
            // A secret may contain any byte.
            let mut fresh = secret::random::<32>();
            fresh[7] = 0;
            fresh[8] = 0xFF;
            let kept = store.secret_or_insert(&name, &fresh).await;
            (fresh.to_vec(), kept.expect("secret").expose().clone())
        });
    }
    let mut kept = BTreeSet::new();
    let mut fresh = Vec::new();
    while let Some(one) = tasks.join_next().await {
        let (own, given) = one.expect("the store does not panic");
        fresh.push(own);
        kept.insert(given);
    }
    assert_eq!(kept.len(), 1, "all receive the same secret");
    assert!(
        fresh.iter().any(|own| kept.contains(own)),
        "the secret is that of one node"
    );
    let store = fixture.store();
    let later = store
        .secret_or_insert(&name, b"late")
        .await
        .expect("secret");
    assert!(kept.contains(later.expose()), "it stays");
    let other = new_name("secret");
    let other = store.secret_or_insert(&other, b"other").await;
    assert_eq!(other.expect("secret").expose(), b"other");
}

const ROUNDS: u32 = 30;
