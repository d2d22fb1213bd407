//! Log exports: into streams of records, and out of them.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::ExportLogsServiceRequest;
use super::metrics::{environment_or, job};
use super::value::{as_text, find, from_value, into_value};
use crate::logs::{Record, Stream, Value, sort_labels};

/// The attribute that identifies a record at its sender.
const UID: &str = "log.record.uid";

/// What the translation may be asked to do differently.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Resource attributes that become labels, where the resource has them. `job`, `instance` and those
    /// whose names are labels' as they stand come on top, as for metrics; the others stay attributes.
    pub promote: Vec<String>,
}

impl Default for LogOptions {
    /// Loki's list, and what joins records to metrics.
    fn default() -> Self {
        let promote = [
            "service.name",
            "service.namespace",
            "service.version",
            "service.instance.id",
            "deployment.environment",
            "deployment.environment.name",
            "greylight.track",
            "cloud.region",
            "cloud.availability_zone",
            "container.name",
            "k8s.cluster.name",
            "k8s.namespace.name",
            "k8s.pod.name",
            "k8s.container.name",
            "k8s.replicaset.name",
            "k8s.deployment.name",
            "k8s.statefulset.name",
            "k8s.daemonset.name",
            "k8s.cronjob.name",
            "k8s.job.name",
        ];
        Self { promote: promote.map(str::to_owned).to_vec() }
    }
}

/// Translates a request: one stream for each resource and scope in it that has records.
///
/// - Promoted attributes, `job`, `instance` and attributes whose names are labels' as they stand (`zone`)
///   become labels; a resource without a service name gets `unknown_service`.
/// - Other resource attributes, then the scope's name (`otel.scope.name`), version and attributes, then the
///   record's become the record's attributes. Of equal names the record's own wins.
/// - A body that is no text becomes JSON; `event_name` becomes `event.name`.
pub fn translate_logs(request: ExportLogsServiceRequest, options: &LogOptions) -> Vec<Stream> {
    let mut streams = Vec::new();
    for resource in request.resource_logs {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let labels = labels(&attributes, options);
        let is_label =
            |name: &str| super::is_plain(name) || options.promote.iter().any(|promoted| promoted == name);
        let rest: Vec<_> = attributes.into_iter().filter(|attribute| !is_label(&attribute.key)).collect();
        for scope in resource.scope_logs {
            if scope.log_records.is_empty() {
                continue;
            }
            let shared = shared_attributes(&rest, scope.scope);
            let records = scope.log_records.into_iter().map(|message| record(message, &shared)).collect();
            streams.push(Stream { labels: labels.clone(), records });
        }
    }
    streams
}

fn labels(attributes: &[KeyValue], options: &LogOptions) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = options
        .promote
        .iter()
        .filter_map(|name| {
            let value = environment_or(attributes, name)?;
            Some((super::promoted_name(name).into_owned(), value.into_owned()))
        })
        .collect();
    let plain = attributes.iter().filter(|attribute| super::is_plain(&attribute.key));
    labels.extend(plain.filter_map(|attribute| {
        Some((attribute.key.clone(), attribute.value.as_ref().map(as_text)?.into_owned()))
    }));
    let job = job(attributes).map(|job| ("job".to_owned(), job.into_owned()));
    let instance = find(attributes, "service.instance.id");
    let instance = instance.map(|instance| ("instance".to_owned(), instance.into_owned()));
    labels.extend(job.into_iter().chain(instance));
    // Behind the sender's own, if it has one: of equal names the first stays.
    labels.push(("service_name".to_owned(), "unknown_service".to_owned()));
    sort_labels(&mut labels);
    labels
}

fn shared_attributes(rest: &[KeyValue], scope: Option<InstrumentationScope>) -> Vec<(String, Value)> {
    let mut shared = Vec::new();
    for attribute in rest {
        set(&mut shared, attribute.key.clone(), into_value(attribute.value.clone()));
    }
    if let Some(scope) = scope {
        for (name, text) in [("otel.scope.name", scope.name), ("otel.scope.version", scope.version)] {
            if !text.is_empty() {
                set(&mut shared, name.to_owned(), Value::String(text));
            }
        }
        for attribute in scope.attributes {
            set(&mut shared, attribute.key, into_value(attribute.value));
        }
    }
    shared
}

