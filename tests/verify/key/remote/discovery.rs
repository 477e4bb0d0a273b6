//! Metadata: K1 to K7.

use http::StatusCode;
use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, remote::RemoteKeySet},
    test_util::{Answer, JwksFixture, TestClock, TestIssuer, TestKeys},
};

use crate::support::remote::{ALGORITHM, Scripted, has_keys, issuer_of, keys_of, kind, seconds};
use crate::support::until::until;

const OIDC: &str = "/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server";

fn metadata(issuer: &str, jwks_uri: &str) -> Answer {
    Answer::json(json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string())
}

/// Whether the server's metadata, where both places say this, leads to keys.
async fn leads_to_keys(server: &JwksFixture, answer: Answer) -> bool {
    for path in [OIDC, RFC8414] {
        server.answer_at(path, answer.clone());
    }
    let keys = keys_of(&server.issuer()).build().unwrap();
    keys.ready().await.is_ok()
}

#[tokio::test]
async fn k1_metadata_must_name_exactly_the_issuer_that_was_asked() {
    let server = JwksFixture::start();
    let (issuer, url) = (server.issuer(), server.url());
    assert!(leads_to_keys(&server, metadata(&issuer, &url)).await);
    let hits = server.hits();
    for wrong in [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace("127.0.0.1", "localhost"),
        "https://evil.example".to_owned(),
        String::new(),
    ] {
        assert!(
            !leads_to_keys(&server, metadata(&wrong, &url)).await,
            "{wrong}"
        );
    }
    let nameless = Answer::json(json!({ "jwks_uri": url }).to_string());
    assert!(!leads_to_keys(&server, nameless).await);
    let twice = format!(r#"{{"issuer":"{issuer}","issuer":"{issuer}","jwks_uri":"{url}"}}"#);
    assert!(!leads_to_keys(&server, Answer::json(twice)).await);
    assert_eq!(server.hits(), hits);
}

#[tokio::test]
async fn k2_both_places_of_an_issuer_with_a_path_are_tried() {
    for (path, place) in [
        ("", OIDC.to_owned()),
        ("", RFC8414.to_owned()),
        ("/", OIDC.to_owned()),
        ("/", RFC8414.to_owned()),
        ("/realms/one", format!("/realms/one{OIDC}")),
        ("/realms/one", format!("{RFC8414}/realms/one")),
        ("/realms/one/", format!("/realms/one{OIDC}")),
        ("/realms/one/", format!("{RFC8414}/realms/one")),
    ] {
        let server = JwksFixture::start();
        server.forget(OIDC);
        server.forget(RFC8414);
        let issuer = server.url_of(path);
        server.answer_at(&place, metadata(&issuer, &server.url()));
        let keys = keys_of(&issuer).build().unwrap();
        assert!(keys.ready().await.is_ok(), "{path} at {place}");
        assert_eq!((server.hits_at(&place), server.hits()), (1, 1));
    }
}

#[tokio::test]
async fn k3_an_issuer_with_query_fragment_or_http_is_refused() {
    for issuer in [
        "http://as.example",
        "https://as.example?tenant=1",
        "https://as.example/?",
        "https://as.example/#top",
        "https://as.example#",
        "as.example",
        "",
    ] {
        assert!(RemoteKeySet::oidc(issuer).build().is_err(), "{issuer}");
    }
    for issuer in ["https://as.example", "https://as.example/a/b/"] {
        assert!(RemoteKeySet::oidc(issuer).build().is_ok(), "{issuer}");
    }
}

#[tokio::test]
async fn k4_a_jwks_uri_that_is_missing_or_not_https_is_not_used() {
    let server = JwksFixture::start();
    let issuer = server.issuer();
    for jwks_uri in [
        "http://as.example/jwks",
        "ftp://127.0.0.1/jwks",
        "/jwks",
        "file:///etc/passwd",
        "",
    ] {
        let answer = metadata(&issuer, jwks_uri);
        assert!(!leads_to_keys(&server, answer).await, "{jwks_uri}");
    }
    for document in [
        json!({ "issuer": issuer }),
        json!({ "issuer": issuer, "jwks_uri": null }),
        json!({ "issuer": issuer, "jwks_uri": [server.url()] }),
    ] {
        let answer = Answer::json(document.to_string());
        assert!(!leads_to_keys(&server, answer).await, "{document}");
    }
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn k4_an_issuer_of_https_cannot_lead_to_plain_http_on_loopback() {
    for (jwks_uri, calls) in [("https://keys.example/", 2), ("http://127.0.0.1:1/", 2)] {
        let document = json!({ "issuer": "https://as.example", "jwks_uri": jwks_uri });
        let client = Scripted::new(document.to_string());
        let keys = RemoteKeySet::oidc("https://as.example")
            .fetch(client.clone())
            .build()
            .unwrap();
        let error = keys.ready().await.unwrap_err().to_string();
        // The metadata served as a key set: it was asked for.
        let asked = error == "the response is not a usable key set";
        assert_eq!(asked, jwks_uri.starts_with("https"), "{error}");
        assert_eq!(client.calls(), calls, "{jwks_uri}");
    }
}

#[tokio::test]
async fn k5_bad_metadata_is_not_used_and_asked_for_again_with_backoff() {
    let server = JwksFixture::start();
    let good = metadata(&server.issuer(), &server.url());
    for bad in [
        Answer::status(500),
        Answer::status(404),
        Answer::json("<html>"),
        Answer::json("[]"),
        Answer::nested(200_000),
        Answer::endless(),
        Answer::redirect("http://as.example/"),
    ] {
        for path in [OIDC, RFC8414] {
            server.answer_at(path, bad.clone());
        }
        let clock = TestClock::new();
        let keys = keys_of(&server.issuer())
            .clock(clock.clone())
            .build()
            .unwrap();
        assert!(keys.ready().await.is_err());
        let hits = server.all_hits();
        for _ in 0..20 {
            assert!(keys.ready().await.is_err());
        }
        assert_eq!(server.all_hits(), hits);
        server.answer_at(OIDC, good.clone());
        clock.advance(seconds(5));
        assert!(keys.ready().await.is_ok());
    }
}

#[tokio::test]
async fn k6_nothing_is_discovered_for_an_issuer_that_is_not_configured() {
    let ours = JwksFixture::start();
    let foreign = JwksFixture::start();
    let clock = TestClock::new();
    let verifier = Verifier::oidc(&ours.issuer())
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    has_keys(&verifier, &clock).await;
    let hits = ours.all_hits();
    let token = issuer_of(TestKeys::other(), &clock)
        .issuer(foreign.issuer())
        .token(|_| ());
    let (status, _) = crate::support::remote::status(&verifier, &token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!((ours.all_hits(), foreign.all_hits()), (hits, 0));
}

#[tokio::test]
async fn k7_algorithms_in_metadata_never_widen_the_allow_list() {
    let server = JwksFixture::start();
    let names = json!(["none", "HS256", "RS256", "ES256"]);
    let answer = json!({
        "issuer": server.issuer(), "jwks_uri": server.url(),
        "id_token_signing_alg_values_supported": names,
        "token_endpoint_auth_signing_alg_values_supported": names,
    });
    server.answer_at(OIDC, Answer::json(answer.to_string()));
    let clock = TestClock::new();
    let verifier = Verifier::oidc(&server.issuer())
        .algorithms([ALGORITHM])
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    has_keys(&verifier, &clock).await;
    let token = |algorithm| {
        TestIssuer::new(algorithm)
            .clock(clock.clone())
            .issuer(server.issuer())
            .token(|_| ())
    };
    assert_eq!(kind(&verifier, &token(ALGORITHM)), Ok(()));
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::EdDsa] {
        assert_eq!(
            kind(&verifier, &token(algorithm)),
            Err(AuthErrorKind::AlgorithmNotAllowed),
            "{algorithm}"
        );
    }
}

#[tokio::test]
async fn the_issuer_of_discovery_is_the_one_that_tokens_must_have() {
    let server = JwksFixture::start();
    let clock = TestClock::new();
    let verifier = Verifier::oidc(&server.issuer())
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    has_keys(&verifier, &clock).await;
    let issuer = issuer_of(TestKeys::new(), &clock);
    let ours = issuer.clone().issuer(server.issuer()).token(|_| ());
    assert_eq!(kind(&verifier, &ours), Ok(()));
    let foreign = issuer.token(|_| ());
    assert_eq!(kind(&verifier, &foreign), Err(AuthErrorKind::WrongIssuer));
}

#[tokio::test]
async fn a_key_set_that_moved_is_found_again() {
    let server = JwksFixture::start();
    // The same tag for another document: a tag says something about its own URL alone.
    let tagged = |keys: TestKeys| Answer::json(keys.jwks()).etag("\"1\"");
    server.answer(tagged(TestKeys::new()));
    let clock = TestClock::new();
    let keys = keys_of(&server.issuer())
        .clock(clock.clone())
        .build()
        .unwrap();
    keys.ready().await.unwrap();

    server.answer(Answer::status(410));
    server.answer_at("/moved", tagged(TestKeys::other()));
    let moved = metadata(&server.issuer(), &server.url_of("/moved"));
    server.answer_at(OIDC, moved);
    let verifier = Verifier::key_source(keys.clone())
        .dangerous_any_issuer()
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    until(|| {
        clock.advance(seconds(5));
        let token = crate::support::remote::token_of(TestKeys::other(), &clock);
        verifier.verify_now(token).is_ok()
    })
    .await;
    assert!(server.hits_at("/moved") >= 1);
}

#[tokio::test]
async fn d41_a_byte_order_mark_before_metadata_is_ignored() {
    let server = JwksFixture::start();
    let metadata = json!({ "issuer": server.issuer(), "jwks_uri": server.url() });
    let marked = Answer::json(format!("\u{FEFF}{metadata}"));
    assert!(leads_to_keys(&server, marked).await);
}
