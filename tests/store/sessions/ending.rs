//! The ends of sessions, and how other nodes learn of them.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer,
    error::StoreError,
    revocation::{Feed, RevocationSet},
    server::session::{SessionErrorKind, StartSession},
    store::port::RevokeReason::Logout,
    test_util::TestClock,
};

use super::{
    node::{Node, Switch, verifier},
    place::Place,
};
use crate::support::until::until;

type Body = Empty<bytes::Bytes>;

pub(super) async fn t10_signing_out_ends_this_device_the_others_or_all(place: Place) {
    let node = Node::of(&place).await;
    let [here, there, elsewhere] = [
        node.sign_in("alice").await,
        node.sign_in("alice").await,
        node.sign_in("alice").await,
    ];
    let mallory = node.sign_in("mallory").await;
    let token = elsewhere.refresh_token().expose();
    for _ in 0..2 {
        node.sessions.revoke_token(token).await.unwrap();
        assert_eq!(node.refused(&elsewhere).await, "session_revoked");
    }
    for ended in [1, 0] {
        let others = node
            .sessions
            .revoke_others("alice", here.session_id(), Logout);
        assert_eq!(others.await.unwrap(), ended);
    }
    assert_eq!(node.refused(&there).await, "session_revoked");
    let here = node.refresh(&here).await;
    assert!(
        !node
            .sessions
            .revoke_own("mallory", here.session_id(), Logout)
            .await
            .unwrap()
    );

    let read_before = node.sessions.epoch("alice").await.unwrap();
    for epoch in [1, 2] {
        assert_eq!(
            node.sessions.revoke_all("alice", Logout).await.unwrap(),
            epoch
        );
    }
    assert_eq!(node.refused(&here).await, "session_revoked");
    let late = node
        .sessions
        .start(StartSession::new("alice").epoch(read_before));
    assert_eq!(late.await.unwrap_err().kind(), SessionErrorKind::Superseded);
    assert!(node.sessions.list("alice", None).await.unwrap().is_empty());
    node.refresh(&mallory).await;
}

/// And prints how soon.
pub(super) async fn t11_another_node_refuses_soon(place: Place) {
    let (here, there) = (Node::of(&place).await, Node::of(&place).await);
    let revoked = there.store.store.revocations().unwrap();
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let pair = here.sign_in("alice").await;
        let caller = there.caller(&pair);
        here.sessions
            .revoke_token(pair.refresh_token().expose())
            .await
            .unwrap();
        let since = Instant::now();
        until(|| revoked.contains(&caller)).await;
        longest = longest.max(since.elapsed());
    }
    println!(
        "{}: refused on another node after {longest:?} at most of 10",
        place.name()
    );
}

/// A feed that a store's outage cuts off, also where the store has none.
struct Cut<F> {
    feed: F,
    switch: Switch,
}

impl<F: Feed> Feed for Cut<F> {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        self.switch.check()?;
        self.feed.load(set).await
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        self.feed.next(set).await?;
        // What came after it was cut off never came.
        self.switch.check()
    }
}

pub(super) async fn t12_a_stale_feed_serves_or_is_503_and_never_401(mut place: Place) {
    let node = Node::of(&place).await;
    let pair = node.sign_in("alice").await;
    let (clock, switch) = (TestClock::new(), Switch::default());
    let feed = Cut {
        feed: node.store.store.feed(),
        switch: switch.clone(),
    };
    let revoked = RevocationSet::follow_with_clock(feed, clock.clone()).unwrap();
    let fresh = revoked.clone().require_fresh();
    let ask = async |set: &RevocationSet| {
        let layer = JwtAuthLayer::new(verifier()).revocation(set.clone());
        let inner =
            service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::new())));
        let bearer = format!("Bearer {}", pair.access_token().expose());
        let request = Request::builder().header("authorization", bearer);
        let request = request.body(Body::new()).unwrap();
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(unavailable, response.headers().contains_key("retry-after"));
        response.status().as_u16()
    };
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    assert_eq!((ask(&revoked).await, ask(&fresh).await), (200, 200));

    // A file that is locked against writers can still be read, and memory is always there: theirs
    // is cut off by hand.
    switch.set(true);
    place.take_away().await;
    until(|| {
        clock.advance(Duration::from_millis(10));
        revoked.age() > Some(Duration::from_secs(11))
    })
    .await;
    assert_eq!((ask(&revoked).await, ask(&fresh).await), (200, 503));
    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!((ask(&revoked).await, ask(&fresh).await), (503, 503));

    switch.set(false);
    place.bring_back().await;
    until(|| revoked.age() < Some(Duration::from_secs(10))).await;
    assert_eq!((ask(&revoked).await, ask(&fresh).await), (200, 200));
}
