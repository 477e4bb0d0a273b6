//! Proof that an answer has arrived, and what `balanced` makes of it.

use tower_jwt_auth::{
    Principal,
    event::{RefreshOutcome, SessionEvent},
    layer::Confirmations,
    principal::SessionId,
    server::{refresh::RefreshPolicy, session::TokenPair},
    store::port::SessionStore,
};

use crate::support::{
    sessions::{Service, service, service_with},
    watched::Fault,
};

const HOUR: u64 = 3600;

fn balanced() -> (Service, Confirmations) {
    let mut made = None;
    let service = service_with(|builder, memory| {
        let confirmations = Confirmations::new(memory.clone()).unwrap();
        made = Some(confirmations.clone());
        let policy = RefreshPolicy::balanced();
        builder.policy(policy).confirmations(confirmations)
    });
    (service, made.unwrap())
}

/// The access token is used, and that has been written down.
async fn used(service: &Service, confirmations: &Confirmations, pair: &TokenPair) {
    confirmations.saw(&service.caller(pair));
    written(service, pair).await;
}

async fn written(service: &Service, pair: &TokenPair) {
    let generation = service.generation(pair);
    let confirmed = async || {
        let peek = service.memory.load(pair.session_id()).await.unwrap();
        peek.unwrap().session.family.confirmed
    };
    while confirmed().await != Some(generation) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_for_hours_is_given_anew() {
    let (service, confirmations) = balanced();
    let first = service.sign_in().await;
    service.refresh(&first).await;
    service.events.take();
    service.pass(20 * HOUR);
    let second = service.refresh(&first).await;
    assert_eq!(service.generation(&second), 2);
    let events = service.events.take();
    let [SessionEvent::Refreshed { outcome, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*outcome, RefreshOutcome::Reissued);
    used(&service, &confirmations, &second).await;
    service.pass(HOUR);
    service.refresh(&second).await;
}

#[tokio::test]
async fn t4_a_displaced_child_ends_the_session() {
    let (service, _confirmations) = balanced();
    let first = service.sign_in().await;
    let displaced = service.refresh(&first).await;
    service.pass(20 * HOUR);
    let second = service.refresh(&first).await;
    assert_eq!(service.refused(&displaced).await, "refresh_token_reused");
    assert_eq!(service.refused(&second).await, "session_revoked");
}

#[tokio::test]
async fn a_late_parent_of_a_child_that_was_used_is_theft() {
    let (service, confirmations) = balanced();
    let first = service.sign_in().await;
    let second = service.refresh(&first).await;
    used(&service, &confirmations, &second).await;
    // Inside the window the parent is still answered: tabs.
    service.refresh(&first).await;
    service.pass(31);
    assert_eq!(service.refused(&first).await, "refresh_token_reused");
}

#[tokio::test]
async fn a_late_parent_is_answered_three_times_between_two_confirmations() {
    let (service, confirmations) = balanced();
    let mut held = service.sign_in().await;
    for _ in 0..2 {
        let mut last = service.refresh(&held).await;
        for _ in 0..3 {
            service.pass(31);
            last = service.refresh(&held).await;
        }
        used(&service, &confirmations, &last).await;
        held = last;
        service.pass(31);
    }
    service.refresh(&held).await;
    for _ in 0..3 {
        service.pass(31);
        service.refresh(&held).await;
    }
    service.pass(31);
    assert_eq!(service.refused(&held).await, "refresh_token_reused");
}

#[tokio::test]
async fn a_generation_is_written_once_and_the_latest_counts() {
    let service = service();
    let confirmations = Confirmations::new(service.store.clone()).unwrap();
    let first = service.sign_in().await;
    let second = service.refresh(&first).await;
    service.store.take_counts();
    for pair in [&first, &second, &second, &first] {
        confirmations.saw(&service.caller(pair));
    }
    written(&service, &second).await;
    confirmations.saw(&service.caller(&second));
    service.store.settled().await;
    assert_eq!(service.store.take_counts(), (0, 1));
    assert_eq!((confirmations.dropped(), confirmations.failed()), (0, 0));
}

#[tokio::test]
async fn callers_of_others_are_passed_over() {
    let service = service();
    let first = service.sign_in().await;
    let ours = Confirmations::new(service.store.clone()).unwrap();
    service.store.take_counts();
    ours.saw(&Principal::builder().subject("alice").build());
    let odd = Principal::builder()
        .session_id("no hexadecimal")
        .refresh_generation(1);
    ours.saw(&odd.build());
    let theirs = ours.clone().of_issuer("https://other.example");
    theirs.saw(&service.caller(&first));
    service.store.settled().await;
    assert_eq!(service.store.take_counts(), (0, 0));
    ours.of_issuer("https://as.example")
        .saw(&service.caller(&first));
    written(&service, &first).await;
}

#[tokio::test]
async fn what_the_store_could_not_write_is_tried_with_the_next_request() {
    let service = service();
    let confirmations = Confirmations::new(service.store.clone()).unwrap();
    let first = service.sign_in().await;
    service.store.fail_writes(&[Fault::Unavailable]);
    confirmations.saw(&service.caller(&first));
    while confirmations.failed() == 0 {
        tokio::task::yield_now().await;
    }
    used(&service, &confirmations, &first).await;
}

#[tokio::test]
async fn a_full_queue_drops_and_never_waits() {
    let service = service();
    let confirmations = Confirmations::new(service.store.clone()).unwrap();
    let caller = service.caller(&service.sign_in().await);
    // The task has no chance to run meanwhile: this test never yields.
    for session in 0..5000_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&session.to_be_bytes());
        let id = SessionId::from_bytes(id).to_string();
        let other = Principal::builder().session_id(&id).refresh_generation(0);
        confirmations.saw(&other.build());
    }
    assert_eq!(confirmations.dropped(), 5000 - 4096);
    confirmations.saw(&caller);
    assert_eq!(confirmations.dropped(), 5001 - 4096);
}

#[tokio::test]
async fn the_last_handle_ends_the_task_after_it_has_written() {
    let service = service();
    let confirmations = Confirmations::new(service.store.clone()).unwrap();
    let first = service.sign_in().await;
    confirmations.clone().saw(&service.caller(&first));
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    drop(confirmations);
    written(&service, &first).await;
    while metrics.num_alive_tasks() >= before {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_task_needs_a_runtime() {
    let store = tower_jwt_auth::store::MemoryStore::new();
    assert!(Confirmations::new(store).is_err());
}
