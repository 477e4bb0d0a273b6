//! A store in memory that counts, fails and hesitates on demand, and a service behind the layer.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, header::WWW_AUTHENTICATE, request::Parts,
};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};
use tower_jwt_auth::{
    AuthError, Principal,
    error::{AuthErrorKind, StoreError},
    layer::api_key::{
        ApiKey, ApiKeyFormat, ApiKeyId, ApiKeyLayer, ApiKeyRecord, ApiKeyStore, ApiKeys,
        ApiKeysBuilder, NewApiKey,
    },
    test_util::TestClock,
    time::{Clock, Timestamp},
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

/// Lets all tasks run that can.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn nobody() -> Request<String> {
    Request::new(String::new())
}

pub(crate) fn with(
    mut request: Request<String>,
    name: &'static str,
    value: &str,
) -> Request<String> {
    let value = HeaderValue::from_str(value).unwrap();
    request.headers_mut().append(name, value);
    request
}

pub(crate) fn x_api_key(key: &str) -> Request<String> {
    with(nobody(), "x-api-key", key)
}

pub(crate) fn bearer(value: &str) -> Request<String> {
    with(nobody(), "authorization", &format!("Bearer {value}"))
}

/// The service inside: it takes note of what reaches it.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    pub(crate) seen: Arc<Mutex<Vec<Parts>>>,
}

impl Service<Request<String>> for Inner {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.seen.lock().unwrap().push(request.into_parts().0);
        std::future::ready(Ok(Response::default()))
    }
}

/// Sends a request through a layer.
pub(crate) async fn send<L, R>(layer: L, request: Request<String>) -> Answer
where
    L: Layer<Inner>,
    L::Service: Service<Request<String>, Response = Response<R>, Error = Infallible>,
{
    let inner = Inner::default();
    let seen = Arc::clone(&inner.seen);
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let seen = seen.lock().unwrap().pop();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        error: response.extensions().get::<AuthError>().cloned(),
        seen,
    }
}

pub(crate) async fn ask(keys: &ApiKeys, key: &str) -> Answer {
    send(ApiKeyLayer::new(keys), x_api_key(key)).await
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) error: Option<AuthError>,
    pub(crate) seen: Option<Parts>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn kind(&self) -> Option<AuthErrorKind> {
        self.error.as_ref().map(AuthError::kind)
    }

    #[track_caller]
    pub(crate) fn caller(&self) -> &Principal {
        let seen = self.seen.as_ref().expect("the inner service ran");
        seen.extensions.get().expect("a principal")
    }

    #[track_caller]
    pub(crate) fn passes(self, case: &str) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{case}: {:?}", self.kind());
        assert!(self.seen.is_some(), "{case}");
        self
    }

    /// `400/ir`, `401/it`, `401/bare`, `403/is` or `503`.
    #[track_caller]
    pub(crate) fn is(self, expected: &str, case: &str) -> Self {
        assert!(self.seen.is_none(), "{case}");
        let (status, code) = expected.split_once('/').unwrap_or((expected, ""));
        assert_eq!(self.status.as_str(), status, "{case}: {:?}", self.kind());
        let challenge = self.headers.get(WWW_AUTHENTICATE);
        let challenge = challenge.map_or("", |value| value.to_str().unwrap());
        match code {
            "" => assert!(challenge.is_empty(), "{case}: {challenge}"),
            "bare" => assert_eq!(challenge, r#"Bearer realm="api""#, "{case}"),
            _ => {
                let error = match code {
                    "ir" => "invalid_request",
                    "it" => "invalid_token",
                    _ => "insufficient_scope",
                };
                let error = format!("error=\"{error}\"");
                assert!(challenge.contains(&error), "{case}: {challenge}");
            }
        }
        if status == "503" {
            assert!(self.headers.contains_key("retry-after"), "{case}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn because(self, kind: AuthErrorKind) -> Self {
        assert_eq!(self.kind(), Some(kind));
        self
    }
}
