//! Users.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{MutexGuard, PoisonError},
};

use super::MemoryStore;
use crate::{
    error::StoreError,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::port::{NewUser, StoreId, UserAdmin, UserEntry, UserRecord, UserStanding, UserStore},
    time::Timestamp,
};

/// Users, never evicted.
#[derive(Default)]
pub(super) struct Users {
    rows: HashMap<String, Row>,
    /// Subjects by identifier, in the byte order of the identifiers.
    subjects: BTreeMap<String, String>,
}

struct Row {
    identifier: Identifier,
    password: Option<PasswordHash>,
    roles: Vec<String>,
    disabled: bool,
    verified: bool,
    created_at: Timestamp,
}

impl MemoryStore {
    pub(super) fn lock_users(&self) -> MutexGuard<'_, Users> {
        let users = self.shared.users.lock();
        users.unwrap_or_else(PoisonError::into_inner)
    }

    fn user(&self, users: &Users, subject: &str) -> Option<UserRecord> {
        let row = users.rows.get(subject)?;
        Some(UserRecord {
            subject: subject.to_owned(),
            password: row.password.clone(),
            roles: row.roles.clone(),
            disabled: row.disabled,
            email: EmailAddress::of(&row.identifier),
            email_verified: row.verified,
            epoch: Some(self.lock().epoch(subject)),
        })
    }

    fn change(&self, subject: &str, change: impl FnOnce(&mut Row)) -> bool {
        self.lock_users()
            .rows
            .get_mut(subject)
            .map(change)
            .is_some()
    }
}

impl Users {
    /// Returns the standing of a subject, for a refresh.
    pub(super) fn standing(&self, subject: &str) -> Option<UserStanding> {
        let row = self.rows.get(subject)?;
        Some(UserStanding::new(row.roles.clone(), row.disabled))
    }
}

impl UserStore for MemoryStore {
    fn store_id(&self) -> Option<StoreId> {
        Some(self.shared.id)
    }

    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        let users = self.lock_users();
        let subject = users.subjects.get(identifier.as_str());
        Ok(subject.and_then(|subject| self.user(&users, subject)))
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.user(&self.lock_users(), subject))
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let mut users = self.lock_users();
        let row = users.rows.get_mut(subject);
        let is_old = |hash: &PasswordHash| hash.expose() == old.expose();
        let Some(row) = row.filter(|row| row.password.as_ref().is_some_and(is_old)) else {
            return Ok(false);
        };
        row.password = Some(new.clone());
        Ok(true)
    }

    fn can_set_first_hash(&self) -> bool {
        true
    }

    async fn set_first_hash(&self, subject: &str, new: &PasswordHash) -> Result<bool, StoreError> {
        let mut users = self.lock_users();
        let row = users.rows.get_mut(subject);
        let row = row.filter(|row| row.password.is_none());
        Ok(row.map(|row| row.password = Some(new.clone())).is_some())
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        let mut users = self.lock_users();
        let name = user.identifier.as_str().to_owned();
        if users.rows.contains_key(&user.subject) || users.subjects.contains_key(&name) {
            return Ok(false);
        }
        users.subjects.insert(name, user.subject.clone());
        let row = Row {
            identifier: user.identifier,
            password: user.password,
            roles: user.roles,
            disabled: false,
            verified: user.email_verified,
            created_at: self.now(),
        };
        users.rows.insert(user.subject, row);
        Ok(true)
    }

    fn keeps_email(&self) -> bool {
        true
    }

    async fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let mut users = self.lock_users();
        let row = users.rows.get_mut(subject);
        let row = row.filter(|row| row.identifier == *address.identifier());
        Ok(row.map(|row| row.verified = true).is_some())
    }

    async fn change_email(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let mut users = self.lock_users();
        let users = &mut *users;
        let row = users.rows.get_mut(subject);
        let Some(row) = row.filter(|row| row.identifier == *from.identifier()) else {
            return Ok(false);
        };
        if users.subjects.contains_key(to.as_str()) {
            return Ok(false);
        }
        users.subjects.remove(from.as_str());
        users
            .subjects
            .insert(to.as_str().to_owned(), subject.to_owned());
        row.identifier = to.identifier().clone();
        row.verified = true;
        Ok(true)
    }
}

impl UserAdmin for MemoryStore {
    async fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> Result<Vec<UserEntry>, StoreError> {
        let users = self.lock_users();
        let after = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str()));
        let page = users.subjects.range::<str, _>((after, Bound::Unbounded));
        let entry = |subject: &String| {
            let row = users.rows.get(subject)?;
            Some(UserEntry {
                subject: subject.clone(),
                identifier: row.identifier.clone(),
                roles: row.roles.clone(),
                disabled: row.disabled,
                created_at: row.created_at,
            })
        };
        let entries = page.filter_map(|(_, subject)| entry(subject));
        Ok(entries.take(limit as usize).collect())
    }

    async fn set_roles(&self, subject: &str, roles: &[String]) -> Result<bool, StoreError> {
        Ok(self.change(subject, |row| row.roles = roles.to_vec()))
    }

    async fn set_disabled(&self, subject: &str, disabled: bool) -> Result<bool, StoreError> {
        Ok(self.change(subject, |row| row.disabled = disabled))
    }

    async fn set_password(&self, subject: &str, hash: &PasswordHash) -> Result<bool, StoreError> {
        Ok(self.change(subject, |row| row.password = Some(hash.clone())))
    }
}
