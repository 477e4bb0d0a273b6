//! The store in this process.

use std::time::Duration;

use tower_jwt_auth::{
    Principal,
    error::StoreErrorKind,
    event::{RefreshOutcome, ReuseKind},
    principal::{PrincipalKind, SessionId},
    revocation::{BroadcastFeed, RevocationSet},
    server::refresh::{RefreshPolicy, machine::rotate},
    store::{
        MemoryStore,
        contract::Fixture,
        port::{
            CreateOutcome, GuestStore, NewGuest, NewOneTime, NewSessionRecord, OneTimeDigest,
            OneTimePurpose, OneTimeStore, OneTimeToken, RevokeReason, SessionStore,
        },
    },
    test_util::TestClock,
};

struct Memory(MemoryStore);

impl Fixture for Memory {
    type Store = MemoryStore;
    type Feed = BroadcastFeed;

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }

    fn feed(&self) -> BroadcastFeed {
        self.0.feed()
    }

    async fn age(&self, id: SessionId, by: Duration) {
        self.0.age(id, by);
    }

    async fn set_back(&self, id: SessionId, by: Duration) {
        self.0.set_back(id, by);
    }
}

mod contract {
    tower_jwt_auth::session_store_contract!(super::Memory(super::MemoryStore::new()));
    tower_jwt_auth::guest_store_contract!(super::Memory(super::MemoryStore::new()));
}

/// The contract does not depend on the time of day, nor on time passing.
mod contract_while_time_stands {
    use super::{Memory, MemoryStore, TestClock};

    tower_jwt_auth::session_store_contract!(Memory(MemoryStore::with_clock(TestClock::new())));
}

fn session(number: u8) -> NewSessionRecord {
    let id = SessionId::from_bytes([number; 16]);
    let subject = format!("subject {}", number % 2);
    let hour = Duration::from_secs(3600);
    let mut session = NewSessionRecord::new(id, subject, hour, 2 * hour);
    session.kind = PrincipalKind::Guest;
    session
}

#[tokio::test]
async fn the_windows_are_exact_to_the_millisecond() {
    let millisecond = Duration::from_millis(1);
    let browser = RefreshPolicy::browser();
    for (presented, inside, outside) in [
        (1, RefreshOutcome::Fresh, RefreshOutcome::Rotated),
        (
            0,
            RefreshOutcome::Retried,
            RefreshOutcome::Reused(ReuseKind::LateParent),
        ),
    ] {
        let clock = TestClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        let id = SessionId::from_bytes([1; 16]);
        store.create(session(1)).await.unwrap();
        rotate(&store, id, 0, browser).await.unwrap().unwrap();
        clock.advance(Duration::from_secs(30));
        let at = rotate(&store, id, presented, browser)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(at.outcome, inside);
        clock.advance(millisecond);
        let after = rotate(&store, id, presented, browser)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(after.outcome, outside);
    }
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    store.create(session(1)).await.unwrap();
    clock.advance(Duration::from_secs(3600) - millisecond);
    assert_eq!(store.list("subject 1", 100).await.unwrap().len(), 1);
    clock.advance(millisecond);
    assert_eq!(store.list("subject 1", 100).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_full_store_refuses_and_signs_nobody_out() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone()).max_sessions(4);
    for number in 0..4 {
        let created = store.create(session(number)).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created(_)));
    }
    let refused = store.create(session(4)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    for number in 0..4 {
        let id = SessionId::from_bytes([number; 16]);
        assert!(store.load(id).await.unwrap().is_some());
    }
    // One that ended makes room.
    let ended = SessionId::from_bytes([2; 16]);
    store.revoke(ended, RevokeReason::Logout).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let created = store.create(session(4)).await.unwrap();
    assert!(matches!(created, CreateOutcome::Created(_)));
    assert_eq!(store.load(ended).await.unwrap(), None);
    assert!(store.create(session(5)).await.is_err());
    // All of them end by themselves.
    clock.advance(Duration::from_secs(3600));
    for number in 5..9 {
        let created = store.create(session(number)).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created(_)), "{number}");
    }
}

#[tokio::test]
async fn a_store_full_of_guests_looks_for_room_once_a_second() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone()).max_sessions(2);
    let second = Duration::from_secs(1);
    let come = async |name: &str, lifetime: u32| {
        store
            .create_guest(NewGuest::new(name, lifetime * second))
            .await
    };
    assert!(come("a", 3600).await.unwrap());
    clock.advance(second);
    // Half a second is left of this one when the store looks the first time.
    let short = NewGuest::new("b", second / 2);
    assert!(store.create_guest(short).await.unwrap());
    let full = come("c", 3600).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Unavailable);
    clock.advance(second / 2);
    come("c", 3600).await.unwrap_err();
    assert!(store.find_guest("b").await.unwrap().is_some());
    clock.advance(second / 2);
    assert!(come("c", 3600).await.unwrap());
    assert!(store.find_guest("b").await.unwrap().is_none());
    come("d", 3600).await.unwrap_err();
}

