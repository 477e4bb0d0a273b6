//! The decisions about a guest, over a store of one guest that other nodes change in between.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::store::port::{GuestStore, NewGuest};

type Interference = Box<dyn FnMut(&mut GuestRecord) + Send>;

/// One guest. `before` runs once, between the next load and its change.
struct OneGuest {
    guest: Mutex<GuestRecord>,
    now: Mutex<Timestamp>,
    epoch: AtomicU32,
    before: Mutex<Option<Interference>>,
    /// The number of changes whose answer is lost, and whether they are written.
    lost: Mutex<Vec<bool>>,
}

impl OneGuest {
    fn new() -> Self {
        let start = Timestamp::from_millis(1_000_000_000);
        let mut guest = GuestRecord::new("gst_1", start);
        guest.expires_at = start.plus(MONTH);
        Self {
            guest: Mutex::new(guest),
            now: Mutex::new(start),
            epoch: AtomicU32::new(0),
            before: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    fn pass(&self, time: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = now.plus(time);
    }

    fn guest(&self) -> GuestRecord {
        self.guest.lock().unwrap().clone()
    }

    fn between(&self, change: impl FnMut(&mut GuestRecord) + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(change));
    }

    async fn claim(&self, user: &str) -> ClaimOutcome {
        link(self, &conditions(None), Some(user)).await.unwrap()
    }

    async fn promote(&self) -> ClaimOutcome {
        link(self, &conditions(None), None).await.unwrap()
    }
}

fn conditions(device: Option<DeviceDigest>) -> LinkCondition {
    LinkCondition {
        guest: "gst_1".to_owned(),
        device,
        within: HOUR,
    }
}

impl GuestStore for OneGuest {
    async fn create_guest(&self, _: NewGuest) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<LoadedGuest>, StoreError> {
        let guest = self.guest();
        let loaded = LoadedGuest::new(guest, *self.now.lock().unwrap());
        Ok((subject == "gst_1").then_some(loaded))
    }

    async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError> {
        let mut guest = self.guest.lock().unwrap();
        if let Some(mut interfere) = self.before.lock().unwrap().take() {
            interfere(&mut guest);
            guest.version += 1;
        }
        let lost = self.lost.lock().unwrap().pop();
        if lost == Some(false) {
            return Err(StoreError::interrupted("cut before the write"));
        }
        if guest.version != change.from.version {
            return Ok(false);
        }
        let raised = u32::from(change.ends_sessions());
        self.epoch.fetch_add(raised, Ordering::Relaxed);
        *guest = change.to;
        match lost {
            Some(_) => Err(StoreError::interrupted("cut after the write")),
            None => Ok(true),
        }
    }

    async fn due_claims(&self, _: u32) -> Result<Vec<LoadedGuest>, StoreError> {
        Ok(GuestStore::find_guest(self, "gst_1")
            .await?
            .into_iter()
            .collect())
    }

