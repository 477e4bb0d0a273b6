//! Any bytes as a refresh token.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tower_jwt_auth::{secret::SecretKey, server::refresh::machine::RefreshTokens};

static TOKENS: LazyLock<RefreshTokens> =
    LazyLock::new(|| RefreshTokens::new(&SecretKey::from_bytes([7; 32]).unwrap()));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // Nobody guesses a tag: what is read was written, as it stands in the seeds.
    if let Some(token) = TOKENS.read(text) {
        assert_eq!(TOKENS.write(&token).expose(), text, "another spelling");
        let mut changed = bytes.to_vec();
        for at in 0..changed.len() {
            for bit in 0..7 {
                changed[at] ^= 1 << bit;
                if let Ok(changed) = std::str::from_utf8(&changed) {
                    assert!(TOKENS.read(changed).is_none(), "changed, and accepted");
                }
                changed[at] ^= 1 << bit;
            }
        }
    }
    let next = TOKENS.start().successor(bytes.len() as u64);
    let written = TOKENS.write(&next);
    assert_eq!(
        TOKENS.read(written.expose()).unwrap().session_id(),
        next.session_id()
    );
});
