//! Reads a token from the subprotocols of a WebSocket handshake.

use http::{HeaderMap, HeaderValue, Uri, header::SEC_WEBSOCKET_PROTOCOL};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::extract::{
        Credential, NamedPlace, Place, RequestHead, TokenExtractor, is_websocket, list,
    },
};

/// Reads the token from the `Sec-WebSocket-Protocol` header of a WebSocket handshake, the only header
/// that a browser script can set there: `new WebSocket(url, ["bearer", token])`.
///
/// The item right after the marker is the token. The server must select one of the offered protocols
/// (RFC 6455 §4.2.2): the marker, and never the token. Outside of a handshake the header is not read.
///
/// The marker is compared byte for byte.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::extract::{Bearer, WebSocketProtocol};
///
/// let places = (Bearer::new(), WebSocketProtocol::new("bearer"));
/// # let _ = places;
/// ```
#[derive(Clone, Debug)]
pub struct WebSocketProtocol {
    marker: Box<str>,
}

impl WebSocketProtocol {
    /// Creates an extractor for the item after this marker.
    #[must_use]
    pub fn new(marker: &str) -> Self {
        Self {
            marker: marker.into(),
        }
    }

    fn is_marker(&self, item: &[u8]) -> bool {
        item == self.marker.as_bytes()
    }
}

impl TokenExtractor for WebSocketProtocol {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        if !is_websocket(head) {
            return Ok(None);
        }
        let mut items = list(head.headers(), &SEC_WEBSOCKET_PROTOCOL);
        if !items.any(|item| self.is_marker(item)) {
            return Ok(None);
        }
        let token = items.next();
        if token
            .into_iter()
            .chain(items)
            .any(|item| self.is_marker(item))
        {
            return Err(AuthErrorKind::MultipleCredentials.into());
        }
        let token = token.ok_or(AuthErrorKind::MalformedCredential)?;
        Ok(Some(Credential::new(token, Place::WebSocket)))
    }

    fn strip(&self, headers: &mut HeaderMap, _: &mut Uri) {
        // The marker stays, because the inner service has to select it.
        let mut after_marker = false;
        let mut stripped = false;
        let mut kept: Vec<&[u8]> = Vec::new();
        for item in list(headers, &SEC_WEBSOCKET_PROTOCOL) {
            let is_marker = self.is_marker(item);
            if after_marker && !is_marker {
                stripped = true;
            } else {
                kept.push(item);
            }
            after_marker = is_marker;
        }
        if !stripped {
            return;
        }
        // Items of valid values form a valid value. The fallback drops the whole header.
        match HeaderValue::try_from(kept.join(&b", "[..])) {
            Ok(value) => headers.insert(SEC_WEBSOCKET_PROTOCOL, value),
            Err(_) => headers.remove(SEC_WEBSOCKET_PROTOCOL),
        };
    }

    fn places(&self) -> Vec<NamedPlace> {
        vec![NamedPlace::new(Place::WebSocket, "Sec-WebSocket-Protocol")]
    }
}
