//! What is known of a remote key set, and what a look-up makes of it. No I/O.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Uri};
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::fetch::FetchError;
use crate::{
    clock::Clock,
    key::{KeyLookup, KeyNews, KeyQuery, KeySet, KeySource, KeyWait},
};

/// The numbers of a remote key set.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// `None`: ten minutes, moved by `Cache-Control`.
    pub(super) max_age: Option<Duration>,
    pub(super) cooldown: Duration,
    pub(super) timeout: Duration,
    pub(super) wait: Duration,
    pub(super) stale: Duration,
    pub(super) max_keys: usize,
}

/// A key set as it was fetched.
pub(super) struct Loaded {
    pub(super) set: KeySet,
    /// The document itself: the same bytes are not read again.
    pub(super) document: Bytes,
    /// The tag, and whose it is: another URL may use the same one.
    pub(super) etag: Option<(Uri, HeaderValue)>,
    fetched: Instant,
    max_age: Duration,
    /// When a look-up starts a refresh in the background.
    refresh: Duration,
    /// Counts how often the keys have changed.
    generation: u64,
}

/// What the age of a key set asks for.
struct Age {
    /// Nothing: what was not found a moment ago need not be asked for again.
    young: bool,
    /// A refresh.
    due: bool,
    /// A refresh that should have come already.
    stale: bool,
}

/// What came of a fetch.
pub(super) enum Fetched {
    Document {
        set: KeySet,
        document: Bytes,
        etag: Option<(Uri, HeaderValue)>,
        fresh: Option<Duration>,
    },
    NotModified {
        before: Arc<Loaded>,
        fresh: Option<Duration>,
    },
}

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
    /// A request began to wait.
    pub(super) joined: Notify,
}

#[derive(Default)]
struct State {
    in_flight: bool,
    closed: bool,
    /// In the order of their deadlines.
    waiters: VecDeque<(tokio::time::Instant, KeyNews)>,
    /// How many waiters make it worth looking for those whose request is gone.
    prune_at: usize,
    /// Those who wait until the fetch ends, however long it takes.
    patient: Vec<KeyNews>,
    /// Unknown kids that the running fetch is to decide about, and those that were decided. Only
    /// hashes, keyed at random: kids are of any length, and anybody may write them.
    asked: HashSet<u64>,
    unknown: HashSet<u64>,
    /// More kids than are remembered were asked for, and so decided: all that are unknown count.
    asked_more: bool,
    all_unknown: bool,
    /// Fetches that unknown kids may still cause, and since when.
    allowance: Option<(u32, Instant)>,
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
            joined: Notify::new(),
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
        let kid = self.hasher.hash_one((query.algorithm, named));
        let mut state = self.lock();
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
        let decided = state.all_unknown || state.unknown.contains(&kid);
        if decided && age.young && !age.due {
            return KeyLookup::Absent;
        }
        let asking = state.in_flight
            || ((age.due || state.may_ask(now, self.numbers.cooldown)) && self.start(&mut state));
        if !asking {
            // Stale keys are due, so that only a worker that ended can be the reason.
            return if age.stale {
                unavailable(now, now)
            } else {
                KeyLookup::Absent
            };
        }
        if state.asked.len() < MAX_REMEMBERED {
            state.asked.insert(kid);
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
        if !state.in_flight {
            if let Some(retry_at) = state.backing_off(now) {
                return unavailable(retry_at, now);
            }
            if !self.start(&mut state) {
                return KeyLookup::Unavailable { retry_after: 1 };
            }
        }
        self.join(&mut state)
    }

