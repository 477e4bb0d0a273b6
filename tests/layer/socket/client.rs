//! Connections to the chat, and the client's end of a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::{WebSocketStream, tungstenite};

use crate::support::chat::Chat;

impl Chat {
    /// As a server does that waits so long for a first message, by the real clock.
    pub(crate) async fn start_hasty(first_message: Duration) -> Self {
        Self::start_with(Duration::from_millis(5), first_message).await
    }

    pub(crate) async fn context(&self, token: Option<&str>) -> Value {
        let (status, body) = self.get("/chat/context", token).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_str(&body).unwrap()
    }

    /// A connection to the server, which speaks HTTP at its other end.
    pub(crate) fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let service = TowerToHyperService::new(self.app.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let served = server.serve_connection_with_upgrades(TokioIo::new(theirs), service);
            let _ = served.await;
        });
        ours
    }

    /// A WebSocket, over a connection of the caller's.
    pub(crate) async fn socket_over<T>(&self, stream: T, token: Option<&str>) -> Socket<T>
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        use tungstenite::client::IntoClientRequest;

        let mut request = "ws://localhost/chat/ws".into_client_request().unwrap();
        if let Some(token) = token {
            let protocols = format!("bearer, {token}").parse().unwrap();
            request
                .headers_mut()
                .insert("sec-websocket-protocol", protocols);
        }
        let connected = tokio_tungstenite::client_async(request, stream).await;
        let (socket, answer) = connected.unwrap();
        let chosen = answer.headers().get("sec-websocket-protocol");
        assert_eq!(chosen.is_some(), token.is_some());
        Socket(socket)
    }

    pub(crate) async fn socket(&self, token: Option<&str>) -> Socket<DuplexStream> {
        self.socket_over(self.connect(), token).await
    }
}

/// The client's end of a WebSocket.
pub(crate) struct Socket<T>(WebSocketStream<T>);

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket<T> {
    pub(crate) async fn say(&mut self, text: &str) {
        let message = tungstenite::Message::text(text.to_owned());
        self.0.send(message).await.unwrap();
    }

    pub(crate) async fn renew(&mut self, token: &str) {
        let message = json!({"type": "auth", "token": token});
        self.say(&message.to_string()).await;
    }

    pub(crate) async fn ping(&mut self) {
        let ping = tungstenite::Message::Ping(Default::default());
        let _ = self.0.send(ping).await;
    }

    /// What the server says to this; it names who said it.
    pub(crate) async fn echo(&mut self, text: &str) -> String {
        self.say(text).await;
        loop {
            match self.next().await.unwrap().unwrap() {
                tungstenite::Message::Text(text) => return text.to_string(),
                tungstenite::Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code and the reason of the Close frame that comes.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await.unwrap().unwrap() {
                tungstenite::Message::Close(Some(frame)) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                tungstenite::Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<Result<tungstenite::Message, tungstenite::Error>> {
        let next = tokio::time::timeout(Duration::from_secs(60), self.0.next()).await;
        next.expect("the server says something")
    }
}
