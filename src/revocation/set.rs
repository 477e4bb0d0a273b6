//! The in-process set of revocations.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    changes::{Changes, Listeners, Names},
    check::{CheckResult, RevocationCheck, RevocationStatus},
    entries::{Entries, Kind, Moment, Now},
    entry::{MAX_TOKEN_LIFETIME, Revocation},
};
use crate::{
    event::{AuthEvent, EventSink, Events},
    principal::Principal,
    time::{Clock, SystemClock, Timestamp},
};

/// An in-process set of revoked sessions, tokens and subjects' epochs.
///
/// A lookup takes some tens of nanoseconds, and next to nothing if no entry of that kind exists.
/// The process fills the set itself ([`local`](Self::local)), or the set follows a store
/// ([`follow`](Self::follow)).
///
/// An entry is removed after its end, but no sooner than [`RETENTION`](super::RETENTION) after its insertion by the
/// monotonic clock. A million entries take about 50 MB.
///
/// Cheap to clone. All clones share their entries. The settings [`max_age`](Self::max_age),
/// [`require_fresh`](Self::require_fresh) and [`of_issuer`](Self::of_issuer) apply to one handle
/// and the clones made from it.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{
///     Principal,
///     revocation::{Revocation, RevocationSet},
///     time::Timestamp,
/// };
///
/// let revoked = RevocationSet::local();
/// revoked.insert(&Revocation::session("s1", Timestamp::from_millis(i64::MAX)));
///
/// let caller = Principal::builder().session_id("s1").build();
/// assert!(revoked.contains(&caller));
/// ```
#[derive(Clone)]
pub struct RevocationSet {
    pub(super) shared: Arc<Shared>,
    /// Ends the background task when the last handle is dropped. `None` in the task's own handle.
    pub(super) follower: Option<Arc<super::follow::Follower>>,
    issuer: Option<Arc<str>>,
    max_age: Duration,
}

pub(super) struct Shared {
    entries: Entries,
    clock: Arc<dyn Clock>,
    born: Instant,
    /// The last time at which the set was up to date, in milliseconds since `born`; or `NEVER`, or
    /// `ALWAYS`.
    synced: AtomicU64,
    news: watch::Sender<()>,
    listeners: Arc<Listeners>,
    events: OnceLock<Events>,
}

const NEVER: u64 = u64::MAX;
const ALWAYS: u64 = u64::MAX - 1;

impl RevocationSet {
    /// Creates a set that only this process fills. It is always up to date.
    #[must_use]
    pub fn local() -> Self {
        Self::local_with_clock(SystemClock::new())
    }

    /// Creates a set that only this process fills, with a custom clock. See [`local`](Self::local).
    #[must_use]
    pub fn local_with_clock(clock: impl Clock) -> Self {
        Self::new(Arc::new(clock), ALWAYS)
    }

