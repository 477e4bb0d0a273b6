//! The key ring of an issuer.

use super::AnyStore;
use crate::{
    error::StoreError,
    store::port::{KeyRingStore, StoredKeyRing},
};

impl KeyRingStore for AnyStore {
    async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError> {
        each!(self, Self, store => store.load_key_ring())
    }

    async fn swap_key_ring(&self, from: u64, to: u64, keys: &str) -> Result<bool, StoreError> {
        each!(self, Self, store => store.swap_key_ring(from, to, keys))
    }

    async fn key_ring_changed(&self, seen: u64) -> Result<(), StoreError> {
        each!(self, Self, store => store.key_ring_changed(seen))
    }

    fn keeps_key_ring(&self) -> bool {
        of_each!(self, store => store.keeps_key_ring())
    }
}
