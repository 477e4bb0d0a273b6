//! The text of a refresh token.
//!
//! ```text
//! "rt1_" base64url( 1 | key's byte | F, 16 bytes | generation, LEB128 | tag, 16 bytes ) checksum
//! session = first 16 bytes of SHA-256("rt1.sid" 0 | F)
//! tag     = first 16 bytes of HMAC-SHA-256(key, "rt1.tag" 0 | 1 | key's byte | F | generation)
//! ```
//!
//! `F` is random. It is created at the start of a session, and only the client keeps it. The store
//! has the session id, from which `F` cannot be derived; the server has the key. Neither a copy of
//! the store nor the key alone is enough to make a token. A successor is computed from its
//! predecessor and the key.

#![cfg_attr(
    not(any(test, feature = "test-util")),
    allow(unreachable_pub, reason = "public for the tests of stores only")
)]

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::{
    principal::SessionId,
    secret::{
        DerivedKey, Secret, SecretKey,
        base62::{checksum, strip_checksum},
        random,
    },
};

/// Writes refresh tokens, and reads the tokens that it wrote.
#[derive(Clone)]
pub struct RefreshTokens {
    // Never empty. The first key mints.
    keys: Vec<DerivedKey>,
}

impl RefreshTokens {
    /// Creates the codec of tokens under this key.
    #[must_use]
    pub fn new(secret: &SecretKey) -> Self {
        Self {
            keys: secret.derive("tower-jwt-auth refresh token"),
        }
    }

    /// Returns the first token of a new session.
    #[must_use]
    pub fn start(&self) -> RefreshToken {
        RefreshToken {
            family: Secret::new(random()),
            generation: 0,
        }
    }

    /// Returns the text of a token. The same token has the same text until the key is replaced.
    #[must_use]
    pub fn write(&self, token: &RefreshToken) -> Secret<String> {
        let mut body = Vec::with_capacity(MAX_BODY);
        let mut text = String::with_capacity(PREFIX.len() + MAX_BODY * 4 / 3 + 8);
        text.push_str(PREFIX);
        if let Some(key) = self.keys.first() {
            body.extend([VERSION, key.id]);
            body.extend(token.family.expose());
            push_varint(&mut body, token.generation);
            let tag = mac(key, &body).finalize().into_bytes();
            body.extend(tag.iter().take(TAG));
            URL_SAFE_NO_PAD.encode_string(&body, &mut text);
        }
        // Wipes the bytes.
        drop(Secret::new(body));
        let sum = checksum(&text);
        text.extend(sum.map(char::from));
        Secret::new(text)
    }

    /// Reads a presented token. Returns `None` if this server did not write it, or if it was
    /// modified.
    ///
    /// The tag is verified without a query, so that garbage and forgeries put no load on the store
    /// and cannot revoke a session.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<RefreshToken> {
        if text.len() > MAX_TEXT || !text.starts_with(PREFIX) {
            return None;
        }
        let body = strip_checksum(text)?.strip_prefix(PREFIX)?;
        // The decoder refuses padding and stray bits, which the encoder never writes.
        let body = Secret::new(URL_SAFE_NO_PAD.decode(body).ok()?);
        let (signed, tag) = body
            .expose()
            .split_at_checked(body.expose().len().checked_sub(TAG)?)?;
        let (head, rest) = signed.split_first_chunk::<2>()?;
        let (family, generation) = rest.split_first_chunk::<16>()?;
        let [version, id] = *head;
        if version != VERSION {
            return None;
        }
        let generation = read_varint(generation)?;
        let is_tag_of =
            |key: &&DerivedKey| key.id == id && mac(key, signed).verify_truncated_left(tag).is_ok();
        self.keys.iter().find(is_tag_of)?;
        Some(RefreshToken {
            family: Secret::new(*family),
            generation,
        })
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshTokens(..)")
    }
}

/// A refresh token: the credential that continues a session.
///
/// Its text is a bearer credential, so `Debug` shows only the session id and the generation.
#[derive(Clone)]
pub struct RefreshToken {
    family: Secret<[u8; 16]>,
    generation: u64,
}

