//! The example server as a process whose keys come from a key server.

use std::time::{Duration, Instant};

use tower_jwt_auth::{
    key::Algorithm,
    test_util::{self, JwksFixture, TestIssuer, TestKeys},
};

use super::start;
use crate::support::{
    process::{Answer, Server},
    vars::{AUDIENCE, ISSUER, refusal},
};

#[tokio::test]
async fn d25_d29_keys_of_a_url_are_fetched_and_a_rotation_is_picked_up() {
    let published = JwksFixture::start();
    let server = start(&[
        ("JWT_JWKS_URL", published.url().as_str()),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_JWKS_TIMEOUT_SECONDS", "60"),
    ]);
    serves_through_a_rotation(&published, &server, ISSUER).await;
    assert_eq!(published.all_hits(), 4);
}

#[tokio::test]
async fn k6_keys_of_an_issuer_are_discovered_and_a_rotation_is_picked_up() {
    let published = JwksFixture::start();
    let issuer = published.issuer();
    let server = start(&[
        ("JWT_ISSUER", issuer.as_str()),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_JWKS_TIMEOUT_SECONDS", "60"),
    ]);
    serves_through_a_rotation(&published, &server, &issuer).await;
    // D49: the metadata were read at first, and for the kid that stayed unknown.
    assert_eq!((published.hits(), published.all_hits()), (4, 6));
}

