//! Issue, list, roll, revoke.

use std::time::Duration;

use tower_jwt_auth::{
    error::AuthErrorKind,
    layer::api_key::{ApiKeyError, ApiKeys, NewApiKey, PreviousSecret},
    principal::PrincipalKind,
    time::Clock,
};

use crate::support::api_key::{Fault, Fixture, HOUR, ask, format, issue, wanted};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn v2_a_key_is_shown_once_and_kept_as_a_digest() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = keys
        .issue(wanted().label("ci").lifetime(HOUR))
        .await
        .unwrap();
    let rows = keys.list("alice").await.unwrap();
    let [row] = &rows[..] else { panic!("one key") };
    assert_eq!(row.label, "ci");
    assert_eq!(row.scope.to_string(), "orders:read");
    assert_eq!(row.expires_at, Some(fixture.clock.now().plus(HOUR)));
    assert!(key.expose().starts_with(&row.display_start));
    assert_eq!(row.secret, *key.digest());
    let secret = key.expose().split('_').nth(3).unwrap();
    assert!(!format!("{row:?}").contains(&secret[4..]));
    assert!(keys.list("bob").await.unwrap().is_empty());
}

#[tokio::test]
async fn v5_two_secrets_live_while_a_key_is_rolled() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let first = issue(&keys).await;
    ask(&keys, first.expose()).await.passes("first");
    let second = keys.roll("alice", first.id(), HOUR).await.unwrap();
    assert_eq!(first.id(), second.id());
    for key in [&first, &second] {
        ask(&keys, key.expose()).await.passes("both live");
    }
    // A third ends the first: there are never more than two.
    let third = keys.roll("alice", first.id(), HOUR).await.unwrap();
    ask(&keys, first.expose()).await.is("401/it", "the first");
    for key in [&second, &third] {
        ask(&keys, key.expose()).await.passes("both live");
    }
    fixture.clock.advance(HOUR);
    ask(&keys, second.expose())
        .await
        .is("401/it", "the overlap is over");
    ask(&keys, third.expose()).await.passes("third");
    keys.revoke("alice", first.id()).await.unwrap();
    ask(&keys, third.expose()).await.is("401/it", "revoked");
}

#[tokio::test]
async fn keys_have_limits() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    for (new, case) in [
        (wanted().lifetime(366 * DAY), "too long"),
        (wanted().lifetime(Duration::ZERO), "none at all"),
        (wanted().unending(), "unending"),
    ] {
        let refused = keys.issue(new).await.unwrap_err();
        assert!(matches!(refused, ApiKeyError::Lifetime), "{case}");
    }
    let refused = keys.issue(wanted().scope("admin")).await;
    assert!(matches!(refused, Err(ApiKeyError::Scope)));
    for new in [wanted().label("x".repeat(201)), NewApiKey::new("")] {
        let refused = keys.issue(new).await;
        assert!(matches!(refused, Err(ApiKeyError::Name)));
    }
    assert!(keys.list("alice").await.unwrap().is_empty());
    let key = issue(&keys).await;
    let refused = keys.roll("alice", key.id(), 8 * DAY).await;
    assert!(matches!(refused, Err(ApiKeyError::Overlap)));

    let free = fixture
        .builder()
        .dangerous_unending()
        .kind(PrincipalKind::User);
    let free = free.build().unwrap();
    let key = free.issue(wanted().unending()).await.unwrap();
    let caller = free.verify(key.expose()).await.unwrap();
    assert_eq!(caller.expires_at(), None);
    assert_eq!(caller.kind(), PrincipalKind::User);
    let without = ApiKeys::builder(format(), fixture.store.clone())
        .build()
        .unwrap();
    assert!(matches!(
        without.issue(wanted()).await,
        Err(ApiKeyError::Scope)
    ));
}

#[tokio::test]
async fn a_key_is_its_owners_alone() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let rolled = keys.roll("mallory", key.id(), HOUR).await;
    assert!(matches!(rolled, Err(ApiKeyError::NotFound)));
    let revoked = keys.revoke("mallory", key.id()).await;
    assert!(matches!(revoked, Err(ApiKeyError::NotFound)));
    ask(&keys, key.expose()).await.passes("untouched");
    // Twice is once; a dead key is not rolled.
    for _ in 0..2 {
        keys.revoke("alice", key.id()).await.unwrap();
    }
    let rolled = keys.roll("alice", key.id(), HOUR).await;
    assert!(matches!(rolled, Err(ApiKeyError::NotFound)));
}

#[tokio::test]
async fn v5_two_concurrent_rolls_leave_both_new_secrets() {
    let fixture = Fixture::new();
    let [here, there] = [fixture.keys(), fixture.keys()];
    let first = issue(&here).await;
    let (one, two) = tokio::join!(
        here.roll("alice", first.id(), HOUR),
        there.roll("alice", first.id(), HOUR),
    );
    let [one, two] = [*one.unwrap().digest(), *two.unwrap().digest()];
    let row = fixture.store.row(first.id());
    let previous = row.previous.unwrap().secret;
    assert!((row.secret, previous) == (one, two) || (row.secret, previous) == (two, one));
}

#[tokio::test]
async fn a_lost_answer_neither_doubles_nor_loses_a_key() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    fixture.store.fails(Some(Fault::LostAnswer));
    let first = issue(&keys).await;
    assert_eq!(keys.list("alice").await.unwrap().len(), 1);
    ask(&keys, first.expose()).await.passes("written");

    fixture.store.fails(Some(Fault::LostAnswer));
    let second = keys.roll("alice", first.id(), HOUR).await.unwrap();
    let previous = fixture.store.row(first.id()).previous;
    assert_eq!(
        previous.map(|old: PreviousSecret| old.secret),
        Some(*first.digest())
    );
    for key in [&first, &second] {
        ask(&keys, key.expose()).await.passes("both live");
    }
    // Whether it was written is not known, so it is not believed to be alive.
    fixture.store.fails(Some(Fault::LostAnswer));
    assert!(matches!(
        keys.revoke("alice", first.id()).await,
        Err(ApiKeyError::Store(_))
    ));
    ask(&keys, second.expose())
        .await
        .is("401/it", "asked again");
}

#[tokio::test]
async fn what_the_store_cannot_do_is_said() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    fixture.store.fails(Some(Fault::Down));
    assert!(matches!(
        keys.issue(wanted()).await,
        Err(ApiKeyError::Store(_))
    ));
    assert!(matches!(
        keys.list("alice").await,
        Err(ApiKeyError::Store(_))
    ));
    fixture.store.fails(Some(Fault::Panic));
    let revoked = keys.revoke("alice", key.id()).await;
    assert!(matches!(revoked, Err(ApiKeyError::Store(_))));
    let refused = keys.verify(key.expose()).await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::StoreUnavailable);
}

#[test]
fn keys_are_built_within_a_runtime_and_with_sound_times() {
    let fixture = Fixture::new();
    assert!(fixture.builder().build().is_err());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    assert!(fixture.builder().remember(Duration::ZERO).build().is_err());
    assert!(
        fixture
            .builder()
            .remember(Duration::from_secs(61))
            .build()
            .is_err()
    );
    assert!(fixture.builder().max_overlap(91 * DAY).build().is_err());
    assert!(
        fixture
            .builder()
            .max_lifetime(Duration::ZERO)
            .build()
            .is_err()
    );
}
