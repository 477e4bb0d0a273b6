//! The keys of a ring in a single process, which are rotated by hand or by the local clock.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

use super::{Document, KeyStatus, Timing, phases::Phases, snapshot::Snapshot};
use crate::{
    error::ConfigError,
    event::{AuthEvent, Events},
    key::{KeyLookup, KeyQuery, KeySource, SigningKey},
    server::issue::{IssueError, RotationError},
    time::Clock,
};

/// The ring of a single process.
#[derive(Clone)]
pub(super) struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    current: ArcSwap<Snapshot>,
    /// The source of `current`. Locked for changes, not for reads.
    phases: Mutex<Phases>,
    timing: Timing,
    clock: Arc<dyn Clock>,
    secrets: bool,
    events: Events,
}

impl Local {
    pub(super) fn publish(&self, next: SigningKey) -> Result<(), RotationError> {
        self.change(|phases, ring| phases.publish(next, ring.clock.monotonic()))
    }

    pub(super) fn activate(&self) -> Result<(), RotationError> {
        self.change(|phases, ring| {
            phases.activate(ring.clock.monotonic(), ring.timing.publish_ahead)
        })
    }

    pub(super) fn activate_now(&self) -> Result<(), RotationError> {
        self.change(|phases, ring| phases.activate(ring.clock.monotonic(), Duration::ZERO))
    }

    pub(super) fn withdraw(&self, kid: &str) -> Result<(), RotationError> {
        self.change(|phases, _| phases.withdraw(kid))
    }

    pub(super) fn withdraw_others(&self) {
        // Cannot fail: a ring with fewer keys is valid.
        let _ = self.change(|phases, _| {
            phases.withdraw_others();
            Ok(())
        });
    }

    pub(super) fn statuses(&self) -> Vec<KeyStatus> {
        self.settled().statuses.clone()
    }

    pub(super) fn document(&self) -> Document {
        self.settled().document.clone()
    }

    pub(super) fn sign(&self, conversation: bool, claims: &[u8]) -> Result<String, IssueError> {
        self.settled().signer.sign(conversation, claims)
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Returns `true` if the keys are secrets.
    pub(super) fn secrets(&self) -> bool {
        self.inner.secrets
    }

    pub(super) fn assemble(
        phases: Phases,
        timing: Timing,
        clock: Arc<dyn Clock>,
        events: Events,
    ) -> Result<Self, ConfigError> {
        let first = Snapshot::of(&phases, &timing, 0)?;
        Ok(Self {
            inner: Arc::new(Inner {
                secrets: phases.active.key.algorithm().is_hmac(),
                current: ArcSwap::from_pointee(first),
                phases: Mutex::new(phases),
                timing,
                clock,
                events,
            }),
        })
    }

    /// Returns the current keys, after any rotation that is due.
    fn settled(&self) -> Guard<Arc<Snapshot>> {
        let current = self.inner.current.load();
        let is_due = |due| self.inner.clock.monotonic() >= due;
        if !current.due.is_some_and(is_due) {
            return current;
        }
        // A concurrent caller uses the previous keys, which are still valid.
        let mut phases = match self.inner.phases.try_lock() {
            Ok(phases) => phases,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return current,
        };
        drop(current);
        self.inner.pass_time(&mut phases);
        self.inner.current.load()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Phases, &Inner) -> Result<(), RotationError>,
    ) -> Result<(), RotationError> {
        let mut phases = self.inner.lock();
        self.inner.pass_time(&mut phases);
        let mut changed = phases.clone();
        change(&mut changed, &self.inner)?;
        self.inner.show(&changed)?;
        *phases = changed;
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_time(&self, phases: &mut Phases) {
        let due = self.current.load().due;
        let now = self.clock.monotonic();
        if due.is_none_or(|due| now < due) {
            return;
        }
        phases.pass_time(now, &self.timing);
        // Stored before the next key is generated, which may take a while. Until then requests use
        // this state, in which the retirement of the old key has started.
        self.show_or_keep(phases);
        if phases.lacks_next(now, &self.timing) {
            phases.generate_next(&*self.clock);
            self.show_or_keep(phases);
        }
    }

    fn show(&self, phases: &Phases) -> Result<(), ConfigError> {
        let before = self.current.load();
        let generation = before.generation.wrapping_add(1);
        let snapshot = Arc::new(Snapshot::of(phases, &self.timing, generation)?);
        self.current.store(Arc::clone(&snapshot));
        if !Arc::ptr_eq(&before.signer.key, &snapshot.signer.key) {
            let kid = snapshot.signer.key.kid();
            self.events.emit(|| AuthEvent::KeyRotated { kid });
        }
        Ok(())
    }

    fn show_or_keep(&self, phases: &Phases) {
        // Cannot fail: the previous keys were valid for a ring. With fewer keys, or a new key of
        // the same kind with another thumbprint, they still are.
        let shown = self.show(phases);
        debug_assert!(shown.is_ok(), "{shown:?}");
    }
}

impl KeySource for Local {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.settled().set.lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        Some(self.settled().generation)
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.inner.current.load();
        f.debug_struct("KeyRing")
            .field("keys", &current.statuses)
            .field("timing", &self.inner.timing)
            .finish_non_exhaustive()
    }
}
