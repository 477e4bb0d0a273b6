//! A new password, and all that ends with the old one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use tower_jwt_auth::{
    error::StoreError,
    server::{
        login::{ChangePasswordOutcome, Login, LoginOutcome, PasswordPolicy, PasswordRule},
        session::StartSession,
    },
    store::{
        MemoryStore,
        port::{
            NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, OneTimeToken, SpentOneTime,
            UserRecord,
        },
    },
};

use super::change::sessions;
use crate::support::login::{Fixture, attempt, password, shown};

const HOUR: Duration = Duration::from_secs(3600);

/// Forgets nothing while it is down.
#[derive(Clone)]
struct Tokens {
    store: MemoryStore,
    forgets_nothing: Arc<AtomicBool>,
    forgot: Arc<Semaphore>,
}

impl OneTimeStore for Tokens {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        self.store.issue(token).await
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        self.store.redeem(digest, purpose).await
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        match self.forgets_nothing.load(Ordering::Relaxed) {
            true => Err(StoreError::unavailable("unplugged")),
            false => {
                self.store.forget(subject, purpose).await?;
                self.forgot.add_permits(1);
                Ok(())
            }
        }
    }
}

impl Tokens {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            forgets_nothing: Arc::default(),
            forgot: Arc::new(Semaphore::new(0)),
        }
    }

    fn login(&self, fixture: &Fixture) -> Login {
        fixture.builder().one_time(self.clone()).build()
    }

    async fn issued(&self, purpose: OneTimePurpose, subject: &str) -> OneTimeToken {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, purpose, subject, HOUR);
        self.store.issue(new).await.unwrap();
        token
    }

    async fn is_good(&self, token: &OneTimeToken, purpose: OneTimePurpose) -> bool {
        let redeemed = self.store.redeem(token.digest(), purpose).await;
        redeemed.unwrap().is_some()
    }
}

fn is_changed(change: &ChangePasswordOutcome) -> bool {
    matches!(change, ChangePasswordOutcome::Changed { .. })
}

/// Fault 34: the owner asked for a mail, and changed the password by hand.
#[tokio::test]
async fn u19_a_changed_password_forgets_the_tokens_that_it_protects() {
    let fixture = Fixture::new().await;
    let tokens = Tokens::new();
    let (login, sessions) = (tokens.login(&fixture), sessions());
    let (reset, unlock) = (OneTimePurpose::Reset, OneTimePurpose::Unlock);
    let mail = OneTimePurpose::Verification;
    let older = login.reset_token("user-1", HOUR).await.unwrap();
    let opens = tokens.issued(unlock, "user-1").await;
    let verifies = tokens.issued(mail, "user-1").await;
    let bobs = login.reset_token("user-2", HOUR).await.unwrap();
    let (right, new) = (password("right"), password("newer"));
    let refused = login
        .change_password(&sessions, "user-1", &new, &new, None)
        .await;
    assert!(
        matches!(refused, ChangePasswordOutcome::Refused),
        "{refused:?}"
    );
    let changed = login
        .change_password(&sessions, "user-1", &right, &new, None)
        .await;
    assert!(is_changed(&changed), "{changed:?}");
    let third = password("third");
    let late = login
        .reset_password(&sessions, older.expose(), &third, None)
        .await;
    assert!(matches!(late, ChangePasswordOutcome::Refused), "{late:?}");
    assert!(!tokens.is_good(&opens, unlock).await);
    assert!(tokens.is_good(&verifies, mail).await);
    assert!(tokens.is_good(&bobs, reset).await);
    assert_eq!(
        shown(&login.attempt(&attempt("ada", "newer")).await),
        "welcome user-1"
    );
}

