//! The ways to sign in that a user has linked, and their removal.

use http::{StatusCode, request::Parts};
use serde_json::json as object;

use super::{
    answer::{Answer, Refusal, empty, json},
    fields::Fields,
    service::Inner,
};
use crate::{
    server::{
        login::{Identity, Unlinking},
        mail::MailFlows,
    },
    store::port::CredentialRecord,
};

impl Inner {
    pub(super) async fn list_identities(&self, parts: &Parts) -> Result<Answer, Refusal> {
        let caller = self.caller(parts).await?;
        let list = self.identities().list(caller.subject()).await?;
        let list = list.iter().map(|linked| {
            let issuer = linked.identity.issuer();
            let mut named = self.providers.iter();
            let provider = named.find(|(_, provider)| provider.issuer() == issuer);
            object!({
                "provider": provider.map(|(name, _)| name),
                "issuer": issuer,
                "subject": linked.identity.subject(),
                "linked_at": linked.linked_at.as_secs(),
            })
        });
        let list: Vec<_> = list.collect();
        Ok(json(StatusCode::OK, &object!({ "identities": list })))
    }

    pub(super) async fn unlink_identity(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let (Some(issuer), Some(subject)) = (fields.get("issuer"), fields.get("subject")) else {
            let description = "The issuer and the subject of an identity are required";
            return Err(Refusal::invalid_request(description));
        };
        let identity = Identity::new(issuer, subject);
        if !identity.is_valid() {
            return Err(Refusal::not_found());
        }
        let subject = caller.subject();
        let unlinking = match self.opens_otherwise(subject).await? {
            true => self.identities().unlink(subject, &identity).await?.into(),
            false => {
                let opens = |row: &CredentialRecord| self.opens(row);
                self.identities()
                    .unlink_beside(subject, &identity, opens)
                    .await?
            }
        };
        removed(unlinking)
    }

    /// Returns `true` if a user can sign in without a linked credential. No request of the user changes that:
    /// passwords and addresses are replaced, never removed.
    pub(super) async fn opens_otherwise(&self, subject: &str) -> Result<bool, Refusal> {
        let users = self.login.users();
        let Some(user) = users.find_by_subject(subject).await? else {
            return Ok(true);
        };
        let by_mail = |mail: &MailFlows| mail.signs_in() || users.can_set_first_hash();
        let by_mail = user.email.is_some() && self.mail.as_ref().is_some_and(by_mail);
        // A take-over has locked the password of another person.
        let by_password = user.password.is_some_and(|hash| !hash.is_unmatched());
        Ok(by_mail || by_password)
    }

    /// Returns `true` if users sign in with a credential on this server: a provider may have been removed
    /// from the settings. Without providers, the application identifies the users.
    pub(super) fn opens(&self, row: &CredentialRecord) -> bool {
        match Identity::linked_by(row) {
            None => self.passkeys.is_some(),
            Some(identity) => {
                let mut providers = self.providers.values();
                self.providers.is_empty()
                    || providers.any(|provider| provider.issuer() == identity.issuer())
            }
        }
    }
}

/// Returns the answer to a removal, which leaves the user a way to sign in.
pub(super) fn removed(unlinking: Unlinking) -> Result<Answer, Refusal> {
    match unlinking {
        Unlinking::Unlinked => Ok(empty(StatusCode::NO_CONTENT)),
        Unlinking::Unknown => Err(Refusal::not_found()),
        Unlinking::Last => {
            let description = "The account has no other way to sign in";
            Err(Refusal::new(
                StatusCode::CONFLICT,
                "last_credential",
                description,
            ))
        }
    }
}
