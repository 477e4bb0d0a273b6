//! A login server with a page that shows it: sign in, refresh, sign out, sessions, attacks, a chat for
//! guests. On SQLite, PostgreSQL, Redis or memory.
//!
//! ```sh
//! cargo run --example auth_server --all-features   # by default: SQLite, and a demo user
//!
//! LOGIN='{"email":"demo@example.org","password":"demo-password"}'
//! JSON='content-type: application/json'
//! A=localhost:3000/api/auth
//! TOKENS=$(curl -s $A/login -H "$JSON" -d "$LOGIN"); echo $TOKENS
//! field() { echo $TOKENS | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
//!
//! curl -i localhost:3000/api/me -H "Authorization: Bearer $(field access_token)"          # 200
//! curl -i localhost:3000/api/admin/users -H "Authorization: Bearer $(field access_token)" # 403
//! TOKENS=$(curl -s $A/refresh -d "refresh_token=$(field refresh_token)"); echo $TOKENS    # others
//! curl -i -X POST $A/logout -H "Authorization: Bearer $(field access_token)"              # 204
//! curl -i localhost:3000/api/me -H "Authorization: Bearer $(field access_token)"          # 401
//! curl -i $A/refresh -d "refresh_token=$(field refresh_token)"                            # 400
//! curl localhost:3000/.well-known/jwks.json
//!
//! # An anonymous user begins a conversation, signs in, and continues it:
//! C=localhost:3000/chat
//! TOKENS=$(curl -s -X POST $A/guest); GUEST=$(field access_token)
//! curl -s $C/messages -H "Authorization: Bearer $GUEST" -H "$JSON" -d '{"text":"hello"}'
//! LOGIN='{"email":"demo@example.org","password":"demo-password","link":true}'
//! TOKENS=$(curl -s $A/login -H "Authorization: Bearer $GUEST" -H "$JSON" -d "$LOGIN")
//! curl -s $C/messages -H "Authorization: Bearer $(field access_token)"                    # hello
//! curl -i $C/context -H "Authorization: Bearer $GUEST"                                    # 401
//!
//! # With your database, users and keys; see tower_jwt_auth::AuthSettings:
//! export AUTH_STORE=postgres://localhost/app AUTH_SEED_USER=me@example.org:a-long-password:admin
//! # The signing keys are then in the store as well, encrypted, and rotate by themselves.
//! export AUTH_SECRET_KEY=$(openssl rand 32 | basenc --base64url | tr -d '=')
//! ```
//!
//! Open <http://localhost:3000/>. For an invalid value, the server prints one line with the variable's name,
//! and exits with code 2.

mod chat;
#[path = "../common.rs"]
mod common;
mod live;
mod page;

use std::{error::Error, net::SocketAddr, num::NonZeroU32, process::ExitCode, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::{Extensions, StatusCode},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_jwt_auth::{
    AuthSettings, Claims, JwtAuthLayer, RoleGuardLayer, Verified,
    event::{EventSink, MetricsSink},
    layer::{
        Confirmations,
        extract::{Bearer, WebSocketProtocol},
        rate_limit::RateLimitLayer,
        socket::SocketAuth,
    },
    principal::UserPrincipal,
    server::{
        endpoints::AuthEndpoints,
        login::{Identifier, Login, Password, PasswordHasher, UserClaims},
        session::{ClaimWorker, Guests, Housekeeper, Sessions},
    },
    store::{
        AnyStore,
        port::{NewUser, UserAdmin, UserStore},
    },
};

use self::{
    chat::{Chat, Conversations},
    live::{Feed, Live},
};

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = AuthSettings::from_env()?;
    let stopped = common::stopped()?;
    let (host, port) = settings.address();
    let listener = TcpListener::bind((host, port))
        .await
        .map_err(|error| format!("HOST, PORT: cannot listen on {host}:{port}: {error}"))?;
    let address = listener.local_addr()?;
    let settings = settings.listening_on(address.port());
    let feed = Feed::new();
    let (app, _tasks) = app(&settings, &feed).await?;
    for name in settings.ignored() {
        eprintln!("warning: {name} is not a known variable; ignored");
    }
    println!("listening on http://{address}");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async move {
        stopped.await;
        feed.close();
    })
    .await?;
    Ok(())
}

