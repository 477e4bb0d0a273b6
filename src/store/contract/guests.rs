//! Guests: claimed once, promoted once, told until it is settled.

use std::{collections::BTreeMap, future::Future, time::Duration};

use tokio::task::JoinSet;

use super::{Fixture, SECOND, new_id, new_name, outcome, peek, start};
use crate::{
    principal::{Principal, PrincipalKind, SessionId},
    revocation::{Feed, RevocationSet},
    server::refresh::{RefreshOutcome, RefreshPolicy},
    store::port::{
        ClaimOutcome, DeviceDigest, GuestRecord, GuestStore, LinkCondition, NewGuest,
        NewSessionRecord, PendingClaim, SessionStore, retry_after,
    },
};

/// A store of guests under test. No other guests may be in it, nor come meanwhile: pending claims go
/// to whoever asks for them.
pub trait GuestFixture: Fixture<Store: GuestStore> {
    /// Makes a guest older: takes this much from every time that its row holds (whole
    /// milliseconds).
    fn age_guest(&self, subject: &str, by: Duration) -> impl Future<Output = ()> + Send;
}

/// Makes a `#[tokio::test]` of every rule about guests.
///
/// As [`session_store_contract!`](crate::session_store_contract), with an expression that makes a
/// [`GuestFixture`](crate::store::contract::GuestFixture).
#[macro_export]
macro_rules! guest_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::guest_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            a_guest_is_kept_as_it_came
            w3_of_many_users_one_claims_a_guest
            w3_a_claim_and_a_promotion_exclude_each_other
            w5_a_claim_ends_the_guests_sessions_in_the_same_step
            a_promotion_raises_the_epoch_and_keeps_the_subject
            another_device_links_nothing
            an_hour_without_a_word_is_too_long
            what_is_claimed_promoted_or_expired_writes_no_more
            a_pending_claim_is_due_until_it_is_settled
            of_many_workers_one_gets_a_claim
            guests_that_expired_long_ago_are_purged
        }
    };
    ($fixture:expr) => {
        $crate::guest_store_contract!([] $fixture);
    };
}

/// What was kept is what is found; one of its name is never replaced.
pub async fn a_guest_is_kept_as_it_came(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let name = new_name("gst");
    assert_eq!(store.find_guest(&name).await.expect("find_guest"), None);
    assert!(!store.touch_guest(&name).await.expect("touch_guest"));
    let device = Some(DeviceDigest::of("a device"));
    let guest = NewGuest {
        subject: name.clone(),
        device,
        lifetime: MONTH,
    };
    assert!(store.create_guest(guest.clone()).await.expect("create"));
    let kept = find(&fixture.store(), &name).await;
    assert_eq!(kept.subject, name);
    assert_eq!(kept.device, device);
    assert_eq!(kept.written_at, kept.created_at);
    assert_eq!(kept.expires_at, kept.created_at.plus(MONTH));
    assert_eq!((kept.promoted_at, &kept.claim), (None, &None));

    let other = NewGuest {
        device: None,
        ..guest
    };
    assert!(!store.create_guest(other).await.expect("create"));
    assert_eq!(find(&store, &name).await, kept);
}

/// W3: of many users who claim one guest at once, on different nodes, exactly one gets it.
pub async fn w3_of_many_users_one_claims_a_guest(fixture: &impl GuestFixture) {
    for users in [2, 20] {
        let guest = new_guest(fixture, None).await;
        let mut tasks = JoinSet::new();
        for number in 0..users {
            let (store, link) = (fixture.store(), link(&guest, None));
            tasks.spawn(async move {
                let user = format!("user {number}");
                let linking = store.claim_guest(link, &user).await;
                (user, linking.expect("claim_guest"))
            });
        }
        let mut winners = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done.expect("the store does not panic") {
                (user, ClaimOutcome::Done { epoch: 1 }) => winners.push(user),
                (user, other) => assert_eq!(other, ClaimOutcome::Taken, "{user}"),
            }
        }
        let [winner] = winners.as_slice() else {
            panic!("exactly one wins: {winners:?}");
        };
        let claim = find(&fixture.store(), &guest).await.claim;
        let claim = claim.expect("the guest is claimed");
        assert_eq!((&claim.user, claim.settled), (winner, false));
        // Whoever has it is told so, and nobody else gets it later.
        let store = fixture.store();
        let again = store.claim_guest(link(&guest, None), winner).await;
        assert_eq!(again.expect("claim_guest"), ClaimOutcome::Before);
        let later = store.claim_guest(link(&guest, None), "late").await;
        assert_eq!(later.expect("claim_guest"), ClaimOutcome::Taken);
    }
}

