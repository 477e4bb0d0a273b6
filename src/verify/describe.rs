//! The values of a refused token, for the log and for events.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Kind, Verifier,
    compact::{Compact, decode},
};
use crate::{
    error::{AuthError, RefusedToken, shown},
    key::Algorithm,
};

#[derive(Default, Deserialize)]
struct HeaderValues {
    alg: Option<Value>,
    kid: Option<Value>,
    typ: Option<Value>,
}

#[derive(Default, Deserialize)]
struct ClaimValues {
    iss: Option<Value>,
    aud: Option<Value>,
}

impl<C> Verifier<C> {
    /// Adds the values of the refused token and the expectations to an error. The caller does this only
    /// if a log or an event sink receives them.
    #[cold]
    pub(crate) fn describe(&self, token: &[u8], error: AuthError) -> AuthError {
        if token.len() > self.max_bytes() {
            return error;
        }
        let Some(parts) = Compact::parse(token) else {
            return error;
        };
        let padded = self.allows_padding();
        let header: HeaderValues = read(parts.header, padded);
        let claims: ClaimValues = read(parts.payload, padded);
        let text = |value: Option<Value>| Some(shown(value?.as_str()?));
        error.of_token(RefusedToken {
            algorithm: text(header.alg),
            key_id: text(header.kid),
            typ: text(header.typ),
            issuer: text(claims.iss),
            audience: claims.aud.as_ref().and_then(audience),
            expected_algorithms: names(&self.algorithms()),
            expected_issuers: self.issuers().join(", "),
            expected_audience: match &self.kind {
                Kind::One(rules) if !rules.policy.any_audience => {
                    rules.policy.audience_names().join(", ")
                }
                _ => String::new(),
            },
        })
    }
}

/// Reads the members of a segment. A segment that is not such an object has none.
fn read<T: Default + for<'de> Deserialize<'de>>(segment: &[u8], padded: bool) -> T {
    let json = decode(segment, padded).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_default()
}

/// Returns a string, or the strings of a list.
pub(super) fn audience(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(shown(name)),
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            Some(shown(&names.join(", ")))
        }
        _ => None,
    }
}

pub(super) fn names(algorithms: &[Algorithm]) -> String {
    let names: Vec<_> = algorithms.iter().map(|one| one.as_str()).collect();
    names.join(", ")
}
