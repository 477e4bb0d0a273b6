//! Second factors.

use super::{RedisStore, scripts};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    store::port::{FactorStore, StoredFactors},
    time::Timestamp,
};

impl FactorStore for RedisStore {
    async fn load_factors(&self, subject: &str) -> Result<StoredFactors, StoreError> {
        let call = scripts::VERSIONED_LOAD.key(self.keys.of("f", subject));
        let found: (i64, u64, String) = self.link.run(&call, Repeat::Harmless).await?;
        let (now, revision, factors) = found;
        let now = Timestamp::from_millis(now);
        Ok(StoredFactors::new(revision, factors, now))
    }

    async fn swap_factors(
        &self,
        subject: &str,
        from: u64,
        to: u64,
        factors: &str,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::VERSIONED_SWAP.key(self.keys.of("f", subject));
        call.arg(from).arg(to).arg(factors);
        // A repeated call would find the new revision and return `false` for a swap that succeeded.
        self.link.run(&call, Repeat::Never).await
    }
}
