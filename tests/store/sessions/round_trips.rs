//! What a refresh costs, counted where the store cannot miscount: the statements that sqlx sends, and
//! the scripts that Redis receives. A statement of PostgreSQL is one round trip on the wire, which
//! `postgres::crowd` proves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    server::{
        login::{Identifier, PasswordHash, UserClaims},
        session::{SessionClaims, Sessions, StartSession, TokenPair},
    },
    store::port::{NewUser, SessionStore, UserAdmin, UserStore},
};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use super::{
    node::{issuer, secret},
    place::{Kind, Place},
};

const ROUNDS: usize = 10;
const LATER: Duration = Duration::from_secs(31);

/// Counts the statements of this process.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A count of round trips that a place is asked for.
struct Trips<'a> {
    place: &'a Place,
    statements: Statements,
}

impl<'a> Trips<'a> {
    fn to(place: &'a Place) -> Self {
        let statements = Statements::default();
        // SQLite's statements run in a thread of their own.
        let subscriber = tracing_subscriber::registry().with(statements.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        Self { place, statements }
    }

    async fn begin(&self) {
        self.statements.0.store(0, Ordering::SeqCst);
        if let Kind::Redis(server) = &self.place.kind {
            let _: String = server.ask(&["CONFIG", "RESETSTAT"]).await.unwrap();
        }
    }

    /// Since the last [`begin`](Self::begin).
    async fn end(&self) -> usize {
        let Kind::Redis(server) = &self.place.kind else {
            return self.statements.0.load(Ordering::SeqCst);
        };
        let stats: String = server.ask(&["INFO", "commandstats"]).await.unwrap();
        let scripts = ["cmdstat_evalsha:calls=", "cmdstat_eval:calls="];
        let calls = stats.lines().filter_map(|line| {
            let calls = scripts.iter().find_map(|name| line.strip_prefix(name))?;
            calls.split(',').next()?.parse::<usize>().ok()
        });
        calls.sum()
    }
}

/// The refresh token that is presented, and what that costs.
async fn cost(trips: &Trips<'_>, sessions: &Sessions, held: &TokenPair) -> (usize, TokenPair) {
    trips.begin().await;
    let next = sessions.refresh(held.refresh_token().expose()).await;
    let spent = trips.end().await;
    (spent, next.unwrap())
}

/// With the claims of the session itself.
async fn one_with_the_claims_of_the_session(place: Place) {
    let store = place.store().await;
    let trips = Trips::to(&place);
    let sessions = Sessions::builder(issuer(), store).secret(secret());
    let sessions = sessions.build().unwrap();
    let start = || StartSession::new("alice").claims(SessionClaims::new().roles(["editor"]));
    // A connection prepares what it uses for the first time, and a script is sent once.
    let warm = sessions.start(start()).await.unwrap();
    for _ in 0..2 {
        let refreshed = sessions.refresh(warm.refresh_token().expose()).await;
        refreshed.unwrap();
    }
    let mut held = sessions.start(start()).await.unwrap();
    for round in 0..ROUNDS {
        let spent;
        (spent, held) = cost(&trips, &sessions, &held).await;
        assert_eq!(spent, 1, "{}, round {round}", place.name());
        // Another tab is answered from what is read.
        let (spent, _) = cost(&trips, &sessions, &held).await;
        assert_eq!(spent, 2, "{}, round {round}", place.name());
        place.age(held.session_id(), LATER).await;
    }
}

/// With the roles of the user table in the same store.
async fn one_with_the_roles_of_the_user_table(place: Place) {
    let store = place.store().await;
    let trips = Trips::to(&place);
    let sessions = Sessions::builder(issuer(), store.clone())
        .secret(secret())
        .claims_source(UserClaims::new(store.clone()))
        .build()
        .unwrap();
    let name = Identifier::new("ada@example.org").unwrap();
    let user = NewUser::new("u-ada", name, PasswordHash::new("$argon2id$".to_owned()));
    assert!(
        UserStore::create(&store, user.roles(["editor"]))
            .await
            .unwrap()
    );
    let mut held = sessions.start(StartSession::new("u-ada")).await.unwrap();
    held = cost(&trips, &sessions, &held).await.1;
    for roles in [&["admin"][..], &[], &["editor", "admin"]] {
        let roles: Vec<_> = roles.iter().map(|role| (*role).to_owned()).collect();
        assert!(store.set_roles("u-ada", &roles).await.unwrap());
        place.age(held.session_id(), LATER).await;
        let spent;
        (spent, held) = cost(&trips, &sessions, &held).await;
        assert_eq!(spent, 1, "{}", place.name());
        let token = super::node::verifier().verify_now(held.access_token().expose());
        let token = token.unwrap();
        let has = ["admin", "editor"].map(|role| token.principal().has_role(role));
        assert_eq!(
            has,
            ["admin", "editor"].map(|role| roles.iter().any(|had| had == role))
        );
    }
    assert!(store.set_disabled("u-ada", true).await.unwrap());
    place.age(held.session_id(), LATER).await;
    let refused = sessions.refresh(held.refresh_token().expose()).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        tower_jwt_auth::server::session::SessionErrorKind::Disabled
    );
}

