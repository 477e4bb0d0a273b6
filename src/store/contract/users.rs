//! Users.

use tokio::task::JoinSet;

use super::{Handles, new_name};
use crate::{
    server::login::{Identifier, PasswordHash},
    store::port::{NewUser, RevokeReason, SessionStore, UserAdmin, UserRecord, UserStore},
};

/// Creates a `#[tokio::test]` for every rule of a [`UserStore`](crate::store::port::UserStore) in which
/// users can register.
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! user_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::user_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            users_are_found_as_they_were_created
            creating_never_overwrites_a_user
            one_of_many_registrations_succeeds
            a_hash_is_replaced_only_where_it_is_the_old_one
            one_of_two_changes_of_a_hash_wins
            one_of_many_first_hashes_is_set
        }
    };
    ($fixture:expr) => {
        $crate::user_store_contract!([] $fixture);
    };
}

/// Creates a `#[tokio::test]` for every rule of a [`UserAdmin`](crate::store::port::UserAdmin) that
/// also stores sessions.
#[macro_export]
macro_rules! user_admin_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::user_admin_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            administrators_change_what_they_name
            users_are_listed_page_by_page
            a_users_epoch_is_that_of_their_sessions
            t16_the_live_generation_advances_if_its_user_may_sign_in
        }
    };
    ($fixture:expr) => {
        $crate::user_admin_contract!([] $fixture);
    };
}

/// Users are found by identifier and by subject, both compared byte by byte.
pub async fn users_are_found_as_they_were_created<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let store = fixture.store();
    assert!(store.can_create(), "`can_create` returns false");
    let tail = new_name("");
    for (subject, name, roles) in [
        ("plain", "ada@example.org", vec!["admin", "editor"]),
        (
            "O'Reilly\"; DROP TABLE auth_user; --",
            "o'reilly\"; --",
            vec![],
        ),
        ("{auth}:u:*", "%_*?[]{}:/\\", vec!["a \"b\", c", "", "é"]),
        ("Zoë 👩‍👩‍👧", "zoë 👩‍👩‍👧", vec!["admin", "admin"]),
    ] {
        let subject = format!("{subject}{tail}");
        let identifier = Identifier::existing(&format!("{name}{tail}")).expect("an identifier");
        let hash = format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdA${subject}");
        let user = NewUser::new(
            &subject,
            identifier.clone(),
            PasswordHash::new(hash.clone()),
        );
        assert!(
            store
                .create(user.roles(roles.clone()))
                .await
                .expect("create")
        );
        for found in [
            store.find(&identifier).await.expect("find"),
            store.find_by_subject(&subject).await.expect("find"),
        ] {
            let found = found.expect("the user that was created");
            assert_eq!(found.subject, subject);
            assert_eq!(hash_of(&found), hash);
            assert_eq!(found.roles, roles);
            assert!(!found.disabled);
            assert!(matches!(found.epoch, None | Some(0)));
        }
        assert!(
            store
                .find_by_subject(identifier.as_str())
                .await
                .expect("find")
                .is_none()
        );
        for other in [subject.to_uppercase(), format!("{subject} "), String::new()] {
            let found = store.find_by_subject(&other).await.expect("find");
            assert!(found.is_none(), "{other:?} is not a subject");
        }
        let accented = Identifier::existing(&format!("{}\u{301}", identifier.as_str()));
        let accented = accented.expect("an identifier");
        assert!(store.find(&accented).await.expect("find").is_none());
    }
}

/// `create` refuses a subject or an identifier that another user has.
pub async fn creating_never_overwrites_a_user<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let store = fixture.store();
    let (first, second) = (new_user(), new_user());
    assert!(store.create(first.clone()).await.expect("create"));
    let thieves = [
        NewUser {
            subject: second.subject.clone(),
            ..second_of(&first, "$of-a-thief")
        },
        NewUser {
            identifier: second.identifier.clone(),
            ..second_of(&first, "$of-a-thief")
        },
        second_of(&first, "$of-a-thief"),
    ];
    for thief in thieves {
        assert!(!store.create(thief).await.expect("create"));
    }
    let found = store.find(&first.identifier).await.expect("find");
    let found = found.expect("the first one is there");
    assert_eq!(found.subject, first.subject);
    assert_eq!(hash_of(&found), password_of(&first).expose());
    assert!(
        store
            .find(&second.identifier)
            .await
            .expect("find")
            .is_none()
    );
    assert!(
        store
            .find_by_subject(&second.subject)
            .await
            .expect("find")
            .is_none()
    );
}

fn second_of(first: &NewUser, hash: &str) -> NewUser {
    NewUser {
        password: Some(PasswordHash::new(hash.to_owned())),
        ..first.clone()
    }
}

