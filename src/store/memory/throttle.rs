//! Counters of login attempts.

use super::MemoryStore;
use crate::{
    error::StoreError,
    server::login::MemoryThrottle,
    store::port::{LoadedThrottle, ThrottleKey, ThrottleRow, ThrottleStore},
};

impl MemoryStore {
    /// The counters of login attempts.
    #[must_use]
    pub fn throttle(&self) -> &MemoryThrottle {
        &self.shared.throttle
    }
}

impl ThrottleStore for MemoryStore {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        self.shared.throttle.load(key).await
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        self.shared.throttle.swap(key, from, to).await
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.shared.throttle.clear(key).await
    }
}
