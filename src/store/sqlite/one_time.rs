//! Tokens that are good for one use.

use super::{SqliteStore, sessions::now};
use crate::{
    error::StoreError,
    store::{
        port::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore},
        sql::{Columns, millis},
    },
};

const ISSUE: &str = concat!(
    "INSERT INTO auth_one_time (digest, purpose, sub, expires_at) VALUES ($1, $2, $3, ",
    now!(),
    " + $4) ON CONFLICT DO NOTHING"
);

/// Of two at once the second one finds no row.
const REDEEM: &str = concat!(
    "DELETE FROM auth_one_time WHERE digest = $1 AND purpose = $2 RETURNING sub, CASE WHEN expires_at > ",
    now!(),
    " THEN CAST(1 AS bigint) ELSE CAST(0 AS bigint) END AS alive"
);

const FORGET: &str = "DELETE FROM auth_one_time WHERE sub = $1 AND purpose = $2";

impl OneTimeStore for SqliteStore {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        let issue = sqlx::query(ISSUE)
            .bind(token.digest.as_bytes().to_vec())
            .bind(token.purpose.as_str())
            .bind(token.subject)
            .bind(millis(token.lifetime));
        self.write(issue).await?;
        Ok(())
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<String>, StoreError> {
        let redeem = sqlx::query(REDEEM)
            .bind(digest.as_bytes().to_vec())
            .bind(purpose.as_str());
        let rows = self.write(redeem).await?;
        let Some(row) = rows.first().map(Columns) else {
            return Ok(None);
        };
        let alive = row.number("alive")? != 0;
        alive.then(|| row.text("sub")).transpose()
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        let forget = sqlx::query(FORGET).bind(subject).bind(purpose.as_str());
        self.write(forget).await?;
        Ok(())
    }
}
