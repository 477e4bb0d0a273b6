//! The verification of a token by the authorization server's answer about it.
//!
//! ```text
//!   JWT ───▶ cache of JWTs ─▶ signature, claims ─┬─▶ accepted
//!                                                │ all_tokens
//!   opaque ─▶ form, prefix ──────────────────────┴─▶ cache of answers ─┬─▶ accepted, refused
//!                                                                      └─▶ wait ─▶ settle ─▶ stored
//! ```

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};

use super::{
    Started,
    answers::{Answers, Refused},
    client::Outcome,
    flights::{Answered, Bound, Digest, Flights},
};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    key::Digester,
    principal::Field,
    time::{Timestamp, date::Date},
    verify::{
        CheckError, Verified,
        cache::{Cache, Entry, Found},
        compact::{Compact, decode},
        examine::{Awaited, Examined, Present, Rules, Waiting, is_valid, misused},
        parse,
        policy::{Sender, Use},
        registered::Registered,
        token_use::Mark,
    },
};

/// The introspection of one issuer's tokens.
pub(in crate::verify) struct Introspected<C> {
    flights: Arc<Flights>,
    prefix: Option<Box<str>>,
    /// JWTs are introspected, too.
    all: bool,
    /// JWTs are verified by a key first.
    has_keys: bool,
    cache_for: Duration,
    digester: Digester,
    /// `None` if answers are not cached.
    answers: Option<Answers<C>>,
    /// The cache of JWTs that are not introspected.
    tokens: Option<Cache<C>>,
}

impl<C> Introspected<C> {
    /// Creates the strategy. `capacity` is the number of answers that are cached.
    pub(in crate::verify) fn new(
        started: Started,
        has_keys: bool,
        capacity: usize,
        tokens: Option<Cache<C>>,
    ) -> Result<Self, ConfigError> {
        let caches = capacity > 0 && !started.cache_for.is_zero();
        Ok(Self {
            flights: Flights::new(started.client, started.runtime, started.calls),
            prefix: started.prefix,
            all: started.all,
            has_keys,
            cache_for: started.cache_for,
            digester: Digester::new()?,
            answers: caches.then(|| Answers::new(capacity)).transpose()?,
            tokens,
        })
    }

    /// Returns the prefix of the opaque tokens, or an empty one.
    pub(in crate::verify) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    /// Returns `true` if no JWT is verified by a key.
    pub(in crate::verify) fn is_alone(&self) -> bool {
        !self.has_keys
    }

    /// Returns `true` if this opaque token may be sent to the server.
    fn takes(&self, token: &[u8]) -> bool {
        is_b64token(token) && token.starts_with(self.prefix().as_bytes())
    }