impl RefreshToken {
    /// Returns the session id in stores and access tokens.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        let digest = Sha256::new()
            .chain_update(b"rt1.sid\0")
            .chain_update(self.family.expose())
            .finalize();
        let mut id = [0; 16];
        id.iter_mut()
            .zip(digest)
            .for_each(|(byte, digested)| *byte = digested);
        SessionId::from_bytes(id)
    }

    /// Returns the generation: 0 for the first token of a session, and higher for each successor.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the token of this generation in the same session.
    #[must_use]
    pub fn successor(&self, generation: u64) -> Self {
        Self {
            family: self.family.clone(),
            generation,
        }
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("session_id", &self.session_id())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn mac(key: &DerivedKey, signed: &[u8]) -> Hmac<Sha256> {
    // The inherent method takes a key of the block size. Padding with zeros is what RFC 2104 does.
    let mut block = [0; 64];
    block
        .iter_mut()
        .zip(key.key.expose())
        .for_each(|(byte, key)| *byte = *key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    zeroize::Zeroize::zeroize(&mut block);
    mac.update(b"rt1.tag\0");
    mac.update(signed);
    mac
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads all of the bytes as one number, in its shortest encoding only.
fn read_varint(bytes: &[u8]) -> Option<u64> {
    let (last, rest) = bytes.split_last()?;
    let ends_there = *last < 0x80 && rest.iter().all(|byte| *byte >= 0x80);
    let is_shortest = *last != 0 || rest.is_empty();
    // 2^63 has ten groups of seven bits, of which the last has one bit.
    let fits = rest.len() < 9 || (rest.len() == 9 && *last == 1);
    (ends_there && is_shortest && fits).then(|| {
        bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F))
    })
}

const PREFIX: &str = "rt1_";
const VERSION: u8 = 1;
const TAG: usize = 16;
/// Longer than any token. Longer texts are refused unread.
const MAX_TEXT: usize = 128;
const MAX_BODY: usize = 2 + 16 + 10 + TAG;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The key of the vectors: 0, 1, … 31 under the byte 7.
    fn published() -> RefreshTokens {
        let mut key = [0; 32];
        key.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        RefreshTokens {
            keys: vec![DerivedKey {
                id: 7,
                key: Secret::new(key),
            }],
        }
    }

    fn token(generation: u64) -> RefreshToken {
        let family = std::array::from_fn(|at| at as u8);
        RefreshToken {
            family: Secret::new(family),
            generation,
        }
    }

    #[test]
    fn the_vectors_are_written_and_read() {
        for (generation, text) in [
            (
                0,
                "rt1_AQcAAQIDBAUGBwgJCgsMDQ4PALdnrLy-TLu9tkcMGO8rQ-k00nNSD",
            ),
            (
                1,
                "rt1_AQcAAQIDBAUGBwgJCgsMDQ4PAe6QCiKAMpwjOehtftnXq9s17AvJZ",
            ),
        ] {
            assert_eq!(published().write(&token(generation)).expose(), text);
            let read = published().read(text).unwrap();
            assert_eq!(read.generation(), generation);
            assert_eq!(
                read.session_id().to_string(),
                "1f0953f2e859f2e1f589274be44a2338"
            );
        }
    }

    #[test]
    fn an_older_key_verifies_and_the_newest_mints() {
        let secret = |byte| SecretKey::from_bytes([byte; 32]).unwrap();
        let (old, new) = (
            RefreshTokens::new(&secret(1)),
            RefreshTokens::new(&secret(2)),
        );
        let both = RefreshTokens::new(&secret(2).or_older(secret(1)));
        let text = old.write(&token(3));
        assert!(new.read(text.expose()).is_none());
        let read = both.read(text.expose()).unwrap();
        assert_eq!(
            both.write(&read).expose(),
            new.write(&token(3)).expose(),
            "the answer is under the new key"
        );
    }

    #[test]
    fn keys_that_share_their_byte_are_all_tried() {
        let mut tokens = published();
        tokens.keys.insert(
            0,
            DerivedKey {
                id: 7,
                key: Secret::new([9; 32]),
            },
        );
        let text = published().write(&token(5));
        assert_eq!(tokens.read(text.expose()).unwrap().generation(), 5);
    }

    #[test]
    fn a_number_has_one_spelling() {
        for bad in [
            &[][..],
            &[0x80],
            &[0x80, 0],
            &[0, 0],
            &[1, 1],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2],
            &[
                0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
            ],
        ] {
            assert_eq!(read_varint(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let text = format!("{:?} {:?}", published(), token(3));
        assert_eq!(
            text,
            "RefreshTokens(..) RefreshToken { \
             session_id: SessionId(1f0953f2e859f2e1f589274be44a2338), generation: 3, .. }"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(family: [u8; 16], generation: u64) {
            let written = RefreshToken { family: Secret::new(family), generation };
            let text = published().write(&written);
            prop_assert!((57..=69).contains(&text.expose().len()));
            let read = published().read(text.expose()).unwrap();
            prop_assert_eq!(read.family.expose(), &family);
            prop_assert_eq!(read.generation, generation);
        }

        #[test]
        fn a_changed_tag_is_refused_also_where_the_checksum_is_right(
            generation: u64, at in 0..64usize, bit in 0..8u8,
        ) {
            let text = published().write(&token(generation));
            let body = strip_checksum(text.expose()).unwrap().strip_prefix(PREFIX).unwrap();
            let mut body = URL_SAFE_NO_PAD.decode(body).unwrap();
            let at = at % body.len();
            body[at] ^= 1 << bit;
            let mut forged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body));
            forged.extend(checksum(&forged).map(char::from));
            prop_assert!(published().read(&forged).is_none());
        }

        #[test]
        fn no_text_panics(text: String, body: Vec<u8>) {
            prop_assert!(published().read(&text).is_none());
            let mut text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body));
            text.extend(checksum(&text).map(char::from));
            prop_assert!(published().read(&text).is_none());
        }
    }
}
