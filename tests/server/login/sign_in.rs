//! The login as a whole.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tower_jwt_auth::{
    event::sink_fn,
    server::login::{Identifier, LoginOutcome, PasswordHash, UnlockHook},
    store::port::UserRecord,
};

use crate::support::login::*;

#[tokio::test]
async fn who_knows_the_password_gets_in_whatever_the_name_is_spelled_like() {
    let fixture = Fixture::new().await;
    let outcome = fixture.login().attempt(&attempt(" ADA ", "right")).await;
    let LoginOutcome::Success(accepted) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(accepted.user().subject, "user-1");
    assert_eq!(accepted.user().roles, ["admin"]);
    // A password is not trimmed.
    for wrong in ["right ", " right", "Right", "wrong"] {
        let outcome = fixture.login().attempt(&attempt("bob", wrong)).await;
        assert_eq!(shown(&outcome), "no", "{wrong}");
    }
}

#[tokio::test]
async fn u1_nobody_is_told_why_they_were_refused() {
    let fixture = Fixture::new().await;
    let right = fixture.hasher.hash(&password("right")).await.unwrap();
    fixture.users.put(
        "disabled",
        UserRecord::new("user-3")
            .password(right.clone())
            .disabled(true),
    );
    fixture.users.put("no-password", UserRecord::new("user-4"));
    fixture.users.put(
        "broken",
        UserRecord::new("user-5").password(PasswordHash::new("$argon2id$broken".to_owned())),
    );
    let peppered = cheap().pepper("gone", b"p01s0n-p01s0n-p01s0n-p01s0n-p01s0n".to_vec());
    let peppered = peppered.build().unwrap().hash(&password("right")).await;
    let peppered = UserRecord::new("user-7").password(peppered.unwrap());
    fixture.users.put("peppered", peppered);
    fixture
        .users
        .put("locked", UserRecord::new("user-6").password(right));
    let hook = Told::default();
    let login = fixture
        .builder()
        .hard_lock(NonZeroU32::new(3).unwrap(), hook.clone())
        .build();
    let outcomes = |name: &'static str, text: &'static str| {
        let (login, fixture) = (login.clone(), &fixture);
        async move {
            let mut all = Vec::new();
            for _ in 0..7 {
                all.push(shown(&login.attempt(&attempt(name, text)).await));
                // The waits are the same as well.
                all.push(shown(&login.attempt(&attempt(name, text)).await));
                fixture.advance(2);
            }
            all
        }
    };
    let expected = outcomes("ada", "wrong").await;
    assert!(
        expected.contains(&"no".to_owned()) && expected.iter().any(|one| one.starts_with("wait"))
    );
    for (name, text) in [
        ("nobody", "right"),
        ("disabled", "right"),
        ("disabled", "wrong"),
        ("no-password", "right"),
        ("broken", "right"),
        ("peppered", "right"),
    ] {
        // A fresh quarter of an hour for the second one of a name.
        fixture.advance(3600 * 25);
        login.unlock(&Identifier::new(name).unwrap()).await.unwrap();
        assert_eq!(outcomes(name, text).await, expected, "{name} with {text}");
    }
    // Locked by wrong passwords, then the right one: as a wrong one.
    fixture.advance(3600 * 25);
    for _ in 0..3 {
        let _ = login.attempt(&attempt("locked", "wrong")).await;
    }
    assert_eq!(
        shown(&login.attempt(&attempt("locked", "right")).await),
        "no"
    );
    assert!(hook.0.lock().unwrap().contains(&"locked".to_owned()));
    fixture.advance(3600 * 24 * 30);
    assert_eq!(
        shown(&login.attempt(&attempt("locked", "right")).await),
        "no"
    );
    login
        .unlock(&Identifier::new("locked").unwrap())
        .await
        .unwrap();
    assert_eq!(
        shown(&login.attempt(&attempt("locked", "right")).await),
        "welcome user-6"
    );
}

