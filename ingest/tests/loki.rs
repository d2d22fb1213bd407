//! Loki push.

use greylight_wire::compress::{Encoding, encode};

use crate::fixture::{Answer, Fixture, NOW_MS};

const PATH: &str = "/loki/api/v1/push";
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn push(time: &str) -> String {
    format!(
        r#"{{"streams":[{{"stream":{{"app":"cart"}},"values":[["{NOW_MS}000000","one"],[{time},"two"]]}}]}}"#
    )
}

#[track_caller]
fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "{}", answer.text());
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn pushes_are_taken_in_json_and_protobuf() {
    let fixture = Fixture::new().await;
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate] {
        let header = ("content-encoding", encoding.name());
        let answer = fixture.post(PATH, &[JSON, header], encode(encoding, push("\"5\"").as_bytes())).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    }
    // One stream `{a="b"}` with one entry at 5 s.
    let stream =
        [&[0x0a, 0x07][..], b"{a=\"b\"}", &[0x12, 0x08, 0x0a, 0x02, 0x08, 0x05, 0x12, 0x02], b"hi"].concat();
    let body = encode(Encoding::Snappy, &[&[0x0a, stream.len() as u8][..], &stream].concat());
    for header in
        [("content-encoding", "snappy"), ("content-encoding", "identity"), ("x-scope-orgid", "fake")]
    {
        let answer = fixture.post(PATH, &[PROTOBUF, header], body.clone()).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let zipped = encode(Encoding::Gzip, &body);
    assert_eq!(fixture.post(PATH, &[PROTOBUF, ("content-encoding", "gzip")], zipped).await.status, 204);
    assert!(
        fixture.page().contains("greylight_ingest_log_records_total{protocol=\"loki\"} 10"),
        "{}",
        fixture.page()
    );
}

#[tokio::test]
async fn bad_pushes_are_400_and_store_nothing() {
    let fixture = Fixture::new().await;
    for (body, text) in [
        (
            push("\"soon\""),
            "invalid value: string \"soon\", expected epoch nanoseconds as a string of digits",
        ),
        (push("5"), "invalid type: integer `5`, expected epoch nanoseconds"),
        (push("1e3"), "invalid type: floating point"),
        ("{".to_owned(), "malformed push"),
        (push("\"5\"").replace("app", "a-b"), "invalid label name \"a-b\""),
    ] {
        refused(&fixture.post(PATH, &[JSON], body).await, 400, text);
    }
    refused(&fixture.post(PATH, &[PROTOBUF], "no snappy").await, 400, "the body is not valid snappy");
    let body = encode(Encoding::Snappy, &[0x0a, 0x7f]);
    refused(&fixture.post(PATH, &[PROTOBUF], body).await, 400, "malformed protobuf");
    refused(&fixture.post(PATH, &[], push("\"5\"")).await, 400, "content type \"\" is not supported");
    let answer = fixture.post(PATH, &[JSON, ("content-encoding", "br")], push("\"5\"")).await;
    refused(&answer, 400, "content encoding \"br\" is not supported");
    assert!(fixture.page().contains("greylight_ingest_log_records_total{protocol=\"loki\"} 0"));
}

#[tokio::test]
async fn entries_of_the_future_are_named_and_the_rest_is_stored() {
    let fixture = Fixture::new().await;
    let answer = fixture.post(PATH, &[JSON], push(&format!("\"{}\"", i64::MAX))).await;
    refused(&answer, 400, "log record of {app=\"cart\", service_name=\"cart\"} at 2262-04-11");
    assert!(fixture.page().contains("greylight_ingest_log_records_total{protocol=\"loki\"} 1"));
}

#[tokio::test]
async fn bombs_are_413() {
    let fixture = Fixture::new().await;
    let bomb = encode(Encoding::Gzip, &vec![b' '; 20 << 20]);
    let answer = fixture.post(PATH, &[JSON, ("content-encoding", "gzip")], bomb).await;
    refused(&answer, 413, "the limit of 100 times");
}
