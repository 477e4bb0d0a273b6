//! The fixture of the acceptance rules, and a strict reader of the answers.

mod challenge;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::WWW_AUTHENTICATE, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value};
use tower::{Layer, Service, ServiceExt};
use tower_jwt_auth::{
    AuthError, JwtAuthLayer, Principal, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use self::challenge::{Challenge, parse_challenges};

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://api.example";
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// The published keys of the fixture's issuer.
pub(crate) fn keys() -> KeySet {
    static KEYS: LazyLock<KeySet> =
        LazyLock::new(|| KeySet::from_jwks(TestKeys::new().jwks()).unwrap());
    KEYS.clone()
}

/// An issuer, and a verifier that trusts it.
pub(crate) struct Fixture {
    pub(crate) clock: TestClock,
    pub(crate) es: TestIssuer,
    pub(crate) rs: TestIssuer,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        Self {
            es: TestIssuer::new(Algorithm::Es256).clock(clock.clone()),
            rs: TestIssuer::new(Algorithm::Rs256).clock(clock.clone()),
            clock,
        }
    }

    pub(crate) fn builder(&self) -> VerifierBuilder {
        self.expecting(Verifier::key_set(keys()))
    }

    /// The fixture's expectations, with keys from elsewhere.
    pub(crate) fn expecting(&self, builder: VerifierBuilder) -> VerifierBuilder {
        self.any_algorithm(builder).algorithms(ALGORITHMS)
    }

    pub(crate) fn any_algorithm(&self, builder: VerifierBuilder) -> VerifierBuilder {
        let clock = self.clock.clone();
        builder.issuer(ISSUER).audience(AUDIENCE).clock(clock)
    }

    pub(crate) fn layer(&self) -> JwtAuthLayer {
        JwtAuthLayer::new(self.builder().build().unwrap())
    }

    pub(crate) fn issuer(&self, algorithm: Algorithm) -> TestIssuer {
        TestIssuer::new(algorithm).clock(self.clock.clone())
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.timestamp()
    }

    pub(crate) fn token(&self) -> String {
        self.es.token(|_| ())
    }

    /// A good token with one claim set.
    pub(crate) fn with(&self, claim: &str, value: Value) -> String {
        self.es.token(|claims| claims.insert(claim.into(), value))
    }

    /// A good token without one claim.
    pub(crate) fn without(&self, claim: &str) -> String {
        self.es.token(|claims| claims.remove(claim))
    }

    /// A good token with one claim written as it stands here.
    pub(crate) fn with_text(&self, claim: &str, value: &str) -> String {
        let claims = self.payload(|claims| claims.remove(claim));
        self.with_payload(claims.replacen('{', &format!("{{\"{claim}\":{value},"), 1))
    }

    /// A token whose claims are this text, and everything else is good.
    pub(crate) fn with_payload(&self, json: impl AsRef<[u8]>) -> String {
        self.es.raw(&self.header(|_| ()), json.as_ref())
    }

    /// A token whose header is this text, and everything else is good.
    pub(crate) fn with_header(&self, json: &str) -> String {
        self.es.raw(json, self.payload(|_| ()).as_bytes())
    }

    pub(crate) fn header<R>(&self, edit: impl FnOnce(&mut Map<String, Value>) -> R) -> String {
        edited(&self.token(), 0, edit)
    }

    pub(crate) fn payload<R>(&self, edit: impl FnOnce(&mut Map<String, Value>) -> R) -> String {
        edited(&self.token(), 1, edit)
    }

    /// Has the token judged by a layer for every shape of claims type. They must all agree.
    pub(crate) async fn judge(&self, token: &str) -> Answer {
        judge(|| self.builder(), bearer(token)).await
    }

    /// The same, with other settings.
    pub(crate) async fn judge_by(
        &self,
        settings: impl Fn(VerifierBuilder) -> VerifierBuilder,
        token: &str,
    ) -> Answer {
        judge(|| settings(self.builder()), bearer(token)).await
    }
}

fn edited<R>(
    token: &str,
    segment: usize,
    edit: impl FnOnce(&mut Map<String, Value>) -> R,
) -> String {
    let segment = token.split('.').nth(segment).unwrap();
    let json = URL_SAFE_NO_PAD.decode(segment).unwrap();
    let mut members = serde_json::from_slice(&json).unwrap();
    edit(&mut members);
    Value::Object(members).to_string()
}

