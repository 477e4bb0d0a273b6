//! Parsing of JSON Web Keys: [RFC 7517 §4](https://www.rfc-editor.org/rfc/rfc7517#section-4) and
//! RFC 7518 §6.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Algorithm, VerifyingKey,
    der::{looks_like_a_key, unsigned},
    provider::Material,
    thumbprint::Thumbprints,
    verifying::Kid,
    without_byte_order_mark,
};
use crate::error::ConfigError;

/// The members that verification needs. All others are ignored (RFC 7517 §4), including private
/// parts.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    // Kept as JSON values, so that a malformed certificate does not make the key unusable.
    x5t: Option<Value>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<Value>,
    x5c: Option<Value>,
}

/// Decodes a member. Errors come from a fixed list.
macro_rules! member {
    ($jwk:ident.$name:ident) => {
        member(
            $jwk.$name.as_deref(),
            concat!("`", stringify!($name), "` is missing"),
            concat!(
                "`",
                stringify!($name),
                "` is not base64url without padding (RFC 7515 §2)"
            ),
        )
    };
}

impl Jwk {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let json = without_byte_order_mark(json);
        // Unused members must be valid JSON too. A struct deserializer would skip them unchecked.
        let document = serde_json::from_slice::<Value>(json);
        let is_object = document.is_ok_and(|value| value.is_object());
        Self::read(is_object, serde_json::from_slice(json))
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, ConfigError> {
        Self::read(value.is_object(), serde_json::from_value(value))
    }

    // RFC 7517 §4: a JWK is an object. A struct deserializer would also accept an array.
    fn read(is_object: bool, jwk: serde_json::Result<Self>) -> Result<Self, ConfigError> {
        jwk.ok()
            .filter(|_| is_object)
            .ok_or_else(|| ConfigError::Key("not a JSON Web Key".into()))
    }

    pub(crate) fn into_key(self) -> Result<VerifyingKey, ConfigError> {
        let thumbprints = self.thumbprints()?;
        Ok(self.into_bare_key()?.with_thumbprints(thumbprints))
    }

    /// Returns the thumbprints of the certificate, stated or computed (RFC 7517 §4.7 to §4.9).
    fn thumbprints(&self) -> Result<Thumbprints, ConfigError> {
        let text =
            |member: &Option<Value>| member.as_ref().and_then(Value::as_str).map(str::to_owned);
        let (x5t, x5t_s256) = (text(&self.x5t), text(&self.x5t_s256));
        let mut thumbprints = Thumbprints::stated(x5t.as_deref(), x5t_s256.as_deref());
        // The first certificate contains this key.
        let first = self.x5c.as_ref().and_then(|chain| chain.get(0)?.as_str());
        let der = first.and_then(|first| STANDARD.decode(first).ok());
        if let Some(der) = der.filter(|der| looks_like_a_key(der)) {
            thumbprints.add_certificate(&der)?;
        }
        Ok(thumbprints)
    }

    fn into_bare_key(self) -> Result<VerifyingKey, ConfigError> {
        let refuse = |why: &'static str| Err(ConfigError::Key(why.into()));
        // RFC 7517 §4.2, §4.3: a key for another use is not tried.
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return refuse("`use` is not `sig`");
        }
        if let Some(operations) = &self.key_ops
            && !operations.iter().any(|operation| operation == "verify")
        {
            return refuse("`key_ops` does not contain `verify`");
        }
        let declared = match self.alg.as_deref() {
            None => None,
            Some(name) => match Algorithm::from_name(name) {
                Some(algorithm) => Some(algorithm),
                None => return refuse("`alg` is not a known signature algorithm"),
            },
        };
        let kid = match &self.kid {
            Some(kid) => Kid::Named(kid.as_str().into()),
            None => Kid::Nameless,
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (member!(self.n)?, member!(self.e)?);
                let material = Material::Rsa {
                    n: unsigned(&n),
                    e: unsigned(&e),
                };
                VerifyingKey::prepare(kid, declared, &material)
            }
            ("EC", Some(curve)) => {
                // RFC 7518 §6.2.1.2: a coordinate has the full size, including leading zeros.
                let size = match curve {
                    "P-256" => 32,
                    "P-384" => 48,
                    "P-521" => 66,
                    _ => return refuse("unsupported `crv`"),
                };
                let (x, y) = (member!(self.x)?, member!(self.y)?);
                if x.len() != size || y.len() != size {
                    return refuse("a coordinate has the wrong size for its `crv`");
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                VerifyingKey::prepare(kid, declared, &Material::Ec(&point))
            }
            // RFC 8037 §2
            ("OKP", Some("Ed25519")) => {
                let x = member!(self.x)?;
                VerifyingKey::prepare(kid, declared, &Material::Ed25519(&x))
            }
            ("oct", _) => {
                let secret = zeroize::Zeroizing::new(member!(self.k)?);
                VerifyingKey::secret(kid, declared, &secret)
            }
            _ => refuse("unsupported `kty` or `crv`"),
        }
    }
}

/// Returns `true` if a JSON text is a JWK or a JWK set.
pub(crate) fn is_key_document(json: &[u8]) -> bool {
    serde_json::from_slice::<Value>(json)
        .is_ok_and(|value| value.get("kty").is_some() || value.get("keys").is_some())
}

fn member(
    value: Option<&str>,
    missing: &'static str,
    broken: &'static str,
) -> Result<Vec<u8>, ConfigError> {
    let refuse = |why: &'static str| ConfigError::Key(why.into());
    let bytes = URL_SAFE_NO_PAD.decode(value.ok_or_else(|| refuse(missing))?);
    bytes
        .ok()
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| refuse(broken))
}
