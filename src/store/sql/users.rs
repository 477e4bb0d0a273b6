//! Users.

use super::{Cells, Columns, Dialect, SqlStore, Statement};
use crate::{
    error::StoreError,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::{
        port::{NewUser, StoreId, UserAdmin, UserEntry, UserRecord, UserStore},
        roles_of, roles_text,
    },
};

/// Reads a user and the epoch of its sessions in one statement.
macro_rules! find {
    ($column:literal) => {
        concat!(
            "SELECT u.sub, u.hash, u.roles, u.disabled, u.identifier, u.verified_at, \
             COALESCE((SELECT a.epoch FROM auth_subject a WHERE a.sub = u.sub), 0) AS epoch \
             FROM auth_user u WHERE u.",
            $column,
            " = $1"
        )
    };
}

macro_rules! set {
    ($column:literal) => {
        concat!(
            "UPDATE auth_user SET ",
            $column,
            " = $2 WHERE sub = $1 RETURNING sub"
        )
    };
}

static FIND: Statement = Statement::read(find!("identifier"));
static FIND_BY_SUBJECT: Statement = Statement::read(find!("sub"));
static SET_ROLES: Statement = Statement::write(set!("roles"));
static SET_DISABLED: Statement = Statement::write(set!("disabled"));
static SET_PASSWORD: Statement = Statement::write(set!("hash"));

static REPLACE_HASH: Statement =
    Statement::write("UPDATE auth_user SET hash = $3 WHERE sub = $1 AND hash = $2 RETURNING sub");

static SET_FIRST_HASH: Statement = Statement::write(
    "UPDATE auth_user SET hash = $2 WHERE sub = $1 AND hash IS NULL RETURNING sub",
);

macro_rules! create {
    ($verified:literal) => {
        concat!(
            "INSERT INTO auth_user (sub, identifier, hash, roles, created_at, verified_at) \
             VALUES ($1, $2, $3, $4, {now}, ",
            $verified,
            ") ON CONFLICT DO NOTHING RETURNING sub"
        )
    };
}

static CREATE: Statement = Statement::write(create!("NULL"));
static CREATE_VERIFIED: Statement = Statement::write(create!("{now}"));

static VERIFY_EMAIL: Statement = Statement::write(
    "UPDATE auth_user SET verified_at = COALESCE(verified_at, {now}) \
     WHERE sub = $1 AND identifier = $2 RETURNING sub",
);

/// The constraint on the column refuses the second of two concurrent changes to one address.
static CHANGE_EMAIL: Statement = Statement::write(
    "UPDATE auth_user SET identifier = $3, verified_at = {now} \
     WHERE sub = $1 AND identifier = $2 \
     AND NOT EXISTS (SELECT 1 FROM auth_user o WHERE o.identifier = $3) RETURNING sub",
);

static USERS: Statement = Statement::read(
    "SELECT sub, identifier, roles, disabled, created_at FROM auth_user \
     WHERE identifier > $1 ORDER BY identifier LIMIT $2",
);

impl<D: Dialect> UserStore for SqlStore<D> {
    fn store_id(&self) -> Option<StoreId> {
        Some(self.id)
    }

    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        let row = self.db.row(&FIND, &[identifier.as_str().into()]).await?;
        row.map(|row| Columns(&row).user()).transpose()
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let row = self.db.row(&FIND_BY_SUBJECT, &[subject.into()]).await?;
        row.map(|row| Columns(&row).user()).transpose()
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let values = [subject.into(), old.expose().into(), new.expose().into()];
        self.db.changed(&REPLACE_HASH, &values).await
    }

    fn can_set_first_hash(&self) -> bool {
        true
    }

    async fn set_first_hash(&self, subject: &str, new: &PasswordHash) -> Result<bool, StoreError> {
        let values = [subject.into(), new.expose().into()];
        self.db.changed(&SET_FIRST_HASH, &values).await
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        let roles = roles_text(&user.roles)?;
        let values = [
            (&user.subject).into(),
            user.identifier.as_str().into(),
            user.password.as_ref().map(PasswordHash::expose).into(),
            (&roles).into(),
        ];
        let create = match user.email_verified {
            true => &CREATE_VERIFIED,
            false => &CREATE,
        };
        self.db.changed(create, &values).await
    }

    fn keeps_email(&self) -> bool {
        true
    }

    async fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let values = [subject.into(), address.as_str().into()];
        self.db.changed(&VERIFY_EMAIL, &values).await
    }

    async fn change_email(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let values = [subject.into(), from.as_str().into(), to.as_str().into()];
        match self.db.changed(&CHANGE_EMAIL, &values).await {
            Err(error) if is_taken(&error) => Ok(false),
            changed => changed,
        }
    }
}

impl<D: Dialect> UserAdmin for SqlStore<D> {
    async fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> Result<Vec<UserEntry>, StoreError> {
        let after = after.map_or("", Identifier::as_str);
        let values = [after.into(), i64::from(limit).into()];
        let rows = self.db.rows(&USERS, &values).await?;
        rows.iter().map(|row| Columns(row).user_entry()).collect()
    }

    async fn set_roles(&self, subject: &str, roles: &[String]) -> Result<bool, StoreError> {
        let roles = roles_text(roles)?;
        self.db
            .changed(&SET_ROLES, &[subject.into(), (&roles).into()])
            .await
    }

    async fn set_disabled(&self, subject: &str, disabled: bool) -> Result<bool, StoreError> {
        let values = [subject.into(), i64::from(disabled).into()];
        self.db.changed(&SET_DISABLED, &values).await
    }

    async fn set_password(&self, subject: &str, hash: &PasswordHash) -> Result<bool, StoreError> {
        let values = [subject.into(), hash.expose().into()];
        self.db.changed(&SET_PASSWORD, &values).await
    }
}

/// Returns `true` if a unique constraint refused the statement.
fn is_taken(error: &StoreError) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    let cause = cause.and_then(sqlx::Error::as_database_error);
    cause.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

impl<R: Cells> Columns<'_, R> {
    fn user(&self) -> Result<UserRecord, StoreError> {
        Ok(UserRecord {
            subject: self.text("sub")?,
            password: self.maybe_text("hash")?.map(PasswordHash::new),
            roles: roles_of(&self.text("roles")?)?,
            disabled: self.flag("disabled")?,
            email: self.email()?,
            email_verified: self.maybe("verified_at")?.is_some(),
            epoch: Some(self.epoch("epoch")?),
        })
    }

    /// Returns the identifier, if it is an address.
    fn email(&self) -> Result<Option<EmailAddress>, StoreError> {
        let identifier = Identifier::existing(&self.text("identifier")?);
        Ok(identifier.ok().as_ref().and_then(EmailAddress::of))
    }

    fn user_entry(&self) -> Result<UserEntry, StoreError> {
        let identifier =
            Identifier::existing(&self.text("identifier")?).map_err(StoreError::invalid)?;
        Ok(UserEntry {
            subject: self.text("sub")?,
            identifier,
            roles: roles_of(&self.text("roles")?)?,
            disabled: self.flag("disabled")?,
            created_at: self.time("created_at")?,
        })
    }
}
