//! The signature path by itself, for test vectors whose payload is no set of claims.

use crate::{
    error::AuthError,
    key::{Algorithm, VerifyingKey},
    verify::Verifier,
};

/// The payload of a token whose size, form, header, key and signature this verifier accepts.
///
/// The same code as in [`Verifier::verify_now`], which then reads the payload as claims; **nobody
/// reads it here**.
///
/// # Errors
///
/// Why the token is refused.
pub fn verify_signature<C>(
    verifier: &Verifier<C>,
    token: impl AsRef<[u8]>,
) -> Result<Vec<u8>, AuthError> {
    verifier.signed_payload(token.as_ref())
}

/// Whether the key serves the algorithm and `signature` is one of `message` by it.
#[must_use]
pub fn verify_primitive(
    key: &VerifyingKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    key.serves(algorithm, true) && key.verifies(algorithm, message, signature)
}
