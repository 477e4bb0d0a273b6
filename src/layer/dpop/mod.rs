//! Tokens that are bound to a key of the client: DPoP, [RFC 9449].
//!
//! A bearer token works for everyone who has it. A bound token names a key of its client (`cnf.jkt`), and
//! works only with a *proof*: a small JWT in the header `DPoP` that the client signs for this request. A
//! copy of the token is of no use without the key.
//!
//! [`Dpop`] is a setting of a [`JwtAuthLayer`](crate::JwtAuthLayer::dpop). The layer then accepts
//! `Authorization: DPoP <token>` with a proof, beside `Authorization: Bearer <token>` or instead of it
//! ([`required`](DpopBuilder::required)). A bound token is never accepted without a proof, also by a layer
//! without this setting. The [manual](crate::manual::dpop) describes nonces, several nodes and the limits
//! of the protection.
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(all(feature = "aws-lc-rs", feature = "test-util")))]
//! # fn main() {}
//! # #[cfg(all(feature = "aws-lc-rs", feature = "test-util"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     JwtAuthLayer, Verifier,
//!     key::Algorithm,
//!     layer::dpop::Dpop,
//!     test_util::{DpopClient, TestIssuer, TestKeys},
//! };
//!
//! let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
//!     .issuer("https://as.example")
//!     .audience("https://api.example")
//!     .build()?;
//! // The URL under which clients address this server. The `Host` header is never used for it.
//! let dpop = Dpop::at("https://api.example").build()?;
//! let service = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(verifier).dpop(dpop))
//!     .service(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
//!
//! // A client with a key, and a token that is bound to it.
//! let client = DpopClient::new(Algorithm::Es256);
//! let token = TestIssuer::new(Algorithm::Es256).bound_token(&client, |_| ());
//! let request = Request::get("/notes");
//! let request = client.sign(request, "https://api.example/notes", &token).body(())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! // A thief has the token, and no key.
//! let stolen = Request::get("/notes").header("authorization", format!("Bearer {token}")).body(())?;
//! let response = service.oneshot(stolen).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449

mod builder;
mod check;

use std::{fmt, sync::Arc};

pub use self::builder::DpopBuilder;
pub(crate) use self::check::Recorded;
use self::check::Target;
#[cfg(feature = "server")]
pub(crate) use self::check::invalid;
#[cfg(feature = "server")]
use crate::verify::proof::Origin;
use crate::{
    error::Scheme,
    layer::{extract::RequestHead, response::Offer},
    time::Clock,
    verify::proof::{Checker, ErasedReplayStore, Profile},
};

/// The rules for proofs, for [`JwtAuthLayer::dpop`](crate::JwtAuthLayer::dpop). Cheap to clone; all clones
/// share the memory of used proofs, so that a proof is used once in all layers together.
#[derive(Clone)]
pub struct Dpop {
    rules: Arc<Rules>,
}

struct Rules {
    checker: Checker,
    required: bool,
    store: Option<Arc<dyn ErasedReplayStore>>,
    target: Target,
    method: Option<Arc<MethodOf>>,
    clock: Arc<dyn Clock>,
}

type MethodOf = dyn Fn(RequestHead<'_>) -> Option<http::Method> + Send + Sync;

impl Dpop {
    /// Creates a builder for a server that its clients address by this `https` URL, or `http` on loopback.
    ///
    /// Scheme, host and port are used; the path of a proof's target is that of the request. The request's
    /// `Host` and `X-Forwarded-…` headers are never used, because a client can choose them.
    pub fn at(public_url: &str) -> DpopBuilder {
        DpopBuilder::new(public_url)
    }

    /// Returns `true` if tokens without a proof are refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.rules.required
    }

    /// Returns the names of the accepted algorithms, for the metadata of a protected resource
    /// (`dpop_signing_alg_values_supported`, RFC 9728 §2).
    pub fn algorithms(&self) -> impl Iterator<Item = &'static str> {
        builder::names(&self.rules.checker.algorithms)
    }

    /// Returns `true` if both URLs have one scheme, host and port, so that one value serves both.
    #[cfg(feature = "server")]
    pub(crate) fn serves_both(one: &str, other: &str) -> bool {
        let origins = (Origin::parse(one), Origin::parse(other));
        matches!(origins, (Ok(one), Ok(other)) if one.as_str() == other.as_str())
    }

    /// Returns the schemes that a layer with these rules accepts, for its challenges.
    pub(crate) fn schemes(&self) -> Vec<Offer> {
        let algorithms = self.algorithms().collect::<Vec<_>>().join(" ");
        let dpop = Offer {
            scheme: Scheme::Dpop,
            parameters: vec![("algs", algorithms.into())],
        };
        match self.rules.required {
            true => vec![dpop],
            false => vec![Offer::bearer(), dpop],
        }
    }

    /// Returns `true` if method and target are those of the request that the layer receives, so that it
    /// cannot work where a gateway sends a request about another one.
    pub(crate) fn reads_the_request(&self) -> bool {
        self.rules.method.is_none() || matches!(self.rules.target, Target::Request(_))
    }

    /// Returns the number of signatures of proofs that were computed. For tests.
    #[cfg(any(test, feature = "test-util"))]
    #[doc(hidden)]
    #[must_use]
    pub fn verifications(&self) -> u64 {
        self.rules.checker.keys.verifications()
    }

    /// Returns the number of used proofs that this process remembers. For tests.
    #[cfg(any(test, feature = "test-util"))]
    #[doc(hidden)]
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.rules
            .checker
            .used
            .as_ref()
            .map_or(0, |used| used.len())
    }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("required", &self.rules.required)
            .field("checker", &self.rules.checker)
            .finish_non_exhaustive()
    }
}

/// RFC 9449 §4.2.
static PROFILE: Profile = Profile {
    typ: "dpop+jwt",
    id: "jti",
    method: "htm",
    target: "htu",
    issued: "iat",
    token_digest: "ath",
    nonce: "nonce",
};
