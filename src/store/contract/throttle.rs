//! Counters of login attempts, with the pure row as the oracle.

use std::{collections::BTreeMap, future::Future, time::Duration};

use tokio::task::JoinSet;

use super::{SECOND, model::Random};
use crate::{
    secret,
    server::login::{ThrottleKey, ThrottleRow, ThrottleRule},
    store::port::{AttemptOutcome, Reservation, Reserve, ThrottleStore},
    time::Timestamp,
};

/// A store of counters under test, which may already hold others.
pub trait ThrottleFixture: Send + Sync {
    /// The store.
    type Store: ThrottleStore + Clone;

    /// A handle on the store; as other processes would have, where that makes a difference.
    fn store(&self) -> Self::Store;

    /// The store's time.
    fn now(&self) -> impl Future<Output = Timestamp> + Send;

    /// A counter as it is kept; the default one where there is none.
    fn row(&self, key: &ThrottleKey) -> impl Future<Output = ThrottleRow> + Send;

    /// Makes a counter older: takes this much from all of its times (whole milliseconds).
    fn age(&self, key: &ThrottleKey, by: Duration) -> impl Future<Output = ()> + Send;
}

/// Makes a `#[tokio::test]` of every rule for counters of login attempts.
///
/// Takes an expression that makes a
/// [`ThrottleFixture`](crate::store::contract::ThrottleFixture), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! throttle_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::throttle_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            every_attempt_is_counted_as_decided
            u3_no_more_are_let_through_at_once_than_are_free
            u3_guesses_in_parallel_never_beat_the_threshold
            u5_what_comes_during_a_wait_changes_nothing
            right_passwords_at_once_are_all_let_through
            a_cleared_counter_is_a_new_one
        }
    };
    ($fixture:expr) => {
        $crate::throttle_store_contract!([] $fixture);
    };
}

/// After every step of a random walk the answer and the row are what [`ThrottleRow`] says.
pub async fn every_attempt_is_counted_as_decided(fixture: &impl ThrottleFixture) {
    for (seed, rule) in (1..).zip(rules()) {
        walk(fixture, seed, &rule).await;
    }
}

async fn walk(fixture: &impl ThrottleFixture, seed: u64, rule: &ThrottleRule) {
    let (key, mut random) = (new_key(), Random(seed));
    let mut model = ThrottleRow::default();
    let mut open: Vec<Reservation> = Vec::new();
    for step in 0..STEPS {
        let store = fixture.store();
        let place = format!("{rule:?}, step {step}");
        let before = fixture.now().await;
        let (told, replay): (String, Box<Replay>) = match random.below(10) {
            0..=4 => {
                let answer = store.reserve(&key, rule).await.expect("reserve");
                let told = match &answer {
                    Reserve::Granted(reservation) => Reserve::Granted(reservation.batch()),
                    Reserve::Pending(held) => Reserve::Pending(*held),
                    Reserve::Wait(wait) => Reserve::Wait(*wait),
                };
                if let Reserve::Granted(reservation) = answer {
                    open.push(reservation);
                }
                let replay = move |row: &mut ThrottleRow, now| row.reserve(rule, now) == told;
                (format!("{told:?}"), Box::new(replay))
            }
            5..=7 if !open.is_empty() => {
                let which = random.below(open.len() as u64) as usize;
                // Now and then one is settled twice.
                let reservation = match random.one_in(5) {
                    true => open[which].clone(),
                    false => open.swap_remove(which),
                };
                let outcome = match random.below(6) {
                    0 => AttemptOutcome::Succeeded,
                    1 => AttemptOutcome::Undecided,
                    _ => AttemptOutcome::Failed,
                };
                let batch = reservation.batch();
                let told = store.settle(reservation, outcome).await.expect("settle");
                let replay =
                    move |row: &mut ThrottleRow, now| row.settle(rule, now, batch, outcome) == told;
                (format!("{outcome:?}: {told:?}"), Box::new(replay))
            }
            _ => {
                let by = random.pause(rule);
                fixture.age(&key, by).await;
                age(&mut model, by);
                for reservation in &mut open {
                    let batch = reservation.batch().minus(by);
                    *reservation = Reservation::new(key, *rule, batch);
                }
                (format!("aged by {by:?}"), Box::new(|_: &mut _, _| true))
            }
        };
        let row = fixture.row(&key).await;
        let after = fixture.now().await;
        // It happened at one of these moments.
        let moments = before.as_millis()..=after.as_millis();
        let next = moments.map(Timestamp::from_millis).find_map(|now| {
            let mut next = model;
            let same = replay(&mut next, now) && plain(next, rule, now) == plain(row, rule, now);
            same.then_some(next)
        });
        let Some(next) = next else {
            panic!("{place}: {told} made {row:?} of {model:?} between {before:?} and {after:?}");
        };
        model = next;
    }
}

