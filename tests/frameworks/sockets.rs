//! Sockets that end with their token, through axum, warp and hyper.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{State, ws},
    routing::any,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
    },
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, client::IntoClientRequest, handshake::derive_accept_key, protocol::Role,
    },
};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal,
    layer::{
        extract::{Bearer, WebSocketProtocol},
        socket::{CloseReason, Frames, SocketAuth},
    },
    revocation::{RETENTION, Revocation, RevocationSet},
    test_util::TestClock,
    time::Clock,
    websocket_frames,
};
use warp::Filter;

use crate::support::{
    http_server::Server,
    tokens::{issuer, verifier},
};

#[derive(Clone, Copy, Debug)]
enum Framework {
    Axum,
    Warp,
    Hyper,
}

const ALL: [Framework; 3] = [Framework::Axum, Framework::Warp, Framework::Hyper];

/// A server whose sockets send back what they receive, with the subject in front.
struct Echo {
    server: Server,
    clock: TestClock,
    revoked: RevocationSet,
    ends: UnboundedReceiver<Option<CloseReason>>,
}

#[derive(Clone)]
struct Sockets {
    auth: SocketAuth,
    ended: UnboundedSender<Option<CloseReason>>,
}

impl Sockets {
    async fn serve<S, M, E>(
        self,
        socket: S,
        frames: Frames<M>,
        caller: Option<Principal>,
        text: impl Fn(&M) -> Option<String>,
        message: impl Fn(String) -> M,
    ) where
        S: futures_util::Stream<Item = Result<M, E>> + futures_util::Sink<M> + Unpin,
    {
        let answer = async |caller: Principal, received: M| {
            let Some(text) = text(&received) else {
                return Ok(None);
            };
            match text.as_str() {
                "wait" => pending().await,
                "leave" => Err(CloseReason::Unavailable),
                "long" => Ok(Some(message("x".repeat(1 << 20)))),
                _ => {
                    let name = caller.subject().unwrap_or_default();
                    Ok(Some(message(format!("{name}: {text}"))))
                }
            }
        };
        let ended = self.auth.run(socket, frames, caller, answer).await;
        let _ = self.ended.send(ended);
    }
}

async fn axum_upgrade(
    State(sockets): State<Sockets>,
    caller: Option<Principal>,
    upgrade: ws::WebSocketUpgrade,
) -> axum::response::Response {
    let text = |message: &ws::Message| match message {
        ws::Message::Text(text) => Some(text.to_string()),
        _ => None,
    };
    upgrade
        .protocols(["bearer"])
        .on_upgrade(async move |socket| {
            let frames = websocket_frames!(axum);
            let message = |text: String| ws::Message::text(text);
            sockets.serve(socket, frames, caller, text, message).await;
        })
}

fn warp_routes(
    sockets: Sockets,
) -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    warp::path("ws")
        .and(warp::ws())
        .and(warp::ext::optional::<Principal>())
        .map(move |upgrade: warp::ws::Ws, caller: Option<Principal>| {
            let sockets = sockets.clone();
            let chosen = caller.is_some();
            let reply = upgrade.on_upgrade(async move |socket| {
                let frames = websocket_frames!(warp);
                let text =
                    |message: &warp::ws::Message| message.to_str().ok().map(ToOwned::to_owned);
                let message = |text: String| warp::ws::Message::text(text);
                sockets.serve(socket, frames, caller, text, message).await;
            });
            let mut response = warp::Reply::into_response(reply);
            choose_bearer(&mut response, chosen);
            response
        })
}

async fn hyper_upgrade(
    sockets: Sockets,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes();
    let accept = derive_accept_key(key).parse::<HeaderValue>().unwrap();
    let caller = request.extensions().get::<Principal>().cloned();
    let chosen = caller.is_some();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let frames = websocket_frames!(tokio_tungstenite);
        let text = |message: &Message| match message {
            Message::Text(text) => Some(text.to_string()),
            _ => None,
        };
        let message = |text: String| Message::text(text);
        sockets.serve(socket, frames, caller, text, message).await;
    });
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty())
        .unwrap();
    choose_bearer(&mut response, chosen);
    Ok(response)
}