/// Of concurrent registrations with one identifier, exactly one succeeds.
pub async fn one_of_many_registrations_succeeds<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let identifier = new_user().identifier;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = fixture.store();
        let user = NewUser {
            identifier: identifier.clone(),
            ..new_user()
        };
        tasks.spawn(async move {
            let subject = user.subject.clone();
            (subject, store.create(user).await.expect("create"))
        });
    }
    let mut created = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let (subject, done) = task.expect("the store does not panic");
        if done {
            created.push(subject);
        }
    }
    assert_eq!(created.len(), 1, "{created:?}");
    let found = fixture.store().find(&identifier).await.expect("find");
    assert_eq!(found.map(|user| user.subject), created.pop());
}

/// The old hash is compared byte by byte. If it differs, `replace_hash` writes nothing and returns
/// `false`.
pub async fn a_hash_is_replaced_only_where_it_is_the_old_one<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let store = fixture.store();
    let (user, other) = (new_user(), new_user());
    for user in [&user, &other] {
        assert!(store.create(user.clone()).await.expect("create"));
    }
    let hash = |text: &str| PasswordHash::new(text.to_owned());
    let (subject, new) = (&*user.subject, hash("$new"));
    for wrong in ["", "$new", &password_of(&user).expose().to_uppercase()] {
        let replaced = store.replace_hash(subject, &hash(wrong), &new).await;
        assert!(!replaced.expect("replace_hash"), "{wrong}");
    }
    let unknown = store
        .replace_hash(&new_name("unknown"), password_of(&user), &new)
        .await;
    assert!(!unknown.expect("replace_hash"));
    let replaced = store.replace_hash(subject, password_of(&user), &new).await;
    assert!(replaced.expect("replace_hash"));
    let again = store
        .replace_hash(subject, password_of(&user), &hash("$newer"))
        .await;
    assert!(!again.expect("replace_hash"), "the old hash was replaced");
    let found = store
        .find(&user.identifier)
        .await
        .expect("find")
        .expect("found");
    assert_eq!(hash_of(&found), "$new");
    let found = store
        .find(&other.identifier)
        .await
        .expect("find")
        .expect("found");
    assert_eq!(
        hash_of(&found),
        password_of(&other).expose(),
        "the other user's hash"
    );
}

/// A password change is not lost if the old hash is upgraded concurrently.
pub async fn one_of_two_changes_of_a_hash_wins<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    for _ in 0..20 {
        let user = new_user();
        assert!(fixture.store().create(user.clone()).await.expect("create"));
        let mut tasks = JoinSet::new();
        for new in ["$one", "$two"] {
            let (store, user) = (fixture.store(), user.clone());
            tasks.spawn(async move {
                let hash = PasswordHash::new(new.to_owned());
                let replaced = store
                    .replace_hash(&user.subject, password_of(&user), &hash)
                    .await;
                (new, replaced.expect("replace_hash"))
            });
        }
        let mut winners = Vec::new();
        while let Some(task) = tasks.join_next().await {
            let (new, won) = task.expect("the store does not panic");
            if won {
                winners.push(new);
            }
        }
        let found = fixture.store().find(&user.identifier).await.expect("find");
        assert_eq!(winners, [hash_of(&found.expect("found"))]);
    }
}

/// A user may have no password. `set_first_hash` sets one, once, and `replace_hash` does not.
pub async fn one_of_many_first_hashes_is_set<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let store = fixture.store();
    assert!(
        store.can_set_first_hash(),
        "`can_set_first_hash` returns false"
    );
    let hash = |text: &str| PasswordHash::new(text.to_owned());
    let NewUser {
        subject,
        identifier,
        ..
    } = new_user();
    let user = NewUser::without_password(&subject, identifier.clone());
    assert!(store.create(user).await.expect("create"));
    for found in [
        store.find(&identifier).await.expect("find"),
        store.find_by_subject(&subject).await.expect("find"),
    ] {
        assert!(found.expect("found").password.is_none());
    }
    let replaced = store.replace_hash(&subject, &hash(""), &hash("$new")).await;
    assert!(!replaced.expect("replace_hash"));
    let set = store
        .set_first_hash(&new_name("unknown"), &hash("$new"))
        .await;
    assert!(!set.expect("set_first_hash"));
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let (store, subject) = (fixture.store(), subject.clone());
        tasks.spawn(async move {
            let new = format!("${number}");
            let hash = PasswordHash::new(new.clone());
            let set = store.set_first_hash(&subject, &hash).await;
            (new, set.expect("set_first_hash"))
        });
    }
    let mut winners = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let (new, won) = task.expect("the store does not panic");
        if won {
            winners.push(new);
        }
    }
    let found = store.find(&identifier).await.expect("find");
    assert_eq!(winners, [hash_of(&found.expect("found"))]);
    let first = hash(&winners.pop().expect("one is set"));
    let replaced = store.replace_hash(&subject, &first, &hash("$second")).await;
    assert!(replaced.expect("replace_hash"));
}

