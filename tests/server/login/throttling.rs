//! Who may try how often.

use std::{future::poll_fn, sync::atomic::Ordering, task::Poll, time::Duration};

use tower_jwt_auth::{
    server::login::{LoginOutcome, PasswordHasher},
    store::port::UserRecord,
};

use crate::support::login::*;

/// All of them at once; what each was told.
async fn together(fixture: &Fixture, count: usize, text: &'static str) -> Vec<String> {
    let login = fixture.login();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let login = login.clone();
            tokio::spawn(async move { shown(&login.attempt(&attempt("ada", text)).await) })
        })
        .collect();
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.unwrap());
    }
    told
}

fn count(told: &[String], what: &str) -> usize {
    told.iter().filter(|one| one.starts_with(what)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u3_a_hundred_parallel_guesses_get_five_looked_at() {
    let fixture = Fixture::new().await;
    let told = together(&fixture, 100, "wrong").await;
    assert_eq!(
        (count(&told, "no"), count(&told, "wait")),
        (5, 95),
        "{told:?}"
    );
    // Only those five were looked up.
    assert_eq!(fixture.users.found.load(Ordering::Relaxed), 5);
    // After each wait one, however many come.
    for round in 0..4 {
        fixture.advance(1 << round);
        let told = together(&fixture, 50, "wrong").await;
        assert_eq!(
            (count(&told, "no"), count(&told, "wait")),
            (1, 49),
            "{round}: {told:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u4_two_hundred_right_logins_at_once_all_succeed() {
    let fixture = Fixture::new().await;
    let told = together(&fixture, 200, "right").await;
    assert_eq!(count(&told, "welcome"), 200, "{told:?}");
    assert!(fixture.throttle.is_empty(), "every attempt was given back");
    // Also after four failures, when they go one at a time.
    for _ in 0..4 {
        assert_eq!(
            shown(&fixture.login().attempt(&attempt("ada", "wrong")).await),
            "no"
        );
    }
    let told = together(&fixture, 50, "right").await;
    assert_eq!(count(&told, "welcome"), 50, "{told:?}");
}

#[tokio::test]
async fn u5_attempts_during_a_wait_neither_count_nor_extend_it() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    let tell = async |text| shown(&login.attempt(&attempt("ada", text)).await);
    for _ in 0..5 {
        assert_eq!(tell("wrong").await, "no");
    }
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        for _ in 0..10 {
            assert_eq!(
                tell("right").await,
                format!("wait {wait}"),
                "the right one as well"
            );
        }
        let looked_up = fixture.users.found.load(Ordering::Relaxed);
        fixture
            .clock
            .advance(Duration::from_millis(wait * 1000 - 500));
        assert_eq!(tell("wrong").await, "wait 1", "at least a second");
        assert_eq!(fixture.users.found.load(Ordering::Relaxed), looked_up);
        fixture.clock.advance(Duration::from_millis(500));
        assert_eq!(tell("wrong").await, "no");
    }
    fixture.advance(900);
    assert_eq!(tell("right").await, "welcome user-1");
    // A success forgets.
    for _ in 0..5 {
        assert_eq!(tell("wrong").await, "no");
    }
    assert_eq!(tell("wrong").await, "wait 1");
    // So does a quarter of an hour after the wait.
    fixture.advance(901);
    for _ in 0..5 {
        assert_eq!(tell("wrong").await, "no");
    }
}

#[tokio::test]
async fn u5_a_trusted_device_gets_in_during_a_wait_and_has_its_own_counter() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    let LoginOutcome::Success(first) = login.attempt(&attempt("ada", "right")).await else {
        panic!();
    };
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&attempt("ada", "wrong")).await), "no");
    }
    assert_eq!(
        shown(&login.attempt(&attempt("ada", "right")).await),
        "wait 1"
    );

    let device = |name, text| attempt(name, text).device(first.device_token().clone());
    let told = shown(&login.attempt(&device("ada", "right")).await);
    assert_eq!(told, "welcome user-1");
    // It is Ada's device, and nobody else's.
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&device("bob", "wrong")).await), "no");
        assert_eq!(
            shown(&login.attempt(&device("nobody", "wrong")).await),
            "no"
        );
    }
    assert_eq!(
        shown(&login.attempt(&device("bob", "wrong")).await),
        "wait 1"
    );
    assert_eq!(
        shown(&login.attempt(&device("nobody", "wrong")).await),
        "wait 1"
    );
    // Whoever stole it has no more attempts than anybody.
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&device("ada", "wrong")).await), "no");
    }
    assert_eq!(
        shown(&login.attempt(&device("ada", "right")).await),
        "wait 1"
    );
    // A cookie that is not genuine is none.
    let forged = format!("A{}", &first.device_token().expose()[1..]);
    for cookie in ["", "x", &forged] {
        let told = shown(
            &login
                .attempt(&attempt("ada", "right").device(cookie.to_owned()))
                .await,
        );
        assert_eq!(told, "wait 1");
    }
    // A year later it is no device any more.
    fixture.advance(365 * 24 * 60 * 60);
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&attempt("ada", "wrong")).await), "no");
    }
    assert_eq!(
        shown(&login.attempt(&device("ada", "right")).await),
        "wait 1"
    );
}

