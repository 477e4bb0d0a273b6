//! Proofs that a client holds the key to which its token is bound.
//!
//! A proof is a JWT that the client signs for one request, with the public key in its header. A
//! [`JwtAuthLayer`](crate::JwtAuthLayer) with [`Dpop`](crate::layer::dpop::Dpop) checks the proofs of
//! RFC 9449. This module holds the parts that do not depend on HTTP.
//!
//! | item | role |
//! |---|---|
//! | [`Nonces`] | the nonces that a server demands, without state |
//! | [`ReplayStore`] | the used proofs of several nodes; implement it for your store |
//! | `RedisReplayStore` | the same in Redis (feature `redis-replay`) |
//! | [`ProofId`] | the identity of a proof in such a store |
//!
//! The checks are ordered by cost. Everything that needs no asymmetric operation comes first, so that a
//! proof by another key, or beside a token that is not valid, costs the server about as much as it costs
//! the client to send it.

mod claims;
mod header;
mod nonce;
mod replay;
mod target;

use std::{fmt, sync::Arc, time::Duration};

use quick_cache::sync::Cache;

#[cfg(feature = "redis-replay")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis-replay")))]
pub use self::replay::RedisReplayStore;
use self::{
    claims::ProofClaims,
    header::ProofHeader,
    nonce::{NonceState, is_nonce},
    replay::Place,
};
pub use self::{
    nonce::Nonces,
    replay::{ProofId, ReplayStore},
};
pub(crate) use self::{
    replay::{ErasedReplayStore, Memory, Moment},
    target::{Origin, is_same_target},
};
use crate::{
    key::{Algorithm, Thumbprint, VerifyingKey},
    time::{Timestamp, date::Date},
    verify::compact::{Compact, Room},
};

/// The form of a kind of proof: its type, and the names of its claims.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) typ: &'static str,
    pub(crate) id: &'static str,
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) issued: &'static str,
    /// The digest of the token with which the proof is sent.
    pub(crate) token_digest: &'static str,
    pub(crate) nonce: &'static str,
}

/// The rules for a kind of proof.
pub(crate) struct Checker {
    pub(crate) profile: &'static Profile,
    /// The accepted algorithms, none of them an HMAC.
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_age: Duration,
    pub(crate) max_ahead: Duration,
    pub(crate) nonces: Option<Nonces>,
    /// The used proofs. `None`: a proof may be used repeatedly while it is fresh.
    pub(crate) used: Option<Memory>,
    pub(crate) keys: PreparedKeys,
}

/// The request that a proof must be for.
pub(crate) struct Expected<'a> {
    /// The thumbprint of the token's key, and the digest of the token. `None` if the token is not known yet,
    /// or the request has none.
    pub(crate) token: Option<(Thumbprint, &'a [u8])>,
    pub(crate) method: &'a str,
    /// Returns `true` for the URI of the request.
    pub(crate) is_target: &'a dyn Fn(&str) -> bool,
    pub(crate) now: Moment,
}

/// A proof that passes all checks of this process.
#[derive(Debug)]
pub(crate) struct Proved {
    pub(crate) id: ProofId,
    /// The time after which no node accepts the proof.
    pub(crate) until: Timestamp,
    /// The nonce for the next proof, if the one of this proof is ageing.
    pub(crate) next_nonce: Option<String>,
}

/// A proof whose signature is not verified yet, and whose other parts pass.
#[cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "only endpoints verify a signature later")
)]
#[derive(Debug)]
pub(crate) struct Claimed {
    /// The thumbprint of the key that is said to have signed.
    pub(crate) key: Thumbprint,
    /// The digest of the token with which the proof is sent, if it has one and no token was expected.
    pub(crate) token_digest: Option<Box<str>>,
    pub(crate) proved: Proved,
}

/// The reason for which a proof is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The proof itself is not valid.
    Invalid(&'static str),
    /// The proof is valid for another request: its target is this one.
    Target(String),
    /// The proof is by another key than the token's.
    OtherKey,
    /// A nonce is demanded, and the proof has none or an old one. This is the one to use.
    Nonce(String),
    /// The cryptographic library failed.
    Unavailable,
}

