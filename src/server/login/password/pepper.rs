//! Keys that are mixed into hashes and kept outside the store.

use std::fmt;

use crate::{error::ConfigError, secret::Secret};

/// The peppers of a hasher: the current one first, then older ones.
#[derive(Clone, Default)]
pub(super) struct Peppers {
    all: Vec<Pepper>,
    /// `true` if the first pepper is used for new hashes.
    current: bool,
}

#[derive(Clone)]
pub(super) struct Pepper {
    pub(super) id: Box<[u8]>,
    pub(super) key: Secret<Vec<u8>>,
}

impl Peppers {
    pub(super) fn set_current(&mut self, pepper: Pepper) {
        self.all.insert(0, pepper);
        self.current = true;
    }

    pub(super) fn add(&mut self, pepper: Pepper) {
        self.all.push(pepper);
    }

    pub(super) fn current(&self) -> Option<&Pepper> {
        self.all.first().filter(|_| self.current)
    }

    /// Returns the pepper with this id.
    pub(super) fn named(&self, id: &[u8]) -> Option<&Pepper> {
        self.all.iter().find(|pepper| *pepper.id == *id)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refused = |problem: &'static str| Err(ConfigError::invalid("pepper", problem));
        for (at, pepper) in self.all.iter().enumerate() {
            if !(1..=argon2::KeyId::MAX_LEN).contains(&pepper.id.len()) {
                return refused("the id must be 1 to 8 bytes");
            }
            if pepper.key.expose().len() < 32 {
                return refused("the key must be at least 32 random bytes");
            }
            if self
                .all
                .iter()
                .skip(at + 1)
                .any(|other| other.id == pepper.id)
            {
                return refused("two peppers have the same id");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peppers({})", self.all.len())
    }
}
