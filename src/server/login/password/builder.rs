//! The builder of [`PasswordHasher`].

use std::{num::NonZeroUsize, thread, time::Duration};

use super::{
    Argon2Cost, PasswordHasher,
    hasher::Inner,
    pepper::{Pepper, Peppers},
    pool::Pool,
    stored::ReadHash,
};
use crate::{error::ConfigError, secret::Secret};

/// Builds a [`PasswordHasher`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PasswordHasherBuilder {
    cost: Argon2Cost,
    peppers: Peppers,
    concurrency: NonZeroUsize,
    queue: usize,
    wait: Duration,
}

impl PasswordHasherBuilder {
    pub(super) fn new() -> Self {
        Self {
            cost: Argon2Cost::default(),
            peppers: Peppers::default(),
            concurrency: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            queue: 64,
            wait: Duration::from_secs(2),
        }
    }

    /// Sets the cost of new hashes. A stored hash with another cost is replaced when its user signs
    /// in.
    pub fn cost(mut self, cost: Argon2Cost) -> Self {
        self.cost = cost;
        self
    }

    /// Mixes a key that is not in the store into new hashes. An attacker who steals only the store
    /// cannot test guesses.
    ///
    /// `id` (1 to 8 bytes) is written into the hash. To rotate a pepper, pass the new one here and
    /// the old one to [`older_pepper`](Self::older_pepper). Each user's hash is replaced at their
    /// next login.
    ///
    /// # Security
    ///
    /// If a pepper is lost, no password with a hash under it can be verified any more.
    pub fn pepper(mut self, id: &str, key: impl Into<Secret<Vec<u8>>>) -> Self {
        self.peppers.set_current(pepper(id, key.into()));
        self
    }

    /// Adds a pepper for the verification of older hashes.
    pub fn older_pepper(mut self, id: &str, key: impl Into<Secret<Vec<u8>>>) -> Self {
        self.peppers.add(pepper(id, key.into()));
        self
    }

    /// Sets how many hashes are computed concurrently; by default the number of cores. Each takes
    /// the memory of its [cost](Argon2Cost), and a stored hash may require up to 1 GiB.
    pub fn concurrency(mut self, hashes: NonZeroUsize) -> Self {
        self.concurrency = hashes;
        self
    }

    /// Sets the length of the queue; 64 by default. Further callers are refused immediately.
    ///
    /// One network takes at most half of all places, at work and in the queue. A quarter of the
    /// places is reserved for trusted devices and live sessions. The first rule does not apply to
    /// callers from an unknown network.
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = waiting;
        self
    }

    /// Sets the maximum time in the queue; 2 s by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Validates the settings and returns the hasher.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a pepper has less than 32 bytes, an id is not 1 to 8 bytes long,
    /// or two peppers have the same id.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    pub fn build(self) -> Result<PasswordHasher, ConfigError> {
        self.peppers.check()?;
        let dummy = ReadHash::dummy(self.cost, self.peppers.current())
            .map_err(|_| ConfigError::invalid("the cost of Argon2", "it is out of range"))?;
        Ok(PasswordHasher::from_inner(Inner {
            cost: self.cost,
            peppers: self.peppers,
            dummy,
            pool: Pool::new(self.concurrency, self.queue, self.wait),
        }))
    }
}

fn pepper(id: &str, key: Secret<Vec<u8>>) -> Pepper {
    Pepper {
        id: id.as_bytes().into(),
        key,
    }
}
