//! S8 and S9: a ring that nodes share through a store.

mod histories;
mod nodes;
mod records;
mod secrets;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode, header::CACHE_CONTROL};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthError, ConfigError, Verifier,
    error::{AuthErrorKind, StoreError},
    key::KeySet,
    secret::SecretKey,
    server::issue::{SharedKeyRing, SharedKeyRingBuilder, TokenIssuer},
    store::{
        MemoryStore,
        port::{KeyRingStore, StoredKeyRing},
    },
    test_util::TestClock,
};

use crate::support::issuing::{AUDIENCE, ISSUER, alice, issuer};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// The times of [`Node::builder`], by the defaults.
const ROTATE: Duration = HOUR;
const LEAD: Duration = Duration::from_secs(1800);

/// The store of one node, whose connection a test cuts. It gives no signal: a node loads the ring
/// when the test says so.
#[derive(Clone)]
struct Link {
    store: MemoryStore,
    up: Arc<AtomicBool>,
}

impl Link {
    fn new(store: &MemoryStore) -> Self {
        Self {
            store: store.clone(),
            up: Arc::new(AtomicBool::new(true)),
        }
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.is_up() {
            true => Ok(()),
            false => Err(StoreError::unavailable("cut")),
        }
    }
}

impl KeyRingStore for Link {
    async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError> {
        self.check()?;
        self.store.load_key_ring().await
    }

    async fn swap_key_ring(&self, from: u64, to: u64, keys: &str) -> Result<bool, StoreError> {
        self.check()?;
        self.store.swap_key_ring(from, to, keys).await
    }

    async fn key_ring_changed(&self, _: u64) -> Result<(), StoreError> {
        pending().await
    }
}

/// A node: its ring, its issuer, and a verifier that follows the ring.
struct Node {
    link: Link,
    ring: SharedKeyRing,
    issuer: TokenIssuer,
    verifier: Verifier,
}

impl Node {
    fn builder(link: &Link, clock: &TestClock, secret: &str) -> SharedKeyRingBuilder {
        SharedKeyRing::builder(link.clone(), key(secret))
            .rotate_every(ROTATE)
            .clock(clock.clone())
    }

    async fn open(link: Link, clock: &TestClock, secret: &str) -> Result<Self, ConfigError> {
        let ring = Self::builder(&link, clock, secret).open().await?;
        let issuer = issuer(ring.keys());
        let verifier = issuer
            .verifier()
            .leeway(Duration::ZERO)
            .without_cache()
            .build()?;
        Ok(Self {
            link,
            ring,
            issuer,
            verifier,
        })
    }

    async fn start(store: &MemoryStore, clock: &TestClock) -> Self {
        Self::open(Link::new(store), clock, "a").await.unwrap()
    }

    fn token(&self) -> String {
        alice(&self.issuer)
    }

    fn verify(&self, token: &str) -> Result<(), AuthErrorKind> {
        let verified = self.verifier.verify_now(token);
        verified.map(drop).map_err(|error: AuthError| error.kind())
    }

    /// The published set and its `max-age`. `None`: 503.
    async fn published(&self) -> Option<(Duration, String)> {
        let answer = self.issuer.jwks().oneshot(Request::new(())).await.unwrap();
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            return None;
        }
        let age = answer.headers()[CACHE_CONTROL].to_str().unwrap();
        let age = age.strip_prefix("public, max-age=").unwrap();
        let age = Duration::from_secs(age.parse().unwrap());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Some((age, String::from_utf8(body.to_vec()).unwrap()))
    }
}

/// A verifier elsewhere, which has only the published keys.
fn reader(set: &str, clock: &TestClock) -> Verifier {
    Verifier::key_set(KeySet::from_jwks(set).unwrap())
        .rfc9068()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .leeway(Duration::ZERO)
        .clock(clock.clone())
        .without_cache()
        .build()
        .unwrap()
}

/// A list of secrets, one for each letter; the first one seals.
fn key(letters: &str) -> SecretKey {
    let mut keys = letters
        .bytes()
        .map(|letter| SecretKey::from_bytes([letter; 32]).unwrap());
    let first = keys.next().unwrap();
    keys.fold(first, SecretKey::or_older)
}

async fn stored(store: &MemoryStore) -> StoredKeyRing {
    store.load_key_ring().await.unwrap()
}
