//! A single pass over the claims that builds the application's type and records the facts that the
//! rules need. Two passes would take 75 % longer.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::{
    claim::Name,
    registered::Registered,
    tee::{NameWitness, Tee},
};
use crate::error::AuthErrorKind;

/// Parses the claims into `C`, and records the facts about them.
///
/// Returns an error unless the text is exactly one JSON object, each registered claim occurs once
/// and has the right type, and the claims match `C`.
pub(crate) fn parse<C>(json: &str, registered: &mut Registered<'_>) -> Result<C, AuthErrorKind>
where
    C: serde::de::DeserializeOwned,
{
    // RFC 7519 §7.2: an object. With `arbitrary_precision`, serde_json may present a number as an
    // object.
    if !json.trim_ascii_start().starts_with('{') {
        return Err(AuthErrorKind::MalformedClaims);
    }
    let mut json = serde_json::Deserializer::from_str(json);
    let claims = C::deserialize(Top {
        json: &mut json,
        registered: &mut *registered,
    });
    // The checks did not run if the type reads no object, reads two, or continues after a refusal.
    let checked = registered.objects == 1 && !registered.refused;
    match claims {
        Ok(claims) if checked && json.end().is_ok() => Ok(claims),
        _ => Err(AuthErrorKind::MalformedClaims),
    }
}

/// A deserializer of the claims object.
struct Top<'n, 'r, D> {
    json: D,
    registered: &'n mut Registered<'r>,
}

macro_rules! as_object {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.json.$method($($argument,)* TopVisitor { visitor, registered: self.registered })
        }
    )*};
}

/// Types that the claims never have. serde_json returns an error for them. If it does not, no
/// object was counted and the token is refused.
macro_rules! as_it_is {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.json.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Top<'_, '_, D> {
    type Error = D::Error;

    as_object! {
        deserialize_any();
        deserialize_map();
        deserialize_option();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
    }

    /// serde_json recognizes its own newtypes (`RawValue`) by name, and would bypass the checks for
    /// them.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    /// The claims are checked even if the type ignores them.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    as_it_is! {
        deserialize_bool(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64(); deserialize_i128();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
        deserialize_f32(); deserialize_f64(); deserialize_bytes(); deserialize_byte_buf();
        deserialize_unit(); deserialize_unit_struct(name: &'static str); deserialize_seq();
        deserialize_tuple(len: usize); deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_identifier();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }
}

struct TopVisitor<'n, 'r, V> {
    visitor: V,
    registered: &'n mut Registered<'r>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for TopVisitor<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.registered.objects += 1;
        self.visitor.visit_map(Members {
            map,
            registered: self.registered,
            name: Name::default(),
        })
    }

    // `Option<C>` passes the deserializer on, which must stay wrapped.
    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Top {
            json,
            registered: self.registered,
        })
    }
}

/// The members of the claims object.
struct Members<'n, 'r, A> {
    map: A,
    registered: &'n mut Registered<'r>,
    /// The rules that apply to the claim whose value comes next.
    name: Name<'r>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, '_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.map.next_key_seed(NameWitness {
            seed,
            name: &mut self.name,
            registered: self.registered,
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        if self.name.is_unread() {
            return self.map.next_value_seed(seed);
        }
        let value = self.map.next_value_seed(Tee {
            seed,
            name: &self.name,
            registered: &mut *self.registered,
        });
        if value.is_err() {
            // The refusal is kept even if the application's type ignores the error.
            self.registered.refused = true;
        }
        value
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, de::IgnoredAny};

    use super::*;
    use crate::{
        principal::{Field, List},
        verify::place::{ClaimMap, Place, RoleForm},
    };

    fn default_map() -> ClaimMap {
        ClaimMap::new(Vec::new(), None, &["client_id", "azp"])
    }

    /// A type that ignores errors in values.
    struct Stubborn;

    impl<'de> Deserialize<'de> for Stubborn {
        fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
            json.deserialize_map(Self)
        }
    }

    impl<'de> Visitor<'de> for Stubborn {
        type Value = Self;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("claims")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
            while map.next_key::<IgnoredAny>()?.is_some() {
                let _ = map.next_value::<IgnoredAny>();
            }
            Ok(self)
        }
    }

    #[test]
    fn a_type_that_swallows_a_refusal_is_refused() {
        let map = default_map();
        let parsed =
            |json: &str| parse::<Stubborn>(json, &mut Registered::new(json, &[], &map)).map(drop);
        assert_eq!(parsed(r#"{"exp":1,"sub":"a"}"#), Ok(()));
        // RFC 7519 §4: claim names must be unique.
        let twice = parsed(r#"{"exp":9000000000,"exp":1,"sub":"a"}"#);
        assert_eq!(twice, Err(AuthErrorKind::MalformedClaims));
        let no_date = parsed(r#"{"nbf":"x","sub":"a"}"#);
        assert_eq!(no_date, Err(AuthErrorKind::MalformedClaims));
    }

    #[test]
    fn a_type_that_serde_json_treats_specially_is_refused() {
        let json = r#"{"exp":1,"aud":"other"}"#;
        let map = default_map();
        let mut registered = Registered::new(json, &[], &map);
        let parsed = parse::<Box<serde_json::value::RawValue>>(json, &mut registered);
        assert_eq!(parsed.map(drop), Err(AuthErrorKind::MalformedClaims));
    }

    #[test]
    fn c13_nothing_but_an_object_is_taken_for_claims() {
        for json in ["5", "\"{}\"", "[{}]", "null", "", " ", "\u{feff}{}"] {
            let map = default_map();
            let mut registered = Registered::new(json, &[], &map);
            let parsed = parse::<IgnoredAny>(json, &mut registered).map(drop);
            assert_eq!(parsed, Err(AuthErrorKind::MalformedClaims), "{json}");
        }
    }

    #[test]
    fn facts_are_read_from_the_claims_whether_escaped_or_not() {
        let json = r#"{"sub":"al\u0069ce","iss":"x","scope":" a  b ","roles":["r\n","","s"]}"#;
        let places = vec![Place::of_roles("roles", &RoleForm::Strings).unwrap()];
        let map = ClaimMap::new(places, None, &["client_id", "azp"]);
        let mut registered = Registered::new(json, &[], &map);
        parse::<IgnoredAny>(json, &mut registered).unwrap();
        registered.facts.adopt(json.to_owned());
        assert_eq!(registered.facts.text(Field::Subject), Some("alice"));
        assert_eq!(registered.facts.text(Field::Issuer), Some("x"));
        assert_eq!(registered.facts.text(Field::SessionId), None);
        assert_eq!(
            registered.facts.list(List::Scope).collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(
            registered.facts.list(List::Roles).collect::<Vec<_>>(),
            ["r\n", "", "s"]
        );
    }
}
