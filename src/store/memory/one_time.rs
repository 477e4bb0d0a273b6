//! One-time tokens.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use super::{MemoryStore, Searched};
use crate::{
    error::StoreError,
    store::port::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, SpentOneTime},
    time::Timestamp,
};

#[derive(Default)]
pub(super) struct Tokens {
    rows: HashMap<[u8; 32], Row>,
    searched: Searched,
}

pub(super) struct Row {
    purpose: OneTimePurpose,
    subject: String,
    email: Option<String>,
    epoch: Option<u32>,
    expires_at: Timestamp,
}

impl MemoryStore {
    fn one_time(&self) -> MutexGuard<'_, Tokens> {
        let tokens = self.shared.one_time.lock();
        tokens.unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn one_time_len(&self) -> usize {
        self.one_time().rows.len()
    }

    pub(super) fn purge_one_time(&self, limit: u32) -> u64 {
        let mut tokens = self.one_time();
        let now = self.now();
        let over = tokens.rows.iter().filter(|(_, row)| now >= row.expires_at);
        let over: Vec<_> = over
            .map(|(digest, _)| *digest)
            .take(limit as usize)
            .collect();
        for digest in &over {
            tokens.rows.remove(digest);
        }
        over.len() as u64
    }
}

impl OneTimeStore for MemoryStore {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        let mut tokens = self.one_time();
        let now = self.now();
        if tokens.rows.len() >= MOST && tokens.searched.is_due(now) {
            tokens.rows.retain(|_, row| now < row.expires_at);
        }
        if tokens.rows.len() >= MOST {
            return Err(StoreError::unavailable(
                "the store has no room for another token",
            ));
        }
        let row = Row {
            purpose: token.purpose,
            subject: token.subject,
            email: token.email,
            epoch: token.epoch,
            expires_at: now.plus(token.lifetime),
        };
        tokens.rows.entry(*token.digest.as_bytes()).or_insert(row);
        Ok(())
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        let mut tokens = self.one_time();
        let now = self.now();
        let key = digest.as_bytes();
        if tokens
            .rows
            .get(key)
            .is_none_or(|row| row.purpose != purpose)
        {
            return Ok(None);
        }
        let spent = tokens.rows.remove(key).filter(|row| now < row.expires_at);
        Ok(spent.map(|row| SpentOneTime::new(row.subject, row.email, row.epoch)))
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        let mut tokens = self.one_time();
        tokens
            .rows
            .retain(|_, row| row.subject != subject || row.purpose != purpose);
        Ok(())
    }
}

/// The maximum number of tokens: about 20 MB.
const MOST: usize = 100_000;
