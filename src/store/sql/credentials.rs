//! Linked credentials.

use super::{Cells, Columns, Dialect, SqlStore, Statement, narrow};
use crate::{
    error::StoreError,
    store::port::{CredentialRecord, CredentialStore, LISTED_CREDENTIALS, NewCredential},
};

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT kind, id, sub, data, revision, created_at, used_at FROM auth_credential WHERE ",
            $where
        )
    };
}

static FIND: Statement = Statement::read(select!("kind = $1 AND id = $2"));

static LIST: Statement = Statement::read(select!(
    "sub = $1 AND kind = $2 ORDER BY created_at, id LIMIT $3"
));

static LINK: Statement = Statement::write(
    "INSERT INTO auth_credential (kind, id, sub, data, revision, created_at) \
     VALUES ($1, $2, $3, $4, 0, {now}) ON CONFLICT DO NOTHING RETURNING id",
);

static UPDATE: Statement = Statement::write(
    "UPDATE auth_credential SET data = $5, revision = revision + 1, used_at = {now} \
     WHERE kind = $1 AND id = $2 AND sub = $3 AND revision = $4 AND data = $6 \
     RETURNING id",
);

static UNLINK: Statement = Statement::write(
    "DELETE FROM auth_credential WHERE kind = $1 AND id = $2 AND sub = $3 RETURNING id",
);

/// Both rows are locked in one order before the removal, so that of two statements that each keep the row which
/// the other one removes, the second one waits and then finds its row gone.
static UNLINK_BESIDE: Statement = Statement::write(
    "WITH pair AS ( \
       SELECT kind, id, revision, data FROM auth_credential \
       WHERE sub = $3 AND (kind = $1 AND id = $2 OR kind = $4 AND id = $5) \
       ORDER BY kind, id {locked} \
     ) \
     DELETE FROM auth_credential WHERE kind = $1 AND id = $2 AND sub = $3 \
     AND NOT (kind = $4 AND id = $5) AND EXISTS ( \
       SELECT 1 FROM pair p WHERE p.kind = $4 AND p.id = $5 AND p.revision = $6 AND p.data = $7 \
     ) RETURNING id",
);

static UNLINK_ALL: Statement =
    Statement::write("DELETE FROM auth_credential WHERE sub = $1 RETURNING id");

impl<D: Dialect> CredentialStore for SqlStore<D> {
    async fn link_credential(&self, new: NewCredential) -> Result<bool, StoreError> {
        let values = [
            (&new.kind).into(),
            (&new.id).into(),
            (&new.subject).into(),
            (&new.data).into(),
        ];
        self.db.changed(&LINK, &values).await
    }

    async fn find_credential(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let row = self.db.row(&FIND, &[kind.into(), id.into()]).await?;
        row.map(|row| Columns(&row).credential()).transpose()
    }

    async fn credentials(
        &self,
        kind: &str,
        subject: &str,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        let values = [
            subject.into(),
            kind.into(),
            (LISTED_CREDENTIALS as i64).into(),
        ];
        let rows = self.db.rows(&LIST, &values).await?;
        rows.iter().map(|row| Columns(row).credential()).collect()
    }

    async fn update_credential(
        &self,
        from: &CredentialRecord,
        data: &str,
    ) -> Result<bool, StoreError> {
        let revision = i64::try_from(from.revision).map_err(StoreError::invalid)?;
        let values = [
            (&from.kind).into(),
            (&from.id).into(),
            (&from.subject).into(),
            revision.into(),
            data.into(),
            (&from.data).into(),
        ];
        self.db.changed(&UPDATE, &values).await
    }

    async fn unlink_credential(
        &self,
        kind: &str,
        id: &str,
        subject: &str,
    ) -> Result<bool, StoreError> {
        let values = [kind.into(), id.into(), subject.into()];
        self.db.changed(&UNLINK, &values).await
    }

    async fn unlink_credential_beside(
        &self,
        kind: &str,
        id: &str,
        kept: &CredentialRecord,
    ) -> Result<bool, StoreError> {
        let revision = i64::try_from(kept.revision).map_err(StoreError::invalid)?;
        let values = [
            kind.into(),
            id.into(),
            (&kept.subject).into(),
            (&kept.kind).into(),
            (&kept.id).into(),
            revision.into(),
            (&kept.data).into(),
        ];
        self.db.changed(&UNLINK_BESIDE, &values).await
    }

    async fn unlink_credentials(&self, subject: &str) -> Result<u64, StoreError> {
        self.db.count(&UNLINK_ALL, &[subject.into()]).await
    }
}

impl<R: Cells> Columns<'_, R> {
    fn credential(&self) -> Result<CredentialRecord, StoreError> {
        Ok(CredentialRecord {
            kind: self.text("kind")?,
            id: self.text("id")?,
            subject: self.text("sub")?,
            data: self.text("data")?,
            revision: narrow(self.number("revision")?)?,
            created_at: self.time("created_at")?,
            used_at: self.maybe_time("used_at")?,
        })
    }
}
