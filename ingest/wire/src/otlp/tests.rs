//! Tests of both signals.

use super::*;
use crate::exposition::MetricType;
use crate::histogram::{NativeBuckets, NativeHistogram};
use crate::logs::{Record, Value};
use crate::number::STALE_NAN_BITS;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;

#[derive(Default, Debug)]
struct Seen {
    samples: Vec<String>,
    metadata: Vec<String>,
    bits: Vec<u64>,
    histograms: Vec<(String, NativeHistogram)>,
    exemplars: Vec<String>,
}

fn text_of(labels: &[(&str, &str)]) -> String {
    assert!(labels.is_sorted_by(|a, b| a.0 < b.0), "{labels:?}");
    assert!(labels.iter().all(|(_, value)| !value.is_empty()), "{labels:?}");
    labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",")
}

impl MetricSink for Seen {
    fn sample(&mut self, labels: &[(&str, &str)], t_ms: i64, value: f64) {
        self.samples.push(format!("{} @{t_ms} {value}", text_of(labels)));
        self.bits.push(value.to_bits());
    }
    fn histogram(&mut self, labels: &[(&str, &str)], histogram: NativeHistogram) {
        self.histograms.push((text_of(labels), histogram));
    }
    fn exemplar(&mut self, labels: &[(&str, &str)], exemplar: &PointExemplar<'_>) {
        let own: Vec<_> = exemplar.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        self.exemplars.push(format!(
            "{} | {} @{} {}",
            text_of(labels),
            own.join(","),
            exemplar.t_ms,
            exemplar.value
        ));
    }
    fn metadata(&mut self, family: &str, metric_type: MetricType, help: &str, unit: &str) {
        self.metadata.push(format!("{family} {} {help:?} {unit}", metric_type.word()));
    }
}

/// Translates one metric, given as JSON, of a resource with these attributes.
fn translate(resource: &str, metric: &str, options: &MetricOptions) -> (Seen, Refused) {
    let json = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},"scopeMetrics":[
            {{"scope":{{"name":"lib","version":"1"}},"metrics":[{metric}]}}]}}]}}"#
    );
    let request: ExportMetricsServiceRequest = decode(Encoding::Json, json.as_bytes()).expect("valid JSON");
    let bytes = prost::Message::encode_to_vec(&request);
    let again: ExportMetricsServiceRequest = decode(Encoding::Protobuf, &bytes).expect("valid protobuf");
    assert_eq!(request, again);
    let mut seen = Seen::default();
    let refused = translate_metrics(&request, options, &mut seen);
    (seen, refused)
}

fn plain() -> MetricOptions {
    MetricOptions { promote: Vec::new(), scope_labels: false }
}

fn attribute(name: &str, value: &str) -> String {
    format!(r#"{{"key":"{name}","value":{{"stringValue":"{value}"}}}}"#)
}

#[test]
fn a_counter_carries_the_labels_that_join() {
    let resource = [
        attribute("service.name", "cart"),
        attribute("service.namespace", "shop"),
        attribute("service.instance.id", "b1"),
        attribute("service.version", "1.5.0"),
        attribute("deployment.environment", "prod"),
        attribute("greylight.track", "canary"),
        attribute("host.arch", "amd64"),
    ]
    .join(",");
    let metric = r#"{"name":"http.requests","unit":"{request}","description":"Seen.","sum":{
        "aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1795255200000999999",
        "asInt":"7","attributes":[{"key":"code","value":{"intValue":"500"}},{"key":"ok","value":{"boolValue":false}}]}]}}"#;
    let (seen, refused) = translate(&resource, metric, &MetricOptions::default());
    let shared = "deployment_environment_name=prod,instance=b1,job=shop/cart,ok=false,otel_scope_name=lib,\
                  otel_scope_version=1,service_name=cart,service_namespace=shop,service_version=1.5.0,track=canary";
    assert_eq!(
        seen.samples,
        [
            format!("__name__=http_requests_total,code=500,{shared} @1795255200000 7"),
            "__name__=target_info,deployment_environment=prod,deployment_environment_name=prod,greylight_track=canary,\
             host_arch=amd64,instance=b1,job=shop/cart,service_name=cart,service_namespace=shop,\
             service_version=1.5.0,track=canary @1795255200000 1"
                .to_owned(),
        ]
    );
    assert_eq!(seen.metadata, ["http_requests_total counter \"Seen.\" "]);
    assert_eq!(refused, Refused::default());
}

