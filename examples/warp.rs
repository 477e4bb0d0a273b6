//! warp: the layer around all routes, and a filter on some routes.
//!
//! ```sh
//! export JWT_SECRET_KEY=$(openssl rand -hex 32)
//! cargo run --example warp --features warp
//!
//! # The first lines of `examples/axum.rs` make a token.
//! # A filter on some routes:
//! curl -i http://127.0.0.1:3000/
//! curl -i http://127.0.0.1:3000/me                                       # 401
//! curl -i http://127.0.0.1:3000/me -H "Authorization: Bearer $token"
//! # The layer around all routes:
//! curl -i http://127.0.0.1:3001/                                         # 401
//! curl -i http://127.0.0.1:3001/admin -H "Authorization: Bearer $token"
//! ```

use std::error::Error;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, JwtSettings, Principal, RoleGuardLayer, Verified,
    warp::{authenticated, maybe_authenticated, recover},
};
use warp::{Filter, Rejection, Reply, path};

/// Routes of which some require a caller, by a filter.
pub(crate) fn filters(
    auth: JwtAuthLayer,
) -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone + Send + Sync + 'static {
    let greet = path::end()
        .and(maybe_authenticated(auth.clone().optional()))
        .map(|user: Option<Verified<Claims>>| match user {
            Some(user) => format!("hello {}\n", user.subject().unwrap_or("nobody")),
            None => "hello stranger\n".to_owned(),
        });
    let me = warp::path!("me")
        .and(authenticated(auth))
        .map(|user: Verified<Claims>| format!("{}\n", user.subject().unwrap_or("nobody")));
    // Without `recover`, warp answers a rejection with 500.
    greet.or(me).recover(recover)
}

/// Routes inside the layer, which authenticates before warp chooses a route.
pub(crate) async fn serve_routes(listener: TcpListener, auth: JwtAuthLayer) -> std::io::Result<()> {
    let routes = warp::path!("admin")
        .and(warp::ext::get::<Principal>())
        .map(|caller: Principal| format!("{}\n", caller.subject().unwrap_or("nobody")));
    let service = ServiceBuilder::new()
        .layer(auth)
        .layer(RoleGuardLayer::any_of(["admin"]))
        .service(warp::service(routes));
    let service = TowerToHyperService::new(service);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            if let Err(error) = connection
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                eprintln!("connection: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = JwtSettings::from_env()?;
    let (host, port) = settings.address();
    let auth = settings.layer()?;
    let first = TcpListener::bind((host, port)).await?;
    let second = TcpListener::bind((host, port + 1)).await?;
    println!("http://{host}:{port} and http://{host}:{}", port + 1);
    tokio::spawn(warp::serve(filters(auth.clone())).incoming(first).run());
    serve_routes(second, auth).await?;
    Ok(())
}
