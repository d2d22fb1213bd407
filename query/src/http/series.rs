//! What is there: series, label names and values, metadata.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use greylight_store::model::{Caller, Labels, Matcher};
use greylight_store::read::{MetricKind, Select, SpanMs};
use serde_json::{Map, Value as Json, json};

use super::error::{PromError, check_scope};
use super::json;
use super::params::{BadParam, Params};
use super::query::{body, data};
use crate::Queries;
use crate::promql::Annotations;
use crate::promql::syntax::{SyntaxLimits, parse_selector};
use crate::queries::Asked;

type Result<T> = std::result::Result<T, PromError>;

pub(super) fn matcher_sets(params: &Params) -> Result<Vec<Vec<Matcher>>> {
    params
        .all("match[]")
        .map(|text| {
            parse_selector(text, &SyntaxLimits::default()).map_err(|e| {
                if e.message.contains("at least one non-empty matcher") {
                    return PromError::bad_data("match[] must contain at least one non-empty matcher");
                }
                BadParam::new("match[]", e).into()
            })
        })
        .collect()
}

fn span(params: &Params) -> Result<SpanMs> {
    let start = params.time_ms("start")?.unwrap_or(i64::MIN);
    let end = params.time_ms("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(BadParam::new("end", "end timestamp must not be before start timestamp").into());
    }
    Ok(SpanMs { start, end })
}

pub(super) fn asked(caller: &Caller, text: String) -> Asked {
    Asked { tenant: caller.tenant.clone(), kind: "promql", text, timeout: None }
}

/// Cuts a list to `limit` entries; zero means no limit.
fn cut<T>(list: &mut Vec<T>, limit: Option<usize>, notes: &mut Annotations) {
    if let Some(limit) = limit.filter(|n| *n > 0 && *n < list.len()) {
        list.truncate(limit);
        notes.warn("results truncated due to limit".into());
    }
}

fn list_of<T>(list: &[T], notes: &Annotations, write: impl Fn(&mut Vec<u8>, &T)) -> Response {
    let mut out = json::success();
    out.push(b'[');
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(&mut out, item);
    }
    out.push(b']');
    json::close(&mut out, notes);
    body(out)
}

pub(super) async fn series(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let sets = matcher_sets(&params)?;
    if sets.is_empty() {
        return Err(PromError::bad_data("no match[] parameter provided"));
    }
    let span = span(&params)?;
    let limit = params.count("limit")?;
    let text = params.all("match[]").collect::<Vec<_>>().join(" or ");
    let mut notes = Annotations::default();
    let mut found: Vec<Labels> = queries
        .run(asked(&caller, text), move |queries, tenant, budget| -> Result<_> {
            let mut found = Vec::new();
            for matchers in &sets {
                let select = Select { matchers, span };
                found.extend_from_slice(queries.env().metrics.select(tenant, &select, budget)?.series());
            }
            if sets.len() > 1 {
                found.sort();
                found.dedup();
            }
            Ok(found)
        })
        .await??;
    cut(&mut found, limit, &mut notes);
    Ok(list_of(&found, &notes, json::labels))
}

pub(super) async fn labels(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let sets = matcher_sets(&params)?;
    let span = span(&params)?;
    let limit = params.count("limit")?;
    let mut names = queries
        .run(asked(&caller, "label names".into()), move |queries, tenant, budget| {
            queries.env().metrics.label_names(tenant, &sets, span, budget)
        })
        .await??;
    let mut notes = Annotations::default();
    cut(&mut names, limit, &mut notes);
    Ok(list_of(&names, &notes, |out, name| json::text(out, name)))
}

pub(super) async fn values(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let name = unescaped(&name);
    if name.is_empty() {
        return Err(PromError::bad_data(format!("invalid label name: {name:?}")));
    }
    let sets = matcher_sets(&params)?;
    let span = span(&params)?;
    let limit = params.count("limit")?;
    let text = format!("values of {name}");
    let mut values = queries
        .run(asked(&caller, text), move |queries, tenant, budget| {
            queries.env().metrics.label_values(tenant, &name, &sets, span, budget)
        })
        .await??;
    let mut notes = Annotations::default();
    cut(&mut values, limit, &mut notes);
    Ok(list_of(&values, &notes, |out, value| json::text(out, value)))
}

/// Undoes the escaping of names that are no plain identifiers: `U__http_2e_status`.
fn unescaped(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.into() };
    let mut out = String::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let decoded = rest.find('_').and_then(|end| {
            let code = u32::from_str_radix(&rest[..end], 16).ok()?;
            Some((char::from_u32(code)?, end))
        });
        // What is no escape was no escaped name either.
        let Some((c, end)) = decoded else { return name.into() };
        out.push(c);
        rest = &rest[end + 1..];
    }
    out + rest
}

fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::Summary => "summary",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Info => "info",
        MetricKind::StateSet => "stateset",
        MetricKind::Unknown => "unknown",
    }
}

pub(super) async fn metadata(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let limit = params.count("limit")?.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let per_metric = params.count("limit_per_metric")?.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let metric = params.get("metric").map(str::to_owned);
    let found = queries
        .run(asked(&caller, "metadata".into()), move |queries, tenant, _| {
            queries.env().metrics.metadata(tenant, metric.as_deref())
        })
        .await??;
    let mut out: Map<String, Json> = Map::new();
    for m in found {
        if !out.contains_key(&m.name) && out.len() >= limit {
            continue;
        }
        let entry = json!({ "type": kind_word(m.kind), "unit": m.unit, "help": m.help });
        if let Json::Array(list) = out.entry(m.name).or_insert_with(|| json!([]))
            && list.len() < per_metric
        {
            list.push(entry);
        }
    }
    Ok(data(&Json::Object(out)))
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escaped_names_are_undone() {
        assert_eq!(unescaped("U__http_2e_status"), "http.status");
        assert_eq!(unescaped("U__a__b"), "a_b");
        assert_eq!(unescaped("plain_name"), "plain_name");
        assert_eq!(unescaped("U__broken_zz"), "U__broken_zz");
    }
}
