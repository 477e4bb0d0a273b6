//! The encryption of keys, and the parts of a record to which a seal is bound.

pub(super) use crate::secret::seal::Opened;
use crate::{
    key::Algorithm,
    secret::{SecretKey, seal},
    time::Timestamp,
};

/// The keys that seal and open records, one for each secret.
pub(super) struct Seals(seal::Seals);

/// The parts of a record that are stored in clear text. The seal is bound to all of them.
///
/// The revision and the number of records bind a record to its ring. A record of an older ring, or
/// a ring from which a record was removed, does not open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    pub(super) revision: u64,
    pub(super) records: usize,
    pub(super) kid: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) retired: bool,
    pub(super) activates_at: Timestamp,
}

impl Seals {
    pub(super) fn new(secret: &SecretKey) -> Self {
        Self(seal::Seals::new(secret, "tower-jwt-auth signing key"))
    }

    /// Encrypts the content of a record under the secret with this index. `None` if the library
    /// fails.
    pub(super) fn seal(&self, bound: &Bound<'_>, content: &[u8], secret: usize) -> Option<Vec<u8>> {
        self.0.seal(&bound.bytes(), content, secret)
    }

    /// Decrypts a record. `None` if no secret opens it.
    pub(super) fn open(&self, bound: &Bound<'_>, sealed: &[u8]) -> Option<Opened> {
        self.0.open(&bound.bytes(), sealed)
    }
}

impl Bound<'_> {
    /// Returns the additional data. Lengths precede the texts, so that no two records have the same
    /// bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        bytes.extend_from_slice(&(self.records as u64).to_be_bytes());
        for text in [self.kid, self.algorithm.as_str()] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.push(u8::from(self.retired));
        bytes.extend_from_slice(&self.activates_at.as_millis().to_be_bytes());
        bytes
    }
}

/// The version of the additional data, the content and the text form.
pub(super) const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(bytes: &[u8]) -> Seals {
        let mut keys = bytes
            .iter()
            .map(|byte| SecretKey::from_bytes([*byte; 32]).unwrap());
        let first = keys.next().unwrap();
        Seals::new(&keys.fold(first, SecretKey::or_older))
    }

    const BOUND: Bound<'static> = Bound {
        revision: 7,
        records: 2,
        kid: "one",
        algorithm: Algorithm::EdDsa,
        retired: false,
        activates_at: Timestamp::from_millis(1_800_000_000_000),
    };

    #[test]
    fn s9_a_sealed_key_opens_with_any_of_its_secrets_and_shows_nothing() {
        let content = b"a private key of the tests";
        let sealed = seals(&[1]).seal(&BOUND, content, 0).unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"private"));
        for (secrets, index) in [(&[1][..], 0), (&[1, 2], 0), (&[2, 1], 1)] {
            let opened = seals(secrets).open(&BOUND, &sealed).unwrap();
            assert_eq!((&opened.content[..], opened.secret), (&content[..], index));
        }
        assert!(seals(&[2]).open(&BOUND, &sealed).is_none());
        // Every seal has a nonce of its own.
        assert_ne!(seals(&[1]).seal(&BOUND, content, 0).unwrap(), sealed);
    }

    #[test]
    fn s9_a_record_that_was_changed_does_not_open() {
        let seals = seals(&[1]);
        let sealed = seals.seal(&BOUND, b"content", 0).unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(seals.open(&BOUND, &changed).is_none(), "byte {index}");
            assert!(seals.open(&BOUND, &sealed[..index]).is_none());
        }
        let changed = [
            Bound {
                revision: 6,
                ..BOUND
            },
            Bound {
                records: 1,
                ..BOUND
            },
            Bound {
                kid: "two",
                ..BOUND
            },
            Bound {
                algorithm: Algorithm::Ed25519,
                ..BOUND
            },
            Bound {
                retired: true,
                ..BOUND
            },
            Bound {
                activates_at: Timestamp::from_millis(1),
                ..BOUND
            },
        ];
        for bound in changed {
            assert!(seals.open(&bound, &sealed).is_none(), "{bound:?}");
        }
        assert!(seals.open(&BOUND, &sealed).is_some());
    }

    #[test]
    fn s9_the_additional_data_of_two_records_differ() {
        // A letter that moves from one text to the next.
        let one = Bound {
            kid: "oneE",
            ..BOUND
        };
        assert_ne!(one.bytes(), BOUND.bytes());
        assert_eq!(BOUND.bytes().first(), Some(&FORMAT));
    }
}
