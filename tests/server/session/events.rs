//! The events of sessions, as one sink receives them.

use tower_jwt_auth::{
    event::{RevokeReason, RevokedScope, SessionEvent},
    principal::SessionId,
    server::session::{Sessions, StartSession},
};

use crate::support::{
    sessions::{Service, issuer, service, service_with},
    watched::Fault,
};

/// The names of the events, each of which must name this session and its owner.
fn names(service: &Service, session: SessionId) -> Vec<&'static str> {
    let events = service.events.take();
    for event in &events {
        assert_eq!(event.subject(), Some("alice"), "{event:?}");
        assert_eq!(event.session(), Some(session), "{event:?}");
        assert!(event.concerns("alice", session), "{event:?}");
        let other = SessionId::from_bytes([9; 16]);
        assert!(!event.concerns("alice", other), "{event:?}");
        assert!(!event.concerns("mallory", session), "{event:?}");
    }
    events.iter().map(SessionEvent::name).collect()
}

#[tokio::test]
async fn q8_every_event_of_a_session_names_the_session_and_its_subject() {
    let service = service();
    let first = service.sign_in().await;
    let id = first.session_id();
    assert_eq!(names(&service, id), ["session.created"]);
    let second = service.refresh(&first).await;
    assert_eq!(names(&service, id), ["session.refreshed"], "rotated");
    service.refresh(&first).await;
    assert_eq!(names(&service, id), ["session.refreshed"], "retried");
    service.pass(31);
    service.refresh(&second).await;
    service.pass(31);
    assert_eq!(service.refused(&first).await, "refresh_token_reused");
    let names_of_reuse = names(&service, id);
    assert_eq!(
        names_of_reuse,
        ["session.refreshed", "session.reuse_detected"]
    );

    let unused = service.sign_in().await;
    service.pass(15 * 24 * 60 * 60);
    assert_eq!(service.refused(&unused).await, "session_expired");
    assert_eq!(
        names(&service, unused.session_id()),
        ["session.created", "session.expired"]
    );

    // By the refresh token, by an operator, from the list of devices.
    for way in 0..3 {
        let pair = service.sign_in().await;
        let (sessions, id) = (&service.sessions, pair.session_id());
        let reason = RevokeReason::Administrative;
        match way {
            0 => {
                let token = pair.refresh_token().expose();
                sessions.revoke_token(token).await.unwrap();
            }
            1 => assert!(sessions.revoke(id, reason).await.unwrap()),
            _ => assert!(sessions.revoke_own("alice", id, reason).await.unwrap()),
        }
        assert_eq!(
            names(&service, id),
            ["session.created", "session.revoked"],
            "{way}"
        );
    }
}

#[tokio::test]
async fn q8_an_event_about_several_sessions_concerns_each_of_them() {
    let service = service();
    let (here, there) = (service.sign_in().await, service.sign_in().await);
    let (here, there) = (here.session_id(), there.session_id());
    let mallory = service.sessions.start(StartSession::new("mallory"));
    let mallory = mallory.await.unwrap().session_id();
    service.events.take();

    let reason = RevokeReason::Logout;
    let sessions = &service.sessions;
    sessions.revoke_others("alice", here, reason).await.unwrap();
    let others = service.events.take();
    let [
        SessionEvent::Revoked {
            scope: RevokedScope::Others { kept, ended, .. },
            ..
        },
    ] = &others[..]
    else {
        panic!("{others:?}")
    };
    assert_eq!((*kept, &ended[..]), (here, &[there][..]));
    sessions.revoke_all("alice", reason).await.unwrap();
    let all = service.events.take();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].subject(), all[0].session()), (Some("alice"), None));
    for event in others.iter().chain(&all) {
        assert!(event.concerns("alice", here), "{event:?}");
        assert!(event.concerns("alice", there), "{event:?}");
        assert!(!event.concerns("mallory", mallory), "{event:?}");
        assert!(!event.concerns("mallory", here), "{event:?}");
    }
    // Neither kept nor ended: it had ended before.
    assert!(!others[0].concerns("alice", mallory));
}

#[tokio::test]
async fn the_subject_of_an_ended_session_is_read_only_for_a_sink() {
    let service = service();
    let (one, other) = (service.sign_in().await, service.sign_in().await);
    let keys = service.sessions.issuer().keys().clone();
    let silent = Sessions::builder(issuer(keys), service.store.clone())
        .secret(service.secret.clone())
        .build()
        .unwrap();
    service.store.take_counts();
    let token = one.refresh_token().expose();
    silent.revoke_token(token).await.unwrap();
    assert_eq!(service.store.take_counts(), (0, 1));

    // The end of the session does not depend on the read.
    service.events.take();
    service.store.fail_reads(&[Fault::Unavailable]);
    let token = other.refresh_token().expose();
    service.sessions.revoke_token(token).await.unwrap();
    assert_eq!(service.store.take_counts(), (1, 1));
    assert_eq!(service.refused(&other).await, "session_revoked");
    let events = service.events.take();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].subject(), None);
    assert_eq!(events[0].session(), Some(other.session_id()));
    assert!(events[0].concerns("alice", other.session_id()));
}

#[tokio::test]
async fn q8_an_evicted_session_is_named() {
    let service = service_with(|builder, _| builder.max_sessions(1));
    let first = service.sign_in().await;
    service.pass(60);
    service.events.take();
    let second = service.sign_in().await;
    let events = service.events.take();
    let named: Vec<_> = events
        .iter()
        .map(|event| (event.name(), event.subject(), event.session()))
        .collect();
    let alice = Some("alice");
    assert_eq!(
        named,
        [
            ("session.created", alice, Some(second.session_id())),
            ("session.evicted", alice, Some(first.session_id())),
        ]
    );
}
