//! Deletion of everything that expires.

use std::{future::Future, time::Duration};

use super::{
    Fixture, IDLE, LIFETIME, new_name, new_session, peek, rotate, session_of, start, throttle,
};
use crate::{
    revocation::{self, Revocation, RevocationLog},
    secret,
    server::refresh::RefreshPolicy,
    store::port::{
        GuestChange, GuestClaim, GuestStore, LoadedGuest, NewGuest, NewOneTime, NewSessionRecord,
        OneTimePurpose, OneTimeStore, OneTimeToken, RevokeReason, SessionStore, ThrottleKey,
        ThrottleStore,
    },
};

/// An empty store under test, which nothing else uses.
pub trait HousekeepingFixture: Fixture<Store: GuestStore + ThrottleStore + OneTimeStore> {
    /// Subtracts `by` (whole milliseconds) from every time in the store, as if the time had passed.
    fn pass(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// Returns one text for each row or key in the store, except those that are kept permanently: users,
    /// API keys, secrets, and data about the store itself.
    fn left(&self) -> impl Future<Output = Vec<String>> + Send;
}

/// Creates a `#[tokio::test]` for every rule about rows that a store must delete.
///
/// As [`session_store_contract!`](crate::session_store_contract), with an expression that creates a
/// [`HousekeepingFixture`](crate::store::contract::HousekeepingFixture).
#[macro_export]
macro_rules! housekeeping_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::housekeeping_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            what_fills_a_store_is_emptied
            an_accounts_epoch_outlives_its_sessions
        }
    };
    ($fixture:expr) => {
        $crate::housekeeping_contract!([] $fixture);
    };
}

/// Every row that expires is deleted after its time, and not before. This includes rows under names
/// that an attacker invents.
pub async fn what_fills_a_store_is_emptied(fixture: &impl HousekeepingFixture) {
    let store = fixture.store();
    sessions(&store).await;
    let [alive, pending] = guests(&store).await;
    attempts(&store).await;
    for _ in 0..3 {
        let token = OneTimeToken::mint();
        let name = new_name("subject");
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, &name, DAY);
        store.issue(new).await.expect("issue");
    }
    let kept = start(&store, new_session()).await;
    let until = peek(&store, kept.id).await.now.plus(revocation::RETENTION);
    let revocation = Revocation::token(new_name("token"), until);
    store.append(revocation).await.expect("append");
    let filled = fixture.left().await;
    assert!(filled.len() > 20, "{filled:?}");

    empty(&store).await;
    peek(&store, kept.id).await;
    let found = store.find_guest(&alive).await.expect("find_guest");
    assert!(found.is_some(), "the guest is alive");
    let attempts = fixture.left().await.len();
    assert!(attempts > 20, "nothing has ended yet");

    fixture.pass(LIFETIME + 2 * DAY).await;
    empty(&store).await;
    let found = store.find_guest(&pending).await.expect("find_guest");
    assert!(found.is_some(), "the claim was not delivered");
    settle(&store, &pending).await;
    // A row that expires by itself does so at its own time.
    fixture.pass(DAY).await;
    empty(&store).await;
    assert_eq!(fixture.left().await, Vec::<String>::new());
}

/// A raised epoch is kept as long as a session of an older epoch exists, because that session would
/// otherwise be alive again.
pub async fn an_accounts_epoch_outlives_its_sessions(fixture: &impl HousekeepingFixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let old = start(&store, session_of(&subject)).await;
    let raised = store.revoke_all(&subject, RevokeReason::Logout).await;
    let raised = raised.expect("revoke_all");
    fixture.pass(DAY).await;
    empty(&store).await;
    let session = peek(&store, old.id).await.session;
    assert!(session.family.revoked, "the session stays revoked");
    assert_eq!(store.epoch(&subject).await.expect("epoch"), raised);

    // The same for a claimed guest with a session that lives longer than the guest.
    let guest = new_guest(&store).await;
    let long = NewSessionRecord {
        lifetime: 3 * LIFETIME,
        idle: 3 * LIFETIME,
        ..session_of(&guest)
    };
    let long = start(&store, long).await;
    claim(&store, &guest).await;
    settle(&store, &guest).await;
    fixture.pass(LIFETIME).await;
    empty(&store).await;
    match SessionStore::load(&store, long.id).await.expect("load") {
        None => {}
        Some(peek) => assert!(peek.session.family.revoked, "the session is alive again"),
    }
}

