//! Users.

use super::{PostgresStore, sessions::now};
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

impl UserStore for PostgresStore {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        let row = self
            .row(|| sqlx::query(find_user!("identifier")).bind(identifier.as_str()))
            .await?;
        row.map(|row| Columns(&row).user()).transpose()
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let row = self
            .row(|| sqlx::query(find_user!("sub")).bind(subject))
            .await?;
        row.map(|row| Columns(&row).user()).transpose()
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let row = self
            .row(|| {
                sqlx::query(REPLACE_HASH)
                    .bind(subject)
                    .bind(old.expose())
                    .bind(new.expose())
            })
            .await?;
        Ok(row.is_some())
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        let roles = roles_text(&user.roles)?;
        let row = self
            .row(|| {
                sqlx::query(CREATE)
                    .bind(&user.subject)
                    .bind(user.identifier.as_str())
                    .bind(user.password.expose())
                    .bind(&roles)
            })
            .await?;
        Ok(row.is_some())
    }
}

impl UserAdmin for PostgresStore {
    async fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> Result<Vec<UserEntry>, StoreError> {
        let rows = self
            .rows(|| {
                sqlx::query(USERS)
                    .bind(after.map_or("", Identifier::as_str))
                    .bind(i64::from(limit))
            })
            .await?;
        rows.iter().map(|row| Columns(row).user_entry()).collect()
    }

    async fn set_roles(&self, subject: &str, roles: &[String]) -> Result<bool, StoreError> {
        let roles = roles_text(roles)?;
        let set = || sqlx::query(set_user!("roles")).bind(subject).bind(&roles);
        Ok(self.row(set).await?.is_some())
    }

    async fn set_disabled(&self, subject: &str, disabled: bool) -> Result<bool, StoreError> {
        let set = || {
            sqlx::query(set_user!("disabled"))
                .bind(subject)
                .bind(i64::from(disabled))
        };
        Ok(self.row(set).await?.is_some())
    }

    async fn set_password(&self, subject: &str, hash: &PasswordHash) -> Result<bool, StoreError> {
        let set = || {
            sqlx::query(set_user!("hash"))
                .bind(subject)
                .bind(hash.expose())
        };
        Ok(self.row(set).await?.is_some())
    }
}
