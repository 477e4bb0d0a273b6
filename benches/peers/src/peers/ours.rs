//! This crate: with its defaults, and without the memory of verified tokens.

use serde_json::Value;
use tower::{Layer, ServiceBuilder};
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer, Verifier,
    key::{KeySet, VerifyingKey, remote::RemoteKeySet},
    layer::resource::ProtectedResource,
    test_util::TestKeys,
    verify::VerifierBuilder,
};

use crate::{
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, ISSUER, Keys, REFRESH, ROLE, RUNTIME, Setup},
};

pub(crate) struct Ours;

impl Peer for Ours {
    const NAME: &'static str = "tower-jwt-auth";
    type Body = ();

    fn body() {}

    fn around<C: Claims, I: Inner<()>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        Ok(JwtAuthLayer::new(build(&setup, rules(&setup).claims::<C>())).layer(inner))
    }

    fn guarded<C: Claims, I: Inner<()>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        Ok(ServiceBuilder::new()
            .layer(JwtAuthLayer::new(build(
                &setup,
                rules(&setup).claims::<C>(),
            )))
            .layer(RoleGuardLayer::any_of([ROLE]))
            .service(inner))
    }

    fn announced<C: Claims, I: Inner<()>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        let resource = ProtectedResource::builder("https://api.example")
            .authorization_server(ISSUER)
            .build()
            .expect("an https URL");
        let layer = JwtAuthLayer::new(build(&setup, rules(&setup).claims::<C>()));
        Ok(layer.resource(&resource).layer(inner))
    }
}

pub(crate) struct OursUncached;

impl Peer for OursUncached {
    const NAME: &'static str = "tower-jwt-auth, `without_cache()`";
    type Body = ();

    fn body() {}

    fn around<C: Claims, I: Inner<()>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        let mut setup = setup;
        setup.remembered = Some(0);
        Ok(JwtAuthLayer::new(build(&setup, rules(&setup).claims::<C>())).layer(inner))
    }
}

fn rules(setup: &Setup) -> VerifierBuilder {
    let _inside = RUNTIME.enter();
    let builder = match &setup.keys {
        // A secret is no part of a JWK Set for this crate.
        Keys::Here(jwks) if setup.algorithm.is_hmac() => Verifier::key_set(secrets(setup, jwks)),
        Keys::Here(jwks) => Verifier::key_set(KeySet::from_jwks(jwks).expect("a key set")),
        Keys::At(url) => Verifier::remote(RemoteKeySet::jwks(url).max_age(REFRESH)),
    };
    builder.issuer(ISSUER).audience(AUDIENCE)
}

fn secrets(setup: &Setup, jwks: &str) -> KeySet {
    let document: Value = serde_json::from_str(jwks).expect("a key set");
    let keys = document["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|jwk| {
            let secret = TestKeys::new().secret(setup.algorithm);
            let key = VerifyingKey::from_secret(setup.algorithm, secret).expect("a secret");
            key.with_kid(jwk["kid"].as_str().expect("a kid"))
        });
    KeySet::new(keys).expect("the keys fit together")
}

fn build<C: Claims>(setup: &Setup, builder: VerifierBuilder<C>) -> Verifier<C> {
    let _inside = RUNTIME.enter();
    let builder = match setup.remembered {
        Some(tokens) => builder.cache_capacity(tokens),
        None => builder,
    };
    builder.build().expect("the settings fit together")
}
