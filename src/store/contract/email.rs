//! Addresses of users.

use tokio::task::JoinSet;

use super::{
    Handles, new_name,
    users::{hash_of, new_user, password_of},
};
use crate::{
    server::login::{EmailAddress, Identifier},
    store::port::{NewUser, UserStore},
};

/// Creates a `#[tokio::test]` for every rule of a [`UserStore`](crate::store::port::UserStore) that
/// keeps addresses and in which users can register. The identifier of a new user is the address.
#[macro_export]
macro_rules! user_email_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::user_email_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            an_address_is_verified_for_the_user_who_has_it
            a_changed_address_replaces_the_old_one
            of_many_changes_to_one_address_one_succeeds
        }
    };
    ($fixture:expr) => {
        $crate::user_email_contract!([] $fixture);
    };
}

/// `verify_email` changes only a user who has exactly this address, and can be repeated.
pub async fn an_address_is_verified_for_the_user_who_has_it<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let store = fixture.store();
    assert!(store.keeps_email(), "`keeps_email` returns false");
    let (user, other) = (new_user(), new_user());
    for user in [&user, &other] {
        assert!(store.create(user.clone()).await.expect("create"));
        assert_eq!(
            email_of(&store, user).await,
            (Some(address_of(user)), false)
        );
    }
    for (subject, address) in [
        (&user.subject, address_of(&other)),
        (&other.subject, address_of(&user)),
        (&new_name("unknown"), address_of(&user)),
    ] {
        let verified = store.verify_email(subject, &address).await;
        assert!(!verified.expect("verify_email"));
    }
    for _ in 0..2 {
        let verified = store.verify_email(&user.subject, &address_of(&user)).await;
        assert!(verified.expect("verify_email"));
        assert_eq!(
            email_of(&store, &user).await,
            (Some(address_of(&user)), true)
        );
    }
    assert_eq!(
        email_of(&store, &other).await,
        (Some(address_of(&other)), false)
    );
    let proved = new_user().email_verified(true);
    assert!(store.create(proved.clone()).await.expect("create"));
    assert_eq!(
        email_of(&store, &proved).await,
        (Some(address_of(&proved)), true)
    );
    let named = NewUser {
        identifier: Identifier::existing(&new_name("a name")).expect("an identifier"),
        ..new_user()
    };
    assert!(store.create(named.clone()).await.expect("create"));
    assert_eq!(email_of(&store, &named).await, (None, false));
}

/// After `change_email` the user is found under the new address alone, which is verified.
pub async fn a_changed_address_replaces_the_old_one<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    let store = fixture.store();
    let (user, other) = (new_user(), new_user());
    for user in [&user, &other] {
        assert!(store.create(user.clone()).await.expect("create"));
    }
    let (old, new) = (address_of(&user), address_of(&new_user()));
    for (subject, from, to) in [
        (&user.subject, &old, &address_of(&other)),
        (&user.subject, &new, &old),
        (&other.subject, &old, &new),
        (&new_name("unknown"), &old, &new),
    ] {
        let changed = store.change_email(subject, from, to).await;
        assert!(!changed.expect("change_email"));
    }
    assert_eq!(email_of(&store, &user).await, (Some(old.clone()), false));
    let changed = store.change_email(&user.subject, &old, &new).await;
    assert!(changed.expect("change_email"));
    assert_eq!(email_of(&store, &user).await, (Some(new.clone()), true));
    let found = store.find_by_email(&new).await.expect("find");
    let found = found.expect("the new address");
    assert_eq!(found.subject, user.subject);
    assert_eq!(hash_of(&found), password_of(&user).expose());
    assert_eq!(found.roles, user.roles);
    assert!(store.find_by_email(&old).await.expect("find").is_none());
    let again = store.change_email(&user.subject, &old, &new).await;
    assert!(
        !again.expect("change_email"),
        "the old address was replaced"
    );
    // The old address is free again.
    let next = NewUser {
        identifier: old.identifier().clone(),
        ..new_user()
    };
    assert!(store.create(next).await.expect("create"));
}

/// Of concurrent changes of several users to one address, exactly one succeeds.
pub async fn of_many_changes_to_one_address_one_succeeds<F>(fixture: &F)
where
    F: Handles<Store: UserStore>,
{
    for _ in 0..5 {
        let wanted = address_of(&new_user());
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (store, user, to) = (fixture.store(), new_user(), wanted.clone());
            assert!(store.create(user.clone()).await.expect("create"));
            tasks.spawn(async move {
                let from = address_of(&user);
                let changed = store.change_email(&user.subject, &from, &to).await;
                changed.expect("change_email").then_some(user.subject)
            });
        }
        let mut winners = Vec::new();
        while let Some(task) = tasks.join_next().await {
            winners.extend(task.expect("the store does not panic"));
        }
        let found = fixture.store().find_by_email(&wanted).await.expect("find");
        assert_eq!(winners, [found.expect("found").subject]);
    }
}

fn address_of(user: &NewUser) -> EmailAddress {
    EmailAddress::of(&user.identifier).expect("an address")
}

async fn email_of(store: &impl UserStore, user: &NewUser) -> (Option<EmailAddress>, bool) {
    let found = store.find_by_subject(&user.subject).await.expect("find");
    let found = found.expect("the user that was created");
    (found.email, found.email_verified)
}
