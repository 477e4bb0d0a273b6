//! What a refusal leaves in the log.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::{POISON, answer, answer_to, request};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::response::Answers,
};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What `run`, which must log something, leaves in the log.
fn logged(run: impl Fn()) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        loop {
            // A thread without a subscriber may be about to record for all that there is no subscriber.
            tracing::callsite::rebuild_interest_cache();
            run();
            if !buffer.0.lock().unwrap().is_empty() {
                break;
            }
            std::thread::yield_now();
        }
    });
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_refusal_logs_its_reason_and_its_cause() {
    let log = logged(|| {
        let cause = "the network is down";
        answer(AuthError::caused_by(AuthErrorKind::KeysUnavailable, cause));
    });
    assert!(log.contains("DEBUG"), "{log}");
    assert!(log.contains("reason=\"keys_unavailable\""), "{log}");
    assert!(log.contains("cause=\"the network is down\""), "{log}");
}

#[test]
fn q3_q20_the_log_names_the_path_and_nothing_else_of_the_request() {
    let log = logged(|| {
        let mut request = request("GET", "");
        *request.uri_mut() = format!("/orders?access_token={POISON}").parse().unwrap();
        answer_to(
            &request,
            &Answers::default(),
            AuthErrorKind::InvalidSignature,
        );
    });
    assert!(log.contains("invalid_signature"));
    assert!(log.contains("method=\"GET\" path=\"/orders\""), "{log}");
    assert!(!log.contains("cause="));
    assert!(!log.contains(POISON));
}

#[test]
fn l13_a_misconfiguration_is_an_error_once_in_a_process() {
    let log = logged(|| {
        answer(AuthErrorKind::Misconfigured);
        answer(AuthErrorKind::Misconfigured);
    });
    // Another test of this process may have been first.
    assert!(log.matches("ERROR").count() <= 1, "{log}");
    assert_eq!(log.matches("DEBUG").count(), 2, "{log}");
}

#[test]
fn q21_each_kind_of_misconfiguration_is_logged_once() {
    let mistake = |cause: String| AuthError::caused_by(AuthErrorKind::Misconfigured, cause);
    let errors = |log: &str| log.matches("ERROR").count();
    let mut log = String::new();
    // Another thread may be about to record that there is no subscriber. A line that is lost then is not logged again.
    for attempt in 0..10 {
        log = logged(|| {
            for _ in 0..3 {
                answer(mistake(format!("the first mistake of attempt {attempt}")));
                answer(mistake(format!("the second mistake of attempt {attempt}")));
            }
        });
        if errors(&log) == 2 {
            break;
        }
    }
    assert_eq!(errors(&log), 2, "{log}");
    for (order, line) in ["the first", "the second"]
        .iter()
        .zip(log.lines().filter(|l| l.contains("ERROR")))
    {
        assert!(line.contains(order), "{log}");
    }
    assert_eq!(log.matches("DEBUG").count(), 6, "{log}");
}