/// The handles of the background tasks. Dropping them ends the tasks.
type Tasks = (ClaimWorker, Housekeeper);

async fn app(settings: &AuthSettings, feed: &Feed) -> Result<(Router, Tasks), Box<dyn Error>> {
    let metrics = common::metrics()?;
    let events = || MetricsSink::new().and(feed.clone());
    let store = open(settings).await?;
    let hasher = PasswordHasher::new();
    let accounts = seed(settings, &store, &hasher).await?;
    let registration = settings.registration() || !accounts.is_empty();
    let demo = json!({
        "accounts": accounts,
        "registration": registration,
        "grace_seconds": settings.refresh_policy().grace_window().as_secs(),
    });

    let secrets = settings.secrets(&store).await?;
    if !secrets.are_lasting() {
        println!(
            "AUTH_SECRET_KEY is not set: CSRF proofs, trusted devices and the counters of guesses die with the process, and no other one shares them"
        );
    }
    if settings.is_behind_an_unnamed_proxy() {
        println!(
            "AUTH_TRUSTED_PROXIES is not set: if a proxy stands before this server, all clients are one to it"
        );
    }
    if settings.keys_end_with_process(&store) {
        println!(
            "the signing key ends with the process, and its tokens with it: set AUTH_SECRET_KEY and a store other than memory:, or JWT_PRIVATE_KEY_FILE"
        );
    }

    let revocations = store.revocations()?;
    // Until the revocations are loaded, requests with a token are answered with 503; see /ready.
    revocations.loaded(Duration::from_secs(5)).await;
    let issuer = settings.issuer_with_events(&store, events()).await?;
    let verifier = issuer.verifier().build()?;
    let confirmations = Confirmations::new(store.clone())?;
    let mut sessions = Sessions::builder(issuer, store.clone());
    if let Some(acr) = settings.acr_mfa() {
        sessions = sessions.mfa_acr(acr);
    }
    let sessions = sessions
        .secret(secrets.sessions().clone())
        .policy(settings.refresh_policy())
        .idle(settings.refresh_idle())
        .max_sessions(settings.max_sessions())
        .revocation(revocations.clone())
        .confirmations(confirmations.clone())
        .claims_source(UserClaims::new(store.clone()))
        .events(events())
        .build()?;
    let login = Login::builder(store.clone(), store.clone(), secrets.login().clone())
        .hasher(hasher)
        .one_time(store.clone())
        .events(events())
        .build();
    // A user who signs in keeps the conversation of the guest.
    let conversations = Conversations::default();
    let guests = Guests::builder(sessions.clone(), store.clone())
        .on_claim(conversations.clone())
        .build()?;
    // The claim worker retries failed hooks. Housekeeping deletes expired rows.
    let tasks = (guests.spawn_claim_worker(), guests.housekeeping().spawn());
    let clients = settings.client_ip().peer_from(|extensions: &Extensions| {
        let info = extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|info| info.0)
    });
    // Generous for local tests. On the internet use the default of 30 per hour.
    let signup_limit =
        RateLimitLayer::per_minute(SIGNUPS_PER_MINUTE, clients.clone()).burst(AT_ONCE);
    let mut endpoints = AuthEndpoints::builder(sessions, login, secrets.login().clone());
    for origin in settings.trusted_origins() {
        endpoints = endpoints.trusted_origin(origin);
    }
    if let Some(prefix) = settings.cookie_prefix() {
        endpoints = endpoints.cookie_prefix(prefix);
    }
    let endpoints = endpoints
        .base_path(settings.base_path())
        .public_origin(settings.public_url())
        .registration(registration)
        .client_ip(clients)
        .guests(guests.clone())
        .signup_rate_limit(signup_limit)
        .events(events())
        .build()
        .map_err(|error| format!("AUTH_PUBLIC_URL: {error}"))?;

    let cookie = endpoints.cookie().ok_or("no public origin")?;
    let sockets = SocketAuth::new(verifier.clone())
        .revocation(revocations.clone())
        .confirmations(confirmations.clone());
    let live = live::routes(Live {
        feed: feed.clone(),
        sockets: sockets.clone(),
        sessions: guests.sessions().clone(),
    });
    let chat = chat::routes(Chat {
        conversations,
        guests,
        sockets,
    });
    let auth = JwtAuthLayer::new(verifier)
        .extractor((Bearer::new(), cookie.clone()))
        .revocation(revocations)
        .confirmations(confirmations)
        .events(events());
    let ready = auth.clone();
    let auth_of_chat = auth.clone().optional().extractor((
        Bearer::new(),
        WebSocketProtocol::new("bearer"),
        cookie,
    ));
    let app = Router::new()
        .route("/api/admin/users", get(users).with_state(store))
        .route("/admin", get(common::me))
        .route_layer(RoleGuardLayer::any_of(["admin"]))
        .route("/api/me", get(me).post(me))
        .route("/protected", get(common::me))
        .merge(live)
        .route_layer(auth.clone())
        .route("/public", get(common::greet).layer(auth.optional()))
        .route_service("/.well-known/{*document}", endpoints.well_known())
        .route_service(
            &format!("{}/{{*endpoint}}", settings.base_path()),
            endpoints,
        )
        .merge(chat.layer(auth_of_chat))
        .merge(page::routes())
        .route("/demo", get(async move || Json(demo)))
        .route("/metrics", metrics)
        .route("/health", get(async || "ok"))
        .route(
            "/ready",
            get(async move || match ready.is_ready() {
                true => (StatusCode::OK, "ready"),
                false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            }),
        );
    Ok((app, tasks))
}

