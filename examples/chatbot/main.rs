//! A chat for anonymous users, who keep their conversation when they sign in.
//!
//! ```sh
//! cargo run --example chatbot --all-features   # then open http://localhost:3000
//!
//! A=localhost:3000; JSON='content-type: application/json'
//! GUEST=$(curl -s -X POST $A/api/auth/guest | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
//! curl -s $A/chat/messages -H "Authorization: Bearer $GUEST" -H "$JSON" -d '{"text":"hello"}'
//! curl -i $A/tasks -H "Authorization: Bearer $GUEST" -H "$JSON" -d '{"title":"milk"}'    # 403
//! LOGIN='{"email":"demo@example.org","password":"demo-password","link":true}'
//! USER=$(curl -s $A/api/auth/login -H "Authorization: Bearer $GUEST" -H "$JSON" -d "$LOGIN" |
//!   sed 's/.*"access_token":"\([^"]*\)".*/\1/')
//! curl -s $A/chat/messages -H "Authorization: Bearer $USER"                              # the same conversation
//! curl -i $A/chat/context -H "Authorization: Bearer $GUEST"                              # 401
//! ```
//!
//! The bot repeats messages and keeps a list of tasks: `tasks`, `add milk`, `done 1`. A WebSocket does the
//! same: `new WebSocket("ws://localhost:3000/chat/ws", ["bearer", token])`.
//!
//! All data are in memory, with the last twenty messages of each conversation. `HOST`, a loopback address, and
//! `PORT` set the listening address. Variables of `auth_server` are refused, and no others are read.

mod bot;
mod page;
mod socket;

use std::{
    convert::Infallible, env, error::Error, io, net::SocketAddr, num::NonZeroU32,
    process::ExitCode, time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, Path, State},
    http::{Extensions, HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http_body_util::channel::Channel;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};
use tower_jwt_auth::{
    JwtAuthLayer,
    layer::{
        extract::{Bearer, WebSocketProtocol},
        rate_limit::{ClientIp, RateLimitLayer},
        socket::{ChatContext, ChatLayer, CloseReason, SocketAuth},
    },
    principal::{AnyPrincipal, UserPrincipal},
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        login::{Identifier, Login, Password, PasswordHasher},
        session::{Guests, Sessions},
    },
    settings::AuthSettings,
    store::{
        MemoryStore,
        port::{NewUser, UserStore},
    },
};

use self::{bot::Bot, socket::Chat};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let ignored = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut ignored = ignored.filter(|name| name.starts_with("AUTH_") || name.starts_with("JWT_"));
    if let Some(name) = ignored.next() {
        let message = "this example reads HOST and PORT only; see auth_server";
        return Err(format!("{name}: {message}").into());
    }
    let settings = AuthSettings::from_env()?;
    let stopped = stopped()?;
    let listener = TcpListener::bind(settings.address()).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        let message = "this example has a published password and listens on loopback only";
        return Err(format!("HOST: {message}").into());
    }
    let settings = settings.listening_on(address.port());
    let app = app(&settings).await?;
    println!("listening on http://{address}");
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

