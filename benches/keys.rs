//! What it costs to find a token's key: among many, from the network, behind several issuers; and without a key, an
//! answer about an opaque token.
//!
//! `cargo bench --features test-util,jwks --bench keys`, optionally with `-- --quick` and a part of a
//! group's name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

mod harness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;
use tokio::runtime::Runtime;
use tower::Layer;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Verifier,
    key::{
        Algorithm, KeySet, VerifyingKey,
        remote::{FetchError, Fetcher, RemoteKeySet},
    },
    test_util::{IntrospectionFixture, TestIssuer, TestKeys},
    time::{Clock, Timestamp},
    verify::{IssuerResolver, Resolution, Tenants, VerifierBuilder, introspection::Introspection},
};

use self::harness::{Group, Handler, Token, User, call, credential, request};

fn main() {
    harness::main("keys", vec![key_sets, issuers, network, introspected]);
}

/// A key among many.
fn key_sets() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        let with = |keys: usize| {
            let keys = (0..keys).map(|number| key(algorithm, &format!("key-{number}")));
            rules(Verifier::key_set(KeySet::new(keys).expect("a set")), ISSUER)
        };
        let token = token(algorithm, "key-0");
        Group::new(format!("{algorithm}, keys"))
            .candidate("1", verify(with(1), &token))
            .candidate("100", verify(with(100), &token))
            .candidate("1000", verify(with(1000), &token))
            .compare("100", "1", "≤ 1.02")
            .compare("1000", "1", "≤ 1.02")
    };
    [Algorithm::Rs256, Algorithm::Es256].map(group).into()
}

/// An issuer among many.
fn issuers() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        let one = |issuer: &str| rules(Verifier::key(key(algorithm, "key-0")), issuer);
        let among = |issuers: usize| {
            let others = (1..issuers).map(|number| one(&format!("https://{number}.example.com/")));
            Verifier::by_issuer(others.chain([one(ISSUER)])).expect("a group")
        };
        let tenant = Verifier::tenants(Tenants::new(Only(one(ISSUER))));
        let token = token(algorithm, "key-0");
        Group::new(format!("{algorithm}, issuers"))
            .candidate("plain", verify(one(ISSUER), &token))
            .candidate("1 of 1", verify(among(1), &token))
            .candidate("1 of 10", verify(among(10), &token))
            .candidate("1 of 100", verify(among(100), &token))
            .candidate("a tenant", verify(tenant, &token))
            .compare("1 of 1", "plain", "–")
            .compare("1 of 10", "plain", "–")
            .compare("1 of 100", "plain", "–")
            .compare("a tenant", "plain", "–")
    };
    [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256]
        .map(group)
        .into()
}

/// A key from the network, with its server well or hanging.
fn network() -> Vec<Group> {
    // The fetching tasks run here. Dropped, it would end them.
    let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new().expect("a runtime")));
    let group = |algorithm: Algorithm| {
        let document = json!({ "keys": [members(algorithm)] }).to_string();
        let fixed = KeySet::from_jwks(&document).expect("a key set");
        let remote = |age: Duration| {
            let _inside = runtime.enter();
            let (server, clock) = (Server::new(&document), Shifted::default());
            let keys = RemoteKeySet::jwks("https://login.example.com/keys")
                .fetch(server.clone())
                .clock(clock.clone())
                // As long as the measurement, so that the fetch hangs all along.
                .timeout(Duration::from_secs(60))
                .build()
                .expect("a key set");
            runtime.block_on(keys.ready()).expect("the first fetch");
            server.hangs.store(true, Ordering::SeqCst);
            clock.advance(age);
            rules(Verifier::key_source(keys), ISSUER)
        };
        let token = token(algorithm, &TestKeys::new().kid(algorithm));
        // Past the age at which the first look-up starts a refresh, which then hangs.
        let hanging = remote(Duration::from_secs(590));
        Group::new(format!("{algorithm}, network"))
            .candidate(
                "static",
                verify(rules(Verifier::key_set(fixed), ISSUER), &token),
            )
            .candidate("remote", verify(remote(Duration::ZERO), &token))
            .candidate("hanging", verify(hanging, &token))
            .compare("remote", "static", "–")
            .compare("hanging", "remote", "1.00")
    };
    [Algorithm::Rs256, Algorithm::Es256].map(group).into()
}

