//! API keys.

use std::time::Duration;

use super::{SqliteStore, sessions::now};
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

/// All of them in one statement, so that there is one sync of the disk.
const TOUCH: &str = "UPDATE auth_api_key AS k SET last_used_at = u.at
     FROM (SELECT value ->> 0 AS id, max(value ->> 1) AS at FROM json_each($1) GROUP BY 1) u
     WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)";

impl ApiKeyStore for SqliteStore {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let rows = self
            .read(sqlx::query(api_keys!("id = $1")).bind(id.as_str()))
            .await?;
        rows.first().map(|row| Columns(row).api_key()).transpose()
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let list = sqlx::query(api_keys!(
            "owner = $1 ORDER BY created_at DESC, id LIMIT $2"
        ))
        .bind(owner)
        .bind(LISTED as i64);
        let rows = self.read(list).await?;
        rows.iter().map(|row| Columns(row).api_key()).collect()
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        let previous = record.previous;
        let create = sqlx::query(CREATE_API_KEY)
            .bind(record.id.as_str())
            .bind(record.secret.as_bytes().to_vec())
            .bind(previous.map(|previous| previous.secret.as_bytes().to_vec()))
            .bind(previous.map(|previous| previous.until.as_millis()))
            .bind(&record.owner)
            .bind(&record.label)
            .bind(&record.display_start)
            .bind(record.scope.to_string())
            .bind(record.created_at.as_millis())
            .bind(record.expires_at.map(Timestamp::as_millis))
            .bind(record.revoked_at.map(Timestamp::as_millis))
            .bind(record.last_used_at.map(Timestamp::as_millis));
        Ok(!self.write(create).await?.is_empty())
    }

    async fn roll(
        &self,
        id: &ApiKeyId,
        owner: &str,
        secret: &SecretDigest,
        display_start: &str,
        overlap: Duration,
    ) -> Result<bool, StoreError> {
        let roll = sqlx::query(roll_api_key!(now!()))
            .bind(id.as_str())
            .bind(owner)
            .bind(secret.as_bytes().to_vec())
            .bind(display_start)
            .bind(millis(overlap));
        Ok(!self.write(roll).await?.is_empty())
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        let revoke = sqlx::query(revoke_api_key!(now!()))
            .bind(id.as_str())
            .bind(owner);
        Ok(!self.write(revoke).await?.is_empty())
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        let revoke = sqlx::query(revoke_api_keys!(now!()))
            .bind(owner)
            .bind(millis(RETENTION));
        let rows = self.write(revoke).await?;
        rows.iter().map(|row| Columns(row).api_key_id()).collect()
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let used: Vec<_> = used
            .iter()
            .map(|(id, at)| (id.as_str(), at.as_millis()))
            .collect();
        let used = serde_json::to_string(&used).map_err(StoreError::invalid)?;
        self.write(sqlx::query(TOUCH).bind(used)).await?;
        Ok(())
    }
}
