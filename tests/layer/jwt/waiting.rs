//! Requests that wait: for keys, or for a revocation check.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use serde_json::json;
use tokio::sync::watch;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Principal, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyNotifier, KeyQuery, KeySet, KeySource, KeyWait},
    revocation::{Both, CheckResult, NoRevocation, RevocationCheck, RevocationStatus, check_fn},
};

use crate::support::{
    waiting::{
        Case, fits_around, holds_no_permit, is_called_ready,
        never_calls_a_clone_that_is_never_ready, releases_everything_if_it_is_cancelled,
        returns_the_readiness_error,
    },
    {
        answer::send,
        fixture::{Fixture, bearer, jwk, keys},
    },
};

/// Known keys, and one more that comes later.
#[derive(Clone, Default)]
struct Late {
    arrived: Arc<AtomicBool>,
    waiting: Arc<Mutex<Vec<KeyNotifier>>>,
}

impl KeySource for Late {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        if query.kid() != Some("late") {
            return keys().lookup(query);
        }
        if !self.arrived.load(Ordering::SeqCst) {
            let (news, wait) = KeyWait::new();
            self.waiting.lock().unwrap().push(news);
            return KeyLookup::Wait(wait);
        }
        let late = jwk(Algorithm::Es256, |jwk| jwk["kid"] = json!("late"));
        let late = KeySet::from_jwks(json!({ "keys": [late] }).to_string()).unwrap();
        late.lookup(query)
    }
}

fn by_late_key(fixture: &Fixture) -> Request<String> {
    let header = fixture.header(|header| header.insert("kid".into(), json!("late")));
    bearer(fixture.with_header(&header))
}

fn for_keys() -> Case<JwtAuthLayer> {
    let (fixture, late) = (Fixture::new(), Late::default());
    let source = fixture.expecting(Verifier::key_source(late.clone()));
    let (waits, passes) = (by_late_key(&fixture), bearer(fixture.token()));
    Case {
        layer: JwtAuthLayer::new(source.build().unwrap()),
        waits: Box::new(move || waits.clone()),
        passes: Box::new(move || passes.clone()),
        release: Box::new(move || {
            late.arrived.store(true, Ordering::SeqCst);
            let waiting = std::mem::take(&mut *late.waiting.lock().unwrap());
            waiting.into_iter().for_each(KeyNotifier::notify);
        }),
    }
}

/// A check that is ready for everyone but one subject.
struct Asking(watch::Receiver<Option<RevocationStatus>>);

impl RevocationCheck for Asking {
    type Future = Pin<Box<dyn Future<Output = RevocationStatus> + Send>>;

    fn check(&self, caller: &Principal) -> CheckResult<Self::Future> {
        if caller.subject() != Some("slow") {
            return CheckResult::Ready(RevocationStatus::Valid);
        }
        let mut answer = self.0.clone();
        CheckResult::Pending(Box::pin(async move {
            let answer = answer.wait_for(Option::is_some).await.unwrap();
            answer.unwrap()
        }))
    }
}

fn for_a_check() -> Case<JwtAuthLayer<Claims, Both<NoRevocation, Asking>>> {
    let fixture = Fixture::new();
    let (sender, answer) = watch::channel(None);
    let (waits, passes) = (
        bearer(fixture.with("sub", json!("slow"))),
        bearer(fixture.token()),
    );
    Case {
        layer: fixture.layer().revocation(Asking(answer)),
        waits: Box::new(move || waits.clone()),
        passes: Box::new(move || passes.clone()),
        release: Box::new(move || sender.send(Some(RevocationStatus::Valid)).unwrap()),
    }
}

/// The same in a layer that changes the request's body.
fn for_a_check_and_forwarding() -> Case<JwtAuthLayer<Claims, Both<NoRevocation, Asking>, true>> {
    let Case {
        layer,
        waits,
        passes,
        release,
    } = for_a_check();
    let header = http::HeaderName::from_static("x-user");
    Case {
        layer: layer.forward_as(header, tower_jwt_auth::layer::jwt::ForwardedClaim::Subject),
        waits,
        passes,
        release,
    }
}

#[tokio::test]
async fn q13_a_request_that_waits_for_keys_or_a_check_holds_no_permit() {
    holds_no_permit(for_keys()).await;
    holds_no_permit(for_a_check()).await;
}

#[tokio::test]
async fn q13_the_readiness_error_after_a_wait_is_the_futures() {
    returns_the_readiness_error(for_keys()).await;
    returns_the_readiness_error(for_a_check()).await;
}

#[tokio::test]
async fn q13_no_service_is_called_unready_after_a_wait() {
    is_called_ready(for_keys()).await;
    is_called_ready(for_a_check()).await;
}

