//! WebSockets to the chat of a server.

use serde_json::Value;
use tokio::net::TcpStream;

use super::client::Tokens;
use crate::support::{process::Server, socket::Socket};

/// A handshake with these headers; the status where it is refused.
pub(crate) async fn upgrade(
    server: &Server,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket<TcpStream>, u16> {
    let address = server.address().trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.unwrap();
    Socket::connect(stream, &format!("ws://{address}{path}"), headers).await
}

impl Socket<TcpStream> {
    /// With the token as a subprotocol, or without one.
    pub(crate) async fn open(server: &Server, tokens: Option<&Tokens>) -> Self {
        let protocols = tokens.map(|tokens| format!("bearer, {}", tokens.access));
        let protocols = protocols
            .as_deref()
            .map(|value| ("sec-websocket-protocol", value));
        upgrade(server, "/chat/ws", protocols.as_slice())
            .await
            .unwrap()
    }

    pub(crate) async fn ask(&mut self, text: &str) -> Value {
        self.say(text).await;
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Whether the server has hung up, with or without a word.
    pub(crate) async fn is_over(&mut self) -> bool {
        let next = self.next().await;
        next.is_none_or(|next| next.map_or(true, |message| message.is_close()))
    }
}
