//! Tokens in cookies, for browsers.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

use super::answer::{Answer, Refusal};
use crate::{error::ConfigError, extract::cookies, session::TokenPair};

/// The cookies of one site: their names, where they go, whether over TLS alone.
///
/// | cookie | over https | over plain http, on a loopback address alone |
/// |---|---|---|
/// | access token | `__Host-at`; HttpOnly, SameSite=Lax, Path=/ | `at` |
/// | refresh token | `__Secure-rt`; HttpOnly, SameSite=Strict, Path of the endpoints | `rt` |
/// | CSRF proof | `__Host-csrf`; SameSite=Strict, Path=/, readable by pages | `csrf` |
/// | guest's device | `__Host-gst`; HttpOnly, SameSite=Strict, Path=/ | `gst` |
/// | trusted device | `__Host-dvc`; HttpOnly, SameSite=Strict, Path=/ | `dvc` |
#[derive(Clone, Debug)]
pub struct CookieNames {
    origin: String,
    path: String,
    secure: bool,
}

/// Which of the cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
    Csrf,
    Device,
    /// What the guest's device proves itself with.
    Guest,
}

impl CookieNames {
    /// The cookies of the site with this public origin, whose endpoints are mounted at this path.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: not an origin (`https://app.example`), plain http elsewhere than
    /// on a loopback address, or not an absolute path.
    pub fn new(origin: &str, path: &str) -> Result<Self, ConfigError> {
        let refused = |problem| Err(ConfigError::invalid("the public URL", problem));
        let origin = origin.trim_end_matches('/');
        let Ok(uri) = origin.parse::<http::Uri>() else {
            return refused("not a URL");
        };
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return refused("a scheme and a host are needed");
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return refused("no path may follow the host");
        }
        let secure = match scheme {
            "https" => true,
            "http" if is_loopback(host) => false,
            _ => return refused("https is needed, except on a loopback address"),
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b";,?#\\\"".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(plain) {
            return Err(ConfigError::invalid("the path", "it must be absolute"));
        }
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        Ok(Self {
            origin: origin.to_ascii_lowercase(),
            path: path.to_owned(),
            secure,
        })
    }

    /// The site's public origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether the cookies go over TLS alone.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name of the access token's cookie, for [`extract::Cookie`](crate::extract::Cookie).
    #[must_use]
    pub fn access(&self) -> &'static str {
        self.name(Kind::Access)
    }

    pub(super) fn name(&self, kind: Kind) -> &'static str {
        match (kind, self.secure) {
            (Kind::Access, true) => "__Host-at",
            (Kind::Access, false) => "at",
            (Kind::Refresh, true) => "__Secure-rt",
            (Kind::Refresh, false) => "rt",
            (Kind::Csrf, true) => "__Host-csrf",
            (Kind::Csrf, false) => "csrf",
            (Kind::Device, true) => "__Host-dvc",
            (Kind::Device, false) => "dvc",
            (Kind::Guest, true) => "__Host-gst",
            (Kind::Guest, false) => "gst",
        }
    }

    /// The value of a cookie; an error where there are two of the name, because one is planted.
    pub(super) fn value(&self, headers: &HeaderMap, kind: Kind) -> Result<Option<String>, Refusal> {
        let mut values = self.values(headers, kind);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Refusal::planted()),
            (value, None) => Ok(value),
        }
    }

    /// The values of a cookie, of which all but one are planted. Empty ones are none.
    pub(super) fn values(&self, headers: &HeaderMap, kind: Kind) -> impl Iterator<Item = String> {
        let values = cookies(headers, self.name(kind)).filter(|value| !value.is_empty());
        // What is not of ASCII is nothing of ours, and is no more so with other characters in it.
        values.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Sets the cookies of a session.
    pub(super) fn set_session(&self, answer: &mut Answer, tokens: &TokenPair, proof: &str) {
        let access = tokens.access_token().expose();
        self.set(answer, Kind::Access, access, tokens.expires_in());
        // An old one that is stored last would be a spent one: see `is_new_refresh_token`.
        if tokens.is_new_refresh_token() {
            let refresh = tokens.refresh_token().expose();
            self.set(answer, Kind::Refresh, refresh, tokens.refresh_expires_in());
        }
        self.set(answer, Kind::Csrf, proof, tokens.refresh_expires_in());
    }

    /// Makes the browser forget the session. The device stays a trusted one.
    pub(super) fn clear_session(&self, answer: &mut Answer) {
        for kind in [Kind::Access, Kind::Refresh, Kind::Csrf] {
            self.set(answer, kind, "", Duration::ZERO);
        }
    }

    pub(super) fn set(&self, answer: &mut Answer, kind: Kind, value: &str, max_age: Duration) {
        let (http_only, same_site, path) = match kind {
            Kind::Access => (true, SameSite::Lax, "/"),
            Kind::Refresh => (true, SameSite::Strict, &*self.path),
            Kind::Csrf => (false, SameSite::Strict, "/"),
            Kind::Device | Kind::Guest => (true, SameSite::Strict, "/"),
        };
        let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        let cookie = Cookie::build((self.name(kind), value))
            .path(path)
            .http_only(http_only)
            .secure(self.secure)
            .same_site(same_site)
            .max_age(time::Duration::seconds(seconds));
        // Tokens and proofs are of characters that may stand in a header.
        if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
            answer.headers_mut().append(SET_COOKIE, value);
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
