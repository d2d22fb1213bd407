//! Fields of a record: attributes, and those that a JSON or logfmt body has.

use super::rows::Shape;
use crate::model::AttributeValue;
use crate::pattern::{Splitter, VARIABLE, fields_of, message_field};

/// The field that also names a record's template, by its id.
pub(crate) const PATTERN: &str = "pattern";

/// Where the text of a field is found for records of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldAt {
    /// In a slot, as it is.
    Slot(usize),
    /// In a slot, with JSON's escapes.
    Escaped(usize),
    /// The message inside the body: a part of the pattern with the variables from one on.
    Message {
        start: usize,
        end: usize,
        first: usize,
    },
    /// Anywhere in a body that is one variable.
    Unsplit,
    /// Among the attributes of rare names, which are in this slot.
    Rest(usize),
    /// At the first of these places where it is.
    FirstOf(Vec<FieldAt>),
    /// The body.
    Body,
    /// The severity: its word, its text or its number.
    Severity,
    /// The severity's number alone.
    SeverityNumber,
    TraceId,
    SpanId,
    /// In the labels, or nowhere.
    Label,
}

/// Finds a field: the record's own parts, else an attribute, else a field of the body, else a label.
pub(crate) fn find(shape: &Shape, name: &str) -> FieldAt {
    match name {
        "body" => return FieldAt::Body,
        "severity" => return FieldAt::Severity,
        "severity_number" => return FieldAt::SeverityNumber,
        _ => {}
    }
    if let Some(at) = shape.attributes.iter().position(|a| a.0 == name) {
        return FieldAt::Slot(shape.n_variables + at);
    }
    match shape.rest_slot() {
        Some(slot) => FieldAt::FirstOf(vec![FieldAt::Rest(slot), find_in_body(shape, name)]),
        None => find_in_body(shape, name),
    }
}

/// Finds what is no attribute: a field of the body, else the record's own part.
fn find_in_body(shape: &Shape, name: &str) -> FieldAt {
    // The record's own part, which attributes and fields of the body hide.
    let own = match name {
        "trace_id" => FieldAt::TraceId,
        "span_id" => FieldAt::SpanId,
        _ => FieldAt::Label,
    };
    let pattern = shape.pattern.as_bytes();
    if pattern == [VARIABLE] {
        return FieldAt::FirstOf(vec![FieldAt::Unsplit, own]);
    }
    if let Some(field) = fields_of(pattern).into_iter().find(|f| f.name == name) {
        let slot = field.variable;
        return if field.is_quoted { FieldAt::Escaped(slot) } else { FieldAt::Slot(slot) };
    }
    match message_field(pattern).filter(|m| m.name == name) {
        Some(m) => FieldAt::Message { start: m.range.start, end: m.range.end, first: m.n_before },
        None => own,
    }
}

/// Undoes JSON's escapes; a text that is not well escaped is given as it is.
pub(crate) fn unescaped(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    match serde_json::from_str::<String>(&format!("\"{text}\"")) {
        Ok(text) => text.into(),
        Err(_) => text.into(),
    }
}

/// Returns the fields of a body that is a JSON object or a logfmt line, in its order; none for
/// other bodies. Objects inside objects have their names joined by dots, lists are JSON text.
pub fn derived_fields(body: &str) -> Vec<(String, AttributeValue)> {
    let is_json = body.starts_with('{');
    let value = |(name, text, is_quoted)| {
        let value = if is_quoted || !is_json { AttributeValue::String(text) } else { bare(&text) };
        (name, value)
    };
    texts_in_body(body).into_iter().map(value).collect()
}

/// Returns the text of a field of a body, as searches see it.
pub(crate) fn text_in_body(body: &str, name: &str) -> Option<String> {
    texts_in_body(body).into_iter().find(|field| field.0 == name).map(|field| field.1)
}

/// Names and texts of the fields of a body, and whether they stand in quotes; without escapes.
fn texts_in_body(body: &str) -> Vec<(String, String, bool)> {
    if !body.starts_with('{') && !body.contains('=') {
        return Vec::new();
    }
    let mut splitter = Splitter::default();
    let split = splitter.split(body.as_bytes());
    let text = |n: usize| {
        let span = split.variables[n];
        &body[span.start as usize..span.end as usize]
    };
    let shown = |text: &str, is_quoted: bool| {
        if is_quoted { unescaped(text).into_owned() } else { text.to_owned() }
    };
    let mut out: Vec<(usize, (String, String, bool))> = fields_of(split.pattern)
        .into_iter()
        .map(|f| (f.variable, (f.name, shown(text(f.variable), f.is_quoted), f.is_quoted)))
        .collect();
    if let Some(message) = message_field(split.pattern)
        && !out.iter().any(|f| f.1.0 == message.name)
    {
        let mut whole = String::new();
        let pattern = String::from_utf8_lossy(&split.pattern[message.range.clone()]);
        for (n, part) in pattern.split('\0').enumerate() {
            if n > 0 {
                whole.push_str(text(message.n_before + n - 1));
            }
            whole.push_str(part);
        }
        out.push((message.n_before, (message.name, shown(&whole, true), true)));
        out.sort_by_key(|f| f.0);
    }
    out.into_iter().map(|(_, field)| field).collect()
}

/// A JSON value that is no string.
fn bare(text: &str) -> AttributeValue {
    match text {
        "null" => AttributeValue::Null,
        "true" => AttributeValue::Bool(true),
        "false" => AttributeValue::Bool(false),
        _ if text.starts_with(['[', '{']) => AttributeValue::Json(text.into()),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(n), _) => AttributeValue::Int(n),
            (_, Ok(n)) => AttributeValue::Double(n),
            _ => AttributeValue::String(text.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_has_typed_fields() {
        let body = r#"{"a":1,"msg":"got \"x\" 5 times","b":{"c":"d\n","e":[1,2]},"f":1.5,"g":null}"#;
        let got: Vec<String> = derived_fields(body).into_iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        assert_eq!(
            got,
            [
                "a=Int(1)",
                "msg=String(\"got \\\"x\\\" 5 times\")",
                "b.c=String(\"d\\n\")",
                "b.e=Json(\"[1,2]\")",
                "f=Double(1.5)",
                "g=Null"
            ]
        );
        assert!(derived_fields("no fields here = 5").is_empty());
    }

    #[test]
    fn a_logfmt_body_has_texts() {
        let got = derived_fields(r#"level=info ts=5 msg="opened 3" path=/x"#);
        let got: Vec<&str> = got.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(got, ["level", "ts", "msg", "path"]);
    }
}
