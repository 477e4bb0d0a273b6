//! A claims type for applications that do not define one.

use std::fmt;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// All claims of a token, as JSON.
///
/// The default claims type. An application with known claims defines a struct with
/// `#[derive(Deserialize)]` instead. The verifier then refuses tokens that do not match the struct.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), serde_json::Error> {
/// use tower_jwt_auth::principal::Claims;
///
/// let claims: Claims = serde_json::from_str(r#"{"sub":"alice","tenant":7,"aud":["a","b"]}"#)?;
/// assert_eq!(claims.subject(), Some("alice"));
/// assert_eq!(claims.get_as::<u32>("tenant"), Some(7));
/// assert_eq!(claims.audience().collect::<Vec<_>>(), ["a", "b"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Claims {
    members: Map<String, Value>,
}

impl Claims {
    /// Returns the issuer (`iss`, RFC 7519 §4.1.1).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// Returns the subject (`sub`, RFC 7519 §4.1.2).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// Returns the audiences (`aud`, RFC 7519 §4.1.3), given as a string or as an array.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self.get("aud") {
            Some(Value::String(name)) => (Some(name.as_str()), None),
            Some(Value::Array(names)) => (None, Some(names)),
            _ => (None, None),
        };
        let many = many.into_iter().flatten().filter_map(Value::as_str);
        one.into_iter().chain(many)
    }

    /// Returns the token's identifier (`jti`, RFC 7519 §4.1.7).
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.text("jti")
    }

    /// Returns the claim with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Returns the claim with this name, deserialized into `T`. Returns `None` if the claim is
    /// missing or is not a valid `T`.
    #[must_use]
    pub fn get_as<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(|value| T::deserialize(value).ok())
    }

    /// Returns all claims with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }
}

impl fmt::Debug for Claims {
    // Claims are personal data: only their names are printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members.keys()).finish()
    }
}
