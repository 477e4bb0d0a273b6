//! The JWS compact serialization: [RFC 7515
//! §7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1).

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::sync::LazyLock;

use base64::Engine as _;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::{Simd, general_purpose::NO_PAD};
use smallvec::SmallVec;

/// A token split at its dots. The segments are not decoded.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'a> {
    /// The signed text: header, dot, payload.
    pub(crate) message: &'a [u8],
    pub(crate) header: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Splits a token. Returns `None` unless it has exactly three segments with a non-empty header
    /// and signature.
    ///
    /// The payload may be empty (RFC 7515 §5.1), but then contains no claims.
    pub(crate) fn parse(token: &'a [u8]) -> Option<Self> {
        let mut dots = memchr::memchr_iter(b'.', token);
        let (first, second) = (dots.next()?, dots.next()?);
        if dots.next().is_some() {
            return None;
        }
        let parts = Self {
            message: token.get(..second)?,
            header: token.get(..first)?,
            payload: token.get(first + 1..second)?,
            signature: token.get(second + 1..)?,
        };
        let complete = !parts.header.is_empty() && !parts.signature.is_empty();
        complete.then_some(parts)
    }

    /// Returns `true` if the signature has the form of base64url. This cheap check comes before
    /// anything that could cause a fetch of keys.
    pub(crate) fn has_a_signature(&self, padded: bool) -> bool {
        let signature = if padded {
            unpadded(self.signature)
        } else {
            self.signature
        };
        // A length of one more than a multiple of four is invalid (RFC 4648 §4).
        !signature.is_empty() && signature.len() % 4 != 1 && is_base64url(signature)
    }
}

/// A buffer for a decoded segment: on the stack if the segment fits, otherwise on the heap.
pub(crate) struct Room<const N: usize> {
    bytes: SmallVec<[u8; N]>,
}

impl<const N: usize> Room<N> {
    pub(crate) fn new() -> Self {
        Self {
            bytes: SmallVec::new(),
        }
    }

    /// Decodes a segment into this buffer, as [`decode`] does.
    pub(crate) fn decode(&mut self, segment: &[u8], padded: bool) -> Option<&[u8]> {
        let segment = if padded { unpadded(segment) } else { segment };
        // Any bytes will do, because all of them are overwritten. Those of the segment are copied,
        // so that no more of the buffer is filled than the segment needs.
        let room = segment.get(..decoded_length(segment))?;
        self.bytes.clear();
        self.bytes.extend_from_slice(room);
        let length = ENGINE.decode_slice(segment, &mut self.bytes).ok()?;
        self.bytes.get(..length)
    }
}

/// Decodes base64url without padding, strictly: only the alphabet of RFC 4648 §5, and no stray bits
/// in the last character (§3.5). Each token thus has a single valid spelling.
///
/// With `padded`, trailing `=` characters are removed first.
pub(crate) fn decode(segment: &[u8], padded: bool) -> Option<Vec<u8>> {
    let segment = if padded { unpadded(segment) } else { segment };
    ENGINE.decode(segment).ok()
}

/// The length of the bytes in a segment without padding (RFC 4648 §4): three for four characters.
fn decoded_length(segment: &[u8]) -> usize {
    segment.len() / 4 * 3 + segment.len() % 4 * 3 / 4
}

/// The engine that uses the vector instructions of the processor. It is kept, because their
/// detection and its tables cost more than a segment.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use URL_SAFE_NO_PAD as ENGINE;

/// Returns `true` if all bytes are in the alphabet of RFC 4648 §5. Branch-free, so that the
/// compiler can vectorize it.
pub(crate) fn is_base64url(segment: &[u8]) -> bool {
    segment.iter().fold(true, |all, byte| {
        all & (byte.is_ascii_alphanumeric() | (*byte == b'-') | (*byte == b'_'))
    })
}

fn unpadded(segment: &[u8]) -> &[u8] {
    let padding = segment
        .iter()
        .rev()
        .take_while(|byte| **byte == b'=')
        .count();
    segment
        .get(..segment.len().saturating_sub(padding))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::{prelude::*, sample::Index};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn c5_the_vector_engine_decodes_what_the_scalar_one_decodes(
            bytes in prop::collection::vec(any::<u8>(), 0..700),
            spoilt in prop::option::of((any::<Index>(), any::<u8>())),
        ) {
            let mut segment = URL_SAFE_NO_PAD.encode(bytes).into_bytes();
            if let (Some((position, byte)), false) = (spoilt, segment.is_empty()) {
                let position = position.index(segment.len());
                segment[position] = byte;
            }
            let expected = URL_SAFE_NO_PAD.decode(&segment).ok();
            prop_assert_eq!(&decode(&segment, false), &expected);
            let mut room = Room::<515>::new();
            // The second time, other bytes are in the buffer.
            for _ in 0..2 {
                prop_assert_eq!(room.decode(&segment, false), expected.as_deref());
                room.bytes.reverse();
            }
        }
    }

    #[test]
    fn c5_no_other_byte_is_in_the_alphabet_of_the_vector_engine() {
        // Long enough for the vector instructions, which read 32 characters at a time.
        for position in [0, 31, 32, 63, 64, 95, 96, 99] {
            for byte in 0..=u8::MAX {
                let mut segment = [b'A'; 100];
                segment[position] = byte;
                let expected = URL_SAFE_NO_PAD.decode(segment).ok();
                assert_eq!(decode(&segment, false), expected, "{byte} at {position}");
                let alphabet = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                assert_eq!(expected.is_some(), alphabet, "{byte} at {position}");
            }
        }
    }
}
