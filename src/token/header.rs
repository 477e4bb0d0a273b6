//! The JOSE header: [RFC 7515 §4](https://www.rfc-editor.org/rfc/rfc7515#section-4).

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{error::AuthErrorKind, key::Algorithm};

/// The members of a header that decide anything. The others are ignored, the keys that a token
/// brings along (`jwk`, `jku`, `x5c`, `x5u`) above all.
pub(crate) struct Header<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, AuthErrorKind> {
        // RFC 7515 §4: UTF-8. serde_json alone would not look inside strings that nobody reads.
        let text = std::str::from_utf8(json).map_err(|_| AuthErrorKind::MalformedHeader)?;
        let mut refusal = AuthErrorKind::MalformedHeader;
        let mut json = serde_json::Deserializer::from_str(text);
        let header = json
            .deserialize_map(HeaderVisitor {
                refusal: &mut refusal,
            })
            .and_then(|header| json.end().map(|()| header));
        header.map_err(|_| refusal)
    }

    /// The media type that `typ` names: in lower case, and `application/` may be left out
    /// (RFC 7515 §4.1.9).
    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref().map(media_type)
    }
}

/// A media type without the `application/` that RFC 7515 §4.1.9 lets producers leave out.
pub(crate) fn media_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => {
            typ.get(PREFIX.len()..).unwrap_or_default()
        }
        _ => typ,
    }
}

struct HeaderVisitor<'r> {
    refusal: &'r mut AuthErrorKind,
}

impl HeaderVisitor<'_> {
    fn refuse<E: de::Error>(&mut self, kind: AuthErrorKind) -> E {
        *self.refusal = kind;
        E::custom("refused")
    }
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut algorithm = None;
        let mut kid = None;
        let mut typ = None;
        let mut seen = Names::default();
        while let Some(name) = map.next_key_seed(Text)? {
            // RFC 7515 §4: member names must be unique.
            if !seen.insert(&name) {
                return Err(de::Error::custom("refused"));
            }
            match &*name {
                "alg" => algorithm = Some(map.next_value_seed(Text)?),
                "kid" => kid = Some(map.next_value_seed(Text)?),
                "typ" => typ = Some(map.next_value_seed(Text)?),
                "cty" => {
                    // RFC 7519 §5.2: a nested token would have to be verified too.
                    let content = map.next_value_seed(Text)?;
                    if media_type(&content).eq_ignore_ascii_case("JWT") {
                        return Err(self.refuse(AuthErrorKind::UnsupportedHeader));
                    }
                }
                // RFC 7515 §4.1.11: whoever does not understand every name must refuse; none is
                // understood here. RFC 7797 §3 (`b64`) and RFC 7516 §4.1.3 (`zip`) change what
                // the bytes mean.
                "crit" | "b64" | "zip" => {
                    return Err(self.refuse(AuthErrorKind::UnsupportedHeader));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        // RFC 7515 §4.1.1: `alg` must be present.
        let name = algorithm.ok_or_else(|| de::Error::custom("refused"))?;
        let algorithm = Algorithm::from_name(&name)
            .ok_or_else(|| self.refuse(AuthErrorKind::AlgorithmNotAllowed))?;
        Ok(Header {
            algorithm,
            kid,
            typ,
        })
    }
}

/// The names seen so far. The registered ones cost a bit each, so that usual headers allocate nothing.
#[derive(Default)]
struct Names {
    registered: u16,
    others: Vec<String>,
}

impl Names {
    /// Whether the name is new.
    fn insert(&mut self, name: &str) -> bool {
        let bit = match name.as_bytes() {
            b"alg" => 1,
            b"kid" => 1 << 1,
            b"typ" => 1 << 2,
            b"cty" => 1 << 3,
            b"crit" => 1 << 4,
            b"b64" => 1 << 5,
            b"zip" => 1 << 6,
            b"jku" => 1 << 7,
            b"jwk" => 1 << 8,
            b"x5u" => 1 << 9,
            b"x5c" => 1 << 10,
            b"x5t" => 1 << 11,
            b"x5t#S256" => 1 << 12,
            _ => 0,
        };
        match bit {
            0 if self.others.iter().any(|other| other == name) => false,
            0 => {
                self.others.push(name.to_owned());
                // A header of 16 KiB could name thousands, and this list is searched linearly.
                self.others.len() <= MAX_OTHERS
            }
            bit => {
                let new = self.registered & bit == 0;
                self.registered |= bit;
                new
            }
        }
    }
}

const MAX_OTHERS: usize = 32;

/// Reads a JSON string, borrowed from the input where it holds no escape.
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}
