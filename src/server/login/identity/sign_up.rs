//! Accounts for identities that no user has.

use super::{Identities, Identity, IdentityOutcome};
use crate::{
    error::{StoreError, StoreErrorKind},
    secret::{base62::base62, random},
    server::login::{EmailAddress, PasswordHash},
    store::port::{ErasedUserStore, NewUser},
};

/// The treatment of an identity that no user has:
/// [`AuthServerBuilder::on_unknown_identity`](crate::server::AuthServerBuilder::on_unknown_identity).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownIdentity {
    /// The sign-in is refused with `no_account`, or with `link_required` if a user has the address.
    #[default]
    Refuse,
    /// The sign-in creates an account: [`Identities::sign_up`].
    CreateAccount,
}

impl Identities {
    /// Signs in as [`sign_in`](Self::sign_in) does. In addition:
    ///
    /// - If no user has the identity or its address, creates an account. Its address is the one that the
    ///   provider has verified. It has no password and no roles. Without a verified address the outcome is
    ///   [`Unknown`](IdentityOutcome::Unknown).
    /// - If a user has the address and never verified it, another person may have registered the account. It is
    ///   taken over first, as [`Login::prove_email`](crate::server::login::Login::prove_email) describes, so
    ///   that nothing of the other person is left.
    ///
    /// Of concurrent calls for one address, one creates the account, and all sign in to it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a store failed, the identity is not valid, or the users do not implement
    /// [`create`](crate::store::port::UserStore::create) or do not
    /// [keep addresses](crate::store::port::UserStore::keeps_email).
    ///
    /// # Security
    ///
    /// The provider decides who gets an account. Call it only for a provider whose users may all have one.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the account may exist, and the identity may be linked. A later call finds
    /// both.
    pub async fn sign_up(&self, identity: &Identity) -> Result<IdentityOutcome, StoreError> {
        // Each step leaves a state from which the next sign-in goes on, also that of another process.
        for _ in 0..STEPS {
            let outcome = self.sign_in(identity).await?;
            let Some(address) = &identity.email else {
                return Ok(outcome);
            };
            match outcome {
                IdentityOutcome::Unknown => self.create(address).await?,
                IdentityOutcome::LinkFirst if self.is_unproved(address).await? => {
                    let proved = self.login.prove_email(&self.sessions, address);
                    if proved.await?.is_none() {
                        return Ok(IdentityOutcome::LinkFirst);
                    }
                }
                outcome => return Ok(outcome),
            }
        }
        Err(StoreError::unavailable("the account keeps changing"))
    }

    /// Creates the account of a verified address, unless a user has the address.
    async fn create(&self, address: &EmailAddress) -> Result<(), StoreError> {
        let users = self.login.users();
        if !users.can_create() || !users.keeps_email() {
            let problem = "the user store does not create users with verified addresses";
            return Err(StoreError::invalid(problem));
        }
        let subject = format!("usr_{}", base62(random::<16>()));
        let identifier = address.identifier().clone();
        let user = NewUser::without_password(&subject, identifier).email_verified(true);
        // A store that does not write the flag with the user.
        if create(users, user).await? {
            users.verify_email(&subject, address).await?;
        }
        Ok(())
    }

    /// Returns `true` if another person may have registered the account of this address.
    async fn is_unproved(&self, address: &EmailAddress) -> Result<bool, StoreError> {
        let user = self.login.users().find_by_email(address).await?;
        Ok(user.is_some_and(|user| !user.disabled && self.login.is_unproved(&user)))
    }
}

/// Creates a user, and tries again if the connection to the store was lost before the result arrived.
pub(crate) async fn create(users: &dyn ErasedUserStore, user: NewUser) -> Result<bool, StoreError> {
    match users.create(user.clone()).await {
        Err(error) if error.kind() == StoreErrorKind::Interrupted => {}
        answered => return answered,
    }
    if users.create(user.clone()).await? {
        return Ok(true);
    }
    // The first attempt wrote the user if the stored hash is the same, because no two hashes are equal.
    let found = users.find(&user.identifier).await?;
    Ok(found.is_some_and(|found| {
        let hash = found.password.as_ref().map(PasswordHash::expose);
        found.subject == user.subject && hash == user.password.as_ref().map(PasswordHash::expose)
    }))
}

/// The number of sign-ins that one call tries: the first one, one after a take-over or an account was created,
/// and those that concurrent calls interrupt.
const STEPS: usize = 5;
