//! The requirements for a token.

use std::{ops::RangeInclusive, time::Duration};

use super::vars::{Vars, refuse};
use crate::{
    error::ConfigError,
    verify::{RoleForm, VerifierBuilder, media_type},
};

#[derive(Clone, Debug)]
pub(super) struct Policy {
    issuers: Vec<String>,
    by_issuer: bool,
    audiences: Vec<String>,
    /// `true` if the audience is the resource, because no other one is set.
    is_for_resource: bool,
    clients: Vec<String>,
    any_audience: bool,
    id_tokens: bool,
    max_bytes: Option<usize>,
    cache: Option<usize>,
    leeway: Option<Duration>,
    typ: Typ,
    roles: Vec<(String, RoleForm)>,
    scopes: Vec<String>,
    subject: Option<String>,
    client_claims: Vec<String>,
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
    /// Reads the variables. The audience defaults to the identifier of the resource.
    pub(super) fn read(vars: &mut Vars, resource: Option<&str>) -> Result<Self, ConfigError> {
        for (name, why) in ALWAYS {
            if vars.switch(name)? == Some(false) {
                return Err(refuse(name, format!("only true is accepted: {why}")));
            }
        }
        let cache = vars.number("JWT_CACHE_ENTRIES", 0..=MAX_CACHE)?;
        let leeway = vars.number("JWT_LEEWAY_SECONDS", 0..=MAX_LEEWAY)?;
        let max_bytes = vars.number("JWT_MAX_TOKEN_BYTES", TOKEN_BYTES)?;
        let roles = vars.list(ROLES_CLAIM)?.unwrap_or_default();
        let roles = roles.iter().map(|entry| role_place(entry));
        let mut policy = Self {
            issuers: vars.list(ISSUER)?.unwrap_or_default(),
            by_issuer: vars.switch(VERIFY_ISS)? == Some(false),
            audiences: vars.list(AUDIENCE)?.unwrap_or_default(),
            is_for_resource: false,
            clients: vars.list("JWT_CLIENT_ID")?.unwrap_or_default(),
            any_audience: vars.switch(VERIFY_AUD)? == Some(false),
            id_tokens: vars.switch(ACCEPT_ID_TOKENS)?.unwrap_or(false),
            max_bytes: max_bytes.and_then(|bytes| usize::try_from(bytes).ok()),
            cache: cache.and_then(|entries| usize::try_from(entries).ok()),
            leeway: leeway.map(|seconds| Duration::from_secs(seconds.into())),
            typ: vars.text(REQUIRED_TYP)?.map_or(Typ::Usual, Typ::from),
            roles: roles.collect::<Result<_, _>>()?,
            scopes: vars.list(SCOPE_CLAIM)?.unwrap_or_default(),
            subject: vars.text(SUBJECT_CLAIM)?,
            client_claims: vars.list(CLIENT_ID_CLAIM)?.unwrap_or_default(),
            check_expiry: vars.switch(VERIFY_EXP)?.unwrap_or(true),
            require_expiry: vars.switch(REQUIRE_EXP)?.unwrap_or(true),
            check_not_before: vars.switch("JWT_VERIFY_NBF")?.unwrap_or(true),
        };
        policy.checks_id_tokens()?;
        if policy.audiences.is_empty() && !policy.any_audience {
            policy.audiences.extend(resource.map(str::to_owned));
            policy.is_for_resource = resource.is_some();
        }
        policy.agrees_with_itself().map(|()| policy)
    }

    pub(super) fn issuers(&self) -> &[String] {
        &self.issuers
    }

    /// Returns `true` if the subject is read from another claim than `sub`.
    pub(super) fn chooses_subject(&self) -> bool {
        self.subject.as_deref().is_some_and(|claim| claim != "sub")
    }

    /// Returns the single client, otherwise the single audience. The resource is not a client.
    pub(super) fn only_client(&self) -> Option<String> {
        let names = match self.clients.is_empty() {
            true => &self.audiences,
            false => &self.clients,
        };
        match &names[..] {
            [one] if !self.clients.is_empty() || !self.is_for_resource => Some(one.clone()),
            _ => None,
        }
    }

    /// Returns `true` if no setting restricts the issuer.
    pub(super) fn leaves_issuer_open(&self) -> bool {
        self.issuers.is_empty() && !self.by_issuer
    }

    /// Returns `true` if no setting restricts the audience or the client.
    pub(super) fn leaves_audience_open(&self) -> bool {
        self.audiences.is_empty() && self.clients.is_empty() && !self.any_audience
    }

