//! Logout tokens and requests of an attacker, and of a provider that is hostile but valid.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use serde_json::json;
use tower::ServiceExt;
use tower_jwt_auth::{
    Claims, ConfigError, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    layer::logout::BackChannelLogout,
    revocation::RevocationSet,
    test_util::{LogoutSender, TestIssuer, TestKeys},
    verify::{IssuerResolver, Resolution, Tenants},
};

use super::{CLIENT, Provider, form, post, refused};
use crate::support::fixture::{AUDIENCE, Fixture, ISSUER, keys};

const OTHER: &str = "https://other.example";

/// A verifier of two issuers that share a key document.
fn of_two(fixture: &Fixture) -> Verifier {
    let of = |issuer: &str| {
        let builder = Verifier::key_set(keys()).clock(fixture.clock.clone());
        builder.issuer(issuer).audience(AUDIENCE).build().unwrap()
    };
    Verifier::by_issuer([of(ISSUER), of(OTHER)]).unwrap()
}

#[tokio::test]
async fn x9_a_logout_of_another_issuer_ends_nothing_of_this_one() {
    let fixture = Fixture::new();
    let verifier = of_two(&fixture);
    let ours = RevocationSet::local_with_clock(fixture.clock.clone()).of_issuer(ISSUER);
    let logout = BackChannelLogout::new(&verifier, CLIENT, &ours).unwrap();
    let theirs = LogoutSender::new(&fixture.es.clone().issuer(OTHER), CLIENT).session("s1");
    refused("another issuer", post(&logout, &theirs.form()).await).await;
    assert!(ours.is_empty());
    let own = LogoutSender::new(&fixture.es, CLIENT).session("s1");
    assert_eq!(post(&logout, &own.form()).await.status(), StatusCode::OK);
    assert_eq!(ours.len(), 2);
}

#[tokio::test]
async fn x9_several_issuers_need_a_set_for_each() {
    struct Nothing;
    impl IssuerResolver<Claims> for Nothing {
        fn resolve(&self, _: &str) -> Resolution<Claims> {
            Resolution::Untrusted
        }
    }

    let fixture = Fixture::new();
    let tenants = Verifier::tenants(Tenants::new(Nothing));
    for verifier in [of_two(&fixture), tenants] {
        let all = RevocationSet::local();
        match BackChannelLogout::new(&verifier, CLIENT, &all).unwrap_err() {
            ConfigError::Invalid { name, .. } => assert_eq!(name, "revoked"),
            other => panic!("{other}"),
        }
        let ours = all.of_issuer(ISSUER);
        assert!(BackChannelLogout::new(&verifier, CLIENT, &ours).is_ok());
    }
    // Several names of one issuer.
    let aliases = fixture.builder().issuer(OTHER).build().unwrap();
    assert!(BackChannelLogout::new(&aliases, CLIENT, &RevocationSet::local()).is_ok());
}

#[tokio::test]
async fn x8_an_id_token_of_the_client_is_no_logout_token() {
    let provider = Provider::new();
    let now = provider.fixture.now();
    let claims = json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "alice", "sid": "s1", "iat": now, "exp": now + 120,
        "auth_time": now, "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "jti": "i1",
    });
    for typ in [Some("JWT"), None] {
        let token = provider.raw(typ, &claims.to_string());
        provider.refuses("an ID token", &token).await;
    }
}

#[tokio::test]
async fn x4_names_are_compared_exactly() {
    let provider = Provider::new();
    let long = "x".repeat(1000);
    let names = [
        "a:b",
        "1:a",
        "n1:a",
        "*",
        "%00",
        "a b",
        " ",
        "a\nb",
        "a\u{200b}",
        "a\u{202e}b",
        "Zoë",
        "Zoe\u{308}",
        "用户",
        "\u{1F511}",
        "'; DELETE FROM auth_session; --",
        "\\",
        "\"",
        &long,
    ];
    for name in names {
        let logout = provider.token(|claims| {
            claims.remove("sid");
            claims.insert("sub".into(), name.into())
        });
        assert_eq!(provider.post(&logout).await.status(), StatusCode::OK);
    }
    let call = async |name: &str| {
        let token = provider.access(|claims| claims.insert("sub".into(), name.into()));
        provider.call(&token).await
    };
    for name in names {
        let answer = call(name).await;
        answer.invalid_token(name).because(AuthErrorKind::Revoked);
    }
    for name in ["a", "b", "A:b", "a:b ", "ab", "zoë", "x", "n1", "1"] {
        call(name).await.passes(name);
    }
    for claim in ["sub", "sid", "jti"] {
        let before = provider.revoked.len();
        let token = provider.token(|claims| claims.insert(claim.into(), "a\0b".into()));
        refused(claim, provider.post(&token).await).await;
        assert_eq!(provider.revoked.len(), before);
    }
}

