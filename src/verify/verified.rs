//! The proof that a token was verified.

use std::{fmt, ops::Deref, sync::Arc};

use time::OffsetDateTime;

use crate::principal::{Facts, Field, HasFacts, Origin, Principal};

/// The claims of a verified token.
///
/// Only a [`Verifier`](super::Verifier) makes one, so whoever holds a `Verified<C>` holds the
/// claims of a token that passed every check. It is a request extension and, with the feature
/// `axum`, an extractor. It dereferences to the claims and is cheap to clone.
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

    /// Claims that nobody verified, for `test_util` alone.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn for_test(claims: C, principal: &Principal) -> Self {
        Self::new(claims, principal.facts().clone())
    }

    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &C {
        &self.inner.claims
    }

    /// The subject (`sub`). Outside RFC 9068 a token may have none.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.inner.facts.text(Field::Subject)
    }

    /// When the token expires (`exp`, without leeway).
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.inner.facts.expires_at()
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// The caller, without the claims' type.
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
    // Claims are personal data; whoever wants them in a log prints `claims()`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}
