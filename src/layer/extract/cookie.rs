//! Reads a token from a cookie, with the check for cross-site requests.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Uri, header::COOKIE};

use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    layer::extract::{
        CSRF_HEADER, Credential, CsrfProofs, NamedPlace, Place, Proof, RequestHead, TokenExtractor,
        is_token_byte, is_websocket, single,
        site::{Sender, Site, cross_site, origin_of},
        trim,
    },
};

/// Reads the token from a cookie, and refuses the request if another site may have sent it.
///
/// Prefer a name that starts with `__Host-`. Browsers accept such a cookie only with `Secure`, with
/// `Path=/` and from the same host, so that no sibling domain can plant it ([RFC 6265bis §4.1.3]).
/// Never serve such a cookie over plain http (RFC 6750 §5.3).
///
/// The name is compared byte for byte. Two cookies of the name are refused, also across several
/// `Cookie` lines: one of them is planted, and the server cannot know which. An empty cookie counts as
/// absent.
///
/// # Cross-site requests
///
/// A browser attaches a cookie to requests that other sites cause. A request is checked if it carries
/// the cookie and may change something: any method except `GET`, `HEAD`, `OPTIONS` and `TRACE`, or a
/// WebSocket handshake. A checked request must meet one of these conditions:
///
/// 1. `Sec-Fetch-Site` is `same-origin` or `none`, or the `Origin` is a [trusted](Self::trusted_origin)
///    one.
/// 2. There is no `Sec-Fetch-Site`, and the `Origin` is the [public](Self::public_origin) or a trusted
///    one. Without a configured public origin, the host and port of `Origin` must be those of the request.
/// 3. There is neither header, CSRF proofs are enabled (`csrf_proofs`, with the feature `server`), and
///    `X-CSRF-Token` is the proof of the token's session (`sid`). All current browsers send one of the
///    two headers. A client that is not a browser can use the `Authorization` header instead.
///
/// Every other checked request is answered with 403. `GET` must not change anything (RFC 9110 §9.2.1).
/// If a `GET` of your service does, this check does not protect it.
///
/// [RFC 6265bis §4.1.3]: https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::extract::Cookie;
///
/// let cookie = Cookie::new("__Host-at")?
///     .public_origin("https://api.example")?
///     .trusted_origin("https://app.example")?;
/// # let _ = cookie;
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an extractor does nothing until a layer is given it"]
pub struct Cookie {
    name: Box<str>,
    site: Option<Site>,
    proofs: Option<CsrfProofs>,
    /// The cookie names of the parts after the first, if the token may be split.
    parts: Vec<Box<str>>,
    /// One deleting `Set-Cookie` value per name.
    clear: Arc<[HeaderValue]>,
}

impl Cookie {
    /// Creates an extractor for the cookie of this name.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the name is not a token (RFC 6265 §4.1.1), so that no browser could
    /// send it.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            clear: [clear(name, true)?].into(),
            parts: Vec::new(),
            name: name.into(),
            site: Some(Site::default()),
            proofs: None,
        })
    }

    /// Sets the origin under which browsers reach this server: scheme, host, and the port unless it is
    /// the scheme's default. Upper case, a default port and a trailing slash are normalized to the form
    /// that browsers write in `Origin` (RFC 6454 §6.2).
    ///
    /// Set it whenever the origin is known, and always if a proxy changes the host of the request.
    /// Without it only host and port are compared, so that an attacker on the network can send requests
    /// from the `http://` origin.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the text is not an origin, or has a path, a query or user
    /// information.
    pub fn public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        let origin = origin_of("a public origin", origin)?;
        if let Some(site) = &mut self.site {
            site.public(origin);
        }
        Ok(self)
    }

    /// Adds an origin of another site whose requests are accepted, in the form of
    /// [`public_origin`](Self::public_origin). The scheme may be that of an app, as in
    /// `capacitor://localhost`. May be called repeatedly.
    ///
    /// # Errors
    ///
    /// As [`public_origin`](Self::public_origin).
    pub fn trusted_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        let origin = origin_of("a trusted origin", origin)?;
        if let Some(site) = &mut self.site {
            site.trust(origin);
        }
        Ok(self)
    }

    /// Accepts requests of old browsers, which send neither `Sec-Fetch-Site` nor `Origin`, if
    /// `X-CSRF-Token` proves that they come from this site.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    pub fn csrf_proofs(mut self, proofs: CsrfProofs) -> Self {
        self.proofs = Some(proofs);
        self
    }

    /// Declares that the cookie is set over plain http, as on a developer's machine. The `Set-Cookie`
    /// value that deletes it then has no `Secure`, which some browsers refuse over plain http.
    ///
    /// A name that starts with `__Host-` or `__Secure-` keeps `Secure`: browsers accept such a name
    /// only with it.
    pub fn plain_http(self) -> Self {
        self.cleared(false)
    }

    /// Also reads a token that is split into two or three cookies: `NAME`, `NAME-2` and `NAME-3`.
    /// Browsers drop a cookie of more than 4096 bytes.
    ///
    /// [`AuthEndpoints`](../../server/endpoints/struct.AuthEndpoints.html) set such cookies. A part without the part
    /// before it makes the token a bad one.
    pub fn split(mut self) -> Self {
        self.parts = (2..=PARTS).map(|at| part(&self.name, at).into()).collect();
        // Parts are set with `Secure` if the name requires it.
        let secure = self.clear.first().is_none_or(is_secure);
        self.cleared(secure)
    }

    fn cleared(mut self, secure: bool) -> Self {
        // The name was validated before.
        let values = self.names().map(|name| clear(name, secure));
        if let Ok(values) = values.collect() {
            self.clear = values;
        }
        self
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let parts = self.parts.iter().map(|name| &**name);
        std::iter::once(&*self.name).chain(parts)
    }

    /// Returns the token, joined from its parts.
    fn token<'a>(&'a self, headers: &'a HeaderMap) -> Result<Option<Cow<'a, [u8]>>, AuthError> {
        let (mut token, mut ended, mut gap) = (None::<Cow<'a, [u8]>>, false, false);
        for name in self.names() {
            let mut values = cookies(headers, name);
            let value = match (values.next(), values.next()) {
                // One of them is planted (cookie tossing).
                (_, Some(_)) => return Err(AuthErrorKind::MultipleCredentials.into()),
                (value, None) => value.filter(|value| !value.is_empty()),
            };
            let Some(value) = value else {
                ended = true;
                continue;
            };
            gap |= ended;
            token = Some(match token {
                None => value.into(),
                Some(before) => [&*before, value].concat().into(),
            });
        }
        // The rest of a token must not pass for a token.
        Ok(match gap {
            true => Some(GAP.into()),
            false => token,
        })
    }

    /// Accepts the cookie with every request, also if another site caused the request.
    ///
    /// # Security
    ///
    /// This allows cross-site request forgery: any page that a signed-in user visits can send requests
    /// as the user, and can open WebSockets and read them. Use it only for services with another
    /// protection, such as a token in every form.
    pub fn dangerous_without_csrf_check(mut self) -> Self {
        self.site = None;
        self
    }

    /// Returns the origin class of a request, by its headers.
    #[cfg(feature = "server")]
    pub(crate) fn sender(&self, head: RequestHead<'_>) -> Sender {
        match &self.site {
            Some(site) => site.sender(head),
            None => Sender::Own,
        }
    }

    /// Checks the request's origin, because a token in a cookie requires protection against cross-site
    /// requests (RFC 6750 §5.3).
    ///
    /// Returns the proof that must still be compared with the session, if one is needed, or an error if
    /// the request cannot prove its origin.
    fn suspicion<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Proof<'a>>, AuthError> {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
        let checked = !safe.contains(head.method()) || is_websocket(head);
        let Some(site) = self.site.as_ref().filter(|_| checked) else {
            return Ok(None);
        };
        let forged = || cross_site(head);
        match site.sender(head) {
            Sender::Own => Ok(None),
            Sender::Foreign => Err(forged()),
            Sender::Unknown => {
                let proofs = self.proofs.as_ref().ok_or_else(forged)?;
                let presented = single(head.headers(), &CSRF_HEADER)?.ok_or_else(forged)?;
                let presented = presented.as_bytes();
                Ok(Some(Proof { proofs, presented }))
            }
        }
    }
}

