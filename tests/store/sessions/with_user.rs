//! Refreshes whose roles come from the users in the same store: one step reads the user and advances the
//! session, or nothing is written.

use std::time::Duration;

use futures_util::future::join;
use tokio::time;
use tower_jwt_auth::{
    error::StoreError,
    principal::SessionId,
    server::{
        login::{Identifier, PasswordHash, UserClaims},
        refresh::RefreshPolicy,
        session::{ClaimsSource, Session, SessionClaims, SessionErrorKind, Sessions, StartSession},
    },
    store::{
        AnyStore,
        port::{
            CreateOutcome, Family, LoadedSession, NewSessionRecord, NewUser, RevokeReason,
            SessionRecord, SessionStore, StoreId, UserAdmin, UserStanding, UserStore,
        },
    },
};

use super::{
    node::{Switch, Watched, issuer, secret, verifier},
    place::{Kind, Place},
};

const USER: &str = "u-ada";

/// Sessions whose roles come from the users of this store, under a policy that forgives nothing.
fn strict(sessions: impl SessionStore, users: impl UserStore) -> Sessions {
    with_source(sessions, UserClaims::new(users))
}

fn with_source(sessions: impl SessionStore, source: impl ClaimsSource) -> Sessions {
    Sessions::builder(issuer(), sessions)
        .secret(secret())
        .policy(RefreshPolicy::strict())
        .claims_source(source)
        .build()
        .unwrap()
}

async fn user_of(store: &AnyStore) {
    let name = Identifier::new("ada@example.org").unwrap();
    let user = NewUser::new(USER, name, PasswordHash::new("$argon2id$".to_owned()));
    let user = user.roles(["editor"]);
    assert!(UserStore::create(store, user).await.unwrap());
}

async fn disable(store: &AnyStore, disabled: bool) {
    assert!(store.set_disabled(USER, disabled).await.unwrap());
}

async fn set_role(store: &AnyStore, role: &str) {
    assert!(store.set_roles(USER, &[role.to_owned()]).await.unwrap());
}

async fn start(sessions: &Sessions) -> (SessionId, String) {
    let pair = sessions.start(StartSession::new(USER)).await.unwrap();
    (pair.session_id(), pair.refresh_token().expose().clone())
}

/// The next refresh token and the roles, or the error.
async fn refresh(
    sessions: &Sessions,
    held: &str,
) -> Result<(String, Vec<String>), SessionErrorKind> {
    let pair = sessions.refresh(held).await.map_err(|error| error.kind())?;
    let token = verifier().verify_now(pair.access_token().expose()).unwrap();
    let roles = token.principal().roles().map(str::to_owned).collect();
    Ok((pair.refresh_token().expose().clone(), roles))
}

async fn generation(store: &AnyStore, id: SessionId) -> u64 {
    let loaded = SessionStore::load(store, id).await.unwrap().unwrap();
    loaded.session.family.generation
}

pub(super) async fn u17_a_user_who_may_not_sign_in_uses_no_token_up(place: Place) {
    let store = place.store().await;
    user_of(&store).await;
    let sessions = strict(store.clone(), store.clone());
    let (id, mut held) = start(&sessions).await;
    for round in 0..3 {
        disable(&store, true).await;
        for _ in 0..2 {
            let refused = refresh(&sessions, &held).await;
            assert_eq!(refused.unwrap_err(), SessionErrorKind::Disabled);
        }
        assert_eq!(generation(&store, id).await, round);
        disable(&store, false).await;
        let role = format!("role-{round}");
        set_role(&store, &role).await;
        let roles;
        (held, roles) = refresh(&sessions, &held).await.unwrap();
        assert_eq!(roles, [role]);
    }
    let deleted = match &place.kind {
        Kind::Memory(_) => return,
        Kind::Sqlite { pool, .. } => {
            let delete = sqlx::raw_sql("DELETE FROM auth_user").execute(pool).await;
            delete.unwrap().rows_affected()
        }
        Kind::Postgres { pool, .. } => {
            let delete = sqlx::raw_sql("DELETE FROM auth_user").execute(pool).await;
            delete.unwrap().rows_affected()
        }
        Kind::Redis(server) => {
            let delete = ["DEL", "{auth}:u:ada@example.org"];
            server.ask(&delete).await.unwrap()
        }
    };
    assert_eq!(deleted, 1);
    assert!(refresh(&sessions, &held).await.is_err());
    assert_eq!(generation(&store, id).await, 3);
}

/// Each refresh meets an administrator. Either it comes first and has the old standing, or it comes last
/// and has the new one.
pub(super) async fn u17_a_change_of_the_user_comes_before_or_after_a_refresh(place: Place) {
    let store = place.store().await;
    user_of(&store).await;
    let sessions = strict(store.clone(), store.clone());
    let (id, mut held) = start(&sessions).await;
    let mut expected = 0;
    for round in 0..20 {
        let (before, after) = (format!("role-{round}"), format!("role-{}", round + 1));
        set_role(&store, &before).await;
        let ((), refreshed) = join(set_role(&store, &after), refresh(&sessions, &held)).await;
        let roles;
        (held, roles) = refreshed.unwrap();
        assert!(roles == [before] || roles == [after.as_str()], "{roles:?}");
        let ((), refreshed) = join(disable(&store, true), refresh(&sessions, &held)).await;
        expected += 1;
        match refreshed {
            Ok((next, roles)) => {
                assert_eq!(roles, [after]);
                held = next;
                expected += 1;
            }
            Err(kind) => assert_eq!(kind, SessionErrorKind::Disabled),
        }
        assert_eq!(generation(&store, id).await, expected);
        let refused = refresh(&sessions, &held).await;
        assert_eq!(refused.unwrap_err(), SessionErrorKind::Disabled);
        disable(&store, false).await;
    }
}

