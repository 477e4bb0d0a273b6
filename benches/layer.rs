//! What the layers cost a request, in process and without a runtime.
//!
//! The floor is what no layer of this shape can avoid: build the request, decode signature and
//! payload into stack buffers, check the signature with a prepared key, read the claims once after
//! one look at their UTF-8, share them, leave two extensions, call the inner service. Nothing in it
//! is checked but the signature. Beside it stands what a user would write by hand: tower-http's
//! `ValidateRequestHeaderLayer` around jsonwebtoken's `decode`.
//!
//! `cargo bench --features test-util --bench layer`, optionally with `-- --quick` and a part of a
//! group's name. For a profiler: `-- --loop HS256/layer 10000`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use jsonwebtoken as jwt;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::validate_request::{ValidateRequest, ValidateRequestHeaderLayer};
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer,
    event::sink_fn,
    key::Algorithm,
    revocation::{RETENTION, Revocation, RevocationSet},
    time::Timestamp,
};

use self::harness::{
    Group, Handler, Prepared, Token, User, call, credential, decoding, now, request,
};

fn main() {
    // jsonwebtoken asks the process for its cryptography.
    let _ = jwt::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    harness::main(
        "layer",
        vec![
            accepted, remembered, watched, guarded, key_sets, refused, anonymous,
        ],
    );
}

/// A good token.
fn accepted() -> Vec<Group> {
    let group = |(algorithm, of_floor, of_hand): (Algorithm, &str, &str)| {
        let token = Token::new(algorithm);
        given(&token, Group::new(algorithm.as_str()))
            .candidate("floor", floor(&token))
            .candidate("layer", calls(&token, JwtAuthLayer::new(token.verifier())))
            .candidate("by hand", calls(&token, by_hand(&token)))
            .compare("layer", "floor", of_floor)
            .compare("by hand", "floor", "–")
            .compare("by hand", "layer", of_hand)
    };
    ALGORITHMS.into_iter().map(group).collect()
}

/// A token that came before, against the cryptography alone, and against a service that is told the
/// same two things without any layer.
fn remembered() -> Vec<Group> {
    let group = |(algorithm, ..): (Algorithm, &str, &str)| {
        let token = Token::new(algorithm);
        let layer = JwtAuthLayer::new(token.remembering());
        given(&token, Group::new(format!("{algorithm}, again")))
            .candidate("layer", calls(&token, JwtAuthLayer::new(token.verifier())))
            .candidate("hit", calls(&token, layer))
            .candidate("floor", floor(&token))
            .candidate("no layer", bare(Some(&token)))
            .compare("hit", "layer", "–")
            .compare("hit", "floor", "–")
            .compare("hit", "no layer", "–")
    };
    ALGORITHMS.into_iter().map(group).collect()
}

/// A token that came before, where it might have been revoked, and where somebody listens.
fn watched() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let layer = || JwtAuthLayer::new(token.remembering());
    let revoked = layer().revocation(RevocationSet::local());
    let heard = AtomicU64::new(0);
    let listener = sink_fn(move |_| {
        heard.fetch_add(1, Ordering::Relaxed);
    });
    let group = given(&token, Group::new("HS256, watched"))
        .candidate("hit", calls(&token, layer()))
        .candidate("empty set", calls(&token, revoked))
        .candidate("1 000 000 entries", among_many(&token, layer()))
        .candidate("counting sink", calls(&token, layer().events(listener)))
        .compare("empty set", "hit", "–")
        .compare("1 000 000 entries", "hit", "–")
        .compare("counting sink", "hit", "–");
    vec![group]
}

/// Asks a set that holds a million names, all of which are others'. It is filled when it is first
/// asked, so that whoever measures something else need not wait for it.
fn among_many(token: &Token, layer: JwtAuthLayer<User>) -> impl FnMut() + use<> {
    let token = token.clone();
    let mut filled = None;
    move || {
        let ask = filled.get_or_insert_with(|| {
            let revoked = RevocationSet::local();
            let until = Timestamp::from(SystemTime::now()).plus(RETENTION);
            for number in 0..1_000_000 {
                let name = format!("of another {number}");
                revoked.insert(&match number % 3 {
                    0 => Revocation::session(name, until),
                    1 => Revocation::token(name, until),
                    _ => Revocation::subject(name, 1, until),
                });
            }
            calls(&token, layer.clone().revocation(revoked))
        });
        ask();
    }
}

/// A guard inside the layer.
fn guarded() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let auth = || JwtAuthLayer::new(token.verifier());
    let inside = |guard| ServiceBuilder::new().layer(auth()).layer(guard);
    let roles = inside(RoleGuardLayer::any_of(["root", "viewer"]));
    let scopes = inside(RoleGuardLayer::scope("orders:read invoices:read"));
    let group = given(&token, Group::new("HS256, guard"))
        .candidate("layer", calls(&token, auth()))
        .candidate("with roles", calls(&token, roles))
        .candidate("with scopes", calls(&token, scopes))
        .compare("with roles", "layer", "–")
        .compare("with scopes", "layer", "–");
    vec![group]
}

/// The same token, its key found among many.
fn key_sets() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let with = |keys| calls(&token, JwtAuthLayer::new(token.verifier_of(keys)));
    let group = given(&token, Group::new("HS256, keys"))
        .candidate("1 key", with(1))
        .candidate("100 keys", with(100))
        .candidate("1000 keys", with(1000))
        .compare("100 keys", "1 key", "≤ 1.02")
        .compare("1000 keys", "1 key", "≤ 1.02");
    vec![group]
}