    async fn purge_guests(&self, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}

const DONE: ClaimOutcome = ClaimOutcome::Done;

#[tokio::test]
async fn w3_a_guest_is_claimed_or_promoted_once() {
    let store = OneGuest::new();
    assert_eq!(store.claim("alice").await, DONE);
    assert_eq!(store.claim("alice").await, ClaimOutcome::Before);
    assert_eq!(store.claim("bob").await, ClaimOutcome::Taken);
    assert_eq!(store.promote().await, ClaimOutcome::Taken);
    let store = OneGuest::new();
    assert_eq!(store.promote().await, DONE);
    assert_eq!(store.promote().await, ClaimOutcome::Taken);
    assert_eq!(store.claim("alice").await, ClaimOutcome::Taken);
    assert_eq!(store.epoch.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn w3_a_claim_that_loses_its_swap_decides_again() {
    for (interfere, expected) in [
        (None, DONE),
        (Some("alice"), ClaimOutcome::Before),
        (Some("bob"), ClaimOutcome::Taken),
    ] {
        let store = OneGuest::new();
        let at = *store.now.lock().unwrap();
        store.between(move |guest| match interfere {
            Some(user) => guest.claim = Some(GuestClaim::new(user, at)),
            None => guest.written_at = guest.written_at.plus(SECOND),
        });
        assert_eq!(store.claim("alice").await, expected, "{interfere:?}");
    }
}

/// The write of an interrupted claim is found again, or made.
#[tokio::test]
async fn t9_a_claim_whose_answer_was_lost_is_done_once() {
    for written in [true, false] {
        for user in [Some("alice"), None] {
            let store = OneGuest::new();
            store.lost.lock().unwrap().push(written);
            let done = link(&store, &conditions(None), user).await.unwrap();
            assert_eq!(done, DONE, "{written} {user:?}");
            assert_eq!(store.guest().version, 1);
        }
    }
    let store = OneGuest::new();
    *store.lost.lock().unwrap() = vec![false, false];
    let error = link(&store, &conditions(None), None).await.unwrap_err();
    assert_eq!(error.kind(), crate::error::StoreErrorKind::Interrupted);
}

#[tokio::test]
async fn w4_another_device_links_nothing() {
    let [own, other] = ["own", "other"].map(|held| Some(DeviceDigest::of(held)));
    for (kept, presented) in [(own, other), (own, None), (None, own)] {
        let store = OneGuest::new();
        store.guest.lock().unwrap().device = kept;
        for user in [Some("alice"), None] {
            let refused = link(&store, &conditions(presented), user).await.unwrap();
            assert_eq!(refused, ClaimOutcome::OtherDevice);
        }
        let done = link(&store, &conditions(kept), Some("alice"))
            .await
            .unwrap();
        assert_eq!(done, DONE);
    }
}

#[tokio::test]
async fn a_guest_is_linked_within_an_hour_of_its_last_write() {
    let store = OneGuest::new();
    store.pass(HOUR + Duration::from_millis(1));
    assert_eq!(store.claim("alice").await, ClaimOutcome::Stale);
    assert_eq!(store.promote().await, ClaimOutcome::Stale);
    assert!(touch(&store, "gst_1").await.unwrap());
    store.pass(HOUR);
    assert_eq!(store.claim("alice").await, DONE);
    let store = OneGuest::new();
    store.pass(MONTH);
    assert_eq!(store.claim("alice").await, ClaimOutcome::Unknown);
    let mut unknown = conditions(None);
    unknown.guest = "gst_2".to_owned();
    let unknown = link(&store, &unknown, None).await.unwrap();
    assert_eq!(unknown, ClaimOutcome::Unknown);
}

#[tokio::test]
async fn a_guest_that_is_claimed_promoted_or_expired_writes_no_more() {
    let ends: [fn(&OneGuest); 3] = [
        |store| {
            store.guest.lock().unwrap().claim = Some(GuestClaim::new("alice", Timestamp::default()))
        },
        |store| store.guest.lock().unwrap().promoted_at = Some(Timestamp::default()),
        |store| store.pass(MONTH),
    ];
    for end in ends {
        let store = OneGuest::new();
        store.pass(SECOND);
        assert!(touch(&store, "gst_1").await.unwrap());
        end(&store);
        let before = store.guest();
        assert!(!touch(&store, "gst_1").await.unwrap());
        assert_eq!(store.guest(), before);
    }
    assert!(!touch(&OneGuest::new(), "gst_2").await.unwrap());
}

#[tokio::test]
async fn a_write_beside_another_one_is_written_once() {
    let store = OneGuest::new();
    store.pass(SECOND);
    let now = *store.now.lock().unwrap();
    store.between(move |guest| guest.written_at = now);
    assert!(touch(&store, "gst_1").await.unwrap());
    assert_eq!(store.guest().version, 1, "the other write");
    // A claim in between ends the guest.
    store.pass(SECOND);
    store.between(move |guest| guest.claim = Some(GuestClaim::new("alice", now)));
    assert!(!touch(&store, "gst_1").await.unwrap());
}

#[tokio::test]
async fn a_pending_claim_is_due_again_until_it_is_settled() {
    let store = OneGuest::new();
    let due_in = |store: &OneGuest| {
        let due = store.guest().claim.unwrap().due_at;
        due.map(|at| at.since(*store.now.lock().unwrap()))
    };
    assert_eq!(store.claim("alice").await, DONE);
    assert_eq!(due_in(&store), Some(SECOND * 30));
    for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
        store.pass(due_in(&store).unwrap());
        let [due] = <[_; 1]>::try_from(GuestStore::due_claims(&store, 1).await.unwrap()).unwrap();
        let taken = take(&store, due.clone()).await.unwrap();
        assert_eq!(taken, Some(("gst_1".to_owned(), "alice".to_owned())));
        assert_eq!(due_in(&store), Some(SECOND * wait));
        assert_eq!(take(&store, due).await.unwrap(), None, "another worker");
    }
    for (user, settled) in [("bob", false), ("alice", true), ("alice", true)] {
        settle(&store, "gst_1", user).await.unwrap();
        assert_eq!(store.guest().claim.unwrap().is_settled(), settled, "{user}");
    }
    assert_eq!(store.epoch.load(Ordering::Relaxed), 1);
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
