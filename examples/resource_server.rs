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
//! # Opaque tokens of the same provider, by its introspection endpoint (RFC 7662):
//! export JWT_INTROSPECTION_CLIENT_ID=orders JWT_INTROSPECTION_CLIENT_SECRET=…
//!
//! # A page that shows the reason for which a pasted token is refused, at /explain:
//! EXPLAIN_PAGE=true cargo run --example resource_server --all-features
//!
//! # Logout at the provider, which posts it to /backchannel-logout:
//! export JWT_BACKCHANNEL_LOGOUT=true JWT_LOGOUT_CLIENT_ID=shop-web
//! export JWT_LOGOUT_STORE=redis://localhost                          # for several nodes
//!
//! # Metadata for clients that know only this server's URL (RFC 9728), as those of MCP:
//! export JWT_RESOURCE=http://localhost:3000 JWT_AUTHORIZATION_SERVERS=https://sso.example/realms/shop
//! curl -i localhost:3000/protected                                   # names the metadata's URL
//! curl localhost:3000/.well-known/oauth-protected-resource
//!
//! # Tokens that are bound to a key of their client (RFC 9449), which addresses the server by this URL:
//! export JWT_RESOURCE=http://localhost:3000 JWT_DPOP=allowed
//! curl -i localhost:3000/protected                                   # a second challenge: DPoP algs="…"
//!
//! # For a sign-in with a second factor within the last five minutes (RFC 9470):
//! curl -i localhost:3000/step-up -H "Authorization: Bearer $TOKEN"   # 401 with acr_values, max_age
//!
//! # Tokens that are bound to the certificate of the client, which nginx forwards in X-Client-Cert (RFC 8705):
//! export JWT_MTLS=required JWT_MTLS_HEADER=nginx JWT_TRUSTED_PROXIES=127.0.0.1
//! curl -i localhost:3000/protected -H "Authorization: Bearer $TOKEN" # 401, as the token is not bound
//!
//! # As the authentication server of nginx, Caddy, Envoy or Traefik: see the manual.
//! export JWT_GATEWAY=true                                            # at /protected or /admin
//! ```
//!
//! For an invalid value, the server prints one line with the variable's name, and exits with code 2.

mod common;
mod explain;

use std::{
    env,
    error::Error,
    io::{self, IsTerminal},
    net::{IpAddr, SocketAddr},
    process::ExitCode,
};

use axum::{
    Router,
    http::StatusCode,
    routing::{any, get},
};
use tower_jwt_auth::{
    Claims, JwtAuthLayer, JwtSettings, RoleGuardLayer, error::KeyProblem, event::MetricsSink,
    revocation::RevocationCheck,
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
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = JwtSettings::from_env()?;
    settings
        .warnings()
        .for_each(|warning| println!("{warning}"));
    let app = app(&settings).await?;
    let stopped = common::stopped()?;
    let listener = common::listen(settings.address()).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // A certificate header counts only from the address of a trusted proxy.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

async fn app(settings: &JwtSettings) -> Result<Router, Box<dyn Error>> {
    // Events are counted through the `metrics` facade and served at `/metrics`.
    let metrics = common::metrics()?;
    let settings = settings.clone().events(MetricsSink::new());
    let auth = settings.layer()?;
    // What the issuer's logout tokens end, if the server receives them.
    let (logout, revoked) = settings.open_back_channel_logout(auth.verifier()).await?;
    let auth = auth.revocation(revoked);
    let public = match settings.gateway() {
        // Without a token every route refuses. Otherwise the gateway would allow every request.
        true => any(common::greet).layer(auth.clone()),
        false => get(common::greet).layer(auth.clone().optional()),
    };
    let probed = auth.clone();
    let metadata = auth.metadata();
    let app = guarded(settings.gateway())
        .route_layer(auth.clone())
        .route("/public", public)
        .route("/metrics", metrics)
        .route("/health", get(async || "ok"))
        .route("/ready", get(async move || ready(&probed)));
    let app = match logout {
        Some(logout) => app.route_service("/backchannel-logout", logout),
        None => app,
    };
    // For clients that know only the URL of this server. The layer is on the routes above.
    let app = match metadata {
        Some(metadata) => app.route_service(metadata.path(), metadata.clone()),
        None => app,
    };
    Ok(match has_page(&settings)? {
        true => app.merge(explain::routes(auth.verifier().clone())),
        false => app,
    })
}

/// Returns `true` if the page for developers is wanted. Its place is a developer's machine.
fn has_page(settings: &JwtSettings) -> Result<bool, Box<dyn Error>> {
    let wanted = match env::var("EXPLAIN_PAGE").as_deref() {
        Err(_) | Ok("false") => return Ok(false),
        Ok(value) => value == "true",
    };
    let address = settings.host().parse::<IpAddr>();
    let local = settings.host() == "localhost" || address.is_ok_and(|host| host.is_loopback());
    match (wanted, local && !settings.gateway()) {
        (false, _) => Err("EXPLAIN_PAGE: neither true nor false".into()),
        (true, false) => Err("EXPLAIN_PAGE: needs a loopback address, and no gateway".into()),
        (true, true) => Ok(true),
    }
}

fn guarded(gateway: bool) -> Router {
    let admins = RoleGuardLayer::any_of(["admin"]);
    let sign_in = common::recent_second_factor();
    if !gateway {
        let admin = get(common::me).layer(admins);
        return Router::new()
            .route("/admin", admin)
            .route("/step-up", get(common::me).layer(sign_in))
            .route("/protected", get(common::me));
    }
    // A gateway may use the method of its client's request, and append that request's path.
    let below = ["", "/", "/{*path}"];
    below.iter().fold(Router::new(), |router, below| {
        let admin = any(common::me).layer(admins.clone());
        let router = router.route(&format!("/admin{below}"), admin);
        let step_up = any(common::me).layer(sign_in.clone());
        let router = router.route(&format!("/step-up{below}"), step_up);
        router.route(&format!("/protected{below}"), any(common::me))
    })
}

fn ready(auth: &JwtAuthLayer<Claims, impl RevocationCheck>) -> (StatusCode, &'static str) {
    // A fixed code, such as `name_not_resolved`. The log has the cause.
    let problem = || auth.key_problem().map_or("not ready", KeyProblem::as_str);
    common::ready((!auth.is_ready()).then(problem))
}
