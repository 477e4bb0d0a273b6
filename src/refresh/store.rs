//! The port to whatever keeps the sessions.

use std::{future::Future, time::Duration};

use super::{
    decide::{Family, Outcome},
    policy::RefreshPolicy,
};
use crate::{clock::Timestamp, error::StoreError, principal::PrincipalKind, token::SessionId};

/// Keeps sessions: one row each, whatever the number of its refreshes.
///
/// # Implementing
///
/// - Every method that changes something is atomic, and a single round trip where the store allows.
/// - The store's clock is the only clock: no method is told the time. Times are whole milliseconds,
///   cut, not rounded, before anything is decided by them.
/// - A session is revoked when its own row says so, or when its [`epoch`](SessionRecord::epoch) is
///   older than its subject's; a subject that the store never heard of has the epoch 0.
/// - What ends sessions writes the [`Revocation`](crate::revoke::Revocation)s in the same step, each
///   until now plus [`LIFETIME`](crate::revoke::LIFETIME), so that every node learns of it.
/// - Nothing that it is given is a secret, and it keeps nothing that anybody could sign in with.
/// - A future that is dropped must not leave a change half done.
///
/// [`store::contract`](crate::store::contract) is the suite that every store must pass.
pub trait SessionStore: Send + Sync + 'static {
    /// Starts a session, unless the subject's epoch moved since it was read. Never overwrites one.
    fn create(
        &self,
        session: NewSession,
    ) -> impl Future<Output = Result<Creation, StoreError>> + Send;

    /// Reads a session. It writes nothing.
    fn peek(&self, id: SessionId) -> impl Future<Output = Result<Option<Peek>, StoreError>> + Send;

    /// Decides about a presented generation, which is below 2⁵³, and makes the change, as [`decide`](super::decide)
    /// and [`apply`](super::apply) do, in one step. `None`: no such session.
    ///
    /// Of a reused one it also writes the revocation.
    fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        policy: RefreshPolicy,
    ) -> impl Future<Output = Result<Option<Rotation>, StoreError>> + Send;

    /// Notes that a generation reached its client, as [`confirm`](super::confirm) does. Of another
    /// generation than the live one, or of no session: nothing.
    fn confirm(
        &self,
        id: SessionId,
        generation: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a session; `false` where there was none alive. One that has expired or was not used for
    /// too long is marked as well, and its revocation written: its access tokens may outlive it.
    fn revoke(
        &self,
        id: SessionId,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends the subject's other sessions, as [`revoke`](Self::revoke) does, and says which of them
    /// were alive.
    fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Ends all of the subject's sessions by raising its epoch, in one atomic step: a login that
    /// read the old epoch creates nothing. Says the new epoch.
    fn revoke_all(
        &self,
        subject: &str,
        reason: RevokeReason,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// The subject's epoch: to be read before its password is looked at, for
    /// [`NewSession::epoch`].
    fn epoch(&self, subject: &str) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// The subject's sessions that are alive, the one used last first; 100 at most.
    fn list(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;

    /// Deletes at most `limit` sessions that ended a while ago (a day after their end, or a week
    /// after they were revoked) and as many revocations that ended; says how many rows went. A store
    /// may do so by itself as well. This crate's stores delete at most as many of whatever else ends in
    /// them, except guests.
    ///
    /// It is called again at once where `limit` or more went, and by several nodes at the same time:
    /// what one is deleting, another must not wait for.
    fn purge(&self, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A session to be started.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct NewSession {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub subject: String,
    /// What kind of subject that is.
    pub kind: PrincipalKind,
    /// The subject's epoch as it was read before the subject was authenticated; `None`: whatever
    /// it is now.
    pub epoch: Option<u32>,
    /// How long it lives unused.
    pub idle: Duration,
    /// How long it lives.
    pub lifetime: Duration,
    /// What else is known about it, as a JSON object; the store does not look into it.
    pub details: String,
}

/// What became of a session to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Creation {
    /// It was started.
    Created(SessionRecord),
    /// The subject's epoch has moved: whoever ended all sessions ended this one too.
    EpochMoved,
    /// There is one of this name. It stays as it is.
    Exists,
}

/// A session, and the time by the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct Peek {
    /// The session.
    pub session: SessionRecord,
    /// The store's time.
    pub now: Timestamp,
}

/// What became of a presented generation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct Rotation {
    /// What was decided.
    pub outcome: Outcome,
    /// The session as it is now.
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
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub subject: String,
    /// What kind of subject that is.
    pub kind: PrincipalKind,
    /// The subject's epoch when it was started.
    pub epoch: u32,
    /// The state of its refresh tokens.
    pub family: Family,
    /// When it was started.
    pub created_at: Timestamp,
    /// Why it was ended, where its row says so.
    pub revoked: Option<RevokeReason>,
    /// What else is known about it, as a JSON object.
    pub details: String,
}

/// Why a session was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeReason {
    /// Its user signed out.
    Logout,
    /// A spent refresh token was used.
    Reuse,
    /// Its user's credentials changed.
    CredentialsChanged,
    /// An operator ended it.
    Administrative,
    /// A guest became a user.
    Claimed,
    /// Its subject had too many, and this one was used least.
    Displaced,
}

impl RevokeReason {
    /// The number that stores keep.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Logout => 1,
            Self::Reuse => 2,
            Self::CredentialsChanged => 3,
            Self::Administrative => 4,
            Self::Claimed => 5,
            Self::Displaced => 6,
        }
    }

    /// The reason of this number.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            1 => Self::Logout,
            2 => Self::Reuse,
            3 => Self::CredentialsChanged,
            4 => Self::Administrative,
            5 => Self::Claimed,
            6 => Self::Displaced,
            _ => return None,
        })
    }
}

/// How many of a subject's sessions are listed.
pub(crate) const LISTED: usize = 100;
