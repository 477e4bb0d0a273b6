//! The claims of a verified token.

use std::{fmt, ops::Deref, sync::Arc};

use crate::principal::{Facts, Field, HasFacts, Origin, Principal};
use crate::time::Timestamp;

/// The claims of a verified token.
///
/// Only a [`Verifier`](super::Verifier) creates a `Verified<C>`, so its claims have passed every
/// check. It is a request extension and, with the feature `axum`, an extractor. It dereferences to
/// the claims. Cheap to clone.
pub struct Verified<C> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    claims: C,
    facts: Facts,
}

impl<C> Verified<C> {
    pub(crate) fn new(claims: C, facts: Facts) -> Self {
        Self {
            inner: Arc::new(Inner { claims, facts }),
        }
    }

    /// Creates unverified claims, for `test_util` only.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn for_test(claims: C, principal: &Principal) -> Self {
        Self::new(claims, principal.facts().clone())
    }

    /// Returns the claims.
    #[must_use]
    pub fn claims(&self) -> &C {
        &self.inner.claims
    }

    /// Returns the subject (`sub`). Only RFC 9068 requires one, so other tokens may have none.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.inner.facts.text(Field::Subject)
    }

    /// Returns the time at which the token expires (`exp`, without leeway).
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.inner.facts.expires_at()
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// Returns the caller, independent of the type of the claims.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.principal_from(None)
    }

    pub(crate) fn principal_from(&self, origin: Option<Origin>) -> Principal {
        let facts: Arc<dyn HasFacts> = Arc::<Inner<C>>::clone(&self.inner);
        Principal::new(facts, origin)
    }
}

impl<C: Send + Sync + 'static> HasFacts for Inner<C> {
    fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl<C> Clone for Verified<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C> Deref for Verified<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.claims()
    }
}

impl<C> fmt::Debug for Verified<C> {
    // Claims are personal data and are not printed. To log them, print `claims()`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}
