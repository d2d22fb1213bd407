//! Log records behind Elasticsearch's search API, which OpenSearch has too.
//!
//! Documents are of the Elastic Common Schema, or of any other that has `@timestamp`: every field is an attribute by
//! its dotted name, and labels are found under the names that shippers use for them.

use std::sync::Arc;

use greylight_store::model::{AttributeValue, Labels, LogRecord, MatchOp, Matcher, Timestamp};
use greylight_store::read::ReadError;
use greylight_wire::severity;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Client, Fault};
use super::records::Pages;

/// Records of one page, well below the 10,000 that an index allows by default.
const PAGE: usize = 5000;
const TIME: &str = "@timestamp";
/// Where a document's text and severity stand, the first that is there.
const BODY: [&str; 3] = ["message", "body.text", "body"];
const LEVEL: [&str; 5] = ["log.level", "severity_text", "severity.text", "level", "severity"];
/// Labels that records are known by wherever they come from.
const LABELS: [&str; 12] = [
    "service_name",
    "service_version",
    "service_namespace",
    "deployment_environment_name",
    "track",
    "namespace",
    "pod",
    "k8s_namespace_name",
    "k8s_pod_name",
    "container",
    "instance",
    "host_name",
];
/// Labels whose field has another name than dots in the place of `_` give.
const FIELDS: [(&str, &[&str]); 8] = [
    ("pod", &["kubernetes.pod.name", "k8s.pod.name"]),
    ("k8s_pod_name", &["kubernetes.pod.name"]),
    ("namespace", &["kubernetes.namespace", "k8s.namespace.name"]),
    ("k8s_namespace_name", &["kubernetes.namespace"]),
    ("container", &["kubernetes.container.name", "container.name"]),
    ("instance", &["service.node.name", "host.name"]),
    ("deployment_environment_name", &["service.environment"]),
    ("track", &["greylight.track"]),
];

/// Records of one source.
#[derive(Debug)]
pub(super) struct Elastic {
    client: Arc<Client>,
    index: String,
    labels: Vec<String>,
}

impl Elastic {
    pub(super) fn new(client: Arc<Client>, index: &str, more: &[String]) -> Self {
        let mut labels: Vec<String> = LABELS.map(str::to_owned).to_vec();
        labels.extend(more.iter().cloned());
        Self { client, index: index.to_owned(), labels }
    }
}

impl Pages for Elastic {
    fn page(&self, matchers: &[Matcher], from: i64, to: i64, limit: usize) -> Result<Vec<LogRecord>, Fault> {
        // "./": a name with a colon is an index of another cluster, not an address.
        let answer: Answer =
            self.client.body(&format!("./{}/_search", self.index), &search(matchers, from, to, limit))?;
        if answer.timed_out || answer.shards.failed > 0 {
            let text = format!(
                "answered in part: {} shards failed, timed out: {}",
                answer.shards.failed, answer.timed_out
            );
            return Err(Fault::Read(self.client.failed(text)));
        }
        let named: Vec<&str> =
            self.labels.iter().map(String::as_str).chain(matchers.iter().map(Matcher::name)).collect();
        let all = answer.hits.hits.into_iter().map(|hit| record(hit, &named)).collect::<Result<_, _>>();
        all.map_err(|detail| Fault::Read(self.client.wrong(detail)))
    }

    fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|known| known == name)
    }

    fn limit(&self) -> usize {
        PAGE
    }

    fn too_large(&self) -> ReadError {
        self.client.too_large()
    }
}

/// Writes the question. What it cannot say of the matchers is held against the labels of what comes.
fn search(matchers: &[Matcher], from: i64, to: i64, limit: usize) -> Value {
    let time = |nanos| Timestamp::from_nanos(nanos).to_string();
    let range = json!({ "gte": time(from), "lt": time(to), "format": "strict_date_optional_time_nanos" });
    let mut filter = vec![json!({ "range": { TIME: range } })];
    for one in matchers.iter().filter(|one| one.op() == MatchOp::Equal && !one.value().is_empty()) {
        let terms: Vec<Value> = fields_of(one.name())
            .iter()
            // Texts are split into words; beside them shippers and defaults keep the whole as `.keyword`.
            .flat_map(|field| [field.clone(), format!("{field}.keyword")])
            .map(|field| json!({ "term": { field: one.value() } }))
            .collect();
        filter.push(json!({ "bool": { "should": terms, "minimum_should_match": 1 } }));
    }
    json!({
        "size": limit,
        "track_total_hits": false,
        "sort": [{ TIME: { "order": "asc", "numeric_type": "date_nanos", "unmapped_type": "date_nanos" } }],
        "query": { "bool": { "filter": filter } },
    })
}