/// RFC 6455 §4.2.2: one of the protocols that the client offered.
fn choose_bearer<B>(response: &mut Response<B>, chosen: bool) {
    if chosen {
        let bearer = HeaderValue::from_static("bearer");
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, bearer);
    }
}

/// Serves by hyper, with upgrades.
async fn upgrading<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let stream = TokioIo::new(stream);
            let _ = server.serve_connection_with_upgrades(stream, service).await;
        });
    }
}

impl Echo {
    async fn start(framework: Framework) -> Self {
        Self::start_with(framework, |auth| auth).await
    }

    async fn start_with(
        framework: Framework,
        change: impl FnOnce(SocketAuth) -> SocketAuth,
    ) -> Self {
        let clock = TestClock::new();
        let revoked = RevocationSet::local_with_clock(clock.clone());
        let verifier = verifier().clock(clock.clone()).build().unwrap();
        let auth = SocketAuth::new(verifier.clone())
            .revocation(revoked.clone())
            .clock(clock.clone())
            // No timer notices the steps of this clock.
            .check_every(Duration::from_millis(5))
            .first_message_within(Duration::from_secs(60))
            .close_within(Duration::from_secs(60));
        let layer = JwtAuthLayer::new(verifier)
            .revocation(revoked.clone())
            .extractor((Bearer::new(), WebSocketProtocol::new("bearer")))
            .optional();
        let (ended, ends) = unbounded_channel();
        let auth = change(auth);
        let sockets = Sockets { auth, ended };
        let server = match framework {
            Framework::Axum => {
                let routes = Router::new().route("/ws", any(axum_upgrade));
                Server::axum(routes.with_state(sockets).layer(layer)).await
            }
            Framework::Warp => {
                let service = layer.layer(warp::service(warp_routes(sockets)));
                Server::run(|listener| upgrading(listener, service)).await
            }
            Framework::Hyper => {
                let service = service_fn(move |request| hyper_upgrade(sockets.clone(), request));
                let service = layer.layer(service);
                Server::run(|listener| upgrading(listener, service)).await
            }
        };
        Self {
            server,
            clock,
            revoked,
            ends,
        }
    }

    /// A token of the session `s`, with this many seconds to live.
    fn token(&self, lives: i64) -> String {
        let now = self.clock.now().as_secs();
        issuer().token(|claims| {
            claims.insert("sid".into(), "s".into());
            claims.insert("iat".into(), now.into());
            claims.insert("exp".into(), (now + lives).into())
        })
    }

    fn revoke(&self) {
        let until = self.clock.now().plus(RETENTION);
        self.revoked.insert(&Revocation::session("s", until));
    }

    async fn connect(&self, token: Option<&str>) -> Client {
        let mut request = format!("ws://{}/ws", self.server.addr)
            .into_client_request()
            .unwrap();
        if let Some(token) = token {
            let protocols = format!("bearer, {token}").parse().unwrap();
            request
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, protocols);
        }
        let stream = TcpStream::connect(self.server.addr).await.unwrap();
        let connected = tokio_tungstenite::client_async(request, stream).await;
        Client(connected.unwrap().0)
    }

    /// The result of the server's loop.
    async fn ended(&mut self) -> Option<CloseReason> {
        let ended = timeout(PATIENCE, self.ends.recv()).await;
        ended.expect("the loop ends").unwrap()
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text.to_owned())).await.unwrap();
    }

    async fn authenticate(&mut self, token: &str) {
        let message: Value = json!({ "type": "auth", "token": token });
        self.say(&message.to_string()).await;
    }

    async fn next(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.0.next()).await;
        next.expect("the server sends something")
            .map(Result::unwrap)
    }

    async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The code and the reason of the Close frame, after any number of other messages. It is answered.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => {
                    assert_eq!(self.next().await, None);
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(_) => {}
                None => panic!("no Close frame"),
            }
        }
    }
}