#[tokio::test]
async fn x6_a_flood_of_logouts_ends_with_the_tokens() {
    const FLOOD: usize = 3000;

    let provider = Provider::new();
    let hour = Duration::from_secs(3600);
    let logout = provider.logout.clone().max_token_lifetime(hour);
    let sender = LogoutSender::new(&provider.fixture.es, CLIENT).without_subject();
    for number in 0..FLOOD {
        let form = sender.clone().session(format!("s{number}")).form();
        assert_eq!(post(&logout, &form).await.status(), StatusCode::OK);
    }
    assert_eq!(provider.revoked.len(), FLOOD);
    provider
        .fixture
        .clock
        .advance(hour + Duration::from_secs(301));
    // A table is swept when it has grown, and grows no more than before.
    for number in 0..FLOOD {
        let form = sender.clone().session(format!("t{number}")).form();
        assert_eq!(post(&logout, &form).await.status(), StatusCode::OK);
    }
    assert!(
        provider.revoked.len() < FLOOD + FLOOD / 2,
        "{}",
        provider.revoked.len()
    );
}

/// A body without an end: it sends zeros, or nothing.
struct Endless {
    sent: Arc<AtomicUsize>,
    is_silent: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_silent {
            return Poll::Pending;
        }
        let zeros = Bytes::from_static(&[b'0'; 4096]);
        self.sent.fetch_add(zeros.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(zeros))))
    }
}

#[tokio::test]
async fn x5_a_body_without_an_end_is_refused() {
    let provider = Provider::new();
    let limit = Duration::from_millis(20);
    for is_silent in [false, true] {
        let sent = Arc::<AtomicUsize>::default();
        let body = Endless {
            sent: Arc::clone(&sent),
            is_silent,
        };
        let request = Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .unwrap();
        let logout = provider.logout.clone().body_timeout(limit);
        let Ok(response) = logout.oneshot(request).await;
        refused("no end", response).await;
        assert!(sent.load(Ordering::Relaxed) <= 128 * 1024);
    }
    assert!(provider.revoked.is_empty());
}

#[tokio::test]
async fn x5_other_forms_of_the_body_are_refused() {
    let provider = Provider::new();
    let good = provider.token(|_| ());
    let json = json!({ "logout_token": good }).to_string();
    let multipart = format!(
        "--b\r\ncontent-disposition: form-data; name=\"logout_token\"\r\n\r\n{good}\r\n--b--\r\n"
    );
    for (kind, body) in [
        ("application/json", &json),
        ("application/x-www-form-urlencoded", &json),
        ("multipart/form-data; boundary=b", &multipart),
        ("application/jwt", &good),
        ("application/logout+jwt", &good),
        ("application/x-www-form-urlencoded", &good),
        (
            "application/x-www-form-urlencoded",
            &format!("LOGOUT_TOKEN={good}"),
        ),
        (
            "application/x-www-form-urlencoded",
            &format!("logout_token[]={good}"),
        ),
        (
            "application/x-www-form-urlencoded",
            &format!("logout_token={good}%FF"),
        ),
        ("application/x-www-form-urlencodedx", &form(&good)),
        (", application/x-www-form-urlencoded", &form(&good)),
    ] {
        let request = Request::post("/").header("content-type", kind);
        let request = request.body(body.clone()).unwrap();
        let Ok(response) = provider.logout.clone().oneshot(request).await;
        refused(kind, response).await;
    }
    // The token belongs into the body.
    let query = Request::post(format!("/?logout_token={good}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(String::new())
        .unwrap();
    let Ok(response) = provider.logout.clone().oneshot(query).await;
    refused("the query", response).await;
    assert!(provider.revoked.is_empty());
}

#[tokio::test]
async fn x2_the_sender_of_the_tests_sends_what_a_provider_sends() {
    let provider = Provider::new();
    let sender = LogoutSender::new(&provider.fixture.es, CLIENT).subject("bob");
    let Ok(response) = provider
        .logout
        .clone()
        .oneshot(sender.request("/backchannel-logout"))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(provider.revoked.len(), 1);
    let nameless = sender.clone().without_subject();
    refused("no name", post(&provider.logout, &nameless.form()).await).await;
    let other = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other());
    let other = LogoutSender::new(&other.clock(provider.fixture.clock.clone()), CLIENT);
    refused("another key", post(&provider.logout, &other.form()).await).await;
}