/// A guest becomes somebody's or somebody, never both.
pub async fn w3_a_claim_and_a_promotion_exclude_each_other(fixture: &impl GuestFixture) {
    for _ in 0..10 {
        let guest = new_guest(fixture, None).await;
        let [claiming, promoting] = [fixture.store(), fixture.store()];
        let (one, other) = tokio::join!(
            claiming.claim_guest(link(&guest, None), "alice"),
            promoting.promote_guest(link(&guest, None)),
        );
        let pair = [one.expect("claim_guest"), other.expect("promote_guest")];
        let done = pair
            .iter()
            .filter(|one| **one == ClaimOutcome::Done { epoch: 1 });
        assert_eq!(done.count(), 1, "{pair:?}");
        assert!(pair.contains(&ClaimOutcome::Taken), "{pair:?}");
        let kept = find(&claiming, &guest).await;
        assert_ne!(kept.claim.is_some(), kept.promoted_at.is_some());
    }
}

/// W5: once a guest is claimed no token of it is good, on no node, and none is started or refreshed.
pub async fn w5_a_claim_ends_the_guests_sessions_in_the_same_step(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let guest = new_guest(fixture, None).await;
    let session = start_session(&store, &guest).await;
    let elsewhere = RevocationSet::local();
    let mut feed = fixture.feed();
    feed.load(&elsewhere).await.expect("load");
    assert!(!elsewhere.contains(&holder(&guest, session)));

    let claimed = store.claim_guest(link(&guest, None), "alice").await;
    assert_eq!(
        claimed.expect("claim_guest"),
        ClaimOutcome::Done { epoch: 1 }
    );
    assert!(peek(&fixture.store(), session).await.session.family.revoked);
    let refreshed = outcome(&fixture.store(), session, 0, RefreshPolicy::browser()).await;
    assert_eq!(refreshed, (RefreshOutcome::Revoked, 0));
    for _ in 0..100 {
        if elsewhere.contains(&holder(&guest, session)) {
            break;
        }
        feed.next(&elsewhere).await.expect("next");
    }
    assert!(elsewhere.contains(&holder(&guest, session)));
    // A node that starts later hears of it as well.
    let late = RevocationSet::local();
    fixture.feed().load(&late).await.expect("load");
    assert!(late.contains(&holder(&guest, session)));
}

/// Tokens from before are dead, those of the new epoch are good, and there is no second time.
pub async fn a_promotion_raises_the_epoch_and_keeps_the_subject(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let guest = new_guest(fixture, None).await;
    let session = start_session(&store, &guest).await;
    let promoted = store.promote_guest(link(&guest, None)).await;
    assert_eq!(
        promoted.expect("promote_guest"),
        ClaimOutcome::Done { epoch: 1 }
    );
    assert_eq!(store.epoch(&guest).await.expect("epoch"), 1);
    assert!(peek(&store, session).await.session.family.revoked);
    assert!(find(&store, &guest).await.promoted_at.is_some());

    let account = NewSessionRecord {
        subject: guest.clone(),
        epoch: Some(1),
        ..super::new_session()
    };
    assert_eq!(start(&store, account).await.epoch, 1);
    let again = store.promote_guest(link(&guest, None)).await;
    assert_eq!(again.expect("promote_guest"), ClaimOutcome::Taken);
    assert_eq!(store.epoch(&guest).await.expect("epoch"), 1);
}

