//! Hashes: those of others, hostile ones, peppers, and the pool.

use std::{num::NonZeroUsize, time::Duration};

use tower_jwt_auth::{
    error::ConfigError,
    server::login::{Argon2Cost, Password, PasswordError, PasswordHash, PasswordHasher},
};

use crate::support::login::*;

fn stored(text: &str) -> PasswordHash {
    PasswordHash::new(text.to_owned())
}

/// Whether it matches, and whether it is outdated.
async fn verdict(text: &str, hash: &str) -> (bool, bool) {
    let hasher = cheap().build().unwrap();
    let verification = hasher
        .verify(&password(text), Some(&stored(hash)))
        .await
        .unwrap();
    (verification.matches(), verification.is_outdated())
}

#[tokio::test]
async fn hashes_that_others_made_verify_and_are_outdated() {
    for hash in [
        // By the reference implementation, through Python's argon2-cffi.
        "$argon2d$v=19$m=64,t=2,p=2$c29tZXNhbHQtMTZieXRlcw$CXQJFmIisWFg/4XlgD8kajl0iNns62ZtwEasHqBEp7Y",
        "$argon2i$v=19$m=64,t=2,p=2$c29tZXNhbHQtMTZieXRlcw$e10BuFUx6lo3W0ET9N8419wQEpnfyEMy+GbJIOwpSdo",
        "$argon2id$v=19$m=64,t=2,p=2$c29tZXNhbHQtMTZieXRlcw$HvWLYF9Ls9zMVFMnby4Q5ASabP+iTONX1tdsDab2QE0",
        // Of the reference implementation's own tests; the second is of the version before, and says so
        // by saying nothing.
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
    ] {
        assert_eq!(verdict("password", hash).await, (true, true), "{hash}");
        assert_eq!(verdict("Password", hash).await, (false, false), "{hash}");
    }
}

#[tokio::test]
async fn u6_bcrypt_verifies_in_its_three_spellings() {
    // Openwall's crypt_blowfish, wrapper.c.
    let short = "$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    for prefix in ["$2a", "$2b", "$2y"] {
        let hash = format!("{prefix}{short}");
        assert_eq!(verdict("U*U", &hash).await, (true, true), "{hash}");
        assert_eq!(verdict("U*V", &hash).await, (false, false), "{hash}");
    }
    // By Python's bcrypt: it was hashed as it was typed, not in NFKC.
    let typed = "$2b$04$abcdefghijklmnopqrstuuvddQvvdfs63Y6wbPW6tad60UYy9fLMq";
    assert_eq!(verdict("Passwörd²", typed).await, (true, true));
    assert_eq!(verdict("Passwörd2", typed).await, (false, false));
}

#[tokio::test]
async fn u6_what_bcrypt_did_not_look_at_is_not_put_into_a_new_hash() {
    // Openwall's crypt_blowfish, wrapper.c.
    let long = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
    let first_72 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    assert_eq!(first_72.len(), 72);
    let whole = format!("{first_72}chars after 72 are ignored");
    assert_eq!(verdict(&whole, long).await, (true, false));
    assert_eq!(
        verdict(&format!("{first_72}and a typing error"), long).await,
        (true, false)
    );
    assert_eq!(verdict(first_72, long).await, (true, true));
    // bcrypt repeats its key with a zero byte in between.
    let short = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    assert_eq!(verdict("U*U\0U*U", short).await, (true, false));
}

#[tokio::test]
async fn u7_hostile_parameters_are_refused_before_anything_is_allocated() {
    const REST: &str = "$c29tZXNhbHQtMTZieXRlcw$HvWLYF9Ls9zMVFMnby4Q5ASabP+iTONX1tdsDab2QE0";
    let full = cheap()
        .concurrency(NonZeroUsize::MIN)
        .queue(0)
        .build()
        .unwrap();
    let heavy = Heavy::start(&full).await;
    for hash in [
        // 4 GiB, and a little over each bound.
        format!("$argon2id$v=19$m=4194304,t=1,p=1{REST}"),
        format!("$argon2id$v=19$m=4294967295,t=4294967295,p=16777215{REST}"),
        format!("$argon2id$v=19$m=1048577,t=1,p=1{REST}"),
        format!("$argon2id$v=19$m=64,t=21,p=1{REST}"),
        format!("$argon2id$v=19$m=1024,t=1,p=17{REST}"),
        format!("$argon2id$v=19$m=1048576,t=5,p=1{REST}"),
        // What is looked at must be what is used.
        format!("$argon2id$v=19$m=64,m=1048577,t=1,p=1{REST}"),
        format!("$argon2id$v=19$m=1048577,m=64,t=1,p=1{REST}"),
        format!("$argon2id$v=19$m=64,t=1,p=1,t=21{REST}"),
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
    ] {
        // The pool is full: whatever had to be hashed would be told so.
        let refused = full
            .verify(&password("password"), Some(&stored(&hash)))
            .await;
        assert_eq!(refused, Err(PasswordError::UnusableHash), "{hash}");
    }
    heavy.finish().await;
}

