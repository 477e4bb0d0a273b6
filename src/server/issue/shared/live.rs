//! The keys of the ring as this node uses them, without waiting for the store.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    ring::{Ring, Schedule},
    text::Material,
};
use crate::{
    error::ConfigError,
    event::{AuthEvent, Events},
    key::{KeyLookup, KeyNotifier, KeyQuery, KeySet, KeySource, KeyWait},
    server::issue::{
        IssueError, KeyState, KeyStatus,
        key_ring::{Document, Shown, Signer, cache_for, key_set},
    },
    time::{Clock, Timestamp},
};

/// The ring that this node read last.
pub(in crate::server::issue) struct Live {
    view: ArcSwap<View>,
    pub(super) schedule: Schedule,
    clock: Arc<dyn Clock>,
    pub(super) events: Events,
    /// Wakes the task that loads the ring.
    pub(super) wake: Notify,
    /// Requests whose key is unknown, and the `kid` that the last event named.
    waiting: Mutex<Vec<KeyNotifier>>,
    announced: Mutex<Option<String>>,
}

#[derive(Clone)]
struct View {
    keys: Arc<Keys>,
    read: Reading,
}

/// The keys of one revision.
pub(super) struct Keys {
    pub(super) revision: u64,
    /// The text in the store.
    pub(super) text: String,
    pub(super) ring: Ring<Material>,
    /// The index of the secret under which the text is sealed.
    pub(super) secret: usize,
    signers: Vec<Option<Signer>>,
    set: KeySet,
    document: Document,
    generation: u64,
}

/// A load of the ring. The store's clock is followed by the local monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    store: Timestamp,
    monotonic: Instant,
    wall: Timestamp,
}

impl Reading {
    /// Creates the reading of a ring that the store has just returned.
    pub(super) fn new(store: Timestamp, clock: &dyn Clock) -> Self {
        Self {
            store,
            monotonic: clock.monotonic(),
            wall: clock.now(),
        }
    }

    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let elapsed = clock.monotonic().saturating_duration_since(self.monotonic);
        self.store.plus(elapsed)
    }

    /// Returns the time since the load. A machine that slept notices it by its wall clock, because
    /// the monotonic clock may stand still.
    fn age(&self, clock: &dyn Clock) -> Duration {
        let elapsed = clock.monotonic().saturating_duration_since(self.monotonic);
        let wall = clock.now().since(self.wall);
        elapsed.max(wall)
    }
}

impl Keys {
    pub(super) fn new(
        revision: u64,
        text: String,
        ring: Ring<Material>,
        secret: usize,
        max_age: Duration,
    ) -> Result<Self, ConfigError> {
        let shown = ring.entries().iter().map(|entry| Shown {
            jwk: entry.key.jwk(),
            status: KeyStatus::new(Some(&entry.kid), entry.algorithm, KeyState::Active),
            verifying: entry.key.verifying(),
        });
        let (set, json) = key_set(&shown.collect::<Vec<_>>())?;
        let signers = ring.entries().iter().map(|entry| match &entry.key {
            Material::Signing(key) => Some(Signer::new(key)),
            Material::Public(_) => None,
        });
        Ok(Self {
            revision,
            text,
            signers: signers.collect(),
            ring,
            secret,
            set,
            document: Document::of(json, max_age)?,
            generation: 0,
        })
    }
}

impl Live {
    pub(super) fn new(
        keys: Keys,
        read: Reading,
        schedule: Schedule,
        clock: Arc<dyn Clock>,
        events: Events,
    ) -> Self {
        let live = Self {
            view: ArcSwap::from_pointee(View {
                keys: Arc::new(keys),
                read,
            }),
            schedule,
            clock,
            events,
            wake: Notify::new(),
            waiting: Mutex::default(),
            announced: Mutex::default(),
        };
        *live
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = live.signing_kid();
        live
    }

