//! axum-jwt-auth 0.7.0, on jsonwebtoken 10 with RustCrypto, which is not optional there.
//!
//! An extractor, not a layer: it is called as axum would call it, in a boxed future as axum's
//! handlers are, without axum's router. All claims required.

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
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use axum_jwt_auth::{
    Claims as Extractor, Decoder, LocalDecoder, RemoteJwksDecoder, RemoteJwksDecoderConfig,
};
use http::Request;
use jsonwebtoken_10::{DecodingKey, Validation, jwk::JwkSet};
use tower::Service;

use crate::{
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, ISSUER, Keys, LEEWAY, REFRESH, RUNTIME, Setup},
};

pub(crate) struct AxumJwtAuth;

impl Peer for AxumJwtAuth {
    const NAME: &'static str = "axum-jwt-auth 0.7.0";
    type Body = Body;

    fn body() -> Body {
        Body::empty()
    }

    fn around<C: Claims, I: Inner<Body>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        let decoder: Decoder<C> = match &setup.keys {
            Keys::Here(jwks) => Arc::new(local(&setup, jwks)),
            Keys::At(url) => Arc::new(remote(&setup, url)),
        };
        Ok(Extracting { decoder, inner })
    }
}

fn local(setup: &Setup, jwks: &str) -> LocalDecoder {
    let set: JwkSet = serde_json::from_str(jwks).expect("a key set");
    let keys = set.keys.iter().map(DecodingKey::from_jwk);
    LocalDecoder::builder()
        .keys(keys.collect::<Result<_, _>>().expect("keys"))
        .validation(validation(setup))
        .build()
        .expect("a decoder")
}

fn remote(setup: &Setup, url: &str) -> RemoteJwksDecoder {
    let config = RemoteJwksDecoderConfig::builder().cache_duration(REFRESH);
    let decoder = RemoteJwksDecoder::builder()
        .jwks_url(url.to_owned())
        .config(config.build())
        .validation(validation(setup))
        .build()
        .expect("a decoder");
    let stop = RUNTIME.block_on(decoder.initialize());
    // Cancelled only by name: dropped, it lets the refreshing go on.
    drop(stop.expect("the key server answers"));
    decoder
}

fn validation(setup: &Setup) -> Validation {
    let algorithm = setup.algorithm.as_str().parse();
    let mut validation = Validation::new(algorithm.expect("jsonwebtoken knows the algorithm"));
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY;
    validation
}

struct Extracting<C, I> {
    decoder: Decoder<C>,
    inner: I,
}

impl<C, I: Clone> Clone for Extracting<C, I> {
    fn clone(&self) -> Self {
        Self {
            decoder: Arc::clone(&self.decoder),
            inner: self.inner.clone(),
        }
    }
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
        let decoder = Arc::clone(&self.decoder);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match Extractor::<C>::from_request_parts(&mut parts, &decoder).await {
                Ok(user) => {
                    black_box(&user.claims);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}
