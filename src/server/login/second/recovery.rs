//! Recovery codes: for a user whose authenticator is lost.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::{DerivedKey, Secret, SecretKey, random};

/// The recovery codes of a user. They are shown once; the store keeps digests.
///
/// Each code is 80 random bits, written as `XXXX-XXXX-XXXX-XXXX`, and works once. The letters I, L, O and
/// U do not occur. Upper and lower case, spaces and hyphens make no difference when a code is entered.
pub struct RecoveryCodes {
    codes: Vec<Secret<String>>,
}

impl RecoveryCodes {
    /// Creates ten codes.
    pub(super) fn generate() -> Self {
        let code = |_| {
            let letters = random::<LETTERS>().map(|byte| char::from(letter(byte)));
            let mut text = Zeroizing::new(String::with_capacity(LETTERS + 3));
            for (place, letter) in letters.into_iter().enumerate() {
                if place > 0 && place % 4 == 0 {
                    text.push('-');
                }
                text.push(letter);
            }
            Secret::new(std::mem::take(&mut *text))
        };
        Self {
            codes: (0..COUNT).map(code).collect(),
        }
    }

    /// Returns the codes, to be shown to their owner.
    #[must_use]
    pub fn expose(&self) -> impl ExactSizeIterator<Item = &str> {
        self.codes.iter().map(|code| code.expose().as_str())
    }
}

impl fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCodes(..)")
    }
}

/// The keys of the digests. A copy of the store does not suffice to search for a code.
pub(super) struct RecoveryKeys(Vec<DerivedKey>);

impl RecoveryKeys {
    pub(super) fn new(secret: &SecretKey) -> Self {
        Self(secret.derive("recovery codes"))
    }

    /// Returns the digests of new codes, by the first key.
    pub(super) fn digests(&self, subject: &str, codes: &RecoveryCodes) -> Vec<String> {
        let key = self.0.first();
        let codes = codes.expose().filter_map(read);
        codes
            .filter_map(|code| digest(key?, subject, &code))
            .collect()
    }

    /// Returns the place of a presented code among the digests.
    pub(super) fn find(&self, subject: &str, code: &str, digests: &[String]) -> Option<usize> {
        let presented = self.0.iter().filter_map(|key| digest(key, subject, code));
        let presented: Vec<_> = presented.collect();
        digests.iter().position(|kept| {
            let is = |one: &String| bool::from(one.as_bytes().ct_eq(kept.as_bytes()));
            presented.iter().any(is)
        })
    }
}

/// Returns the letters of a presented code; `None` if it does not have the form of one.
pub(super) fn read(presented: &str) -> Option<Zeroizing<String>> {
    if presented.len() > 2 * LETTERS + 3 {
        return None;
    }
    let letters = presented
        .chars()
        .filter(|letter| !matches!(letter, '-' | ' '));
    let code: Zeroizing<String> = Zeroizing::new(letters.map(|l| l.to_ascii_uppercase()).collect());
    let known = |byte: u8| ALPHABET.contains(&byte);
    (code.len() == LETTERS && code.bytes().all(known)).then_some(code)
}

fn digest(key: &DerivedKey, subject: &str, code: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.key.expose()).ok()?;
    mac.update(&(subject.len() as u64).to_be_bytes());
    mac.update(subject.as_bytes());
    mac.update(code.as_bytes());
    Some(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn letter(random: u8) -> u8 {
    // 32 letters: five bits of the byte.
    ALPHABET
        .get(usize::from(random % 32))
        .copied()
        .unwrap_or(b'0')
}

/// The alphabet of Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LETTERS: usize = 16;
const COUNT: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> RecoveryKeys {
        let mut keys = bytes
            .iter()
            .map(|byte| SecretKey::from_bytes([*byte; 32]).unwrap());
        let first = keys.next().unwrap();
        RecoveryKeys::new(&keys.fold(first, SecretKey::or_older))
    }

    #[test]
    fn u33_a_code_is_found_by_its_digest_and_in_any_spelling() {
        let codes = RecoveryCodes::generate();
        let digests = keys(&[1]).digests("ada", &codes);
        assert_eq!((codes.expose().len(), digests.len()), (10, 10));
        for (place, code) in codes.expose().enumerate() {
            assert_eq!(code.len(), 19);
            for spelling in [code.to_lowercase(), code.replace('-', " ")] {
                let code = read(&spelling).unwrap();
                assert_eq!(keys(&[1]).find("ada", &code, &digests), Some(place));
                // An older secret verifies.
                assert_eq!(keys(&[2, 1]).find("ada", &code, &digests), Some(place));
                assert_eq!(keys(&[2]).find("ada", &code, &digests), None);
                assert_eq!(keys(&[1]).find("eve", &code, &digests), None);
            }
            assert!(!digests.iter().any(|digest| digest.contains(&code[..4])));
        }
        for bad in [
            "",
            "123456",
            "ÄÄÄÄ-ÄÄÄÄ-ÄÄÄÄ-ÄÄÄÄ",
            &"A".repeat(17),
            &"-".repeat(40),
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{codes:?}"), "RecoveryCodes(..)");
    }
}
