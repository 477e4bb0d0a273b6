//! axum: a public route, a route for authenticated callers, a route for admins.
//!
//! ```sh
//! export JWT_SECRET_KEY=$(openssl rand -hex 32)
//! cargo run --example axum --features axum
//!
//! # A token, in another shell with the same secret:
//! b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
//! head=$(printf '{"alg":"HS256"}' | b64)
//! body=$(printf '{"sub":"alice","name":"Alice","roles":["admin"],"exp":4102444800}' | b64)
//! mac=$(printf '%s' "$head.$body" | openssl dgst -sha256 -hmac "$JWT_SECRET_KEY" -binary | b64)
//! token="$head.$body.$mac"
//!
//! curl -i http://127.0.0.1:3000/
//! curl -i http://127.0.0.1:3000/me                                          # 401
//! curl -i http://127.0.0.1:3000/me    -H "Authorization: Bearer $token"
//! curl -i http://127.0.0.1:3000/admin -H "Authorization: Bearer $token"
//! ```

use std::error::Error;

use axum::{Router, routing::get};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_jwt_auth::{JwtAuthLayer, JwtSettings, Principal, RoleGuardLayer, Verified};

/// The claims of this service. A token without them is refused.
#[derive(Deserialize)]
pub(crate) struct User {
    name: String,
}

pub(crate) fn app(auth: JwtAuthLayer<User>) -> Router {
    // A token is optional here, but an invalid one is refused.
    let greet = get(greet).layer(auth.clone().optional());
    // A guard has to be inside the layer that authenticates.
    let admin = get(admin).layer(RoleGuardLayer::any_of(["admin"]));
    Router::new()
        .route("/me", get(me))
        .route("/admin", admin)
        .route_layer(auth)
        .route("/", greet)
}

async fn greet(user: Option<Verified<User>>) -> String {
    user.map_or_else(
        || "hello stranger".to_owned(),
        |user| format!("hello {}", user.name),
    )
}

async fn me(user: Verified<User>) -> String {
    format!("you are {}", user.name)
}

/// Takes a `Principal`, which has no claims type and works with every kind of credential.
async fn admin(caller: Principal) -> String {
    format!("at your service, {}", caller.subject().unwrap_or("admin"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = JwtSettings::from_env()?;
    let listener = TcpListener::bind(settings.address()).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app(settings.layer_for()?)).await?;
    Ok(())
}
