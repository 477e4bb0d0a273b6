//! The store of a key ring that several nodes share.

use std::{future::Future, time::Duration};

use crate::{error::StoreError, time::Timestamp};

/// A store that keeps the key ring of an issuer for all of its nodes.
///
/// A store compares and sets. It never reads the text, whose keys are sealed. The
/// [`SharedKeyRing`](crate::server::issue::SharedKeyRing) makes all decisions.
pub trait KeyRingStore: Send + Sync + 'static {
    /// Returns the ring and the store's time.
    ///
    /// # Errors
    ///
    /// Any error: the nodes go on with the ring that they read last.
    fn load_key_ring(&self) -> impl Future<Output = Result<StoredKeyRing, StoreError>> + Send;

    /// Replaces the ring if its revision is `from`, or inserts it if `from` is 0 and no ring exists.
    /// Returns `false` if the revision differs. The new ring has exactly the revision `to`.
    ///
    /// A ring never expires. Of several concurrent calls with the same `from`, one succeeds.
    ///
    /// # Errors
    ///
    /// Any error: the ring was replaced or not, and the caller loads it again.
    fn swap_key_ring(
        &self,
        from: u64,
        to: u64,
        keys: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Waits until the revision may differ from `seen`, for at most [`KEY_RING_WAIT`].
    ///
    /// A return means nothing more than that the ring should be loaded. The default implementation
    /// waits for [`KEY_RING_WAIT`]. With a quicker one, the nodes follow a withdrawn key sooner.
    ///
    /// # Errors
    ///
    /// Any error: the ring is loaded after a pause.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect. The next call compares with `seen` again.
    fn key_ring_changed(&self, seen: u64) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = seen;
        async {
            tokio::time::sleep(KEY_RING_WAIT).await;
            Ok(())
        }
    }

    /// Returns `true` if the ring outlives the process. The default is `true`.
    fn keeps_key_ring(&self) -> bool {
        true
    }
}

/// The ring in a store: see [`KeyRingStore::load_key_ring`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredKeyRing {
    /// The revision, 0 if there is no ring.
    pub revision: u64,
    /// The sealed keys, in a text form that only [`SharedKeyRing`](crate::server::issue::SharedKeyRing) reads.
    pub keys: String,
    /// The time of the load, by the store's clock.
    pub now: Timestamp,
}

impl StoredKeyRing {
    /// Creates the result of a load.
    #[must_use]
    pub fn new(revision: u64, keys: impl Into<String>, now: Timestamp) -> Self {
        Self {
            revision,
            keys: keys.into(),
            now,
        }
    }

    /// Creates the result of a load from a store without a ring.
    #[must_use]
    pub fn absent(now: Timestamp) -> Self {
        Self::new(0, "", now)
    }
}

/// The interval at which a node loads the ring if its store reports no change.
pub const KEY_RING_WAIT: Duration = Duration::from_secs(5);