/// Bound and unbound, one's own and another's: only what is the same links.
pub async fn another_device_links_nothing(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let [own, other] = ["own", "other"].map(|held| Some(DeviceDigest::of(held)));
    for (kept, presented) in [(own, other), (own, None), (None, own)] {
        let guest = new_guest(fixture, kept).await;
        let claimed = store.claim_guest(link(&guest, presented), "alice").await;
        assert_eq!(claimed.expect("claim_guest"), ClaimOutcome::OtherDevice);
        let promoted = store.promote_guest(link(&guest, presented)).await;
        assert_eq!(promoted.expect("promote_guest"), ClaimOutcome::OtherDevice);
        assert_eq!(store.epoch(&guest).await.expect("epoch"), 0);
        let claimed = store.claim_guest(link(&guest, kept), "alice").await;
        assert_eq!(
            claimed.expect("claim_guest"),
            ClaimOutcome::Done { epoch: 1 }
        );
    }
}

/// Only a guest that wrote within the hour is linked; a word makes it young again.
pub async fn an_hour_without_a_word_is_too_long(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let guest = new_guest(fixture, None).await;
    fixture.age_guest(&guest, HOUR + SECOND).await;
    for linking in [
        store.claim_guest(link(&guest, None), "alice").await,
        store.promote_guest(link(&guest, None)).await,
    ] {
        assert_eq!(linking.expect("a link"), ClaimOutcome::Stale);
    }
    let before = find(&store, &guest).await;
    assert!(store.touch_guest(&guest).await.expect("touch_guest"));
    let after = find(&store, &guest).await;
    assert!(after.written_at > before.written_at);
    assert_eq!(after.expires_at, before.expires_at, "nothing moves its end");
    fixture.age_guest(&guest, HOUR - SECOND * 60).await;
    let claimed = store.claim_guest(link(&guest, None), "alice").await;
    assert_eq!(
        claimed.expect("claim_guest"),
        ClaimOutcome::Done { epoch: 1 }
    );
}

/// After its end a guest is noted to have written nothing.
pub async fn what_is_claimed_promoted_or_expired_writes_no_more(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let [claimed, promoted, expired] = [
        new_guest(fixture, None).await,
        new_guest(fixture, None).await,
        new_guest(fixture, None).await,
    ];
    let done = store.claim_guest(link(&claimed, None), "alice").await;
    assert_eq!(done.expect("claim_guest"), ClaimOutcome::Done { epoch: 1 });
    let done = store.promote_guest(link(&promoted, None)).await;
    assert_eq!(
        done.expect("promote_guest"),
        ClaimOutcome::Done { epoch: 1 }
    );
    fixture.age_guest(&expired, MONTH).await;
    for guest in [claimed, promoted] {
        assert!(!store.touch_guest(&guest).await.expect("touch_guest"));
    }
    assert!(!store.touch_guest(&expired).await.expect("touch_guest"));
    let late = store.claim_guest(link(&expired, None), "alice").await;
    assert_eq!(late.expect("claim_guest"), ClaimOutcome::Unknown);
}

/// At least once: it comes again, later and later, until somebody settles it, once.
pub async fn a_pending_claim_is_due_until_it_is_settled(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let guest = new_guest(fixture, None).await;
    let user = new_name("user");
    let claimed = store.claim_guest(link(&guest, None), &user).await;
    assert_eq!(
        claimed.expect("claim_guest"),
        ClaimOutcome::Done { epoch: 1 }
    );
    assert_eq!(
        due(&store, &guest).await,
        None,
        "whoever claims tells first"
    );
    fixture.age_guest(&guest, SECOND * 31).await;
    for attempts in 1..=3 {
        let pending = PendingClaim {
            guest: guest.clone(),
            user: user.clone(),
            attempts,
        };
        assert_eq!(due(&store, &guest).await, Some(pending));
        assert_eq!(due(&store, &guest).await, None, "it is somebody's now");
        let wait = retry_after(attempts);
        fixture.age_guest(&guest, wait - SECOND * 20).await;
        assert_eq!(due(&store, &guest).await, None, "attempt {attempts}");
        fixture.age_guest(&guest, SECOND * 20).await;
    }
    let settle = async |user: &str| {
        store
            .settle_claim(&guest, user)
            .await
            .expect("settle_claim")
    };
    assert!(!settle("somebody else").await);
    assert!(settle(&user).await);
    assert!(!settle(&user).await);
    fixture.age_guest(&guest, SECOND * 7200).await;
    assert_eq!(due(&store, &guest).await, None);
    let claim = find(&store, &guest).await.claim;
    assert!(claim.is_some_and(|claim| claim.settled && claim.user == user));
}

