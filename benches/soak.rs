//! Millions of requests through the layer with its cache, while keys rotate, tokens expire, and
//! sessions, single tokens and subjects' older tokens are revoked.
//!
//! Whatever comes is judged by a model that is told nothing of caches and sets: a token is good as
//! long as its key is in the set, its time is not over and nobody revoked it. Every answer must be
//! the model's, which is checked request by request. Meanwhile a second thread sends the same tokens:
//! one that was bad before may never pass there, whatever changes at that moment. The process's
//! memory is printed along the way, and must not grow.
//!
//! `cargo bench --features test-util,server --bench soak` sends 10 000 000 requests, `-- --quick` 50 000.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{
    collections::VecDeque,
    env, fs,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use http::{HeaderValue, StatusCode};
use serde_json::json;
use tower::Layer;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Verifier,
    key::{Algorithm, KeySet, SharedKeySet, VerifyingKey},
    revocation::{Both, NoRevocation, Revocation, RevocationSet},
    test_util::{TestClock, TestIssuer},
    time::{Clock, Timestamp},
};

use self::harness::{Dice, Handler, call, request};

fn main() {
    let quick = env::args().any(|argument| argument == "--quick");
    let requests: u64 = if quick { 50_000 } else { 10_000_000 };
    let mut world = World::new();
    let layer = JwtAuthLayer::new(world.verifier()).revocation(world.revoked.clone());
    let mut service = layer.layer(Handler);
    let mut tally = Tally::default();
    let mut memory = Vec::new();

    // Room for a short run's, so that what the other thread sees does not depend on whose turn it is.
    let (show, shown) = sync_channel(1 << 16);
    let beside = thread::spawn(move || watch(&shown, &layer));

    println!(
        "| requests | accepted | refused: key gone | expired | revoked | rotations | revocations kept | RSS, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for number in 1..=requests {
        // The world moves between two requests, so that the very next one must know.
        world.step(number);
        let place = world.pick();
        let token = &world.tokens[place];
        let (expected, why) = world.judge(token);
        let status = call(&mut service, request(Some(&token.value)));
        assert_eq!(status, expected, "request {number}: {why:?}");
        tally.count(why);
        show_to(&show, token, expected);
        if number.is_multiple_of(requests / 10) {
            memory.push(resident());
            println!(
                "| {number} | {} | {} | {} | {} | {} | {} | {:.1} |",
                tally.accepted,
                tally.withdrawn,
                tally.expired,
                tally.revoked,
                world.rotations,
                world.revoked.len(),
                resident(),
            );
        }
    }
    drop(show);
    let (seen, refused) = beside.join().expect("no bad token passed");
    println!("\nThe second thread sent {seen} of them, {refused} of which it had to see refused.");

    let Tally {
        accepted,
        withdrawn,
        expired,
        revoked,
    } = tally;
    // A soak in which nothing was stale would prove nothing.
    assert!(
        [accepted, withdrawn, expired, revoked]
            .into_iter()
            .all(|kind| kind > requests / 20)
    );
    assert!(refused > requests / 100);
    // By half of a long run everything is as large as it gets.
    if let (false, [.., last]) = (quick, &memory[..]) {
        let grown = last / memory[memory.len() / 2];
        assert!(grown.is_nan() || grown < 1.1, "{memory:?}");
    }
}

/// A token, and whether it was bad already when it was shown. A bad token stays so.
type Shown = (HeaderValue, bool);

/// Shows it to the other thread, unless that is too busy.
fn show_to(other: &SyncSender<Shown>, token: &Bearer, expected: StatusCode) {
    let bad = expected == StatusCode::UNAUTHORIZED;
    let _ = other.try_send((token.value.clone(), bad));
}

/// Sends what it is shown, and counts: how many, and how many of them had to be refused.
fn watch(
    shown: &Receiver<Shown>,
    layer: &JwtAuthLayer<Claims, Both<NoRevocation, RevocationSet>>,
) -> (u64, u64) {
    let mut service = layer.layer(Handler);
    let (mut seen, mut refused) = (0, 0);
    for (value, bad) in shown {
        let status = call(&mut service, request(Some(&value)));
        assert!(!bad || status == StatusCode::UNAUTHORIZED, "{status}");
        seen += 1;
        refused += u64::from(bad);
    }
    (seen, refused)
}

/// The clock, the keys, the tokens about, and what is true of each.
struct World {
    clock: TestClock,
    keys: SharedKeySet,
    /// The numbers of the keys in the set. The last one signs.
    current: VecDeque<u32>,
    issuer: TestIssuer,
    rotations: u32,
    revoked: RevocationSet,
    /// What each session is called now. One that was revoked is called otherwise from then on.
    sessions: Vec<u64>,
    /// Each subject's epoch.
    subjects: Vec<u32>,
    /// How many names were given.
    names: u64,
    tokens: Vec<Bearer>,
    dice: Dice,
}

