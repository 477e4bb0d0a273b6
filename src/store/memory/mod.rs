//! A store in this process: for tests, for development, and for a single node whose sessions may be
//! lost at a restart.

mod api_keys;
mod credentials;
mod factors;
mod guests;
mod key_ring;
mod one_time;
mod sessions;
mod throttle;
mod users;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{ENDED_FOR, REVOKED_FOR};
use crate::server::login::MemoryThrottle;
use crate::{
    error::{ConfigError, StoreError},
    layer::api_key::{ApiKeyId, ApiKeyRecord, revoke_all_in},
    principal::SessionId,
    revocation::{Broadcast, BroadcastFeed, RETENTION, Revocation, RevocationLog, RevocationSet},
    secret::Secret,
    store::port::{AuthStore, Family, RevokeReason, SecretStore, SessionRecord, StoreId},
    time::{Clock, SystemClock, Timestamp},
};

/// A store in the memory of this process. Its content is lost when the process ends. Cheap to clone;
/// all clones are the same store.
///
/// The number of sessions is limited by [`max_sessions`](Self::max_sessions). A full store deletes
/// sessions that have ended. If all sessions are alive, it refuses new ones with
/// [`StoreErrorKind::Unavailable`](crate::error::StoreErrorKind::Unavailable), because a flood of
/// guests must not sign out other users. Of one-time tokens it keeps 20 000 of each purpose, and 100 000 of
/// [flows](crate::store::port::OneTimePurpose::Flow). A new one replaces the oldest of its purpose: a flood of
/// one purpose then delays nobody, and ends only older requests of the same purpose. The number of users and API
/// keys is not limited: an administrator or a rate limit on registrations admits them.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_jwt_auth::store::port::{NewSessionRecord, SessionStore};
/// use tower_jwt_auth::{store::MemoryStore, principal::SessionId};
///
/// let store = MemoryStore::new();
/// let id = SessionId::from_bytes([7; 16]);
/// let day = Duration::from_secs(24 * 3600);
/// store.create(NewSessionRecord::new(id, "alice", 14 * day, 90 * day)).await?;
///
/// let grace = Duration::from_secs(30);
/// let first = store.advance_live(id, 0, grace, None).await?.ok_or("not the live generation")?;
/// assert_eq!(first.session.family.generation, 1);
/// let again = store.advance_live(id, 0, grace, None).await?;
/// assert_eq!(again, None, "generation 0 was used");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    id: StoreId,
    news: Broadcast,
    state: Mutex<State>,
    api_keys: Mutex<HashMap<ApiKeyId, ApiKeyRecord>>,
    key_ring: key_ring::Ring,
    factors: Mutex<factors::Factors>,
    credentials: Mutex<credentials::Credentials>,
    users: Mutex<users::Users>,
    throttle: MemoryThrottle,
    one_time: Mutex<one_time::Tokens>,
}

struct State {
    sessions: HashMap<SessionId, Row>,
    by_subject: HashMap<String, OfSubject>,
    /// The epochs other than 0.
    epochs: HashMap<String, Epoch>,
    secrets: HashMap<String, Secret<Vec<u8>>>,
    guests: guests::Guests,
    max_sessions: usize,
    /// The last search of a full store for ended sessions.
    searched: Searched,
    searched_guests: Searched,
}

/// The time at which a full store last searched for room. A search visits every row, so a full store
/// does not search for each new row.
#[derive(Default)]
struct Searched(Option<Timestamp>);

impl Searched {
    /// Returns `true` if a search is due, and records it.
    fn is_due(&mut self, now: Timestamp) -> bool {
        let just_now = |at: Timestamp| at <= now && now < at.plus(SEARCH_EVERY);
        if self.0.is_some_and(just_now) {
            return false;
        }
        self.0 = Some(now);
        true
    }
}

/// The sessions of one subject.
#[derive(Default)]
struct OfSubject {
    /// The sessions that are alive, ordered by their ends, and some that have ended by time.
    open: BTreeSet<(Timestamp, SessionId)>,
    /// The others that have ended by time. If the clock is set back, they may be alive again.
    over: BTreeSet<SessionId>,
    /// The number of sessions, including ended ones that are not purged yet.
    rows: usize,
}

impl OfSubject {
    /// Moves at most 100 sessions that ended by time. Every new session calls it, so that the ended ones do
    /// not slow down the work on those that are alive.
    fn prune(&mut self, now: Timestamp) {
        for _ in 0..PRUNED {
            match self.open.first() {
                Some((end, id)) if *end <= now => self.over.insert(*id),
                _ => return,
            };
            self.open.pop_first();
        }
    }

    /// Takes out a session that had this end.
    fn take(&mut self, end: Timestamp, id: SessionId) -> bool {
        self.open.remove(&(end, id)) || self.over.remove(&id)
    }