async fn open(settings: &AuthSettings) -> Result<AnyStore, Box<dyn Error>> {
    let url = match settings.store() {
        Some(url) => url.to_owned(),
        None => {
            let mut folder = tempfile::Builder::new();
            #[cfg(unix)]
            folder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let folder = folder.prefix("auth_server-").tempdir()?;
            let path = folder.keep().join("auth.db");
            println!("AUTH_STORE is not set: {}", path.display());
            format!("sqlite:{}", path.display())
        }
    };
    let store = AnyStore::open(&url).await;
    Ok(store.map_err(|error| format!("AUTH_STORE: {error}"))?)
}

/// Creates the seed users, and the demo users, which it returns. Existing users are not changed.
async fn seed(
    settings: &AuthSettings,
    store: &AnyStore,
    hasher: &PasswordHasher,
) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut users = Vec::new();
    for seed in settings.seed_users() {
        let password = seed.password().expose().clone();
        users.push((seed.name(), seed.name(), password, seed.roles().to_vec()));
    }
    let mut demo = Vec::new();
    if settings.is_a_first_try() {
        for (subject, name, role) in [
            ("u-demo", "demo@example.org", "user"),
            ("u-admin", "admin@example.org", "admin"),
        ] {
            println!("demo user: {name}, password: {PASSWORD}");
            users.push((subject, name, PASSWORD.to_owned(), vec![role.to_owned()]));
            demo.push(json!({ "email": name, "password": PASSWORD, "roles": [role] }));
        }
    }
    for (subject, name, password, roles) in users {
        let wrong = |error: &dyn Error| format!("AUTH_SEED_USER: {error}");
        let identifier = Identifier::new(name).map_err(|error| wrong(&error))?;
        let password = Password::new(password).map_err(|error| wrong(&error))?;
        let hash = hasher.hash(&password).await?;
        let user = NewUser::new(subject, identifier, hash).roles(roles);
        let created = UserStore::create(store, user).await;
        created.map_err(|error| format!("AUTH_STORE: {}", error.causes()))?;
    }
    Ok(demo)
}

/// For users only: a guest is refused with 403.
async fn me(user: UserPrincipal, token: Verified<Claims>) -> Json<Value> {
    let Json(mut me) = common::me(user.into()).await;
    let claims = token
        .iter()
        .map(|(name, value)| (name.to_owned(), value.clone()));
    me["claims"] = claims.collect();
    Json(me)
}

async fn users(State(store): State<AnyStore>) -> Result<Json<Value>, StatusCode> {
    let users = store.users(None, 100).await;
    let users = users.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let users = users.iter().map(|user| {
        let (name, roles) = (user.identifier.as_str(), &user.roles);
        json!({ "sub": user.subject, "name": name, "roles": roles, "disabled": user.disabled })
    });
    Ok(Json(json!({ "users": users.collect::<Vec<_>>() })))
}

const PASSWORD: &str = "demo-password";
const SIGNUPS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
