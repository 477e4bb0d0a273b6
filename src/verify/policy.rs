//! The rules for claims.

use std::time::Duration;

use super::{
    cache::Window,
    header::{Header, media_type},
    noted::{Audience, Noted},
    place::ClaimMap,
    preset::Dialect,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    principal::{Field, PrincipalKind},
    token::date::Date,
};

/// The expectations for a token. An expected claim is required: a token without it is refused.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) issuers: Vec<String>,
    pub(crate) any_issuer: bool,
    pub(crate) audiences: Vec<String>,
    pub(crate) any_audience: bool,
    pub(crate) clients: Vec<String>,
    pub(crate) any_use: bool,
    pub(crate) id_tokens: bool,
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) check_expiry: bool,
    pub(crate) require_expiry: bool,
    pub(crate) check_not_before: bool,
    pub(crate) typ: Typ,
    pub(crate) conversations: bool,
    pub(crate) map: ClaimMap,
    pub(crate) dialect: Dialect,
}

/// The accepted values of `typ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typ {
    /// No `typ`, `JWT` or `at+jwt`.
    Usual,
    /// Exactly this value, without `application/`.
    Exactly(String),
    /// `at+jwt`, with the claims that RFC 9068 §2.2 requires.
    Rfc9068,
}

/// The use that a token's type states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Access,
    /// A single conversation.
    Conversation,
}

impl Policy {
    /// RFC 8725 §3.11: explicit typing.
    pub(crate) fn check_typ(&self, header: &Header<'_>) -> Result<Use, AuthErrorKind> {
        let is = |expected: &str, typ: &str| typ.eq_ignore_ascii_case(expected);
        let accepted = match (&self.typ, header.typ()) {
            (_, Some(typ)) if self.conversations && is(CONVERSATION_TOKEN, typ) => {
                return Ok(Use::Conversation);
            }
            (Typ::Usual, None) => true,
            (Typ::Usual, Some(typ)) => is("JWT", typ) || is(ACCESS_TOKEN, typ),
            (Typ::Rfc9068, Some(typ)) => is(ACCESS_TOKEN, typ),
            (Typ::Exactly(expected), Some(typ)) => is(expected, typ),
            (_, None) => false,
        };
        accepted
            .then_some(Use::Access)
            .ok_or(AuthErrorKind::WrongType)
    }

    /// Checks the claims, and completes the facts about the caller.
    pub(crate) fn check(
        &self,
        noted: &mut Noted<'_>,
        used: Use,
        now: Date,
    ) -> Result<(), AuthError> {
        self.check_issuer(noted)?;
        self.check_times(noted, now)?;
        self.check_audience(noted)?;
        self.check_use(noted)?;
        if self.typ == Typ::Rfc9068 {
            require_rfc9068(noted)?;
        }
        if self.dialect == Dialect::Entra && !self.id_tokens {
            require_client(noted)?;
        }
        self.check_client(noted)?;
        // RFC 9449 §7.2: a bound token with the Bearer scheme must be refused; RFC 8705 §3 requires
        // the same.
        if noted.bound {
            return Err(AuthErrorKind::SenderConstrained.into());
        }
        // A claim `conv` of another issuer is ignored, because its tokens have another type.
        if used == Use::Conversation {
            let conversation = noted.conversation.take();
            let conversation = conversation.ok_or(AuthErrorKind::MissingClaim("conv"))?;
            noted.facts.set(Field::Conversation, &conversation);
        }
        noted.facts.expires = noted.expires;
        noted.facts.issued = noted.issued;
        noted.facts.kind = kind(noted, self.dialect);
        Ok(())
    }

    // RFC 9068 §4, RFC 8414 §3.3: issuers are compared code point by code point.
    fn check_issuer(&self, noted: &Noted<'_>) -> Result<(), AuthErrorKind> {
        match noted.facts.text(Field::Issuer) {
            _ if self.issuers.is_empty() => Ok(()),
            Some(issuer) if self.issuers.iter().any(|ours| ours == issuer) => Ok(()),
            Some(_) => Err(AuthErrorKind::WrongIssuer),
            None => Err(AuthErrorKind::MissingClaim("iss")),
        }
    }

    fn check_times(&self, noted: &Noted<'_>, now: Date) -> Result<(), AuthErrorKind> {
        match noted.expires {
            // RFC 7519 §4.1.4: the current time must be *before* the expiration time.
            Some(expires) if self.check_expiry && now >= expires.plus(self.leeway) => {
                return Err(AuthErrorKind::Expired);
            }
            None if self.require_expiry => return Err(AuthErrorKind::MissingClaim("exp")),
            _ => {}
        }
        // RFC 7519 §4.1.5: the current time must be after or equal to the not-before time.
        let latest = now.plus(self.leeway);
        if self.check_not_before && noted.not_before.is_some_and(|start| start > latest) {
            return Err(AuthErrorKind::NotYetValid);
        }
        if let Some(max_age) = self.max_age {
            let issued = noted.issued.ok_or(AuthErrorKind::MissingClaim("iat"))?;
            if issued > latest {
                return Err(AuthErrorKind::NotYetValid);
            }
            if now >= issued.plus(max_age).plus(self.leeway) {
                return Err(AuthErrorKind::TooOld);
            }
        }
        Ok(())
    }

    /// Returns the time span in which [`check`](Self::check) accepts the token's times.
    pub(crate) fn window(&self, noted: &Noted<'_>) -> Window {
        let start = noted.not_before.filter(|_| self.check_not_before);
        let issued = noted.issued.filter(|_| self.max_age.is_some());
        let end = noted.expires.filter(|_| self.check_expiry);
        let too_old = self.max_age.and_then(|age| Some(noted.issued?.plus(age)));
        let earliest = [end, too_old].into_iter().flatten().min();
        Window {
            from: start.max(issued).map(|start| start.minus(self.leeway)),
            until: earliest.map(|end| end.plus(self.leeway)),
        }
    }

