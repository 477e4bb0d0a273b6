//! Linked credentials: one script per method of the port.

use super::{RedisStore, scripts};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    store::port::{CredentialRecord, CredentialStore, LISTED_CREDENTIALS, NewCredential},
    time::Timestamp,
};

impl CredentialStore for RedisStore {
    async fn link_credential(&self, new: NewCredential) -> Result<bool, StoreError> {
        let mut call = scripts::CREDENTIAL_LINK.key(self.credential(&new.kind, &new.id));
        call.key(self.linked_to(&new.subject))
            .arg(&new.subject)
            .arg(&new.data)
            .arg(name(&new.kind, &new.id));
        // A repeated call would find the row of the first one.
        self.link.run(&call, Repeat::Never).await
    }

    async fn find_credential(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let call = scripts::CREDENTIAL_FIND.key(self.credential(kind, id));
        let row: Option<Fields> = self.link.run(&call, Repeat::Harmless).await?;
        Ok(row.map(|row| record(kind, id, row)))
    }

    async fn credentials(
        &self,
        kind: &str,
        subject: &str,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        let mut call = scripts::CREDENTIAL_LIST.key(self.linked_to(subject));
        call.arg(self.keys.of("c", ""))
            .arg(name(kind, ""))
            .arg(LISTED_CREDENTIALS);
        let rows: Vec<(String, Fields)> = self.link.run(&call, Repeat::Harmless).await?;
        let records = rows.into_iter().map(|(id, row)| record(kind, &id, row));
        Ok(records.collect())
    }

    async fn update_credential(
        &self,
        from: &CredentialRecord,
        data: &str,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::CREDENTIAL_UPDATE.key(self.credential(&from.kind, &from.id));
        call.arg(&from.subject)
            .arg(from.revision)
            .arg(data)
            .arg(&from.data);
        // A repeated call would find the new revision and return `false` for a change that succeeded.
        self.link.run(&call, Repeat::Never).await
    }

    async fn unlink_credential(
        &self,
        kind: &str,
        id: &str,
        subject: &str,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::CREDENTIAL_UNLINK.key(self.credential(kind, id));
        call.key(self.linked_to(subject))
            .arg(subject)
            .arg(name(kind, id));
        self.link.run(&call, Repeat::Never).await
    }

    async fn unlink_credential_beside(
        &self,
        kind: &str,
        id: &str,
        kept: &CredentialRecord,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::CREDENTIAL_UNLINK_BESIDE.key(self.credential(kind, id));
        call.key(self.linked_to(&kept.subject))
            .key(self.credential(&kept.kind, &kept.id))
            .arg(&kept.subject)
            .arg(name(kind, id))
            .arg(kept.revision)
            .arg(&kept.data);
        self.link.run(&call, Repeat::Never).await
    }

    async fn unlink_credentials(&self, subject: &str) -> Result<u64, StoreError> {
        let mut call = scripts::CREDENTIAL_UNLINK_ALL.key(self.linked_to(subject));
        call.arg(self.keys.of("c", ""));
        self.link.run(&call, Repeat::Harmless).await
    }
}

impl RedisStore {
    fn credential(&self, kind: &str, id: &str) -> String {
        self.keys.of("c", &name(kind, id))
    }

    fn linked_to(&self, subject: &str) -> String {
        self.keys.of("d", subject)
    }
}

/// The name of a row. The length keeps two kinds apart of which one begins with the other.
fn name(kind: &str, id: &str) -> String {
    format!("{}:{kind}:{id}", kind.len())
}

/// The subject, the data, the revision, and the times.
type Fields = (String, String, u64, i64, Option<i64>);

fn record(kind: &str, id: &str, fields: Fields) -> CredentialRecord {
    let (subject, data, revision, created_at, used_at) = fields;
    CredentialRecord {
        data,
        revision,
        used_at: used_at.map(Timestamp::from_millis),
        ..CredentialRecord::new(kind, id, subject, Timestamp::from_millis(created_at))
    }
}
