//! Logout tokens: [OpenID Connect Back-Channel Logout 1.0
//! §2.4](https://openid.net/specs/openid-connect-backchannel-1_0.html#LogoutToken).

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

use super::{
    Kind, Verifier,
    compact::decode,
    examine::{Rules, Signed, Unverified},
    header::Header,
    policy::Use,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    time::{Timestamp, date::Date},
};

/// A logout token that was verified.
pub(crate) struct LogoutToken {
    pub(crate) issuer: String,
    pub(crate) subject: Option<String>,
    pub(crate) session: Option<String>,
    /// The time of the logout.
    pub(crate) issued: Timestamp,
    /// The time of the verification, by the verifier's clock.
    pub(crate) now: Timestamp,
}

impl<C: Send + Sync + 'static> Verifier<C> {
    /// Verifies a logout token for this client. Waits for the token's key if it has to be fetched.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. A fetch for which it waits continues.
    pub(crate) async fn verify_logout(
        &self,
        token: &[u8],
        client: &str,
    ) -> Result<LogoutToken, AuthError> {
        let waiting = match self.examine_logout(token, client) {
            Ok(logout) => return Ok(logout),
            Err(Unverified::Refused(error)) => return Err(error),
            Err(Unverified::Wait(waiting)) => waiting,
        };
        waiting.wait.await;
        self.examine_logout(token, client)
            .map_err(|unverified| match unverified {
                Unverified::Refused(error) => error,
                Unverified::Wait(waiting) => waiting.error,
            })
    }

    fn examine_logout(&self, token: &[u8], client: &str) -> Result<LogoutToken, Unverified> {
        match &self.kind {
            Kind::One(rules) => rules.check_logout(token, client),
            Kind::Group(group) => group.selected(token)?.check_logout(token, client),
        }
    }
}

impl<C> Verifier<C> {
    /// Returns `true` if a verifier reads the subject from another claim than `sub`.
    pub(crate) fn chooses_subject(&self) -> bool {
        let mut all: Vec<Arc<Rules<C>>> = Vec::new();
        self.collect_rules(&mut all);
        all.iter().any(|rules| rules.policy.map.chooses_subject())
    }

    /// Returns `true` if tokens of any issuer are accepted.
    pub(crate) fn accepts_any_issuer(&self) -> bool {
        let mut all: Vec<Arc<Rules<C>>> = Vec::new();
        self.collect_rules(&mut all);
        all.iter().any(|rules| rules.policy.issuers.is_empty())
    }

    /// Returns `true` if tokens of different issuers are accepted, or may be at run time. Several names in
    /// one set of rules are names of one issuer.
    pub(crate) fn accepts_several_issuers(&self) -> bool {
        if let Kind::Group(group) = &self.kind
            && group.has_tenants()
        {
            return true;
        }
        let mut all: Vec<Arc<Rules<C>>> = Vec::new();
        self.collect_rules(&mut all);
        let mut names = all.iter().map(|rules| &rules.policy.issuers);
        let first = names.next();
        names.any(|others| first.is_some_and(|first| first != others))
    }
}

impl<C> Rules<C> {
    fn check_logout(&self, token: &[u8], client: &str) -> Result<LogoutToken, Unverified> {
        match self.check_signature_of(token, check_typ)? {
            Signed::Payload(payload, ..) => {
                let logout = self.read_logout(payload, client);
                Ok(logout.map_err(AuthError::from)?)
            }
            Signed::Wait(waiting) => Err(Unverified::Wait(waiting)),
        }
    }

    /// Parses and checks the claims, after the signature has proved that the issuer wrote them.
    fn read_logout(&self, payload: &[u8], client: &str) -> Result<LogoutToken, AuthErrorKind> {
        let json = decode(payload, self.padded).ok_or(AuthErrorKind::MalformedToken)?;
        // RFC 8725 §3.7: UTF-8 only. serde_json does not validate the strings that it skips.
        let json = std::str::from_utf8(&json).map_err(|_| AuthErrorKind::MalformedClaims)?;
        let claims: LogoutClaims<'_> =
            serde_json::from_str(json).map_err(|_| AuthErrorKind::MalformedClaims)?;
        let now = self.clock.now();
        self.check_origin(&claims, client)?;
        let issued = self.check_logout_times(&claims, Date::of(now))?;
        claims.check_content()?;
        Ok(LogoutToken {
            issuer: claims.iss.unwrap_or_default().into_owned(),
            subject: claims.sub.map(Cow::into_owned),
            session: claims.sid.map(Cow::into_owned),
            issued: issued.to_timestamp(),
            now,
        })
    }

