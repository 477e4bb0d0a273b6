//! Propagation of revocations to other nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Fixture, SECOND, new_name, new_session, peek, rotate, session_of, start};
use crate::{
    principal::{Principal, SessionId},
    revocation::{RETENTION, Revocation, RevocationLog, RevocationSet, RevocationTarget},
    server::refresh::RefreshPolicy,
    store::port::{RevokeReason, SessionStore},
    time::{Clock, Timestamp},
};

/// A node that starts later loads all revocations.
pub async fn t11_what_was_revoked_is_loaded(fixture: &impl Fixture) {
    let revoked = revoke_everything(fixture).await;
    let set = load(fixture, revoked.now).await;
    revoked.is_in(&set);
    assert!(!set.contains(&caller(&new_name("subject"), "other", 0)));
}

/// A running node receives every revocation within seconds.
pub async fn t11_news_arrive(fixture: &impl Fixture) {
    let now = now(fixture).await;
    let set = load(fixture, now).await;
    let revoked = revoke_everything(fixture).await;
    let waited = Instant::now();
    while !revoked.callers.iter().all(|caller| set.contains(caller)) {
        let missing = revoked
            .callers
            .iter()
            .filter(|caller| !set.contains(caller));
        assert!(
            waited.elapsed() < NEWS,
            "a running node did not receive the revocations of {:?}",
            missing.collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    revoked.is_in(&set);
}

/// A revocation ends when every token that it concerns has expired: not earlier, and not much later.
pub async fn t11_a_revocation_ends(fixture: &impl Fixture) {
    let store = fixture.store();
    let revoked = revoke_everything(fixture).await;
    let clock = Moved::at(revoked.now);
    let set = load_by(fixture, &clock).await;
    clock.advance(RETENTION - 60 * SECOND);
    revoked.is_in(&set);
    // A feed may repeat a revocation that has not ended by the store's clock, also at this moment.
    let mut tries = 0;
    while revoked
        .of_sessions
        .iter()
        .any(|caller| set.contains(caller))
    {
        assert!(tries < 100, "the revocation has not ended");
        tries += 1;
        clock.advance(RETENTION + SECOND);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // Of two revocations of one token, the longer one applies.
    let twice = new_name("token");
    for until in [3600 * SECOND, 60 * SECOND] {
        let revocation = Revocation::token(twice.clone(), revoked.now.plus(until));
        store.append(revocation).await.expect("append");
    }
    let clock = Moved::at(revoked.now);
    let set = load_by(fixture, &clock).await;
    clock.advance(RETENTION + 600 * SECOND);
    assert!(set.contains(&token(&twice)));
    while store.purge(1000).await.expect("purge") > 0 {}
    let set = load(fixture, revoked.now).await;
    assert!(set.contains(&token(&twice)));
    revoked.is_in(&set);
}

/// Revocations apply also on a node whose wall clock is wrong.
pub async fn a_node_whose_clock_is_ahead_knows_what_was_revoked(fixture: &impl Fixture) {
    let revoked = revoke_everything(fixture).await;
    let ahead = load(fixture, revoked.now.plus(24 * RETENTION)).await;
    revoked.is_in(&ahead);
}

/// Callers whose tokens were revoked, and similar callers whose tokens were not.
struct Revoked {
    now: Timestamp,
    callers: Vec<Principal>,
    of_sessions: Vec<Principal>,
    others: Vec<Principal>,
}

impl Revoked {
    fn is_in(&self, set: &RevocationSet) {
        for caller in &self.callers {
            assert!(set.contains(caller), "must be revoked: {caller:?}");
        }
        for other in &self.others {
            assert!(!set.contains(other), "must not be revoked: {other:?}");
        }
    }
}

/// Revokes tokens in every possible way.
async fn revoke_everything(fixture: &impl Fixture) -> Revoked {
    let store = fixture.store();
    let logout = RevokeReason::Logout;
    let mut ended = Vec::new();
    let mut others = Vec::new();

    let alone = start(&store, new_session()).await;
    store.revoke(alone.id, logout).await.expect("revoke");
    ended.push(alone);

    let unused = start(&store, new_session()).await;
    fixture.age(unused.id, super::IDLE).await;
    store.revoke(unused.id, logout).await.expect("revoke");
    ended.push(unused);

    let subject = new_name("subject");
    let kept = start(&store, session_of(&subject)).await;
    ended.push(start(&store, session_of(&subject)).await);
    ended.push(start(&store, session_of(&subject)).await);
    let others_ended = store.revoke_others(&subject, kept.id, logout).await;
    others_ended.expect("revoke_others");
    others.push(caller_of(&kept.subject, kept.id, 0));

    let stolen = start(&store, new_session()).await;
    rotate(&store, stolen.id, 0, RefreshPolicy::strict()).await;
    rotate(&store, stolen.id, 0, RefreshPolicy::strict()).await;
    ended.push(stolen);

    let subject = new_name("Zoë's \"subject\" {1}");
    let old = start(&store, session_of(&subject)).await;
    let raised = store.revoke_all(&subject, logout).await;
    let raised = raised.expect("revoke_all");
    let new = start(&store, session_of(&subject)).await;
    others.push(caller_of(&subject, new.id, raised));

    let name = new_name("a token's \u{1F511}");
    let now = peek(&store, new.id).await.now;
    let revocation = Revocation::token(name.clone(), now.plus(RETENTION));
    store.append(revocation.clone()).await.expect("append");
    store.append(revocation).await.expect("append twice");

    // A subject of an issuer whose tokens have no epoch.
    let remote = new_name("remote:subject");
    let by_session = |session: Option<&str>, issued: Timestamp| {
        let builder = Principal::builder().subject(&remote).issued_at(issued);
        match session {
            Some(session) => builder.session_id(session).build(),
            None => builder.build(),
        }
    };
    // Later than now: a store that was empty a moment ago refuses all tokens that are older.
    let (earlier, before, after) = (
        now.plus(100 * SECOND),
        now.plus(200 * SECOND),
        now.plus(201 * SECOND),
    );
    for (issued_until, without_session) in [(before, true), (earlier, false), (before, true)] {
        let target = RevocationTarget::SubjectTokens {
            subject: remote.clone(),
            issued_until,
            without_session,
        };
        let revocation = Revocation::of(target, now.plus(RETENTION));
        store.append(revocation).await.expect("append");
    }
    others.extend([by_session(None, after), by_session(Some("s"), before)]);

    let of_session = |session: &crate::store::port::SessionRecord| {
        caller_of(&session.subject, session.id, session.epoch)
    };
    let of_sessions: Vec<_> = ended.iter().map(of_session).collect();
    let mut callers = of_sessions.clone();
    callers.push(caller_of(&subject, old.id, old.epoch));
    callers.push(token(&name));
    callers.extend([by_session(None, before), by_session(Some("s"), earlier)]);
    callers.push(Principal::builder().subject(&remote).build());
    Revoked {
        now,
        callers,
        of_sessions,
        others,
    }
}

/// Returns the set of a node that starts now and whose clock shows this time.
async fn load(fixture: &impl Fixture, now: Timestamp) -> RevocationSet {
    load_by(fixture, &Moved::at(now)).await
}

async fn load_by(fixture: &impl Fixture, clock: &Moved) -> RevocationSet {
    let set = RevocationSet::follow_with_clock(fixture.feed(), clock.clone());
    let set = set.expect("the suite runs on tokio");
    assert!(set.loaded(NEWS).await, "the feed must load");
    set
}

async fn now(fixture: &impl Fixture) -> Timestamp {
    let store = fixture.store();
    let id = start(&store, new_session()).await.id;
    peek(&store, id).await.now
}

fn caller_of(subject: &str, id: SessionId, epoch: u32) -> Principal {
    caller(subject, &id.to_string(), epoch)
}

fn caller(subject: &str, session: &str, epoch: u32) -> Principal {
    let builder = Principal::builder().subject(subject);
    builder.session_id(session).epoch(epoch).build()
}

fn token(name: &str) -> Principal {
    Principal::builder().token_id(name).build()
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Moved {
    wall: Timestamp,
    /// The distance in milliseconds.
    by: Arc<AtomicU64>,
    begun: Instant,
}

impl Moved {
    fn at(wall: Timestamp) -> Self {
        Self {
            wall,
            by: Arc::default(),
            begun: Instant::now(),
        }
    }

    fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or_default();
        self.by.fetch_add(millis, Ordering::Relaxed);
    }

    fn moved(&self) -> Duration {
        Duration::from_millis(self.by.load(Ordering::Relaxed))
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        self.wall.plus(self.moved())
    }

    fn monotonic(&self) -> Instant {
        self.begun + self.moved()
    }
}

const NEWS: Duration = Duration::from_secs(60);
