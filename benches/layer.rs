//! What the layers cost a request, in process and without a runtime.
//!
//! The floor is what no layer of this shape can avoid: build the request, decode signature and
//! payload into stack buffers, check the signature with a prepared key, read the claims once after
//! one look at their UTF-8, share them, leave two extensions, call the inner service. Nothing in it
//! is checked but the signature. Beside it stands what a user would write by hand: tower-http's
//! `ValidateRequestHeaderLayer` around jsonwebtoken's `decode`.
//!
//! `cargo bench --features test-util,server --bench layer`, optionally with `-- --quick` and a part of a
//! group's name. For a profiler: `-- --loop HS256/layer 10000`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{
    cell::LazyCell,
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    rc::Rc,
    slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Full;
use jsonwebtoken as jwt;
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_http::validate_request::{ValidateRequest, ValidateRequestHeaderLayer};
use tower_jwt_auth::{
    JwtAuthLayer, Principal, RoleGuardLayer, Verified, Verifier,
    event::sink_fn,
    key::Algorithm,
    layer::{
        mcp::{McpGuardBuilder, McpGuardLayer},
        resource::ProtectedResource,
        role_guard::{Decide, Decided, Decision, Question, Rule, ScopeHierarchy},
    },
    revocation::{RETENTION, Revocation, RevocationSet},
    time::Timestamp,
    verify::{IssuerResolver, Resolution, Tenants},
};

use self::harness::{
    Group, Handler, ISSUER, Prepared, Token, User, call, credential, decoding, now, request,
};

fn main() {
    // jsonwebtoken asks the process for its cryptography.
    let _ = jwt::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    harness::main(
        "layer",
        vec![
            accepted, remembered, several, long, unique, watched, announced, guarded, tools,
            key_sets, refused, anonymous,
        ],
    );
}

/// A good token.
fn accepted() -> Vec<Group> {
    let group = |(algorithm, of_floor): (Algorithm, &str)| {
        let token = Token::new(algorithm);
        given(&token, Group::new(algorithm.as_str()))
            .candidate("floor", floor(slice::from_ref(&token)))
            .candidate("layer", calls(&token, JwtAuthLayer::new(token.verifier())))
            .candidate("by hand", calls(&token, by_hand(&token)))
            .compare("layer", "floor", of_floor)
            .compare("by hand", "floor", "–")
            .compare("by hand", "layer", "> 1")
    };
    ALGORITHMS.into_iter().map(group).collect()
}

/// A token that came before, against the cryptography alone, and against a service that is told the
/// same two things without any layer.
fn remembered() -> Vec<Group> {
    let group = |(algorithm, _): (Algorithm, &str)| {
        let token = Token::new(algorithm);
        let layer = JwtAuthLayer::new(token.remembering());
        given(&token, Group::new(format!("{algorithm}, again")))
            .candidate("layer", calls(&token, JwtAuthLayer::new(token.verifier())))
            .candidate("hit", calls(&token, layer))
            .candidate("floor", floor(slice::from_ref(&token)))
            .candidate("told", told(&token))
            .candidate("no layer", bare(Some(&token)))
            .compare("hit", "layer", "–")
            .compare("hit", "floor", "–")
            .compare("hit", "told", "≤ 1.80")
            .compare("hit", "no layer", "≤ 3.7")
            .compare("told", "no layer", "–")
    };
    ALGORITHMS.into_iter().map(group).collect()
}

/// A token that came before, where its issuer is one of several.
fn several() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let built = |issuer: &str| {
        let rules = token.rules_of(issuer, 1);
        rules.build().expect("the settings fit together")
    };
    let issuers = [ISSUER, "https://a.example", "https://b.example"].map(built);
    let issuers = Verifier::by_issuer(issuers).expect("three issuers");
    let tenants = Verifier::tenants(Tenants::new(Tenant(built(ISSUER))));
    let hit = |verifier| calls(&token, JwtAuthLayer::new(verifier));
    let group = given(&token, Group::new("HS256, several"))
        .candidate("one issuer", hit(token.remembering()))
        .candidate("three issuers", hit(issuers))
        .candidate("tenants", hit(tenants))
        .compare("three issuers", "one issuer", "≤ 1.05")
        .compare("tenants", "one issuer", "–");
    vec![group]
}

/// A resolver of one tenant.
struct Tenant(Verifier<User>);

