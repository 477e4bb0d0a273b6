//! jwt-authorizer 0.15.0, on jsonwebtoken 9 with ring.
//!
//! Its `Validation` checks `aud` and `iss` where they are there; none of its settings makes them
//! required. Keys from a URL: the strategy `Interval` looks at them again after the interval, and
//! so sees withdrawn ones; the default `KeyNotFound` never looks again while a `kid` is known. Either
//! holds its lock while it fetches.

use jwt_authorizer::{
    Authorizer, IntoLayer, JwtAuthorizer as Builder, Refresh, RefreshStrategy, Validation,
    layer::AuthorizationLayer,
};
use tower::Layer;

use crate::{
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, ISSUER, Keys, LEEWAY, REFRESH, RUNTIME, Setup},
};

pub(crate) struct JwtAuthorizer;

impl Peer for JwtAuthorizer {
    const NAME: &'static str = "jwt-authorizer 0.15.0";
    type Body = axum_core_04::body::Body;

    fn body() -> Self::Body {
        Self::Body::empty()
    }

    fn around<C: Claims, I: Inner<Self::Body>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing> {
        Ok(layer::<C>(builder(&setup)).layer(inner))
    }

    /// `check` is where its documentation puts roles.
    fn guarded<C: Claims, I: Inner<Self::Body>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing> {
        Ok(layer::<C>(builder(&setup).check(|_| false)).layer(inner))
    }
}

/// The same with the feature `tonic`, whose refusals are gRPC's.
pub(crate) struct JwtAuthorizerGrpc;

impl Peer for JwtAuthorizerGrpc {
    const NAME: &'static str = JwtAuthorizer::NAME;
    type Body = tonic_012::body::BoxBody;

    fn body() -> Self::Body {
        tonic_012::body::empty_body()
    }

    fn around<C: Claims, I: Inner<Self::Body>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing> {
        Ok(layer::<C>(builder(&setup)).layer(inner))
    }

    fn guarded<C: Claims, I: Inner<Self::Body>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing> {
        Ok(layer::<C>(builder(&setup).check(|_| false)).layer(inner))
    }
}

fn builder<C: Claims>(setup: &Setup) -> Builder<C> {
    let builder = match &setup.keys {
        Keys::Here(jwks) => Builder::from_jwks_text(jwks),
        Keys::At(url) => Builder::from_jwks_url(url).refresh(Refresh {
            strategy: RefreshStrategy::Interval,
            refresh_interval: REFRESH,
            retry_interval: REFRESH,
        }),
    };
    let validation = Validation::new()
        .iss(&[ISSUER])
        .aud(&[AUDIENCE])
        .exp(true)
        .nbf(true)
        .leeway(LEEWAY);
    builder.validation(validation)
}

fn layer<C: Claims>(builder: Builder<C>) -> AuthorizationLayer<C> {
    let built: Authorizer<C> = RUNTIME.block_on(builder.build()).expect("an authorizer");
    built.into_layer()
}
