//! Millions of requests through the layer with its cache, while keys rotate and tokens expire.
//!
//! Whatever comes is judged by a model that is told nothing of caches: a token is good as long as
//! its key is in the set and its time is not over. Every answer must be the model's, which is
//! checked request by request; the process's memory is printed along the way, and must not grow.
//!
//! `cargo bench --features test-util --bench soak` sends 10 000 000 requests, `-- --quick` 50 000.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{collections::VecDeque, env, fs, time::Duration};

use http::{HeaderValue, StatusCode};
use serde_json::json;
use tower::Layer;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::{Algorithm, KeySet, SharedKeySet, VerifyingKey},
    test_util::{TestClock, TestIssuer},
};

use self::harness::{Dice, Handler, call, request};

fn main() {
    let quick = env::args().any(|argument| argument == "--quick");
    let requests: u64 = if quick { 50_000 } else { 10_000_000 };
    let mut world = World::new();
    let layer = JwtAuthLayer::new(world.verifier());
    let mut service = layer.layer(Handler);
    let mut tally = Tally::default();

    println!(
        "| requests | accepted | refused: key gone | refused: expired | rotations | RSS, MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for number in 1..=requests {
        // The world moves between two requests, so that the very next one must know.
        world.step(number);
        let place = world.pick();
        let token = &world.tokens[place];
        let (expected, why) = world.judge(token);
        let status = call(&mut service, request(Some(&token.value)));
        assert_eq!(status, expected, "request {number}: {why:?}");
        tally.count(why);
        if number.is_multiple_of(requests / 10) {
            println!(
                "| {number} | {} | {} | {} | {} | {} |",
                tally.accepted,
                tally.withdrawn,
                tally.expired,
                world.rotations,
                resident()
            );
        }
    }
    let Tally {
        accepted,
        withdrawn,
        expired,
    } = tally;
    // A soak in which nothing was stale would prove nothing.
    assert!(
        [accepted, withdrawn, expired]
            .into_iter()
            .all(|kind| kind > requests / 20)
    );
}

/// The clock, the keys, the tokens about, and what is true of each.
struct World {
    clock: TestClock,
    keys: SharedKeySet,
    /// The numbers of the keys in the set. The last one signs.
    current: VecDeque<u32>,
    issuer: TestIssuer,
    rotations: u32,
    tokens: Vec<Bearer>,
    dice: Dice,
}

/// A token about, and what the model knows of it.
struct Bearer {
    value: HeaderValue,
    key: u32,
    expires: i64,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    Good,
    Withdrawn,
    Expired,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::new();
        let current = VecDeque::from([0, 1]);
        let mut world = Self {
            keys: SharedKeySet::new(set(&current)),
            issuer: issuer(1, &clock),
            clock,
            current,
            rotations: 0,
            tokens: Vec::new(),
            dice: Dice::new(),
        };
        for _ in 0..TOKENS {
            let token = world.issue();
            world.tokens.push(token);
        }
        world
    }

    fn verifier(&self) -> Verifier {
        let builder = Verifier::key_source(self.keys.clone());
        builder
            .algorithms([Algorithm::Hs256])
            .audience(AUDIENCE)
            .leeway(LEEWAY)
            .clock(self.clock.clone())
            // Fewer than there are tokens: some have to make room.
            .cache(TOKENS * 3 / 4)
            .build()
            .expect("the settings fit together")
    }

    fn step(&mut self, number: u64) {
        if number.is_multiple_of(100) {
            self.clock.advance(Duration::from_secs(1));
            // Somebody signs in again, whatever became of the token before. Revocations will come in here.
            for _ in 0..RENEWED {
                let place = self.dice.below(TOKENS as u64) as usize;
                self.tokens[place] = self.issue();
            }
        }
        if number.is_multiple_of(12_500) {
            self.rotate();
        }
    }

    /// A new key comes and signs; the oldest of three goes.
    fn rotate(&mut self) {
        self.rotations += 1;
        let new = self.rotations + 1;
        self.current.push_back(new);
        if self.current.len() > 2 {
            self.current.pop_front();
        }
        self.keys.replace(set(&self.current));
        self.issuer = issuer(new, &self.clock);
    }

    fn issue(&mut self) -> Bearer {
        let lifetime = 30 + self.dice.below(300) as i64;
        let expires = self.clock.timestamp() + lifetime;
        let token = self.issuer.token(|claims| {
            claims["exp"] = json!(expires);
            // Sizes vary, as those of real tokens do.
            let roles = 1 + self.dice.below(20);
            claims.insert("roles".into(), json!(vec!["editor"; roles as usize]));
        });
        let key = *self.current.back().expect("there is a key");
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        Bearer {
            value: value.expect("a token fits into a header"),
            key,
            expires,
        }
    }

    /// Some tokens come far more often than others.
    fn pick(&mut self) -> usize {
        let often = self.dice.below(TOKENS as u64);
        self.dice.below(often + 1) as usize
    }

    fn judge(&self, token: &Bearer) -> (StatusCode, Why) {
        let leeway = LEEWAY.as_secs() as i64;
        if !self.current.contains(&token.key) {
            (StatusCode::UNAUTHORIZED, Why::Withdrawn)
        } else if self.clock.timestamp() >= token.expires + leeway {
            (StatusCode::UNAUTHORIZED, Why::Expired)
        } else {
            (StatusCode::OK, Why::Good)
        }
    }
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    withdrawn: u64,
    expired: u64,
}

impl Tally {
    fn count(&mut self, why: Why) {
        *match why {
            Why::Good => &mut self.accepted,
            Why::Withdrawn => &mut self.withdrawn,
            Why::Expired => &mut self.expired,
        } += 1;
    }
}

fn set(numbers: &VecDeque<u32>) -> KeySet {
    let key = |number: &u32| {
        let key = VerifyingKey::from_secret(Algorithm::Hs256, secret(*number));
        key.expect("a secret").with_kid(number.to_string())
    };
    KeySet::new(numbers.iter().map(key)).expect("the keys fit together")
}

fn issuer(number: u32, clock: &TestClock) -> TestIssuer {
    TestIssuer::with_secret(Algorithm::Hs256, &secret(number))
        .audience(AUDIENCE)
        .clock(clock.clone())
        .kid(Some(&number.to_string()))
}

fn secret(number: u32) -> [u8; 32] {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    secret
}

/// The memory of this process that is in use (`proc_pid_status(5)`), in MiB.
fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    number.map_or("–".into(), |kib| format!("{:.1}", kib / 1024.0))
}

const TOKENS: usize = 10_000;
/// As many sign in again every second of the test's clock.
const RENEWED: usize = 60;
const LEEWAY: Duration = Duration::from_secs(5);
const AUDIENCE: &str = "https://api.example.com";
