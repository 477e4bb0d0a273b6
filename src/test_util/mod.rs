//! Tokens, keys, a clock and a signed-in caller for tests.
//!
//! Handler tests need no cryptography: [`signed_in`] inserts a caller into every request, as an
//! authenticating layer does. Tests that send tokens get them from a [`TestIssuer`], which signs with
//! the published [`TestKeys`] and, for tests of time, reads a [`TestClock`]. A [`DpopClient`] signs the
//! proofs of tokens that are bound to a key. With the feature `jwks`, a
//! `JwksFixture` publishes keys and an `IntrospectionFixture` answers about opaque tokens, with faults on
//! request, and a `LogoutSender` sends logout tokens.
//!
//! # Security
//!
//! The keys are public. Keep the feature `test-util` in `dev-dependencies`, because nothing in this
//! module is safe in a server.
//!
//! # Examples
//!
//! A handler behind a caller, without any token:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{Principal, test_util::signed_in};
//!
//! async fn whoami(request: Request<()>) -> Result<Response<String>, Infallible> {
//!     let caller = request.extensions().get::<Principal>();
//!     let name = caller.and_then(|caller| caller.subject()).unwrap_or("nobody");
//!     Ok(Response::new(name.to_owned()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let alice = Principal::builder().subject("alice").roles(["admin"]).build();
//! let service = ServiceBuilder::new().layer(signed_in(alice)).service(service_fn(whoami));
//!
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(response.body(), "alice");
//! # Ok(())
//! # }
//! ```

// Test helpers fail by panicking. Each documents its panics.
#![allow(clippy::expect_used)]

mod caller;
mod certificate;
mod clock;
mod dpop;
#[cfg(feature = "jwks")]
mod introspection;
mod issuer;
#[cfg(feature = "jwks")]
mod jwks;
#[cfg(feature = "jwks")]
mod jwks_answer;
#[cfg(feature = "jwks")]
mod jwks_form;
mod keys;
#[cfg(feature = "jwks")]
mod logout;
mod signature;

#[cfg(feature = "jwks")]
#[doc(hidden)]
pub use self::signature::read_answer;
#[doc(hidden)]
pub use self::signature::{verify_primitive, verify_signature};
pub use self::{
    caller::{CallerLayer, anonymous, signed_in, signed_in_with},
    clock::TestClock,
    dpop::DpopClient,
    issuer::TestIssuer,
    keys::TestKeys,
};
// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::caller::CallerService;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub use self::{
    introspection::IntrospectionFixture, jwks::JwksFixture, jwks_answer::Answer,
    logout::LogoutSender,
};
