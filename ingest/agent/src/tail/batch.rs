//! Collects records into one OTLP request.

use std::borrow::Cow;
use std::sync::Arc;

use greylight_wire::logs::{Record, Value as WireValue};
use greylight_wire::otlp::{ResourceRecords, encode_logs};
use xxhash_rust::xxh3::xxh3_128;

use super::assemble::Output;
use super::parse::{Context, Format, Parsed, Value, parse};
use crate::clock::Timestamp;

// A record from further in the future is taken for one of a wrong clock or a wrong zone.
const FUTURE_MAX_NS: i64 = 10 * 60 * 1_000_000_000;

/// Records that wait for their request.
#[derive(Debug, Default)]
pub(super) struct LogBatch {
    groups: Vec<ResourceRecords>,
    last: Option<Arc<[(String, WireValue)]>>,
    bytes: usize,
    n_records: u32,
}

/// What all records of one file share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) agent: &'a str,
    pub(super) file: u64,
    pub(super) resource: &'a Arc<[(String, WireValue)]>,
    pub(super) format: Format,
}

impl LogBatch {
    /// Returns about how many bytes the request will have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many records it holds.
    pub(super) fn n_records(&self) -> u32 {
        self.n_records
    }

    /// Adds a record.
    ///
    /// - `given`: the time for a record that has none; rises from call to call, to keep the order of lines.
    pub(super) fn push(
        &mut self,
        origin: Origin<'_>,
        output: Output<'_>,
        context: &Context<'_>,
        given: Timestamp,
    ) {
        let Parsed { time, severity, trace_id, span_id, fields } = parse(output.text, origin.format, context);
        let mut attributes: Vec<(String, WireValue)> = Vec::with_capacity(fields.len() + 3);
        for (name, value) in fields {
            let value = into_wire(value);
            match attributes.iter_mut().find(|(other, _)| *other == name) {
                Some((_, old)) => *old = value,
                None => attributes.push((name.into_owned(), value)),
            }
        }
        let told = output.time.or(time);
        let latest = context.now.as_nanos().saturating_add(FUTURE_MAX_NS);
        let time = told.filter(|time| time.as_nanos() <= latest);
        let mut flag = |name: &str, value| attributes.push((name.to_owned(), value));
        if let (None, Some(told)) = (time, told) {
            flag("greylight.time_refused_ns", WireValue::Int(told.as_nanos()));
        }
        if output.cut {
            flag("log.cut", WireValue::Bool(true));
        }
        if output.partial {
            flag("log.partial", WireValue::Bool(true));
        }
        if let Some(stream) = output.stream.name() {
            flag("log.iostream", WireValue::String(stream.to_owned()));
        }
        let (severity_number, severity_text) =
            severity.map_or((0, Cow::Borrowed("")), |severity| (severity.number, severity.text));
        let record = Record {
            time_ns: Some(time.unwrap_or(given).as_nanos()),
            observed_ns: Some(given.as_nanos()),
            severity_number,
            severity_text: severity_text.into_owned(),
            body: output.text.to_owned(),
            attributes,
            trace_id,
            span_id,
            uid: Some(uid(origin.agent, origin.file, output.start)),
        };
        self.bytes += output.text.len() + 160 + 32 * record.attributes.len();
        self.n_records += 1;
        self.group(origin.resource).push(record);
    }

    /// Returns the records of the last group if that is of the same file, else of a new one.
    fn group(&mut self, resource: &Arc<[(String, WireValue)]>) -> &mut Vec<Record> {
        let same = self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, resource));
        if !same || self.groups.is_empty() {
            self.last = Some(Arc::clone(resource));
            self.groups.push(ResourceRecords { resource: resource.to_vec(), records: Vec::new() });
        }
        let last = self.groups.last_mut().expect("a group was pushed when there was none");
        &mut last.records
    }

    /// Returns the request's bytes and begins the next.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let groups = std::mem::take(&mut self.groups);
        *self = Self::default();
        encode_logs(&groups)
    }
}

fn into_wire(value: Value<'_>) -> WireValue {
    match value {
        Value::Text(text) => WireValue::String(text.into_owned()),
        Value::Int(number) => WireValue::Int(number),
        Value::Float(number) => WireValue::Double(number),
        Value::Bool(truth) => WireValue::Bool(truth),
    }
}

/// Names a record for good: the same line read again has the same.
fn uid(agent: &str, file: u64, offset: u64) -> String {
    let mut bytes = Vec::with_capacity(agent.len() + 16);
    bytes.extend_from_slice(&file.to_le_bytes());
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(agent.as_bytes());
    format!("{:032x}", xxh3_128(&bytes))
}
