//! Lists that are recorded and given to the application's type item by item.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::{
    registered::{Each, Registered},
    replay::{Borrowed, Replay},
};

/// A list of which each item is recorded before the application's type receives it.
///
/// Items that the type does not read are recorded as well, so a type cannot hide an item from a rule.
pub(super) struct Items<'n, 'r, A> {
    seq: A,
    each: Each<'r>,
    registered: &'n mut Registered<'r>,
    /// The list was read to its end, or up to an error in the document.
    ended: bool,
}

impl<'n, 'r, A> Items<'n, 'r, A> {
    pub(super) fn new(seq: A, each: Each<'r>, registered: &'n mut Registered<'r>) -> Self {
        Self {
            seq,
            each,
            registered,
            ended: false,
        }
    }
}

impl<'de, A: SeqAccess<'de>> Items<'_, '_, A> {
    /// Gives the list to the application's type, and records the items that the type did not read.
    pub(super) fn pass_to<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        let value = seed.deserialize(&mut self)?;
        self.skip()?;
        Ok(value)
    }

    /// Records the remaining items, and returns their number.
    fn skip(&mut self) -> Result<usize, A::Error> {
        let mut skipped = 0;
        while self.next_element::<IgnoredAny>()?.is_some() {
            skipped += 1;
        }
        Ok(skipped)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if self.ended {
            return Ok(None);
        }
        let mut recorded = false;
        let item = self.seq.next_element_seed(ItemTee {
            seed,
            each: self.each,
            registered: self.registered,
            recorded: &mut recorded,
        });
        match &item {
            Ok(Some(_)) => {}
            Ok(None) => self.ended = true,
            // The application's type may ignore its own error, and the next item can be read. After
            // an error in the document there is no next item.
            Err(_) if recorded => {}
            Err(_) => {
                self.ended = true;
                self.registered.refused = true;
            }
        }
        item
    }
}

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for &mut Items<'_, '_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        let value = visitor.visit_seq(&mut *self)?;
        match self.skip()? {
            0 => Ok(value),
            more => Err(de::Error::invalid_length(more, &"fewer items")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(de::Error::invalid_type(Unexpected::Seq, &visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// Reads an item, records it, and replays it to the application's type.
struct ItemTee<'i, 'r, S> {
    seed: S,
    each: Each<'r>,
    registered: &'i mut Registered<'r>,
    /// Set after the whole item was read and recorded.
    recorded: &'i mut bool,
}

impl<'de, S: DeserializeSeed<'de>> ItemTee<'_, '_, S> {
    #[inline]
    fn text<D: Deserializer<'de>>(self, text: &str, replay: D) -> Result<S::Value, D::Error> {
        self.registered.takes_text(self.each, text);
        *self.recorded = true;
        self.seed.deserialize(replay)
    }

    fn other<E: de::Error>(self, value: Value) -> Result<S::Value, E> {
        let taken = self.registered.takes_other(self.each, &value);
        *self.recorded = true;
        if !taken {
            return Err(E::custom("refused"));
        }
        self.seed.deserialize(Replay::Other(value))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for ItemTee<'_, '_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for ItemTee<'_, '_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    // Otherwise the result is built in memory and copied, and the copy waits for the writes.
    #[inline(always)]
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<S::Value, E> {
        self.text(text, Borrowed(text, PhantomData))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<S::Value, E> {
        let copy = Cow::Owned(text.to_owned());
        self.text::<Replay<'_, 'de, E>>(text, Replay::Text(copy))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<S::Value, E> {
        self.other(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<S::Value, E> {
        self.other(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<S::Value, E> {
        self.other(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<S::Value, E> {
        self.other(value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<S::Value, E> {
        self.other(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<S::Value, A::Error> {
        self.other(Value::deserialize(SeqAccessDeserializer::new(seq))?)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        self.other(Value::deserialize(MapAccessDeserializer::new(map))?)
    }
}