#[tokio::test]
async fn what_is_no_hash_is_refused() {
    let hasher = cheap().build().unwrap();
    const SALT: &str = "c29tZXNhbHQtMTZieXRlcw";
    const OUT: &str = "HvWLYF9Ls9zMVFMnby4Q5ASabP+iTONX1tdsDab2QE0";
    for hash in [
        String::new(),
        "password".to_owned(),
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe".to_owned(),
        "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$+5$CCCCCCCCCCCCCCCCCCCCé.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$scrypt$ln=14,r=8,p=1$c29tZXNhbHQtMTZieXRlcw$HvWLYF9Ls9zMVFMnby4Q5A".to_owned(),
        format!("$argon2id$v=18$m=64,t=2,p=2${SALT}${OUT}"),
        format!("$argon2id$v=19$m=64,t=2${SALT}${OUT}"),
        format!("$argon2id$v=19$t=2,p=2${SALT}${OUT}"),
        format!("$argon2id$v=19$m=64,t=2,p=2,p=2${SALT}${OUT}"),
        format!("$argon2id$v=19$m=64,t=2,p=2,x=2${SALT}${OUT}"),
        format!("$argon2id$v=19$m=7,t=2,p=1${SALT}${OUT}"),
        format!("$argon2id$v=19$m=64,t=0,p=1${SALT}${OUT}"),
        format!("$argon2id$v=19$m=64,t=2,p=1${SALT}"),
        "$argon2id$v=19$m=64,t=2,p=1$$".into(),
        // An unknown pepper.
        format!("$argon2id$v=19$m=64,t=2,p=1,keyid=MjAyNg${SALT}${OUT}"),
        format!(
            "$argon2id$v=19$m=64,t=2,p=2${SALT}${OUT}{}",
            "A".repeat(2000)
        ),
    ] {
        let refused = hasher
            .verify(&password("password"), Some(&stored(&hash)))
            .await;
        assert_eq!(refused, Err(PasswordError::UnusableHash), "{hash}");
    }
}

#[tokio::test]
async fn a_pepper_is_rolled_as_people_sign_in() {
    let text = password("password");
    let (old_key, new_key) = (vec![7; 32], vec![8; 32]);
    let bare = cheap().build().unwrap();
    let old = cheap().pepper("2026", old_key.clone()).build().unwrap();
    let new = cheap()
        .pepper("2027", new_key.clone())
        .older_pepper("2026", old_key.clone())
        .build()
        .unwrap();

    // By the reference implementation: the pepper is Argon2's own secret input.
    let reference = stored(
        "$argon2id$v=19$m=8,t=1,p=1,keyid=MjAyNg$c29tZXNhbHQtMTZieXRlcw$CXH6V4oTfL3S45eW1MTWNJn9yacYrT71IhFrcoNxdnM",
    );
    let by_old = old.verify(&text, Some(&reference)).await.unwrap();
    assert!(by_old.matches() && !by_old.is_outdated());
    let by_new = new.verify(&text, Some(&reference)).await.unwrap();
    assert!(by_new.matches() && by_new.is_outdated());

    let rolled = new.hash(&text).await.unwrap();
    assert!(
        !new.verify(&text, Some(&rolled))
            .await
            .unwrap()
            .is_outdated()
    );
    // Without the right key nothing verifies.
    for other in [&bare, &old] {
        let refused = other.verify(&text, Some(&rolled)).await;
        assert_eq!(refused, Err(PasswordError::UnusableHash));
    }
    let forged = cheap().pepper("2027", vec![9; 32]).build().unwrap();
    assert!(!forged.verify(&text, Some(&rolled)).await.unwrap().matches());
    // Hashes from before there was a pepper go on.
    let plain = bare.hash(&text).await.unwrap();
    let upgraded = new.verify(&text, Some(&plain)).await.unwrap();
    assert!(upgraded.matches() && upgraded.is_outdated());
}