#[tokio::test]
async fn q13_a_clone_that_never_becomes_ready_is_never_called() {
    never_calls_a_clone_that_is_never_ready(for_keys()).await;
    never_calls_a_clone_that_is_never_ready(for_a_check()).await;
}

#[tokio::test]
async fn q13_a_cancelled_request_that_waits_releases_everything() {
    releases_everything_if_it_is_cancelled(for_keys()).await;
    releases_everything_if_it_is_cancelled(for_a_check()).await;
}

#[tokio::test]
async fn q13_load_shed_and_buffer_inside_keep_their_promises() {
    fits_around(for_keys()).await;
    fits_around(for_a_check()).await;
}

#[tokio::test]
async fn q13_a_layer_that_forwards_claims_holds_no_permit_either() {
    use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit};

    let case = for_a_check_and_forwarding();
    let handler = tower::service_fn(async |request: Request<_>| {
        drop::<Request<tower_jwt_auth::layer::jwt::ForwardedBody<String>>>(request);
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    });
    let mut service = case.layer.layer(ConcurrencyLimit::new(handler, 1));
    let Ok(ready) = service.ready().await;
    let waiting = ready.call((case.waits)());
    let Ok(good) = service.clone().oneshot((case.passes)()).await;
    assert_eq!(good.status(), 200);
    (case.release)();
    let Ok(waited) = waiting.await;
    assert_eq!(waited.status(), 200);
}

#[tokio::test]
async fn a_request_passes_after_it_has_waited_for_its_key_and_then_for_a_check() {
    let (fixture, late) = (Fixture::new(), Late::default());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let check = check_fn(move |_: &Principal| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::task::yield_now().await;
            RevocationStatus::Valid
        }
    });
    let source = fixture.expecting(Verifier::key_source(late.clone()));
    let layer = JwtAuthLayer::new(source.build().unwrap()).revocation(check);
    let release = async {
        while late.waiting.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        late.arrived.store(true, Ordering::SeqCst);
        late.waiting
            .lock()
            .unwrap()
            .drain(..)
            .for_each(KeyNotifier::notify);
    };
    let (answer, ()) = tokio::join!(send(layer, by_late_key(&fixture)), release);
    answer.passes("after two waits");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_wait_that_never_ends_is_503_after_the_limit() {
    let (fixture, limit) = (Fixture::new(), Duration::from_millis(1));
    let hangs = check_fn(|_: &Principal| pending::<RevocationStatus>());
    let layer = fixture.layer().revocation(hangs).wait_limit(limit);
    let answer = send(layer, bearer(fixture.token())).await;
    answer
        .unavailable("a check that hangs")
        .because(AuthErrorKind::RevocationUnavailable);

    let source = fixture.expecting(Verifier::key_source(Late::default()));
    let layer = JwtAuthLayer::new(source.build().unwrap()).wait_limit(limit);
    let answer = send(layer.clone(), by_late_key(&fixture)).await;
    answer
        .unavailable("a key source that hangs")
        .because(AuthErrorKind::KeysUnavailable);
    let optional = send(layer.optional(), by_late_key(&fixture)).await;
    optional.unavailable("never anonymous");
}

/// No clock counts to the end of the longest duration.
#[tokio::test]
async fn a_wait_without_a_limit_is_a_long_one() {
    let fixture = Fixture::new();
    let slow = check_fn(|_: &Principal| async {
        tokio::task::yield_now().await;
        RevocationStatus::Valid
    });
    let layer = fixture.layer().revocation(slow).wait_limit(Duration::MAX);
    let answer = send(layer, bearer(fixture.token())).await;
    answer.passes("after a wait");
}

/// A future that panics when it is polled, or when it is dropped.
struct Loud {
    in_poll: bool,
}

impl Future for Loud {
    type Output = RevocationStatus;

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        assert!(!self.in_poll, "on purpose");
        std::task::Poll::Ready(RevocationStatus::Valid)
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        assert!(self.in_poll, "on purpose");
    }
}

#[tokio::test]
async fn a_panic_in_a_wait_is_503_and_never_a_pass() {
    for in_poll in [true, false] {
        let fixture = Fixture::new();
        let layer = fixture
            .layer()
            .revocation(check_fn(move |_: &Principal| Loud { in_poll }));
        let answer = send(layer.clone(), bearer(fixture.token())).await;
        answer
            .unavailable("a panic")
            .because(AuthErrorKind::RevocationUnavailable);
        let optional = send(layer.optional(), bearer(fixture.token())).await;
        optional.unavailable("never anonymous");
    }
}
