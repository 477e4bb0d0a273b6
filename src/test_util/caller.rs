//! A layer that inserts a caller without a token.

use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Extensions, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    principal::{Anonymous, Principal},
    verify::Verified,
};

/// Returns a layer that signs in every request as this caller, whatever the request carries.
///
/// It replaces the authenticating layer in a handler's tests. Guards inside it answer refusals as under
/// an authenticating layer with default settings.
#[must_use]
pub fn signed_in(principal: Principal) -> CallerLayer {
    let mut extensions = Extensions::new();
    extensions.insert(principal);
    CallerLayer { extensions }
}

/// Returns a layer as [`signed_in`] does, with the claims that a handler reads as [`Verified<C>`].
///
/// Subject, roles and scope come only from the principal, not from the claims. A test sets on each side
/// the values that its handler reads there.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use http::Request;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_jwt_auth::{Principal, Verified, test_util::signed_in_with};
///
/// #[derive(Debug)]
/// struct Tenancy {
///     tenant: &'static str,
/// }
///
/// async fn tenant(request: Request<()>) -> Result<&'static str, Infallible> {
///     let token = request.extensions().get::<Verified<Tenancy>>();
///     Ok(token.map_or("none", |token| token.tenant))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let alice = Principal::builder().subject("alice").build();
/// let service = signed_in_with(alice, Tenancy { tenant: "acme" }).layer(service_fn(tenant));
/// assert_eq!(service.oneshot(Request::new(())).await?, "acme");
/// # Ok(())
/// # }
/// ```
#[must_use]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a caller is given, as to `signed_in`"
)]
pub fn signed_in_with<C>(principal: Principal, claims: C) -> CallerLayer
where
    C: Send + Sync + 'static,
{
    let token = Verified::for_test(claims, &principal);
    let mut extensions = Extensions::new();
    extensions.insert(token.principal());
    extensions.insert(token);
    CallerLayer { extensions }
}

/// Returns a layer that marks every request as anonymous, as an optional layer does for a request
/// without a credential.
#[must_use]
pub fn anonymous() -> CallerLayer {
    let mut extensions = Extensions::new();
    extensions.insert(Anonymous::default());
    CallerLayer { extensions }
}

/// A layer that inserts a caller into every request, created by [`signed_in`], [`signed_in_with`] and
/// [`anonymous`].
#[derive(Clone)]
pub struct CallerLayer {
    extensions: Extensions,
}

impl<S> Layer<S> for CallerLayer {
    type Service = CallerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallerService {
            inner,
            extensions: self.extensions.clone(),
        }
    }
}

impl fmt::Debug for CallerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerLayer")
    }
}

/// The service of a [`CallerLayer`].
#[derive(Clone)]
pub struct CallerService<S> {
    inner: S,
    extensions: Extensions,
}

impl<S, B> Service<Request<B>> for CallerService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let extensions = request.extensions_mut();
        // The innermost authenticating layer determines the caller.
        extensions.remove::<Principal>();
        extensions.remove::<Anonymous>();
        extensions.extend(self.extensions.clone());
        self.inner.call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for CallerService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Response, StatusCode};
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::layer::role_guard::RoleGuardLayer;

    async fn seen(layers: (CallerLayer, CallerLayer)) -> (Option<String>, bool) {
        let (outer, inner) = layers;
        ServiceBuilder::new()
            .layer(outer)
            .layer(inner)
            .service(service_fn(async |request: Request<()>| {
                let extensions = request.extensions();
                let subject = extensions
                    .get::<Principal>()
                    .and_then(|caller| caller.subject().map(str::to_owned));
                Ok::<_, Infallible>((subject, extensions.get::<Anonymous>().is_some()))
            }))
            .oneshot(Request::new(()))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_inner_of_two_layers_decides_who_is_calling() {
        let alice = || signed_in(Principal::builder().subject("alice").build());
        let bob = signed_in(Principal::builder().subject("bob").build());
        assert_eq!(seen((alice(), bob)).await, (Some("bob".into()), false));
        assert_eq!(seen((alice(), anonymous())).await, (None, true));
        assert_eq!(
            seen((anonymous(), alice())).await,
            (Some("alice".into()), false)
        );
    }

    #[tokio::test]
    async fn a_guard_decides_about_the_caller_and_about_nobody() {
        for (layer, expected) in [
            (
                signed_in(Principal::builder().roles(["admin"]).build()),
                StatusCode::OK,
            ),
            (
                signed_in(Principal::builder().roles(["user"]).build()),
                StatusCode::FORBIDDEN,
            ),
            (anonymous(), StatusCode::UNAUTHORIZED),
        ] {
            let response = ServiceBuilder::new()
                .layer(layer)
                .layer(RoleGuardLayer::any_of(["admin"]))
                .service(service_fn(async |_: Request<()>| {
                    Ok::<_, Infallible>(Response::new(String::new()))
                }))
                .oneshot(Request::new(()))
                .await
                .unwrap();
            assert_eq!(response.status(), expected);
        }
    }

    #[tokio::test]
    async fn claims_and_caller_agree() {
        let alice = Principal::builder()
            .subject("alice")
            .roles(["admin"])
            .build();
        let (subject, role, claims) = signed_in_with(alice, 7_u8)
            .layer(service_fn(async |request: Request<()>| {
                let caller = request.extensions().get::<Principal>().unwrap();
                let token = request.extensions().get::<Verified<u8>>().unwrap();
                assert_eq!(token.subject(), caller.subject());
                let subject = caller.subject().map(str::to_owned);
                Ok::<_, Infallible>((subject, caller.has_role("admin"), **token))
            }))
            .oneshot(Request::new(()))
            .await
            .unwrap();
        assert_eq!((subject.as_deref(), role, claims), (Some("alice"), true, 7));
    }
}
