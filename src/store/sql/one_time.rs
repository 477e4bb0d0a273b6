//! One-time tokens.

use super::{Columns, Dialect, SqlStore, Statement, millis, narrow};
use crate::{
    error::StoreError,
    store::port::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, SpentOneTime},
};

static ISSUE: Statement = Statement::write(
    "INSERT INTO auth_one_time (digest, purpose, sub, email, epoch, expires_at) \
     VALUES ($1, $2, $3, $4, $5, {now} + $6) ON CONFLICT DO NOTHING",
);

/// Deletes the row. The second of two concurrent redemptions finds no row.
static REDEEM: Statement = Statement::write(
    "DELETE FROM auth_one_time WHERE digest = $1 AND purpose = $2 \
     RETURNING sub, email, epoch, expires_at, {now} AS now",
);

static FORGET: Statement =
    Statement::write("DELETE FROM auth_one_time WHERE sub = $1 AND purpose = $2");

impl<D: Dialect> OneTimeStore for SqlStore<D> {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        let values = [
            token.digest.as_bytes().into(),
            token.purpose.as_str().into(),
            (&token.subject).into(),
            token.email.as_deref().into(),
            token.epoch.map(i64::from).into(),
            millis(token.lifetime).into(),
        ];
        self.db.rows(&ISSUE, &values).await?;
        Ok(())
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        let values = [digest.as_bytes().into(), purpose.as_str().into()];
        let row = self.db.row(&REDEEM, &values).await?;
        let Some(row) = row.as_ref().map(Columns) else {
            return Ok(None);
        };
        let is_alive = row.time("now")? < row.time("expires_at")?;
        match is_alive {
            true => Ok(Some(SpentOneTime::new(
                row.text("sub")?,
                row.maybe_text("email")?,
                row.maybe("epoch")?.map(narrow).transpose()?,
            ))),
            false => Ok(None),
        }
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        let values = [subject.into(), purpose.as_str().into()];
        self.db.rows(&FORGET, &values).await?;
        Ok(())
    }
}
