//! Tokens, and a verifier that trusts their issuer.

use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::Algorithm,
    test_util::{TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

pub(crate) fn verifier() -> VerifierBuilder {
    expecting(Verifier::key(TestKeys::new().verifying_key(ALGORITHM)))
}

/// Whatever the keys, the issuer and the audience of [`issuer`].
pub(crate) fn expecting(builder: VerifierBuilder) -> VerifierBuilder {
    builder
        .issuer("https://as.example")
        .audience("https://api.example")
}

pub(crate) fn layer() -> JwtAuthLayer {
    JwtAuthLayer::new(verifier().build().unwrap())
}

pub(crate) fn issuer() -> TestIssuer {
    TestIssuer::new(ALGORITHM)
}

/// A token of `alice`, who has no role.
pub(crate) fn good() -> String {
    issuer().token(|_| ())
}

/// A token of `alice` with the role `admin`.
pub(crate) fn admin() -> String {
    issuer().token(|claims| claims.insert("roles".into(), ["admin"].as_slice().into()))
}

/// A token that somebody else signed, and that names the right key.
pub(crate) fn forged() -> String {
    let kid = TestKeys::new().kid(ALGORITHM);
    let thief = TestIssuer::with_keys(ALGORITHM, TestKeys::other());
    thief.kid(Some(&kid)).token(|_| ())
}

pub(crate) const ALGORITHM: Algorithm = Algorithm::Es256;