fn because(reason: CloseReason) -> (u16, String) {
    (reason.code(), reason.as_str().to_owned())
}

#[tokio::test]
async fn w6_a_socket_authenticates_in_the_handshake_or_by_its_first_message() {
    for framework in ALL {
        let mut echo = Echo::start(framework).await;
        let token = echo.token(600);
        let mut client = echo.connect(Some(&token)).await;
        assert_eq!(client.ask("hello").await, "alice: hello", "{framework:?}");
        client.0.close(None).await.unwrap();
        assert_eq!(echo.ended().await, None, "{framework:?}: the client left");

        let mut client = echo.connect(None).await;
        // A ping is no message, and no authentication.
        client.0.send(Message::Ping(Bytes::new())).await.unwrap();
        client.authenticate(&token).await;
        match client.next().await {
            Some(Message::Pong(_)) => {}
            other => panic!("{framework:?}: {other:?}"),
        }
        assert_eq!(client.ask("again").await, "alice: again", "{framework:?}");

        let mut client = echo.connect(None).await;
        client.say("hello").await;
        let refused = because(CloseReason::Unauthenticated);
        assert_eq!(client.closed().await, refused, "{framework:?}");
        assert_eq!(echo.ended().await, Some(CloseReason::Unauthenticated));
    }
}

#[tokio::test]
async fn w6_a_socket_closes_at_expiry_and_at_revocation() {
    for framework in ALL {
        let mut echo = Echo::start(framework).await;
        let mut client = echo.connect(Some(&echo.token(60))).await;
        assert_eq!(client.ask("hello").await, "alice: hello");
        echo.clock.advance(Duration::from_secs(61));
        let reason = CloseReason::Expired;
        assert_eq!(client.closed().await, because(reason), "{framework:?}");
        assert_eq!(echo.ended().await, Some(reason));

        let mut client = echo.connect(Some(&echo.token(60))).await;
        assert_eq!(client.ask("hello").await, "alice: hello");
        echo.revoke();
        let reason = CloseReason::Revoked;
        assert_eq!(client.closed().await, because(reason), "{framework:?}");
        assert_eq!(echo.ended().await, Some(reason));
    }
}

#[tokio::test]
async fn w6_a_socket_is_renewed_in_band_by_its_own_session() {
    for framework in ALL {
        let mut echo = Echo::start(framework).await;
        let mut client = echo.connect(Some(&echo.token(60))).await;
        for _ in 0..3 {
            echo.clock.advance(Duration::from_secs(50));
            client.authenticate(&echo.token(60)).await;
            assert_eq!(client.ask("hello").await, "alice: hello", "{framework:?}");
        }
        let other = issuer().token(|claims| {
            let expires = echo.clock.now().as_secs() + 60;
            claims.insert("sid".into(), "another".into());
            claims.insert("exp".into(), expires.into())
        });
        client.authenticate(&other).await;
        let reason = CloseReason::Unauthenticated;
        assert_eq!(client.closed().await, because(reason), "{framework:?}");
        assert_eq!(echo.ended().await, Some(reason));
    }
}

#[tokio::test]
async fn w6_an_answer_can_close_the_socket_and_a_late_one_is_dropped() {
    for framework in ALL {
        let mut echo = Echo::start(framework).await;
        let mut client = echo.connect(Some(&echo.token(60))).await;
        client.say("leave").await;
        let reason = CloseReason::Unavailable;
        assert_eq!(client.closed().await, because(reason), "{framework:?}");
        assert_eq!(echo.ended().await, Some(reason));

        let mut client = echo.connect(Some(&echo.token(60))).await;
        assert_eq!(client.ask("hello").await, "alice: hello");
        client.say("wait").await;
        echo.revoke();
        let reason = CloseReason::Revoked;
        assert_eq!(client.closed().await, because(reason), "{framework:?}");
        assert_eq!(echo.ended().await, Some(reason));
    }
}

