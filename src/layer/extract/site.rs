//! Determines from the browser's headers if a request comes from this site.

use http::{
    HeaderMap, HeaderName,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use crate::{
    error::{AuthError, AuthErrorKind, ConfigError, shown},
    layer::extract::RequestHead,
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose requests count as requests of this site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    public: Option<Box<str>>,
    trusted: Vec<Box<str>>,
}

/// The origin class of a request, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// This site, a trusted site, or the user (a typed address, a bookmark).
    Own,
    /// Another site.
    Foreign,
    /// Unknown, because neither header is present: an old browser, or no browser.
    Unknown,
}

impl Site {
    pub(crate) fn public(&mut self, origin: Box<str>) {
        self.public = Some(origin);
    }

    pub(crate) fn trust(&mut self, origin: Box<str>) {
        self.trusted.push(origin);
    }

    /// Reads `Sec-Fetch-Site`, or `Origin` if `Sec-Fetch-Site` is absent.
    pub(crate) fn sender(&self, head: RequestHead<'_>) -> Sender {
        let (site, origin) = (
            only(head.headers(), &SEC_FETCH_SITE),
            only(head.headers(), &ORIGIN),
        );
        let own = match (site, origin) {
            (Field::Absent, Field::Absent) => return Sender::Unknown,
            (Field::One(b"same-origin" | b"none"), _) => true,
            // `same-site` is foreign too: a sibling domain may belong to an attacker.
            (Field::One(_), Field::One(origin)) => self.trusts(origin),
            (Field::Absent, Field::One(origin)) => {
                self.trusts(origin) || self.is_public(origin, head)
            }
            _ => false,
        };
        if own { Sender::Own } else { Sender::Foreign }
    }

    fn trusts(&self, origin: &[u8]) -> bool {
        // Any site's sandboxed page sends `null`.
        origin != b"null" && self.trusted.iter().any(|own| own.as_bytes() == origin)
    }

    fn is_public(&self, origin: &[u8], head: RequestHead<'_>) -> bool {
        match &self.public {
            Some(public) => origin != b"null" && public.as_bytes() == origin,
            None => authority_of(origin).is_some_and(|host| Some(host) == requested_host(head)),
        }
    }
}

/// Returns the refusal of a request from another site. The cause names its origin, for the log.
pub(crate) fn cross_site(head: RequestHead<'_>) -> AuthError {
    let value = |name: &HeaderName| match only(head.headers(), name) {
        Field::Absent => "no header".to_owned(),
        Field::One(value) => format!("`{}`", shown(&String::from_utf8_lossy(value))),
        Field::Several => "several headers".to_owned(),
    };
    let (origin, site) = (value(&ORIGIN), value(&SEC_FETCH_SITE));
    AuthError::caused_by(
        AuthErrorKind::CrossSite,
        format!("Origin: {origin}, Sec-Fetch-Site: {site}"),
    )
}

enum Field<'a> {
    Absent,
    One(&'a [u8]),
    Several,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Field<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Field::Absent,
        (Some(value), None) => Field::One(value.as_bytes()),
        _ => Field::Several,
    }
}

/// Returns the host and port of a serialized origin (RFC 6454 §6.2).
fn authority_of(origin: &[u8]) -> Option<&[u8]> {
    let authority = origin
        .strip_prefix(b"https://")
        .or_else(|| origin.strip_prefix(b"http://"))?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~[]:%".contains(byte);
    (!authority.is_empty() && authority.iter().all(plain)).then_some(authority)
}

/// Returns the host of the request: the target's (RFC 9112 §3.2.2, RFC 9113 §8.3.1), or `Host` if the
/// target has none.
fn requested_host(head: RequestHead<'_>) -> Option<&[u8]> {
    match head.uri().authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => match only(head.headers(), &HOST) {
            Field::One(host) => Some(host),
            _ => None,
        },
    }
}

/// Normalizes an origin to the form that browsers write (RFC 6454 §6.2).
pub(crate) fn origin_of(name: &'static str, text: &str) -> Result<Box<str>, ConfigError> {
    // The text before an `@` may contain a password.
    let shown = match text.rsplit_once('@') {
        Some((_, host)) => format!("{:?}", format!("…@{host}")),
        None => format!("{text:?}"),
    };
    let refused = |problem| ConfigError::invalid(name, format!("{shown} {problem}"));
    let no_origin = || refused("is not an origin such as `https://app.example`");
    let (scheme, rest) = text.split_once("://").ok_or_else(no_origin)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '\\']) {
        return Err(refused(
            "has a path, a query or a fragment: name the origin alone",
        ));
    }
    if authority.contains('@') {
        return Err(refused("has user information: name the origin alone"));
    }
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let sound = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let parsed: Authority = authority.parse().map_err(|_| no_origin())?;
    // Outside of brackets, a colon starts the port, which is a number.
    let has_port = parsed.host().len() < authority.len();
    if !sound
        || !scheme.bytes().all(is_scheme)
        || parsed.host().is_empty()
        || has_port != parsed.port_u16().is_some()
    {
        return Err(no_origin());
    }
    let scheme = scheme.to_ascii_lowercase();
    let host = parsed.host().to_ascii_lowercase();
    let own = match &*scheme {
        "https" | "wss" => Some(443),
        "http" | "ws" => Some(80),
        _ => None,
    };
    Ok(match parsed.port_u16() {
        Some(port) if Some(port) != own => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    }
    .into())
}
