//! The key server's faults: D33 to D35, and the table in the threat model.

use std::time::Duration;

use http::StatusCode;
use tower_jwt_auth::{
    error::AuthErrorKind,
    key::remote::RemoteKeySet,
    test_util::{Answer, JwksFixture, TestKeys},
};

use crate::support::remote::{
    ALGORITHM, LONG, SHORT, Setup, issuer_of, kind, seconds, token_with_kid,
};
use crate::support::until::until;

/// A gzip stream, as a server sends it that ignores what the client accepts.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0,
];

fn faults() -> Vec<(&'static str, Answer)> {
    let jwks = TestKeys::other().jwks();
    vec![
        ("500", Answer::status(500)),
        ("429", Answer::status(429).header("Retry-After", "1")),
        ("404", Answer::status(404)),
        ("204", Answer::status(204)),
        ("304 unasked", Answer::status(304)),
        ("garbage", Answer::json("garbage")),
        ("binary", Answer::bytes([0, 159, 146, 150, 255])),
        ("HTML", Answer::json("<html>Sign in</html>")),
        ("empty body", Answer::json("")),
        ("empty set", Answer::json(r#"{"keys":[]}"#)),
        ("not a set", Answer::json(r#"{"issuer":"x"}"#)),
        ("deep", Answer::nested(200_000)),
        ("truncated", Answer::truncated(jwks.clone())),
        ("cut JSON", Answer::json(&jwks[..jwks.len() / 2])),
        (
            "gzip",
            Answer::bytes(GZIP).header("Content-Encoding", "gzip"),
        ),
        ("reset", Answer::reset()),
        ("no HTTP", Answer::raw("SSH-2.0-OpenSSH_9.9\r\n")),
        ("closed", Answer::raw("")),
        (
            "broken chunks",
            Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ),
        ("huge", Answer::huge(120 << 20)),
        ("endless", Answer::endless()),
        ("loop", Answer::redirect("/jwks")),
        ("elsewhere", Answer::redirect("http://127.0.0.2:1/jwks")),
        ("no location", Answer::status(302)),
        ("bad location", Answer::redirect("http://[")),
    ]
}

/// Faults that only a time limit ends.
fn slow_faults() -> Vec<(&'static str, Answer)> {
    let jwks = TestKeys::other().jwks();
    vec![
        ("hang", Answer::hang()),
        ("slow", Answer::json(jwks.clone()).after(seconds(600))),
        (
            "slowloris",
            Answer::trickle(jwks, Duration::from_millis(500)),
        ),
        (
            "head only",
            Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").after(SHORT),
        ),
    ]
}

async fn in_mid_run(name: &str, fault: Answer, timeout: Duration) {
    let setup = Setup::new(JwksFixture::start(), |keys| keys.timeout(timeout));
    let mut tries = 0;
    while setup.keys.ready().await.is_err() {
        setup.clock.advance(seconds(5));
        tries += 1;
        assert!(tries < 100, "{name}: a good server answers in time, once");
    }

    setup.server.answer(fault);
    let hits = setup.server.hits();
    setup.clock.advance(seconds(515));
    for _ in 0..20 {
        assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()), "{name}");
    }
    until(|| setup.keys.last_error().is_some()).await;
    assert!(setup.server.hits() - hits <= 4, "{name}");
    assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()), "{name}");
    let forged = issuer_of(TestKeys::other(), &setup.clock)
        .kid(Some(&TestKeys::new().kid(ALGORITHM)))
        .token(|_| ());
    assert_eq!(
        kind(&setup.verifier, &forged),
        Err(AuthErrorKind::InvalidSignature),
        "{name}"
    );
    // The set is young, and backing off: refused, and no fetch.
    let unknown = token_with_kid("unknown", &setup.clock);
    assert_eq!(
        kind(&setup.verifier, &unknown),
        Err(AuthErrorKind::UnknownKey),
        "{name}"
    );
    let hits = setup.server.hits();

    setup.server.serve(TestKeys::other().jwks());
    until(|| {
        setup.clock.advance(seconds(5));
        setup.verifier.verify_now(setup.other_token()).is_ok()
    })
    .await;
    assert!(setup.server.hits() > hits, "{name}");
    until(|| setup.keys.last_error().is_none()).await;
}

