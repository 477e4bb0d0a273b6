//! Revocations and the server's secrets.

use super::{Columns, Dialect, SqlStore, Statement, target};
use crate::{
    error::StoreError,
    revocation::{Revocation, RevocationLog},
    secret::Secret,
    store::port::SecretStore,
};

static APPEND: Statement = Statement::revoke(
    "INSERT INTO auth_revocation (kind, key, epoch, \"until\", at) VALUES ($1, $2, $3, $4, {now})",
);

/// Deletes more rows than one append inserts, so that the table stays bounded without a housekeeping.
static FORGET: Statement = Statement::write(
    "DELETE FROM auth_revocation WHERE seq IN ( \
       SELECT seq FROM auth_revocation WHERE \"until\" <= {now} LIMIT 10 {unlocked} \
     ) RETURNING seq",
);

static INSERT: Statement = Statement::write(
    "INSERT INTO auth_secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING value",
);

static SECRET: Statement = Statement::read("SELECT value FROM auth_secret WHERE name = $1");

impl<D: Dialect> RevocationLog for SqlStore<D> {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        let (kind, key, epoch) = target(&revocation);
        let until = revocation.until().as_millis();
        let values = [kind.into(), (&key).into(), epoch.into(), until.into()];
        self.db.rows(&APPEND, &values).await?;
        // The revocation is written. The next append deletes what this one does not.
        let _ = self.db.rows(&FORGET, &[]).await;
        Ok(())
    }
}

impl<D: Dialect> SecretStore for SqlStore<D> {
    // Two statements, because the first one does not see what another node inserted concurrently.
    async fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> Result<Secret<Vec<u8>>, StoreError> {
        let inserted = self.db.row(&INSERT, &[name.into(), fresh.into()]).await?;
        let row = match inserted {
            Some(row) => row,
            None => self.db.only_row(&SECRET, &[name.into()]).await?,
        };
        Columns(&row).bytes("value").map(Secret::new)
    }
}
