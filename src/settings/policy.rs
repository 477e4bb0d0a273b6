//! What is expected of a token.

use std::time::Duration;

use super::vars::{Vars, refuse};
use crate::{
    error::ConfigError,
    verify::{VerifierBuilder, media_type},
};

#[derive(Clone, Debug)]
pub(super) struct Policy {
    issuer: Option<String>,
    audiences: Vec<String>,
    clients: Vec<String>,
    any_audience: bool,
    cache: Option<usize>,
    leeway: Option<Duration>,
    typ: Typ,
    roles: Vec<String>,
    check_expiry: bool,
    require_expiry: bool,
    check_not_before: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Typ {
    Usual,
    Exactly(String),
    Rfc9068,
}

impl Policy {
    pub(super) fn read(vars: &mut Vars) -> Result<Self, ConfigError> {
        for (name, why) in ALWAYS {
            if vars.switch(name)? == Some(false) {
                return Err(refuse(name, format!("only true is accepted: {why}")));
            }
        }
        let cache = vars.number("JWT_CACHE_ENTRIES", 0..=MAX_CACHE)?;
        let leeway = vars.number("JWT_LEEWAY_SECONDS", 0..=MAX_LEEWAY)?;
        let policy = Self {
            issuer: vars.text(ISSUER)?,
            audiences: vars.list(AUDIENCE)?.unwrap_or_default(),
            clients: vars.list("JWT_CLIENT_ID")?.unwrap_or_default(),
            any_audience: vars.switch(VERIFY_AUD)? == Some(false),
            cache: cache.and_then(|entries| usize::try_from(entries).ok()),
            leeway: leeway.map(|seconds| Duration::from_secs(seconds.into())),
            typ: vars.text(REQUIRED_TYP)?.map_or(Typ::Usual, Typ::from),
            roles: vars.list(ROLES_CLAIM)?.unwrap_or_default(),
            check_expiry: vars.switch(VERIFY_EXP)?.unwrap_or(true),
            require_expiry: vars.switch(REQUIRE_EXP)?.unwrap_or(true),
            check_not_before: vars.switch("JWT_VERIFY_NBF")?.unwrap_or(true),
        };
        policy.agrees_with_itself().map(|()| policy)
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(super) fn apply<C: 'static>(&self, builder: VerifierBuilder<C>) -> VerifierBuilder<C> {
        let mut builder = builder;
        if !self.clients.is_empty() {
            builder = builder.client_ids(&self.clients);
        }
        if let Some(issuer) = &self.issuer {
            builder = builder.issuer(issuer);
        }
        for audience in &self.audiences {
            builder = builder.audience(audience);
        }
        for path in &self.roles {
            builder = builder.roles_at(path);
        }
        if let Some(tokens) = self.cache {
            builder = builder.cache(tokens);
        }
        if let Some(leeway) = self.leeway {
            builder = builder.leeway(leeway);
        }
        builder = match &self.typ {
            Typ::Usual => builder,
            Typ::Exactly(typ) => builder.required_typ(typ),
            Typ::Rfc9068 => builder.rfc9068(),
        };
        if self.any_audience {
            builder = builder.dangerous_any_audience();
        }
        if !self.check_expiry {
            builder = builder.dangerous_ignore_expiry();
        }
        if !self.require_expiry {
            builder = builder.dangerous_optional_expiry();
        }
        if !self.check_not_before {
            builder = builder.dangerous_ignore_not_before();
        }
        builder
    }

    fn agrees_with_itself(&self) -> Result<(), ConfigError> {
        // A list would never match, since an issuer is compared as a whole.
        if self.issuer.as_deref().is_some_and(|one| one.contains(',')) {
            return Err(refuse(ISSUER, "one issuer is expected, not a list"));
        }
        if self.any_audience && !self.audiences.is_empty() {
            return Err(refuse(
                &format!("{AUDIENCE}, {VERIFY_AUD}"),
                "an audience is named, and not to be checked; drop one of the two",
            ));
        }
        if self.typ != Typ::Rfc9068 {
            return Ok(());
        }
        // RFC 9068 §4: issuer, audience and expiry are always checked.
        let broken = [
            (self.issuer.is_none(), ISSUER, "must name the issuer"),
            (self.any_audience, VERIFY_AUD, "must not be false"),
            (self.audiences.is_empty(), AUDIENCE, "must name an audience"),
            (!self.check_expiry, VERIFY_EXP, "must not be false"),
            (!self.require_expiry, REQUIRE_EXP, "must not be false"),
        ];
        match broken.iter().find(|(broken, ..)| *broken) {
            Some((_, other, demand)) => Err(refuse(
                REQUIRED_TYP,
                format!("with `at+jwt`, {other} {demand} (RFC 9068 §4)"),
            )),
            None => Ok(()),
        }
    }
}

impl From<String> for Typ {
    fn from(typ: String) -> Self {
        if media_type(&typ).eq_ignore_ascii_case("at+jwt") {
            Self::Rfc9068
        } else {
            Self::Exactly(typ)
        }
    }
}

/// The variable behind an option of the verifier's builder.
pub(super) fn variable(option: &str) -> Option<&'static str> {
    match option {
        "roles_at" => Some(ROLES_CLAIM),
        "required_typ" => Some(REQUIRED_TYP),
        "jwks" => Some("JWT_JWKS_URL"),
        "issuer" => Some(ISSUER),
        "root_certificate" => Some("JWT_JWKS_CA_FILE"),
        _ => None,
    }
}

const ISSUER: &str = "JWT_ISSUER";
const AUDIENCE: &str = "JWT_AUDIENCE";
const VERIFY_AUD: &str = "JWT_VERIFY_AUD";
const REQUIRED_TYP: &str = "JWT_REQUIRED_TYP";
const ROLES_CLAIM: &str = "JWT_ROLES_CLAIM";
const VERIFY_EXP: &str = "JWT_VERIFY_EXP";
const REQUIRE_EXP: &str = "JWT_REQUIRE_EXP";

/// RFC 7519 §4.1.4 speaks of "no more than a few minutes".
const MAX_LEEWAY: u32 = 300;

/// Some 3 GB of tokens: more is a slip of the keyboard.
const MAX_CACHE: u32 = 1_000_000;

const ALWAYS: [(&str, &str); 2] = [
    (
        "JWT_VERIFY_SIGNATURE",
        "anybody can write a token that nobody checks",
    ),
    ("JWT_VERIFY_IAT", "the type of `iat` is always checked"),
];
