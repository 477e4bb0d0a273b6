//! The services of all layers.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{
    Immediate, Middleware, ResponseFuture, Suspended, Verdict, is_before_body, suspended::Kind,
    wait::Never,
};
use crate::{
    error::AuthError,
    layer::{extract::RequestHead, response::Refuse},
};

/// An inner service with a layer around it.
#[derive(Clone)]
pub(crate) struct Guarded<S, L> {
    inner: S,
    layer: L,
}

impl<S, L> Guarded<S, L> {
    pub(crate) fn new(inner: S, layer: L) -> Self {
        Self { inner, layer }
    }

    pub(crate) fn layer(&self) -> &L {
        &self.layer
    }

    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    pub(crate) fn into_inner(self) -> S {
        self.inner
    }

    pub(crate) fn poll_ready<B>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Request<B>>,
    {
        self.inner.poll_ready(cx)
    }
}

impl<S, L: Middleware> Guarded<S, L> {
    /// Calls the service of a layer that never waits.
    pub(crate) fn call<B, T>(
        &mut self,
        request: Request<B>,
    ) -> ResponseFuture<S::Future, Immediate<L::After>>
    where
        S: Service<Request<B>, Response = Response<T>>,
        L: Middleware<Wait = Never>,
    {
        self.call_or(request, |_, wait, _, _| match wait {})
    }

    /// Calls the service of a layer that may wait.
    pub(crate) fn call_or_wait<B, T>(
        &mut self,
        request: Request<B>,
    ) -> ResponseFuture<S::Future, Suspended<L, S, B>>
    where
        S: Service<Request<B>, Response = Response<T>> + Clone,
    {
        self.call_or(request, |this, wait, refusal, request| {
            // The ready instance may hold a permit, so it is dropped. Neither of the clones was polled.
            let fresh = this.inner.clone();
            this.inner = fresh.clone();
            Suspended::new(wait, refusal, this.layer.clone(), fresh, request)
        })
    }

    fn call_or<B, T, K>(
        &mut self,
        mut request: Request<B>,
        suspend: impl FnOnce(&mut Self, L::Wait, AuthError, Request<B>) -> K,
    ) -> ResponseFuture<S::Future, K>
    where
        S: Service<Request<B>, Response = Response<T>>,
        K: Kind<After = L::After>,
    {
        self.layer.prepare(&mut request);
        match self.layer.decide(RequestHead::of(&request)) {
            Verdict::Pass(pass) => {
                let after = self.layer.admit(&mut request, pass);
                ResponseFuture::inner(self.inner.call(request), after)
            }
            Verdict::Answer(response) => {
                ResponseFuture::answered(response, is_before_body(RequestHead::of(&request)))
            }
            Verdict::Refuse(error) => self.refuse(error, &request),
            Verdict::Wait(wait, refusal) => {
                ResponseFuture::suspended(|| suspend(self, wait, refusal, request))
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse<F, B, K>(&self, error: AuthError, request: &Request<B>) -> ResponseFuture<F, K>
    where
        K: Kind<After = L::After>,
    {
        let refusals = self.layer.refusals();
        let head = RequestHead::of(request);
        let response = refusals.refuse(error, head);
        ResponseFuture::answered(Box::new(response), is_before_body(head))
    }
}

/// Defines the service of a layer that never waits.
macro_rules! immediate_service {
    ($(#[$attribute:meta])* $service:ident, $layer:ty, $after:ty) => {
        $(#[$attribute])*
        #[derive(Clone)]
        #[must_use = "services do nothing unless called"]
        pub struct $service<S> {
            guarded: $crate::layer::middleware::Guarded<S, $layer>,
        }

        impl<S> $service<S> {
            pub(super) fn new(inner: S, layer: $layer) -> Self {
                Self {
                    guarded: $crate::layer::middleware::Guarded::new(inner, layer),
                }
            }

            /// Returns a reference to the inner service.
            #[must_use]
            pub fn get_ref(&self) -> &S {
                self.guarded.inner()
            }

            /// Returns the inner service.
            #[must_use]
            pub fn into_inner(self) -> S {
                self.guarded.into_inner()
            }
        }

        impl<S, B, T> ::tower_service::Service<::http::Request<B>> for $service<S>
        where
            S: ::tower_service::Service<::http::Request<B>, Response = ::http::Response<T>>,
        {
            type Response = ::http::Response<$crate::layer::middleware::ResponseBody<T>>;
            type Error = S::Error;
            type Future = $crate::layer::middleware::ResponseFuture<
                S::Future,
                $crate::layer::middleware::Immediate<$after>,
            >;

            fn poll_ready(
                &mut self,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Result<(), S::Error>> {
                self.guarded.poll_ready(cx)
            }

            fn call(&mut self, request: ::http::Request<B>) -> Self::Future {
                self.guarded.call(request)
            }
        }

        impl<S> ::std::fmt::Debug for $service<S> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($service)).finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use immediate_service;
