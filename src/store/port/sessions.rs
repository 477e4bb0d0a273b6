//! The store port for sessions.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

pub use crate::event::RevokeReason;
use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    time::Timestamp,
};

/// A store of sessions: one row per session, however often it is refreshed.
///
/// # Implementing
///
/// - A store compares and sets. It decides nothing: the rules of refreshes are in this crate only.
/// - Every method that changes something is atomic, and a single round trip if the store supports
///   that.
/// - The store's clock is the only clock: no method takes the time as an argument. Times are whole
///   milliseconds, truncated before any comparison.
/// - A session is revoked if its row says so, or if its [`epoch`](SessionRecord::epoch) is older
///   than its subject's. An unknown subject has the epoch 0.
/// - A session is alive if it is not revoked, has not reached its
///   [`expires_at`](Family::expires_at), and was used less than its [`idle`](Family::idle) timeout
///   ago.
/// - A method that ends sessions writes the [`Revocation`](crate::revocation::Revocation)s in the same
///   step, each until now plus [`RETENTION`](crate::revocation::RETENTION), so that every node receives
///   them.
/// - A session that has ended leaves every index immediately or, if it ended by time, in small
///   steps. [`list`](Self::list) and [`revoke_others`](Self::revoke_others) cost as much as the
///   subject has live sessions.
/// - No argument is a secret, and no content of the store lets a reader sign in.
/// - A dropped future must not leave a change half done.
///
/// The methods with a default implementation only save round trips.
///
/// [`store::contract`](crate::store::contract) is the test suite that every store must pass.
pub trait SessionStore: Send + Sync + 'static {
    /// Inserts a session, unless the subject's epoch has changed since it was read. Never
    /// overwrites.
    fn create(
        &self,
        session: NewSessionRecord,
    ) -> impl Future<Output = Result<CreateOutcome, StoreError>> + Send;

    /// Returns a session and the store's time, without a write.
    /// [`revoked`](Family::revoked) contains the subject's epoch as well.
    fn load(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<LoadedSession>, StoreError>> + Send;

    /// Changes the state of a session if it is still what was loaded, in one atomic step. Returns the
    /// changed session, or `None` if nothing was changed.
    ///
    /// The condition: the session is alive, and its [`generation`](Family::generation),
    /// [`reissues`](Family::reissues) and [`confirmed`](Family::confirmed) are those of `from`.
    ///
    /// The change: `generation`, `reissues` and [`parent`](Family::parent) become those of `to`, and
    /// [`rotated_at`](Family::rotated_at) and [`used_at`](Family::used_at) the store's time. Nothing
    /// else changes.
    fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> impl Future<Output = Result<Option<LoadedSession>, StoreError>> + Send;

    /// Advances a session of which nothing was loaded, in one round trip: `live` becomes the parent
    /// of the next generation. Returns the changed session, or `None` if nothing was changed.
    ///
    /// The condition: the session is alive, `live` is its generation, its
    /// [`bound_key`](SessionRecord::bound_key) is `bound_key`, and its `rotated_at` is `None` or
    /// differs from the store's time by more than `grace` in either direction. A `grace` of zero is
    /// no condition.
    ///
    /// Without an implementation, a refresh [loads](Self::load) the session first.
    fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> impl Future<Output = Result<Option<LoadedSession>, StoreError>> + Send {
        let _ = (id, live, grace, bound_key);
        async { Ok(None) }
    }

    /// Returns `true` if the futures of this store never wait, as those of a store in memory.
    ///
    /// Writes of other stores run in separate tasks, which a caller that is dropped does not interrupt.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Returns the identity of this store, if [`load_with_user`](Self::load_with_user) and
    /// [`advance_live_with_user`](Self::advance_live_with_user) read the users of the same store.
    fn users(&self) -> Option<StoreId> {
        None
    }

    /// Loads a session together with its subject's standing in this store's own user table, in one
    /// round trip. The standing is `None` if the table does not contain the subject.
    ///
    /// Called only if [`users`](Self::users) returns an identity.
    fn load_with_user(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError>> + Send
    {
        async move { Ok(self.load(id).await?.map(|loaded| (loaded, None))) }
    }

    /// Advances a session as [`advance_live`](Self::advance_live) does, if its subject may sign in.
    /// Returns the changed session and the standing of its subject, or `None` if nothing was changed.
    ///
    /// The additional condition: the session is not a [user's](PrincipalKind::User), or the store's own
    /// user table contains its subject and the user is not disabled. The standing of a user is part of
    /// the same step: a user whose roles cannot be read is not advanced.
    ///
    /// Called only if [`users`](Self::users) returns an identity. Without an implementation, a refresh
    /// [loads](Self::load_with_user) the session with its user first.
    fn advance_live_with_user(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> impl Future<Output = Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError>> + Send
    {
        let _ = (id, live, grace, bound_key);
        async { Ok(None) }
    }

    /// Records that a generation reached its client, as [`confirm`](crate::server::refresh::confirm) specifies. Does
    /// nothing if the generation is not the live one or the session does not exist.
    fn confirm(
        &self,
        id: SessionId,
        generation: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a session, whatever its generation. Returns `false` if it was not alive.
    ///
    /// An expired or idle session is marked as revoked too and its revocation is written, because
    /// verifiers with a leeway accept its access tokens a little longer.
    fn revoke(
        &self,
        id: SessionId,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends the session `old` with the reason [`Replaced`](RevokeReason::Replaced), and inserts `new` as
    /// [`create`](Self::create) does. Returns `None` if `old` is not alive or belongs to another
    /// subject. Nothing is inserted then.
    ///
    /// The stores of this crate do both in one step. The default implementation takes two steps: if the
    /// second one fails, the subject is signed out. It never leaves both sessions alive.
    fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> impl Future<Output = Result<Option<CreateOutcome>, StoreError>> + Send {
        async move {
            let loaded = self.load(old).await?;
            let fits = loaded.is_some_and(|loaded| loaded.session.subject == new.subject);
            if !fits || !self.revoke(old, RevokeReason::Replaced).await? {
                return Ok(None);
            }
            self.create(new).await.map(Some)
        }
    }

    /// Ends the subject's other live sessions, as [`revoke`](Self::revoke) does. Returns those that
    /// were alive. Sessions that have ended by themselves may be left as they are.
    fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Ends all of the subject's sessions by raising its epoch in one atomic step. Returns the new
    /// epoch.
    ///
    /// A concurrent login that read the old epoch cannot create a session any more.
    fn revoke_all(
        &self,
        subject: &str,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Returns the subject's epoch. It is read before the password is verified, for
    /// [`NewSessionRecord::epoch`].
    fn epoch(&self, subject: &str) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Returns at most `limit` live sessions of the subject, the most recently used first.
    fn list(
        &self,
        subject: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;

    /// Deletes at most `limit` sessions that ended long ago (a day after their end, or a week after
    /// their revocation) and at most as many expired revocations. Returns the number of deleted
    /// rows.
    ///
    /// A store may also delete such rows by itself. This crate's stores also delete at most `limit`
    /// rows of everything else in them that expires, except guests.
    ///
    /// The method is called again immediately if `limit` or more rows were deleted, and several
    /// nodes call it concurrently: it must not wait for rows that another call is deleting.
    fn purge(&self, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A session to insert.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSessionRecord {
    /// The session id.
    pub id: SessionId,
    /// The subject.
    pub subject: String,
    /// The kind of the subject.
    pub kind: PrincipalKind,
    /// The subject's epoch as it was read before the subject was authenticated; `None` for the
    /// current epoch.
    pub epoch: Option<u32>,
    /// The idle timeout.
    pub idle: Duration,
    /// The maximum lifetime.
    pub lifetime: Duration,
    /// The thumbprint (RFC 7638) of the key that the session is bound to.
    pub bound_key: Option<String>,
    /// Further data, as a JSON object that is opaque to the store.
    pub details: String,
}

impl NewSessionRecord {
    /// Creates the record of a user's session with the subject's current epoch and without further
    /// data.
    #[must_use]
    pub fn new(
        id: SessionId,
        subject: impl Into<String>,
        idle: Duration,
        lifetime: Duration,
    ) -> Self {
        Self {
            id,
            subject: subject.into(),
            kind: PrincipalKind::User,
            epoch: None,
            idle,
            lifetime,
            bound_key: None,
            details: "{}".to_owned(),
        }
    }
}

/// The result of [`SessionStore::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateOutcome {
    /// The session was created.
    Created(SessionRecord),
    /// The subject's epoch has changed: all its sessions were revoked, including this one.
    EpochMoved,
    /// A session with this id exists. It is unchanged.
    Exists,
}

/// A session, and the current time of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedSession {
    /// The session.
    pub session: SessionRecord,
    /// The store's time.
    pub now: Timestamp,
}

impl LoadedSession {
    /// Creates the result of a load.
    #[must_use]
    pub fn new(session: SessionRecord, now: Timestamp) -> Self {
        Self { session, now }
    }
}

/// The standing of a subject in the user table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserStanding {
    /// The user's roles.
    pub roles: Vec<String>,
    /// `true` if the user may not sign in.
    pub disabled: bool,
}

impl UserStanding {
    /// Creates the standing of a user.
    #[must_use]
    pub fn new(roles: Vec<String>, disabled: bool) -> Self {
        Self { roles, disabled }
    }
}

/// The identity of an open store within this process. The clones of a store have the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(u64);

impl StoreId {
    /// Creates an identity that differs from all others.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two of them are never equal")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A session as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session id.
    pub id: SessionId,
    /// The subject.
    pub subject: String,
    /// The kind of the subject.
    pub kind: PrincipalKind,
    /// The subject's epoch at the start of the session.
    pub epoch: u32,
    /// The state of its refresh tokens.
    pub family: Family,
    /// The time at which the session was started.
    pub created_at: Timestamp,
    /// The reason of the revocation, if the session's row contains one.
    pub revoked: Option<RevokeReason>,
    /// The thumbprint (RFC 7638) of the key that the session is bound to.
    pub bound_key: Option<String>,
    /// Further data, as a JSON object.
    pub details: String,
}

impl SessionRecord {
    /// Creates the record of `session` as it is inserted at `now`, when the subject has this epoch.
    #[must_use]
    pub fn started(session: NewSessionRecord, epoch: u32, now: Timestamp) -> Self {
        Self {
            id: session.id,
            subject: session.subject,
            kind: session.kind,
            epoch,
            family: Family::new(now, session.idle, now.plus(session.lifetime)),
            created_at: now,
            revoked: None,
            bound_key: session.bound_key,
            details: session.details,
        }
    }
}

/// The state of a family of refresh tokens. A session has one family.
///
/// All times are times of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Family {
    /// The live generation; the first is 0.
    pub generation: u64,
    /// The generation whose use created the live one.
    pub parent: Option<u64>,
    /// The highest generation that is known to have reached the client.
    pub confirmed: Option<u64>,
    /// The time at which the parent was first used. If it lies in the future by more than a window,
    /// the clock was wrong, and the time counts as outside the window.
    pub rotated_at: Option<Timestamp>,
    /// The number of consecutive responses to a late parent since a generation was last confirmed.
    pub reissues: u32,
    /// The time at which the live generation was created.
    pub used_at: Timestamp,
    /// The idle timeout.
    pub idle: Duration,
    /// The end of the maximum lifetime. A refresh does not change it.
    pub expires_at: Timestamp,
    /// `true` if the session was revoked, or its subject's epoch is newer than the session's.
    pub revoked: bool,
}

impl Family {
    /// Creates the state of a session that starts at `used_at`.
    #[must_use]
    pub fn new(used_at: Timestamp, idle: Duration, expires_at: Timestamp) -> Self {
        Self {
            generation: 0,
            parent: None,
            confirmed: None,
            rotated_at: None,
            reissues: 0,
            used_at,
            idle,
            expires_at,
            revoked: false,
        }
    }

    /// Returns the end of the session if it is not used again.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.min(self.used_at.plus(self.idle))
    }
}

/// The maximum number of sessions in a list for a user.
pub(crate) const LISTED: u32 = 100;
