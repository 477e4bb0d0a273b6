//! Reads the request's body: JSON or a form, once, with limits of size and time.

use std::{fmt, pin::Pin};

use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use percent_encoding::percent_decode;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroize;

use super::answer::Refusal;
use crate::layer::request_body::{BodyError, RequestBody};

/// The members of a JSON object or the fields of a form that an endpoint reads, each at most once.
/// Others are ignored (RFC 6749 §3.2).
///
/// Passwords and tokens are among them, so the values are wiped when they are dropped.
pub(super) struct Fields {
    known: &'static [&'static str],
    values: Vec<(&'static str, String)>,
}

impl Fields {
    /// Reads the fields with these names. A missing body counts as an empty one.
    pub(super) async fn read<B>(
        known: &'static [&'static str],
        headers: &HeaderMap,
        body: Pin<&mut RequestBody<B>>,
    ) -> Result<Self, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let bytes = body.read().await?;
        let mut fields = Self {
            known,
            values: Vec::new(),
        };
        if bytes.is_empty() {
            return Ok(fields);
        }
        let read = match media_type(headers) {
            Some(kind) if kind.eq_ignore_ascii_case(JSON) => fields.read_json(&bytes),
            Some(kind) if kind.eq_ignore_ascii_case(FORM) => fields.read_form(&bytes),
            _ => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                let refusal = Refusal::invalid_request("The body must be JSON or a form");
                return Err(refusal.with_status(status));
            }
        };
        match read {
            Some(()) => Ok(fields),
            None => Err(Refusal::invalid_request("The body is malformed")),
        }
    }

    /// Creates the fields of a request whose body the application reads.
    pub(super) fn none(known: &'static [&'static str]) -> Self {
        Self {
            known,
            values: Vec::new(),
        }
    }

    /// Sets a field. A field that this request does not know is not set.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some(name) = self.known(name) {
            self.values.retain(|(field, _)| *field != name);
            self.values.push((name, value.to_owned()));
        }
    }

    fn read_json(&mut self, bytes: &[u8]) -> Option<()> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        (&mut json).deserialize_map(Object(self)).ok()?;
        json.end().ok()
    }

    fn read_form(&mut self, bytes: &[u8]) -> Option<()> {
        // The parser replaces bytes that are not UTF-8, so that different passwords could become equal.
        // The separators between fields are ASCII: no sequence crosses them.
        percent_decode(bytes).decode_utf8().ok()?;
        for (name, value) in form_urlencoded::parse(bytes) {
            // RFC 6749 §3.1: an empty value counts as absent.
            if let (Some(name), false) = (self.known(&name), value.is_empty()) {
                self.add(name, value.into_owned())?;
            }
        }
        Some(())
    }

    /// Returns the name as the endpoint writes it, if the endpoint reads such a field.
    fn known(&self, name: &str) -> Option<&'static str> {
        self.known.iter().copied().find(|known| *known == name)
    }

    fn add(&mut self, name: &'static str, value: String) -> Option<()> {
        if self.get(name).is_some() {
            return None;
        }
        self.values.push((name, value));
        Some(())
    }

    /// Returns the value of a field that the endpoint lists in `FIELDS`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(self.known(name).is_some(), "{name} is never read");
        let mut fields = self.values.iter();
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| &**value)
    }

    /// Returns the value of the only field with one of these names, or an error if there are two.
    pub(super) fn one_of(&self, names: &[&str]) -> Result<Option<&str>, Refusal> {
        let mut values = names.iter().filter_map(|name| self.get(name));
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Refusal::invalid_request(
                "The request contains a field twice",
            )),
            (value, None) => Ok(value),
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let (description, status) = match error {
            BodyError::TooLong => ("The body is too long", StatusCode::PAYLOAD_TOO_LARGE),
            BodyError::Slow => (
                "The body did not arrive in time",
                StatusCode::REQUEST_TIMEOUT,
            ),
            BodyError::Incomplete => ("The body is incomplete", StatusCode::BAD_REQUEST),
        };
        Self::invalid_request(description).with_status(status)
    }
}

/// Reads the known members of a JSON object.
struct Object<'f>(&'f mut Fields);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let Some(name) = self.0.known(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // An empty value counts as absent, as in a form.
            let value = map.next_value::<Member>()?.0;
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let added = self.0.add(name, value);
                added.ok_or_else(|| de::Error::custom("the object contains a member twice"))?;
            }
        }
        Ok(())
    }
}

/// A string, a boolean as a string, or null, which counts as absent.
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
        self.values
            .iter_mut()
            .for_each(|(_, value)| value.zeroize());
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// The longest body that is read.
pub(super) const MAX_BYTES: usize = 16 * 1024;
