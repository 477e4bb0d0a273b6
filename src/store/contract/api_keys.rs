//! API keys.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Handles, new_name};
use crate::{
    layer::api_key::{
        ApiKey, ApiKeyFormat, ApiKeyId, ApiKeyRecord, ApiKeyStore, PreviousSecret, SecretDigest,
    },
    time::Timestamp,
};

/// Creates a `#[tokio::test]` for every rule of an [`ApiKeyStore`](crate::layer::api_key::ApiKeyStore).
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! api_key_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::api_key_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            keys_are_kept_whole
            creating_never_overwrites_a_key
            keys_are_listed_the_newest_first
            a_rolled_key_has_two_secrets
            a_key_is_rolled_only_from_the_row_that_was_loaded
            a_revoked_key_stays_revoked
            v6_all_keys_of_an_owner_are_revoked_by_one_call
            v6_a_list_of_keys_is_bounded
            the_last_use_never_moves_back
            of_many_rolls_of_one_key_one_is_written
        }
    };
    ($fixture:expr) => {
        $crate::api_key_store_contract!([] $fixture);
    };
}

/// Every column of a key is returned byte by byte.
pub async fn keys_are_kept_whole<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let owner = new_name("O'Reilly {auth}:* 👩");
    let (plain, full) = (mint(), mint());
    let at = Timestamp::from_millis;
    let plain = ApiKeyRecord::of(&plain, &owner, at(1_700_000_000_000));
    let full = ApiKeyRecord {
        label: "the \"nightly\" build\n".into(),
        scope: "orders:write orders:read".parse().expect("a scope"),
        previous: Some(PreviousSecret::new(
            SecretDigest::from_bytes([0xFF; 32]),
            at(1_800_000_000_001),
        )),
        expires_at: Some(at(4_000_000_000_000)),
        revoked_at: Some(at(1_700_000_000_003)),
        last_used_at: Some(at(1_700_000_000_004)),
        ..ApiKeyRecord::of(&full, &owner, at(1_700_000_000_005))
    };
    for record in [&plain, &full] {
        assert!(store.create(record).await.expect("create"));
        let found = find(&store, &record.id).await;
        assert_eq!(told(&found), told(record));
        assert_eq!(found.secret, record.secret);
    }
    let listed = store.list(&owner).await.expect("list");
    let listed: Vec<_> = listed.iter().map(told).collect();
    assert_eq!(listed, [told(&full), told(&plain)]);
    let unknown = store.find(mint().id()).await.expect("find");
    assert!(unknown.is_none());
}

/// A key is not replaced by another one with the same id.
pub async fn creating_never_overwrites_a_key<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let first = create(&store, &new_name("owner"), Timestamp::from_millis(1)).await;
    let thief = new_name("thief");
    let again = ApiKeyRecord::of(
        &format().mint_for(first.id.clone()),
        &thief,
        first.created_at,
    );
    assert!(!store.create(&again).await.expect("create"));
    assert!(!store.create(&first).await.expect("create"));
    let found = find(&store, &first.id).await;
    assert_eq!(told(&found), told(&first));
    assert_eq!(found.secret, first.secret);
    assert!(store.list(&thief).await.expect("list").is_empty());
}

/// A list contains the keys of one owner, including revoked ones.
pub async fn keys_are_listed_the_newest_first<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let owner = new_name("owner");
    let mut expected = Vec::new();
    for millis in [5, 3, 9, 1, 7] {
        let created_at = Timestamp::from_millis(millis);
        expected.push(create(&store, &owner, created_at).await);
    }
    create(&store, &new_name("other"), Timestamp::from_millis(4)).await;
    expected.sort_by_key(|record| std::cmp::Reverse(record.created_at));
    assert!(store.revoke(&expected[1].id, &owner).await.expect("revoke"));
    let listed = store.list(&owner).await.expect("list");
    let ids = |records: &[ApiKeyRecord]| -> Vec<ApiKeyId> {
        records.iter().map(|record| record.id.clone()).collect()
    };
    assert_eq!(ids(&listed), ids(&expected));
    assert!(
        store
            .list(&owner.to_uppercase())
            .await
            .expect("list")
            .is_empty()
    );
}

