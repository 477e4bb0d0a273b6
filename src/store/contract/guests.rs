//! Guests: compare and set, which ends their sessions in the same step.

use std::{collections::BTreeSet, time::Duration};

use tokio::task::JoinSet;

use super::{Fixture, new_id, new_name, outcome, peek, start};
use crate::{
    event::RefreshOutcome,
    principal::{Principal, PrincipalKind, SessionId},
    revocation::{Feed, RevocationSet},
    server::refresh::RefreshPolicy,
    store::port::{
        DeviceDigest, GuestChange, GuestClaim, GuestRecord, GuestStore, LoadedGuest, NewGuest,
        NewSessionRecord, SessionStore,
    },
    time::Timestamp,
};

/// Creates a `#[tokio::test]` for every rule of a [`GuestStore`](crate::store::port::GuestStore).
///
/// As [`session_store_contract!`](crate::session_store_contract), with an expression that creates a
/// [`Fixture`](crate::store::contract::Fixture) whose store is a
/// [`GuestStore`](crate::store::port::GuestStore) without other pending claims.
#[macro_export]
macro_rules! guest_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::guest_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            a_guest_is_kept_as_it_came
            a_guest_changes_only_from_the_version_that_was_loaded
            w3_of_many_changes_of_one_guest_one_is_written
            w5_a_claim_ends_the_guests_sessions_in_the_same_step
            a_promotion_raises_the_epoch_and_keeps_the_subject
            other_changes_end_no_session
            claims_are_due_from_their_time_on_and_oldest_first
        }
    };
    ($fixture:expr) => {
        $crate::guest_store_contract!([] $fixture);
    };
}

/// A new guest is returned unchanged. A guest with the same subject is never replaced.
pub async fn a_guest_is_kept_as_it_came<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    let store = fixture.store();
    let name = new_name("gst");
    assert_eq!(store.find_guest(&name).await.expect("find_guest"), None);
    let mut guest = NewGuest::new(&name, MONTH);
    guest.device = Some(DeviceDigest::of("a device"));
    let created = store.create_guest(guest.clone()).await;
    assert!(created.expect("create_guest"));
    let kept = find(&fixture.store(), &name).await;
    assert!(kept.now >= kept.guest.created_at);
    let mut expected = GuestRecord::new(&name, kept.guest.created_at);
    expected.device = guest.device.take();
    expected.expires_at = expected.created_at.plus(MONTH);
    assert_eq!(kept.guest, expected);

    let again = store.create_guest(guest).await;
    assert!(!again.expect("create_guest"));
    assert_eq!(find(&store, &name).await.guest, expected);
}

/// Every change is returned unchanged, and only a change of the current version is written.
pub async fn a_guest_changes_only_from_the_version_that_was_loaded<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    let store = fixture.store();
    let name = new_guest(&store).await;
    let LoadedGuest { guest: first, now } = find(&store, &name).await;
    let steps: [&dyn Fn(&mut GuestRecord); 4] = [
        &|to| to.written_at = now.plus(HOUR),
        &|to| to.claim = Some(claim("alice", now, Some(now.plus(HOUR)))),
        &|to| {
            let taken = to.claim.as_mut().expect("a claim");
            taken.attempts = 3;
            taken.due_at = Some(now.plus(HOUR * 24));
        },
        &|to| to.claim.as_mut().expect("a claim").due_at = None,
    ];
    let mut from = first.clone();
    for step in steps {
        let next = GuestChange::new(from, step);
        assert!(change(&store, next.clone()).await);
        let kept = find(&fixture.store(), &name).await.guest;
        assert_eq!(kept, next.to);
        // The same change again, and one of the first version.
        assert!(!change(&store, next).await);
        let old = GuestChange::new(first.clone(), |to| to.promoted_at = Some(now));
        assert!(!change(&store, old).await);
        assert_eq!(find(&store, &name).await.guest, kept);
        from = kept;
    }
    assert_eq!(store.epoch(&name).await.expect("epoch"), 1);
    let missing = GuestRecord::new(new_name("gst"), now);
    let missing = GuestChange::new(missing, |to| to.written_at = now);
    assert!(!change(&store, missing).await);
}

/// W3: of many claims and promotions of one guest, on different nodes, exactly one is written.
pub async fn w3_of_many_changes_of_one_guest_one_is_written<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    for many in [2, 20] {
        let name = new_guest(&fixture.store()).await;
        let LoadedGuest { guest, now } = find(&fixture.store(), &name).await;
        let mut tasks = JoinSet::new();
        for number in 0..many {
            let (store, guest) = (fixture.store(), guest.clone());
            let next = GuestChange::new(guest, |to| match number % 4 {
                0 => to.promoted_at = Some(now),
                _ => to.claim = Some(claim(&format!("user {number}"), now, None)),
            });
            tasks.spawn(async move {
                let to = next.to.clone();
                change(&store, next).await.then_some(to)
            });
        }
        let mut written = Vec::new();
        while let Some(done) = tasks.join_next().await {
            written.extend(done.expect("the store does not panic"));
        }
        let [winner] = written.as_slice() else {
            panic!("exactly one change is written: {written:?}");
        };
        let store = fixture.store();
        assert_eq!(find(&store, &name).await.guest, *winner);
        assert_eq!(store.epoch(&name).await.expect("epoch"), 1);
    }
}

