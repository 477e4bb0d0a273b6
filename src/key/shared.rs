//! A key set that can be replaced while the service runs.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;

use super::{KeyLookup, KeyQuery, KeySet, KeySource};

/// A key set that can be replaced at run time, for example after a file changed.
///
/// Lookups never wait. Each one uses either the old set or the new one, never parts of both. A
/// token whose key is not in the new set is refused from then on.
///
/// Like every [`KeySource`] it does not determine algorithms. For secrets, list them with
/// [`algorithms`](crate::verify::VerifierBuilder::algorithms).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::{Verifier, key::{Algorithm, KeySet, SharedKeySet, VerifyingKey}};
///
/// let old = VerifyingKey::from_secret(Algorithm::Hs256, [1; 32])?;
/// let new = VerifyingKey::from_secret(Algorithm::Hs256, [2; 32])?;
///
/// let keys = SharedKeySet::new(KeySet::new([old])?);
/// let verifier = Verifier::key_source(keys.clone())
///     .algorithms([Algorithm::Hs256])
///     .audience("api")
///     .build()?;
/// keys.replace(KeySet::new([new])?);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct SharedKeySet {
    current: Arc<ArcSwap<Version>>,
}

struct Version {
    keys: KeySet,
    generation: u64,
}

impl SharedKeySet {
    /// Creates a shared set with these keys.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(Version {
                keys,
                generation: 0,
            })),
        }
    }

    /// Replaces all keys.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "concurrent replacements retry, each with its keys"
    )]
    pub fn replace(&self, keys: KeySet) {
        self.current.rcu(|before| Version {
            keys: keys.clone(),
            generation: before.generation.wrapping_add(1),
        });
    }

    /// Returns the current keys.
    #[must_use]
    pub fn load(&self) -> KeySet {
        self.current.load().keys.clone()
    }
}

impl KeySource for SharedKeySet {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.current.load().keys.lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        Some(self.current.load().generation)
    }
}

impl fmt::Debug for SharedKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedKeySet")
            .field(&self.current.load().keys)
            .finish()
    }
}
