//! axum-jwks 0.12.0, on jsonwebtoken 9 with ring. RSA alone.
//!
//! An extractor, not a layer: it is called as axum would call it, in a boxed future as axum's
//! handlers are, without axum's router. The audience is all that it can be told; keys are fetched
//! once, when it is built.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum_core::{
    body::Body,
    extract::{FromRef, FromRequestParts},
    response::{IntoResponse, Response},
};
use axum_jwks::{Claims as Extractor, Jwks, ParseTokenClaims, TokenError};
use http::Request;
use serde::Deserialize;
use tower::Service;
use tower_jwt_auth::key::Algorithm;

use crate::{
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, Keys, RUNTIME, Setup},
};

pub(crate) struct AxumJwks;

impl Peer for AxumJwks {
    const NAME: &'static str = "axum-jwks 0.12.0";
    type Body = Body;

    fn body() -> Body {
        Body::empty()
    }

    fn around<C: Claims, I: Inner<Body>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        if setup.algorithm != Algorithm::Rs256 {
            return Err(Missing("has RSA alone"));
        }
        let jwks = match &setup.keys {
            Keys::Here(jwks) => {
                let set = serde_json::from_str(jwks).expect("a key set");
                Jwks::from_jwk_set(set, Some(AUDIENCE), None)
            }
            Keys::At(url) => RUNTIME.block_on(Jwks::from_jwks_url(url, Some(AUDIENCE), None)),
        };
        Ok(Extracting {
            state: State(Arc::new(jwks.expect("the keys can be had"))),
            inner,
            claims: std::marker::PhantomData::<fn() -> C>,
        })
    }
}

/// The application's state. axum clones it for every request; the extractor then takes the whole
/// key set out of it, by value.
#[derive(Clone)]
struct State(Arc<Jwks>);

impl FromRef<State> for Jwks {
    fn from_ref(state: &State) -> Self {
        Self::clone(&state.0)
    }
}

/// Its claims types name their rejection.
#[derive(Deserialize)]
#[serde(bound = "C: Claims", transparent)]
struct Named<C>(C);

impl<C: Claims> ParseTokenClaims for Named<C> {
    type Rejection = TokenError;
}

#[derive(Clone)]
struct Extracting<C, I> {
    state: State,
    inner: I,
    claims: std::marker::PhantomData<fn() -> C>,
}

impl<C: Claims, I: Inner<Body>> Service<Request<()>> for Extracting<C, I> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let state = self.state.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match Extractor::<Named<C>>::from_request_parts(&mut parts, &state).await {
                Ok(Extractor(Named(claims))) => {
                    black_box(&claims);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}
