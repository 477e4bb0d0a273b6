//! The verification of a token against one set of rules.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use tokio::time::Instant;

#[cfg(feature = "jwks")]
use super::introspection::{AnswerWait, Answered, Introspected};
use super::{
    CheckError, Verified,
    cache::{Cache, Entry, Found},
    header::{Header, Text},
    known_headers::KnownHeaders,
    near::NearMisses,
    parse,
    policy::{Policy, Sender, Use},
    registered::Registered,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    key::{Algorithm, KeyLookup, KeyQuery, KeySource, KeyWait, VerifyingKey},
    principal::{Field, Principal},
    time::{Clock, Timestamp, date::Date},
    verify::compact::{Compact, Room, decode, is_base64url},
};

/// The keys and rules of a verifier.
pub(super) struct Rules<C> {
    pub(super) keys: Arc<dyn KeySource>,
    pub(super) allowed: Vec<Algorithm>,
    /// `true` if the application lists the algorithms. Keys without an algorithm then verify all
    /// listed ones.
    pub(super) listed: bool,
    pub(super) policy: Policy,
    pub(super) max_bytes: usize,
    pub(super) padded: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) check: Option<Arc<Check<C>>>,
    pub(super) cache: Option<Cache<C>>,
    pub(super) headers: KnownHeaders,
    pub(super) near: NearMisses,
    /// The issuer whose metadata name the keys.
    pub(super) discovered: Option<Box<str>>,
    /// The introspection of tokens. Such rules have their caches there, and `cache` is `None`, so that
    /// a lookup in the cache of other rules is not slower.
    #[cfg(feature = "jwks")]
    pub(super) introspected: Option<Box<Introspected<C>>>,
}

pub(super) type Check<C> = dyn Fn(&Verified<C>) -> Result<(), CheckError> + Send + Sync;

/// The result of examining a token.
pub(crate) enum Examined<C> {
    Accepted(Verified<C>),
    /// The token was found in the cache.
    Remembered(Verified<C>),
    Refused(AuthError),
    /// The token's key is being fetched. Boxed, because the other results are moved for every
    /// request.
    Wait(Box<Waiting>),
}

/// A token that waits for its key, or for the authorization server's answer about it.
pub(crate) struct Waiting {
    pub(crate) wait: Awaited,
    /// The result if nothing arrives.
    pub(crate) error: AuthError,
    /// The caller, as far as the token's signature or an earlier answer proves it. A revoked caller
    /// need not wait.
    pub(crate) known: Option<Principal>,
}

impl Waiting {
    pub(super) fn for_keys(wait: KeyWait, error: AuthError) -> Box<Self> {
        Box::new(Self {
            wait: Awaited::Keys(wait),
            error,
            known: None,
        })
    }
}

/// The future that a token waits for.
pub(crate) enum Awaited {
    Keys(KeyWait),
    #[cfg(feature = "jwks")]
    Answer(AnswerWait),
}

/// The result of a wait.
pub(crate) enum Arrived {
    /// The keys may have arrived. The token is examined again.
    Keys,
    #[cfg(feature = "jwks")]
    Answer(Answered),
}

impl Awaited {
    /// Returns the time at which the wait ends by itself, if it is limited.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        match self {
            Self::Keys(wait) => wait.ends_at(),
            #[cfg(feature = "jwks")]
            Self::Answer(wait) => Some(wait.ends_at()),
        }
    }
}

impl Future for Awaited {
    type Output = Arrived;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arrived> {
        match self.get_mut() {
            Self::Keys(wait) => Pin::new(wait).poll(cx).map(|()| Arrived::Keys),
            #[cfg(feature = "jwks")]
            Self::Answer(wait) => Pin::new(wait).poll(cx).map(Arrived::Answer),
        }
    }
}

impl<C> From<Result<Verified<C>, Unverified>> for Examined<C> {
    fn from(verdict: Result<Verified<C>, Unverified>) -> Self {
        match verdict {
            Ok(verified) => Self::Accepted(verified),
            Err(Unverified::Refused(error)) => Self::Refused(error),
            Err(Unverified::Wait(waiting)) => Self::Wait(waiting),
        }
    }
}

/// The reason for which a token is not verified.
pub(super) enum Unverified {
    Refused(AuthError),
    Wait(Box<Waiting>),
}

