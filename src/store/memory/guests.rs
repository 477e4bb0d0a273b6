//! Guests in this process.

use std::collections::HashMap;
#[cfg(any(test, feature = "test-util"))]
use std::time::Duration;

use super::{MemoryStore, State};
use crate::{
    error::StoreError,
    store::{
        ENDED_FOR,
        port::{
            ClaimOutcome, FIRST_RETRY, GuestClaim, GuestPeek, GuestRecord, GuestStore,
            LinkCondition, NewGuest, PendingClaim, RevokeReason, judge, retry_after,
        },
    },
    time::Timestamp,
};

pub(super) type Guests = HashMap<String, Row>;

pub(super) struct Row {
    record: GuestRecord,
    /// How often its claim was taken to be told.
    attempts: u32,
    due_at: Timestamp,
}

impl MemoryStore {
    /// Makes a guest older, as if it had come, written and been claimed this much earlier.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn age_guest(&self, subject: &str, by: Duration) {
        if let Some(row) = self.lock().guests.get_mut(subject) {
            let guest = &mut row.record;
            guest.created_at = guest.created_at.minus(by);
            guest.written_at = guest.written_at.minus(by);
            guest.expires_at = guest.expires_at.minus(by);
            guest.promoted_at = guest.promoted_at.map(|at| at.minus(by));
            if let Some(claim) = &mut guest.claim {
                claim.at = claim.at.minus(by);
            }
            row.due_at = row.due_at.minus(by);
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
        // As many as there may be sessions: a flood of guests must not take all of the memory.
        let max = state.max_sessions;
        if state.guests.len() >= max && state.searched_guests.is_due(now) {
            state.forget_guests(now, usize::MAX, |row| row.record.expires_at);
        }
        if state.guests.len() >= max {
            return Err(StoreError::unavailable("the store is full of guests"));
        }
        let record = GuestRecord {
            subject: guest.subject.clone(),
            device: guest.device,
            created_at: now,
            written_at: now,
            expires_at: now.plus(guest.lifetime),
            promoted_at: None,
            claim: None,
        };
        let row = Row {
            record,
            attempts: 0,
            due_at: now,
        };
        state.guests.insert(guest.subject, row);
        Ok(true)
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<GuestPeek>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let guest = state.guests.get(subject).map(|row| row.record.clone());
        Ok(guest.map(|guest| GuestPeek { guest, now }))
    }

    async fn touch_guest(&self, subject: &str) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        Ok(match state.guests.get_mut(subject) {
            Some(row) if row.record.is_alive(now) => {
                row.record.written_at = now;
                true
            }
            _ => false,
        })
    }

    async fn claim_guest(
        &self,
        link: LinkCondition,
        user: &str,
    ) -> Result<ClaimOutcome, StoreError> {
        self.link(&link, Some(user), |row, now| {
            row.record.claim = Some(GuestClaim {
                user: user.to_owned(),
                at: now,
                settled: false,
            });
            row.due_at = now.plus(FIRST_RETRY);
        })
    }

    async fn promote_guest(&self, link: LinkCondition) -> Result<ClaimOutcome, StoreError> {
        self.link(&link, None, |row, now| row.record.promoted_at = Some(now))
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<PendingClaim>, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let due = state.guests.values_mut();
        let mut due: Vec<_> = due
            .filter(|row| row.is_pending() && row.due_at <= now)
            .collect();
        due.sort_by_key(|row| row.due_at);
        let taken = due.into_iter().take(limit as usize);
        Ok(taken
            .filter_map(|row| {
                row.attempts += 1;
                row.due_at = now.plus(retry_after(row.attempts));
                Some(PendingClaim {
                    guest: row.record.subject.clone(),
                    user: row.record.claim.as_ref()?.user.clone(),
                    attempts: row.attempts,
                })
            })
            .collect())
    }

    async fn settle_claim(&self, guest: &str, user: &str) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let row = state.guests.get_mut(guest);
        let claim = row.and_then(|row| row.record.claim.as_mut());
        Ok(match claim {
            Some(claim) if claim.user == user && !claim.settled => {
                claim.settled = true;
                true
            }
            _ => false,
        })
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let end = |row: &Row| row.record.expires_at.plus(ENDED_FOR);
        Ok(state.forget_guests(now, limit as usize, end))
    }
}

impl MemoryStore {
    /// Decides, changes the row, and ends the guest's sessions, under one lock.
    fn link(
        &self,
        link: &LinkCondition,
        user: Option<&str>,
        change: impl FnOnce(&mut Row, Timestamp),
    ) -> Result<ClaimOutcome, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let Some(row) = state.guests.get_mut(&link.guest) else {
            return Ok(ClaimOutcome::Unknown);
        };
        if let Some(refused) = judge(&row.record, link, user, now) {
            return Ok(refused);
        }
        change(row, now);
        let epoch = self.end_all(&mut state, &link.guest, RevokeReason::Claimed, now);
        Ok(ClaimOutcome::Done { epoch })
    }
}

impl State {
    /// Forgets so many of those whose end has come, except those whose claim is pending.
    fn forget_guests(
        &mut self,
        now: Timestamp,
        limit: usize,
        end: impl Fn(&Row) -> Timestamp,
    ) -> u64 {
        let mut gone = 0;
        self.guests.retain(|_, row| {
            let keep = gone >= limit || row.is_pending() || now < end(row);
            gone += usize::from(!keep);
            keep
        });
        gone as u64
    }
}

impl Row {
    fn is_pending(&self) -> bool {
        let claim = self.record.claim.as_ref();
        claim.is_some_and(|claim| !claim.settled)
    }
}
