//! A resource server, configured by environment variables: see `tower_jwt_auth::settings`.
//!
//! ```sh
//! # A secret, a token made by PyJWT (pip install pyjwt), a server:
//! export JWT_SECRET_KEY=$(openssl rand -hex 32) JWT_AUDIENCE=https://api.example
//! TOKEN=$(python3 -c 'import jwt, os, time; print(jwt.encode({"sub": "alice", "roles": ["admin"],
//!   "aud": os.environ["JWT_AUDIENCE"], "exp": int(time.time()) + 600}, os.environ["JWT_SECRET_KEY"]))')
//! cargo run --example resource_server --all-features &
//!
//! curl -i localhost:3000/protected                                   # 401 and a challenge
//! curl -i localhost:3000/protected -H "Authorization: Bearer $TOKEN" # 200 {"sub":"alice",…}
//! curl -i localhost:3000/admin -H "Authorization: Bearer $TOKEN"     # 200; 403 without the role
//! curl -i localhost:3000/public                                      # 200 {"authenticated":false}
//! curl localhost:3000/metrics
//!
//! # A public key instead of the secret:
//! openssl genpkey -algorithm ed25519 -out private.pem
//! openssl pkey -in private.pem -pubout -out public.pem
//! unset JWT_SECRET_KEY; export JWT_PUBLIC_KEY_FILE=public.pem
//! # … and jwt.encode(…, open("private.pem").read(), algorithm="EdDSA")
//!
//! # The keys of an identity provider, discovered by its issuer; or set JWT_JWKS_URL:
//! unset JWT_PUBLIC_KEY_FILE; export JWT_ISSUER=https://sso.example/realms/shop
//! curl -i localhost:3000/ready                                       # 503 and a reason without keys
//!
//! # As the authentication server of nginx, Caddy, Envoy or Traefik: see the manual.
//! export JWT_GATEWAY=true                                            # at /protected or /admin
//! ```
//!
//! For an invalid value, the server prints one line with the variable's name, and exits with code 2.

use std::{
    error::Error,
    io::{self, IsTerminal},
    process::ExitCode,
};

use axum::{
    Json, Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{any, get},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, JwtSettings, Principal, RoleGuardLayer, error::KeyProblem,
    event::MetricsSink,
};
use tracing_subscriber::filter::LevelFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // Warnings and errors, such as the reason why keys cannot be fetched.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = JwtSettings::from_env()?;
    let app = app(&settings)?;
    let stopped = stopped()?;
    let (host, port) = settings.address();
    let listener = TcpListener::bind((host, port))
        .await
        .map_err(|error| format!("HOST, PORT: cannot listen on {host}:{port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    for line in settings.warnings() {
        eprintln!("warning: {line}");
    }
    for name in settings.ignored() {
        eprintln!("warning: {name} is not a known variable; ignored");
    }
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

fn app(settings: &JwtSettings) -> Result<Router, Box<dyn Error>> {
    // Events are counted through the `metrics` facade and served at `/metrics`.
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let settings = settings.clone().events(MetricsSink::new());
    let verifier = settings.verifier::<Claims>()?;
    let auth = JwtAuthLayer::new(verifier).events(MetricsSink::new());
    let (auth, public) = match settings.gateway() {
        // Without a token every route refuses. Otherwise the gateway would allow every request.
        true => {
            let auth = auth.gateway().build()?;
            (auth.clone(), any(greet).layer(auth))
        }
        false => (auth.clone(), get(greet).layer(auth.optional())),
    };
    let probed = auth.clone();
    let app = guarded(settings.gateway())
        .route_layer(auth)
        .route("/public", public)
        .route("/metrics", get(async move || show(&metrics)))
        .route("/health", get(async || "ok"))
        .route("/ready", get(async move || ready(&probed)));
    Ok(app)
}

fn guarded(gateway: bool) -> Router {
    let admins = RoleGuardLayer::any_of(["admin"]);
    if !gateway {
        let admin = get(me).layer(admins);
        return Router::new()
            .route("/admin", admin)
            .route("/protected", get(me));
    }
    // A gateway may use the method of its client's request, and append that request's path.
    let below = ["", "/", "/{*path}"];
    below.iter().fold(Router::new(), |router, below| {
        let admin = any(me).layer(admins.clone());
        let router = router.route(&format!("/admin{below}"), admin);
        router.route(&format!("/protected{below}"), any(me))
    })
}

fn ready(auth: &JwtAuthLayer) -> (StatusCode, &'static str) {
    match auth.is_ready() {
        true => (StatusCode::OK, "ready"),
        // A fixed code, such as `name_not_resolved`. The log has the cause.
        false => {
            let reason = auth.key_problem().map_or("not ready", KeyProblem::as_str);
            (StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    }
}

async fn me(caller: Principal) -> Json<Value> {
    Json(json!({
        "sub": caller.subject(),
        "roles": caller.roles().collect::<Vec<_>>(),
        "scope": caller.scope().collect::<Vec<_>>(),
        "exp": caller.expires_at().map(|at| at.as_secs()),
    }))
}

async fn greet(caller: Option<Principal>) -> Json<Value> {
    Json(match caller {
        Some(caller) => json!({ "authenticated": true, "sub": caller.subject() }),
        None => json!({ "authenticated": false }),
    })
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
