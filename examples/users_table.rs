//! A login server for the users of an existing table: PostgreSQL, bcrypt hashes, UUIDs, an array of
//! roles. Users register elsewhere.
//!
//! ```sh
//! export AUTH_STORE=postgres://localhost/app
//! psql "$AUTH_STORE" -c 'CREATE TABLE accounts (id uuid PRIMARY KEY, password_hash text,
//!     email text COLLATE "C" UNIQUE NOT NULL, roles text[] NOT NULL, blocked boolean NOT NULL)'
//! psql "$AUTH_STORE" -c 'CREATE INDEX ON accounts ((id::text))'
//! cargo run --example users_table --features axum,postgres
//! ```

use std::{env, error::Error, net::SocketAddr};

use axum::{Router, routing::get};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tower_jwt_auth::{
    AuthServer, AuthSettings, Principal,
    error::StoreError,
    server::login::{Identifier, PasswordHash},
    store::{
        PostgresStore,
        port::{UserRecord, UserStore},
    },
};

struct Accounts(PgPool);

type Row = (String, Option<String>, Vec<String>, bool);

impl Accounts {
    async fn one(&self, sql: &'static str, value: &str) -> Result<Option<UserRecord>, StoreError> {
        let row = sqlx::query_as::<_, Row>(sql).bind(value);
        let row = row.fetch_optional(&self.0).await;
        Ok(row.map_err(StoreError::unavailable)?.map(user))
    }
}

fn user((id, hash, roles, blocked): Row) -> UserRecord {
    let user = UserRecord::new(id).roles(roles).disabled(blocked);
    match hash {
        Some(hash) => user.password(PasswordHash::new(hash)),
        None => user,
    }
}

impl UserStore for Accounts {
    async fn find(&self, name: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        self.one(BY_EMAIL, name.as_str()).await
    }

    // Called by refreshes and password changes.
    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        self.one(BY_ID, subject).await
    }

    // Replaces bcrypt by Argon2id at the next login. The old hash is compared, so that a password
    // that was changed in the meantime is not overwritten.
    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let update = sqlx::query(REPLACE).bind(new.expose()).bind(subject);
        let changed = update.bind(old.expose()).execute(&self.0).await;
        Ok(changed.map_err(StoreError::interrupted)?.rows_affected() == 1)
    }
}

const BY_EMAIL: &str =
    "SELECT id::text, password_hash, roles, blocked FROM accounts WHERE email = $1";
const BY_ID: &str =
    "SELECT id::text, password_hash, roles, blocked FROM accounts WHERE id::text = $1";
const REPLACE: &str =
    "UPDATE accounts SET password_hash = $1 WHERE id::text = $2 AND password_hash = $3";

async fn me(caller: Principal) -> String {
    caller.subject().unwrap_or_default().to_owned()
}

/// Sessions, counters and keys are in tables of their own beside the table of the users.
pub(crate) async fn app(pool: PgPool, settings: AuthSettings) -> Result<Router, Box<dyn Error>> {
    let store = PostgresStore::new(pool.clone());
    store.migrate().await?;
    let auth = AuthServer::builder(store)
        .settings(settings)
        .users(Accounts(pool))
        .start()
        .await?;
    for warning in auth.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(Router::new()
        .route("/me", get(me))
        .layer(auth.layer())
        .nest_service(auth.path(), auth.endpoints().nested()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let pool = PgPool::connect(&env::var("AUTH_STORE")?).await?;
    let app = app(pool, AuthSettings::from_env()?).await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
