//! The claim `cnf`: the key and the certificate to which a token is bound (RFC 7800 §3).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::tee::Seen;
use crate::key::Thumbprint;

/// Everything that a request must prove to use a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// The thumbprint of a key (`jkt`, RFC 9449 §6.1).
    pub(crate) key: Option<Thumbprint>,
    /// The SHA-256 digest of a certificate (`x5t#S256`, RFC 8705 §3.1).
    pub(crate) certificate: Option<Thumbprint>,
}

impl Confirmation {
    /// Reads the claim. `None` if no request can prove it: the claim has neither member, or a member is
    /// malformed.
    ///
    /// Other members are ignored (RFC 7800 §3.1).
    pub(super) fn read(value: Seen<'_>) -> Option<Self> {
        let Seen::Other(Value::Object(members)) = value else {
            return None;
        };
        let found = Self {
            key: thumbprint(members, "jkt")?,
            certificate: thumbprint(members, "x5t#S256")?,
        };
        (found.key.is_some() || found.certificate.is_some()).then_some(found)
    }
}

/// Returns a member, `Some(None)` if it is absent, and `None` if it is no thumbprint. Both members have
/// base64url without padding, line breaks and white space (RFC 7515 §2).
fn thumbprint(members: &Map<String, Value>, name: &str) -> Option<Option<Thumbprint>> {
    let Some(value) = members.get(name) else {
        return Some(None);
    };
    let digest = URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?;
    digest.try_into().ok().map(Some)
}
