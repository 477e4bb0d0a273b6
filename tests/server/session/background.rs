//! Q11: a panic in a store, a job or a hook ends no task of the sessions and changes no answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{event::sink_fn, layer::Confirmations, store::port::SessionStore};

use crate::support::{
    sessions::{Service, service, service_with},
    watched::Fault,
};

const SOON: Duration = Duration::from_millis(10);

async fn confirmed(
    service: &Service,
    pair: &tower_jwt_auth::server::session::TokenPair,
) -> Option<u64> {
    let peek = service.memory.load(pair.session_id()).await.unwrap();
    peek.unwrap().session.family.confirmed
}

#[tokio::test]
async fn q11_confirmations_go_on_after_a_store_that_panicked() {
    let service = service();
    let confirmations = Confirmations::new(service.store.clone()).unwrap();
    let (lost, kept) = (service.sign_in().await, service.sign_in().await);
    let [lost, kept] = [service.refresh(&lost).await, service.refresh(&kept).await];
    // Before it has written anything, and in its future.
    service.store.panic_on_confirm(1);
    confirmations.saw(&service.caller(&lost));
    while confirmations.failed() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(confirmed(&service, &lost).await, None);
    // The next use of either token is written down.
    for pair in [&kept, &lost] {
        confirmations.saw(&service.caller(pair));
        while confirmed(&service, pair).await != Some(service.generation(pair)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(confirmations.failed(), 1);
}

#[tokio::test]
async fn q11_housekeeping_goes_on_after_a_job_and_a_sink_that_panic() {
    let service = service_with(|builder, _| builder.events(sink_fn(|_| panic!("the sink"))));
    let rounds = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&rounds);
    // The closure itself panics, not the future that it returns.
    let housekeeping = service.sessions.housekeeping().every(SOON).also(move |_| {
        let round = counted.fetch_add(1, Ordering::SeqCst);
        assert!(round > 1, "on purpose");
        async { Ok(0) }
    });
    let housekeeper = housekeeping.spawn();
    while rounds.load(Ordering::SeqCst) < 4 {
        tokio::time::sleep(SOON).await;
    }
    drop(housekeeper);
}

#[tokio::test]
async fn q11_a_sink_that_panics_changes_no_answer_of_the_sessions() {
    let service = service_with(|builder, _| builder.events(sink_fn(|_| panic!("the sink"))));
    let first = service.sign_in().await;
    let second = service.refresh(&first).await;
    let token = second.refresh_token().expose();
    service.sessions.revoke_token(token).await.unwrap();
    assert_eq!(service.refused(&second).await, "session_revoked");
    service.store.fail_writes(&[Fault::Unavailable]);
    assert!(service.sessions.revoke_token(token).await.is_err());
}
