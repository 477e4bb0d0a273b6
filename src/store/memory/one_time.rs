//! One-time tokens.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{MutexGuard, PoisonError},
};

use super::MemoryStore;
use crate::{
    error::StoreError,
    store::port::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, SpentOneTime},
    time::Timestamp,
};

/// The tokens of each purpose, with a limit of its own.
///
/// A full purpose drops its oldest token for a new one. Anonymous clients cause tokens of some purposes, so that
/// a store which refused new ones could be closed to everyone else.
#[derive(Default)]
pub(super) struct Tokens(HashMap<OneTimePurpose, OfPurpose>);

#[derive(Default)]
struct OfPurpose {
    rows: HashMap<[u8; 32], Row>,
    /// The tokens in the order in which they were issued.
    order: BTreeMap<u64, [u8; 32]>,
    /// The places in the order of the tokens of each user.
    of_users: HashMap<String, BTreeSet<u64>>,
    issued: u64,
}

struct Row {
    place: u64,
    subject: String,
    email: Option<String>,
    epoch: Option<u32>,
    expires_at: Timestamp,
}

impl OfPurpose {
    fn insert(&mut self, token: NewOneTime, now: Timestamp) {
        while self.rows.len() >= most(token.purpose)
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.issued += 1;
        let (place, digest) = (self.issued, *token.digest.as_bytes());
        self.order.insert(place, digest);
        if token.purpose.has_owner() {
            let places = self.of_users.entry(token.subject.clone()).or_default();
            places.insert(place);
        }
        let row = Row {
            place,
            subject: token.subject,
            email: token.email,
            epoch: token.epoch,
            expires_at: now.plus(token.lifetime),
        };
        self.rows.insert(digest, row);
    }

    fn remove(&mut self, digest: &[u8; 32]) -> Option<Row> {
        let row = self.rows.remove(digest)?;
        self.order.remove(&row.place);
        if let Some(places) = self.of_users.get_mut(&row.subject) {
            places.remove(&row.place);
            if places.is_empty() {
                self.of_users.remove(&row.subject);
            }
        }
        Some(row)
    }

    fn forget(&mut self, subject: &str) {
        for place in self.of_users.remove(subject).unwrap_or_default() {
            if let Some(digest) = self.order.remove(&place) {
                self.rows.remove(&digest);
            }
        }
    }

    /// Removes expired tokens, at most so many. Returns their number.
    fn purge(&mut self, limit: usize, now: Timestamp) -> usize {
        let over = self.rows.iter().filter(|(_, row)| now >= row.expires_at);
        let over: Vec<_> = over.map(|(digest, _)| *digest).take(limit).collect();
        for digest in &over {
            self.remove(digest);
        }
        over.len()
    }
}

impl MemoryStore {
    fn one_time(&self) -> MutexGuard<'_, Tokens> {
        let tokens = self.shared.one_time.lock();
        tokens.unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn one_time_len(&self) -> usize {
        self.one_time().0.values().map(|of| of.rows.len()).sum()
    }

    pub(super) fn purge_one_time(&self, limit: u32) -> u64 {
        let mut tokens = self.one_time();
        let now = self.now();
        let mut left = limit as usize;
        for of_purpose in tokens.0.values_mut() {
            left -= of_purpose.purge(left, now);
        }
        u64::from(limit) - left as u64
    }
}

impl OneTimeStore for MemoryStore {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        let mut tokens = self.one_time();
        let now = self.now();
        let digest = token.digest.as_bytes();
        let exists = tokens.0.values().any(|of| of.rows.contains_key(digest));
        if !exists {
            let of_purpose = tokens.0.entry(token.purpose).or_default();
            of_purpose.insert(token, now);
        }
        Ok(())
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        let mut tokens = self.one_time();
        let now = self.now();
        let of_purpose = tokens.0.get_mut(&purpose);
        let spent = of_purpose.and_then(|of| of.remove(digest.as_bytes()));
        let spent = spent.filter(|row| now < row.expires_at);
        Ok(spent.map(|row| SpentOneTime::new(row.subject, row.email, row.epoch)))
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        if let Some(of_purpose) = self.one_time().0.get_mut(&purpose) {
            of_purpose.forget(subject);
        }
        Ok(())
    }
}

/// The maximum number of tokens: about 30 MB for all purposes. Flows are small, and a page may begin one whenever
/// it is opened.
const fn most(purpose: OneTimePurpose) -> usize {
    match purpose {
        OneTimePurpose::Flow => 100_000,
        _ => 20_000,
    }
}
