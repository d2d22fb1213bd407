//! Tests of the JSON mapping.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use crate::otlp::{Encoding, ExportLogsServiceRequest, ExportMetricsServiceRequest, OtlpError, decode};

fn point(fields: &str) -> Result<NumberDataPoint, OtlpError> {
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{{"dataPoints":[{{{fields}}}]}}}}]}}]}}]}}"#
    );
    let mut request: ExportMetricsServiceRequest = decode(Encoding::Json, json.as_bytes())?;
    let metric = request.resource_metrics.remove(0).scope_metrics.remove(0).metrics.remove(0);
    let Some(Data::Gauge(mut gauge)) = metric.data else { panic!("{metric:?}") };
    Ok(gauge.data_points.remove(0))
}

fn record(fields: &str) -> Result<LogRecord, OtlpError> {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#);
    let mut request: ExportLogsServiceRequest = decode(Encoding::Json, json.as_bytes())?;
    Ok(request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0))
}

#[test]
fn numbers_come_as_numbers_and_as_text() {
    #[track_caller]
    fn check(json: &str, want: f64) {
        let Some(number_data_point::Value::AsDouble(value)) =
            point(&format!("\"asDouble\":{json}")).unwrap().value
        else {
            panic!("{json} is no double")
        };
        assert_eq!(value.to_bits(), want.to_bits(), "{json} gave {value}");
    }
    check("1.5", 1.5);
    check("\"1.5\"", 1.5);
    check("7", 7.0);
    check("\"-7\"", -7.0);
    check("-0.0", -0.0);
    check("\"-0\"", -0.0);
    check("1e300", 1e300);
    check("\"1E-3\"", 1e-3);
    check("\"NaN\"", f64::NAN);
    check("\"Infinity\"", f64::INFINITY);
    check("\"-Infinity\"", f64::NEG_INFINITY);
    // Read in haste it ends in another bit.
    check("31.245270191439438", 31.245_270_191_439_438);
    check("123456789012345678901234567890123456789012", 1.234_567_890_123_456_8e41);

    #[track_caller]
    fn int(json: &str, want: i64) {
        let point = point(&format!("\"asInt\":{json}")).unwrap();
        assert_eq!(point.value, Some(number_data_point::Value::AsInt(want)), "{json}");
    }
    int("7", 7);
    int("\"7\"", 7);
    int("7.0", 7);
    int("\"1e3\"", 1000);
    int("-9223372036854775808", i64::MIN);
    int("\"9223372036854775807\"", i64::MAX);
    assert_eq!(point("\"timeUnixNano\":18446744073709551615").unwrap().time_unix_nano, u64::MAX);
    assert_eq!(point("\"timeUnixNano\":null,\"asInt\":null").unwrap(), NumberDataPoint::default());
}

#[test]
fn numbers_that_are_none_are_refused_by_name() {
    #[track_caller]
    fn check(fields: &str, want: &str) {
        let error = point(fields).expect_err(fields).to_string();
        assert!(error.starts_with("malformed JSON") && error.contains(want), "{fields} gave {error}");
        assert!(error.contains("at line 1 column"), "{error}");
    }
    check("\"timeUnixNano\":\"soon\"", "timeUnixNano: \"soon\" is not an unsigned integer in range");
    check("\"timeUnixNano\":-1", "timeUnixNano: -1 is not an unsigned integer in range");
    check("\"timeUnixNano\":\"18446744073709551616\"", "timeUnixNano: 18446744073709551616 is not");
    check("\"timeUnixNano\":1.5", "timeUnixNano: 1.5 is not");
    check(
        "\"timeUnixNano\":true",
        "invalid type: boolean `true`, expected an unsigned integer in range for timeUnixNano",
    );
    check("\"timeUnixNano\":\"\"", "timeUnixNano: \"\" is not");
    check("\"timeUnixNano\":\" 5\"", "timeUnixNano: \" 5\" is not");
    check("\"asInt\":\"9223372036854775808\"", "asInt: 9223372036854775808 is not");
    check("\"asInt\":\"NaN\"", "asInt: NaN is not");
    for word in ["\"nan\"", "\"inf\"", "\"+1\"", "\".5\"", "\"1.\"", "\"0x10\"", "\"1e999\""] {
        check(&format!("\"asDouble\":{word}"), &format!("asDouble: {word} is not a number"));
    }
    check("\"asDouble\":1e999", "asDouble: 1e999 is out of range");
    check("\"asDouble\":[]", "asDouble: [] is not a number");
    check("\"flags\":4294967296", "flags: 4294967296 is not");
    check("\"attributes\":{}", "invalid type: map, expected a list for attributes");
    check("\"attributes\":[5]", "invalid type: integer `5`, expected an object for attributes");
    check("\"attributes\":[{\"key\":5}]", "expected a string for key");
    check("\"attributes\":[{\"key\":[\"a\"]}]", "invalid type: sequence, expected a string for key");
}

