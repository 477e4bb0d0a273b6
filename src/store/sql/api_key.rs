//! Rows of API keys.

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::Columns;
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, PreviousSecret, SecretDigest},
    time::Timestamp,
};

/// What [`api_key`](Columns::api_key) reads.
macro_rules! api_keys {
    ($where:literal) => {
        concat!(
            "SELECT id, secret, previous, previous_until, owner, label, display_start, scope, \
             created_at, expires_at, revoked_at, last_used_at FROM auth_api_key WHERE ",
            $where
        )
    };
}

/// Gives a live key of this owner a new secret.
macro_rules! roll_api_key {
    ($($now:tt)*) => {
        concat!(
            "UPDATE auth_api_key SET previous = secret, previous_until = ", $($now)*, " + $5, \
             secret = $3, display_start = $4 \
             WHERE id = $1 AND owner = $2 AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > ", $($now)*, ") RETURNING 1"
        )
    };
}

macro_rules! revoke_api_key {
    ($($now:tt)*) => {
        concat!(
            "UPDATE auth_api_key SET revoked_at = COALESCE(revoked_at, ", $($now)*, ") \
             WHERE id = $1 AND owner = $2 RETURNING 1"
        )
    };
}

/// Those that were revoked within the time `$2` are given as well.
macro_rules! revoke_api_keys {
    ($($now:tt)*) => {
        concat!(
            "UPDATE auth_api_key SET revoked_at = COALESCE(revoked_at, ", $($now)*, ") \
             WHERE owner = $1 AND (revoked_at IS NULL OR revoked_at > ", $($now)*, " - $2) RETURNING id"
        )
    };
}

pub(in crate::store) use {api_keys, revoke_api_key, revoke_api_keys, roll_api_key};

pub(in crate::store) const CREATE_API_KEY: &str = "INSERT INTO auth_api_key (id, secret, previous, previous_until, owner, label, display_start, \
     scope, created_at, expires_at, revoked_at, last_used_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT (id) DO NOTHING RETURNING 1";

impl<'r, R> Columns<'r, R>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    pub(in crate::store) fn api_key(&self) -> Result<ApiKeyRecord, StoreError> {
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

    pub(in crate::store) fn api_key_id(&self) -> Result<ApiKeyId, StoreError> {
        ApiKeyId::parse(&self.text("id")?)
            .ok_or_else(|| StoreError::invalid("a key's identifier that is none"))
    }

    fn maybe_time(&self, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe(name)?.map(Timestamp::from_millis))
    }
}

fn digest(bytes: Vec<u8>) -> Result<SecretDigest, StoreError> {
    let bytes = bytes.try_into();
    bytes
        .map(SecretDigest::from_bytes)
        .map_err(|_| StoreError::invalid("a digest is not of 32 bytes"))
}
