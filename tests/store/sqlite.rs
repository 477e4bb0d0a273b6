//! SQLite, on a file.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tower_jwt_auth::{
    error::StoreErrorKind,
    event::RefreshOutcome,
    principal::SessionId,
    server::refresh::{RefreshPolicy, machine::rotate},
    store::{
        contract::Fixture,
        port::{RevokeReason, SessionStore},
        sqlite::{SqliteFeed, SqliteStore},
    },
};

use crate::{
    child,
    patient::Patient,
    rows::{SHIFT, append_ended, holder, start},
};

/// Removed when it is dropped.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = |place: &Path| {
            tempfile::Builder::new()
                .prefix("tower-jwt-auth-sqlite-")
                .tempdir_in(place)
        };
        // In memory where that can be had: a process that is killed leaves its file there as well, and
        // a busy disk may take longer over a hundred commits than the store lets one wait.
        let made = folder(Path::new("/dev/shm"));
        Self(made.or_else(|_| folder(&std::env::temp_dir())).unwrap())
    }

    pub(crate) fn file(&self) -> String {
        self.0.path().join("auth.db").to_str().unwrap().to_owned()
    }
}

/// Two stores on one file, as two processes have.
pub(crate) struct Nodes {
    pub(crate) stores: [SqliteStore; 2],
    pub(crate) pool: SqlitePool,
    turn: AtomicUsize,
    folder: Folder,
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let folder = Folder::new();
        let file = folder.file();
        // At once, so that they meet in the migration.
        let (one, two) = tokio::join!(SqliteStore::open(&file), SqliteStore::open(&file));
        Self {
            stores: [one.unwrap(), two.unwrap()],
            pool: SqlitePool::connect(&file).await.unwrap(),
            turn: AtomicUsize::default(),
            folder,
        }
    }

    /// Two more stores on the file.
    #[cfg(feature = "server")]
    pub(crate) async fn four(&self) -> [SqliteStore; 4] {
        let [one, two] = self.stores.clone();
        let file = self.folder.file();
        let [three, four] = [
            SqliteStore::open(&file).await,
            SqliteStore::open(&file).await,
        ];
        [one, two, three.unwrap(), four.unwrap()]
    }
}

impl Fixture for Nodes {
    type Store = Patient<SqliteStore>;
    type Feed = SqliteFeed;

    fn store(&self) -> Patient<SqliteStore> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Patient(self.stores[turn % 2].clone())
    }

    fn feed(&self) -> SqliteFeed {
        self.store().0.feed()
    }

    async fn age(&self, id: SessionId, by: Duration) {
        age(&self.pool, id, by).await;
    }

    async fn set_back(&self, id: SessionId, by: Duration) {
        shift(&self.pool, id, i64::try_from(by.as_millis()).unwrap()).await;
    }
}

pub(crate) async fn age(pool: &SqlitePool, id: SessionId, by: Duration) {
    shift(pool, id, -i64::try_from(by.as_millis()).unwrap()).await;
}

async fn shift(pool: &SqlitePool, id: SessionId, millis: i64) {
    sqlx::query(SHIFT)
        .bind(id.as_bytes().as_slice())
        .bind(millis)
        .execute(pool)
        .await
        .unwrap();
}

mod contract {
    tower_jwt_auth::session_store_contract!(super::Nodes::start().await);
    tower_jwt_auth::guest_store_contract!(super::Nodes::start().await);
}

#[tokio::test]
async fn t1_two_processes_rotate_once() {
    let folder = Folder::new();
    let store = SqliteStore::open(&folder.file()).await.unwrap();
    for _ in 0..3 {
        let id = start(&store, "two processes").await;
        let file = folder.file();
        let met = tokio::task::spawn_blocking(move || child::two_rotate(&file, id));
        assert_eq!(met.await.unwrap(), child::one_rotation());
    }
}