/// `set_roles`, `set_disabled` and `set_password` change the named user and no other.
pub async fn administrators_change_what_they_name<F>(fixture: &F)
where
    F: Handles<Store: UserAdmin>,
{
    let store = fixture.store();
    let (user, other) = (new_user(), new_user());
    for user in [&user, &other] {
        assert!(store.create(user.clone()).await.expect("create"));
    }
    let (subject, roles) = (&*user.subject, ["a".to_owned(), "b c".to_owned()]);
    let hash = PasswordHash::new("$set".to_owned());
    assert!(store.set_roles(subject, &roles).await.expect("set_roles"));
    assert!(
        store
            .set_disabled(subject, true)
            .await
            .expect("set_disabled")
    );
    assert!(
        store
            .set_password(subject, &hash)
            .await
            .expect("set_password")
    );
    let found = store
        .find(&user.identifier)
        .await
        .expect("find")
        .expect("found");
    assert_eq!(
        (found.roles.as_slice(), found.disabled),
        (roles.as_slice(), true)
    );
    assert_eq!(hash_of(&found), "$set");
    assert!(
        store
            .set_disabled(subject, false)
            .await
            .expect("set_disabled")
    );
    assert!(store.set_roles(subject, &[]).await.expect("set_roles"));
    let found = store
        .find_by_subject(subject)
        .await
        .expect("find")
        .expect("found");
    assert_eq!((found.roles.len(), found.disabled), (0, false));

    let found = store
        .find(&other.identifier)
        .await
        .expect("find")
        .expect("found");
    assert_eq!((found.roles, found.disabled), (other.roles, false));
    let unknown = new_name("unknown");
    assert!(!store.set_roles(&unknown, &roles).await.expect("set_roles"));
    assert!(
        !store
            .set_disabled(&unknown, true)
            .await
            .expect("set_disabled")
    );
    assert!(
        !store
            .set_password(&unknown, &hash)
            .await
            .expect("set_password")
    );
    assert!(
        store
            .find_by_subject(&unknown)
            .await
            .expect("find")
            .is_none()
    );
}

/// Pages list every user once, in the byte order of the identifiers.
pub async fn users_are_listed_page_by_page<F>(fixture: &F)
where
    F: Handles<Store: UserAdmin>,
{
    let store = fixture.store();
    let tail = new_name("");
    let mut expected = Vec::new();
    for name in ["zz", "a", "é", "a b", "aa", "a-", "_", "👩"] {
        let identifier = Identifier::existing(&format!("{tail}{name}")).expect("an identifier");
        let user = NewUser {
            identifier,
            ..new_user()
        };
        expected.push((user.identifier.as_str().to_owned(), user.subject.clone()));
        assert!(store.create(user.roles(["r"])).await.expect("create"));
    }
    expected.sort();
    let last = &expected[5].1;
    assert!(store.set_disabled(last, true).await.expect("set_disabled"));
    let mut listed = Vec::new();
    let mut after = Some(Identifier::existing(&tail).expect("an identifier"));
    while listed.len() < expected.len() {
        let page = store.users(after.as_ref(), 3).await.expect("users");
        assert!(!page.is_empty() && page.len() <= 3);
        for entry in page.into_iter().take(expected.len() - listed.len()) {
            assert_eq!(entry.roles.first().map(String::as_str), Some("r"));
            assert_eq!(entry.disabled, entry.subject == *last);
            assert!(entry.created_at.as_millis() > 0);
            after = Some(entry.identifier.clone());
            listed.push((entry.identifier.as_str().to_owned(), entry.subject));
        }
    }
    assert_eq!(listed, expected);
    let first = store.users(None, 1).await.expect("users");
    assert_eq!(first.len(), 1);
    assert!(store.users(None, 0).await.expect("users").is_empty());
}

/// `find` returns the current epoch, so that a login that began before `revoke_all` cannot create a
/// session.
pub async fn a_users_epoch_is_that_of_their_sessions<F>(fixture: &F)
where
    F: Handles<Store: UserAdmin + SessionStore>,
{
    let store = fixture.store();
    let user = new_user();
    assert!(
        UserStore::create(&store, user.clone())
            .await
            .expect("create")
    );
    for epoch in 1..=3 {
        let reason = RevokeReason::CredentialsChanged;
        let ended = store.revoke_all(&user.subject, reason).await;
        assert_eq!(ended.expect("revoke_all"), epoch);
        for found in [
            store.find(&user.identifier).await.expect("find"),
            store.find_by_subject(&user.subject).await.expect("find"),
        ] {
            assert_eq!(found.and_then(|user| user.epoch), Some(epoch));
        }
    }
}

pub(super) fn new_user() -> NewUser {
    let name = new_name("user");
    let identifier = Identifier::existing(&format!("{name}@example.org")).expect("an identifier");
    let hash = PasswordHash::new(format!("$hash-of-{name}"));
    NewUser::new(name, identifier, hash).roles(["member"])
}

pub(super) fn password_of(user: &NewUser) -> &PasswordHash {
    user.password.as_ref().expect("a password")
}

pub(super) fn hash_of(user: &UserRecord) -> &str {
    user.password.as_ref().map_or("", PasswordHash::expose)
}