    pub(super) fn unloaded(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, NEVER)
    }

    fn new(clock: Arc<dyn Clock>, synced: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                entries: Entries::new(),
                born: clock.monotonic(),
                clock,
                synced: AtomicU64::new(synced),
                news: watch::Sender::new(()),
                listeners: Arc::default(),
                events: OnceLock::new(),
            }),
            follower: None,
            issuer: None,
            max_age: MAX_TOKEN_LIFETIME,
        }
    }

    /// Limits the set to the tokens of this issuer. Tokens of other issuers pass, also while the
    /// set is not loaded or out of date. Tokens without an `iss` claim are checked.
    ///
    /// Identifiers of sessions, tokens and subjects are unique only within their issuer. Use this
    /// setting if a layer accepts several issuers.
    #[must_use]
    pub fn of_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into().into());
        self
    }

    /// Returns the issuer to which the set is limited.
    #[cfg(feature = "jwks")]
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Sets the event sink. It receives an event when the set loses its feed and when the feed has
    /// recovered. All clones share one sink; the first call sets it, and later calls have no
    /// effect.
    #[must_use]
    pub fn events(self, sink: impl EventSink) -> Self {
        self.with_events(Events::to(sink))
    }

    pub(crate) fn with_events(self, events: Events) -> Self {
        if events.is_enabled() {
            let _ = self.shared.events.set(events);
        }
        self
    }

    /// Returns a handle that refuses requests with 503 after the set has been out of date for 10
    /// seconds. Use it for routes on which a missed revocation is worse than an outage.
    ///
    /// By default a set that lost its feed serves from its entries for 30 minutes
    /// ([`MAX_TOKEN_LIFETIME`]), and refuses requests with 503 after that.
    #[must_use]
    pub fn require_fresh(self) -> Self {
        self.max_age(FRESH)
    }

    /// Sets the maximum age of the set, after which requests are refused with 503. The default is
    /// 30 minutes ([`MAX_TOKEN_LIFETIME`]).
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Adds a revocation. Adding the same target again is harmless: the later end and the higher
    /// epoch are kept.
    pub fn insert(&self, revocation: &Revocation) {
        let name = self.shared.entries.insert(revocation, self.shared.moment());
        // Pairs with the fences in `changes` and `changes_for`: either the listener finds the
        // entry, or this call finds the listener.
        fence(Ordering::SeqCst);
        if self.shared.news.receiver_count() > 0 {
            self.shared.news.send_replace(());
        }
        self.shared.listeners.notify(name);
    }

    #[cfg(feature = "server")]
    /// Adds a revocation that starts now and lasts for `RETENTION`.
    pub(crate) fn insert_from_now(&self, target: super::RevocationTarget) {
        let until = self.shared.wall().plus(super::RETENTION);
        self.insert(&Revocation::of(target, until));
    }

    /// Returns notifications of every new entry from now on.
    ///
    /// Each entry wakes each listener. For a socket or stream of a single caller, use
    /// [`changes_for`](Self::changes_for).
    #[must_use]
    pub fn changes(&self) -> Changes {
        let changes = Changes::any(self.shared.news.subscribe());
        fence(Ordering::SeqCst);
        changes
    }

    /// Returns notifications of new entries that may concern this caller: those for the caller's
    /// session, token and subject, and those that concern every caller. Use it for sockets and
    /// streams, which must end when their caller is revoked.
    ///
    /// Look the caller up in the set after this call, not before it, so that no entry is missed.
    /// Entries for other names do not wake this listener.
    #[must_use]
    pub fn changes_for(&self, caller: &Principal) -> Changes {
        if !self.judges(caller) {
            return Changes::never();
        }
        let names = [
            (Kind::Session, caller.session_id()),
            (Kind::Token, caller.token_id()),
            (Kind::Subject, caller.subject()),
            (Kind::SubjectTokens, caller.subject()),
            (
                Kind::SessionlessTokens,
                caller.subject().filter(|_| caller.session_id().is_none()),
            ),
        ];
        let name = |(kind, name): (_, Option<&str>)| Some(self.shared.entries.name(kind, name?));
        let mut names: Names = names.into_iter().filter_map(name).collect();
        if names.is_empty() {
            // A name without entries: this listener is woken only by entries that concern every
            // caller.
            names.push(self.shared.entries.name(Kind::Token, ""));
        }
        let changes = Changes::named(&self.shared.listeners, names);
        fence(Ordering::SeqCst);
        changes
    }

    /// Returns `true` unless the set is limited to an issuer and the caller's token names another
    /// one.
    fn judges(&self, caller: &Principal) -> bool {
        match (self.issuer.as_deref(), caller.issuer()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    /// Returns `true` if the caller's token is revoked, independent of the set's age.
    #[must_use]
    pub fn contains(&self, caller: &Principal) -> bool {
        let (entries, now) = (&self.shared.entries, &*self.shared);
        let names = |kind, name: Option<&str>| name.and_then(|name| entries.find(kind, name, now));
        if entries.is_empty() || !self.judges(caller) {
            return false;
        }
        names(Kind::Session, caller.session_id()).is_some()
            || names(Kind::Token, caller.token_id()).is_some()
            || names(Kind::Subject, caller.subject())
                .is_some_and(|epoch| caller.epoch().unwrap_or(0) < epoch)
            || names(Kind::SubjectTokens, caller.subject())
                .is_some_and(|second| is_issued_until(caller, second))
            || caller.session_id().is_none()
                && names(Kind::SessionlessTokens, caller.subject())
                    .is_some_and(|second| is_issued_until(caller, second))
            || entries.issued_before(now).is_some_and(|time| {
                // `iat` is in whole seconds: a token of the same second may be newer.
                let second = time.as_secs();
                let issued = caller.issued_at();
                issued.is_some_and(|issued| issued.as_secs() < second)
            })
    }

    /// Returns the number of entries, including some that may have ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.entries.len()
    }

    /// Returns `true` if the set has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the time since the set was last up to date, or `None` if it was never loaded.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.shared.age()
    }

    /// Returns the status of the credential with this identifier, for credentials that have neither
    /// issuer nor epoch.
    #[cfg(feature = "server")]
    pub(crate) fn status_of(&self, token_id: &str) -> RevocationStatus {
        let shared = &self.shared;
        let found = shared.entries.find(Kind::Token, token_id, &**shared);
        self.status(found.is_some())
    }

    fn status(&self, revoked: bool) -> RevocationStatus {
        // A known revocation applies even if the set is out of date.
        if revoked {
            RevocationStatus::Revoked
        } else if self.is_up_to_date() {
            RevocationStatus::Valid
        } else {
            RevocationStatus::unavailable(RETRY_AFTER)
        }
    }

    /// Records that the set was up to date at this time, in the measure of
    /// [`elapsed`](Self::elapsed).
    pub(super) fn synced(&self, at: Duration) {
        let millis = u64::try_from(at.as_millis()).unwrap_or(ALWAYS);
        let synced = &self.shared.synced;
        synced.store(millis.min(ALWAYS - 1), Ordering::Release);
    }

    pub(super) fn emit<'e>(&self, event: impl FnOnce() -> AuthEvent<'e>) {
        if let Some(events) = self.shared.events.get() {
            events.emit(event);
        }
    }

    /// Returns the time since the set was created.
    pub(super) fn elapsed(&self) -> Duration {
        self.shared.elapsed()
    }

    pub(super) fn expire(&self) {
        self.shared.entries.expire(self.shared.moment());
    }

    fn is_up_to_date(&self) -> bool {
        self.age().is_some_and(|age| age <= self.max_age)
    }
}

