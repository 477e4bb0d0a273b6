//! Changing a password that is known.

use std::{sync::atomic::Ordering, time::Duration};

use tower_jwt_auth::{
    error::StoreError,
    key::{Algorithm, SigningKey},
    secret::SecretKey,
    server::{
        issue::{KeyRing, TokenIssuer},
        login::{
            ChangePasswordOutcome, Identifier, Login, LoginOutcome, MemoryThrottle, PasswordHash,
        },
        session::{Sessions, StartSession},
    },
    store::{
        MemoryStore,
        port::{NewUser, UserAdmin, UserRecord, UserStore},
    },
    test_util::TestClock,
};

use crate::support::login::{Fixture, any_password, attempt, cheap, password};

pub(crate) fn sessions() -> Sessions {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let issuer = TokenIssuer::builder(KeyRing::new(key).unwrap())
        .issuer("https://auth.example")
        .audience("api")
        .build()
        .unwrap();
    let builder = Sessions::builder(issuer, MemoryStore::new());
    builder.secret(SecretKey::generate()).build().unwrap()
}

fn is_changed(change: &ChangePasswordOutcome) -> bool {
    matches!(change, ChangePasswordOutcome::Changed { .. })
}

#[tokio::test]
async fn the_new_password_signs_in_and_the_old_one_does_not() {
    let fixture = Fixture::new().await;
    let (login, sessions) = (fixture.login(), sessions());
    let (old, new) = (password("right"), password("newer"));
    let changed = login
        .change_password(&sessions, "user-1", &old, &new, None)
        .await;
    assert!(is_changed(&changed), "{changed:?}");
    let outcome = login.attempt(&attempt("ada", "newer")).await;
    assert!(matches!(outcome, LoginOutcome::Success(_)));
    let outcome = login.attempt(&attempt("ada", "right")).await;
    assert!(matches!(outcome, LoginOutcome::InvalidCredentials));
    let outcome = login.attempt(&attempt("bob", "right")).await;
    assert!(matches!(outcome, LoginOutcome::Success(_)), "nobody else's");
    let again = login
        .change_password(&sessions, "user-1", &old, &password("third"), None)
        .await;
    assert!(matches!(again, ChangePasswordOutcome::Refused), "{again:?}");
}

