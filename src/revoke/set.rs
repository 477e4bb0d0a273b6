//! The set of what is revoked, in every process.

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
    check::{Check, RevocationCheck, RevocationStatus},
    entries::{Entries, Kind, Moment, Now},
    entry::{LIFETIME, MAX_TOKEN_LIFETIME, Revocation, Target},
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    event::{AuthEvent, EventSink, Events},
    principal::Principal,
};

/// What is revoked: sessions, single tokens, and subjects' older tokens.
///
/// A set lives in the process that asks it, so that a question costs some tens of nanoseconds, and
/// nothing where nothing of the kind is revoked. It is filled by the process itself
/// ([`local`](Self::local)) or follows a store ([`follow`](Self::follow)). An entry is forgotten
/// when its time has passed, and no sooner than [`LIFETIME`] after it was heard of, by a clock that
/// nobody sets; a million of them take about 50 MB.
///
/// Cheap to clone; all clones are one set. What a clone is told about freshness is its own.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{Principal, clock::Timestamp, revoke::{Revocation, RevocationSet}};
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
    /// Ends the following with the last handle; the follower's own handle has none.
    pub(super) follower: Option<Arc<super::follow::Follower>>,
    issuer: Option<Arc<str>>,
    max_age: Duration,
}

pub(super) struct Shared {
    entries: Entries,
    clock: Arc<dyn Clock>,
    born: Instant,
    /// Milliseconds since `born` when the set was last known to be up to date, or one of the two
    /// below.
    synced: AtomicU64,
    news: watch::Sender<()>,
    listeners: Arc<Listeners>,
    events: OnceLock<Events>,
}

const NEVER: u64 = u64::MAX;
const ALWAYS: u64 = u64::MAX - 1;

impl RevocationSet {
    /// A set that knows what this process tells it, and that is all there is to know.
    #[must_use]
    pub fn local() -> Self {
        Self::local_with_clock(SystemClock::new())
    }

    /// As [`local`](Self::local), with another clock.
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

