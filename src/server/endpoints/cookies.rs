//! Tokens in cookies, for browsers.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

use super::answer::{Answer, Refusal};
use crate::{
    error::ConfigError,
    layer::extract::{PARTS, cookies, origin_of, part},
    server::session::TokenPair,
};

/// The cookies of one site: their names, their paths, and the origin that sets them.
///
/// | cookie | over https | over plain http, only on a loopback address |
/// |---|---|---|
/// | access token | `__Host-at`; HttpOnly, SameSite=Lax, Path=/ | `at` |
/// | refresh token | `__Secure-rt`; HttpOnly, SameSite=Strict, Path of the endpoints | `rt` |
/// | CSRF proof | `__Host-csrf`; SameSite=Strict, Path=/, readable by pages | `csrf` |
/// | guest's device | `__Host-gst`; HttpOnly, SameSite=Strict, Path=/ | `gst` |
/// | browser between two steps | `__Host-mfa`; HttpOnly, SameSite=Strict, Path=/ | `mfa` |
/// | trusted device | `__Host-dvc`; HttpOnly, SameSite=Strict, Path=/ | `dvc` |
/// | remembered device | `__Host-rmd`; HttpOnly, SameSite=Strict, Path=/ | `rmd` |
/// | flow of a code from a mail | `__Host-flw`; HttpOnly, SameSite=Strict, Path=/ | `flw` |
/// | [flow](super::AuthEndpoints::begin_flow) of the application | `__Host-flw-<name>`; HttpOnly, SameSite=Lax, Path=/ | `flw-<name>` |
///
/// A [prefix](Self::prefix) comes between the browser's prefix and the name: `__Host-shop-at`.
///
/// Browsers drop a cookie of more than 4096 bytes. A larger access token is split into up to three
/// cookies: `__Host-at`, `__Host-at-2` and `__Host-at-3`. Every response that sets or deletes one of
/// them sets or deletes all of them. Three full parts exceed the header limit of many proxies, such as
/// the 8 KiB of nginx: raise `large_client_header_buffers` there. A token that does not fit into three
/// cookies is not set: the login fails with 500, and a log line names the size.
#[derive(Clone, Debug)]
pub struct CookieNames {
    origin: String,
    path: String,
    secure: bool,
    /// The names of the access token's parts.
    access: [String; PARTS],
    refresh: String,
    csrf: String,
    device: String,
    guest: String,
    step: String,
    flow: String,
    remembered: String,
}

/// An access token that does not fit into three cookies.
#[derive(Debug)]
pub(super) struct TooLarge {
    bytes: usize,
}

/// The kind of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
    Csrf,
    Device,
    /// The proof of the guest's device.
    Guest,
    /// The browser that asked for a second step.
    Step,
    /// The secret of the client that asked for a code.
    Flow,
    /// The device on which no second factor is needed.
    #[cfg_attr(
        not(feature = "totp"),
        allow(dead_code, reason = "only authenticators are remembered")
    )]
    Remembered,
    /// The flow of the application, with its name.
    AppFlow,
}

impl CookieNames {
    /// Creates the names for the site with this public origin, whose endpoints are mounted at this
    /// path.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the origin is not an origin (`https://app.example`), if it is plain
    /// http and not on a loopback address, or if the path is not absolute.
    pub fn new(origin: &str, path: &str) -> Result<Self, ConfigError> {
        let (origin, secure) = web_origin("the public URL", origin)?;
        let refused = |problem| Err(ConfigError::invalid("the path", problem));
        let plain = |byte: u8| byte.is_ascii_graphic() && !b";,?#\\\"".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(plain) {
            return refused("it must be absolute");
        }
        // RFC 6265bis §5.6: browsers ignore an attribute of more than 1024 bytes.
        if path.len() > 1024 {
            return refused("it is longer than 1024 bytes");
        }
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        Ok(Self {
            origin: origin.into(),
            path: path.to_owned(),
            secure,
            access: Default::default(),
            refresh: String::new(),
            csrf: String::new(),
            device: String::new(),
            guest: String::new(),
            step: String::new(),
            flow: String::new(),
            remembered: String::new(),
        }
        .named(""))
    }