#[test]
fn peppers_that_protect_nothing_are_refused() {
    let refused = |builder: tower_jwt_auth::server::login::PasswordHasherBuilder| {
        matches!(builder.build(), Err(ConfigError::Invalid { .. }))
    };
    assert!(refused(cheap().pepper("1", vec![1; 31])));
    assert!(refused(cheap().pepper("", vec![1; 32])));
    assert!(refused(cheap().pepper("ninebytes", vec![1; 32])));
    assert!(refused(
        cheap()
            .pepper("1", vec![1; 32])
            .older_pepper("1", vec![2; 32])
    ));
    for (memory, passes, lanes) in [
        (1 << 21, 1, 1),
        (8, 21, 1),
        (1024, 1, 17),
        (7, 1, 1),
        (8, 0, 1),
        (8, 1, 0),
        (1 << 20, 5, 1),
    ] {
        assert!(Argon2Cost::dangerous_custom(memory, passes, lanes).is_err());
    }
}

#[tokio::test]
async fn the_presets_are_written_into_the_hash() {
    for (cost, written) in [
        (Argon2Cost::LIGHT, "$argon2id$v=19$m=19456,t=2,p=1$"),
        (Argon2Cost::STANDARD, "$argon2id$v=19$m=47104,t=1,p=1$"),
        (Argon2Cost::HEAVY, "$argon2id$v=19$m=65536,t=3,p=4$"),
    ] {
        let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
        let hash = hasher.hash(&password("right")).await.unwrap();
        assert!(hash.expose().starts_with(written), "{}", hash.expose());
        let [salt, output] = [4, 5].map(|part| hash.expose().split('$').nth(part).unwrap().len());
        assert_eq!((salt, output), (22, 43));
    }
}

#[tokio::test]
async fn one_password_has_many_hashes() {
    let hasher = cheap().build().unwrap();
    let text = password("right");
    let (one, other) = (
        hasher.hash(&text).await.unwrap(),
        hasher.hash(&text).await.unwrap(),
    );
    assert_ne!(one.expose(), other.expose());
    // Two keyboards, one password.
    let composed = hasher.hash(&password("fiancé")).await.unwrap();
    assert!(
        hasher
            .verify(&password("fiance\u{301}"), Some(&composed))
            .await
            .unwrap()
            .matches()
    );
}

#[test]
fn u9_a_password_that_is_empty_or_over_1024_bytes_is_refused_before_hashing() {
    assert_eq!(
        Password::new(String::new()).unwrap_err(),
        PasswordError::Empty
    );
    assert_eq!(
        Password::new("x".repeat(1025)).unwrap_err(),
        PasswordError::TooLong
    );
    // Bytes, not characters.
    assert_eq!(
        Password::new("é".repeat(513)).unwrap_err(),
        PasswordError::TooLong
    );
    assert!(Password::new("é".repeat(512)).is_ok());
    assert!(Password::new(" ".to_owned()).is_ok());
}

#[tokio::test]
async fn u9_nothing_of_a_long_password_is_cut() {
    let hasher = cheap().build().unwrap();
    let hash = hasher.hash(&password(&"x".repeat(1024))).await.unwrap();
    assert!(
        !hasher
            .verify(&password(&"x".repeat(1023)), Some(&hash))
            .await
            .unwrap()
            .matches()
    );
}

#[tokio::test]
async fn u8_a_full_pool_says_so_at_once_and_recovers() {
    let hasher = cheap()
        .concurrency(NonZeroUsize::MIN)
        .queue(0)
        .build()
        .unwrap();
    let heavy = Heavy::start(&hasher).await;
    for hash in [
        None,
        Some(stored(
            "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        )),
    ] {
        let refused = hasher
            .verify(&password("right"), hash.as_ref())
            .await
            .unwrap_err();
        let PasswordError::Busy { retry_after } = refused else {
            panic!("{refused:?}");
        };
        assert!(retry_after >= Duration::from_secs(1));
    }
    assert!(matches!(
        hasher.hash(&password("right")).await,
        Err(PasswordError::Busy { .. })
    ));
    heavy.finish().await;
    assert!(hasher.hash(&password("right")).await.is_ok());
}

/// On a runtime of one thread: had the hash run there, nothing else would have.
#[tokio::test(flavor = "current_thread")]
async fn u8_hashing_leaves_the_async_thread_alone() {
    let hasher = cheap().build().unwrap();
    let heavy = Heavy::start(&hasher).await;
    let mut turns = 0_u64;
    tokio::select! {
        biased;
        () = heavy.finish() => {}
        () = async { loop { turns += 1; tokio::task::yield_now().await; } } => {}
    }
    assert!(turns > 100, "{turns}");
}
