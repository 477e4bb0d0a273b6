//! What remembering verified tokens costs and saves: a hit, a miss, a digest in the token's place,
//! two threads, memory.
//!
//! `cargo bench --features test-util --bench cache`, optionally with `-- --quick` and a part of a
//! group's name; `-- --memory` counts what a full cache takes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{
    env,
    hint::black_box,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use http::{Request, StatusCode};
use tower::Layer;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Verified, Verifier,
    key::Algorithm,
    layer::extract::{Bearer, RequestHead, TokenExtractor},
    verify::VerifierBuilder,
};

use self::harness::{Group, Handler, Prepared, Token, User, call, credential, request};

fn main() {
    if env::args().any(|argument| argument == "--memory") {
        return memory();
    }
    harness::main("cache", vec![hits, digests, misses, threads]);
}

/// From the header to the claims, against the cryptography alone.
fn hits() -> Vec<Group> {
    let group = |(algorithm, target): (Algorithm, &str)| {
        let token = Token::new(algorithm);
        Group::new(format!("{algorithm}, hit"))
            .candidate("hit", finds(&token, token.remembering()))
            .candidate("crypto", crypto(&token))
            .compare("hit", "crypto", target)
    };
    [(Algorithm::Hs256, "≤ 0.04"), (Algorithm::Rs256, "≤ 0.004")]
        .map(group)
        .into()
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
            .compare("two", "one", "≤ 3")
            .compare("two, a layer each", "one", "–")
            .compare("two", "two, a layer each", "–")
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
    println!("`cargo bench --features test-util --bench cache -- --memory`\n");
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
