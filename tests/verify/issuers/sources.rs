//! Key sets that change: replaced by hand, rotated by their issuer.

use std::{error::Error as _, time::Duration};

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::{AuthErrorKind, KeyProblem},
    key::{Algorithm, KeySet, SharedKeySet, remote::RemoteKeySet},
    test_util::{TestClock, TestKeys},
};

use super::{AUDIENCE, B, key, memory::Memory, published, refusal, signer};

#[test]
fn a_replaced_key_set_counts_at_once_in_every_clone() {
    let clock = TestClock::new();
    let set = |keys| KeySet::new([key(keys, Algorithm::Es256)]).unwrap();
    let shared = SharedKeySet::new(set(TestKeys::new()));
    let verifier = Verifier::key_source(shared.clone())
        .issuer(B)
        .audience(AUDIENCE)
        .clock(clock.clone())
        .build()
        .unwrap();
    let group = Verifier::by_issuer([verifier.clone()]).unwrap();
    let old = signer(B, TestKeys::new(), Algorithm::Es256, &clock).token(|_| ());
    let new = signer(B, TestKeys::other(), Algorithm::Es256, &clock).token(|_| ());

    assert!(group.verify_now(&old).is_ok());
    assert_eq!(refusal(&group, &new), AuthErrorKind::InvalidSignature);
    shared.replace(set(TestKeys::other()));
    for verifier in [&verifier, &group] {
        assert_eq!(refusal(verifier, &old), AuthErrorKind::InvalidSignature);
        assert!(verifier.verify_now(&new).is_ok());
    }
}

fn remote(memory: &Memory, clock: &TestClock) -> (RemoteKeySet, Verifier) {
    let keys = RemoteKeySet::jwks("https://b.example/keys")
        .fetch(memory.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    let verifier = Verifier::key_source(keys.clone())
        .issuer(B)
        .audience(AUDIENCE)
        .clock(clock.clone())
        .build()
        .unwrap();
    (keys, verifier)
}

#[tokio::test]
async fn d25_a_key_that_was_used_before_it_was_published_is_found_when_the_set_is_due() {
    let clock = TestClock::new();
    let url = "https://b.example/keys";
    let of = |kid| published(Algorithm::Rs256, json!({"kid": kid}));
    let memory = Memory::default().with(url, json!({"keys": [of("old")]}));
    let (keys, verifier) = remote(&memory, &clock);
    keys.ready().await.unwrap();
    let token = || {
        let signer = signer(B, TestKeys::new(), Algorithm::Rs256, &clock).kid(Some("new"));
        signer.token(|_| ())
    };

    // The issuer signs with a key that its document does not show yet.
    let error = verifier.verify(token()).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::UnknownKey);
    assert_eq!(memory.asked().len(), 2);
    memory.put(url, json!({"keys": [of("new")]}));
    // Remembered as unknown …
    assert!(verifier.verify(token()).await.is_err());
    assert_eq!(memory.asked().len(), 2);
    // … but not for longer than the keys count as fresh, although no token of a known key ever
    // comes to start a refresh.
    clock.advance(Duration::from_secs(600));
    assert!(verifier.verify(token()).await.is_ok());
    assert_eq!(memory.asked().len(), 3);
}

#[tokio::test]
async fn d26_random_kids_never_cost_more_than_the_refresh_that_is_due() {
    let clock = TestClock::new();
    let url = "https://b.example/keys";
    let key = published(Algorithm::Rs256, json!({"kid": "k1"}));
    let memory = Memory::default().with(url, json!({"keys": [key]}));
    let (keys, verifier) = remote(&memory, &clock);
    keys.ready().await.unwrap();
    for number in 0..100 {
        let signer = signer(B, TestKeys::new(), Algorithm::Rs256, &clock);
        let token = signer.kid(Some(&format!("random-{number}"))).token(|_| ());
        assert!(verifier.verify(token).await.is_err());
    }
    // The first one, and the burst of two.
    assert_eq!(memory.asked().len(), 3);
    clock.advance(Duration::from_secs(599));
    memory.down(true);
    for number in 0..100 {
        let signer = signer(B, TestKeys::new(), Algorithm::Rs256, &clock);
        let token = signer.kid(Some(&format!("random-{number}"))).token(|_| ());
        assert!(verifier.verify(token).await.is_err());
    }
    // The one that is due fails, and the backoff holds for everybody.
    assert_eq!(memory.asked().len(), 4);
    let good = signer(B, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
    assert!(verifier.verify(good).await.is_ok());
}

#[tokio::test]
async fn discovery_tells_the_failure_that_helps() {
    let found = "https://login.example/.well-known/openid-configuration";
    let metadata = json!({
        "issuer": "https://login.example/",
        "jwks_uri": "https://login.example/keys"
    });
    let memory = Memory::default().with(found, metadata);
    let keys = RemoteKeySet::oidc("https://login.example").fetch(memory.clone());
    let error = keys.build().unwrap().ready().await.unwrap_err();
    assert_eq!(error.to_string(), "the metadata name another issuer");
    assert_eq!(error.problem(), KeyProblem::IssuerMismatch);
    // D55: for the log, both names.
    let cause = error.source().unwrap().to_string();
    let names = r#"expected "https://login.example", found "https://login.example/""#;
    assert_eq!(cause, names);
    // Both places were looked at.
    assert_eq!(memory.asked().len(), 2);

    let keys = RemoteKeySet::oidc("https://login.example").fetch(Memory::default());
    let error = keys.build().unwrap().ready().await.unwrap_err();
    assert_eq!(error.to_string(), "the server responded with status 404");
}
