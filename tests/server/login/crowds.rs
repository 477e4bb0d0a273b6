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
    server::login::{Login, LoginBuilder, MemoryThrottle},
    store::port::{LoadedThrottle, ThrottleKey, ThrottleRow, ThrottleStore},
};

use crate::support::login::*;

/// Counts the calls of a store of counters, and may keep all attempts waiting.
#[derive(Clone)]
struct Counted {
    throttle: MemoryThrottle,
    asked: Arc<AtomicUsize>,
    swapped: Arc<AtomicUsize>,
    pending: Arc<AtomicBool>,
}

impl Counted {
    fn new(fixture: &Fixture) -> Self {
        Self {
            throttle: fixture.throttle.clone(),
            asked: Arc::default(),
            swapped: Arc::default(),
            pending: Arc::default(),
        }
    }

    fn builder(&self, fixture: &Fixture) -> LoginBuilder {
        let secret = SecretKey::from_bytes([9; 32]).unwrap();
        Login::builder(fixture.users.clone(), self.clone(), secret)
    }
}

impl ThrottleStore for Counted {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // As a store on another machine.
        tokio::task::yield_now().await;
        let loaded = self.throttle.load(key).await?;
        if !self.pending.load(Ordering::Relaxed) {
            return Ok(loaded);
        }
        // Five attempts of another node are open for ten seconds.
        let now = loaded.now.as_millis();
        let (until, expiry) = (now + 10_000, now + 910_000);
        let row = ThrottleRow::from_text(&format!("1:0:5:{now}:{until}:0:0:{expiry}"))?;
        Ok(LoadedThrottle::new(Some(row), loaded.now))
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        self.swapped.fetch_add(1, Ordering::Relaxed);
        self.throttle.swap(key, from, to).await
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
    assert_eq!(store.swapped.load(Ordering::Relaxed), 0);
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

/// A store whose rows other nodes change between every load and swap.
#[derive(Clone)]
struct Contended {
    throttle: MemoryThrottle,
    lost: Arc<AtomicUsize>,
    contended: Arc<AtomicBool>,
}

impl ThrottleStore for Contended {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        self.throttle.load(key).await
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        if self.contended.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        self.throttle.swap(key, from, to).await
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.throttle.clear(key).await
    }
}

/// An attempt that loses every swap is 503 when its patience is over, and is not counted.
#[tokio::test]
async fn u3_a_counter_that_other_nodes_keep_changing_is_busy_and_counts_nothing() {
    let fixture = Fixture::new().await;
    let store = Contended {
        throttle: fixture.throttle.clone(),
        lost: Arc::default(),
        contended: Arc::new(true.into()),
    };
    let secret = SecretKey::from_bytes([9; 32]).unwrap();
    let builder = Login::builder(fixture.users.clone(), store.clone(), secret);
    let builder = builder.hasher(fixture.hasher.clone());
    let login = builder.patience(Duration::from_millis(50)).build();
    for _ in 0..10 {
        let outcome = login.attempt(&attempt("ada", "wrong")).await;
        assert_eq!(shown(&outcome), "busy");
    }
    assert!(store.lost.load(Ordering::Relaxed) > 10, "it tries again");
    assert!(fixture.throttle.is_empty());
    assert_eq!(fixture.users.found.load(Ordering::Relaxed), 0);
    store.contended.store(false, Ordering::Relaxed);
    let outcome = login.attempt(&attempt("ada", "right")).await;
    assert_eq!(shown(&outcome), "welcome user-1");
}

/// A client that disconnects while its attempt is counted leaves an attempt that counts as failed.
#[tokio::test]
async fn u3_an_attempt_that_is_dropped_anywhere_is_no_free_guess() {
    for polls in 0..12 {
        let fixture = Fixture::new().await;
        let store = Counted::new(&fixture);
        let builder = store.builder(&fixture).hasher(fixture.hasher.clone());
        let login = builder.patience(Duration::ZERO).build();
        for _ in 0..3 {
            let guess = attempt("ada", "wrong");
            let mut running = Box::pin(login.attempt(&guess));
            for _ in 0..polls {
                let poll = |cx: &mut std::task::Context<'_>| {
                    std::task::Poll::Ready(running.as_mut().poll(cx).is_ready())
                };
                if std::future::poll_fn(poll).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        for _ in 0..10 {
            let _ = login.attempt(&attempt("ada", "wrong")).await;
        }
        let checked = fixture.users.found.load(Ordering::Relaxed);
        assert!((2..=5).contains(&checked), "{polls}: {checked}");
    }
}
