//! Tests of both encodings.

use super::*;
use crate::proto::{put_bytes, put_varint};
use proptest::prelude::*;

const BARE: LokiOptions = LokiOptions { discover_service_name: false, detect_severity: false };

fn labels(stream: &Stream) -> Vec<(&str, &str)> {
    stream.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

#[test]
fn a_json_push_is_read() {
    let body = r#"{"streams":[{"stream":{"app":"cart","a":"b"},"values":[
        ["1795255200000000001","one\n\"two\""],["2","{\"level\":\"error\"}",{"trace":"x","n":5}]]}]}"#;
    let streams = decode_json(body.as_bytes(), LokiOptions::default()).expect("valid");
    assert_eq!(labels(&streams[0]), [("a", "b"), ("app", "cart"), ("service_name", "cart")]);
    let [one, two] = &streams[0].records[..] else { panic!("{streams:?}") };
    assert_eq!((one.time_ns, one.body.as_str()), (Some(1_795_255_200_000_000_001), "one\n\"two\""));
    assert_eq!(one.severity_number, 0);
    assert_eq!((two.severity_number, two.severity_text.as_str()), (17, "error"));
    let value = |text: &str| Value::String(text.to_owned());
    assert_eq!(two.attributes, [("n".to_owned(), value("5")), ("trace".to_owned(), value("x"))]);
}

#[track_caller]
fn refused(body: &str, want: &str) {
    let error = decode_json(body.as_bytes(), BARE).expect_err("bad push").to_string();
    assert!(error.contains(want), "{error}");
}

#[test]
fn bad_json_is_refused_by_name() {
    refused(r#"{"streams":[{"stream":{},"values":[["soon","x"]]}]}"#, "\"soon\", expected epoch nanoseconds");
    refused(r#"{"streams":[{"stream":{},"values":[[17,"x"]]}]}"#, "integer `17`, expected epoch nanoseconds");
    refused(r#"{"streams":[{"stream":{},"values":[["1"]]}]}"#, "invalid length 1");
    refused(r#"{"streams":[{"stream":{"a":{}},"values":[]}]}"#, "expected a string");
    refused(r#"{"streams":[{"stream":{"a-b":"c"},"values":[]}]}"#, "invalid label name \"a-b\"");
    refused(r#"{"streams":"#, "EOF");
    refused("[[]]", "expected an object");
    refused("{}", "missing field `streams`");
}

#[test]
fn nothing_is_added_when_switched_off() {
    let body =
        br#"{"streams":[{"stream":{"app":"cart"},"values":[["1","level=error"]]},{"stream":{"app":"x"}}]}"#;
    let streams = decode_json(body, BARE).expect("valid");
    assert_eq!(streams.len(), 1);
    assert_eq!(labels(&streams[0]), [("app", "cart")]);
    assert_eq!(streams[0].records[0].severity_number, 0);
}

#[test]
fn severity_comes_from_metadata_then_labels_then_the_line() {
    let body = br#"{"streams":[{"stream":{"level":"warn"},"values":[["1","ERROR x",{"severity":"fatal"}],["2","ERROR x"]]},
        {"stream":{"a":"b"},"values":[["3","ERROR x"]]}]}"#;
    let streams = decode_json(body, LokiOptions::default()).expect("valid");
    let numbers: Vec<_> = streams.iter().flat_map(|s| &s.records).map(|r| r.severity_number).collect();
    assert_eq!(numbers, [21, 13, 17]);
    assert_eq!(labels(&streams[1]), [("a", "b"), ("service_name", "unknown_service")]);
}

fn push(labels: &str, seconds: u64, line: &[u8]) -> Vec<u8> {
    let mut time = vec![0x08];
    put_varint(&mut time, seconds);
    time.extend([0x10, 7]);
    let mut metadata = Vec::new();
    put_bytes(&mut metadata, 1, b"k");
    put_bytes(&mut metadata, 2, b"v");
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, &time);
    put_bytes(&mut entry, 2, line);
    put_bytes(&mut entry, 3, &metadata);
    put_bytes(&mut entry, 3, &metadata);
    let mut stream = Vec::new();
    put_bytes(&mut stream, 1, labels.as_bytes());
    put_bytes(&mut stream, 2, &entry);
    let mut body = Vec::new();
    put_bytes(&mut body, 1, &stream);
    body
}

#[test]
fn a_protobuf_push_is_read() {
    let streams = decode_protobuf(&push(r#"{b="2", a="1"}"#, 5, b"caf\xe9"), BARE).expect("valid");
    assert_eq!(labels(&streams[0]), [("a", "1"), ("b", "2")]);
    let record = &streams[0].records[0];
    assert_eq!((record.time_ns, record.body.as_str()), (Some(5_000_000_007), "caf\u{fffd}"));
    assert_eq!(record.attributes, [("k".to_owned(), Value::String("v".to_owned()))]);
}

#[test]
fn bad_protobuf_is_refused_by_name() {
    let of = |body: &[u8]| decode_protobuf(body, BARE).expect_err("bad push").to_string();
    assert!(of(&push("app=cart", 5, b"")).starts_with("invalid stream labels \"app=cart\": expected '{'"));
    assert!(of(&push("{}", u64::MAX / 2, b"")).contains("out of range"));
    assert!(of(&[0x0a, 0x05]).contains("malformed protobuf"));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_protobuf(&body, LokiOptions::default());
        let _ = decode_json(&body, LokiOptions::default());
    }

    #[test]
    fn any_line_comes_back(line in "\\PC{0,50}", time in any::<i64>(), name in "[a-z]{1,5}", value in "\\PC{1,10}") {
        let json = serde_json::json!({"streams": [{"stream": {name.clone(): value}, "values": [[time.to_string(), line]]}]});
        let streams = decode_json(json.to_string().as_bytes(), BARE).expect("valid");
        prop_assert_eq!(&streams[0].labels, &[(name, value)]);
        prop_assert_eq!(&streams[0].records[0].body, &line);
        prop_assert_eq!(streams[0].records[0].time_ns, Some(time));
    }
}