async fn app(settings: &AuthSettings) -> Result<Router, Box<dyn Error>> {
    let (store, bot) = (MemoryStore::new(), Bot::default());
    let secret = SecretKey::generate();
    let hasher = PasswordHasher::new();
    let password = Password::new("demo-password".to_owned())?;
    let name = Identifier::new("demo@example.org")?;
    let user = NewUser::new("u-demo", name, hasher.hash(&password).await?);
    UserStore::create(&store, user).await?;
    println!("demo user: demo@example.org, password: demo-password");

    let revocations = store.revocations()?;
    let issuer = settings.issuer(&store).await?;
    let verifier = issuer.verifier().build()?;
    let sessions = Sessions::builder(issuer, store.clone())
        .secret(secret.clone())
        .revocation(revocations.clone())
        .build()?;
    let login = Login::builder(store.clone(), store.clone(), secret.clone())
        .hasher(hasher)
        .build();
    // A user who signs in keeps the conversation of the guest.
    let guests = Guests::builder(sessions.clone(), store.clone())
        .on_claim(bot.clone())
        .build()?;
    let clients = ClientIp::peer().peer_from(|extensions: &Extensions| {
        let info = extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|info| info.0)
    });
    // Generous for local tests. On the internet use the default of 30 per hour.
    let signup_limit =
        RateLimitLayer::per_minute(SIGNUPS_PER_MINUTE, clients.clone()).burst(AT_ONCE);
    let endpoints = AuthEndpoints::builder(sessions, login, secret)
        .public_origin(settings.public_url())
        .client_ip(clients)
        .guests(guests.clone())
        .signup_rate_limit(signup_limit)
        .build()?;
    let cookie = endpoints.cookie().ok_or("no public origin")?;
    let sockets = SocketAuth::new(verifier.clone()).revocation(revocations.clone());
    let auth = JwtAuthLayer::new(verifier)
        .optional()
        .extractor((Bearer::new(), WebSocketProtocol::new("bearer"), cookie))
        .revocation(revocations);
    let chat = Chat {
        bot,
        guests,
        sockets,
    };

    Ok(Router::new()
        .route("/chat/messages", get(history).post(say))
        .route("/chat/context", get(context))
        .route("/chat/ws", any(socket::upgrade))
        .route("/tasks", get(tasks).post(add))
        .route("/tasks/{number}/finish", post(finish))
        .with_state(chat)
        .layer(DefaultBodyLimit::max(socket::LONGEST))
        .layer(ChatLayer::new())
        .layer(auth)
        .route_service("/api/auth/{*endpoint}", endpoints)
        .merge(page::routes()))
}

async fn context(chat: ChatContext) -> Json<Value> {
    Json(json!({
        "authenticated": chat.is_authenticated(),
        "user_id": chat.user_id(),
        "session_id": chat.session_id(),
        "conversation": chat.subject(),
        "can_manage_tasks": chat.is_authenticated(),
        "permissions": chat.permissions().collect::<Vec<_>>(),
        "expires_at": chat.expires_at().map(|at| at.as_secs()),
    }))
}

async fn history(State(bot): State<Bot>, who: AnyPrincipal) -> Json<Value> {
    Json(json!({ "messages": bot.history(who.subject().unwrap_or_default()) }))
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

/// Answers in JSON, or word by word if the client accepts an event stream.
async fn say(
    State(chat): State<Chat>,
    who: AnyPrincipal,
    headers: HeaderMap,
    Json(said): Json<Said>,
) -> Response {
    let conversation = who.subject().unwrap_or_default().to_owned();
    let reply = match chat.hear(&who, &said.text).await {
        Ok(reply) => reply,
        Err(CloseReason::Unavailable) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => {
            let challenge = r#"Bearer error="invalid_token""#;
            let challenge = [(header::WWW_AUTHENTICATE, challenge)];
            return (StatusCode::UNAUTHORIZED, challenge).into_response();
        }
    };
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if accepts != Some("text/event-stream") {
        return Json(json!({ "reply": reply, "conversation": conversation })).into_response();
    }
    let (mut words, body) = Channel::<Bytes, Infallible>::new(8);
    tokio::spawn(async move {
        for word in reply.split_inclusive(' ') {
            let event = format!("data: {}\n\n", json!(word));
            if words.send_data(event.into()).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(30)).await;
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::new(body)).into_response()
}

async fn tasks(State(bot): State<Bot>, who: AnyPrincipal) -> Json<Value> {
    Json(json!({ "tasks": bot.tasks(who.subject().unwrap_or_default()) }))
}

#[derive(Deserialize)]
struct NewTask {
    title: String,
}

/// For users only: a guest is refused with 403.
async fn add(State(bot): State<Bot>, user: UserPrincipal, Json(task): Json<NewTask>) -> StatusCode {
    bot.add(user.subject().unwrap_or_default(), &task.title);
    StatusCode::CREATED
}

async fn finish(
    State(bot): State<Bot>,
    user: UserPrincipal,
    Path(number): Path<usize>,
) -> StatusCode {
    match bot.finish(user.subject().unwrap_or_default(), number) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::NOT_FOUND,
    }
}

/// Installs handlers for Ctrl-C and SIGTERM, and returns a future that completes at the first signal. The
/// server then finishes the requests in progress.
#[cfg(unix)]
fn stopped() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    })
}

#[cfg(not(unix))]
fn stopped() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

const SIGNUPS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