async fn at_start(name: &str, fault: Answer, timeout: Duration) {
    let server = JwksFixture::start();
    server.answer(fault);
    let setup = Setup::new(server, |keys| keys.timeout(timeout));
    let (status, retry_after) = setup.status(&setup.token()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{name}");
    assert!(retry_after.is_some(), "{name}");
    until(|| setup.keys.last_error().is_some()).await;
    assert!(!setup.keys.is_usable(), "{name}");
    assert!(setup.keys.ready().await.is_err(), "{name}");

    setup.server.serve(TestKeys::new().jwks());
    until(|| {
        setup.clock.advance(seconds(5));
        setup.verifier.verify_now(setup.token()).is_ok()
    })
    .await;
    assert!(setup.verifier.is_ready(), "{name}");
}

#[tokio::test]
async fn faults_in_mid_run_keep_the_old_keys_and_end_with_the_fault() {
    for (name, fault) in faults() {
        in_mid_run(name, fault, LONG).await;
    }
}

#[tokio::test]
async fn d35_slow_answers_in_mid_run_are_given_up_and_keep_the_old_keys() {
    for (name, fault) in slow_faults() {
        in_mid_run(name, fault, Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn faults_at_start_are_503_and_end_with_the_fault() {
    for (name, fault) in faults() {
        at_start(name, fault, LONG).await;
    }
}

#[tokio::test]
async fn d35_slow_answers_at_start_are_503_and_end_with_the_fault() {
    for (name, fault) in slow_faults() {
        at_start(name, fault, Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn down_in_mid_run_keeps_the_old_keys_and_ends_with_the_outage() {
    let setup = Setup::ready().await;
    setup.server.down();
    setup.clock.advance(seconds(515));
    assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()));
    until(|| setup.keys.last_error().is_some()).await;
    assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()));
    setup.server.serve(TestKeys::other().jwks());
    setup.server.up();
    setup.clock.advance(seconds(1));
    assert_eq!(setup.status(&setup.other_token()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_flapping_server_never_disturbs_known_keys() {
    let setup = Setup::ready().await;
    for round in 0..10 {
        setup.server.answer(Answer::status(503));
        setup.clock.advance(seconds(515));
        assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()), "{round}");
        until(|| setup.keys.last_error().is_some()).await;
        setup.server.serve(TestKeys::new().jwks());
        setup.clock.advance(seconds(1));
        assert_eq!(kind(&setup.verifier, &setup.token()), Ok(()), "{round}");
        until(|| setup.keys.last_error().is_none()).await;
        assert!(setup.keys.is_fresh());
    }
    assert_eq!(setup.server.hits(), 21);
}

#[tokio::test]
async fn a_late_answer_never_overwrites_a_newer_one() {
    let server = JwksFixture::start();
    server.answer(Answer::json(TestKeys::new().jwks()).held());
    let setup = Setup::new(server, |keys| keys.timeout(Duration::from_millis(500)));
    until(|| setup.keys.last_error().is_some()).await;
    setup.server.serve(TestKeys::other().jwks());
    until(|| {
        setup.clock.advance(seconds(5));
        setup.verifier.verify_now(setup.other_token()).is_ok()
    })
    .await;
    let hits = setup.server.hits();
    setup.server.release();
    // One more exchange over the network, which the late answer would have preceded.
    until(|| {
        setup.clock.advance(seconds(5));
        let _ = kind(&setup.verifier, &token_with_kid("x", &setup.clock));
        setup.server.hits() > hits
    })
    .await;
    assert_eq!(kind(&setup.verifier, &setup.other_token()), Ok(()));
    assert_ne!(kind(&setup.verifier, &setup.token()), Ok(()));
}

#[tokio::test]
async fn d33_http_is_refused_at_build_but_for_loopback() {
    for url in [
        "https://as.example/jwks",
        "http://127.0.0.1:1/jwks",
        "http://127.8.0.1/jwks",
        "http://[::1]:1/jwks",
        "http://localhost/jwks",
        "http://LOCALHOST:8080/jwks",
    ] {
        assert!(RemoteKeySet::jwks(url).build().is_ok(), "{url}");
    }
    for url in [
        "http://as.example/jwks",
        "http://10.0.0.1/jwks",
        "http://127.0.0.1.evil.example/jwks",
        "http://localhost.evil.example/jwks",
        "http://localhost@evil.example/jwks",
        "http://127.0.0.1:80@evil.example/jwks",
        "http://0x7f000001/jwks",
        // Nobody would send them.
        "https://user:secret@as.example/jwks",
        "http://user@127.0.0.1/jwks",
        "ftp://127.0.0.1/jwks",
        "file:///etc/jwks.json",
        "/jwks",
        "as.example/jwks",
        "https://",
        "not a url",
        "",
    ] {
        assert!(RemoteKeySet::jwks(url).build().is_err(), "{url}");
    }
}

#[tokio::test]
async fn d34_redirects_are_followed_within_the_origin_alone() {
    let other = JwksFixture::start();
    for (location, followed) in [
        ("/elsewhere".to_owned(), true),
        ("/redirects/elsewhere".to_owned(), true),
        (other.url(), false),
        (other.url().replace("http:", ""), false),
        (other.url().replace("127.0.0.1", "localhost"), false),
        (other.url().replace("http", "https"), false),
        ("elsewhere".to_owned(), true),
        ("ftp://127.0.0.1/elsewhere".to_owned(), false),
        ("http://user@127.0.0.1/elsewhere".to_owned(), false),
    ] {
        let server = JwksFixture::start();
        server.answer(Answer::redirect(location.clone()));
        server.answer_at(
            "/redirects/elsewhere",
            Answer::redirect(server.url_of("/elsewhere")),
        );
        server.answer_at("/elsewhere", Answer::json(TestKeys::new().jwks()));
        let setup = Setup::new(server, |keys| keys);
        assert_eq!(setup.keys.ready().await.is_ok(), followed, "{location}");
    }
    assert_eq!(other.all_hits(), 0);
}

#[tokio::test]
async fn d34_a_redirect_loop_is_given_up_after_three() {
    let server = JwksFixture::start();
    server.answer(Answer::redirect("/jwks"));
    let setup = Setup::new(server, |keys| keys);
    assert!(setup.keys.ready().await.is_err());
    assert_eq!(setup.server.hits(), 4);
}

#[test]
fn d35_a_huge_or_endless_body_costs_no_more_memory_than_the_limit() {
    for answer in [Answer::huge(120 << 20), Answer::endless()] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let server = JwksFixture::start();
        server.answer(answer);
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async {
                let setup = Setup::new(server, |keys| keys);
                assert!(setup.keys.ready().await.is_err());
                assert_eq!(setup.server.hits(), 1);
            });
        });
        assert!(counted.bytes_max < 16 << 20, "{counted:?}");
    }
}

#[tokio::test]
async fn d35_the_size_limit_is_exact() {
    let jwks = TestKeys::new().jwks();
    for (limit, fits) in [(jwks.len(), true), (jwks.len() - 1, false)] {
        let setup = Setup::new(JwksFixture::start(), |keys| keys.max_bytes(limit));
        assert_eq!(setup.keys.ready().await.is_ok(), fits);
    }
}
