//! API keys.

use std::collections::BTreeMap;

use super::{Cells, Columns, Dialect, SqlStore, Statement, millis};
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore, LISTED, PreviousSecret, SecretDigest},
    revocation::RETENTION,
    time::Timestamp,
};

macro_rules! select {
    ($where:literal) => {
        concat!(
            "SELECT id, secret, previous, previous_until, owner, label, display_start, scope, \
             created_at, expires_at, revoked_at, last_used_at FROM auth_api_key WHERE ",
            $where
        )
    };
}

static FIND: Statement = Statement::read(select!("id = $1"));

static LIST: Statement =
    Statement::read(select!("owner = $1 ORDER BY created_at DESC, id LIMIT $2"));

static CREATE: Statement = Statement::write(
    "INSERT INTO auth_api_key (id, secret, previous, previous_until, owner, label, display_start, \
       scope, created_at, expires_at, revoked_at, last_used_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT (id) DO NOTHING RETURNING id",
);

static ROLL: Statement = Statement::write(
    "UPDATE auth_api_key SET secret = $4, previous = $5, previous_until = $6, display_start = $7 \
     WHERE id = $1 AND secret = $2 AND revoked_at IS NOT DISTINCT FROM $3 RETURNING id",
);

static REVOKE: Statement = Statement::write(
    "UPDATE auth_api_key SET revoked_at = COALESCE(revoked_at, {now}) \
     WHERE id = $1 AND owner = $2 RETURNING id",
);

/// Also returns the keys that were revoked within the time `$2`.
static REVOKE_ALL: Statement = Statement::write(
    "UPDATE auth_api_key SET revoked_at = COALESCE(revoked_at, {now}) \
     WHERE owner = $1 AND (revoked_at IS NULL OR revoked_at > {now} - $2) RETURNING id",
);

/// Updates all keys in one statement, for one sync of the disk. Locks them in the order of their
/// identifiers, so that two of these statements cannot deadlock.
static TOUCH: Statement = Statement::write(
    "WITH used AS ( \
       SELECT value ->> 0 AS id, CAST(value ->> 1 AS bigint) AS at FROM {each} \
     ) \
     UPDATE auth_api_key AS k SET last_used_at = (SELECT used.at FROM used WHERE used.id = k.id) \
     WHERE id IN ( \
       SELECT a.id FROM auth_api_key a \
       WHERE a.id IN (SELECT id FROM used) AND (a.last_used_at IS NULL \
         OR a.last_used_at < (SELECT used.at FROM used WHERE used.id = a.id)) \
       ORDER BY a.id {locked} \
     )",
);

impl<D: Dialect> ApiKeyStore for SqlStore<D> {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let row = self.db.row(&FIND, &[id.as_str().into()]).await?;
        row.map(|row| Columns(&row).api_key()).transpose()
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let values = [owner.into(), (LISTED as i64).into()];
        let rows = self.db.rows(&LIST, &values).await?;
        rows.iter().map(|row| Columns(row).api_key()).collect()
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        let previous = record.previous;
        let previous_secret = previous.as_ref().map(|previous| previous.secret.as_bytes());
        let scope = record.scope.to_string();
        let time = |time: Option<Timestamp>| time.map(Timestamp::as_millis).into();
        let values = [
            record.id.as_str().into(),
            record.secret.as_bytes().into(),
            previous_secret.map(|secret| secret.as_slice()).into(),
            time(previous.map(|previous| previous.until)),
            (&record.owner).into(),
            (&record.label).into(),
            (&record.display_start).into(),
            (&scope).into(),
            record.created_at.as_millis().into(),
            time(record.expires_at),
            time(record.revoked_at),
            time(record.last_used_at),
        ];
        self.db.changed(&CREATE, &values).await
    }

    async fn roll(&self, from: &ApiKeyRecord, to: &ApiKeyRecord) -> Result<bool, StoreError> {
        let time = |time: Option<Timestamp>| time.map(Timestamp::as_millis).into();
        let previous = to.previous.as_ref();
        let previous_secret = previous.map(|previous| previous.secret.as_bytes());
        let values = [
            from.id.as_str().into(),
            from.secret.as_bytes().into(),
            time(from.revoked_at),
            to.secret.as_bytes().into(),
            previous_secret.map(|secret| secret.as_slice()).into(),
            time(previous.map(|previous| previous.until)),
            (&to.display_start).into(),
        ];
        self.db.changed(&ROLL, &values).await
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        self.db
            .changed(&REVOKE, &[id.as_str().into(), owner.into()])
            .await
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        let values = [owner.into(), millis(RETENTION).into()];
        let rows = self.db.rows(&REVOKE_ALL, &values).await?;
        rows.iter().map(|row| Columns(row).api_key_id()).collect()
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut latest = BTreeMap::new();
        for (id, at) in used {
            let last = latest.entry(id.as_str()).or_insert(at.as_millis());
            *last = at.as_millis().max(*last);
        }
        let latest: Vec<_> = latest.into_iter().collect();
        let latest = serde_json::to_string(&latest).map_err(StoreError::invalid)?;
        self.db.rows(&TOUCH, &[(&latest).into()]).await?;
        Ok(())
    }
}

impl<R: Cells> Columns<'_, R> {
    fn api_key(&self) -> Result<ApiKeyRecord, StoreError> {
        let id = self.api_key_id()?;
        let secret = digest(self.bytes("secret")?)?;
        let mut record =
            ApiKeyRecord::new(id, secret, self.text("owner")?, self.time("created_at")?);
        let previous = self.maybe_bytes("previous")?.map(digest).transpose()?;
        let until = self.maybe_time("previous_until")?;
        record.previous = previous
            .zip(until)
            .map(|(secret, until)| PreviousSecret::new(secret, until));
        record.label = self.text("label")?;
        record.display_start = self.text("display_start")?;
        record.scope = self.text("scope")?.parse().map_err(StoreError::invalid)?;
        record.expires_at = self.maybe_time("expires_at")?;
        record.revoked_at = self.maybe_time("revoked_at")?;
        record.last_used_at = self.maybe_time("last_used_at")?;
        Ok(record)
    }

    fn api_key_id(&self) -> Result<ApiKeyId, StoreError> {
        ApiKeyId::parse(&self.text("id")?)
            .ok_or_else(|| StoreError::invalid("the identifier of an API key is invalid"))
    }
}

fn digest(bytes: Vec<u8>) -> Result<SecretDigest, StoreError> {
    let bytes = bytes.try_into();
    bytes
        .map(SecretDigest::from_bytes)
        .map_err(|_| StoreError::invalid("a digest is not of 32 bytes"))
}
