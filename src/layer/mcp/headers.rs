//! The headers that repeat parts of a message: [MCP 2026-07-28, Request Metadata].
//!
//! [MCP 2026-07-28, Request Metadata]: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#request-metadata

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;

use super::message::{Message, Target};

const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const VERSION: &str = "mcp-protocol-version";

/// The first version whose servers compare the headers with the message.
const FIRST_WITH_HEADERS: &[u8] = b"2026-07-28";

/// The values of the headers, as bytes: a rule is found by them, and no text is checked twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stated<'a> {
    pub(super) method: Option<&'a [u8]>,
    pub(super) name: Option<Cow<'a, [u8]>>,
    version: Option<&'a [u8]>,
}

impl<'a> Stated<'a> {
    /// Reads the headers. The error names the header that is malformed or occurs twice.
    #[inline]
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, &'static str> {
        const PROBLEM_OF_METHOD: &str = "Mcp-Method is malformed or occurs twice";
        const PROBLEM_OF_NAME: &str = "Mcp-Name is malformed or occurs twice";
        const PROBLEM_OF_VERSION: &str = "MCP-Protocol-Version is malformed or occurs twice";

        let (mut method, mut name, mut version) = (None, None, None);
        // One pass over a request's fields costs less than three look-ups by name.
        for (field, value) in headers {
            let value = value.as_bytes();
            let (previous, problem) = match field.as_str() {
                METHOD => (method.replace(value), PROBLEM_OF_METHOD),
                NAME => (name.replace(value), PROBLEM_OF_NAME),
                VERSION => (version.replace(value), PROBLEM_OF_VERSION),
                _ => continue,
            };
            if previous.is_some() {
                return Err(problem);
            }
        }
        Ok(Self {
            method: ascii(method, PROBLEM_OF_METHOD)?,
            name: match ascii(name, PROBLEM_OF_NAME)? {
                Some(name) => Some(decoded(name).ok_or("Mcp-Name is not valid base64 of a text")?),
                None => None,
            },
            version: ascii(version, PROBLEM_OF_VERSION)?,
        })
    }

    /// Compares the headers that are present with a message. The error names the one that differs.
    pub(super) fn compare(&self, message: &Message<'_>) -> Result<(), &'static str> {
        let differs = |stated: Option<&[u8]>, actual: Option<&str>| {
            stated.is_some_and(|stated| actual.map(str::as_bytes) != Some(stated))
        };
        if differs(self.method, message.method.as_deref()) {
            return Err("Mcp-Method differs from the message");
        }
        // The name of an unknown method may stand in a member that is unknown too.
        if message.target.is_some() && differs(self.name.as_deref(), message.target.as_deref()) {
            return Err("Mcp-Name differs from the message");
        }
        if message.version.is_some() && differs(self.version, message.version.as_deref()) {
            return Err("MCP-Protocol-Version differs from the message");
        }
        Ok(())
    }

    /// Returns the method and the name, if the version obliges the server to compare them with the
    /// message and none that the method needs is missing.
    #[inline]
    pub(super) fn obliging(&self) -> Option<(&'a [u8], Option<&[u8]>)> {
        if !self.version.is_some_and(is_modern) {
            return None;
        }
        let method = self.method?;
        match Target::of(method) {
            Some(_) => Some((method, Some(self.name.as_deref()?))),
            None => Some((method, None)),
        }
    }
}

/// Returns a value that is plain ASCII. A header value has no control characters except the tab, so that
/// this is what `HeaderValue::to_str` accepts.
#[inline]
fn ascii<'a>(
    value: Option<&'a [u8]>,
    problem: &'static str,
) -> Result<Option<&'a [u8]>, &'static str> {
    match value.is_none_or(<[u8]>::is_ascii) {
        true => Ok(value),
        false => Err(problem),
    }
}

/// Returns `true` if the request states exactly one protocol version, and it has no sessions.
#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(super) fn is_without_sessions(headers: &HeaderMap) -> bool {
    let mut stated = headers.get_all(VERSION).iter();
    let version = stated.next();
    stated.next().is_none() && version.is_some_and(|version| is_modern(version.as_bytes()))
}

/// Returns `true` for 2026-07-28 and later versions, which are dates.
#[inline]
fn is_modern(version: &[u8]) -> bool {
    version == FIRST_WITH_HEADERS || is_later(version)
}

fn is_later(version: &[u8]) -> bool {
    let is_date = version.len() == FIRST_WITH_HEADERS.len()
        && version
            .iter()
            .zip(FIRST_WITH_HEADERS)
            .all(|(byte, sample)| match sample {
                b'-' => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    is_date && version > FIRST_WITH_HEADERS
}

/// Decodes a value that is not plain ASCII: `=?base64?…?=`.
#[inline]
fn decoded(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let encoded = value.strip_prefix(b"=?base64?");
    let Some(encoded) = encoded.and_then(|rest| rest.strip_suffix(b"?=")) else {
        return Some(Cow::Borrowed(value));
    };
    text_of(encoded).map(Cow::Owned)
}

/// Decodes base64, if the result is a text.
#[cold]
fn text_of(encoded: &[u8]) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j17_only_versions_whose_servers_compare_headers_are_modern() {
        for version in ["2026-07-28", "2026-11-01", "2027-01-01"] {
            assert!(is_modern(version.as_bytes()), "{version}");
        }
        for version in [
            "",
            "2025-11-25",
            "2026-07-27",
            "2026-7-28",
            "draft",
            "9999",
            "9999-99-99x",
            "DRAFT-2027-v",
            "2026_07_28",
        ] {
            assert!(!is_modern(version.as_bytes()), "{version}");
        }
    }

    #[test]
    fn j17_encoded_names_are_decoded_and_only_these() {
        for (value, expected) in [
            ("whoami", Some("whoami")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界")),
            ("=?base64?IHBhZGRlZCA=?=", Some(" padded ")),
            (
                "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
                Some("=?base64?literal?="),
            ),
            ("=?base64??=", Some("")),
            // The markers are case-sensitive, so that these are plain names.
            ("=?BASE64?SGVsbG8=?=", Some("=?BASE64?SGVsbG8=?=")),
            ("=?base64?SGVsbG8=", Some("=?base64?SGVsbG8=")),
            // Not padded, other alphabet, bits that no byte holds, no UTF-8.
            ("=?base64?SGVsbG8?=", None),
            ("=?base64?_-8=?=", None),
            ("=?base64?SGVsbG9=?=", None),
            ("=?base64?/w==?=", None),
        ] {
            let decoded = decoded(value.as_bytes());
            assert_eq!(decoded.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }
}
