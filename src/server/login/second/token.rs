//! The token between the first and the second step of a sign-in.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    secret::{DerivedKey, Secret, SecretKey, random},
    server::{
        login::SignIn,
        session::{SessionClaims, StartSession},
    },
    time::Timestamp,
};

/// A sign-in that waits for its second step.
///
/// It comes from a valid `mfa_token`. Its holder has proved the first factor and nothing else.
#[derive(Clone)]
pub struct PendingSignIn {
    pub(crate) facts: Facts,
}

/// The content of a token.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Identifies the token, so that it completes one sign-in only.
    pub(crate) id: String,
    pub(crate) subject: String,
    /// The epoch before the first factor was proved.
    pub(crate) epoch: u32,
    /// Milliseconds since 1970.
    expires: i64,
    /// The digest of what the asking device repeats.
    device: String,
    pub(crate) methods: Vec<String>,
    details: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<SessionClaims>,
    #[serde(default)]
    is_linked: bool,
    #[serde(default)]
    is_known: bool,
}

impl PendingSignIn {
    /// Returns the subject who has proved the first factor.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// Returns the offered methods of the second step.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.facts.methods.iter().map(String::as_str)
    }

    /// Returns the sign-in of both steps. `methods` are added to the authentication methods of the first
    /// one.
    pub(crate) fn complete<I>(self, methods: I) -> Option<SignIn>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let facts = self.facts;
        let start = StartSession::of_details(&facts.subject, facts.details.clone())?;
        let mut all = start.methods().to_vec();
        for method in methods.into_iter().map(Into::into) {
            if !all.contains(&method) {
                all.push(method);
            }
        }
        let mut who = SignIn::new(&facts.subject).epoch(facts.epoch);
        who.start = start.amr(all);
        who.claims = facts.claims.clone();
        who.is_linked = facts.is_linked;
        who.is_known = facts.is_known;
        who.completes = Some(Box::new(facts));
        Some(who)
    }
}

impl Facts {
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires)
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Facts(..)")
    }
}

impl fmt::Debug for PendingSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSignIn")
            .field("subject", &self.facts.subject)
            .field("methods", &self.facts.methods)
            .finish_non_exhaustive()
    }
}

/// The value that binds a token to the device that asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AskingDevice<'a> {
    /// The value of a cookie that only this browser has.
    Cookie(&'a str),
    /// The `User-Agent` of a client without cookies.
    UserAgent(&'a str),
}

impl AskingDevice<'_> {
    fn digest(self) -> String {
        let (kind, value) = match self {
            Self::Cookie(value) => ("cookie", value),
            Self::UserAgent(value) => ("agent", value),
        };
        let digest = Sha256::new()
            .chain_update(kind)
            .chain_update([0])
            .chain_update(value)
            .finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }
}

/// Mints and reads the tokens.
///
/// ```text
/// value = "mf1_" || b64url( JSON || tag(32) )
/// tag   = HMAC-SHA-256(key, "mf1_" || JSON)
/// ```
///
/// The form differs from that of every other token, and no verifier reads it. The client can read the
/// content, as that of an access token.
#[derive(Clone, Debug)]
pub(crate) struct StepTokens {
    keys: Vec<DerivedKey>,
}

impl StepTokens {
    pub(crate) const LIFETIME: Duration = Duration::from_secs(5 * 60);

    pub(crate) fn new(secret: &SecretKey) -> Self {
        Self {
            keys: secret.derive("second step"),
        }
    }

    /// Returns the token of a sign-in that needs one of these methods.
    pub(crate) fn mint(
        &self,
        who: &SignIn,
        epoch: u32,
        methods: Vec<String>,
        device: AskingDevice<'_>,
        now: Timestamp,
    ) -> Option<Secret<String>> {
        let facts = Facts {
            id: URL_SAFE_NO_PAD.encode(random::<16>()),
            subject: who.subject.clone(),
            epoch,
            expires: now.plus(Self::LIFETIME).as_millis(),
            device: device.digest(),
            methods,
            details: who.start.details_value()?,
            claims: who.claims.clone(),
            is_linked: who.is_linked,
            is_known: who.is_known,
        };
        let mut value = serde_json::to_vec(&facts).ok()?;
        let tag = tag(self.keys.first()?, &value)?.finalize().into_bytes();
        value.extend_from_slice(&tag);
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&value));
        Some(Secret::new(text))
    }

    /// Reads a token that this device presents. `None` unless this server minted it for this device
    /// within its lifetime.
    pub(crate) fn read(
        &self,
        text: &str,
        device: AskingDevice<'_>,
        now: Timestamp,
    ) -> Option<PendingSignIn> {
        let value = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (json, presented) = value.split_last_chunk::<32>()?;
        let fits = |key: &DerivedKey| {
            tag(key, json).is_some_and(|tag| tag.verify_slice(presented).is_ok())
        };
        if !self.keys.iter().any(fits) {
            return None;
        }
        let facts: Facts = serde_json::from_slice(json).ok()?;
        let same: bool = device
            .digest()
            .as_bytes()
            .ct_eq(facts.device.as_bytes())
            .into();
        (same && now < facts.expires_at()).then_some(PendingSignIn { facts })
    }
}

fn tag(key: &DerivedKey, json: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.key.expose()).ok()?;
    mac.update(PREFIX.as_bytes());
    mac.update(json);
    Some(mac)
}

const PREFIX: &str = "mf1_";

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: AskingDevice<'_> = AskingDevice::Cookie("nonce");

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus(Duration::from_secs(seconds))
    }

    fn tokens(byte: u8) -> StepTokens {
        StepTokens::new(&SecretKey::from_bytes([byte; 32]).unwrap())
    }

    fn minted() -> Secret<String> {
        let who = SignIn::new("ada").amr(["pwd"]).label("a phone");
        let methods = vec!["totp".to_owned()];
        tokens(1).mint(&who, 7, methods, DEVICE, at(0)).unwrap()
    }

    #[test]
    fn u32_a_token_keeps_the_facts_of_the_first_step() {
        let text = minted();
        let pending = tokens(1).read(text.expose(), DEVICE, at(299)).unwrap();
        assert_eq!((pending.subject(), pending.facts.epoch), ("ada", 7));
        assert_eq!(pending.methods().collect::<Vec<_>>(), ["totp"]);
        let who = pending.complete(["otp"]).unwrap();
        assert_eq!(who.start.methods(), ["pwd", "otp"]);
        assert_eq!(who.epoch, Some(7));
        // Neither the type of an access token nor its form.
        assert_eq!(text.expose().matches('.').count(), 0);
    }

    #[test]
    fn u32_a_late_foreign_or_changed_token_is_refused() {
        let text = minted();
        let text = text.expose();
        assert!(tokens(1).read(text, DEVICE, at(300)).is_none());
        assert!(tokens(2).read(text, DEVICE, at(0)).is_none());
        for other in [
            AskingDevice::Cookie("another"),
            AskingDevice::Cookie(""),
            AskingDevice::UserAgent("nonce"),
        ] {
            assert!(tokens(1).read(text, other, at(0)).is_none(), "{other:?}");
        }
        for place in 0..text.len() {
            let mut changed = text.to_owned().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tokens(1).read(&changed, DEVICE, at(0)).is_none(), "{place}");
            assert!(tokens(1).read(&text[..place], DEVICE, at(0)).is_none());
        }
    }
}