#[test]
fn enumerations_come_as_numbers_and_by_name() {
    for (json, want) in
        [("17", 17), ("\"17\"", 17), ("\"SEVERITY_NUMBER_ERROR\"", 17), ("99", 99), ("null", 0)]
    {
        assert_eq!(record(&format!("\"severityNumber\":{json}")).unwrap().severity_number, want, "{json}");
    }
    let error = record("\"severityNumber\":\"ERROR\"").unwrap_err().to_string();
    assert!(
        error.contains("severityNumber: \"ERROR\" is not a number or name of the enumeration"),
        "{error}"
    );
}

#[test]
fn ids_are_hex_and_bytes_are_base64() {
    let id = [0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];
    for text in ["5b8efff798038103d269b633813fc60c", "5B8EFFF798038103D269B633813FC60C"] {
        assert_eq!(record(&format!("\"traceId\":\"{text}\"")).unwrap().trace_id, id);
    }
    assert!(record("\"traceId\":\"\"").unwrap().trace_id.is_empty());
    for text in ["5b8", "W47/95gDgQPSabYzgT/GDA==", "zz"] {
        let error = record(&format!("\"spanId\":\"{text}\"")).unwrap_err().to_string();
        assert!(error.contains(&format!("spanId: {text:?} is not hex")), "{error}");
    }
    for text in ["+/+/AA==", "+/+/AA", "-_-_AA", "-_-_AA=="] {
        let record = record(&format!(r#""body":{{"bytesValue":"{text}"}}"#)).unwrap();
        let bytes = Any::BytesValue(vec![0xfb, 0xff, 0xbf, 0]);
        assert_eq!(record.body, Some(AnyValue { value: Some(bytes) }), "{text}");
    }
    assert!(record(r#""body":{"bytesValue":"***"}"#).unwrap_err().to_string().contains("is not base64"));
}

#[test]
fn unknown_fields_and_nulls_are_ignored() {
    let plain = record(r#""body":{"stringValue":"a"}"#).unwrap();
    for more in [
        r#""future":{"deep":[1,{"x":null}]},"body":{"stringValue":"a","other":[{}]}"#,
        r#""body":{"stringValue":"a","intValue":null},"traceId":null,"attributes":null,"eventName":null"#,
    ] {
        assert_eq!(record(more).unwrap(), plain, "{more}");
    }
    // Nothing is a value as well, in lists too.
    let empty = AnyValue { value: None };
    let values = vec![empty.clone(), empty.clone()];
    let list = record(r#""body":{"arrayValue":{"values":[null,{}]}}"#).unwrap();
    assert_eq!(list.body, Some(AnyValue { value: Some(Any::ArrayValue(ArrayValue { values })) }));
}

#[test]
fn deep_values_are_refused_and_never_overflow() {
    let deep = |n: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(n), "]}}".repeat(n));
        record(&format!(r#""body":{open}{{"boolValue":true}}{close}"#))
    };
    deep(30).expect("thirty levels are fine");
    assert!(deep(5000).unwrap_err().to_string().contains("recursion limit"));
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        "\\PC{0,6}".prop_map(Any::StringValue),
        any::<bool>().prop_map(Any::BoolValue),
        any::<i64>().prop_map(Any::IntValue),
        double().prop_map(Any::DoubleValue),
        proptest::collection::vec(any::<u8>(), 0..6).prop_map(Any::BytesValue),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value: Some(value) });
    leaf.prop_recursive(3, 8, 3, |inner| {
        let pair = ("[a-z._]{0,4}", inner.clone());
        let pair = pair.prop_map(|(key, value)| KeyValue { key, value: Some(value), ..Default::default() });
        let list = proptest::collection::vec(inner, 0..3);
        prop_oneof![
            list.prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            proptest::collection::vec(pair, 0..3)
                .prop_map(|values| Any::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn double() -> impl Strategy<Value = f64> {
    // Infinities and NaN have no JSON in the types' own serialisation.
    any::<f64>().prop_filter("finite", |x| x.is_finite())
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let pair = ("[a-z._]{0,8}", any_value());
    let pair = pair.prop_map(|(key, value)| KeyValue { key, value: Some(value), ..Default::default() });
    proptest::collection::vec(pair, 0..3)
}

fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let ids = (proptest::collection::vec(any::<u8>(), 0..17), proptest::collection::vec(any::<u8>(), 0..9));
    let record =
        (any::<u64>(), any::<u64>(), 0..=24_i32, "\\PC{0,8}", any_value(), attributes(), any::<u32>(), ids);
    let record =
        record.prop_map(|(time, observed, severity, text, body, attributes, flags, (trace_id, span_id))| {
            LogRecord {
                time_unix_nano: time,
                observed_time_unix_nano: observed,
                severity_number: severity,
                severity_text: text.clone(),
                body: Some(body),
                attributes,
                flags,
                trace_id,
                span_id,
                event_name: text,
                ..Default::default()
            }
        });
    let scope = (attributes(), proptest::collection::vec(record, 0..3), "[a-z]{0,3}");
    let scope = scope.prop_map(|(attributes, log_records, name)| {
        let scope =
            InstrumentationScope { name, attributes, dropped_attributes_count: 3, ..Default::default() };
        ScopeLogs { scope: Some(scope), log_records, schema_url: "u".into() }
    });
    (attributes(), proptest::collection::vec(scope, 0..2)).prop_map(|(attributes, scope_logs)| {
        let resource = Some(Resource { attributes, ..Default::default() });
        let resource = ResourceLogs { resource, scope_logs, ..Default::default() };
        ExportLogsServiceRequest { resource_logs: vec![resource] }
    })
}

fn data() -> impl Strategy<Value = Data> {
    let number = prop_oneof![
        any::<i64>().prop_map(number_data_point::Value::AsInt),
        double().prop_map(number_data_point::Value::AsDouble),
    ];
    let number = (any::<u64>(), number, attributes(), double());
    let number = number.prop_map(|(time, value, attributes, exemplar)| NumberDataPoint {
        time_unix_nano: time,
        start_time_unix_nano: time / 2,
        value: Some(value),
        attributes: attributes.clone(),
        exemplars: vec![Exemplar {
            filtered_attributes: attributes,
            value: Some(exemplar::Value::AsDouble(exemplar)),
            trace_id: vec![1; 16],
            ..Default::default()
        }],
        flags: 1,
    });
    let numbers = proptest::collection::vec(number, 0..3).boxed();
    let buckets =
        (any::<u64>(), double(), proptest::collection::vec(any::<u64>(), 0..4), any::<i32>(), 0..3_i32);
    prop_oneof![
        numbers.clone().prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (numbers, 0..3_i32, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        buckets.prop_map(|(count, sum, bucket_counts, scale, choice)| {
            let temporality = AggregationTemporality::Cumulative as i32;
            match choice {
                0 => Data::Histogram(Histogram {
                    data_points: vec![HistogramDataPoint {
                        count,
                        sum: Some(sum),
                        explicit_bounds: vec![sum, 0.5],
                        bucket_counts,
                        max: Some(0.0),
                        ..Default::default()
                    }],
                    aggregation_temporality: temporality,
                }),
                1 => Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![ExponentialHistogramDataPoint {
                        count,
                        scale,
                        zero_count: count,
                        zero_threshold: sum,
                        positive: Some(Buckets { offset: scale, bucket_counts }),
                        ..Default::default()
                    }],
                    aggregation_temporality: temporality,
                }),
                _ => Data::Summary(Summary {
                    data_points: vec![SummaryDataPoint {
                        count,
                        sum,
                        quantile_values: vec![ValueAtQuantile { quantile: 0.99, value: sum }],
                        ..Default::default()
                    }],
                }),
            }
        }),
    ]
}

fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = ("[a-z.]{0,8}", data(), attributes());
    let metric = metric.prop_map(|(name, data, metadata)| Metric {
        description: format!("{name} in full"),
        unit: "s".into(),
        name,
        data: Some(data),
        metadata,
    });
    proptest::collection::vec(metric, 0..4).prop_map(|metrics| {
        let scope = ScopeMetrics { metrics, ..Default::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..Default::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource] }
    })
}

/// Writes the same message in another of the ways that the mapping allows.
struct Restyle<'c> {
    choices: std::iter::Cycle<std::slice::Iter<'c, u8>>,
}

impl Restyle<'_> {
    fn choose(&mut self, n: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % n)
    }

    fn value(&mut self, name: &str, json: Json) -> Json {
        match json {
            Json::Object(fields) => self.object(fields),
            Json::Array(list) => Json::Array(list.into_iter().map(|json| self.value(name, json)).collect()),
            json => self.scalar(name, json),
        }
    }

    fn object(&mut self, fields: Map<String, Json>) -> Json {
        let mut out = Map::new();
        for (name, json) in fields {
            let json = self.value(&name, json);
            let name = if self.choose(3) == 0 { snake(&name) } else { name };
            if self.choose(4) == 0 {
                out.insert(format!("not_{name}"), serde_json::json!({ "x": [1, null, "y"] }));
            }
            out.insert(name, json);
        }
        Json::Object(out)
    }

    fn scalar(&mut self, name: &str, json: Json) -> Json {
        let is_integer =
            ["Nano", "count", "Count", "bucketCounts", "asInt", "intValue", "flags", "scale", "offset"]
                .iter()
                .any(|end| name.ends_with(end));
        match (name, json) {
            ("severityNumber", Json::Number(n)) if self.choose(2) == 0 => {
                let value = SeverityNumber::try_from(n.as_i64().unwrap() as i32).unwrap();
                value.as_str_name().into()
            }
            ("aggregationTemporality", Json::Number(n)) if self.choose(2) == 0 => {
                let value = AggregationTemporality::try_from(n.as_i64().unwrap() as i32).unwrap();
                value.as_str_name().into()
            }
            ("traceId" | "spanId", Json::String(text)) if self.choose(2) == 0 => {
                text.to_ascii_uppercase().into()
            }
            ("bytesValue", Json::String(text)) if self.choose(2) == 0 => {
                text.trim_end_matches('=').replace('+', "-").replace('/', "_").into()
            }
            (_, Json::Number(n)) if self.choose(2) == 0 => n.to_string().into(),
            (_, Json::String(text)) if is_integer && self.choose(2) == 0 => {
                serde_json::from_str(&text).unwrap()
            }
            (_, json) => json,
        }
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[track_caller]
fn reads_back<M>(request: &M, choices: &[u8])
where
    M: crate::otlp::Export + std::fmt::Debug + PartialEq + serde::Serialize,
{
    let json = serde_json::to_value(request).unwrap();
    let restyled = Restyle { choices: choices.iter().cycle() }.value("", json.clone());
    for json in [json, restyled] {
        let again: M =
            decode(Encoding::Json, json.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}: {json}"));
        assert_eq!(&again, request, "{json}");
    }
}

proptest! {
    #[test]
    fn logs_read_back_however_they_are_written(request in logs(), choices in proptest::collection::vec(any::<u8>(), 1..40)) {
        reads_back(&request, &choices);
    }

    #[test]
    fn metrics_read_back_however_they_are_written(
        request in metrics(), choices in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        reads_back(&request, &choices);
    }

    #[test]
    fn doubles_keep_every_bit(value in any::<f64>()) {
        let text = if value.is_nan() { "\"NaN\"".into() } else if value.is_infinite() {
            format!("\"{}Infinity\"", if value < 0.0 { "-" } else { "" })
        } else {
            format!("{value:?}")
        };
        let Some(number_data_point::Value::AsDouble(again)) = point(&format!("\"asDouble\":{text}")).unwrap().value else {
            panic!("{text} is no double")
        };
        prop_assert!(again.to_bits() == value.to_bits() || (again.is_nan() && value.is_nan()), "{} {}", text, again);
    }

    #[test]
    fn random_text_never_panics(text in "[\\[\\]{}\",:0-9a-zA-Z ]{0,60}") {
        let _ = decode::<ExportLogsServiceRequest>(Encoding::Json, text.as_bytes());
        let _ = record(&text);
        let _ = point(&text);
    }
}
