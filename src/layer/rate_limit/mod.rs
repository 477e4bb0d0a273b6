//! Rate limits for requests.
//!
//! [`RateLimitLayer`] keeps a budget of requests for every key that its [`RateKey`] returns: a
//! network ([`ClientIp`]), a caller ([`by_subject`]), or the result of a closure. Put the layer
//! outside an authenticating layer to protect that layer from floods, with a limit by network. Put
//! it inside to share capacity fairly, with a limit by caller.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{convert::Infallible, net::SocketAddr, num::NonZeroU32};
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::layer::rate_limit::{ClientIp, PeerAddr, RateLimitLayer};
//!
//! let three = NonZeroU32::new(3).ok_or("zero")?;
//! let mut service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::per_minute(three, ClientIp::peer()))
//!     .service(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
//!
//! let peer: SocketAddr = "203.0.113.9:50000".parse()?;
//! for expected in [200, 200, 200, 429] {
//!     let request = Request::builder().extension(PeerAddr(peer)).body(())?;
//!     let response = service.ready().await?.call(request).await?;
//!     assert_eq!(response.status(), StatusCode::from_u16(expected)?);
//! }
//! # Ok(())
//! # }
//! ```

mod buckets;
mod client;
mod key;
mod layer;
mod service;
mod store;

// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::service::RateLimitService;
pub use self::{
    client::{ClientIp, network_of},
    key::{RateKey, by_subject},
    layer::RateLimitLayer,
};
pub use crate::layer::peer::PeerAddr;
