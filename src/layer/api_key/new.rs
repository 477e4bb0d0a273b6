//! The parameters of a new key.

use std::time::Duration;

use super::{ApiKey, ApiKeyError, ApiKeyRecord, builder::Limits};
use crate::{principal::Scope, time::Timestamp};

/// A key to issue: its owner, label, scope and lifetime.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before it is issued"]
pub struct NewApiKey {
    owner: String,
    label: String,
    /// `None` if a token is invalid.
    scope: Option<Scope>,
    lifetime: Lifetime,
}

#[derive(Clone, Copy, Debug)]
enum Lifetime {
    For(Duration),
    Unending,
}

impl NewApiKey {
    /// Creates a key of this owner, without scopes and label, valid for 90 days.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            label: String::new(),
            scope: Some(Scope::default()),
            lifetime: Lifetime::For(DEFAULT_LIFETIME),
        }
    }

    /// Sets the owner's label for the key, at most 200 bytes.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the scope tokens of the key, separated by spaces. Issuing a key with an invalid token is
    /// [`ApiKeyError::Scope`].
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = scope.parse().ok();
        self
    }

    /// Sets the lifetime.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Lifetime::For(lifetime);
        self
    }

    /// Makes the key never expire, if that is [allowed](super::ApiKeysBuilder::dangerous_unending).
    pub fn unending(mut self) -> Self {
        self.lifetime = Lifetime::Unending;
        self
    }

    pub(super) fn checked(self, limits: &Limits, now: Timestamp) -> Result<Template, ApiKeyError> {
        let expires_at = match self.lifetime {
            Lifetime::For(time) if (SHORTEST..=limits.lifetime).contains(&time) => {
                Some(now.plus(time))
            }
            Lifetime::Unending if limits.unending => None,
            _ => return Err(ApiKeyError::Lifetime),
        };
        let allowed = |scope: &Scope| scope.iter().all(|token| limits.scope.contains(token));
        let scope = self.scope.filter(allowed).ok_or(ApiKeyError::Scope)?;
        if self.owner.is_empty() || self.label.len() > MAX_LABEL {
            return Err(ApiKeyError::Name);
        }
        Ok(Template {
            owner: self.owner,
            label: self.label,
            scope,
            expires_at,
        })
    }
}

/// The validated parameters.
pub(super) struct Template {
    owner: String,
    label: String,
    scope: Scope,
    expires_at: Option<Timestamp>,
}

impl Template {
    pub(super) fn of(&self, key: &ApiKey, now: Timestamp) -> ApiKeyRecord {
        ApiKeyRecord {
            label: self.label.clone(),
            scope: self.scope.clone(),
            expires_at: self.expires_at,
            ..ApiKeyRecord::of(key, self.owner.as_str(), now)
        }
    }
}

const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const SHORTEST: Duration = Duration::from_secs(1);
const MAX_LABEL: usize = 200;
