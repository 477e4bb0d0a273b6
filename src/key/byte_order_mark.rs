//! The byte order mark that editors and shells on Windows write at the start of a text.

/// Returns the text without a leading UTF-8 byte order mark.
///
/// RFC 8259 §8.1 lets a JSON parser ignore the mark. RFC 7468 §2 lets a PEM parser ignore text
/// before the first boundary.
pub(crate) fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

const MARK: &[u8] = b"\xEF\xBB\xBF";
