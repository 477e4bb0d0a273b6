//! tower-http 0.7.1 `ValidateRequestHeaderLayer` around jsonwebtoken 11.1.0 with aws-lc-rs, as
//! somebody who knows both would write it: all claims required, the scheme in any case.

use std::{collections::HashMap, sync::Arc};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use tower::Layer;
use tower_http::validate_request::{ValidateRequest, ValidateRequestHeaderLayer};

use crate::{
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, ISSUER, Keys, LEEWAY, Setup},
};

pub(crate) struct ByHand;

impl Peer for ByHand {
    const NAME: &'static str = "by hand (jsonwebtoken 11.1.0)";
    type Body = ();

    fn body() {}

    fn around<C: Claims, I: Inner<()>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        let Keys::Here(jwks) = &setup.keys else {
            return Err(Missing("fetches no keys"));
        };
        let check = Check::<C> {
            keys: Arc::new(keys(jwks)),
            validation: Arc::new(validation(&setup)),
            claims: std::marker::PhantomData,
        };
        Ok(ValidateRequestHeaderLayer::custom(check).layer(inner))
    }
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

fn keys(jwks: &str) -> Found {
    let set: JwkSet = serde_json::from_str(jwks).expect("a key set");
    let named = set.keys.iter().map(|jwk| {
        let key = DecodingKey::from_jwk(jwk).expect("a key");
        (jwk.common.key_id.clone().unwrap_or_default(), key)
    });
    let mut keys: HashMap<String, DecodingKey> = named.collect();
    if keys.len() > 1 {
        return Found::ByKid(keys);
    }
    Found::One(keys.drain().map(|(_, key)| key).next().expect("a key"))
}

enum Found {
    One(DecodingKey),
    ByKid(HashMap<String, DecodingKey>),
}

impl Found {
    fn of(&self, token: &str) -> Option<&DecodingKey> {
        match self {
            Self::One(key) => Some(key),
            Self::ByKid(keys) => keys.get(&decode_header(token).ok()?.kid?),
        }
    }
}

struct Check<C> {
    keys: Arc<Found>,
    validation: Arc<Validation>,
    claims: std::marker::PhantomData<fn() -> C>,
}

impl<C> Clone for Check<C> {
    fn clone(&self) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            validation: Arc::clone(&self.validation),
            claims: self.claims,
        }
    }
}

impl<C: Claims> Check<C> {
    fn claims(&self, value: &HeaderValue) -> Option<C> {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let key = self.keys.of(token)?;
        Some(decode::<C>(token, key, &self.validation).ok()?.claims)
    }
}

impl<C: Claims> ValidateRequest<()> for Check<C> {
    type ResponseBody = ();

    fn validate(&mut self, request: &mut Request<()>) -> Result<(), Response<()>> {
        let header = request.headers().get(AUTHORIZATION);
        match header.and_then(|value| self.claims(value)) {
            Some(claims) => {
                request.extensions_mut().insert(claims);
                Ok(())
            }
            None => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                let challenge = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Err(response)
            }
        }
    }
}
