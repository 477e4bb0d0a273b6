//! A login server: sign in, refresh, sign out, on SQLite, PostgreSQL, Redis or memory.
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
//! # With your database, users and keys; see tower_jwt_auth::settings::AuthSettings:
//! export AUTH_STORE=postgres://localhost/app AUTH_SEED_USER=me@example.org:a-long-password:admin
//! # The signing keys are then in the store as well, encrypted, and rotate by themselves.
//! export AUTH_SECRET_KEY=$(openssl rand 32 | basenc --base64url | tr -d '=')
//! ```
//!
//! The page <http://localhost:3000/> signs in with cookies. For an invalid value, the server prints one line
//! with the variable's name, and exits with code 2.

mod chat;
mod page;

use std::{error::Error, io, net::SocketAddr, num::NonZeroU32, process::ExitCode, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Query, State},
    http::{Extensions, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_jwt_auth::{
    JwtAuthLayer, Principal, RoleGuardLayer,
    event::MetricsSink,
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
    settings::AuthSettings,
    store::{
        AnyStore,
        port::{NewUser, UserAdmin, UserStore},
    },
};

use self::chat::{Chat, Conversations};

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
    let settings = AuthSettings::from_env()?;
    let stopped = stopped()?;
    let (host, port) = settings.address();
    let listener = TcpListener::bind((host, port))
        .await
        .map_err(|error| format!("HOST, PORT: cannot listen on {host}:{port}: {error}"))?;
    let address = listener.local_addr()?;
    let settings = settings.listening_on(address.port());
    let (app, _tasks) = app(&settings).await?;
    for name in settings.ignored() {
        eprintln!("warning: {name} is not a known variable; ignored");
    }
    println!("listening on http://{address}");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(stopped)
    .await?;
    Ok(())
}

/// The handles of the background tasks. Dropping them ends the tasks.
type Tasks = (ClaimWorker, Housekeeper);

async fn app(settings: &AuthSettings) -> Result<(Router, Tasks), Box<dyn Error>> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let store = open(settings).await?;
    let hasher = PasswordHasher::new();
    seed(settings, &store, &hasher).await?;

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
    let issuer = settings
        .issuer_with_events(&store, MetricsSink::new())
        .await?;
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
        .events(MetricsSink::new())
        .build()?;
    let login = Login::builder(store.clone(), store.clone(), secrets.login().clone())
        .hasher(hasher)
        .one_time(store.clone())
        .events(MetricsSink::new())
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
        .registration(settings.registration())
        .client_ip(clients)
        .guests(guests.clone())
        .signup_rate_limit(signup_limit)
        .events(MetricsSink::new())
        .build()
        .map_err(|error| format!("AUTH_PUBLIC_URL: {error}"))?;

    let cookie = endpoints.cookie().ok_or("no public origin")?;
    let chat = chat::routes(Chat {
        conversations,
        guests,
        sockets: SocketAuth::new(verifier.clone())
            .revocation(revocations.clone())
            .confirmations(confirmations.clone()),
    });
    let auth = JwtAuthLayer::new(verifier)
        .extractor((Bearer::new(), cookie.clone()))
        .revocation(revocations)
        .confirmations(confirmations)
        .events(MetricsSink::new());
    let ready = auth.clone();
    let auth_of_chat = auth.clone().optional().extractor((
        Bearer::new(),
        WebSocketProtocol::new("bearer"),
        cookie,
    ));
    let app = Router::new()
        .route("/api/admin/users", get(users).with_state(store))
        .route("/admin", get(me))
        .route_layer(RoleGuardLayer::any_of(["admin"]))
        .route("/api/me", get(my).post(my))
        .route("/protected", get(me))
        .route_layer(auth.clone())
        .route("/public", get(public).layer(auth.optional()))
        .route_service("/.well-known/{*document}", endpoints.well_known())
        .route_service(
            &format!("{}/{{*endpoint}}", settings.base_path()),
            endpoints,
        )
        .merge(chat.layer(auth_of_chat))
        .merge(page::routes())
        .route("/metrics", get(async move || show(&metrics)))
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

/// Creates the seed users. Existing users are not changed.
async fn seed(
    settings: &AuthSettings,
    store: &AnyStore,
    hasher: &PasswordHasher,
) -> Result<(), Box<dyn Error>> {
    let mut users = Vec::new();
    for seed in settings.seed_users() {
        users.push((
            seed.name(),
            seed.password().expose().clone(),
            seed.roles().to_vec(),
        ));
    }
    if settings.is_a_first_try() {
        println!("demo user: demo@example.org, password: demo-password");
        users.push((
            "demo@example.org",
            "demo-password".to_owned(),
            vec!["user".to_owned()],
        ));
    }
    for (name, password, roles) in users {
        let wrong = |error: &dyn Error| format!("AUTH_SEED_USER: {error}");
        let identifier = Identifier::new(name).map_err(|error| wrong(&error))?;
        let password = Password::new(password).map_err(|error| wrong(&error))?;
        let hash = hasher.hash(&password).await?;
        let user = NewUser::new(name, identifier, hash).roles(roles);
        let created = UserStore::create(store, user).await;
        created.map_err(|error| format!("AUTH_STORE: {}", error.causes()))?;
    }
    Ok(())
}

/// For users only: a guest is refused with 403.
async fn my(user: UserPrincipal) -> Json<Value> {
    me(user.into()).await
}

async fn me(caller: Principal) -> Json<Value> {
    Json(json!({
        "sub": caller.subject(),
        "roles": caller.roles().collect::<Vec<_>>(),
        "scope": caller.scope().collect::<Vec<_>>(),
        "exp": caller.expires_at().map(|at| at.as_secs()),
    }))
}

async fn public(caller: Option<Principal>) -> Json<Value> {
    Json(match caller {
        Some(caller) => json!({ "authenticated": true, "sub": caller.subject() }),
        None => json!({ "authenticated": false }),
    })
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
}

async fn users(
    State(store): State<AnyStore>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, StatusCode> {
    let after = match page.after {
        Some(name) => Some(Identifier::existing(&name).map_err(|_| StatusCode::BAD_REQUEST)?),
        None => None,
    };
    let users = store.users(after.as_ref(), 100).await;
    let users = users.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let users = users.iter().map(|user| {
        json!({
            "sub": user.subject,
            "name": user.identifier.as_str(),
            "roles": user.roles,
            "disabled": user.disabled,
        })
    });
    Ok(Json(json!({ "users": users.collect::<Vec<_>>() })))
}

fn show(metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    metrics.run_upkeep();
    let kind = (CONTENT_TYPE, "text/plain; version=0.0.4");
    ([kind], metrics.render())
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