    /// Returns a session that was not revoked.
    fn first(&self) -> Option<SessionId> {
        let open = self.open.first().map(|(_, id)| id);
        open.or_else(|| self.over.first()).copied()
    }
}

struct Row {
    record: SessionRecord,
    revoked_at: Option<Timestamp>,
}

struct Epoch {
    number: u32,
    raised_at: Timestamp,
}

impl MemoryStore {
    /// Creates an empty store for at most 100 000 sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// Creates an empty store with this clock.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        Self {
            shared: Arc::new(Shared {
                news: Broadcast::with_clock(Arc::clone(&clock)),
                api_keys: Mutex::default(),
                key_ring: key_ring::Ring::default(),
                factors: Mutex::default(),
                credentials: Mutex::default(),
                users: Mutex::default(),
                throttle: MemoryThrottle::with_clock(Arc::clone(&clock)),
                one_time: Mutex::default(),
                clock,
                id: StoreId::new(),
                state: Mutex::new(State {
                    sessions: HashMap::new(),
                    by_subject: HashMap::new(),
                    epochs: HashMap::new(),
                    secrets: HashMap::new(),
                    guests: guests::Guests::default(),
                    max_sessions: MAX_SESSIONS,
                    searched: Searched::default(),
                    searched_guests: Searched::default(),
                }),
            }),
        }
    }

    /// Sets the maximum number of sessions, for all clones. The default is 100 000. A session takes about
    /// 500 bytes plus its details.
    #[must_use]
    pub fn max_sessions(self, max: usize) -> Self {
        self.lock().max_sessions = max;
        self
    }

    /// Returns a feed of past and future revocations.
    #[must_use]
    pub fn feed(&self) -> BroadcastFeed {
        self.shared.news.feed()
    }

    /// Creates a revocation set that follows this store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: called outside a tokio runtime.
    pub fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    /// Subtracts this duration from all times of a session, as if it had been started and used earlier.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn age(&self, id: SessionId, by: Duration) {
        self.shift(id, |time| time.minus(by));
    }

    /// Adds this duration to all times of a session, as if the clock had been set back.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn set_back(&self, id: SessionId, by: Duration) {
        self.shift(id, |time| time.plus(by));
    }

    /// Returns the number of rows of all kinds except users, credentials, API keys and secrets.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[must_use]
    pub fn rows(&self) -> usize {
        let state = self.lock();
        let rows = state.sessions.len()
            + state.by_subject.len()
            + state.epochs.len()
            + state.guests.len()
            + self.shared.news.len();
        rows + self.one_time_len() + self.shared.throttle.len()
    }

    #[cfg(any(test, feature = "test-util"))]
    fn shift(&self, id: SessionId, shifted: impl Fn(Timestamp) -> Timestamp) {
        let mut state = self.lock();
        let Some(row) = state.sessions.get_mut(&id) else {
            return;
        };
        row.record.created_at = shifted(row.record.created_at);
        row.revoked_at = row.revoked_at.map(&shifted);
        let family = row.record.family.clone();
        let family = Family {
            rotated_at: family.rotated_at.map(&shifted),
            used_at: shifted(family.used_at),
            expires_at: shifted(family.expires_at),
            ..family
        };
        state.change(id, family);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is usable: no code panics between two changes that belong together.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time. Must be called under the lock, so that time does not run backwards between two
    /// changes.
    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Ends all of the subject's sessions and returns its new epoch.
    fn end_all(
        &self,
        state: &mut State,
        subject: &str,
        reason: RevokeReason,
        now: Timestamp,
    ) -> u32 {
        let number = state.epoch(subject).saturating_add(1);
        let epoch = Epoch {
            number,
            raised_at: now,
        };
        state.epochs.insert(subject.to_owned(), epoch);
        // The lock is held, so marking the rows has the same effect as comparing their epochs.
        while let Some(id) = state.by_subject.get(subject).and_then(OfSubject::first) {
            state.end(id, reason, now);
        }
        let revocation = Revocation::subject(subject, number, now.plus(RETENTION));
        self.shared.news.send_once(revocation);
        number
    }

    /// Emits the end of a session, once.
    fn emit(&self, id: SessionId, now: Timestamp) {
        let revocation = Revocation::session(id.to_string(), now.plus(RETENTION));
        self.shared.news.send_once(revocation);
    }
}

impl AuthStore for MemoryStore {
    fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    async fn revoke_api_keys(&self, subject: &str) -> Result<(), StoreError> {
        revoke_all_in(self, subject).await
    }
}

impl RevocationLog for MemoryStore {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.shared.news.send(revocation);
        Ok(())
    }
}

impl SecretStore for MemoryStore {
    async fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> Result<Secret<Vec<u8>>, StoreError> {
        let mut state = self.lock();
        let kept = state.secrets.entry(name.to_owned());
        Ok(kept.or_insert_with(|| Secret::new(fresh.to_vec())).clone())
    }
}

