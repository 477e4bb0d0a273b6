//! The JWS compact serialization: [RFC 7515
//! §7.1](https://www.rfc-editor.org/rfc/rfc7515#section-7.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

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
    stack: [u8; N],
    heap: Vec<u8>,
}

impl<const N: usize> Room<N> {
    pub(crate) fn new() -> Self {
        Self {
            stack: [0; N],
            heap: Vec::new(),
        }
    }

    /// Decodes a segment into this buffer, as [`decode`] does.
    pub(crate) fn decode(&mut self, segment: &[u8], padded: bool) -> Option<&[u8]> {
        let segment = if padded { unpadded(segment) } else { segment };
        let room = segment.len() / 4 * 3 + 3;
        let target = if room <= N {
            &mut self.stack
        } else {
            self.heap.resize(room, 0);
            self.heap.as_mut_slice()
        };
        let length = URL_SAFE_NO_PAD.decode_slice(segment, target).ok()?;
        target.get(..length)
    }
}

/// Decodes base64url without padding, strictly: only the alphabet of RFC 4648 §5, and no stray bits
/// in the last character (§3.5). Each token thus has a single valid spelling.
///
/// With `padded`, trailing `=` characters are removed first.
pub(crate) fn decode(segment: &[u8], padded: bool) -> Option<Vec<u8>> {
    let segment = if padded { unpadded(segment) } else { segment };
    URL_SAFE_NO_PAD.decode(segment).ok()
}

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
