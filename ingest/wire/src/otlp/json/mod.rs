//! Turns OTLP's JSON into protobuf, by the JSON mapping of proto3 and what OTLP says differently.
//!
//! One pass: the JSON is read as it streams by and each field is written in protobuf, led by the tables of
//! [`schema`]; no tree is built. Taken are, as the mapping asks: names of fields in lower camel case and as in the
//! `.proto` files; numbers also as text, also with a fraction of zero or an exponent; `NaN`, `Infinity` and
//! `-Infinity`; enumerations as numbers and by name; base64 of either alphabet, padded or not; null for a field that
//! is absent. As OTLP asks: trace and span ids in hex, and fields that are unknown are ignored.
//!
//! Sources: Protocol Buffers, "ProtoJSON Format"; OpenTelemetry protocol 1.7, "JSON Protobuf Encoding".

mod schema;

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::proto::put_varint;
pub(super) use schema::{EXPORT_LOGS, EXPORT_METRICS};

/// A message: its fields by their names in JSON.
#[derive(Debug)]
pub struct Message {
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    /// In lower camel case.
    name: &'static str,
    /// Below 16, so that its tag is one byte.
    number: u8,
    kind: Kind,
    is_list: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Message(&'static Message),
    Text,
    Bool,
    Double,
    /// `int32`, `int64`, and enumerations: a varint of the sign-extended number.
    Int(i64, i64),
    /// `sint32`: zigzag.
    Zigzag,
    /// `uint32` and `uint64`: the largest one.
    Uint(u64),
    Fixed32,
    Fixed64,
    /// `sfixed64`.
    SignedFixed64,
    /// An enumeration: what its names stand for.
    Enum(fn(&str) -> Option<i32>),
    Base64,
    Hex,
}

/// Writes the message that is a JSON object in protobuf.
///
/// # Errors
/// What is wrong, with the field's name, line and column.
pub(super) fn to_protobuf(schema: &'static Message, body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    // An object of a few bytes is the smallest; most of the text is names, so this is seldom grown.
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut json = serde_json::Deserializer::from_slice(body);
    json.deserialize_any(Object { schema, out: &mut out })?;
    json.end()?;
    Ok(out)
}

impl Message {
    /// Finds a field by its name in JSON, or else by that in the `.proto` file: `time_unix_nano`.
    fn find(&self, name: &str) -> Option<&'static Field> {
        let named = |wanted: &str| self.fields.iter().find(|field| field.name == wanted);
        named(name).or_else(|| name.contains('_').then(|| named(&camel(name))).flatten())
    }
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if std::mem::take(&mut upper) => out.push(c.to_ascii_uppercase()),
            c => out.push(c),
        }
    }
    out
}

/// Reads one object.
struct Object<'o> {
    schema: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.schema))? {
            match field {
                Some(field) => map.next_value_seed(Of { field, out: self.out, is_element: false })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Reads the name of a field; `None` for one that is unknown.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}

/// Reads the value of a field, or an element of one that is a list.
struct Of<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
    is_element: bool,
}

impl<'de> DeserializeSeed<'de> for Of<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if !(matches!(self.field.kind, Kind::Double) && self.is_single()) {
            return json.deserialize_any(self);
        }
        // The last bit of a fraction may be wrong as serde_json reads it, so its text is read instead.
        let text = <&RawValue>::deserialize(json)?.get();
        match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => match number(text) {
                Some(number) => self.put_number(number),
                None => Err(D::Error::custom(format!("{}: {text} is out of range", self.field.name))),
            },
            Some(b'"') => self.visit_str(&serde_json::from_str::<String>(text).map_err(D::Error::custom)?),
            Some(b'n') => self.visit_unit(),
            _ => Err(D::Error::custom(format!("{}: {text} is not a number", self.field.name))),
        }
    }
}

