//! Second factors.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use super::MemoryStore;
use crate::{
    error::StoreError,
    store::port::{FactorStore, StoredFactors},
};

/// The rows, each with its revision.
pub(super) type Factors = HashMap<String, (u64, String)>;

impl MemoryStore {
    fn factors(&self) -> MutexGuard<'_, Factors> {
        let factors = self.shared.factors.lock();
        factors.unwrap_or_else(PoisonError::into_inner)
    }
}

impl FactorStore for MemoryStore {
    async fn load_factors(&self, subject: &str) -> Result<StoredFactors, StoreError> {
        let factors = self.factors();
        let now = self.now();
        Ok(match factors.get(subject) {
            Some((revision, text)) => StoredFactors::new(*revision, text, now),
            None => StoredFactors::absent(now),
        })
    }

    async fn swap_factors(
        &self,
        subject: &str,
        from: u64,
        to: u64,
        factors: &str,
    ) -> Result<bool, StoreError> {
        let mut rows = self.factors();
        let revision = rows.get(subject).map_or(0, |(revision, _)| *revision);
        let same = revision == from;
        if same {
            rows.insert(subject.to_owned(), (to, factors.to_owned()));
        }
        Ok(same)
    }
}
