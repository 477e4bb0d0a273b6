//! Whatever is sent or stored: no panic, and nothing accepted.

use std::num::NonZeroUsize;

use proptest::prelude::*;
use tower_jwt_auth::{
    layer::api_key::ApiKeyFormat,
    secret::SecretKey,
    server::login::{DeviceTokens, Identifier, Password, PasswordHash, PasswordHasher},
    time::Timestamp,
};

use crate::support::login::cheap;

/// A hash that is nearly one.
fn nearly_a_hash() -> impl Strategy<Value = String> {
    let number = prop_oneof!["[0-9]{1,12}", Just("8".to_owned()), Just("1".to_owned())];
    let argon2 = (
        prop_oneof!["argon2(id|i|d)?", "[a-z0-9-]{0,40}"],
        prop_oneof!["v=19\\$", "v=[0-9]{1,12}\\$", ""],
        proptest::collection::vec(
            (prop_oneof!["[mtp]", "keyid", "data", "[a-z]{1,8}"], number),
            0..6,
        ),
        "[A-Za-z0-9+/]{0,70}",
        "[A-Za-z0-9+/]{0,100}",
    )
        .prop_map(|(name, version, params, salt, hash)| {
            let params: Vec<_> = params
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("${name}${version}{}${salt}${hash}", params.join(","))
        });
    prop_oneof![
        argon2,
        "\\$2[abxy]\\$[0-9]{2}\\$[./A-Za-z0-9]{50,56}",
        "\\$2b\\$\\PC{0,60}",
        "\\PC{0,100}",
    ]
}

proptest! {
    /// No place in the pool: what is not refused at once for what it says is not hashed either.
    #[test]
    fn u7_no_stored_text_panics(text in nearly_a_hash()) {
        let hasher: PasswordHasher = cheap()
            .concurrency(NonZeroUsize::MIN)
            .queue(0)
            .wait(std::time::Duration::ZERO)
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let stored = PasswordHash::new(text);
        let typed = Password::new("password".to_owned()).unwrap();
        runtime.block_on(async {
            let mut work = std::pin::pin!(hasher.verify(&typed, Some(&stored)));
            // Begun at most, and left alone: how long it may take is bounded by the costs it may ask for.
            let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx).is_ready())).await;
        });
    }

    #[test]
    fn v1_no_text_is_a_key(text in prop_oneof!["\\PC{0,200}", "acme_live_[A-Za-z0-9]{10}_[A-Za-z0-9]{49}", "acme_live_[A-Za-z0-9_]{0,70}"]) {
        let format = ApiKeyFormat::new("acme_live").unwrap();
        // One in 2^32 of the second kind has a right checksum by chance.
        prop_assert!(format.parse(&text).is_none());
    }

    #[test]
    fn no_text_is_a_device(text in prop_oneof!["\\PC{0,200}", "[A-Za-z0-9_-]{92}", "[A-Za-z0-9_=-]{86,98}"]) {
        let cookies = DeviceTokens::new(&SecretKey::from_bytes([1; 32]).unwrap());
        prop_assert!(cookies.read(&text, Timestamp::from_millis(0)).is_none());
    }

    #[test]
    fn no_identifier_and_no_password_panics(text in "(?s).{0,400}") {
        for identifier in [Identifier::new(&text), Identifier::existing(&text)].into_iter().flatten() {
            prop_assert!(identifier.as_str().len() <= 320);
        }
        prop_assert_eq!(Password::new(text.clone()).is_ok(), (1..=1024).contains(&text.len()));
    }
}
