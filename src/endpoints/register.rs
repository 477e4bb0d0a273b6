//! An account is kept: of somebody new, or of the guest that they were.

use http::{StatusCode, request::Parts};

use super::{answer::Refusal, fields::Fields, guests::GuestDesk, service::Inner};
use crate::{
    error::{StoreError, StoreErrorKind},
    login::{Identifier, NewUser, PasswordHash, ThrottleStore, UserStore},
    refresh::SessionStore,
    secret::random,
    session::{GrantSource, Link, Promotion},
    token::base62::base62,
};

/// The subject of an account, and the epoch of its first session where that is known.
type Account = (String, Option<u32>);

impl<S, G, U, T> Inner<S, G, U, T>
where
    S: SessionStore,
    G: GrantSource,
    U: UserStore,
    T: ThrottleStore,
{
    /// Keeps the account of somebody who registers, and with it the guest that they were, where
    /// they asked for that.
    ///
    /// In a task of its own: a client that hangs up after the guest was promoted and before its
    /// account is kept would lose the conversation.
    pub(super) async fn keep_account(
        &self,
        parts: &Parts,
        fields: &Fields,
        name: Identifier,
        hash: PasswordHash,
    ) -> Result<Account, Refusal> {
        let link = self.link(parts, fields)?;
        let login = self.login.clone();
        let kept = tokio::spawn(async move {
            let users = login.users();
            let (subject, epoch) = match link {
                Some((guests, link)) => promoted(users, &*guests, &link, &name).await?,
                None => new_account(),
            };
            match create(users, NewUser::new(&subject, name, hash)).await? {
                true => Ok((subject, epoch)),
                false => Err(conflict("The name is taken")),
            }
        });
        let lost = |error| Err(StoreError::interrupted(error).into());
        kept.await.unwrap_or_else(lost)
    }
}

/// The account that the guest becomes; one of its own where the guest is not to be had, and none
/// where the guest is an account already: of the same person, who has clicked twice, or signed in.
async fn promoted<U: UserStore>(
    users: &U,
    guests: &dyn GuestDesk,
    link: &Link,
    name: &Identifier,
) -> Result<Account, Refusal> {
    // A name that is taken must not cost the guest its conversation.
    if users.find(name).await?.is_some() {
        return Err(conflict("The name is taken"));
    }
    let somebodys = || conflict("The guest has an account");
    match guests.promote(link).await? {
        Promotion::Promoted { subject, epoch } => Ok((subject, Some(epoch))),
        // The account was not kept, or is being kept now: then the store takes one of the two.
        Promotion::Before { subject, epoch } => match users.find_by_subject(&subject).await? {
            None => Ok((subject, Some(epoch))),
            Some(_) => Err(somebodys()),
        },
        Promotion::Taken => Err(somebodys()),
        Promotion::Refused => Ok(new_account()),
    }
}

fn new_account() -> Account {
    (format!("usr_{}", base62(random::<16>())), None)
}

/// Keeps a user, and asks once more where the store was lost while it answered.
async fn create<U: UserStore>(users: &U, user: NewUser) -> Result<bool, StoreError> {
    match users.create(user.clone()).await {
        Err(error) if error.kind() == StoreErrorKind::Interrupted => {}
        answered => return answered,
    }
    if users.create(user.clone()).await? {
        return Ok(true);
    }
    // It was written the first time, unless somebody else was first: no two hashes are equal.
    let found = users.find(&user.identifier).await?;
    Ok(found.is_some_and(|found| {
        let hash = found.password.as_ref().map(PasswordHash::expose);
        found.subject == user.subject && hash == Some(user.password.expose())
    }))
}

fn conflict(description: &'static str) -> Refusal {
    Refusal::invalid_request(description).with_status(StatusCode::CONFLICT)
}
