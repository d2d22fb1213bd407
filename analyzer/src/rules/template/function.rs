//! The functions that templates may call.

use greylight_query::promql::syntax::parse_duration_ms;

use super::eval::{Eval, Value, kind_of};
use super::format::{
    Made, humanize, humanize_1024, humanize_duration, humanize_timestamp, printf, significant,
};
use super::{ExpandError, OUTPUT_BYTES_MAX};

/// A function and how many arguments it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Function {
    pub(super) name: &'static str,
    least: usize,
    most: usize,
}

/// Most that one match may be replaced with, before it is known how long that is: far above any text that is taken.
const EXPANDED_BYTES_MAX: usize = 16 * OUTPUT_BYTES_MAX;

const MANY: usize = usize::MAX;

const fn function(name: &'static str, least: usize, most: usize) -> Function {
    Function { name, least, most }
}

const FUNCTIONS: [Function; 40] = [
    function("and", 1, MANY),
    function("or", 1, MANY),
    function("not", 1, 1),
    function("eq", 2, MANY),
    function("ne", 2, 2),
    function("lt", 2, 2),
    function("le", 2, 2),
    function("gt", 2, 2),
    function("ge", 2, 2),
    function("len", 1, 1),
    function("index", 2, 2),
    function("print", 0, MANY),
    function("println", 0, MANY),
    function("printf", 1, MANY),
    function("urlquery", 1, MANY),
    function("humanize", 1, 1),
    function("humanize1024", 1, 1),
    function("humanizeDuration", 1, 1),
    function("humanizePercentage", 1, 1),
    function("humanizeTimestamp", 1, 1),
    function("title", 1, 1),
    function("toUpper", 1, 1),
    function("toLower", 1, 1),
    function("match", 2, 2),
    function("reReplaceAll", 3, 3),
    function("query", 1, 1),
    function("first", 1, 1),
    function("value", 1, 1),
    function("label", 2, 2),
    function("strvalue", 1, 1),
    function("sortByLabel", 2, 2),
    function("stripPort", 1, 1),
    function("stripDomain", 1, 1),
    function("parseDuration", 1, 1),
    function("graphLink", 1, 1),
    function("tableLink", 1, 1),
    function("externalURL", 0, 0),
    function("pathPrefix", 0, 0),
    function("safeHtml", 1, 1),
    function("urlQueryEscape", 1, 1),
];

/// Functions of Prometheus or Go that are known and refused.
const REFUSED: [&str; 9] = ["args", "tmpl", "toTime", "toDuration", "now", "call", "html", "js", "slice"];

type Result<T> = std::result::Result<T, ExpandError>;

impl Function {
    pub(super) fn find(name: &str) -> std::result::Result<Self, String> {
        let known = FUNCTIONS.into_iter().find(|f| f.name == name);
        known.ok_or_else(|| {
            if REFUSED.contains(&name) {
                format!("function {name:?} is not supported here")
            } else {
                format!("function {name:?} not defined")
            }
        })
    }

    pub(super) fn check_count(&self, n: usize) -> std::result::Result<(), String> {
        if (self.least..=self.most).contains(&n) {
            return Ok(());
        }
        let wanted = match (self.least, self.most) {
            (least, MANY) => format!("at least {least}"),
            (least, _) => least.to_string(),
        };
        Err(format!("wrong number of args for {}: want {wanted} got {n}", self.name))
    }

