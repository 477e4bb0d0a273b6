//! Who says what a subject may do, and what happens when it does not.

use std::{
    future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_jwt_auth::{
    error::StoreError,
    server::session::{ClaimsSource, Session, SessionClaims, SessionErrorKind, Sessions},
};

use crate::support::sessions::{Service, alice, issuer, service};

#[derive(Clone, Copy)]
enum Mood {
    Role(&'static str),
    Reserved,
    Disabled,
    Broken,
    Hanging,
}

#[derive(Clone)]
struct Directory(Arc<Mutex<Mood>>);

impl ClaimsSource for Directory {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        assert_eq!(session.subject(), "alice");
        let mood = *self.0.lock().unwrap();
        match mood {
            Mood::Role(role) => Ok(Some(session.claims().clone().roles([role]))),
            Mood::Reserved => Ok(Some(SessionClaims::new().claim("sub", "mallory"))),
            Mood::Disabled => Ok(None),
            Mood::Broken => Err(StoreError::unavailable("the directory is down")),
            Mood::Hanging => future::pending().await,
        }
    }
}

fn with_directory() -> (Service, Sessions, Directory) {
    let service = service();
    let directory = Directory(Arc::new(Mutex::new(Mood::Role("reader"))));
    let keys = service.sessions.issuer().keys().clone();
    let sessions = Sessions::builder(issuer(keys), service.store.clone())
        .secret(service.secret.clone())
        .claims_source(directory.clone())
        .claims_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    (service, sessions, directory)
}

#[tokio::test]
async fn a_role_that_changed_is_in_the_next_token() {
    let (service, sessions, directory) = with_directory();
    let first = sessions.start(alice()).await.unwrap();
    assert!(service.caller(&first).has_role("reader"));
    *directory.0.lock().unwrap() = Mood::Role("admin");
    let token = first.refresh_token().expose();
    // Also where the answer is an old one given again.
    for _ in 0..2 {
        let caller = service.caller(&sessions.refresh(token).await.unwrap());
        assert!(caller.has_role("admin") && !caller.has_role("reader"));
        assert!(
            caller.has_role("editor"),
            "what the session was started with is at hand"
        );
    }
}

#[tokio::test]
async fn a_directory_that_fails_or_hangs_leaves_everything_as_it_was() {
    let (service, sessions, directory) = with_directory();
    let first = sessions.start(alice()).await.unwrap();
    service.store.take_counts();
    for (mood, kind, status) in [
        (Mood::Broken, SessionErrorKind::ClaimsUnavailable, 503),
        (Mood::Hanging, SessionErrorKind::ClaimsUnavailable, 503),
        (Mood::Disabled, SessionErrorKind::Disabled, 400),
        (Mood::Reserved, SessionErrorKind::NotMinted, 500),
    ] {
        *directory.0.lock().unwrap() = mood;
        let refused = sessions
            .refresh(first.refresh_token().expose())
            .await
            .unwrap_err();
        assert_eq!((refused.kind(), refused.status().as_u16()), (kind, status));
        assert_eq!(refused.retry_after().is_some(), status == 503);
        let refused = sessions.start(alice().epoch(0)).await.unwrap_err();
        assert_eq!(refused.kind(), kind);
    }
    assert_eq!(service.store.take_counts(), (4, 0), "nothing was written");
    assert_eq!(sessions.list("alice", None).await.unwrap().len(), 1);

    // Enabled again, mended again: the session goes on where it was.
    *directory.0.lock().unwrap() = Mood::Role("reader");
    let next = sessions
        .refresh(first.refresh_token().expose())
        .await
        .unwrap();
    assert_eq!(service.generation(&next), 1);
}
