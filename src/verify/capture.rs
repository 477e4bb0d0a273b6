//! JSON values that are looked at before the application's type gets them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{CowStrDeserializer, MapAccessDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Value};
use smallvec::SmallVec;

/// A JSON value, borrowed from the input where it can be.
///
/// A claim that decides something is captured, checked, and then replayed to the application's
/// type. So both see the same value, whatever route that type takes through serde; and a type
/// that takes an unusual one cannot make a check miss its claim.
#[expect(
    clippy::large_enum_variant,
    reason = "a list on the stack is what keeps roles and scopes free of allocations"
)]
pub(crate) enum Captured<'de> {
    Text(Cow<'de, str>),
    List(List<'de>),
    /// Anything that no rule reads closely: null, a boolean, a number, an object.
    Other(Value),
}

/// The items of an array; those of a usual token (its roles, its scopes) need no allocation.
pub(crate) type List<'de> = SmallVec<[Item<'de>; 8]>;

pub(crate) enum Item<'de> {
    Text(Cow<'de, str>),
    Other(Value),
}

impl Captured<'_> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Item<'_> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }
}

/// Captures any value.
pub(crate) struct Anything;

impl<'de> DeserializeSeed<'de> for Anything {
    type Value = Captured<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Captured<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Captured::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Captured::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Captured::Text(Cow::Owned(text)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Captured::Other(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Captured::Other(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Captured::Other(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Captured::Other(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Captured::Other(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = List::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(match item {
                Captured::Text(text) => Item::Text(text),
                Captured::Other(value) => Item::Other(value),
                Captured::List(list) => {
                    Item::Other(list.into_iter().map(Item::into_value).collect())
                }
            });
        }
        Ok(Captured::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        // Also where serde_json, with `arbitrary_precision`, passes a number off as a map.
        Value::deserialize(MapAccessDeserializer::new(map)).map(Captured::Other)
    }
}

/// Captures a number and nothing else.
///
/// The application's build may turn on serde_json's `arbitrary_precision`, which changes how
/// numbers look to those who do not ask for one.
pub(crate) struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = serde_json::Number;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_f64(self)
    }
}

impl Visitor<'_> for Number {
    type Value = serde_json::Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        serde_json::Number::from_f64(value)
            .ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }
}

impl Item<'_> {
    fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Other(value) => value,
        }
    }
}

/// The replay.
impl<'de> Deserializer<'de> for Captured<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Self::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Self::List(items) => {
                let mut items = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Self::Other(value) => value.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Other(Value::Null) => visitor.visit_none(),
            present => visitor.visit_some(present),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Text(text) => visitor.visit_enum(CowStrDeserializer::new(text)),
            Self::Other(value) => value.deserialize_enum(name, variants, visitor),
            Self::List(_) => Err(serde::de::Error::invalid_type(Unexpected::Seq, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

impl<'de> IntoDeserializer<'de, Error> for Item<'de> {
    type Deserializer = Captured<'de>;

    fn into_deserializer(self) -> Captured<'de> {
        match self {
            Self::Text(text) => Captured::Text(text),
            Self::Other(value) => Captured::Other(value),
        }
    }
}
