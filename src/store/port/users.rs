//! Users, and the store port for them.

use std::future::{Future, ready};

use crate::{
    error::StoreError,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::port::StoreId,
};

/// A user as the store keeps it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UserRecord {
    /// The subject in tokens. It never changes and is never reassigned to another user.
    pub subject: String,
    /// The password hash; `None` for a user who signs in by other means.
    pub password: Option<PasswordHash>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// `true` if the user may not sign in.
    pub disabled: bool,
    /// The address to which mails for the user are sent; `None` if there is none. In the stores of
    /// this crate it is the identifier, if that is an address.
    pub email: Option<EmailAddress>,
    /// `true` if the user has proved to receive mail at the address.
    pub email_verified: bool,
    /// The user's epoch in the session store, if `find` reads it in the same query. Otherwise it is
    /// read separately.
    pub epoch: Option<u32>,
}

impl UserRecord {
    /// Creates a user without a password and without roles.
    #[must_use]
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            password: None,
            roles: Vec::new(),
            disabled: false,
            email: None,
            email_verified: false,
            epoch: None,
        }
    }

    /// Sets the password hash.
    #[must_use]
    pub fn password(mut self, hash: PasswordHash) -> Self {
        self.password = Some(hash);
        self
    }

    /// Sets the roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether the user is disabled.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Returns `true` if a token that was sent to this address is still valid for the user. A token that
    /// was not sent by mail names no address.
    pub(crate) fn has_email(&self, sent_to: Option<&str>) -> bool {
        let own = self.email.as_ref().map(EmailAddress::as_str);
        sent_to.is_none() || sent_to == own
    }

    /// Sets the address for mails, and whether it is verified.
    #[must_use]
    pub fn email(mut self, address: Option<EmailAddress>, verified: bool) -> Self {
        self.email_verified = verified && address.is_some();
        self.email = address;
        self
    }

    /// Sets the epoch, as read from the session store in the same query.
    #[must_use]
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }
}

/// A user who registers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUser {
    /// The subject for tokens.
    pub subject: String,
    /// The identifier with which the user will sign in.
    pub identifier: Identifier,
    /// The password hash; `None` for a user who signs in by other means.
    pub password: Option<PasswordHash>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// `true` if the identifier is an address at which the user has proved to receive mail. A store that
    /// [keeps addresses](UserStore::keeps_email) writes it together with the user.
    pub email_verified: bool,
}

impl NewUser {
    /// Creates a new user without roles.
    #[must_use]
    pub fn new(subject: impl Into<String>, identifier: Identifier, password: PasswordHash) -> Self {
        Self {
            password: Some(password),
            ..Self::without_password(subject, identifier)
        }
    }

    /// Creates a new user without roles who has no password: of an identity provider, or with a passkey.
    #[must_use]
    pub fn without_password(subject: impl Into<String>, identifier: Identifier) -> Self {
        Self {
            subject: subject.into(),
            identifier,
            password: None,
            roles: Vec::new(),
            email_verified: false,
        }
    }

    /// Sets the roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether the identifier is an address at which the user has proved to receive mail.
    #[must_use]
    pub fn email_verified(mut self, verified: bool) -> Self {
        self.email_verified = verified;
        self
    }
}

