//! `{"streams":[{"stream":{..},"values":[["<ns>","line",{"k":"v"}?]]}]}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor};

use super::LokiError;
use super::selector::is_label_name;
use crate::logs::{Record, Stream, Value};

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    streams: Vec<PushStream<'a>>,
}

#[derive(Deserialize)]
struct PushStream<'a> {
    #[serde(borrow, default)]
    stream: BTreeMap<Cow<'a, str>, Text>,
    #[serde(default)]
    values: Vec<Entry>,
}

/// Text; numbers and booleans are taken as what they are written as, since Loki is lenient with them too.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Text, E> {
                Ok(Text(text))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// Epoch nanoseconds as a string of digits.
struct Nanos(i64);

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NanosVisitor;
        impl Visitor<'_> for NanosVisitor {
            type Value = Nanos;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("epoch nanoseconds as a string of digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Nanos, E> {
                let bad = || de::Error::invalid_value(de::Unexpected::Str(text), &self);
                text.parse().map(Nanos).map_err(|_| bad())
            }
        }
        deserializer.deserialize_str(NanosVisitor)
    }
}

struct Entry(Record);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[\"<epoch nanoseconds>\", \"<line>\", {metadata}?]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
                let Nanos(time_ns) =
                    seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let body = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let metadata: Option<BTreeMap<String, Text>> = seq.next_element()?;
                let attributes = metadata
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(name, Text(value))| (name, Value::String(value)))
                    .collect();
                Ok(Entry(Record { time_ns: Some(time_ns), body, attributes, ..Record::default() }))
            }
        }
        deserializer.deserialize_seq(EntryVisitor)
    }
}

pub(super) fn decode(body: &[u8]) -> Result<Vec<Stream>, LokiError> {
    let push: Push<'_> = crate::json::from_object(body)?;
    push.streams.into_iter().map(stream).collect()
}

fn stream(stream: PushStream<'_>) -> Result<Stream, LokiError> {
    if let Some(bad) = stream.stream.keys().find(|name| !is_label_name(name)) {
        return Err(LokiError::LabelName { name: bad.chars().take(200).collect() });
    }
    Ok(Stream {
        labels: stream.stream.into_iter().map(|(name, Text(value))| (name.into_owned(), value)).collect(),
        records: stream.values.into_iter().map(|Entry(record)| record).collect(),
    })
}