    /// Speaks about the tokens of this issuer alone. Those of others pass, also while this set is not
    /// loaded or out of date. A token that names no issuer (`iss`) might be its own and counts as such.
    ///
    /// Names of sessions, tokens and subjects are unique within their issuer only, so a layer that
    /// accepts several issuers needs this.
    #[must_use]
    pub fn of_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into().into());
        self
    }

    /// Who is told when the set loses its feed, and when it has caught up again; of all clones the
    /// first who says so.
    #[must_use]
    pub fn events(self, sink: impl EventSink) -> Self {
        let _ = self.shared.events.set(Events::to(sink));
        self
    }

    /// A handle for routes that would rather refuse than risk it: where the set has not been up to
    /// date for 10 seconds, requests are answered with 503.
    ///
    /// By default a set that lost its feed goes on serving from what it has, for as long as the
    /// longest-lived token lives; then it is 503 as well.
    #[must_use]
    pub fn require_fresh(self) -> Self {
        self.max_age(FRESH)
    }

    /// How old the set's knowledge may be; 30 minutes by default, the longest life of a token.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Adds what is revoked. Saying it twice does no harm; the longer time and the higher epoch
    /// count.
    pub fn insert(&self, revocation: &Revocation) {
        let name = self.shared.entries.insert(revocation, self.shared.moment());
        // Pairs with those in `changes` and `changes_for`: either the listener sees the entry, or it is seen here.
        fence(Ordering::SeqCst);
        if self.shared.news.receiver_count() > 0 {
            self.shared.news.send_replace(());
        }
        self.shared.listeners.notify(name);
    }

    /// Adds what was revoked just now.
    pub(crate) fn insert_from_now(&self, target: Target) {
        let until = self.shared.wall().plus(LIFETIME);
        self.insert(&Revocation::of(target, until));
    }

    /// Returns notifications of every new entry from now on.
    ///
    /// Each entry wakes each listener: for a socket or a stream of one caller take
    /// [`changes_for`](Self::changes_for).
    #[must_use]
    pub fn changes(&self) -> Changes {
        let changes = Changes::any(self.shared.news.subscribe());
        fence(Ordering::SeqCst);
        changes
    }

    /// Returns notifications of the entries that may concern this caller, from now on: those under its
    /// session, its token and its subject, and those that concern every caller. For sockets and streams,
    /// which must end when their caller is revoked.
    ///
    /// Ask the set about the caller after this call, not before. An entry under another name wakes no
    /// listener of this kind.
    #[must_use]
    pub fn changes_for(&self, caller: &Principal) -> Changes {
        if !self.judges(caller) {
            return Changes::never();
        }
        let names = [
            (Kind::Session, caller.session_id()),
            (Kind::Token, caller.token_id()),
            (Kind::Subject, caller.subject()),
        ];
        let name = |(kind, name): (_, Option<&str>)| Some(self.shared.entries.name(kind, name?));
        let mut names: Names = names.into_iter().filter_map(name).collect();
        if names.is_empty() {
            // Under a name that no entry has: it hears of what concerns every caller.
            names.push(self.shared.entries.name(Kind::Token, ""));
        }
        let changes = Changes::named(&self.shared.listeners, names);
        fence(Ordering::SeqCst);
        changes
    }

    /// Returns `true` unless the caller is another issuer's than the one that the set is limited to.
    fn judges(&self, caller: &Principal) -> bool {
        match (self.issuer.as_deref(), caller.issuer()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    /// Whether the caller's token is among what is revoked, whatever the set's age.
    #[must_use]
    pub fn contains(&self, caller: &Principal) -> bool {
        let (entries, now) = (&self.shared.entries, &*self.shared);
        let names = |kind, name: Option<&str>| name.and_then(|name| entries.find(kind, name, now));
        if !self.judges(caller) {
            return false;
        }
        names(Kind::Session, caller.session_id()).is_some()
            || names(Kind::Token, caller.token_id()).is_some()
            || names(Kind::Subject, caller.subject())
                .is_some_and(|epoch| caller.epoch().unwrap_or(0) < epoch)
            || entries.issued_before(now).is_some_and(|time| {
                // `iat` is in whole seconds: one of the same second may be newer.
                let second = time.as_millis().div_euclid(1000);
                let issued = caller.issued_at();
                issued.is_some_and(|issued| issued.unix_timestamp() < second)
            })
    }

    /// How many entries there are, some of which may have ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.entries.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long ago the set was known to be up to date; `None`: it was never loaded.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.shared.age()
    }

    /// Whether the credential of this identifier was revoked, whoever issued it: for credentials that
    /// have neither issuer nor epoch.
    pub(crate) fn status_of(&self, token_id: &str) -> RevocationStatus {
        let shared = &self.shared;
        let found = shared.entries.find(Kind::Token, token_id, &**shared);
        self.status(found.is_some())
    }

    fn status(&self, revoked: bool) -> RevocationStatus {
        // What is known to be revoked stays so, whatever else is not known.
        if revoked {
            RevocationStatus::Revoked
        } else if self.is_up_to_date() {
            RevocationStatus::Valid
        } else {
            RevocationStatus::unavailable(RETRY_AFTER)
        }
    }

    /// Notes that the set knew everything at this time, by [`elapsed`](Self::elapsed).
    pub(super) fn synced(&self, at: Duration) {
        let millis = u64::try_from(at.as_millis()).unwrap_or(ALWAYS);
        let synced = &self.shared.synced;
        synced.store(millis.min(ALWAYS - 1), Ordering::Release);
    }

    pub(super) fn tell<'e>(&self, event: impl FnOnce() -> AuthEvent<'e>) {
        if let Some(events) = self.shared.events.get() {
            events.tell(event);
        }
    }

    /// The time since the set was made.
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
        self.clock.now().into()
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

    fn check(&self, caller: &Principal) -> Check<Self::Future> {
        // Neither its entries nor its age say anything about another issuer's tokens.
        Check::Ready(match self.judges(caller) {
            true => self.status(self.contains(caller)),
            false => RevocationStatus::Valid,
        })
    }

    fn is_ready(&self) -> bool {
        self.is_up_to_date()
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

const FRESH: Duration = Duration::from_secs(10);
const RETRY_AFTER: u32 = 1;
