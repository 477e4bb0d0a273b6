//! The key ring of an issuer. It ends with the process.

use tokio::{sync::watch, time};

use super::MemoryStore;
use crate::{
    error::StoreError,
    store::port::{KEY_RING_WAIT, KeyRingStore, StoredKeyRing},
};

/// The ring and its revision. A change wakes the tasks that wait for another revision.
pub(super) struct Ring(watch::Sender<(u64, String)>);

impl Default for Ring {
    fn default() -> Self {
        Self(watch::Sender::new((0, String::new())))
    }
}

impl KeyRingStore for MemoryStore {
    async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError> {
        let (revision, keys) = self.shared.key_ring.0.borrow().clone();
        Ok(StoredKeyRing::new(revision, keys, self.now()))
    }

    async fn swap_key_ring(&self, from: u64, to: u64, keys: &str) -> Result<bool, StoreError> {
        Ok(self.shared.key_ring.0.send_if_modified(|(revision, ring)| {
            let same = *revision == from;
            if same {
                (*revision, *ring) = (to, keys.to_owned());
            }
            same
        }))
    }

    async fn key_ring_changed(&self, seen: u64) -> Result<(), StoreError> {
        let mut ring = self.shared.key_ring.0.subscribe();
        let changed = ring.wait_for(|(revision, _)| *revision != seen);
        // Neither a timeout nor a dropped store is an error.
        let _ = time::timeout(KEY_RING_WAIT, changed).await;
        Ok(())
    }

    fn keeps_key_ring(&self) -> bool {
        false
    }
}
