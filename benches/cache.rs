//! What remembering verified tokens costs and saves: a hit, a miss, a digest in the token's place,
//! two threads, memory.
//!
//! `cargo bench --features test-util,server --bench cache`, optionally with `-- --quick` and a part of a
//! group's name; `-- --memory` counts what a full cache takes, `-- --rates` how often it is of use.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{
    collections::HashMap,
    env,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use http::{Request, StatusCode};
use tower::Layer;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Verified, Verifier,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource},
    layer::extract::{Bearer, RequestHead, TokenExtractor},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use self::harness::{Dice, Group, Handler, Prepared, Token, User, call, credential, request};

fn main() {
    if env::args().any(|argument| argument == "--memory") {
        return memory();
    }
    if env::args().any(|argument| argument == "--rates") {
        return rates();
    }
    harness::main("cache", vec![hits, digests, misses, threads]);
}

/// From the header to the claims, against the cryptography alone.
fn hits() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        let token = Token::new(algorithm);
        Group::new(format!("{algorithm}, hit"))
            .candidate("hit", finds(&token, token.remembering()))
            .candidate("crypto", crypto(&token))
            .compare("hit", "crypto", "–")
    };
    [Algorithm::Hs256, Algorithm::Rs256].map(group).into()
}

/// A hit by the digest, against one by the token and against no cache.
fn digests() -> Vec<Group> {
    let hmac = Token::new(Algorithm::Hs256);
    let group = |algorithm: Algorithm| {
        let token = Token::new(algorithm);
        Group::new(format!("{algorithm}, digest"))
            .candidate(
                "by digest",
                finds(&token, built(token.rules(1).cache_by_digest())),
            )
            .candidate("hit", finds(&token, token.remembering()))
            .candidate("no cache", finds(&token, token.verifier()))
            .candidate("HS256 alone", crypto(&hmac))
            .compare("by digest", "no cache", "–")
            .compare("by digest", "hit", "–")
            .compare("by digest", "HS256 alone", "–")
    };
    ALGORITHMS.map(group).into()
}

/// Tokens that come once each: looked for, verified, put in, and others put out for them.
fn misses() -> Vec<Group> {
    let group = |(algorithm, target): (Algorithm, &str)| {
        let tokens = Token::many(algorithm, 4 * FEW);
        let with = |cache: usize| {
            let mut rules = tokens[0].rules(1).cache_capacity(cache);
            if cache == 0 {
                rules = rules.without_cache();
            }
            each(&tokens, built(rules))
        };
        Group::new(format!("{algorithm}, miss"))
            // So small that a token is long gone when its turn comes again.
            .candidate("missed", with(FEW as usize))
            .candidate("no cache", with(0))
            .compare("missed", "no cache", target)
    };
    [(Algorithm::Hs256, "–"), (Algorithm::Rs256, "≤ 1.03")]
        .map(group)
        .into()
}

/// Two threads at once through one layer, each as often as the one alone; and through a layer each,
/// which is what the machine itself makes of two threads.
fn threads() -> Vec<Group> {
    let group = |(name, count): (&str, u64)| {
        let tokens = Token::many(Algorithm::Hs256, count);
        let layer = || JwtAuthLayer::new(tokens[0].remembering());
        let shared = layer();
        let asks = |layer: &JwtAuthLayer<User>| served(&tokens, layer);
        Group::new(format!("threads, {name}"))
            // Long enough that waking the other thread does not count.
            .sample(Duration::from_millis(10))
            .looping("one", asks(&shared))
            .looping("two", two(asks(&shared), asks(&shared)))
            .looping("two, a layer each", two(asks(&layer()), asks(&layer())))
            .compare("two", "one", "–")
            .compare("two, a layer each", "one", "–")
            .compare("two", "two, a layer each", "≤ 1.20")
    };
    [("one token", 1), ("1000 tokens", 1000)].map(group).into()
}

/// Counts the bytes of a full cache.
fn memory() {
    let count = if env::args().any(|argument| argument == "--quick") {
        100
    } else {
        10_000
    };
    println!("`cargo bench --features test-util,server --bench cache -- --memory`\n");
    println!("| tokens | of bytes | claims as | remembered | bytes in all | bytes a token |");
    println!("|---|---|---|---|---|---|");
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256] {
        let tokens = Token::many(algorithm, count);
        let rules = || tokens[0].rules(1);
        let digests = || rules().cache_by_digest();
        fill(&tokens, "`Claims`", "token", rules().claims::<Claims>());
        fill(&tokens, "`Claims`", "digest", digests().claims::<Claims>());
        fill(&tokens, "ten fields", "token", rules());
        fill(&tokens, "ten fields", "digest", digests());
    }
}

fn fill<C>(tokens: &[Token], claims: &str, remembered: &str, rules: VerifierBuilder<C>)
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let verifier = built(rules.cache_capacity(tokens.len()));
    let kept = allocation_counter::measure(|| {
        // Twice: what had to leave for another is known again, and settles.
        for token in tokens.iter().chain(tokens) {
            verifier.verify_now(&token.text).expect("a good token");
        }
    });
    let bytes = kept.bytes_current;
    let (count, length) = (tokens.len(), tokens[0].text.len());
    let each = bytes / i64::try_from(count).expect("a few thousand");
    println!("| {count} | {length} | {claims} | {remembered} | {bytes} | {each} |");
}