impl From<AuthError> for Unverified {
    fn from(error: AuthError) -> Self {
        Self::Refused(error)
    }
}

/// The result of checking a token's signature.
pub(super) enum Signed<'t> {
    /// This key made the signature. The payload segment is not decoded yet.
    Payload(&'t [u8], Use, Arc<VerifyingKey>),
    /// The token's key is being fetched.
    Wait(Box<Waiting>),
}

/// The time and the keys with which a token is verified.
#[derive(Clone, Copy)]
pub(super) struct Present {
    pub(super) now: Timestamp,
    pub(super) generation: Option<u64>,
}

impl<C: DeserializeOwned + Send + Sync + 'static> Rules<C> {
    /// Verifies a token, or finds it in the cache. With `BOUND`, a bound token is accepted, and the caller
    /// checks the proofs.
    pub(super) fn examine<const BOUND: bool>(&self, token: &[u8]) -> Examined<C> {
        let present = self.present();
        let cache = self.cache.as_ref().filter(|_| present.generation.is_some());
        let mut room = None;
        let slot = match cache {
            Some(cache) => {
                let is_valid =
                    |entry: &Entry<C, ()>| is_valid::<BOUND, C>(&entry.verified, present);
                match cache.find(token, &mut room, is_valid, misused::<BOUND, C>) {
                    Found::Valid(verified) => return Examined::Remembered(verified),
                    Found::Misused(error) => return Examined::Refused(error),
                    Found::Nothing(slot) => slot,
                }
            }
            #[cfg(feature = "jwks")]
            None if self.introspected.is_some() => {
                return self.examine_with_answers::<BOUND>(token, present);
            }
            None => None,
        };
        let verified = self.verify::<BOUND>(token, present);
        if let (Some(slot), Ok(verified)) = (slot, &verified) {
            slot.put(verified.clone(), (), present.now);
        }
        verified.into()
    }

    /// Verifies a token without a cache.
    // Out of line, so that a hit needs no room for it on the stack.
    #[inline(never)]
    pub(super) fn verify<const BOUND: bool>(
        &self,
        token: &[u8],
        present: Present,
    ) -> Result<Verified<C>, Unverified> {
        match self.check_signature(token)? {
            Signed::Payload(payload, used, signer) => {
                let bound_token = BOUND.then_some(token);
                Ok(self.read_claims((payload, bound_token), used, signer, present)?)
            }
            Signed::Wait(waiting) => Err(Unverified::Wait(waiting)),
        }
    }

    /// Parses and checks the claims, after the signature has proved that the issuer wrote them.
    fn read_claims(
        &self,
        (payload, bound_token): (&[u8], Option<&[u8]>),
        used: Use,
        signer: Arc<VerifyingKey>,
        present: Present,
    ) -> Result<Verified<C>, AuthError> {
        let json = decode(payload, self.padded).ok_or(AuthErrorKind::MalformedToken)?;
        // RFC 8725 §3.7: UTF-8 only.
        let json = String::from_utf8(json).map_err(|_| AuthErrorKind::MalformedClaims)?;
        let mut registered = Registered::new(&json, self.policy.audience_names(), &self.policy.map);
        let claims = parse::parse::<C>(&json, &mut registered)?;
        registered.facts.adopt(json);
        registered.facts.signer = Some(signer);
        let now = Date::of(present.now);
        let sender = match bound_token {
            None => Sender::Bearer,
            Some(_) => Sender::Prover,
        };
        let checked = self.policy.check(&mut registered, used, sender, now);
        if let Err(error) = &checked
            && error.kind() == AuthErrorKind::WrongIssuer
        {
            // Logs a warning if the issuer is almost the expected one.
            registered
                .facts
                .text(Field::Issuer)
                .map(|found| self.expects(found));
        }
        checked?;
        let window = self.policy.window(&registered);
        let (confirmation, generation) = (registered.confirmation, present.generation);
        let token = match confirmation.zip(bound_token) {
            None => Verified::within(claims, registered.facts, window, generation),
            Some(bound) => Verified::bound(claims, registered.facts, window, generation, bound)
                .map_err(|_| AuthErrorKind::CheckUnavailable)?,
        };
        if let Some(check) = &self.check {
            check(&token).map_err(CheckError::into_error)?;
        }
        Ok(token)
    }
}

