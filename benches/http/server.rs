//! The four servers.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use hyper::{
    body::{Body, Bytes, Incoming},
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jsonwebtoken as jwt;
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{JwtAuthLayer, Verified, key::Algorithm};

use crate::token::{Token, User, decoding};

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    NoAuthentication,
    ByHand,
    Uncached,
    Cached,
}

impl Kind {
    /// What the others are compared with comes first.
    pub(crate) const ALL: [Self; 4] = [
        Self::NoAuthentication,
        Self::ByHand,
        Self::Uncached,
        Self::Cached,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoAuthentication => "none",
            Self::ByHand => "by-hand",
            Self::Uncached => "uncached",
            Self::Cached => "cached",
        }
    }
}

/// Serves until the process is ended.
pub(crate) fn run(kind: Kind, algorithm: Algorithm) {
    let _ = jwt::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let token = Token::new(algorithm);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    runtime.expect("a runtime").block_on(async {
        match kind {
            Kind::NoAuthentication => serve(service_fn(|_| async { hello() })).await,
            Kind::ByHand => serve(by_hand(algorithm)).await,
            Kind::Uncached => serve(behind(JwtAuthLayer::new(token.verifier()))).await,
            Kind::Cached => serve(behind(JwtAuthLayer::new(token.remembering()))).await,
        }
    });
}

async fn serve<S, B>(service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Error = Infallible> + Send + 'static,
    B::Data: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn behind(
    layer: JwtAuthLayer<User>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl Body<Data = Bytes, Error = Infallible> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    layer.layer(service_fn(|request: Request<Incoming>| async move {
        assert!(request.extensions().get::<Verified<User>>().is_some());
        hello()
    }))
}

/// What a user would write.
fn by_hand(
    algorithm: Algorithm,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let shared = Arc::new(decoding(algorithm).expect("jsonwebtoken knows the algorithm"));
    service_fn(move |mut request: Request<Incoming>| {
        let (key, validation) = &*shared;
        let header = request.headers().get(AUTHORIZATION);
        let user = header
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|token| jwt::decode::<User>(token, key, validation).ok());
        let accepted = user.is_some();
        if let Some(user) = user {
            request.extensions_mut().insert(user.claims);
        }
        async move {
            if accepted {
                return hello();
            }
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Ok(response)
        }
    })
}

fn hello() -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}
