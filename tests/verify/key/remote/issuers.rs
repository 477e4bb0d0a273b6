//! Several issuers: E13, E14.

use http::StatusCode;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::remote::RemoteKeySet,
    test_util::{JwksFixture, TestClock, TestIssuer, TestKeys},
};

use crate::support::remote::{ALGORITHM, LONG, Scripted, kind, status};
use crate::support::{settle::settle, until::until};

fn of(name: &str, keys: TestKeys, clock: &TestClock) -> TestIssuer {
    TestIssuer::with_keys(ALGORITHM, keys)
        .clock(clock.clone())
        .issuer(name)
}

/// A verifier of what the server publishes, with times long enough for a busy machine.
fn member(server: &JwksFixture, clock: &TestClock) -> Verifier {
    let keys = RemoteKeySet::oidc(&server.issuer())
        .timeout(LONG)
        .wait(LONG);
    Verifier::key_source(keys.clock(clock.clone()).build().unwrap())
        .issuer(server.issuer())
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap()
}

#[tokio::test]
async fn e13_a_key_of_one_issuer_never_verifies_a_token_of_another() {
    let clock = TestClock::new();
    let (a, b) = (
        Scripted::publishing(TestKeys::new()),
        Scripted::publishing(TestKeys::other()),
    );
    let of_client = async |client: &Scripted, name: &str| {
        Verifier::key_source(client.keys(&clock).await)
            .issuer(name)
            .audience("https://api.example")
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let members = [
        of_client(&a, "https://a.example").await,
        of_client(&b, "https://b.example").await,
    ];
    let verifier = Verifier::by_issuer(members).unwrap();
    for (name, own, foreign) in [
        ("https://a.example", TestKeys::new(), TestKeys::other()),
        ("https://b.example", TestKeys::other(), TestKeys::new()),
    ] {
        assert_eq!(
            kind(&verifier, &of(name, own, &clock).token(|_| ())),
            Ok(())
        );
        let crossed = verifier
            .verify(of(name, foreign, &clock).token(|_| ()))
            .await;
        assert_eq!(crossed.unwrap_err().kind(), AuthErrorKind::UnknownKey);
        // The foreign key under the issuer's own kid.
        let kid = own.kid(ALGORITHM);
        let forged = of(name, foreign, &clock).kid(Some(&kid)).token(|_| ());
        assert_eq!(
            kind(&verifier, &forged),
            Err(AuthErrorKind::InvalidSignature)
        );
    }
}

#[tokio::test]
async fn e14_an_issuer_that_is_not_among_several_costs_no_fetch() {
    let servers = [JwksFixture::start(), JwksFixture::start()];
    let clock = TestClock::new();
    let members = servers.each_ref().map(|server| member(server, &clock));
    let verifier = Verifier::by_issuer(members).unwrap();
    verifier.ready().await.unwrap();
    let hits = || servers.iter().map(JwksFixture::all_hits).sum::<usize>();
    let before = hits();
    for (name, kid) in [
        ("https://evil.example", None),
        ("https://evil.example", Some("unknown")),
        (&*format!("{}/", servers[0].issuer()), Some("unknown")),
        ("", Some("unknown")),
    ] {
        let token = of(name, TestKeys::other(), &clock).kid(kid).token(|_| ());
        assert_eq!(status(&verifier, &token).await.0, StatusCode::UNAUTHORIZED);
    }
    let nameless = of("x", TestKeys::new(), &clock).token(|claims| claims.remove("iss"));
    assert_eq!(
        kind(&verifier, &nameless),
        Err(AuthErrorKind::MissingClaim("iss"))
    );
    settle().await;
    assert_eq!(hits(), before);
}

#[tokio::test]
async fn e14_an_unknown_kid_of_one_issuer_asks_that_issuer_alone() {
    let servers = [JwksFixture::start(), JwksFixture::start()];
    let clock = TestClock::new();
    let members = servers.each_ref().map(|server| member(server, &clock));
    let verifier = Verifier::by_issuer(members).unwrap();
    verifier.ready().await.unwrap();
    servers[1].serve(TestKeys::other().jwks());
    let token = of(&servers[1].issuer(), TestKeys::other(), &clock).token(|_| ());
    assert_eq!(status(&verifier, &token).await.0, StatusCode::OK);
    assert_eq!((servers[0].hits(), servers[1].hits()), (1, 2));
}

#[tokio::test]
async fn an_outage_of_one_issuer_does_not_touch_the_other() {
    let (up, down) = (JwksFixture::start(), JwksFixture::start());
    down.down();
    let clock = TestClock::new();
    let static_key = Verifier::key(TestKeys::new().verifying_key(ALGORITHM))
        .issuer("https://static.example")
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let remote = [&up, &down].map(|server| member(server, &clock));
    let verifier = Verifier::by_issuer(remote.into_iter().chain([static_key])).unwrap();
    until(|| up.hits() == 1).await;
    let unready = verifier.ready().await.unwrap_err();
    assert_eq!(unready.kind(), AuthErrorKind::KeysUnavailable);
    let token = |name: &str| of(name, TestKeys::new(), &clock).token(|_| ());
    for (name, expected) in [
        (up.issuer(), StatusCode::OK),
        ("https://static.example".to_owned(), StatusCode::OK),
        (down.issuer(), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        assert_eq!(status(&verifier, &token(&name)).await.0, expected, "{name}");
    }
}

#[tokio::test]
async fn old_and_new_algorithms_stand_side_by_side_static_and_remote() {
    let clock = TestClock::new();
    let client = Scripted::publishing(TestKeys::new());
    let old = Verifier::hs256(TestKeys::new().secret(tower_jwt_auth::key::Algorithm::Hs256))
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let new = Verifier::key_source(client.keys(&clock).await)
        .algorithms([ALGORITHM])
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let verifier = Verifier::by_algorithm([old, new]).unwrap();
    for algorithm in [tower_jwt_auth::key::Algorithm::Hs256, ALGORITHM] {
        let token = TestIssuer::new(algorithm)
            .clock(clock.clone())
            .token(|_| ());
        assert_eq!(kind(&verifier, &token), Ok(()), "{algorithm}");
    }
}