#[test]
fn attributes_named_like_labels_become_labels() {
    let resource =
        [attribute("zone", "edge-1"), attribute("instance", "b"), attribute("os.type", "linux")].join(",");
    let metric = r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"5000000","asInt":"1"}]}}"#;
    let (seen, _) = translate(&resource, metric, &plain());
    assert_eq!(
        seen.samples,
        [
            "__name__=g,instance=b,zone=edge-1 @5 1",
            "__name__=target_info,instance=b,os_type=linux,zone=edge-1 @5 1"
        ]
    );
    let json = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{resource}]}},"scopeLogs":[{{"logRecords":[{{}}]}}]}}]}}"#
    );
    let streams =
        translate_logs(decode(Encoding::Json, json.as_bytes()).expect("valid"), &LogOptions::default());
    let labels: Vec<_> = streams[0].labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(labels.join(","), "instance=b,service_name=unknown_service,zone=edge-1");
    assert_eq!(streams[0].records[0].attributes, [("os.type".to_owned(), Value::String("linux".into()))]);
}

#[test]
fn a_histogram_becomes_cumulative_buckets() {
    let metric = r#"{"name":"latency","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{
        "timeUnixNano":"5000000","count":"6","sum":2.5,"bucketCounts":["1","2","3"],"explicitBounds":[0.5,1],
        "exemplars":[{"timeUnixNano":"4000000","asDouble":0.75,"traceId":"5b8efff798038103d269b633813fc60c",
        "spanId":"eee19b7ec3c1b174"},{"asInt":"3","filteredAttributes":[{"key":"user.id","value":{"intValue":"7"}}]},
        {"asDouble":0.5}]}]}}"#;
    let (seen, refused) = translate("", metric, &plain());
    assert_eq!(
        seen.samples,
        [
            "__name__=latency_seconds_bucket,le=0.5 @5 1",
            "__name__=latency_seconds_bucket,le=1 @5 3",
            "__name__=latency_seconds_bucket,le=+Inf @5 6",
            "__name__=latency_seconds_sum @5 2.5",
            "__name__=latency_seconds_count @5 6",
        ]
    );
    assert_eq!(
        seen.exemplars,
        [
            "__name__=latency_seconds_bucket,le=0.5 |  @5 0.5",
            "__name__=latency_seconds_bucket,le=1 | trace_id=5b8efff798038103d269b633813fc60c,span_id=eee19b7ec3c1b174 @4 0.75",
            "__name__=latency_seconds_bucket,le=+Inf | user_id=7 @5 3",
        ]
    );
    assert_eq!(refused, Refused::default());
}

#[test]
fn an_exponential_histogram_becomes_a_native_one() {
    let metric = r#"{"name":"latency","unit":"s","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{
        "timeUnixNano":"5000000","count":"9","sum":2.5,"scale":3,"zeroCount":"2","positive":{"offset":-1,
        "bucketCounts":["1","0","3"]},"negative":{"offset":4,"bucketCounts":["3"]},
        "attributes":[{"key":"code","value":{"intValue":"200"}}],"exemplars":[{"asDouble":1.5}]},
        {"timeUnixNano":"6000000","flags":1}]}}"#;
    let (seen, refused) = translate("", metric, &plain());
    let native = NativeHistogram {
        t_ms: 5,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 9.0,
        sum: 2.5,
        positive: NativeBuckets { spans: vec![(0, 3)], counts: vec![1.0, 0.0, 3.0] },
        negative: NativeBuckets { spans: vec![(5, 1)], counts: vec![3.0] },
        ..NativeHistogram::default()
    };
    let labels = "__name__=latency_seconds,code=200";
    assert_eq!(seen.histograms, [(labels.to_owned(), native)]);
    assert_eq!(seen.exemplars, [format!("{labels} |  @5 1.5")]);
    assert_eq!((seen.samples.len(), seen.bits), (1, vec![STALE_NAN_BITS]));
    assert_eq!(seen.metadata, ["latency_seconds histogram \"\" seconds"]);
    assert_eq!(refused, Refused::default());
}

