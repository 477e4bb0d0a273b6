//! API keys.

use std::{collections::BTreeMap, time::Duration};

use super::{PostgresStore, sessions::now};
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore, LISTED, SecretDigest},
    revocation::RETENTION,
    store::sql::{
        Columns,
        api_key::{CREATE_API_KEY, api_keys, revoke_api_key, revoke_api_keys, roll_api_key},
        millis,
    },
    time::Timestamp,
};

/// In the order of their names, so that two of these do not lock each other out.
const TOUCH: &str = "WITH used AS (
       SELECT * FROM unnest(CAST($1 AS text[]), CAST($2 AS bigint[])) AS u (id, at)
     ), cur AS MATERIALIZED (
       SELECT k.id, u.at FROM auth_api_key k JOIN used u ON u.id = k.id
       WHERE k.last_used_at IS NULL OR k.last_used_at < u.at
       ORDER BY k.id FOR NO KEY UPDATE OF k
     )
     UPDATE auth_api_key k SET last_used_at = cur.at FROM cur WHERE k.id = cur.id";

impl ApiKeyStore for PostgresStore {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let row = self
            .row(|| sqlx::query(api_keys!("id = $1")).bind(id.as_str()))
            .await?;
        row.map(|row| Columns(&row).api_key()).transpose()
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let list = || {
            sqlx::query(api_keys!(
                "owner = $1 ORDER BY created_at DESC, id LIMIT $2"
            ))
            .bind(owner)
            .bind(LISTED as i64)
        };
        let rows = self.rows(list).await?;
        rows.iter().map(|row| Columns(row).api_key()).collect()
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        let previous = record.previous;
        let create = || {
            sqlx::query(CREATE_API_KEY)
                .bind(record.id.as_str())
                .bind(record.secret.as_bytes().as_slice())
                .bind(previous.map(|previous| previous.secret.as_bytes().to_vec()))
                .bind(previous.map(|previous| previous.until.as_millis()))
                .bind(&record.owner)
                .bind(&record.label)
                .bind(&record.display_start)
                .bind(record.scope.to_string())
                .bind(record.created_at.as_millis())
                .bind(record.expires_at.map(Timestamp::as_millis))
                .bind(record.revoked_at.map(Timestamp::as_millis))
                .bind(record.last_used_at.map(Timestamp::as_millis))
        };
        Ok(self.row(create).await?.is_some())
    }

    async fn roll(
        &self,
        id: &ApiKeyId,
        owner: &str,
        secret: &SecretDigest,
        display_start: &str,
        overlap: Duration,
    ) -> Result<bool, StoreError> {
        let roll = || {
            sqlx::query(roll_api_key!(now!()))
                .bind(id.as_str())
                .bind(owner)
                .bind(secret.as_bytes().as_slice())
                .bind(display_start)
                .bind(millis(overlap))
        };
        Ok(self.row(roll).await?.is_some())
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        let revoke = || {
            sqlx::query(revoke_api_key!(now!()))
                .bind(id.as_str())
                .bind(owner)
        };
        Ok(self.row(revoke).await?.is_some())
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        let revoke = || {
            sqlx::query(revoke_api_keys!(now!()))
                .bind(owner)
                .bind(millis(RETENTION))
        };
        let rows = self.rows(revoke).await?;
        rows.iter().map(|row| Columns(row).api_key_id()).collect()
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut latest = BTreeMap::new();
        for (id, at) in used {
            let last = latest.entry(id.as_str()).or_insert(*at);
            *last = (*last).max(*at);
        }
        let ids: Vec<_> = latest.keys().map(|id| (*id).to_owned()).collect();
        let times: Vec<_> = latest.values().map(|at| at.as_millis()).collect();
        self.rows(|| sqlx::query(TOUCH).bind(ids.clone()).bind(times.clone()))
            .await?;
        Ok(())
    }
}