/// Does to a row what the store was asked to; whether the answer is the same.
type Replay<'a> = dyn Fn(&mut ThrottleRow, Timestamp) -> bool + Send + 'a;

/// What a row says, without what no longer matters.
fn plain(mut row: ThrottleRow, rule: &ThrottleRule, now: Timestamp) -> ThrottleRow {
    row.catch_up(rule, now);
    if row.open == 0 {
        row.batch = Timestamp::default();
        row.open_until = Timestamp::default();
    }
    if row.blocked_until <= now {
        row.blocked_until = Timestamp::default();
    }
    if row.failures == 0 {
        row.forgotten_at = Timestamp::default();
    }
    row
}

fn age(row: &mut ThrottleRow, by: Duration) {
    for time in [
        &mut row.batch,
        &mut row.open_until,
        &mut row.blocked_until,
        &mut row.forgotten_at,
    ] {
        *time = time.minus(by);
    }
}

fn rules() -> [ThrottleRule; 6] {
    let lock = ThrottleRule {
        free: 3,
        first_wait: ThrottleRule::FOREVER,
        longest_wait: ThrottleRule::FOREVER,
        memory: 24 * 60 * MINUTE,
        ..ThrottleRule::NAME
    };
    let hasty = ThrottleRule {
        free: 0,
        first_wait: Duration::from_millis(7),
        longest_wait: 1000 * 365 * 24 * 60 * MINUTE,
        memory: SECOND,
        ..ThrottleRule::PAIR
    };
    [
        ThrottleRule::PAIR,
        ThrottleRule {
            free: 8,
            ..ThrottleRule::NAME
        },
        ThrottleRule::NAME,
        ThrottleRule {
            success_clears: true,
            ..lock
        },
        lock,
        hasty,
    ]
}

/// Of many at once as many are let through as may fail, and the others are told to look again.
pub async fn u3_no_more_are_let_through_at_once_than_are_free(fixture: &impl ThrottleFixture) {
    let (key, rule) = (new_key(), ThrottleRule::PAIR);
    for _ in 0..3 {
        let (granted, others) = crowd(fixture, &key, &rule, 60).await;
        assert_eq!(granted.len(), 5, "{others:?}");
        assert_eq!(others.get("pending"), Some(&55), "{others:?}");
        for reservation in granted {
            let store = fixture.store();
            let settled = store.settle(reservation, AttemptOutcome::Succeeded);
            settled.await.expect("settle");
        }
    }
}

/// Whatever is settled while others arrive, no more fail than may before a wait begins.
pub async fn u3_guesses_in_parallel_never_beat_the_threshold(fixture: &impl ThrottleFixture) {
    for _ in 0..5 {
        let (key, rule) = (
            new_key(),
            ThrottleRule {
                first_wait: MINUTE,
                ..ThrottleRule::PAIR
            },
        );
        let mut tasks = JoinSet::new();
        for _ in 0..40 {
            let store = fixture.store();
            tasks.spawn(async move {
                let answer = store.reserve(&key, &rule).await.expect("reserve");
                let Reserve::Granted(reservation) = answer else {
                    return 0;
                };
                tokio::task::yield_now().await;
                let settled = store.settle(reservation, AttemptOutcome::Failed).await;
                settled.expect("settle");
                1
            });
        }
        let mut looked_at = 0;
        while let Some(task) = tasks.join_next().await {
            looked_at += task.expect("the store does not panic");
        }
        assert_eq!(looked_at, 5, "passwords were looked at");
        let row = fixture.row(&key).await;
        assert_eq!((row.failures, row.open), (5, 0));
    }
}

async fn crowd(
    fixture: &impl ThrottleFixture,
    key: &ThrottleKey,
    rule: &ThrottleRule,
    many: u32,
) -> (Vec<Reservation>, BTreeMap<&'static str, u32>) {
    let mut tasks = JoinSet::new();
    for _ in 0..many {
        let (store, key, rule) = (fixture.store(), *key, *rule);
        tasks.spawn(async move { store.reserve(&key, &rule).await.expect("reserve") });
    }
    let (mut granted, mut others) = (Vec::new(), BTreeMap::new());
    while let Some(task) = tasks.join_next().await {
        let other = match task.expect("the store does not panic") {
            Reserve::Granted(reservation) => {
                granted.push(reservation);
                continue;
            }
            Reserve::Pending(_) => "pending",
            Reserve::Wait(_) => "wait",
        };
        *others.entry(other).or_default() += 1;
    }
    (granted, others)
}

