//! `name=value&…` to a struct, for queries and forms (WHATWG application/x-www-form-urlencoded, decoded strictly).
//! Knows how a text becomes the type a field wants; refuses to know the fields' rules.

use std::fmt;

use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};

use super::percent_decode;

/// Pairs taken; more is refused, so that no one makes us build large tables.
pub(super) const PAIRS_MAX: usize = 256;

/// What to do with names that the struct doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// They are mistakes.
    Refused,
    /// They are somebody else's.
    Ignored,
}

/// Parses `text` into `T`. Each error is a place (`<root>.<name>`) and what is wrong there.
pub(super) fn parse<T: DeserializeOwned>(text: &str, root: &str, unknown: Unknown) -> Result<T, Vec<(String, String)>> {
    let at = |name: &str| if name.is_empty() { root.to_owned() } else { format!("{root}.{name}") };
    let mut fields: Vec<(String, Values)> = Vec::new();
    for (count, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count == PAIRS_MAX {
            return Err(vec![(at(""), format!("more than {PAIRS_MAX} parameters"))]);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let broken = "has a broken percent-encoding, or is not UTF-8";
        let name = percent_decode(name, true).ok_or_else(|| vec![(at(""), format!("a name {broken}"))])?;
        let value = percent_decode(value, true).ok_or_else(|| vec![(at(&name), broken.to_owned())])?;
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.0.push(value),
            None => fields.push((name, Values(vec![value]))),
        }
    }
    T::deserialize(Fields { fields, unknown })
        .map_err(|error| error.0.into_iter().map(|(name, msg)| (at(&name), msg)).collect())
}

/// Errors, each with the field's name; empty where it is not known.
#[derive(Debug)]
struct Errors(Vec<(String, String)>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|(_, msg)| msg.as_str()).collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for Errors {}

impl de::Error for Errors {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self(vec![(String::new(), msg.to_string())])
    }

    fn missing_field(field: &'static str) -> Self {
        Self(vec![(field.to_owned(), "is missing".to_owned())])
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(vec![(field.to_owned(), "is given twice".to_owned())])
    }
}

struct Fields {
    fields: Vec<(String, Values)>,
    unknown: Unknown,
}

impl<'de> Deserializer<'de> for Fields {
    type Error = Errors;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Errors> {
        visitor.visit_map(Pairs { fields: self.fields.into_iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Errors> {
        let wrong: Vec<_> = self.fields.extract_if(.., |(name, _)| !known.contains(&name.as_str())).collect();
        if self.unknown == Unknown::Refused && !wrong.is_empty() {
            let accepted = match known {
                [] => "there are no parameters here".to_owned(),
                known => format!("known are: {}", known.join(", ")),
            };
            return Err(Errors(
                wrong.into_iter().map(|(name, _)| (name, format!("is not known here; {accepted}"))).collect(),
            ));
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields as a map. An error that a value's type makes by itself gets the field's name here.
struct Pairs {
    fields: std::vec::IntoIter<(String, Values)>,
    value: Option<Named>,
}

impl<'de> MapAccess<'de> for Pairs {
    type Error = Errors;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Errors> {
        let Some((name, values)) = self.fields.next() else { return Ok(None) };
        self.value = Some(Named { name: name.clone(), values });
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Errors> {
        let value = self.value.take().ok_or_else(|| <Errors as de::Error>::custom("a value without its name"))?;
        Named::name_it(value.name.clone(), seed.deserialize(value))
    }
}

/// All values of one name, in their order; never empty.
struct Values(Vec<String>);

/// Values with their name, for errors.
struct Named {
    name: String,
    values: Values,
}

impl Named {
    fn wrong(&self, msg: impl Into<String>) -> Errors {
        Errors(vec![(self.name.clone(), msg.into())])
    }

    /// The one value.
    fn one(&mut self) -> Result<String, Errors> {
        match (self.values.0.pop(), self.values.0.is_empty()) {
            (Some(value), true) => Ok(value),
            _ => Err(self.wrong("is given twice")),
        }
    }

    /// Names the field in errors that a visitor made.
    fn name_it<T>(name: String, result: Result<T, Errors>) -> Result<T, Errors> {
        result.map_err(|Errors(errors)| {
            Errors(errors.into_iter().map(|(at, msg)| (if at.is_empty() { name.clone() } else { at }, msg)).collect())
        })
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $wanted:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Errors> {
            let text = self.one()?;
            let value: $type = text.parse().map_err(|_unparsed| self.wrong(concat!("is not ", $wanted)))?;
            Self::name_it(self.name, visitor.$visit(value))
        }
    )*};
}

impl<'de> Deserializer<'de> for Named {
    type Error = Errors;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Errors> {
        let text = self.one()?;
        Self::name_it(self.name, visitor.visit_string(text))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Errors> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Errors> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Errors> {
        let name = self.name.clone();
        let each = self.values.0.into_iter().map(|value| Named { name: name.clone(), values: Values(vec![value]) });
        visitor.visit_seq(SeqDeserializer::new(each))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Errors> {
        let text = self.one()?;
        Self::name_it(self.name, visitor.visit_enum(text.into_deserializer()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Errors> {
        visitor.visit_unit()
    }

    parsed! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_u8 visit_u8 u8, "a number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a number from 0 to 18446744073709551615";
        deserialize_i8 visit_i8 i8, "a number";
        deserialize_i16 visit_i16 i16, "a number";
        deserialize_i32 visit_i32 i32, "a number";
        deserialize_i64 visit_i64 i64, "a number";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

impl<'de> IntoDeserializer<'de, Errors> for Named {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
