//! Building, readiness, events, and the end of a key set.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_jwt_auth::{
    Claims, ConfigError, Verifier,
    error::AuthErrorKind,
    event::{AuthEvent, sink_fn},
    key::{
        Algorithm, KeySet, KeySource, SharedKeySet,
        remote::{FetchError, Fetcher, RemoteKeySet},
    },
    test_util::{Answer, JwksFixture, TestClock, TestKeys},
    verify::Provider,
};

use crate::support::remote::{
    ALGORITHM, LONG, SHORT, Scripted, Setup, kind, seconds, status, token_of, token_with_kid,
    verifier,
};
use crate::support::{settle::settle, until::until};

#[test]
fn building_outside_a_runtime_is_a_config_error() {
    let refused = RemoteKeySet::jwks("https://as.example/jwks").build();
    assert!(
        matches!(refused, Err(ConfigError::Invalid { .. })),
        "{refused:?}"
    );
    let refused = Verifier::jwks("https://as.example/jwks")
        .issuer("https://as.example")
        .audience("api")
        .build();
    assert!(
        matches!(refused, Err(ConfigError::Invalid { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn d50_keys_from_a_url_need_an_issuer_or_the_word_that_any_will_do() {
    let url = || Verifier::jwks("https://as.example/jwks").audience("api");
    let start = || RemoteKeySet::jwks("https://as.example/jwks");
    let (pair, worker) = start().build_pair().unwrap();
    let shared: Arc<dyn KeySource> = Arc::new(pair.clone());
    let of_source = |keys: Arc<dyn KeySource>| Verifier::key_source(keys).audience("api");
    let built: Arc<dyn KeySource> = Arc::new(start().build().unwrap());
    let all = [
        url(),
        Verifier::remote(start()).audience("api"),
        Verifier::key_source(pair).audience("api"),
        of_source(shared),
        of_source(built),
        url().client_ids(["web"]),
        url().claims::<Claims>(),
    ];
    for builder in all {
        assert!(matches!(builder.build(), Err(ConfigError::IssuerRequired)));
    }
    assert!(url().issuer("https://as.example").build().is_ok());
    assert!(url().dangerous_any_issuer().build().is_ok());
    // The name that the keys were found by counts.
    let discovered = || Verifier::oidc("https://as.example").audience("api");
    assert!(discovered().build().is_ok());
    let preset = Provider::auth0("tenant.eu.auth0.com");
    assert!(url().provider(preset).build().is_ok());
    let contradiction = discovered().dangerous_any_issuer().build();
    assert!(matches!(contradiction, Err(ConfigError::Invalid { .. })));
    drop(worker);
}

#[tokio::test]
async fn published_keys_need_an_audience_or_a_client() {
    let refused = Verifier::jwks("https://as.example/jwks").build();
    assert!(matches!(refused, Err(ConfigError::AudienceRequired)));
    assert!(
        Verifier::jwks("https://as.example/jwks")
            .issuer("https://as.example")
            .client_ids(["web"])
            .build()
            .is_ok()
    );
    // A secret is never published, so that such a verifier could never accept a token.
    let secret = Verifier::jwks("https://as.example/jwks")
        .audience("api")
        .algorithms([Algorithm::Hs256]);
    assert!(matches!(secret.build(), Err(ConfigError::Algorithm(_))));
    let open = Verifier::jwks("https://as.example/jwks")
        .issuer("https://as.example")
        .dangerous_any_audience();
    assert!(open.build().is_ok());
}

#[tokio::test]
async fn numbers_out_of_range_are_config_errors() {
    let day = seconds(24 * 3600);
    let moment = Duration::from_millis(1);
    let start = || RemoteKeySet::jwks("https://as.example/jwks");
    for refused in [
        start().max_age(seconds(1) - moment),
        start().max_age(day + moment),
        start().cooldown(seconds(1) - moment),
        start().timeout(Duration::ZERO),
        start().timeout(seconds(61)),
        start().wait(Duration::ZERO),
        start().wait(seconds(61)),
        start().stale(day * 8),
        start().max_keys(0),
        start().max_bytes(0),
        start().root_certificate("no PEM"),
        start().root_certificate(""),
    ] {
        assert!(matches!(refused.build(), Err(ConfigError::Invalid { .. })));
    }
    for accepted in [
        start().max_age(seconds(1)),
        start().max_age(day),
        start().stale(Duration::ZERO),
        start().wait(seconds(60)).timeout(moment),
    ] {
        assert!(accepted.build().is_ok());
    }
}

#[tokio::test]
async fn build_pair_leaves_the_running_to_the_application() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let (keys, worker) = client.builder(&clock).build_pair().unwrap();
    settle().await;
    assert_eq!(client.calls(), 0);
    let worker = tokio::spawn(worker);
    keys.ready().await.unwrap();
    let verifier = verifier(&keys, &clock);
    assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
    drop((keys, verifier));
    worker.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_is_dropped_unstarted_leaves_nobody_waiting() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let (keys, worker) = client.builder(&clock).build_pair().unwrap();
    let verifier = verifier(&keys, &clock);
    let waiting = tokio::spawn({
        let (verifier, token) = (verifier.clone(), token_of(TestKeys::new(), &clock));
        async move { status(&verifier, &token).await }
    });
    settle().await;
    drop(worker);
    let token = token_of(TestKeys::new(), &clock);
    let late = status(&verifier, &token);
    for answer in [
        tokio::time::timeout(LONG, waiting).await.unwrap().unwrap(),
        tokio::time::timeout(LONG, late).await.unwrap(),
    ] {
        assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
    }
}

/// A client that tells when it is dropped.
struct Guarded(Arc<AtomicBool>);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Fetcher for Guarded {
    fn fetch(
        &self,
        _: Request<()>,
    ) -> impl Future<Output = Result<Response<Bytes>, FetchError>> + Send {
        std::future::pending()
    }
}

#[tokio::test]
async fn the_last_handle_ends_the_fetching_in_mid_fetch() {
    let ended = Arc::new(AtomicBool::new(false));
    let keys = RemoteKeySet::jwks("https://as.example/jwks")
        .fetch(Guarded(Arc::clone(&ended)))
        .build()
        .unwrap();
    let clock = TestClock::new();
    let verifier = verifier(&keys, &clock);
    settle().await;
    drop(keys);
    settle().await;
    assert!(!ended.load(Ordering::SeqCst));
    drop(verifier);
    until(|| ended.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn the_last_handle_ends_a_worker_of_ones_own_in_mid_fetch() {
    let ended = Arc::new(AtomicBool::new(false));
    let (keys, worker) = RemoteKeySet::jwks("https://as.example/jwks")
        .timeout(seconds(60))
        .fetch(Guarded(Arc::clone(&ended)))
        .build_pair()
        .unwrap();
    let worker = tokio::spawn(worker);
    settle().await;
    drop(keys);
    // Well before the fetch would be given up.
    tokio::time::timeout(LONG, worker).await.unwrap().unwrap();
    assert!(ended.load(Ordering::SeqCst));
}

/// A client that panics while it is told to.
struct Panicking {
    panics: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl Fetcher for Panicking {
    async fn fetch(&self, _: Request<()>) -> Result<Response<Bytes>, FetchError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        assert!(!self.panics.load(Ordering::SeqCst), "the client panics");
        Ok(Response::new(TestKeys::new().jwks().into()))
    }
}

#[tokio::test]
async fn a_client_that_panics_is_a_failed_fetch_like_any_other() {
    let panics = Arc::new(AtomicBool::new(true));
    let client = Panicking {
        panics: Arc::clone(&panics),
        calls: Arc::default(),
    };
    let calls = Arc::clone(&client.calls);
    let clock = TestClock::new();
    let keys = RemoteKeySet::jwks("https://as.example/jwks")
        .clock(clock.clone())
        .fetch(client)
        .build()
        .unwrap();
    let verifier = verifier(&keys, &clock);
    let token = token_of(TestKeys::new(), &clock);
    let answer = tokio::time::timeout(LONG, status(&verifier, &token)).await;
    assert_eq!(answer.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(keys.last_error().is_some());
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    panics.store(false, Ordering::SeqCst);
    clock.advance(seconds(1));
    assert_eq!(status(&verifier, &token).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_listener_that_panics_disturbs_nobody() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client
        .builder(&clock)
        .events(sink_fn(|_| panic!("the listener panics")))
        .build()
        .unwrap();
    let verifier = verifier(&keys, &clock);
    assert!(
        verifier
            .verify(token_of(TestKeys::new(), &clock))
            .await
            .is_ok()
    );
    client.serve(TestKeys::other().jwks());
    assert!(
        verifier
            .verify(token_of(TestKeys::other(), &clock))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn every_fetch_and_every_failure_is_an_event() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let events = Arc::new(Mutex::new(Vec::new()));
    let keys = client
        .builder(&clock)
        .events({
            let events = Arc::clone(&events);
            sink_fn(move |event| {
                events.lock().unwrap().push(match event {
                    AuthEvent::KeysFetched { keys, changed, .. } => format!("{keys} {changed}"),
                    AuthEvent::KeyFetchFailed {
                        error, retry_in, ..
                    } => {
                        assert!(*retry_in <= seconds(60));
                        format!("{error}")
                    }
                    _ => "another".to_owned(),
                });
            })
        })
        .build()
        .unwrap();
    let verifier = verifier(&keys, &clock);
    let one_key = format!(r#"{{"keys":[{}]}}"#, TestKeys::other().jwk(ALGORITHM));
    for body in [
        None,
        Some(TestKeys::new().jwks()),
        Some(String::new()),
        Some(one_key),
    ] {
        if let Some(body) = body {
            client.serve(body);
            clock.advance(seconds(515));
            let _ = kind(&verifier, &token_of(TestKeys::new(), &clock));
        }
        settle().await;
    }
    assert_eq!(
        *events.lock().unwrap(),
        [
            "10 true",
            "10 false",
            "the response is not a usable key set",
            "1 true"
        ]
    );
}

#[tokio::test]
async fn readiness_tells_what_there_is() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    client.fail();
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    assert!(!keys.is_usable() && !keys.is_fresh() && !verifier.is_ready());
    assert!(keys.last_success().is_none());
    assert_eq!(
        keys.ready().await.unwrap_err().to_string(),
        "the request failed"
    );
    assert_eq!(
        verifier.ready().await.unwrap_err().kind(),
        AuthErrorKind::KeysUnavailable
    );

    client.serve(TestKeys::new().jwks());
    clock.advance(seconds(1));
    verifier.ready().await.unwrap();
    assert!(keys.is_usable() && keys.is_fresh() && verifier.is_ready());
    assert!(keys.last_error().is_none());
    let now = tower_jwt_auth::time::Clock::now(&clock);
    assert_eq!(keys.last_success(), Some(now));

    client.fail();
    clock.advance(seconds(600));
    assert!(keys.is_usable() && !keys.is_fresh());
    clock.advance(seconds(3600));
    assert!(!keys.is_usable());
}

#[tokio::test]
async fn ready_waits_for_the_whole_attempt_though_requests_do_not() {
    let server = JwksFixture::start();
    server.answer(Answer::json(TestKeys::new().jwks()).held());
    let setup = Setup::new(server, |keys| keys.wait(SHORT));
    let ready = tokio::spawn({
        let keys = setup.keys.clone();
        async move { keys.ready().await }
    });
    let built = tokio::spawn({
        let verifier = setup.verifier.clone();
        async move { verifier.ready().await }
    });
    let (status, _) = setup.status(&setup.token()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!ready.is_finished() && !built.is_finished());
    // Who comes after the release is held until the next one.
    until(|| setup.server.hits() == 1).await;
    setup.server.release();
    assert!(ready.await.unwrap().is_ok());
    assert!(built.await.unwrap().is_ok());
    assert_eq!(setup.server.hits(), 1);
}

#[tokio::test]
async fn ready_asks_for_nothing_where_keys_are_there() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let keys = client.keys(&clock).await;
    let verifier = verifier(&keys, &clock);
    for _ in 0..10 {
        keys.ready().await.unwrap();
        verifier.ready().await.unwrap();
        settle().await;
    }
    assert_eq!(client.calls(), 1);
}

/// A service behind a readiness probe has no traffic before it is ready.
#[tokio::test]
async fn keys_that_failed_at_start_come_though_no_request_comes() {
    let server = JwksFixture::start();
    server.answer(Answer::status(503));
    let keys = RemoteKeySet::jwks(&server.url()).build().unwrap();
    assert!(keys.ready().await.is_err());
    server.serve(TestKeys::new().jwks());
    until(|| keys.is_usable()).await;
}

#[tokio::test]
async fn a_set_whose_worker_ended_serves_its_keys_and_hangs_nobody() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let (keys, worker) = client.builder(&clock).build_pair().unwrap();
    let worker = tokio::spawn(worker);
    keys.ready().await.unwrap();
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    let verifier = verifier(&keys, &clock);
    assert_eq!(kind(&verifier, &token_of(TestKeys::new(), &clock)), Ok(()));
    // Q19: nothing can find out any more whether there is such a key.
    for age in [0, 600, 4200] {
        clock.advance(seconds(age));
        let unknown = token_with_kid("unknown", &clock);
        let answer = tokio::time::timeout(LONG, status(&verifier, &unknown)).await;
        assert_eq!(
            answer.unwrap().0,
            StatusCode::SERVICE_UNAVAILABLE,
            "after {age} s more"
        );
    }
}

#[tokio::test]
async fn look_ups_of_a_known_key_are_no_fetch() {
    let setup = Setup::new(JwksFixture::start(), |keys| keys);
    setup.keys.ready().await.unwrap();
    let token = setup.token();
    for _ in 0..10_000 {
        assert!(setup.verifier.verify_now(&token).is_ok());
    }
    assert_eq!(setup.server.hits(), 1);
}

#[test]
fn static_keys_that_are_replaced_are_never_seen_half() {
    let clock = TestClock::new();
    let set = |keys: TestKeys| KeySet::from_jwks(keys.jwks()).unwrap();
    let shared = SharedKeySet::new(set(TestKeys::new()));
    let verifier = Verifier::key_source(shared.clone())
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let tokens = [TestKeys::new(), TestKeys::other()].map(|keys| token_of(keys, &clock));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for token in &tokens {
            let (verifier, done) = (&verifier, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // One of the sets or the other: never a wrong key, never no answer.
                    let verdict = kind(verifier, token);
                    assert!(
                        matches!(verdict, Ok(()) | Err(AuthErrorKind::UnknownKey)),
                        "{verdict:?}"
                    );
                }
            });
        }
        let (old, new) = (set(TestKeys::new()), set(TestKeys::other()));
        for _ in 0..2000 {
            shared.replace(new.clone());
            assert_eq!(kind(&verifier, &tokens[1]), Ok(()));
            assert_eq!(kind(&verifier, &tokens[0]), Err(AuthErrorKind::UnknownKey));
            shared.replace(old.clone());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(shared.load().len(), 10);
    assert_eq!(kind(&verifier, &tokens[0]), Ok(()));
}
