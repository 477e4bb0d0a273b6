//! Observation of claims before the application's type receives them.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;
use smallvec::SmallVec;

use super::{
    claim::Name,
    items::Items,
    registered::Registered,
    replay::{Borrowed, Replay},
};

/// A claim's value, in the form that the rules use.
#[derive(Clone, Copy)]
pub(crate) enum Seen<'a> {
    Text(&'a str),
    Number(Number),
    List(&'a [Item<'a>]),
    /// A value that no rule reads in detail: null, a boolean or an object.
    Other(&'a Value),
}

#[derive(Clone, Copy)]
pub(crate) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

/// An item of an array.
pub(crate) enum Item<'de> {
    Text(Cow<'de, str>),
    Other(Value),
}

/// The items of an array. Those of a usual token (roles, scopes) need no allocation.
pub(crate) type List<'de> = SmallVec<[Item<'de>; 8]>;

impl<'a> Seen<'a> {
    pub(crate) fn as_text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_unsigned(&self) -> Option<u64> {
        match self {
            Self::Number(Number::Unsigned(number)) => Some(*number),
            _ => None,
        }
    }
}

impl Seen<'_> {
    /// Returns a whole number in decimal digits.
    pub(super) fn as_decimal(&self) -> Option<String> {
        match self {
            Self::Number(Number::Unsigned(number)) => Some(number.to_string()),
            Self::Number(Number::Signed(number)) => Some(number.to_string()),
            // With serde_json's `arbitrary_precision`.
            Self::Other(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Some(number.to_string()),
                (None, Some(number)) => Some(number.to_string()),
                (None, None) => None,
            },
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

/// Reads a claim's value, records it, and replays it to the application's type.
///
/// Both thus see the same value, whatever serde methods the type uses. A type with unusual methods
/// cannot make a check miss its claim.
pub(super) struct Tee<'n, 'r, S> {
    pub(super) seed: S,
    // A reference, so that the parts are passed in registers.
    pub(super) name: &'n Name<'r>,
    pub(super) registered: &'n mut Registered<'r>,
}

impl<'de, S: DeserializeSeed<'de>> Tee<'_, '_, S> {
    #[inline]
    fn replay<D: Deserializer<'de>>(self, seen: Seen<'_>, replay: D) -> Result<S::Value, D::Error> {
        if !self.registered.takes(self.name, seen) {
            return Err(de::Error::custom("refused"));
        }
        self.seed.deserialize(replay)
    }

    #[inline]
    fn number<E: de::Error>(self, number: Number) -> Result<S::Value, E> {
        self.replay::<Replay<'_, 'de, E>>(Seen::Number(number), Replay::Number(number))
    }

    fn other<E: de::Error>(self, value: Value) -> Result<S::Value, E> {
        if !self.registered.takes(self.name, Seen::Other(&value)) {
            return Err(E::custom("refused"));
        }
        self.seed.deserialize(Replay::Other(value))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Tee<'_, '_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        if self.name.is_date() {
            // The application's build may enable `arbitrary_precision` of serde_json. Numbers then
            // look different unless a number is requested.
            json.deserialize_f64(self)
        } else {
            json.deserialize_any(self)
        }
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Tee<'_, '_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    // Otherwise the result is built in memory and copied, and the copy waits for the writes.
    #[inline(always)]
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<S::Value, E> {
        self.replay(Seen::Text(text), Borrowed(text, PhantomData))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<S::Value, E> {
        self.replay::<Replay<'_, 'de, E>>(
            Seen::Text(text),
            Replay::Text(Cow::Owned(text.to_owned())),
        )
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<S::Value, E> {
        self.other(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<S::Value, E> {
        self.number(Number::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<S::Value, E> {
        self.number(Number::Signed(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<S::Value, E> {
        self.number(Number::Float(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<S::Value, E> {
        self.other(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<S::Value, A::Error> {
        if let Some(each) = self.registered.each_item(self.name) {
            if !self.registered.starts_list(self.name) {
                return Err(de::Error::custom("refused"));
            }
            return Items::new(seq, each, self.registered).pass_to(self.seed);
        }
        let mut items = List::new();
        while let Some(item) = seq.next_element_seed(AnyItem)? {
            items.push(item);
        }
        if !self.registered.takes(self.name, Seen::List(&items)) {
            return Err(de::Error::custom("refused"));
        }
        self.seed.deserialize(Replay::List(&mut items, PhantomData))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        // Also called for a number, which serde_json presents as a map with `arbitrary_precision`.
        self.other(Value::deserialize(MapAccessDeserializer::new(map))?)
    }
}

/// Reads a claim's name, finds the rules that apply to it, and replays it.
pub(super) struct NameWitness<'n, 'r, S> {
    pub(super) seed: S,
    pub(super) name: &'n mut Name<'r>,
    pub(super) registered: &'n Registered<'r>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for NameWitness<'_, '_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for NameWitness<'_, '_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim's name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<S::Value, E> {
        *self.name = self.registered.name(name);
        self.seed.deserialize(Borrowed(name, PhantomData))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<S::Value, E> {
        *self.name = self.registered.name(name);
        self.seed
            .deserialize(Replay::Text(Cow::Owned(name.to_owned())))
    }
}

/// Reads an item of an array.
struct AnyItem;

impl<'de> DeserializeSeed<'de> for AnyItem {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Item<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyItem {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Item<'de>, E> {
        Ok(Item::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Item<'de>, E> {
        Ok(Item::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Item<'de>, E> {
        Ok(Item::Other(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Item<'de>, E> {
        Ok(Item::Other(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Item<'de>, E> {
        Ok(Item::Other(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Item<'de>, E> {
        Ok(Item::Other(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Item<'de>, E> {
        Ok(Item::Other(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Item<'de>, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(Item::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item<'de>, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(Item::Other)
    }
}