/// A store of users.
///
/// Implement it for your user table, or use a store of this crate, which also implements
/// [`UserAdmin`](crate::store::port::UserAdmin). A login needs `find` and `replace_hash`. Refreshes and
/// password changes need `find_by_subject`. Registration needs `create` and `can_create`; leave both
/// out if users register elsewhere. A first password for a user without one needs `set_first_hash`. Mails need the [`email`](UserRecord::email) of the records;
/// verified addresses need `keeps_email`, `verify_email` and `change_email` as well.
///
/// # Security
///
/// - `find` compares identifiers byte by byte. Store them in the same normalized form
///   ([`Identifier::new`] for a new one, [`Identifier::existing`] for imported ones). A collation
///   that finds `ada` under `ÁDA` or `ada ` gives an attacker a fresh counter for each spelling.
/// - `find` must do the same work for existing and unknown users. An extra query or a join over
///   many rows for only one of them can be measured from outside.
/// - Write the text of a hash only into its column.
pub trait UserStore: Send + Sync + 'static {
    /// Returns the user with this identifier, including disabled users.
    fn find(
        &self,
        identifier: &Identifier,
    ) -> impl Future<Output = Result<Option<UserRecord>, StoreError>> + Send;

    /// Returns the user with this address, including disabled users. The default is
    /// [`find`](Self::find): the address is the identifier.
    ///
    /// Override it if users sign in with a name and have an address beside it. At most one user has an
    /// address. The rules of `find` apply.
    fn find_by_email(
        &self,
        address: &EmailAddress,
    ) -> impl Future<Output = Result<Option<UserRecord>, StoreError>> + Send {
        self.find(address.identifier())
    }

    /// Returns the user with this subject, including disabled users.
    fn find_by_subject(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Option<UserRecord>, StoreError>> + Send;

    /// Returns the identity of the session store that reads these users together with a session.
    ///
    /// If the sessions are in that store, a refresh reads the user's roles in the query that reads
    /// the session. Only a store that is a [`SessionStore`](crate::store::port::SessionStore) as well
    /// needs it.
    fn store_id(&self) -> Option<StoreId> {
        None
    }

    /// Replaces a user's password hash if it still equals `old`, byte by byte. Returns `false`,
    /// without a write, if the hash differs or the user does not exist.
    ///
    /// One statement: `UPDATE … SET hash = $new WHERE subject = $subject AND hash = $old`. A
    /// concurrent change of the password therefore takes precedence over an upgrade of the old
    /// hash.
    fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns `true` if [`set_first_hash`](Self::set_first_hash) is implemented. The default is `false`:
    /// a user without a password then gets no link for a new one.
    fn can_set_first_hash(&self) -> bool {
        false
    }

    /// Sets the password hash of a user who has none. Returns `false`, without a write, if the user has a
    /// password or does not exist.
    ///
    /// One statement: `UPDATE … SET hash = $new WHERE subject = $subject AND hash IS NULL`.
    ///
    /// The default returns an error. It is not called unless
    /// [`can_set_first_hash`](Self::can_set_first_hash) returns `true`.
    fn set_first_hash(
        &self,
        subject: &str,
        new: &PasswordHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = (subject, new);
        ready(Err(StoreError::invalid(
            "this user store does not set first passwords",
        )))
    }

    /// Returns `true` if [`create`](Self::create) is implemented. The default is `false`: enabling
    /// registration is then a [`ConfigError`](crate::ConfigError), not a failure of every request.
    fn can_create(&self) -> bool {
        false
    }

    /// Inserts a new user. Returns `false` if the subject or the identifier is taken. Never
    /// overwrites.
    ///
    /// The default returns an error. It is not called unless [`can_create`](Self::can_create) returns
    /// `true`.
    fn create(&self, user: NewUser) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = user;
        ready(Err(StoreError::invalid(
            "this user store does not create users",
        )))
    }

    /// Returns `true` if [`verify_email`](Self::verify_email) and
    /// [`change_email`](Self::change_email) are implemented. The default is `false`: addresses are
    /// then neither verified nor changed, and resets by mail still work.
    ///
    /// # Security
    ///
    /// Without it, an account that another person has registered for a foreign address keeps what this
    /// person has set when the owner of the address resets the password: a second factor, API keys. Leave it
    /// out only if your application verifies addresses before an account can be used.
    fn keeps_email(&self) -> bool {
        false
    }

    /// Records that the user receives mail at this address. Returns `false`, without a write, if the
    /// user has another address, or does not exist. An address that is verified stays verified.
    ///
    /// One statement: `UPDATE … SET verified = true WHERE subject = $subject AND email = $address`.
    ///
    /// The default returns an error. It is not called unless [`keeps_email`](Self::keeps_email)
    /// returns `true`.
    fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = (subject, address);
        ready(Err(no_email()))
    }

    /// Replaces the user's address by one that is verified. If the address is the identifier, the user
    /// signs in with the new one from then on. Returns `false`, without a write, if the user's address
    /// is not `from`, if the user does not exist, or if another user has `to`.
    ///
    /// One statement. Of concurrent changes to one address, exactly one returns `true`.
    ///
    /// The default returns an error. It is not called unless [`keeps_email`](Self::keeps_email)
    /// returns `true`.
    fn change_email(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = (subject, from, to);
        ready(Err(no_email()))
    }
}

fn no_email() -> StoreError {
    StoreError::invalid("this user store does not keep addresses")
}
