//! Every port of a login server in one trait.

use std::future::{Future, ready};

use crate::{
    error::{ConfigError, StoreError},
    revocation::RevocationSet,
    store::port::{
        CredentialStore, FactorStore, GuestStore, KeyRingStore, OneTimeStore, SecretStore,
        SessionStore, ThrottleStore, UserStore,
    },
};

/// A store with every port that an [`AuthServer`](crate::AuthServer) uses.
///
/// Every store of this crate implements it. A custom store that has the other ports adds
/// [`revocations`](Self::revocations).
///
/// A custom users table does not need this trait. It is a [`UserStore`] of its own beside a store of
/// this crate: [`AuthServerBuilder::users`](crate::server::AuthServerBuilder::users).
pub trait AuthStore:
    SessionStore
    + GuestStore
    + UserStore
    + ThrottleStore
    + OneTimeStore
    + SecretStore
    + KeyRingStore
    + FactorStore
    + CredentialStore
    + Clone
{
    /// Returns a set that follows the revocations of this store, usually by
    /// [`RevocationSet::follow`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] outside a tokio runtime.
    fn revocations(&self) -> Result<RevocationSet, ConfigError>;

    /// Revokes the [API keys](crate::layer::api_key::ApiKeys) of a subject, in the store and for every node that
    /// follows its revocations. An [`AuthServer`](crate::AuthServer) calls it before the owner of an address
    /// takes an account over. The call can be repeated.
    ///
    /// The default does nothing: for a store without API keys.
    ///
    /// # Errors
    ///
    /// Any error: the owner is not signed in, and repeats the proof.
    fn revoke_api_keys(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = subject;
        ready(Ok(()))
    }
}
