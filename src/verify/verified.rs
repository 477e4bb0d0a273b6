//! The claims of a verified token.

use std::{fmt, ops::Deref, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::confirmation::Confirmation;
use crate::{
    error::ConfigError,
    key::sha256_of,
    principal::{Facts, Field, HasFacts, Origin, Principal},
    time::{Timestamp, date::Date},
};

/// The claims of a verified token.
///
/// Only a [`Verifier`](super::Verifier) creates a `Verified<C>`, so its claims have passed every
/// check. It is a request extension and, with the feature `axum`, an extractor. It dereferences to
/// the claims. Cheap to clone.
pub struct Verified<C> {
    held: Arc<Held<C>>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a verification makes one allocation, and there are few copies"
)]
enum Held<C> {
    Here(Inner<C>),
    /// Shares the claims of another value, with a separate reference count.
    In(Verified<C>),
}

struct Inner<C> {
    claims: C,
    facts: Facts,
    // In this allocation, so that a cache hit copies one pointer.
    window: Window,
    generation: Option<u64>,
    binding: Option<Box<Binding>>,
}

/// The key and the certificate to which a token is bound, and what a proof needs of the token.
pub(crate) struct Binding {
    pub(crate) confirmation: Confirmation,
    /// The SHA-256 digest of the token in base64url, as a proof contains it (RFC 9449 §4.2).
    pub(crate) token_digest: [u8; 43],
    window: Window,
}

/// The time span in which a token is valid, leeway included, in the resolution of
/// [`Clock`](crate::time::Clock). `until` is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    from: Timestamp,
    until: Timestamp,
}

impl Window {
    /// The time span without limits.
    const OPEN: Self = Self {
        from: Timestamp::from_millis(i64::MIN),
        until: Timestamp::from_millis(i64::MAX),
    };
    /// The time span that contains no time.
    const NEVER: Self = Self {
        from: Timestamp::from_millis(i64::MAX),
        until: Timestamp::from_millis(i64::MIN),
    };

    pub(crate) fn new(from: Option<Date>, until: Option<Date>) -> Self {
        let rounded = |date: Option<Date>| date.map(Date::to_timestamp_rounded_up);
        Self {
            from: rounded(from).unwrap_or(Self::OPEN.from),
            until: rounded(until).unwrap_or(Self::OPEN.until),
        }
    }

    /// Returns the part of the time span that is in another one. The end is exclusive.
    #[cfg(feature = "jwks")]
    pub(super) fn within(self, from: Timestamp, until: Timestamp) -> Self {
        Self {
            from: self.from.max(from),
            until: self.until.min(until),
        }
    }

