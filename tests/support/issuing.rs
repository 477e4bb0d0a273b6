//! An issuer by a clock that stands, and a reader of its tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tower_jwt_auth::{
    key::{Algorithm, SigningKey},
    server::issue::{
        AccessToken, AccessTokenClaims, KeyRing, KeyRingBuilder, KeyState, TokenIssuer,
    },
    test_util::TestClock,
};

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

pub(crate) const PUBLIC: [Algorithm; 11] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
    Algorithm::Ed25519,
];
pub(crate) const SECRET: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

pub(crate) fn generated(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap()
}

pub(crate) fn ring(clock: &TestClock) -> KeyRingBuilder {
    KeyRing::builder(generated(Algorithm::EdDsa)).clock(clock.clone())
}

pub(crate) fn issuer(keys: KeyRing) -> TokenIssuer {
    TokenIssuer::builder(keys)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .client_id("web")
        .build()
        .unwrap()
}

/// By one Ed25519 key.
pub(crate) fn plain(clock: &TestClock) -> TokenIssuer {
    issuer(ring(clock).build().unwrap())
}

pub(crate) fn alice(issuer: &TokenIssuer) -> String {
    let minted = issuer
        .issue_access_token(AccessTokenClaims::for_subject("alice"))
        .unwrap();
    minted.token().expose().clone()
}

/// Header and claims.
pub(crate) fn read(token: &str) -> (Value, Value) {
    let mut parts = token
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

pub(crate) fn claims(minted: &AccessToken) -> Value {
    read(minted.token().expose()).1
}

/// The names of a ring's keys, the active one first.
pub(crate) fn kids(keys: &KeyRing, state: KeyState) -> Vec<String> {
    let statuses = keys.statuses();
    let of_state = statuses.iter().filter(|status| status.state() == state);
    of_state
        .filter_map(|status| status.kid().map(str::to_owned))
        .collect()
}