impl Now for Shared {
    fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.born)
    }
}

impl Shared {
    fn moment(&self) -> Moment {
        Moment {
            wall: self.wall(),
            elapsed: self.elapsed(),
        }
    }

    fn age(&self) -> Option<Duration> {
        match self.synced.load(Ordering::Acquire) {
            NEVER => None,
            ALWAYS => Some(Duration::ZERO),
            millis => Some(self.elapsed().saturating_sub(Duration::from_millis(millis))),
        }
    }
}

impl RevocationCheck for RevocationSet {
    type Future = std::future::Ready<RevocationStatus>;

    fn check(&self, caller: &Principal) -> CheckResult<Self::Future> {
        // Neither the entries nor the age of the set concern another issuer's tokens.
        CheckResult::Ready(match self.judges(caller) {
            true => self.status(self.contains(caller)),
            false => RevocationStatus::Valid,
        })
    }

    fn is_ready(&self) -> bool {
        self.is_up_to_date()
    }

    fn watch(&self, caller: &Principal) -> Vec<Changes> {
        vec![self.changes_for(caller)]
    }
}

impl fmt::Debug for RevocationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationSet")
            .field("len", &self.len())
            .field("age", &self.age())
            .finish_non_exhaustive()
    }
}

/// Returns `true` unless the caller's token was issued after this second.
fn is_issued_until(caller: &Principal, second: u32) -> bool {
    let issued = caller.issued_at().map(|issued| issued.as_secs());
    issued.is_none_or(|issued| issued <= i64::from(second))
}

const FRESH: Duration = Duration::from_secs(10);
const RETRY_AFTER: u32 = 1;
