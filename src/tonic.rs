//! The caller in tonic's handlers, and layers around one service.
//!
//! [`JwtAuthLayer`](crate::JwtAuthLayer) goes into `Server::layer`, around every service of a
//! server, or around one service. Refused calls are answered in gRPC's own framing: HTTP 200 and a
//! `grpc-status`. With tonic-web, put the layer around the `GrpcWebLayer`: inside it, a gRPC-Web call
//! over HTTP/1.1 does not look like gRPC and is answered with its HTTP status.
//!
//! # Examples
//!
//! A handler, and how it is mounted; `GreeterServer` is what tonic generates.
//!
//! ```
//! use tonic::{Code, Request, Response, Status};
//! use tower_jwt_auth::{Principal, tonic::RequestExt};
//!
//! async fn say_hello(request: Request<String>) -> Result<Response<String>, Status> {
//!     let caller = request.principal()?;
//!     let name = caller.subject().unwrap_or("nobody");
//!     Ok(Response::new(format!("{} from {name}", request.get_ref())))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Status> {
//! // The layer does this; here it is done by hand.
//! let mut request = Request::new("hello".to_owned());
//! request.extensions_mut().insert(Principal::builder().subject("alice").build());
//! assert_eq!(say_hello(request).await?.into_inner(), "hello from alice");
//!
//! // No layer ran: the server is put together wrongly.
//! let status = say_hello(Request::new("hello".to_owned())).await.unwrap_err();
//! assert_eq!(status.code(), Code::Internal);
//! # Ok(())
//! # }
//! ```
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tonic::transport::Server;
//! use tower::Layer;
//! use tower_jwt_auth::{JwtAuthLayer, Verifier, revoke::RevocationSet};
//! # use tonic_health::server::health_reporter;
//! # let (_, greeter_server) = health_reporter();
//! # let (_, other_server) = health_reporter();
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let layer = JwtAuthLayer::new(verifier);
//!
//! // Every service of the server:
//! let whole = Server::builder().layer(layer.clone()).add_service(greeter_server);
//! // One service; others beside it stay open. `LayerExt::named_layer` does the same.
//! let layer = layer.revocation(RevocationSet::local());
//! let one = Server::builder().add_service(layer.layer(other_server));
//! # let _ = (whole, one);
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use http::Extensions;
use tonic::{Code, Request, Status, server::NamedService};

use crate::{
    api_key::ApiKeyService,
    auth::JwtAuthService,
    chat::ChatService,
    deny::{answers_in, caller_in, outcome},
    error::{AuthError, AuthErrorKind},
    principal::Principal,
    role_guard::RoleGuardService,
    verify::Verified,
};
#[cfg(feature = "rate-limit")]
use crate::{rate_limit::RateLimitService, require_https::RequireHttpsService};

/// Gives a handler the caller of its request.
pub trait RequestExt: sealed::Sealed {
    /// The claims of the verified token. Cheap: what is cloned is an `Arc`.
    ///
    /// # Errors
    ///
    /// - `UNAUTHENTICATED` (16): nobody is signed in, and the layer lets such calls pass.
    /// - `PERMISSION_DENIED` (7): the caller has an API key, which has no claims.
    /// - `INTERNAL` (13): no layer ran, or its claims type is another one.
    fn verified<C: Send + Sync + 'static>(&self) -> Result<Verified<C>, Status>;

    /// The caller, whatever the credential was.
    ///
    /// # Errors
    ///
    /// As [`verified`](Self::verified), except that a caller with an API key is returned.
    fn principal(&self) -> Result<Principal, Status>;
}

impl<T> RequestExt for Request<T> {
    fn verified<C: Send + Sync + 'static>(&self) -> Result<Verified<C>, Status> {
        caller(self.extensions())
    }

    fn principal(&self) -> Result<Principal, Status> {
        caller(self.extensions())
    }
}

/// The status that a layer answers this refusal with; the error is the status' source.
impl From<AuthError> for Status {
    fn from(error: AuthError) -> Self {
        let (code, message) = outcome(&error, None);
        status(code, message, error)
    }
}

// tonic's router asks a service for its name; around it, the layers' services pass it on.
macro_rules! named {
    ($($(#[$gate:meta])? $service:ident<S $(, $other:ident)*>;)*) => {$(
        $(#[$gate])?
        impl<S: NamedService $(, $other)*> NamedService for $service<S $(, $other)*> {
            const NAME: &'static str = S::NAME;
        }
    )*};
}

named! {
    JwtAuthService<S, C, R, M>;
    ApiKeyService<S>;
    ChatService<S>;
    RoleGuardService<S>;
    #[cfg(feature = "rate-limit")]
    RateLimitService<S>;
    #[cfg(feature = "rate-limit")]
    RequireHttpsService<S>;
}

fn caller<T>(extensions: &Extensions) -> Result<T, Status>
where
    T: Clone + Send + Sync + 'static,
{
    let error = match caller_in(extensions) {
        Ok(Some(caller)) => return Ok(caller),
        Ok(None) => AuthErrorKind::MissingCredential.into(),
        Err(error) => error,
    };
    #[cfg(feature = "tracing")]
    crate::deny::record(&error);
    let (code, message) = outcome(&error, answers_in(extensions).as_deref());
    Err(status(code, message, error))
}

fn status(code: &str, message: &str, error: AuthError) -> Status {
    let mut status = Status::new(Code::from_bytes(code.as_bytes()), message);
    status.set_source(Arc::new(error));
    status
}

mod sealed {
    #[allow(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}

    impl<T> Sealed for tonic::Request<T> {}
}
