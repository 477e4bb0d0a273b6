//! A chat server in one value: sessions, guests, an axum router, a clock.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::{any, get},
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Channel};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    JwtAuthLayer, Principal, Verifier,
    key::{Algorithm, SigningKey},
    layer::{
        extract::{Bearer, WebSocketProtocol},
        role_guard::Rule,
        socket::{AuthMessage, ChatContext, ChatLayer, CloseReason, SocketAuth},
    },
    principal::{AnyPrincipal, GuestPrincipal, UserPrincipal},
    revocation::RevocationSet,
    secret::SecretKey,
    server::{
        issue::{KeyRing, TokenIssuer},
        session::{
            GuestStart, Guests, GuestsBuilder, SessionClaims, Sessions, StartSession, TokenPair,
        },
    },
    store::MemoryStore,
    test_util::TestClock,
};

pub(crate) struct Chat {
    pub(crate) clock: TestClock,
    pub(crate) guests: Guests,
    pub(crate) verifier: Verifier,
    /// What each of two nodes knows to be revoked.
    pub(crate) nodes: [RevocationSet; 2],
    pub(crate) app: Router,
}

impl Chat {
    /// Looks at the time after each `interval`, and waits for a first message by the real clock.
    pub(crate) async fn on(
        store: MemoryStore,
        clock: TestClock,
        configure: impl FnOnce(GuestsBuilder) -> GuestsBuilder,
        [interval, first_message]: [Duration; 2],
    ) -> Self {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let ring = KeyRing::builder(key).clock(clock.clone());
        let issuer = TokenIssuer::builder(ring.build().unwrap())
            .issuer("https://as.example")
            .audience("chat")
            .build()
            .unwrap();
        let verifier = issuer
            .verifier()
            .allow_conversation_tokens()
            .build()
            .unwrap();
        let sessions = Sessions::builder(issuer, store.clone())
            .secret(SecretKey::generate())
            .build()
            .unwrap();
        let guests = configure(Guests::builder(sessions, store.clone()))
            .claims_every(Duration::from_millis(10));
        let nodes = [(); 2]
            .map(|()| RevocationSet::follow_with_clock(store.feed(), clock.clone()).unwrap());
        for node in &nodes {
            assert!(node.loaded(Duration::from_secs(60)).await);
        }
        let auth = SocketAuth::new(verifier.clone())
            .revocation(nodes[0].clone())
            .clock(clock.clone())
            .first_message_within(first_message)
            .check_every(interval);
        let layer = JwtAuthLayer::new(verifier.clone())
            .revocation(nodes[0].clone())
            .extractor((Bearer::new(), WebSocketProtocol::new("bearer")))
            .optional();
        let chat = ChatLayer::new().manage(Rule::any_of(["editor"]));
        let app = Router::new()
            .route(
                "/user",
                get(async |user: UserPrincipal| user.subject().unwrap().to_owned()),
            )
            .route(
                "/guest",
                get(async |guest: GuestPrincipal| guest.subject().unwrap().to_owned()),
            )
            .route(
                "/any",
                get(async |any: AnyPrincipal| any.is_guest().to_string()),
            )
            .route("/chat/context", get(context))
            .route("/chat/ws", any(upgrade))
            .route("/chat/events", get(events))
            .with_state(auth)
            .layer(chat)
            .layer(layer);
        Self {
            clock,
            guests: guests.build().unwrap(),
            verifier,
            nodes,
            app,
        }
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        self.guests.sessions()
    }

    /// A guest whose client keeps its tokens.
    pub(crate) async fn guest(&self) -> TokenPair {
        let guest = self.guests.start(GuestStart::new()).await.unwrap();
        guest.tokens().clone()
    }

    pub(crate) async fn user(&self, name: &str) -> TokenPair {
        self.sessions().start(user(name)).await.unwrap()
    }

    pub(crate) async fn refresh(&self, pair: &TokenPair) -> TokenPair {
        let refreshed = self.sessions().refresh(pair.refresh_token().expose()).await;
        refreshed.unwrap()
    }

    pub(crate) fn caller(&self, token: &str) -> Principal {
        self.verifier.verify_now(token).unwrap().principal()
    }

    pub(crate) fn caller_of(&self, pair: &TokenPair) -> Principal {
        self.caller(pair.access_token().expose())
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn status(&self, path: &str, token: &str) -> StatusCode {
        self.get(path, Some(token)).await.0
    }

    /// Both nodes know of a revocation as soon as the store does, but not sooner.
    pub(crate) async fn all_nodes_refuse(&self, caller: &Principal) {
        for node in &self.nodes {
            let heard = async {
                while !node.contains(caller) {
                    tokio::task::yield_now().await;
                }
            };
            let heard = tokio::time::timeout(Duration::from_secs(60), heard).await;
            heard.expect("every node hears of it");
        }
    }
}

pub(crate) fn user(name: &str) -> StartSession {
    let claims = SessionClaims::new()
        .roles(["editor"])
        .permissions(["tasks:add"]);
    StartSession::new(name).amr(["pwd"]).claims(claims)
}

async fn context(chat: ChatContext) -> Json<Value> {
    Json(json!({
        "authenticated": chat.is_authenticated(),
        "user_id": chat.user_id(),
        "subject": chat.subject(),
        "session_id": chat.session_id(),
        "conversation": chat.conversation(),
        "can_manage_tasks": chat.can_manage(),
        "permissions": chat.permissions().collect::<Vec<_>>(),
        "expires_at": chat.expires_at().map(|at| at.as_secs()),
    }))
}

async fn upgrade(
    State(auth): State<SocketAuth>,
    caller: Option<Principal>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .protocols(["bearer"])
        .on_upgrade(async move |mut socket| {
            if let Err(reason) = talk(&auth, caller, &mut socket).await {
                let frame = CloseFrame {
                    code: reason.code(),
                    reason: reason.as_str().into(),
                };
                let _ = socket.send(Message::Close(Some(frame))).await;
            }
        })
}

async fn talk(
    auth: &SocketAuth,
    caller: Option<Principal>,
    socket: &mut WebSocket,
) -> Result<(), CloseReason> {
    let mut guard = match caller {
        Some(caller) => auth.guard(caller)?,
        None => {
            let message = async {
                match socket.recv().await {
                    Some(Ok(Message::Text(text))) => Some(text.to_string()),
                    _ => None,
                }
            };
            auth.first_message(message).await?
        }
    };
    loop {
        let message = tokio::select! {
            reason = guard.closed() => return Err(reason),
            message = socket.recv() => message,
        };
        let Some(Ok(message)) = message else {
            return Ok(());
        };
        let Message::Text(text) = message else {
            continue;
        };
        if let Some(renewal) = AuthMessage::parse(&text) {
            guard.renew(renewal.token().expose()).await?;
            continue;
        }
        let who = guard.caller().subject().unwrap_or_default();
        let answer = format!("{who}: {text}");
        let _ = socket.send(Message::Text(answer.into())).await;
    }
}

/// A stream of events that tells why it ends.
async fn events(State(auth): State<SocketAuth>, caller: AnyPrincipal) -> Response {
    let (mut sender, body) = Channel::<bytes::Bytes>::new(4);
    tokio::spawn(async move {
        let _ = sender.send_data("data: hello\n\n".into()).await;
        let reason = match auth.guard(caller.into()) {
            Ok(guard) => guard.into_closed().await,
            Err(reason) => reason,
        };
        let last = format!("event: close\ndata: {reason}\n\n");
        let _ = sender.send_data(last.into()).await;
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::new(body)).unwrap()
}