#[test]
fn what_exemplars_lose_is_told_and_their_points_are_kept() {
    let long = "x".repeat(120);
    let metric = format!(
        r#"{{"name":"g","gauge":{{"dataPoints":[{{"timeUnixNano":"5000000","asInt":"1","exemplars":[
        {{"asInt":"2","spanId":"eee19b7ec3c1b174","filteredAttributes":[{{"key":"a","value":{{"stringValue":"{long}"}}}}]}},
        {{"timeUnixNano":"5"}}]}}]}}}}"#
    );
    let (seen, refused) = translate("", &metric, &plain());
    assert_eq!(seen.exemplars, ["__name__=g | span_id=eee19b7ec3c1b174 @5 2"]);
    assert_eq!((seen.samples.len(), refused.n_points, refused.n_exemplars), (1, 0, 2));
    assert!(refused.reasons[0].contains("without a value"), "{refused:?}");
    assert!(refused.reasons[1].contains("128 characters"), "{refused:?}");
}

#[test]
fn a_summary_becomes_quantiles() {
    let metric = r#"{"name":"rpc","summary":{"dataPoints":[{"timeUnixNano":"5000000","count":"2","sum":3.0,
        "quantileValues":[{"quantile":0.99,"value":1.5}]}]}}"#;
    let (seen, _) = translate("", metric, &plain());
    assert_eq!(
        seen.samples,
        ["__name__=rpc,quantile=0.99 @5 1.5", "__name__=rpc_sum @5 3", "__name__=rpc_count @5 2"]
    );
}

#[test]
fn what_is_not_kept_is_refused_with_its_reason() {
    #[track_caller]
    fn check(metric: &str, reason: &str) {
        let (seen, refused) = translate("", metric, &plain());
        assert!(seen.samples.is_empty(), "{seen:?}");
        assert_eq!(refused.n_points, 1, "{refused:?}");
        assert!(refused.reasons[0].contains(reason), "{refused:?}");
    }
    let point = r#""dataPoints":[{"timeUnixNano":"5000000","asInt":"1"}]"#;
    check(
        &format!(r#"{{"name":"d","sum":{{"aggregationTemporality":1,"isMonotonic":true,{point}}}}}"#),
        "\"d\"",
    );
    check(&format!(r#"{{"name":"d","sum":{{"aggregationTemporality":1,{point}}}}}"#), "delta");
    check(&format!(r#"{{"name":"...","gauge":{{{point}}}}}"#), "no name");
    let exponential = |temporality: u8, scale: i32, offset: i32| {
        format!(
            r#"{{"name":"e","exponentialHistogram":{{"aggregationTemporality":{temporality},"dataPoints":[{{"timeUnixNano":"5",
            "count":"1","scale":{scale},"positive":{{"offset":{offset},"bucketCounts":["1"]}}}}]}}}}"#
        )
    };
    check(&exponential(1, 0, 0), "delta");
    check(&exponential(2, -5, 0), "scale below -4");
    check(&exponential(2, 0, i32::MAX), "outside of what its scale can hold");
    check(r#"{"name":"g","gauge":{"dataPoints":[{"asInt":"1"}]}}"#, "no time");
    check(r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"5"}]}}"#, "no value");
    check(
        r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"5","bucketCounts":["1"],"explicitBounds":[1.0]}]}}"#,
        "bucket",
    );
}

#[test]
fn no_recorded_value_is_the_stale_marker() {
    let metric = r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"5000000","flags":1}]}}"#;
    let (seen, refused) = translate("", metric, &plain());
    assert_eq!((seen.bits, refused), (vec![STALE_NAN_BITS], Refused::default()));
}

