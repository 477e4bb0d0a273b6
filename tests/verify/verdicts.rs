//! Section Q, Q4 and Q5: how long a verdict holds, and what it leaves behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource, SharedKeySet},
    test_util::{TestClock, TestIssuer, TestKeys},
    time::Clock,
    verify::{CheckError, VerifierBuilder},
};

use crate::support::fixture::{AUDIENCE, Fixture};

pub(crate) fn kind<T>(verdict: Result<T, tower_jwt_auth::AuthError>) -> Result<(), AuthErrorKind> {
    verdict.map(drop).map_err(|error| error.kind())
}

/// The same rules hold whatever is remembered of a token: itself, or its digest.
pub(crate) const MODES: [fn(VerifierBuilder) -> VerifierBuilder; 2] =
    [|builder| builder, |builder| builder.cache_by_digest()];

#[test]
fn q4_a_verdict_ends_with_the_tokens_time() {
    for remembering in MODES {
        let fixture = Fixture::new();
        let verifier = remembering(fixture.builder()).build().unwrap();
        let token = fixture.with("exp", json!(fixture.now() + 100));
        for _ in 0..3 {
            assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
        }
        fixture.clock.advance(Duration::from_secs(159));
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
        fixture.clock.advance(Duration::from_secs(1));
        assert_eq!(
            kind(verifier.verify_now(&token)),
            Err(AuthErrorKind::Expired)
        );
    }
}

#[test]
fn q4_a_verdict_ends_with_its_key() {
    for remembering in MODES {
        let set = |keys: TestKeys| KeySet::from_jwks(keys.jwks()).unwrap();
        let keys = SharedKeySet::new(set(TestKeys::new()));
        let verifier = remembering(Verifier::key_source(keys.clone()))
            .audience(AUDIENCE)
            .build()
            .unwrap();
        let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
        for _ in 0..3 {
            assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
        }
        keys.replace(set(TestKeys::other()));
        assert_eq!(
            kind(verifier.verify_now(&token)),
            Err(AuthErrorKind::UnknownKey)
        );
        keys.replace(set(TestKeys::new()));
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    }
}

#[test]
fn q5_tokens_leave_no_memory_behind() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    let good = fixture.token();
    let (message, _) = good.rsplit_once('.').unwrap();
    let run = |from: u32, to: u32| {
        for number in from..to {
            let forged = format!("{message}.{number:086}");
            assert!(verifier.verify_now(&forged).is_err());
            assert!(verifier.verify_now(&good).is_ok());
        }
    };
    // The first rounds may fill what is filled once in a process, and copy the token for the thread.
    run(0, 3);
    let left = allocation_counter::measure(|| run(3, 200));
    assert_eq!(left.bytes_current, 0, "{left:?}");
    assert!(left.count_total > 0);
}

/// Keys that are counted when they are asked for, with a generation that a test sets.
pub(crate) struct Asked {
    keys: KeySet,
    lookups: AtomicUsize,
    pub(crate) generation: AtomicU64,
}

impl Asked {
    /// No generation at all.
    pub(crate) const NONE: u64 = u64::MAX;

    pub(crate) fn new(generation: u64) -> Arc<Self> {
        Self::of(TestKeys::new(), generation)
    }

    pub(crate) fn of(keys: TestKeys, generation: u64) -> Arc<Self> {
        Arc::new(Self {
            keys: KeySet::from_jwks(keys.jwks()).unwrap(),
            lookups: AtomicUsize::new(0),
            generation: AtomicU64::new(generation),
        })
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }
}

impl KeySource for Asked {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.keys.lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        let generation = self.generation.load(Ordering::Relaxed);
        (generation != Self::NONE).then_some(generation)
    }
}

pub(crate) fn asking(keys: &Arc<Asked>) -> VerifierBuilder {
    Verifier::key_source(Arc::clone(keys)).audience(AUDIENCE)
}

#[test]
fn q4_a_token_is_looked_up_once_while_its_keys_stay() {
    let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
    for remembering in MODES {
        let keys = Asked::new(7);
        let verifier = remembering(asking(&keys)).build().unwrap();
        let verify = || kind(verifier.verify_now(&token));
        assert_eq!([verify(), verify(), verify()], [Ok(()); 3]);
        assert_eq!(keys.lookups(), 1);
        keys.generation.store(8, Ordering::Relaxed);
        assert_eq!([verify(), verify()], [Ok(()); 2]);
        assert_eq!(keys.lookups(), 2);
        // No usable keys, or a source that cannot tell: nothing remembered counts.
        keys.generation.store(Asked::NONE, Ordering::Relaxed);
        assert_eq!([verify(), verify()], [Ok(()); 2]);
        assert_eq!(keys.lookups(), 4);
    }

    let keys = Asked::new(0);
    let verifier = asking(&keys).without_cache().build().unwrap();
    let verify = || kind(verifier.verify_now(&token));
    assert_eq!([verify(), verify(), verify()], [Ok(()); 3]);
    assert_eq!(keys.lookups(), 3);
}

