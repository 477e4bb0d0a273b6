//! Where sessions are kept: a store, what it runs on, and what can befall it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use sqlx::{PgPool, SqlitePool, sqlite::SqliteConnectOptions, sqlite::SqlitePoolOptions};
use tower_jwt_auth::{
    principal::SessionId,
    store::{AnyStore, MemoryStore, SqliteStore, port::SessionStore},
};

use super::node::{Switch, Watched};
use crate::{
    postgres,
    sqlite::{self, Folder},
    support::{
        postgres::{Server as PgServer, program},
        redis::{DURABLE, Server as RedisServer},
    },
};

pub(super) struct Place {
    pub(super) kind: Kind,
    /// Of a store that nothing else can take away.
    switch: Switch,
}

pub(super) enum Kind {
    Memory(MemoryStore),
    Sqlite {
        // Whoever closes the last connection locks the file for a moment.
        _store: SqliteStore,
        pool: SqlitePool,
        folder: Folder,
        lock: Option<sqlx::Transaction<'static, sqlx::Sqlite>>,
    },
    Postgres {
        pool: PgPool,
        server: Arc<PgServer>,
    },
    Redis(RedisServer),
}

/// A session's row, as a backup has it.
pub(super) enum Copied {
    Nothing,
    Row(String),
    Bytes(Vec<u8>),
}

impl Place {
    pub(super) fn memory() -> Self {
        Self::of(Kind::Memory(MemoryStore::new()))
    }

    pub(super) async fn sqlite() -> Self {
        let folder = Folder::new();
        let store = SqliteStore::open(&folder.file()).await.unwrap();
        let pool = SqlitePool::connect(&folder.file()).await.unwrap();
        Self::of(Kind::Sqlite {
            _store: store,
            pool,
            folder,
            lock: None,
        })
    }

    pub(super) async fn postgres() -> Self {
        // Its own: some rules stop it.
        let server = tokio::task::spawn_blocking(PgServer::start).await.unwrap();
        let pool = PgPool::connect(&server.url()).await.unwrap();
        let server = Arc::new(server);
        Self::of(Kind::Postgres { pool, server })
    }

    pub(super) async fn redis() -> Self {
        Self::of(Kind::Redis(RedisServer::start(DURABLE).await))
    }

