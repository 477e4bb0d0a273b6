//! The state of a remote key set and the decisions of its lookups, without I/O.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::{
    allowance::Allowance,
    error::FetchError,
    loaded::{Age, Fetched, Loaded, Numbers},
    report::log_stopped,
};
use crate::time::Timestamp;
use crate::{
    error::KeyProblem,
    key::{KeyLookup, KeyNotifier, KeyQuery, KeySet, KeySource, KeyWait, VerifyingKey},
    time::Clock,
};

/// The state that lookups and the worker share.
pub(super) struct Shared {
    pub(super) numbers: Numbers,
    pub(super) clock: Arc<dyn Clock>,
    /// The current keys. A lookup that finds its key reads nothing else.
    current: ArcSwapOption<Loaded>,
    state: Mutex<State>,
    hasher: RandomState,
    /// Notifies the worker that a fetch is requested or the set was dropped.
    pub(super) wanted: Notify,
    /// `true` if a request has waited for its full time since the fetch was requested or started.
    overdue: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    in_flight: bool,
    /// The time at which the task started the fetch. Measured by the runtime's clock, because the
    /// task may be blocked.
    begun_at: Option<tokio::time::Instant>,
    closed: bool,
    /// `true` if the log already has the line that no more fetches are made.
    reported: bool,
    waiters: Vec<KeyNotifier>,
    /// The number of waiters at which those of dropped requests are removed.
    prune_at: usize,
    /// The unknown `kid` values about which the running fetch decides (`requested`), and those that the
    /// last fetch did not find (`unknown`). An attacker can choose any `kid` of any length, so only
    /// hashes with a random key are stored. The key of the map covers the algorithm and the names,
    /// its value only the `kid`.
    requested: HashMap<u64, Option<u64>>,
    unknown: HashSet<u64>,
    /// `true` if more values were requested than are stored. Every unknown `kid` then counts as
    /// decided.
    requested_more: bool,
    all_unknown: bool,
    /// The rate limit of fetches for unknown `kid` values.
    allowance: Allowance,
    /// The time of the last fetch caused by a key that did not verify its token.
    refetched: Option<Instant>,
    failures: u32,
    retry_at: Option<Instant>,
    last_error: Option<FetchError>,
    last_success: Option<Timestamp>,
}

impl Shared {
    pub(super) fn new(numbers: Numbers, clock: Arc<dyn Clock>) -> Self {
        Self {
            numbers,
            clock,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            hasher: RandomState::new(),
            wanted: Notify::new(),
            overdue: Arc::default(),
        }
    }

