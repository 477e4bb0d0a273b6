//! One-time tokens. Their keys expire.

use super::{RedisStore, scripts, sessions::millis};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    store::port::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, SpentOneTime},
};

impl OneTimeStore for RedisStore {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        let mut call = scripts::ISSUE.key(self.one_time(&token.digest));
        if token.purpose.has_owner() {
            call.key(self.of_subject(&token.subject, token.purpose));
        }
        call.arg(&token.subject)
            .arg(token.purpose.as_str())
            .arg(millis(token.lifetime))
            .arg(token.email.unwrap_or_default())
            .arg(token.epoch.map_or(String::new(), |epoch| epoch.to_string()));
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        let mut call = scripts::REDEEM.key(self.one_time(digest));
        call.arg(purpose.as_str());
        let row: Option<(String, String, String)> = self.link.run(&call, Repeat::Never).await?;
        Ok(row.map(|(subject, email, epoch)| {
            let email = (!email.is_empty()).then_some(email);
            SpentOneTime::new(subject, email, epoch.parse().ok())
        }))
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        let call = scripts::FORGET.key(self.of_subject(subject, purpose));
        self.link.run(&call, Repeat::Harmless).await
    }
}

impl RedisStore {
    fn one_time(&self, digest: &OneTimeDigest) -> String {
        self.keys.of("x", &super::hex(digest.as_bytes()))
    }

    fn of_subject(&self, subject: &str, purpose: OneTimePurpose) -> String {
        self.keys
            .of("y", &format!("{}:{subject}", purpose.as_str()))
    }
}
