//! The layer that authenticates requests by a JWT.
//!
//! [`JwtAuthLayer`] reads the token of a request, verifies it, and inserts two values into the
//! request's extensions: [`Verified<C>`](crate::Verified), the claims, and
//! [`Principal`](crate::Principal), the caller without the claims' type. A refused request never
//! reaches the inner service. Put the layer around a service, a router or a whole server, and put
//! guards inside it.
//!
//! If two of these layers are nested, the inner layer replaces the outer layer's caller. For the
//! combination with an [`ApiKeyLayer`], see [keys and tokens together].
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{JwtAuthLayer, Principal, Verifier};
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let service = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(verifier))
//!     .service(service_fn(async |request: Request<String>| {
//!         let caller = request.extensions().get::<Principal>();
//!         let name = caller.and_then(Principal::subject).unwrap_or("nobody");
//!         Ok::<_, Infallible>(Response::new(format!("hello {name}")))
//!     }));
//!
//! let response = service.oneshot(Request::new(String::new())).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="api""#);
//! # Ok(())
//! # }
//! ```
//!
//! [`ApiKeyLayer`]: ../api_key/struct.ApiKeyLayer.html
//! [keys and tokens together]: ../api_key/index.html#keys-and-tokens-together

mod admit;
mod answered;
mod bound;
mod certified;
mod config;
mod forward;
mod layer;
mod senders;
mod service;
#[cfg(feature = "warp")]
mod standalone;
mod unseen;
mod wait;

pub use self::{
    forward::{ForwardedBody, ForwardedClaim},
    layer::JwtAuthLayer,
    service::JwtAuthService,
};
