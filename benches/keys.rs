//! What it costs to find a token's key: among many, from the network, behind several issuers.
//!
//! All figures are ratios of a whole verification over another one, taken within rounds in which
//! both run interleaved, because on a shared machine times drift by more than what is asked for.
//!
//! `cargo bench --features test-util,jwks --bench keys`, optionally with `-- --quick`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use tokio::runtime::Runtime;
use tower_jwt_auth::{
    Claims, Verifier,
    clock::Clock,
    key::{
        Algorithm, KeySet,
        remote::{Fetch, FetchError, RemoteKeySet},
    },
    test_util::{TestIssuer, TestKeys},
    verify::{IssuerResolver, Resolution, Tenants, VerifierBuilder},
};

fn main() {
    let rounds = if std::env::args().any(|one| one == "--quick") {
        30
    } else {
        300
    };
    // The fetching tasks run here.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    println!("| what | ratio | median | quartiles | wanted | ns |");
    println!("|---|---|---|---|---|---|");
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256] {
        key_sets(algorithm).measure(rounds);
        issuers(algorithm).measure(rounds);
        if !algorithm.is_hmac() {
            network(algorithm, &runtime).measure(rounds);
        }
    }
}

/// A key among many.
fn key_sets(algorithm: Algorithm) -> Group {
    let with = |keys: usize| {
        let key = TestKeys::new().verifying_key(algorithm);
        let keys = (0..keys).map(|number| key.clone().with_kid(format!("key-{number}")));
        rules(Verifier::key_set(KeySet::new(keys).expect("a set")), ISSUER)
    };
    let token = token(algorithm, "key-0");
    Group::new(format!("{algorithm}, keys"))
        .candidate("1", verify(with(1), &token))
        .candidate("100", verify(with(100), &token))
        .candidate("1000", verify(with(1000), &token))
        .compare("100", "1", "≤ 1.02")
        .compare("1000", "1", "≤ 1.02")
}

/// An issuer among many.
fn issuers(algorithm: Algorithm) -> Group {
    let one = |issuer: &str| {
        let key = TestKeys::new().verifying_key(algorithm);
        rules(Verifier::key(key), issuer)
    };
    let among = |issuers: usize| {
        let others = (1..issuers).map(|number| one(&format!("https://{number}.example.com/")));
        let all: Vec<_> = others.chain([one(ISSUER)]).collect();
        Verifier::any_issuer(all).expect("a group")
    };
    let token = token(algorithm, "key-0");
    Group::new(format!("{algorithm}, issuers"))
        .candidate("plain", verify(one(ISSUER), &token))
        .candidate("1 of 1", verify(among(1), &token))
        .candidate("1 of 10", verify(among(10), &token))
        .candidate("1 of 100", verify(among(100), &token))
        .candidate(
            "a tenant",
            verify(Verifier::tenants(Tenants::new(Only(one(ISSUER)))), &token),
        )
        .compare("1 of 1", "plain", "–")
        .compare("1 of 10", "plain", "–")
        .compare("1 of 100", "plain", "–")
        .compare("a tenant", "plain", "–")
}

/// A key from the network, with its server well or hanging.
fn network(algorithm: Algorithm, runtime: &Runtime) -> Group {
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
    let hanging = remote(Duration::from_secs(590));
    // Starts the refresh that then hangs.
    assert!(hanging.verify_now(&token).is_ok());
    Group::new(format!("{algorithm}, network"))
        .candidate(
            "static",
            verify(rules(Verifier::key_set(fixed), ISSUER), &token),
        )
        .candidate("remote", verify(remote(Duration::ZERO), &token))
        .candidate("remote, hanging", verify(hanging, &token))
        .compare("remote", "static", "–")
        .compare("remote, hanging", "remote", "1.00")
}

fn rules(builder: VerifierBuilder, issuer: &str) -> Verifier {
    let builder = builder.issuer(issuer).audience(AUDIENCE);
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

fn verify(verifier: Verifier, token: &str) -> impl FnMut(u64) + use<> {
    let token = token.to_owned();
    move |times| {
        for _ in 0..times {
            let verdict = black_box(verifier.verify_now(&token));
            assert!(verdict.is_ok());
        }
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

impl Fetch for Server {
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
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// Candidates, and which of them are set against each other.
struct Group {
    name: String,
    candidates: Vec<(&'static str, Work)>,
    comparisons: Vec<[&'static str; 3]>,
}

type Work = Box<dyn FnMut(u64)>;

impl Group {
    fn new(name: String) -> Self {
        Self {
            name,
            candidates: Vec::new(),
            comparisons: Vec::new(),
        }
    }

    fn candidate(mut self, name: &'static str, work: impl FnMut(u64) + 'static) -> Self {
        self.candidates.push((name, Box::new(work)));
        self
    }

    fn compare(mut self, over: &'static str, under: &'static str, wanted: &'static str) -> Self {
        self.comparisons.push([over, under, wanted]);
        self
    }

    fn measure(mut self, rounds: usize) {
        let times: Vec<u64> = self
            .candidates
            .iter_mut()
            .map(|(_, work)| times(work))
            .collect();
        let mut samples = vec![Vec::with_capacity(rounds); self.candidates.len()];
        for round in 0..rounds {
            // Every candidate is first, last and everybody's neighbour equally often.
            let count = self.candidates.len();
            for place in 0..count {
                let step = if round % 2 == 0 {
                    place
                } else {
                    count - 1 - place
                };
                let one = (step + round / 2) % count;
                let start = Instant::now();
                (self.candidates[one].1)(times[one]);
                samples[one].push(start.elapsed().as_nanos() as f64 / times[one] as f64);
            }
        }
        let position = |name| self.candidates.iter().position(|(of, _)| *of == name);
        for [over, under, wanted] in &self.comparisons {
            let (Some(above), Some(below)) = (position(*over), position(*under)) else {
                continue;
            };
            let pairs = samples[above].iter().zip(&samples[below]);
            let [low, median, high] = quartiles(pairs.map(|(one, other)| one / other).collect());
            let nanoseconds = |of: usize| quartiles(samples[of].clone())[1];
            println!(
                "| {} | {over} / {under} | {median:.3} | {low:.3}–{high:.3} | {wanted} | {:.0} / {:.0} |",
                self.name,
                nanoseconds(above),
                nanoseconds(below),
            );
        }
    }
}

/// Calls that take long enough for the clock.
fn times(work: &mut Work) -> u64 {
    let mut times = 1;
    loop {
        let start = Instant::now();
        work(times);
        if start.elapsed() >= Duration::from_micros(250) {
            return times;
        }
        times *= 2;
    }
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| values[((values.len() - 1) as f64 * part).round() as usize])
}

const ISSUER: &str = "https://login.example.com/";
const AUDIENCE: &str = "https://api.example.com";
