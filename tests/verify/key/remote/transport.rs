//! Requests and answers: D40, D41, D43, D44, D45, D48.

use serde_json::json;
use tower_jwt_auth::{
    error::KeyProblem,
    key::remote::RemoteKeySet,
    test_util::{Answer, JwksFixture, TestClock, TestKeys},
};

use crate::support::remote::{LONG, Scripted, Setup, keys_of, remote, seconds, succeeds};

const OIDC: &str = "/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server";
const GZIPPED: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\nxxxx";
const MARK: &str = "\u{feff}";

fn metadata(issuer: &str, jwks_uri: &str) -> String {
    json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string()
}

#[tokio::test]
async fn d40_requests_for_keys_and_metadata_accept_no_content_coding() {
    let server = JwksFixture::start();
    server.answer(Answer::json(TestKeys::new().jwks()).unless_identity(GZIPPED));
    let document = metadata(&server.issuer(), &server.url());
    server.answer_at(OIDC, Answer::json(document).unless_identity(GZIPPED));
    assert!(succeeds(keys_of(&server.issuer())).await);
    for path in ["/jwks", OIDC] {
        let accepted = server.header_at(path, "accept-encoding");
        assert_eq!(accepted.as_deref(), Some("identity"), "{path}");
    }
}

#[tokio::test]
async fn d40_an_answer_that_is_compressed_all_the_same_is_a_failure_with_that_reason() {
    for coding in ["gzip", "br", "GZIP, identity"] {
        let server = JwksFixture::start();
        let jwks = Answer::json(TestKeys::new().jwks());
        server.answer(jwks.clone().header("Content-Encoding", coding));
        let setup = Setup::new(server, |keys| keys);
        let error = setup.keys.ready().await.unwrap_err();
        assert_eq!(error.problem(), KeyProblem::ContentCoding, "{coding}");
    }
    let server = JwksFixture::start();
    server.answer(Answer::json(TestKeys::new().jwks()).header("Content-Encoding", "Identity"));
    assert!(Setup::new(server, |keys| keys).keys.ready().await.is_ok());
}

#[tokio::test]
async fn d41_a_byte_order_mark_before_keys_and_metadata_is_ignored() {
    let server = JwksFixture::start();
    server.serve(format!("{MARK}{}", TestKeys::new().jwks()));
    let document = metadata(&server.issuer(), &server.url());
    server.answer_at(OIDC, Answer::json(format!("{MARK}{document}")));
    server.forget(RFC8414);
    assert!(succeeds(keys_of(&server.issuer())).await);
    // Once, and before the document alone.
    for spoiled in [
        format!("{MARK}{MARK}{document}"),
        format!("{document}{MARK}"),
    ] {
        server.answer_at(OIDC, Answer::json(spoiled));
        assert!(!succeeds(keys_of(&server.issuer())).await);
    }
}

#[tokio::test]
async fn d43_a_relative_location_is_resolved_and_stays_within_the_origin() {
    let other = JwksFixture::start();
    let host = |server: &JwksFixture| server.issuer().replace("http://", "");
    for (location, at) in [
        ("moved", "/a/moved"),
        ("./moved", "/a/moved"),
        ("../b/moved", "/b/moved"),
        ("../../../moved", "/moved"),
        ("?v=2", "/a/jwks?v=2"),
        ("moved?v=2#part", "/a/moved?v=2"),
        ("/moved", "/moved"),
        ("//HOST/moved", "/moved"),
        ("http://HOST/moved", "/moved"),
        ("HTTP://HOST/moved", "/moved"),
    ] {
        let server = JwksFixture::start();
        let location = location.replace("HOST", &host(&server));
        server.answer_at("/a/jwks", Answer::redirect(location.clone()));
        server.answer_at(at, Answer::json(TestKeys::new().jwks()));
        let keys = RemoteKeySet::jwks(&server.url_of("/a/jwks")).timeout(LONG);
        assert!(succeeds(keys).await, "{location}");
        assert_eq!(server.hits_at(at), 1, "{location}");
    }
    for location in [
        format!("//{}/jwks", host(&other)),
        format!("/\\{}/jwks", host(&other)),
        format!("//user@{}/jwks", host(&other)),
        "https:jwks".to_owned(),
        "data:application/json,{}".to_owned(),
        "mo ved".to_owned(),
        String::new(),
    ] {
        let server = JwksFixture::start();
        server.answer_at("/a/jwks", Answer::redirect(location.clone()));
        let keys = RemoteKeySet::jwks(&server.url_of("/a/jwks")).timeout(LONG);
        let error = keys.build().unwrap().ready().await.unwrap_err();
        assert_eq!(error.problem(), KeyProblem::Redirect, "{location}");
    }
    assert_eq!(other.all_hits(), 0);
}

#[tokio::test]
async fn d43_relative_redirects_too_are_given_up_after_three() {
    let server = JwksFixture::start();
    server.answer(Answer::redirect("jwks"));
    let setup = Setup::new(server, |keys| keys);
    let error = setup.keys.ready().await.unwrap_err();
    assert_eq!(error.problem(), KeyProblem::Redirect);
    assert_eq!(setup.server.hits(), 4);
}

#[tokio::test]
async fn d43_metadata_that_moved_are_found_too() {
    let server = JwksFixture::start();
    server.forget(RFC8414);
    server.answer_at(OIDC, Answer::redirect("moved"));
    let document = metadata(&server.issuer(), &server.url());
    server.answer_at("/.well-known/moved", Answer::json(document));
    assert!(succeeds(keys_of(&server.issuer())).await);
}

