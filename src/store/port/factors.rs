//! The store of second factors.

use std::{fmt, future::Future};

use crate::{error::StoreError, time::Timestamp};

/// A store of the second factors of subjects: one row per subject.
///
/// The store compares and sets. It never reads the text, in which secrets are encrypted and recovery
/// codes are digests. A [`Login`](crate::server::login::Login) makes all decisions.
///
/// # Implementing
///
/// - [`swap_factors`](Self::swap_factors) is one atomic operation. Of several concurrent swaps from one
///   revision, exactly one returns `true`. On this depends that a code works once, also if two nodes
///   receive it at the same time.
/// - A row never expires. Housekeeping does not delete it.
/// - The store's clock is the only clock, because it decides which code is due.
///
/// [`factor_store_contract!`](crate::factor_store_contract) tests these rules.
///
/// # Cancel safety
///
/// A dropped future swaps in full or not at all.
pub trait FactorStore: Send + Sync + 'static {
    /// Returns the row of a subject, and the store's time. Does not wait for writers.
    fn load_factors(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<StoredFactors, StoreError>> + Send;

    /// Replaces the row of a subject if its revision is `from`, or inserts it if `from` is 0 and no row
    /// exists. Returns `false` if the revision differs. The new row has exactly the revision `to`.
    fn swap_factors(
        &self,
        subject: &str,
        from: u64,
        to: u64,
        factors: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The second factors of a subject in a store: see [`FactorStore::load_factors`].
///
/// `Debug` does not print the factors: they contain encrypted secrets and digests of codes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredFactors {
    /// The revision, 0 if there is no row.
    pub revision: u64,
    /// The factors, in a text form that only this crate reads.
    pub factors: String,
    /// The time of the load, by the store's clock.
    pub now: Timestamp,
}

impl StoredFactors {
    /// Creates the result of a load.
    #[must_use]
    pub fn new(revision: u64, factors: impl Into<String>, now: Timestamp) -> Self {
        Self {
            revision,
            factors: factors.into(),
            now,
        }
    }

    /// Creates the result of a load of a subject without a row.
    #[must_use]
    pub fn absent(now: Timestamp) -> Self {
        Self::new(0, "", now)
    }
}

impl fmt::Debug for StoredFactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFactors")
            .field("revision", &self.revision)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
