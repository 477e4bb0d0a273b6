//! A login server with an OpenID Connect provider.
//!
//! ```text
//! OIDC_ISSUER=https://accounts.google.com OIDC_CLIENT_ID=… OIDC_CLIENT_SECRET=… cargo run -p oidc --features tls
//! ```
//!
//! Register `http://localhost:8080/api/auth/identity/idp/callback` as a redirect URI of the client.

use std::{env, error::Error, net::SocketAddr};

use axum::{Router, response::Html, routing::get};
use oidc::Provider;
use openidconnect::{ClientId, ClientSecret, IssuerUrl, reqwest};
use tokio::net::TcpListener;
use tower_jwt_auth::{AuthServer, server::login::UnknownIdentity, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = Provider {
        issuer: IssuerUrl::new(env::var("OIDC_ISSUER")?)?,
        client_id: ClientId::new(env::var("OIDC_CLIENT_ID")?),
        client_secret: ClientSecret::new(env::var("OIDC_CLIENT_SECRET")?),
        http: reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?,
    };
    let auth = AuthServer::builder(MemoryStore::new())
        .public_origin("http://localhost:8080")
        .identity_provider("idp", provider)
        // For a provider whose users may all have an account.
        .on_unknown_identity(UnknownIdentity::CreateAccount)
        .start()
        .await?;
    let app = Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .nest_service(auth.path(), auth.endpoints().nested())
        .route_service("/.well-known/{*document}", auth.well_known());
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://localhost:8080");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