#[tokio::test]
async fn w6_a_client_that_does_not_read_does_not_outlive_its_token() {
    for framework in ALL {
        let hasty = |auth: SocketAuth| auth.close_within(Duration::from_millis(50));
        let mut echo = Echo::start_with(framework, hasty).await;
        let mut client = echo.connect(Some(&echo.token(60))).await;
        assert_eq!(client.ask("hello").await, "alice: hello");
        // More than the buffers of a connection hold.
        for _ in 0..32 {
            client.say("long").await;
        }
        echo.revoke();
        assert_eq!(
            echo.ended().await,
            Some(CloseReason::Revoked),
            "{framework:?}"
        );
    }
}

#[tokio::test]
async fn w6_unread_messages_do_not_cost_the_client_its_close_frame() {
    for framework in ALL {
        let echo = Echo::start(framework).await;
        let mut client = echo.connect(Some(&echo.token(60))).await;
        client.say("wait").await;
        for _ in 0..500 {
            client.say(&"y".repeat(1000)).await;
        }
        echo.revoke();
        let reason = CloseReason::Revoked;
        assert_eq!(client.closed().await, because(reason), "{framework:?}");
    }
}

#[tokio::test]
async fn w6_a_socket_that_sends_by_itself_ends_in_the_same_way() {
    let clock = TestClock::new();
    let revoked = RevocationSet::local_with_clock(clock.clone());
    let auth = SocketAuth::new(verifier().build().unwrap())
        .revocation(revoked.clone())
        .clock(clock.clone());
    let (ours, theirs) = tokio::io::duplex(1024);
    let caller = Principal::builder().subject("alice").session_id("s");
    let caller = Some(caller.build());
    let server = tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let frames = websocket_frames!(tokio_tungstenite);
        let mut socket = auth.accept(socket, frames, caller).await.unwrap();
        let mut often = tokio::time::interval(Duration::from_millis(1));
        loop {
            let answer = tokio::select! {
                message = socket.recv() => match message {
                    Some(message) => message,
                    None => return socket.reason(),
                },
                _ = often.tick() => Message::text("tick"),
            };
            socket.send(answer).await;
        }
    });
    let mut client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let (hello, tick) = (Message::text("hello"), Message::text("tick"));
    let (mut hellos, mut ticks) = (0, 0);
    client.send(hello.clone()).await.unwrap();
    while hellos < 20 || ticks < 20 {
        let next = client.next().await.unwrap().unwrap();
        match next == hello {
            true => hellos += 1,
            false => ticks += 1,
        }
        if next == hello {
            client.send(next).await.unwrap();
        }
    }
    let until = clock.now().plus(RETENTION);
    revoked.insert(&Revocation::session("s", until));
    let code = loop {
        match client.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => break u16::from(frame.code),
            other => assert!([&hello, &tick].contains(&&other)),
        }
    };
    assert_eq!(code, 4401);
    assert!(client.next().await.is_none());
    assert_eq!(server.await.unwrap(), Some(CloseReason::Revoked));
}

#[test]
fn w6_the_reason_to_close_a_stream_is_a_response_as_well() {
    use axum::response::IntoResponse;

    let unavailable = CloseReason::Unavailable.into_response();
    assert_eq!(unavailable.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unavailable.headers()["retry-after"], "1");
    for reason in [
        CloseReason::Expired,
        CloseReason::Revoked,
        CloseReason::Unauthenticated,
    ] {
        let refused = reason.into_response();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let challenge = &refused.headers()["www-authenticate"];
        assert_eq!(challenge, r#"Bearer error="invalid_token""#);
        assert_eq!(refused.headers()["cache-control"], "no-store");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