#[tokio::test]
async fn an_epoch_is_forgotten_only_with_the_last_session_and_a_day_later() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let mut long = session(1);
    long.idle = Duration::from_secs(30 * 86_400);
    long.lifetime = long.idle;
    store
        .revoke_all("subject 1", RevokeReason::Logout)
        .await
        .unwrap();
    store.create(long).await.unwrap();
    clock.advance(Duration::from_secs(2 * 86_400));
    store.purge(10).await.unwrap();
    assert_eq!(store.epoch("subject 1").await.unwrap(), 1);
    clock.advance(Duration::from_secs(29 * 86_400));
    store.purge(10).await.unwrap();
    store.purge(10).await.unwrap();
    assert_eq!(store.epoch("subject 1").await.unwrap(), 0);
}

/// While an entry lives that revokes the tokens of older epochs, a login never gets an older one;
/// also where the store is full and has thrown away what it could.
#[tokio::test]
async fn an_epoch_never_goes_back_while_its_revocation_lives() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone()).max_sessions(1);
    let set = RevocationSet::follow_with_clock(store.feed(), clock.clone()).unwrap();
    assert!(set.loaded(Duration::from_secs(60)).await);
    for _ in 0..3 {
        let all = store.revoke_all("subject 1", RevokeReason::Logout);
        all.await.unwrap();
    }
    let of = |epoch| {
        Principal::builder()
            .subject("subject 1")
            .epoch(epoch)
            .build()
    };
    while !set.contains(&of(2)) {
        tokio::task::yield_now().await;
    }
    let mut forgotten = false;
    for minute in 0..26 * 60 {
        // Somebody else fills the store, and goes.
        store.create(session(0)).await.unwrap();
        let other = SessionId::from_bytes([0; 16]);
        store.revoke(other, RevokeReason::Logout).await.unwrap();
        clock.advance(Duration::from_secs(60));
        let CreateOutcome::Created(login) = store.create(session(1)).await.unwrap() else {
            panic!("minute {minute}")
        };
        assert!(!set.contains(&of(login.epoch)), "minute {minute}");
        forgotten |= login.epoch == 0;
        store.revoke(login.id, RevokeReason::Logout).await.unwrap();
        clock.advance(Duration::from_secs(1));
        store.purge(10).await.unwrap();
    }
    assert!(forgotten, "it is, in the end");
}

#[tokio::test]
async fn a_revoked_session_is_kept_for_a_week() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let mut long = session(1);
    long.lifetime = Duration::from_secs(90 * 86_400);
    let id = long.id;
    store.create(long).await.unwrap();
    store.revoke(id, RevokeReason::Logout).await.unwrap();
    clock.advance(Duration::from_secs(7 * 86_400 - 1));
    assert_eq!(store.purge(10).await.unwrap(), 1, "the revocation");
    assert_eq!(store.purge(10).await.unwrap(), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(store.purge(10).await.unwrap(), 1);
    assert_eq!(store.load(id).await.unwrap(), None);
}

#[test]
fn debug_shows_no_session() {
    let store = MemoryStore::new();
    assert_eq!(format!("{store:?}"), "MemoryStore { sessions: 0, .. }");
}

/// Anonymous clients begin flows, and everyone who registers gets mails. However many tokens of one purpose there
/// are, those of the others work, and so do new ones of the same purpose.
#[tokio::test]
async fn u52_a_flood_of_tokens_blocks_neither_mails_nor_sign_ins() {
    let store = MemoryStore::new();
    let template = OneTimeToken::mint();
    let issue = async |digest: OneTimeDigest, purpose, subject: &str| {
        let day = Duration::from_secs(24 * 60 * 60);
        let mut new = NewOneTime::new(&template, purpose, subject, day);
        new.digest = digest;
        store.issue(new).await
    };
    let digest = |kind: u8, number: u64| {
        let mut bytes = [kind; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        OneTimeDigest::from_bytes(bytes)
    };
    let redeems = async |digest: OneTimeDigest, purpose| {
        let spent = store.redeem(&digest, purpose).await.unwrap();
        spent.is_some()
    };
    use OneTimePurpose::{EmailChange, Flow, Reset, SignIn, Unlock, Verification};
    let kinds = [Reset, Unlock, SignIn, EmailChange, Flow, Verification];
    for (kind, purpose) in (0_u8..).zip(kinds) {
        issue(digest(kind, 0), purpose, "ada").await.unwrap();
    }
    for number in 1..=120_000 {
        issue(digest(4, number), Flow, "passkey").await.unwrap();
        let eve = format!("eve-{}", number % 1_000);
        issue(digest(5, number), Verification, &eve).await.unwrap();
    }
    let rows = store.rows();
    assert!(rows < 150_000, "{rows}");
    // Nothing is left of the oldest ones, and the newest work.
    for (kind, purpose) in [(4, Flow), (5, Verification)] {
        assert!(!redeems(digest(kind, 0), purpose).await);
        for number in [110_000, 120_000] {
            assert!(redeems(digest(kind, number), purpose).await);
            assert!(!redeems(digest(kind, number), purpose).await);
        }
    }
    // A user can withdraw tokens.
    let kept = digest(5, 119_999);
    store.forget("eve-998", Verification).await.unwrap();
    assert!(!redeems(digest(5, 119_998), Verification).await);
    assert!(redeems(kept, Verification).await);
    for (kind, purpose) in (0_u8..).zip(kinds).take(4) {
        assert!(redeems(digest(kind, 0), purpose).await, "{purpose:?}");
    }
}