#[test]
fn attributes_that_end_under_one_name_are_joined() {
    let metric = r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"5000000","asDouble":0.5,"attributes":[
        {"key":"a_b","value":{"stringValue":"2"}},{"key":"a.b","value":{"stringValue":"1"}},
        {"key":"job","value":{"stringValue":"mine"}},{"key":"__name__","value":{"stringValue":"x"}}]}]}}"#;
    let (seen, _) = translate(&attribute("service.name", "cart"), metric, &plain());
    assert_eq!(seen.samples, ["__name__=g,a_b=1;2,job=cart @5 0.5"]);
}

fn log_request() -> ExportLogsServiceRequest {
    let json = br#"{"resourceLogs":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"cart"}},{"key":"service.instance.id","value":{"stringValue":"b1"}},
        {"key":"greylight.track","value":{"stringValue":"canary"}},{"key":"host.arch","value":{"stringValue":"amd64"}}]},
        "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
        {"timeUnixNano":"7","severityNumber":17,"severityText":"ERROR","body":{"stringValue":"it failed"},
         "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","eventName":"ev","attributes":[
         {"key":"log.record.uid","value":{"stringValue":"u1"}},{"key":"host.arch","value":{"stringValue":"arm"}},
         {"key":"n","value":{"intValue":"5"}}]},
        {"observedTimeUnixNano":"18446744073709551615","severityNumber":99,"traceId":"00000000000000000000000000000000",
         "body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"doubleValue":1.5},{"boolValue":true}]}}}]}}}
        ]}]}]}"#;
    decode(Encoding::Json, json).expect("valid JSON")
}

