//! Stores that fail, and clients that hang up.

use tower_jwt_auth::{
    event::SessionEvent,
    server::{refresh::RefreshPolicy, session::SessionErrorKind},
    store::port::RevokeReason,
};

use crate::support::{
    sessions::{Service, alice, service, with_policy},
    watched::{Fault, dropped_after},
};

#[tokio::test]
async fn t8_a_client_that_hangs_up_at_any_point_goes_on_with_its_token() {
    let mut polls = 0;
    loop {
        let service = service();
        let first = service.sign_in().await;
        service.store.take_counts();
        let answer = dropped_after(polls, service.try_refresh(&first)).await;
        service.store.settled().await;
        let (_, writes) = service.store.take_counts();
        let retried = service.refresh(&first).await;
        assert_eq!(service.generation(&retried), 1, "after {polls} polls");
        if writes == 1 {
            assert_eq!(
                service.store.take_counts(),
                (1, 1),
                "it was written to the end"
            );
        }
        service.pass(31);
        service.refresh(&retried).await;
        if let Some(answer) = answer {
            let (answered, again) = (answer.unwrap(), retried);
            assert_eq!(
                answered.refresh_token().expose(),
                again.refresh_token().expose()
            );
            break;
        }
        polls += 1;
    }
    assert!(
        polls > 1,
        "it was dropped before, in and after the write: {polls}"
    );
}

#[tokio::test]
async fn t8_a_store_lost_before_or_after_its_write_is_asked_again() {
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        let service = service();
        let first = service.sign_in().await;
        service.store.take_counts();
        service.store.fail_writes(&[fault]);
        let second = service.refresh(&first).await;
        // A write that is known to be lost is repeated; one that arrived is seen in what is read.
        let writes = 1 + usize::from(fault == Fault::LostBefore);
        assert_eq!(service.store.take_counts(), (1, writes), "{fault:?}");
        assert_eq!(service.generation(&second), 1, "{fault:?}");
        service.pass(31);
        service.refresh(&second).await;
    }
}

#[tokio::test]
async fn t8_the_client_repeats_what_the_server_could_not_finish() {
    for faults in [
        &[Fault::Unavailable][..],
        &[Fault::LostBefore, Fault::LostBefore],
        &[Fault::LostBefore, Fault::LostAfter],
        &[Fault::LostBefore, Fault::Unavailable],
        &[Fault::PanicAfter],
    ] {
        let service = service();
        let first = service.sign_in().await;
        service.store.fail_writes(faults);
        try_later(&service.try_refresh(&first).await.unwrap_err());
        let second = service.refresh(&first).await;
        assert_eq!(service.generation(&second), 1, "{faults:?}");
    }
}

#[tokio::test]
async fn t8_nothing_is_repeated_where_nothing_is_forgiven() {
    let service = with_policy(RefreshPolicy::strict());
    let first = service.sign_in().await;
    service.store.take_counts();
    service.store.fail_writes(&[Fault::LostAfter]);
    try_later(&service.try_refresh(&first).await.unwrap_err());
    assert_eq!(service.store.take_counts(), (0, 1));
}

#[tokio::test]
async fn t9_a_store_that_is_away_is_503_and_nobody_is_signed_out() {
    let service = service();
    let first = service.sign_in().await;
    service.store.take_counts();

    service.store.fail_writes(&[Fault::Unavailable]);
    try_later(&service.try_refresh(&first).await.unwrap_err());
    assert_eq!(service.store.take_counts(), (0, 1));
    service.store.fail_writes(&[Fault::LostBefore]);
    service
        .store
        .fail_reads(&[Fault::LostAfter, Fault::LostAfter]);
    try_later(&service.try_refresh(&first).await.unwrap_err());
    assert_eq!(service.store.take_counts(), (2, 1));
    service.store.fail_writes(&[Fault::LostBefore]);
    service.store.fail_reads(&[Fault::LostAfter]);
    service.refresh(&first).await;

    service.store.fail_reads(&[Fault::Unavailable]);
    try_later(&service.sessions.start(alice()).await.unwrap_err());
    service.store.fail_reads(&[Fault::Unavailable]);
    try_later(&service.sessions.list("alice", None).await.unwrap_err());
    // Whoever signs out is not told that it is done before it is.
    service.store.fail_writes(&[Fault::Unavailable]);
    let token = first.refresh_token().expose();
    try_later(&service.sessions.revoke_token(token).await.unwrap_err());
    service.refresh(&first).await;
}

