//! The rules for claims.

use std::time::Duration;

use super::{
    header::{Header, media_type},
    place::ClaimMap,
    preset::Dialect,
    registered::{Audience, Registered},
    verified::Window,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    principal::{Field, PrincipalKind},
    time::date::Date,
};

/// The expectations for a token. An expected claim is required: a token without it is refused.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) issuers: Vec<String>,
    pub(crate) by_issuer: bool,
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
    /// The end of sessions at the issuer.
    #[cfg(feature = "jwks")]
    Logout,
    /// An access token, according to the authorization server's answer about it (RFC 7662 §2.2).
    #[cfg(feature = "jwks")]
    Introspected,
}

impl Use {
    fn is_introspected(self) -> bool {
        #[cfg(feature = "jwks")]
        return self == Self::Introspected;
        #[cfg(not(feature = "jwks"))]
        false
    }
}

/// The form of the request with which a token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The token alone.
    Bearer,
    /// The token with proofs of possession, which are checked afterwards.
    Prover,
}

impl Sender {
    fn check(self, registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
        match self {
            // RFC 9449 §7.2: a bound token with the Bearer scheme must be refused; RFC 8705 §3 requires
            // the same.
            Self::Bearer if registered.bound => Err(AuthErrorKind::SenderConstrained),
            // Bound in a way that nothing proves.
            Self::Prover if registered.bound && registered.confirmation.is_none() => {
                Err(AuthErrorKind::SenderConstrained)
            }
            Self::Bearer | Self::Prover => Ok(()),
        }
    }
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
        registered: &mut Registered<'_>,
        used: Use,
        sender: Sender,
        now: Date,
    ) -> Result<(), AuthError> {
        let answered = used.is_introspected();
        // RFC 7662 §2.2: every member of an answer but `active` is optional.
        if !answered || registered.facts.text(Field::Issuer).is_some() {
            self.check_issuer(registered)?;
        }
        self.check_times(registered, now)?;
        self.check_audience(registered)?;
        self.check_use(registered)?;
        // Profiles are about JWTs.
        if !answered {
            self.check_profile(registered)?;
        }
        self.check_client(registered)?;
        sender.check(registered)?;
        // A claim `conv` of another issuer is ignored, because its tokens have another type.
        if used == Use::Conversation {
            let conversation = registered.conversation.take();
            let conversation = conversation.ok_or(AuthErrorKind::MissingClaim("conv"))?;
            registered.facts.set(Field::Conversation, &conversation);
        }
        registered.facts.expires = registered.expires;
        registered.facts.issued = registered.issued;
        registered.facts.kind = kind(registered, self.dialect);
        Ok(())
    }

    // RFC 9068 §4, RFC 8414 §3.3: issuers are compared code point by code point.
    pub(super) fn check_issuer(&self, registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
        match registered.facts.text(Field::Issuer) {
            _ if self.issuers.is_empty() => Ok(()),
            Some(issuer) if self.issuers.iter().any(|ours| ours == issuer) => Ok(()),
            Some(_) => Err(AuthErrorKind::WrongIssuer),
            None => Err(AuthErrorKind::MissingClaim("iss")),
        }
    }

    fn check_times(&self, registered: &Registered<'_>, now: Date) -> Result<(), AuthErrorKind> {
        self.check_expires(registered, now)?;
        self.check_starts(registered, now)?;
        self.check_age(registered, now)
    }

    pub(super) fn check_expires(
        &self,
        registered: &Registered<'_>,
        now: Date,
    ) -> Result<(), AuthErrorKind> {
        match registered.expires {
            // RFC 7519 §4.1.4: the current time must be *before* the expiration time.
            Some(expires) if self.check_expiry && now >= expires.plus(self.leeway) => {
                Err(AuthErrorKind::Expired)
            }
            None if self.require_expiry => Err(AuthErrorKind::MissingClaim("exp")),
            _ => Ok(()),
        }
    }

    pub(super) fn check_starts(
        &self,
        registered: &Registered<'_>,
        now: Date,
    ) -> Result<(), AuthErrorKind> {
        // RFC 7519 §4.1.5: the current time must be after or equal to the not-before time.
        let latest = now.plus(self.leeway);
        match registered.not_before {
            Some(start) if self.check_not_before && start > latest => {
                Err(AuthErrorKind::NotYetValid)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_age(
        &self,
        registered: &Registered<'_>,
        now: Date,
    ) -> Result<(), AuthErrorKind> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let issued = registered
            .issued
            .ok_or(AuthErrorKind::MissingClaim("iat"))?;
        if issued > now.plus(self.leeway) {
            return Err(AuthErrorKind::NotYetValid);
        }
        if now >= issued.plus(max_age).plus(self.leeway) {
            return Err(AuthErrorKind::TooOld);
        }
        Ok(())
    }

    /// Returns `true` if a profile or a provider requires further claims.
    pub(super) fn has_profile(&self) -> bool {
        self.typ == Typ::Rfc9068 || (self.dialect == Dialect::Entra && !self.id_tokens)
    }

    pub(super) fn check_profile(&self, registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
        if self.typ == Typ::Rfc9068 {
            require_rfc9068(registered)?;
        }
        if self.dialect == Dialect::Entra && !self.id_tokens {
            require_client(registered)?;
        }
        Ok(())
    }

    /// Returns the time span in which [`check`](Self::check) accepts the token's times.
    pub(crate) fn window(&self, registered: &Registered<'_>) -> Window {
        let start = registered.not_before.filter(|_| self.check_not_before);
        let issued = registered.issued.filter(|_| self.max_age.is_some());
        let end = registered.expires.filter(|_| self.check_expiry);
        let too_old = self
            .max_age
            .and_then(|age| Some(registered.issued?.plus(age)));
        let earliest = match (end, too_old) {
            (Some(end), Some(too_old)) => Some(end.min(too_old)),
            (end, too_old) => end.or(too_old),
        };
        Window::new(
            start.max(issued).map(|start| start.minus(self.leeway)),
            earliest.map(|end| end.plus(self.leeway)),
        )
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

    /// Returns `true` if every accepted token names an expected audience.
    pub(super) fn requires_audience(&self) -> bool {
        !self.any_audience && !self.audiences.is_empty()
    }

    /// Returns `true` if tokens are accepted by their client and no audience is expected.
    fn by_client_alone(&self) -> bool {
        self.audiences.is_empty() && !self.clients.is_empty() && !self.any_audience
    }

    // RFC 7519 §4.1.3: a principal that `aud` does not name must reject the token.
    pub(super) fn check_audience(&self, registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
        match registered.audience {
            _ if self.any_audience => Ok(()),
            Audience::Expected => Ok(()),
            // Access tokens of Amazon Cognito have no `aud`.
            Audience::Missing if self.audiences.is_empty() => Ok(()),
            Audience::Missing => Err(AuthErrorKind::MissingClaim("aud")),
            Audience::Other => Err(AuthErrorKind::WrongAudience),
        }
    }

    /// RFC 8725 §3.12: a token for one use must not be accepted for another.
    pub(super) fn check_use(&self, registered: &mut Registered<'_>) -> Result<(), AuthError> {
        let Some(marks) = registered.marks.take() else {
            return Ok(());
        };
        // The audience of an ID token is its client, which is also accepted as the audience here.
        let ids_pass = self.id_tokens || self.any_use && !self.by_client_alone();
        let id_hash = marks.id_hash.filter(|_| !self.id_tokens);
        let other = marks.other_use.filter(|_| !self.any_use);
        let id = marks.id_use.filter(|_| !ids_pass);
        match marks.event.or(id_hash).or(other).or(id) {
            Some(mark) => Err(AuthError::caused_by(AuthErrorKind::WrongUse, mark)),
            None => Ok(()),
        }
    }

    pub(super) fn check_client(&self, registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
        match registered.facts.text(Field::ClientId) {
            _ if self.clients.is_empty() => Ok(()),
            Some(client) if self.clients.iter().any(|ours| ours == client) => Ok(()),
            Some(_) => Err(AuthErrorKind::WrongClient),
            None => Err(AuthErrorKind::MissingClaim("client_id")),
        }
    }
}

/// Requires the claims of RFC 9068 §2.2.
fn require_rfc9068(registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
    let missing = [
        ("iss", registered.facts.text(Field::Issuer).is_none()),
        ("exp", registered.expires.is_none()),
        ("aud", registered.audience == Audience::Missing),
        ("sub", registered.sub().is_none()),
        ("client_id", !registered.has_client_id()),
        ("iat", registered.issued.is_none()),
        ("jti", registered.facts.text(Field::TokenId).is_none()),
    ];
    match missing.into_iter().find(|(_, missing)| *missing) {
        Some((claim, _)) => Err(AuthErrorKind::MissingClaim(claim)),
        None => Ok(()),
    }
}

/// Requires a client. Entra writes `azp` into every access token of version 2.0 and into no ID
/// token. Both have the same audience if an API and its client share a registration.
fn require_client(registered: &Registered<'_>) -> Result<(), AuthErrorKind> {
    match registered.facts.text(Field::ClientId) {
        Some(_) => Ok(()),
        None => Err(AuthErrorKind::MissingClaim("azp")),
    }
}

/// Returns the kind of caller. RFC 9068 §2.2: `sub` identifies the client if no resource owner is
/// involved. Providers that give a client another subject mark its tokens in other claims.
fn kind(registered: &Registered<'_>, dialect: Dialect) -> PrincipalKind {
    let client = registered.facts.text(Field::ClientId);
    let for_itself = client.is_some_and(|client| {
        let subject = registered.facts.text(Field::Subject);
        // `sub` identifies the client, even if the subject is read from another claim.
        subject.is_none_or(|subject| subject == client) || registered.sub() == Some(client)
    });
    let in_dialect = match dialect {
        Dialect::Common => false,
        Dialect::Auth0 => {
            let own = registered
                .sub()
                .and_then(|sub| sub.strip_suffix("@clients"));
            own.is_some() && own == client
        }
        // Only tokens of users have delegated permissions.
        Dialect::Entra => !registered.scp,
        Dialect::Keycloak => registered.client_host,
        Dialect::Okta => false,
    };
    if registered.guest {
        PrincipalKind::Guest
    } else if registered.service || for_itself || in_dialect {
        PrincipalKind::Service
    } else {
        PrincipalKind::User
    }
}

/// Returns `true` if a `typ` belongs to another kind of token, which no verifier may expect.
pub(crate) fn is_never_access_token(typ: &str) -> bool {
    const OTHERS: [&str; 15] = [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "oauth-authz-req+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
        "dbsc+jwt",
        "wpt+jwt",
        "wit+jwt",
        "txntoken+jwt",
        "statuslist+jwt",
        "client-authentication+jwt",
        "id+jwt",
        "refresh+jwt",
        "entity-statement+jwt",
    ];
    let typ = media_type(typ);
    OTHERS.iter().any(|other| other.eq_ignore_ascii_case(typ))
}

/// RFC 9068 §2.1.
pub(crate) const ACCESS_TOKEN: &str = "at+jwt";
/// A `typ` specific to this crate, so that verifiers of access tokens in other software refuse
/// conversation tokens.
pub(crate) const CONVERSATION_TOKEN: &str = "conv+jwt";
