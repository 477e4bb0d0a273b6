//! A caller without a token.

use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Extensions, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::principal::{Anonymous, Principal};

/// A layer that signs every request in as this caller, whatever the request carries.
///
/// It takes the place of the authenticating layer in a handler's tests. Guards inside it answer
/// refusals as they do under a layer with default settings.
#[must_use]
pub fn signed_in(principal: Principal) -> CallerLayer {
    let mut extensions = Extensions::new();
    extensions.insert(principal);
    CallerLayer { extensions }
}

/// A layer that leaves in every request what an optional layer leaves where nobody is signed in.
#[must_use]
pub fn anonymous() -> CallerLayer {
    let mut extensions = Extensions::new();
    extensions.insert(Anonymous::default());
    CallerLayer { extensions }
}

/// Puts a caller into every request: made by [`signed_in`] and [`anonymous`].
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
        // The innermost layer that authenticates decides who is calling.
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

    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

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
}
