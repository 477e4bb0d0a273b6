//! A reverse proxy that verifies tokens for an upstream that cannot.
//!
//! The token is removed. The upstream receives the caller in `X-User` and `X-Roles`, which a client
//! cannot forge.
//!
//! ```sh
//! export JWT_SECRET_KEY=$(openssl rand -hex 32)
//! python3 -m http.server 8000 &                     # any upstream
//! UPSTREAM=127.0.0.1:8000 cargo run --example proxy
//!
//! # The first lines of `examples/axum.rs` make a token.
//! curl -i http://127.0.0.1:3000/                                                      # 401
//! curl -i http://127.0.0.1:3000/ -H "Authorization: Bearer $token" -H 'X-User: forged'
//! ```

use std::{convert::Infallible, env, error::Error};

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri, Version,
    body::Incoming,
    header::{CONNECTION, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    http::uri::{Authority, Scheme},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, JwtSettings,
    layer::jwt::{ForwardedBody, ForwardedClaim},
};

/// The hop-by-hop headers of RFC 9110 §7.6.1, in addition to those that `Connection` lists.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

type Body = Either<Incoming, Empty<Bytes>>;

async fn forward(
    client: Client<HttpConnector, ForwardedBody<Incoming>>,
    upstream: Authority,
    mut request: Request<ForwardedBody<Incoming>>,
) -> Result<Response<Body>, Infallible> {
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(upstream);
    *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    // The HTTP client sets the upstream's own.
    request.headers_mut().remove(HOST);
    end_hop(request.headers_mut());

    let Ok(mut response) = client.request(request).await else {
        let mut response = Response::new(Either::Right(Empty::new()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(response);
    };
    end_hop(response.headers_mut());
    Ok(response.map(Either::Left))
}

fn end_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

pub(crate) async fn serve(
    listener: TcpListener,
    auth: JwtAuthLayer,
    upstream: Authority,
) -> std::io::Result<()> {
    let auth = auth
        .strip_credential()
        .forward_as(HeaderName::from_static("x-user"), ForwardedClaim::Subject)
        .forward_as(HeaderName::from_static("x-roles"), ForwardedClaim::Roles);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let service = auth.layer(service_fn(move |request| {
        forward(client.clone(), upstream.clone(), request)
    }));
    let service = TowerToHyperService::new(service);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            // A disconnected client is not worth a log line.
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let upstream = env::var("UPSTREAM").map_err(|_| "set UPSTREAM to host:port")?;
    let settings = JwtSettings::from_env()?;
    let listener = TcpListener::bind(settings.address()).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(serve(listener, settings.layer()?, upstream.parse()?).await?)
}