/// The new secret, the previous one and its end are returned unchanged.
pub async fn a_rolled_key_has_two_secrets<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let mut from = create(&store, &new_name("owner"), Timestamp::from_millis(1)).await;
    for until in [7, 5] {
        let (key, to) = rolled(&from, until);
        assert!(store.roll(&from, &to).await.expect("roll"));
        let found = find(&fixture.store(), &from.id).await;
        assert_eq!(told(&found), told(&to));
        assert_eq!(found.secret, *key.digest());
        let previous = found.previous.expect("the previous secret");
        assert_eq!(previous.secret, from.secret);
        from = found;
    }
}

/// A key that was rolled or revoked in the meantime, and an unknown key, stay as they are.
pub async fn a_key_is_rolled_only_from_the_row_that_was_loaded<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let owner = new_name("owner");
    let first = create(&store, &owner, Timestamp::from_millis(1)).await;
    let (_, second) = rolled(&first, 7);
    assert!(store.roll(&first, &second).await.expect("roll"));
    let (_, other) = rolled(&first, 9);
    assert!(!store.roll(&first, &other).await.expect("roll"));
    assert!(store.revoke(&first.id, &owner).await.expect("revoke"));
    let (_, third) = rolled(&second, 9);
    assert!(!store.roll(&second, &third).await.expect("roll"));
    let found = find(&store, &first.id).await;
    assert_eq!(
        (found.secret, found.revoked_at.is_some()),
        (second.secret, true)
    );

    let unknown = ApiKeyRecord::of(&mint(), &owner, Timestamp::from_millis(1));
    let (_, to) = rolled(&unknown, 7);
    assert!(!store.roll(&unknown, &to).await.expect("roll"));
    assert!(store.find(&unknown.id).await.expect("find").is_none());
}

/// Only the owner of a key can revoke it. The time of the first revocation stays.
pub async fn a_revoked_key_stays_revoked<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let owner = new_name("owner");
    let record = create(&store, &owner, Timestamp::from_millis(1)).await;
    let revoke = |id: ApiKeyId, whose: String| {
        let store = fixture.store();
        async move { store.revoke(&id, &whose).await.expect("revoke") }
    };
    assert!(!revoke(record.id.clone(), new_name("thief")).await);
    assert!(!revoke(mint().id().clone(), owner.clone()).await);
    assert_eq!(find(&store, &record.id).await.revoked_at, None);
    assert!(revoke(record.id.clone(), owner.clone()).await);
    let first = find(&store, &record.id).await.revoked_at;
    assert!(first.is_some());
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert!(
        revoke(record.id.clone(), owner).await,
        "it was revoked before"
    );
    assert_eq!(find(&store, &record.id).await.revoked_at, first);
}

/// `revoke_all` revokes all keys of an owner, also more than a list contains. Keys of other owners and
/// the times of earlier revocations do not change.
pub async fn v6_all_keys_of_an_owner_are_revoked_by_one_call<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let (owner, other) = (new_name("owner"), new_name("other"));
    let mut ids = Vec::new();
    for millis in 0..MANY {
        ids.push(
            create(&store, &owner, Timestamp::from_millis(millis))
                .await
                .id,
        );
    }
    let spared = create(&store, &other, Timestamp::from_millis(1)).await;
    let long_ago = ApiKeyRecord {
        revoked_at: Some(Timestamp::from_millis(2)),
        ..ApiKeyRecord::of(&mint(), &owner, Timestamp::from_millis(1))
    };
    assert!(store.create(&long_ago).await.expect("create"));
    ids.sort();
    // A repeated call returns the same, because the first response may be lost.
    for round in 0..2 {
        let mut revoked = store.revoke_all(&owner).await.expect("revoke_all");
        revoked.sort();
        assert_eq!(revoked, ids, "{round}");
    }
    for id in &ids {
        assert!(find(&store, id).await.revoked_at.is_some());
    }
    assert_eq!(find(&store, &spared.id).await.revoked_at, None);
    let kept = find(&store, &long_ago.id).await;
    assert_eq!(kept.revoked_at, long_ago.revoked_at);
    let unknown = store.revoke_all(&new_name("owner")).await;
    assert!(unknown.expect("revoke_all").is_empty());
}