#[tokio::test]
async fn d44_metadata_are_looked_for_in_four_places_and_must_match_in_each() {
    let places = [
        format!("/t{OIDC}"),
        format!("{RFC8414}/t"),
        format!("{OIDC}/t"),
        format!("/t{RFC8414}"),
    ];
    for place in &places {
        let server = JwksFixture::start();
        let issuer = server.url_of("/t");
        server.answer_at(place, Answer::json(metadata(&issuer, &server.url())));
        assert!(succeeds(keys_of(&issuer)).await, "{place}");

        let other = metadata(&server.url_of("/other"), &server.url());
        server.answer_at(place, Answer::json(other));
        let error = keys_of(&issuer).build().unwrap().ready().await.unwrap_err();
        assert_eq!(error.problem(), KeyProblem::IssuerMismatch, "{place}");
    }
    // Another issuer's in the first place does not keep the second one's from being used.
    let server = JwksFixture::start();
    let issuer = server.url_of("/t");
    server.answer_at(
        &places[0],
        Answer::json(metadata(&server.issuer(), &server.url())),
    );
    server.answer_at(&places[3], Answer::json(metadata(&issuer, &server.url())));
    assert!(succeeds(keys_of(&issuer)).await);
}

#[tokio::test]
async fn d45_plain_http_off_loopback_needs_the_named_opt_in() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let url = "http://keycloak:8080/certs";
    let start = || RemoteKeySet::jwks(url).clock(clock.clone());
    assert!(start().build().is_err());
    assert!(start().fetch(client.clone()).build().is_err());
    let keys = start().dangerous_allow_http().fetch(client.clone());
    assert!(keys.build().unwrap().ready().await.is_ok());

    // It opens nothing but http.
    for refused in [
        "ftp://keycloak/certs",
        "http://user:secret@keycloak/certs",
        "/certs",
        "http://",
    ] {
        let keys = RemoteKeySet::jwks(refused).dangerous_allow_http();
        assert!(keys.build().is_err(), "{refused}");
    }
}

#[tokio::test]
async fn d45_the_opt_in_covers_the_issuer_its_metadata_and_its_jwks_uri() {
    let clock = TestClock::new();
    for (issuer, jwks_uri, open, allowed) in [
        (
            "http://keycloak/realms/x",
            "http://keycloak/certs",
            true,
            true,
        ),
        ("https://sso.example", "http://keycloak/certs", true, true),
        ("https://sso.example", "http://keycloak/certs", false, false),
        (
            "https://sso.example",
            "https://sso.example/certs",
            false,
            true,
        ),
        (
            "http://keycloak/realms/x",
            "http://u:p@keycloak/certs",
            true,
            false,
        ),
    ] {
        // One document is both.
        let mut both: serde_json::Value = serde_json::from_str(&TestKeys::new().jwks()).unwrap();
        both["issuer"] = json!(issuer);
        both["jwks_uri"] = json!(jwks_uri);
        let client = Scripted::new(both.to_string());
        let mut keys = RemoteKeySet::oidc(issuer).clock(clock.clone());
        if open {
            keys = keys.dangerous_allow_http();
        }
        let keys = keys.fetch(client).build().unwrap();
        assert_eq!(keys.ready().await.is_ok(), allowed, "{issuer} {jwks_uri}");
    }
    // K3 as ever.
    for issuer in [
        "http://keycloak",
        "http://keycloak/?a=b",
        "http://keycloak/#a",
    ] {
        let open = RemoteKeySet::oidc(issuer).dangerous_allow_http().build();
        assert_eq!(open.is_ok(), issuer == "http://keycloak", "{issuer}");
        assert!(RemoteKeySet::oidc(issuer).build().is_err(), "{issuer}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn d45_the_opt_in_is_a_warning_at_start() {
    let (log, _guard) = crate::support::log::Log::start();
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let url = "http://keycloak:8080/certs?code=s3cr3t";
    let keys = RemoteKeySet::jwks(url)
        .clock(clock.clone())
        .dangerous_allow_http();
    let keys = keys.fetch(client).build().unwrap();
    keys.ready().await.unwrap();
    assert_eq!(log.lines_with("plain http"), 1, "{}", log.text());
    assert_eq!(log.lines_with("WARN"), 1);
    assert_eq!(log.lines_with("s3cr3t"), 0);
}

#[tokio::test]
async fn d48_the_age_of_an_answer_counts_against_its_max_age() {
    for (age, fresh_for) in [
        (None, 3600),
        (Some("0"), 3600),
        (Some("3000"), 600),
        (Some("3599"), 60),
        (Some("99999"), 60),
        (Some("-1"), 3600),
        (Some("soon"), 3600),
    ] {
        let server = JwksFixture::start();
        let mut answer =
            Answer::json(TestKeys::new().jwks()).header("Cache-Control", "max-age=3600");
        if let Some(age) = age {
            answer = answer.header("Age", age);
        }
        server.answer(answer);
        let clock = TestClock::new();
        let keys = remote(&server, &clock).build().unwrap();
        keys.ready().await.unwrap();
        clock.advance(seconds(fresh_for) - seconds(1));
        assert!(keys.is_fresh(), "{age:?}");
        clock.advance(seconds(1));
        assert!(!keys.is_fresh(), "{age:?}");
    }
}
