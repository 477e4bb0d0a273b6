//! Second factors.

use super::AnyStore;
use crate::{
    error::StoreError,
    store::port::{FactorStore, StoredFactors},
};

impl FactorStore for AnyStore {
    async fn load_factors(&self, subject: &str) -> Result<StoredFactors, StoreError> {
        each!(self, Self, store => store.load_factors(subject))
    }

    async fn swap_factors(
        &self,
        subject: &str,
        from: u64,
        to: u64,
        factors: &str,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.swap_factors(subject, from, to, factors))
    }
}
