//! The client's end of a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

#[derive(Debug)]
pub(crate) struct Socket<T>(WebSocketStream<T>);

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// A handshake over this stream, with these headers; the status where it is refused.
    pub(crate) async fn connect(
        stream: T,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let asked = request.headers().contains_key("sec-websocket-protocol");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, answer)) => {
                let chosen = answer.headers().get("sec-websocket-protocol");
                assert_eq!(chosen.is_some(), asked);
                assert!(chosen.is_none_or(|chosen| chosen == "bearer"));
                Ok(Self(socket))
            }
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.0.send(message).await
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(Message::text(text.to_owned())).await.unwrap();
    }

    pub(crate) async fn authenticate(&mut self, token: &str) {
        let message = json!({ "type": "auth", "token": token });
        self.say(&message.to_string()).await;
    }

    /// The text that comes.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await.unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The code and the reason of the Close frame that comes.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// What comes, answers to pings aside.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(60), self.0.next()).await;
            match next.expect("the server says something") {
                Some(Ok(Message::Pong(_))) => {}
                other => return other,
            }
        }
    }
}