/// Fields that may hold a label, the likelier first.
fn fields_of(label: &str) -> Vec<String> {
    let dotted = label.replace('_', ".");
    let mut all = vec![label.to_owned()];
    let known = FIELDS.iter().find(|(name, _)| *name == label).map_or(&[][..], |(_, fields)| fields);
    let more = [dotted.clone()].into_iter().chain(known.iter().map(|field| (*field).to_owned()));
    let more = more.chain([
        format!("labels.{label}"),
        format!("resource.attributes.{dotted}"),
        format!("kubernetes.labels.{label}"),
    ]);
    for field in more {
        if !all.contains(&field) {
            all.push(field);
        }
    }
    all
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    timed_out: bool,
    #[serde(default, rename = "_shards")]
    shards: Shards,
    hits: Hits,
}

#[derive(Debug, Default, Deserialize)]
struct Shards {
    #[serde(default)]
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Debug, Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_id")]
    id: String,
    #[serde(default, rename = "_source")]
    source: Map<String, Value>,
    #[serde(default)]
    sort: Vec<Value>,
}

/// Makes a record of a document.
///
/// - `named`: labels that are looked for.
fn record(hit: Hit, named: &[&str]) -> Result<LogRecord, String> {
    let time = time_of(&hit)
        .ok_or_else(|| format!("document {} of index {} has no {TIME} that is a time", hit.id, hit.index))?;
    let mut attributes = Vec::new();
    flatten(hit.source, "", &mut attributes);
    let text = |name: &str| {
        let found = attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| shown(value)).filter(|text| !text.is_empty())
    };
    let label = |name: &str| Some((name.to_owned(), fields_of(name).iter().find_map(|field| text(field))?));
    let labels: std::collections::BTreeMap<String, String> =
        named.iter().filter_map(|name| label(name)).collect();
    let labels = Labels::from_pairs(labels).map_err(|e| format!("document {}: {e}", hit.id))?;
    let body = BODY.iter().find_map(|name| text(name)).unwrap_or_default();
    let told =
        LEVEL.iter().find_map(|name| text(name)).map(|word| (severity::from_word(&word).unwrap_or(0), word));
    let (severity_number, severity_text) = told
        .or_else(|| severity::detect(&body).map(|(number, word)| (number, word.to_owned())))
        .unwrap_or_default();
    attributes.retain(|(name, _)| name != TIME && !BODY[..2].contains(&name.as_str()) && name != LEVEL[0]);
    Ok(LogRecord {
        time,
        observed_time: time,
        severity_number,
        severity_text,
        body,
        labels,
        attributes,
        trace_id: None,
        span_id: None,
        uid: Some(format!("{}/{}", hit.index, hit.id)),
    })
}

/// The time that the document is sorted by, else that of its field.
fn time_of(hit: &Hit) -> Option<Timestamp> {
    /// Nanoseconds of any time since 1970-01-13 are more than the milliseconds of any time before the year 33000.
    const NANOS_MIN: i64 = 1_000_000_000_000_000;
    let number = |value: i64| {
        Some(if value >= NANOS_MIN {
            Timestamp::from_nanos(value)
        } else {
            Timestamp::from_nanos(value.checked_mul(1_000_000)?)
        })
    };
    if let Some(value) = hit.sort.first().and_then(Value::as_i64) {
        return number(value);
    }
    match hit.source.get(TIME)? {
        Value::String(text) => {
            let time: jiff::Timestamp = text.parse().ok()?;
            i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
        }
        value => number(value.as_i64()?),
    }
}

/// Lists the fields of a document by their dotted names; of equal names the first stays.
fn flatten(map: Map<String, Value>, above: &str, into: &mut Vec<(String, AttributeValue)>) {
    for (name, value) in map {
        let name = if above.is_empty() { name } else { format!("{above}.{name}") };
        let value = match value {
            Value::Object(inner) => {
                flatten(inner, &name, into);
                continue;
            }
            Value::String(text) => AttributeValue::String(text),
            Value::Bool(value) => AttributeValue::Bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => AttributeValue::Int(whole),
                (None, Some(value)) => AttributeValue::Double(value),
                (None, None) => continue,
            },
            list @ Value::Array(_) => AttributeValue::Json(list.to_string()),
            Value::Null => continue,
        };
        if !name.is_empty() && !into.iter().any(|(known, _)| *known == name) {
            into.push((name, value));
        }
    }
}

fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::String(text) | AttributeValue::Json(text) => text.clone(),
        AttributeValue::Int(value) => value.to_string(),
        AttributeValue::Double(value) => value.to_string(),
        AttributeValue::Bool(value) => value.to_string(),
        AttributeValue::Bytes(_) | AttributeValue::Null => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(source: Value, sort: Value) -> Hit {
        serde_json::from_value(json!({ "_index": "logs", "_id": "7", "_source": source, "sort": sort }))
            .unwrap()
    }

    #[test]
    fn documents_become_records() {
        let source = json!({
            "@timestamp": "2026-11-21T10:00:00.001Z", "message": "it failed", "log": { "level": "error" },
            "service": { "name": "cart", "version": "1.5.0" }, "kubernetes": { "pod": { "name": "cart-a" } },
            "http.response.status_code": 500, "duration": 0.25, "tags": ["a"], "labels": { "zone": "edge" }, "gone": null,
        });
        let one = record(
            hit(source, json!([1_795_255_200_001_000_000_i64])),
            &["service_name", "pod", "zone", "track"],
        );
        let one = one.unwrap();
        let labels = [("pod", "cart-a"), ("service_name", "cart"), ("zone", "edge")];
        assert_eq!(one.labels, Labels::from_pairs(labels).unwrap());
        assert_eq!(
            (one.body.as_str(), one.severity_number, one.severity_text.as_str()),
            ("it failed", 17, "error")
        );
        assert_eq!(one.time.as_nanos(), 1_795_255_200_001_000_000);
        assert_eq!(one.uid.as_deref(), Some("logs/7"));
        let of = |name: &str| {
            one.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        assert_eq!(of("http.response.status_code"), Some(AttributeValue::Int(500)));
        assert_eq!(of("service.name"), Some(AttributeValue::String("cart".into())));
        assert_eq!(of("duration"), Some(AttributeValue::Double(0.25)));
        assert_eq!(of("tags"), Some(AttributeValue::Json("[\"a\"]".into())));
        assert_eq!((of("message"), of("log.level"), of("@timestamp"), of("gone")), (None, None, None, None));
    }

    #[test]
    fn times_are_of_the_sort_or_of_the_field() {
        let nanos = |source: Value, sort: Value| time_of(&hit(source, sort)).map(Timestamp::as_nanos);
        let want = Some(1_795_255_200_001_000_000);
        let text = json!({ "@timestamp": "2026-11-21T10:00:00.001Z" });
        assert_eq!(nanos(text.clone(), json!([])), want);
        assert_eq!(nanos(text, json!(["x"])), want);
        assert_eq!(nanos(json!({ "@timestamp": 1_795_255_200_001_i64 }), json!([])), want);
        assert_eq!(nanos(json!({}), json!([1_795_255_200_001_i64])), want);
        assert_eq!(nanos(json!({ "@timestamp": "soon" }), json!([])), None);
        let error = record(hit(json!({}), json!([])), &[]).unwrap_err();
        assert_eq!(error, "document 7 of index logs has no @timestamp that is a time");
    }

    #[test]
    fn equal_labels_are_asked_for_and_the_rest_is_not() {
        let matchers = [
            Matcher::equal("service_name", "cart"),
            Matcher::equal("zone", ""),
            Matcher::new("pod", MatchOp::Regex, "a|b").unwrap(),
        ];
        let asked = search(&matchers, 0, 1_000_000, 10);
        let filter = asked["query"]["bool"]["filter"].as_array().unwrap();
        assert_eq!(filter.len(), 2);
        assert_eq!(filter[0]["range"]["@timestamp"]["gte"], "1970-01-01T00:00:00Z");
        assert_eq!(filter[0]["range"]["@timestamp"]["lt"], "1970-01-01T00:00:00.001Z");
        let terms = filter[1]["bool"]["should"].to_string();
        for field in ["service_name", "service.name", "service.name.keyword", "labels.service_name"] {
            assert!(terms.contains(&format!("{{\"term\":{{\"{field}\":\"cart\"}}}}")), "{field}: {terms}");
        }
    }

    proptest! {
        #[test]
        fn any_document_is_taken_or_refused(
            text in "(\\{|\\}|\\[|\\]|,|:|\"(hits|_id|_index|_source|sort|@timestamp|message|a|)\"|1|1e300|-9223372036854775808|null|true){0,40}"
        ) {
            if let Ok(answer) = serde_json::from_str::<Answer>(&text) {
                for hit in answer.hits.hits {
                    let _ = record(hit, &["a", "service_name"]);
                }
            }
        }

        #[test]
        fn any_source_is_flattened_without_double_names(
            names in proptest::collection::vec("[a-c]?(\\.[a-c])?", 0..12),
            number in any::<i64>(),
        ) {
            let mut source = Map::new();
            for (i, name) in names.into_iter().enumerate() {
                let value = if i % 2 == 0 { json!({ "a": i, "b": { "c": null, "": [1] } }) } else { json!(i) };
                source.insert(name, value);
            }
            let mut all = Vec::new();
            flatten(source.clone(), "", &mut all);
            let names: std::collections::BTreeSet<&String> = all.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), all.len());
            let _ = record(hit(Value::Object(source), json!([number])), &["a"]);
        }
    }
}