impl<'de> Visitor<'de> for Of<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_list && !self.is_element {
            return write!(f, "a list for {}", self.field.name);
        }
        write!(f, "{} for {}", self.field.kind.noun(), self.field.name)
    }

    /// A field that is null is absent; an element that is null is a message without fields.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match (self.is_element, self.field.kind) {
            (false, _) => Ok(()),
            (true, Kind::Message(_)) => self.put_message(|_| Ok(())),
            (true, _) => Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool if self.is_single() => {
                self.out.extend([self.field.number << 3, u8::from(value)]);
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put_number(Number::Whole(i128::from(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put_number(Number::Whole(i128::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.put_number(Number::Broken(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if !self.is_single() {
            return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self));
        }
        let wrong = || E::custom(format!("{}: {text:?} is not {}", self.field.name, self.field.kind.noun()));
        match self.field.kind {
            Kind::Text => self.put_bytes(text.as_bytes()),
            Kind::Base64 => {
                let bytes = base64(text).ok_or_else(wrong)?;
                self.put_bytes(&bytes)
            }
            Kind::Hex => {
                let bytes = hex(text).ok_or_else(wrong)?;
                self.put_bytes(&bytes)
            }
            Kind::Enum(value_of) => {
                let value = value_of(text).map(i128::from).or_else(|| text.parse().ok()).ok_or_else(wrong)?;
                self.put_number(Number::Whole(value))
            }
            Kind::Message(_) | Kind::Bool => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
            _ => {
                let number = number(text).ok_or_else(wrong)?;
                self.put_number(number)
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.is_single() {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        while list.next_element_seed(Of { field: self.field, out: self.out, is_element: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.field.kind {
            Kind::Message(schema) if self.is_single() => {
                self.put_message(|out| Object { schema, out }.visit_map(map))
            }
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

/// Bytes of a length that is written before it is known: more than a varint needs, which decoders take.
const LENGTH_BYTES: usize = 4;

impl Of<'_> {
    /// Says whether one value is wanted, as against a list of them.
    fn is_single(&self) -> bool {
        self.is_element || !self.field.is_list
    }

    fn put_message<E: Error>(self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.out.push(self.field.number << 3 | 2);
        let start = self.out.len() + LENGTH_BYTES;
        self.out.resize(start, 0);
        write(self.out)?;
        let length = self.out.len() - start;
        if length >= 1 << (7 * LENGTH_BYTES) {
            return Err(E::custom(format!("{} is larger than 256 MiB", self.field.name)));
        }
        for (i, byte) in self.out[start - LENGTH_BYTES..start].iter_mut().enumerate() {
            let more = if i + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = (length >> (7 * i)) as u8 & 0x7f | more;
        }
        Ok(())
    }

    fn put_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.out.push(self.field.number << 3 | 2);
        put_varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn put_number<E: Error>(self, number: Number) -> Result<(), E> {
        if !self.is_single() {
            return Err(E::invalid_type(number.unexpected(), &self));
        }
        let Field { name, number: field, kind, .. } = *self.field;
        let noun = kind.noun();
        let wrong = || E::custom(format!("{name}: {number} is not {noun}"));
        let whole = || number.whole().ok_or_else(wrong);
        let within = |least: i64, most: u64| {
            whole().and_then(|n| {
                let fits = (i128::from(least)..=i128::from(most)).contains(&n);
                if fits { Ok(n) } else { Err(wrong()) }
            })
        };
        let tag = field << 3;
        match kind {
            Kind::Double => {
                self.out.push(tag | 1);
                self.out.extend_from_slice(&number.as_f64().to_le_bytes());
            }
            Kind::Int(least, most) => self.put_varint(within(least, most.unsigned_abs())? as u64),
            Kind::Enum(_) => {
                self.put_varint(within(i64::from(i32::MIN), i32::MAX.unsigned_abs().into())? as u64)
            }
            Kind::Zigzag => {
                let n = within(i64::from(i32::MIN), i32::MAX.unsigned_abs().into())? as i32;
                self.put_varint(u64::from((n << 1 ^ n >> 31).cast_unsigned()));
            }
            Kind::Uint(most) => self.put_varint(within(0, most)? as u64),
            Kind::Fixed32 => {
                let n = within(0, u32::MAX.into())? as u32;
                self.out.push(tag | 5);
                self.out.extend_from_slice(&n.to_le_bytes());
            }
            Kind::Fixed64 | Kind::SignedFixed64 => {
                let (least, most) = if matches!(kind, Kind::Fixed64) {
                    (0, u64::MAX)
                } else {
                    (i64::MIN, i64::MAX.unsigned_abs())
                };
                // Two's complement, as both types are stored.
                let n = within(least, most)? as u64;
                self.out.push(tag | 1);
                self.out.extend_from_slice(&n.to_le_bytes());
            }
            Kind::Message(_) | Kind::Text | Kind::Bool | Kind::Base64 | Kind::Hex => {
                return Err(E::invalid_type(number.unexpected(), &self));
            }
        }
        Ok(())
    }

    fn put_varint(self, value: u64) {
        self.out.push(self.field.number << 3);
        put_varint(self.out, value);
    }
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Message(_) => "an object",
            Self::Text => "a string",
            Self::Bool => "true or false",
            Self::Double => "a number",
            Self::Int(..) | Self::Zigzag | Self::SignedFixed64 => "an integer in range",
            Self::Uint(_) | Self::Fixed32 | Self::Fixed64 => "an unsigned integer in range",
            Self::Enum(_) => "a number or name of the enumeration",
            Self::Base64 => "base64",
            Self::Hex => "hex",
        }
    }
}

/// A number as it stands in JSON.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(i128),
    Broken(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Broken(x) => x,
        }
    }

    /// `5.0` and `1e3` are integers as well; the caller checks the range, which every `f64` past `i128` is out of.
    fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(n) => Some(n),
            Self::Broken(x) => (x.fract() == 0.0).then_some(x as i128),
        }
    }

    fn unexpected(self) -> serde::de::Unexpected<'static> {
        match self {
            Self::Whole(n) => i64::try_from(n).map_or_else(
                |_| serde::de::Unexpected::Other("a large integer"),
                serde::de::Unexpected::Signed,
            ),
            Self::Broken(x) => serde::de::Unexpected::Float(x),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => n.fmt(f),
            Self::Broken(x) => x.fmt(f),
        }
    }
}

/// Reads a number that was sent as text: what JSON calls a number, and the words for those that it cannot write.
fn number(text: &str) -> Option<Number> {
    match text {
        "NaN" => return Some(Number::Broken(f64::NAN)),
        "Infinity" => return Some(Number::Broken(f64::INFINITY)),
        "-Infinity" => return Some(Number::Broken(f64::NEG_INFINITY)),
        _ => {}
    }
    // Rust's parsers take more: words, a plus sign in front, no digits around the point.
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || !digits.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.parse() {
        // The sign of a zero is lost on an integer.
        Ok(0) if text.starts_with('-') => Some(Number::Broken(-0.0)),
        Ok(n) => Some(Number::Whole(n)),
        Err(_) => text.parse().ok().filter(|x: &f64| x.is_finite()).map(Number::Broken),
    }
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

fn base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    alphabet.decode(text).ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        // Two digits of four bits each.
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