impl IssuerResolver<User> for Tenant {
    fn resolve(&self, _: &str) -> Resolution<User> {
        Resolution::Trusted(self.0.clone())
    }
}

/// A token with many groups that came before.
fn long() -> Vec<Group> {
    let group = |bytes: usize| {
        let (short, long) = (
            Token::new(Algorithm::Hs256),
            Token::long(Algorithm::Hs256, bytes),
        );
        let hit = |token: &Token| calls(token, JwtAuthLayer::new(token.remembering()));
        Group::new(format!("HS256, {bytes} bytes"))
            .candidate("short", hit(&short))
            .candidate("long", hit(&long))
            .candidate(
                "first time",
                calls(&long, JwtAuthLayer::new(long.verifier())),
            )
            .compare("long", "short", "≤ 2")
            .compare("first time", "long", "–")
    };
    [3 * 1024, 8 * 1024].map(group).into()
}

/// Tokens that come once each, with a cache that is full of others.
fn unique() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    // Far more than are cached: a token is long gone when it comes again.
    let tokens = Rc::new(LazyCell::new(|| Token::many(Algorithm::Hs256, 8000)));
    let again = Rc::clone(&tokens);
    let full = token.rules(1).cache_capacity(400).build();
    let full = JwtAuthLayer::new(full.expect("the settings fit together"));
    let none = JwtAuthLayer::new(token.verifier());
    let through = |layer: JwtAuthLayer<User>| {
        let tokens = Rc::clone(&tokens);
        late(move || each(&tokens, layer.clone()))
    };
    let group = given(&token, Group::new("HS256, unique"))
        .candidate("floor", late(move || floor(&again)))
        .candidate("cache", through(full))
        .candidate("no cache", through(none))
        .compare("cache", "floor", "≤ 1.75")
        .compare("no cache", "floor", "–")
        .compare("cache", "no cache", "–");
    vec![group]
}

/// Prepared when it is first called, so that whoever measures something else need not wait for it.
fn late<F: FnMut()>(make: impl Fn() -> F) -> impl FnMut() {
    let mut made = None;
    move || made.get_or_insert_with(&make)()
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

/// A policy engine that decides immediately.
struct Allowing;

impl Decide for Allowing {
    type Future = Ready<Decision>;

    fn decide(&self, _: &Question<'_>) -> Decided<Ready<Decision>> {
        Decided::Ready(Decision::Allow)
    }
}

/// A guard inside the layer.
fn guarded() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let auth = || JwtAuthLayer::new(token.remembering());
    let inside = |guard| ServiceBuilder::new().layer(auth()).layer(guard);
    let roles = inside(RoleGuardLayer::any_of(["root", "viewer"]));
    let scopes = inside(RoleGuardLayer::scope("orders:read invoices:read"));
    let guard = || RoleGuardLayer::scope("orders:read invoices:read");
    let hierarchy = ScopeHierarchy::builder().implies("orders", ["orders:read"]);
    let narrow = inside(guard().scope_hierarchy(hierarchy.build().expect("no cycle")));
    let decided = ServiceBuilder::new()
        .layer(auth())
        .layer(guard().policy(Allowing));
    let group = given(&token, Group::new("HS256, guard"))
        .candidate("layer", calls(&token, auth()))
        .candidate("with roles", calls(&token, roles))
        .candidate("with scopes", calls(&token, scopes))
        .candidate("with a scope hierarchy", calls(&token, narrow))
        .candidate("with a policy engine", calls(&token, decided))
        .compare("with roles", "layer", "–")
        .compare("with scopes", "layer", "–")
        .compare("with a scope hierarchy", "with scopes", "≤ 1.02")
        .compare("with a policy engine", "with scopes", "–");
    vec![group]
}

/// A layer that announces its resource.
fn announced() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let layer = || JwtAuthLayer::new(token.remembering());
    let resource = ProtectedResource::builder("https://api.example/orders")
        .authorization_server(ISSUER)
        .build()
        .expect("an https URL");
    let group = given(&token, Group::new("HS256, announced"))
        .candidate("hit", calls(&token, layer()))
        .candidate("announced", calls(&token, layer().resource(&resource)))
        .compare("announced", "hit", "≤ 1.02");
    vec![group]
}

