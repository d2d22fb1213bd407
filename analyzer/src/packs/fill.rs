//! Fills the placeholders of packs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What placeholders stand for: a text, or a log query where it stands alone.
pub(super) type Terms = BTreeMap<String, Value>;

/// A placeholder that cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// Nothing stands for it.
    Unknown(String),
    /// It stands for a log query, inside of a text that is no log query.
    LogQuery(String),
}

/// Placeholders that the policy itself fills.
const OF_POLICIES: [&str; 2] = ["cohort", "interval"];

/// Fills all texts of a value.
pub(super) fn fill(value: &Value, terms: &Terms) -> Result<Value, Unfilled> {
    Ok(match value {
        Value::String(text) => text_or_query(text, terms)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, terms)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Value::Object(fill_map(map, terms)?),
        other => other.clone(),
    })
}

pub(super) fn fill_map(map: &Map<String, Value>, terms: &Terms) -> Result<Map<String, Value>, Unfilled> {
    map.iter().map(|(key, value)| Ok((key.clone(), fill(value, terms)?))).collect()
}

/// Fills a text; one that is nothing but a placeholder becomes what it stands for.
fn text_or_query(text: &str, terms: &Terms) -> Result<Value, Unfilled> {
    if let Some((name, "")) = text.strip_prefix('$').and_then(placeholder)
        && let Some(value) = terms.get(name)
    {
        return Ok(value.clone());
    }
    fill_text(text, terms).map(Value::String)
}

/// Fills the placeholders inside of a text.
pub(super) fn fill_text(text: &str, terms: &Terms) -> Result<String, Unfilled> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let Some((name, behind)) = placeholder(after) else {
            out.push('$');
            rest = after;
            continue;
        };
        match terms.get(name) {
            Some(Value::String(value)) => out.push_str(value),
            Some(_) => return Err(Unfilled::LogQuery(name.to_owned())),
            None if OF_POLICIES.contains(&name) => {
                out.push('$');
                out.push_str(name);
            }
            None => return Err(Unfilled::Unknown(name.to_owned())),
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// Takes `name` or `{name}` off the text behind a dollar.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return Some((name, rest));
    }
    let len = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    (len > 0).then(|| text.split_at(len))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_filled_and_queries_stand_alone() {
        let terms = Terms::from([("each".into(), json!("x")), ("requests".into(), json!({ "logs": "*" }))]);
        let check = |text: &str, want: Result<Value, Unfilled>| assert_eq!(fill(&json!(text), &terms), want);
        check("rate(${each}_sum{$cohort}[$interval])", Ok(json!("rate(x_sum{$cohort}[$interval])")));
        check("$each{a=~\"b$\"}", Ok(json!("x{a=~\"b$\"}")));
        check("$requests", Ok(json!({ "logs": "*" })));
        check("rate($requests[1m])", Err(Unfilled::LogQuery("requests".into())));
        check("$nothing", Err(Unfilled::Unknown("nothing".into())));
    }
}