/// W5: after a claim no token of the guest is valid, on no node, and no session is refreshed.
pub async fn w5_a_claim_ends_the_guests_sessions_in_the_same_step<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    let store = fixture.store();
    let guest = new_guest(&store).await;
    let session = start_session(&store, &guest).await;
    let elsewhere = RevocationSet::local();
    let mut feed = fixture.feed();
    feed.load(&elsewhere).await.expect("load");
    assert!(!elsewhere.contains(&holder(&guest, session)));

    let LoadedGuest { guest: from, now } = find(&store, &guest).await;
    let claimed = GuestChange::new(from, |to| to.claim = Some(claim("alice", now, None)));
    assert!(change(&store, claimed).await);
    assert_eq!(store.epoch(&guest).await.expect("epoch"), 1);
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
    // A node that starts later loads the revocation.
    let late = RevocationSet::local();
    fixture.feed().load(&late).await.expect("load");
    assert!(late.contains(&holder(&guest, session)));
}

/// Older sessions of the subject end. A session of the new epoch can be created.
pub async fn a_promotion_raises_the_epoch_and_keeps_the_subject<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    let store = fixture.store();
    let guest = new_guest(&store).await;
    let session = start_session(&store, &guest).await;
    let LoadedGuest { guest: from, now } = find(&store, &guest).await;
    let promoted = GuestChange::new(from, |to| to.promoted_at = Some(now));
    assert!(change(&store, promoted).await);
    assert_eq!(store.epoch(&guest).await.expect("epoch"), 1);
    assert!(peek(&store, session).await.session.family.revoked);

    let account = NewSessionRecord {
        subject: guest.clone(),
        epoch: Some(1),
        ..super::new_session()
    };
    assert_eq!(start(&store, account).await.epoch, 1);
}

/// A write of a guest and the delivery of its claim do not change the epoch.
pub async fn other_changes_end_no_session<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    let store = fixture.store();
    let guest = new_guest(&store).await;
    let session = start_session(&store, &guest).await;
    let LoadedGuest { guest: from, now } = find(&store, &guest).await;
    let written = GuestChange::new(from, |to| to.written_at = now.plus(HOUR));
    let from = written.to.clone();
    assert!(change(&store, written).await);
    assert_eq!(store.epoch(&guest).await.expect("epoch"), 0);
    assert!(!peek(&store, session).await.session.family.revoked);
    let claimed = GuestChange::new(from, |to| {
        to.claim = Some(claim("alice", now, Some(now)));
    });
    let from = claimed.to.clone();
    assert!(change(&store, claimed).await);
    let settled = GuestChange::new(from, |to| {
        to.claim.as_mut().expect("a claim").due_at = None;
    });
    assert!(change(&store, settled).await);
    assert_eq!(store.epoch(&guest).await.expect("epoch"), 1);
}

/// A claim is returned by every call from its due time on, until it has no due time.
pub async fn claims_are_due_from_their_time_on_and_oldest_first<F>(fixture: &F)
where
    F: Fixture<Store: GuestStore>,
{
    let store = fixture.store();
    let mut claimed = Vec::new();
    // The last two are due in an hour and never.
    for age in [Some(10), Some(30), Some(20), None, Some(0)] {
        let guest = new_guest(&store).await;
        let LoadedGuest { guest: from, now } = find(&store, &guest).await;
        let due = match age {
            Some(0) => None,
            Some(seconds) => Some(now.minus(Duration::from_secs(seconds))),
            None => Some(now.plus(HOUR)),
        };
        let change = GuestChange::new(from, |to| to.claim = Some(claim("alice", now, due)));
        let to = change.to.clone();
        assert!(store.change_guest(change).await.expect("change_guest"));
        claimed.push(to);
    }
    let due = async |limit: u32| {
        let due = fixture.store().due_claims(limit).await;
        let guests = due.expect("due_claims").into_iter();
        guests.map(|loaded| loaded.guest).collect::<Vec<_>>()
    };
    let expected = [1, 2, 0].map(|at| claimed[at].clone());
    assert_eq!(due(1000).await, expected);
    assert_eq!(due(2).await, expected[..2]);
    let settled = GuestChange::new(claimed[1].clone(), |to| {
        to.claim.as_mut().expect("a claim").due_at = None;
    });
    assert!(change(&store, settled).await);
    let left: BTreeSet<_> = due(1000).await.into_iter().map(|it| it.subject).collect();
    let expected = [0, 2].map(|at| claimed[at].subject.clone());
    assert_eq!(left, BTreeSet::from(expected));
}

async fn change(store: &impl GuestStore, change: GuestChange) -> bool {
    store.change_guest(change).await.expect("change_guest")
}

fn claim(user: &str, at: Timestamp, due_at: Option<Timestamp>) -> GuestClaim {
    let mut claim = GuestClaim::new(user, at);
    claim.due_at = due_at;
    claim
}

async fn new_guest(store: &impl GuestStore) -> String {
    let subject = new_name("gst");
    let created = store.create_guest(NewGuest::new(&subject, MONTH)).await;
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

async fn find(store: &impl GuestStore, guest: &str) -> LoadedGuest {
    let found = store.find_guest(guest).await.expect("find_guest");
    found.expect("the guest that was created")
}

/// Returns the caller with a token of the guest's session from before the claim.
fn holder(guest: &str, session: SessionId) -> Principal {
    let holder = Principal::builder()
        .kind(PrincipalKind::Guest)
        .subject(guest);
    holder.session_id(&session.to_string()).epoch(0).build()
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
