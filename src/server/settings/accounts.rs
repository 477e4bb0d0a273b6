//! The settings for passwords and mails.

use std::{fs, path::Path, time::Duration};

use crate::{
    error::ConfigError,
    secret::Secret,
    server::login::{EmailAddress, EmailClaims, PasswordPolicy},
    settings::vars::{Vars, refuse},
};

/// Reads the rules for new passwords; `None` if there are no settings for them.
pub(super) fn read_policy(vars: &mut Vars) -> Result<Option<PasswordPolicy>, ConfigError> {
    let min = vars.number(MIN_CHARS, 8..=64)?;
    let list = vars.text(COMMON)?;
    if min.is_none() && list.is_none() {
        return Ok(None);
    }
    let mut policy = PasswordPolicy::new();
    if let Some(min) = min {
        policy = policy.min_chars(min as usize)?;
    }
    if let Some(path) = list {
        let read = fs::read(Path::new(&path));
        let bytes = read.map_err(|error| refuse(COMMON, error.to_string()))?;
        // Lists of leaked passwords contain lines in other encodings.
        let lines = bytes.split(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| std::str::from_utf8(line).ok());
        policy = policy.common_passwords(lines);
    }
    Ok(Some(policy))
}

/// The mail server, for the mailer of the application.
#[derive(Clone)]
pub(super) struct Smtp {
    pub(super) url: Secret<String>,
    pub(super) from: EmailAddress,
}

pub(super) fn read_smtp(vars: &mut Vars) -> Result<Option<Smtp>, ConfigError> {
    let (url, from) = (vars.secret(SMTP)?, vars.text(FROM)?);
    let (url, from) = match (url, from) {
        (None, None) => return Ok(None),
        (Some(url), Some(from)) => (url, from),
        (Some(_), None) => return Err(refuse(FROM, "is required with AUTH_SMTP_URL")),
        (None, Some(_)) => return Err(refuse(SMTP, "is required with AUTH_MAIL_FROM")),
    };
    if !["smtp://", "smtps://"]
        .iter()
        .any(|scheme| url.expose().starts_with(scheme))
    {
        return Err(refuse(SMTP, "must begin with smtp:// or smtps://"));
    }
    let from = EmailAddress::new(&from);
    let from = from.map_err(|_| refuse(FROM, "must be an address, without a name"))?;
    Ok(Some(Smtp { url, from }))
}

/// The settings of addresses and devices.
#[derive(Clone, Copy)]
pub(super) struct Accounts {
    pub(super) requires_verified: bool,
    pub(super) email_claims: EmailClaims,
    pub(super) remember: Option<Duration>,
}

pub(super) fn read_accounts(vars: &mut Vars) -> Result<Accounts, ConfigError> {
    let claims = vars.text(CLAIMS)?;
    let day = Duration::from_secs(24 * 60 * 60);
    Ok(Accounts {
        requires_verified: vars.switch(VERIFIED)?.unwrap_or(false),
        email_claims: match claims.as_deref() {
            None | Some("none") => EmailClaims::None,
            Some("verified") => EmailClaims::Verified,
            Some("address") => EmailClaims::Address,
            Some(_) => return Err(refuse(CLAIMS, "must be none, verified or address")),
        },
        remember: vars.number(REMEMBER, 1..=90)?.map(|days| day * days),
    })
}

const VERIFIED: &str = "AUTH_REQUIRE_VERIFIED_EMAIL";
const CLAIMS: &str = "AUTH_EMAIL_CLAIMS";
const REMEMBER: &str = "AUTH_REMEMBER_DEVICE_DAYS";
const MIN_CHARS: &str = "AUTH_PASSWORD_MIN_CHARS";
const COMMON: &str = "AUTH_COMMON_PASSWORDS_FILE";
const SMTP: &str = "AUTH_SMTP_URL";
const FROM: &str = "AUTH_MAIL_FROM";