/// Callers that are ready at the same time share a statement.
async fn one_for_all_that_are_ready(place: Place) {
    let store = place.store().await;
    let trips = Trips::to(&place);
    let mut ids = Vec::new();
    for _ in 0..65 {
        ids.push(crate::rows::start(&store, "alice").await);
    }
    let advance = async |id| store.advance_live(id, 0, Duration::ZERO, None).await;
    // A connection prepares what it uses for the first time.
    let warm = ids.pop().unwrap();
    assert!(advance(warm).await.unwrap().is_some());
    trips.begin().await;
    let advanced = futures_util::future::join_all(ids.iter().map(|id| advance(*id))).await;
    let spent = trips.end().await;
    for (id, loaded) in ids.into_iter().zip(advanced) {
        let session = loaded.unwrap().unwrap().session;
        assert_eq!((session.id, session.family.generation), (id, 1));
    }
    assert_eq!(spent, 1, "{}", place.name());
}

const STORE: &str = "STORES_TRIPS_STORE";
const CLAIMS: &str = "STORES_TRIPS_CLAIMS";

/// Runs in a process of its own, whose statements are all counted.
fn counted(store: &str, claims: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sessions::round_trips::counts_for_its_parent"])
        .args(["--ignored", "--nocapture"])
        .env(STORE, store)
        .env(CLAIMS, claims)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{said}");
}

#[tokio::test]
#[ignore = "for other tests, as a process of its own"]
async fn counts_for_its_parent() {
    let Ok(store) = std::env::var(STORE) else {
        return;
    };
    let place = match store.as_str() {
        "sqlite" => Place::sqlite().await,
        "postgres" => Place::postgres().await,
        _ => Place::redis().await,
    };
    match std::env::var(CLAIMS).unwrap().as_str() {
        "session" => one_with_the_claims_of_the_session(place).await,
        "queued" => one_for_all_that_are_ready(place).await,
        _ => one_with_the_roles_of_the_user_table(place).await,
    }
}

macro_rules! trips {
    ($($store:ident $(#[$meta:meta])*;)*) => {$(
        mod $store {
            #[test]
            $(#[$meta])*
            fn t16_a_refresh_is_one_round_trip() {
                super::counted(stringify!($store), "session");
            }

            #[test]
            $(#[$meta])*
            fn t16_a_refresh_with_the_roles_of_a_user_is_one_round_trip() {
                super::counted(stringify!($store), "user");
            }
        }
    )*};
}

mod queued {
    #[test]
    fn t17_refreshes_that_queue_share_a_statement_of_sqlite() {
        super::counted("sqlite", "queued");
    }

    #[test]
    #[ignore = "needs PostgreSQL"]
    fn t17_refreshes_that_queue_share_a_statement_of_postgres() {
        super::counted("postgres", "queued");
    }

    #[test]
    #[ignore = "needs redis-server"]
    fn t17_refreshes_that_queue_share_a_script_of_redis() {
        super::counted("redis", "queued");
    }
}

trips! {
    sqlite;
    postgres #[ignore = "needs PostgreSQL"];
    redis #[ignore = "needs redis-server"];
}