/// Roles that cannot be read are an error before anything is written.
pub(super) async fn u17_roles_that_cannot_be_read_use_no_token_up(place: Place) {
    let store = place.store().await;
    user_of(&store).await;
    let sessions = strict(store.clone(), store.clone());
    let (id, held) = start(&sessions).await;
    let broken = [
        "",
        "editor",
        "[1]",
        "[\"a\", null]",
        "[[]]",
        "{\"a\": \"b\"}",
        "\"a\"",
    ];
    for roles in broken {
        let update = "UPDATE auth_user SET roles = $1";
        match &place.kind {
            Kind::Memory(_) => {}
            Kind::Sqlite { pool, .. } => {
                let update = sqlx::query(update).bind(roles).execute(pool).await;
                assert!(update.is_err(), "{roles}");
            }
            Kind::Postgres { pool, .. } => {
                let update = sqlx::query(update).bind(roles).execute(pool).await;
                assert!(update.is_err(), "{roles}");
            }
            Kind::Redis(server) => {
                let update = ["HSET", "{auth}:u:ada@example.org", "roles", roles];
                let _: u8 = server.ask(&update).await.unwrap();
                let refused = refresh(&sessions, &held).await.unwrap_err();
                assert_eq!(refused, SessionErrorKind::StoreUnavailable, "{roles}");
            }
        }
        assert_eq!(generation(&store, id).await, 0);
    }
    set_role(&store, "admin").await;
    assert_eq!(refresh(&sessions, &held).await.unwrap().1, ["admin"]);
}

/// The write goes on, and the same token receives the same answer.
pub(super) async fn t8_a_refresh_with_a_user_that_is_cancelled_can_be_repeated(place: Place) {
    let store = place.store().await;
    user_of(&store).await;
    let sessions = Sessions::builder(issuer(), store.clone())
        .secret(secret())
        .claims_source(UserClaims::new(store.clone()))
        .build()
        .unwrap();
    for after in [0, 1, 2, 5, 20] {
        let (id, held) = start(&sessions).await;
        let cancelled = {
            let (sessions, held) = (sessions.clone(), held.clone());
            tokio::spawn(async move { sessions.refresh(&held).await })
        };
        time::sleep(Duration::from_millis(after)).await;
        cancelled.abort();
        let _ = cancelled.await;
        let (next, roles) = refresh(&sessions, &held).await.unwrap();
        assert_eq!(roles, ["editor"]);
        assert_eq!(refresh(&sessions, &held).await.unwrap().0, next);
        assert_eq!(generation(&store, id).await, 1);
    }
}

/// A store of somebody else, which loads a session with its user and has no more.
struct Loads(AnyStore);

macro_rules! pass_on {
    ($(fn $method:ident($($name:ident: $kind:ty),*) -> $output:ty;)*) => {
        impl SessionStore for Loads {
            fn users(&self) -> Option<StoreId> {
                SessionStore::users(&self.0)
            }
            $(async fn $method(&self, $($name: $kind),*) -> Result<$output, StoreError> {
                SessionStore::$method(&self.0, $($name),*).await
            })*
        }
    };
}

pass_on! {
    fn create(session: NewSessionRecord) -> CreateOutcome;
    fn load(id: SessionId) -> Option<LoadedSession>;
    fn load_with_user(id: SessionId) -> Option<(LoadedSession, Option<UserStanding>)>;
    fn advance(id: SessionId, from: &Family, to: &Family) -> Option<LoadedSession>;
    fn confirm(id: SessionId, generation: u64) -> ();
    fn revoke(id: SessionId, reason: RevokeReason) -> bool;
    fn revoke_others(subject: &str, keep: SessionId, reason: RevokeReason) -> Vec<SessionId>;
    fn revoke_all(subject: &str, reason: RevokeReason) -> u32;
    fn epoch(subject: &str) -> u32;
    fn list(subject: &str, limit: u32) -> Vec<SessionRecord>;
    fn purge(limit: u32) -> u64;
}

/// A source that keeps the roles elsewhere.
struct Directory(AnyStore);

impl ClaimsSource for Directory {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        let user = self.0.find_by_subject(session.subject()).await?;
        let user = user.filter(|user| !user.disabled);
        Ok(user.map(|user| SessionClaims::new().roles(user.roles)))
    }
}

/// A store without the one step, users of another store, and a source of the application.
pub(super) async fn u17_other_stores_and_sources_load_first(place: Place) {
    let store = place.store().await;
    user_of(&store).await;
    let watched = Watched::new(store.clone(), Switch::default());
    for sessions in [
        strict(Loads(store.clone()), store.clone()),
        strict(watched, store.clone()),
        with_source(store.clone(), Directory(store.clone())),
    ] {
        let (id, held) = start(&sessions).await;
        set_role(&store, "reader").await;
        let (held, roles) = refresh(&sessions, &held).await.unwrap();
        assert_eq!(roles, ["reader"]);
        disable(&store, true).await;
        let refused = refresh(&sessions, &held).await;
        assert_eq!(refused.unwrap_err(), SessionErrorKind::Disabled);
        assert_eq!(generation(&store, id).await, 1);
        disable(&store, false).await;
        refresh(&sessions, &held).await.unwrap();
    }
}
