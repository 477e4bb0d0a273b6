//! Counters of login attempts.

use super::{RedisStore, scripts};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    store::port::{LoadedThrottle, ThrottleKey, ThrottleRow, ThrottleStore},
    time::Timestamp,
};

impl ThrottleStore for RedisStore {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        let call = scripts::THROTTLE_LOAD.key(self.counter(key));
        let (now, row): (i64, Option<String>) = self.link.run(&call, Repeat::Harmless).await?;
        let row = row.as_deref().map(ThrottleRow::from_text).transpose()?;
        Ok(LoadedThrottle::new(row, Timestamp::from_millis(now)))
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        let text = |row: Option<&ThrottleRow>| row.map(ThrottleRow::to_text).unwrap_or_default();
        let mut call = scripts::THROTTLE_SWAP.key(self.counter(key));
        call.arg(text(from)).arg(text(to));
        call.arg(to.map_or(0, |row| row.expires_at().as_millis()));
        self.link.run(&call, Repeat::Never).await
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        let call = scripts::THROTTLE_CLEAR.key(self.counter(key));
        self.link.run(&call, Repeat::Harmless).await
    }
}

impl RedisStore {
    fn counter(&self, key: &ThrottleKey) -> String {
        self.keys.of("t", &super::hex(key.as_bytes()))
    }
}
