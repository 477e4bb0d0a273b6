//! A server that lost everything.

use std::time::Duration;

use tower_jwt_auth::{
    Principal,
    revocation::{RETENTION, Revocation, RevocationCheck, RevocationLog, RevocationSet},
    server::refresh::RefreshPolicy,
    store::port::RevokeReason,
    time::Timestamp,
};

use super::{
    node::{Node, Switch, Watched},
    place::Place,
};
use crate::support::{
    redis::{FORGETFUL, Server},
    until::until,
};

async fn node(server: &Server) -> (Node, RevocationSet) {
    let store = tower_jwt_auth::store::AnyStore::Redis(server.store());
    let revoked = store.revocations().unwrap();
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    let store = Watched::new(store, Switch::default());
    (Node::over(store, RefreshPolicy::browser()), revoked)
}

/// Neither those that were revoked nor the others, whose sessions are gone: also where no node is left
/// that could remember. And nobody waits who signs in anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn no_access_token_of_a_store_that_was_lost_comes_back() {
    let mut server = Server::start(FORGETFUL).await;
    let (before, known) = node(&server).await;
    let (alice, bob) = (before.sign_in("alice").await, before.sign_in("bob").await);
    // Served at once on a first start.
    assert!(known.is_ready() && !known.contains(&before.caller(&alice)));
    let logout = RevokeReason::Logout;
    before
        .sessions
        .revoke(alice.session_id(), logout)
        .await
        .unwrap();
    until(|| known.contains(&before.caller(&alice))).await;
    assert!(!known.contains(&before.caller(&bob)));

    server.kill();
    // The server's clock is the system's, and tokens are dated in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.restart().await;
    let (after, fresh) = node(&server).await;
    assert!(fresh.is_ready());
    for pair in [&alice, &bob] {
        assert!(fresh.contains(&after.caller(pair)));
        assert_eq!(after.refused(pair).await, "refresh_token_invalid");
        until(|| known.contains(&after.caller(pair))).await;
    }
    let again = after.sign_in("alice").await;
    assert!(!fresh.contains(&after.caller(&again)));
    assert!(!known.contains(&after.caller(&again)));
}

/// What a store says of a time that it knows nothing about.
pub(super) async fn what_was_issued_before_is_revoked_to_the_second(place: Place) {
    let store = place.store().await;
    let revoked = store.revocations().unwrap();
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    let now = Timestamp::from(std::time::SystemTime::now());
    let caller = |time: Timestamp| {
        let builder = Principal::builder().subject("alice");
        builder.issued_at(time.to_calendar()).build()
    };
    let (earlier, same) = (caller(now.minus(Duration::from_secs(1))), caller(now));
    assert!(!revoked.contains(&same));
    let revocation = Revocation::issued_before(now, now.plus(RETENTION));
    store.append(revocation).await.unwrap();
    until(|| revoked.contains(&earlier)).await;
    assert!(!revoked.contains(&same));
    assert!(!revoked.contains(&Principal::builder().subject("alice").build()));
    // And to those that start later.
    let fresh = store.revocations().unwrap();
    assert!(fresh.loaded(Duration::from_secs(60)).await);
    assert!(fresh.contains(&earlier) && !fresh.contains(&same));
}
