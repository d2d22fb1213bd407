//! Tests of this module.

use proptest::prelude::*;

use super::*;

fn context(zone: &Zone) -> Context<'_> {
    // 2026-11-21T10:00:00Z
    Context { zone, now: Timestamp::from_millis(1_795_255_200_000) }
}

fn read(line: &str, format: Format) -> Parsed<'_> {
    parse(line, format, &context(&Zone::default()))
}

fn attributes(parsed: &Parsed<'_>) -> String {
    let show = |(name, value): &Field<'_>| match value {
        Value::Text(text) => format!("{name}={text:?}"),
        Value::Int(number) => format!("{name}={number}"),
        Value::Float(number) => format!("{name}={number:?}"),
        Value::Bool(truth) => format!("{name}={truth}"),
    };
    parsed.fields.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(line: &str, time_ms: Option<i64>, level: Option<u8>, want: &str) {
    let parsed = read(line, Format::Auto);
    assert_eq!(attributes(&parsed), want, "{line}");
    assert_eq!(parsed.time.map(Timestamp::as_millis), time_ms, "{line}");
    assert_eq!(parsed.severity.map(|severity| severity.number), level, "{line}");
}

#[test]
fn access_lines() {
    check(
        r#"10.0.3.7 - - [21/Nov/2026:10:00:01 +0000] "GET /cart?id=5 HTTP/1.1" 502 157"#,
        Some(1_795_255_201_000),
        None,
        r#"remote_addr="10.0.3.7" method="GET" path="/cart" query="id=5" protocol="HTTP/1.1" status=502 body_bytes_sent=157"#,
    );
    check(
        r#"::1 - ann [21/Nov/2026:18:00:01 +0800] "POST /pay HTTP/2.0" 200 - "https://a.b/" "Mo\"z 5.0" "1.2.3.4" 0.012 0.010"#,
        Some(1_795_255_201_000),
        None,
        r#"remote_addr="::1" remote_user="ann" method="POST" path="/pay" protocol="HTTP/2.0" status=200 body_bytes_sent=0 http_referer="https://a.b/" http_user_agent="Mo\\\"z 5.0" http_x_forwarded_for="1.2.3.4" request_time=0.012 upstream_response_time=0.01"#,
    );
    check(
        r#"shop:443 10.0.0.1 - - [21/Nov/2026:10:00:01 +0000] "\x16\x03\x01" 400 0 "-" "-" rt=1 uct="0.001" urt=- zone=edge-1"#,
        Some(1_795_255_201_000),
        None,
        r#"remote_addr="10.0.0.1" host="shop:443" request="\\x16\\x03\\x01" status=400 body_bytes_sent=0 request_time=1.0 upstream_connect_time=0.001 zone="edge-1""#,
    );
}

