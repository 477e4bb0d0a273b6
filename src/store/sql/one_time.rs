//! One-time tokens.

use super::{Columns, Dialect, SqlStore, Statement, millis};
use crate::{
    error::StoreError,
    store::port::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore},
};

static ISSUE: Statement = Statement::write(
    "INSERT INTO auth_one_time (digest, purpose, sub, expires_at) VALUES ($1, $2, $3, {now} + $4) \
     ON CONFLICT DO NOTHING",
);

/// Deletes the row. The second of two concurrent redemptions finds no row.
static REDEEM: Statement = Statement::write(
    "DELETE FROM auth_one_time WHERE digest = $1 AND purpose = $2 \
     RETURNING sub, expires_at, {now} AS now",
);

static FORGET: Statement =
    Statement::write("DELETE FROM auth_one_time WHERE sub = $1 AND purpose = $2");

impl<D: Dialect> OneTimeStore for SqlStore<D> {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        let values = [
            token.digest.as_bytes().into(),
            token.purpose.as_str().into(),
            (&token.subject).into(),
            millis(token.lifetime).into(),
        ];
        self.db.rows(&ISSUE, &values).await?;
        Ok(())
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<String>, StoreError> {
        let values = [digest.as_bytes().into(), purpose.as_str().into()];
        let row = self.db.row(&REDEEM, &values).await?;
        let Some(row) = row.as_ref().map(Columns) else {
            return Ok(None);
        };
        let is_alive = row.time("now")? < row.time("expires_at")?;
        is_alive.then(|| row.text("sub")).transpose()
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        let values = [subject.into(), purpose.as_str().into()];
        self.db.rows(&FORGET, &values).await?;
        Ok(())
    }
}
