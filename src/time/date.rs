//! Points in time in claims: `NumericDate` of [RFC 7519
//! §2](https://www.rfc-editor.org/rfc/rfc7519#section-2).

use std::time::Duration;

use super::Timestamp;

/// Nanoseconds since 1970, wide enough for the range of every integer claim.
///
/// Arithmetic saturates, so that no number in a token can overflow or panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(i128);

const SECOND: i128 = 1_000_000_000;
const MILLISECOND: i128 = 1_000_000;

impl Date {
    pub(crate) fn from_u64(seconds: u64) -> Self {
        Self(i128::from(seconds) * SECOND)
    }

    pub(crate) fn from_i64(seconds: i64) -> Self {
        Self(i128::from(seconds) * SECOND)
    }

    /// Converts a number with a fraction or of more than 64 bits.
    pub(crate) fn from_f64(seconds: f64) -> Self {
        // A cast from a float saturates.
        Self((seconds * 1e9) as i128)
    }

    pub(crate) fn of(time: Timestamp) -> Self {
        Self(i128::from(time.as_millis()) * MILLISECOND)
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    pub(crate) fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(duration)))
    }

    /// Returns the same time in milliseconds, rounded down and clamped.
    pub(crate) fn to_timestamp(self) -> Timestamp {
        let millis = self.0.div_euclid(MILLISECOND);
        let clamped = millis.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Timestamp::from_millis(i64::try_from(clamped).unwrap_or_default())
    }

    /// Returns the first time in milliseconds that is not before this one, clamped.
    pub(crate) fn to_timestamp_rounded_up(self) -> Timestamp {
        // A division of 128 bits is slow, and 64 bits reach to the year 2262.
        let millis = match i64::try_from(self.0) {
            Ok(nanos) => {
                const MILLISECOND: i64 = 1_000_000;
                nanos.div_euclid(MILLISECOND) + i64::from(nanos.rem_euclid(MILLISECOND) != 0)
            }
            Err(_) => {
                let part = i128::from(self.0.rem_euclid(MILLISECOND) != 0);
                let millis = self.0.div_euclid(MILLISECOND) + part;
                let clamped = millis.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
                i64::try_from(clamped).unwrap_or_default()
            }
        };
        Timestamp::from_millis(millis)
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn e6_extreme_numbers_neither_overflow_nor_panic() {
        let extremes = [
            1e300,
            -1e300,
            f64::INFINITY,
            f64::NAN,
            1.844_674_407_370_955_2e19,
            -1.0,
        ];
        for number in extremes {
            let date = Date::from_f64(number);
            let _ = date.plus(Duration::MAX).to_timestamp();
        }
        assert!(Date::from_f64(1e300) > Date::from_u64(u64::MAX));
        assert!(Date::from_i64(-1) < Date::of(Timestamp::from_secs(0)));
    }

    #[test]
    fn e5_a_fraction_of_a_second_counts() {
        assert!(Date::from_f64(1_700_000_000.5) > Date::from_u64(1_700_000_000));
        assert!(Date::from_f64(1_700_000_000.5) < Date::from_u64(1_700_000_001));
    }

    proptest! {
        #[test]
        fn seconds_survive_the_way_to_a_timestamp(seconds in -62_135_596_800_i64..253_402_300_799) {
            prop_assert_eq!(Date::of(Date::from_i64(seconds).to_timestamp()), Date::from_i64(seconds));
        }
    }
}
