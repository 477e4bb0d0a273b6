//! The choices of a hasher.

use std::{num::NonZeroUsize, thread, time::Duration};

use super::{
    Argon2Cost, PasswordHasher,
    hasher::Inner,
    pepper::{Pepper, Peppers},
    pool::Pool,
    stored::ReadHash,
};
use crate::{error::ConfigError, secret::Secret};

/// The choices of a [`PasswordHasher`].
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

    /// What a new hash costs. Stored hashes of another cost are replaced when their user signs in.
    pub fn cost(mut self, cost: Argon2Cost) -> Self {
        self.cost = cost;
        self
    }

    /// Mixes a key that is not in the store into new hashes: whoever steals the store alone cannot
    /// even begin to guess.
    ///
    /// `id` (1 to 8 bytes) is written into the hash. To roll a pepper, pass the new one here and the
    /// old one to [`older_pepper`](Self::older_pepper); each user's hash changes at their next login.
    ///
    /// # Security
    ///
    /// A pepper that is lost makes every hash under it useless.
    pub fn pepper(mut self, id: &str, key: impl Into<Secret<Vec<u8>>>) -> Self {
        self.peppers.set_current(pepper(id, key.into()));
        self
    }

    /// A pepper that old hashes name.
    pub fn older_pepper(mut self, id: &str, key: impl Into<Secret<Vec<u8>>>) -> Self {
        self.peppers.add(pepper(id, key.into()));
        self
    }

    /// How many hashes are computed at once: the number of cores by default. Each takes its
    /// [cost](Argon2Cost)'s memory, and a stored hash may ask for up to 1 GiB.
    pub fn concurrency(mut self, hashes: NonZeroUsize) -> Self {
        self.concurrency = hashes;
        self
    }

    /// Sets how many may wait for their turn: 64 by default. Further ones are refused immediately.
    ///
    /// Of all places, at work and waiting, one network takes at most half. A quarter is for devices and
    /// sessions that are known. Neither rule applies to callers whose network is not known.
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = waiting;
        self
    }

    /// How long one may wait for its turn: 2 s by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The hasher.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a pepper under 32 bytes, an id that is not 1 to 8 bytes, or two
    /// peppers with one id.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    pub fn build(self) -> Result<PasswordHasher, ConfigError> {
        self.peppers.check()?;
        let dummy = ReadHash::dummy(self.cost, self.peppers.current())
            .map_err(|_| ConfigError::invalid("the cost of Argon2", "it cannot be used"))?;
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
