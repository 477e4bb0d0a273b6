//! What a client sends: JSON or a form, read once, with a limit.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use zeroize::Zeroize;

use super::answer::Refusal;

/// The members of a JSON object or the fields of a form; each at most once (RFC 6749 §3.2), and 32
/// at most.
///
/// Passwords and tokens are among them, so they are wiped when they are dropped.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a body. None at all is as good as an empty one.
    pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Self, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let collected = Limited::new(body, MAX_BYTES).collect().await;
        let bytes = match collected {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Refusal::invalid_request("The body is too long").with_status(status));
            }
            Err(_) => return Err(Refusal::invalid_request("The body broke off")),
        };
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let fields = match media_type(headers) {
            Some(kind) if kind.eq_ignore_ascii_case(JSON) => Self::of_json(&bytes),
            Some(kind) if kind.eq_ignore_ascii_case(FORM) => Self::of_form(&bytes),
            _ => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                let refusal = Refusal::invalid_request("JSON or a form is needed");
                return Err(refusal.with_status(status));
            }
        };
        fields.ok_or_else(|| Refusal::invalid_request("The body is malformed"))
    }

    fn of_json(bytes: &Bytes) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn of_form(bytes: &Bytes) -> Option<Self> {
        let mut fields = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            // RFC 6749 §3.1: an empty value counts as none.
            if !value.is_empty() {
                fields.add(name.into_owned(), value.into_owned())?;
            }
        }
        Some(fields)
    }

    fn add(&mut self, name: String, value: String) -> Option<()> {
        // Each is compared with all before it, and a body has room for thousands.
        if self.0.len() == MAX_FIELDS || self.get(&name).is_some() {
            return None;
        }
        self.0.push((name, value));
        Some(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, value)| &**value)
    }

    /// The value under whichever of these names there is one; an error where there are two.
    pub(super) fn one_of(&self, names: &[&str]) -> Result<Option<&str>, Refusal> {
        let mut values = names.iter().filter_map(|name| self.get(name));
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Refusal::invalid_request("A field is there twice")),
            (value, None) => Ok(value),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, Member>()? {
                    if let Some(value) = value.0 {
                        let added = fields.add(name, value);
                        added.ok_or_else(|| de::Error::custom("a member is there twice"))?;
                    }
                }
                Ok(fields)
            }
        }

        json.deserialize_map(Object)
    }
}

/// A string, a boolean as one, or null, which counts as none.
struct Member(Option<String>);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Value {
            Text(String),
            Flag(bool),
        }
        let value = Option::<Value>::deserialize(json)?;
        Ok(Self(value.map(|value| match value {
            Value::Text(text) => text,
            Value::Flag(flag) => flag.to_string(),
        })))
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MAX_BYTES: usize = 16 * 1024;
/// More than any endpoint knows, with room for what a client's library adds.
const MAX_FIELDS: usize = 32;
