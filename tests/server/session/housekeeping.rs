//! What ended long ago is deleted, again and again, and a store that fails stops nobody.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    error::{StoreError, StoreErrorKind},
    event::{AuthEvent, sink_fn},
    server::session::StartSession,
    store::port::SessionStore,
};

use crate::support::{
    sessions::{Service, service, service_with},
    until::until,
    watched::Fault,
};

const SOON: Duration = Duration::from_millis(10);
const YEAR: u64 = 365 * 24 * 3600;

async fn sign_in(service: &Service, count: usize) {
    for number in 0..count {
        let start = StartSession::new(format!("user {number}"));
        service.sessions.start(start).await.unwrap();
    }
}

#[tokio::test]
async fn it_goes_on_while_a_batch_is_full() {
    let service = service();
    sign_in(&service, 25).await;
    let alive = service.sessions.housekeeping().run_once().await.unwrap();
    assert_eq!(alive, 0, "what is alive stays");
    service.pass(YEAR);
    sign_in(&service, 1).await;
    service.store.take_counts();
    let housekeeping = service.sessions.housekeeping().batch(10);
    assert_eq!(housekeeping.run_once().await.unwrap(), 25);
    assert_eq!(service.store.take_counts(), (0, 3), "ten, ten, five");
    assert_eq!(housekeeping.run_once().await.unwrap(), 0);
    assert_eq!(service.memory.list("user 0", 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn several_nodes_at_once_do_no_harm() {
    let service = service();
    sign_in(&service, 50).await;
    service.pass(YEAR);
    let node = || service.sessions.housekeeping().batch(3);
    let (one, two, three) = (node(), node(), node());
    let (one, two, three) = tokio::join!(one.run_once(), two.run_once(), three.run_once());
    assert_eq!(one.unwrap() + two.unwrap() + three.unwrap(), 50);
}

#[tokio::test]
async fn a_store_that_fails_is_told_of_and_tried_again() {
    for fault in [Fault::Unavailable, Fault::LostAfter, Fault::PanicAfter] {
        let failures = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&failures);
        let service = service_with(|builder, _| {
            builder.events(sink_fn(move |event| {
                if let AuthEvent::HousekeepingFailed { kind, .. } = event {
                    kept.lock().unwrap().push(*kind);
                }
            }))
        });
        sign_in(&service, 5).await;
        service.pass(YEAR);
        service.store.fail_writes(&[fault, fault]);
        let also = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&also);
        let housekeeping = service.sessions.housekeeping().every(SOON).also(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ok(0) }
        });
        let housekeeper = housekeeping.spawn();
        // Once it failed twice, and once it did not: the other job was asked each time.
        until(|| also.load(Ordering::SeqCst) >= 3).await;
        drop(housekeeper);
        assert_eq!(service.memory.purge(10).await.unwrap(), 0, "{fault:?}");
        let kind = match fault {
            Fault::Unavailable => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Interrupted,
        };
        assert_eq!(*failures.lock().unwrap(), [kind; 2], "{fault:?}");
    }
}

#[tokio::test]
async fn a_job_that_fails_keeps_no_other_from_its_work() {
    let service = service();
    sign_in(&service, 5).await;
    service.pass(YEAR);
    let housekeeping = service
        .sessions
        .housekeeping()
        .also(async |_| Err(StoreError::unavailable("the first")))
        .also(async |_| Err(StoreError::invalid("the second")));
    let failed = housekeeping.run_once().await.unwrap_err();
    assert_eq!(failed.kind(), StoreErrorKind::Unavailable);
    assert_eq!(service.memory.purge(10).await.unwrap(), 0);
}

#[tokio::test]
async fn it_ends_with_its_handle() {
    let service = service();
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let rounds = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&rounds);
    let housekeeping = service.sessions.housekeeping().every(SOON).also(move |_| {
        let _held = &held;
        counted.fetch_add(1, Ordering::SeqCst);
        // Of a store that hangs it lets go as well.
        std::future::pending()
    });
    let housekeeper = housekeeping.spawn();
    until(|| rounds.load(Ordering::SeqCst) > 0).await;
    drop(housekeeper);
    until(|| weak.upgrade().is_none()).await;
    assert_eq!(rounds.load(Ordering::SeqCst), 1);
}