/// Requests that are answered with 401, against the one that is let through.
fn refused() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        let token = Token::new(algorithm);
        let (forged, expired) = (
            token.clone().forged(),
            Token::expiring(algorithm, now() - 3600),
        );
        let auth = || JwtAuthLayer::new(token.verifier());
        let unauthorized = StatusCode::UNAUTHORIZED;
        Group::new(format!("{algorithm}, refused"))
            .given(bare(Some(&token)))
            .candidate("accepted", calls(&token, auth()))
            .candidate("forged", answers(Some(&forged), auth(), unauthorized))
            .candidate("expired", answers(Some(&expired), auth(), unauthorized))
            .candidate("no token", answers(None, auth(), unauthorized))
            .candidate(
                "forged by hand",
                answers(Some(&forged), by_hand(&token), unauthorized),
            )
            .compare("forged", "accepted", "–")
            .compare("expired", "accepted", "–")
            .compare("no token", "accepted", "–")
            .compare("forged by hand", "forged", "–")
    };
    [Algorithm::Hs256, Algorithm::Es256].map(group).into()
}

/// A request without a token where that is allowed, against no layer at all.
fn anonymous() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let auth = JwtAuthLayer::new(token.verifier()).optional();
    let group = Group::new("anonymous")
        .given(bare(None))
        .candidate("no layer", bare(None))
        .candidate("optional", answers(None, auth, StatusCode::OK))
        .compare("optional", "no layer", "–");
    vec![group]
}

/// Counts what belongs to the claims, to the request and to the inner service as given.
fn given(token: &Token, group: Group) -> Group {
    let json = token.claims();
    group
        .given(|| drop(serde_json::from_str::<User>(&json)))
        .given(bare(Some(token)))
}

fn bare(token: Option<&Token>) -> impl FnMut() + use<> {
    let mut inner = Handler;
    let value = token.map(credential);
    move || assert_eq!(call(&mut inner, request(value.as_ref())), StatusCode::OK)
}

fn calls<L, R>(token: &Token, layer: L) -> impl FnMut() + use<L, R>
where
    L: Layer<Handler>,
    L::Service: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    answers(Some(token), layer, StatusCode::OK)
}

fn answers<L, R>(token: Option<&Token>, layer: L, status: StatusCode) -> impl FnMut() + use<L, R>
where
    L: Layer<Handler>,
    L::Service: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    let mut service = layer.layer(Handler);
    let value = token.map(credential);
    move || assert_eq!(call(&mut service, request(value.as_ref())), status)
}

fn floor(token: &Token) -> impl FnMut() + use<> {
    let key = Prepared::new(token.algorithm);
    let (first, second) = token.dots;
    let value = credential(token);
    let mut inner = Handler;
    move || {
        let mut request = request(Some(&value));
        let text = request
            .headers()
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let token = &text.expect("it was just put there")["Bearer ".len()..];
        let mut signature = [0; 512];
        let length = URL_SAFE_NO_PAD.decode_slice(&token[second + 1..], &mut signature);
        let signature = &signature[..length.expect("base64url")];
        assert!(key.verifies(&token[..second], signature));
        let mut payload = [0; 512];
        let length = URL_SAFE_NO_PAD.decode_slice(&token[first + 1..second], &mut payload);
        let payload = &payload[..length.expect("base64url")];
        let json = std::str::from_utf8(payload).expect("claims are text");
        let user: Arc<User> = Arc::new(serde_json::from_str(json).expect("claims of a user"));
        request.extensions_mut().insert(Caller(Arc::clone(&user)));
        request.extensions_mut().insert(user);
        assert_eq!(call(&mut inner, request), StatusCode::OK);
    }
}

/// The second extension of the floor.
#[derive(Clone)]
struct Caller(#[allow(dead_code, reason = "nobody asks")] Arc<User>);

fn by_hand(token: &Token) -> ValidateRequestHeaderLayer<ByHand> {
    let (key, validation) = decoding(token.algorithm).expect("jsonwebtoken knows the algorithm");
    ValidateRequestHeaderLayer::custom(ByHand {
        key: Arc::new(key),
        validation: Arc::new(validation),
    })
}

#[derive(Clone)]
struct ByHand {
    key: Arc<jwt::DecodingKey>,
    validation: Arc<jwt::Validation>,
}

impl<B> ValidateRequest<B> for ByHand {
    type ResponseBody = ();

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<()>> {
        let header = request.headers().get(AUTHORIZATION);
        let user = header
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|token| jwt::decode::<User>(token, &self.key, &self.validation).ok());
        match user {
            Some(user) => {
                request.extensions_mut().insert(user.claims);
                Ok(())
            }
            None => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Err(response)
            }
        }
    }
}

const ALGORITHMS: [(Algorithm, &str, &str); 4] = [
    (Algorithm::Hs256, "≤ 1.10", "≥ 2.1"),
    (Algorithm::Rs256, "≤ 1.03", "≥ 1.4"),
    (Algorithm::Es256, "≤ 1.03", "≥ 1.08"),
    (Algorithm::EdDsa, "≤ 1.03", "–"),
];