/// Counts how many lookups are hits, for several kinds of traffic and a cache of a thousand tokens.
/// The most is what a cache without limits reaches.
fn rates() {
    let quick = env::args().any(|argument| argument == "--quick");
    let requests = if quick { 4_000 } else { 60_000 };
    println!("`cargo bench --features test-util,server --bench cache -- --rates`\n");
    println!("| requests | hits, % | at most, % |");
    println!("|---|---|---|");
    let mut dice = Dice::new();
    // Of few tokens, the first ones are far more frequent than the last ones.
    let mut skewed = |count: u64| {
        let exponent = dice.below(1_000_000) as f64 / 1e6;
        (count as f64).powf(exponent) as u64
    };
    rate("800 tokens", requests, |_| skewed(800));
    rate("8000 tokens, skewed", requests, |_| skewed(8_000));
    let mut dice = Dice::new();
    rate("2000 tokens, equally often", requests, |_| {
        dice.below(2_000)
    });
    rate("half 800 tokens, half unique", requests, |number| {
        match number % 2 {
            0 => skewed(800),
            _ => 1_000_000 + number,
        }
    });
    rate("unique", requests, |number| number);
    rate("each token twice", requests, |number| number / 2);
    rate(
        "each token five times, a hundred between",
        requests,
        |number| number / 500 * 100 + number % 100,
    );
    // Four generations, each valid until the next.
    rate(
        "800 clients, a new token every 15000 requests",
        requests,
        |number| number / 15_000 * EXPIRING + skewed(800),
    );
    rate("the same, half unique", requests, |number| {
        let generation = number / 15_000 * EXPIRING;
        match number % 2 {
            0 => generation + skewed(800),
            _ => generation + 1_000_000 + number,
        }
    });
}

/// Tokens with numbers in one such range expire together.
const EXPIRING: u64 = 1_000_000_000;

fn rate(name: &str, requests: u64, mut which: impl FnMut(u64) -> u64) {
    let clock = TestClock::new();
    let keys = Counted {
        keys: KeySet::try_from(TestKeys::new().verifying_key(Algorithm::Hs256)).expect("one key"),
        lookups: Arc::default(),
    };
    let lookups = Arc::clone(&keys.lookups);
    let verifier = Verifier::key_source(keys)
        .algorithms([Algorithm::Hs256])
        .dangerous_any_audience()
        .clock(clock.clone())
        .cache_capacity(1_000)
        .build()
        .expect("the settings fit together");
    let issuer = TestIssuer::new(Algorithm::Hs256).clock(clock.clone());
    let mut tokens = HashMap::new();
    let mut generation = 0;
    for number in 0..requests {
        let one = which(number);
        if one / EXPIRING != generation {
            generation = one / EXPIRING;
            clock.advance(Duration::from_secs(86_400));
        }
        let token = tokens.entry(one).or_insert_with(|| issuer.token(|_| ()));
        verifier.verify_now(token).expect("a good token");
    }
    let percent = |misses: u64| 100.0 * (requests - misses) as f64 / requests as f64;
    let most = percent(tokens.len() as u64);
    let hits = percent(lookups.load(Ordering::Relaxed));
    println!("| {name} | {hits:.1} | {most:.1} |");
}

/// Keys that count their lookups: one for each token that was not found.
struct Counted {
    keys: KeySet,
    lookups: Arc<AtomicU64>,
}

impl KeySource for Counted {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.keys.lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        Some(0)
    }
}

fn finds(token: &Token, verifier: Verifier<User>) -> impl FnMut() -> Verified<User> + use<> {
    let bearer = Bearer::new();
    let request: Request<()> = request(Some(&credential(token)));
    move || {
        let found = bearer.extract(RequestHead::of(black_box(&request)));
        let token = found.expect("one credential").expect("a credential");
        verifier.verify_now(token.token()).expect("a good token")
    }
}

fn each(tokens: &[Token], verifier: Verifier<User>) -> impl FnMut() -> Verified<User> + use<> {
    let texts: Vec<_> = tokens.iter().map(|token| token.text.clone()).collect();
    let mut next = 0;
    move || {
        next = (next + 1) % texts.len();
        verifier.verify_now(&texts[next]).expect("a good token")
    }
}

fn crypto(token: &Token) -> impl FnMut() + use<> {
    let key = Prepared::new(token.algorithm);
    let (message, signature) = (token.message().to_vec(), token.signature());
    move || assert!(key.verifies(black_box(&message), &signature))
}

fn served(tokens: &[Token], layer: &JwtAuthLayer<User>) -> impl FnMut(u64) + Send + use<> {
    let values: Vec<_> = tokens.iter().map(credential).collect();
    let mut service = layer.layer(Handler);
    move |times| {
        for value in values.iter().cycle().take(times as usize) {
            assert_eq!(call(&mut service, request(Some(value))), StatusCode::OK);
        }
    }
}

/// The first here, the second in a thread of its own, at the same time.
fn two(
    mut here: impl FnMut(u64) + 'static,
    mut there: impl FnMut(u64) + Send + 'static,
) -> impl FnMut(u64) + 'static {
    let (ask, asked): (Sender<u64>, Receiver<u64>) = channel();
    let (tell, told) = channel();
    thread::spawn(move || {
        allocation_counter::opt_out(|| {
            for times in asked {
                there(times);
                if tell.send(()).is_err() {
                    break;
                }
            }
        });
    });
    move |times| {
        ask.send(times).expect("the thread runs");
        here(times);
        told.recv().expect("the thread runs");
    }
}

fn built<C>(rules: VerifierBuilder<C>) -> Verifier<C>
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    rules.build().expect("the settings fit together")
}

const FEW: u64 = 512;
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Hs256,
    Algorithm::Rs256,
    Algorithm::Es256,
    Algorithm::EdDsa,
];
