//! A token in a cookie, and what must then be checked.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Uri, header::COOKIE};

use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    extract::{
        CSRF_HEADER, Credential, CsrfProofs, Place, Proof, TokenExtractor, is_token_byte,
        is_websocket, single,
        site::{Sender, Site, origin_of},
        trim,
    },
    head::RequestHead,
};

/// Reads the token from a cookie, and refuses it where another site may have sent the request.
///
/// Prefer a name that starts with `__Host-`: browsers accept such a cookie only with `Secure`, with
/// `Path=/` and from the very host, so that no sister domain can plant it ([RFC 6265bis §4.1.3]).
/// Never serve such a cookie over plain http (RFC 6750 §5.3).
///
/// The name is compared byte for byte. Two cookies of the name are refused, over several `Cookie`
/// lines too: one of them is planted, and nobody can tell which. An empty one counts as absent.
///
/// # Cross-site requests
///
/// A browser attaches a cookie to requests that other sites cause. So a request that carries the
/// cookie and may change something (any method but `GET`, `HEAD`, `OPTIONS` and `TRACE`, or a
/// WebSocket handshake) must show where it comes from:
///
/// 1. `Sec-Fetch-Site` is `same-origin` or `none`, or the `Origin` is a [trusted](Self::trusted_origin)
///    one.
/// 2. Without `Sec-Fetch-Site`: the `Origin` is the [public](Self::public_origin) or a trusted one.
///    Where no public origin was named, its host and port must be those that the request asks for.
/// 3. With neither header: `X-CSRF-Token` is the [proof](CsrfProofs) of the token's session (`sid`),
///    where such proofs were [switched on](Self::csrf_proofs). Otherwise the request is refused: no
///    current browser sends such a one, and a client that is no browser can use the `Authorization`
///    header.
///
/// Everything else is answered 403. `GET` must not change anything (RFC 9110 §9.2.1); where yours
/// does, this check does not help.
///
/// [RFC 6265bis §4.1.3]: https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::extract::Cookie;
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
    /// The names of the parts after the first, if there may be some.
    parts: Vec<Box<str>>,
    /// One for each name.
    clear: Arc<[HeaderValue]>,
}

impl Cookie {
    /// The cookie of this name.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: the name is not a token (RFC 6265 §4.1.1), so that no browser could
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

    /// The origin under which browsers reach this server: scheme, host, and the port unless it is the
    /// scheme's own. Capitals, the scheme's own port and a slash at the end are brought into the form
    /// that browsers write in `Origin` (RFC 6454 §6.2).
    ///
    /// Name it where you can, and always where a proxy changes the host of the request: without it
    /// only host and port are compared, and an attacker on the network may speak for `http://`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: not an origin, or one with a path, a query or user information.
    pub fn public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        let origin = origin_of("a public origin", origin)?;
        if let Some(site) = &mut self.site {
            site.public(origin);
        }
        Ok(self)
    }

    /// An origin of another site whose requests are wanted, written as in
    /// [`public_origin`](Self::public_origin); may be called repeatedly. The scheme may be an app's,
    /// as in `capacitor://localhost`.
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

    /// Lets requests of old browsers pass, which say nothing of where they come from, where
    /// `X-CSRF-Token` proves that they come from this site.
    pub fn csrf_proofs(mut self, proofs: CsrfProofs) -> Self {
        self.proofs = Some(proofs);
        self
    }

    /// The cookie is set over plain http, as on a developer's own machine: the value that clears it
    /// goes without `Secure`, which some browsers refuse there.
    ///
    /// A name that starts with `__Host-` or `__Secure-` keeps `Secure`: without it no browser
    /// accepts the name.
    pub fn plain_http(self) -> Self {
        self.cleared(false)
    }

    /// Also reads a token that is split into two or three cookies, because browsers drop a cookie of
    /// more than 4096 bytes: `NAME`, `NAME-2` and `NAME-3`.
    ///
    /// [`AuthEndpoints`](crate::endpoints::AuthEndpoints) set such cookies. A part that is there without
    /// the one before it makes the token a bad one.
    pub fn split(mut self) -> Self {
        self.parts = (2..=PARTS).map(|at| part(&self.name, at).into()).collect();
        // No part is set without `Secure` under a name that needs it.
        let secure = self.clear.first().is_none_or(is_secure);
        self.cleared(secure)
    }

    fn cleared(mut self, secure: bool) -> Self {
        // The name was good before.
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

    /// The token, in as many parts as there are.
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
        // What remains of a token must not be taken for one.
        Ok(match gap {
            true => Some(GAP.into()),
            false => token,
        })
    }

    /// Accepts the cookie with every request, whichever site caused it.
    ///
    /// # Security
    ///
    /// The attack is cross-site request forgery: any page that a signed-in user visits can send
    /// requests in the user's name, and open WebSockets and read them. Only for services that check
    /// by other means, such as a token of their own in every form.
    pub fn dangerous_without_csrf_check(mut self) -> Self {
        self.site = None;
        self
    }

    /// Where a request comes from, as far as its headers tell.
    #[cfg(feature = "endpoints")]
    pub(crate) fn sender(&self, head: RequestHead<'_>) -> Sender {
        match &self.site {
            Some(site) => site.sender(head),
            None => Sender::Own,
        }
    }

    /// RFC 6750 §5.3: a token in a cookie asks for precautions against cross-site requests.
    ///
    /// What is still to be proved, if anything; an error where nothing can prove it.
    fn suspicion<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Proof<'a>>, AuthError> {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
        let checked = !safe.contains(head.method()) || is_websocket(head);
        let Some(site) = self.site.as_ref().filter(|_| checked) else {
            return Ok(None);
        };
        let forged = AuthErrorKind::CrossSite;
        match site.sender(head) {
            Sender::Own => Ok(None),
            Sender::Foreign => Err(forged.into()),
            Sender::Unknown => {
                let proofs = self.proofs.as_ref().ok_or(forged)?;
                let presented = single(head.headers(), &CSRF_HEADER)?.ok_or(forged)?;
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
}

/// The values of all cookies of this name, over all `Cookie` lines.
///
/// They are read as bytes: what another host of the domain has set may be of any, and must not hide
/// ours, which stand on the same line.
pub(crate) fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .flat_map(|line| pairs(line.as_bytes()))
        .filter_map(move |pair| value_of(pair, name))
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
}

/// The value of a `name=value` pair, where the name is this one.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // Servers differ on white space around the name; none may see another cookie than this.
    let value = trim(pair).strip_prefix(name.as_bytes())?;
    let value = trim(trim(value).strip_prefix(b"=")?);
    // RFC 6265 §4.1.1: the value may stand in quotes.
    Some(match value {
        [b'"', unquoted @ .., b'"'] => unquoted,
        _ => value,
    })
}

/// The name of a part of a cookie, counted from 1.
pub(crate) fn part(name: &str, at: usize) -> String {
    match at {
        1 => name.to_owned(),
        at => format!("{name}-{at}"),
    }
}

/// The parts that a token may have. Four of them exceed the header limit of most servers.
pub(crate) const PARTS: usize = 3;
/// No token, so that it is refused as a bad one.
const GAP: &[u8] = b"-";

fn is_secure(set_cookie: &HeaderValue) -> bool {
    set_cookie.as_bytes().ends_with(b"; Secure")
}

/// The `Set-Cookie` value that removes the cookie.
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
