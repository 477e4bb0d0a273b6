//! The mark that editors and shells on Windows write before a text.

/// Returns the text without a UTF-8 byte order mark before it.
///
/// RFC 8259 §8.1 lets a parser of JSON ignore the mark. RFC 7468 §2 lets a parser of PEM ignore what
/// stands before the first boundary.
pub(crate) fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

const MARK: &[u8] = b"\xEF\xBB\xBF";
