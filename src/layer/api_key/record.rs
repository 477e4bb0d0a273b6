//! The row of a key, and the check of a presented key against it.

use std::time::Duration;

use crate::{
    layer::api_key::{ApiKey, ApiKeyId, PresentedApiKey, SecretDigest},
    principal::Scope,
    time::Timestamp,
};

/// A key as the store keeps it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiKeyRecord {
    /// The identifier, the primary key of the row.
    pub id: ApiKeyId,
    /// The current secret.
    pub secret: SecretDigest,
    /// The previous secret, while its overlap lasts.
    pub previous: Option<PreviousSecret>,
    /// The subject on whose behalf the key acts.
    pub owner: String,
    /// The owner's label for the key.
    pub label: String,
    /// The start of the key, for lists.
    pub display_start: String,
    /// The scope of the key.
    pub scope: Scope,
    /// The time at which the key was issued.
    pub created_at: Timestamp,
    /// The time from which on the key is refused.
    pub expires_at: Option<Timestamp>,
    /// The time at which the key was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The approximate time of the last use.
    pub last_used_at: Option<Timestamp>,
}

/// A replaced secret that is still accepted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PreviousSecret {
    /// The secret.
    pub secret: SecretDigest,
    /// The time from which on the secret is refused.
    pub until: Timestamp,
}

impl PreviousSecret {
    /// Creates a secret that is accepted before `until`.
    #[must_use]
    pub fn new(secret: SecretDigest, until: Timestamp) -> Self {
        Self { secret, until }
    }
}

impl ApiKeyRecord {
    /// Returns the row of a new key that never expires and has no scopes and no label.
    #[must_use]
    pub fn of(key: &ApiKey, owner: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            display_start: key.display_start().to_owned(),
            ..Self::new(key.id().clone(), *key.digest(), owner, created_at)
        }
    }

    /// Returns a row with only the mandatory values, from which a store builds a row that it reads.
    #[must_use]
    pub fn new(
        id: ApiKeyId,
        secret: SecretDigest,
        owner: impl Into<String>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            secret,
            previous: None,
            owner: owner.into(),
            label: String::new(),
            display_start: String::new(),
            scope: Scope::default(),
            created_at,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// Returns the row with a new secret, whose current secret is accepted for `overlap` longer. An
    /// older secret that is still accepted is dropped: a key never has more than two.
    ///
    /// Returns `None` if the key has another owner, was revoked, or has expired.
    pub(super) fn rolled(
        &self,
        key: &ApiKey,
        owner: &str,
        now: Timestamp,
        overlap: Duration,
    ) -> Option<Self> {
        let is_live = self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end);
        (is_live && self.owner == owner).then(|| Self {
            secret: *key.digest(),
            previous: Some(PreviousSecret::new(self.secret, now.plus(overlap))),
            display_start: key.display_start().to_owned(),
            ..self.clone()
        })
    }

    /// Checks a presented key against this row.
    ///
    /// Both secrets are compared in constant time before any other check, so that only a holder of
    /// a secret learns that the key was revoked or has expired.
    ///
    /// # Errors
    ///
    /// - [`ApiKeyRefusal::WrongSecret`]: the secret matches neither the current one nor a previous
    ///   one that is still accepted.
    /// - [`ApiKeyRefusal::Revoked`], [`ApiKeyRefusal::Expired`]: the secret is right, but the key
    ///   is no longer valid.
    pub fn check(&self, presented: &PresentedApiKey, now: Timestamp) -> Result<(), ApiKeyRefusal> {
        let current = self.secret == *presented.digest();
        let previous = self.previous.is_some_and(|previous| {
            let same = previous.secret == *presented.digest();
            same & (now < previous.until)
        });
        if self.id != *presented.id() || !(current | previous) {
            return Err(ApiKeyRefusal::WrongSecret);
        }
        if self.revoked_at.is_some() {
            return Err(ApiKeyRefusal::Revoked);
        }
        if self.expires_at.is_some_and(|end| now >= end) {
            return Err(ApiKeyRefusal::Expired);
        }
        Ok(())
    }
}

/// The reason why a key is refused.
///
/// The client receives `invalid_token` for each. Only a client that presented the right secret
/// learns that the key has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyRefusal {
    /// The secret does not match.
    #[error("the key's secret is wrong")]
    WrongSecret,
    /// The key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// The key expired.
    #[error("the key expired")]
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::api_key::ApiKeyFormat;

    #[test]
    fn v5_the_owner_of_a_live_key_rolls_it() {
        let format = ApiKeyFormat::new("test").unwrap();
        let key = format.mint();
        let at = Timestamp::from_millis;
        let hour = Duration::from_secs(3600);
        let live = ApiKeyRecord::of(&key, "alice", at(0));
        let next = format.mint_for(key.id().clone());
        let rolled = live.rolled(&next, "alice", at(5), hour).unwrap();
        assert_eq!(rolled.secret, *next.digest());
        assert_eq!(rolled.display_start, next.display_start());
        let previous = rolled.previous.unwrap();
        assert_eq!(previous.secret, *key.digest());
        assert_eq!(previous.until, at(5).plus(hour));

        let mut expires = live.clone();
        expires.expires_at = Some(at(5));
        assert!(expires.rolled(&next, "alice", at(4), hour).is_some());
        let mut revoked = live.clone();
        revoked.revoked_at = Some(at(1));
        for (record, owner) in [(&live, "mallory"), (&expires, "alice"), (&revoked, "alice")] {
            assert!(record.rolled(&next, owner, at(5), hour).is_none());
        }
    }
}
