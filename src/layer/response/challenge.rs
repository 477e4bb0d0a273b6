//! `WWW-Authenticate` values: [RFC 6750 §3] in the syntax of [RFC 9110 §11].
//!
//! [RFC 6750 §3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
//! [RFC 9110 §11]: https://www.rfc-editor.org/rfc/rfc9110#section-11

use http::HeaderValue;

use crate::error::{ErrorCode, ROWS, Reason};

/// The challenges of one realm, built once so that a refusal only clones one.
#[derive(Clone, Debug)]
pub(super) struct Challenges {
    bare: HeaderValue,
    malformed: HeaderValue,
    multiple: HeaderValue,
    oversized: HeaderValue,
    expired: HeaderValue,
    invalid: HeaderValue,
    role: HeaderValue,
    scope: HeaderValue,
    caller: HeaderValue,
    rule: HeaderValue,
}

/// Returns the code that all causes of a reason share.
fn code_of(reason: Reason) -> Option<ErrorCode> {
    ROWS.iter().find(|row| row.2 == reason)?.1
}

impl Challenges {
    pub(super) fn new(realm: &str, details: bool) -> Self {
        let bare = bare(realm);
        let make = |reason: Reason| {
            let mut text = bare.clone();
            if let Some(code) = code_of(reason) {
                attribute(&mut text, "error", code.as_str());
            }
            if let Some(description) = reason.text().filter(|_| details) {
                attribute(&mut text, "error_description", description);
            }
            value(text)
        };
        Self {
            malformed: make(Reason::Malformed),
            multiple: make(Reason::Multiple),
            oversized: make(Reason::Oversized),
            expired: make(Reason::Expired),
            invalid: make(Reason::Invalid),
            role: make(Reason::Role),
            scope: make(Reason::Scope),
            caller: make(Reason::Caller),
            rule: make(Reason::Rule),
            // RFC 6750 §3.1: no error information if the request lacks a credential.
            bare: value(bare),
        }
    }

    /// Returns the challenge without an error, which every 401 needs at least (RFC 9110 §15.5.2).
    pub(super) fn bare(&self) -> HeaderValue {
        self.bare.clone()
    }

    /// Returns the challenge for a refusal, if the refusal needs one.
    pub(super) fn of(&self, reason: Reason, required_scope: Option<&str>) -> Option<HeaderValue> {
        let challenge = match reason {
            Reason::Missing => &self.bare,
            Reason::Malformed => &self.malformed,
            Reason::Multiple => &self.multiple,
            Reason::Oversized => &self.oversized,
            Reason::Expired => &self.expired,
            Reason::Invalid => &self.invalid,
            Reason::Role => &self.role,
            Reason::Scope => &self.scope,
            Reason::Caller => &self.caller,
            Reason::Rule => &self.rule,
            Reason::CrossSite | Reason::Throttled | Reason::Unavailable | Reason::Misconfigured => {
                return None;
            }
        };
        Some(match required_scope {
            Some(scope) if is_scope(scope) => with_scope(challenge, scope),
            _ => challenge.clone(),
        })
    }
}

fn bare(realm: &str) -> Vec<u8> {
    let mut text = b"Bearer realm=\"".to_vec();
    for character in realm.chars() {
        match character {
            // RFC 9110 §5.6.4: quoted-pair.
            '"' | '\\' => text.extend([b'\\', character as u8]),
            ' '..='~' => text.push(character as u8),
            _ => text.push(b' '),
        }
    }
    text.push(b'"');
    text
}

/// Appends an attribute whose value needs no escaping.
fn attribute(text: &mut Vec<u8>, name: &str, value: &str) {
    for part in [", ", name, "=\"", value, "\""] {
        text.extend_from_slice(part.as_bytes());
    }
}

fn with_scope(challenge: &HeaderValue, scope: &str) -> HeaderValue {
    const AROUND: usize = ", scope=\"\"".len();

    let mut text = Vec::with_capacity(challenge.len() + AROUND + scope.len());
    text.extend_from_slice(challenge.as_bytes());
    attribute(&mut text, "scope", scope);
    value(text)
}

fn value(text: Vec<u8>) -> HeaderValue {
    // Everything above is printable ASCII. The fallback is a bare challenge.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"\""))
}

/// Returns `true` if the text is a scope: `scope-token *( SP scope-token )` (RFC 6749 §3.3).
fn is_scope(text: &str) -> bool {
    text.split(' ').all(|token| {
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
    })
}