#[test]
fn log_records_are_translated() {
    let streams = translate_logs(log_request(), &LogOptions::default());
    let labels: Vec<_> = streams[0].labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(
        labels.join(","),
        "instance=b1,job=cart,service_instance_id=b1,service_name=cart,track=canary"
    );
    let [one, two] = &streams[0].records[..] else { panic!("{streams:?}") };
    assert_eq!((one.time_ns, one.observed_ns, one.severity_number), (Some(7), None, 17));
    assert_eq!(
        (one.body.as_str(), one.severity_text.as_str(), one.uid.as_deref()),
        ("it failed", "ERROR", Some("u1"))
    );
    assert_eq!(one.trace_id.map(|id| id[0]), Some(0x5b));
    assert_eq!(one.span_id.map(|id| id[7]), Some(0x74));
    let text = |text: &str| Value::String(text.to_owned());
    let attributes: Vec<_> = one.attributes.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
    assert_eq!(
        attributes,
        [
            ("host.arch", text("arm")),
            ("otel.scope.name", text("lib")),
            ("n", Value::Int(5)),
            ("event.name", text("ev"))
        ]
    );
    assert_eq!((two.time_ns, two.observed_ns, two.severity_number), (None, Some(i64::MAX), 0));
    assert_eq!(two.body, r#"{"a":[1.5,true]}"#);
    assert_eq!((two.trace_id, two.uid.as_deref()), (None, None));
}

#[test]
fn a_resource_without_a_service_is_unknown() {
    let request = decode(Encoding::Json, br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#);
    let streams = translate_logs(request.expect("valid JSON"), &LogOptions::default());
    assert_eq!(streams[0].labels, [("service_name".to_owned(), "unknown_service".to_owned())]);
    assert_eq!(streams[0].records, [Record::default()]);
}

#[test]
fn an_encoded_export_reads_back() {
    let record = Record {
        time_ns: Some(9),
        observed_ns: Some(10),
        severity_number: 13,
        severity_text: "WARN".into(),
        body: "一行".into(),
        attributes: vec![("n".into(), Value::Double(0.5)), ("b".into(), Value::Bytes(vec![1, 255]))],
        trace_id: Some([1; 16]),
        span_id: Some([2; 8]),
        uid: Some("u".into()),
    };
    let resource = vec![("instance".to_owned(), Value::String("b".into()))];
    let body = encode_logs(&[ResourceRecords { resource, records: vec![record.clone()] }]);
    let request = decode(Encoding::Protobuf, &body).expect("own output");
    let streams = translate_logs(request, &LogOptions::default());
    assert_eq!(streams[0].records, [record]);
    assert_eq!(streams[0].labels[0], ("instance".to_owned(), "b".to_owned()));
}

#[test]
fn broken_bodies_are_refused_by_name() {
    let of = |encoding, body: &[u8]| {
        decode::<ExportLogsServiceRequest>(encoding, body).expect_err("a broken body").to_string()
    };
    assert!(of(Encoding::Protobuf, &[0x0a, 0x05]).starts_with("malformed protobuf"));
    assert!(of(Encoding::Json, b"{").starts_with("malformed JSON"));
    let words = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"soon"}]}]}]}"#;
    assert!(of(Encoding::Json, words).contains("timeUnixNano: \"soon\" is not an unsigned integer"));
    let empty: ExportLogsServiceRequest = decode(Encoding::Protobuf, b"").expect("an empty message");
    assert!(translate_logs(empty, &LogOptions::default()).is_empty());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            if let Ok(request) = decode(encoding, &body) {
                translate_metrics(&request, &MetricOptions::default(), &mut Seen::default());
            }
            if let Ok(request) = decode(encoding, &body) {
                translate_logs(request, &LogOptions::default());
            }
        }
    }

    #[test]
    fn any_attributes_give_a_label_set(
        resource in proptest::collection::vec(("(service\\.name|job|le|a|[a-z._]{0,6})", "[a-z]{0,3}"), 0..5),
        point in proptest::collection::vec(("(job|le|instance|__name__|[a-z._]{0,6})", "[a-z]{0,3}"), 0..5),
    ) {
        let list = |pairs: &[(String, String)]| pairs.iter().map(|(n, v)| attribute(n, v)).collect::<Vec<_>>().join(",");
        let metric = format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"5","count":"1",
                "bucketCounts":["1"],"attributes":[{}]}}]}}}}"#, list(&point));
        // The sink asserts what always holds.
        let (seen, _) = translate(&list(&resource), &metric, &MetricOptions::default());
        prop_assert!(seen.samples[0].contains("le=+Inf"));
    }

    #[test]
    fn halves_of_logs_hold_what_the_whole_held(
        sizes in proptest::collection::vec(proptest::collection::vec(0_usize..5, 0..3), 0..4),
    ) {
        let mut n = 0;
        let resource_logs = sizes.iter().enumerate().map(|(i, scopes)| {
            let scope_logs = scopes.iter().enumerate().map(|(j, n_records)| {
                let log_records = (0..*n_records).map(|_| {
                    n += 1;
                    LogRecord { time_unix_nano: n, ..LogRecord::default() }
                });
                ScopeLogs { log_records: log_records.collect(), schema_url: format!("{i}/{j}"), scope: None }
            });
            ResourceLogs { scope_logs: scope_logs.collect(), schema_url: i.to_string(), resource: None }
        });
        let whole = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
        let flat = |request: &ExportLogsServiceRequest| -> Vec<(String, String, u64)> {
            let scopes = request.resource_logs.iter().flat_map(|r| r.scope_logs.iter().map(move |s| (r, s)));
            scopes.flat_map(|(r, s)| s.log_records.iter().map(move |l| {
                (r.schema_url.clone(), s.schema_url.clone(), l.time_unix_nano)
            })).collect()
        };
        let all = flat(&whole);
        match split_logs(&whole) {
            None => prop_assert!(all.len() < 2),
            Some([(a, n_a), (b, n_b)]) => {
                prop_assert_eq!((flat(&a).len(), flat(&b).len()), (n_a, n_b));
                prop_assert!(n_a > 0 && n_a.abs_diff(n_b) <= 1);
                prop_assert_eq!([flat(&a), flat(&b)].concat(), all);
            }
        }
    }

    #[test]
    fn damaged_exports_never_panic(at in 0_usize..1000, byte in any::<u8>()) {
        let mut body = prost::Message::encode_to_vec(&log_request());
        let length = body.len();
        body[at % length] = byte;
        if let Ok(request) = decode(Encoding::Protobuf, &body) {
            translate_logs(request, &LogOptions::default());
        }
    }
}
