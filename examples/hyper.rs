//! hyper without a framework, HTTP/1 and HTTP/2 on one port.
//!
//! ```sh
//! export JWT_SECRET_KEY=$(openssl rand -hex 32)
//! cargo run --example hyper
//!
//! # The first lines of `examples/axum.rs` make a token.
//! curl -i http://127.0.0.1:3000/                                                      # 401
//! curl -i http://127.0.0.1:3000/ -H "Authorization: Bearer $token"
//! curl -i http://127.0.0.1:3000/ -H "Authorization: Bearer $token" --http2-prior-knowledge
//! ```

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_jwt_auth::{JwtAuthLayer, JwtSettings, Principal};

async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let caller = request.extensions().get::<Principal>();
    let name = caller.and_then(Principal::subject).unwrap_or("nobody");
    Ok(Response::new(Full::from(format!("hello {name}\n"))))
}

pub(crate) async fn serve(listener: TcpListener, auth: JwtAuthLayer) -> std::io::Result<()> {
    let service = TowerToHyperService::new(auth.layer(service_fn(handle)));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            let served = connection.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = JwtSettings::from_env()?;
    let listener = TcpListener::bind(settings.address()).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(serve(listener, settings.layer()?).await?)
}