/// A request with an opaque token whose answer is cached, against one with a JWT that is cached.
fn introspected() -> Vec<Group> {
    // The calls run here. Dropped, it would end them.
    let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new().expect("a runtime")));
    let _inside = runtime.enter();
    let server = IntrospectionFixture::start();
    let jwt = Token::new(Algorithm::Rs256);
    let members = serde_json::from_str(&jwt.claims()).expect("claims are JSON");
    server.activate(OPAQUE, members);
    let settings = || {
        let settings = Introspection::at(server.url()).basic("api", "secret");
        settings.cache_for(Duration::from_secs(3600))
    };
    let alone = Verifier::introspected(settings()).audience(harness::AUDIENCE);
    let alone = alone.claims::<User>().build().expect("a verifier");
    let both = jwt.rules(1).introspection(settings());
    let both = both.build().expect("a verifier");
    for verifier in [&alone, &both] {
        let answered = runtime.block_on(verifier.verify(OPAQUE));
        answered.expect("the token is active");
    }
    let by_digest = jwt.rules(1).cache_by_digest().build().expect("a verifier");
    let opaque = HeaderValue::try_from(format!("Bearer {OPAQUE}")).expect("a header value");
    let asks = |verifier: &Verifier<User>, value: &HeaderValue| {
        let (layer, value) = (JwtAuthLayer::new(verifier.clone()), value.clone());
        let mut service = layer.layer(Handler);
        move || assert_eq!(call(&mut service, request(Some(&value))), StatusCode::OK)
    };
    let signed = credential(&jwt);
    let group = Group::new("introspection")
        .candidate("answer", asks(&alone, &opaque))
        .candidate("answer beside keys", asks(&both, &opaque))
        .candidate("JWT", asks(&jwt.remembering(), &signed))
        .candidate("JWT beside answers", asks(&both, &signed))
        .candidate("JWT by digest", asks(&by_digest, &signed))
        .compare("answer", "JWT", "≤ 1.3")
        .compare("answer beside keys", "JWT", "≤ 1.3")
        .compare("JWT beside answers", "JWT", "–")
        .compare("JWT by digest", "JWT", "–");
    vec![group]
}

fn key(algorithm: Algorithm, kid: &str) -> VerifyingKey {
    TestKeys::new().verifying_key(algorithm).with_kid(kid)
}

fn rules(builder: VerifierBuilder, issuer: &str) -> Verifier {
    let builder = builder.issuer(issuer).audience(AUDIENCE).without_cache();
    builder.build().expect("the settings fit together")
}

fn token(algorithm: Algorithm, kid: &str) -> String {
    TestIssuer::new(algorithm)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .kid(Some(kid))
        .token(|claims| {
            claims.insert("exp".into(), json!(4_000_000_000_u64));
            claims.insert("email".into(), json!("alice.miller@example.com"));
            claims.insert("roles".into(), json!(["orders-admin", "editor", "viewer"]));
            claims.insert(
                "scope".into(),
                json!("openid profile orders:read orders:write"),
            );
        })
}

fn members(algorithm: Algorithm) -> serde_json::Value {
    serde_json::from_str(&TestKeys::new().jwk(algorithm)).expect("a JWK is JSON")
}

fn verify(verifier: Verifier, token: &str) -> impl FnMut() + use<> {
    let token = token.to_owned();
    move || {
        let verdict = verifier.verify_now(&token);
        assert!(verdict.is_ok());
    }
}

struct Only(Verifier);

impl IssuerResolver<Claims> for Only {
    fn resolve(&self, _issuer: &str) -> Resolution<Claims> {
        Resolution::Trusted(self.0.clone())
    }
}

/// A key server that answers, until it hangs.
#[derive(Clone)]
struct Server {
    document: Bytes,
    hangs: Arc<AtomicBool>,
}

impl Server {
    fn new(document: &str) -> Self {
        Self {
            document: Bytes::copy_from_slice(document.as_bytes()),
            hangs: Arc::default(),
        }
    }
}

impl Fetcher for Server {
    async fn fetch(&self, _request: Request<()>) -> Result<Response<Bytes>, FetchError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(self.document.clone()))
    }
}

/// The system's clock, some time ahead.
#[derive(Clone, Default)]
struct Shifted(Arc<AtomicU64>);

impl Shifted {
    fn advance(&self, by: Duration) {
        self.0.store(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn monotonic(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

const ISSUER: &str = "https://login.example.com/";
const AUDIENCE: &str = "https://api.example.com";
/// As long as those of usual servers.
const OPAQUE: &str = "mF_9.B5f-4.1JqMCzVlLwzq7oRNt3cGXWk2bA8sD0eY";