    /// Returns the names of which one must be in `aud`. Without an expected audience these are the
    /// clients.
    pub(super) fn audience_names(&self) -> &[String] {
        if self.audiences.is_empty() {
            &self.clients
        } else {
            &self.audiences
        }
    }

    /// Returns `true` if tokens are accepted by their client and no audience is expected.
    fn by_client_alone(&self) -> bool {
        self.audiences.is_empty() && !self.clients.is_empty() && !self.any_audience
    }

    // RFC 7519 §4.1.3: a principal that `aud` does not name must reject the token.
    fn check_audience(&self, noted: &Noted<'_>) -> Result<(), AuthErrorKind> {
        match noted.audience {
            _ if self.any_audience => Ok(()),
            Audience::Expected => Ok(()),
            // Access tokens of Amazon Cognito have no `aud`.
            Audience::Missing if self.audiences.is_empty() => Ok(()),
            Audience::Missing => Err(AuthErrorKind::MissingClaim("aud")),
            Audience::Other => Err(AuthErrorKind::WrongAudience),
        }
    }

    /// RFC 8725 §3.12: a token for one use must not be accepted for another.
    fn check_use(&self, noted: &mut Noted<'_>) -> Result<(), AuthError> {
        // The audience of an ID token is its client, which is also accepted as the audience here.
        let ids_pass = self.id_tokens || self.any_use && !self.by_client_alone();
        let event = noted.event.take();
        let id_hash = noted.id_hash.take().filter(|_| !self.id_tokens);
        let other = noted.other_use.take().filter(|_| !self.any_use);
        let id = noted.id_use.take().filter(|_| !ids_pass);
        match event.or(id_hash).or(other).or(id) {
            Some(mark) => Err(AuthError::caused_by(AuthErrorKind::WrongUse, mark)),
            None => Ok(()),
        }
    }

    fn check_client(&self, noted: &Noted<'_>) -> Result<(), AuthErrorKind> {
        match noted.facts.text(Field::ClientId) {
            _ if self.clients.is_empty() => Ok(()),
            Some(client) if self.clients.iter().any(|ours| ours == client) => Ok(()),
            Some(_) => Err(AuthErrorKind::WrongClient),
            None => Err(AuthErrorKind::MissingClaim("client_id")),
        }
    }
}

/// Requires the claims of RFC 9068 §2.2.
fn require_rfc9068(noted: &Noted<'_>) -> Result<(), AuthErrorKind> {
    let missing = [
        ("iss", noted.facts.text(Field::Issuer).is_none()),
        ("exp", noted.expires.is_none()),
        ("aud", noted.audience == Audience::Missing),
        ("sub", noted.sub().is_none()),
        ("client_id", !noted.has_client_id()),
        ("iat", noted.issued.is_none()),
        ("jti", noted.facts.text(Field::TokenId).is_none()),
    ];
    match missing.into_iter().find(|(_, missing)| *missing) {
        Some((claim, _)) => Err(AuthErrorKind::MissingClaim(claim)),
        None => Ok(()),
    }
}

/// Requires a client. Entra writes `azp` into every access token of version 2.0 and into no ID
/// token. Both have the same audience if an API and its client share a registration.
fn require_client(noted: &Noted<'_>) -> Result<(), AuthErrorKind> {
    match noted.facts.text(Field::ClientId) {
        Some(_) => Ok(()),
        None => Err(AuthErrorKind::MissingClaim("azp")),
    }
}

/// Returns the kind of caller. RFC 9068 §2.2: `sub` identifies the client if no resource owner is
/// involved. Providers that give a client another subject mark its tokens in other claims.
fn kind(noted: &Noted<'_>, dialect: Dialect) -> PrincipalKind {
    let client = noted.facts.text(Field::ClientId);
    let subject = noted.facts.text(Field::Subject);
    // `sub` identifies the client, even if the subject is read from another claim.
    let sub = noted.sub();
    let for_itself = client.is_some() && (subject.is_none() || subject == client || sub == client);
    let in_dialect = match dialect {
        Dialect::Common => false,
        Dialect::Auth0 => {
            let own = sub.and_then(|sub| sub.strip_suffix("@clients"));
            own.is_some() && own == client
        }
        // Only tokens of users have delegated permissions.
        Dialect::Entra => !noted.scp,
        Dialect::Keycloak => noted.client_host,
        Dialect::Okta => false,
    };
    if noted.guest {
        PrincipalKind::Guest
    } else if noted.service || for_itself || in_dialect {
        PrincipalKind::Service
    } else {
        PrincipalKind::User
    }
}

/// Returns `true` if a `typ` belongs to another kind of token, which no verifier may expect.
pub(crate) fn is_never_access_token(typ: &str) -> bool {
    const OTHERS: [&str; 8] = [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "oauth-authz-req+jwt",
        "id+jwt",
        "refresh+jwt",
        "entity-statement+jwt",
        "token-introspection+jwt",
    ];
    let typ = media_type(typ);
    OTHERS.iter().any(|other| other.eq_ignore_ascii_case(typ))
}

/// RFC 9068 §2.1.
pub(crate) const ACCESS_TOKEN: &str = "at+jwt";
/// A `typ` specific to this crate, so that verifiers of access tokens in other software refuse
/// conversation tokens.
pub(crate) const CONVERSATION_TOKEN: &str = "conv+jwt";