    /// Starts a refresh that nobody waits for. Requests whose key is known never wait, not even
    /// for a lock.
    fn refresh(&self, now: Instant) {
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        if !state.in_flight && state.backing_off(now).is_none() {
            self.start(&mut state);
        }
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

    fn start(&self, state: &mut State) -> bool {
        if state.closed {
            return false;
        }
        state.in_flight = true;
        self.wanted.notify_one();
        true
    }

    fn join(&self, state: &mut State) -> KeyLookup {
        let (news, wait) = KeyWait::new();
        if state.waiters.len() >= state.prune_at {
            state.waiters.retain(|(_, news)| !news.is_abandoned());
            state.prune_at = LEAST_PRUNED.max(2 * state.waiters.len());
        }
        let deadline = tokio::time::Instant::now() + self.numbers.wait;
        state.waiters.push_back((deadline, news));
        self.joined.notify_one();
        KeyLookup::Wait(wait)
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
        let runs = state.in_flight || (state.backing_off(now).is_none() && self.start(&mut state));
        if !runs {
            return None;
        }
        let (news, wait) = KeyWait::new();
        state.patient.retain(|news| !news.is_abandoned());
        state.patient.push(news);
        Some(wait)
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
        next.max_age = self.max_age(fresh);
        // 80 % ± 5 %, so that the nodes of a service do not all ask at once.
        next.refresh = next.max_age.mul_f64(0.75 + 0.1 * self.chance());
        self.current.store(Some(Arc::new(next)));
        let mut state = self.lock();
        state.failures = 0;
        state.retry_at = None;
        state.last_error = None;
        state.last_success = Some(self.clock.now().into());
        state.unknown = std::mem::take(&mut state.asked);
        state.all_unknown = std::mem::take(&mut state.asked_more);
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

    /// Lets those go on who have waited long enough; gives the next deadline.
    pub(super) fn expire_waiters(&self) -> Option<tokio::time::Instant> {
        let now = tokio::time::Instant::now();
        let mut state = self.lock();
        while let Some((deadline, _)) = state.waiters.front() {
            if *deadline > now {
                return Some(*deadline);
            }
            if let Some((_, news)) = state.waiters.pop_front() {
                news.announce();
            }
        }
        None
    }

    /// No fetch will ever run again.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        release(state);
        self.wanted.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn max_age(&self, fresh: Option<Duration>) -> Duration {
        self.numbers.max_age.unwrap_or_else(|| {
            let fresh = fresh.unwrap_or(DEFAULT_MAX_AGE);
            fresh.clamp(LEAST_MAX_AGE, MOST_MAX_AGE)
        })
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

/// Ends a fetch: whoever waited looks up again.
fn release(mut state: MutexGuard<'_, State>) {
    state.in_flight = false;
    state.prune_at = 0;
    let waiters = std::mem::take(&mut state.waiters);
    let patient = std::mem::take(&mut state.patient);
    drop(state);
    for news in waiters.into_iter().map(|(_, news)| news).chain(patient) {
        news.announce();
    }
}

impl State {
    fn backing_off(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|retry_at| now < *retry_at)
    }

    /// A burst of two, then one per cooldown.
    fn may_ask(&mut self, now: Instant, cooldown: Duration) -> bool {
        let (left, since) = self.allowance.unwrap_or((BURST, now));
        let passed = now.saturating_duration_since(since);
        let earned = match passed.as_nanos().checked_div(cooldown.as_nanos()) {
            Some(earned) => u32::try_from(earned).unwrap_or(BURST),
            None => BURST,
        };
        let left = left.saturating_add(earned).min(BURST);
        let since = if left == BURST {
            now
        } else {
            since + cooldown * earned
        };
        self.allowance = Some((left.saturating_sub(1), since));
        left > 0
    }
}

impl Loaded {
    fn new(set: KeySet, document: Bytes, etag: Option<(Uri, HeaderValue)>) -> Self {
        Self {
            set,
            document,
            etag,
            fetched: Instant::now(),
            max_age: Duration::ZERO,
            refresh: Duration::ZERO,
            generation: 0,
        }
    }

    fn renewed(&self) -> Self {
        Self::new(self.set.clone(), self.document.clone(), self.etag.clone())
    }
}

fn unavailable(retry_at: Instant, now: Instant) -> KeyLookup {
    let seconds = retry_at.saturating_duration_since(now).as_secs_f64().ceil();
    KeyLookup::Unavailable {
        retry_after: (seconds as u32).max(1),
    }
}

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
const LEAST_MAX_AGE: Duration = Duration::from_secs(60);
const MOST_MAX_AGE: Duration = Duration::from_secs(3600);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MOST_BACKOFF: Duration = Duration::from_secs(60);
const MOST_BACKOFF_WITHOUT_KEYS: Duration = Duration::from_secs(5);
const BURST: u32 = 2;
/// Unknown kids that are remembered, at eight bytes each. Past that the cooldown alone protects.
const MAX_REMEMBERED: usize = 4096;
/// Fewer waiters than this are not worth looking through.
const LEAST_PRUNED: usize = 1024;
