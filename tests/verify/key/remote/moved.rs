//! A `jwks_uri` that moved: D49.

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::remote::{RemoteKeySet, RemoteKeySetBuilder},
    test_util::{Answer, JwksFixture, TestClock, TestKeys},
};

use crate::support::remote::{LONG, issuer_of, seconds, verifier_of};
use crate::support::until::until;

const OIDC: &str = "/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server";

struct Discovered {
    server: JwksFixture,
    clock: TestClock,
    keys: RemoteKeySet,
    verifier: Verifier,
}

impl Discovered {
    async fn start(edit: impl FnOnce(RemoteKeySetBuilder) -> RemoteKeySetBuilder) -> Self {
        let (server, clock) = (JwksFixture::start(), TestClock::new());
        server.forget(RFC8414);
        let keys = RemoteKeySet::oidc(&server.issuer())
            .clock(clock.clone())
            .timeout(LONG)
            .wait(LONG);
        let keys = edit(keys).build().unwrap();
        keys.ready().await.unwrap();
        Self {
            verifier: verifier_of(&server.issuer(), &keys, &clock),
            server,
            clock,
            keys,
        }
    }

    fn move_to(&self, path: &str) {
        self.name(&self.server.issuer(), &self.server.url_of(path));
    }

    fn name(&self, issuer: &str, jwks_uri: &str) {
        let metadata = json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string();
        self.server.answer_at(OIDC, Answer::json(metadata));
    }

    async fn verify(&self, keys: TestKeys) -> Result<(), AuthErrorKind> {
        let token = issuer_of(keys, &self.clock)
            .issuer(self.server.issuer())
            .token(|_| ());
        match self.verifier.verify(token).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.kind()),
        }
    }

    async fn unknown(&self, kid: &str) -> AuthErrorKind {
        let token = issuer_of(TestKeys::other(), &self.clock)
            .issuer(self.server.issuer())
            .kid(Some(kid))
            .token(|_| ());
        self.verifier.verify(token).await.unwrap_err().kind()
    }
}

#[tokio::test]
async fn d49_a_key_set_that_moved_is_noticed_by_a_kid_that_stays_unknown() {
    let set = Discovered::start(|keys| keys).await;
    // The old place still answers, with the old keys.
    set.move_to("/new");
    set.server
        .answer_at("/new", Answer::json(TestKeys::other().jwks()));
    assert_eq!(set.verify(TestKeys::other()).await, Ok(()));
    assert_eq!(set.server.hits_at("/new"), 1);
    assert_eq!((set.server.hits(), set.server.hits_at(OIDC)), (2, 2));
    // From now on the keys come from there.
    assert_eq!(set.unknown("gone").await, AuthErrorKind::UnknownKey);
    assert_eq!((set.server.hits_at("/new"), set.server.hits()), (2, 2));
    assert_eq!(
        set.verify(TestKeys::new()).await,
        Err(AuthErrorKind::UnknownKey)
    );
}

#[tokio::test]
async fn d49_metadata_are_read_again_within_the_allowance_of_unknown_kids() {
    let set = Discovered::start(|keys| keys).await;
    for number in 0..200 {
        let unknown = set.unknown(&format!("random-{number}")).await;
        assert_eq!(unknown, AuthErrorKind::UnknownKey);
    }
    assert_eq!(
        (set.server.hits(), set.server.hits_at(OIDC)),
        (1 + 2, 1 + 2)
    );
    assert_eq!(set.server.hits_at(RFC8414), 0);
    set.clock.advance(seconds(10));
    for number in 0..20 {
        set.unknown(&format!("late-{number}")).await;
    }
    assert_eq!((set.server.hits(), set.server.hits_at(OIDC)), (4, 4));
}

#[tokio::test]
async fn d49_a_kid_that_the_fetch_brings_costs_no_metadata() {
    let set = Discovered::start(|keys| keys).await;
    set.server.serve(TestKeys::other().jwks());
    assert_eq!(set.verify(TestKeys::other()).await, Ok(()));
    assert_eq!((set.server.hits(), set.server.hits_at(OIDC)), (2, 1));
}