    /// Sets the prefix of all names, so that two servers on one host keep their cookies apart. The
    /// prefix comes between the browser's prefix and the name: `__Host-shop-at`, and `shop-at` without
    /// TLS.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] unless the prefix is 1 to 32 letters, digits, `-`, `_` and `.`, and
    /// starts with a letter or a digit.
    pub fn prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let sound = prefix.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !sound || prefix.len() > 32 || !prefix.bytes().all(plain) {
            let problem =
                "1 to 32 letters, digits, `-`, `_` and `.` are needed, a letter or digit first";
            return Err(ConfigError::invalid("the cookie prefix", problem));
        }
        Ok(self.named(&format!("{prefix}-")))
    }

    fn named(self, prefix: &str) -> Self {
        let name = |browser: &str, name: &str| match self.secure {
            true => format!("{browser}{prefix}{name}"),
            false => format!("{prefix}{name}"),
        };
        let access = name("__Host-", "at");
        Self {
            access: std::array::from_fn(|at| part(&access, at + 1)),
            refresh: name("__Secure-", "rt"),
            csrf: name("__Host-", "csrf"),
            device: name("__Host-", "dvc"),
            guest: name("__Host-", "gst"),
            step: name("__Host-", "mfa"),
            flow: name("__Host-", "flw"),
            remembered: name("__Host-", "rmd"),
            ..self
        }
    }

    /// Returns the site's public origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns `true` if the cookies are sent only over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns the name of the access token's cookie, or of its first part, for
    /// [`Cookie`](crate::layer::extract::Cookie).
    #[must_use]
    pub fn access(&self) -> &str {
        let [first, ..] = &self.access;
        first
    }

    pub(super) fn name(&self, kind: Kind) -> &str {
        match kind {
            Kind::Access => self.access(),
            Kind::Refresh => &self.refresh,
            Kind::Csrf => &self.csrf,
            Kind::Device => &self.device,
            Kind::Guest => &self.guest,
            Kind::Step => &self.step,
            Kind::Flow | Kind::AppFlow => &self.flow,
            Kind::Remembered => &self.remembered,
        }
    }

    /// Returns the value of a cookie, or an error if two cookies have the name, because one of them is
    /// planted.
    pub(super) fn value(&self, headers: &HeaderMap, kind: Kind) -> Result<Option<String>, Refusal> {
        one(self.values(headers, kind))
    }

    /// Returns all non-empty values of a cookie. If there are several, at most one of them was set by
    /// this server.
    pub(super) fn values<'a>(
        &'a self,
        headers: &'a HeaderMap,
        kind: Kind,
    ) -> impl Iterator<Item = String> + 'a {
        named(headers, self.name(kind))
    }

    /// Returns the `Set-Cookie` value of a flow of the application. The redirect of another site sends the
    /// cookie.
    pub(super) fn flow(&self, name: &str, value: &str, max_age: Duration) -> Option<HeaderValue> {
        let name = format!("{}-{name}", self.flow);
        HeaderValue::try_from(self.line(Kind::AppFlow, &name, value, max_age)).ok()
    }

    /// Returns the value of the cookie of a flow of the application.
    pub(super) fn flow_value(
        &self,
        headers: &HeaderMap,
        name: &str,
    ) -> Result<Option<String>, Refusal> {
        let name = format!("{}-{name}", self.flow);
        one(named(headers, &name))
    }

    /// Sets the cookies of a session, or none of them if the access token is too large.
    pub(super) fn set_session(
        &self,
        answer: &mut Answer,
        tokens: &TokenPair,
        proof: &str,
    ) -> Result<(), TooLarge> {
        self.set_access(answer, tokens.access_token().expose(), tokens.expires_in())?;
        self.set_refresh(answer, tokens);
        self.set(answer, Kind::Csrf, proof, tokens.refresh_expires_in());
        Ok(())
    }

    pub(super) fn set_refresh(&self, answer: &mut Answer, tokens: &TokenPair) {
        // If an older refresh token were stored last, it would be a spent one: see
        // `is_new_refresh_token`.
        if tokens.is_new_refresh_token() {
            let refresh = tokens.refresh_token().expose();
            self.set(answer, Kind::Refresh, refresh, tokens.refresh_expires_in());
        }
    }

    /// Deletes the cookies of the session. The device stays trusted.
    pub(super) fn clear_session(&self, answer: &mut Answer) {
        for name in &self.access {
            self.add(answer, Kind::Access, name, "", Duration::ZERO);
        }
        for kind in [Kind::Refresh, Kind::Csrf] {
            self.set(answer, kind, "", Duration::ZERO);
        }
    }

    /// Sets every part of the access token, and deletes the parts that it does not need.
    fn set_access(
        &self,
        answer: &mut Answer,
        token: &str,
        max_age: Duration,
    ) -> Result<(), TooLarge> {
        let (mut rest, mut parts) = (token, Vec::new());
        for name in &self.access {
            let around = self.line(Kind::Access, name, "", max_age).len();
            // Tokens are ASCII.
            let room = MAX_COOKIE.saturating_sub(around).min(rest.len());
            let (value, after) = rest.split_at_checked(room).unwrap_or_default();
            parts.push((name, value));
            rest = after;
        }
        if !rest.is_empty() {
            return Err(TooLarge { bytes: token.len() });
        }
        for (name, value) in parts {
            let max_age = match value {
                "" => Duration::ZERO,
                _ => max_age,
            };
            self.add(answer, Kind::Access, name, value, max_age);
        }
        Ok(())
    }

    pub(super) fn set(&self, answer: &mut Answer, kind: Kind, value: &str, max_age: Duration) {
        self.add(answer, kind, self.name(kind), value, max_age);
    }

    fn add(&self, answer: &mut Answer, kind: Kind, name: &str, value: &str, max_age: Duration) {
        let line = self.line(kind, name, value, max_age);
        // Tokens and proofs consist of characters that are valid in a header.
        if let Ok(value) = HeaderValue::try_from(line) {
            answer.headers_mut().append(SET_COOKIE, value);
        }
    }

    fn line(&self, kind: Kind, name: &str, value: &str, max_age: Duration) -> String {
        let (http_only, same_site, path) = match kind {
            Kind::Access | Kind::AppFlow => (true, SameSite::Lax, "/"),
            Kind::Refresh => (true, SameSite::Strict, &*self.path),
            Kind::Csrf => (false, SameSite::Strict, "/"),
            Kind::Device | Kind::Guest | Kind::Step | Kind::Flow | Kind::Remembered => {
                (true, SameSite::Strict, "/")
            }
        };
        let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        let cookie = Cookie::build((name, value))
            .path(path)
            .http_only(http_only)
            .secure(self.secure)
            .same_site(same_site)
            .max_age(time::Duration::seconds(seconds));
        cookie.to_string()
    }
}

