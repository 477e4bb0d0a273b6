//! Creates and migrates the tables.

use sqlx::{PgExecutor, PgPool};

use super::fault;
use crate::error::StoreError;

/// The statements of each migration. Its number is its place, from 1.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_tables.sql")];

pub(super) async fn run(pool: &PgPool) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await.map_err(StoreError::unavailable)?;
    // Read the version without a lock first: a role without the permission to create tables can
    // then use tables that are up to date.
    let done = match version(&mut *connection).await {
        Err(error) if fault::is_undefined_table(&error) => 0,
        version => version.map_err(fault::store_error)?,
    };
    drop(connection);
    match MIGRATIONS.len().checked_sub(done) {
        Some(0) => Ok(()),
        Some(_) => migrate(pool).await.map_err(fault::store_error),
        None => Err(StoreError::invalid(
            "the tables were migrated by a newer version of this crate",
        )),
    }
}

/// Runs the migrations that are due. A dropped transaction is rolled back.
async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // With a stricter default, the transaction would see the tables as they were before it waited
    // for the lock, and would create those that another node has just created.
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS auth_schema (version integer PRIMARY KEY)")
        .execute(&mut *transaction)
        .await?;
    let done = version(&mut *transaction).await?;
    for (number, migration) in (1_i32..).zip(MIGRATIONS).skip(done) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO auth_schema (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

async fn version(connection: impl PgExecutor<'_>) -> Result<usize, sqlx::Error> {
    let version: i64 =
        sqlx::query_scalar("SELECT COALESCE(max(version), 0)::bigint FROM auth_schema")
            .fetch_one(connection)
            .await?;
    Ok(usize::try_from(version).unwrap_or_default())
}

/// The number of the advisory lock, unique to this crate.
const LOCK: i64 = 0x6a77_745f_6175_7468;