#[test]
fn json_lines() {
    check(
        r#"{"ts":1795255201.25,"level":"warn","msg":"slow","http":{"status":200,"took":0.5},"tags":["a",1],"ok":true,"none":null,"big":18446744073709551615,"trace_id":"0af7651916cd43dd8448eb211c80319c"}"#,
        Some(1_795_255_201_250),
        Some(13),
        r#"http.status=200 http.took=0.5 tags="[\"a\",1]" ok=true big="18446744073709551615""#,
    );
    check(
        r#"{"time":"2026-11-21T10:00:01.5Z","level":30,"pid":7}"#,
        Some(1_795_255_201_500),
        Some(9),
        "pid=7",
    );
    check(r#"{"time":"soon","level":"shrug"}"#, None, None, r#"time="soon" level="shrug""#);
    check(r#"{"broken":"#, None, None, "");
    let line = r#"{"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}"#;
    let parsed = read(line, Format::Json);
    assert_eq!(parsed.trace_id.map(|id| id[0]), Some(0x0a));
    assert_eq!(parsed.span_id.map(|id| id[7]), Some(0x31));
}

#[test]
fn logfmt_lines() {
    check(
        r#"time=2026-11-21T10:00:01Z level=error msg="it \"broke\"" status=500 took=1.5ms code=007 err="a\nb""#,
        Some(1_795_255_201_000),
        Some(17),
        r#"status=500 took="1.5ms" code="007" err="a\nb""#,
    );
    check("a=1 said that b=2 is odd", None, None, "");
    assert_eq!(attributes(&read("a=1 odd b=2", Format::Logfmt)), "a=1 odd=true b=2");
}

#[test]
fn plain_lines() {
    let ms = 1_795_255_201_000;
    check("2026-11-21 10:00:01,250 ERROR [main] c.e.Cart: boom", Some(ms + 250), Some(17), "");
    check("2026/11/21 10:00:01 [error] 31#31: *7 upstream timed out", Some(ms), Some(17), "");
    check("[Sat Nov 21 10:00:01.5 2026] [core:warn] [pid 9] x", Some(ms + 500), Some(13), "");
    check("Nov 21 10:00:01 host sshd[3]: error is a word", Some(ms), None, "");
    check("Dec 31 23:00:00 host x: y", Some(1_767_222_000_000), None, "");
    check("E1121 10:00:01.000000 1 main.go:3] no", None, Some(17), "");
    check("2026-11-21T18:00:01.123456789 +0800 INFO x", Some(ms + 123), Some(9), "");
    check("2026-02-30 10:00:00 no such day", None, None, "");
    check("it was an error", None, None, "");
    check("", None, None, "");
}

#[test]
fn a_zone_is_applied_where_a_line_names_none() {
    let zone = Zone::try_from("+08:00".to_owned()).unwrap();
    let parsed = parse("2026-11-21 18:00:01 INFO x", Format::Plain, &context(&zone));
    assert_eq!(parsed.time, Some(Timestamp::from_millis(1_795_255_201_000)));
    assert!(Zone::try_from("Mars/Olympus".to_owned()).is_err());
}

#[test]
fn epochs_are_told_apart_by_size() {
    for (text, ms) in [
        ("1795255201", 1_795_255_201_000),
        ("1795255201.25", 1_795_255_201_250),
        ("1795255201250", 1_795_255_201_250),
        ("1795255201250000", 1_795_255_201_250),
        ("1795255201250000000", 1_795_255_201_250),
    ] {
        assert_eq!(time::parse(text, &context(&Zone::default())), Some(Timestamp::from_millis(ms)), "{text}");
    }
    assert_eq!(time::parse("42", &context(&Zone::default())), None);
}

#[test]
fn only_formats_of_one_line_are_whole() {
    assert!(is_whole(r#"{"a":1}"#, Format::Auto));
    assert!(is_whole("level=info msg=x", Format::Auto));
    assert!(!is_whole("2026-11-21 10:00:00 INFO x", Format::Auto));
    assert!(starts_with_time("[2026-11-21 10:00:00] x"));
    assert!(!starts_with_time("\tat com.x"));
}

proptest! {
    #[test]
    fn no_line_makes_a_parser_panic(line in ".*", junk: Vec<u8>) {
        let zone = Zone::default();
        for format in [Format::Auto, Format::Plain, Format::Json, Format::Logfmt, Format::Access] {
            parse(&line, format, &context(&zone));
            parse(&String::from_utf8_lossy(&junk), format, &context(&zone));
            is_whole(&line, format);
        }
        starts_with_time(&line);
    }

    #[test]
    fn nearly_right_lines_do_not_panic(cut in 0_usize..120, insert in "[ \"\\[\\]:=\\\\é0-9a-z]{0,4}") {
        let zone = Zone::default();
        for line in [
            r#"10.0.3.7 - - [21/Nov/2026:10:00:01 +0000] "GET /cart?id=5 HTTP/1.1" 502 157 "-" "x" rt="0.1" 0.5"#,
            r#"time=2026-11-21T10:00:01.5+08:00 level=error msg="it \"broke\"" status=500"#,
            r#"[Sat Nov 21 10:00:01.5 2026] [core:warn] [pid 9] x"#,
            r#"{"ts":1795255201.25,"level":"warn","http":{"status":200,"took":0.5},"tags":["a",1]}"#,
        ] {
            let at = line.floor_char_boundary(cut.min(line.len()));
            let damaged = format!("{}{insert}{}", &line[..at], &line[at..]);
            parse(&damaged, Format::Auto, &context(&zone));
            parse(&damaged[..damaged.floor_char_boundary(cut)], Format::Auto, &context(&zone));
        }
    }

    #[test]
    fn logfmt_values_come_back(value in "[a-zA-Z \"\\\\\n\t]{0,20}") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        let line = format!("k=\"{escaped}\" n=1");
        let parsed = read(&line, Format::Logfmt);
        prop_assert_eq!(&parsed.fields[0].1, &Value::Text(value.into()));
    }

    #[test]
    fn json_fields_come_back(text: String, number: i64) {
        let line = serde_json::json!({ "text": text, "deep": { "number": number } }).to_string();
        let parsed = read(&line, Format::Json);
        let find = |name: &str| parsed.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        prop_assert_eq!(find("text"), Some(Value::Text(text.into())));
        prop_assert_eq!(find("deep.number"), Some(Value::Int(number)));
    }
}
