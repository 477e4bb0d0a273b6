//! Users in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;
use tower_jwt_auth::{
    error::StoreError,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::port::{NewUser, UserRecord, UserStore},
};

/// Users who count, fail and lose answers on demand.
#[derive(Clone, Default)]
pub(crate) struct Users {
    rows: Arc<Mutex<HashMap<String, UserRecord>>>,
    pub(crate) found: Arc<AtomicUsize>,
    pub(crate) replaced: Arc<AtomicUsize>,
    pub(crate) down: Arc<AtomicBool>,
    pub(crate) read_only: Arc<AtomicBool>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// What goes wrong when an account is kept.
pub(crate) enum Fault {
    /// Nothing is written.
    Unavailable,
    /// The answer is lost: after it was written, or before.
    Written,
    NotWritten,
    /// The answer is lost, and somebody with another password had just written the same.
    Beaten,
    /// It says that it was asked, and waits.
    Waits {
        came: Arc<Notify>,
        go: Arc<Notify>,
    },
}

impl Users {
    pub(crate) fn put(&self, name: &str, user: UserRecord) {
        let name = Identifier::new(name).unwrap();
        let user = match user.email.is_some() {
            true => user,
            false => user.email(EmailAddress::of(&name), false),
        };
        self.rows
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), user);
    }

    pub(crate) fn hash(&self, name: &str) -> String {
        let rows = self.rows.lock().unwrap();
        rows[name].password.as_ref().unwrap().expose().to_owned()
    }

    pub(crate) fn subject(&self, name: &str) -> Option<String> {
        let rows = self.rows.lock().unwrap();
        rows.get(name).map(|user| user.subject.clone())
    }

    /// Changes what is kept of a user.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(UserRecord) -> UserRecord) {
        let mut rows = self.rows.lock().unwrap();
        let user = rows.remove(name).unwrap();
        rows.insert(name.to_owned(), change(user));
    }

    pub(crate) fn next_create(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    fn up(&self) -> Result<(), StoreError> {
        match self.down.load(Ordering::Relaxed) {
            true => Err(StoreError::unavailable("unplugged")),
            false => Ok(()),
        }
    }

    fn insert(&self, new: NewUser) -> bool {
        let mut rows = self.rows.lock().unwrap();
        let name = new.identifier.as_str().to_owned();
        let taken = rows.values().any(|user| user.subject == new.subject);
        if taken || rows.contains_key(&name) {
            return false;
        }
        let mut user = UserRecord::new(new.subject)
            .roles(new.roles)
            .email(EmailAddress::of(&new.identifier), new.email_verified);
        user.password = new.password;
        rows.insert(name, user);
        true
    }
}

impl UserStore for Users {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        self.up()?;
        self.found.fetch_add(1, Ordering::Relaxed);
        Ok(self.rows.lock().unwrap().get(identifier.as_str()).cloned())
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        self.up()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.values().find(|user| user.subject == subject).cloned())
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        if self.read_only.load(Ordering::Relaxed) {
            return Err(StoreError::unavailable("read-only replica"));
        }
        let mut rows = self.rows.lock().unwrap();
        let same = |user: &&mut UserRecord| {
            let hash = user.password.as_ref().map(PasswordHash::expose);
            user.subject == subject && hash == Some(old.expose())
        };
        let Some(user) = rows.values_mut().find(same) else {
            return Ok(false);
        };
        user.password = Some(new.clone());
        self.replaced.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn can_set_first_hash(&self) -> bool {
        true
    }

    async fn set_first_hash(&self, subject: &str, new: &PasswordHash) -> Result<bool, StoreError> {
        let mut rows = self.rows.lock().unwrap();
        let user = rows.values_mut().find(|user| user.subject == subject);
        let user = user.filter(|user| user.password.is_none());
        Ok(user.map(|user| user.password = Some(new.clone())).is_some())
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, new: NewUser) -> Result<bool, StoreError> {
        let fault = self.fault.lock().unwrap().take();
        match fault {
            None => {}
            Some(Fault::Unavailable) => return Err(StoreError::unavailable("unplugged")),
            Some(Fault::NotWritten) => return Err(StoreError::interrupted("cut")),
            Some(Fault::Written) => {
                self.insert(new);
                return Err(StoreError::interrupted("cut"));
            }
            Some(Fault::Beaten) => {
                let other = PasswordHash::new("$argon2id$of another password".to_owned());
                self.insert(NewUser::new(new.subject, new.identifier, other));
                return Err(StoreError::interrupted("cut"));
            }
            Some(Fault::Waits { came, go }) => {
                came.notify_one();
                go.notified().await;
            }
        }
        Ok(self.insert(new))
    }

    fn keeps_email(&self) -> bool {
        true
    }

    async fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<bool, StoreError> {
        self.up()?;
        let mut rows = self.rows.lock().unwrap();
        let own = |user: &&mut UserRecord| {
            user.subject == subject && user.email.as_ref() == Some(address)
        };
        let user = rows.values_mut().find(own);
        Ok(user.map(|user| user.email_verified = true).is_some())
    }
}