/// A guard of tools by the headers of a call, and one of a whole service. Every request is the same call.
fn tools() -> Vec<Group> {
    let token = Token::new(Algorithm::Hs256);
    let inside = || ServiceBuilder::new().layer(JwtAuthLayer::new(token.remembering()));
    let rule = || Rule::scope("orders:read");
    let guard = || McpGuardLayer::builder().tool("list_orders", rule());
    let built = |guard: McpGuardBuilder| guard.build().expect("one rule");
    let trusting = inside().layer(built(guard().trust_headers()));
    let whole = inside().layer(RoleGuardLayer::new(rule()));
    let group = given(&token, Group::new("HS256, tools"))
        .candidate("guard", tool_calls(&token, whole))
        .candidate("by headers", tool_calls(&token, trusting))
        .candidate(
            "by the body",
            tool_calls(&token, inside().layer(built(guard()))),
        )
        .compare("by headers", "guard", "≤ 1.10")
        .compare("by the body", "guard", "–");
    vec![group]
}

/// A service for requests with any body.
#[derive(Clone)]
struct AnyBody;

impl<B> Service<Request<B>> for AnyBody {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(())))
    }
}

fn tool_calls<L, R>(token: &Token, layer: L) -> impl FnMut() + use<L, R>
where
    L: Layer<AnyBody>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let body = Bytes::from_static(
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_orders","arguments":{}}}"#,
    );
    let mut service = layer.layer(AnyBody);
    let value = credential(token);
    let fields = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_orders"),
    ];
    move || {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(AUTHORIZATION, value.clone());
        for (name, field) in fields {
            let field = HeaderValue::from_static(field);
            request.headers_mut().insert(name, field);
        }
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        match pin!(service.call(request)).poll(&mut context) {
            Poll::Ready(Ok(response)) => assert_eq!(response.status(), StatusCode::OK),
            Poll::Pending => panic!("the body is there"),
        }
    }
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

/// The same for tokens in turn.
fn each<L, R>(tokens: &[Token], layer: L) -> impl FnMut() + use<L, R>
where
    L: Layer<Handler>,
    L::Service: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    let mut service = layer.layer(Handler);
    let values: Vec<_> = tokens.iter().map(credential).collect();
    let mut next = 0;
    move || {
        next = (next + 1) % values.len();
        let status = call(&mut service, request(Some(&values[next])));
        assert_eq!(status, StatusCode::OK);
    }
}

/// No layer, but a service that inserts what the layer leaves in the extensions.
fn told(token: &Token) -> impl FnMut() + use<> {
    let left = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&left);
    let inside = service_fn(move |request: Request<()>| {
        let extensions = request.extensions();
        let principal = extensions.get::<Principal>().cloned();
        let token = extensions.get::<Verified<User>>().cloned();
        *seen.lock().expect("one thread") = principal.zip(token);
        ready(Ok::<_, Infallible>(Response::new(())))
    });
    let mut layer = JwtAuthLayer::new(token.remembering()).layer(inside);
    let value = credential(token);
    assert_eq!(call(&mut layer, request(Some(&value))), StatusCode::OK);
    let (principal, token) = left.lock().expect("one thread").take().expect("a caller");
    let mut service = Told {
        principal,
        token,
        inner: Handler,
    };
    move || {
        let status = call(&mut service, request(Some(&value)));
        assert_eq!(status, StatusCode::OK);
    }
}

struct Told {
    principal: Principal,
    token: Verified<User>,
    inner: Handler,
}

impl Service<Request<()>> for Told {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.principal.clone());
        extensions.insert(self.token.clone());
        self.inner.call(request)
    }
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

fn floor(tokens: &[Token]) -> impl FnMut() + use<> {
    let key = Prepared::new(tokens[0].algorithm);
    let values: Vec<_> = tokens
        .iter()
        .map(|token| (credential(token), token.dots))
        .collect();
    let mut next = 0;
    let mut inner = Handler;
    move || {
        next = (next + 1) % values.len();
        let (value, (first, second)) = &values[next];
        let (first, second) = (*first, *second);
        let mut request = request(Some(value));
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

const ALGORITHMS: [(Algorithm, &str); 4] = [
    (Algorithm::Hs256, "≤ 1.45"),
    (Algorithm::Rs256, "≤ 1.045"),
    (Algorithm::Es256, "≤ 1.025"),
    (Algorithm::EdDsa, "≤ 1.03"),
];