pub(crate) fn segments(token: &str) -> [String; 3] {
    let segments: Vec<_> = token.split('.').map(str::to_owned).collect();
    segments.try_into().unwrap()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A published key, its members edited.
pub(crate) fn jwk<R>(algorithm: Algorithm, edit: impl FnOnce(&mut Value) -> R) -> Value {
    let mut jwk = serde_json::from_str(&TestKeys::new().jwk(algorithm)).unwrap();
    edit(&mut jwk);
    jwk
}

pub(crate) fn bearer(token: impl AsRef<[u8]>) -> Request<String> {
    authorization(["Bearer ".as_bytes(), token.as_ref()].concat())
}

pub(crate) fn authorization(value: impl AsRef<[u8]>) -> Request<String> {
    let value = http::HeaderValue::from_bytes(value.as_ref()).unwrap();
    let mut request = Request::new(String::new());
    request.headers_mut().insert("authorization", value);
    request
}

/// A claims type of an application's own.
#[derive(Deserialize)]
struct Own {
    #[expect(dead_code, reason = "it only has to be read")]
    tenant: Option<Value>,
}

#[derive(Deserialize)]
struct Newtype(#[expect(dead_code, reason = "it only has to be read")] Own);

#[derive(Deserialize)]
struct Flattened {
    #[serde(flatten)]
    _own: Own,
    #[serde(flatten)]
    _rest: HashMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Untagged {
    #[expect(dead_code, reason = "it only has to be read")]
    Own(Own),
}

pub(crate) async fn judge(
    builder: impl Fn() -> VerifierBuilder,
    request: Request<String>,
) -> Answer {
    async fn by<C>(builder: VerifierBuilder<C>, request: &Request<String>) -> Answer
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        send(JwtAuthLayer::new(builder.build().unwrap()), request.clone()).await
    }

    let first = by(builder(), &request).await;
    let others = [
        ("struct", by(builder().claims::<Own>(), &request).await),
        (
            "Option<struct>",
            by(builder().claims::<Option<Own>>(), &request).await,
        ),
        ("newtype", by(builder().claims::<Newtype>(), &request).await),
        (
            "Option<newtype>",
            by(builder().claims::<Option<Newtype>>(), &request).await,
        ),
        ("Box", by(builder().claims::<Box<Own>>(), &request).await),
        (
            "flattened",
            by(builder().claims::<Flattened>(), &request).await,
        ),
        (
            "untagged",
            by(builder().claims::<Untagged>(), &request).await,
        ),
        ("Value", by(builder().claims::<Value>(), &request).await),
        (
            "ignored",
            by(builder().claims::<IgnoredAny>(), &request).await,
        ),
    ];
    for (shape, answer) in &others {
        assert_eq!(answer.status, first.status, "{shape}");
        assert_eq!(answer.kind(), first.kind(), "{shape}");
        assert_eq!(answer.ran(), first.ran(), "{shape}");
    }
    first
}

/// The service inside: it takes note of the request that reaches it.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    seen: Arc<Mutex<Option<Parts>>>,
    headers: HeaderMap,
}

impl Inner {
    pub(crate) fn was_called(&self) -> bool {
        self.seen.lock().unwrap().is_some()
    }
}

impl<B> Service<Request<B>> for Inner {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        *self.seen.lock().unwrap() = Some(request.into_parts().0);
        let mut response = Response::new("handled".to_owned());
        response.headers_mut().clone_from(&self.headers);
        std::future::ready(Ok(response))
    }
}

/// Sends a request through a layer around a service that takes note of what reaches it.
pub(crate) async fn send<L, R>(layer: L, request: Request<String>) -> Answer
where
    L: Layer<Inner>,
    L::Service: Service<Request<String>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = Infallible>,
{
    send_to(HeaderMap::new(), layer, request).await
}

/// The same, around a service that answers with these headers.
pub(crate) async fn send_to<L, R>(headers: HeaderMap, layer: L, request: Request<String>) -> Answer
where
    L: Layer<Inner>,
    L::Service: Service<Request<String>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = Infallible>,
{
    let inner = Inner {
        seen: Arc::default(),
        headers,
    };
    let seen = Arc::clone(&inner.seen);
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let seen = seen.lock().unwrap().take();
    Answer {
        status: parts.status,
        error: parts.extensions.get::<AuthError>().cloned(),
        headers: parts.headers,
        body: body.to_bytes(),
        seen,
    }
}

