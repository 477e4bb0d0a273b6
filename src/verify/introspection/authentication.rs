//! The authentication of this server at the introspection endpoint (RFC 7662 §2.1).

use std::sync::Arc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    error::ConfigError,
    key::SigningKey,
    secret::{Secret, random},
    time::Timestamp,
};

/// The way in which this server authenticates.
#[derive(Clone)]
pub(super) enum Authentication {
    Basic(String, Secret<String>),
    Post(String, Secret<String>),
    Assertion(String, Arc<SigningKey>),
    Bearer(Secret<String>),
}

/// The parts of a request that authenticate it, and its body.
pub(super) struct Credentials {
    pub(super) header: Option<HeaderValue>,
    pub(super) body: String,
}

impl Authentication {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |problem: &'static str| Err(ConfigError::invalid("introspection", problem));
        let (client, secret) = match self {
            Self::Basic(client, secret) | Self::Post(client, secret) => {
                (Some(client), Some(secret))
            }
            Self::Assertion(_, key) if key.algorithm().is_hmac() => {
                return refuse("`private_key_jwt` needs a private key, not a secret");
            }
            Self::Assertion(client, _) => (Some(client), None),
            Self::Bearer(token) => (None, Some(token)),
        };
        if client.is_some_and(String::is_empty) {
            return refuse("an empty client identifier");
        }
        if secret.is_some_and(|secret| secret.expose().is_empty()) {
            return refuse("an empty secret");
        }
        // The header is built for each call; a value that cannot be one must not fail only then.
        if let Self::Bearer(token) = self
            && bearer(token).is_none()
        {
            return refuse("a bearer token that cannot be in a header");
        }
        Ok(())
    }

    /// Returns the credentials and the body of a request about this token. `None` if the cryptographic
    /// library fails.
    pub(super) fn request(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Option<Credentials> {
        let mut form = Serializer::new(String::with_capacity(token.len() + 64));
        form.append_pair("token", token);
        // RFC 7662 §2.1: the server extends its search if the hint is wrong.
        form.append_pair("token_type_hint", "access_token");
        let header = match self {
            Self::Basic(client, secret) => Some(basic(client, secret)?),
            Self::Bearer(token) => Some(bearer(token)?),
            Self::Post(client, secret) => {
                form.append_pair("client_id", client);
                form.append_pair("client_secret", secret.expose());
                None
            }
            Self::Assertion(client, key) => {
                let assertion = assertion(client, key, audience, now)?;
                form.append_pair("client_id", client);
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &assertion);
                None
            }
        };
        Some(Credentials {
            header,
            body: form.finish(),
        })
    }
}

/// RFC 6749 §2.3.1: the identifier and the secret are form-encoded, and then joined.
fn basic(client: &str, secret: &Secret<String>) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::new());
    pair.extend(byte_serialize(client.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose().as_bytes()));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    sensitive(&value)
}

fn bearer(token: &Secret<String>) -> Option<HeaderValue> {
    sensitive(&Zeroizing::new(format!("Bearer {}", token.expose())))
}

/// Returns a header value that is not printed and not compressed.
fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 7523 §3: a JWT for one call.
fn assertion(client: &str, key: &SigningKey, audience: &str, now: Timestamp) -> Option<String> {
    let header = json!({ "alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid() });
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": audience,
        "iat": now.as_secs(),
        "exp": now.as_secs().saturating_add(LIFETIME),
        "jti": URL_SAFE_NO_PAD.encode(random::<16>()),
    });
    let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(message.as_bytes()).ok()?;
    Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// In seconds.
const LIFETIME: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(authentication: &Authentication) -> String {
        let now = Timestamp::from_secs(1_767_225_600);
        let credentials = authentication.request("t", "a", now).unwrap();
        let header = credentials.header.unwrap();
        assert!(header.is_sensitive());
        header.to_str().unwrap().to_owned()
    }

    #[test]
    fn i11_basic_credentials_are_form_encoded_first() {
        let secret = Secret::new("p&ss: w\u{f6}rd%".to_owned());
        let value = header(&Authentication::Basic("cl:ient".to_owned(), secret));
        let encoded = value.strip_prefix("Basic ").unwrap();
        let pair = STANDARD.decode(encoded).unwrap();
        assert_eq!(
            String::from_utf8(pair).unwrap(),
            "cl%3Aient:p%26ss%3A+w%C3%B6rd%25"
        );
    }

    #[test]
    fn i2_the_token_is_form_encoded() {
        let bearer = Authentication::Bearer(Secret::new("own".to_owned()));
        let now = Timestamp::from_secs(1_767_225_600);
        let credentials = bearer.request("a+b/c=&d", "", now).unwrap();
        assert_eq!(
            credentials.body,
            "token=a%2Bb%2Fc%3D%26d&token_type_hint=access_token"
        );
        assert_eq!(header(&bearer), "Bearer own");
    }
}
