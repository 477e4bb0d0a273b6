//! The ways to sign in that a user has linked, and their removal.

use http::{StatusCode, request::Parts};
use serde_json::json as object;

use super::{
    answer::{Answer, Refusal, empty, json},
    fields::Fields,
    service::Inner,
};
use crate::server::{login::Identity, mail::MailFlows};

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
        self.check_another_way(caller.subject()).await?;
        match self
            .identities()
            .unlink(caller.subject(), &identity)
            .await?
        {
            true => Ok(empty(StatusCode::NO_CONTENT)),
            false => Err(Refusal::not_found()),
        }
    }

    /// Refuses the removal of the only way to sign in.
    pub(super) async fn check_another_way(&self, subject: &str) -> Result<(), Refusal> {
        let users = self.login.users();
        let Some(user) = users.find_by_subject(subject).await? else {
            return Ok(());
        };
        let by_mail = |mail: &MailFlows| mail.signs_in() || users.can_set_first_hash();
        let by_mail = user.email.is_some() && self.mail.as_ref().is_some_and(by_mail);
        if by_mail || user.password.is_some() {
            return Ok(());
        }
        match self.login.count_credentials(subject).await? {
            0 | 1 => {
                let description = "The account has no other way to sign in";
                Err(Refusal::new(
                    StatusCode::CONFLICT,
                    "last_credential",
                    description,
                ))
            }
            _ => Ok(()),
        }
    }
}
