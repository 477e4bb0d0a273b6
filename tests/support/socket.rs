//! The client's end of a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::process::{Server, Tokens};

#[derive(Debug)]
pub(crate) struct Socket(WebSocketStream<TcpStream>);

/// A handshake with these headers; the status where it is refused.
pub(crate) async fn upgrade(
    server: &Server,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, u16> {
    let address = server.address().trim_start_matches("http://");
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let asked = request.headers().contains_key("sec-websocket-protocol");
    let stream = TcpStream::connect(address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, answer)) => {
            let chosen = answer.headers().get("sec-websocket-protocol");
            assert_eq!(chosen.is_some(), asked);
            assert!(chosen.is_none_or(|chosen| chosen == "bearer"));
            Ok(Socket(socket))
        }
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

impl Socket {
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

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text.to_owned())).await.unwrap();
    }

    pub(crate) async fn authenticate(&mut self, tokens: &Tokens) {
        let message = json!({ "type": "auth", "token": tokens.access });
        self.say(&message.to_string()).await;
    }

    pub(crate) async fn ask(&mut self, text: &str) -> Value {
        self.say(text).await;
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The code and the reason of the Close frame that comes.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the server has hung up, with or without a word.
    pub(crate) async fn is_over(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_secs(30), self.0.next()).await;
        let next = next.expect("the server does something");
        next.is_none_or(|next| next.map_or(true, |message| message.is_close()))
    }

    async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(Duration::from_secs(30), self.0.next()).await;
        next.expect("the server says something").unwrap().unwrap()
    }
}
