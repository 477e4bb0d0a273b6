//! A revocation wakes the sockets that it concerns, and no others.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tower_jwt_auth::{
    Principal,
    key::Algorithm,
    layer::socket::{CloseReason, SocketAuth},
    revocation::{Changes, Revocation, RevocationSet},
    test_util::TestKeys,
    time::Timestamp,
};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);
const HOUR: Duration = Duration::from_secs(3600);

fn sockets(revoked: &RevocationSet) -> SocketAuth {
    let verifier = tower_jwt_auth::Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
        .build()
        .unwrap();
    SocketAuth::new(verifier)
        .revocation(revoked.clone())
        .check_every(HOUR)
}

fn caller() -> Principal {
    let caller = Principal::builder().issuer("https://as.example");
    caller
        .subject("alice")
        .session_id("s1")
        .token_id("t1")
        .build()
}

#[tokio::test]
async fn w6_a_revocation_wakes_the_sockets_of_its_caller_alone() {
    for (revocation, ends) in [
        (Revocation::session("s1", FOREVER), true),
        (Revocation::token("t1", FOREVER), true),
        (Revocation::subject("alice", 1, FOREVER), true),
        (Revocation::session("s2", FOREVER), false),
        (Revocation::token("s1", FOREVER), false),
        (Revocation::subject("bob", 1, FOREVER), false),
    ] {
        let revoked = RevocationSet::local();
        let mut guard = sockets(&revoked).guard(caller()).unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut closed = pin!(guard.closed());
        assert!(closed.as_mut().poll(&mut cx).is_pending());
        revoked.insert(&revocation);
        let woken = woken.0.load(Ordering::SeqCst) > 0;
        assert_eq!(woken, ends, "{revocation:?}");
        let expected = match ends {
            true => Poll::Ready(CloseReason::Revoked),
            false => Poll::Pending,
        };
        assert_eq!(closed.as_mut().poll(&mut cx), expected, "{revocation:?}");
    }
}

#[tokio::test]
async fn w6_an_entry_for_every_caller_wakes_every_socket() {
    let revoked = RevocationSet::local();
    let issued = time::OffsetDateTime::from_unix_timestamp(1).unwrap();
    let nameless = Principal::builder().issued_at(issued).build();
    let mut guard = sockets(&revoked).guard(nameless).unwrap();
    let everything = Revocation::issued_before(Timestamp::from_millis(10_000), FOREVER);
    let set = revoked.clone();
    let (reason, ()) = tokio::join!(guard.closed(), async { set.insert(&everything) });
    assert_eq!(reason, CloseReason::Revoked);
}

#[tokio::test]
async fn a_change_before_the_first_wait_is_not_lost_to_a_clone_either() {
    let revoked = RevocationSet::local();
    let mut changes = revoked.changes_for(&caller());
    revoked.insert(&Revocation::session("s1", FOREVER));
    let mut clone = changes.clone();
    changes.changed().await;
    clone.changed().await;
}

/// Drops what it was made for when it is woken.
struct Dropping(Mutex<Option<Changes>>);

impl Wake for Dropping {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[tokio::test]
async fn a_waker_that_drops_a_listener_in_place_does_not_deadlock() {
    let revoked = RevocationSet::local();
    let other = revoked.changes_for(&caller());
    let waker = Waker::from(Arc::new(Dropping(Mutex::new(Some(other)))));
    let mut changes = revoked.changes_for(&caller());
    let mut changed = pin!(changes.changed());
    let mut cx = Context::from_waker(&waker);
    assert!(changed.as_mut().poll(&mut cx).is_pending());
    revoked.insert(&Revocation::session("s1", FOREVER));
    assert!(changed.as_mut().poll(&mut cx).is_ready());
}
