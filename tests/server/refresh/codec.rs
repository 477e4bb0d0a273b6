//! The text of a refresh token.

use proptest::prelude::*;
use tower_jwt_auth::{
    key::Algorithm,
    secret::SecretKey,
    server::refresh::machine::{RefreshToken, RefreshTokens},
    test_util::TestIssuer,
};

use crate::support::sessions::service;

fn tokens() -> RefreshTokens {
    RefreshTokens::new(&SecretKey::from_bytes([7; 32]).unwrap())
}

fn written(generation: u64) -> (RefreshTokens, RefreshToken, String) {
    let tokens = tokens();
    let token = tokens.start().successor(generation);
    let text = tokens.write(&token).expose().clone();
    (tokens, token, text)
}

#[test]
fn a_token_is_its_family_and_its_generation() {
    let (tokens, token, text) = written(300);
    let read = tokens.read(&text).unwrap();
    assert_eq!(read.session_id(), token.session_id());
    assert_eq!(read.generation(), 300);
    let next = tokens.write(&read.successor(301));
    assert_ne!(next.expose(), &text);
    assert_eq!(
        tokens.read(next.expose()).unwrap().session_id(),
        token.session_id()
    );
    assert_ne!(tokens.start().session_id(), token.session_id());
}

/// Computed by Python's hmac, hashlib and zlib, the key derivation included.
#[test]
fn another_implementation_writes_the_same() {
    for (text, generation) in [
        (
            "rt1_AbEAAQIDBAUGBwgJCgsMDQ4PADLJwngp7eul143bHYkDPXU2CLRKi",
            0,
        ),
        (
            "rt1_AbEAAQIDBAUGBwgJCgsMDQ4PrAL2OiwfTo5T5tkl14VOMII74e9jZa",
            300,
        ),
    ] {
        let token = tokens().read(text).unwrap();
        assert_eq!(token.generation(), generation);
        assert_eq!(
            token.session_id().to_string(),
            "1f0953f2e859f2e1f589274be44a2338"
        );
        assert_eq!(tokens().write(&token).expose(), text);
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let (tokens, _, text) = written(1);
    for at in 0..text.len() {
        for byte in 0..0x80_u8 {
            let mut changed = text.clone().into_bytes();
            if changed[at] != byte {
                changed[at] = byte;
                let changed = String::from_utf8(changed).unwrap();
                assert!(tokens.read(&changed).is_none(), "{changed}");
            }
        }
        assert!(tokens.read(&text[..at]).is_none(), "cut");
    }
    for longer in [format!("{text}A"), format!(" {text}"), format!("{text}\n")] {
        assert!(tokens.read(&longer).is_none());
    }
}

#[test]
fn other_credentials_are_refused() {
    let access = TestIssuer::new(Algorithm::EdDsa).token(|_| {});
    let long = format!("rt1_{}", "A".repeat(4096));
    for other in [
        "",
        "rt1_",
        access.as_str(),
        "app_live_0123456789_0123456789012345678901234567890123456789012000000",
        long.as_str(),
    ] {
        assert!(tokens().read(other).is_none(), "{other}");
    }
}

#[tokio::test]
async fn t5_what_was_not_written_here_asks_no_store() {
    let service = service();
    let pair = service.sign_in().await;
    let good = pair.refresh_token().expose();
    let other_key = RefreshTokens::new(&SecretKey::generate());
    let forged = other_key.write(&other_key.start());
    service.store.take_counts();
    for bad in [
        "",
        "garbage",
        "rt1_garbage",
        &good[..good.len() - 1],
        &good.replacen("rt1_", "rt2_", 1),
        &good.to_lowercase(),
        forged.expose(),
    ] {
        let error = service.sessions.refresh(bad).await.unwrap_err();
        assert_eq!(error.error(), "invalid_grant");
        assert_eq!(error.code(), Some("refresh_token_invalid"));
        service.sessions.revoke_token(bad).await.unwrap();
        assert_eq!(service.sessions.session_of(bad), None);
    }
    assert_eq!(service.store.take_counts(), (0, 0));
    service.refresh(&pair).await;
}

#[tokio::test]
async fn r2_an_access_token_does_not_refresh() {
    let service = service();
    let pair = service.sign_in().await;
    service.store.take_counts();
    let access = pair.access_token().expose();
    let error = service.sessions.refresh(access).await.unwrap_err();
    assert_eq!(error.error(), "invalid_grant");
    assert_eq!(service.store.take_counts(), (0, 0));
    // And a refresh token is no access token.
    assert!(
        service
            .verifier
            .verify_now(pair.refresh_token().expose())
            .is_err()
    );
}

proptest! {
    #[test]
    fn no_text_is_a_token_or_a_panic(text: String, tail in "[A-Za-z0-9_-]{0,120}") {
        prop_assert!(tokens().read(&text).is_none());
        let prefixed = format!("rt1_{}", tail);
        prop_assert!(tokens().read(&prefixed).is_none());
    }

    #[test]
    fn a_token_of_any_generation_is_read(generation: u64) {
        let (tokens, _, text) = written(generation);
        prop_assert!(text.len() <= 69);
        prop_assert_eq!(tokens.read(&text).unwrap().generation(), generation);
    }
}