    pub(super) fn call(&self, eval: &mut Eval<'_>, args: Vec<Value>) -> Result<Value> {
        self.check_count(args.len()).map_err(ExpandError)?;
        match self.name {
            "not" => Ok(Value::Bool(!args[0].truth())),
            "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compare(self.name, &args).map(Value::Bool),
            "len" => len(&args[0]),
            "index" => index(&args[0], &args[1]),
            "print" => Ok(self.print(&args)?.value()),
            "println" => {
                let mut made = Made::by(self.name);
                for (i, arg) in args.iter().enumerate() {
                    made.push(if i > 0 { " " } else { "" })?;
                    made.push(&arg.text()?)?;
                }
                made.push("\n")?;
                Ok(made.value())
            }
            "printf" => Ok(printf(self.string(&args[0])?, &args[1..])?.value()),
            "urlquery" | "urlQueryEscape" => self.made(&query_escaped(self.print(&args)?.as_str())),
            "externalURL" => Ok(Value::of(&eval.data().external_url)),
            "pathPrefix" => Ok(Value::of(path_of(&eval.data().external_url))),
            "query" => {
                let expr = self.string(&args[0])?.to_owned();
                eval.ask(&expr).map(Value::Samples)
            }
            "first" | "value" | "label" | "strvalue" => self.of_samples(&args),
            "sortByLabel" => {
                if let Value::Samples(samples) = &args[1] {
                    eval.steps(samples.len())?;
                }
                self.of_samples(&args)
            }
            "humanize" | "humanize1024" | "humanizeDuration" | "humanizePercentage" | "humanizeTimestamp" => {
                let v = self.number(&args[0])?;
                let text = match self.name {
                    "humanize" => humanize(v),
                    "humanize1024" => humanize_1024(v),
                    "humanizeDuration" => humanize_duration(v),
                    "humanizePercentage" => significant(v * 100.0) + "%",
                    _ => humanize_timestamp(v).map_err(ExpandError)?,
                };
                Ok(Value::of(&text))
            }
            _ => self.of_texts(&args),
        }
    }

    fn of_samples(&self, args: &[Value]) -> Result<Value> {
        match (self.name, &args[args.len() - 1]) {
            ("first", Value::Samples(samples)) => match samples.first() {
                Some(sample) => Ok(Value::Sample(sample.clone())),
                None => Err(ExpandError("first() called on vector with no elements".into())),
            },
            ("value", Value::Sample(sample)) => Ok(Value::Float(sample.value)),
            ("strvalue", Value::Sample(sample)) => Ok(Value::label(&sample.labels, "__value__")),
            ("label", Value::Sample(sample)) => Ok(Value::label(&sample.labels, self.string(&args[0])?)),
            ("sortByLabel", Value::Samples(samples)) => {
                let name = self.string(&args[0])?;
                let mut sorted = samples.to_vec();
                sorted.sort_by(|a, b| a.labels.get(name).cmp(&b.labels.get(name)));
                Ok(Value::Samples(sorted.into()))
            }
            (_, other) => Err(self.wrong_kind(other, "an answer of query")),
        }
    }

    fn of_texts(&self, args: &[Value]) -> Result<Value> {
        let first = self.string(&args[0])?;
        let text = match self.name {
            "title" => title(first),
            "toUpper" => first.to_uppercase(),
            "toLower" => first.to_lowercase(),
            "match" => {
                let regex = regex_of(first)?;
                return Ok(Value::Bool(regex.is_match(self.string(&args[1])?)));
            }
            "reReplaceAll" => {
                let (replacement, text) = (self.string(&args[1])?, self.string(&args[2])?);
                return Ok(self.replaced(&regex_of(first)?, text, replacement)?.value());
            }
            "stripPort" => strip_port(first).to_owned(),
            "stripDomain" => strip_domain(first),
            "parseDuration" => {
                let wrong = || ExpandError(format!("not a valid duration string: {first:?}"));
                let ms = parse_duration_ms(first).ok_or_else(wrong)?;
                return Ok(Value::Float(ms as f64 / 1000.0));
            }
            "graphLink" => link(first, 0),
            "tableLink" => link(first, 1),
            _ => first.to_owned(),
        };
        self.made(&text)
    }

    /// Returns a text that is a few times as long as an argument at most, if it is not too long.
    fn made(&self, text: &str) -> Result<Value> {
        let mut made = Made::by(self.name);
        made.push(text)?;
        Ok(made.value())
    }

    /// Prints as Go's `fmt.Sprint`: a space between operands when neither is a string.
    fn print(&self, args: &[Value]) -> Result<Made> {
        let mut made = Made::by(self.name);
        for (i, arg) in args.iter().enumerate() {
            let is_text = |v: &Value| matches!(v, Value::Text(_));
            if i > 0 && !is_text(arg) && !is_text(&args[i - 1]) {
                made.push(" ")?;
            }
            made.push(&arg.text()?)?;
        }
        Ok(made)
    }

    /// Replaces every match, no longer than a text may be: a replacement can name its match many times.
    fn replaced(&self, regex: &regex::Regex, text: &str, replacement: &str) -> Result<Made> {
        let mut made = Made::by(self.name);
        let n_names = replacement.matches('$').count();
        let (mut part, mut end) = (String::new(), 0);
        for found in regex.captures_iter(text) {
            let Some(whole) = found.get(0) else { continue };
            // No group is longer than its match, so this is the most that can come out.
            if replacement.len() + n_names.saturating_mul(whole.len()) > EXPANDED_BYTES_MAX {
                return Err(made.too_long());
            }
            part.clear();
            found.expand(replacement, &mut part);
            made.push(&text[end..whole.start()])?;
            made.push(&part)?;
            end = whole.end();
        }
        made.push(&text[end..])?;
        Ok(made)
    }

