//! What every peer is told: whom to trust, and for whom the tokens must be.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{TestIssuer, TestKeys},
};

pub(crate) use crate::harness::{AUDIENCE, ISSUER, KID};
use crate::{harness::now, peer::Claims};

/// Keys are looked up anew this often, where that can be set: the shortest that all can do.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);
pub(crate) const LEEWAY: u64 = 60;
/// What a guard asks for.
pub(crate) const ROLE: &str = "admin";

#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) algorithm: Algorithm,
    pub(crate) keys: Keys,
    /// How many tokens this crate remembers; its own default where none.
    pub(crate) remembered: Option<usize>,
}

#[derive(Clone)]
pub(crate) enum Keys {
    /// A JWK Set in hand.
    Here(String),
    /// The URL of one.
    At(String),
}

impl Setup {
    pub(crate) fn here(algorithm: Algorithm, jwks: String) -> Self {
        Self {
            algorithm,
            keys: Keys::Here(jwks),
            remembered: None,
        }
    }

    pub(crate) fn at(algorithm: Algorithm, url: String) -> Self {
        Self {
            algorithm,
            keys: Keys::At(url),
            remembered: None,
        }
    }
}

/// Where peers fetch their keys.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// A key as a JWK, secrets included.
pub(crate) fn jwk(keys: TestKeys, algorithm: Algorithm, kid: &str) -> Value {
    if algorithm.is_hmac() {
        let secret = URL_SAFE_NO_PAD.encode(keys.secret(algorithm));
        return json!({ "kty": "oct", "k": secret, "alg": algorithm.as_str(), "use": "sig", "kid": kid });
    }
    let mut key: Value = serde_json::from_str(&keys.jwk(algorithm)).expect("a JWK is JSON");
    key["kid"] = kid.into();
    key
}

pub(crate) fn jwks(keys: impl IntoIterator<Item = Value>) -> String {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() }).to_string()
}

/// So many keys; the one that the tokens need is in the middle.
pub(crate) fn jwks_of(algorithm: Algorithm, count: usize) -> String {
    jwks((0..count).map(|number| {
        let kid = match number == count / 2 {
            true => KID.to_owned(),
            false => format!("2026-10-signing-{number}"),
        };
        jwk(TestKeys::new(), algorithm, &kid)
    }))
}

/// Claims of which none is asked for, so that what is refused is refused by the middleware and not
/// by the type.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Lax {}

impl Claims for Lax {
    type Aliri = aliri_oauth2::scope::BasicClaimsWithScope;
}

/// A good token for `Lax`, unlike any before, edited first.
pub(crate) fn lax_token(
    keys: TestKeys,
    kid: &str,
    edit: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>),
) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let mut header = Map::new();
    header.insert("alg".into(), "RS256".into());
    header.insert("typ".into(), "JWT".into());
    header.insert("kid".into(), kid.into());
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "scope": "orders:read", "roles": ["viewer"],
        "iat": now() - 60, "nbf": now() - 60, "exp": now() + 3600,
        "jti": NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
    });
    let Value::Object(mut claims) = claims else {
        return String::new();
    };
    edit(&mut header, &mut claims);
    let (header, claims) = (Value::Object(header), Value::Object(claims));
    TestIssuer::with_keys(Algorithm::Rs256, keys)
        .raw(&header.to_string(), claims.to_string().as_bytes())
}

/// A request as a server hands it on.
pub(crate) fn request(credential: &HeaderValue) -> Request<()> {
    let mut request = Request::new(());
    request
        .headers_mut()
        .insert(AUTHORIZATION, credential.clone());
    request
}

pub(crate) fn bearer(token: &str) -> HeaderValue {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    value.expect("a token fits into a header")
}