/// A list contains the newest 100 keys.
pub async fn v6_a_list_of_keys_is_bounded<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let owner = new_name("owner");
    for millis in 0..MANY {
        create(&store, &owner, Timestamp::from_millis(millis)).await;
    }
    let listed = store.list(&owner).await.expect("list");
    let born = listed.iter().map(|record| record.created_at.as_millis());
    assert!(born.eq((MANY - 100..MANY).rev()));
}

/// One call records the last use of many keys. Unknown keys are ignored.
pub async fn the_last_use_never_moves_back<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let store = fixture.store();
    let owner = new_name("owner");
    let at = Timestamp::from_millis;
    let one = create(&store, &owner, at(1)).await.id;
    let two = create(&store, &owner, at(1)).await.id;
    let unknown = mint().id().clone();
    for (used, expected) in [
        (vec![], (None, None)),
        (vec![(&one, 50), (&unknown, 60)], (Some(50), None)),
        (vec![(&two, 20), (&one, 40)], (Some(50), Some(20))),
        (
            vec![(&one, 70), (&two, 30), (&one, 60)],
            (Some(70), Some(30)),
        ),
    ] {
        let used: Vec<_> = used
            .into_iter()
            .map(|(id, millis)| (id.clone(), at(millis)))
            .collect();
        store.touch(&used).await.expect("touch");
        let one = find(&store, &one).await.last_used_at;
        let two = find(&store, &two).await.last_used_at;
        assert_eq!((one, two), (expected.0.map(at), expected.1.map(at)));
    }
    assert!(store.find(&unknown).await.expect("find").is_none());
}

/// Of many concurrent rolls of one row, on different nodes, exactly one is written.
pub async fn of_many_rolls_of_one_key_one_is_written<F>(fixture: &F)
where
    F: Handles<Store: ApiKeyStore>,
{
    let record = create(
        &fixture.store(),
        &new_name("owner"),
        Timestamp::from_millis(1),
    )
    .await;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (store, from) = (fixture.store(), record.clone());
        let (key, to) = rolled(&from, 7);
        tasks.spawn(async move {
            let written = store.roll(&from, &to).await.expect("roll");
            written.then(|| *key.digest())
        });
    }
    let mut written = Vec::new();
    while let Some(task) = tasks.join_next().await {
        written.extend(task.expect("the store does not panic"));
    }
    let found = find(&fixture.store(), &record.id).await;
    assert_eq!(written, [found.secret]);
}

async fn create(store: &impl ApiKeyStore, owner: &str, created_at: Timestamp) -> ApiKeyRecord {
    let record = ApiKeyRecord::of(&mint(), owner, created_at);
    assert!(store.create(&record).await.expect("create"));
    record
}

async fn find(store: &impl ApiKeyStore, id: &ApiKeyId) -> ApiKeyRecord {
    let found = store.find(id).await.expect("find");
    found.expect("a key that was created is found")
}

/// Returns the row with a new secret. The current secret is accepted until this time.
fn rolled(from: &ApiKeyRecord, until: i64) -> (ApiKey, ApiKeyRecord) {
    let key = format().mint_for(from.id.clone());
    let until = Timestamp::from_millis(until);
    let to = ApiKeyRecord {
        secret: *key.digest(),
        previous: Some(PreviousSecret::new(from.secret, until)),
        display_start: key.display_start().to_owned(),
        ..from.clone()
    };
    (key, to)
}

/// Returns everything of a row except its digests.
fn told(record: &ApiKeyRecord) -> String {
    format!("{record:?}")
}

fn mint() -> ApiKey {
    format().mint()
}

fn format() -> ApiKeyFormat {
    ApiKeyFormat::new("contract").expect("a prefix")
}

/// More keys than a list contains, and more than a store revokes in one step.
const MANY: i64 = 103;
