//! The reason why keys cannot be had: D47, D55.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use serde_json::json;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::KeyProblem,
    event::{AuthEvent, EventRecord, sink_fn},
    key::remote::{FetchError, Fetcher, RemoteKeySet, RemoteKeySetBuilder},
    test_util::{Answer, JwksFixture, TestClock, TestKeys},
};

use crate::support::remote::{LONG, Scripted, Setup, remote, seconds};
use crate::support::until::until;

const OIDC: &str = "/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server";

/// The code that a set has after its first fetch, in its event and for a readiness endpoint.
async fn reason(builder: RemoteKeySetBuilder) -> String {
    let told = Arc::new(Mutex::new(Vec::new()));
    let keys = builder
        .events({
            let told = Arc::clone(&told);
            sink_fn(move |event| {
                if let AuthEvent::KeyFetchFailed { problem, .. } = event {
                    let detail = EventRecord::of(event).detail;
                    assert_eq!(detail, Some(problem.as_str()));
                    told.lock().unwrap().push(*problem);
                }
            })
        })
        .build()
        .unwrap();
    let code = code(&keys).await;
    until(|| !told.lock().unwrap().is_empty()).await;
    assert_eq!(told.lock().unwrap()[0].as_str(), code);
    code
}

async fn code(keys: &RemoteKeySet) -> String {
    let error = keys.ready().await.unwrap_err();
    let verifier: Verifier = Verifier::key_source(keys.clone())
        .issuer("https://as.example")
        .audience("api")
        .build()
        .unwrap();
    let code = keys.problem().unwrap();
    assert_eq!(verifier.key_problem(), Some(code));
    assert_eq!(JwtAuthLayer::new(verifier).key_problem(), Some(code));
    assert_eq!(error.problem(), code);
    code.to_string()
}

fn of_answer(answer: Answer) -> (JwksFixture, RemoteKeySetBuilder) {
    let server = JwksFixture::start();
    server.answer(answer);
    let keys = remote(&server, &TestClock::new());
    (server, keys)
}

