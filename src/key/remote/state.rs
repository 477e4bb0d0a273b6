//! What is known of a remote key set, and what a look-up makes of it. No I/O.

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
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{
    allowance::Allowance,
    error::FetchError,
    loaded::{Age, Fetched, Loaded, Numbers},
    report::log_stopped,
};
use crate::{
    clock::Clock,
    error::KeyProblem,
    key::{KeyLookup, KeyNews, KeyQuery, KeySet, KeySource, KeyWait, VerifyingKey},
};

/// Shared by the look-ups and the worker.
pub(super) struct Shared {
    pub(super) numbers: Numbers,
    pub(super) clock: Arc<dyn Clock>,
    /// The keys. Look-ups that find their key read this and nothing else.
    current: ArcSwapOption<Loaded>,
    state: Mutex<State>,
    hasher: RandomState,
    /// A fetch is wanted, or the set is no longer used.
    pub(super) wanted: Notify,
    /// A request has waited as long as it may since the fetch was asked for, or began.
    overdue: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    in_flight: bool,
    /// When the task began with it. By the runtime's clock, because the task may stand.
    begun_at: Option<tokio::time::Instant>,
    closed: bool,
    /// The operator knows that nothing fetches any more.
    reported: bool,
    waiters: Vec<KeyNews>,
    /// How many waiters make it worth looking for those whose request is gone.
    prune_at: usize,
    /// Unknown kids that the running fetch is to decide about, and those that were decided. Only
    /// hashes, keyed at random: kids are of any length, and anybody may write them. The first
    /// covers the algorithm as well, the second the kid alone.
    asked: HashMap<u64, Option<u64>>,
    unknown: HashSet<u64>,
    /// More kids than are remembered were asked for, and so decided: all that are unknown count.
    asked_more: bool,
    all_unknown: bool,
    /// Fetches that unknown kids may still cause.
    allowance: Allowance,
    /// When a key that did not verify its token last caused a fetch.
    refetched: Option<Instant>,
    failures: u32,
    retry_at: Option<Instant>,
    last_error: Option<FetchError>,
    last_success: Option<OffsetDateTime>,
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

    /// A kid that the keys at hand do not have: the set may have changed since.
    fn unknown_kid(&self, query: &KeyQuery<'_>, now: Instant, age: &Age) -> KeyLookup {
        // RFC 8725 §3.10: nothing is fetched on behalf of an issuer that is not trusted.
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
            // Asked and not answered: certain only while the set is young.
            return if age.stale {
                unavailable(retry_at, now)
            } else {
                KeyLookup::Absent
            };
        }
        // A fetch that is due anyway is nobody's expense. And past the cooldown it is worth asking
        // again: issuers sign with keys that not every cache in front of their key set has seen.
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
        if state.asked.len() < MAX_REMEMBERED {
            let kid = query.kid.map(|kid| self.hasher.hash_one(kid));
            state.asked.insert(named, kid);
        } else {
            state.asked_more = true;
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

    /// Fetches keys for a token whose kid is known and whose key does not verify it: issuers exist
    /// that give every key the same name. Once a minute, so that forged tokens cause no more.
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

    /// Starts a refresh that nobody waits for. Requests whose key is known never wait, not even
    /// for a lock.
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

    /// Returns `true` if a fetch that is asked for will not come: its task has ended, or its runtime
    /// does not run it. A request whose own runtime ran has found that out.
    fn stands(&self, state: &State) -> bool {
        let overdue = state.in_flight && self.overdue.load(Ordering::Relaxed);
        let most = self.numbers.timeout + self.numbers.wait;
        state.closed || (overdue && state.begun_at.is_none_or(|begun| begun.elapsed() >= most))
    }

    /// The task begins with the fetch that was asked for.
    pub(super) fn begun(&self) {
        let mut state = self.lock();
        state.begun_at = Some(tokio::time::Instant::now());
        state.reported = false;
        self.overdue.store(false, Ordering::Relaxed);
    }

    /// How long it is until a fetch is due though nobody asks for it: keys must not grow old, nor
    /// stay away, because no request comes.
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

    /// Starts the fetch that is due.
    pub(super) fn start_due(&self) {
        if self.until_due().is_zero() {
            self.refresh(self.clock.monotonic());
        }
    }

    /// Asks for a first fetch.
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

    /// Whether keys are at hand that could verify a token.
    pub(super) fn is_usable(&self) -> bool {
        let now = self.clock.monotonic();
        self.current.load().as_ref().is_some_and(|loaded| {
            let age = now.saturating_duration_since(loaded.fetched);
            age < loaded.max_age.saturating_add(self.numbers.stale)
        })
    }

    /// Which keys these are, while they are usable. A token that is remembered asks for nothing else,
    /// so that a refresh which is due is started here as well.
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

    /// A wait for the end of the running fetch, or of one that is started for it.
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
        // The task keeps its own time limit. This one is for a task that does not run.
        let limit = self.numbers.timeout + self.numbers.wait;
        Some(self.wait(&mut state, limit))
    }