fn named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let values = cookies(headers, name).filter(|value| !value.is_empty());
    // Cookies of this server are ASCII. A value that is not stays foreign after the conversion.
    values.map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Returns the only value, or an error if there are two, because one of them is planted.
fn one(mut values: impl Iterator<Item = String>) -> Result<Option<String>, Refusal> {
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Refusal::planted()),
        (value, None) => Ok(value),
    }
}

impl TooLarge {
    pub(super) fn log(&self) {
        #[cfg(feature = "tracing")]
        tracing::error!(
            bytes = self.bytes,
            "an access token of {} bytes does not fit into three cookies of 4096 bytes: give it fewer \
             claims, or use tokens in bodies",
            self.bytes
        );
        #[cfg(not(feature = "tracing"))]
        let _ = self.bytes;
    }
}

/// Normalizes a web origin to the form that browsers write. Also returns `true` if it is reached over
/// TLS.
fn web_origin(name: &'static str, text: &str) -> Result<(Box<str>, bool), ConfigError> {
    let origin = origin_of(name, text)?;
    let host = origin.parse::<http::Uri>();
    let loopback = host.is_ok_and(|uri| uri.host().is_some_and(is_loopback));
    match origin.split_once("://") {
        Some(("https", _)) => Ok((origin, true)),
        Some(("http", _)) if loopback => Ok((origin, false)),
        _ => {
            let problem = "https is needed, except on a loopback address";
            Err(ConfigError::invalid(name, problem))
        }
    }
}

/// Normalizes a trusted origin to the form that browsers write: a web origin, or one of an app or an
/// extension, such as `capacitor://localhost`.
pub(crate) fn trusted(text: &str) -> Result<Box<str>, ConfigError> {
    const NAME: &str = "a trusted origin";
    let origin = origin_of(NAME, text)?;
    match origin.split_once("://") {
        Some(("http" | "https", _)) => web_origin(NAME, text).map(|(origin, _)| origin),
        // Any site's pages can have these schemes.
        Some(("file" | "data" | "blob" | "about" | "javascript" | "ws" | "wss", _)) => Err(
            ConfigError::invalid(NAME, "its scheme is not that of a web page or an app"),
        ),
        _ => Ok(origin),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    // RFC 6761 §6.3
    let local = bare == "localhost" || bare.ends_with(".localhost");
    local || address.is_ok_and(|address| address.is_loopback())
}

/// The size that browsers support at least for a cookie, including its attributes (RFC 6265 §6.1).
const MAX_COOKIE: usize = 4096;