    fn refuse(&self, digest: Digest, error: &AuthError, now: Timestamp) {
        // What the application or a cryptographic library could not decide may be decided next time.
        if let Some(answers) = &self.answers
            && error.status().is_client_error()
        {
            let refused = Refused {
                error: error.clone(),
                from: now,
                until: now.plus(self.cache_for.min(REFUSED_FOR)),
            };
            answers.refuse(digest, refused);
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Rules<C> {
    /// Examines a token by rules that introspect tokens.
    // Out of line, so that rules without introspection need no room for it on the stack.
    #[inline(never)]
    pub(in crate::verify) fn examine_with_answers<const BOUND: bool>(
        &self,
        token: &[u8],
        present: Present,
    ) -> Examined<C> {
        let Some(own) = self.introspected.as_deref() else {
            return Examined::Refused(AuthErrorKind::MalformedToken.into());
        };
        if token.len() > self.max_bytes {
            return Examined::Refused(AuthErrorKind::OversizedCredential.into());
        }
        let may_be_jwt = memchr::memchr(b'.', token).is_some();
        let cache = own.tokens.as_ref();
        let cache = cache.filter(|_| may_be_jwt && !own.all && present.generation.is_some());
        let mut room = None;
        let mut slot = None;
        if let Some(cache) = cache {
            let is_valid = |entry: &Entry<C, ()>| is_valid::<BOUND, C>(&entry.verified, present);
            match cache.find(token, &mut room, is_valid, misused::<BOUND, C>) {
                Found::Valid(verified) => return Examined::Remembered(verified),
                Found::Misused(error) => return Examined::Refused(error),
                Found::Nothing(found) => slot = found,
            }
        }
        // Without keys, every token is looked up first.
        let signed = own.has_keys && may_be_jwt && is_jwt(token, self.padded);
        if signed && !own.all {
            let verified = self.verify::<BOUND>(token, present);
            if let (Some(slot), Ok(verified)) = (slot, &verified) {
                slot.put(verified.clone(), (), present.now);
            }
            return verified.into();
        }
        self.examine_by_answer::<BOUND>(own, token, signed, present)
    }

    /// Looks for a recent answer, and waits for one otherwise. `signed` is `true` for a JWT that a key
    /// must verify, too.
    fn examine_by_answer<const BOUND: bool>(
        &self,
        own: &Introspected<C>,
        token: &[u8],
        signed: bool,
        present: Present,
    ) -> Examined<C> {
        let unavailable = || AuthError::unavailable(AuthErrorKind::IntrospectionUnavailable, 1);
        let digest = own.digester.digest(token);
        let of_answer = self.of_answer(signed, present);
        let mut known = None;
        if let Some(answers) = &own.answers {
            if let Some(verified) = answers.active(&digest) {
                if is_valid::<BOUND, C>(&verified, of_answer) {
                    return Examined::Remembered(verified);
                }
                // An answer that is still of use, about a token that is sent in the other form.
                if is_valid_in_other_form::<BOUND, C>(&verified, of_answer)
                    && let Some(error) = misused::<BOUND, C>(&verified)
                {
                    return Examined::Refused(error);
                }
                known = Some(verified.principal_from(None));
            }
            if let Some(error) = answers.refused(&digest, present.now) {
                return Examined::Refused(error);
            }
        }
        let mut bound = None;
        if signed {
            match self.verify::<BOUND>(token, present) {
                Ok(verified) => {
                    bound = Some(bound_to(&verified));
                    known = Some(verified.principal_from(None));
                }
                Err(unverified) => return Err::<Verified<C>, _>(unverified).into(),
            }
        } else if is_jwt(token, self.padded) {
            if !own.all {
                return self.verify::<BOUND>(token, present).into();
            }
            if let Err(error) = self.check_issuer_of(token) {
                return Examined::Refused(error);
            }
        } else if !own.takes(token) {
            return Examined::Refused(AuthErrorKind::MalformedToken.into());
        }
        Examined::Wait(Box::new(Waiting {
            wait: Awaited::Answer(own.flights.wait(digest, token, bound)),
            error: unavailable(),
            known,
        }))
    }

    /// Refuses a JWT of another issuer, or without one, before it is sent to this issuer's server.
    fn check_issuer_of(&self, token: &[u8]) -> Result<(), AuthError> {
        let parts = Compact::parse(token).ok_or(AuthErrorKind::MalformedToken)?;
        match self.trusts_issuer_of(parts.payload) {
            true => Ok(()),
            false => Err(AuthErrorKind::WrongIssuer.into()),
        }
    }

    /// Returns the time and the generation with which an answer is compared. The keys matter only to
    /// a token that they verified.
    fn of_answer(&self, signed: bool, present: Present) -> Present {
        Present {
            generation: if signed {
                present.generation
            } else {
                Some(UNSIGNED)
            },
            ..present
        }
    }

    /// Verifies a token by the answer about it, and stores the result.
    pub(in crate::verify) fn settle<const BOUND: bool>(
        &self,
        token: &[u8],
        answered: &Answered,
    ) -> Examined<C> {
        let unavailable = || AuthError::unavailable(AuthErrorKind::IntrospectionUnavailable, 1);
        let Some(own) = self.introspected.as_deref() else {
            return Examined::Refused(unavailable());
        };
        // An extractor of the application may return another token after the wait.
        if own.digester.digest(token) != answered.digest {
            return Examined::Refused(unavailable());
        }
        let present = self.of_answer(answered.signed.is_some(), self.present());
        // Another request that waited for the same answer may have stored it.
        if let Some(answers) = &own.answers
            && let Some(verified) = answers.active(&answered.digest)
            && is_valid::<BOUND, C>(&verified, present)
        {
            return Examined::Remembered(verified);
        }
        let json = match answered.outcome() {
            Outcome::Answer(json) => json,
            Outcome::Unsupported => {
                let error = AuthErrorKind::Inactive.into();
                own.refuse(answered.digest, &error, present.now);
                return Examined::Refused(error);
            }
            Outcome::Unavailable(error) => return Examined::Refused(error.clone()),
        };
        match self.read_answer(token, json, answered.signed, own.cache_for, present) {
            Ok(verified) => {
                if let Some(answers) = &own.answers {
                    answers.admit(answered.digest, verified.clone(), json.len());
                }
                match misused::<BOUND, C>(&verified) {
                    None => Examined::Accepted(verified),
                    Some(error) => Examined::Refused(error),
                }
            }
            Err(error) => {
                own.refuse(answered.digest, &error, present.now);
                Examined::Refused(error)
            }
        }
    }

    /// Reads an answer without a call, for `test_util` only.
    #[cfg(any(test, feature = "test-util"))]
    pub(in crate::verify) fn read_answer_alone(
        &self,
        token: &[u8],
        json: &str,
    ) -> Result<Verified<C>, AuthError> {
        let present = self.of_answer(false, self.present());
        self.read_answer(token, json, None, Duration::from_secs(60), present)
    }

    /// Reads an answer as the claims of a token (RFC 7662 §2.2).
    fn read_answer(
        &self,
        token: &[u8],
        json: &str,
        signed: Option<Bound>,
        cache_for: Duration,
        present: Present,
    ) -> Result<Verified<C>, AuthError> {
        let status: Status =
            serde_json::from_str(json).map_err(|_| AuthErrorKind::MalformedClaims)?;
        match status.active {
            Some(true) => {}
            Some(false) => return Err(AuthErrorKind::Inactive.into()),
            None => return Err(AuthErrorKind::MissingClaim("active").into()),
        }
        let mut registered = Registered::new(json, self.policy.audience_names(), &self.policy.map);
        let claims = parse::parse::<C>(json, &mut registered)?;
        registered.facts.adopt(json.to_owned());
        let now = Date::of(present.now);
        // The form in which the token is sent is checked for each request.
        self.policy
            .check(&mut registered, Use::Introspected, Sender::Prover, now)?;
        let bound = registered.confirmation;
        let has_key = bound.is_some_and(|bound| bound.key.is_some());
        status.check_token_type(has_key, self.policy.any_use)?;
        // RFC 9449 §6.2, RFC 8705 §3.2: the answer names what the token is bound to. An answer that does
        // not must not unbind the token.
        if signed.is_some_and(|signed| signed != bound) {
            return Err(AuthErrorKind::SenderConstrained.into());
        }
        // The server that was asked is the issuer's.
        if registered.facts.text(Field::Issuer).is_none()
            && let [issuer] = self.policy.issuers.as_slice()
        {
            registered.facts.set(Field::Issuer, issuer);
        }
        let mut end = present.now.plus(cache_for);
        if let Some(expires) = registered.expires.filter(|_| self.policy.check_expiry) {
            end = end.min(expires.to_timestamp());
        }
        // If the clock is set back, the age of the answer is unknown.
        let window = self.policy.window(&registered).within(present.now, end);
        let generation = present.generation;
        let verified = match bound {
            None => Verified::within(claims, registered.facts, window, generation),
            Some(bound) => {
                Verified::bound(claims, registered.facts, window, generation, (bound, token))
                    .map_err(|_| AuthErrorKind::CheckUnavailable)?
            }
        };
        if let Some(check) = &self.check {
            check(&verified).map_err(CheckError::into_error)?;
        }
        Ok(verified)
    }
}

/// The members of an answer that no JWT has, or that have another meaning there. A member that is named
/// twice is an error.
#[derive(Deserialize)]
struct Status {
    active: Option<bool>,
    token_type: Option<String>,
}

impl Status {
    /// Checks the type of the token. Some servers call refresh tokens active, and state their type.
    fn check_token_type(&self, has_key: bool, any_use: bool) -> Result<(), AuthError> {
        let Some(found) = self.token_type.as_deref() else {
            return Ok(());
        };
        match (found.eq_ignore_ascii_case("DPoP"), has_key) {
            (true, true) => Ok(()),
            // RFC 9449 §5: the server bound the token, and does not say to which key.
            (true, false) => Err(AuthErrorKind::SenderConstrained.into()),
            (false, false) if any_use || found.eq_ignore_ascii_case("Bearer") => Ok(()),
            (false, _) => {
                let mark = Mark::value("token_type", found);
                Err(AuthError::caused_by(AuthErrorKind::WrongUse, mark))
            }
        }
    }
}

/// Returns the key and the certificate to which a token is bound.
fn bound_to<C>(verified: &Verified<C>) -> Bound {
    verified.binding().map(|binding| binding.confirmation)
}

fn is_valid_in_other_form<const BOUND: bool, C>(found: &Verified<C>, present: Present) -> bool {
    match BOUND {
        true => is_valid::<false, C>(found, present),
        false => is_valid::<true, C>(found, present),
    }
}

/// Returns `true` for a JWT in compact serialization, signed or encrypted: its first segment is a JSON
/// object.
pub(in crate::verify) fn is_jwt(token: &[u8], padded: bool) -> bool {
    // In base64url, `{` begins with `e`, and white space before it with `I`, `C` or `D`.
    if !matches!(token, [b'e' | b'I' | b'C' | b'D', ..]) {
        return false;
    }
    let mut segments = token.split(|byte| *byte == b'.');
    let (Some(header), Some(_)) = (segments.next(), segments.next()) else {
        return false;
    };
    let Some(header) = decode(header, padded) else {
        return false;
    };
    let is_object = header.trim_ascii_start().first() == Some(&b'{');
    is_object && serde_json::from_slice::<IgnoredAny>(&header).is_ok()
}

/// Returns `true` if a value is a `b64token` (RFC 6750 §2.1). Nothing else is sent to the server.
fn is_b64token(value: &[u8]) -> bool {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let (body, _) = value.split_at(value.len() - padding);
    let is_in_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && body.iter().all(is_in_alphabet)
}

/// The generation of answers about tokens that no key verified.
const UNSIGNED: u64 = 0;
const REFUSED_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests {
    use super::*;
    use crate::verify::{Kind, Verifier, introspection::Introspection};

    fn digest(verifier: &Verifier, token: &[u8]) -> Digest {
        let Kind::One(rules) = &verifier.kind else {
            panic!("a single verifier");
        };
        let own = rules.introspected.as_deref().unwrap();
        own.digester.digest(token)
    }

    #[tokio::test]
    async fn i9_an_answer_is_found_by_a_digest_under_a_random_key() {
        let build = || {
            let settings = Introspection::at("http://127.0.0.1:1/").basic("api", "secret");
            Verifier::introspected(settings).build().unwrap()
        };
        let token = b"a token of thirty-two characters";
        let (one, other) = (build(), build());
        assert_eq!(digest(&one, token), digest(&one, token));
        assert_ne!(digest(&one, token), digest(&other, token));
        assert_ne!(&digest(&one, token), token);
    }

    #[test]
    fn i10_a_token_with_dots_is_a_jwt_if_its_header_is_an_object() {
        for (token, expected) in [
            ("eyJhbGciOiJub25lIn0.e30.c2ln", true),
            ("eyJhbGciOiJub25lIn0.", true),
            ("eyJlbmMiOiJBMTI4R0NNIn0..aXY.Y2lwaGVy.dGFn", true),
            // White space before the object, which a parser of headers accepts.
            ("IHsiYWxnIjoibm9uZSJ9.e30.c2ln", true),
            ("eyJhbGciOiJub25lIn0", false),
            ("e30x.a.b", false),
            ("bm90IGpzb24.a.b", false),
            ("mF_9.B5f-4.1JqM", false),
            ("...", false),
            ("", false),
        ] {
            assert_eq!(is_jwt(token.as_bytes(), false), expected, "{token}");
        }
    }
}
