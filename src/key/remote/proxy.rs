//! Connections to a server, directly or through the proxy from the environment variables.

use std::{
    error::Error,
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use super::fetch::is_loopback;

/// A connector to a server, or to the proxy in front of it.
///
/// An https server is reached through a tunnel (RFC 9110 §9.3.6), so that the proxy sees only the
/// host name. Requests to an http server are sent to the proxy.
///
/// Loopback addresses are never reached through a proxy, as in Go's client. Plain http is trusted
/// there because the request does not leave the machine.
#[derive(Clone)]
pub(super) struct Route {
    direct: HttpConnector,
    /// The connector to a proxy, which may itself use TLS.
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<Matcher>,
}

/// The connection to a proxy, before and after the tunnel is established.
type Wire = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn Error + Send + Sync>;

impl Route {
    pub(super) fn new(
        direct: HttpConnector,
        to_proxy: HttpsConnector<HttpConnector>,
        proxies: Arc<Matcher>,
    ) -> Self {
        Self {
            direct,
            to_proxy,
            proxies,
        }
    }
}

/// Returns the proxy for this URL, if there is one.
fn proxy_for(proxies: &Matcher, url: &Uri) -> Option<Intercept> {
    if is_loopback(url) {
        return None;
    }
    proxies.intercept(url)
}

/// Returns the credentials for a proxy that receives complete requests to http servers.
///
/// For an https server the credentials are in the request for the tunnel, and must not be sent to
/// the server.
pub(super) fn authorization(proxies: &Matcher, url: &Uri) -> Option<HeaderValue> {
    if url.scheme_str() != Some("http") {
        return None;
    }
    proxy_for(proxies, url)?.basic_auth().cloned()
}

impl Service<Uri> for Route {
    type Response = Channel;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Channel, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Both connectors are always ready, because each call resolves the name itself.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = proxy_for(&self.proxies, &target) else {
            let connecting = self.direct.call(target);
            return Box::pin(async move {
                let wire = MaybeHttpsStream::Http(connecting.await?);
                Ok(Channel::new(wire, false))
            });
        };
        let to_proxy = self.to_proxy.clone();
        Box::pin(async move {
            through(proxy, to_proxy, target)
                .await
                .map_err(|error| ProxyError(error).into())
        })
    }
}

async fn through(
    proxy: Intercept,
    mut to_proxy: HttpsConnector<HttpConnector>,
    target: Uri,
) -> Result<Channel, BoxError> {
    let place = proxy.uri().clone();
    match place.scheme_str() {
        Some("http" | "https") if target.scheme_str() == Some("http") => {
            Ok(Channel::new(to_proxy.call(place).await?, true))
        }
        Some("http" | "https") => {
            let mut tunnel = Tunnel::new(place, to_proxy);
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            Ok(Channel::new(tunnel.call(target).await?, false))
        }
        _ => Err("only http and https proxies are supported".into()),
    }
}

/// A connection, with a flag for a proxy that expects complete URLs.
pub(super) struct Channel {
    wire: Wire,
    forwarded: bool,
}

impl Channel {
    fn new(wire: Wire, forwarded: bool) -> Self {
        Self { wire, forwarded }
    }
}

impl Connection for Channel {
    fn connected(&self) -> Connected {
        self.wire.connected().proxy(self.forwarded)
    }
}

impl Read for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(cx, buffer)
    }
}

impl Write for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, slices)
    }
}

/// The failure of a connection to or through a proxy. Its text contains neither the proxy nor its
/// credentials.
#[derive(Debug)]
pub(super) struct ProxyError(BoxError);

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the proxy cannot be used")
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}
