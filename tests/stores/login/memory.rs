//! In this process, as it is and through the store of a URL.

use std::time::Duration;

use tower_jwt_auth::{
    server::login::{MemoryThrottle, ThrottleKey, ThrottleRow},
    store::{
        AnyStore, MemoryStore,
        contract::{Handles, ThrottleFixture},
        port::SessionStore,
    },
    test_util::TestClock,
    time::Timestamp,
};

use super::contracts;

pub(crate) struct Memory(MemoryStore);

impl Handles for Memory {
    type Store = MemoryStore;

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }
}

impl ThrottleFixture for Memory {
    type Store = MemoryStore;

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn now(&self) -> Timestamp {
        self.0.throttle().time()
    }

    async fn row(&self, key: &ThrottleKey) -> ThrottleRow {
        self.0.throttle().row(key)
    }

    async fn age(&self, key: &ThrottleKey, by: Duration) {
        self.0.throttle().age(key, by);
    }
}

pub(crate) struct Any(AnyStore);

impl Any {
    fn throttle(&self) -> &MemoryThrottle {
        match &self.0 {
            AnyStore::Memory(store) => store.throttle(),
            other => panic!("{other:?}"),
        }
    }
}

impl Handles for Any {
    type Store = AnyStore;

    fn store(&self) -> AnyStore {
        self.0.clone()
    }
}

impl ThrottleFixture for Any {
    type Store = AnyStore;

    fn store(&self) -> AnyStore {
        self.0.clone()
    }

    async fn now(&self) -> Timestamp {
        self.throttle().time()
    }

    async fn row(&self, key: &ThrottleKey) -> ThrottleRow {
        self.throttle().row(key)
    }

    async fn age(&self, key: &ThrottleKey, by: Duration) {
        self.throttle().age(key, by);
    }
}

contracts!([] crate::login::memory::memory());

mod any {
    use super::contracts;

    contracts!([] crate::login::memory::any().await);
}

fn memory() -> Memory {
    Memory(MemoryStore::new())
}

async fn any() -> Any {
    Any(AnyStore::open("memory:").await.unwrap())
}

#[tokio::test]
async fn tokens_that_are_over_are_purged() {
    use tower_jwt_auth::store::port::{NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken};

    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let minute = Duration::from_secs(60);
    for lifetime in [minute, minute, 2 * minute] {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, "ada", lifetime);
        store.issue(new).await.unwrap();
    }
    clock.advance(minute - Duration::from_millis(1));
    assert_eq!(store.purge(10).await.unwrap(), 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.purge(1).await.unwrap(), 1);
    assert_eq!(store.purge(10).await.unwrap(), 1);
}
