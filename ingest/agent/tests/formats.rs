//! What lines of each kind become, from file to request.

use std::time::Duration;

use encoding_rs::{GB18030, GBK};
use greylight_agent::tail::{Multiline, SourceFormat};

use crate::tail_model::{Bench, attribute, body};

fn run(set: impl FnOnce(&mut Bench), bytes: &[u8]) -> Bench {
    let mut bench = Bench::new();
    set(&mut bench);
    bench.crash();
    bench.append_bytes(bytes);
    bench.settle();
    bench
}

#[test]
fn chinese_encodings_are_decoded() {
    for (label, encoding) in [("gbk", GBK), ("gb18030", GB18030)] {
        let (bytes, _, _) = encoding.encode("灰度发布 失败\n第二行\n");
        let mut bench = run(|bench| bench.source.encoding = label.to_owned(), &bytes);
        assert_eq!(bench.bodies(), ["灰度发布 失败", "第二行"], "{label}");
    }
}

#[test]
fn fields_are_attributes_and_the_line_stays_as_it_was() {
    let line =
        r#"10.0.3.7 - - [21/Nov/2026:10:00:01 +0000] "GET /cart?id=5 HTTP/1.1" 502 157 "-" "curl" rt=0.25"#;
    let mut bench = run(|_| {}, format!("{line}\nlevel=warn msg=slow took=3\r\n\n").as_bytes());
    let records = bench.records();
    assert_eq!(records.len(), 2, "an empty line is no record");
    assert_eq!(body(&records[0]), line);
    assert_eq!(records[0].time_unix_nano, 1_795_255_201_000_000_000);
    for (name, value) in [("status", "502"), ("request_time", "0.25"), ("method", "GET"), ("path", "/cart")] {
        assert_eq!(attribute(&records[0], name), value);
    }
    assert_eq!(records[1].severity_number, 13);
    assert_eq!(attribute(&records[1], "took"), "3");
    assert!(records[1].time_unix_nano > 1_795_255_200_000_000_000, "a line without a time is given one");
}

#[test]
fn container_lines_lose_their_wrapper_alone() {
    let cri = "2026-11-21T10:00:00.5Z stdout P {\"a\":\n2026-11-21T10:00:00.6Z stdout F 1}\n";
    let mut bench = run(|_| {}, cri.as_bytes());
    let records = bench.records();
    assert_eq!(body(&records[0]), "{\"a\":1}");
    assert_eq!(attribute(&records[0], "a"), "1");
    assert_eq!(attribute(&records[0], "log.iostream"), "stdout");
    assert_eq!(records[0].time_unix_nano, 1_795_255_200_500_000_000);
    // As a plain file, by setting.
    let mut bench = run(
        |bench| {
            bench.source.format = SourceFormat::Plain;
            bench.source.multiline = Multiline::Off;
        },
        cri.as_bytes(),
    );
    assert_eq!(bench.bodies().len(), 2);
}

#[test]
fn a_line_beyond_the_cap_is_cut_and_flagged() {
    let long = "x".repeat(300 * 1024);
    let mut bench = run(|_| {}, format!("{long}\nshort\n").as_bytes());
    let records = bench.records();
    assert_eq!(body(&records[0]).len(), 256 * 1024);
    assert_eq!(attribute(&records[0], "log.cut"), "true");
    assert_eq!(body(&records[1]), "short");
    assert_eq!(attribute(&records[1], "log.cut"), "");
}

#[test]
fn an_unfinished_line_is_taken_when_it_rests() {
    let mut bench = run(|_| {}, b"whole\nhalf");
    let records = bench.records();
    assert_eq!(records.iter().map(body).collect::<Vec<_>>(), ["whole", "half"]);
    assert_eq!(attribute(&records[1], "log.partial"), "true");
}

#[test]
fn files_that_were_there_at_first_may_begin_at_their_end() {
    let mut bench = Bench::new();
    bench.source.start_at = greylight_agent::tail::StartAt::End;
    bench.append("old\n");
    bench.crash();
    bench.pass(Duration::from_secs(1));
    bench.crash();
    bench.append("new\n");
    bench.settle();
    assert_eq!(bench.bodies(), ["new"]);
}
