//! What every log protocol is decoded into, and what the agent's exporter is given.

/// Records that share a label set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Labels, sorted by name, unique, without empty values.
    pub labels: Vec<(String, String)>,
    /// The records in their order.
    pub records: Vec<Record>,
}

/// One log record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// When it happened, in epoch nanoseconds; `None` if the sender did not say.
    pub time_ns: Option<i64>,
    /// When a collector saw it, in epoch nanoseconds.
    pub observed_ns: Option<i64>,
    /// OpenTelemetry severity number, 1 to 24; 0 if unknown.
    pub severity_number: u8,
    /// The severity's word as it was sent; empty if none was.
    pub severity_text: String,
    /// The text, exactly as it was sent; a structured body as JSON.
    pub body: String,
    /// Attributes in their order; names are unique.
    pub attributes: Vec<(String, Value)>,
    /// Trace that the record belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// Span that the record belongs to.
    pub span_id: Option<[u8; 8]>,
    /// `log.record.uid`: the sender's identity of the record, for storing it once.
    pub uid: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// Whole number.
    Int(i64),
    /// Number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list or a map, as compact JSON.
    Json(String),
    /// Present, without a value.
    Null,
}

/// Sorts labels by name and drops those without a value. Of equal names the first stays.
pub(crate) fn sort_labels(labels: &mut Vec<(String, String)>) {
    labels.retain(|(name, value)| !name.is_empty() && !value.is_empty());
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    labels.dedup_by(|later, first| later.0 == first.0);
}
