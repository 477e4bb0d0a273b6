//! API keys: one script per method of the port.

use std::cmp::Reverse;

use super::{RedisStore, scripts, sessions::millis};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore, LISTED, PreviousSecret, SecretDigest},
    revocation::RETENTION,
    time::Timestamp,
};

impl ApiKeyStore for RedisStore {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let call = scripts::KEY_FIND.key(self.keys.of("k", id.as_str()));
        let fields: Option<Fields> = self.link.run(&call, Repeat::Harmless).await?;
        fields.map(|fields| record(id.clone(), &fields)).transpose()
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let mut call = scripts::KEY_LIST.key(self.keys.of("o", owner));
        call.arg(self.keys.of("k", "")).arg(LISTED);
        let rows: Vec<(String, Fields)> = self.link.run(&call, Repeat::Harmless).await?;
        let read = |(id, fields): (String, Fields)| {
            let id = ApiKeyId::parse(&id).ok_or_else(broken)?;
            record(id, &fields)
        };
        let mut records = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        records.sort_by(|a, b| (Reverse(a.created_at), &a.id).cmp(&(Reverse(b.created_at), &b.id)));
        Ok(records)
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        let mut call = scripts::KEY_CREATE.key(self.keys.of("k", record.id.as_str()));
        call.key(self.keys.of("o", &record.owner))
            .arg(record.id.as_str())
            .arg(record.created_at.as_millis());
        let texts = [
            ("owner", record.owner.clone()),
            ("label", record.label.clone()),
            ("start", record.display_start.clone()),
            ("scope", record.scope.to_string()),
        ];
        for (name, text) in texts {
            call.arg(name).arg(text);
        }
        call.arg("secret").arg(record.secret.as_bytes().as_slice());
        if let Some(previous) = record.previous {
            call.arg("previous")
                .arg(previous.secret.as_bytes().as_slice())
                .arg("previous_until")
                .arg(previous.until.as_millis());
        }
        let times = [
            ("expires", record.expires_at),
            ("revoked", record.revoked_at),
            ("used", record.last_used_at),
        ];
        for (name, at) in times {
            if let Some(at) = at {
                call.arg(name).arg(at.as_millis());
            }
        }
        self.link.run(&call, Repeat::Never).await
    }

    async fn roll(&self, from: &ApiKeyRecord, to: &ApiKeyRecord) -> Result<bool, StoreError> {
        let time = |time: Option<Timestamp>| {
            let millis = time.map(|time| time.as_millis().to_string());
            millis.unwrap_or_default()
        };
        let previous = to.previous.as_ref();
        let mut call = scripts::KEY_ROLL.key(self.keys.of("k", from.id.as_str()));
        call.arg(from.secret.as_bytes().as_slice())
            .arg(time(from.revoked_at))
            .arg("secret")
            .arg(to.secret.as_bytes().as_slice())
            .arg("start")
            .arg(&to.display_start);
        if let Some(previous) = previous {
            call.arg("previous")
                .arg(previous.secret.as_bytes().as_slice())
                .arg("previous_until")
                .arg(previous.until.as_millis());
        }
        self.link.run(&call, Repeat::Never).await
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        let mut call = scripts::KEY_REVOKE.key(self.keys.of("k", id.as_str()));
        call.arg(owner);
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        let mut revoked = Vec::new();
        // In steps, because a script blocks all other clients. Ranks do not change between two steps,
        // because no key leaves the index.
        for from in (0..).step_by(LISTED) {
            let mut call = scripts::KEY_REVOKE_ALL.key(self.keys.of("o", owner));
            call.arg(self.keys.of("k", ""))
                .arg(from)
                .arg(LISTED)
                .arg(millis(RETENTION));
            let (seen, ids): (usize, Vec<String>) = self.link.run(&call, Repeat::Harmless).await?;
            for id in ids {
                revoked.push(ApiKeyId::parse(&id).ok_or_else(broken)?);
            }
            if seen < LISTED {
                break;
            }
        }
        Ok(revoked)
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut call = scripts::KEY_TOUCH.key(self.keys.of("k", ""));
        for (id, at) in used {
            call.arg(id.as_str()).arg(at.as_millis());
        }
        self.link.run(&call, Repeat::Harmless).await
    }
}

type Fields = Vec<Option<Vec<u8>>>;

/// Reads the fields in the order of the scripts.
fn record(id: ApiKeyId, fields: &[Option<Vec<u8>>]) -> Result<ApiKeyRecord, StoreError> {
    let [
        owner,
        secret,
        previous,
        previous_until,
        label,
        start,
        scope,
        created_at,
        expires_at,
        revoked_at,
        last_used_at,
    ] = fields
    else {
        return Err(broken());
    };
    let created_at = time(created_at)?.ok_or_else(broken)?;
    let secret = digest(secret)?.ok_or_else(broken)?;
    let mut record = ApiKeyRecord::new(id, secret, text(owner)?, created_at);
    let previous = digest(previous)?.zip(time(previous_until)?);
    record.previous = previous.map(|(secret, until)| PreviousSecret::new(secret, until));
    record.label = text(label)?;
    record.display_start = text(start)?;
    record.scope = text(scope)?.parse().map_err(StoreError::invalid)?;
    record.expires_at = time(expires_at)?;
    record.revoked_at = time(revoked_at)?;
    record.last_used_at = time(last_used_at)?;
    Ok(record)
}

fn text(field: &Option<Vec<u8>>) -> Result<String, StoreError> {
    let bytes = field.clone().ok_or_else(broken)?;
    String::from_utf8(bytes).map_err(StoreError::invalid)
}

fn time(field: &Option<Vec<u8>>) -> Result<Option<Timestamp>, StoreError> {
    let parse = |bytes: &Vec<u8>| {
        let text = std::str::from_utf8(bytes).map_err(StoreError::invalid)?;
        let millis = text.parse().map_err(StoreError::invalid)?;
        Ok(Timestamp::from_millis(millis))
    };
    field.as_ref().map(parse).transpose()
}

fn digest(field: &Option<Vec<u8>>) -> Result<Option<SecretDigest>, StoreError> {
    let parse = |bytes: &Vec<u8>| {
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(StoreError::invalid)?;
        Ok(SecretDigest::from_bytes(bytes))
    };
    field.as_ref().map(parse).transpose()
}

fn broken() -> StoreError {
    StoreError::invalid("the row of an API key is invalid")
}
