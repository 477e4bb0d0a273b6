//! The key ring of an issuer.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::{RedisStore, scripts};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    store::port::{KEY_RING_WAIT, KeyRingStore, StoredKeyRing},
    time::Timestamp,
};

impl KeyRingStore for RedisStore {
    async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError> {
        let call = scripts::VERSIONED_LOAD.key(&self.keys.key_ring);
        let found: (i64, u64, String) = self.link.run(&call, Repeat::Harmless).await?;
        let (now, revision, keys) = found;
        Ok(StoredKeyRing::new(
            revision,
            keys,
            Timestamp::from_millis(now),
        ))
    }

    async fn swap_key_ring(&self, from: u64, to: u64, keys: &str) -> Result<bool, StoreError> {
        let mut call = scripts::VERSIONED_SWAP.key(&self.keys.key_ring);
        call.arg(from).arg(to).arg(keys);
        // A repeated call finds the new revision and returns `false`. The caller then loads the ring.
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn key_ring_changed(&self, seen: u64) -> Result<(), StoreError> {
        let end = Instant::now() + KEY_RING_WAIT;
        while Instant::now() < end {
            time::sleep(POLL).await;
            if self.load_key_ring().await?.revision != seen {
                break;
            }
        }
        Ok(())
    }
}

const POLL: Duration = Duration::from_secs(1);