/// What came back, and what reached the inner service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) error: Option<AuthError>,
    pub(crate) seen: Option<Parts>,
}

impl Answer {
    pub(crate) fn ran(&self) -> bool {
        self.seen.is_some()
    }

    pub(crate) fn kind(&self) -> Option<AuthErrorKind> {
        self.error.as_ref().map(AuthError::kind)
    }

    pub(crate) fn caller(&self) -> &Principal {
        self.seen().extensions.get().expect("a principal")
    }

    pub(crate) fn seen(&self) -> &Parts {
        self.seen.as_ref().expect("the inner service ran")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} more than once");
        Some(value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The one challenge, which must be one for Bearer and sound by RFC 6750 §3.
    #[track_caller]
    pub(crate) fn challenge(&self) -> Challenge {
        let value = self.header(WWW_AUTHENTICATE.as_str()).expect("a challenge");
        let mut challenges = parse_challenges(value).expect(value);
        let challenge = challenges.pop().unwrap();
        assert!(challenges.is_empty(), "{value}");
        challenge.assert_sound();
        challenge
    }

    #[track_caller]
    pub(crate) fn passes(self, case: &str) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{case}: {:?}", self.kind());
        assert!(self.ran(), "{case}");
        assert!(self.error.is_none(), "{case}");
        assert!(!self.headers.contains_key(WWW_AUTHENTICATE), "{case}");
        assert_eq!(self.body, "handled", "{case}");
        self
    }

    /// 401/bare
    #[track_caller]
    pub(crate) fn bare(self, case: &str) -> Self {
        self.refused(case, StatusCode::UNAUTHORIZED, None)
    }

    /// 401/it
    #[track_caller]
    pub(crate) fn invalid_token(self, case: &str) -> Self {
        self.refused(case, StatusCode::UNAUTHORIZED, Some("invalid_token"))
    }

    /// 400/ir
    #[track_caller]
    pub(crate) fn invalid_request(self, case: &str) -> Self {
        self.refused(case, StatusCode::BAD_REQUEST, Some("invalid_request"))
    }

    /// 403/is
    #[track_caller]
    pub(crate) fn insufficient_scope(self, case: &str) -> Self {
        self.refused(case, StatusCode::FORBIDDEN, Some("insufficient_scope"))
    }

    /// 503 with Retry-After
    #[track_caller]
    pub(crate) fn unavailable(self, case: &str) -> Self {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{case}");
        assert!(!self.ran(), "{case}");
        let seconds = self.header("retry-after").expect("Retry-After");
        assert!(seconds.parse::<u32>().unwrap() > 0, "{case}");
        self
    }

    #[track_caller]
    pub(crate) fn because(self, kind: AuthErrorKind) -> Self {
        assert_eq!(self.kind(), Some(kind));
        self
    }

    #[track_caller]
    fn refused(self, case: &str, status: StatusCode, error: Option<&str>) -> Self {
        assert_eq!(self.status, status, "{case}: {:?}", self.kind());
        assert!(!self.ran(), "{case}");
        assert!(self.error.is_some(), "{case}");
        let challenge = self.challenge();
        assert_eq!(challenge.get("error"), error, "{case}");
        if error.is_none() {
            assert_eq!(challenge.get("error_description"), None, "{case}");
        }
        self
    }
}

/// A source of keys that counts how often it was asked, and what for.
#[derive(Clone)]
pub(crate) struct Counting {
    keys: KeySet,
    kids: Arc<Mutex<Vec<Option<String>>>>,
}

impl Counting {
    pub(crate) fn new() -> Self {
        Self {
            keys: keys(),
            kids: Arc::default(),
        }
    }

    /// The kids that were asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.kids.lock().unwrap())
    }
}

impl KeySource for Counting {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        let kid = query.kid().map(str::to_owned);
        self.kids.lock().unwrap().push(kid);
        self.keys.lookup(query)
    }
}

/// A source of keys that cannot be reached.
#[derive(Clone, Copy)]
pub(crate) struct Unreachable;

impl KeySource for Unreachable {
    fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
        KeyLookup::Unavailable { retry_after: 7 }
    }
}
