//! Sessions to play with.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use tower_jwt_auth::{
    Principal,
    principal::SessionId,
    revocation::{Revocation, RevocationLog},
    store::port::{CreateOutcome, NewSessionRecord, SessionStore},
    time::Timestamp,
};

pub(crate) fn session(subject: &str) -> NewSessionRecord {
    let day = Duration::from_secs(86_400);
    NewSessionRecord::new(new_id(), subject, 14 * day, 90 * day)
}

/// Its own, also among those of other processes.
fn new_id() -> SessionId {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(NUMBER.fetch_add(1, Ordering::Relaxed));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let process = u128::from(std::process::id());
    SessionId::from_bytes((now << 64 | process << 32 | number).to_be_bytes())
}

pub(crate) async fn start(store: &impl SessionStore, subject: &str) -> SessionId {
    match store.create(session(subject)).await.unwrap() {
        CreateOutcome::Created(record) => record.id,
        other => panic!("{other:?}"),
    }
}

/// Whoever holds a token of this session.
pub(crate) fn holder(id: SessionId) -> Principal {
    Principal::builder().session_id(&id.to_string()).build()
}

/// Adds so many milliseconds to every time of a session's row.
pub(crate) const SHIFT: &str = "
    UPDATE auth_session SET created_at = created_at + $2, used_at = used_at + $2,
      rotated_at = rotated_at + $2, expires_at = expires_at + $2, ends_by = ends_by + $2,
      revoked_at = revoked_at + $2
    WHERE sid = $1";

/// Appends revocations that have ended, then one that has not. Each append removes ended ones.
pub(crate) async fn append_ended(store: &impl RevocationLog) {
    for number in 0..25 {
        let ended = Timestamp::from_secs(1_000_000_000);
        let revocation = Revocation::token(format!("t{number}"), ended);
        store.append(revocation).await.unwrap();
    }
    let later = Timestamp::from(SystemTime::now()).plus(Duration::from_secs(3600));
    let revocation = Revocation::token("alive", later);
    store.append(revocation).await.unwrap();
}