#[inline]
pub(super) fn is_valid<const BOUND: bool, C>(found: &Verified<C>, present: Present) -> bool {
    if BOUND {
        found.is_valid_if_proven(present.now, present.generation)
    } else {
        found.is_valid(present.now, present.generation)
    }
}

/// Returns the refusal of a cached token that is bound, and was sent without a proof: a token with a proof
/// is valid, or has expired. It stays in the cache, for the client that proves possession.
#[cold]
pub(super) fn misused<const BOUND: bool, C>(found: &Verified<C>) -> Option<AuthError> {
    let bound = found.binding().filter(|_| !BOUND);
    bound.map(|_| AuthErrorKind::SenderConstrained.into())
}

impl<C> Rules<C> {
    /// Reads the clock and the generation of the keys. If the keys change after this call, a token
    /// that is verified with it is not valid for the new ones.
    pub(super) fn present(&self) -> Present {
        Present {
            now: self.clock.now(),
            generation: self.keys.generation(),
        }
    }

    fn check_signature<'t>(&self, token: &'t [u8]) -> Result<Signed<'t>, AuthError> {
        self.check_signature_of(token, |header| self.policy.check_typ(header))
    }

    /// Checks everything before the claims: size, form, algorithm, type, key and signature.
    pub(super) fn check_signature_of<'t>(
        &self,
        token: &'t [u8],
        check_typ: impl FnOnce(&Header<'_>) -> Result<Use, AuthErrorKind>,
    ) -> Result<Signed<'t>, AuthError> {
        if token.len() > self.max_bytes {
            return Err(AuthErrorKind::OversizedCredential.into());
        }
        let parts = Compact::parse(token).ok_or(AuthErrorKind::MalformedToken)?;
        let known_headers = self.headers.load();
        let known = known_headers.get(parts.header);
        let mut header_room = Room::<ROOM>::new();
        let parsed;
        let header = match known {
            Some(header) => header,
            None => {
                let json = header_room.decode(parts.header, self.padded);
                parsed = Header::parse(json.ok_or(AuthErrorKind::MalformedHeader)?)?;
                &parsed
            }
        };
        // RFC 8725 §3.1: the configuration determines the algorithms, not the token.
        if !self.allowed.contains(&header.algorithm.canonical()) {
            return Err(AuthErrorKind::AlgorithmNotAllowed.into());
        }
        let used = check_typ(header)?;
        let mut room = Room::<ROOM>::new();
        let signature = room.decode(parts.signature, self.padded);
        // What was decoded has the form. What was not may have stray bits only, and then the key
        // decides first.
        if signature.is_none_or(<[u8]>::is_empty) && !parts.has_a_signature(self.padded) {
            return Err(AuthErrorKind::MalformedToken.into());
        }
        let issuer_is_trusted = || self.trusts_issuer_of(parts.payload);
        let query = self.query(header, &issuer_is_trusted);
        let keys = match self.keys.lookup(&query) {
            KeyLookup::Found(keys) => keys,
            KeyLookup::Absent => return Err(AuthErrorKind::UnknownKey.into()),
            KeyLookup::AlgorithmMismatch => {
                return self.refused(&query, AuthErrorKind::KeyAlgorithmMismatch);
            }
            KeyLookup::Ambiguous => return Err(AuthErrorKind::AmbiguousKey.into()),
            KeyLookup::Wait(wait) => {
                let error = AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1);
                return Ok(Signed::Wait(Waiting::for_keys(wait, error)));
            }
            KeyLookup::Unavailable { retry_after } => {
                let kind = AuthErrorKind::KeysUnavailable;
                return Err(AuthError::unavailable(kind, retry_after));
            }
        };
        if keys.is_several() && !header.algorithm.is_hmac() {
            self.check_issuer_early(parts.payload)?;
        }
        let signed_by = (header.algorithm, self.listed);
        let signature = signature.ok_or(AuthErrorKind::MalformedToken)?;
        let Some(signer) = keys.signer(signed_by, parts.message, signature) else {
            return self.refused(&query, AuthErrorKind::InvalidSignature);
        };
        if known.is_none() {
            self.headers.add(parts.header, header);
        }
        Ok(Signed::Payload(parts.payload, used, signer))
    }

    /// Returns `true` if the keys still include this one, or if they are unknown now.
    pub(super) fn hold(&self, key: &VerifyingKey) -> bool {
        let query = KeyQuery {
            algorithm: key.default_algorithm(),
            kid: key.kid(),
            x5t: None,
            x5t_s256: None,
            listed: true,
            // An absent key causes no fetch.
            issuer_is_trusted: &|| false,
        };
        match self.keys.lookup(&query) {
            KeyLookup::Found(found) => found.includes(key),
            KeyLookup::Absent | KeyLookup::AlgorithmMismatch => false,
            _ => true,
        }
    }

    pub(super) fn query<'q>(
        &self,
        header: &'q Header<'_>,
        issuer_is_trusted: &'q dyn Fn() -> bool,
    ) -> KeyQuery<'q> {
        KeyQuery {
            algorithm: header.algorithm,
            kid: header.kid.as_deref(),
            x5t: header.x5t.as_deref(),
            x5t_s256: header.x5t_s256.as_deref(),
            listed: self.listed,
            issuer_is_trusted,
        }
    }

    /// Handles a token that its key does not verify. The issuer may have replaced the key under the
    /// same `kid`, so the keys may be fetched again.
    #[cold]
    fn refused<'t>(
        &self,
        query: &KeyQuery<'_>,
        kind: AuthErrorKind,
    ) -> Result<Signed<'t>, AuthError> {
        match self.keys.refetch(query) {
            Some(wait) => Ok(Signed::Wait(Waiting::for_keys(wait, kind.into()))),
            None => Err(kind.into()),
        }
    }

    /// Returns `true` if the unverified `iss` is expected. Only fetches depend on it.
    pub(super) fn trusts_issuer_of(&self, payload: &[u8]) -> bool {
        if self.policy.issuers.is_empty() {
            // Any issuer is accepted, but an invalid payload must not cause a fetch.
            return self.padded || is_base64url(payload);
        }
        peek_issuer(payload, self.padded, |issuer| {
            issuer.is_some_and(|issuer| self.expects(issuer))
        })
    }

    /// Refuses a token of another issuer before several signatures are computed for it. The claim
    /// is checked again after the signature.
    fn check_issuer_early(&self, payload: &[u8]) -> Result<(), AuthErrorKind> {
        if self.policy.issuers.is_empty() {
            return Ok(());
        }
        peek_issuer(payload, self.padded, |issuer| match issuer {
            Some(issuer) if !self.expects(issuer) => Err(AuthErrorKind::WrongIssuer),
            _ => Ok(()),
        })
    }

    fn expects(&self, issuer: &str) -> bool {
        let expected = self.policy.issuers.iter().any(|ours| ours == issuer);
        if !expected {
            let ours = self.policy.issuers.iter().map(String::as_str);
            self.near.note(issuer, ours);
        }
        expected
    }

    /// Returns the payload of a token whose claims were not checked, for `test_util` only.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn signed_payload(&self, token: &[u8]) -> Result<Vec<u8>, AuthError> {
        let Signed::Payload(payload, ..) = self.check_signature(token)? else {
            return Err(AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1));
        };
        decode(payload, self.padded).ok_or_else(|| AuthErrorKind::MalformedToken.into())
    }
}

/// Calls `then` with the unverified top-level `iss` of a token's claims.
///
/// The claims after it are not parsed. The full parse, after the signature, refuses a second `iss`.
pub(super) fn peek_issuer<T>(
    payload: &[u8],
    padded: bool,
    then: impl FnOnce(Option<&str>) -> T,
) -> T {
    let json = decode(payload, padded).unwrap_or_default();
    let mut issuer = None;
    // The error means that the rest of the object was not read.
    let _ = serde_json::Deserializer::from_slice(&json).deserialize_map(Peek(&mut issuer));
    then(issuer.as_deref())
}

struct Peek<'p, 'de>(&'p mut Option<Cow<'de, str>>);

impl<'de> Visitor<'de> for Peek<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<(), A::Error> {
        while let Some(name) = claims.next_key_seed(Text)? {
            if name == "iss" {
                *self.0 = Some(claims.next_value_seed(Text)?);
                break;
            }
            claims.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The size of the stack buffer for decoded segments: enough for a usual header and an RSA-4096
/// signature.
pub(super) const ROOM: usize = 515;
