//! The task that fetches is gone, or does not run: Q19; wakers: fault 23.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use http::StatusCode;
use tower_jwt_auth::{
    Verifier,
    error::{AuthErrorKind, KeyProblem},
    test_util::{Answer, JwksFixture, TestClock, TestKeys},
};

use crate::support::remote::{
    LONG, SHORT, Scripted, Setup, remote, status, token_of, token_with_kid, verifier,
};
use crate::support::{settle::settle, until::until};

fn idle_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[tokio::test]
async fn q19_a_runtime_that_is_not_driven_hangs_no_request() {
    let runtime = idle_runtime();
    let (server, clock) = (JwksFixture::start(), TestClock::new());
    let keys = {
        let _guard = runtime.enter();
        remote(&server, &clock).wait(SHORT).build().unwrap()
    };
    let verifier = verifier(&keys, &clock);
    let token = token_of(TestKeys::new(), &clock);
    for _ in 0..3 {
        let answer = tokio::time::timeout(LONG, status(&verifier, &token)).await;
        let (status, retry_after) = answer.unwrap();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(retry_after.is_some());
    }
    assert_eq!(keys.problem(), Some(KeyProblem::Stopped));
    assert_eq!(server.all_hits(), 0);

    // Driven again, it recovers by itself.
    let driver = std::thread::spawn(move || {
        runtime.block_on(async {
            until(|| keys.is_usable()).await;
        });
        runtime
    });
    until(|| verifier.is_ready()).await;
    assert_eq!(status(&verifier, &token).await.0, StatusCode::OK);
    let runtime = driver.join().unwrap();
    runtime.shutdown_background();
}

#[tokio::test]
async fn q19_a_runtime_that_was_dropped_is_503_and_the_keys_at_hand_serve() {
    let runtime = idle_runtime();
    let (server, clock) = (JwksFixture::start(), TestClock::new());
    let keys = {
        let _guard = runtime.enter();
        remote(&server, &clock).build().unwrap()
    };
    let runtime = std::thread::spawn({
        let keys = keys.clone();
        move || {
            runtime.block_on(keys.ready()).unwrap();
            runtime
        }
    });
    runtime.join().unwrap().shutdown_background();
    let verifier = verifier(&keys, &clock);
    let known = token_of(TestKeys::new(), &clock);
    let unknown = token_with_kid("unknown", &clock);
    assert_eq!(status(&verifier, &known).await.0, StatusCode::OK);
    assert_eq!(
        status(&verifier, &unknown).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    clock.advance(crate::support::remote::seconds(600 + 3600));
    assert_eq!(
        status(&verifier, &known).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(keys.problem(), Some(KeyProblem::Stopped));
    assert!(!verifier.is_ready());
    let ready = tokio::time::timeout(LONG, verifier.ready()).await;
    assert_eq!(
        ready.unwrap().unwrap_err().kind(),
        AuthErrorKind::KeysUnavailable
    );
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn q19_it_is_logged_once_at_error_level() {
    let (log, _guard) = crate::support::log::Log::start();
    // The task ends.
    let clock = TestClock::new();
    let (keys, worker) = Scripted::publishing(TestKeys::new())
        .builder(&clock)
        .build_pair()
        .unwrap();
    drop(worker);
    let gone = verifier(&keys, &clock);
    for _ in 0..3 {
        let answer = status(&gone, &token_of(TestKeys::new(), &clock)).await;
        assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(log.lines_with("ERROR"), 1, "{}", log.text());
    assert_eq!(log.lines_with("no longer fetched"), 1);
    // The task does not run.
    let runtime = idle_runtime();
    let (server, clock) = (JwksFixture::start(), TestClock::new());
    let keys = {
        let _guard = runtime.enter();
        remote(&server, &clock).wait(SHORT).build().unwrap()
    };
    let idle = verifier(&keys, &clock);
    for _ in 0..3 {
        let answer = status(&idle, &token_of(TestKeys::new(), &clock)).await;
        assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(log.lines_with("ERROR"), 2, "{}", log.text());
    drop((keys, idle));
    runtime.shutdown_background();
    assert_eq!(log.lines_with("ERROR"), 2);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn q19_a_set_that_is_dropped_is_no_error() {
    let (log, _guard) = crate::support::log::Log::start();
    let setup = Setup::ready().await;
    drop(setup);
    settle().await;
    let clock = TestClock::new();
    let pair = Scripted::publishing(TestKeys::new())
        .builder(&clock)
        .build_pair();
    drop(pair.unwrap());
    assert_eq!(log.text(), "");
}

/// A waker that polls in place, as single-threaded executors have them.
struct InPlace {
    verifier: Verifier,
    token: String,
    ran: AtomicBool,
}

impl Wake for InPlace {
    fn wake(self: Arc<Self>) {
        let _ = self.verifier.verify_now(&self.token);
        self.ran.store(true, Ordering::SeqCst);
    }
}

/// Fault 23.
#[test]
fn a_waker_that_looks_up_in_place_does_not_deadlock() {
    let runtime = idle_runtime();
    let (server, clock) = (JwksFixture::start(), TestClock::new());
    server.answer(Answer::json(TestKeys::new().jwks()).held());
    let keys = {
        let _guard = runtime.enter();
        remote(&server, &clock).build().unwrap()
    };
    let verifier = verifier(&keys, &clock);
    let token = token_of(TestKeys::new(), &clock);
    let waker = Arc::new(InPlace {
        verifier: verifier.clone(),
        // One whose look-up needs the lock.
        token: token_with_kid("unknown", &clock),
        ran: AtomicBool::new(false),
    });
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let waiting = verifier.verify(&token);
        let mut waiting = pin!(waiting);
        let task = Waker::from(Arc::clone(&waker));
        let mut context = Context::from_waker(&task);
        runtime.block_on(async {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            until(|| {
                server.release();
                waker.ran.load(Ordering::SeqCst)
            })
            .await;
        });
        let answer = waiting.as_mut().poll(&mut context);
        let _ = sender.send(matches!(answer, Poll::Ready(Ok(_))));
    });
    assert!(done.recv_timeout(LONG).unwrap());
}