    fn of(kind: Kind) -> Self {
        let switch = Switch::default();
        Self { kind, switch }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Memory(_) => "memory",
            Kind::Sqlite { .. } => "SQLite",
            Kind::Postgres { .. } => "PostgreSQL",
            Kind::Redis(_) => "Redis",
        }
    }

    pub(super) fn url(&self) -> String {
        match &self.kind {
            Kind::Memory(_) => "memory:".to_owned(),
            Kind::Sqlite { folder, .. } => format!("sqlite:{}", folder.file()),
            Kind::Postgres { server, .. } => server.url(),
            Kind::Redis(server) => server.url(),
        }
    }

    /// The store as another node opens it.
    pub(super) async fn store(&self) -> AnyStore {
        match &self.kind {
            Kind::Memory(store) => AnyStore::Memory(store.clone()),
            _ => AnyStore::open(&self.url()).await.unwrap(),
        }
    }

    pub(super) async fn node(&self) -> Watched {
        Watched::new(self.store().await, self.switch.clone())
    }

    /// As [`node`](Self::node), where SQLite does not wait five seconds for a lock.
    pub(super) async fn impatient_node(&self) -> Watched {
        let Kind::Sqlite { folder, .. } = &self.kind else {
            return self.node().await;
        };
        let options = SqliteConnectOptions::new()
            .filename(folder.file())
            .busy_timeout(Duration::from_millis(1));
        let pool = SqlitePoolOptions::new().connect_with(options);
        let store = AnyStore::Sqlite(SqliteStore::new(pool.await.unwrap()));
        Watched::new(store, self.switch.clone())
    }

    /// So much time passes for a session.
    pub(super) async fn age(&self, id: SessionId, by: Duration) {
        match &self.kind {
            Kind::Memory(store) => store.age(id, by),
            Kind::Sqlite { pool, .. } => sqlite::age(pool, id, by).await,
            Kind::Postgres { pool, .. } => postgres::age(pool, id, by).await,
            Kind::Redis(server) => server.age(id, by).await.unwrap(),
        }
    }

    /// Its server dies; SQLite's file is locked by somebody who does not let go.
    pub(super) async fn take_away(&mut self) {
        match &mut self.kind {
            Kind::Memory(_) => self.switch.set(true),
            Kind::Sqlite { pool, lock, .. } => {
                *lock = Some(pool.begin_with("BEGIN IMMEDIATE").await.unwrap());
            }
            Kind::Postgres { server, .. } => {
                let server = Arc::clone(server);
                let stop = tokio::task::spawn_blocking(move || server.stop());
                stop.await.unwrap();
            }
            Kind::Redis(server) => server.kill(),
        }
    }

    pub(super) async fn bring_back(&mut self) {
        match &mut self.kind {
            Kind::Memory(_) => self.switch.set(false),
            Kind::Sqlite { lock, .. } => lock.take().unwrap().rollback().await.unwrap(),
            Kind::Postgres { server, .. } => {
                let server = Arc::clone(server);
                let resume = tokio::task::spawn_blocking(move || server.resume());
                resume.await.unwrap();
            }
            Kind::Redis(server) => server.restart().await,
        }
    }

    /// Without notifications, where the store has them besides its poll.
    pub(super) async fn silence(&self) -> bool {
        let Kind::Postgres { pool, .. } = &self.kind else {
            return false;
        };
        let off = "ALTER TABLE auth_revocation DISABLE TRIGGER auth_revocation_notify";
        sqlx::raw_sql(off).execute(pool).await.unwrap();
        true
    }

    pub(super) async fn back_up(&self, id: SessionId) -> Copied {
        match &self.kind {
            Kind::Memory(_) => Copied::Nothing,
            Kind::Sqlite { pool, .. } => {
                let copy = "CREATE TABLE backup AS SELECT * FROM auth_session";
                sqlx::raw_sql(copy).execute(pool).await.unwrap();
                Copied::Nothing
            }
            Kind::Postgres { pool, .. } => {
                let row = "SELECT row_to_json(s)::text FROM auth_session s WHERE sid = $1";
                let row = sqlx::query_scalar(row).bind(id.as_bytes().as_slice());
                Copied::Row(row.fetch_one(pool).await.unwrap())
            }
            Kind::Redis(server) => {
                let key = format!("{{auth}}:s:{id}");
                Copied::Bytes(server.ask(&["DUMP", &key]).await.unwrap())
            }
        }
    }

    /// What happened since is gone, as after a failover to a replica that was behind; `false`: this
    /// store has no other copy of itself.
    pub(super) async fn restore(&self, id: SessionId, copy: Copied) -> bool {
        match (&self.kind, copy) {
            (Kind::Sqlite { pool, .. }, _) => {
                let back =
                    "DELETE FROM auth_session; INSERT INTO auth_session SELECT * FROM backup";
                sqlx::raw_sql(back).execute(pool).await.unwrap();
            }
            (Kind::Postgres { pool, .. }, Copied::Row(row)) => {
                let delete = sqlx::query("DELETE FROM auth_session WHERE sid = $1");
                let delete = delete.bind(id.as_bytes().as_slice());
                delete.execute(pool).await.unwrap();
                let back = "INSERT INTO auth_session
                    SELECT * FROM json_populate_record(null::auth_session, $1::json)";
                sqlx::query(back).bind(row).execute(pool).await.unwrap();
            }
            (Kind::Redis(server), Copied::Bytes(row)) => {
                let key = format!("{{auth}}:s:{id}");
                let mut connection = server.connection().await.unwrap();
                let mut restore = redis::cmd("RESTORE");
                restore.arg(key).arg(0).arg(row).arg("REPLACE");
                let () = restore.query_async(&mut connection).await.unwrap();
            }
            _ => return false,
        }
        true
    }

    /// Everything that the store keeps, in every form in which it keeps it.
    pub(super) async fn dump(&self, subject: &str, id: SessionId) -> Vec<Vec<u8>> {
        match &self.kind {
            Kind::Memory(store) => {
                let rows = (store.load(id).await, store.list(subject, 100).await);
                vec![format!("{store:?} {:?} {rows:?}", store.feed()).into_bytes()]
            }
            Kind::Sqlite { folder, .. } => {
                let file = folder.file();
                ["", "-wal"]
                    .map(|end| fs::read(format!("{file}{end}")).unwrap())
                    .into()
            }
            Kind::Postgres { server, .. } => {
                let output = std::process::Command::new(program("pg_dump"))
                    .args(["--inserts", &server.url()])
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{output:?}");
                let mut found = files(&server.data());
                found.push(output.stdout);
                found
            }
            Kind::Redis(server) => {
                // Neither compressed nor left out.
                for words in [&["CONFIG", "SET", "rdbcompression", "no"][..], &["SAVE"]] {
                    let done: String = server.ask(words).await.unwrap();
                    assert_eq!(done, "OK");
                }
                files(server.folder())
            }
        }
    }
}

/// All below a folder: tables, write-ahead logs, append-only logs.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = fs::read(path) {
            found.push(bytes);
        }
    }
    found
}