#[test]
fn q4_only_the_very_same_token_is_found_again() {
    for remembering in MODES {
        let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
        let keys = Asked::new(0);
        let verifier = remembering(asking(&keys)).build().unwrap();
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
        // The same signature, and so the same bucket.
        for position in 0..token.rfind('.').unwrap() {
            let mut other = token.clone().into_bytes();
            other[position] = if other[position] == b'A' { b'B' } else { b'A' };
            assert!(verifier.verify_now(&other).is_err(), "{position}");
        }
        for longer in [
            format!("{token}A"),
            format!("A{token}"),
            format!("{token}="),
        ] {
            assert!(verifier.verify_now(longer).is_err());
        }
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    }
}

#[test]
fn q5_a_refused_token_is_never_remembered() {
    for remembering in MODES {
        let fixture = Fixture::new();
        let keys = Asked::new(0);
        let verifier = remembering(asking(&keys))
            .clock(fixture.clock.clone())
            .build()
            .unwrap();
        let issuer = TestIssuer::new(Algorithm::Es256).clock(fixture.clock.clone());
        let later = fixture.now() + 100;
        let early = issuer.token(|claims| claims.insert("nbf".into(), json!(later)));
        let verify = || kind(verifier.verify_now(&early));
        assert_eq!(verify(), Err(AuthErrorKind::NotYetValid));
        assert_eq!(verify(), Err(AuthErrorKind::NotYetValid));
        assert_eq!(keys.lookups(), 2);
        fixture.clock.advance(Duration::from_secs(40));
        assert_eq!([verify(), verify()], [Ok(()); 2]);
        assert_eq!(keys.lookups(), 3);
        // Back before its time, as a clock may be set: remembered or not, it is not valid.
        let before = fixture.clock.now().minus(Duration::from_secs(2));
        fixture.clock.set(before);
        assert_eq!(verify(), Err(AuthErrorKind::NotYetValid));
    }
}

#[test]
fn q5_what_is_remembered_is_bounded_by_number_and_by_bytes() {
    for remembering in MODES {
        let issuer = TestIssuer::new(Algorithm::Hs256);
        let verifier = |tokens| {
            remembering(Verifier::hs256(TestKeys::new().secret(Algorithm::Hs256)))
                .audience(AUDIENCE)
                .cache_capacity(tokens)
                .build()
                .unwrap()
        };
        for padding in [0, 1_500, 6_000] {
            let tokens: Vec<_> = (0..600)
                .map(|_| {
                    issuer.token(|claims| claims.insert("x".into(), json!("x".repeat(padding))))
                })
                .collect();
            let bounded = verifier(50);
            let kept = allocation_counter::measure(|| {
                for token in &tokens {
                    assert_eq!(kind(bounded.verify_now(token)), Ok(()));
                }
            });
            assert!(kept.bytes_current > 0, "nothing was kept: {kept:?}");
            // 3 KiB an entry, and as much again for the tables.
            assert!(kept.bytes_current < 50 * 6 * 1024, "{kept:?}");
        }
        // A token that would take more than half of the room is not kept at all.
        let long = issuer.token(|claims| claims.insert("x".into(), json!("x".repeat(4_000))));
        let small = verifier(10);
        // The first token leaves its parsed header.
        assert_eq!(kind(small.verify_now(issuer.token(|_| ()))), Ok(()));
        let kept = allocation_counter::measure(|| {
            assert_eq!(kind(small.verify_now(&long)), Ok(()));
        });
        assert_eq!(kept.bytes_current, 0, "{kept:?}");
    }
}

