//! The certificate thumbprints that select a key.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    KeyQuery,
    hash::{sha1, sha256},
};
use crate::error::ConfigError;

/// The thumbprints of a key's certificate: `x5t` and `x5t#S256` (RFC 7517 §4.8, §4.9).
///
/// A thumbprint selects a key and proves nothing; the signature is the proof. SHA-1 is therefore
/// sufficient.
#[derive(Clone, Default)]
pub(crate) struct Thumbprints {
    sha1: Vec<Box<str>>,
    sha256: Vec<Box<str>>,
}

impl Thumbprints {
    /// Creates the thumbprints from the values in a key set.
    pub(crate) fn stated(x5t: Option<&str>, x5t_s256: Option<&str>) -> Self {
        let list = |stated: Option<&str>| stated.into_iter().map(Box::from).collect();
        Self {
            sha1: list(x5t),
            sha256: list(x5t_s256),
        }
    }

    /// Adds the thumbprints of a DER certificate.
    pub(crate) fn add_certificate(&mut self, der: &[u8]) -> Result<(), ConfigError> {
        self.add(Self {
            sha1: vec![URL_SAFE_NO_PAD.encode(sha1(der)?).into()],
            sha256: vec![URL_SAFE_NO_PAD.encode(sha256(&[der])?).into()],
        });
        Ok(())
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (own, more) in [
            (&mut self.sha1, other.sha1),
            (&mut self.sha256, other.sha256),
        ] {
            own.extend(more);
            own.sort_unstable();
            own.dedup();
        }
    }

    /// Returns `true` if the thumbprints match those that a token names, or `None` if they cannot
    /// be compared.
    pub(crate) fn fit(&self, query: &KeyQuery<'_>) -> Option<bool> {
        let compare = |named: Option<&str>, own: &[Box<str>]| {
            let named = named.filter(|_| !own.is_empty())?;
            Some(own.iter().any(|one| **one == *named))
        };
        let sha1 = compare(query.x5t, &self.sha1);
        let sha256 = compare(query.x5t_s256, &self.sha256);
        match (sha1, sha256) {
            (None, fit) | (fit, None) => fit,
            (Some(one), Some(other)) => Some(one && other),
        }
    }
}
