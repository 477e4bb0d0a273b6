//! The cost of a hash.

use crate::error::ConfigError;

/// The cost of an Argon2id hash: memory, passes, lanes.
///
/// All presets have about the same strength. They trade memory for time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Argon2Cost {
    /// 19 MiB, 2 passes, 1 lane: the default, and the minimum that [OWASP] recommends.
    ///
    /// [OWASP]: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
    pub const LIGHT: Self = Self::of(19 * 1024, 2, 1);

    /// 46 MiB, 1 pass, 1 lane: OWASP's first choice.
    pub const STANDARD: Self = Self::of(46 * 1024, 1, 1);

    /// 64 MiB, 3 passes, 4 lanes: the second choice of [RFC 9106 §4].
    ///
    /// [RFC 9106 §4]: https://www.rfc-editor.org/rfc/rfc9106#section-4
    pub const HEAVY: Self = Self::of(64 * 1024, 3, 4);

    /// Creates any other cost. `memory_kib` is the memory of all lanes together, in KiB.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: more than 1 GiB, 20 passes or 16 lanes, memory × passes above 4
    /// GiB, no pass, no lane, or less than 8 KiB per lane.
    ///
    /// # Security
    ///
    /// The presets are the minimum. With a lower cost, an attacker who steals the store guesses
    /// passwords faster.
    pub fn dangerous_custom(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, ConfigError> {
        let cost = Self::of(memory_kib, passes, lanes);
        if cost.is_bearable() && argon2::Params::new(memory_kib, passes, lanes, None).is_ok() {
            Ok(cost)
        } else {
            Err(ConfigError::invalid(
                "the cost of Argon2",
                "must be 8 KiB per lane to 1 GiB, 1 to 20 passes, 1 to 16 lanes, memory times passes up to 4 GiB",
            ))
        }
    }

    const fn of(memory_kib: u32, passes: u32, lanes: u32) -> Self {
        Self {
            memory_kib,
            passes,
            lanes,
        }
    }

    /// Returns `true` if the cost is within the limits, which keep an imported hash from exhausting
    /// the server.
    pub(super) fn is_bearable(self) -> bool {
        self.memory_kib <= 1 << 20
            && self.passes <= 20
            && self.lanes <= 16
            && u64::from(self.memory_kib) * u64::from(self.passes) <= 4 << 20
    }
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self::LIGHT
    }
}