#[test]
fn q5_expired_tokens_make_room() {
    let clock = TestClock::new();
    let issuer = TestIssuer::new(Algorithm::Es256).clock(clock.clone());
    let keys = Asked::new(0);
    let builder = asking(&keys).clock(clock.clone());
    let verifier = builder.cache_capacity(100).build().unwrap();
    let mut late = 0;
    // Those of one day fill half of the room, and are asked for again and again until they expire.
    for _day in 0..8 {
        let tokens: Vec<_> = (0..50).map(|_| issuer.token(|_| ())).collect();
        for round in 0..12 {
            let before = keys.lookups();
            for token in &tokens {
                assert_eq!(kind(verifier.verify_now(token)), Ok(()));
            }
            if round >= 8 {
                late += keys.lookups() - before;
            }
        }
        clock.advance(Duration::from_secs(86_400));
    }
    // Of 1600: where the dead stay, it is a third.
    assert!(late < 160, "{late} tokens were not found again");
}

#[test]
fn e21_a_check_is_asked_once_for_a_token_that_is_remembered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let verifier = |tokens| {
        let asked = Arc::clone(&asked);
        Verifier::hs256(TestKeys::new().secret(Algorithm::Hs256))
            .audience(AUDIENCE)
            .cache_capacity(tokens)
            .validate_with(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
                0 => Err(CheckError::unavailable("not yet")),
                _ => Ok(()),
            })
            .build()
            .unwrap()
    };
    let token = TestIssuer::new(Algorithm::Hs256).token(|_| ());
    let remembering = verifier(10);
    let verify = || kind(remembering.verify_now(&token));
    // What could not be decided is asked again.
    assert_eq!(verify(), Err(AuthErrorKind::CheckUnavailable));
    assert_eq!([verify(), verify(), verify()], [Ok(()); 3]);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn q4_a_key_that_is_replaced_is_dead_when_the_replacement_returns() {
    let set = |keys: TestKeys| KeySet::from_jwks(keys.jwks()).unwrap();
    let keys = SharedKeySet::new(set(TestKeys::new()));
    let verifier = Verifier::key_source(keys.clone())
        .audience(AUDIENCE)
        .build()
        .unwrap();
    let token = TestIssuer::new(Algorithm::EdDsa).token(|_| ());
    /// Ends the readers, also where the test fails.
    struct Stop<'s>(&'s AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        // Readers that put the token into the cache whenever they may.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = verifier.verify_now(&token);
                }
            });
        }
        for _ in 0..200 {
            keys.replace(set(TestKeys::other()));
            assert_eq!(
                kind(verifier.verify_now(&token)),
                Err(AuthErrorKind::UnknownKey)
            );
            keys.replace(set(TestKeys::new()));
            assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// security.md: the same bytes get the same verdict with the cache and without.
    #[test]
    fn q4_remembering_changes_no_verdict(
        steps in prop::collection::vec((0_usize..6, 0_u64..90, 0_u8..6, any::<bool>()), 1..40),
    ) {
        let clock = TestClock::new();
        let start = clock.timestamp();
        let keys = SharedKeySet::new(KeySet::from_jwks(TestKeys::new().jwks()).unwrap());
        let builder = || {
            let builder = Verifier::key_source(keys.clone()).audience(AUDIENCE).clock(clock.clone());
            builder.leeway(Duration::from_secs(10)).max_age(Duration::from_secs(300))
        };
        let fresh = builder().without_cache().build().unwrap();
        let alone = MODES.map(|remembering| remembering(builder().cache_capacity(3)).build().unwrap());
        // The cache in front of a group.
        let group = |one: &Verifier| Verifier::by_algorithm([one.clone()]).unwrap();
        let cached = [group(&alone[0]), group(&alone[1]), alone[0].clone(), alone[1].clone()];
        let tokens: Vec<_> = (0..6)
            .map(|number| {
                let signer = if number % 2 == 0 { TestKeys::new() } else { TestKeys::other() };
                let issuer = TestIssuer::with_keys(Algorithm::Es256, signer).clock(clock.clone());
                issuer.token(|claims| {
                    claims["iat"] = json!(start + 30 * number);
                    claims.insert("nbf".into(), json!(start + 20 * number));
                    claims["exp"] = json!(start + 120 + 100 * number);
                })
            })
            .collect();
        for (token, seconds, key, back) in steps {
            match key {
                0 => keys.replace(KeySet::from_jwks(TestKeys::other().jwks()).unwrap()),
                1 => keys.replace(KeySet::from_jwks(TestKeys::new().jwks()).unwrap()),
                _ => {}
            }
            if back {
                clock.set(clock.now().minus(Duration::from_secs(seconds)));
            } else {
                clock.advance(Duration::from_secs(seconds));
            }
            let expected = kind(fresh.verify_now(&tokens[token]));
            for cached in &cached {
                prop_assert_eq!(kind(cached.verify_now(&tokens[token])), expected);
            }
        }
    }
}
