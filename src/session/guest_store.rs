//! The port to whatever keeps the guests.

use std::{fmt, future::Future, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::{clock::Timestamp, error::StoreError};

/// Keeps guests: one row each, from which it is also read who claimed a guest and whether the
/// application was told.
///
/// # Implementing
///
/// - Every method is one atomic operation. The store's clock is the only clock, in whole
///   milliseconds.
/// - Whatever ends a guest, a claim or a promotion, raises the epoch of its subject *in the same
///   step* and writes the [`Revocation`](crate::revoke::Revocation), as
///   [`SessionStore::revoke_all`](crate::refresh::SessionStore::revoke_all) does: there is no moment
///   in which a guest is claimed and its tokens are good.
/// - A guest is alive while it was neither claimed nor promoted and has not expired.
///
/// [`store::contract`](crate::store::contract) is the suite that every store must pass.
///
/// # Cancel safety
///
/// A future that is dropped must not leave a change half done.
pub trait GuestStore: Send + Sync + 'static {
    /// Keeps a new guest, last written now; `false` where there is one of this name. Never
    /// overwrites.
    fn create_guest(
        &self,
        guest: NewGuest,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Reads a guest, in whatever state it is.
    fn find_guest(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Option<GuestPeek>, StoreError>> + Send;

    /// Notes that the guest wrote something just now; `false` where it is not alive.
    fn touch_guest(&self, subject: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Gives a guest to a user, as [`judge`] decides. Of many at once exactly one wins.
    ///
    /// The claim is pending from then on, and due after [`FIRST_RETRY`].
    fn claim_guest(
        &self,
        link: GuestLink,
        user: &str,
    ) -> impl Future<Output = Result<Linking, StoreError>> + Send;

    /// Makes an account of a guest, as [`judge`] decides. The epoch that [`Linking::Done`] brings is
    /// the one that the account's first session is started with.
    fn promote_guest(
        &self,
        link: GuestLink,
    ) -> impl Future<Output = Result<Linking, StoreError>> + Send;

    /// Takes at most `limit` pending claims that are due, the oldest first, and makes each due again
    /// after its [`retry_after`], so that of several workers one gets it.
    fn due_claims(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<PendingClaim>, StoreError>> + Send;

    /// Ends the pending of a claim; `false` where there is no such pending one.
    fn settle_claim(
        &self,
        guest: &str,
        user: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes at most `limit` guests that expired a day ago, except those whose claim is pending;
    /// says how many.
    fn purge_guests(&self, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A guest to be kept.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct NewGuest {
    /// Its subject.
    pub subject: String,
    /// The device that alone may link it.
    pub device: Option<DeviceDigest>,
    /// How long it is kept.
    pub lifetime: Duration,
}

/// A guest as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct GuestRecord {
    /// Its subject.
    pub subject: String,
    /// The device that alone may link it.
    pub device: Option<DeviceDigest>,
    /// When it came.
    pub created_at: Timestamp,
    /// When it last wrote something.
    pub written_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// When it became an account.
    pub promoted_at: Option<Timestamp>,
    /// Who claimed it.
    pub claim: Option<Claim>,
}

/// Who claimed a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct Claim {
    /// The user.
    pub user: String,
    /// When.
    pub at: Timestamp,
    /// Whether the application was told.
    pub settled: bool,
}

/// A guest, and the time by the store's clock.
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

/// What is asked of a guest that shall be claimed or promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to read all of it"
)]
pub struct GuestLink {
    /// The guest.
    pub guest: String,
    /// The device that asks: the guest's own, or none where the guest has none.
    pub device: Option<DeviceDigest>,
    /// How long ago the guest may have written last.
    pub within: Duration,
}

/// What became of a claim or a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Linking {
    /// It was done, just now. The epoch is the guest's new one.
    Done {
        /// The subject's epoch since then.
        epoch: u32,
    },
    /// This user had claimed it before.
    Before,
    /// Somebody else has, or it became an account.
    Taken,
    /// It last wrote too long ago.
    Stale,
    /// It belongs to another device.
    OtherDevice,
    /// There is no such guest, or it has expired.
    Unknown,
}

/// A claim that the application has not been told of.
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
    /// How often it was taken by [`GuestStore::due_claims`], this time included.
    pub attempts: u32,
}

/// Why a guest is not given away; `None`: it may be. `user` is who claims, or nobody for a
/// promotion.
///
/// Stores make this decision in their own language; this is what it means.
#[must_use]
pub fn judge(
    guest: &GuestRecord,
    link: &GuestLink,
    user: Option<&str>,
    now: Timestamp,
) -> Option<Linking> {
    match &guest.claim {
        Some(claim) if Some(claim.user.as_str()) == user => return Some(Linking::Before),
        Some(_) => return Some(Linking::Taken),
        None => {}
    }
    if guest.promoted_at.is_some() {
        Some(Linking::Taken)
    } else if now >= guest.expires_at {
        Some(Linking::Unknown)
    } else if guest.device != link.device {
        Some(Linking::OtherDevice)
    } else if now > guest.written_at.plus(link.within) {
        Some(Linking::Stale)
    } else {
        None
    }
}

/// After how long a claim that was taken so often is due again: half a minute, doubling to an hour.
#[must_use]
pub fn retry_after(attempts: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << attempts.min(7));
    doubled.min(LAST_RETRY)
}

/// When a claim is due for the first time: whoever made it tells the application at once, and has
/// this long.
pub const FIRST_RETRY: Duration = Duration::from_secs(30);
const LAST_RETRY: Duration = Duration::from_secs(60 * 60);

impl GuestRecord {
    /// Whether it may write: neither claimed nor promoted nor expired.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.claim.is_none() && self.promoted_at.is_none() && now < self.expires_at
    }
}

/// The digest of what a guest's device holds (SHA-256): a store keeps nothing that could link.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceDigest([u8; 32]);

impl DeviceDigest {
    /// Of what a device presents.
    #[must_use]
    pub fn of(presented: &str) -> Self {
        Self(Sha256::digest(presented.as_bytes()).into())
    }

    /// The digest that a store kept.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What a store keeps.
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
