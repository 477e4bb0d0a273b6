//! Filters for warp.
//!
//! There are two ways to use the layer with warp.
//!
//! **Around the routes**, as in other frameworks: `layer.layer(warp::service(routes))`. This is the
//! faster way, and the only one in which the layer can change the request or the response. Handlers
//! take the caller from `warp::ext::get::<Principal>()`, or from `warp::ext::optional` under an
//! optional layer. They take the claims from [`verified`], because `warp::ext::get::<Verified<C>>()`
//! answers 500 to a caller without claims.
//!
//! **As a filter**, on some routes: [`authenticated`] and [`maybe_authenticated`]. Filters refuse with
//! a rejection, so that the routes need `.recover(tower_jwt_auth::warp::recover)`; without it warp
//! answers 500. A filter reads only the parts of a request that warp provides, and cannot change the
//! request or the response:
//!
//! - A layer with `strip_credential` answers 500 here. A layer with `forward_as` does not compile.
//! - A bad cookie on an optional route counts as absent and is not deleted.
//! - The response to a request with a token outside `Authorization` gets no `Cache-Control: private`
//!   (RFC 9111 §3.5): set it on the reply, or put the layer around the routes.
//! - Predicates of `skip_if` and extractors get no extensions. A layer with
//!   [`mtls`](crate::JwtAuthLayer::mtls) has no certificate here, and refuses tokens that are bound to one.
//! - A filter has no access to the HTTP version. Refusals of `application/grpc` requests keep their
//!   HTTP status.
//!
//! ```compile_fail,E0308
//! use tower_jwt_auth::{JwtAuthLayer, Verifier, layer::jwt::Claim, warp::authenticated};
//!
//! # fn filter(verifier: Verifier) {
//! let layer = JwtAuthLayer::new(verifier);
//! let forwarding = layer.forward_as(http::HeaderName::from_static("x-user"), Claim::Subject);
//! let filter = authenticated(forwarding);
//! # }
//! ```
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Request, StatusCode};
//! use tower::{Layer, ServiceExt};
//! use tower_jwt_auth::{Claims, JwtAuthLayer, Principal, Verified, Verifier};
//! use tower_jwt_auth::warp::{authenticated, recover};
//! use warp::Filter;
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let layer = JwtAuthLayer::new(verifier);
//!
//! // As a filter:
//! let me = warp::path("me")
//!     .and(authenticated(layer.clone()))
//!     .map(|user: Verified<Claims>| user.subject().unwrap_or("nobody").to_owned());
//! let routes = me.recover(recover);
//!
//! let request = Request::get("/me").body(String::new())?;
//! let response = warp::service(routes).oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//!
//! // Around the routes:
//! let me = warp::path("me")
//!     .and(warp::ext::get::<Principal>())
//!     .map(|caller: Principal| caller.subject().unwrap_or("nobody").to_owned());
//! let service = layer.layer(warp::service(me));
//!
//! let request = Request::get("/me").body(String::new())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use serde::de::DeserializeOwned;
use warp::{
    Filter, Rejection,
    filters::path::FullPath,
    reject::{self, Reject},
    reply::{Reply, Response},
};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        jwt::JwtAuthLayer,
        response::{AccessDenied, Refuse, answers_in, caller_in},
    },
    principal::{Anonymous, Principal},
    revocation::RevocationCheck,
    verify::Verified,
};

/// Extracts the claims of the verified token, and rejects every request without a token, even if the
/// layer is optional.
///
/// Put it after the filters that select the route. warp remembers the rejection of an earlier route,
/// and answers with it if no other route matches.
#[must_use]
pub fn authenticated<C, R>(
    layer: JwtAuthLayer<C, R>,
) -> impl Filter<Extract = (Verified<C>,), Error = Rejection> + Clone
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    request().and_then(move |request: Request<()>| {
        let layer = layer.clone();
        async move {
            let head = RequestHead::of(&request);
            match layer.authenticate(head).await {
                Ok(Some(token)) => Ok(token),
                Ok(None) => Err(refused(layer.refuse_anonymous(head))),
                Err(response) => Err(refused(response)),
            }
        }
    })
}