fn try_later(error: &tower_jwt_auth::server::session::SessionError) {
    assert_eq!(error.kind(), SessionErrorKind::StoreUnavailable);
    assert_eq!(error.error(), "temporarily_unavailable");
    assert_eq!(
        (error.status().as_u16(), error.retry_after()),
        (503, Some(1))
    );
    assert_eq!(error.code(), None);
    assert!(std::error::Error::source(error).is_some());
}

#[tokio::test]
async fn reuse_is_told_once_also_where_the_store_is_lost_in_between() {
    for (policy, fault) in [
        (RefreshPolicy::browser(), Fault::LostAfter),
        (RefreshPolicy::browser(), Fault::LostBefore),
        (RefreshPolicy::strict(), Fault::LostAfter),
    ] {
        let service = with_policy(policy);
        let first = service.sign_in().await;
        service.refresh(&first).await;
        service.pass(31);
        service.events.take();
        // The first write finds that the token is not the live one.
        service.store.fail_writes(&[Fault::None, fault]);
        assert_eq!(service.refused(&first).await, "refresh_token_reused");
        let events = service.events.take();
        assert!(
            matches!(&events[..], [SessionEvent::ReuseDetected { .. }]),
            "{events:?}"
        );
    }
}

#[tokio::test]
async fn a_session_is_started_once_also_where_the_store_is_lost() {
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        let service = service();
        service.store.fail_writes(&[fault]);
        let pair = service.sign_in().await;
        assert_eq!(devices(&service).await, 1, "{fault:?}");
        assert_eq!(service.events.take().len(), 1);
        service.refresh(&pair).await;
    }
}

#[tokio::test]
async fn an_end_is_written_also_where_the_store_is_lost_or_the_client_hangs_up() {
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        let service = service();
        let pair = service.sign_in().await;
        service.store.fail_writes(&[fault]);
        let ended = service
            .sessions
            .revoke(pair.session_id(), RevokeReason::Logout);
        assert!(ended.await.unwrap());
        service.store.fail_writes(&[fault]);
        service
            .sessions
            .revoke_all("alice", RevokeReason::Logout)
            .await
            .unwrap();
        assert_eq!(service.refused(&pair).await, "session_revoked");
    }
    let service = service();
    let pair = service.sign_in().await;
    let token = pair.refresh_token().expose();
    assert!(
        dropped_after(1, service.sessions.revoke_token(token))
            .await
            .is_none()
    );
    service.store.settled().await;
    assert_eq!(service.refused(&pair).await, "session_revoked");
}

/// Every load is followed by a change of another node, such as a confirmation.
#[tokio::test]
async fn a_refresh_that_loses_to_other_nodes_tries_again_until_its_patience_ends() {
    let service = service();
    let pair = service.sign_in().await;
    // With its client, a refresh loads the session.
    let refresh = async || {
        let token = pair.refresh_token().expose();
        let refreshed = service.sessions.refresh_for(token, Some("first-party"));
        refreshed.await
    };
    service.store.beat_advances(usize::MAX);
    let refused = refresh().await.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::StoreUnavailable);
    assert!(refused.retry_after().is_some());
    service.store.beat_advances(12);
    let next = refresh().await.unwrap();
    assert_eq!(service.generation(&next), 1);
}

async fn devices(service: &Service) -> usize {
    service.sessions.list("alice", None).await.unwrap().len()
}
