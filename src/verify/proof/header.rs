//! The header of a proof, with the public key that it contains (RFC 9449 §4.2).

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{
    key::{Algorithm, PresentedKey, PublicMembers},
    verify::header::{Member, NameIn, Names, Text, media_type},
};

/// The header parameters of a proof that have a meaning.
pub(super) struct ProofHeader<'a> {
    /// `None` for a name that is no algorithm, such as `none`.
    algorithm: Option<Algorithm>,
    typ: Option<Cow<'a, str>>,
    pub(super) key: PresentedKey<'a>,
}

impl<'a> ProofHeader<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, &'static str> {
        // RFC 7515 §4: UTF-8. serde_json does not validate the strings that it skips.
        let text = std::str::from_utf8(json).map_err(|_| MALFORMED)?;
        let mut fault = MALFORMED;
        let mut json = serde_json::Deserializer::from_str(text);
        let header = json
            .deserialize_map(HeaderVisitor { fault: &mut fault })
            .and_then(|header| json.end().map(|()| header));
        header.map_err(|_| fault)
    }

    /// Returns the algorithm if it is one of the allowed ones and for this kind of key.
    pub(super) fn algorithm(&self, allowed: &[Algorithm]) -> Option<Algorithm> {
        let algorithm = self.algorithm?.canonical();
        (allowed.contains(&algorithm) && self.key.fits(algorithm)).then_some(algorithm)
    }

    /// Returns `true` for this `typ`, with or without `application/` (RFC 7515 §4.1.9).
    pub(super) fn is_typed(&self, expected: &str) -> bool {
        let typ = self.typ.as_deref().map(media_type);
        typ.is_some_and(|typ| typ.eq_ignore_ascii_case(expected))
    }
}

struct HeaderVisitor<'f> {
    fault: &'f mut &'static str,
}

impl HeaderVisitor<'_> {
    fn refuse<E: de::Error>(&mut self, fault: &'static str) -> E {
        *self.fault = fault;
        E::custom("refused")
    }
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = ProofHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut algorithm, mut typ, mut key) = (None, None, None);
        let mut seen = Names::default();
        while let Some(member) = map.next_key_seed(NameIn(&mut seen))? {
            match member {
                Member::Alg => algorithm = Some(map.next_value_seed(Text)?),
                Member::Typ => typ = Some(map.next_value_seed(Text)?),
                Member::Jwk => key = Some(map.next_value_seed(JwkSeed)?),
                // RFC 7515 §4.1.11: a recipient must refuse extensions that it does not support.
                Member::Unsupported => return Err(self.refuse("an unsupported header parameter")),
                Member::Kid | Member::X5t | Member::X5tS256 | Member::Cty | Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let algorithm = algorithm.ok_or_else(|| self.refuse("`alg` is missing"))?;
        let key = match key {
            None => return Err(self.refuse("`jwk` is missing")),
            Some(None) => return Err(self.refuse("`jwk` holds a private or a symmetric key")),
            Some(Some(members)) => members.into_key(),
        };
        Ok(ProofHeader {
            algorithm: Algorithm::from_name(&algorithm),
            typ,
            key: key.ok_or_else(|| self.refuse("`jwk` is not a supported public key"))?,
        })
    }
}

/// Reads a JWK. The result is `None` if it has a member of a private or a symmetric key (RFC 9449 §4.3).
struct JwkSeed;

impl<'de> DeserializeSeed<'de> for JwkSeed {
    type Value = Option<PublicMembers<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for JwkSeed {
    type Value = Option<PublicMembers<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON Web Key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut public = PublicMembers::default();
        let mut is_public = true;
        let mut others: Vec<Cow<'de, str>> = Vec::new();
        while let Some(name) = map.next_key_seed(Text)? {
            let member = match &*name {
                "kty" => &mut public.kty,
                "crv" => &mut public.crv,
                "n" => &mut public.n,
                "e" => &mut public.e,
                "x" => &mut public.x,
                "y" => &mut public.y,
                other => {
                    is_public &= !PRIVATE.contains(&other);
                    if others.contains(&name) || others.len() >= MAX_OTHERS {
                        return Err(de::Error::custom("refused"));
                    }
                    others.push(name);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // RFC 7517 §4: member names are unique.
            if member.replace(map.next_value_seed(Text)?).is_some() {
                return Err(de::Error::custom("refused"));
            }
        }
        Ok(is_public.then_some(public))
    }
}

/// RFC 7518 §6.2.2, §6.3.2, §6.4.1.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// A key may have a `kid`, an `alg`, certificates, and a few members of its own.
const MAX_OTHERS: usize = 16;
const MALFORMED: &str = "the header is malformed";
