//! The secret key of a server, and the keys derived from it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Secret, mac, random};
use crate::error::ConfigError;

/// The secret key of a server. Keys for refresh tokens, CSRF tokens and device tokens are derived
/// from it, the key under which signing keys are stored, and the key of MCP sessions.
///
/// A key has at least 32 random bytes. Its text form is base64url.
///
/// To rotate the key, list several keys separated by commas. The first key creates tokens; all of
/// them verify tokens. Put the new key in front, and remove the old key after all its tokens have
/// expired. If signing keys are stored, every process needs both keys before the new one is put in
/// front: see [the manual](../manual/issuing/index.html#a-ring-in-the-store).
///
/// All processes of a service must use the same key.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::secret::SecretKey;
///
/// let key: SecretKey = "c2VjcmV0LWJ5dGVzLXNlY3JldC1ieXRlcy1zZWNyZXQ".parse()?;
/// assert!("too-short".parse::<SecretKey>().is_err());
/// assert_eq!(format!("{key:?}"), "SecretKey(..)");
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SecretKey {
    // Never empty. The first one creates tokens.
    roots: Vec<Secret<Vec<u8>>>,
}

impl SecretKey {
    /// Creates a key from at least 32 random bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there are fewer than 32 bytes.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let root = Secret::new(bytes.as_ref().to_vec());
        if root.expose().len() < MIN_BYTES {
            return Err(refused("at least 32 random bytes are needed"));
        }
        Ok(Self { roots: vec![root] })
    }

    /// Generates a key. Tokens made with it are valid only while a process keeps it.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            roots: vec![Self::generate_bytes()],
        }
    }

    /// Generates 32 random bytes, for a key that is to be stored.
    #[must_use]
    pub fn generate_bytes() -> Secret<Vec<u8>> {
        Secret::new(random::<MIN_BYTES>().to_vec())
    }

    /// Adds an older key, which verifies its tokens but creates none.
    #[must_use]
    pub fn or_older(mut self, older: Self) -> Self {
        self.roots.extend(older.roots);
        self
    }

    /// Derives a key for one purpose from every secret (RFC 5869 §2.3). The key that creates tokens
    /// is first.
    pub(crate) fn derive(&self, label: &str) -> Vec<DerivedKey> {
        self.roots
            .iter()
            .map(|root| {
                let mut key = Secret::new([0; mac::TAG]);
                let mut id = [0; 1];
                mac::expand(root.expose(), label.as_bytes(), &mut key.0);
                mac::expand(root.expose(), b"tower-jwt-auth key id", &mut id);
                let [id] = id;
                DerivedKey { id, key }
            })
            .collect()
    }
}

impl FromStr for SecretKey {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut keys = text.split(',').map(|one| {
            let bytes = URL_SAFE_NO_PAD
                .decode(one.trim().trim_end_matches('='))
                .map_err(|_| refused("not base64url"))?;
            Self::from_bytes(Secret::new(bytes).expose())
        });
        let Some(first) = keys.next() else {
            return Err(refused("empty"));
        };
        keys.try_fold(first?, |newest, older| Ok(newest.or_older(older?)))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A key for one purpose. `id` selects it among the keys of the other secrets, and may not be
/// unique.
#[derive(Clone, Debug)]
pub(crate) struct DerivedKey {
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "of cookies and tokens")
    )]
    pub(crate) id: u8,
    pub(crate) key: Secret<[u8; 32]>,
}

const MIN_BYTES: usize = 32;

fn refused(problem: &'static str) -> ConfigError {
    ConfigError::invalid("the secret key", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; 32]).unwrap()
    }

    #[test]
    fn each_purpose_and_each_secret_has_its_own_key() {
        let derived = |key: &SecretKey, label| *key.derive(label)[0].key.expose();
        assert_eq!(derived(&key(1), "refresh"), derived(&key(1), "refresh"));
        assert_ne!(derived(&key(1), "refresh"), derived(&key(1), "csrf"));
        assert_ne!(derived(&key(1), "refresh"), derived(&key(2), "refresh"));
    }

    #[test]
    fn the_first_mints_and_all_verify() {
        let both = key(2).or_older(key(1));
        let derived = both.derive("refresh");
        assert_eq!(derived.len(), 2);
        assert_eq!(
            derived[0].key.expose(),
            key(2).derive("refresh")[0].key.expose()
        );
        assert_eq!(
            derived[1].key.expose(),
            key(1).derive("refresh")[0].key.expose()
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let good = URL_SAFE_NO_PAD.encode([7; 32]);
        for bad in [
            "",
            ",",
            "short",
            "sp ace",
            &format!("{good},"),
            &format!("{good},short"),
        ] {
            let error = bad.parse::<SecretKey>().unwrap_err().to_string();
            assert!(bad.len() < 4 || !error.contains(bad), "{error}");
        }
        assert_eq!(
            format!("{good}, {good}")
                .parse::<SecretKey>()
                .unwrap()
                .roots
                .len(),
            2
        );
    }
}
