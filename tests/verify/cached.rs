//! Section Q, Q4 and Q5: the tokens that the cache stores.

use std::{
    sync::{Arc, Barrier, atomic::Ordering},
    thread,
    time::Duration,
};

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    test_util::{TestClock, TestIssuer},
    verify::VerifierBuilder,
};

use crate::verdicts::{Asked, MODES, asking, kind};

/// A token of this length, give or take two bytes.
fn token_of(issuer: &TestIssuer, bytes: usize) -> String {
    let with = |padding: usize| {
        issuer.token(|claims| claims.insert("x".into(), json!("x".repeat(padding))))
    };
    let shortest = with(0).len();
    with((bytes - shortest) / 4 * 3)
}

#[test]
fn q5_a_token_of_every_accepted_length_is_cached() {
    let issuer = TestIssuer::new(Algorithm::Es256);
    for remembering in MODES {
        for bytes in [700, 4_000, 4_200, 8 * 1024, 16 * 1024 - 4] {
            let keys = Asked::new(0);
            let verifier = remembering(asking(&keys)).build().unwrap();
            let token = token_of(&issuer, bytes);
            assert!(token.len().abs_diff(bytes) < 4, "{}", token.len());
            for _ in 0..3 {
                assert_eq!(kind(verifier.verify_now(&token)), Ok(()), "{bytes}");
            }
            assert_eq!(keys.lookups(), 1, "{bytes}");
        }
    }
    // Where longer ones are accepted, they are cached, too.
    let keys = Asked::new(0);
    let builder = asking(&keys).max_token_bytes(64 * 1024);
    let verifier = builder.build().unwrap();
    let token = token_of(&issuer, 64 * 1024 - 4);
    assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    assert_eq!(keys.lookups(), 1);
    let longer = token_of(&issuer, 65 * 1024);
    let refused = kind(verifier.verify_now(&longer));
    assert_eq!(refused, Err(AuthErrorKind::OversizedCredential));
}

#[test]
fn q5_the_smallest_cache_holds_one_token() {
    let issuer = TestIssuer::new(Algorithm::Es256);
    let keys = Asked::new(0);
    let verifier = asking(&keys).cache_capacity(1).build().unwrap();
    let [one, two] = [issuer.token(|_| ()), issuer.token(|_| ())];
    let verify = |token: &str| kind(verifier.verify_now(token));
    assert_eq!([verify(&one), verify(&one)], [Ok(()); 2]);
    assert_eq!(keys.lookups(), 1);
    // The other one displaces it.
    assert_eq!([verify(&two), verify(&two), verify(&two)], [Ok(()); 3]);
    assert!(keys.lookups() <= 3, "{}", keys.lookups());
}

/// A verifier whose cache is full of valid tokens.
struct Full {
    clock: TestClock,
    issuer: TestIssuer,
    keys: Arc<Asked>,
    verifier: Verifier,
}

impl Full {
    fn new(remembering: impl Fn(VerifierBuilder) -> VerifierBuilder) -> Self {
        let clock = TestClock::new();
        let issuer = TestIssuer::new(Algorithm::Es256).clock(clock.clone());
        let keys = Asked::new(0);
        let builder = remembering(asking(&keys)).clock(clock.clone());
        let verifier = builder.cache_capacity(40).build().unwrap();
        for _ in 0..100 {
            assert_eq!(kind(verifier.verify_now(issuer.token(|_| ()))), Ok(()));
        }
        Self {
            clock,
            issuer,
            keys,
            verifier,
        }
    }

    /// Verifies a token so often, and returns how often its key was looked up.
    fn lookups(&self, token: &str, times: usize) -> usize {
        let before = self.keys.lookups();
        for _ in 0..times {
            assert_eq!(kind(self.verifier.verify_now(token)), Ok(()));
        }
        self.keys.lookups() - before
    }
}

#[test]
fn q5_without_room_a_token_is_cached_when_it_is_verified_again() {
    for remembering in MODES {
        let full = Full::new(remembering);
        let token = full.issuer.token(|_| ());
        assert_eq!(full.lookups(&token, 1), 1);
        assert_eq!(full.lookups(&token, 5), 1);
        // Tokens that are sent once do not displace it.
        for _ in 0..200 {
            assert_eq!(full.lookups(&full.issuer.token(|_| ()), 1), 1);
        }
        assert_eq!(full.lookups(&token, 5), 0);
    }
}

#[test]
fn q5_a_token_that_is_sent_once_to_a_full_cache_leaves_no_memory_behind() {
    let full = Full::new(|builder| builder);
    // The first of them may allocate the marks.
    full.lookups(&full.issuer.token(|_| ()), 1);
    let tokens: Vec<_> = (0..50).map(|_| full.issuer.token(|_| ())).collect();
    let left = allocation_counter::measure(|| {
        for token in &tokens {
            full.lookups(token, 1);
        }
    });
    assert_eq!(left.bytes_current, 0, "{left:?}");
}

#[test]
fn q5_tokens_that_expired_make_room_for_tokens_that_are_sent_once() {
    let full = Full::new(|builder| builder);
    full.clock.advance(Duration::from_secs(86_400));
    // The first one displaces an expired token, which shows that there is room.
    assert_eq!(full.lookups(&full.issuer.token(|_| ()), 3), 2);
    for _ in 0..20 {
        assert_eq!(full.lookups(&full.issuer.token(|_| ()), 3), 1);
    }
}

#[test]
fn q4_a_cached_token_whose_keys_change_is_cached_again_immediately() {
    let full = Full::new(|builder| builder);
    let token = full.issuer.token(|_| ());
    assert_eq!(full.lookups(&token, 3), 2);
    for generation in 1..5 {
        full.keys.generation.store(generation, Ordering::Relaxed);
        assert_eq!(full.lookups(&token, 5), 1);
    }
}

/// A token that a thread sends often has a copy that other threads do not use.
#[test]
fn q4_a_frequent_token_ends_on_every_thread_with_its_keys_and_its_time() {
    const THREADS: usize = 3;

    for remembering in MODES {
        let clock = TestClock::new();
        let keys = Asked::new(0);
        let builder = remembering(asking(&keys)).clock(clock.clone());
        let verifier = builder.build().unwrap();
        let issuer = TestIssuer::new(Algorithm::Es256).clock(clock.clone());
        let token = issuer.token(|_| ());
        let often = || [(); 6].map(|()| kind(verifier.verify_now(&token)));
        let phase = Barrier::new(THREADS + 1);
        assert_eq!(often(), [Ok(()); 6]);
        thread::scope(|scope| {
            let sends = || {
                let results = [(); 3].map(|()| {
                    let results = often();
                    // The keys or the time change in between.
                    phase.wait();
                    phase.wait();
                    results
                });
                (results, often())
            };
            let threads = [(); THREADS].map(|()| scope.spawn(sends));
            phase.wait();
            let lookups = [(); 2].map(|()| {
                let lookups = keys.lookups();
                keys.generation.fetch_add(1, Ordering::Relaxed);
                // The new entry is found by the threads whose copies are of the old one.
                let again = often();
                phase.wait();
                phase.wait();
                (lookups, again)
            });
            let verified = keys.lookups();
            clock.advance(Duration::from_secs(86_400));
            phase.wait();
            for thread in threads {
                let (valid, late) = thread.join().unwrap();
                assert_eq!(valid, [[Ok(()); 6]; 3]);
                assert_eq!(late, [Err(AuthErrorKind::Expired); 6]);
            }
            assert_eq!(lookups, [(1, [Ok(()); 6]), (2, [Ok(()); 6])]);
            assert_eq!(verified, 3);
        });
    }
}
