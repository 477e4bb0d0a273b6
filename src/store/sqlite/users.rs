//! Users.

use super::{SqliteStore, sessions::now};
use crate::{
    error::StoreError,
    server::login::{Identifier, PasswordHash},
    store::{
        port::{NewUser, UserAdmin, UserEntry, UserRecord, UserStore},
        roles_text,
        sql::{
            Columns,
            login::{REPLACE_HASH, USERS, find_user, set_user},
        },
    },
};

const CREATE: &str = concat!(
    "INSERT INTO auth_user (sub, identifier, hash, roles, created_at) VALUES ($1, $2, $3, $4, ",
    now!(),
    ") ON CONFLICT DO NOTHING RETURNING 1"
);

impl UserStore for SqliteStore {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        let find = sqlx::query(find_user!("identifier")).bind(identifier.as_str());
        let rows = self.read(find).await?;
        rows.first().map(|row| Columns(row).user()).transpose()
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let rows = self
            .read(sqlx::query(find_user!("sub")).bind(subject))
            .await?;
        rows.first().map(|row| Columns(row).user()).transpose()
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let replace = sqlx::query(REPLACE_HASH)
            .bind(subject)
            .bind(old.expose())
            .bind(new.expose());
        Ok(!self.write(replace).await?.is_empty())
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        let create = sqlx::query(CREATE)
            .bind(&user.subject)
            .bind(user.identifier.as_str())
            .bind(user.password.expose())
            .bind(roles_text(&user.roles)?);
        Ok(!self.write(create).await?.is_empty())
    }
}

impl UserAdmin for SqliteStore {
    async fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> Result<Vec<UserEntry>, StoreError> {
        let users = sqlx::query(USERS)
            .bind(after.map_or("", Identifier::as_str))
            .bind(i64::from(limit));
        let rows = self.read(users).await?;
        rows.iter().map(|row| Columns(row).user_entry()).collect()
    }

    async fn set_roles(&self, subject: &str, roles: &[String]) -> Result<bool, StoreError> {
        let set = sqlx::query(set_user!("roles"))
            .bind(subject)
            .bind(roles_text(roles)?);
        Ok(!self.write(set).await?.is_empty())
    }

    async fn set_disabled(&self, subject: &str, disabled: bool) -> Result<bool, StoreError> {
        let set = sqlx::query(set_user!("disabled"))
            .bind(subject)
            .bind(i64::from(disabled));
        Ok(!self.write(set).await?.is_empty())
    }

    async fn set_password(&self, subject: &str, hash: &PasswordHash) -> Result<bool, StoreError> {
        let set = sqlx::query(set_user!("hash"))
            .bind(subject)
            .bind(hash.expose());
        Ok(!self.write(set).await?.is_empty())
    }
}
