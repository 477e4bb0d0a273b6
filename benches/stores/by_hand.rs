//! A refresh as it is written by hand: a row per token; a token that was used is used up.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::aio::MultiplexedConnection;
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row, SqlitePool};

const LIFETIME: i64 = 14 * 24 * 3600;

#[derive(Clone)]
pub(super) struct ByHand {
    database: Database,
    /// Reads the roles of the user at each refresh, and refuses a disabled user.
    reads_user: bool,
}

#[derive(Clone)]
enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    Redis(MultiplexedConnection),
}

const USERS: &str = "CREATE TABLE app_user (sub TEXT PRIMARY KEY, roles TEXT NOT NULL,
    disabled INTEGER NOT NULL); INSERT INTO app_user VALUES ('alice', '[\"editor\"]', 0)";
const USER: &str = "SELECT roles FROM app_user WHERE sub = $1 AND disabled = 0";

impl ByHand {
    pub(super) async fn sqlite(pool: SqlitePool) -> Self {
        let table = "CREATE TABLE refresh_token (hash BLOB PRIMARY KEY, family TEXT NOT NULL,
            sub TEXT NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER) WITHOUT ROWID;
            CREATE INDEX refresh_token_family ON refresh_token (family)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        sqlx::raw_sql(USERS).execute(&pool).await.unwrap();
        Self::over(Database::Sqlite(pool))
    }

    pub(super) async fn postgres(pool: PgPool) -> Self {
        let table = "CREATE TABLE refresh_token (hash bytea PRIMARY KEY, family text NOT NULL,
            sub text NOT NULL, expires_at timestamptz NOT NULL, used_at timestamptz);
            CREATE INDEX refresh_token_family ON refresh_token (family)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        sqlx::raw_sql(USERS).execute(&pool).await.unwrap();
        Self::over(Database::Postgres(pool))
    }

    pub(super) async fn redis(mut connection: MultiplexedConnection) -> Self {
        let mut user = redis::cmd("HSET");
        user.arg("user:alice")
            .arg("roles")
            .arg("[\"editor\"]")
            .arg("disabled")
            .arg(0);
        let () = user.query_async(&mut connection).await.unwrap();
        Self::over(Database::Redis(connection))
    }

    fn over(database: Database) -> Self {
        Self {
            database,
            reads_user: false,
        }
    }

    pub(super) fn reading_the_user(&self) -> Self {
        Self {
            reads_user: true,
            ..self.clone()
        }
    }

    pub(super) async fn start(&self) -> String {
        let (token, hash) = draw();
        match &self.database {
            Database::Sqlite(pool) => {
                let insert =
                    "INSERT INTO refresh_token VALUES ($1, $2, 'alice', unixepoch() + $3, NULL)";
                let insert = sqlx::query(insert).bind(hash).bind(&token).bind(LIFETIME);
                insert.execute(pool).await.unwrap();
            }
            Database::Postgres(pool) => {
                let insert = "INSERT INTO refresh_token
                    VALUES ($1, $2, 'alice', now() + make_interval(secs => $3), NULL)";
                let insert = sqlx::query(insert)
                    .bind(hash)
                    .bind(&token)
                    .bind(LIFETIME as f64);
                insert.execute(pool).await.unwrap();
            }
            Database::Redis(connection) => {
                let mut set = redis::cmd("SET");
                set.arg(key(&hash))
                    .arg(format!("{token} alice"))
                    .arg("EX")
                    .arg(LIFETIME);
                let () = set.query_async(&mut connection.clone()).await.unwrap();
            }
        }
        token
    }

    /// Looked up, used up, followed by a new one, in one transaction. Returns the new token, and the
    /// roles of the user as they are stored.
    pub(super) async fn refresh(&self, held: &str) -> (String, Option<String>) {
        let old = hash_of(held);
        let (token, hash) = draw();
        let mut roles = None;
        match &self.database {
            Database::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                let select = "SELECT family, sub FROM refresh_token
                    WHERE hash = $1 AND used_at IS NULL AND expires_at > unixepoch()";
                let row = sqlx::query(select).bind(&old).fetch_one(&mut *transaction);
                let row = row.await.unwrap();
                if self.reads_user {
                    let user = sqlx::query(USER).bind(row.get::<String, _>(1));
                    let user = user.fetch_one(&mut *transaction).await.unwrap();
                    roles = Some(user.get::<String, _>(0));
                }
                let used = "UPDATE refresh_token SET used_at = unixepoch() WHERE hash = $1";
                let used = sqlx::query(used).bind(&old).execute(&mut *transaction);
                used.await.unwrap();
                let insert =
                    "INSERT INTO refresh_token VALUES ($1, $2, $3, unixepoch() + $4, NULL)";
                sqlx::query(insert)
                    .bind(hash)
                    .bind(row.get::<String, _>(0))
                    .bind(row.get::<String, _>(1))
                    .bind(LIFETIME)
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
            }
            Database::Postgres(pool) => {
                let mut transaction = pool.begin().await.unwrap();
                let select = "SELECT family, sub FROM refresh_token
                    WHERE hash = $1 AND used_at IS NULL AND expires_at > now() FOR UPDATE";
                let row = sqlx::query(select).bind(&old).fetch_one(&mut *transaction);
                let row = row.await.unwrap();
                if self.reads_user {
                    let user = sqlx::query(USER).bind(row.get::<String, _>(1));
                    let user = user.fetch_one(&mut *transaction).await.unwrap();
                    roles = Some(user.get::<String, _>(0));
                }
                let used = "UPDATE refresh_token SET used_at = now() WHERE hash = $1";
                let used = sqlx::query(used).bind(&old).execute(&mut *transaction);
                used.await.unwrap();
                let insert = "INSERT INTO refresh_token
                    VALUES ($1, $2, $3, now() + make_interval(secs => $4), NULL)";
                sqlx::query(insert)
                    .bind(hash)
                    .bind(row.get::<String, _>(0))
                    .bind(row.get::<String, _>(1))
                    .bind(LIFETIME as f64)
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
            }
            Database::Redis(connection) => {
                let mut connection = connection.clone();
                // GETDEL is one step: no other client gets the row.
                let mut take = redis::cmd("GETDEL");
                let row: String = take
                    .arg(key(&old))
                    .query_async(&mut connection)
                    .await
                    .unwrap();
                if self.reads_user {
                    let (_, subject) = row.split_once(' ').unwrap();
                    let mut user = redis::cmd("HMGET");
                    user.arg(format!("user:{subject}"))
                        .arg("roles")
                        .arg("disabled");
                    let user: (String, u8) = user.query_async(&mut connection).await.unwrap();
                    assert_eq!(user.1, 0);
                    roles = Some(user.0);
                }
                let mut both = redis::pipe();
                both.atomic();
                both.cmd("SET")
                    .arg(key(&old))
                    .arg("used")
                    .arg("EX")
                    .arg(LIFETIME)
                    .ignore();
                both.cmd("SET")
                    .arg(key(&hash))
                    .arg(row)
                    .arg("EX")
                    .arg(LIFETIME)
                    .ignore();
                let () = both.query_async(&mut connection).await.unwrap();
            }
        }
        (token, roles)
    }
}

fn draw() -> (String, Vec<u8>) {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash_of(&token);
    (token, hash)
}

fn hash_of(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

fn key(hash: &[u8]) -> String {
    format!("rt:{}", URL_SAFE_NO_PAD.encode(hash))
}