/// Workers on all nodes share the pending claims.
pub async fn of_many_workers_one_gets_a_claim(fixture: &impl GuestFixture) {
    let mut guests = BTreeMap::new();
    for _ in 0..5 {
        let guest = new_guest(fixture, None).await;
        let claimed = fixture
            .store()
            .claim_guest(link(&guest, None), "alice")
            .await;
        assert_eq!(
            claimed.expect("claim_guest"),
            ClaimOutcome::Done { epoch: 1 }
        );
        fixture.age_guest(&guest, SECOND * 31).await;
        guests.insert(guest, 0);
    }
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let store = fixture.store();
        workers.spawn(async move { store.due_claims(1000).await.expect("due_claims") });
    }
    while let Some(taken) = workers.join_next().await {
        for claim in taken.expect("the store does not panic") {
            if let Some(times) = guests.get_mut(&claim.guest) {
                *times += 1;
            }
        }
    }
    assert!(guests.values().all(|times| *times == 1), "{guests:?}");
}

/// A day after its end a guest goes, unless its claim is pending.
pub async fn guests_that_expired_long_ago_are_purged(fixture: &impl GuestFixture) {
    let store = fixture.store();
    let [gone, pending, recent] = [
        new_guest(fixture, None).await,
        new_guest(fixture, None).await,
        new_guest(fixture, None).await,
    ];
    let claimed = store.claim_guest(link(&pending, None), "alice").await;
    assert_eq!(
        claimed.expect("claim_guest"),
        ClaimOutcome::Done { epoch: 1 }
    );
    for guest in [&gone, &pending] {
        fixture.age_guest(guest, MONTH + DAY + SECOND).await;
    }
    fixture.age_guest(&recent, MONTH + DAY - SECOND * 60).await;
    store.purge_guests(1000).await.expect("purge_guests");
    let found = async |name: &str| store.find_guest(name).await.expect("find_guest").is_some();
    assert!(!found(&gone).await);
    assert!(found(&pending).await);
    assert!(found(&recent).await);
}

async fn new_guest(fixture: &impl GuestFixture, device: Option<DeviceDigest>) -> String {
    let subject = new_name("gst");
    let guest = NewGuest {
        subject: subject.clone(),
        device,
        lifetime: MONTH,
    };
    let created = fixture.store().create_guest(guest).await;
    assert!(created.expect("create_guest"));
    subject
}

async fn start_session(store: &impl SessionStore, guest: &str) -> SessionId {
    let session = NewSessionRecord {
        id: new_id(),
        subject: guest.to_owned(),
        kind: PrincipalKind::Guest,
        ..super::new_session()
    };
    start(store, session).await.id
}

fn link(guest: &str, device: Option<DeviceDigest>) -> LinkCondition {
    LinkCondition {
        guest: guest.to_owned(),
        device,
        within: HOUR,
    }
}

async fn find(store: &impl GuestStore, guest: &str) -> GuestRecord {
    let found = store.find_guest(guest).await.expect("find_guest");
    found.expect("the guest that was kept is found").guest
}

/// The pending claim of this guest, where it is due.
async fn due(store: &impl GuestStore, guest: &str) -> Option<PendingClaim> {
    let due = store.due_claims(1000).await.expect("due_claims");
    due.into_iter().find(|claim| claim.guest == guest)
}

/// Whoever holds a token of the guest's session, from before the claim.
fn holder(guest: &str, session: SessionId) -> Principal {
    let holder = Principal::builder()
        .kind(PrincipalKind::Guest)
        .subject(guest);
    holder.session_id(&session.to_string()).epoch(0).build()
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