/// A token about, and what the model knows of it.
struct Bearer {
    value: HeaderValue,
    key: u32,
    expires: i64,
    name: u64,
    revoked: bool,
    /// Which session, and what it was called then.
    session: (usize, u64),
    /// Which subject, and its epoch then.
    subject: (usize, u32),
}

#[derive(Clone, Copy, Debug)]
enum Why {
    Good,
    Withdrawn,
    Expired,
    Revoked,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::new();
        let current = VecDeque::from([0, 1]);
        let mut world = Self {
            keys: SharedKeySet::new(set(&current)),
            issuer: issuer(1, &clock),
            revoked: RevocationSet::local_with_clock(clock.clone()),
            clock,
            current,
            rotations: 0,
            sessions: (0..SESSIONS).collect(),
            subjects: vec![0; SUBJECTS as usize],
            names: SESSIONS,
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
            .cache_capacity(TOKENS * 3 / 4)
            .build()
            .expect("the settings fit together")
    }

    fn step(&mut self, number: u64) {
        if number.is_multiple_of(100) {
            self.clock.advance(Duration::from_secs(1));
            // Somebody signs in again, whatever became of the token before.
            for _ in 0..RENEWED {
                let place = self.dice.below(TOKENS as u64) as usize;
                self.tokens[place] = self.issue();
            }
            for _ in 0..REVOKED {
                self.revoke_session();
                self.revoke_token();
            }
            self.revoke_subject();
        }
        if number.is_multiple_of(12_500) {
            self.rotate();
        }
    }

    fn revoke_session(&mut self) {
        let place = self.dice.below(SESSIONS) as usize;
        let name = std::mem::replace(&mut self.sessions[place], self.names);
        self.names += 1;
        self.revoke(&Revocation::session(format!("s{name}"), self.until()));
    }

    fn revoke_token(&mut self) {
        let place = self.pick();
        self.tokens[place].revoked = true;
        let name = self.tokens[place].name;
        self.revoke(&Revocation::token(format!("t{name}"), self.until()));
    }

    fn revoke_subject(&mut self) {
        let place = self.dice.below(SUBJECTS) as usize;
        self.subjects[place] += 1;
        let (subject, epoch) = (format!("u{place}"), self.subjects[place]);
        self.revoke(&Revocation::subject(subject, epoch, self.until()));
    }

    fn revoke(&self, revocation: &Revocation) {
        self.revoked.insert(revocation);
    }

    /// When every token that is about has expired.
    fn until(&self) -> Timestamp {
        let longest = Duration::from_secs(SHORTEST + VARIES) + LEEWAY;
        self.clock.now().plus(longest)
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
        let lifetime = SHORTEST + self.dice.below(VARIES);
        let expires = self.clock.timestamp() + lifetime as i64;
        let name = self.names;
        self.names += 1;
        let session = self.dice.below(SESSIONS) as usize;
        let session = (session, self.sessions[session]);
        let subject = self.dice.below(SUBJECTS) as usize;
        let subject = (subject, self.subjects[subject]);
        let token = self.issuer.token(|claims| {
            claims["exp"] = json!(expires);
            for (claim, value) in [
                ("jti", json!(format!("t{name}"))),
                ("sid", json!(format!("s{}", session.1))),
                ("sub", json!(format!("u{}", subject.0))),
                ("ep", json!(subject.1)),
            ] {
                claims.insert(claim.into(), value);
            }
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
            name,
            revoked: false,
            session,
            subject,
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
        } else if token.revoked
            || self.sessions[token.session.0] != token.session.1
            || self.subjects[token.subject.0] > token.subject.1
        {
            (StatusCode::UNAUTHORIZED, Why::Revoked)
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
    revoked: u64,
}

impl Tally {
    fn count(&mut self, why: Why) {
        *match why {
            Why::Good => &mut self.accepted,
            Why::Withdrawn => &mut self.withdrawn,
            Why::Expired => &mut self.expired,
            Why::Revoked => &mut self.revoked,
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

/// The memory of this process that is in use (`proc_pid_status(5)`), in MiB; not a number where
/// nobody says.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    number.map_or(f64::NAN, |kib| kib / 1024.0)
}

const TOKENS: usize = 10_000;
/// As many sign in again every second of the test's clock.
const RENEWED: usize = 60;
/// As many sessions and as many tokens are revoked every second, and one subject.
const REVOKED: usize = 2;
const SESSIONS: u64 = 5_000;
const SUBJECTS: u64 = 1_000;
/// How long a token lives: at least so many seconds, and up to so many more.
const SHORTEST: u64 = 30;
const VARIES: u64 = 300;
const LEEWAY: Duration = Duration::from_secs(5);
const AUDIENCE: &str = "https://api.example.com";
