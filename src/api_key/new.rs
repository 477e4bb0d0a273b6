//! A key that is to be made.

use std::time::Duration;

use super::{ApiKey, ApiKeyError, ApiKeyRecord, builder::Limits};
use crate::{clock::Timestamp, token::Scope};

/// A key that is to be made: whose, for what, for how long.
#[derive(Clone, Debug)]
#[must_use = "nothing is made before it is issued"]
pub struct NewApiKey {
    owner: String,
    label: String,
    scope: Scope,
    lifetime: Lifetime,
}

#[derive(Clone, Copy, Debug)]
enum Lifetime {
    For(Duration),
    Unending,
}

impl NewApiKey {
    /// A key of this subject: without scopes or a name, good for 90 days.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            label: String::new(),
            scope: Scope::default(),
            lifetime: Lifetime::For(DEFAULT_LIFETIME),
        }
    }

    /// The owner's own name for it, at most 200 bytes.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What it may be used for.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// How long it is good.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Lifetime::For(lifetime);
        self
    }

    /// It never expires, where keys [may be so](super::ApiKeysBuilder::dangerous_unending).
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
        if !self.scope.iter().all(|token| limits.scope.contains(token)) {
            return Err(ApiKeyError::Scope);
        }
        if self.owner.is_empty() || self.label.len() > MAX_LABEL {
            return Err(ApiKeyError::Name);
        }
        Ok(Template {
            owner: self.owner,
            label: self.label,
            scope: self.scope,
            expires_at,
        })
    }
}

/// What was asked for, found good.
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
