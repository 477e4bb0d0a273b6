//! What the fuzz targets share: the verifier under test, and a second opinion on its verdicts that
//! has none of its code.

pub mod json;
mod judge;

use std::time::{Duration, UNIX_EPOCH};

use tower_jwt_auth::{
    Verifier,
    key::Algorithm,
    test_util::{TestClock, TestIssuer},
    verify::VerifierBuilder,
};

pub use self::judge::{answer_is_good, claims_are_good, header_is_good, mac_is_good};

pub const SECRET: &[u8] = b"a secret of the fuzz targets, 32+";
pub const ISSUER: &str = "https://as.example";
pub const AUDIENCE: &str = "https://api.example";
pub const NOW: u64 = 1_767_225_600;
pub const LEEWAY: u64 = 60;

/// HS256, one issuer, one audience, at [`NOW`] for ever.
pub fn verifier() -> VerifierBuilder {
    Verifier::hs256(SECRET)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .leeway(Duration::from_secs(LEEWAY))
        .clock(clock())
}

pub fn issuer() -> TestIssuer {
    TestIssuer::with_secret(Algorithm::Hs256, SECRET).clock(clock())
}

pub fn clock() -> TestClock {
    TestClock::at(UNIX_EPOCH + Duration::from_secs(NOW))
}
