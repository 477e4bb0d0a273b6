//! Verifies tokens: a JWT in, a [`Verified`] out.
//!
//! A [`Verifier`] needs no HTTP. A middleware asks it for every request; an application may ask it
//! for a token that came in a WebSocket message or a GraphQL field.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::verify::Verifier;
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes")
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .build()?;
//! let refused = verifier.verify_now("not.a.token").unwrap_err();
//! assert_eq!(refused.as_str(), "malformed_header");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! ```

mod builder;
mod noted;
mod parse;
mod policy;
mod preset;
mod roles;
mod verified;
mod witness;

use std::{error::Error, fmt, sync::Arc};

use serde::de::DeserializeOwned;

use self::{builder::Keys, noted::Noted, policy::Policy};
pub use self::{builder::VerifierBuilder, preset::Preset, verified::Verified};
use crate::{
    claims::Claims,
    clock::Clock,
    error::{AuthError, AuthErrorKind, ConfigError},
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource, KeyWait, VerifyingKey},
    token::{
        compact::{Compact, Room},
        header::Header,
    },
};

/// Verifies tokens by fixed rules. Cheap to clone.
///
/// The order of the checks: size, form, algorithm, type, key, signature, and only then the claims,
/// which nobody can have changed: issuer, times, audience, use, client, binding, the
/// application's own check.
pub struct Verifier<C = Claims> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    keys: Arc<dyn KeySource>,
    allowed: Vec<Algorithm>,
    /// The application listed the algorithms, so that keys which name none serve all of these.
    listed: bool,
    policy: Policy,
    max_bytes: usize,
    padded: bool,
    clock: Arc<dyn Clock>,
    check: Option<Arc<Check<C>>>,
}

type Check<C> = dyn Fn(&Verified<C>) -> Result<(), CheckError> + Send + Sync;

/// What became of a token.
pub(crate) enum Examined<C> {
    Done(Result<Verified<C>, AuthError>),
    /// Its key is being fetched.
    Wait(KeyWait),
}

impl Verifier<Claims> {
    /// Starts a verifier for HS256 with a secret of at least 32 random bytes.
    pub fn hs256(secret: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::secret(Algorithm::Hs256, secret)
    }

    /// Starts a verifier for an HMAC algorithm; see [`VerifyingKey::from_secret`].
    pub fn secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::from_key(VerifyingKey::from_secret(algorithm, secret))
    }

    /// Starts a verifier for one public key in PEM; see [`VerifyingKey::from_pem`].
    #[cfg(feature = "pem")]
    pub fn pem(pem: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::from_key(VerifyingKey::from_pem(pem))
    }

    /// Starts a verifier for one key.
    pub fn key(key: VerifyingKey) -> VerifierBuilder {
        Self::from_key(Ok(key))
    }

    /// Starts a verifier for a set of keys.
    pub fn key_set(keys: KeySet) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Set(keys)))
    }

    /// Starts a verifier for a source of keys of one's own.
    pub fn key_source(keys: impl KeySource) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Source(Arc::new(keys))))
    }

    fn from_key(key: Result<VerifyingKey, ConfigError>) -> VerifierBuilder {
        VerifierBuilder::new(key.and_then(KeySet::try_from).map(Keys::Set))
    }
}