    fn string<'a>(&self, value: &'a Value) -> Result<&'a str> {
        match value {
            Value::Text(text) => Ok(text),
            other => Err(self.wrong_kind(other, "a string")),
        }
    }

    fn number(&self, value: &Value) -> Result<f64> {
        match value {
            Value::Float(v) => Ok(*v),
            Value::Int(n) => Ok(*n as f64),
            Value::Text(text) => {
                text.parse().map_err(|_| ExpandError(format!("{}: {text:?} is no number", self.name)))
            }
            other => Err(self.wrong_kind(other, "a number")),
        }
    }

    fn wrong_kind(&self, value: &Value, wanted: &str) -> ExpandError {
        ExpandError(format!("{}: wrong type for value; expected {wanted}; got {}", self.name, kind_of(value)))
    }
}

fn compare(name: &str, args: &[Value]) -> Result<bool> {
    use std::cmp::Ordering;
    let order = |a: &Value, b: &Value| match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) if matches!(name, "eq" | "ne") => Ok(Some(a.cmp(b))),
        (Value::Nil, Value::Nil) if matches!(name, "eq" | "ne") => Ok(Some(Ordering::Equal)),
        (a, b) => {
            // As in Go: a whole number written in a template is no float.
            let kinds = format!("{} and {}", kind_of(a), kind_of(b));
            Err(ExpandError(format!("error calling {name}: incompatible types for comparison: {kinds}")))
        }
    };
    if name == "eq" {
        for other in &args[1..] {
            if order(&args[0], other)? == Some(Ordering::Equal) {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let found = order(&args[0], &args[1])?;
    Ok(match name {
        "ne" => found != Some(Ordering::Equal),
        "lt" => found == Some(Ordering::Less),
        "le" => matches!(found, Some(Ordering::Less | Ordering::Equal)),
        "gt" => found == Some(Ordering::Greater),
        _ => matches!(found, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn len(value: &Value) -> Result<Value> {
    let n = match value {
        Value::Text(text) => text.len(),
        Value::Map(map) => map.len(),
        Value::Samples(samples) => samples.len(),
        other => return Err(ExpandError(format!("error calling len: len of type {}", kind_of(other)))),
    };
    Ok(Value::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

fn index(value: &Value, at: &Value) -> Result<Value> {
    match (value, at) {
        (Value::Map(map), Value::Text(name)) => Ok(Value::label(map, name)),
        (Value::Samples(samples), Value::Int(n)) => {
            let found = usize::try_from(*n).ok().and_then(|n| samples.get(n)).cloned();
            let out = || ExpandError(format!("error calling index: index out of range: {n}"));
            found.map(Value::Sample).ok_or_else(out)
        }
        (value, at) => {
            let kinds = format!("{} by {}", kind_of(value), kind_of(at));
            Err(ExpandError(format!("error calling index: cannot index {kinds}")))
        }
    }
}

fn regex_of(pattern: &str) -> Result<regex::Regex> {
    let built = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    built.map_err(|e| ExpandError(format!("regular expression {pattern:?}: {e}")))
}

/// Makes the first letter of each word large, as Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        // Go parts words at ASCII signs, and at spaces beyond.
        starts = if c.is_ascii() { !c.is_ascii_alphanumeric() && c != '_' } else { c.is_whitespace() };
    }
    out
}

fn strip_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, _)) if host.starts_with('[') && host.ends_with(']') => &host[1..host.len() - 1],
        Some((host, _)) if !host.contains([':', '[', ']']) => host,
        _ => address,
    }
}

fn strip_domain(address: &str) -> String {
    let host = strip_port(address);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let port = if host.len() == address.len() { "" } else { address.rsplit_once(':').map_or("", |p| p.1) };
    let name = host.split('.').next().unwrap_or("");
    if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") }
}

/// Writes a link to an expression, as Prometheus's pages and ours read it.
pub(in crate::rules) fn link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", query_escaped(expr))
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

/// Escapes as Go's `url.QueryEscape`.
fn query_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