#[tokio::test]
async fn u19_a_reset_ends_sessions_devices_and_the_other_tokens() {
    let fixture = Fixture::new().await;
    let tokens = Tokens::new();
    let (login, sessions) = (tokens.login(&fixture), sessions());
    let LoginOutcome::Success(device) = login.attempt(&attempt("ada", "right")).await else {
        panic!();
    };
    let session = sessions.start(StartSession::new("user-1")).await.unwrap();
    let other = login.reset_token("user-1", HOUR).await.unwrap();
    let token = login.reset_token("user-1", HOUR).await.unwrap();
    let new = password("newer");
    let changed = login
        .reset_password(&sessions, token.expose(), &new, None)
        .await;
    let ChangePasswordOutcome::Changed {
        epoch,
        device_token,
        ..
    } = changed
    else {
        panic!("{changed:?}");
    };
    let ended = sessions.refresh(session.refresh_token().expose()).await;
    assert_eq!(ended.unwrap_err().code(), Some("session_revoked"));
    let start = StartSession::new("user-1").epoch(epoch);
    assert!(sessions.start(start).await.is_ok());
    for spent in [&token, &other] {
        let again = login
            .reset_password(&sessions, spent.expose(), &new, None)
            .await;
        assert!(matches!(again, ChangePasswordOutcome::Refused), "{again:?}");
    }
    for _ in 0..5 {
        assert_eq!(shown(&login.attempt(&attempt("ada", "right")).await), "no");
    }
    let old = attempt("ada", "newer").device(device.device_token().clone());
    assert_eq!(shown(&login.attempt(&old).await), "wait 1");
    let known = attempt("ada", "newer").device(device_token);
    assert_eq!(shown(&login.attempt(&known).await), "welcome user-1");
}

#[tokio::test]
async fn u19_a_reset_takes_a_good_token_of_a_user_who_may_sign_in_alone() {
    let fixture = Fixture::new().await;
    let hash = fixture.hasher.hash(&password("right")).await.unwrap();
    let disabled = UserRecord::new("user-3").password(hash).disabled(true);
    fixture.users.put("eve", disabled);
    let tokens = Tokens::new();
    let (login, sessions) = (tokens.login(&fixture), sessions());
    let unlock = tokens.issued(OneTimePurpose::Unlock, "user-1").await;
    let over = login.reset_token("user-1", Duration::ZERO).await.unwrap();
    let unknown = OneTimeToken::mint();
    let of_disabled = login.reset_token("user-3", HOUR).await.unwrap();
    let of_nobody = login.reset_token("nobody", HOUR).await.unwrap();
    let new = password("newer");
    for token in [
        "",
        "ot1_x",
        unlock.expose(),
        over.expose(),
        unknown.expose(),
        of_disabled.expose(),
        of_nobody.expose(),
    ] {
        let refused = login.reset_password(&sessions, token, &new, None).await;
        assert!(matches!(refused, ChangePasswordOutcome::Refused), "{token}");
    }
    // Without a store there are no resets, and nothing that could be forgotten.
    let login = fixture.login();
    assert!(login.reset_token("user-1", HOUR).await.is_err());
    let token = OneTimeToken::mint();
    let refused = login
        .reset_password(&sessions, token.expose(), &new, None)
        .await;
    assert!(matches!(refused, ChangePasswordOutcome::Unavailable));
}

#[tokio::test]
async fn u19_tokens_that_cannot_be_forgotten_are_forgotten_when_their_store_is_back() {
    let fixture = Fixture::new().await;
    let tokens = Tokens::new();
    let (login, sessions) = (tokens.login(&fixture), sessions());
    let older = login.reset_token("user-1", HOUR).await.unwrap();
    tokens.forgets_nothing.store(true, Ordering::Relaxed);
    let session = sessions.start(StartSession::new("user-1")).await.unwrap();
    let (right, new) = (password("right"), password("newer"));
    let changed = login
        .change_password(&sessions, "user-1", &right, &new, None)
        .await;
    assert!(matches!(changed, ChangePasswordOutcome::Unavailable));
    let ended = sessions.refresh(session.refresh_token().expose()).await;
    assert_eq!(ended.unwrap_err().code(), Some("session_revoked"));
    tokens.forgets_nothing.store(false, Ordering::Relaxed);
    let next = sessions.start(StartSession::new("user-1")).await.unwrap();
    let forgot = tokens.forgot.acquire_many(2);
    let forgot = tokio::time::timeout(Duration::from_secs(120), forgot).await;
    forgot.expect("it is tried again").unwrap().forget();
    assert!(!tokens.is_good(&older, OneTimePurpose::Reset).await);
    // What began in the meantime goes on.
    let alive = sessions.refresh(next.refresh_token().expose()).await;
    assert!(alive.is_ok(), "{alive:?}");
}

