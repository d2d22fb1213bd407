//! Reads the script language in which Prometheus tests its query engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use greylight_query::promql::syntax::{SyntaxLimits, parse_duration_ms, parse_selector};
use greylight_store::model::{Buckets, CounterReset, Histogram, Labels, Span};
use regex::Regex;

/// A point of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Point {
    Value(f64),
    Omitted,
    Stale,
    Histogram(Arc<Histogram>),
}

#[derive(Debug)]
pub(crate) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) gap_ms: i64,
    pub(crate) nhcb: bool,
    pub(crate) series: Vec<(Labels, Vec<Point>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) query: String,
    /// Start, end and step of a range evaluation; the instant is the start.
    pub(crate) range: Option<(i64, i64, i64)>,
    pub(crate) at: i64,
    pub(crate) ordered: bool,
    pub(crate) fail: bool,
    /// Kind (`warn`, `no_warn`, `info`, `no_info`, `fail`), how to compare, text.
    pub(crate) expects: Vec<(String, Option<(String, String)>)>,
    pub(crate) expected: BTreeMap<Labels, (usize, Vec<Point>)>,
    pub(crate) scalar: Option<f64>,
    pub(crate) string: Option<String>,
    pub(crate) range_vector: Option<(i64, i64, i64)>,
}

/// Reads a whole script.
pub(crate) fn parse(text: &str) -> Vec<Command> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let mut out = Vec::new();
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        let block: Vec<&str> = lines[i + 1..].iter().copied().take_while(|l| !l.is_empty()).collect();
        if line.is_empty() {
            i += 1;
        } else if line == "clear" {
            out.push(Command::Clear);
            i += 1;
        } else if line.starts_with("load") {
            out.push(Command::Load(parse_load(line, &block)));
            i += 1 + block.len();
        } else {
            assert!(line.starts_with("eval"), "line {}: {line}", i + 1);
            out.push(Command::Eval(Box::new(parse_eval(i + 1, line, &block))));
            i += 1 + block.len();
        }
    }
    out
}

fn ms(text: &str) -> i64 {
    parse_duration_ms(text.trim()).unwrap_or_else(|| panic!("duration {text:?}"))
}

fn parse_load(line: &str, block: &[&str]) -> Load {
    let (word, gap) = line.split_once(char::is_whitespace).unwrap();
    let mut load = Load { gap_ms: ms(gap), nhcb: word == "load_with_nhcb", series: Vec::new() };
    for line in block {
        let (labels, rest) = parse_series(line);
        load.series.retain(|(l, _)| *l != labels);
        load.series.push((labels, parse_points(rest)));
    }
    load
}

