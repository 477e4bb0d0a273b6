//! The store port for sessions.

use std::{future::Future, time::Duration};

use crate::server::refresh::{Family, RefreshOutcome, RefreshPolicy};
use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    time::Timestamp,
};

/// A store of sessions: one row per session, however often it is refreshed.
///
/// # Implementing
///
/// - Every method that changes something is atomic, and a single round trip if the store supports
///   that.
/// - The store's clock is the only clock: no method takes the time as an argument. Times are whole
///   milliseconds, truncated before any comparison.
/// - A session is revoked if its row says so, or if its [`epoch`](SessionRecord::epoch) is older
///   than its subject's. An unknown subject has the epoch 0.
/// - A method that ends sessions writes the [`Revocation`](crate::revocation::Revocation)s in the same
///   step, each until now plus [`RETENTION`](crate::revocation::RETENTION), so that every node receives
///   them.
/// - No argument is a secret, and no content of the store lets a reader sign in.
/// - A dropped future must not leave a change half done.
///
/// [`store::contract`](crate::store::contract) is the test suite that every store must pass.
pub trait SessionStore: Send + Sync + 'static {
    /// Inserts a session, unless the subject's epoch has changed since it was read. Never
    /// overwrites.
    fn create(
        &self,
        session: NewSessionRecord,
    ) -> impl Future<Output = Result<CreateOutcome, StoreError>> + Send;

    /// Reads a session without a write.
    fn peek(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<LoadedSession>, StoreError>> + Send;

    /// Decides about a presented generation, which is below 2⁵³, and writes the result, as
    /// [`decide`](crate::server::refresh::decide) and [`apply`](crate::server::refresh::apply) specify, in one step. Returns `None`
    /// if there is no such session.
    ///
    /// If the outcome is a reuse, the revocation is written in the same step.
    fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        policy: RefreshPolicy,
    ) -> impl Future<Output = Result<Option<Rotation>, StoreError>> + Send;

    /// Records that a generation reached its client, as [`confirm`](crate::server::refresh::confirm) specifies. Does
    /// nothing if the generation is not the live one or the session does not exist.
    fn confirm(
        &self,
        id: SessionId,
        generation: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a session. Returns `false` if it was not alive.
    ///
    /// An expired or idle session is marked as revoked too and its revocation is written, because
    /// its access tokens may outlive it.
    fn revoke(
        &self,
        id: SessionId,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends the subject's other sessions, as [`revoke`](Self::revoke) does. Returns those that were
    /// alive.
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

    /// Returns the subject's live sessions, the most recently used first; 100 at most.
    fn list(
        &self,
        subject: &str,
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
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
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
    /// Further data, as a JSON object that is opaque to the store.
    pub details: String,
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
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct LoadedSession {
    /// The session.
    pub session: SessionRecord,
    /// The store's time.
    pub now: Timestamp,
}

/// The result of [`SessionStore::rotate`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct Rotation {
    /// The decision.
    pub outcome: RefreshOutcome,
    /// The session after the decision.
    pub session: SessionRecord,
    /// The store's time.
    pub now: Timestamp,
}

/// A session as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
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
    /// Further data, as a JSON object.
    pub details: String,
}

/// The reason why a session was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeReason {
    /// The user logged out.
    Logout,
    /// A spent refresh token was presented.
    ReuseKind,
    /// The user's credentials changed.
    CredentialsChanged,
    /// An operator revoked it.
    Administrative,
    /// A guest was claimed by a user or became an account.
    Claimed,
    /// The subject had too many sessions, and this one was used least recently.
    Displaced,
}

impl RevokeReason {
    /// Returns the number by which stores persist the reason.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Logout => 1,
            Self::ReuseKind => 2,
            Self::CredentialsChanged => 3,
            Self::Administrative => 4,
            Self::Claimed => 5,
            Self::Displaced => 6,
        }
    }

    /// Returns the reason with this number.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            1 => Self::Logout,
            2 => Self::ReuseKind,
            3 => Self::CredentialsChanged,
            4 => Self::Administrative,
            5 => Self::Claimed,
            6 => Self::Displaced,
            _ => return None,
        })
    }
}

/// The maximum number of sessions in a list.
pub(crate) const LISTED: usize = 100;
