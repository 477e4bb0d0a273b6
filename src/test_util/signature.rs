//! Parts of a verification, for test vectors whose payload is not a set of claims and for fuzz targets.

#[cfg(feature = "jwks")]
use serde::de::DeserializeOwned;

#[cfg(feature = "jwks")]
use crate::verify::Verified;
use crate::{
    error::AuthError,
    key::{Algorithm, VerifyingKey},
    verify::Verifier,
};

/// Returns the payload of a token whose size, form, header, key and signature this verifier accepts.
///
/// Runs the same code as [`Verifier::verify_now`] up to the payload. **The claims are not checked.**
///
/// # Errors
///
/// The reason for which the token is refused.
pub fn verify_signature<C>(
    verifier: &Verifier<C>,
    token: impl AsRef<[u8]>,
) -> Result<Vec<u8>, AuthError> {
    verifier.signed_payload(token.as_ref())
}

/// Checks an answer about an opaque token (RFC 7662 §2.2), as if an authorization server had sent it.
///
/// # Errors
///
/// The reason for which the token is refused.
#[cfg(feature = "jwks")]
pub fn read_answer<C>(
    verifier: &Verifier<C>,
    token: impl AsRef<[u8]>,
    json: &str,
) -> Result<Verified<C>, AuthError>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    verifier.read_answer(token.as_ref(), json)
}

/// Returns `true` if the key supports the algorithm and `signature` is its signature of `message`.
#[must_use]
pub fn verify_primitive(
    key: &VerifyingKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    key.serves(algorithm, true) && key.verifies(algorithm, message, signature)
}
