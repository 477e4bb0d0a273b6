//! The store of credentials that are linked to subjects: accounts at identity providers, passkeys.

use std::future::Future;

use crate::{error::StoreError, time::Timestamp};

/// A credential that is linked to a subject, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialRecord {
    /// The kind, such as `oidc` or `passkey`.
    pub kind: String,
    /// The identifier, unique within the kind.
    pub id: String,
    /// The subject to whom the credential belongs.
    pub subject: String,
    /// The data of the application, such as a public key and a signature counter.
    pub data: String,
    /// The number of changes of the data.
    pub revision: u64,
    /// The time at which the credential was linked.
    pub created_at: Timestamp,
    /// The time of the last change of the data; `None` before the first one.
    pub used_at: Option<Timestamp>,
}

impl CredentialRecord {
    /// Creates a record without data, that was never changed.
    #[must_use]
    pub fn new(
        kind: impl Into<String>,
        id: impl Into<String>,
        subject: impl Into<String>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            subject: subject.into(),
            data: String::new(),
            revision: 0,
            created_at,
            used_at: None,
        }
    }

    /// Returns `true` if the link is complete. Only such a credential counts.
    ///
    /// [`Identities`](crate::server::login::Identities) and the
    /// [endpoints](crate::server::endpoints#passkeys) first write a credential without its data, check that the
    /// user is still signed in, and then complete the link. A crash in between leaves a record for which this
    /// method returns `false`.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        !self.data.starts_with(UNFINISHED)
    }
}

/// The beginning of the data of a credential whose link is not complete.
pub(crate) const UNFINISHED: &str = "unfinished:";

/// A credential to link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewCredential {
    /// The kind: 1 to 32 characters.
    pub kind: String,
    /// The identifier, unique within the kind, of at most 2000 bytes.
    pub id: String,
    /// The subject.
    pub subject: String,
    /// The data of the application.
    pub data: String,
}

impl NewCredential {
    /// Creates a credential without data.
    #[must_use]
    pub fn new(kind: impl Into<String>, id: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            subject: subject.into(),
            data: String::new(),
        }
    }

    /// Sets the data.
    #[must_use]
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.data = data.into();
        self
    }
}

/// A store of the credentials by which subjects sign in, other than passwords.
///
/// One port serves every kind. [`Identities`](crate::server::login::Identities) links accounts at identity
/// providers with it. A passkey is a row of the kind `passkey`: the identifier is that of the credential,
/// and the data is its public key and counter. The store never reads the data.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::store::{
///     MemoryStore,
///     port::{CredentialStore, NewCredential},
/// };
///
/// let store = MemoryStore::new();
/// let new = NewCredential::new("passkey", "AQIDBA", "usr_1").data(r#"{"counter":0}"#);
/// assert!(store.link_credential(new).await?);
///
/// // A sign-in with the passkey raises its counter, unless another one did so in the meantime.
/// let found = store.find_credential("passkey", "AQIDBA").await?.ok_or("not linked")?;
/// assert!(store.update_credential(&found, r#"{"counter":1}"#).await?);
/// assert!(!store.update_credential(&found, r#"{"counter":1}"#).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Implementing
///
/// - [`link_credential`](Self::link_credential) never overwrites. Of concurrent calls for one credential,
///   exactly one returns `true`. A credential therefore belongs to one subject.
/// - [`update_credential`](Self::update_credential) compares and sets in one atomic operation. It compares the
///   subject, the revision and the data: a credential that was unlinked and linked again has another revision
///   or other data.
/// - [`unlink_credential_beside`](Self::unlink_credential_beside) compares `kept`, as `update_credential`
///   does, and removes the other credential in one atomic operation. Of two concurrent calls that each keep
///   the credential which the other one removes, exactly one returns `true`.
/// - Kinds and identifiers are compared byte by byte.
/// - A row never expires. Housekeeping does not delete it.
///
/// [`credential_store_contract!`](crate::credential_store_contract) tests these rules.
///
/// # Cancel safety
///
/// A dropped future leaves a write either done or not done.
pub trait CredentialStore: Send + Sync + 'static {
    /// Links a credential to a subject. Returns `false`, without a write, if it is linked already, to
    /// this subject or to another one.
    fn link_credential(
        &self,
        new: NewCredential,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns a credential.
    fn find_credential(
        &self,
        kind: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<CredentialRecord>, StoreError>> + Send;

    /// Returns the subject's credentials of a kind, the oldest first, at most 100.
    fn credentials(
        &self,
        kind: &str,
        subject: &str,
    ) -> impl Future<Output = Result<Vec<CredentialRecord>, StoreError>> + Send;

    /// Replaces the data of a credential, and sets the time of its last use. Returns `false`, without a
    /// write, if the credential was changed or unlinked since `from` was read.
    fn update_credential(
        &self,
        from: &CredentialRecord,
        data: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Unlinks a credential of the subject. Returns `false` if the subject has no such credential.
    fn unlink_credential(
        &self,
        kind: &str,
        id: &str,
        subject: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Unlinks a credential, as [`unlink_credential`](Self::unlink_credential) does, if another credential of
    /// the subject is as it was read. Returns `false`, without a write, if the subject has no such credential,
    /// or if `kept` was changed or unlinked.
    fn unlink_credential_beside(
        &self,
        kind: &str,
        id: &str,
        kept: &CredentialRecord,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Unlinks every credential of the subject, of all kinds. Returns their number.
    fn unlink_credentials(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// The maximum number of credentials in a list.
pub(crate) const LISTED_CREDENTIALS: usize = 100;