#[tokio::test]
async fn a_sink_hears_what_became_of_each_attempt_and_nothing_secret() {
    const OLD: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let fixture = Fixture::new().await;
    let old = UserRecord::new("user-9").password(PasswordHash::new(OLD.to_owned()));
    fixture.users.put("old", old);
    let right = fixture.hasher.hash(&password("right")).await.unwrap();
    let off = UserRecord::new("user-3").password(right).disabled(true);
    fixture.users.put("disabled", off);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let login = fixture
        .builder()
        .hard_lock(NonZeroU32::new(2).unwrap(), Told::default())
        .events(sink_fn(move |event| {
            let line = format!("{} {event:?}", event.name());
            sink.lock().unwrap().push(line);
        }))
        .build();
    for (name, text) in [
        ("ada", "right"),
        ("nobody", "p01s0n"),
        ("disabled", "right"),
        ("old", "U*U"),
        ("ada", "p01s0n"),
        ("ada", "p01s0n"),
        ("ada", "right"),
        ("ada", "p01s0n"),
        ("ada", "p01s0n"),
        ("ada", "p01s0n"),
    ] {
        let _ = login.attempt(&attempt(name, text)).await;
    }
    let ada = Identifier::new("ada").unwrap();
    login.unlock(&ada).await.unwrap();
    let heard = heard.lock().unwrap();
    let expected = [
        ("login.succeeded", "user-1"),
        ("login.failed", "UnknownUser"),
        ("login.failed", "Disabled"),
        ("login.succeeded", "user-9"),
        ("password.rehashed", "user-9"),
        ("login.failed", "WrongPassword"),
        ("login.failed", "WrongPassword"),
        ("login.locked", "user-1"),
        ("login.failed", "Locked"),
        ("login.failed", "WrongPassword"),
        ("login.failed", "WrongPassword"),
        ("login.throttled", "1s"),
        ("login.unlocked", ""),
    ];
    assert_eq!(heard.len(), expected.len(), "{heard:#?}");
    for (line, (name, detail)) in heard.iter().zip(expected) {
        assert!(
            line.starts_with(name) && line.contains(detail),
            "{line}: {detail}"
        );
        for secret in ["p01s0n", "right", "argon2", "$2a"] {
            assert!(!line.contains(secret), "{line}");
        }
        let attempts = ["login.succeeded", "login.failed", "login.throttled"];
        let network = line.contains("network: Some(192.0.2.1)");
        assert_eq!(network, attempts.contains(&name), "{line}");
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl UnlockHook for Told {
    async fn locked(&self, identifier: &Identifier) {
        self.0.lock().unwrap().push(identifier.as_str().to_owned());
    }
}

#[tokio::test]
async fn a_lock_tells_its_hook_once_and_leaves_trusted_devices_alone() {
    let fixture = Fixture::new().await;
    let hook = Told::default();
    let login = fixture
        .builder()
        .hard_lock(NonZeroU32::new(4).unwrap(), hook.clone())
        .build();
    let LoginOutcome::Success(first) = login.attempt(&attempt("ada", "right")).await else {
        panic!();
    };
    for from in 0..6 {
        let from = address(&format!("198.51.100.{from}"));
        assert_eq!(
            shown(&login.attempt(&attempt("ada", "wrong").from(from)).await),
            "no"
        );
    }
    assert_eq!(*hook.0.lock().unwrap(), ["ada"]);
    assert_eq!(shown(&login.attempt(&attempt("ada", "right")).await), "no");
    let trusted = attempt("ada", "right").device(first.device_token().clone());
    assert_eq!(shown(&login.attempt(&trusted).await), "welcome user-1");
}

#[tokio::test]
async fn u6_a_bcrypt_hash_is_replaced_by_argon2id() {
    // Openwall's crypt_blowfish, wrapper.c.
    const OLD: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let fixture = Fixture::new().await;
    let bcrypt =
        |text: &str| UserRecord::new("user-9").password(PasswordHash::new(text.to_owned()));
    fixture.users.put("old", bcrypt(OLD));
    let login = fixture.login();

    assert_eq!(shown(&login.attempt(&attempt("old", "U*V")).await), "no");
    assert_eq!(fixture.users.hash("old"), OLD);

    // A failure to replace it never fails the login.
    fixture.users.read_only.store(true, Ordering::Relaxed);
    assert_eq!(
        shown(&login.attempt(&attempt("old", "U*U")).await),
        "welcome user-9"
    );
    assert_eq!(fixture.users.hash("old"), OLD);

    fixture.users.read_only.store(false, Ordering::Relaxed);
    assert_eq!(
        shown(&login.attempt(&attempt("old", "U*U")).await),
        "welcome user-9"
    );
    let new = fixture.users.hash("old");
    assert!(new.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{new}");
    assert_eq!(
        shown(&login.attempt(&attempt("old", "U*U")).await),
        "welcome user-9"
    );
    assert_eq!(fixture.users.hash("old"), new, "it is replaced once");
}

#[tokio::test]
async fn u6_a_password_that_is_changed_meanwhile_wins_over_the_upgrade() {
    const OLD: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let fixture = Fixture::new().await;
    fixture.users.put(
        "old",
        UserRecord::new("user-9").password(PasswordHash::new(OLD.to_owned())),
    );
    let login = fixture.login();
    // Many logins upgrade side by side: one replaces the hash, and the others leave it alone.
    let logins = (0..8).map(|_| {
        let login = login.clone();
        tokio::spawn(async move { shown(&login.attempt(&attempt("old", "U*U")).await) })
    });
    for login in logins.collect::<Vec<_>>() {
        assert_eq!(login.await.unwrap(), "welcome user-9");
    }
    assert_eq!(fixture.users.replaced.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn stores_that_fail_are_no_refusal_and_count_nothing() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    fixture.users.down.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(
            shown(&login.attempt(&attempt("ada", "right")).await),
            "unavailable"
        );
    }
    fixture.users.down.store(false, Ordering::Relaxed);
    assert_eq!(
        shown(&login.attempt(&attempt("ada", "right")).await),
        "welcome user-1"
    );
    assert!(fixture.throttle.is_empty());
}

#[tokio::test]
async fn u13_nothing_secret_is_printed() {
    let fixture = Fixture::new().await;
    let login = fixture.login();
    let secrets = ["p01s0n", "right", "$argon2", "ada", "user-1-device"];
    let hash = PasswordHash::new("$argon2id$p01s0n".to_owned());
    let hasher = cheap()
        .pepper("2026", b"p01s0n-p01s0n-p01s0n-p01s0n-p01s0n".to_vec())
        .build()
        .unwrap();
    let broken = hasher
        .verify(&password("p01s0n"), Some(&hash))
        .await
        .unwrap_err();
    let LoginOutcome::Success(accepted) = login.attempt(&attempt("ada", "right")).await else {
        panic!();
    };
    let user = UserRecord::new("user-1").password(hash.clone());
    let long = tower_jwt_auth::server::login::Password::new("p01s0n".repeat(200)).unwrap_err();
    let printed = [
        format!("{:?}", attempt("ada", "p01s0n").device("p01s0n".to_owned())),
        format!(
            "{hash:?} {user:?} {hasher:?} {login:?} {:?}",
            fixture.throttle
        ),
        format!("{broken:?} {broken} {long:?} {long}"),
        format!(
            "{:?} {:?}",
            password("p01s0n"),
            Identifier::new("p01s0n").unwrap()
        ),
        format!("{:?}", Identifier::new("p01s0n\0").unwrap_err()),
        format!("{accepted:?}"),
        format!("{:?}", cheap().pepper("1", b"p01s0n".to_vec())),
        format!(
            "{}",
            cheap().pepper("1", b"p01s0n".to_vec()).build().unwrap_err()
        ),
    ];
    for text in printed {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(
            !text.contains(accepted.device_token().expose().as_str()),
            "{text}"
        );
    }
}

/// Counts how long the two take, in pairs, so that a busy machine slows both.
#[tokio::test]
#[ignore = "measures time: run it alone, with optimised code"]
async fn u2_an_unknown_user_costs_the_same_time() {
    let fixture = Fixture::new().await;
    let hasher = tower_jwt_auth::server::login::PasswordHasher::new();
    let hash = hasher.hash(&password("right")).await.unwrap();
    fixture
        .users
        .put("known", UserRecord::new("user-7").password(hash));
    let login = fixture.builder().hasher(hasher).build();
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for round in 0..60 {
        let order: [&str; 2] = if round % 2 == 0 {
            ["known", "unknown"]
        } else {
            ["unknown", "known"]
        };
        for name in order {
            let start = std::time::Instant::now();
            assert_eq!(shown(&login.attempt(&attempt(name, "wrong")).await), "no");
            let took = start.elapsed().as_secs_f64();
            if name == "known" {
                known.push(took)
            } else {
                unknown.push(took)
            }
        }
        fixture.advance(3600);
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let ratio = median(&mut known) / median(&mut unknown);
    println!("known / unknown = {ratio:.3}");
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
}

/// What the timing test measures, by counting: every refusal is one hash.
#[tokio::test]
async fn u2_an_unknown_user_takes_a_place_in_the_pool_too() {
    let fixture = Fixture::new().await;
    // One place, which is taken: whoever is hashed for is told so.
    let full = cheap()
        .concurrency(std::num::NonZeroUsize::MIN)
        .queue(0)
        .build()
        .unwrap();
    let login = fixture.builder().hasher(full.clone()).build();
    let slow = Heavy::start(&full).await;
    for name in ["ada", "nobody", "ada", "nobody"] {
        assert_eq!(shown(&login.attempt(&attempt(name, "wrong")).await), "busy");
    }
    slow.finish().await;
    assert_eq!(
        shown(&login.attempt(&attempt("nobody", "wrong")).await),
        "no"
    );
}

/// Without a network there is no share of the pool and no counter for one.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn u18_an_unknown_network_is_warned_of_once() {
    use tower_jwt_auth::server::login::Network;

    let fixture = Fixture::new().await;
    let (log, _guard) = crate::support::log::Log::start();
    let warnings = || log.lines_with("the network of a login is unknown");
    let known = fixture.login().attempt(&attempt("ada", "right")).await;
    assert_eq!((shown(&known).as_str(), warnings()), ("welcome user-1", 0));
    let unknown = attempt("ada", "right").from(Network::UNKNOWN);
    let mut login = fixture.login();
    for _ in 0..1000 {
        let outcome = login.attempt(&unknown).await;
        assert_eq!(shown(&outcome), "welcome user-1");
        if warnings() > 0 {
            break;
        }
        login = fixture.login();
    }
    for _ in 0..3 {
        assert_eq!(shown(&login.attempt(&unknown).await), "welcome user-1");
        login.hash_new(&password("new"), None).await.unwrap();
        assert_eq!(warnings(), 1);
    }
}
