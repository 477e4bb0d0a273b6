//! Linked credentials.

use tokio::task::JoinSet;

use super::{Handles, new_name};
use crate::store::port::{CredentialRecord, CredentialStore, NewCredential};

/// Creates a `#[tokio::test]` for every rule of a [`CredentialStore`](crate::store::port::CredentialStore).
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! credential_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::credential_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            a_credential_belongs_to_one_subject
            credentials_are_listed_and_unlinked
            u45_of_many_links_of_one_credential_one_succeeds
            u45_of_many_updates_of_one_credential_one_succeeds
            u51_of_many_removals_that_keep_each_other_one_credential_stays
        }
    };
    ($fixture:expr) => {
        $crate::credential_store_contract!([] $fixture);
    };
}

/// A link never overwrites, and all text is returned unchanged.
pub async fn a_credential_belongs_to_one_subject<F>(fixture: &F)
where
    F: Handles<Store: CredentialStore>,
{
    let store = fixture.store();
    let (ada, eve) = (new_name("O'Reilly {auth}:*"), new_name("eve"));
    let id = new_name("https://idp.example/ {auth}:* \u{e4}");
    assert_eq!(found(&store, "oidc", &id).await, None);
    let data = format!("'\"\\ \u{1f511} {}", "x".repeat(10_000));
    let new = |subject: &str| NewCredential::new("oidc", &id, subject).data(&data);
    let link = async |new| store.link_credential(new).await.expect("link");
    assert!(link(new(&ada)).await);
    assert!(!link(new(&eve)).await, "linked to another subject");
    assert!(!link(new(&ada)).await, "linked already");
    let row = found(&store, "oidc", &id).await.expect("the credential");
    assert_eq!((&row.kind, &row.id), (&"oidc".to_owned(), &id));
    assert_eq!((&row.subject, &row.data), (&ada, &data));
    assert_eq!((row.revision, row.used_at), (0, None));

    // The same identifier of other kinds, of which one begins with the other.
    for kind in ["oid", "oidc:"] {
        assert_eq!(found(&store, kind, &id).await, None, "{kind}");
    }
    assert!(link(NewCredential::new("passkey", &id, &eve)).await);
    let other = found(&store, "passkey", &id).await.expect("the credential");
    assert_eq!((&other.subject, &*other.data), (&eve, ""));
    assert_eq!(found(&store, "oidc", &id.to_uppercase()).await, None);
}