impl TokenExtractor for Cookie {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        let Some(token) = self.token(head.headers())? else {
            return Ok(None);
        };
        let proof = self.suspicion(head)?;
        let credential = Credential::new(token, Place::Cookie).cleared_by_all(&self.clear);
        Ok(Some(credential.with_proof(proof)))
    }

    fn strip(&self, headers: &mut HeaderMap, _: &mut Uri) {
        let ours = |pair: &&[u8]| self.names().any(|name| value_of(pair, name).is_some());
        let mut lines = headers.get_all(COOKIE).iter();
        if !lines.any(|line| pairs(line.as_bytes()).any(|pair| ours(&pair))) {
            return;
        }
        let kept: Vec<HeaderValue> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| {
                let others: Vec<&[u8]> = pairs(line.as_bytes())
                    .filter(|pair| !ours(pair))
                    .map(trim)
                    .collect();
                let line = others.join(&b"; "[..]);
                HeaderValue::try_from(line)
                    .ok()
                    .filter(|line| !line.is_empty())
            })
            .collect();
        headers.remove(COOKIE);
        for line in kept {
            headers.append(COOKIE, line);
        }
    }

    fn places(&self) -> Vec<NamedPlace> {
        vec![NamedPlace::new(Place::Cookie, &*self.name)]
    }
}

/// Returns the values of all cookies of this name, over all `Cookie` lines.
///
/// Lines are read as bytes: another host of the domain can set a cookie with any bytes, which must not
/// hide the cookies on the same line.
pub(crate) fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(move |pair| value_of(pair, name))
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
}

/// Returns the value of a `name=value` pair, if the name matches.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // Servers differ on white space around the name, and all must read the same cookie.
    let value = trim(pair).strip_prefix(name.as_bytes())?;
    let value = trim(trim(value).strip_prefix(b"=")?);
    // RFC 6265 §4.1.1: the value may be quoted.
    Some(match value {
        [b'"', unquoted @ .., b'"'] => unquoted,
        _ => value,
    })
}

/// Returns the cookie name of a part, counted from 1.
pub(crate) fn part(name: &str, at: usize) -> String {
    match at {
        1 => name.to_owned(),
        at => format!("{name}-{at}"),
    }
}

/// The maximum number of parts of a token. Four parts exceed the header limit of most servers.
pub(crate) const PARTS: usize = 3;
/// A value that is no token, so that it is refused as a bad one.
const GAP: &[u8] = b"-";

fn is_secure(set_cookie: &HeaderValue) -> bool {
    set_cookie.as_bytes().ends_with(b"; Secure")
}

/// Returns the `Set-Cookie` value that deletes the cookie.
fn clear(name: &str, secure: bool) -> Result<HeaderValue, ConfigError> {
    let refused = || ConfigError::invalid("a cookie's name", format!("{name:?} is not a token"));
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(refused());
    }
    let prefixed = ["__host-", "__secure-"].iter().any(|prefix| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    let secure = if secure || prefixed { "; Secure" } else { "" };
    let value = format!("{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(value).map_err(|_| refused())
}
