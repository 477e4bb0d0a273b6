//! Users: one script per method of the ports.

use super::{RedisStore, scripts};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::{
        port::{NewUser, StoreId, UserAdmin, UserEntry, UserRecord, UserStore},
        roles_of, roles_text,
    },
    time::Timestamp,
};

impl UserStore for RedisStore {
    fn store_id(&self) -> Option<StoreId> {
        Some(self.id)
    }

    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        let mut call = scripts::USER_FIND.key(self.keys.of("u", identifier.as_str()));
        call.key(&self.keys.epochs).arg(identifier.as_str());
        let row: Option<Row> = self.link.run(&call, Repeat::Harmless).await?;
        row.map(user).transpose()
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let mut call = scripts::USER_FIND_BY_SUBJECT.key(&self.keys.subjects);
        call.key(&self.keys.epochs)
            .arg(subject)
            .arg(self.keys.of("u", ""));
        let row: Option<Row> = self.link.run(&call, Repeat::Harmless).await?;
        row.map(user).transpose()
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::USER_SET.key(&self.keys.subjects);
        call.arg(subject)
            .arg(self.keys.of("u", ""))
            .arg("hash")
            .arg(new.expose())
            .arg(old.expose());
        self.link.run(&call, Repeat::Never).await
    }

    fn can_set_first_hash(&self) -> bool {
        true
    }

    async fn set_first_hash(&self, subject: &str, new: &PasswordHash) -> Result<bool, StoreError> {
        let mut call = scripts::USER_SET_FIRST_HASH.key(&self.keys.subjects);
        call.arg(subject)
            .arg(self.keys.of("u", ""))
            .arg(new.expose());
        self.link.run(&call, Repeat::Never).await
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        let identifier = user.identifier.as_str();
        let mut call = scripts::USER_CREATE.key(self.keys.of("u", identifier));
        call.key(&self.keys.names)
            .key(&self.keys.subjects)
            .arg(&user.subject)
            .arg(identifier)
            .arg(roles_text(&user.roles)?)
            .arg(u8::from(user.email_verified));
        if let Some(hash) = &user.password {
            call.arg(hash.expose());
        }
        self.link.run(&call, Repeat::Never).await
    }

    fn keeps_email(&self) -> bool {
        true
    }

    async fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::USER_VERIFY_EMAIL.key(&self.keys.subjects);
        call.arg(subject)
            .arg(self.keys.of("u", ""))
            .arg(address.as_str());
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn change_email(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::USER_CHANGE_EMAIL.key(&self.keys.subjects);
        call.key(&self.keys.names)
            .arg(subject)
            .arg(self.keys.of("u", ""))
            .arg(from.as_str())
            .arg(to.as_str());
        self.link.run(&call, Repeat::Never).await
    }
}

impl UserAdmin for RedisStore {
    async fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> Result<Vec<UserEntry>, StoreError> {
        let after = after.map_or("-".to_owned(), |after| format!("({}", after.as_str()));
        let mut call = scripts::USER_LIST.key(&self.keys.names);
        call.arg(after).arg(limit).arg(self.keys.of("u", ""));
        let rows: Vec<Line> = self.link.run(&call, Repeat::Harmless).await?;
        rows.into_iter().map(entry).collect()
    }

    async fn set_roles(&self, subject: &str, roles: &[String]) -> Result<bool, StoreError> {
        self.set_user(subject, "roles", &roles_text(roles)?).await
    }

    async fn set_disabled(&self, subject: &str, disabled: bool) -> Result<bool, StoreError> {
        let disabled = if disabled { "1" } else { "0" };
        self.set_user(subject, "off", disabled).await
    }

    async fn set_password(&self, subject: &str, hash: &PasswordHash) -> Result<bool, StoreError> {
        self.set_user(subject, "hash", hash.expose()).await
    }
}

impl RedisStore {
    async fn set_user(&self, subject: &str, field: &str, value: &str) -> Result<bool, StoreError> {
        let mut call = scripts::USER_SET.key(&self.keys.subjects);
        call.arg(subject)
            .arg(self.keys.of("u", ""))
            .arg(field)
            .arg(value);
        self.link.run(&call, Repeat::Harmless).await
    }
}

/// Subject, hash, roles, `disabled`, epoch, identifier, `email_verified`.
type Row = (String, Option<String>, String, u8, u32, String, u8);

fn user(row: Row) -> Result<UserRecord, StoreError> {
    let (subject, hash, roles, disabled, epoch, identifier, verified) = row;
    let identifier = Identifier::existing(&identifier).ok();
    Ok(UserRecord {
        subject,
        password: hash.map(PasswordHash::new),
        roles: roles_of(&roles)?,
        disabled: disabled != 0,
        email: identifier.as_ref().and_then(EmailAddress::of),
        email_verified: verified != 0,
        epoch: Some(epoch),
    })
}

/// Identifier, subject, roles, `disabled`, time of the creation.
type Line = (String, String, String, u8, i64);

fn entry((identifier, subject, roles, disabled, born): Line) -> Result<UserEntry, StoreError> {
    Ok(UserEntry {
        subject,
        identifier: Identifier::existing(&identifier).map_err(StoreError::invalid)?,
        roles: roles_of(&roles)?,
        disabled: disabled != 0,
        created_at: Timestamp::from_millis(born),
    })
}
