//! The JOSE header: [RFC 7515 §4](https://www.rfc-editor.org/rfc/rfc7515#section-4).

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{error::AuthErrorKind, key::Algorithm};

/// The header parameters that verification uses. All others are ignored, in particular the keys
/// that a token contains or links to (`jwk`, `jku`, `x5c`, `x5u`).
pub(crate) struct Header<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) x5t: Option<Cow<'a, str>>,
    pub(crate) x5t_s256: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, AuthErrorKind> {
        // RFC 7515 §4: UTF-8. serde_json does not validate the strings that it skips.
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

    /// Returns the same header without borrowed parts.
    pub(super) fn to_owned(&self) -> Header<'static> {
        fn owned(text: Option<&str>) -> Option<Cow<'static, str>> {
            text.map(|text| Cow::Owned(text.to_owned()))
        }

        Header {
            algorithm: self.algorithm,
            kid: owned(self.kid.as_deref()),
            x5t: owned(self.x5t.as_deref()),
            x5t_s256: owned(self.x5t_s256.as_deref()),
            typ: owned(self.typ.as_deref()),
        }
    }

    /// Returns the media type in `typ`, in lower case. `application/` may be omitted (RFC 7515
    /// §4.1.9).
    pub(crate) fn typ(&self) -> Option<&str> {
        self.typ.as_deref().map(media_type)
    }
}

/// Returns a media type without the prefix `application/`, which producers may omit (RFC 7515
/// §4.1.9).
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
        let (mut x5t, mut x5t_s256) = (None, None);
        let mut typ = None;
        let mut seen = Names::default();
        while let Some(member) = map.next_key_seed(NameIn(&mut seen))? {
            match member {
                Member::Alg => algorithm = Some(map.next_value_seed(Text)?),
                Member::Kid => kid = Some(map.next_value_seed(Text)?),
                Member::X5t => x5t = Some(map.next_value_seed(Text)?),
                Member::X5tS256 => x5t_s256 = Some(map.next_value_seed(Text)?),
                Member::Typ => typ = Some(map.next_value_seed(Text)?),
                Member::Cty => {
                    // RFC 7519 §5.2: a nested token would need a second verification.
                    let content = map.next_value_seed(Text)?;
                    if media_type(&content).eq_ignore_ascii_case("JWT") {
                        return Err(self.refuse(AuthErrorKind::UnsupportedHeader));
                    }
                }
                // RFC 7515 §4.1.11: a recipient must refuse extensions that it does not support;
                // this crate supports none. RFC 7797 §3 (`b64`) and RFC 7516 §4.1.3 (`zip`) change
                // the meaning of the bytes.
                Member::Unsupported => {
                    return Err(self.refuse(AuthErrorKind::UnsupportedHeader));
                }
                Member::Jwk | Member::Other => {
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
            x5t,
            x5t_s256,
            typ,
        })
    }
}

/// The kinds of header parameters.
#[derive(Clone, Copy)]
pub(super) enum Member {
    Alg,
    Kid,
    X5t,
    X5tS256,
    Typ,
    Cty,
    /// Only a proof is verified by a key that it contains.
    Jwk,
    Unsupported,
    Other,
}

/// The names read so far. The usual ones take a bit each, so that a usual header needs no
/// allocation.
#[derive(Default)]
pub(super) struct Names {
    usual: u16,
    others: Vec<String>,
}

impl Names {
    /// Returns the parameter with this name, or `None` for a duplicate.
    fn insert(&mut self, name: &str) -> Option<Member> {
        let (bit, member) = match name.as_bytes() {
            b"alg" => (1, Member::Alg),
            b"kid" => (1 << 1, Member::Kid),
            b"typ" => (1 << 2, Member::Typ),
            b"cty" => (1 << 3, Member::Cty),
            b"crit" | b"b64" | b"zip" => (0, Member::Unsupported),
            b"jku" => (1 << 4, Member::Other),
            b"jwk" => (1 << 5, Member::Jwk),
            b"x5u" => (1 << 6, Member::Other),
            b"x5c" => (1 << 7, Member::Other),
            b"x5t" => (1 << 8, Member::X5t),
            b"x5t#S256" => (1 << 9, Member::X5tS256),
            _ => return self.insert_other(name).then_some(Member::Other),
        };
        let new = self.usual & bit == 0;
        self.usual |= bit;
        new.then_some(member)
    }

    fn insert_other(&mut self, name: &str) -> bool {
        if self.others.iter().any(|other| other == name) {
            return false;
        }
        self.others.push(name.to_owned());
        // A header of 16 KiB could contain thousands of names, and the search is linear.
        self.others.len() <= MAX_OTHERS
    }
}

/// Reads a name that must not be a duplicate (RFC 7515 §4).
pub(super) struct NameIn<'s>(pub(super) &'s mut Names);

impl<'de> DeserializeSeed<'de> for NameIn<'_> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Member, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIn<'_> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name without duplicates")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Member, E> {
        self.0.insert(name).ok_or_else(|| E::custom("refused"))
    }
}

const MAX_OTHERS: usize = 32;

/// Reads a JSON string, borrowed from the input if it contains no escapes.
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