impl State {
    fn epoch(&self, subject: &str) -> u32 {
        self.epochs.get(subject).map_or(0, |epoch| epoch.number)
    }

    /// Returns the ids of the subject's live sessions.
    fn alive_of(&self, subject: &str, now: Timestamp) -> Vec<SessionId> {
        let Some(of_subject) = self.by_subject.get(subject) else {
            return Vec::new();
        };
        let later = (now, SessionId::from_bytes([0xFF; 16]));
        let open = of_subject.open.range(later..);
        let ids = open.map(|(_, id)| *id);
        ids.filter(|id| self.sessions.get(id).is_some_and(|row| row.is_alive(now)))
            .collect()
    }

    fn insert(&mut self, record: SessionRecord, now: Timestamp) {
        let of_subject = self.by_subject.entry(record.subject.clone()).or_default();
        of_subject.prune(now);
        of_subject.open.insert((record.family.ends_at(), record.id));
        of_subject.rows += 1;
        let row = Row {
            record,
            revoked_at: None,
        };
        self.sessions.insert(row.record.id, row);
    }

    /// Replaces the state of a session, and returns the session.
    fn change(&mut self, id: SessionId, family: Family) -> Option<SessionRecord> {
        let row = self.sessions.get_mut(&id)?;
        let of_subject = self.by_subject.get_mut(&row.record.subject)?;
        if of_subject.take(row.record.family.ends_at(), id) {
            of_subject.open.insert((family.ends_at(), id));
        }
        row.record.family = family;
        Some(row.record.clone())
    }

    /// Revokes a session. Returns `false` if it does not exist or was revoked before.
    fn end(&mut self, id: SessionId, reason: RevokeReason, now: Timestamp) -> bool {
        let Some(row) = self.sessions.get_mut(&id) else {
            return false;
        };
        if let Some(of_subject) = self.by_subject.get_mut(&row.record.subject) {
            of_subject.take(row.record.family.ends_at(), id);
        }
        row.revoke(reason, now)
    }

    fn remove(&mut self, ids: &[SessionId]) -> u64 {
        let mut removed = 0;
        for id in ids {
            let Some(row) = self.sessions.remove(id) else {
                continue;
            };
            removed += 1;
            let subject = &row.record.subject;
            if let Some(of_subject) = self.by_subject.get_mut(subject) {
                of_subject.take(row.record.family.ends_at(), *id);
                of_subject.rows -= 1;
                if of_subject.rows == 0 {
                    self.by_subject.remove(subject);
                }
            }
        }
        removed
    }

    /// Deletes ended sessions if the store is full.
    fn make_room(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.sessions.len() < self.max_sessions {
            return Ok(());
        }
        if self.searched.is_due(now) {
            let ended = self.sessions.values().filter(|row| !row.is_alive(now));
            let ids: Vec<_> = ended.map(|row| row.record.id).collect();
            self.remove(&ids);
            self.forget_epochs(now);
        }
        if self.sessions.len() < self.max_sessions {
            return Ok(());
        }
        Err(StoreError::unavailable(
            "the store has no room for another session",
        ))
    }

    /// Deletes epochs that nothing can be older than: the subject has no session, and a login that is
    /// still running takes less than a day.
    fn forget_epochs(&mut self, now: Timestamp) {
        let by_subject = &self.by_subject;
        self.epochs.retain(|subject, epoch| {
            by_subject.contains_key(subject) || now < epoch.raised_at.plus(ENDED_FOR)
        });
    }
}

impl Row {
    fn is_alive(&self, now: Timestamp) -> bool {
        !self.record.family.revoked && now < self.record.family.ends_at()
    }

    /// Returns `false` if the session was revoked before.
    fn revoke(&mut self, reason: RevokeReason, now: Timestamp) -> bool {
        self.record.family.revoked = true;
        if self.revoked_at.is_some() {
            return false;
        }
        self.record.revoked = Some(reason);
        self.revoked_at = Some(now);
        true
    }

    fn ended_long_ago(&self, now: Timestamp) -> bool {
        let revoked = |at: Timestamp| now >= at.plus(REVOKED_FOR);
        now >= self.record.family.expires_at.plus(ENDED_FOR) || self.revoked_at.is_some_and(revoked)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.lock().sessions.len();
        f.debug_struct("MemoryStore")
            .field("sessions", &sessions)
            .finish_non_exhaustive()
    }
}

const MAX_SESSIONS: usize = 100_000;
const PRUNED: usize = 100;
/// A deleted epoch restarts at 0. A revocation of older epochs that still exists would then refuse new
/// logins.
const _: () = assert!(ENDED_FOR.as_secs() > 2 * RETENTION.as_secs());
const SEARCH_EVERY: Duration = Duration::from_secs(1);
