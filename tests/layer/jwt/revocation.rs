//! Revocation on every request: E22, T12, and what a check of one's own may do.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderValue, Request};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tower::{Layer, Service, ServiceExt};
use tower_jwt_auth::{
    Anonymous, JwtAuthLayer, Principal, Verifier,
    error::{AuthErrorKind, StoreError},
    event::sink_fn,
    layer::extract::Cookie,
    revocation::{
        Broadcast, CheckResult, Feed, RETENTION, Revocation, RevocationCheck, RevocationSet,
        RevocationStatus, check_fn,
    },
    test_util::{TestClock, TestIssuer},
    time::{Clock, Timestamp},
};

use crate::support::{
    answer::{Inner, send},
    fixture::{AUDIENCE, Fixture, ISSUER, bearer, keys},
    until::until,
};

pub(super) fn later(clock: &TestClock) -> Timestamp {
    clock.now().plus(RETENTION)
}

fn local(fixture: &Fixture) -> RevocationSet {
    RevocationSet::local_with_clock(fixture.clock.clone())
}

#[tokio::test]
async fn e22_a_token_is_revoked_by_its_issuer_and_jti_whatever_its_text() {
    let fixture = Fixture::new();
    let revoked = local(&fixture);
    let layer = || fixture.layer().revocation(revoked.clone());
    let (one, two) = (
        fixture.with("jti", json!("t1")),
        fixture.with("jti", json!("t1")),
    );
    assert_ne!(one, two, "ECDSA signs every time anew");
    send(layer(), bearer(&one)).await.passes("not yet");
    revoked.insert(&Revocation::token("t1", later(&fixture.clock)));
    for text in [&one, &two] {
        let answer = send(layer(), bearer(text)).await;
        answer
            .invalid_token("revoked")
            .because(AuthErrorKind::Revoked);
    }
    for (case, token) in [
        ("another jti", fixture.with("jti", json!("t2"))),
        ("no jti", fixture.without("jti")),
        ("a session of that name", fixture.with("sid", json!("t1"))),
        ("a subject of that name", fixture.with("sub", json!("t1"))),
    ] {
        send(layer(), bearer(token)).await.passes(case);
    }
    // What another issuer calls so is another token.
    let other = "https://other.example";
    let others =
        TestIssuer::new(tower_jwt_auth::key::Algorithm::Es256).clock(fixture.clock.clone());
    let foreign = others.token(|claims| {
        claims.insert("iss".into(), json!(other));
        claims.insert("jti".into(), json!("t1"));
    });
    let of = |issuer: &str| {
        let builder = Verifier::key_set(keys()).clock(fixture.clock.clone());
        builder.issuer(issuer).audience(AUDIENCE).build().unwrap()
    };
    let both = Verifier::by_issuer([of(ISSUER), of(other)]).unwrap();
    let revoked = revoked.of_issuer(ISSUER);
    let layer = JwtAuthLayer::new(both).revocation(revoked.clone());
    send(layer.clone(), bearer(&foreign))
        .await
        .passes("another issuer");
    send(layer, bearer(&one)).await.invalid_token("its own");
    // Nobody says that it is another's.
    let unnamed = Principal::builder().token_id("t1").build();
    assert!(revoked.contains(&unnamed));
}

#[test]
fn epochs_are_compared_over_their_whole_range() {
    let clock = TestClock::new();
    let revoked = RevocationSet::local_with_clock(clock.clone());
    // As of somebody who counts in seconds since 1970.
    for epoch in [1_800_000_000, u32::MAX] {
        revoked.insert(&Revocation::subject("alice", epoch, later(&clock)));
        let caller = |epoch| Principal::builder().subject("alice").epoch(epoch).build();
        assert!(revoked.contains(&caller(epoch - 1)), "{epoch}");
        assert!(!revoked.contains(&caller(epoch)), "{epoch}");
    }
}

#[test]
fn an_entry_that_is_in_is_found_whatever_comes_and_ends_beside_it() {
    let clock = TestClock::new();
    let set = RevocationSet::local_with_clock(clock.clone());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (set, clock) = (&set, &clock);
            scope.spawn(move || {
                for number in 0..2_000 {
                    let id = format!("{thread}-{number}");
                    let long = clock.now().plus(100 * RETENTION);
                    set.insert(&Revocation::session(&id, long));
                    assert!(set.contains(&Principal::builder().session_id(&id).build()));
                    let short = clock.now().plus(Duration::from_secs(2));
                    set.insert(&Revocation::token(&id, short));
                    clock.advance(Duration::from_millis(1));
                }
            });
        }
    });
    // Nothing was counted twice or lost; sessions live on, of the tokens those that nobody swept.
    assert!((8_000..=16_000).contains(&set.len()), "{}", set.len());
}

