//! One JSON object a line, flattened.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{Context, FIELDS_MAX, Parsed, Value, put};

// Deeper objects stay in the body; the limit of serde_json itself would refuse the line.
const DEPTH_MAX: usize = 8;

/// Reads a line that is one JSON object, and nothing else.
pub(super) fn parse<'a>(line: &'a str, context: &Context<'_>) -> Option<Parsed<'a>> {
    let mut parsed = Parsed::default();
    let mut reader = serde_json::Deserializer::from_str(line);
    let object = Object { prefix: "", depth: 0, parsed: &mut parsed, context };
    object.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(parsed)
}

/// Reads an object into `parsed`, its names behind `prefix`.
struct Object<'p, 'a, 'c, 'z> {
    prefix: &'p str,
    depth: usize,
    parsed: &'p mut Parsed<'a>,
    context: &'c Context<'z>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let name = match self.prefix {
                "" => key,
                prefix => Cow::Owned(format!("{prefix}.{key}")),
            };
            let (parsed, context) = (&mut *self.parsed, self.context);
            map.next_value_seed(Member { name, depth: self.depth, parsed, context })?;
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_str(Text).map(Key)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads the value of one name.
struct Member<'p, 'a, 'c, 'z> {
    name: Cow<'a, str>,
    depth: usize,
    parsed: &'p mut Parsed<'a>,
    context: &'c Context<'z>,
}

impl<'a> Member<'_, 'a, '_, '_> {
    fn put(self, value: Value<'a>) {
        put(self.parsed, self.name, value, self.context);
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, 'de, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if self.depth >= DEPTH_MAX || self.parsed.fields.len() >= FIELDS_MAX {
            return reader.deserialize_ignored_any(serde::de::IgnoredAny).map(drop);
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, 'de, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Value::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Value::Int(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        // Beyond 63 bits a number would not come back as it was; its digits do.
        self.put(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string().into()), Value::Int));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(Value::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.put(Value::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<serde_json::Value>()? {
            values.push(value);
        }
        self.put(Value::Text(serde_json::Value::Array(values).to_string().into()));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let (depth, parsed, context) = (self.depth + 1, self.parsed, self.context);
        Object { prefix: &self.name, depth, parsed, context }.visit_map(map)
    }
}