/// A list has the kind and the subject that were asked for. Only the owner unlinks.
pub async fn credentials_are_listed_and_unlinked<F>(fixture: &F)
where
    F: Handles<Store: CredentialStore>,
{
    let store = fixture.store();
    let (ada, eve) = (new_name("ada"), new_name("eve"));
    let ids: Vec<_> = (0..4).map(|at| new_name(&format!("id-{at}"))).collect();
    for id in &ids {
        let new = NewCredential::new("passkey", id, &ada).data(id);
        assert!(store.link_credential(new).await.expect("link"));
    }
    let oidc = NewCredential::new("oidc", &ids[0], &ada);
    assert!(store.link_credential(oidc).await.expect("link"));
    let list = async |kind: &str, subject: &str| {
        let list = store.credentials(kind, subject).await.expect("credentials");
        assert!(
            list.iter()
                .all(|row| row.kind == kind && row.subject == subject)
        );
        assert!(list.is_sorted_by_key(|row| (row.created_at, row.id.clone())));
        let mut ids: Vec<_> = list.into_iter().map(|row| row.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(list("passkey", &ada).await, ids);
    assert_eq!(list("oidc", &ada).await, ids[..1]);
    assert_eq!(list("pass", &ada).await, ids[..0]);
    assert_eq!(list("passkey", &eve).await, ids[..0]);

    let unlink = async |id: &str, subject: &str| {
        let unlinked = store.unlink_credential("passkey", id, subject).await;
        unlinked.expect("unlink")
    };
    assert!(!unlink(&ids[3], &eve).await, "of another subject");
    assert!(unlink(&ids[3], &ada).await);
    assert!(!unlink(&ids[3], &ada).await);
    assert_eq!(found(&store, "passkey", &ids[3]).await, None);
    assert_eq!(list("passkey", &ada).await, ids[..3]);

    // What was unlinked can be linked again, to another subject.
    let again = NewCredential::new("passkey", &ids[3], &eve);
    assert!(store.link_credential(again).await.expect("link"));
    let all = async |subject: &str| store.unlink_credentials(subject).await.expect("unlink all");
    assert_eq!(all(&ada).await, 4);
    assert_eq!(all(&ada).await, 0);
    assert_eq!(list("oidc", &ada).await, ids[..0]);
    assert_eq!(found(&store, "passkey", &ids[0]).await, None);
    assert_eq!(list("passkey", &eve).await, ids[3..]);
}

/// Of several nodes that link one credential concurrently, exactly one succeeds.
pub async fn u45_of_many_links_of_one_credential_one_succeeds<F>(fixture: &F)
where
    F: Handles<Store: CredentialStore>,
{
    let id = new_name("id");
    let mut links = JoinSet::new();
    for node in 0..20 {
        let (store, id) = (fixture.store(), id.clone());
        links.spawn(async move {
            let subject = format!("of node {node} {id}");
            let new = NewCredential::new("oidc", id, &subject);
            let linked = store.link_credential(new).await.expect("link");
            linked.then_some(subject)
        });
    }
    let mut winners = links.join_all().await;
    winners.retain(Option::is_some);
    let row = found(&fixture.store(), "oidc", &id).await;
    assert_eq!(winners, [row.map(|row| row.subject)]);
}

/// Of several nodes that change one credential concurrently, exactly one succeeds: a counter is never
/// set back. A credential that was linked again in the meantime, to whomever, is not changed.
pub async fn u45_of_many_updates_of_one_credential_one_succeeds<F>(fixture: &F)
where
    F: Handles<Store: CredentialStore>,
{
    let store = fixture.store();
    let (id, subject) = (new_name("id"), new_name("subject"));
    let new = NewCredential::new("passkey", &id, &subject).data("of no node");
    assert!(store.link_credential(new).await.expect("link"));
    for revision in 0..3 {
        let from = found(&store, "passkey", &id).await.expect("the credential");
        assert_eq!(from.revision, revision);
        let mut updates = JoinSet::new();
        for node in 0..20 {
            let (store, from) = (fixture.store(), from.clone());
            updates.spawn(async move {
                let data = format!("of node {node}");
                let updated = store.update_credential(&from, &data).await;
                updated.expect("update").then_some(data)
            });
        }
        let mut winners = updates.join_all().await;
        winners.retain(Option::is_some);
        let row = found(&store, "passkey", &id).await.expect("the credential");
        assert_eq!(winners, [Some(row.data)]);
        assert!(row.used_at >= Some(row.created_at));
    }
    let from = found(&store, "passkey", &id).await.expect("the credential");
    assert_eq!(store.unlink_credentials(&subject).await.expect("unlink"), 1);
    let update = async || {
        store
            .update_credential(&from, "late")
            .await
            .expect("update")
    };
    assert!(!update().await);
    let other = NewCredential::new("passkey", &id, new_name("eve"));
    let eve = other.subject.clone();
    assert!(store.link_credential(other).await.expect("link"));
    assert!(!update().await);

    // To the same subject: the revision is that of before, and the data is not.
    let other = NewCredential::new("passkey", &id, &eve).data("one");
    assert_eq!(store.unlink_credentials(&eve).await.expect("unlink"), 1);
    assert!(store.link_credential(other.clone()).await.expect("link"));
    let one = found(&store, "passkey", &id).await.expect("the credential");
    assert_eq!(store.unlink_credentials(&eve).await.expect("unlink"), 1);
    let again = other.data("another");
    assert!(store.link_credential(again).await.expect("link"));
    let updated = store.update_credential(&one, "late").await;
    assert!(!updated.expect("update"));
}

/// Of removals that each keep a credential which another one removes, one credential stays.
pub async fn u51_of_many_removals_that_keep_each_other_one_credential_stays<F>(fixture: &F)
where
    F: Handles<Store: CredentialStore>,
{
    let store = fixture.store();
    for round in 0..10 {
        let subject = new_name("subject");
        let mut rows = Vec::new();
        for number in 0..4 {
            let kind = ["oidc", "passkey"][number % 2];
            let new = NewCredential::new(kind, new_name("id"), &subject);
            let id = new.id.clone();
            assert!(store.link_credential(new).await.expect("link"));
            rows.extend(found(&store, kind, &id).await);
        }
        let mut removals = JoinSet::new();
        for step in 1..4 {
            for (at, row) in rows.iter().enumerate() {
                let kept = rows[(at + step + round) % 4].clone();
                let (store, row) = (fixture.store(), row.clone());
                removals.spawn(async move {
                    let removed = store.unlink_credential_beside(&row.kind, &row.id, &kept);
                    removed.await.expect("unlink")
                });
            }
        }
        let removed = removals.join_all().await;
        let removed = removed.into_iter().filter(|removed| *removed).count();
        let left = store.unlink_credentials(&subject).await.expect("unlink");
        assert!(left >= 1, "no credential is left");
        assert_eq!(removed as u64 + left, 4);
    }
    // A credential that is kept is compared completely, and belongs to the same subject.
    let (subject, eve) = (new_name("subject"), new_name("eve"));
    let mut rows = Vec::new();
    for owner in [&subject, &subject, &eve] {
        let new = NewCredential::new("oidc", new_name("id"), owner);
        let id = new.id.clone();
        assert!(store.link_credential(new).await.expect("link"));
        rows.extend(found(&store, "oidc", &id).await);
    }
    let unlink = async |row: &CredentialRecord, kept: &CredentialRecord| {
        let unlinked = store.unlink_credential_beside(&row.kind, &row.id, kept);
        unlinked.await.expect("unlink")
    };
    let [one, two, other] = &rows[..] else {
        panic!("a credential is missing");
    };
    assert!(!unlink(one, one).await, "itself");
    assert!(!unlink(one, other).await, "beside one of another subject");
    assert!(!unlink(other, two).await, "of another subject");
    let updated = store.update_credential(two, "used").await;
    assert!(updated.expect("update"));
    assert!(!unlink(one, two).await, "beside one that was changed");
    let now = found(&store, "oidc", &two.id)
        .await
        .expect("the credential");
    assert!(unlink(one, &now).await);
    assert!(!unlink(one, &now).await, "unlinked before");
    assert!(!unlink(&now, one).await, "beside one that was unlinked");
}

async fn found(store: &impl CredentialStore, kind: &str, id: &str) -> Option<CredentialRecord> {
    store.find_credential(kind, id).await.expect("find")
}