/// A feed that is always ready.
struct Eager;

impl Feed for Eager {
    async fn load(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        Ok(())
    }

    async fn next(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_feed_that_never_waits_leaves_the_thread_to_others() {
    let set = RevocationSet::follow(Eager).unwrap();
    assert!(set.loaded(Duration::from_secs(60)).await);
}

/// A feed whose load takes a while by the clock.
pub(super) struct Slow(pub(super) TestClock);

impl Feed for Slow {
    async fn load(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        self.0.advance(Duration::from_secs(20));
        Ok(())
    }

    async fn next(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_a_load_brings_is_as_old_as_the_loads_beginning() {
    let clock = TestClock::new();
    let set = RevocationSet::follow_with_clock(Slow(clock.clone()), clock).unwrap();
    assert!(set.loaded(Duration::from_secs(60)).await);
    assert_eq!(set.age(), Some(Duration::from_secs(20)));
    assert!(set.is_ready() && !set.require_fresh().is_ready());
}

#[tokio::test]
async fn a_session_and_a_subjects_older_tokens_are_revoked() {
    let fixture = Fixture::new();
    let revoked = local(&fixture);
    let layer = fixture.layer().revocation(revoked.clone());
    let until = later(&fixture.clock);
    revoked.insert(&Revocation::session("s1", until));
    revoked.insert(&Revocation::subject("alice", 3, until));
    let token = |ep: serde_json::Value, sid: &str, sub: &str| {
        fixture.es.token(|claims| {
            claims.insert("ep".into(), ep);
            claims.insert("sid".into(), json!(sid));
            claims.insert("sub".into(), json!(sub));
        })
    };
    for (case, token, good) in [
        ("the session", token(json!(9), "s1", "bob"), false),
        ("another session", token(json!(9), "s2", "bob"), true),
        ("an older epoch", token(json!(2), "s2", "alice"), false),
        ("the epoch", token(json!(3), "s2", "alice"), true),
        ("a newer epoch", token(json!(4), "s2", "alice"), true),
        (
            "an epoch that is no number",
            token(json!("4"), "s2", "alice"),
            false,
        ),
        (
            "an epoch below zero",
            token(json!(-1), "s2", "alice"),
            false,
        ),
        ("another subject", token(json!(0), "s2", "alicia"), true),
        ("no epoch", fixture.token(), false),
    ] {
        let answer = send(layer.clone(), bearer(token)).await;
        match good {
            true => drop(answer.passes(case)),
            false => drop(answer.invalid_token(case).because(AuthErrorKind::Revoked)),
        }
    }
    // The higher epoch stands, whichever came first.
    revoked.insert(&Revocation::subject("alice", 1, until));
    send(layer.clone(), bearer(token(json!(2), "s2", "alice")))
        .await
        .invalid_token("still");
    // Entries end; by then the tokens have.
    fixture.clock.advance(RETENTION + Duration::from_secs(1));
    let fresh = fixture
        .es
        .token(|claims| claims.insert("sid".into(), json!("s1")));
    send(layer, bearer(fresh)).await.passes("ended");
}

/// A clock that is wrong for an hour loses nothing: neither what was known, nor what is told meanwhile,
/// nor what is asked of the set meanwhile.
#[tokio::test]
async fn a_wall_clock_that_jumps_ahead_and_back_forgets_no_revocation() {
    let clock = TestClock::new();
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let news = Broadcast::new();
    let sets = [
        RevocationSet::local_with_clock(clock.clone()),
        RevocationSet::follow_with_clock(news.feed(), clock.clone()).unwrap(),
    ];
    assert!(sets[1].loaded(Duration::from_secs(5)).await);
    let tell = async |revocation: Revocation| {
        let before = sets[1].len();
        sets[0].insert(&revocation);
        news.send(revocation);
        until(|| sets[1].len() > before).await;
    };
    let caller = |sid: &str| Principal::builder().session_id(sid).build();
    let issued = |at: Timestamp| {
        let claims = Principal::builder().issued_at(at.to_calendar());
        claims.build()
    };
    let right = clock.now();
    let end = later(&clock);
    tell(Revocation::session("known", end)).await;
    clock.set(right.plus(hour));
    // By a store whose clock is right.
    tell(Revocation::session("told meanwhile", end)).await;
    // Enough to sweep every shard, as a feed does every minute.
    for number in 0..5_000 {
        sets[0].insert(&Revocation::session(format!("{number}"), end.plus(hour)));
    }
    sets[0].insert(&Revocation::issued_before(right, end));
    for set in &sets {
        assert!(set.contains(&caller("known")) && set.contains(&caller("told meanwhile")));
    }
    assert!(sets[0].contains(&issued(right.minus(minute))));
    clock.advance(30 * minute);
    clock.set(right.plus(30 * minute));
    for set in &sets {
        assert!(set.contains(&caller("known")) && set.contains(&caller("told meanwhile")));
    }
    assert!(sets[0].contains(&issued(right.minus(minute))));
    // It ends all the same.
    clock.advance(6 * minute);
    for set in &sets {
        assert!(!set.contains(&caller("known")) && !set.contains(&caller("told meanwhile")));
    }
    assert!(!sets[0].contains(&issued(right.minus(minute))));

    // Set back, tokens live longer by it, and so do the entries.
    tell(Revocation::session("set back", later(&clock))).await;
    clock.set(right.minus(hour));
    clock.advance(RETENTION + minute);
    assert!(sets.iter().all(|set| set.contains(&caller("set back"))));
}

#[tokio::test]
async fn a_remembered_token_is_asked_about_on_every_request() {
    let fixture = Fixture::new();
    let one = fixture.builder().build().unwrap();
    // The cache of one verifier, and the one in front of a group.
    for verifier in [one.clone(), Verifier::by_algorithm([one]).unwrap()] {
        let revoked = local(&fixture);
        let layer = JwtAuthLayer::new(verifier).revocation(revoked.clone());
        let token = fixture.with("sid", json!("s1"));
        for _ in 0..3 {
            send(layer.clone(), bearer(&token))
                .await
                .passes("remembered");
        }
        revoked.insert(&Revocation::session("s1", later(&fixture.clock)));
        send(layer, bearer(&token)).await.invalid_token("at once");
    }
}

/// A feed in the test's hand: it loads and brings news when it is told to.
struct Hand {
    orders: mpsc::UnboundedReceiver<Order>,
}

enum Order {
    Bring(Revocation, oneshot::Sender<()>),
    Fail,
}

impl Feed for Hand {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        self.next(set).await
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        match self.orders.recv().await {
            Some(Order::Bring(revocation, done)) => {
                set.insert(&revocation);
                let _ = done.send(());
                Ok(())
            }
            Some(Order::Fail) => Err(StoreError::unavailable("told to")),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn t12_a_stale_feed_serves_or_is_503_by_the_layers_choice_and_never_401() {
    let fixture = Fixture::new();
    let (orders, receiver) = mpsc::unbounded_channel();
    let set = RevocationSet::follow_with_clock(Hand { orders: receiver }, fixture.clock.clone());
    let set = set.unwrap();
    let serving = fixture.layer().revocation(set.clone());
    let strict = fixture.layer().revocation(set.clone().require_fresh());
    let token = || fixture.with("sid", json!("s2"));
    let bring = async |sid: &str| {
        let (done, heard) = oneshot::channel();
        let revocation = Revocation::session(sid, later(&fixture.clock));
        orders.send(Order::Bring(revocation, done)).ok().unwrap();
        heard.await.unwrap();
    };

    // Never loaded: nobody knows.
    orders.send(Order::Fail).ok().unwrap();
    for layer in [&serving, &strict] {
        let answer = send(layer.clone(), bearer(token())).await;
        answer
            .unavailable("never loaded")
            .because(AuthErrorKind::RevocationUnavailable);
        assert!(!layer.is_ready());
    }
    bring("s1").await;
    assert!(set.loaded(Duration::from_secs(60)).await);
    for layer in [&serving, &strict] {
        send(layer.clone(), bearer(token())).await.passes("loaded");
        let answer = send(layer.clone(), bearer(fixture.with("sid", json!("s1")))).await;
        answer.invalid_token("revoked");
        assert!(layer.is_ready());
    }
    // The feed is silent.
    for (seconds, strict_serves, serves) in [
        (10, true, true),
        (1, false, true),
        (30 * 60 - 11, false, true),
        (1, false, false),
    ] {
        fixture.clock.advance(Duration::from_secs(seconds));
        for (layer, good) in [(&strict, strict_serves), (&serving, serves)] {
            let answer = send(layer.clone(), bearer(token())).await;
            match good {
                true => drop(answer.passes("not too old")),
                false => drop(answer.unavailable("too old")),
            }
            assert_eq!(layer.is_ready(), good);
        }
    }
    // It comes back.
    bring("s3").await;
    until(|| strict.is_ready()).await;
    send(strict, bearer(token())).await.passes("back");
    let answer = send(serving, bearer(fixture.with("sid", json!("s3")))).await;
    answer.invalid_token("revoked meanwhile");
}

#[tokio::test]
async fn a_feed_that_fails_keeps_what_it_brought_and_is_loaded_again() {
    let (orders, receiver) = mpsc::unbounded_channel();
    let set = RevocationSet::follow(Hand { orders: receiver }).unwrap();
    let bring = |sid: &str| {
        let (done, heard) = oneshot::channel();
        let until = Timestamp::from_millis(i64::MAX);
        orders
            .send(Order::Bring(Revocation::session(sid, until), done))
            .ok()
            .unwrap();
        heard
    };
    bring("s1").await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let set = set.events(sink_fn(move |event| {
        sink.lock().unwrap().push(event.name());
    }));
    orders.send(Order::Fail).ok().unwrap();
    bring("s2").await.unwrap();
    assert_eq!(set.len(), 2);
    let heard = ["revocation_feed.stale", "revocation_feed.recovered"];
    assert_eq!(*told.lock().unwrap(), heard);
    // The task ends with the last handle.
    drop(set);
    until(|| orders.is_closed()).await;
}

#[test]
fn following_outside_a_runtime_is_a_config_error() {
    let error = RevocationSet::follow(Broadcast::new().feed()).unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test]
async fn t11_what_one_node_revokes_all_sets_of_the_process_refuse() {
    let fixture = Fixture::new();
    let news = Broadcast::new();
    let forever = Timestamp::from_millis(i64::MAX);
    news.send(Revocation::session("before", forever));
    let sets: Vec<_> = (0..3)
        .map(|_| RevocationSet::follow(news.feed()).unwrap())
        .collect();
    for set in &sets {
        assert!(set.loaded(Duration::from_secs(60)).await);
        assert_eq!(set.len(), 1);
    }
    // More than the feed's backlog at once: nothing is lost.
    for number in 0..5_000 {
        news.send(Revocation::session(format!("s{number}"), forever));
    }
    for set in &sets {
        until(|| set.len() == 5_001).await;
        let layer = fixture.layer().revocation(set.clone());
        for sid in ["before", "s0", "s4999"] {
            let answer = send(layer.clone(), bearer(fixture.with("sid", json!(sid)))).await;
            answer.invalid_token(sid);
        }
    }
}

#[test]
fn a_million_entries_take_bounded_memory_and_leave_when_they_end() {
    let clock = TestClock::new();
    let set = RevocationSet::local_with_clock(clock.clone());
    let until = later(&clock);
    let bytes = allocation_counter::measure(|| {
        for number in 0..1_000_000 {
            set.insert(&Revocation::session(format!("s{number}"), until));
        }
    })
    .bytes_current;
    println!("1 000 000 entries hold {} MiB", bytes >> 20);
    assert!(bytes < 80 << 20, "{bytes}");
    let caller = |sid: &str| Principal::builder().session_id(sid).build();
    assert!(set.contains(&caller("s0")) && set.contains(&caller("s999999")));
    assert!(!set.contains(&caller("s1000000")));
    // Those that come later push out those that ended.
    clock.advance(RETENTION + Duration::from_secs(1));
    let until = later(&clock);
    for number in 0..200_000 {
        set.insert(&Revocation::session(format!("t{number}"), until));
    }
    assert!(set.len() < 1_200_000 / 2, "{}", set.len());
}

/// Answers later, when it is told to; counts how often it was asked.
#[derive(Clone, Default)]
struct Later {
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Option<oneshot::Receiver<RevocationStatus>>>>,
}

impl Later {
    fn new() -> (Self, oneshot::Sender<RevocationStatus>) {
        let (sender, receiver) = oneshot::channel();
        let later = Self::default();
        *later.answer.lock().unwrap() = Some(receiver);
        (later, sender)
    }
}

impl RevocationCheck for Later {
    type Future = std::pin::Pin<Box<dyn Future<Output = RevocationStatus> + Send>>;

    fn check(&self, caller: &Principal) -> CheckResult<Self::Future> {
        assert_eq!(caller.subject(), Some("alice"));
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().unwrap().take().unwrap();
        CheckResult::Pending(Box::pin(async move { answer.await.unwrap() }))
    }
}

#[tokio::test]
async fn a_check_that_has_to_ask_suspends_the_request_and_decides_it() {
    for (status, expected) in [
        (RevocationStatus::Valid, None),
        (RevocationStatus::Revoked, Some(AuthErrorKind::Revoked)),
        (
            RevocationStatus::unavailable(9),
            Some(AuthErrorKind::RevocationUnavailable),
        ),
    ] {
        let fixture = Fixture::new();
        let (later, sender) = Later::new();
        let asked = Arc::clone(&later.asked);
        let layer = fixture.layer().revocation(later);
        let request = bearer(fixture.token());
        let mut answer = pin!(send(layer, request));
        let mut context = Context::from_waker(Waker::noop());
        assert!(answer.as_mut().poll(&mut context).is_pending());
        sender.send(status).unwrap();
        let answer = answer.await;
        assert_eq!(answer.kind(), expected);
        assert_eq!(answer.ran(), expected.is_none());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        if let RevocationStatus::Unavailable { .. } = status {
            assert_eq!(answer.header("retry-after"), Some("9"));
        }
    }
}

#[tokio::test]
async fn a_request_dropped_while_it_is_asked_about_never_reaches_the_service() {
    let fixture = Fixture::new();
    let (later, sender) = Later::new();
    let inner = Inner::default();
    let mut service = fixture.layer().revocation(later).layer(inner.clone());
    let ready = ServiceExt::<Request<String>>::ready(&mut service).await;
    let future = ready.unwrap().call(bearer(fixture.token()));
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    drop(future);
    assert!(sender.is_closed());
    assert!(!inner.was_called());
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    /// Panics when it is called unready; a clone is never ready.
    struct Ready_(bool);
    impl Clone for Ready_ {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<Request<String>> for Ready_ {
        type Response = http::Response<String>;
        type Error = std::convert::Infallible;
        type Future = Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            assert!(std::mem::take(&mut self.0), "called unready");
            ready(Ok(http::Response::new(String::new())))
        }
    }
    let fixture = Fixture::new();
    let check = check_fn(|_: &Principal| async {
        tokio::task::yield_now().await;
        RevocationStatus::Valid
    });
    let mut service = fixture.layer().revocation(check).layer(Ready_(false));
    for _ in 0..3 {
        let ready = service.ready().await.unwrap();
        let response = ready.call(bearer(fixture.token())).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn where_a_credential_is_optional_a_revoked_cookie_counts_as_none_and_a_header_does_not() {
    let fixture = Fixture::new();
    let revoked = local(&fixture);
    revoked.insert(&Revocation::session("s1", later(&fixture.clock)));
    let token = fixture.with("sid", json!("s1"));
    let optional = || fixture.layer().optional();
    let answer = send(optional().revocation(revoked.clone()), bearer(&token)).await;
    answer.invalid_token("a header");

    let with_cookie = || {
        let value = HeaderValue::try_from(format!("__Host-at={token}")).unwrap();
        let mut request = Request::new(String::new());
        request.headers_mut().insert("cookie", value);
        request
    };
    let cookie = || optional().extractor(Cookie::new("__Host-at").unwrap());
    let answer = send(cookie().revocation(revoked), with_cookie())
        .await
        .passes("a cookie");
    assert!(answer.seen().extensions.get::<Anonymous>().is_some());
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));

    // Not to know is no reason to let it pass as nobody.
    let unknown = check_fn(|_: &Principal| ready(RevocationStatus::unavailable(1)));
    let answer = send(cookie().revocation(unknown), with_cookie()).await;
    answer.unavailable("unknown");
}
