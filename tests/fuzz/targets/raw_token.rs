//! Any bytes as a token.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tower_jwt_auth::Verifier;
use tower_jwt_auth_fuzz::{SECRET, claims_are_good, header_is_good, mac_is_good, verifier};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier().build().unwrap());
static PADDED: LazyLock<Verifier> =
    LazyLock::new(|| verifier().dangerous_allow_padding().build().unwrap());

fuzz_target!(|token: &[u8]| {
    let verdict = VERIFIER.verify_now(token);
    let again = VERIFIER.verify_now(token);
    let kind = |verdict: &Result<_, tower_jwt_auth::AuthError>| {
        verdict.as_ref().err().map(tower_jwt_auth::AuthError::kind)
    };
    assert_eq!(
        kind(&verdict),
        kind(&again),
        "another verdict the second time"
    );
    let padded = PADDED.verify_now(token);
    match &verdict {
        Ok(_) => {
            assert!(padded.is_ok(), "refused where padding is allowed");
            assert!(mac_is_good(token, SECRET), "the MAC is not good");
            let part = |index| decoded(token, index);
            assert!(header_is_good(&part(0)), "the header is not good");
            assert!(claims_are_good(&part(1)), "the claims are not good");
            let mut changed = token.to_vec();
            for position in 0..token.len() {
                for bit in 0..8 {
                    changed[position] ^= 1 << bit;
                    assert!(
                        VERIFIER.verify_now(&changed).is_err(),
                        "changed, and accepted"
                    );
                    changed[position] ^= 1 << bit;
                }
            }
        }
        // No token is the server's fault, whatever is in it.
        Err(refusal) => assert!(refusal.status().is_client_error()),
    }
});

fn decoded(token: &[u8], index: usize) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let segment = token.split(|byte| *byte == b'.').nth(index).unwrap();
    URL_SAFE_NO_PAD.decode(segment).unwrap()
}
