//! The client address of a request, with and without proxies.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{Extensions, HeaderName};

use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    layer::{extract::RequestHead, peer::TrustedProxies},
};

/// Determines the client address of a request: the peer of the connection, or the address that
/// trusted proxies report.
///
/// Any client can send `X-Forwarded-For`. The header is therefore read only if the peer is a
/// trusted proxy. It is read from the right, and trusted proxies are skipped. The first other
/// address is the client. Addresses further left are ignored.
///
/// The peer's address comes from the request's extensions. It is the first of these that is present:
///
/// 1. the value that [`peer_from`](Self::peer_from) returns, if it is set; the others are then not read
/// 2. a [`PeerAddr`](crate::layer::peer::PeerAddr), which the code that accepts connections inserts
/// 3. with the feature `axum`, the `ConnectInfo<SocketAddr>` of
///    `Router::into_make_service_with_connect_info`
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use http::Request;
/// use tower_jwt_auth::layer::{extract::RequestHead, rate_limit::{ClientIp, PeerAddr}};
///
/// let clients = ClientIp::behind(["10.0.0.0/8"])?;
/// let peer: SocketAddr = "10.0.0.7:443".parse()?;
/// let request = Request::builder()
///     .header("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.3")
///     .extension(PeerAddr(peer))
///     .body(())?;
/// let client = clients.client_ip(RequestHead::of(&request));
/// assert_eq!(client, Some("203.0.113.9".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientIp {
    proxies: TrustedProxies,
    header: HeaderName,
}

impl ClientIp {
    /// Creates a source that returns the peer of the connection, for a server without a proxy in
    /// front.
    #[must_use]
    pub fn peer() -> Self {
        Self {
            proxies: TrustedProxies::none(),
            header: HeaderName::from_static("x-forwarded-for"),
        }
    }

    /// Creates a source that returns the client that these proxies report in `X-Forwarded-For`.
    ///
    /// Each entry is an address or a network (`10.0.0.0/8`). List every proxy that a request passes
    /// through. An IPv4-mapped IPv6 network (`::ffff:10.0.0.0/104`, RFC 4291 §2.5.5.2) is treated
    /// as the IPv4 network that it contains.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: an entry is neither an address nor a network, or it is an
    /// IPv4-mapped address with a prefix shorter than 96 bits.
    pub fn behind<'p>(proxies: impl IntoIterator<Item = &'p str>) -> Result<Self, ConfigError> {
        Ok(Self {
            proxies: TrustedProxies::new(proxies)?,
            ..Self::peer()
        })
    }

    /// Sets the header that the proxies write, such as `X-Real-IP` or `CF-Connecting-IP`.
    ///
    /// # Security
    ///
    /// The proxy must overwrite a header of this name that a client sends.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = name;
        self
    }

    /// Sets the function that returns the peer's address from the request's extensions, for a host
    /// that keeps it elsewhere.
    #[must_use]
    pub fn peer_from<F>(mut self, peer: F) -> Self
    where
        F: Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    {
        self.proxies.set_peer(peer);
        self
    }

    /// Returns the client's address; `None` if it is unknown.
    #[must_use]
    pub fn client_ip(&self, head: RequestHead<'_>) -> Option<IpAddr> {
        let peer = self.proxies.peer(head.extensions())?;
        self.of_peer(peer, head)
    }

    /// Returns the client's address for a connection from this peer.
    fn of_peer(&self, peer: IpAddr, head: RequestHead<'_>) -> Option<IpAddr> {
        if !self.proxies.trusts(peer) {
            return Some(peer);
        }
        // Read from the right. Addresses left of the client are not parsed.
        let lines = head.headers().get_all(&self.header).iter().rev();
        let named = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut nearest = peer;
        for text in named {
            // If a trusted proxy does not know the client ("unknown"), the address is unknown.
            nearest = address(str::from_utf8(text).ok()?.trim())?;
            if !self.proxies.trusts(nearest) {
                break;
            }
        }
        Some(nearest)
    }

    /// Returns `true` if the request comes from one of the proxies.
    pub(crate) fn is_proxied(&self, head: RequestHead<'_>) -> bool {
        let peer = self.proxies.peer(head.extensions());
        peer.is_some_and(|peer| self.proxies.trusts(peer))
    }

    /// Returns `true` if every address of one kind counts as a proxy.
    #[cfg(feature = "server")]
    pub(crate) fn trusts_everyone(&self) -> bool {
        self.proxies.are_everyone()
    }
}

impl fmt::Debug for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIp")
            .field("proxies", &self.proxies)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Parses an address as proxies write it, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    Some(address.ok()?.to_canonical())
}

/// Returns the network that counts as one client: the address itself for IPv4, the /64 for IPv6,
/// because a household usually has a whole /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

impl super::RateKey for ClientIp {
    /// # Errors
    ///
    /// [`AuthErrorKind::Misconfigured`]: the request's extensions do not contain the peer's
    /// address. With one shared budget, any client could lock out all others.
    fn key(&self, head: RequestHead<'_>) -> Result<Option<Cow<'_, str>>, AuthError> {
        let peer = self.proxies.peer(head.extensions()).ok_or_else(|| {
            let problem = "the rate limit found no peer address in the request's extensions: \
                serve an axum router by `into_make_service_with_connect_info::<SocketAddr>`, \
                insert a `PeerAddr`, or set another source with `ClientIp::peer_from`";
            AuthError::caused_by(AuthErrorKind::Misconfigured, problem)
        })?;
        let client = self.of_peer(peer, head);
        Ok(client.map(|client| network_of(client).to_string().into()))
    }
}
