//! Guests.

use std::collections::HashMap;
#[cfg(any(test, feature = "test-util"))]
use std::time::Duration;

use super::{MemoryStore, State};
use crate::{
    error::StoreError,
    store::{
        ENDED_FOR,
        port::{
            GuestChange, GuestRecord, GuestStore, LoadedGuest, NewGuest, RevokeReason, StoreId,
        },
    },
    time::Timestamp,
};

pub(super) type Guests = HashMap<String, GuestRecord>;

impl MemoryStore {
    /// Subtracts this duration from all times of a guest.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn age_guest(&self, subject: &str, by: Duration) {
        if let Some(guest) = self.lock().guests.get_mut(subject) {
            guest.created_at = guest.created_at.minus(by);
            guest.written_at = guest.written_at.minus(by);
            guest.expires_at = guest.expires_at.minus(by);
            guest.promoted_at = guest.promoted_at.map(|at| at.minus(by));
            if let Some(claim) = &mut guest.claim {
                claim.at = claim.at.minus(by);
                claim.due_at = claim.due_at.map(|at| at.minus(by));
            }
        }
    }
}

impl GuestStore for MemoryStore {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        if state.guests.contains_key(&guest.subject) {
            return Ok(false);
        }
        // The limit is that of the sessions: a flood of guests must not exhaust the memory.
        let max = state.max_sessions;
        if state.guests.len() >= max && state.searched_guests.is_due(now) {
            state.forget_guests(now, usize::MAX, |guest| guest.expires_at);
        }
        if state.guests.len() >= max {
            return Err(StoreError::unavailable(
                "the store has no room for another guest",
            ));
        }
        let mut record = GuestRecord::new(&guest.subject, now);
        record.device = guest.device;
        record.expires_at = now.plus(guest.lifetime);
        state.guests.insert(guest.subject, record);
        Ok(true)
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<LoadedGuest>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let guest = state.guests.get(subject).cloned();
        Ok(guest.map(|guest| LoadedGuest::new(guest, now)))
    }

    async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let ends_sessions = change.ends_sessions();
        let GuestChange { from, to, .. } = change;
        let guest = state.guests.get_mut(&from.subject);
        let Some(guest) = guest.filter(|guest| guest.version == from.version) else {
            return Ok(false);
        };
        *guest = to;
        if ends_sessions {
            self.end_all(&mut state, &from.subject, RevokeReason::Claimed, now);
        }
        Ok(true)
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<LoadedGuest>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let due_at = |guest: &GuestRecord| guest.claim.as_ref()?.due_at;
        let guests = state.guests.values();
        let mut due: Vec<_> = guests
            .filter(|guest| due_at(guest).is_some_and(|at| at <= now))
            .collect();
        due.sort_by_key(|guest| due_at(guest));
        let due = due.into_iter().take(limit as usize).cloned();
        Ok(due.map(|guest| LoadedGuest::new(guest, now)).collect())
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let end = |guest: &GuestRecord| guest.expires_at.plus(ENDED_FOR);
        Ok(state.forget_guests(now, limit as usize, end))
    }

    fn sessions(&self) -> Option<StoreId> {
        Some(self.shared.id)
    }
}

impl State {
    /// Deletes at most `limit` expired guests, except those with a pending claim.
    fn forget_guests(
        &mut self,
        now: Timestamp,
        limit: usize,
        end: impl Fn(&GuestRecord) -> Timestamp,
    ) -> u64 {
        let mut gone = 0;
        self.guests.retain(|_, guest| {
            let claim = guest.claim.as_ref();
            let is_pending = claim.is_some_and(|claim| !claim.is_settled());
            let keep = gone >= limit || is_pending || now < end(guest);
            gone += usize::from(!keep);
            keep
        });
        gone as u64
    }
}
