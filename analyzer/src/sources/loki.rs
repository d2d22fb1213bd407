//! Log records behind Loki's API.

use std::collections::BTreeMap;
use std::sync::Arc;

use greylight_store::model::{AttributeValue, Labels, LogRecord, Matcher, Timestamp};
use greylight_store::read::ReadError;
use greylight_wire::logs::{Record, Stream, Value};
use greylight_wire::loki::{LokiOptions, finish};
use serde::Deserialize;
use serde_json::Map;

use super::client::{Client, Fault};
use super::prometheus::selector;
use super::records::Pages;

/// Records of one page: what Loki gives by default at most.
const PAGE: usize = 5000;
/// Asks for structured metadata apart from the labels of the stream.
const APART: &str = "categorize-labels";

/// Records of one source.
#[derive(Debug)]
pub(super) struct Loki {
    client: Arc<Client>,
}

impl Loki {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client }
    }
}

impl Pages for Loki {
    fn page(&self, matchers: &[Matcher], from: i64, to: i64, limit: usize) -> Result<Vec<LogRecord>, Fault> {
        let pairs = [
            ("query", selector(matchers)),
            ("start", from.to_string()),
            ("end", to.to_string()),
            ("limit", limit.to_string()),
            ("direction", "forward".to_owned()),
        ];
        let headers = [("x-loki-response-encoding-flags", APART)];
        let answer: Answer = self.client.query("loki/api/v1/query_range", &pairs, &headers)?;
        records(answer).map_err(|detail| Fault::Read(self.client.wrong(detail)))
    }

    fn has_label(&self, _name: &str) -> bool {
        true
    }

    fn limit(&self) -> usize {
        PAGE
    }

    fn too_large(&self) -> ReadError {
        self.client.too_large()
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    encoding_flags: Vec<String>,
    result: Vec<StreamJson>,
}

#[derive(Debug, Deserialize)]
struct StreamJson {
    stream: BTreeMap<String, String>,
    values: Vec<Entry>,
}

/// An entry: its time in nanoseconds, the line, and what else is known of it.
#[derive(Debug, Deserialize)]
struct Entry(String, String, #[serde(default)] Map<String, serde_json::Value>);

/// Reads the records of an answer, in the order of their streams.
fn records(answer: Answer) -> Result<Vec<LogRecord>, String> {
    let data = match (answer.status.as_str(), answer.data) {
        ("success", Some(data)) => data,
        (status, _) => return Err(format!("answered {status:?} without data")),
    };
    if data.result_type != "streams" {
        return Err(format!("answered {:?} in the place of streams", data.result_type));
    }
    let is_apart = data.encoding_flags.iter().any(|flag| flag == APART);
    let mut streams = Vec::new();
    for stream in data.result {
        let records = stream.values.into_iter().map(|entry| record(entry, is_apart));
        streams.push(Stream {
            labels: stream.stream.into_iter().collect(),
            records: records.collect::<Result<_, _>>()?,
        });
    }
    // Labels stay as Loki has them; a severity is found as it is in what is pushed here.
    let options = LokiOptions { discover_service_name: false, detect_severity: true };
    let mut all = Vec::new();
    for stream in finish(streams, options) {
        let labels =
            Labels::from_pairs(stream.labels).map_err(|e| format!("answered labels that are none: {e}"))?;
        all.extend(stream.records.into_iter().map(|one| log_record(one, &labels)));
    }
    Ok(all)
}

fn record(Entry(time, body, more): Entry, is_apart: bool) -> Result<Record, String> {
    let time_ns: i64 = time.parse().map_err(|_| format!("answered {time:?} as the time of a record"))?;
    let metadata = match more.get("structuredMetadata") {
        Some(serde_json::Value::Object(metadata)) if is_apart => metadata.clone(),
        _ if is_apart => Map::new(),
        _ => more,
    };
    let attributes = metadata.into_iter().map(|(name, value)| (name, text(value))).collect();
    Ok(Record { time_ns: Some(time_ns), body, attributes, ..Record::default() })
}

fn text(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::String(text) => Value::String(text),
        other => Value::String(other.to_string()),
    }
}

fn log_record(record: Record, labels: &Labels) -> LogRecord {
    let time = Timestamp::from_nanos(record.time_ns.unwrap_or_default());
    let attribute = |value| match value {
        Value::String(text) => AttributeValue::String(text),
        // Structured metadata is text.
        _ => AttributeValue::Null,
    };
    LogRecord {
        time,
        observed_time: time,
        severity_number: record.severity_number,
        severity_text: record.severity_text,
        body: record.body,
        labels: labels.clone(),
        attributes: record.attributes.into_iter().map(|(name, value)| (name, attribute(value))).collect(),
        trace_id: record.trace_id,
        span_id: record.span_id,
        uid: record.uid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<LogRecord>, String> {
        records(serde_json::from_str(text).map_err(|e| e.to_string())?)
    }

    fn answer(flags: &str, more: &str) -> String {
        format!(
            r#"{{"status":"success","data":{{"resultType":"streams"{flags},"result":[
            {{"stream":{{"app":"cart","pod":"a"}},"values":[["1795255200000000001","ERROR late"{more}]]}},
            {{"stream":{{"app":"cart"}},"values":[["1795255200000000000","fine"],["1795255200000000002","fine"]]}}],
            "stats":{{}}}}}}"#
        )
    }

    #[test]
    fn streams_become_records_with_labels_and_metadata() {
        let flags = r#","encodingFlags":["categorize-labels"]"#;
        let more = r#",{"structuredMetadata":{"trace":"t1"},"parsed":{"x":"1"}}"#;
        for (flags, more) in [(flags, more), ("", r#",{"trace":"t1"}"#)] {
            let all = read(&answer(flags, more)).unwrap();
            assert_eq!(all.len(), 3);
            assert_eq!(all[0].labels, Labels::from_pairs([("app", "cart"), ("pod", "a")]).unwrap());
            assert_eq!(all[0].attributes, [("trace".to_owned(), AttributeValue::String("t1".into()))]);
            assert_eq!((all[0].severity_number, all[0].time.as_nanos()), (17, 1_795_255_200_000_000_001));
            assert!(all[1].attributes.is_empty() && all[1].severity_number == 0);
        }
    }

    #[test]
    fn other_answers_are_named() {
        for (text, want) in [
            (r#"{"status":"error"}"#, "answered \"error\" without data"),
            (r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, "\"matrix\" in the place"),
            (&answer("", "").replace("1795255200000000001", "soon"), "\"soon\" as the time"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_taken_or_refused(
            text in "(\\{|\\}|\\[|\\]|,|:|\"(status|success|data|result|resultType|streams|stream|values|1)\"|1|null){0,40}"
        ) {
            let _ = read(&text);
        }

        #[test]
        fn entries_with_anything_beside_them_never_panic(
            name in "structuredMetadata|parsed|\\PC{0,4}",
            value in "\\{\\}|1|\"x\"|\\[\\]|null",
            is_apart: bool,
        ) {
            let flags = if is_apart { r#","encodingFlags":["categorize-labels"]"# } else { "" };
            let more = format!(",{{{}:{value}}}", serde_json::Value::String(name));
            prop_assert_eq!(read(&answer(flags, &more)).unwrap().len(), 3);
        }
    }
}
