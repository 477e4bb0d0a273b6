//! Counters of login attempts.

use super::MemoryStore;
use crate::{
    error::StoreError,
    server::login::{MemoryThrottle, ThrottleKey, ThrottleRule},
    store::port::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
};

impl MemoryStore {
    /// The counters of login attempts.
    #[must_use]
    pub fn throttle(&self) -> &MemoryThrottle {
        &self.shared.throttle
    }
}

impl ThrottleStore for MemoryStore {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        self.shared.throttle.reserve(key, rule).await
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        self.shared.throttle.settle(reservation, outcome).await
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.shared.throttle.clear(key).await
    }
}
