//! Log records, as OpenTelemetry means them.

use super::{Labels, Timestamp};

/// Sixteen bytes that name a trace.
pub type TraceId = [u8; 16];
/// Eight bytes that name a span.
pub type SpanId = [u8; 8];

/// One timestamped entry: body and attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// When it happened.
    pub time: Timestamp,
    /// When it was seen by a collector, or received.
    pub observed_time: Timestamp,
    /// OpenTelemetry's severity number, 1 to 24; 0 is unknown.
    pub severity_number: u8,
    /// The severity as the source wrote it; empty where it did not.
    pub severity_text: String,
    /// The text, exactly as it was sent.
    pub body: String,
    /// What matchers see: stream labels, or promoted resource attributes. Same set, same stream.
    pub labels: Labels,
    /// Everything else, in the order in which it came; names are unique.
    pub attributes: Vec<(String, AttributeValue)>,
    /// The trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span that it belongs to.
    pub span_id: Option<SpanId>,
    /// `log.record.uid`: the sender's identity for storing once.
    pub uid: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Text.
    String(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// A list or map, as JSON text.
    Json(String),
    /// Present without a value.
    Null,
}

/// Returns the word for a severity number of OpenTelemetry; empty for 0 and what is out of range.
pub fn severity_word(number: u8) -> &'static str {
    match number {
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warn",
        17..=20 => "error",
        21..=24 => "fatal",
        _ => "",
    }
}
