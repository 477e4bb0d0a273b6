//! Many logins at once, as the store of the counters sees them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    error::StoreError,
    secret::SecretKey,
    server::login::{Login, LoginBuilder, MemoryThrottle, ThrottleKey, ThrottleRule},
    store::port::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
};

use crate::support::*;

/// Counts what a store of counters is asked, and may keep everybody waiting.
#[derive(Clone)]
struct Counted {
    throttle: MemoryThrottle,
    asked: Arc<AtomicUsize>,
    settled: Arc<AtomicUsize>,
    pending: Arc<AtomicBool>,
}

impl Counted {
    fn new(fixture: &Fixture) -> Self {
        Self {
            throttle: fixture.throttle.clone(),
            asked: Arc::default(),
            settled: Arc::default(),
            pending: Arc::default(),
        }
    }

    fn builder(&self, fixture: &Fixture) -> LoginBuilder<Users, Self> {
        let secret = SecretKey::from_bytes([9; 32]).unwrap();
        Login::builder(fixture.users.clone(), self.clone(), secret)
    }
}

impl ThrottleStore for Counted {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // As a store that lies elsewhere.
        tokio::task::yield_now().await;
        match self.pending.load(Ordering::Relaxed) {
            true => Ok(Reserve::Pending(Duration::from_secs(10))),
            false => self.throttle.reserve(key, rule).await,
        }
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.throttle.settle(reservation, outcome).await
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.throttle.clear(key).await
    }
}

/// A flood of logins must leave the store's only writer to refreshes and logouts.
#[tokio::test]
async fn u8_a_full_pool_refuses_before_any_counter_is_asked() {
    let fixture = Fixture::new().await;
    let hasher = cheap()
        .concurrency(std::num::NonZeroUsize::MIN)
        .queue(0)
        .build()
        .unwrap();
    let store = Counted::new(&fixture);
    let login = store.builder(&fixture).hasher(hasher.clone()).build();
    let heavy = Heavy::start(&hasher).await;
    for name in ["ada", "bob", "nobody"] {
        assert_eq!(shown(&login.attempt(&attempt(name, "right")).await), "busy");
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), 0);
    assert_eq!(store.settled.load(Ordering::Relaxed), 0);
    heavy.finish().await;
    assert_eq!(
        shown(&login.attempt(&attempt("ada", "right")).await),
        "welcome user-1"
    );
}

/// Those who wait for others by the same name hold no place: five are looked at, and one asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u4_a_crowd_of_one_name_does_not_fill_the_pool() {
    let fixture = Fixture::new().await;
    // Half of the places are for one network, and a quarter of these for its known devices.
    let hasher = cheap().queue(14).build().unwrap();
    let store = Counted::new(&fixture);
    let builder = store.builder(&fixture).hasher(hasher);
    let login = builder.patience(Duration::from_secs(60)).build();
    let crowd = (0..100).map(|_| {
        let login = login.clone();
        tokio::spawn(async move { shown(&login.attempt(&attempt("ada", "right")).await) })
    });
    for one in crowd.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), "welcome user-1");
    }
}

/// Attempts at one name that wait for others do not all ask again and again.
#[tokio::test]
async fn u3_of_those_who_wait_for_one_name_one_asks_the_store() {
    let fixture = Fixture::new().await;
    let store = Counted::new(&fixture);
    let login = |patience| {
        let builder = store.builder(&fixture).hasher(fixture.hasher.clone());
        builder.patience(Duration::from_millis(patience)).build()
    };
    let crowd = |patience| {
        let login = login(patience);
        let one = move |_| {
            let login = login.clone();
            tokio::spawn(async move { shown(&login.attempt(&attempt("ada", "right")).await) })
        };
        (0..200).map(one).collect::<Vec<_>>()
    };
    store.pending.store(true, Ordering::Relaxed);
    for waiting in crowd(350) {
        assert_eq!(waiting.await.unwrap(), "wait 1");
    }
    // Each on their own would have asked four times.
    let asked = store.asked.load(Ordering::Relaxed);
    assert!(asked < 100, "{asked}");

    // Another name does not stand in their queue, and all of them have their turn.
    let waiting = crowd(60_000);
    tokio::task::yield_now().await;
    store.pending.store(false, Ordering::Relaxed);
    let other = login(60_000).attempt(&attempt("bob", "right")).await;
    assert_eq!(shown(&other), "welcome user-2");
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), "welcome user-1");
    }
}

/// Whoever waits for others holds no place for hashing, and yet one network must not take all of the room.
#[tokio::test]
async fn u18_a_crowd_of_one_network_leaves_room_to_wait_to_the_others() {
    let fixture = Fixture::new().await;
    let store = Counted::new(&fixture);
    let builder = store.builder(&fixture).hasher(fixture.hasher.clone());
    let login = builder.patience(Duration::from_secs(60)).build();
    store.pending.store(true, Ordering::Relaxed);
    let crowd: Vec<_> = (0..2000)
        .map(|n| {
            let (login, name) = (login.clone(), format!("crowd-{}", n % 10));
            tokio::spawn(async move { login.attempt(&attempt(&name, "wrong")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let others: Vec<_> = (0..4)
        .map(|_| {
            let login = login.clone();
            let attempt = attempt("ada", "right").from(address("203.0.113.7"));
            tokio::spawn(async move { shown(&login.attempt(&attempt).await) })
        })
        .collect();
    while store.asked.load(Ordering::Relaxed) < 11 {
        tokio::task::yield_now().await;
    }
    store.pending.store(false, Ordering::Relaxed);
    for other in others {
        assert_eq!(other.await.unwrap(), "welcome user-1");
    }
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}