#[tokio::test]
async fn d47_each_failure_of_an_answer_has_its_code() {
    let jwks = TestKeys::new().jwks();
    for (expected, answer) in [
        ("unexpected_status", Answer::status(500)),
        (
            "redirect_refused",
            Answer::redirect("https://evil.example/"),
        ),
        (
            "content_coding",
            Answer::json("").header("Content-Encoding", "gzip"),
        ),
        ("too_large", Answer::huge(1 << 20)),
        ("connection_failed", Answer::reset()),
        ("connection_failed", Answer::truncated(jwks)),
        ("not_a_key_set", Answer::json("<html>")),
        ("not_a_key_set", Answer::json("{}")),
        ("no_usable_key", Answer::json(r#"{"keys":[]}"#)),
        ("no_usable_key", Answer::json(r#"{"keys":[{"kty":"odd"}]}"#)),
    ] {
        let (_server, keys) = of_answer(answer);
        assert_eq!(reason(keys).await, expected);
    }
    let (_server, keys) = of_answer(Answer::hang());
    assert_eq!(
        reason(keys.timeout(Duration::from_millis(300))).await,
        "timeout"
    );
}

#[tokio::test]
async fn d47_each_failure_of_a_connection_has_its_code() {
    let server = JwksFixture::start();
    server.down();
    assert_eq!(
        reason(remote(&server, &TestClock::new())).await,
        "connection_refused"
    );
    let nameless = RemoteKeySet::jwks("http://key-server.invalid/jwks").timeout(LONG);
    assert_eq!(
        reason(nameless.dangerous_allow_http()).await,
        "name_not_resolved"
    );
    let client = Scripted::new("");
    client.fail();
    let keys = client.builder(&TestClock::new()).build().unwrap();
    assert_eq!(code(&keys).await, "client_failed");
}

#[tokio::test]
async fn d47_each_failure_of_metadata_has_its_code() {
    for (expected, document) in [
        (
            "issuer_mismatch",
            r#"{"issuer":"ISSUER/","jwks_uri":"ISSUER/jwks"}"#,
        ),
        (
            "invalid_jwks_uri",
            r#"{"issuer":"ISSUER","jwks_uri":"http://as.example/"}"#,
        ),
        ("invalid_jwks_uri", r#"{"issuer":"ISSUER","jwks_uri":null}"#),
        ("invalid_jwks_uri", r#"{"issuer":"ISSUER"}"#),
        ("invalid_metadata", r#"{"jwks_uri":"ISSUER/jwks"}"#),
        ("invalid_metadata", "<html>"),
    ] {
        let server = JwksFixture::start();
        let document = document.replace("ISSUER", &server.issuer());
        server.answer_at(OIDC, Answer::json(document));
        server.forget(RFC8414);
        let keys = RemoteKeySet::oidc(&server.issuer()).timeout(LONG);
        assert_eq!(reason(keys).await, expected);
        server.forget(OIDC);
        let keys = RemoteKeySet::oidc(&server.issuer()).timeout(LONG);
        assert_eq!(reason(keys).await, "unexpected_status");
    }
}

#[tokio::test]
async fn d47_there_is_no_reason_where_there_are_keys_and_one_before_the_first_answer() {
    let server = JwksFixture::start();
    server.answer(Answer::json(TestKeys::new().jwks()).held());
    let setup = Setup::new(server, |keys| keys);
    assert_eq!(setup.verifier.key_problem(), Some(KeyProblem::Pending));
    setup.server.release();
    until(|| {
        setup.server.release();
        setup.keys.is_usable()
    })
    .await;
    assert_eq!(setup.verifier.key_problem(), None);
    // An outage in mid-run is no reason while the keys serve.
    setup.server.answer(Answer::status(500));
    setup.refreshed(seconds(515), &setup.token()).await;
    until(|| setup.keys.last_error().is_some()).await;
    assert_eq!(setup.verifier.key_problem(), None);
}

#[cfg(feature = "tracing")]
mod logged {
    use super::*;
    use crate::support::{
        log::Log,
        remote::{issuer_of, status, verifier_of},
    };

    /// Lets the backing off pass, and has one more fetch fail.
    async fn fails_again(setup: &Setup, seen: &Mutex<usize>) {
        let before = *seen.lock().unwrap();
        setup.clock.advance(seconds(6));
        let _ = setup.verifier.verify_now(setup.token());
        until(|| *seen.lock().unwrap() > before).await;
    }

    #[tokio::test]
    async fn d47_the_log_has_one_line_a_minute_for_each_kind() {
        let (log, _guard) = Log::start();
        let server = JwksFixture::start();
        server.answer(Answer::status(500));
        let seen = Arc::new(Mutex::new(0));
        let count = Arc::clone(&seen);
        let setup = Setup::new(server, |keys| {
            keys.events(sink_fn(move |_| *count.lock().unwrap() += 1))
        });
        until(|| *seen.lock().unwrap() > 0).await;
        for _ in 0..5 {
            fails_again(&setup, &seen).await;
        }
        assert_eq!(log.lines_with("unexpected_status"), 1, "{}", log.text());
        // Another kind has a line of its own.
        setup.server.answer(Answer::json("{}"));
        fails_again(&setup, &seen).await;
        assert_eq!(log.lines_with("not_a_key_set"), 1);
        setup.server.answer(Answer::status(500));
        setup.clock.advance(seconds(60));
        fails_again(&setup, &seen).await;
        assert_eq!(log.lines_with("unexpected_status"), 2);
        assert_eq!(log.lines_with("WARN"), 3, "{}", log.text());
    }

    #[tokio::test]
    async fn d47_the_line_has_the_cause_and_the_cause_of_that() {
        let (log, _guard) = Log::start();
        let setup = Setup::ready().await;
        setup.server.down();
        setup.clock.advance(seconds(515));
        let _ = setup.verifier.verify_now(setup.token());
        until(|| log.lines_with("WARN") == 1).await;
        let log = log.text();
        assert!(log.contains("connection_refused"), "{log}");
        assert!(log.contains("the connection failed"), "{log}");
        assert!(log.to_lowercase().contains("connection refused"), "{log}");
    }

    /// A client that names the whole URL in its error, as many do.
    struct Talkative;

    impl Fetcher for Talkative {
        async fn fetch(&self, request: Request<()>) -> Result<Response<bytes::Bytes>, FetchError> {
            Err(FetchError::new(format!("error for {}", request.uri())))
        }
    }

    #[tokio::test]
    async fn d47_the_line_has_no_query() {
        let (log, _guard) = Log::start();
        let keys = RemoteKeySet::jwks("https://as.example/jwks?code=s3cr3t")
            .clock(TestClock::new())
            .fetch(Talkative)
            .build()
            .unwrap();
        assert!(keys.ready().await.is_err());
        until(|| log.lines_with("client_failed") == 1).await;
        let log = log.text();
        assert!(log.contains("https://as.example/jwks"), "{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
    }

    #[tokio::test]
    async fn d55_metadata_of_a_near_issuer_are_logged_with_both_names() {
        let (log, _guard) = Log::start();
        let server = JwksFixture::start();
        let configured = server.issuer().replace("127.0.0.1", "localhost");
        let found = format!("{}/\u{1b}[31m", server.issuer());
        let metadata = json!({ "issuer": found, "jwks_uri": server.url() }).to_string();
        server.answer_at(OIDC, Answer::json(metadata));
        let keys = RemoteKeySet::oidc(&configured)
            .timeout(LONG)
            .build()
            .unwrap();
        assert!(keys.ready().await.is_err());
        until(|| log.lines_with("issuer_mismatch") == 1).await;
        let log = log.text();
        assert!(
            log.contains(&configured) && log.contains(&server.issuer()),
            "{log}"
        );
        assert!(!log.contains('\u{1b}'), "{log}");
    }

    #[tokio::test]
    async fn d55_a_token_of_a_near_issuer_is_logged_with_both_names_once_a_minute() {
        for ready in [true, false] {
            let (log, _guard) = Log::start();
            let (server, clock) = (JwksFixture::start(), TestClock::new());
            if !ready {
                server.answer(Answer::status(500));
            }
            let keys = remote(&server, &clock).build().unwrap();
            let _ = keys.ready().await;
            let verifier = verifier_of("https://as.example/realms/shop", &keys, &clock);
            for near in [
                "https://as.example/realms/shop/",
                "https://as.example/realms/Shop",
                "https://localhost/realms/shop",
            ] {
                let token = issuer_of(TestKeys::new(), &clock)
                    .issuer(near)
                    .token(|_| ());
                let answer = status(&verifier, &token).await.0;
                assert_eq!(answer, http::StatusCode::UNAUTHORIZED);
            }
            assert_eq!(log.lines_with("compared exactly"), 1, "{}", log.text());
            let log = log.text();
            assert!(log.contains(r#""https://as.example/realms/shop""#), "{log}");
            assert!(
                log.contains(r#""https://as.example/realms/shop/""#),
                "{log}"
            );
        }
    }

    #[tokio::test]
    async fn d55_several_issuers_too() {
        let (log, _guard) = Log::start();
        let (server, clock) = (JwksFixture::start(), TestClock::new());
        let keys = remote(&server, &clock).build().unwrap();
        let one = verifier_of("https://as.example", &keys, &clock);
        let verifier = Verifier::by_issuer([one]).unwrap();
        for (issuer, lines) in [("https://other.example/a", 0), ("https://as.example/", 1)] {
            let token = issuer_of(TestKeys::new(), &clock)
                .issuer(issuer)
                .token(|_| ());
            assert!(verifier.verify_now(token).is_err());
            assert_eq!(log.lines_with("compared exactly"), lines, "{}", log.text());
        }
    }
}
