//! Enforcement of https.
//!
//! A bearer token sent over plain http can be read and used by anyone on the path (RFC 6750 §5.3).
//! If a proxy terminates TLS, the server sees only plain http and cannot see the client's scheme.
//! [`RequireHttpsLayer`] reads the scheme that the proxy reports, refuses or redirects requests
//! over plain http, and adds `Strict-Transport-Security` to other responses (HSTS, RFC 6797).
//!
//! | request over plain http | response |
//! |---|---|
//! | `GET` or `HEAD` without a credential | 308 to the same URL with https |
//! | anything else | 403, because after a redirect the client would send the credential in the clear the next time too |
//!
//! Credentials are `Authorization`, `Proxy-Authorization`, `Cookie`, `Sec-WebSocket-Protocol`,
//! every header or query parameter with a typical name (`X-API-Key`, `access_token`,
//! `Cf-Access-Jwt-Assertion`, …), and every value in the form of a JWT. Add others with
//! [`credential_header`](RequireHttpsLayer::credential_header) and
//! [`credential_parameter`](RequireHttpsLayer::credential_parameter).
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
//! use tower_jwt_auth::layer::{
//!     rate_limit::{ClientIp, PeerAddr},
//!     require_https::RequireHttpsLayer,
//! };
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
mod layer;
mod service;

pub use self::layer::RequireHttpsLayer;
// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::service::RequireHttpsService;