/// Extracts the claims of the verified token, or `None` if the layer lets the request pass without one:
/// see [`JwtAuthLayer::optional`]. A bad token is rejected.
#[must_use]
pub fn maybe_authenticated<C, R>(
    layer: JwtAuthLayer<C, R>,
) -> impl Filter<Extract = (Option<Verified<C>>,), Error = Rejection> + Clone
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    request().and_then(move |request: Request<()>| {
        let layer = layer.clone();
        async move {
            let verdict = layer.authenticate(RequestHead::of(&request)).await;
            verdict.map_err(refused)
        }
    })
}

/// Extracts the claims that a layer around the routes inserted, and rejects every request without them:
/// an anonymous request with 401, and a caller with an API key, which has no claims, with 403. If no
/// layer ran, or its claims type is another one, the response is 500.
#[must_use]
pub fn verified<C>() -> impl Filter<Extract = (Verified<C>,), Error = Rejection> + Clone
where
    C: Send + Sync + 'static,
{
    request()
        .and(warp::ext::optional::<Verified<C>>())
        .and(warp::ext::optional::<Principal>())
        .and(warp::ext::optional::<Anonymous>())
        .and_then(
            |mut request: Request<()>,
             token: Option<Verified<C>>,
             caller: Option<Principal>,
             anonymous: Option<Anonymous>| async move {
                let extensions = request.extensions_mut();
                caller.map(|caller| extensions.insert(caller));
                anonymous.map(|anonymous| extensions.insert(anonymous));
                token.map(|token| extensions.insert(token));
                let error = match caller_in(extensions) {
                    Ok(Some(token)) => return Ok(token),
                    Ok(None) => AuthErrorKind::MissingCredential.into(),
                    Err(error) => error,
                };
                let answers = answers_in(request.extensions()).unwrap_or_default();
                let response = answers.refuse(error, RequestHead::of(&request));
                Err(refused(Box::new(response)))
            },
        )
}

/// Answers the rejections of this module's filters as their layer does, and returns all others. Pass it
/// to `Filter::recover`.
///
/// # Errors
///
/// Every rejection of another origin, unchanged.
pub async fn recover(rejection: Rejection) -> Result<Response, Rejection> {
    match rejection.find::<AuthRejected>() {
        Some(AuthRejected { response }) => Ok(http::Response::clone(response).into_response()),
        None => Err(rejection),
    }
}

/// A rejection by [`authenticated`], [`maybe_authenticated`], [`verified`] or an [`AccessDenied`].
///
/// In a custom `recover`, get it with `rejection.find::<AuthRejected>()`.
pub struct AuthRejected {
    // Boxed so that a rejection stays small.
    response: Box<http::Response<Bytes>>,
}

impl AuthRejected {
    /// Returns the cause.
    #[must_use]
    pub fn error(&self) -> AuthError {
        let error = self.response.extensions().get::<AuthError>().cloned();
        error.unwrap_or_else(|| AuthErrorKind::MissingCredential.into())
    }

    /// Returns the layer's response.
    #[must_use]
    pub fn to_response(&self) -> http::Response<Bytes> {
        http::Response::clone(&self.response)
    }
}

impl Reject for AuthRejected {}

/// Converts the error of [`Principal::require_scope`] and its siblings to a rejection that [`recover`]
/// answers.
impl From<AccessDenied> for Rejection {
    fn from(denied: AccessDenied) -> Self {
        refused(Box::new(denied.to_response()))
    }
}

impl fmt::Debug for AuthRejected {
    // warp sends this text to the client if the rejection is not recovered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthRejected")
    }
}

fn refused(response: Box<http::Response<Bytes>>) -> Rejection {
    reject::custom(AuthRejected { response })
}

/// Builds the request without its body from the parts that warp provides.
fn request() -> impl Filter<Extract = (Request<()>,), Error = Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and_then(
            |method: Method, path: FullPath, query: String, headers: HeaderMap| async move {
                let mut target = path.as_str().to_owned();
                if !query.is_empty() {
                    target.extend(["?", &query]);
                }
                // The path and the query were a valid target in the original request.
                let target: Uri = target.parse().map_err(|_| warp::reject())?;
                let mut request = Request::new(());
                *request.method_mut() = method;
                *request.uri_mut() = target;
                *request.headers_mut() = headers;
                Ok::<_, Rejection>(request)
            },
        )
}