/// Splits `name{a="b"} 1 2 3`.
fn parse_series(line: &str) -> (Labels, &str) {
    let name_end =
        line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let mut end = name_end;
    let after_blank = line[name_end..].trim_start();
    if after_blank.starts_with('{') && !after_blank.starts_with("{{") {
        let mut quoted = None;
        let mut escaped = false;
        end = line.len();
        for (i, c) in line.char_indices().skip_while(|(i, _)| *i < name_end) {
            match quoted {
                Some(_) if escaped => escaped = false,
                Some(q) if c == q => quoted = None,
                Some(q) => escaped = c == '\\' && q != '`',
                None if matches!(c, '"' | '\'' | '`') => quoted = Some(c),
                None if c == '}' => {
                    end = i + 1;
                    break;
                }
                None => {}
            }
        }
    }
    let text: String = line[..end].chars().filter(|c| !c.is_control()).collect();
    if text.replace(' ', "") == "{}" {
        return (Labels::default(), &line[end..]);
    }
    let matchers = parse_selector(&text, &SyntaxLimits::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let labels = Labels::from_pairs(matchers.iter().map(|m| (m.name(), m.value()))).unwrap();
    (labels, &line[end..])
}

/// Reads what stands between `{{` and `}}`.
fn parse_histogram(text: &str) -> Histogram {
    let field = Regex::new(r"([a-z_]+):(\[[^\]]*\]|\S+)").unwrap();
    let left = field.replace_all(text, "");
    assert!(left.trim().is_empty(), "histogram {text:?}: {left:?}");
    let mut out = Histogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    for part in field.captures_iter(text) {
        let value = &part[2];
        let number = || value.parse::<f64>().unwrap();
        let numbers = || -> Vec<f64> {
            value.trim_matches(['[', ']']).split_whitespace().map(|n| n.parse().unwrap()).collect()
        };
        match &part[1] {
            "schema" => out.schema = value.parse().unwrap(),
            "sum" => out.sum = number(),
            "count" => out.count = number(),
            "z_bucket" => out.zero_count = number(),
            "z_bucket_w" => out.zero_threshold = number(),
            "custom_values" => out.custom_bounds = numbers(),
            "buckets" => out.positive.counts = numbers(),
            "n_buckets" => out.negative.counts = numbers(),
            "offset" => offset = value.parse().unwrap(),
            "n_offset" => n_offset = value.parse().unwrap(),
            "counter_reset_hint" => {
                out.reset = match value {
                    "reset" => CounterReset::Yes,
                    "not_reset" => CounterReset::No,
                    "gauge" => CounterReset::Gauge,
                    "unknown" => CounterReset::Unknown,
                    other => panic!("hint {other:?}"),
                }
            }
            other => panic!("{other:?} in {text:?}"),
        }
    }
    for (side, offset) in [(&mut out.positive, offset), (&mut out.negative, n_offset)] {
        if !side.counts.is_empty() {
            side.spans = vec![Span { offset, length: u32::try_from(side.counts.len()).unwrap() }];
        }
    }
    out
}

/// Adds `sign` times a histogram of the same or a higher resolution, with its own arithmetic.
fn plus(a: &Histogram, b: &Histogram, sign: f64) -> Histogram {
    assert!(a.schema <= b.schema && (b.zero_count == 0.0 || a.zero_threshold == b.zero_threshold));
    assert_eq!(a.custom_bounds, b.custom_bounds);
    let side = |a_side: &Buckets, b_side: &Buckets| {
        let mut counts: BTreeMap<i32, f64> = a_side.iter().collect();
        for (mut index, count) in b_side.iter() {
            for _ in a.schema..b.schema {
                index = (index + 1).div_euclid(2);
            }
            *counts.entry(index).or_default() += sign * count;
        }
        let mut end = 0;
        let mut span = |index: &i32| {
            let offset = index - end;
            end = index + 1;
            Span { offset, length: 1 }
        };
        Buckets { spans: counts.keys().map(&mut span).collect(), counts: counts.values().copied().collect() }
    };
    Histogram {
        zero_count: a.zero_count + sign * b.zero_count,
        count: a.count + sign * b.count,
        sum: a.sum + sign * b.sum,
        positive: side(&a.positive, &b.positive),
        negative: side(&a.negative, &b.negative),
        ..a.clone()
    }
}

fn parse_points(text: &str) -> Vec<Point> {
    let number = r"(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[iI][nN][fF]|[nN][aA][nN])";
    let item = Regex::new(&format!(
        r"^(?:(?P<blank>_)(?:x(?P<bn>\d+))?|(?P<stale>stale)(?:x(?P<sn>\d+))?|(?P<num>[+-]?{number})(?:(?P<step>[+-]{number})?x(?P<n>\d+))?)$"
    ))
    .unwrap();
    let histogram = Regex::new(r"^\{\{(.*?)\}\}(?:([+-])\{\{(.*?)\}\})?(?:x(\d+))?").unwrap();
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            let m = histogram.captures(rest).unwrap();
            let n: usize = m.get(4).map_or(0, |n| n.as_str().parse().unwrap());
            let step = m.get(3).map(|step| parse_histogram(step.as_str()));
            let sign = if m.get(2).is_some_and(|sign| sign.as_str() == "-") { -1.0 } else { 1.0 };
            let mut histogram = parse_histogram(&m[1]);
            for _ in 0..=n {
                out.push(Point::Histogram(Arc::new(histogram.clone())));
                if let Some(step) = &step {
                    histogram = plus(&histogram, step, sign);
                }
            }
            rest = rest[m[0].len()..].trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let m = item.captures(&rest[..end]).unwrap_or_else(|| panic!("point {:?}", &rest[..end]));
        let count = |name: &str| m.name(name).map_or(1, |n| n.as_str().parse::<usize>().unwrap());
        if m.name("blank").is_some() {
            out.extend(std::iter::repeat_n(Point::Omitted, count("bn")));
        } else if m.name("stale").is_some() {
            let n = m.name("sn").map_or(1, |n| n.as_str().parse::<usize>().unwrap() + 1);
            out.extend(std::iter::repeat_n(Point::Stale, n));
        } else {
            let mut v: f64 = m["num"].parse().unwrap();
            let step: f64 = m.name("step").map_or(0.0, |s| s.as_str().parse().unwrap());
            let n = m.name("n").map_or(0, |n| n.as_str().parse::<usize>().unwrap());
            for _ in 0..=n {
                out.push(Point::Value(v));
                v += step;
            }
        }
        rest = rest[end..].trim_start();
    }
    out
}

fn parse_eval(line_no: usize, line: &str, block: &[&str]) -> Eval {
    let instant =
        Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$").unwrap();
    let range =
        Regex::new(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
            .unwrap();
    let expect =
        Regex::new(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$").unwrap();
    let vector = Regex::new(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$").unwrap();
    let mut eval = Eval { line: line_no, ..Eval::default() };
    let word = if let Some(m) = instant.captures(line) {
        eval.at = ms(&m[2]);
        eval.query = m[3].into();
        m.get(1).map(|w| w.as_str().to_owned())
    } else {
        let m = range.captures(line).unwrap();
        eval.range = Some((ms(&m[2]), ms(&m[3]), ms(&m[4])));
        eval.query = m[5].into();
        m.get(1).map(|w| w.as_str().to_owned())
    };
    match word.as_deref() {
        Some("fail") => eval.fail = true,
        Some("ordered") => eval.ordered = true,
        Some(word) => eval.expects.push((word.to_owned(), None)),
        None => {}
    }
    let mut position = 0;
    for line in block {
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            eval.expects.push(("fail".into(), Some(("msg".into(), message.trim().into()))));
        } else if let Some(m) = vector.captures(line) {
            eval.range_vector = Some((ms(&m[1]), ms(&m[2]), ms(&m[3])));
            eval.at = ms(&m[2]);
        } else if let Some(text) = line.strip_prefix("expect string") {
            eval.string = Some(text.trim().trim_matches(['"', '\'', '`']).into());
        } else if let Some(m) = expect.captures(line) {
            match &m[1] {
                "ordered" => eval.ordered = true,
                word => {
                    eval.fail |= word == "fail";
                    let text = m.get(2).map(|how| (how.as_str().to_owned(), m[3].trim().to_owned()));
                    eval.expects.push((word.into(), text));
                }
            }
        } else if let Ok(number) = line.parse::<f64>() {
            eval.scalar = Some(number);
        } else {
            position += 1;
            let (labels, rest) = parse_series(line);
            let points = parse_points(rest);
            eval.expected.insert(labels, (position, points));
        }
    }
    eval
}