#[tokio::test]
async fn d49_metadata_are_read_again_within_a_day_though_no_kid_is_unknown() {
    for (max_age, rounds) in [(24, 1), (2, 2)] {
        let set = Discovered::start(|keys| keys.max_age(seconds(max_age * 3600))).await;
        set.move_to("/new");
        set.server
            .answer_at("/new", Answer::json(TestKeys::new().jwks()));
        for round in 1..=rounds {
            set.clock.advance(seconds(max_age * 3600));
            assert_eq!(set.verify(TestKeys::new()).await, Ok(()));
            let fetched = || set.server.hits() + set.server.hits_at("/new") > round;
            until(fetched).await;
            until(|| set.keys.is_fresh()).await;
        }
        assert_eq!(set.server.hits_at(OIDC), 2, "{max_age} h");
        assert_eq!(set.server.hits_at("/new"), 1, "{max_age} h");
    }
}

#[tokio::test]
async fn d49_a_fetch_for_a_kid_does_not_put_off_the_metadata() {
    let set = Discovered::start(|keys| keys.max_age(seconds(24 * 3600))).await;
    // A fetch that brings its key restarts the age of the keys, not that of the metadata.
    set.clock.advance(seconds(11 * 3600));
    set.server.serve(TestKeys::other().jwks());
    set.move_to("/new");
    set.server
        .answer_at("/new", Answer::json(TestKeys::other().jwks()));
    assert_eq!(set.verify(TestKeys::other()).await, Ok(()));
    set.clock.advance(seconds(12 * 3600));
    assert_eq!(set.verify(TestKeys::other()).await, Ok(()));
    until(|| set.server.hits_at("/new") > 0).await;
    assert_eq!(set.verify(TestKeys::other()).await, Ok(()));
}

#[tokio::test]
async fn d49_an_ordinary_refresh_reads_no_metadata() {
    let set = Discovered::start(|keys| keys).await;
    for round in 2..=20 {
        set.clock.advance(seconds(600));
        assert_eq!(set.verify(TestKeys::new()).await, Ok(()));
        until(|| set.keys.is_fresh()).await;
        assert_eq!(set.server.hits(), round);
    }
    assert_eq!(set.server.hits_at(OIDC), 1);
}

#[tokio::test]
async fn d49_keys_of_the_old_place_serve_while_the_new_one_has_none() {
    for answer in [
        Answer::status(404),
        Answer::json("{}"),
        Answer::json(r#"{"keys":[]}"#),
    ] {
        let set = Discovered::start(|keys| keys).await;
        set.move_to("/new");
        set.server.answer_at("/new", answer);
        assert_eq!(set.unknown("a").await, AuthErrorKind::UnknownKey);
        assert_eq!(set.verify(TestKeys::new()).await, Ok(()));
        assert!(set.keys.is_fresh());
        // It is asked again, and has them by then.
        set.server
            .answer_at("/new", Answer::json(TestKeys::other().jwks()));
        assert_eq!(set.verify(TestKeys::other()).await, Ok(()));
    }
}

#[tokio::test]
async fn d49_new_metadata_of_another_issuer_or_to_plain_http_are_not_used() {
    for (issuer, jwks_uri) in [
        (Some("https://evil.example"), "/new"),
        (None, "http://evil.example/jwks"),
    ] {
        let set = Discovered::start(|keys| keys).await;
        let url = match jwks_uri.strip_prefix('/') {
            Some(_) => set.server.url_of(jwks_uri),
            None => jwks_uri.to_owned(),
        };
        set.name(issuer.unwrap_or(&set.server.issuer()), &url);
        set.server
            .answer_at("/new", Answer::json(TestKeys::other().jwks()));
        assert_eq!(
            set.verify(TestKeys::other()).await,
            Err(AuthErrorKind::UnknownKey)
        );
        assert_eq!(set.verify(TestKeys::new()).await, Ok(()));
        assert_eq!(set.server.hits_at("/new"), 0);
    }
}

#[tokio::test]
async fn d49_the_old_place_serves_on_where_the_metadata_are_gone() {
    let set = Discovered::start(|keys| keys).await;
    set.server.answer(Answer::status(500));
    set.server.forget(OIDC);
    set.clock.advance(seconds(600));
    assert_eq!(set.verify(TestKeys::new()).await, Ok(()));
    until(|| set.keys.last_error().is_some()).await;
    set.server.serve(TestKeys::new().jwks());
    until(|| {
        set.clock.advance(seconds(5));
        set.keys.is_fresh()
    })
    .await;
}
