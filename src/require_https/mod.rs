//! Nothing but https.
//!
//! A bearer token that travels in the clear belongs to whoever listens (RFC 6750 §5.3). Where a
//! proxy ends TLS, a server sees plain http and cannot tell whether the client spoke it too;
//! [`RequireHttpsLayer`] asks the proxy's word for it, refuses what came in the clear, and tells
//! browsers to come by https alone from then on (HSTS, RFC 6797).
//!
//! | request in the clear | answer |
//! |---|---|
//! | `GET` or `HEAD` that carries no credential | 308 to the same address under https |
//! | anything else | 403: a redirect would have it sent in the clear again next time |
//!
//! Credentials are `Authorization`, `Proxy-Authorization`, `Cookie`, `Sec-WebSocket-Protocol`, every
//! header or parameter of the query whose name says so (`X-API-Key`, `access_token`,
//! `Cf-Access-Jwt-Assertion`, …), and every value in the form of a JWT. Further ones can be
//! [named](RequireHttpsLayer::credential_header).
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{convert::Infallible, net::SocketAddr};
//!
//! use http::{Request, Response, StatusCode, header};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{rate_limit::{ClientIp, PeerAddr}, require_https::RequireHttpsLayer};
//!
//! let service = ServiceBuilder::new()
//!     .layer(RequireHttpsLayer::behind(ClientIp::behind(["10.0.0.0/8"])?))
//!     .service(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
//!
//! let proxy: SocketAddr = "10.0.0.1:443".parse()?;
//! let request = |proto: &str| {
//!     let builder = Request::builder().uri("/me?x=1").header(header::HOST, "api.example");
//!     builder.header("x-forwarded-proto", proto).extension(PeerAddr(proxy)).body(())
//! };
//! let response = service.clone().oneshot(request("https")?).await?;
//! assert_eq!(response.headers()[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000");
//! let response = service.oneshot(request("http")?).await?;
//! assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
//! assert_eq!(response.headers()[header::LOCATION], "https://api.example/me?x=1");
//! # Ok(())
//! # }
//! ```

mod credentials;
mod future;
mod layer;
mod service;

pub use self::{
    future::RequireHttpsFuture, layer::RequireHttpsLayer, service::RequireHttpsService,
};
