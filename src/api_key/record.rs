//! What a store keeps of a key, and the verdict on one that is presented.

use crate::{
    api_key::{ApiKey, ApiKeyId, PresentedApiKey, SecretDigest},
    clock::Timestamp,
    token::Scope,
};

/// What a store keeps of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiKeyRecord {
    /// The row's key.
    pub id: ApiKeyId,
    /// The live secret.
    pub secret: SecretDigest,
    /// The secret before it, while the key is being rolled.
    pub previous: Option<PreviousSecret>,
    /// The subject on whose behalf the key acts.
    pub owner: String,
    /// The owner's own name for the key.
    pub label: String,
    /// The start of the key, for lists.
    pub display_start: String,
    /// What the key may be used for.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
    /// About when it was used last.
    pub last_used_at: Option<Timestamp>,
}

/// A secret that was replaced and is accepted for a while longer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PreviousSecret {
    /// The secret.
    pub secret: SecretDigest,
    /// From when on it is refused.
    pub until: Timestamp,
}

impl PreviousSecret {
    /// A secret that is accepted before `until`.
    #[must_use]
    pub fn new(secret: SecretDigest, until: Timestamp) -> Self {
        Self { secret, until }
    }
}

impl ApiKeyRecord {
    /// The row of a key that was just made: it never expires, has no scopes and no name.
    #[must_use]
    pub fn of(key: &ApiKey, owner: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            display_start: key.display_start().to_owned(),
            ..Self::new(key.id().clone(), *key.digest(), owner, created_at)
        }
    }

    /// A row with nothing but what every key has: what a store begins with when it reads one.
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

    /// Whether the presented key opens this row now.
    ///
    /// Both secrets are compared, in constant time, before anything else is looked at, so that only
    /// who holds a secret learns that the key was revoked or expired.
    ///
    /// # Errors
    ///
    /// - [`ApiKeyRefusal::WrongSecret`]: neither secret, or the replaced one after its time.
    /// - [`ApiKeyRefusal::Revoked`], [`ApiKeyRefusal::Expired`]: the right one, too late.
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

/// Why a key does not open a row.
///
/// A client is told `invalid_token` for each; that a key expired is said only to who holds its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyRefusal {
    /// The secret is not the row's.
    #[error("the key's secret is wrong")]
    WrongSecret,
    /// The key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// The key expired.
    #[error("the key expired")]
    Expired,
}
