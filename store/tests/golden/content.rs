//! What the golden folders hold: of format 1 floats and records, of format 2 histograms and exemplars too. Never
//! changed: each folder was written from this once.

use greylight_store::append::{MetricKind, MetricMetadata};
use greylight_store::model::{
    AttributeValue, Buckets, CUSTOM_BOUNDS, CounterReset, Exemplar, Histogram, Labels, LogRecord, Span,
    TenantId, Timestamp,
};

/// 2026-11-21T10:00:00Z.
pub(crate) const BASE_MS: i64 = 1_795_255_200_000;

/// A series: its labels, sorted, and its samples.
pub(crate) type Series = (Vec<(&'static str, &'static str)>, Vec<(i64, f64)>);

/// Returns the part that is in segments, or the part that is in the log.
pub(crate) fn series(sealed: bool) -> Vec<Series> {
    let begin = if sealed { BASE_MS } else { BASE_MS + 600_000 };
    let at = |i: i64| begin + i * 15_000;
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let payload = f64::from_bits(0x7ff8_dead_beef_0001);
    let odd = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, stale, payload, f64::MIN_POSITIVE, f64::MAX, 0.1];
    vec![
        (
            vec![("__name__", "http_requests_total"), ("code", "200"), ("service_name", "cart")],
            (0..20).map(|i| (at(i), (i * i) as f64)).collect(),
        ),
        (
            vec![("__name__", "latency_seconds"), ("service_name", "cart"), ("zone", "köln-中")],
            (0..20).map(|i| (at(i) + i % 3, 0.125 + i as f64 / 1000.0)).collect(),
        ),
        (vec![("__name__", "odd")], (0..).zip(odd).map(|(i, v)| (at(i), v)).collect()),
        (vec![("__name__", "yesterday")], vec![(at(0) - 86_400_000, 1.5), (at(1) - 86_400_000, 2.5)]),
    ]
}

/// Returns the native histograms of one part, by series and time; some lie between floats of the same series.
pub(crate) fn histograms(sealed: bool) -> Vec<(&'static str, i64, Histogram)> {
    let begin = if sealed { BASE_MS } else { BASE_MS + 600_000 };
    let spans =
        |spans: &[(i32, u32)]| spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
    let mut all = Vec::new();
    for i in 0..12 {
        let n = i as f64;
        let growing = Histogram {
            schema: 3,
            zero_threshold: 1e-128,
            zero_count: 2.0,
            count: 13.0 + 3.0 * n,
            sum: if i == 5 { f64::NAN } else { 0.1 * n },
            positive: Buckets { spans: spans(&[(-4, 3), (7, 2)]), counts: vec![n, 1.0, 2.0 * n, 0.0, 5.0] },
            negative: Buckets { spans: spans(&[(0, 2)]), counts: vec![4.0, 1.0] },
            ..Histogram::default()
        };
        all.push(("latency_native", begin + i * 15_000, growing));
        let bounds = Histogram {
            reset: [CounterReset::Unknown, CounterReset::Yes, CounterReset::No, CounterReset::Gauge]
                [i as usize % 4],
            schema: CUSTOM_BOUNDS,
            count: 3.5 + n,
            sum: -0.0,
            positive: Buckets { spans: spans(&[(1, 2)]), counts: vec![1.0 / 3.0, n] },
            custom_bounds: vec![0.1, 0.25, 1.0 + n],
            ..Histogram::default()
        };
        all.push(("odd", begin + 1_000_000 + i, bounds));
    }
    all
}

/// Returns the exemplars of one part, each with the name of its series, of which one has no samples.
pub(crate) fn exemplars(sealed: bool) -> Vec<(&'static str, Exemplar)> {
    let begin = if sealed { BASE_MS } else { BASE_MS + 600_000 };
    let of = |i: i64, labels: &[(&str, &str)], value: f64| Exemplar {
        labels: Labels::from_pairs(labels.iter().copied()).expect("names are distinct"),
        t_ms: begin + i * 1000,
        value,
    };
    vec![
        (
            "latency_native",
            of(1, &[("trace_id", "5b8efff798038103d269b633813fc60c"), ("span_id", "eee19b7ec3c1b174")], 0.25),
        ),
        ("latency_native", of(1, &[("trace_id", "6b8efff798038103d269b633813fc60c")], f64::NAN)),
        ("latency_native", of(9, &[], -3.0)),
        ("only_exemplars", of(-86_400, &[("用户", "七")], 7.0)),
    ]
}

