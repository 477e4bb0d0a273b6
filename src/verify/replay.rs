//! Values that were read and are given to the application's type.

use std::{borrow::Cow, marker::PhantomData};

use serde::{
    de::{
        self, Deserializer, IntoDeserializer, Unexpected, Visitor,
        value::{CowStrDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::tee::{Item, List, Number};

/// A value that was already read. The list is borrowed, because large values are slow to move.
pub(crate) enum Replay<'l, 'de, E> {
    Text(Cow<'de, str>),
    Number(Number),
    List(&'l mut List<'de>, PhantomData<fn() -> E>),
    Other(Value),
}

impl<'de, E: de::Error> Deserializer<'de> for Replay<'_, 'de, E> {
    type Error = E;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self {
            Self::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Self::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Self::Number(Number::Unsigned(number)) => visitor.visit_u64(number),
            Self::Number(Number::Signed(number)) => visitor.visit_i64(number),
            Self::Number(Number::Float(number)) => visitor.visit_f64(number),
            Self::List(items, _) => {
                let mut items = SeqDeserializer::new(items.drain(..));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Self::Other(value) => value.deserialize_any(visitor).map_err(E::custom),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self {
            Self::Other(Value::Null) => visitor.visit_none(),
            present => visitor.visit_some(present),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        match self {
            Self::Text(text) => visitor.visit_enum(CowStrDeserializer::new(text)),
            Self::Other(value) => value
                .deserialize_enum(name, variants, visitor)
                .map_err(E::custom),
            Self::Number(_) => Err(E::invalid_type(Unexpected::Other("number"), &visitor)),
            Self::List(..) => Err(E::invalid_type(Unexpected::Seq, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// A text that lies in the document, which is the most frequent replayed value. It behaves as
/// [`Replay`], with fewer steps.
pub(super) struct Borrowed<'de, E>(pub(super) &'de str, pub(super) PhantomData<fn() -> E>);

impl<'de, E: de::Error> Deserializer<'de> for Borrowed<'de, E> {
    type Error = E;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_enum(CowStrDeserializer::new(Cow::Borrowed(self.0)))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

impl<'de, E: de::Error> IntoDeserializer<'de, E> for Item<'de> {
    type Deserializer = Replay<'de, 'de, E>;

    fn into_deserializer(self) -> Self::Deserializer {
        match self {
            Self::Text(text) => Replay::Text(text),
            Self::Other(value) => Replay::Other(value),
        }
    }
}