/// A flood during a wait is refused, and the wait is as long as before.
pub async fn u5_what_comes_during_a_wait_changes_nothing(fixture: &impl ThrottleFixture) {
    let (key, rule) = (
        new_key(),
        ThrottleRule {
            first_wait: MINUTE,
            ..ThrottleRule::PAIR
        },
    );
    for _ in 0..5 {
        let settled = attempt(fixture, &key, &rule, AttemptOutcome::Failed).await;
        assert!(settled.is_zero() || settled == MINUTE);
    }
    let before = fixture.row(&key).await;
    let (granted, others) = crowd(fixture, &key, &rule, 40).await;
    assert!(granted.is_empty());
    assert_eq!(others.get("wait"), Some(&40), "{others:?}");
    assert_eq!(fixture.row(&key).await, before);
    fixture.age(&key, MINUTE).await;
    assert_eq!(
        attempt(fixture, &key, &rule, AttemptOutcome::Failed).await,
        2 * MINUTE
    );
}

/// Somebody who signs in on many devices at once stands in nobody's way.
pub async fn right_passwords_at_once_are_all_let_through(fixture: &impl ThrottleFixture) {
    let (key, rule) = (new_key(), ThrottleRule::PAIR);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = fixture.store();
        tasks.spawn(async move {
            for _ in 0..10_000 {
                match store.reserve(&key, &rule).await.expect("reserve") {
                    Reserve::Granted(reservation) => {
                        let succeeded = AttemptOutcome::Succeeded;
                        store.settle(reservation, succeeded).await.expect("settle");
                        return;
                    }
                    Reserve::Pending(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    Reserve::Wait(wait) => panic!("told to wait {wait:?}"),
                }
            }
            panic!("never let through");
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("let through");
    }
}

/// What was cleared allows as much as what was never used; other counters stay.
pub async fn a_cleared_counter_is_a_new_one(fixture: &impl ThrottleFixture) {
    let store = fixture.store();
    let (key, other, rule) = (new_key(), new_key(), ThrottleRule::PAIR);
    for key in [&key, &other] {
        for _ in 0..3 {
            attempt(fixture, key, &rule, AttemptOutcome::Failed).await;
        }
    }
    store.clear(&key).await.expect("clear");
    assert_eq!(fixture.row(&key).await, ThrottleRow::default());
    assert_eq!(fixture.row(&other).await.failures, 3);
    let (granted, _) = crowd(fixture, &key, &rule, 10).await;
    assert_eq!(granted.len(), 5);
    store.clear(&key).await.expect("clear");
    for reservation in granted {
        // Of a row that is gone.
        let settled = store.settle(reservation, AttemptOutcome::Failed).await;
        assert_eq!(settled.expect("settle").wait, Duration::ZERO);
    }
    assert_eq!(fixture.row(&key).await, ThrottleRow::default());
}

/// The wait that began.
async fn attempt(
    fixture: &impl ThrottleFixture,
    key: &ThrottleKey,
    rule: &ThrottleRule,
    outcome: AttemptOutcome,
) -> Duration {
    let store = fixture.store();
    let answer = store.reserve(key, rule).await.expect("reserve");
    let Reserve::Granted(reservation) = answer else {
        panic!("an attempt that is free is not let through: {answer:?}");
    };
    let settled = store.settle(reservation, outcome).await.expect("settle");
    settled.wait
}

fn new_key() -> ThrottleKey {
    ThrottleKey::from_bytes(secret::random())
}

impl Random {
    /// Around the moments at which something changes.
    fn pause(&mut self, rule: &ThrottleRule) -> Duration {
        let edge = match self.below(6) {
            0 => rule.hold,
            1 => rule.first_wait.min(24 * 60 * MINUTE),
            2 => rule.memory,
            3 => rule.memory + rule.longest_wait.min(24 * 60 * MINUTE),
            4 => SECOND * (1 + self.below(40) as u32),
            _ => Duration::from_millis(20),
        };
        (edge + Duration::from_millis(self.below(30))).saturating_sub(Duration::from_millis(20))
    }
}

const STEPS: u32 = 120;
const MINUTE: Duration = Duration::from_secs(60);
