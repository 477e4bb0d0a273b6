//! The claims of a proof (RFC 9449 §4.2).

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Profile;
use crate::{time::date::Date, verify::header::Text};

/// The claims of a proof that have a meaning.
pub(super) struct ProofClaims<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) method: Cow<'a, str>,
    pub(super) target: Cow<'a, str>,
    pub(super) issued: Date,
    pub(super) token_digest: Option<Cow<'a, str>>,
    pub(super) nonce: Option<Cow<'a, str>>,
}

impl<'a> ProofClaims<'a> {
    pub(super) fn parse(json: &'a [u8], profile: &Profile) -> Result<Self, &'static str> {
        // RFC 8725 §3.7: UTF-8 only.
        let text = std::str::from_utf8(json).map_err(|_| MALFORMED)?;
        let mut claims = Found::default();
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json
            .deserialize_map(ClaimsVisitor {
                profile,
                claims: &mut claims,
            })
            .and_then(|()| json.end());
        read.map_err(|_| MALFORMED)?;
        Ok(Self {
            id: claims.id.ok_or("the identifier is missing")?,
            method: claims.method.ok_or("the method is missing")?,
            target: claims.target.ok_or("the target is missing")?,
            issued: claims.issued.ok_or("the time is missing")?,
            token_digest: claims.token_digest,
            nonce: claims.nonce,
        })
    }
}

#[derive(Default)]
struct Found<'a> {
    id: Option<Cow<'a, str>>,
    method: Option<Cow<'a, str>>,
    target: Option<Cow<'a, str>>,
    issued: Option<Date>,
    token_digest: Option<Cow<'a, str>>,
    nonce: Option<Cow<'a, str>>,
    others: Vec<Cow<'a, str>>,
}

struct ClaimsVisitor<'c, 'de> {
    profile: &'c Profile,
    claims: &'c mut Found<'de>,
}

impl<'de> Visitor<'de> for ClaimsVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // RFC 7519 §4: claim names are unique.
        let twice = || de::Error::custom("refused");
        let (profile, claims) = (self.profile, self.claims);
        while let Some(name) = map.next_key_seed(Text)? {
            if name == profile.issued {
                if claims.issued.replace(map.next_value_seed(Time)?).is_some() {
                    return Err(twice());
                }
                continue;
            }
            let claim = match &*name {
                name if name == profile.id => &mut claims.id,
                name if name == profile.method => &mut claims.method,
                name if name == profile.target => &mut claims.target,
                name if name == profile.token_digest => &mut claims.token_digest,
                name if name == profile.nonce => &mut claims.nonce,
                _ => {
                    if claims.others.contains(&name) || claims.others.len() >= MAX_OTHERS {
                        return Err(twice());
                    }
                    claims.others.push(name);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if claim.replace(map.next_value_seed(Text)?).is_some() {
                return Err(twice());
            }
        }
        Ok(())
    }
}

/// Reads a number of seconds, possibly with a fraction (RFC 7519 §2).
struct Time;

impl<'de> DeserializeSeed<'de> for Time {
    type Value = Date;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Date, D::Error> {
        // With serde_json's `arbitrary_precision`, numbers look different unless one is requested.
        json.deserialize_f64(self)
    }
}

impl Visitor<'_> for Time {
    type Value = Date;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<Date, E> {
        Ok(Date::from_u64(seconds))
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<Date, E> {
        Ok(Date::from_i64(seconds))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Date, E> {
        match seconds.is_finite() {
            true => Ok(Date::from_f64(seconds)),
            false => Err(E::custom("refused")),
        }
    }
}

/// A proof may have a few claims of its own.
const MAX_OTHERS: usize = 16;
const MALFORMED: &str = "the claims are malformed";