    #[inline]
    fn contains(self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

impl<C> Verified<C> {
    /// Creates the claims of a token that no cache stores.
    pub(crate) fn new(claims: C, facts: Facts) -> Self {
        Self::within(claims, facts, Window::OPEN, None)
    }

    /// Creates the claims of a token that is valid in this time span, as long as the keys have this
    /// generation.
    pub(crate) fn within(claims: C, facts: Facts, window: Window, generation: Option<u64>) -> Self {
        Self {
            held: Arc::new(Held::Here(Inner {
                claims,
                facts,
                window,
                generation,
                binding: None,
            })),
        }
    }

    /// Creates the claims of a token that is bound to a key or a certificate. As a plain token it is never
    /// valid, so that a cached one passes only with a proof.
    pub(super) fn bound(
        claims: C,
        facts: Facts,
        window: Window,
        generation: Option<u64>,
        (confirmation, token): (Confirmation, &[u8]),
    ) -> Result<Self, ConfigError> {
        let mut token_digest = [0; 43];
        let digest = sha256_of(&[token])?;
        // The encoding of 32 bytes has exactly this length.
        let _ = URL_SAFE_NO_PAD.encode_slice(digest, &mut token_digest);
        let binding = Binding {
            confirmation,
            token_digest,
            window,
        };
        Ok(Self {
            held: Arc::new(Held::Here(Inner {
                claims,
                facts,
                window: Window::NEVER,
                generation,
                binding: Some(Box::new(binding)),
            })),
        })
    }

    /// Returns the key and the certificate to which the token is bound. `None` for a plain token.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.inner().binding.as_deref()
    }

    /// Returns `true` if a token from the cache is still valid beside the proofs that it needs.
    pub(super) fn is_valid_if_proven(&self, now: Timestamp, generation: Option<u64>) -> bool {
        let of_now = generation.is_some() && generation == self.inner().generation;
        of_now && self.window().contains(now)
    }

    /// Returns the time span of the token beside the proofs that it needs.
    fn window(&self) -> Window {
        let inner = self.inner();
        let bound = inner.binding.as_ref();
        bound.map_or(inner.window, |binding| binding.window)
    }

    /// Returns the same claims with a separate reference count. Threads that clone and drop the one do
    /// not slow down threads that clone and drop the other.
    pub(super) fn separate(&self) -> Self {
        Self {
            held: Arc::new(Held::In(self.clone())),
        }
    }

    /// Returns `true` if this value is the result of [`separate`](Self::separate) for the other one.
    pub(super) fn is_separate_of(&self, other: &Self) -> bool {
        matches!(&*self.held, Held::In(shared) if Arc::ptr_eq(&shared.held, &other.held))
    }

    #[inline]
    fn inner(&self) -> &Inner<C> {
        self.held.inner()
    }

    /// Returns `true` if a token from the cache is still valid. A change of the keys invalidates all
    /// tokens. Keys without a generation may have changed.
    pub(super) fn is_valid(&self, now: Timestamp, generation: Option<u64>) -> bool {
        let inner = self.inner();
        generation.is_some() && generation == inner.generation && inner.window.contains(now)
    }

    /// Returns the time at which a token from the cache ends, leeway included.
    pub(super) fn valid_until(&self) -> Timestamp {
        self.window().until
    }

    /// Creates unverified claims, for `test_util` only.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn for_test(claims: C, principal: &Principal) -> Self {
        Self::new(claims, principal.facts().clone())
    }

    /// Returns the claims.
    #[must_use]
    pub fn claims(&self) -> &C {
        &self.inner().claims
    }

    /// Returns the subject (`sub`). Only RFC 9068 requires one, so other tokens may have none.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.inner().facts.text(Field::Subject)
    }

    /// Returns the time at which the token expires (`exp`, without leeway).
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.inner().facts.expires_at()
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// Returns the caller, independent of the type of the claims.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.principal_from(None)
    }

    pub(crate) fn principal_from(&self, origin: Option<Origin>) -> Principal {
        let facts: Arc<dyn HasFacts> = Arc::<Held<C>>::clone(&self.held);
        Principal::new(facts, origin)
    }
}

impl<C> Held<C> {
    #[inline]
    fn inner(&self) -> &Inner<C> {
        let mut held = self;
        loop {
            match held {
                Self::Here(inner) => return inner,
                Self::In(other) => held = &other.held,
            }
        }
    }
}

impl<C: Send + Sync + 'static> HasFacts for Held<C> {
    fn facts(&self) -> &Facts {
        &self.inner().facts
    }
}

impl<C> Clone for Verified<C> {
    fn clone(&self) -> Self {
        Self {
            held: Arc::clone(&self.held),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn date(nanos: i64) -> Date {
        let seconds = Date::from_i64(nanos.div_euclid(1_000_000_000));
        seconds.plus(Duration::from_nanos(nanos.rem_euclid(1_000_000_000) as u64))
    }

    proptest! {
        /// The clock returns milliseconds, so no precision is lost.
        #[test]
        fn q4_a_window_in_milliseconds_is_exact(
            from in prop::option::of(-5_000_000_i64..5_000_000),
            until in prop::option::of(-5_000_000_i64..5_000_000),
            now in -6_i64..6,
        ) {
            let (from, until) = (from.map(date), until.map(date));
            let now = Timestamp::from_millis(now);
            let exact = from.is_none_or(|from| from <= Date::of(now))
                && until.is_none_or(|until| Date::of(now) < until);
            prop_assert_eq!(Window::new(from, until).contains(now), exact);
        }
    }

    #[test]
    fn e6_extreme_times_are_clamped() {
        let window = Window::new(Some(Date::from_f64(-1e300)), Some(Date::from_f64(1e300)));
        assert_eq!(window, Window::OPEN);
        let never = Window::new(Some(Date::from_f64(1e300)), Some(Date::from_f64(-1e300)));
        assert!(!never.contains(Timestamp::from_secs(0)));
    }
}