    pub(super) fn apply<C: 'static>(&self, builder: VerifierBuilder<C>) -> VerifierBuilder<C> {
        let mut builder = builder;
        if !self.clients.is_empty() {
            builder = builder.client_ids(&self.clients);
        }
        for issuer in &self.issuers {
            builder = builder.issuer(issuer);
        }
        for audience in &self.audiences {
            builder = builder.audience(audience);
        }
        for (path, form) in &self.roles {
            builder = builder.roles_at_as(path, form.clone());
        }
        for path in &self.scopes {
            builder = builder.scope_at(path);
        }
        if let Some(claim) = &self.subject {
            builder = builder.subject_claim(claim);
        }
        for claim in &self.client_claims {
            builder = builder.client_id_claim(claim);
        }
        if let Some(bytes) = self.max_bytes {
            builder = builder.max_token_bytes(bytes);
        }
        if let Some(tokens) = self.cache {
            builder = builder.cache_capacity(tokens);
        }
        if let Some(leeway) = self.leeway {
            builder = builder.leeway(leeway);
        }
        builder = match &self.typ {
            Typ::Usual => builder,
            Typ::Exactly(typ) => builder.required_typ(typ),
            Typ::Rfc9068 => builder.rfc9068(),
        };
        if self.by_issuer {
            builder = builder.dangerous_any_issuer();
        }
        if self.any_audience {
            builder = builder.dangerous_any_audience();
        }
        if self.id_tokens {
            builder = builder.dangerous_accept_id_tokens();
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

    fn checks_id_tokens(&self) -> Result<(), ConfigError> {
        match self.id_tokens && self.audiences.is_empty() {
            true => Err(refuse(
                ACCEPT_ID_TOKENS,
                "JWT_AUDIENCE must name the client that the ID tokens are for",
            )),
            false => Ok(()),
        }
    }

    fn agrees_with_itself(&self) -> Result<(), ConfigError> {
        if self.by_issuer && !self.issuers.is_empty() {
            return Err(refuse(
                &format!("{ISSUER}, {VERIFY_ISS}"),
                "an issuer is set, but issuers are not checked; remove one of the two",
            ));
        }
        if self.any_audience && !self.audiences.is_empty() {
            return Err(refuse(
                &format!("{AUDIENCE}, {VERIFY_AUD}"),
                "an audience is set, but audiences are not checked; remove one of the two",
            ));
        }
        if self.typ != Typ::Rfc9068 {
            return Ok(());
        }
        // RFC 9068 §4: issuer, audience and expiry are always checked.
        let broken = [
            (self.issuers.is_empty(), ISSUER, "must name the issuer"),
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

/// Parses a place of roles: a claim's name or a JSON Pointer, optionally with a form after a `|`.
fn role_place(entry: &str) -> Result<(String, RoleForm), ConfigError> {
    let Some((path, form)) = entry.split_once('|') else {
        return Ok((entry.to_owned(), RoleForm::Strings));
    };
    // White space is ignored: a claim `roles ` would never match, so that no role would be read.
    let (path, form) = (path.trim_end(), form.trim_start());
    let (kind, detail) = match form.split_once(':') {
        Some((kind, detail)) => (kind.trim_end(), Some(detail.trim_start())),
        None => (form, None),
    };
    let form = match (kind, detail) {
        ("names", None) => RoleForm::MemberNames,
        ("member", Some(member)) => RoleForm::Member(member.to_owned()),
        ("split", Some("space")) => RoleForm::Separated(" ".to_owned()),
        ("split", Some("comma")) => RoleForm::Separated(",".to_owned()),
        ("split", Some(separator)) => RoleForm::Separated(separator.to_owned()),
        _ => {
            let form = form.escape_debug();
            let problem = format!(
                "`{form}` is not a form of roles; write names, member:NAME or split:SEPARATOR after the `|`"
            );
            return Err(refuse(ROLES_CLAIM, problem));
        }
    };
    Ok((path.to_owned(), form))
}

/// Returns the variable of an option of the verifier's builder.
pub(super) fn variable(option: &str) -> Option<&'static str> {
    match option {
        "roles_at" => Some(ROLES_CLAIM),
        "scope_at" => Some(SCOPE_CLAIM),
        "subject_claim" => Some(SUBJECT_CLAIM),
        "client_id_claim" => Some(CLIENT_ID_CLAIM),
        "required_typ" => Some(REQUIRED_TYP),
        "jwks" => Some("JWT_JWKS_URL"),
        "introspection" => Some("JWT_INTROSPECTION_URL"),
        "issuer" => Some(ISSUER),
        "root_certificate" => Some("JWT_JWKS_CA_FILE"),
        _ => None,
    }
}

const ISSUER: &str = "JWT_ISSUER";
const VERIFY_ISS: &str = "JWT_VERIFY_ISS";
const AUDIENCE: &str = "JWT_AUDIENCE";
const VERIFY_AUD: &str = "JWT_VERIFY_AUD";
const REQUIRED_TYP: &str = "JWT_REQUIRED_TYP";
const ACCEPT_ID_TOKENS: &str = "JWT_ACCEPT_ID_TOKENS";
const ROLES_CLAIM: &str = "JWT_ROLES_CLAIM";
const SCOPE_CLAIM: &str = "JWT_SCOPE_CLAIM";
const SUBJECT_CLAIM: &str = "JWT_SUBJECT_CLAIM";
const CLIENT_ID_CLAIM: &str = "JWT_CLIENT_ID_CLAIM";
const VERIFY_EXP: &str = "JWT_VERIFY_EXP";
const REQUIRE_EXP: &str = "JWT_REQUIRE_EXP";

/// RFC 7519 §4.1.4: "usually no more than a few minutes".
const MAX_LEEWAY: u32 = 300;

/// Servers accept headers of 8 KiB to 1 MiB.
const TOKEN_BYTES: RangeInclusive<u32> = 1024..=1024 * 1024;

/// About 3 GB of tokens: a larger number is probably a typing error.
const MAX_CACHE: u32 = 1_000_000;

const ALWAYS: [(&str, &str); 2] = [
    (
        "JWT_VERIFY_SIGNATURE",
        "without this check anyone can forge a token",
    ),
    ("JWT_VERIFY_IAT", "the type of `iat` is always checked"),
];
