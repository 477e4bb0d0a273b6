//! The store port for guests.

use std::{fmt, future::Future, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::{error::StoreError, store::port::StoreId, time::Timestamp};

/// A store of guests: one row per guest, including who claimed it and whether the claim was
/// delivered to the application.
///
/// The store compares and sets. It decides nothing: the conditions of a claim and the schedule of
/// its delivery are in this crate, which loads a guest, computes the [change](GuestChange), and
/// repeats both if the guest has changed in the meantime.
///
/// # Implementing
///
/// - Every method is one atomic operation. The store's clock is the only clock, in whole
///   milliseconds.
/// - A change is written only if the guest's [version](GuestRecord::version) is still that of
///   [`GuestChange::from`]. Of several concurrent changes of one version, exactly one is written.
/// - A change that [ends the sessions](GuestChange::ends_sessions) raises the epoch of the guest's
///   subject by one *in the same step* and writes the [`Revocation`](crate::revocation::Revocation), as
///   [`SessionStore::revoke_all`](crate::store::port::SessionStore::revoke_all) does. There is no
///   moment in which a guest is claimed and its tokens are valid. A raise needs no expected epoch,
///   because it does not depend on the current one.
///
/// [`guest_store_contract!`](crate::guest_store_contract) tests these rules.
///
/// # Cancel safety
///
/// A dropped future must not leave a change half done.
pub trait GuestStore: Send + Sync + 'static {
    /// Inserts a new guest, with the current time as its last write and 0 as its version. Returns
    /// `false` if a guest of this subject exists. Never overwrites.
    fn create_guest(
        &self,
        guest: NewGuest,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Reads a guest in any state.
    fn find_guest(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Option<LoadedGuest>, StoreError>> + Send;

    /// Writes a change as one transaction. Returns `false` if the guest is no longer as it was
    /// loaded, and then changes nothing.
    fn change_guest(
        &self,
        change: GuestChange,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns at most `limit` guests with a claim that is due ([`GuestClaim::due_at`]), oldest first.
    fn due_claims(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<LoadedGuest>, StoreError>> + Send;

    /// Deletes at most `limit` guests that expired at least a day ago, except those with a pending
    /// claim. Returns the number of deleted guests.
    fn purge_guests(&self, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns the identity of the session store whose sessions a change ends: that of
    /// [`SessionStore::users`](crate::store::port::SessionStore::users).
    ///
    /// With it, [`Guests`](crate::server::session::Guests) refuse sessions of another store.
    fn sessions(&self) -> Option<StoreId> {
        None
    }
}

/// A guest to insert.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewGuest {
    /// The guest's subject.
    pub subject: String,
    /// The only device that may link the guest.
    pub device: Option<DeviceDigest>,
    /// The time until the guest expires.
    pub lifetime: Duration,
}

impl NewGuest {
    /// Creates a guest that no device is bound to.
    #[must_use]
    pub fn new(subject: impl Into<String>, lifetime: Duration) -> Self {
        Self {
            subject: subject.into(),
            device: None,
            lifetime,
        }
    }
}

/// A guest as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestRecord {
    /// The guest's subject.
    pub subject: String,
    /// The number of changes since the guest was created.
    pub version: u64,
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

impl GuestRecord {
    /// Creates the record of a guest that was never changed and expires immediately.
    #[must_use]
    pub fn new(subject: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            subject: subject.into(),
            version: 0,
            device: None,
            created_at,
            written_at: created_at,
            expires_at: created_at,
            promoted_at: None,
            claim: None,
        }
    }

    /// Returns `true` if the guest may write: it is neither claimed nor promoted nor expired.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.claim.is_none() && self.promoted_at.is_none() && now < self.expires_at
    }
}

/// A user's claim of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestClaim {
    /// The user.
    pub user: String,
    /// The time of the claim.
    pub at: Timestamp,
    /// The number of times that a worker took the claim to deliver it to the application.
    pub attempts: u32,
    /// The time at which the next worker may take the claim; `None` if it was delivered.
    pub due_at: Option<Timestamp>,
}

impl GuestClaim {
    /// Creates a claim that was delivered.
    #[must_use]
    pub fn new(user: impl Into<String>, at: Timestamp) -> Self {
        Self {
            user: user.into(),
            at,
            attempts: 0,
            due_at: None,
        }
    }

    /// Returns `true` if the claim was delivered to the application.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.due_at.is_none()
    }
}

/// A guest, and the current time of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedGuest {
    /// The guest.
    pub guest: GuestRecord,
    /// The store's time.
    pub now: Timestamp,
}

impl LoadedGuest {
    /// Creates the result of a load.
    #[must_use]
    pub fn new(guest: GuestRecord, now: Timestamp) -> Self {
        Self { guest, now }
    }
}

/// A change of a guest: the expected row and the row after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestChange {
    /// The guest as it was loaded.
    pub from: GuestRecord,
    /// The guest after the change. Its version is one higher. Its subject, device, creation and
    /// expiry are those of `from`.
    pub to: GuestRecord,
}

impl GuestChange {
    pub(crate) fn new(from: GuestRecord, change: impl FnOnce(&mut GuestRecord)) -> Self {
        let mut to = from.clone();
        change(&mut to);
        to.version = from.version.saturating_add(1);
        Self { from, to }
    }

    /// Returns `true` if the guest becomes claimed or promoted, which ends all its sessions.
    #[must_use]
    pub fn ends_sessions(&self) -> bool {
        let is_over = |guest: &GuestRecord| guest.claim.is_some() || guest.promoted_at.is_some();
        is_over(&self.to) && !is_over(&self.from)
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
