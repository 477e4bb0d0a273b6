//! Loads of the ring from its store, and changes by compare and set.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Mutex as Turn, time};

use super::{
    error::SharedRingError,
    live::{Keys, Live, Reading},
    ring::{Entry, Ring, Step},
    seal::Seals,
    text::{self, Material},
};
use crate::{
    error::StoreError,
    key::{Algorithm, SigningKey},
    store::port::{ErasedKeyRingStore, StoredKeyRing},
    task::Contention,
    time::Timestamp,
};

/// The ring of one node and its store.
pub(super) struct Node {
    pub(super) live: Arc<Live>,
    pub(super) access: Access,
    /// One load or change at a time, so that an older load cannot follow a newer one.
    turn: Turn<()>,
    /// The time from which the node may seal the ring under its first secret.
    reseal_from: Mutex<Instant>,
}

/// A store and the secrets that open its ring.
pub(super) struct Access {
    pub(super) store: Arc<dyn ErasedKeyRingStore>,
    pub(super) seals: Seals,
    pub(super) algorithm: Algorithm,
}

impl Access {
    pub(super) async fn load(&self) -> Result<StoredKeyRing, SharedRingError> {
        Ok(within(self.store.load_key_ring()).await?)
    }

    /// Replaces the ring in the store. Returns `false` if another node was faster.
    pub(super) async fn swap(
        &self,
        from: u64,
        to: u64,
        ring: &Ring<Material>,
        secret: usize,
    ) -> Result<bool, SharedRingError> {
        let text = text::write(ring, to, &self.seals, secret).ok_or(SharedRingError::Crypto)?;
        Ok(within(self.store.swap_key_ring(from, to, &text)).await?)
    }

    pub(super) fn generate(
        &self,
        activates_at: Timestamp,
    ) -> Result<Entry<Material>, SharedRingError> {
        let key = SigningKey::generate(self.algorithm).map_err(|_| SharedRingError::Crypto)?;
        Ok(Entry {
            kid: key.kid().ok_or(SharedRingError::Crypto)?.to_owned(),
            algorithm: self.algorithm,
            activates_at,
            retired: false,
            key: Material::Signing(Arc::new(key)),
        })
    }

    pub(super) fn read(
        &self,
        stored: StoredKeyRing,
        max_age: Duration,
    ) -> Result<Keys, SharedRingError> {
        let text::Read { ring, secret } = text::read(&stored, &self.seals)?;
        let keys = Keys::new(stored.revision, stored.keys, ring, secret, max_age);
        keys.map_err(|error| SharedRingError::Unreadable(error.to_string()))
    }
}

/// A change of a ring that was loaded, at the store's time. `false`: nothing is to be changed.
type Change<'c> =
    dyn FnMut(&Access, &mut Ring<Material>, Timestamp) -> Result<bool, SharedRingError> + Send + 'c;

impl Node {
    pub(super) fn new(live: Arc<Live>, access: Access) -> Self {
        Self {
            turn: Turn::default(),
            reseal_from: Mutex::new(live.clock().monotonic()),
            live,
            access,
        }
    }

    /// Loads the ring, and makes the changes that are due.
    pub(super) async fn sync(&self) -> Result<(), SharedRingError> {
        self.change(&mut |_, _, _| Ok(false)).await
    }

    /// Loads the ring, and makes this change and those that are due.
    pub(super) async fn change(&self, change: &mut Change<'_>) -> Result<(), SharedRingError> {
        let _turn = self.turn.lock().await;
        let may_reseal = self.may_reseal();
        let mut contention = Contention::new();
        loop {
            let Some(keys) = self.follow().await? else {
                wait(&mut contention).await?;
                continue;
            };
            let now = self.live.now();
            let mut ring = keys.ring.clone();
            let mut changed = change(&self.access, &mut ring, now)?;
            while let Some(step) = ring.due(now, &self.live.schedule) {
                self.make(step, &mut ring)?;
                changed = true;
            }
            let reseal = may_reseal && keys.secret != 0;
            if !changed && !reseal {
                return Ok(());
            }
            // A secret in use stays in use while an older node may not have the first one.
            let secret = if reseal { 0 } else { keys.secret };
            let (from, to) = (keys.revision, keys.revision.saturating_add(1));
            if self.access.swap(from, to, &ring, secret).await? {
                self.follow().await?;
                return Ok(());
            }
            wait(&mut contention).await?;
        }
    }

    /// Loads the ring and uses it from now on. `None`: the store has to be read again.
    async fn follow(&self) -> Result<Option<Arc<Keys>>, SharedRingError> {
        let stored = self.access.load().await?;
        let read = Reading::new(stored.now, &**self.live.clock());
        let known = self.live.keys();
        if stored.revision < known.revision {
            // The store lost its last writes, in a failover or by a restored copy.
            let to = known.revision.saturating_add(1);
            let swap = self
                .access
                .swap(stored.revision, to, &known.ring, known.secret);
            swap.await?;
            return Ok(None);
        }
        if stored.revision == known.revision && stored.keys == known.text {
            self.live.confirm(read);
            return Ok(Some(known));
        }
        let keys = self.access.read(stored, self.live.schedule.max_age)?;
        self.live.adopt(keys, read);
        Ok(Some(self.live.keys()))
    }

    fn make(&self, step: Step, ring: &mut Ring<Material>) -> Result<(), SharedRingError> {
        match step {
            Step::Publish(activates_at) => ring.insert(self.access.generate(activates_at)?),
            Step::Remove(index) => ring.remove(index),
            Step::Retire(index) => {
                if let Some(entry) = ring.entries_mut().get_mut(index) {
                    entry.key.retire();
                    entry.retired = true;
                }
            }
        }
        Ok(())
    }

    /// Returns `true` when the node starts, and once in an hour after that.
    ///
    /// During a change of secrets, nodes with the old and with the new order run side by side. The
    /// pause keeps them from sealing against each other, and the node that starts last decides.
    fn may_reseal(&self) -> bool {
        let now = self.live.clock().monotonic();
        let from = self.reseal_from.lock();
        let mut from = from.unwrap_or_else(PoisonError::into_inner);
        let may = now >= *from;
        if may {
            *from = now.checked_add(RESEAL_EVERY).unwrap_or(now);
        }
        may
    }
}

async fn wait(contention: &mut Contention) -> Result<(), SharedRingError> {
    match contention.wait().await {
        true => Ok(()),
        false => Err(SharedRingError::Contended),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match time::timeout(ANSWER, work).await {
        Ok(outcome) => outcome,
        Err(late) => Err(StoreError::interrupted(late)),
    }
}

const ANSWER: Duration = Duration::from_secs(5);
const RESEAL_EVERY: Duration = Duration::from_secs(3600);
