//! Random log records for tests.

use proptest::prelude::*;

use crate::model::{AttributeValue, Labels, LogRecord, Timestamp};

/// A line like those that programs write, of few words, so that searches find something.
pub(super) fn line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("error"),
        Just("user"),
        Just("time"),
        Just("out"),
        Just("GET"),
        Just("登录失败"),
        Just("x_y"),
        Just("ErrorOut"),
        Just("user123456"),
        Just("aB3timeX9qq77k1Lm20Zt4user"),
        Just("outer7"),
    ];
    let part = prop_oneof![
        word.prop_map(str::to_owned),
        "[0-9]{1,4}",
        "[a-f0-9]{16}",
        "/[a-c]{1,2}/[0-9]{1,2}",
        "10\\.0\\.0\\.[0-9]:80",
        "[0-9]{1,2}\\.[0-9]ms",
        "k=[a-c0-9]{1,2}",
        "\\PC{0,2}",
    ];
    let plain = proptest::collection::vec(part, 0..7).prop_map(|parts| parts.join(" "));
    let json = (plain.clone(), 0..1000i64, "[a-c]{1}", -3.0..3.0f64).prop_map(|(msg, n, s, f)| {
        serde_json::json!({ "ts": 1_700_000_000_000i64 + n, "level": s, "msg": msg, "n": n, "f": (f * 10.0).round() / 10.0 })
            .to_string()
    });
    // Escapes that need not be there, at the edges of what becomes a variable and inside of it.
    let escaped = proptest::collection::vec(
        prop_oneof![
            "[0-9]{1,2}",
            Just("time".to_owned()),
            Just("user ".to_owned()),
            Just(" ".to_owned()),
            Just("=".to_owned()),
            Just("\\u0075ser".to_owned()),
            Just("12\\u0074ime".to_owned()),
            Just("\\n".to_owned()),
            Just("\\t7".to_owned()),
            Just("\\\"".to_owned()),
            Just("\\/a\\/1".to_owned()),
            Just("\\\\".to_owned()),
        ],
        0..8,
    )
    .prop_map(|parts| format!("{{\"level\":\"a\",\"msg\":\"{}\",\"n\":4}}", parts.concat()));
    let logfmt = ("[a-c]{1}", 0..50u32).prop_map(|(s, n)| format!("level={s} ts={n} msg=\"did {n} things\""));
    prop_oneof![4 => plain, 3 => json, 1 => escaped, 1 => logfmt]
}

fn value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        "[a-c]{0,2}".prop_map(AttributeValue::String),
        "\\PC{0,6}".prop_map(AttributeValue::String),
        any::<i64>().prop_map(AttributeValue::Int),
        (0..20i64).prop_map(AttributeValue::Int),
        any::<f64>().prop_filter("NaN equals nothing", |f| !f.is_nan()).prop_map(AttributeValue::Double),
        any::<bool>().prop_map(AttributeValue::Bool),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(AttributeValue::Bytes),
        Just(AttributeValue::Json("[1,{}]".into())),
        Just(AttributeValue::Null),
    ]
}

fn record() -> impl Strategy<Value = LogRecord> {
    let labels = ("[a-b]{1}", "[x-y]{0,1}").prop_map(|(job, host)| {
        Labels::from_pairs([("job", job), ("host", host)]).expect("two names that differ")
    });
    let times = (prop_oneof![0..100i64, 1_700_000_000_000..1_700_000_000_100i64], 0..3i64, -5..5i64);
    let ids = (
        proptest::option::of(any::<[u8; 16]>()),
        proptest::option::of(any::<[u8; 8]>()),
        proptest::option::weighted(0.2, "[a-c]{1,2}-[0-9]{1,3}"),
    );
    let attributes = proptest::collection::btree_map(
        prop_oneof!["[a-c]{1}", "level", "trace_id", "k[0-9]"],
        value(),
        0..5,
    );
    (times, 0..25u8, "(info|WARN|)", line(), labels, attributes, ids).prop_map(
        |(times, severity_number, severity_text, body, labels, attributes, (trace_id, span_id, uid))| {
            let time = times.0 * 1_000_000 + times.1;
            LogRecord {
                time: Timestamp::from_nanos(time),
                observed_time: Timestamp::from_nanos(time + times.2),
                severity_number,
                severity_text,
                body,
                labels,
                attributes: attributes.into_iter().collect(),
                trace_id,
                span_id,
                uid,
            }
        },
    )
}

/// What stands before the message of a line.
fn header(style: u8, n: usize) -> String {
    match style {
        1 => format!("2024-05-01 12:00:{:02},5 INFO core.Main: ", n % 60),
        2 => format!("[{n}] W "),
        3 => format!("May  1 12:00:{:02} box app[{n}]: ", n % 60),
        4 => format!("2024-05-01T12:00:{:02}Z stdout F ", n % 60),
        5 => format!("user 12:00 error {n} | "),
        _ => String::new(),
    }
}

/// Records, some of them twice, and with headers before nearly all bodies or none.
pub(super) fn records(n_max: usize) -> impl Strategy<Value = Vec<LogRecord>> {
    let records = proptest::collection::vec(record(), 0..n_max);
    (records, any::<bool>(), 0..9u8).prop_map(|(mut records, twice, style)| {
        for (n, record) in records.iter_mut().enumerate().filter(|(n, _)| n % 16 != 15) {
            record.body.insert_str(0, &header(style, n));
        }
        if twice && let Some(first) = records.first().cloned() {
            records.push(first);
        }
        records
    })
}