impl Checker {
    /// Checks a proof, and records it as used.
    ///
    /// The order is by cost. The signature is the last check but one, and only a proof with a verified
    /// signature is recorded, so that nothing that an attacker makes up takes memory.
    pub(crate) fn check(&self, proof: &[u8], expected: &Expected<'_>) -> Result<Proved, Fault> {
        let mut room = Room::<ROOM>::new();
        let (parts, header) = read(proof, &mut room)?;
        let (claimed, algorithm) = self.claimed(&parts, &header, expected)?;
        self.verify(&parts, &header, (claimed.key, algorithm))?;
        self.record(&claimed, expected.now)?;
        Ok(claimed.proved)
    }

    /// Checks everything except the signature, and records nothing.
    #[cfg(feature = "server")]
    pub(crate) fn examine(&self, proof: &[u8], expected: &Expected<'_>) -> Result<Claimed, Fault> {
        let mut room = Room::<ROOM>::new();
        let (parts, header) = read(proof, &mut room)?;
        Ok(self.claimed(&parts, &header, expected)?.0)
    }

    /// Verifies the signature of an examined proof, and records it as used.
    #[cfg(feature = "server")]
    pub(crate) fn confirm(
        &self,
        proof: &[u8],
        claimed: &Claimed,
        now: Moment,
    ) -> Result<(), Fault> {
        let mut room = Room::<ROOM>::new();
        let (parts, header) = read(proof, &mut room)?;
        let algorithm = header.algorithm(&self.algorithms);
        let algorithm = algorithm.ok_or(Fault::Invalid(ALGORITHM))?;
        self.verify(&parts, &header, (claimed.key, algorithm))?;
        self.record(claimed, now)
    }

    /// Checks the header and the claims.
    fn claimed(
        &self,
        parts: &Compact<'_>,
        header: &ProofHeader<'_>,
        expected: &Expected<'_>,
    ) -> Result<(Claimed, Algorithm), Fault> {
        let key = header.key.thumbprint().map_err(|_| Fault::Unavailable)?;
        if expected.token.is_some_and(|(expected, _)| expected != key) {
            return Err(Fault::OtherKey);
        }
        let mut room = Room::<ROOM>::new();
        let json = room.decode(parts.payload, false);
        let mut claims = ProofClaims::parse(json.ok_or(Fault::Invalid(BASE64))?, self.profile)?;
        let digest = claims.token_digest.take();
        let token_digest = match (digest, expected.token) {
            (digest, None) => digest.map(|digest| digest.into_owned().into()),
            (Some(digest), Some((_, expected))) if digest.as_bytes() == expected => None,
            (Some(_), Some(_)) => return Err(Fault::Invalid(OTHER_TOKEN)),
            (None, Some(_)) => return Err(Fault::Invalid("the digest of the token is missing")),
        };
        if !header.is_typed(self.profile.typ) {
            return Err(Fault::Invalid("`typ` is not that of a proof"));
        }
        let algorithm = header
            .algorithm(&self.algorithms)
            .ok_or(Fault::Invalid(ALGORITHM))?;
        if claims.method != expected.method {
            return Err(Fault::Invalid("the proof is for another method"));
        }
        if !(expected.is_target)(&claims.target) {
            return Err(Fault::Target(claims.target.into_owned()));
        }
        let (until, next_nonce) = self.check_freshness(&claims, expected.now.wall)?;
        if claims.id.is_empty() {
            return Err(Fault::Invalid("the identifier is empty"));
        }
        let id = ProofId::new(key, &claims.id).map_err(|_| Fault::Unavailable)?;
        if let Some(used) = &self.used {
            Fault::of_place(used.look(&id, expected.now))?;
        }
        let proved = Proved {
            id,
            until,
            next_nonce,
        };
        let claimed = Claimed {
            key,
            token_digest,
            proved,
        };
        Ok((claimed, algorithm))
    }

    fn verify(
        &self,
        parts: &Compact<'_>,
        header: &ProofHeader<'_>,
        name: (Thumbprint, Algorithm),
    ) -> Result<(), Fault> {
        let mut room = Room::<ROOM>::new();
        let signature = room.decode(parts.signature, false);
        let signature = signature.ok_or(Fault::Invalid(BASE64))?;
        self.keys.verify(name, header, parts.message, signature)
    }