    pub(super) fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        let now = self.clock.monotonic();
        if let Some(loaded) = &*self.current.load() {
            let age = now.saturating_duration_since(loaded.fetched);
            if age < loaded.max_age.saturating_add(self.numbers.stale) {
                let found = loaded.set.lookup(query);
                if !matches!(found, KeyLookup::Absent) {
                    if age >= loaded.refresh {
                        self.refresh(now);
                    }
                    return found;
                }
                let age = Age {
                    young: age < self.numbers.cooldown,
                    due: age >= loaded.refresh,
                    stale: age >= loaded.max_age,
                };
                return self.unknown_kid(query, now, &age);
            }
        }
        self.nothing_usable(query, now)
    }

    /// Handles a `kid` that the current keys do not contain. The published set may have changed.
    fn unknown_kid(&self, query: &KeyQuery<'_>, now: Instant, age: &Age) -> KeyLookup {
        // RFC 8725 §3.10: an issuer that is not trusted must not cause a fetch.
        if !query.issuer_is_trusted() {
            return KeyLookup::Absent;
        }
        let named = (query.kid, query.x5t, query.x5t_s256);
        let named = self.hasher.hash_one((query.algorithm, named));
        let mut state = self.lock();
        if self.stands(&state) {
            return report(state);
        }
        if let Some(retry_at) = state.backing_off(now)
            && !state.in_flight
        {
            // The last fetch failed, so "unknown" is certain only while the set is not stale.
            return if age.stale {
                unavailable(retry_at, now)
            } else {
                KeyLookup::Absent
            };
        }
        // A fetch that is due anyway needs no permit. After the cooldown another fetch is useful,
        // because some issuers sign with a key before all caches of their key set contain it.
        let decided = state.all_unknown || state.unknown.contains(&named);
        if decided && age.young && !age.due {
            return KeyLookup::Absent;
        }
        let may_ask =
            state.in_flight || age.due || state.allowance.take(now, self.numbers.cooldown);
        if !may_ask {
            return KeyLookup::Absent;
        }
        if !state.in_flight {
            self.start(&mut state);
        }
        if state.requested.len() < MAX_REMEMBERED {
            let kid = query.kid.map(|kid| self.hasher.hash_one(kid));
            state.requested.insert(named, kid);
        } else {
            state.requested_more = true;
        }
        self.join(&mut state)
    }

    fn nothing_usable(&self, query: &KeyQuery<'_>, now: Instant) -> KeyLookup {
        if !query.issuer_is_trusted() {
            return KeyLookup::Absent;
        }
        let mut state = self.lock();
        if self.stands(&state) {
            return report(state);
        }
        if !state.in_flight {
            if let Some(retry_at) = state.backing_off(now) {
                return unavailable(retry_at, now);
            }
            self.start(&mut state);
        }
        self.join(&mut state)
    }

    /// Starts a fetch for a token whose `kid` is known, but whose key does not verify it, because
    /// some issuers reuse one `kid` for every key. The limit is one fetch a minute, so that forged
    /// tokens cause no more.
    pub(super) fn refetch(&self, query: &KeyQuery<'_>) -> Option<KeyWait> {
        let names_a_key = query.kid.is_some() || query.x5t.is_some() || query.x5t_s256.is_some();
        if !names_a_key || !query.issuer_is_trusted() {
            return None;
        }
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if self.stands(&state) {
            return None;
        }
        if !state.in_flight {
            let too_early = |last| now.saturating_duration_since(last) < REFETCH;
            if state.backing_off(now).is_some() || state.refetched.is_some_and(too_early) {
                return None;
            }
            state.refetched = Some(now);
            self.start(&mut state);
        }
        Some(self.wait(&mut state, self.numbers.wait))
    }

    /// Starts a refresh without waiting. Lookups of known keys never wait, not even for a lock.
    fn refresh(&self, now: Instant) {
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        if self.stands(&state) {
            report(state);
        } else if !state.in_flight && state.backing_off(now).is_none() {
            self.start(&mut state);
        }
    }

    /// Returns `true` if no fetch will run: the task has ended, or its runtime is not running it.
    /// The second is detected by a request whose wait has timed out.
    fn stands(&self, state: &State) -> bool {
        let overdue = state.in_flight && self.overdue.load(Ordering::Relaxed);
        let most = self.numbers.timeout + self.numbers.wait;
        state.closed || (overdue && state.begun_at.is_none_or(|begun| begun.elapsed() >= most))
    }

    /// Records that the task has started the requested fetch.
    pub(super) fn begun(&self) {
        let mut state = self.lock();
        state.begun_at = Some(tokio::time::Instant::now());
        state.reported = false;
        self.overdue.store(false, Ordering::Relaxed);
    }

    /// Returns the time until the next fetch is due without a request. Keys are refreshed and
    /// failed fetches retried even if no requests arrive.
    pub(super) fn until_due(&self) -> Duration {
        let now = self.clock.monotonic();
        let retry_at = self.lock().backing_off(now);
        match (retry_at, &*self.current.load()) {
            (Some(retry_at), _) => retry_at.saturating_duration_since(now),
            (None, Some(loaded)) => {
                let age = now.saturating_duration_since(loaded.fetched);
                loaded.refresh.saturating_sub(age)
            }
            (None, None) => Duration::ZERO,
        }
    }

    /// Starts the fetch if it is due.
    pub(super) fn start_due(&self) {
        if self.until_due().is_zero() {
            self.refresh(self.clock.monotonic());
        }
    }

    /// Requests the first fetch.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        self.start(&mut state);
    }

    fn start(&self, state: &mut State) {
        state.in_flight = true;
        state.begun_at = None;
        self.overdue.store(false, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    fn join(&self, state: &mut State) -> KeyLookup {
        KeyLookup::Wait(self.wait(state, self.numbers.wait))
    }

    fn wait(&self, state: &mut State, limit: Duration) -> KeyWait {
        let (news, wait) = KeyWait::within(limit, &self.overdue);
        if state.waiters.len() >= state.prune_at {
            state.waiters.retain(|news| !news.is_abandoned());
            state.prune_at = LEAST_PRUNED.max(2 * state.waiters.len());
        }
        state.waiters.push(news);
        wait
    }

    /// Returns `true` if there are keys that can verify tokens.
    pub(super) fn is_usable(&self) -> bool {
        let now = self.clock.monotonic();
        self.current.load().as_ref().is_some_and(|loaded| {
            let age = now.saturating_duration_since(loaded.fetched);
            age < loaded.max_age.saturating_add(self.numbers.stale)
        })
    }

    /// Returns the generation of the keys, or `None` if they are not usable. A token in the cache
    /// needs no lookup, so a refresh that is due is started here, too.
    pub(super) fn generation(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let current = self.current.load();
        let loaded = current.as_ref()?;
        let age = now.saturating_duration_since(loaded.fetched);
        if age >= loaded.max_age.saturating_add(self.numbers.stale) {
            return None;
        }
        if age >= loaded.refresh {
            self.refresh(now);
        }
        Some(loaded.generation)
    }

    pub(super) fn is_fresh(&self) -> bool {
        let now = self.clock.monotonic();
        self.current
            .load()
            .as_ref()
            .is_some_and(|loaded| now.saturating_duration_since(loaded.fetched) < loaded.max_age)
    }

    /// Returns a wait for the end of the running fetch, which is started if necessary.
    pub(super) fn wait_usable(&self) -> Option<KeyWait> {
        if self.is_usable() {
            return None;
        }
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if self.stands(&state) {
            report(state);
            return None;
        }
        if !state.in_flight {
            if state.backing_off(now).is_some() {
                return None;
            }
            self.start(&mut state);
        }
        // The task enforces its own timeout. This limit is for a task that does not run.
        let limit = self.numbers.timeout + self.numbers.wait;
        Some(self.wait(&mut state, limit))
    }

    /// Returns the reason why no keys are usable.
    pub(super) fn problem(&self) -> Option<KeyProblem> {
        if self.is_usable() {
            return None;
        }
        let state = self.lock();
        if self.stands(&state) {
            return Some(KeyProblem::Stopped);
        }
        let failure = state.last_error.as_ref().map(FetchError::problem);
        Some(failure.unwrap_or(KeyProblem::Pending))
    }

    /// Returns `true` if the set does not contain every requested `kid`.
    pub(super) fn lacks_requested(&self, set: &KeySet) -> bool {
        let state = self.lock();
        if state.requested_more {
            return true;
        }
        let kids = set.keys().filter_map(VerifyingKey::kid);
        let kids: HashSet<u64> = kids.map(|kid| self.hasher.hash_one(kid)).collect();
        let mut requested = state.requested.values().flatten();
        requested.any(|kid| !kids.contains(kid))
    }

    pub(super) fn last_success(&self) -> Option<Timestamp> {
        self.lock().last_success
    }

    pub(super) fn last_error(&self) -> Option<FetchError> {
        self.lock().last_error.clone()
    }

    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// Records a successful fetch. Returns `true` if the keys have changed.
    pub(super) fn succeeded(&self, fetched: Fetched) -> bool {
        let before = self.loaded();
        let (fresh, mut next) = match fetched {
            Fetched::Document {
                set,
                document,
                etag,
                fresh,
            } => (fresh, Loaded::new(set, document, etag)),
            Fetched::NotModified { before, fresh } => (fresh, before.renewed()),
        };
        let changed = before
            .as_ref()
            .is_none_or(|before| before.document != next.document);
        let generation = before.map_or(0, |before| before.generation);
        next.generation = generation.wrapping_add(u64::from(changed));
        next.fetched = self.clock.monotonic();
        next.max_age = self.numbers.max_age(fresh);
        // 80 % ± 5 %, so that the nodes of a service do not all fetch at the same time.
        next.refresh = next.max_age.mul_f64(0.75 + 0.1 * self.chance());
        self.current.store(Some(Arc::new(next)));
        let mut state = self.lock();
        state.failures = 0;
        state.retry_at = None;
        state.last_error = None;
        state.last_success = Some(self.clock.now());
        state.unknown = mem::take(&mut state.requested).into_keys().collect();
        state.all_unknown = mem::take(&mut state.requested_more);
        release(state);
        changed
    }

    /// Records a failed fetch. The previous keys stay in use. Returns the time until the next
    /// attempt.
    pub(super) fn failed(&self, error: FetchError) -> Duration {
        let most = if self.is_usable() {
            MOST_BACKOFF
        } else {
            MOST_BACKOFF_WITHOUT_KEYS
        };
        let mut state = self.lock();
        let doubled = FIRST_BACKOFF.saturating_mul(1 << state.failures.min(16));
        let wait = doubled.min(most).mul_f64(0.9 + 0.1 * self.chance());
        state.failures = state.failures.saturating_add(1);
        state.retry_at = Some(self.clock.monotonic() + wait);
        state.last_error = Some(error);
        state.requested.clear();
        state.requested_more = false;
        release(state);
        wait
    }

    /// Ends all fetches, because the set was dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Intended, so nothing is logged.
        state.reported = true;
        release(state);
        self.wanted.notify_one();
    }

    /// Ends all fetches, because the fetch task has ended.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        let reported = mem::replace(&mut state.reported, true);
        release(state);
        if !reported {
            log_stopped();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Returns a random number from 0 to 1, which need not be secret.
    fn chance(&self) -> f64 {
        let random = RandomState::new().hash_one(());
        f64::from((random >> 32) as u32) / f64::from(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Poisoning is ignored, because a panic cannot leave a change incomplete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a fetch and wakes all waiters, which repeat their lookups. The lock is released first,
/// because a waker may run its task in place.
fn release(mut state: MutexGuard<'_, State>) {
    state.in_flight = false;
    state.prune_at = 0;
    let waiters = mem::take(&mut state.waiters);
    drop(state);
    for news in waiters {
        news.notify();
    }
}

/// Logs, once, that no fetch will run.
fn report(mut state: MutexGuard<'_, State>) -> KeyLookup {
    let reported = mem::replace(&mut state.reported, true);
    drop(state);
    if !reported {
        log_stopped();
    }
    KeyLookup::Unavailable { retry_after: 1 }
}

impl State {
    fn backing_off(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|retry_at| now < *retry_at)
    }
}

fn unavailable(retry_at: Instant, now: Instant) -> KeyLookup {
    let seconds = retry_at.saturating_duration_since(now).as_secs_f64().ceil();
    KeyLookup::Unavailable {
        retry_after: (seconds as u32).max(1),
    }
}

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MOST_BACKOFF: Duration = Duration::from_secs(60);
const MOST_BACKOFF_WITHOUT_KEYS: Duration = Duration::from_secs(5);
/// The minimum time between fetches for keys that do not verify their tokens.
const REFETCH: Duration = Duration::from_secs(60);
/// The maximum number of unknown `kid` values that are stored. Beyond it, the cooldown limits fetches.
const MAX_REMEMBERED: usize = 4096;
/// The minimum number of waiters before those of dropped requests are removed.
const LEAST_PRUNED: usize = 1024;
