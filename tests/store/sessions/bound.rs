//! Sessions that are bound to a key of their client.

use std::{collections::BTreeSet, time::Duration};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    event::{RefreshOutcome, ReuseKind, SessionEvent},
    server::{
        refresh::RefreshPolicy,
        session::{SessionError, SessionErrorKind, StartSession, TokenPair},
    },
    store::port::SessionStore,
};

use super::{node::Node, place::Place};

const KEY: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
const OTHER: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const HOURS: Duration = Duration::from_secs(8 * 3600);
const LATER: Duration = Duration::from_secs(31);

impl Node {
    async fn bound(&self, subject: &str) -> TokenPair {
        let start = StartSession::new(subject).bound_to(KEY);
        self.sessions.start(start).await.unwrap()
    }

    async fn prove(&self, pair: &TokenPair, key: &str) -> Result<TokenPair, SessionError> {
        let token = pair.refresh_token().expose();
        self.sessions.refresh_bound(token, None, key).await
    }
}

fn outcome(event: &SessionEvent) -> Option<RefreshOutcome> {
    match event {
        SessionEvent::Refreshed { outcome, .. } => Some(*outcome),
        _ => None,
    }
}

pub(super) async fn g41_a_bound_session_continues_with_its_key_only(place: Place) {
    for policy in [
        RefreshPolicy::strict(),
        RefreshPolicy::browser(),
        RefreshPolicy::balanced(),
    ] {
        let node = Node::over(place.node().await, policy);
        let first = node.bound("alice").await;
        assert!(first.is_bound());
        assert_eq!(first.token_type(), "DPoP");
        let id = first.session_id();
        node.take_events();
        let before = node.store.store.load(id).await.unwrap().unwrap().session;
        assert_eq!(before.bound_key.as_deref(), Some(KEY));
        let token = first.refresh_token().expose();
        for refused in [
            node.sessions.refresh(token).await,
            node.sessions.refresh_for(token, Some("first-party")).await,
            node.prove(&first, OTHER).await,
            node.prove(&first, "").await,
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), SessionErrorKind::NotProved);
            assert_eq!((error.error(), error.code()), ("invalid_dpop_proof", None));
        }
        let events = node.take_events();
        let audited = |event: &SessionEvent| matches!(event, SessionEvent::NotProved { session, .. } if *session == id);
        assert_eq!(events.iter().filter(|event| audited(event)).count(), 4);
        assert_eq!(events.len(), 4);
        let after = node.store.store.load(id).await.unwrap().unwrap().session;
        assert_eq!(after, before, "nothing was written");

        let second = node.prove(&first, KEY).await.unwrap();
        assert!(second.is_bound());
        assert_eq!(node.generation(&second), 1);
        place.age(id, LATER).await;
        // A thief with a spent token finds no reuse, and ends nothing.
        assert_eq!(
            node.prove(&first, OTHER).await.unwrap_err().kind(),
            SessionErrorKind::NotProved
        );
        assert_eq!(node.generation(&node.prove(&second, KEY).await.unwrap()), 2);
        let listed = node.sessions.list("alice", None).await.unwrap();
        assert!(listed.iter().all(|session| session.bound_to() == Some(KEY)));
    }
}

pub(super) async fn g41_hundred_refreshes_of_a_bound_session_are_one_rotation(place: Place) {
    let nodes = [Node::of(&place).await, Node::of(&place).await];
    let first = nodes[0].bound("alice").await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let sessions = nodes[number % 2].sessions.clone();
        let token = first.refresh_token().clone();
        // A thief takes part.
        let key = if number % 5 == 0 { OTHER } else { KEY };
        tasks.spawn(async move {
            loop {
                // A busy store has them come again.
                match sessions.refresh_bound(token.expose(), None, key).await {
                    Err(error) if error.kind() == SessionErrorKind::StoreUnavailable => {}
                    answer => return answer,
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let (pairs, refused): (Vec<_>, Vec<_>) =
        tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((pairs.len(), refused.len()), (80, 20));
    let pairs: Vec<_> = pairs.into_iter().map(Result::unwrap).collect();
    let tokens = pairs.iter().map(|pair| pair.refresh_token().expose());
    assert_eq!(tokens.collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(nodes[0].generation(&pairs[0]), 1);
    let events: Vec<_> = nodes.iter().flat_map(Node::take_events).collect();
    let rotated = |event: &&SessionEvent| outcome(event) == Some(RefreshOutcome::Rotated);
    assert_eq!(events.iter().filter(rotated).count(), 1);
}

/// Whatever the policy is, and although its tokens are confirmed.
pub(super) async fn g41_a_bound_session_forgives_lost_answers(place: Place) {
    for policy in [RefreshPolicy::strict(), RefreshPolicy::browser()] {
        let node = Node::over(place.node().await, policy);
        let first = node.bound("alice").await;
        let mut last = node.prove(&first, KEY).await.unwrap();
        for lost in 1..6 {
            // The access token of the successor is used, and the answer is lost for another process.
            let generation = node.generation(&last);
            let id = first.session_id();
            node.store.store.confirm(id, generation).await.unwrap();
            place.age(first.session_id(), HOURS).await;
            last = node.prove(&first, KEY).await.unwrap();
            assert_eq!(node.generation(&last), lost + 1);
        }
        // An older token than the parent is a copy of the whole client.
        place.age(first.session_id(), LATER).await;
        let next = node.prove(&last, KEY).await.unwrap();
        node.take_events();
        let error = node.prove(&first, KEY).await.unwrap_err();
        let stale = SessionErrorKind::Reused(ReuseKind::StaleLineage);
        assert_eq!(error.kind(), stale);
        let over = node.prove(&next, KEY).await.unwrap_err();
        assert_eq!(over.kind(), SessionErrorKind::Revoked);
    }
}

pub(super) async fn g41_a_session_in_place_of_a_bound_one_has_its_key(place: Place) {
    let node = Node::of(&place).await;
    let first = node.bound("alice").await;
    let session = node
        .sessions
        .find(first.session_id())
        .await
        .unwrap()
        .unwrap();
    let raised = StartSession::raising(&session, ["otp"]);
    let raised = node.sessions.step_up(&session, raised).await.unwrap();
    assert!(raised.is_bound());
    let session = node
        .sessions
        .find(raised.session_id())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.bound_to(), Some(KEY));
    let restarted = node
        .sessions
        .restart(StartSession::continuing(&session))
        .await
        .unwrap();
    let refused = node.prove(&restarted, OTHER).await.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::NotProved);
    assert!(node.prove(&restarted, KEY).await.unwrap().is_bound());

    // An unbound session is never bound by a refresh.
    let plain = node.sign_in("alice").await;
    let next = node.prove(&plain, KEY).await.unwrap();
    assert!(!next.is_bound());
    assert_eq!(node.generation(&next), 1);
    place.age(plain.session_id(), LATER).await;
    assert_eq!(node.generation(&node.refresh(&next).await), 2);
}
