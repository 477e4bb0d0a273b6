//! Any bytes as a JWKS document.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_jwt_auth::{
    Verifier,
    key::{Algorithm, KeySet, VerifyingKey},
    test_util::{TestIssuer, TestKeys, verify_signature},
};

/// A token of every family by keys that no seed holds.
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    use Algorithm::{EdDsa, Es256, Hs256, Rs256};
    [Hs256, Rs256, Es256, EdDsa]
        .map(|algorithm| TestIssuer::with_keys(algorithm, TestKeys::other()).kid(None))
        .map(|issuer| issuer.token(|_| ()))
        .to_vec()
});

fuzz_target!(|document: &[u8]| {
    let Ok(set) = KeySet::from_jwks(document) else {
        return;
    };
    let plain: Value = serde_json::from_slice(document).expect("JSON");
    let entries = plain["keys"].as_array().expect("RFC 7517 §5.1");
    assert!(!set.is_empty());
    let secret = VerifyingKey::from_secret(Algorithm::Hs256, document);
    assert!(secret.is_err(), "a key set is taken for a secret");
    // An entry that repeats another is counted once.
    let counted = set.len() + set.skipped().count();
    assert!(counted <= entries.len(), "an entry came twice");
    assert!(entries.iter().filter(|entry| entry.is_object()).count() >= set.len());

    // Secrets and public keys never stand in one set.
    let of = |entry: &&Value, kind| entry["kty"] == kind;
    let secrets = entries.iter().filter(|entry| of(entry, "oct")).count();
    let lists = [
        &[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512][..],
        &[Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa][..],
    ];
    let usable = lists.map(|list| {
        let list = list.iter().copied();
        Verifier::key_set(set.clone())
            .dangerous_any_audience()
            .algorithms(list)
            .build()
    });
    assert!(usable.iter().filter(|verifier| verifier.is_ok()).count() <= 1);
    assert!(
        secrets != 0 || usable[0].is_err(),
        "a public key became a secret"
    );

    let unlisted = Verifier::key_set(set.clone())
        .dangerous_any_audience()
        .build();
    for verifier in usable.iter().chain([&unlisted]).flatten() {
        for token in TOKENS.iter() {
            assert!(
                verify_signature(verifier, token).is_err(),
                "a key that nobody has"
            );
        }
    }

    // Whatever is printed holds no secret, unless a `kid` spells it out.
    let printed = format!("{set:?}");
    let texts = |name: &'static str| entries.iter().filter_map(move |entry| entry[name].as_str());
    let hidden = |k: &&str| k.len() > 40 && texts("kid").all(|kid| !kid.contains(*k));
    assert!(
        texts("k").filter(hidden).all(|k| !printed.contains(k)),
        "a secret in Debug"
    );
});
