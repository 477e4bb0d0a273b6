//! What other nodes learn of.

use std::time::{Duration, Instant, SystemTime};

use super::{Fixture, SECOND, new_name, new_session, peek, rotate, session_of, start};
use crate::{
    clock::{Clock, Timestamp},
    principal::Principal,
    refresh::{RefreshPolicy, RevokeReason, SessionStore},
    revoke::{LIFETIME, Revocation, RevocationLog, RevocationSet},
    token::SessionId,
};

/// A node that starts later knows everything that was revoked.
pub async fn t11_what_was_revoked_is_loaded(fixture: &impl Fixture) {
    let told = revoke_everything(fixture).await;
    let set = load(fixture, told.now).await;
    told.is_known_to(&set);
    assert!(!set.contains(&caller(&new_name("somebody"), "else", 0)));
}

/// A node that runs learns of everything that is revoked, within seconds.
pub async fn t11_news_arrive(fixture: &impl Fixture) {
    let now = now(fixture).await;
    let set = load(fixture, now).await;
    let told = revoke_everything(fixture).await;
    let waited = Instant::now();
    while !told.callers.iter().all(|caller| set.contains(caller)) {
        let missing = told.callers.iter().filter(|caller| !set.contains(caller));
        assert!(
            waited.elapsed() < NEWS,
            "a running node never heard of {:?}",
            missing.collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    told.is_known_to(&set);
}

/// Revocations end when nothing is alive that they concern, and neither sooner nor much later.
pub async fn t11_a_revocation_ends(fixture: &impl Fixture) {
    let store = fixture.store();
    let told = revoke_everything(fixture).await;
    let soon = told.now.plus(LIFETIME).minus(60 * SECOND);
    told.is_known_to(&load(fixture, soon).await);
    let later = load(fixture, told.now.plus(LIFETIME).plus(60 * SECOND)).await;
    for caller in &told.of_sessions {
        assert!(!later.contains(caller), "a revocation that has ended");
    }

    // The longer one of two counts, and what has ended is not loaded.
    let (twice, over) = (new_name("token"), new_name("token"));
    for (name, until) in [
        (&twice, told.now.plus(3600 * SECOND)),
        (&twice, told.now.plus(60 * SECOND)),
        (&over, told.now.minus(SECOND)),
    ] {
        let revocation = Revocation::token(name.clone(), until);
        store.append(revocation).await.expect("append");
    }
    let set = load(fixture, told.now.plus(1800 * SECOND)).await;
    assert!(set.contains(&token(&twice)));
    while store.purge(1000).await.expect("purge") > 0 {}
    let set = load(fixture, told.now).await;
    assert!(set.contains(&token(&twice)));
    assert!(!set.contains(&token(&over)));
    told.is_known_to(&set);
}

/// Everybody whose tokens were revoked, and everybody near them whose tokens were not.
struct Told {
    now: Timestamp,
    callers: Vec<Principal>,
    of_sessions: Vec<Principal>,
    others: Vec<Principal>,
}

impl Told {
    fn is_known_to(&self, set: &RevocationSet) {
        for caller in &self.callers {
            assert!(set.contains(caller), "must be revoked: {caller:?}");
        }
        for other in &self.others {
            assert!(!set.contains(other), "must not be revoked: {other:?}");
        }
    }
}

/// In every way that there is.
async fn revoke_everything(fixture: &impl Fixture) -> Told {
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
    let revocation = Revocation::token(name.clone(), now.plus(LIFETIME));
    store.append(revocation.clone()).await.expect("append");
    store.append(revocation).await.expect("append twice");

    let of_session = |session: &crate::refresh::SessionRecord| {
        caller_of(&session.subject, session.id, session.epoch)
    };
    let of_sessions: Vec<_> = ended.iter().map(of_session).collect();
    let mut callers = of_sessions.clone();
    callers.push(caller_of(&subject, old.id, old.epoch));
    callers.push(token(&name));
    Told {
        now,
        callers,
        of_sessions,
        others,
    }
}

/// What a node knows that starts now, when its clock shows this.
async fn load(fixture: &impl Fixture, now: Timestamp) -> RevocationSet {
    let clock = Standing(now);
    let set = RevocationSet::follow_with_clock(fixture.feed(), clock);
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

/// A clock that stands.
struct Standing(Timestamp);

impl Clock for Standing {
    fn now(&self) -> SystemTime {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

const NEWS: Duration = Duration::from_secs(10);
