//! Connections to the chat.

use std::time::Duration;

use http::StatusCode;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_tungstenite::tungstenite::Message;
use tower_jwt_auth::{store::MemoryStore, test_util::TestClock};

use crate::support::{chat::Chat, socket::Socket};

impl Chat {
    pub(crate) async fn start() -> Self {
        // The clock under test moves in steps that no timer hears of.
        Self::start_checking(Duration::from_millis(5)).await
    }

    /// As a server does that looks at the time so often.
    pub(crate) async fn start_checking(interval: Duration) -> Self {
        Self::start_with([interval, Duration::from_secs(60)]).await
    }

    /// As a server does that waits so long for a first message, by the real clock.
    pub(crate) async fn start_hasty(first_message: Duration) -> Self {
        Self::start_with([Duration::from_millis(5), first_message]).await
    }

    async fn start_with(times: [Duration; 2]) -> Self {
        let clock = TestClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        Self::on(store, clock, |guests| guests, times).await
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
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let protocols = token.map(|token| format!("bearer, {token}"));
        let protocols = protocols
            .as_deref()
            .map(|value| ("sec-websocket-protocol", value));
        let connected = Socket::connect(stream, "ws://localhost/chat/ws", protocols.as_slice());
        connected.await.unwrap()
    }

    pub(crate) async fn socket(&self, token: Option<&str>) -> Socket<DuplexStream> {
        self.socket_over(self.connect(), token).await
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    pub(crate) async fn ping(&mut self) {
        let _ = self.send(Message::Ping(Default::default())).await;
    }

    /// What the server says to this; it names who said it.
    pub(crate) async fn echo(&mut self, text: &str) -> String {
        self.say(text).await;
        self.text().await
    }
}