#[tokio::test]
async fn u19_a_password_that_an_administrator_sets_ends_the_same() {
    let fixture = Fixture::new().await;
    let tokens = Tokens::new();
    let (login, sessions) = (tokens.login(&fixture), sessions());
    let session = sessions.start(StartSession::new("user-1")).await.unwrap();
    let older = login.reset_token("user-1", HOUR).await.unwrap();
    let new = password("newer");
    let changed = login.set_password(&sessions, "user-1", &new, None).await;
    assert!(is_changed(&changed), "{changed:?}");
    assert!(!tokens.is_good(&older, OneTimePurpose::Reset).await);
    let ended = sessions.refresh(session.refresh_token().expose()).await;
    assert_eq!(ended.unwrap_err().code(), Some("session_revoked"));
    let outcome = login.attempt(&attempt("ada", "newer")).await;
    assert_eq!(shown(&outcome), "welcome user-1");
    let refused = login.set_password(&sessions, "nobody", &new, None).await;
    assert!(
        matches!(refused, ChangePasswordOutcome::Refused),
        "{refused:?}"
    );
}

/// Fault 59: a reset that the application writes itself goes through the same rules.
#[tokio::test]
async fn u23_one_policy_rules_registrations_changes_and_resets() {
    let fixture = Fixture::new().await;
    let tokens = Tokens::new();
    let policy = PasswordPolicy::new()
        .min_chars(10)
        .unwrap()
        .rule("staple", |text| !text.contains("battery"));
    let login = fixture.builder().one_time(tokens.clone());
    let login = login.password_policy(policy).build();
    let sessions = sessions();
    let short = PasswordRule::TooShort { min: 10 };
    let token = login.reset_token("user-1", HOUR).await.unwrap();
    for (text, rule) in [
        ("a", short),
        ("nine char", short),
        ("with\u{7}control", PasswordRule::ControlCharacter),
        ("horse battery staple", PasswordRule::Custom("staple")),
        ("Qwerty12345", PasswordRule::Common),
    ] {
        let new = password(text);
        let hashed = login.hash_new(&new, None).await.unwrap_err();
        assert_eq!(hashed, rule.into());
        let changed = login
            .change_password(&sessions, "user-1", &password("right"), &new, None)
            .await;
        let reset = login
            .reset_password(&sessions, token.expose(), &new, None)
            .await;
        let set = login.set_password(&sessions, "user-1", &new, None).await;
        for change in [changed, reset, set] {
            let ChangePasswordOutcome::NotAllowed { rule: failed } = change else {
                panic!("{change:?}");
            };
            assert_eq!(failed, rule);
        }
        let printed = format!("{hashed} {hashed:?} {rule:?} {:?}", login.password_policy());
        assert!(text.len() < 2 || !printed.contains(text), "{printed}");
    }
    // Nothing was spent, and the old password is still the right one.
    let outcome = login.attempt(&attempt("ada", "right")).await;
    assert_eq!(shown(&outcome), "welcome user-1");
    let new = password("ten chars!");
    let reset = login
        .reset_password(&sessions, token.expose(), &new, None)
        .await;
    assert!(is_changed(&reset), "{reset:?}");
}

#[test]
fn u23_the_default_policy_is_the_minimum_of_nist() {
    let policy = PasswordPolicy::new();
    let short = Err(PasswordRule::TooShort { min: 8 });
    assert_eq!(policy.check(&password("1234567")), short);
    assert_eq!(policy.check(&password("tr0ub4do")), Ok(()));
    // Code points are counted, not bytes, and no kind of character is asked for.
    assert_eq!(policy.check(&password("ééééééé")), short);
    assert_eq!(policy.check(&password("        ")), Ok(()));
    assert_eq!(policy.check(&password(&"x".repeat(1024))), Ok(()));
    for common in ["12345678", "PassWord1", "\u{FF11}2345678", "iloveyou!"] {
        assert_eq!(policy.check(&password(common)), Err(PasswordRule::Common));
    }
    assert_eq!(policy.check(&password(" 12345678")), Ok(()));
    let accepts = policy.dangerous_accept_common();
    assert_eq!(accepts.check(&password("12345678")), Ok(()));
    let longer =
        PasswordPolicy::new().common_passwords(["Our Product", "short", " padded entry\n"]);
    for (text, expected) in [
        ("our product", Err(PasswordRule::Common)),
        ("PADDED ENTRY", Err(PasswordRule::Common)),
        ("12345678", Err(PasswordRule::Common)),
        ("our products", Ok(())),
    ] {
        assert_eq!(longer.check(&password(text)), expected, "{text}");
    }
    for (chars, valid) in [(7, false), (8, true), (15, true), (64, true), (65, false)] {
        assert_eq!(PasswordPolicy::new().min_chars(chars).is_ok(), valid);
    }
}
