//! A login server, and a page that shows all of it. On SQLite, PostgreSQL, Redis or memory.
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
//! # A link for a new password is printed by the server, or sent over SMTP:
//! curl -i $A/password/forgot -H "$JSON" -d '{"email":"demo@example.org"}'                # 202
//! export AUTH_SMTP_URL=smtps://user:password@mail.example AUTH_MAIL_FROM=no-reply@example.org
//!
//! # With your database, users and keys; see tower_jwt_auth::AuthSettings:
//! export AUTH_STORE=postgres://localhost/app AUTH_SEED_USER=me@example.org:a-long-password:admin
//! # The signing keys are then in the store as well, encrypted, and rotate by themselves.
//! export AUTH_SECRET_KEY=$(openssl rand 32 | basenc --base64url | tr -d '=')
//! # By hand, with the same variables: publish the next key now, or remove a compromised one.
//! cargo run --example auth_server --all-features -- keys rotate
//! cargo run --example auth_server --all-features -- keys withdraw KID
//! ```
//!
//! Open <http://localhost:3000/>. An invalid variable is named in one line, and the exit code is 2.

mod chat;
#[path = "../common.rs"]
mod common;
mod keys;
mod live;
mod mail;
mod page;
mod passkeys;

use std::{env, error::Error, net::SocketAddr, num::NonZeroU32, process::ExitCode, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tower_jwt_auth::{
    AuthServer, AuthSettings, Claims, RoleGuardLayer, Verified,
    event::{EventSink, MetricsSink},
    layer::rate_limit::RateLimitLayer,
    principal::UserPrincipal,
    server::SeedUser,
    store::{AnyStore, port::UserAdmin},
};

use self::{chat::Conversations, keys::Command, live::Feed};

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // A wrong command opens no store.
    let command = match *words {
        [] => None,
        ["--help" | "-h"] => {
            println!("{}\n{}", keys::USAGE, keys::HELP);
            return Ok(());
        }
        ["keys", ref rest @ ..] => Some(Command::read(rest).ok_or(keys::USAGE)?),
        _ => return Err(keys::USAGE.into()),
    };
    let settings = AuthSettings::from_env()?;
    if let Some(command) = command {
        return command.run(settings).await;
    }
    let stopped = common::stopped()?;
    let listener = common::listen(settings.address()).await?;
    let address = listener.local_addr()?;
    let feed = Feed::new();
    let (app, auth) = app(settings.listening_on(address.port()), &feed).await?;
    println!("listening on http://{address}");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stopped.await;
        feed.close();
    });
    server.await?;
    // Mails of the last requests.
    auth.flush_mail(Duration::from_secs(5)).await;
    Ok(())
}

async fn app(
    mut settings: AuthSettings,
    feed: &Feed,
) -> Result<(Router, AuthServer), Box<dyn Error>> {
    let metrics = common::metrics()?;
    let mut demo = Vec::new();
    let is_a_first_try = settings.is_a_first_try();
    if is_a_first_try {
        for (email, role) in [("demo@example.org", "user"), ("admin@example.org", "admin")] {
            println!("demo user: {email}, password: {PASSWORD}");
            settings = settings.seed(SeedUser::new(email, PASSWORD, [role]));
            demo.push(json!({ "email": email, "password": PASSWORD, "roles": [role] }));
        }
    }
    // Browsers have passkeys under a name, and not under an IP address.
    let local = is_a_first_try.then(|| format!("http://localhost:{}", settings.address().1));
    let address = settings.public_url();
    let origin = local.as_ref().unwrap_or(&address);
    let authority = passkeys::Authority::of(origin);
    let registration = settings.registration() || is_a_first_try;
    let grace = settings.refresh_policy().grace_window().as_secs();
    let dpop = settings.dpop(origin)?.map(|_| origin);
    let demo = json!({
        "accounts": demo,
        "registration": registration,
        "grace_seconds": grace,
        "passkeys": authority.as_ref().map(|_| origin),
        "dpop": dpop,
    });
    // Generous for local tests. On the internet use the default of 30 per hour.
    let signups = RateLimitLayer::per_minute(PER_MINUTE, settings.client_ip()).burst(AT_ONCE);

    let post = mail::Post::of(&settings)?;
    let store = settings.open_store().await?;
    // A user who signs in keeps the conversation of the guest.
    let conversations = Conversations::default();
    // Second factors are encrypted under the secret. A first try has a new store at every start.
    let has_factors = settings.secret().is_some() || is_a_first_try;
    let auth = AuthServer::builder(store.clone());
    let auth = match has_factors {
        true => auth.totp("auth_server").remember_devices(MONTH),
        false => auth,
    };
    let mut server = auth
        .settings(settings)
        .registration(registration)
        .endpoints(|endpoints| endpoints.signup_rate_limit(signups))
        .on_claim(conversations.clone())
        .events(MetricsSink::new().and(feed.clone()));
    if let Some(post) = post {
        server = server.mailer(post).mail(|mail| mail.sign_in(true));
    }
    if let Some(authority) = authority {
        server = server
            .passkeys(authority)
            .second_step(passkeys::second_step(store.clone()));
    }
    if let Some(local) = local {
        server = server
            .public_origin(local)
            .endpoints(|endpoints| endpoints.trusted_origin(address));
    }
    let auth = server.start().await?;
    auth.warnings().for_each(|warning| println!("{warning}"));

    let (api, probed) = (auth.layer(), auth.clone());
    let router = Router::new()
        .route("/api/admin/users", get(users).with_state(store))
        .route("/admin", get(common::me))
        .route_layer(RoleGuardLayer::any_of(["admin"]))
        .route("/api/me", get(me).post(me))
        .route("/protected", get(common::me))
        .route(
            "/step-up",
            get(common::me).layer(common::recent_second_factor()),
        )
        .merge(live::routes(feed.clone(), auth.clone()))
        .route_layer(api.clone())
        .route("/public", get(common::greet).layer(api.optional()))
        .merge(chat::routes(conversations, auth.clone()))
        .nest_service(auth.path(), auth.endpoints().nested())
        .route_service("/.well-known/{*document}", auth.well_known())
        .merge(page::routes())
        .route("/demo", get(async move || Json(demo)))
        .route("/metrics", metrics)
        .route("/health", get(async || "ok"))
        .route(
            "/ready",
            get(async move || common::ready((!probed.is_ready()).then_some("not ready"))),
        );
    Ok((router, auth))
}

/// For users only: a guest is refused with 403.
async fn me(user: UserPrincipal, token: Verified<Claims>) -> Json<Value> {
    let Json(mut me) = common::me(user.into()).await;
    let claims = token
        .iter()
        .map(|(name, value)| (name.to_owned(), value.clone()));
    if let Some(me) = me.as_object_mut() {
        me.insert("claims".to_owned(), claims.collect());
    }
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

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const PASSWORD: &str = "demo-password";
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