impl<C> Verifier<C> {
    fn assemble(inner: Inner<C>) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn allows_padding(&self) -> bool {
        self.inner.padded
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier<C> {
    /// Verifies a token, waiting for its key where that has to be fetched.
    ///
    /// # Errors
    ///
    /// Why the token is refused, or that it cannot be decided now
    /// ([`AuthErrorKind::KeysUnavailable`], [`AuthErrorKind::CheckUnavailable`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; a fetch that it waits for goes on for the others.
    pub async fn verify(&self, token: impl AsRef<[u8]>) -> Result<Verified<C>, AuthError> {
        let token = token.as_ref();
        match self.examine(token) {
            Examined::Done(verdict) => verdict,
            Examined::Wait(wait) => {
                wait.await;
                self.verify_now(token)
            }
        }
    }

    /// Verifies a token with the keys at hand.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify); a key that would have to be fetched first is
    /// [`AuthErrorKind::KeysUnavailable`].
    pub fn verify_now(&self, token: impl AsRef<[u8]>) -> Result<Verified<C>, AuthError> {
        match self.examine(token.as_ref()) {
            Examined::Done(verdict) => verdict,
            Examined::Wait(_) => Err(AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1)),
        }
    }

    pub(crate) fn examine(&self, token: &[u8]) -> Examined<C> {
        self.try_examine(token)
            .unwrap_or_else(|error| Examined::Done(Err(error)))
    }

    fn try_examine(&self, token: &[u8]) -> Result<Examined<C>, AuthError> {
        let inner = &*self.inner;
        if token.len() > inner.max_bytes {
            return Err(AuthErrorKind::OversizedCredential.into());
        }
        let parts = Compact::parse(token).ok_or(AuthErrorKind::MalformedToken)?;
        let mut room = Room::<ROOM>::new();
        let header = room
            .decode(parts.header, inner.padded)
            .ok_or(AuthErrorKind::MalformedHeader)?;
        let header = Header::parse(header)?;
        // RFC 8725 §3.1: the algorithm comes from the configuration; the token can only agree.
        if !inner.allowed.contains(&header.algorithm.canonical()) {
            return Err(AuthErrorKind::AlgorithmNotAllowed.into());
        }
        inner.policy.check_typ(&header)?;
        let keys = match inner.keys.lookup(&KeyQuery {
            algorithm: header.algorithm,
            kid: header.kid.as_deref(),
            listed: inner.listed,
        }) {
            KeyLookup::Found(keys) => keys,
            KeyLookup::Absent => return Err(AuthErrorKind::UnknownKey.into()),
            KeyLookup::Ambiguous => return Err(AuthErrorKind::AmbiguousKey.into()),
            KeyLookup::Wait(wait) => return Ok(Examined::Wait(wait)),
            KeyLookup::Unavailable { retry_after } => {
                let kind = AuthErrorKind::KeysUnavailable;
                return Err(AuthError::unavailable(kind, retry_after));
            }
        };
        let algorithm = header.algorithm;
        let signature = room
            .decode(parts.signature, inner.padded)
            .ok_or(AuthErrorKind::MalformedToken)?;
        if !keys.verifies(algorithm, parts.message, signature) {
            return Err(AuthErrorKind::InvalidSignature.into());
        }
        self.read_claims(parts.payload, &mut room)
            .map(|token| Examined::Done(Ok(token)))
    }

    /// The part after the signature: nobody but the issuer can have written what is read here.
    fn read_claims(&self, payload: &[u8], room: &mut Room<ROOM>) -> Result<Verified<C>, AuthError> {
        let inner = &*self.inner;
        let json = room
            .decode(payload, inner.padded)
            .ok_or(AuthErrorKind::MalformedToken)?;
        let mut noted = Noted::new(json.len(), &inner.policy.audiences, &inner.policy.roles);
        let claims = parse::parse::<C>(json, &mut noted)?;
        inner.policy.check(&mut noted, inner.clock.now())?;
        let token = Verified::new(claims, noted.facts);
        if let Some(check) = &inner.check {
            check(&token).map_err(|refusal| refusal.into_error())?;
        }
        Ok(token)
    }
}

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithms", &self.inner.allowed)
            .field("issuers", &self.inner.policy.issuers)
            .field("audiences", &self.inner.policy.audiences)
            .finish_non_exhaustive()
    }
}

/// Why the application's own check did not pass a token.
#[derive(Debug)]
pub struct CheckError {
    kind: AuthErrorKind,
    reason: Box<dyn Error + Send + Sync>,
}

impl CheckError {
    /// The token is refused: 401. The reason is for the log; the client does not see it.
    #[must_use]
    pub fn rejected(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: AuthErrorKind::Rejected,
            reason: reason.into(),
        }
    }

    /// It cannot be decided now: 503. The reason is for the log; the client does not see it.
    #[must_use]
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: AuthErrorKind::CheckUnavailable,
            reason: reason.into(),
        }
    }

    fn into_error(self) -> AuthError {
        AuthError::caused_by(self.kind, self.reason)
    }
}

/// Bytes that are decoded without an allocation: any usual header, a signature by RSA-8192, and
/// claims up to 2 KiB.
const ROOM: usize = 2048;
