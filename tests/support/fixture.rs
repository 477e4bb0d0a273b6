//! The issuer of the acceptance rules, and a verifier that trusts it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use super::answer::{Answer, send};

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

    /// A good token with one claim written as it stands here.
    pub(crate) fn with_text(&self, claim: &str, value: &str) -> String {
        let claims = self.payload(|claims| claims.remove(claim));
        self.with_payload(claims.replacen('{', &format!("{{\"{claim}\":{value},"), 1))
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