/// Whoever holds a stolen session has as many guesses as at the login, and takes none of the owner's.
#[tokio::test]
async fn u5_guessing_the_old_password_is_throttled_apart_from_the_login() {
    let fixture = Fixture::new().await;
    let (login, sessions) = (fixture.login(), sessions());
    let new = password("newer");
    for _ in 0..5 {
        let guess = login
            .change_password(&sessions, "user-1", &password("wrong"), &new, None)
            .await;
        assert!(matches!(guess, ChangePasswordOutcome::Refused), "{guess:?}");
    }
    let right = password("right");
    let waiting = login
        .change_password(&sessions, "user-1", &right, &new, None)
        .await;
    let ChangePasswordOutcome::Wait { retry_after } = waiting else {
        panic!("{waiting:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    let outcome = login.attempt(&attempt("ada", "right")).await;
    assert!(matches!(outcome, LoginOutcome::Success(_)));
    let other = login
        .change_password(&sessions, "user-2", &right, &new, None)
        .await;
    assert!(is_changed(&other), "{other:?}");
    fixture.advance(1);
    let changed = login
        .change_password(&sessions, "user-1", &right, &new, None)
        .await;
    assert!(is_changed(&changed), "{changed:?}");
}

#[tokio::test]
async fn nobody_and_the_disabled_change_nothing() {
    let fixture = Fixture::new().await;
    let (login, sessions) = (fixture.login(), sessions());
    let (old, new) = (password("right"), password("newer"));
    let hash = fixture.hasher.hash(&old).await.unwrap();
    let disabled = UserRecord::new("user-3").password(hash).disabled(true);
    fixture.users.put("eve", disabled);
    fixture.users.put("key", UserRecord::new("user-4"));
    for subject in ["user-3", "user-4", "nobody"] {
        let changed = login
            .change_password(&sessions, subject, &old, &new, None)
            .await;
        assert!(
            matches!(changed, ChangePasswordOutcome::Refused),
            "{subject} {changed:?}"
        );
    }
    fixture.users.down.store(true, Ordering::Relaxed);
    let changed = login
        .change_password(&sessions, "user-1", &old, &new, None)
        .await;
    assert!(
        matches!(changed, ChangePasswordOutcome::Unavailable),
        "{changed:?}"
    );
}

#[tokio::test]
async fn one_of_two_changes_at_once_wins() {
    let (hasher, sessions) = (cheap().build().unwrap(), sessions());
    for _ in 0..10 {
        let store = MemoryStore::new();
        let ada = Identifier::new("ada").unwrap();
        let hash = hasher.hash(&password("right")).await.unwrap();
        let user = NewUser::new("user-1", ada, hash);
        assert!(UserStore::create(&store, user).await.unwrap());
        let secret = SecretKey::from_bytes([9; 32]).unwrap();
        let login = Login::builder(store.clone(), store, secret);
        let login = login.hasher(hasher.clone());
        let login = login.password_policy(any_password()).build();
        let (right, one, two) = (password("right"), password("one"), password("two"));
        let changes = tokio::join!(
            login.change_password(&sessions, "user-1", &right, &one, None),
            login.change_password(&sessions, "user-1", &right, &two, None),
        );
        let winner = match changes {
            (ChangePasswordOutcome::Changed { .. }, ChangePasswordOutcome::Refused) => "one",
            (ChangePasswordOutcome::Refused, ChangePasswordOutcome::Changed { .. }) => "two",
            other => panic!("{other:?}"),
        };
        let outcome = login.attempt(&attempt("ada", winner)).await;
        assert!(matches!(outcome, LoginOutcome::Success(_)));
    }
}

/// Whoever calls this without the endpoints has nothing to end, and goes on under the epoch it was told.
#[tokio::test]
async fn every_session_ends_with_the_old_password() {
    let fixture = Fixture::new().await;
    let (login, sessions) = (fixture.login(), sessions());
    let start = || StartSession::new("user-1");
    let old = sessions.start(start()).await.unwrap();
    let bob = sessions.start(StartSession::new("user-2")).await.unwrap();
    let (right, new) = (password("right"), password("newer"));
    let refused = login
        .change_password(&sessions, "user-1", &new, &new, None)
        .await;
    assert!(
        matches!(refused, ChangePasswordOutcome::Refused),
        "{refused:?}"
    );
    let old = sessions
        .refresh(old.refresh_token().expose())
        .await
        .unwrap();
    let changed = login
        .change_password(&sessions, "user-1", &right, &new, None)
        .await;
    let ChangePasswordOutcome::Changed { epoch, .. } = changed else {
        panic!("{changed:?}");
    };
    let ended = sessions.refresh(old.refresh_token().expose()).await;
    assert_eq!(ended.unwrap_err().code(), Some("session_revoked"));
    let next = sessions.start(start().epoch(epoch)).await.unwrap();
    for alive in [next, bob] {
        assert!(
            sessions
                .refresh(alive.refresh_token().expose())
                .await
                .is_ok()
        );
    }
}

/// A login upgrades the hash of the same password between the look and the change.
#[derive(Clone)]
struct Upgrading(MemoryStore, PasswordHash);

impl UserStore for Upgrading {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        self.0.find(identifier).await
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let found = self.0.find_by_subject(subject).await;
        self.0.set_password(subject, &self.1).await?;
        found
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.0.replace_hash(subject, old, new).await
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        UserStore::create(&self.0, user).await
    }
}

#[tokio::test]
async fn a_hash_that_is_upgraded_meanwhile_is_no_wrong_password() {
    let (hasher, sessions) = (cheap().build().unwrap(), sessions());
    let right = password("right");
    let first = hasher.hash(&right).await.unwrap();
    let upgraded = hasher.hash(&right).await.unwrap();
    let store = Upgrading(MemoryStore::new(), upgraded);
    let user = NewUser::new("user-1", Identifier::new("ada").unwrap(), first);
    assert!(UserStore::create(&store, user).await.unwrap());
    let throttle = MemoryThrottle::with_clock(TestClock::new());
    let secret = SecretKey::from_bytes([9; 32]).unwrap();
    let login = Login::builder(store, throttle, secret)
        .hasher(hasher)
        .password_policy(any_password())
        .build();
    let changed = login
        .change_password(&sessions, "user-1", &right, &password("newer"), None)
        .await;
    assert!(is_changed(&changed), "{changed:?}");
    let outcome = login.attempt(&attempt("ada", "newer")).await;
    assert!(matches!(outcome, LoginOutcome::Success(_)));
}

#[tokio::test]
async fn u14_the_device_token_of_a_changed_password_is_printed_nowhere() {
    let fixture = Fixture::new().await;
    let (login, sessions) = (fixture.login(), sessions());
    let (old, new) = (password("right"), password("newer"));
    let changed = login
        .change_password(&sessions, "user-1", &old, &new, None)
        .await;
    let printed = format!("{changed:?}");
    let ChangePasswordOutcome::Changed { device_token, .. } = changed else {
        panic!("{printed}");
    };
    assert!(!printed.contains(device_token.expose()), "{printed}");
    for _ in 0..5 {
        let _ = login.attempt(&attempt("ada", "wrong")).await;
    }
    let known = attempt("ada", "newer").device(device_token);
    let outcome = login.attempt(&known).await;
    assert!(matches!(outcome, LoginOutcome::Success(_)), "{outcome:?}");
}
