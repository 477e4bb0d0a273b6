//! Refreshes, spent tokens, and what is no token.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    event::{RefreshOutcome, ReuseKind, SessionEvent},
    secret::SecretKey,
    server::refresh::machine::RefreshTokens,
    server::{
        refresh::RefreshPolicy,
        session::{SessionErrorKind, StartSession},
    },
    store::port::{RevokeReason, SessionStore},
};

use super::{node::Node, place::Place};
use crate::support::until::until;

const LATER: Duration = Duration::from_secs(31);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn t1_hundred_refreshes_are_one_rotation(place: Place) {
    let nodes = [Node::of(&place).await, Node::of(&place).await];
    let first = nodes[0].sign_in("alice").await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let sessions = nodes[number % 2].sessions.clone();
        let token = first.refresh_token().clone();
        tasks.spawn(async move {
            loop {
                // A busy store has them come again.
                match sessions.refresh(token.expose()).await {
                    Err(error) if error.kind() == SessionErrorKind::StoreUnavailable => {}
                    answer => return answer.unwrap(),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let pairs = tasks.join_all().await;
    let tokens = pairs.iter().map(|pair| pair.refresh_token().expose());
    assert_eq!(tokens.collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(nodes[0].generation(&pairs[0]), 1);
    let events = nodes.iter().flat_map(Node::take_events);
    let rotated = |event: &SessionEvent| matches!(event, SessionEvent::Refreshed { outcome, .. } if *outcome == RefreshOutcome::Rotated);
    assert_eq!(events.filter(rotated).count(), 1);
}

pub(super) async fn t2_an_answer_that_was_lost_is_given_again(place: Place) {
    let nodes = [Node::of(&place).await, Node::of(&place).await];
    let first = nodes[0].sign_in("alice").await;
    let lost = nodes[0].refresh(&first).await;
    let again = nodes[1].refresh(&first).await;
    assert_eq!(
        lost.refresh_token().expose(),
        again.refresh_token().expose()
    );
    place.age(first.session_id(), LATER).await;
    assert_eq!(nodes[0].generation(&nodes[0].refresh(&again).await), 2);
}

/// And prints how long it takes.
pub(super) async fn t3_an_ancestor_ends_the_session_on_another_node(place: Place) {
    let (here, there) = (Node::of(&place).await, Node::of(&place).await);
    let revoked = there.store.store.revocations().unwrap();
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    for how in ["by what it has", "by poll alone"] {
        let first = here.sign_in("alice").await;
        let second = here.refresh(&first).await;
        place.age(first.session_id(), LATER).await;
        let third = here.refresh(&second).await;
        let caller = there.caller(&third);
        assert!(!revoked.contains(&caller));
        here.take_events();

        assert_eq!(here.refused(&first).await, "refresh_token_reused");
        let since = Instant::now();
        until(|| revoked.contains(&caller)).await;
        println!(
            "{}, {how}: refused on another node after {:?}",
            place.name(),
            since.elapsed()
        );
        let events = here.take_events();
        let [SessionEvent::ReuseDetected { session, reuse, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (*session, *reuse),
            (first.session_id(), ReuseKind::StaleLineage)
        );
        for pair in [&first, &second, &third] {
            assert_eq!(there.refused(pair).await, "session_revoked");
        }
        assert!(there.take_events().is_empty(), "said once");
        if !place.silence().await {
            break;
        }
    }
}

pub(super) async fn t4_a_displaced_child_ends_the_session(place: Place) {
    let node = Node::over(place.node().await, RefreshPolicy::balanced());
    let first = node.sign_in("alice").await;
    let displaced = node.refresh(&first).await;
    place.age(first.session_id(), DAY / 2).await;
    let second = node.refresh(&first).await;
    assert_eq!(node.generation(&second), 2);
    assert_eq!(node.refused(&displaced).await, "refresh_token_reused");
    assert_eq!(node.refused(&second).await, "session_revoked");

    // Once the use of its access token has proved that a child arrived, its parent is theft.
    let first = node.sign_in("alice").await;
    let second = node.refresh(&first).await;
    node.confirmations.saw(&node.caller(&second));
    let confirmed = async || {
        let peek = node.store.load(first.session_id()).await.unwrap();
        peek.unwrap().session.family.confirmed == Some(1)
    };
    while !confirmed().await {
        // One that could not be written is written with a later request.
        node.confirmations.saw(&node.caller(&second));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    place.age(first.session_id(), LATER).await;
    assert_eq!(node.refused(&first).await, "refresh_token_reused");
}

pub(super) async fn t5_what_was_not_written_here_asks_no_store(place: Place) {
    let node = Node::of(&place).await;
    let pair = node.sign_in("alice").await;
    let good = pair.refresh_token().expose();
    let other = RefreshTokens::new(&SecretKey::generate());
    let forged = other.write(&other.start());
    let mut bad: Vec<String> = ["", "garbage", "rt1_garbage", forged.expose()]
        .map(Into::into)
        .into();
    bad.extend((0..good.len()).map(|end| good[..end].to_owned()));
    for (at, bit) in (0..good.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
        let mut flipped = good.as_bytes().to_vec();
        flipped[at] ^= 1 << bit;
        bad.push(String::from_utf8(flipped).unwrap());
    }
    node.store.take_calls();
    for bad in &bad {
        let error = node.sessions.refresh(bad).await.unwrap_err();
        assert_eq!(
            (error.error(), error.code()),
            ("invalid_grant", Some("refresh_token_invalid"))
        );
        node.sessions.revoke_token(bad).await.unwrap();
    }
    assert_eq!(node.store.take_calls(), 0);
    node.refresh(&pair).await;
    assert_eq!(node.store.take_calls(), 1, "one conditional write");
}

pub(super) async fn t6_an_unused_session_ends_and_the_end_never_moves(place: Place) {
    let node = Node::of(&place).await;
    let mut pair = node.sign_in("alice").await;
    let peek = node.store.load(pair.session_id()).await.unwrap().unwrap();
    let end = peek.session.family.expires_at;
    for turn in 1..=7_u32 {
        place.age(pair.session_id(), 12 * DAY).await;
        pair = node.refresh(&pair).await;
        let peek = node.store.load(pair.session_id()).await.unwrap().unwrap();
        let moved = end.since(peek.session.family.expires_at);
        assert_eq!(moved, 12 * turn * DAY, "by age alone");
    }
    assert!(
        pair.refresh_expires_in() <= 6 * DAY,
        "84 of 90 days are over"
    );
    place.age(pair.session_id(), 6 * DAY).await;
    assert_eq!(node.refused(&pair).await, "session_expired");

    let unused = node.sign_in("alice").await;
    place.age(unused.session_id(), 14 * DAY).await;
    assert_eq!(node.refused(&unused).await, "session_expired");
}

pub(super) async fn t13_a_store_that_lost_a_rotation_is_rolled_forward(place: Place) {
    let node = Node::of(&place).await;
    let first = node.sign_in("alice").await;
    let id = first.session_id();
    let copy = place.back_up(id).await;
    let mut held = node.refresh(&first).await;
    place.age(id, LATER).await;
    held = node.refresh(&held).await;
    let mut token = held.refresh_token().expose().to_owned();
    if !place.restore(id, copy).await {
        // What a store in memory would have answered, had it lost something.
        let read = node.tokens.read(&token).unwrap();
        token = node.tokens.write(&read.successor(5)).expose().to_owned();
    }
    node.take_events();
    let held = node.tokens.read(&token).unwrap().generation();
    let next = node.sessions.refresh(&token).await.unwrap();
    assert_eq!(node.generation(&next), held + 1);
    let events = node.take_events();
    let [
        SessionEvent::Refreshed {
            session, outcome, ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*session, *outcome), (id, RefreshOutcome::Ahead));
    place.age(id, LATER).await;
    node.refresh(&next).await;
}

/// An entry that revokes the tokens of older epochs must never meet a token of a newer login whose
/// epoch began again at 0.
pub(super) async fn an_epoch_never_goes_back(place: Place) {
    let node = Node::of(&place).await;
    let revoked = node.store.store.revocations().unwrap();
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    let old = node.sign_in("alice").await;
    for epoch in 1..=3 {
        let all = node
            .sessions
            .revoke_all("alice", RevokeReason::Administrative);
        assert_eq!(all.await.unwrap(), epoch);
    }
    until(|| revoked.contains(&node.caller(&old))).await;
    // Nothing is left of her sessions.
    place.age(old.session_id(), 200 * DAY).await;
    for _ in 0..3 {
        node.store.purge(1000).await.unwrap();
    }
    assert_eq!(node.sessions.epoch("alice").await.unwrap(), 3);
    let new = node
        .sessions
        .start(StartSession::new("alice"))
        .await
        .unwrap();
    assert_eq!(node.caller(&new).epoch(), Some(3));
    assert!(!revoked.contains(&node.caller(&new)));
    node.refresh(&new).await;
}