    /// The reason why no keys are usable.
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

    /// Returns `true` if a kid that somebody asked for is not in this set either.
    pub(super) fn lacks_what_was_asked(&self, set: &KeySet) -> bool {
        let state = self.lock();
        if state.asked_more {
            return true;
        }
        let kids = set.keys().filter_map(VerifyingKey::kid);
        let kids: HashSet<u64> = kids.map(|kid| self.hasher.hash_one(kid)).collect();
        let mut asked = state.asked.values().flatten();
        asked.any(|kid| !kids.contains(kid))
    }

    pub(super) fn last_success(&self) -> Option<OffsetDateTime> {
        self.lock().last_success
    }

    pub(super) fn last_error(&self) -> Option<FetchError> {
        self.lock().last_error.clone()
    }

    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// A fetch ended well. Whether the keys are others than before.
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
        // 80 % ± 5 %, so that the nodes of a service do not all ask at once.
        next.refresh = next.max_age.mul_f64(0.75 + 0.1 * self.chance());
        self.current.store(Some(Arc::new(next)));
        let mut state = self.lock();
        state.failures = 0;
        state.retry_at = None;
        state.last_error = None;
        state.last_success = Some(self.clock.now().into());
        state.unknown = mem::take(&mut state.asked).into_keys().collect();
        state.all_unknown = mem::take(&mut state.asked_more);
        release(state);
        changed
    }

    /// A fetch failed: the old keys stay. Gives the wait until the next attempt is allowed.
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
        state.asked.clear();
        state.asked_more = false;
        release(state);
        wait
    }

    /// No fetch will ever run again, because the set is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // The operator wanted it.
        state.reported = true;
        release(state);
        self.wanted.notify_one();
    }

    /// No fetch will ever run again, because the task that fetches has ended.
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

    /// A number from 0 to 1; nothing secret hangs on it.
    fn chance(&self) -> f64 {
        let random = RandomState::new().hash_one(());
        f64::from((random >> 32) as u32) / f64::from(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left nothing half done: every change is a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a fetch: whoever waited looks up again. No lock is held while they are woken, because a
/// waker may run its task in place.
fn release(mut state: MutexGuard<'_, State>) {
    state.in_flight = false;
    state.prune_at = 0;
    let waiters = mem::take(&mut state.waiters);
    drop(state);
    for news in waiters {
        news.announce();
    }
}

/// Tells the operator, once, that nothing fetches.
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
/// The least time between fetches for keys that do not verify their tokens.
const REFETCH: Duration = Duration::from_secs(60);
/// Unknown kids that are remembered, at eight bytes each. Past that the cooldown alone protects.
const MAX_REMEMBERED: usize = 4096;
/// Fewer waiters than this are not worth looking through.
const LEAST_PRUNED: usize = 1024;
