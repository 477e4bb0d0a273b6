//! The source of a verifier's keys.

use std::sync::Arc;

#[cfg(feature = "jwks")]
use crate::key::remote::RemoteKeySetBuilder;
#[cfg(feature = "jwks")]
use crate::key::{KeyLookup, KeyQuery};
use crate::key::{KeySet, KeySource};

pub(crate) enum Keys {
    Set(KeySet),
    Source(Arc<dyn KeySource>),
    /// No keys, if every token is introspected.
    #[cfg(feature = "jwks")]
    Nothing,
    /// Built together with the verifier, with its clock.
    #[cfg(feature = "jwks")]
    Remote(Box<RemoteKeySetBuilder>),
}

impl Keys {
    #[cfg(feature = "jwks")]
    pub(crate) fn remote(keys: RemoteKeySetBuilder) -> Self {
        Self::Remote(Box::new(keys))
    }

    /// Returns `true` if the keys may sign for many audiences and issuers.
    pub(super) fn serve_many(&self) -> bool {
        match self {
            Self::Set(set) => set.is_document(),
            #[cfg(feature = "jwks")]
            Self::Nothing => false,
            _ => true,
        }
    }

    /// Returns `true` if the keys come from a URL.
    pub(super) fn are_remote(&self) -> bool {
        match self {
            Self::Set(_) => false,
            Self::Source(source) => source.is_remote(),
            #[cfg(feature = "jwks")]
            Self::Nothing => false,
            #[cfg(feature = "jwks")]
            Self::Remote(_) => true,
        }
    }

    /// Returns the issuer whose metadata name the keys, if the keys are found in this way.
    pub(super) fn issuer(&self) -> Option<&str> {
        match self {
            Self::Set(_) | Self::Source(_) => None,
            #[cfg(feature = "jwks")]
            Self::Nothing => None,
            #[cfg(feature = "jwks")]
            Self::Remote(remote) => remote.issuer(),
        }
    }

    /// Returns the key set, if it is known before the verifier is built.
    pub(super) fn set(&self) -> Option<&KeySet> {
        match self {
            Self::Set(set) => Some(set),
            _ => None,
        }
    }
}

/// The source of a verifier without keys.
#[cfg(feature = "jwks")]
pub(super) struct NoKeys;

#[cfg(feature = "jwks")]
impl KeySource for NoKeys {
    fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
        KeyLookup::Absent
    }

    fn generation(&self) -> Option<u64> {
        Some(0)
    }
}