fn record(message: LogRecord, shared: &[(String, Value)]) -> Record {
    let mut record = Record {
        time_ns: super::nanos(message.time_unix_nano),
        observed_ns: super::nanos(message.observed_time_unix_nano),
        severity_number: u8::try_from(message.severity_number).ok().filter(|n| *n <= 24).unwrap_or(0),
        severity_text: message.severity_text,
        body: body(message.body),
        attributes: Vec::with_capacity(shared.len() + message.attributes.len()),
        trace_id: id(&message.trace_id),
        span_id: id(&message.span_id),
        uid: None,
    };
    record.attributes.extend_from_slice(shared);
    for attribute in message.attributes {
        let value = into_value(attribute.value);
        match value {
            Value::String(uid) if attribute.key == UID => record.uid = Some(uid),
            value => set(&mut record.attributes, attribute.key, value),
        }
    }
    if !message.event_name.is_empty() {
        set(&mut record.attributes, "event.name".to_owned(), Value::String(message.event_name));
    }
    record
}

/// Sets an attribute, replacing one of the same name.
fn set(attributes: &mut Vec<(String, Value)>, name: String, value: Value) {
    match attributes.iter_mut().find(|(other, _)| *other == name) {
        Some((_, old)) => *old = value,
        None => attributes.push((name, value)),
    }
}

fn body(body: Option<AnyValue>) -> String {
    match body {
        Some(AnyValue { value: Some(Any::StringValue(text)) }) => text,
        Some(other) => as_text(&other).into_owned(),
        None => String::new(),
    }
}

/// Reads an id. One of another length, and one of zeros, is none by the specification.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    <[u8; N]>::try_from(bytes).ok().filter(|id| *id != [0; N])
}

/// Records of one resource, for [`encode_logs`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceRecords {
    /// Resource attributes under OpenTelemetry's names; the receiver promotes some of them to labels.
    pub resource: Vec<(String, Value)>,
    /// The records.
    pub records: Vec<Record>,
}

/// Encodes an `ExportLogsServiceRequest` as protobuf, uncompressed. A record's `uid` travels as the
/// attribute `log.record.uid`.
pub fn encode_logs(resources: &[ResourceRecords]) -> Vec<u8> {
    let resource_logs = resources
        .iter()
        .map(|resource| ResourceLogs {
            resource: Some(Resource { attributes: pairs(&resource.resource), ..Default::default() }),
            scope_logs: vec![ScopeLogs {
                log_records: resource.records.iter().map(message).collect(),
                ..Default::default()
            }],
            ..Default::default()
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// Cuts a request in two that together hold its records, each with its resource and scope. `None` when it has
/// one record, or none, and cannot be cut.
pub fn split_logs(request: &ExportLogsServiceRequest) -> Option<[(ExportLogsServiceRequest, usize); 2]> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let n_records: usize = scopes.map(|scope| scope.log_records.len()).sum();
    if n_records < 2 {
        return None;
    }
    let middle = n_records / 2;
    Some([
        (records_of(request, 0..middle), middle),
        (records_of(request, middle..n_records), n_records - middle),
    ])
}

/// Copies the records that stand at these places.
fn records_of(
    request: &ExportLogsServiceRequest,
    wanted: std::ops::Range<usize>,
) -> ExportLogsServiceRequest {
    let mut at = 0;
    let mut resource_logs = Vec::new();
    for resource in &request.resource_logs {
        let mut scope_logs = Vec::new();
        for scope in &resource.scope_logs {
            let n = scope.log_records.len();
            let from = wanted.start.saturating_sub(at).min(n);
            let to = wanted.end.saturating_sub(at).min(n);
            at += n;
            if from < to {
                let log_records = scope.log_records[from..to].to_vec();
                let (scope, schema_url) = (scope.scope.clone(), scope.schema_url.clone());
                scope_logs.push(ScopeLogs { scope, log_records, schema_url });
            }
        }
        if !scope_logs.is_empty() {
            let (shared, schema_url) = (resource.resource.clone(), resource.schema_url.clone());
            resource_logs.push(ResourceLogs { resource: shared, scope_logs, schema_url });
        }
    }
    ExportLogsServiceRequest { resource_logs }
}

fn message(record: &Record) -> LogRecord {
    let time = |ns: Option<i64>| ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
    let mut attributes = pairs(&record.attributes);
    if let Some(uid) = &record.uid {
        attributes.extend(pairs(&[(UID.to_owned(), Value::String(uid.clone()))]));
    }
    LogRecord {
        time_unix_nano: time(record.time_ns),
        observed_time_unix_nano: time(record.observed_ns),
        severity_number: i32::from(record.severity_number),
        severity_text: record.severity_text.clone(),
        body: Some(AnyValue { value: Some(Any::StringValue(record.body.clone())) }),
        attributes,
        trace_id: record.trace_id.map(Vec::from).unwrap_or_default(),
        span_id: record.span_id.map(Vec::from).unwrap_or_default(),
        ..Default::default()
    }
}

fn pairs(attributes: &[(String, Value)]) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(name, value)| KeyValue {
            key: name.clone(),
            value: Some(from_value(value)),
            ..Default::default()
        })
        .collect()
}