async fn serves_through_a_rotation(published: &JwksFixture, server: &Server, issuer: &str) {
    let old = token(TestKeys::new(), issuer);
    let new = token(TestKeys::other(), issuer);
    let forged = TestIssuer::with_keys(ALGORITHM, TestKeys::other())
        .issuer(issuer)
        .kid(Some(&TestKeys::new().kid(ALGORITHM)))
        .token(|_| ());
    let elsewhere = token(TestKeys::other(), "https://other.example");
    // The first request may come before the first fetch ended, and waits for it.
    for (token, status) in [
        (Some(&old), 200),
        (None, 401),
        (Some(&forged), 401),
        // E14: not even asked for.
        (Some(&elsewhere), 401),
    ] {
        let answer = decided(server, "/protected", token.map(String::as_str)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(server.get("/ready", None).await.status, 200);
    // D53: the signature that failed may have been one of a new key.
    assert_eq!(published.hits(), 2);

    published.serve(TestKeys::other().jwks());
    // Each names a key that the set at hand does not hold, and asks for one fetch.
    for (token, status, hits) in [(&new, 200, 3), (&old, 401, 4)] {
        let answer = decided(server, "/protected", Some(token)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(published.hits(), hits);
    }
}

#[tokio::test]
async fn d31_a_key_server_that_is_down_at_start_is_503_until_it_is_up() {
    let published = JwksFixture::start();
    let issuer = published.issuer();
    for (name, value) in [
        ("JWT_JWKS_URL", published.url()),
        ("JWT_ISSUER", issuer.clone()),
    ] {
        published.down();
        let mut pairs = vec![(name, value.as_str()), ("JWT_AUDIENCE", AUDIENCE)];
        if name != "JWT_ISSUER" {
            pairs.push(("JWT_ISSUER", &issuer));
        }
        let server = start(&pairs);
        let token = token(TestKeys::new(), &issuer);
        assert_eq!(server.get("/health", None).await.status, 200, "{name}");
        let ready = becomes(&server, "connection_refused").await;
        assert_eq!(ready.status, 503, "{name}");
        let answer = server.get("/protected", Some(&token)).await;
        assert_eq!(answer.status, 503, "{name} {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{name} {answer:?}");
        // Who brings no token is told so, whatever the keys are.
        assert_eq!(server.get("/protected", None).await.status, 401, "{name}");

        published.up();
        // Nothing but the probe asks: the server comes back by itself.
        becomes_ready(&server).await;
        let answer = server.get("/protected", Some(&token)).await;
        assert_eq!(answer.status, 200, "{name} {answer:?}");
    }
}

#[tokio::test]
async fn d30_an_outage_in_mid_run_is_noticed_by_nobody_whose_key_is_known() {
    let published = JwksFixture::start();
    let issuer = published.issuer();
    let server = start(&[
        ("JWT_ISSUER", issuer.as_str()),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_JWKS_TIMEOUT_SECONDS", "60"),
    ]);
    let token = token(TestKeys::new(), &issuer);
    becomes_ready(&server).await;
    published.answer(test_util::Answer::status(500));
    // Has the server try, in vain.
    let unknown = self::token(TestKeys::other(), &issuer);
    for (path, token, status) in [
        ("/protected", &unknown, 401),
        ("/protected", &token, 200),
        ("/ready", &token, 200),
    ] {
        let answer = decided(&server, path, Some(token)).await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
    }
    assert_eq!(published.hits(), 2);
}

/// Asks again where the keys were not there in time: a busy machine may take longer over a fetch than
/// the two seconds that a request waits.
pub(crate) async fn decided(server: &Server, path: &str, token: Option<&str>) -> Answer {
    let since = Instant::now();
    loop {
        let answer = server.get(path, token).await;
        if answer.status != 503 || since.elapsed().as_secs() >= 60 {
            return answer;
        }
    }
}

/// Polls the probe until it shows this.
pub(crate) async fn becomes(server: &Server, body: &str) -> Answer {
    let polling = async {
        loop {
            let answer = server.get("/ready", None).await;
            if answer.body == body {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(50), polling)
        .await
        .expect("the probe comes to show it")
}

/// Polls the probe, as an orchestrator does. The bound only keeps a broken server from hanging.
pub(crate) async fn becomes_ready(server: &Server) {
    let polling = async {
        while server.get("/ready", None).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(50), polling)
        .await
        .expect("the server becomes ready");
}

pub(crate) fn token(keys: TestKeys, issuer: &str) -> String {
    TestIssuer::with_keys(ALGORITHM, keys)
        .issuer(issuer)
        .token(|_| ())
}

#[tokio::test]
async fn d45_http_off_loopback_needs_the_variable_and_is_a_warning() {
    let url = ("JWT_JWKS_URL", "http://keys.invalid/certs");
    let expected = [("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", AUDIENCE)];
    let refused = refusal(&[&[url], &expected[..]].concat());
    assert!(
        refused.starts_with("JWT_JWKS_URL: not an https URL"),
        "{refused}"
    );
    for off in ["false", "0"] {
        let off = [("JWT_JWKS_ALLOW_HTTP", off)];
        refusal(&[&[url], &expected[..], &off[..]].concat());
    }
    let open = [("JWT_JWKS_ALLOW_HTTP", "true")];
    let server = start(&[&[url], &expected[..], &open[..]].concat());
    let ready = becomes(&server, "name_not_resolved").await;
    assert_eq!(ready.status, 503);
    let log = server.stop();
    assert!(
        log.contains("WARN") && log.contains("over plain http"),
        "{log}"
    );
    // D47: once, with the cause.
    assert_eq!(log.matches("name_not_resolved").count(), 1, "{log}");
}

#[tokio::test]
async fn d55_an_issuer_that_is_almost_the_expected_one_is_in_the_log() {
    let published = JwksFixture::start();
    let configured = published.issuer().replace("127.0.0.1", "localhost");
    let server = start(&[
        ("JWT_ISSUER", configured.as_str()),
        ("JWT_AUDIENCE", AUDIENCE),
    ]);
    becomes(&server, "issuer_mismatch").await;
    let token = token(TestKeys::new(), &published.issuer());
    assert_eq!(server.get("/protected", Some(&token)).await.status, 401);
    let log = server.stop();
    assert!(log.contains("issuer_mismatch"), "{log}");
    assert!(log.contains("compared exactly"), "{log}");
    assert!(
        log.contains(&configured) && log.contains(&published.issuer()),
        "{log}"
    );
}

const ALGORITHM: Algorithm = Algorithm::Es256;
