//! The decisions about a guest, each of which loads, decides and changes until no other node has
//! changed the guest in between.

use std::time::Duration;

use super::DeviceDigest;
use crate::{
    error::StoreError,
    server::session::is_interrupted,
    store::port::{ErasedGuestStore, GuestChange, GuestClaim, GuestRecord, LoadedGuest},
    task::Contention,
    time::Timestamp,
};

/// A guest to be claimed or promoted, and the conditions for it.
#[derive(Clone, Debug)]
pub(super) struct LinkCondition {
    pub(super) guest: String,
    /// The requesting device. It must equal the guest's device, or be absent if the guest has none.
    pub(super) device: Option<DeviceDigest>,
    /// The maximum time since the guest's last write.
    pub(super) within: Duration,
}

/// The result of a claim or a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimOutcome {
    /// The guest was claimed or promoted by this call.
    Done,
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

/// Returns the reason why a guest cannot be claimed or promoted; `None` if it can. `user` is the
/// claiming user, or `None` for a promotion.
fn judge(
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
fn retry_after(attempts: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << attempts.min(7));
    doubled.min(LAST_RETRY)
}

/// Assigns a guest to a user, or promotes it if there is none, and ends its sessions. Of concurrent
/// calls exactly one is [`Done`](ClaimOutcome::Done).
///
/// A claim is then pending, and due after [`FIRST_RETRY`].
pub(super) async fn link(
    store: &dyn ErasedGuestStore,
    link: &LinkCondition,
    user: Option<&str>,
) -> Result<ClaimOutcome, StoreError> {
    let mut contention = Contention::new();
    // The guest after a change whose answer was lost.
    let mut unanswered: Option<GuestRecord> = None;
    loop {
        let Some(LoadedGuest { guest, now }) = store.find_guest(&link.guest).await? else {
            return Ok(ClaimOutcome::Unknown);
        };
        if unanswered.as_ref() == Some(&guest) {
            return Ok(ClaimOutcome::Done);
        }
        if let Some(refused) = judge(&guest, link, user, now) {
            return Ok(refused);
        }
        let change = GuestChange::new(guest, |to| match user {
            Some(user) => {
                let mut claim = GuestClaim::new(user, now);
                claim.due_at = Some(now.plus(FIRST_RETRY));
                to.claim = Some(claim);
            }
            None => to.promoted_at = Some(now),
        });
        let to = change.to.clone();
        match store.change_guest(change).await {
            Ok(true) => return Ok(ClaimOutcome::Done),
            Ok(false) => {}
            lost if is_interrupted(&lost) && unanswered.is_none() => {
                unanswered = Some(to);
                continue;
            }
            Err(error) => return Err(error),
        }
        wait(&mut contention).await?;
    }
}

/// Sets the guest's last write to the current time. Returns `false` if the guest is not alive.
pub(super) async fn touch(store: &dyn ErasedGuestStore, subject: &str) -> Result<bool, StoreError> {
    let mut contention = Contention::new();
    let mut since = None;
    loop {
        let Some(LoadedGuest { guest, now }) = store.find_guest(subject).await? else {
            return Ok(false);
        };
        if !guest.is_alive(now) {
            return Ok(false);
        }
        // A concurrent write has the same effect.
        if guest.written_at >= *since.get_or_insert(now) {
            return Ok(true);
        }
        let change = GuestChange::new(guest, |to| to.written_at = now);
        if store.change_guest(change).await? {
            return Ok(true);
        }
        wait(&mut contention).await?;
    }
}

/// Takes a due claim, which becomes due again later. Returns the guest and the user; `None` if
/// another worker has the claim.
pub(super) async fn take(
    store: &dyn ErasedGuestStore,
    due: LoadedGuest,
) -> Result<Option<(String, String)>, StoreError> {
    let LoadedGuest { guest, now } = due;
    let Some(user) = guest.claim.as_ref().map(|claim| claim.user.clone()) else {
        return Ok(None);
    };
    let subject = guest.subject.clone();
    let change = GuestChange::new(guest, |to| {
        if let Some(claim) = &mut to.claim {
            claim.attempts = claim.attempts.saturating_add(1);
            claim.due_at = Some(now.plus(retry_after(claim.attempts)));
        }
    });
    let taken = store.change_guest(change).await?;
    Ok(taken.then_some((subject, user)))
}

/// Marks a claim as delivered. Does nothing if no such claim is pending.
pub(super) async fn settle(
    store: &dyn ErasedGuestStore,
    guest: &str,
    user: &str,
) -> Result<(), StoreError> {
    let mut contention = Contention::new();
    loop {
        let Some(LoadedGuest { guest, .. }) = store.find_guest(guest).await? else {
            return Ok(());
        };
        let pending = guest.claim.as_ref();
        if !pending.is_some_and(|claim| claim.user == user && !claim.is_settled()) {
            return Ok(());
        }
        let change = GuestChange::new(guest, |to| {
            if let Some(claim) = &mut to.claim {
                claim.due_at = None;
            }
        });
        if store.change_guest(change).await? {
            return Ok(());
        }
        wait(&mut contention).await?;
    }
}

async fn wait(contention: &mut Contention) -> Result<(), StoreError> {
    match contention.wait().await {
        true => Ok(()),
        false => Err(StoreError::unavailable(
            "other nodes keep changing the same guest",
        )),
    }
}

/// The delay until a new claim is due for the first time. Within this time the process that made
/// the claim calls the hook itself.
pub(super) const FIRST_RETRY: Duration = Duration::from_secs(30);
const LAST_RETRY: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
