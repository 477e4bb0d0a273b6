//! The store port for guests.

use std::{fmt, future::Future, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::{error::StoreError, time::Timestamp};

/// A store of guests: one row per guest, including who claimed it and whether the claim was
/// delivered to the application.
///
/// # Implementing
///
/// - Every method is one atomic operation. The store's clock is the only clock, in whole
///   milliseconds.
/// - A claim or a promotion raises the epoch of the guest's subject *in the same step* and writes
///   the [`Revocation`](crate::revocation::Revocation), as
///   [`SessionStore::revoke_all`](crate::store::port::SessionStore::revoke_all) does. There is no
///   moment in which a guest is claimed and its tokens are valid.
/// - A guest is alive if it was neither claimed nor promoted and has not expired.
///
/// [`store::contract`](crate::store::contract) is the test suite that every store must pass.
///
/// # Cancel safety
///
/// A dropped future must not leave a change half done.
pub trait GuestStore: Send + Sync + 'static {
    /// Inserts a new guest, with the current time as its last write. Returns `false` if a guest of
    /// this subject exists. Never overwrites.
    fn create_guest(
        &self,
        guest: NewGuest,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Reads a guest in any state.
    fn find_guest(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Option<GuestPeek>, StoreError>> + Send;

    /// Sets the guest's last write to the current time. Returns `false` if the guest is not alive.
    fn touch_guest(&self, subject: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Assigns a guest to a user, as [`judge`] decides. Of concurrent claims exactly one wins.
    ///
    /// The claim is then pending, and due after [`FIRST_RETRY`].
    fn claim_guest(
        &self,
        link: LinkCondition,
        user: &str,
    ) -> impl Future<Output = Result<ClaimOutcome, StoreError>> + Send;

    /// Promotes a guest to an account, as [`judge`] decides. Start the account's first session with
    /// the epoch in [`ClaimOutcome::Done`].
    fn promote_guest(
        &self,
        link: LinkCondition,
    ) -> impl Future<Output = Result<ClaimOutcome, StoreError>> + Send;

    /// Returns at most `limit` pending claims that are due, oldest first. Each becomes due again
    /// after its [`retry_after`], so that only one of several workers gets it.
    fn due_claims(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<PendingClaim>, StoreError>> + Send;

    /// Marks a claim as delivered. Returns `false` if no such claim is pending.
    fn settle_claim(
        &self,
        guest: &str,
        user: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes at most `limit` guests that expired at least a day ago, except those with a pending
    /// claim. Returns the number of deleted guests.
    fn purge_guests(&self, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A guest to insert.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct NewGuest {
    /// The guest's subject.
    pub subject: String,
    /// The only device that may link the guest.
    pub device: Option<DeviceDigest>,
    /// The time until the guest expires.
    pub lifetime: Duration,
}

/// A guest as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct GuestRecord {
    /// The guest's subject.
    pub subject: String,
    /// The only device that may link the guest.
    pub device: Option<DeviceDigest>,
    /// The time at which the guest was created.
    pub created_at: Timestamp,
    /// The time of the guest's last write.
    pub written_at: Timestamp,
    /// The time at which the guest expires.
    pub expires_at: Timestamp,
    /// The time at which the guest became an account.
    pub promoted_at: Option<Timestamp>,
    /// The claim of a user.
    pub claim: Option<GuestClaim>,
}

/// A user's claim of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct GuestClaim {
    /// The user.
    pub user: String,
    /// The time of the claim.
    pub at: Timestamp,
    /// `true` if the claim was delivered to the application.
    pub settled: bool,
}

/// A guest, and the current time of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct GuestPeek {
    /// The guest.
    pub guest: GuestRecord,
    /// The store's time.
    pub now: Timestamp,
}

/// A guest to be claimed or promoted, and the conditions for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to read all of it"
)]
pub struct LinkCondition {
    /// The guest.
    pub guest: String,
    /// The requesting device. It must equal the guest's device, or be absent if the guest has none.
    pub device: Option<DeviceDigest>,
    /// The maximum time since the guest's last write.
    pub within: Duration,
}

/// The result of a claim or a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClaimOutcome {
    /// The guest was claimed or promoted by this call.
    Done {
        /// The subject's new epoch.
        epoch: u32,
    },
    /// The same user had claimed the guest before.
    Before,
    /// Another user has claimed the guest, or it became an account.
    Taken,
    /// The guest's last write is too long ago.
    Stale,
    /// The guest belongs to another device.
    OtherDevice,
    /// There is no such guest, or it has expired.
    Unknown,
}

/// A claim that was not yet delivered to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct PendingClaim {
    /// The guest.
    pub guest: String,
    /// The user.
    pub user: String,
    /// The number of times that [`GuestStore::due_claims`] returned the claim, this one included.
    pub attempts: u32,
}

/// Returns the reason why a guest cannot be claimed or promoted; `None` if it can. `user` is the
/// claiming user, or `None` for a promotion.
///
/// Stores implement this decision in their query language. This function is its specification.
#[must_use]
pub fn judge(
    guest: &GuestRecord,
    link: &LinkCondition,
    user: Option<&str>,
    now: Timestamp,
) -> Option<ClaimOutcome> {
    match &guest.claim {
        Some(claim) if Some(claim.user.as_str()) == user => return Some(ClaimOutcome::Before),
        Some(_) => return Some(ClaimOutcome::Taken),
        None => {}
    }
    if guest.promoted_at.is_some() {
        Some(ClaimOutcome::Taken)
    } else if now >= guest.expires_at {
        Some(ClaimOutcome::Unknown)
    } else if guest.device != link.device {
        Some(ClaimOutcome::OtherDevice)
    } else if now > guest.written_at.plus(link.within) {
        Some(ClaimOutcome::Stale)
    } else {
        None
    }
}

/// Returns the delay until a claim with this number of attempts is due again: 30 s, doubling up to
/// an hour.
#[must_use]
pub fn retry_after(attempts: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << attempts.min(7));
    doubled.min(LAST_RETRY)
}

/// The delay until a new claim is due for the first time. Within this time the process that made
/// the claim calls the hook itself.
pub const FIRST_RETRY: Duration = Duration::from_secs(30);
const LAST_RETRY: Duration = Duration::from_secs(60 * 60);

impl GuestRecord {
    /// Returns `true` if the guest may write: it is neither claimed nor promoted nor expired.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.claim.is_none() && self.promoted_at.is_none() && now < self.expires_at
    }
}

/// The SHA-256 digest of a guest's device secret. A store never contains the secret itself, so its
/// rows cannot link a guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceDigest([u8; 32]);

impl DeviceDigest {
    /// Returns the digest of the secret that a device presents.
    #[must_use]
    pub fn of(presented: &str) -> Self {
        Self(Sha256::digest(presented.as_bytes()).into())
    }

    /// Creates a digest from the bytes in a store.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes for a store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DeviceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceDigest(..)")
    }
}
