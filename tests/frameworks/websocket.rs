//! A WebSocket handshake through axum, with the token among its subprotocols.

use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    response::Response,
    routing::any,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_jwt_auth::{
    Principal,
    layer::extract::{Bearer, WebSocketProtocol},
};

use crate::support::{
    http_server::Server,
    tokens::{forged, good, issuer, layer},
};

/// Sends when the token expires, and closes.
async fn socket(caller: Principal, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .protocols(["bearer"])
        .on_upgrade(async move |mut socket| {
            let expires = caller.expires_at().unwrap().as_secs();
            let text = format!("{} until {expires}", caller.subject().unwrap());
            socket.send(Message::Text(text.into())).await.unwrap();
        })
}

async fn server() -> Server {
    let auth = layer().extractor((Bearer::new(), WebSocketProtocol::new("bearer")));
    Server::axum(Router::new().route("/ws", any(socket)).layer(auth)).await
}

/// The head of the answer to a handshake that offers these protocols, and the stream after it.
async fn handshake(server: &Server, protocols: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocols}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_lowercase(), stream)
}

#[tokio::test]
async fn q9_the_expiry_is_reachable_in_a_websocket() {
    let server = server().await;
    let expires = time::OffsetDateTime::now_utc().unix_timestamp() + 100;
    let token = issuer().token(|claims| claims["exp"] = expires.into());
    let (head, mut stream) = handshake(&server, &format!("bearer, {token}")).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    // RFC 6455 §4.2.2: one of the offered protocols, and never the token.
    assert!(
        head.contains("sec-websocket-protocol: bearer\r\n"),
        "{head}"
    );
    assert!(!head.contains(&token.to_lowercase()), "{head}");

    // RFC 6455 §5.2: a short text frame in one piece, not masked.
    assert_eq!(stream.read_u8().await.unwrap(), 0x81);
    let length = stream.read_u8().await.unwrap();
    let mut text = vec![0; length.into()];
    stream.read_exact(&mut text).await.unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        format!("alice until {expires}")
    );
}

#[tokio::test]
async fn a_handshake_without_a_good_token_is_refused_before_it_upgrades() {
    let server = server().await;
    for (protocols, status) in [
        ("chat".to_owned(), "401"),
        (format!("bearer, {}", forged()), "401"),
        ("bearer".to_owned(), "400"),
        (format!("bearer, {}, bearer, {}", good(), good()), "400"),
    ] {
        let (head, _) = handshake(&server, &protocols).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")),
            "{protocols}: {head}"
        );
        assert!(
            head.contains("www-authenticate: bearer "),
            "{protocols}: {head}"
        );
        assert!(!head.contains("upgrade: websocket"), "{protocols}: {head}");
    }
}
