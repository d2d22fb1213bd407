//! `logproto.PushRequest`.

use super::{LokiError, parse_labels};
use crate::logs::{Record, Stream, Value};
use crate::proto::Reader;

pub(super) fn decode(body: &[u8]) -> Result<Vec<Stream>, LokiError> {
    let mut streams = Vec::new();
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.field()? {
        if field == 1 {
            streams.push(stream(value.into_bytes(field)?)?);
        }
    }
    Ok(streams)
}

fn stream(message: &[u8]) -> Result<Stream, LokiError> {
    let mut stream = Stream::default();
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => {
                let labels = value.into_str(field)?;
                stream.labels = parse_labels(labels).map_err(|source| LokiError::Labels {
                    labels: labels.chars().take(200).collect(),
                    source,
                })?;
            }
            2 => stream.records.push(entry(value.into_bytes(field)?)?),
            _ => {}
        }
    }
    Ok(stream)
}

fn entry(message: &[u8]) -> Result<Record, LokiError> {
    let mut record = Record { time_ns: Some(0), ..Record::default() };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => record.time_ns = Some(timestamp(value.into_bytes(field)?)?),
            2 => record.body = text(value.into_bytes(field)?),
            3 => {
                let (name, value) = pair(value.into_bytes(field)?)?;
                // Names are unique; the later one wins, as in a map.
                record.attributes.retain(|(other, _)| *other != name);
                record.attributes.push((name, Value::String(value)));
            }
            _ => {}
        }
    }
    Ok(record)
}

fn timestamp(message: &[u8]) -> Result<i64, LokiError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => seconds = value.into_varint(field)?.cast_signed(),
            2 => nanos = value.into_varint(field)?.cast_signed(),
            _ => {}
        }
    }
    seconds
        .checked_mul(1_000_000_000)
        .and_then(|ns| ns.checked_add(nanos))
        .ok_or(LokiError::Timestamp { seconds })
}

fn pair(message: &[u8]) -> Result<(String, String), LokiError> {
    let mut pair = (String::new(), String::new());
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => pair.0 = text(value.into_bytes(field)?),
            2 => pair.1 = text(value.into_bytes(field)?),
            _ => {}
        }
    }
    Ok(pair)
}

/// Reads text; bytes that are no UTF-8 are replaced, since a log line in another charset is better kept
/// than refused with its whole batch, and Loki's agents do not check.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