async fn sessions(store: &impl SessionStore) {
    let reason = RevokeReason::Logout;
    let subject = new_name("subject");
    let first = start(store, session_of(&subject)).await.id;
    for _ in 0..3 {
        start(store, session_of(&subject)).await;
    }
    let others = store.revoke_others(&subject, first, reason).await;
    assert_eq!(others.expect("revoke_others").len(), 3);
    let reused = start(store, new_session()).await.id;
    rotate(store, reused, 0, RefreshPolicy::strict()).await;
    rotate(store, reused, 0, RefreshPolicy::strict()).await;
    let ended = start(store, new_session()).await.id;
    assert!(store.revoke(ended, reason).await.expect("revoke"));
    let unused = NewSessionRecord {
        idle: IDLE,
        ..new_session()
    };
    start(store, unused).await;
}

/// Creates three guests and returns two of them: one that is alive, and one with a pending claim. The
/// claim of the third one was delivered.
async fn guests(store: &(impl SessionStore + GuestStore)) -> [String; 2] {
    let [alive, delivered, pending] = [
        new_guest(store).await,
        new_guest(store).await,
        new_guest(store).await,
    ];
    for guest in [&alive, &delivered, &pending] {
        start(store, session_of(guest)).await;
    }
    for guest in [&delivered, &pending] {
        claim(store, guest).await;
    }
    settle(store, &delivered).await;
    [alive, pending]
}

async fn new_guest(store: &impl GuestStore) -> String {
    let guest = NewGuest::new(new_name("gst"), LIFETIME);
    let created = store.create_guest(guest.clone()).await;
    assert!(created.expect("create_guest"));
    guest.subject
}

async fn claim(store: &impl GuestStore, guest: &str) {
    let found = store.find_guest(guest).await.expect("find_guest");
    let LoadedGuest { guest, now } = found.expect("the guest");
    let change = GuestChange::new(guest, |to| {
        let mut claim = GuestClaim::new("ada", now);
        claim.due_at = Some(now);
        to.claim = Some(claim);
    });
    assert!(store.change_guest(change).await.expect("change_guest"));
}

async fn settle(store: &impl GuestStore, guest: &str) {
    let found = store.find_guest(guest).await.expect("find_guest");
    let change = GuestChange::new(found.expect("the guest").guest, |to| {
        to.claim.as_mut().expect("a claim").due_at = None;
    });
    assert!(store.change_guest(change).await.expect("change_guest"));
}

/// Creates counters under random keys, as an attacker does who invents names.
async fn attempts(store: &impl ThrottleStore) {
    for days in 1..=4 {
        let key = ThrottleKey::from_bytes(secret::random());
        let loaded = store.load(&key).await.expect("load");
        let row = throttle::row(days, loaded.now.plus(days * DAY));
        let inserted = store.swap(&key, loaded.row.as_ref(), Some(&row)).await;
        assert!(inserted.expect("swap"));
    }
}

/// Purges until nothing is left to delete.
async fn empty(store: &(impl SessionStore + GuestStore)) {
    for _ in 0..1000 {
        let sessions = store.purge(2).await.expect("purge");
        let guests = store.purge_guests(2).await.expect("purge_guests");
        if sessions + guests == 0 {
            return;
        }
    }
    panic!("purging never ends");
}

const DAY: Duration = Duration::from_secs(24 * 3600);
