//! A store of API keys in memory that counts, fails and hesitates on demand.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use tokio::sync::Semaphore;
use tower_jwt_auth::{
    error::StoreError,
    layer::api_key::{
        ApiKey, ApiKeyFormat, ApiKeyId, ApiKeyLayer, ApiKeyRecord, ApiKeyStore, ApiKeys,
        ApiKeysBuilder, NewApiKey,
    },
    test_util::TestClock,
    time::{Clock, Timestamp},
};

use super::{
    answer::{Answer, send},
    request::{nobody, with},
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// What the store does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Down,
    /// It writes, and is lost before it says so.
    LostAnswer,
    Panic,
}

#[derive(Clone)]
pub(crate) struct Store {
    rows: Arc<Mutex<HashMap<ApiKeyId, ApiKeyRecord>>>,
    clock: TestClock,
    pub(crate) finds: Arc<AtomicUsize>,
    pub(crate) touched: Arc<Mutex<Vec<(ApiKeyId, Timestamp)>>>,
    pub(crate) fault: Arc<Mutex<Option<Fault>>>,
    /// A read takes its row at once and gives it when it has a permit.
    pub(crate) permits: Arc<Semaphore>,
}

impl Store {
    pub(crate) fn finds(&self) -> usize {
        self.finds.load(Ordering::SeqCst)
    }

    pub(crate) fn fails(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn hold(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.permits.add_permits(10_000);
    }

    pub(crate) fn row(&self, id: &ApiKeyId) -> ApiKeyRecord {
        self.rows.lock().unwrap()[id].clone()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn up(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::Down) => Err(StoreError::unavailable("unplugged")),
            Some(Fault::Panic) => panic!("a bug of the store"),
            _ => Ok(()),
        }
    }

    /// The answer to a write, which is lost once where that was asked for.
    fn written<T>(&self, answer: T) -> Result<T, StoreError> {
        let mut fault = self.fault.lock().unwrap();
        match *fault {
            Some(Fault::LostAnswer) => {
                *fault = None;
                Err(StoreError::interrupted("cut"))
            }
            _ => Ok(answer),
        }
    }
}

impl ApiKeyStore for Store {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.up()?;
        let row = self.rows.lock().unwrap().get(id).cloned();
        self.permits.acquire().await.unwrap().forget();
        Ok(row)
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        self.up()?;
        let rows = self.rows.lock().unwrap();
        let mut own: Vec<_> = rows.values().filter(|row| row.owner == owner).collect();
        own.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        Ok(own.into_iter().cloned().collect())
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        self.up()?;
        let created = {
            let mut rows = self.rows.lock().unwrap();
            let free = !rows.contains_key(&record.id);
            if free {
                rows.insert(record.id.clone(), record.clone());
            }
            free
        };
        self.written(created)
    }

    async fn roll(&self, from: &ApiKeyRecord, to: &ApiKeyRecord) -> Result<bool, StoreError> {
        self.up()?;
        let rolled = {
            let mut rows = self.rows.lock().unwrap();
            let same = |row: &&mut ApiKeyRecord| {
                row.secret == from.secret && row.revoked_at == from.revoked_at
            };
            match rows.get_mut(&from.id).filter(same) {
                Some(row) => {
                    row.secret = to.secret;
                    row.previous = to.previous;
                    row.display_start.clone_from(&to.display_start);
                    true
                }
                None => false,
            }
        };
        self.written(rolled)
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        self.up()?;
        let now = self.now();
        let revoked = {
            let mut rows = self.rows.lock().unwrap();
            match rows.get_mut(id).filter(|row| row.owner == owner) {
                Some(row) => {
                    row.revoked_at.get_or_insert(now);
                    true
                }
                None => false,
            }
        };
        self.written(revoked)
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        self.up()?;
        let now = self.now();
        let revoked = {
            let mut rows = self.rows.lock().unwrap();
            let own = rows.values_mut().filter(|row| row.owner == owner);
            own.map(|row| {
                row.revoked_at.get_or_insert(now);
                row.id.clone()
            })
            .collect()
        };
        self.written(revoked)
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        self.up()?;
        self.touched.lock().unwrap().extend_from_slice(used);
        let mut rows = self.rows.lock().unwrap();
        for (id, at) in used {
            if let Some(row) = rows.get_mut(id) {
                row.last_used_at = row.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }
}

/// Keys of `acme_live`, which may read and write orders.
pub(crate) struct Fixture {
    pub(crate) clock: TestClock,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        let store = Store {
            rows: Arc::default(),
            clock: clock.clone(),
            finds: Arc::default(),
            touched: Arc::default(),
            fault: Arc::default(),
            permits: Arc::new(Semaphore::new(10_000)),
        };
        Self { clock, store }
    }

    pub(crate) fn builder(&self) -> ApiKeysBuilder {
        ApiKeys::builder(format(), self.store.clone())
            .scopes("orders:read orders:write")
            .clock(self.clock.clone())
    }

    /// One process.
    pub(crate) fn keys(&self) -> ApiKeys {
        self.builder().build().unwrap()
    }
}

pub(crate) fn format() -> ApiKeyFormat {
    ApiKeyFormat::new("acme_live").unwrap()
}

pub(crate) fn wanted() -> NewApiKey {
    NewApiKey::new("alice").scope("orders:read")
}

pub(crate) async fn issue(keys: &ApiKeys) -> ApiKey {
    keys.issue(wanted()).await.unwrap()
}

pub(crate) fn x_api_key(key: &str) -> Request<String> {
    with(nobody(), "x-api-key", key)
}

pub(crate) async fn ask(keys: &ApiKeys, key: &str) -> Answer {
    send(ApiKeyLayer::new(keys), x_api_key(key)).await
}