#[tokio::test]
async fn t8_a_killed_process_leaves_what_it_answered() {
    let folder = Folder::new();
    let store = SqliteStore::open(&folder.file()).await.unwrap();
    let id = start(&store, "killed").await;
    for kill in 0..10 {
        let file = folder.file();
        let killed = move || child::killed_while_it_refreshes(&file, id, 1 + 3 * kill);
        let held = tokio::task::spawn_blocking(killed).await.unwrap();
        let family = store.load(id).await.unwrap().unwrap().session.family;
        assert!(!family.revoked);
        assert_eq!(family.parent, Some(family.generation - 1));
        // What was answered is there; the next one may be.
        assert!(
            [held, held + 2].contains(&family.generation),
            "{held} of {family:?}"
        );
    }
    let pool = SqlitePool::connect(&folder.file()).await.unwrap();
    let sound = sqlx::query_scalar::<_, String>("PRAGMA integrity_check");
    assert_eq!(sound.fetch_one(&pool).await.unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_another_process_refuses_soon() {
    let nodes = Nodes::start().await;
    let [one, two] = &nodes.stores;
    let sets = [one, two].map(|store| store.revocations().unwrap());
    for (set, whose) in sets.iter().zip(["this process", "another store"]) {
        assert!(set.loaded(Duration::from_secs(60)).await);
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let id = start(one, "t11").await;
            assert!(one.revoke(id, RevokeReason::Logout).await.unwrap());
            let revoked = Instant::now();
            while !set.contains(&holder(id)) {
                assert!(
                    revoked.elapsed() < Duration::from_secs(60),
                    "{whose}: never"
                );
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            longest = longest.max(revoked.elapsed());
        }
        println!("{whose}: refused after {longest:?} at most of 10");
    }
}

#[tokio::test]
async fn a_refresh_that_is_dropped_is_done_or_not() {
    let nodes = Nodes::start().await;
    let [store, _] = &nodes.stores;
    let id = start(store, "dropped").await;
    let policy = RefreshPolicy::browser();
    let mut generation = 0;
    for round in 0..200_u64 {
        let refresh = rotate(store, id, generation, policy);
        let limit = Duration::from_micros(20 * round);
        let _ = tokio::time::timeout(limit, refresh).await;
        let again = rotate(store, id, generation, policy)
            .await
            .unwrap()
            .unwrap();
        let outcome = again.outcome;
        assert!(
            matches!(outcome, RefreshOutcome::Rotated | RefreshOutcome::Retried),
            "{outcome:?}"
        );
        generation += 1;
        let family = again.session.family;
        assert_eq!(
            (family.generation, family.parent),
            (generation, Some(generation - 1))
        );
        age(&nodes.pool, id, policy.grace_window() * 2).await;
    }
}

#[tokio::test]
async fn t9_a_locked_file_is_unavailable() {
    let folder = Folder::new();
    let store = SqliteStore::open(&folder.file()).await.unwrap();
    let id = start(&store, "locked").await;
    let options = SqliteConnectOptions::new().filename(folder.file());
    let hasty = SqlitePoolOptions::new()
        .connect_with(options.clone().busy_timeout(Duration::from_millis(1)))
        .await
        .unwrap();
    let hasty = SqliteStore::new(hasty);
    let pool = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    let lock = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let refused = rotate(&hasty, id, 0, RefreshPolicy::strict())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused:?}");
    let refused = hasty
        .revoke_all("locked", RevokeReason::Logout)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused:?}");
    // Nobody has to wait for reading.
    assert!(hasty.load(id).await.unwrap().is_some());
    lock.rollback().await.unwrap();
    let rotation = rotate(&hasty, id, 0, RefreshPolicy::strict())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rotation.outcome, RefreshOutcome::Rotated);
}

#[tokio::test]
async fn what_cannot_be_shared_or_read_is_refused() {
    let folder = Folder::new();
    fs::write(
        folder.file(),
        "no database, whatever its name, and long enough to have a head",
    )
    .unwrap();
    let newer = Folder::new();
    SqliteStore::open(&newer.file()).await.unwrap();
    let pool = SqlitePool::connect(&newer.file()).await.unwrap();
    sqlx::raw_sql("INSERT INTO auth_schema VALUES (9999)")
        .execute(&pool)
        .await
        .unwrap();
    for url in [
        "sqlite::memory:",
        &folder.file(),
        &newer.file(),
        "sqlite://x?mode=unheard-of",
    ] {
        let refused = SqliteStore::open(url).await.unwrap_err();
        assert_eq!(
            refused.kind(),
            StoreErrorKind::Invalid,
            "{url}: {refused:?}"
        );
    }
    let refused = SqliteStore::open("/nowhere/auth.db").await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused:?}");
}

#[tokio::test]
async fn an_append_removes_revocations_that_have_ended() {
    let nodes = Nodes::start().await;
    append_ended(&nodes.stores[0]).await;
    let left = sqlx::query_scalar("SELECT key FROM auth_revocation");
    let left: Vec<String> = left.fetch_all(&nodes.pool).await.unwrap();
    assert_eq!(left, ["alive"]);
}