    fn record(&self, claimed: &Claimed, now: Moment) -> Result<(), Fault> {
        let Proved { id, until, .. } = &claimed.proved;
        match &self.used {
            Some(used) => Fault::of_place(used.record(id, *until, now)),
            None => Ok(()),
        }
    }

    /// Checks the nonce, or the time where no nonces are demanded. Returns the time after which the proof is
    /// not fresh any more, and the next nonce if this one is ageing.
    fn check_freshness(
        &self,
        claims: &ProofClaims<'_>,
        now: Timestamp,
    ) -> Result<(Timestamp, Option<String>), Fault> {
        let nonce = claims.nonce.as_deref();
        if nonce.is_some_and(|nonce| !is_nonce(nonce)) {
            return Err(Fault::Invalid("the nonce has characters that no nonce has"));
        }
        if let Some(nonces) = &self.nonces {
            let current = || nonces.current(now);
            return match nonce.map(|nonce| nonces.state(nonce, now)) {
                Some(NonceState::Fresh(until)) => Ok((until, None)),
                Some(NonceState::Ageing(until)) => Ok((until, Some(current()))),
                Some(NonceState::Refused) | None => Err(Fault::Nonce(current())),
            };
        }
        let present = Date::of(now);
        let end = claims.issued.plus(self.max_age);
        if present > end {
            return Err(Fault::Invalid("the proof is too old"));
        }
        if claims.issued > present.plus(self.max_ahead) {
            return Err(Fault::Invalid("the proof is from the future"));
        }
        Ok((end.to_timestamp_rounded_up(), None))
    }
}

/// Parses the form and the header of a proof.
fn read<'a>(
    proof: &'a [u8],
    room: &'a mut Room<ROOM>,
) -> Result<(Compact<'a>, ProofHeader<'a>), Fault> {
    let parts = Compact::parse(proof).ok_or(Fault::Invalid("not a compact JWS"))?;
    let json = room.decode(parts.header, false);
    let header = ProofHeader::parse(json.ok_or(Fault::Invalid(BASE64))?)?;
    Ok((parts, header))
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("typ", &self.profile.typ)
            .field("algorithms", &self.algorithms)
            .field("nonces", &self.nonces)
            .finish_non_exhaustive()
    }
}

impl Fault {
    fn of_place(place: Place) -> Result<(), Self> {
        match place {
            Place::Free => Ok(()),
            Place::Taken => Err(Self::Invalid("the proof was used before")),
            Place::Full => Err(Self::Invalid("too many proofs by one key")),
        }
    }
}

impl From<&'static str> for Fault {
    fn from(cause: &'static str) -> Self {
        Self::Invalid(cause)
    }
}

/// The keys of recent proofs, prepared for verification.
///
/// Only keys that made a valid signature are kept, so that proofs with bad signatures displace none.
pub(crate) struct PreparedKeys {
    prepared: Cache<(Thumbprint, Algorithm), Arc<VerifyingKey>>,
    /// The number of verified or refused signatures, for tests.
    #[cfg(any(test, feature = "test-util"))]
    verifications: std::sync::atomic::AtomicU64,
}

impl PreparedKeys {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            prepared: Cache::new(capacity),
            #[cfg(any(test, feature = "test-util"))]
            verifications: std::sync::atomic::AtomicU64::new(0),
        }
    }

    fn verify(
        &self,
        name: (Thumbprint, Algorithm),
        header: &ProofHeader<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Fault> {
        let (known, key) = match self.prepared.get(&name) {
            Some(key) => (true, key),
            None => {
                let key = header.key.prepare(name.1);
                let key = key.map_err(|_| Fault::Invalid("`jwk` is not a valid public key"))?;
                (false, Arc::new(key))
            }
        };
        #[cfg(any(test, feature = "test-util"))]
        self.verifications
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if !key.verifies(name.1, message, signature) {
            return Err(Fault::Invalid("the signature of the proof does not verify"));
        }
        if !known {
            self.prepared.insert(name, key);
        }
        Ok(())
    }

    /// Returns the number of signatures that were computed.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn verifications(&self) -> u64 {
        self.verifications
            .load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The size of the stack buffers for decoded segments: enough for a usual proof.
const ROOM: usize = 515;
const ALGORITHM: &str = "`alg` is not allowed, or not for the key";
pub(crate) const OTHER_TOKEN: &str = "the proof is for another token";
const BASE64: &str = "a segment is not base64url without padding";
