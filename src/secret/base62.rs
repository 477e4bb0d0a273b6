//! Base62, and the checksum at the end of tokens, which secret scanners use.
//!
//! The alphabet is `0-9A-Za-z`, in the order of the ASCII codes.

/// Returns the CRC-32 of a text as six base62 digits. At the end of a token it reveals typing
/// errors, truncation and guesses without a query to the store.
///
/// The checksum does not authenticate the token.
pub(crate) fn checksum(text: &str) -> [u8; 6] {
    let mut digits = [0; 6];
    write(
        &mut crc32fast::hash(text.as_bytes()).to_be_bytes(),
        &mut digits,
    );
    digits
}

/// Removes the checksum, and returns `None` if it is missing or wrong.
pub(crate) fn strip_checksum(token: &str) -> Option<&str> {
    let (text, sum) = token.split_at_checked(token.len().checked_sub(6)?)?;
    (sum.as_bytes() == checksum(text)).then_some(text)
}

/// Returns the bytes as a big-endian number in base62. Leading zeros pad it to the width of the
/// largest number with that many bytes.
pub(crate) fn base62<const N: usize>(mut bytes: [u8; N]) -> String {
    // 62^43 is just above 2^256: log 256 / log 62 = 1.34359.
    let mut digits = vec![0; (N * 134_360).div_ceil(100_000)];
    write(&mut bytes, &mut digits);
    digits.into_iter().map(char::from).collect()
}

pub(crate) fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Divides the number by 62 repeatedly and writes the digits from last to first. The number ends as
/// zeros.
fn write(number: &mut [u8], digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let mut rest = 0;
        for byte in number.iter_mut() {
            let value = rest << 8 | u16::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = match rest as u8 {
            value @ 0..10 => b'0' + value,
            value @ 10..36 => b'A' + (value - 10),
            value => b'a' + (value - 36),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_refresh_tokens_vector() {
        for token in [
            "rt1_AQcAAQIDBAUGBwgJCgsMDQ4PALdnrLy-TLu9tkcMGO8rQ-k00nNSD",
            "rt1_AQcAAQIDBAUGBwgJCgsMDQ4PAe6QCiKAMpwjOehtftnXq9s17AvJZ",
        ] {
            assert_eq!(strip_checksum(token), Some(&token[..token.len() - 6]));
        }
    }

    #[test]
    fn a_number_is_written_whole_and_at_full_width() {
        assert_eq!(base62([0; 32]).len(), 43);
        assert_eq!(base62([0; 32]), "0".repeat(43));
        // 2^256 - 1, by Python's integers.
        assert_eq!(
            base62([0xFF; 32]),
            "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
        );
        assert_eq!(base62([0, 61]), "00z");
        assert_eq!(base62([0, 62]), "010");
        assert_eq!(base62([]), "");
    }

    #[test]
    fn what_has_no_checksum_has_none() {
        for bad in ["", "12345", "00000", "é00000", "aéééé", "abc000000"] {
            assert_eq!(strip_checksum(bad), None, "{bad}");
        }
        // CRC-32 of nothing is 0.
        assert_eq!(strip_checksum("000000"), Some(""));
    }
}
