//! The encryption of stored secrets: AES-256-GCM under keys that HKDF derives from the server's secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::{DerivedKey, SecretKey};

/// The keys that seal and open records of one purpose, one for each secret.
pub(crate) struct Seals {
    keys: Vec<DerivedKey>,
}

/// The content of a record, and the index of the secret that opened it.
pub(crate) struct Opened {
    pub(crate) content: Zeroizing<Vec<u8>>,
    pub(crate) secret: usize,
}

impl Seals {
    pub(crate) fn new(secret: &SecretKey, purpose: &str) -> Self {
        Self {
            keys: secret.derive(purpose),
        }
    }

    /// Encrypts a content under the secret with this index. The record opens only with the same `bound`
    /// bytes. `None` if the library fails.
    pub(crate) fn seal(&self, bound: &[u8], content: &[u8], secret: usize) -> Option<Vec<u8>> {
        let key = cipher(self.keys.get(secret)?)?;
        // `content` is encrypted in place, so that no copy of it is left.
        let mut sealed = Zeroizing::new(Vec::with_capacity(content.len() + TAG_LEN));
        sealed.extend_from_slice(content);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(bound), &mut *sealed)
            .ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts a record. `None` if no secret opens it.
    pub(crate) fn open(&self, bound: &[u8], sealed: &[u8]) -> Option<Opened> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        self.keys.iter().enumerate().find_map(|(secret, key)| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut content = Zeroizing::new(sealed.to_vec());
            let length = cipher(key)?
                .open_in_place(nonce, Aad::from(bound), &mut content)
                .ok()?
                .len();
            content.truncate(length);
            Some(Opened { content, secret })
        })
    }
}

fn cipher(key: &DerivedKey) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.key.expose()).ok()
}

const TAG_LEN: usize = 16;