    fn check_origin(&self, claims: &LogoutClaims<'_>, client: &str) -> Result<(), AuthErrorKind> {
        let issuer = claims.iss.as_deref();
        let issuer = issuer.ok_or(AuthErrorKind::MissingClaim("iss"))?;
        if !self.policy.issuers.iter().any(|ours| ours == issuer) {
            return Err(AuthErrorKind::WrongIssuer);
        }
        match &claims.aud {
            Some(Audience::One(one)) if one == client => Ok(()),
            Some(Audience::Several(all)) if all.iter().any(|one| one == client) => Ok(()),
            Some(_) => Err(AuthErrorKind::WrongAudience),
            None => Err(AuthErrorKind::MissingClaim("aud")),
        }
    }

    /// Returns the time of issue. `exp` is optional, because drafts of the specification had none.
    fn check_logout_times(
        &self,
        claims: &LogoutClaims<'_>,
        now: Date,
    ) -> Result<Date, AuthErrorKind> {
        let leeway = self.policy.leeway;
        let issued = claims.iat.map(Date::from_f64);
        let issued = issued.ok_or(AuthErrorKind::MissingClaim("iat"))?;
        if issued > now.plus(leeway) {
            return Err(AuthErrorKind::NotYetValid);
        }
        if now >= issued.plus(MAX_AGE).plus(leeway) {
            return Err(AuthErrorKind::TooOld);
        }
        let expires = claims.exp.map(Date::from_f64);
        if expires.is_some_and(|expires| now >= expires.plus(leeway)) {
            return Err(AuthErrorKind::Expired);
        }
        Ok(issued)
    }
}

/// RFC 8725 §3.11: explicit typing. Providers from before the final specification set no type or
/// `JWT`; the event then distinguishes the token (§2.6).
fn check_typ(header: &Header<'_>) -> Result<Use, AuthErrorKind> {
    match header.typ() {
        None => Ok(Use::Logout),
        Some(typ) if TYPES.iter().any(|one| one.eq_ignore_ascii_case(typ)) => Ok(Use::Logout),
        Some(_) => Err(AuthErrorKind::WrongType),
    }
}

/// A claim that is named twice is an error, as is a `null` in place of a value.
#[derive(Deserialize)]
struct LogoutClaims<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    sub: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    aud: Option<Audience<'a>>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<f64>,
    #[serde(borrow, default, deserialize_with = "present")]
    jti: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    sid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    events: Option<HashMap<String, Value>>,
    #[serde(default, deserialize_with = "present")]
    nonce: Option<IgnoredAny>,
}

impl LogoutClaims<'_> {
    /// §2.6, steps 4 to 6.
    fn check_content(&self) -> Result<(), AuthErrorKind> {
        let events = self.events.as_ref();
        let events = events.ok_or(AuthErrorKind::MissingClaim("events"))?;
        match events.get(EVENT) {
            Some(Value::Object(_)) => {}
            Some(_) => return Err(AuthErrorKind::MalformedClaims),
            None => return Err(AuthErrorKind::WrongUse),
        }
        if self.nonce.is_some() {
            return Err(AuthErrorKind::WrongUse);
        }
        // A text column of PostgreSQL holds no NUL.
        let is_unusable = |text: &Option<Cow<'_, str>>| {
            let text = text.as_deref();
            text.is_some_and(|text| text.is_empty() || text.contains('\0'))
        };
        if [&self.jti, &self.sub, &self.sid]
            .into_iter()
            .any(is_unusable)
        {
            return Err(AuthErrorKind::MalformedClaims);
        }
        if self.jti.is_none() {
            return Err(AuthErrorKind::MissingClaim("jti"));
        }
        match self.sub.is_some() || self.sid.is_some() {
            true => Ok(()),
            false => Err(AuthErrorKind::MissingClaim("sub")),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Several(Vec<String>),
}

/// Reads a claim that may be absent, but not `null`.
fn present<'de, D, T>(json: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(json).map(Some)
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const TYPES: [&str; 2] = ["logout+jwt", "JWT"];
/// The specification recommends an expiry of at most two minutes (§2.4).
const MAX_AGE: Duration = Duration::from_secs(120);