/// Whoever once knew the password may have gathered cookies while it was good.
#[tokio::test]
async fn u5_a_device_is_trusted_no_longer_than_its_password_is_good() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    let mut gathered = Vec::new();
    for _ in 0..10 {
        let LoginOutcome::Success(one) = login.attempt(&attempt("ada", "right")).await else {
            panic!();
        };
        gathered.push(one.device_token().clone());
    }
    let hash = fixture.hasher.hash(&password("newer")).await.unwrap();
    fixture
        .users
        .put("ada", UserRecord::new("user-1").password(hash));
    let mut looked_at = 0;
    for device in &gathered {
        for _ in 0..5 {
            let guess = attempt("ada", "guess").device(device.clone());
            looked_at += usize::from(shown(&login.attempt(&guess).await) == "no");
        }
    }
    assert_eq!(looked_at, 5, "as many as without a cookie");
    fixture.advance(1);
    let LoginOutcome::Success(one) = login.attempt(&attempt("ada", "newer")).await else {
        panic!();
    };
    for _ in 0..5 {
        let _ = login.attempt(&attempt("ada", "guess")).await;
    }
    let back = attempt("ada", "newer").device(one.device_token().clone());
    assert_eq!(shown(&login.attempt(&back).await), "welcome user-1");
}

#[tokio::test]
async fn u11_a_wait_is_the_same_for_known_and_unknown_names() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    for _ in 0..12 {
        let known = shown(&login.attempt(&attempt("ada", "wrong")).await);
        let unknown = shown(&login.attempt(&attempt("nobody", "wrong")).await);
        assert_eq!(known, unknown);
        fixture.clock.advance(Duration::from_millis(600));
    }
}

#[tokio::test]
async fn a_network_that_guesses_does_not_hold_up_the_others_until_there_are_many() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    let from = |network: u32, text| {
        let [_, _, high, low] = network.to_be_bytes();
        attempt("ada", text).from(address(&format!("10.0.{high}.{low}")))
    };
    for network in 0..10 {
        for _ in 0..5 {
            assert_eq!(shown(&login.attempt(&from(network, "wrong")).await), "no");
        }
        let next = shown(&login.attempt(&from(network, "wrong")).await);
        assert_eq!(next, "wait 1", "{network}");
    }
    // Fifty from ten networks: now the name itself waits, one attempt in half a minute.
    assert_eq!(shown(&login.attempt(&from(99, "right")).await), "wait 30");
    fixture.advance(30);
    assert_eq!(shown(&login.attempt(&from(98, "wrong")).await), "no");
    assert_eq!(shown(&login.attempt(&from(99, "right")).await), "wait 30");
    fixture.advance(30);
    assert_eq!(
        shown(&login.attempt(&from(99, "right")).await),
        "welcome user-1"
    );
    // What the name's counter refused was not counted against its network.
    fixture.advance(900);
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&from(99, "wrong")).await), "no");
    }
}

#[tokio::test]
async fn without_a_known_network_a_name_has_one_counter_for_all() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    let unknown = |name, text| attempt(name, text).from(None);
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&unknown("ada", "wrong")).await), "no");
    }
    assert_eq!(
        shown(&login.attempt(&unknown("ada", "right")).await),
        "wait 1"
    );
    assert_eq!(
        shown(&login.attempt(&unknown("bob", "right")).await),
        "welcome user-2"
    );
}

#[tokio::test]
async fn an_attempt_that_hangs_up_stays_counted() {
    let fixture = Fixture::new().await;
    // For nobody at full cost, so that there is time to hang up.
    let dear = PasswordHasher::builder().wait(Duration::from_secs(60));
    let login = fixture.builder().hasher(dear.build().unwrap()).build();
    for _ in 0..5 {
        let wrong = attempt("nobody", "wrong");
        let mut dropped = Box::pin(login.attempt(&wrong));
        let waits = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx).is_pending()));
        assert!(waits.await, "it is being hashed");
    }
    // Ten seconds later they have failed; the fifth brought a wait.
    fixture.advance(10);
    assert_eq!(
        shown(&login.attempt(&attempt("nobody", "wrong")).await),
        "wait 1"
    );
    fixture.advance(1);
    assert_eq!(
        shown(&login.attempt(&attempt("nobody", "wrong")).await),
        "no"
    );
}

#[tokio::test]
async fn u8_attempts_that_found_the_pool_full_were_not_counted() {
    let fixture = Fixture::new().await;
    let hasher = cheap()
        .concurrency(std::num::NonZeroUsize::MIN)
        .queue(0)
        .build()
        .unwrap();
    let login = fixture.builder().hasher(hasher.clone()).build();
    let heavy = Heavy::start(&hasher).await;
    for _ in 0..20 {
        assert_eq!(
            shown(&login.attempt(&attempt("ada", "right")).await),
            "busy"
        );
    }
    heavy.finish().await;
    assert_eq!(
        shown(&login.attempt(&attempt("ada", "right")).await),
        "welcome user-1"
    );
}