    pub(in crate::server::issue) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.view.load().keys)
    }

    /// Returns the store's time.
    pub(super) fn now(&self) -> Timestamp {
        self.view.load().read.now(&*self.clock)
    }

    /// Notes that the store still has the same ring.
    pub(super) fn confirm(&self, read: Reading) {
        let keys = self.keys();
        self.view.store(Arc::new(View { keys, read }));
        self.announce();
    }

    /// Replaces the keys.
    pub(super) fn adopt(&self, mut keys: Keys, read: Reading) {
        keys.generation = self.keys().generation.wrapping_add(1);
        let keys = Arc::new(keys);
        self.view.store(Arc::new(View { keys, read }));
        self.announce();
    }

    /// Emits an event if another key signs than before.
    pub(super) fn announce(&self) {
        let kid = self.signing_kid();
        let mut announced = self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *announced != kid {
            announced.clone_from(&kid);
            drop(announced);
            let kid = kid.as_deref();
            self.events.emit(|| AuthEvent::KeyRotated { kid });
        }
    }

    fn signing_kid(&self) -> Option<String> {
        let view = self.view.load();
        let ring = &view.keys.ring;
        let signer = ring.signer(view.read.now(&*self.clock))?;
        ring.entries().get(signer).map(|entry| entry.kid.clone())
    }

    /// Ends the waits of requests whose key was unknown.
    pub(super) fn end_waits(&self) {
        let waiting = std::mem::take(&mut *self.lock_waiting());
        waiting.into_iter().for_each(KeyNotifier::notify);
    }

    fn lock_waiting(&self) -> std::sync::MutexGuard<'_, Vec<KeyNotifier>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::server::issue) fn statuses(&self) -> Vec<KeyStatus> {
        let view = self.view.load();
        let ring = &view.keys.ring;
        let Some(signer) = ring.signer(view.read.now(&*self.clock)) else {
            return Vec::new();
        };
        let entries = ring.entries();
        let status = |(index, state): (usize, KeyState)| {
            let entry = entries.get(index)?;
            Some(KeyStatus::new(Some(&entry.kid), entry.algorithm, state))
        };
        let next = (signer + 1..entries.len()).map(|index| (index, KeyState::Next));
        let retiring = (0..signer).rev().map(|index| (index, KeyState::Retiring));
        std::iter::once((signer, KeyState::Active))
            .chain(next)
            .chain(retiring)
            .filter_map(status)
            .collect()
    }

    pub(in crate::server::issue) fn json(&self) -> Bytes {
        self.view.load().keys.document.json.clone()
    }

    /// Returns the document with a `max-age` that ends before a key that this node does not know
    /// can sign. `None` if that would be too soon for verifiers.
    pub(in crate::server::issue) fn document(&self) -> Option<Document> {
        let view = self.view.load();
        let left = self.left(&view)?;
        let mut document = view.keys.document.clone();
        if left < self.schedule.max_age {
            if left < SHORTEST_AGE {
                return None;
            }
            document.cache_control = cache_for(left);
        }
        Some(document)
    }

    pub(in crate::server::issue) fn sign(
        &self,
        conversation: bool,
        claims: &[u8],
    ) -> Result<String, IssueError> {
        let view = self.view.load();
        if self.left(&view).is_none() {
            self.wake.notify_one();
            return Err(IssueError::KeysUnavailable);
        }
        let signer = view.keys.ring.signer(view.read.now(&*self.clock));
        let signer = signer.and_then(|index| view.keys.signers.get(index)?.as_ref());
        let signer = signer.ok_or(IssueError::KeysUnavailable)?;
        signer.sign(conversation, claims)
    }

    /// Returns `false` if [`sign`](Self::sign) would refuse now.
    pub(in crate::server::issue) fn may_sign(&self) -> bool {
        let view = self.view.load();
        self.left(&view).is_some()
    }

    /// Returns the time until another node may sign with a key that this node does not know. `None`
    /// if that time has passed.
    fn left(&self, view: &View) -> Option<Duration> {
        let age = view.read.age(&*self.clock);
        self.schedule.publish_ahead.checked_sub(age)
    }

    /// Decides about a token whose key is unknown. Another node may have replaced a withdrawn key a
    /// moment ago.
    #[cold]
    fn unknown(&self, query: &KeyQuery<'_>) -> KeyLookup {
        if !query.issuer_is_trusted() {
            return KeyLookup::Absent;
        }
        let view = self.view.load();
        if self.left(&view).is_none() {
            self.wake.notify_one();
            return KeyLookup::Unavailable { retry_after: 1 };
        }
        if view.read.age(&*self.clock) < READ_AGAIN_AFTER {
            return KeyLookup::Absent;
        }
        // The task may have ended with its runtime.
        let (news, wait) = KeyWait::within(LONGEST_WAIT, &Arc::default());
        self.lock_waiting().push(news);
        self.wake.notify_one();
        KeyLookup::Wait(wait)
    }
}

impl KeySource for Live {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        match self.view.load().keys.set.lookup(query) {
            KeyLookup::Absent => self.unknown(query),
            found => found,
        }
    }

    fn generation(&self) -> Option<u64> {
        Some(self.view.load().keys.generation)
    }

    fn is_ready(&self) -> bool {
        self.left(&self.view.load()).is_some()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("keys", &self.statuses())
            .finish_non_exhaustive()
    }
}

/// Many verifiers cache a set for at least a minute, whatever its `max-age` is.
const SHORTEST_AGE: Duration = Duration::from_secs(60);
/// The longest time for which a request waits for a load.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The shortest time between two loads that unknown keys cause.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
