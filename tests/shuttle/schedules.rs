//! The swap of a key set and the cache of verified tokens, in thousands of schedules.
//!
//! The crate is the very one that is published; only what is under it is exchanged, the locks of
//! quick_cache and all of arc-swap, for such that shuttle schedules. Shuttle runs one thread at a time
//! and switches at every one of their steps, so it finds every wrong order of steps, and nothing that
//! only a weak memory could show: of that, the two libraries take care.
//!
//! `cargo test --manifest-path tests/shuttle/Cargo.toml`. A schedule that fails is printed, and run
//! again by `shuttle::replay`.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use tower_jwt_auth::{
    Claims, Verifier,
    key::{Algorithm, KeySet, KeySource, SharedKeySet, VerifyingKey},
    test_util::{TestClock, TestIssuer},
    verify::VerifierBuilder,
};

/// D29: whoever knows that a key was withdrawn is never served a token of it.
#[test]
fn d29_no_schedule_serves_a_token_past_its_key() {
    for mode in [Mode::Tokens, Mode::Digests, Mode::Group] {
        schedules(move || {
            let keys = SharedKeySet::new(set(OLD));
            let verifier = Arc::new(build(&keys, mode, TestClock::new()));
            let withdrawn = Arc::new(AtomicBool::new(false));
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let verifier = Arc::clone(&verifier);
                    let withdrawn = Arc::clone(&withdrawn);
                    thread::spawn(move || {
                        for _ in 0..2 {
                            let late = withdrawn.load(Ordering::SeqCst);
                            let accepted = verifier.verify_now(&*OLD_TOKEN).is_ok();
                            assert!(!(late && accepted), "a withdrawn key's token was accepted");
                        }
                    })
                })
                .collect();
            keys.replace(set(NEW));
            withdrawn.store(true, Ordering::SeqCst);
            assert!(verifier.verify_now(&*OLD_TOKEN).is_err());
            assert!(verifier.verify_now(&*NEW_TOKEN).is_ok());
            for reader in readers {
                reader.join().unwrap();
            }
            // Whatever the readers left behind.
            assert!(verifier.verify_now(&*OLD_TOKEN).is_err());
            assert!(verifier.verify_now(&*NEW_TOKEN).is_ok());
        });
    }
}

/// Q4: whoever knows that a token expired is never served it.
#[test]
fn q4_no_schedule_serves_a_token_past_its_time() {
    for mode in [Mode::Tokens, Mode::Group] {
        schedules(move || past_its_time(mode));
    }
}

fn past_its_time(mode: Mode) {
    let keys = SharedKeySet::new(set(OLD));
    let clock = TestClock::new();
    let verifier = Arc::new(build(&keys, mode, clock.clone()));
    let expired = Arc::new(AtomicBool::new(false));
    let reader = {
        let (verifier, expired) = (Arc::clone(&verifier), Arc::clone(&expired));
        thread::spawn(move || {
            for _ in 0..3 {
                let late = expired.load(Ordering::SeqCst);
                let accepted = verifier.verify_now(&*OLD_TOKEN).is_ok();
                assert!(!(late && accepted), "an expired token was accepted");
            }
        })
    };
    clock.advance(DAY);
    expired.store(true, Ordering::SeqCst);
    assert!(verifier.verify_now(&*OLD_TOKEN).is_err());
    reader.join().unwrap();
}

/// One generation is one whole set, however many replace it at once.
#[test]
fn d29_one_generation_is_one_set() {
    schedules(|| {
        let keys = SharedKeySet::new(set(OLD));
        let seen = Arc::new(Mutex::new(HashMap::from([(0, OLD)])));
        let writers = [NEW, THIRD].map(|secret| {
            let keys = keys.clone();
            thread::spawn(move || keys.replace(set(secret)))
        });
        let reader = {
            let (keys, seen) = (keys.clone(), Arc::clone(&seen));
            thread::spawn(move || {
                for _ in 0..3 {
                    note(&keys, &mut seen.lock().unwrap());
                }
            })
        };
        for writer in writers {
            writer.join().unwrap();
        }
        reader.join().unwrap();
        note(&keys, &mut seen.lock().unwrap());
        assert_eq!(keys.generation(), Some(2), "a replacement was lost");
    });
}

/// Notes which keys those of the present generation are, unless it changes meanwhile.
fn note(keys: &SharedKeySet, seen: &mut HashMap<u64, u8>) {
    let before = keys.generation().unwrap();
    let whole = keys.load();
    if keys.generation() == Some(before) {
        let own = |&(secret, token): &(u8, &String)| {
            let verifier = rules(Verifier::key_set(whole.clone()))
                .clock(TestClock::new())
                .build()
                .unwrap();
            verifier
                .verify_now(token.as_str())
                .is_ok()
                .then_some(secret)
        };
        let all = [
            (OLD, &*OLD_TOKEN),
            (NEW, &*NEW_TOKEN),
            (THIRD, &*THIRD_TOKEN),
        ];
        let found: Vec<_> = all.iter().filter_map(own).collect();
        let [secret] = found[..] else {
            panic!("half of a set: {found:?}")
        };
        assert_eq!(
            *seen.entry(before).or_insert(secret),
            secret,
            "two sets of one generation"
        );
    }
}

/// Runs a scene in random schedules, and in such as find rare orders of a few steps.
fn schedules(scene: impl Fn() + Send + Sync + 'static) {
    // Made before the first schedule: what is made once must not be a part of one.
    for token in [&OLD_TOKEN, &NEW_TOKEN, &THIRD_TOKEN] {
        assert!(!token.is_empty());
    }
    let scene = Arc::new(scene);
    let mut config = Config::new();
    config.stack_size = 512 * 1024;
    let again = Arc::clone(&scene);
    Runner::new(RandomScheduler::new(SCHEDULES), config.clone()).run(move || again());
    Runner::new(PctScheduler::new(3, SCHEDULES), config).run(move || scene());
}

fn set(secret: u8) -> KeySet {
    let key = VerifyingKey::from_secret(Algorithm::Hs256, [secret; 32]).unwrap();
    KeySet::new([key]).unwrap()
}

/// The cache that is used.
#[derive(Clone, Copy)]
enum Mode {
    Tokens,
    Digests,
    /// The cache in front of a group of verifiers.
    Group,
}

fn build(keys: &SharedKeySet, mode: Mode, clock: TestClock) -> Verifier {
    let builder = rules(Verifier::key_source(keys.clone()))
        .clock(clock)
        .cache_capacity(4);
    match mode {
        Mode::Tokens => builder.build().unwrap(),
        Mode::Digests => builder.cache_by_digest().build().unwrap(),
        Mode::Group => Verifier::by_algorithm([builder.build().unwrap()]).unwrap(),
    }
}

fn rules(builder: VerifierBuilder<Claims>) -> VerifierBuilder<Claims> {
    builder
        .algorithms([Algorithm::Hs256])
        .dangerous_any_audience()
}

fn token(secret: u8) -> String {
    // The clock stands where those of the scenes start.
    let issuer = TestIssuer::with_secret(Algorithm::Hs256, &[secret; 32]).clock(TestClock::new());
    issuer.token(|_| ())
}

static OLD_TOKEN: LazyLock<String> = LazyLock::new(|| token(OLD));
static NEW_TOKEN: LazyLock<String> = LazyLock::new(|| token(NEW));
static THIRD_TOKEN: LazyLock<String> = LazyLock::new(|| token(THIRD));

const OLD: u8 = 1;
const NEW: u8 = 2;
const THIRD: u8 = 3;
const DAY: Duration = Duration::from_secs(86_400);
const SCHEDULES: usize = 20_000;
