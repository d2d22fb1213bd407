//! Tests of the page reader.

use super::*;
use crate::exposition::Writer;
use proptest::prelude::*;

#[derive(Default, Debug)]
struct Collected(Vec<String>);

impl Visitor for Collected {
    fn metric_type(&mut self, family: &str, kind: MetricType) {
        self.0.push(format!("type {family} {}", kind.word()));
    }
    fn help(&mut self, family: &str, help: &str) {
        self.0.push(format!("help {family} {help:?}"));
    }
    fn unit(&mut self, family: &str, unit: &str) {
        self.0.push(format!("unit {family} {unit}"));
    }
    fn sample(&mut self, sample: &Sample<'_>) {
        let labels: Vec<_> = sample.labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        let mut line = format!("{}{{{}}} {}", sample.name, labels.join(","), sample.value);
        if let Some(t) = sample.timestamp_ms {
            line += &format!(" @{t}");
        }
        if let Some(e) = &sample.exemplar {
            line += &format!(" ex {:?} {} {:?}", e.labels, e.value, e.timestamp_ms);
        }
        self.0.push(line);
    }
}

#[track_caller]
fn check(format: Format, page: &str, want: &[&str]) {
    let mut seen = Collected::default();
    parse(page.as_bytes(), format, &mut seen).expect("the page is valid");
    assert_eq!(seen.0, want);
}

#[track_caller]
fn refused(format: Format, page: &str, line: usize, want: &str) {
    let error = parse(page.as_bytes(), format, &mut Collected::default()).expect_err("the page is bad");
    assert_eq!((error.line, error.problem.to_string().as_str()), (line, want));
}

#[test]
fn text_format_is_read() {
    check(
        Format::PrometheusText,
        "# HELP http_requests_total Seen \\\\ so\\nfar.\n# TYPE http_requests_total counter\n\n# a comment\n\
         http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
         \tmsdos { path = \"C:\\\\DIR\\n\\\"x\\\"\" , } 1.458e+9\t-3982045\nplain NaN\nup +Inf",
        &[
            "help http_requests_total \"Seen \\\\ so\\nfar.\"",
            "type http_requests_total counter",
            "http_requests_total{method=\"post\",code=\"200\"} 1027 @1395066363000",
            "msdos{path=\"C:\\\\DIR\\n\\\"x\\\"\"} 1458000000 @-3982045",
            "plain{} NaN",
            "up{} inf",
        ],
    );
}

#[test]
fn utf8_names_are_quoted_inside_braces() {
    check(
        Format::PrometheusText,
        "# TYPE \"http.requests\" gauge\n{\"http.requests\",\"service.name\"=\"a\",b=\"c\"} 1\n",
        &["type http.requests gauge", "http.requests{service.name=\"a\",b=\"c\"} 1"],
    );
}

#[test]
fn open_metrics_is_read() {
    check(
        Format::OpenMetrics,
        "# TYPE foo histogram\n# UNIT foo seconds\nfoo_bucket{le=\"0.1\"} 8 # {} 0.054\n\
         foo_bucket{le=\"1.0\"} 11 1520879607.789 # {trace_id=\"KOO\"} 0.67 1520879606.5\n# EOF\n",
        &[
            "type foo histogram",
            "unit foo seconds",
            "foo_bucket{le=\"0.1\"} 8 ex [] 0.054 None",
            "foo_bucket{le=\"1.0\"} 11 @1520879607789 ex [(\"trace_id\", \"KOO\")] 0.67 Some(1520879606500)",
        ],
    );
}

#[test]
fn bad_pages_name_line_and_problem() {
    let text = Format::PrometheusText;
    refused(text, "a 1\n1abc 2\n", 2, "invalid name \"1abc\"");
    refused(text, "a{b=\"c\" 1\n", 1, "expected ',' or '}' after a label");
    refused(text, "a{b=\"c} 1\n", 1, "expected a quoted string");
    refused(text, "a{b=c} 1\n", 1, "expected a quoted string");
    refused(text, "a{b=\"1\",b=\"2\"} 1\n", 1, "label \"b\" appears twice");
    refused(text, "a{b-c=\"1\"} 1\n", 1, "invalid name \"b\"");
    refused(text, "a one\n", 1, "invalid value \"one\"");
    refused(text, "a\n", 1, "invalid value \"\"");
    refused(text, "a 1 soon\n", 1, "invalid timestamp \"soon\"");
    refused(text, "a 1 2 3\n", 1, "unexpected text \"3\" after the sample");
    refused(text, "{a=\"b\"} 1\n", 1, "invalid name \"\"");
    refused(text, "# TYPE a thing\n", 1, "unknown metric type \"thing\"");
    let open = Format::OpenMetrics;
    refused(open, "a 1\n", 2, "the page does not end with # EOF");
    refused(open, "a 1\n\n# EOF\n", 2, "blank line");
    refused(open, "# EOF\na 1\n", 2, "text after # EOF");
    refused(open, "a 1 1e300\n# EOF\n", 1, "invalid timestamp \"1e300\"");
    let error = parse(b"a 1\nb\xff 2\n", text, &mut Collected::default()).expect_err("no UTF-8");
    assert_eq!((error.line, error.problem), (2, Problem::NotUtf8));
}

#[test]
fn content_types_select_the_format() {
    let of = Format::from_content_type;
    assert_eq!(of("text/plain; version=0.0.4"), Some(Format::PrometheusText));
    assert_eq!(of("Application/OpenMetrics-Text;version=1.0.0;charset=utf-8"), Some(Format::OpenMetrics));
    assert_eq!(of("text/html"), None);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), open in any::<bool>()) {
        let format = if open { Format::OpenMetrics } else { Format::PrometheusText };
        let _ = parse(&bytes, format, &mut Collected::default());
    }

    #[test]
    fn page_like_text_never_panics(page in "([a-z{}\"=,\\\\# \t\n0-9é]|# TYPE |# HELP ){0,60}", open in any::<bool>()) {
        let format = if open { Format::OpenMetrics } else { Format::PrometheusText };
        let _ = parse(page.as_bytes(), format, &mut Collected::default());
    }

    #[test]
    fn a_written_page_reads_back(label in "[\\PC\n\\\\\"]{0,12}", help in "[a-z\\\\\n\" ]{0,9}[a-z]", value in any::<f64>(), open in any::<bool>()) {
        let format = if open { Format::OpenMetrics } else { Format::PrometheusText };
        let mut page = Writer::new(format);
        page.family("a", MetricType::Counter, &help);
        page.sample("a_total", &[("l", &label)], value);
        let mut seen = Collected::default();
        parse(page.finish().as_bytes(), format, &mut seen)?;
        let family = if open { "a" } else { "a_total" };
        // Blanks before the help text are not part of it.
        let help = help.trim_start_matches(' ');
        let value = if value.is_nan() { f64::NAN } else { value };
        prop_assert_eq!(seen.0, vec![
            format!("help {family} {help:?}"),
            format!("type {family} counter"),
            format!("a_total{{l={label:?}}} {value}"),
        ]);
    }
}
