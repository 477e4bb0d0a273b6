//! Creates and migrates the tables.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, SqliteExecutor, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode},
};
use tokio::time;

use super::fault;
use crate::error::StoreError;

/// The statements of each migration. The number of a migration is its place, from 1.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_tables.sql")];

/// Switches the file to WAL mode. The switch ignores `busy_timeout`: it fails immediately if another
/// process does the same, so it is repeated.
pub(super) async fn use_wal(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let options = options.clone().journal_mode(SqliteJournalMode::Wal);
    for _ in 0..WAL_TRIES {
        match journal(&options).await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let problem =
                    format!("connections cannot share the database: its journal mode is {mode}");
                return Err(StoreError::invalid(problem));
            }
            Err(error) if fault::is_busy(&error) => time::sleep(WAL_WAIT).await,
            Err(error) => return Err(fault::store_error(error)),
        }
    }
    Err(StoreError::unavailable("the file is locked"))
}

async fn journal(options: &SqliteConnectOptions) -> Result<String, sqlx::Error> {
    let mut connection: SqliteConnection = options.connect().await?;
    let mode = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(mode)
}

pub(super) async fn run(pool: &SqlitePool) -> Result<(), StoreError> {
    let done = migrate(pool).await.map_err(fault::store_error)?;
    if done > MIGRATIONS.len() {
        return Err(StoreError::invalid(
            "the tables were migrated by a newer version of this crate",
        ));
    }
    Ok(())
}

/// Runs the migrations that are due. Returns the number of earlier ones. A dropped transaction is
/// rolled back.
async fn migrate(pool: &SqlitePool) -> Result<usize, sqlx::Error> {
    // IMMEDIATE takes the write lock now. A lock that is taken by the first write cannot wait if
    // another process has written since the first read.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS auth_schema (version INTEGER PRIMARY KEY)")
        .execute(&mut *transaction)
        .await?;
    let done = version(&mut *transaction).await?;
    for (number, migration) in (1_i64..).zip(MIGRATIONS).skip(done) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO auth_schema (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(done)
}

async fn version(connection: impl SqliteExecutor<'_>) -> Result<usize, sqlx::Error> {
    let version: i64 = sqlx::query_scalar("SELECT COALESCE(max(version), 0) FROM auth_schema")
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(version).unwrap_or_default())
}

const WAL_TRIES: u32 = 100;
const WAL_WAIT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{revocation::RETENTION, store::port::RevokeReason};

    #[test]
    fn the_triggers_use_the_constants_of_the_code() {
        let [sql] = MIGRATIONS else {
            panic!("look at the newest triggers");
        };
        let lifetime = format!("+ {}", RETENTION.as_millis());
        assert_eq!(sql.matches(&lifetime).count(), 3);
        assert_eq!(RevokeReason::Reuse.code(), 2);
        let reason = format!("revoke_reason = {}\n", RevokeReason::Replaced.code());
        assert_eq!(sql.matches(&reason).count(), 1);
    }
}
