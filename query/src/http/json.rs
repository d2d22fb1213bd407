//! Writes answers as JSON by hand: a matrix has millions of numbers, and each is a text.

use std::io::Write as _;

use greylight_store::model::{Histogram, Labels};

use crate::promql::{Annotations, Answer, Bucket, Matrix, Value, buckets};

/// At most this many warnings and infos go into an answer each.
const NOTES_MAX: usize = 10;

/// Appends a text in quotes, escaped.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut from = 0;
    let bytes = text.as_bytes();
    for (i, b) in bytes.iter().enumerate() {
        let escape: &[u8] = match b {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => {
                out.extend_from_slice(&bytes[from..i]);
                out.extend_from_slice(format!("\\u{b:04x}").as_bytes());
                from = i + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..i]);
        out.extend_from_slice(escape);
        from = i + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// Appends a time in seconds with as many decimals as it needs.
pub(super) fn time(out: &mut Vec<u8>, t_ms: i64) {
    if t_ms < 0 {
        out.push(b'-');
    }
    let (seconds, ms) = (t_ms.unsigned_abs() / 1000, t_ms.unsigned_abs() % 1000);
    integer(out, seconds);
    if ms > 0 {
        let digits = [b'0' + (ms / 100) as u8, b'0' + (ms / 10 % 10) as u8, b'0' + (ms % 10) as u8];
        let n = if ms % 100 == 0 {
            1
        } else if ms % 10 == 0 {
            2
        } else {
            3
        };
        out.push(b'.');
        out.extend_from_slice(&digits[..n]);
    }
}

fn integer(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a value as a text, formatted as Go formats it.
pub(super) fn value(out: &mut Vec<u8>, v: f64) {
    out.push(b'"');
    // Whole numbers are common and need no search for the shortest digits.
    if v.fract() == 0.0 && v.abs() < 1e15 && !(v == 0.0 && v.is_sign_negative()) {
        if v < 0.0 {
            out.push(b'-');
        }
        integer(out, v.abs() as u64);
    } else if v.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if v.is_infinite() {
        out.extend_from_slice(if v > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if v != 0.0 && !(1e-6..1e21).contains(&v.abs()) {
        exponent(out, v);
    } else {
        write!(out, "{v}").expect("writing to memory cannot fail");
    }
    out.push(b'"');
}

/// Go writes an exponent with a sign and at least two digits.
fn exponent(out: &mut Vec<u8>, v: f64) {
    let text = format!("{v:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    write!(out, "{digits}e{sign}{exponent:0>2}").expect("writing to memory cannot fail");
}

/// Appends labels as an object.
pub(super) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        text(out, name);
        out.push(b':');
        text(out, value);
    }
    out.push(b'}');
}

fn sample(out: &mut Vec<u8>, t_ms: i64, v: f64) {
    out.push(b'[');
    time(out, t_ms);
    out.push(b',');
    value(out, v);
    out.push(b']');
}

/// Appends a time and a histogram: its populated buckets from the lowest to the highest.
fn histogram_sample(out: &mut Vec<u8>, t_ms: i64, histogram: &Histogram) {
    out.push(b'[');
    time(out, t_ms);
    out.extend_from_slice(b",{\"count\":");
    value(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    value(out, histogram.sum);
    let mut any = false;
    for bucket in buckets(histogram) {
        out.extend_from_slice(if any { b",[" } else { b",\"buckets\":[[" });
        any = true;
        out.push(boundary_rule(&bucket));
        for number in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            value(out, number);
        }
        out.push(b']');
    }
    out.extend_from_slice(if any { b"]}]" } else { b"}]" });
}

/// Says which ends belong to a bucket: only the right one, only the left one, none, both.
fn boundary_rule(bucket: &Bucket) -> u8 {
    match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    }
}

fn matrix(out: &mut Vec<u8>, matrix: &Matrix) {
    out.push(b'[');
    for i in 0..matrix.len() {
        out.extend_from_slice(if i > 0 { b",{\"metric\":" } else { b"{\"metric\":" });
        labels(out, matrix.labels(i));
        let mut any = false;
        for (t_ms, v) in matrix.samples(i) {
            out.extend_from_slice(if any { b"," } else { b",\"values\":[" });
            any = true;
            sample(out, t_ms, v);
        }
        if any {
            out.push(b']');
        }
        any = false;
        for (t_ms, histogram) in matrix.histograms(i) {
            out.extend_from_slice(if any { b"," } else { b",\"histograms\":[" });
            any = true;
            histogram_sample(out, t_ms, histogram);
        }
        out.extend_from_slice(if any { b"]}" } else { b"}" });
    }
    out.push(b']');
}

fn result(out: &mut Vec<u8>, answer: &Value) {
    let kind: &[u8] = match answer {
        Value::Scalar { .. } => b"scalar",
        Value::String { .. } => b"string",
        Value::Vector(_) => b"vector",
        Value::Matrix(_) => b"matrix",
    };
    out.extend_from_slice(b"{\"resultType\":\"");
    out.extend_from_slice(kind);
    out.extend_from_slice(b"\",\"result\":");
    match answer {
        Value::Scalar { t_ms, value } => sample(out, *t_ms, *value),
        Value::String { t_ms, text: string } => {
            out.push(b'[');
            time(out, *t_ms);
            out.push(b',');
            text(out, string);
            out.push(b']');
        }
        Value::Vector(samples) => {
            out.push(b'[');
            for (i, s) in samples.iter().enumerate() {
                out.extend_from_slice(if i > 0 { b",{\"metric\":" } else { b"{\"metric\":" });
                labels(out, &s.labels);
                if let Some(histogram) = &s.histogram {
                    out.extend_from_slice(b",\"histogram\":");
                    histogram_sample(out, s.t_ms, histogram);
                } else {
                    out.extend_from_slice(b",\"value\":");
                    sample(out, s.t_ms, s.value);
                }
                out.push(b'}');
            }
            out.push(b']');
        }
        Value::Matrix(m) => matrix(out, m),
    }
}

fn notes(out: &mut Vec<u8>, name: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    out.extend_from_slice(format!(",\"{name}\":[").as_bytes());
    for (i, note) in texts.iter().take(NOTES_MAX).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        text(out, note);
    }
    out.push(b']');
}

/// Closes an envelope that was opened by [`success`]: the notes, and the brace.
pub(super) fn close(out: &mut Vec<u8>, annotations: &Annotations) {
    notes(out, "warnings", annotations.warnings());
    notes(out, "infos", annotations.infos());
    out.push(b'}');
}

/// Opens the envelope of success up to its data.
pub(super) fn success() -> Vec<u8> {
    b"{\"status\":\"success\",\"data\":".to_vec()
}

/// Writes the whole answer to a query; `stats` goes into it where it is wanted.
pub(super) fn answer(answer: &Answer, stats: Option<&serde_json::Value>) -> Vec<u8> {
    let mut out = success();
    result(&mut out, &answer.value);
    if let Some(stats) = stats {
        out.extend_from_slice(b",\"stats\":");
        out.extend_from_slice(stats.to_string().as_bytes());
    }
    out.push(b'}');
    close(&mut out, &answer.annotations);
    out
}

#[cfg(test)]
mod tests {
    use greylight_store::model::{Buckets, CUSTOM_BOUNDS, Span};
    use proptest::prelude::*;

    use super::*;

    fn written(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_read_as_go_writes_them() {
        let cases = [
            (0.0, "\"0\""),
            (-0.0, "\"-0\""),
            (1e15, "\"1000000000000000\""),
            (-12.5, "\"-12.5\""),
            (1e21, "\"1e+21\""),
            (1.5e-7, "\"1.5e-07\""),
            (1e-300, "\"1e-300\""),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"+Inf\""),
            (f64::NEG_INFINITY, "\"-Inf\""),
        ];
        for (v, want) in cases {
            assert_eq!(written(|out| value(out, v)), want);
        }
        for (t, want) in
            [(1000, "1"), (1500, "1.5"), (1_795_226_923_072, "1795226923.072"), (-1, "-0.001"), (10, "0.01")]
        {
            assert_eq!(written(|out| time(out, t)), want);
        }
    }

    #[test]
    fn an_end_belongs_to_its_bucket_by_rule() {
        let sides = |counts: &[f64]| Buckets {
            spans: vec![Span { offset: 0, length: u32::try_from(counts.len()).unwrap() }],
            counts: counts.to_vec(),
        };
        let positive = sides(&[1.0, 0.0, 2.5]);
        let h =
            Histogram { count: 3.5, sum: -0.5, positive, negative: sides(&[1.0]), ..Histogram::default() };
        let want = r#"[1.5,{"count":"3.5","sum":"-0.5","buckets":[[1,"-1","-0.5","1"],[0,"0.5","1","1"],[0,"2","4","2.5"]]}]"#;
        assert_eq!(written(|out| histogram_sample(out, 1500, &h)), want);
        let h =
            Histogram { positive: sides(&[1.0, 2.0]), custom_bounds: vec![5.0], schema: CUSTOM_BOUNDS, ..h };
        let h = Histogram { negative: Buckets::default(), ..h };
        let want = r#"[0,{"count":"3.5","sum":"-0.5","buckets":[[3,"-Inf","5","1"],[0,"5","+Inf","2"]]}]"#;
        assert_eq!(written(|out| histogram_sample(out, 0, &h)), want);
        let empty = r#"[0,{"count":"0","sum":"0"}]"#;
        assert_eq!(written(|out| histogram_sample(out, 0, &Histogram::default())), empty);
    }

    proptest! {
        #[test]
        fn histograms_read_back(counts in proptest::collection::vec(0..9u32, 1..20), offset in -50..50i32, schema in -4..=8i32) {
            let n_populated = counts.iter().filter(|n| **n > 0).count();
            let spans = vec![Span { offset, length: u32::try_from(counts.len()).unwrap() }];
            let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
            let count = counts.iter().sum::<f64>();
            let positive = Buckets { spans, counts };
            let h = Histogram { schema, count, sum: f64::NAN, positive, ..Histogram::default() };
            let read: serde_json::Value = serde_json::from_str(&written(|out| histogram_sample(out, 0, &h))).unwrap();
            let number = |v: &serde_json::Value| v.as_str().unwrap().parse::<f64>().unwrap();
            let buckets = read[1]["buckets"].as_array().map_or(&[][..], Vec::as_slice);
            prop_assert_eq!(buckets.len(), n_populated);
            prop_assert_eq!(buckets.iter().map(|b| number(&b[3])).sum::<f64>(), number(&read[1]["count"]));
            // Ends that no number can be are all the same.
            let is_beyond = |end: f64| end == 0.0 || end.is_infinite();
            let rises = |low: f64, high: f64| low < high || low == high && is_beyond(low);
            prop_assert!(buckets.iter().all(|b| b[0] == 0 && rises(number(&b[1]), number(&b[2]))));
        }

        #[test]
        fn texts_and_numbers_read_back(string in ".{0,40}", v in any::<f64>()) {
            let read: String = serde_json::from_str(&written(|out| text(out, &string))).unwrap();
            prop_assert_eq!(read, string);
            let number: String = serde_json::from_str(&written(|out| value(out, v))).unwrap();
            let back: f64 = number.parse().unwrap();
            prop_assert!(back == v || (back.is_nan() && v.is_nan()));
        }
    }
}
