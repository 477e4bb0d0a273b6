//! What the tests of remote keys share.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::{
        Algorithm,
        remote::{FetchError, Fetcher, RemoteKeySet, RemoteKeySetBuilder},
    },
    test_util::{JwksFixture, TestClock, TestIssuer, TestKeys},
};

use super::{settle::settle, until::until};

pub(crate) const ALGORITHM: Algorithm = Algorithm::Es256;
/// Longer than any test that works: only a broken one gets there.
pub(crate) const LONG: Duration = Duration::from_secs(50);
/// For what is expected never to come.
pub(crate) const SHORT: Duration = Duration::from_millis(40);

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A key set of the server's, with times long enough for a busy machine.
pub(crate) fn remote(server: &JwksFixture, clock: &TestClock) -> RemoteKeySetBuilder {
    RemoteKeySet::jwks(&server.url())
        .clock(clock.clone())
        .timeout(LONG)
        .wait(LONG)
}

pub(crate) fn verifier(keys: &RemoteKeySet, clock: &TestClock) -> Verifier {
    Verifier::key_source(keys.clone())
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap()
}

/// A server, and a verifier of its keys.
pub(crate) struct Setup {
    pub(crate) server: JwksFixture,
    pub(crate) clock: TestClock,
    pub(crate) keys: RemoteKeySet,
    pub(crate) verifier: Verifier,
}

impl Setup {
    /// The keys are there already.
    pub(crate) async fn ready() -> Self {
        Self::ready_with(|keys| keys).await
    }

    pub(crate) async fn ready_with(
        edit: impl FnOnce(RemoteKeySetBuilder) -> RemoteKeySetBuilder,
    ) -> Self {
        let setup = Self::new(JwksFixture::start(), edit);
        setup.keys.ready().await.unwrap();
        setup
    }

    pub(crate) fn new(
        server: JwksFixture,
        edit: impl FnOnce(RemoteKeySetBuilder) -> RemoteKeySetBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let keys = edit(remote(&server, &clock)).build().unwrap();
        Self {
            verifier: verifier(&keys, &clock),
            server,
            clock,
            keys,
        }
    }

    /// A token of a key that the server publishes at first.
    pub(crate) fn token(&self) -> String {
        token_of(TestKeys::new(), &self.clock)
    }

    /// A token of a key that it does not publish at first.
    pub(crate) fn other_token(&self) -> String {
        token_of(TestKeys::other(), &self.clock)
    }

    /// Asks through the layer, over HTTP's vocabulary.
    pub(crate) async fn status(&self, token: &str) -> (StatusCode, Option<u32>) {
        status(&self.verifier, token).await
    }

    /// Moves the clock to where keys are due, and has a request notice it.
    pub(crate) async fn refreshed(&self, by: Duration, token: &str) {
        let hits = self.server.hits();
        self.clock.advance(by);
        let _ = self.verifier.verify_now(token);
        until(|| self.server.hits() > hits).await;
    }
}

pub(crate) fn token_of(keys: TestKeys, clock: &TestClock) -> String {
    issuer_of(keys, clock).token(|_| ())
}

pub(crate) fn issuer_of(keys: TestKeys, clock: &TestClock) -> TestIssuer {
    TestIssuer::with_keys(ALGORITHM, keys).clock(clock.clone())
}

/// A well-formed token of the expected issuer that names this `kid`.
pub(crate) fn token_with_kid(kid: &str, clock: &TestClock) -> String {
    issuer_of(TestKeys::other(), clock)
        .kid(Some(kid))
        .token(|_| ())
}

pub(crate) fn kind(verifier: &Verifier, token: &str) -> Result<(), AuthErrorKind> {
    match verifier.verify_now(token) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.kind()),
    }
}

pub(crate) async fn status(verifier: &Verifier, token: &str) -> (StatusCode, Option<u32>) {
    let service =
        JwtAuthLayer::new(verifier.clone()).layer(service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let request = Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body(String::new())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let retry = response.headers().get("retry-after");
    let retry = retry.map(|value| value.to_str().unwrap().parse().unwrap());
    (response.status(), retry)
}

/// Waits for the keys of a verifier whose times nobody set: a busy machine may miss them, and then
/// the fetch is tried again.
pub(crate) async fn has_keys(verifier: &Verifier, clock: &TestClock) {
    let mut tries = 0;
    while verifier.ready().await.is_err() {
        clock.advance(seconds(5));
        tries += 1;
        assert!(tries < 20, "a good server answers in time, once");
    }
}

type Reply = Result<Response<Bytes>, FetchError>;

/// A client without a network, which answers at once.
#[derive(Clone)]
pub(crate) struct Scripted {
    calls: Arc<AtomicUsize>,
    reply: Arc<Mutex<Reply>>,
}

impl Scripted {
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        Self {
            calls: Arc::default(),
            reply: Arc::new(Mutex::new(Ok(Response::new(body.into())))),
        }
    }

    pub(crate) fn publishing(keys: TestKeys) -> Self {
        Self::new(keys.jwks())
    }

    pub(crate) fn reply(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    pub(crate) fn serve(&self, body: impl Into<Bytes>) {
        self.reply(Ok(Response::new(body.into())));
    }

    pub(crate) fn fail(&self) {
        self.reply(Err(FetchError::new("no route to host")));
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) async fn keys(&self, clock: &TestClock) -> RemoteKeySet {
        let keys = self.builder(clock).build().unwrap();
        settle().await;
        keys
    }

    pub(crate) fn builder(&self, clock: &TestClock) -> RemoteKeySetBuilder<Self> {
        RemoteKeySet::jwks("https://as.example/jwks")
            .clock(clock.clone())
            .fetch(self.clone())
    }
}

impl Fetcher for Scripted {
    fn fetch(&self, _: Request<()>) -> impl Future<Output = Reply> + Send {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let reply = self.reply.lock().unwrap().clone();
        async move { reply }
    }
}

/// The keys of an issuer, which are discovered.
pub(crate) fn keys_of(issuer: &str) -> RemoteKeySetBuilder {
    RemoteKeySet::oidc(issuer).timeout(LONG).wait(LONG)
}

/// Whether the keys can be had.
pub(crate) async fn succeeds(keys: RemoteKeySetBuilder) -> bool {
    keys.build().unwrap().ready().await.is_ok()
}

/// A verifier of an issuer whose keys are discovered.
pub(crate) fn verifier_of(issuer: &str, keys: &RemoteKeySet, clock: &TestClock) -> Verifier {
    Verifier::key_source(keys.clone())
        .issuer(issuer)
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap()
}

/// A token by a key that the server does not publish, under the name of one that it does.
pub(crate) fn forged(clock: &TestClock) -> String {
    issuer_of(TestKeys::other(), clock)
        .kid(Some(&TestKeys::new().kid(ALGORITHM)))
        .token(|_| ())
}

/// The other keys, under the names of the first.
pub(crate) fn renamed_keys() -> String {
    TestKeys::other().jwks().replace("other-", "first-")
}
