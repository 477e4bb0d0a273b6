//! Registration of a new account, or of an account for an existing guest.

use http::{StatusCode, request::Parts};

use super::{answer::Refusal, fields::Fields, guests::LinkIntent, service::Inner};
use crate::{
    error::StoreError,
    secret::{base62::base62, random},
    server::{
        login::{Identifier, PasswordHash, create_user},
        session::{Guests, LinkOutcome, LinkRequest, Promotion},
    },
    store::port::{ErasedUserStore, NewUser},
};

/// An account to be created.
pub(super) struct Account {
    pub(super) subject: String,
    /// The epoch of its first session, if it is known.
    pub(super) epoch: Option<u32>,
    /// The result of linking a guest, if linking was requested.
    pub(super) link: Option<LinkOutcome>,
}

impl Inner {
    /// Creates the account of a registration. Promotes the guest to this account if linking was
    /// requested.
    ///
    /// Runs in a separate task: if the client disconnects after the guest was promoted and before its
    /// account exists, the guest's conversation would be lost.
    pub(super) async fn keep_account(
        &self,
        parts: &Parts,
        fields: &Fields,
        name: Identifier,
        hash: PasswordHash,
    ) -> Result<Account, Refusal> {
        let link = self.link(parts, fields).await?;
        let login = self.login.clone();
        let kept = tokio::spawn(async move {
            let users = login.users();
            let account = match link {
                Some(LinkIntent::Accepted(guests, link)) => {
                    promoted(users, &guests, &link, &name).await?
                }
                Some(LinkIntent::Declined(outcome)) => new_account(Some(outcome)),
                None => new_account(None),
            };
            match create_user(users, NewUser::new(&account.subject, name, hash)).await? {
                true => Ok(account),
                false => Err(conflict("The name is taken")),
            }
        });
        let lost = |error| Err(StoreError::interrupted(error).into());
        kept.await.unwrap_or_else(lost)
    }
}

/// Returns the account for a guest: the guest's own subject, or a new account if the guest cannot be
/// promoted.
///
/// # Errors
///
/// A conflict if the guest already belongs to an account, for example after a double click or a login.
async fn promoted(
    users: &dyn ErasedUserStore,
    guests: &Guests,
    link: &LinkRequest,
    name: &Identifier,
) -> Result<Account, Refusal> {
    // A taken name must not cost the guest its conversation.
    if users.find(name).await?.is_some() {
        return Err(conflict("The name is taken"));
    }
    let somebodys = || conflict("The guest has an account");
    match guests.promote(link).await? {
        Promotion::Promoted { subject, epoch } => Ok(kept(subject, epoch)),
        // The account does not exist yet, or is being created: the store accepts one of the two.
        Promotion::Before { subject, epoch } => match users.find_by_subject(&subject).await? {
            None => Ok(kept(subject, epoch)),
            Some(_) => Err(somebodys()),
        },
        Promotion::Taken => Err(somebodys()),
        Promotion::Expired => Ok(new_account(Some(LinkOutcome::Expired))),
        Promotion::Refused => Ok(new_account(Some(LinkOutcome::NotFound))),
    }
}

/// Returns the account that keeps the guest's subject.
fn kept(subject: String, epoch: u32) -> Account {
    Account {
        subject,
        epoch: Some(epoch),
        link: Some(LinkOutcome::Linked),
    }
}

fn new_account(link: Option<LinkOutcome>) -> Account {
    Account {
        subject: format!("usr_{}", base62(random::<16>())),
        epoch: None,
        link,
    }
}

fn conflict(description: &'static str) -> Refusal {
    Refusal::invalid_request(description).with_status(StatusCode::CONFLICT)
}