/// Returns the part of the records that is in segments, or the part that is in the log.
pub(crate) fn records(sealed: bool) -> Vec<LogRecord> {
    let begin = if sealed { BASE_MS } else { BASE_MS + 600_000 };
    let record = |i: i64, body: String| LogRecord {
        time: Timestamp::from_nanos((begin + i * 1000) * 1_000_000 + i),
        observed_time: Timestamp::from_nanos((begin + i * 1000 + 7) * 1_000_000),
        severity_number: 9,
        severity_text: "INFO".into(),
        body,
        labels: Labels::from_pairs([("service_name", if i % 2 == 0 { "cart" } else { "checkout" })])
            .expect("one name"),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    };
    let mut all: Vec<LogRecord> = (0..12)
        .map(|i| record(i, format!("GET /cart/{i} took {}.{}ms from 10.0.0.{i}:8080", i * 3, i % 10)))
        .collect();
    all.extend((12..18).map(|i| {
        record(i, format!("{{\"ts\":{},\"level\":\"warn\",\"msg\":\"登录失败 {i}\"}}", begin + i * 1000))
    }));
    all.extend(
        (18..22).map(|i| record(i, format!("job=sync id=3f2504e0-4f89-11d3-9a0c-0305e82c33{i} done"))),
    );
    let mut rich = record(30, String::from("tab\there, nul\0there, \u{e000} mark"));
    rich.severity_number = 17;
    rich.severity_text = "error".into();
    rich.trace_id = Some([7; 16]);
    rich.span_id = Some([9; 8]);
    rich.uid = Some(if sealed { "uid-1".into() } else { "uid-2".into() });
    rich.attributes = vec![
        ("text".into(), AttributeValue::String("naïve".into())),
        ("int".into(), AttributeValue::Int(-42)),
        ("double".into(), AttributeValue::Double(0.1)),
        ("bool".into(), AttributeValue::Bool(true)),
        ("bytes".into(), AttributeValue::Bytes(vec![0, 255, 16])),
        ("json".into(), AttributeValue::Json("[1,{\"a\":null}]".into())),
        ("null".into(), AttributeValue::Null),
    ];
    all.push(rich);
    all.push(record(31, String::new()));
    all
}

/// Returns records of version 5: words that turn out to be values, and attributes of more names than there are slots.
pub(crate) fn later_records(sealed: bool) -> Vec<LogRecord> {
    let base = records(sealed).remove(0);
    let record = |i: i64, body: String| LogRecord {
        time: Timestamp::from_nanos(base.time.as_nanos() + 60_000_000_000 + i),
        body,
        ..base.clone()
    };
    let users = ["ann", "bob", "eve", "joe", "sam", "tim", "zoë"];
    let mut all: Vec<LogRecord> =
        users.iter().zip(0..).map(|(user, i)| record(i, format!("login by user {user}"))).collect();
    let mut wide = record(100, "many attributes".to_owned());
    wide.attributes = (0..90).map(|n| (format!("name {n}"), AttributeValue::Int(n))).collect();
    wide.attributes.push(("text".into(), AttributeValue::String("a \"b\"\n".into())));
    wide.attributes.push(("double".into(), AttributeValue::Double(0.5)));
    all.push(wide);
    all
}

/// Returns records of version 7: of a service whose lines have a header, which is learned before the last of them.
pub(crate) fn headed_records(sealed: bool) -> Vec<LogRecord> {
    let base = records(sealed).remove(0);
    let record = |i: i64| LogRecord {
        time: Timestamp::from_nanos(base.time.as_nanos() + 120_000_000_000 + i),
        body: format!("2026-11-21 10:{:02}:{:02},5 INFO core.Main: job {i} done", i / 60, i % 60),
        labels: Labels::from_pairs([("service_name", "headed")]).expect("one name"),
        ..base.clone()
    };
    (0..300).map(record).collect()
}

/// Returns samples of version 6, all in segments: of a day that has a rollup by hours, and of minutes that have one each.
pub(crate) fn whole_day() -> Vec<Series> {
    let midnight = BASE_MS - 10 * 3_600_000 - 3 * 86_400_000;
    let minute = |i: i64| midnight + i * 60_000;
    let day_total = (0..1440).map(|i| (minute(i), (i % 1000) as f64)).collect();
    let day_gauge = (0..1440).map(|i| (minute(i) + 7, ((i * 7919) % 1009) as f64 / 8.0)).collect();
    let fast = (0..1200).map(|i| (midnight + i * 1000, 1.0 / (i % 7) as f64)).collect();
    vec![
        (vec![("__name__", "day_gauge")], day_gauge),
        (vec![("__name__", "day_total")], day_total),
        (vec![("__name__", "fast")], fast),
    ]
}

/// What is known of one family of metrics.
pub(crate) fn metadata() -> MetricMetadata {
    MetricMetadata {
        name: "http_requests_total".into(),
        kind: MetricKind::Counter,
        help: "Requests.".into(),
        unit: "requests".into(),
    }
}

/// The tenant of samples, records and documents.
pub(crate) fn tenant() -> TenantId {
    TenantId::new("shop").expect("a name")
}
