//! aliri_tower 0.6.1 with aliri_oauth2 0.10.2 and aliri 0.6.4: ring, and OpenSSL for ECDSA.
//!
//! `add_allowed_audience` and `require_issuer` require the claims. Its claims types have to hold
//! aliri's own types, a parsed scope among them.

use aliri::{
    Jwks, jwa,
    jwt::{Audience, Audiences, CoreClaims, CoreValidator, Issuer, IssuerRef, Subject, SubjectRef},
};
use aliri_clock::UnixTime;
use aliri_oauth2::{Authority, HasScope, Scope, ScopePolicy};
use aliri_tower::Oauth2Authorizer;
use serde::Deserialize;
use tower::{Layer, ServiceBuilder};
use tower_jwt_auth::key::Algorithm;

use crate::{
    harness::User,
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, ISSUER, Keys, LEEWAY, REFRESH, ROLE, RUNTIME, Setup},
};

pub(crate) struct AliriTower;

impl Peer for AliriTower {
    const NAME: &'static str = "aliri_tower 0.6.1";
    type Body = String;

    fn body() -> String {
        String::new()
    }

    fn around<C: Claims, I: Inner<String>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing> {
        let authorizer = Oauth2Authorizer::new()
            .with_claims::<C::Aliri>()
            .with_terse_error_handler::<String>();
        Ok(authorizer.jwt_layer(authority(&setup)?).layer(inner))
    }

    /// It guards scopes.
    fn guarded<C: Claims, I: Inner<String>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing> {
        let authorizer = Oauth2Authorizer::new()
            .with_claims::<C::Aliri>()
            .with_terse_error_handler::<String>();
        Ok(ServiceBuilder::new()
            .layer(authorizer.jwt_layer(authority(&setup)?))
            .layer(authorizer.scope_layer(ScopePolicy::allow_one_from_static(ROLE)))
            .service(inner))
    }
}

fn authority(setup: &Setup) -> Result<Authority, Missing> {
    let algorithm = match setup.algorithm {
        Algorithm::Hs256 => jwa::Algorithm::HS256,
        Algorithm::Rs256 => jwa::Algorithm::RS256,
        Algorithm::Es256 => jwa::Algorithm::ES256,
        _ => return Err(Missing("has no EdDSA")),
    };
    let validator = CoreValidator::default()
        .add_approved_algorithm(algorithm)
        .add_allowed_audience(Audience::from_static(AUDIENCE))
        .require_issuer(Issuer::from_static(ISSUER))
        .check_expiration()
        .check_not_before()
        .with_leeway_secs(LEEWAY);
    match &setup.keys {
        Keys::Here(jwks) => {
            let jwks: Jwks = serde_json::from_str(jwks).expect("a key set");
            Ok(Authority::new(jwks, validator))
        }
        Keys::At(url) => RUNTIME.block_on(async {
            let authority = Authority::new_from_url(url.clone(), validator).await;
            let authority = authority.expect("the key server answers");
            authority.spawn_refresh(REFRESH);
            Ok(authority)
        }),
    }
}

impl Claims for User {
    type Aliri = AliriUser;
}

/// The claims of `User`, as aliri wants to have them.
#[derive(Clone, Debug, Deserialize)]
#[allow(dead_code, reason = "they are read for the comparison")]
pub(crate) struct AliriUser {
    iss: Issuer,
    sub: Subject,
    aud: Audiences,
    exp: UnixTime,
    iat: u64,
    nbf: UnixTime,
    jti: String,
    email: String,
    roles: Vec<String>,
    scope: Scope,
}

impl CoreClaims for AliriUser {
    fn nbf(&self) -> Option<UnixTime> {
        Some(self.nbf)
    }

    fn exp(&self) -> Option<UnixTime> {
        Some(self.exp)
    }

    fn aud(&self) -> &Audiences {
        &self.aud
    }

    fn iss(&self) -> Option<&IssuerRef> {
        Some(&self.iss)
    }

    fn sub(&self) -> Option<&SubjectRef> {
        Some(&self.sub)
    }
}

impl HasScope for AliriUser {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}
