//! `/api/v1/query`, `query_range` and what goes with them.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use greylight_store::model::{Caller, Exemplar, Labels, Matcher, Timestamp};
use greylight_store::read::{Budget, SpanMs};
use serde_json::{Value as Json, json};

use super::error::{PromError, check_scope};
use super::json as writer;
use super::params::{BadParam, Params};
use crate::Queries;
use crate::promql::syntax::{At, Card, Expr, ExprKind, Matching, Offset, Selector, pretty};
use crate::promql::{Answer, Engine, Query, Value, ValueType};
use crate::queries::{Asked, past_damage};

type Result<T> = std::result::Result<T, PromError>;

/// Says what rollups an answer was read from.
const ROLLUP: &str = "greylight-rollup";

/// Says how many steps of an answer were kept from earlier ones.
const CACHE: &str = "greylight-cache";

pub(super) fn body(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// What an answer was read from.
#[derive(Clone, Copy, Debug, Default)]
struct ReadFrom {
    /// Samples of rollups, and how many they stand for.
    rolled: (u64, u64),
    /// Steps kept from earlier answers.
    n_kept: usize,
}

/// An answer to a query; headers say what it was read from.
fn answered(bytes: Vec<u8>, from: ReadFrom) -> Response {
    let mut response = body(bytes);
    let (n_read, n_stood_for) = from.rolled;
    if from.n_kept > 0 {
        let said = format!("{} steps", from.n_kept).parse();
        response.headers_mut().extend(said.ok().map(|said| (HeaderName::from_static(CACHE), said)));
    }
    if n_stood_for > 0 {
        let said = format!("{n_read} of {n_stood_for} samples").parse();
        response.headers_mut().extend(said.ok().map(|said| (HeaderName::from_static(ROLLUP), said)));
    }
    response
}

/// Writes `{"status": "success", "data": ...}`.
pub(super) fn data(value: &Json) -> Response {
    let mut out = writer::success();
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'}');
    body(out)
}

fn parse(queries: &Queries, params: &Params) -> Result<Query> {
    let text = params.get("query").unwrap_or("");
    let query = Query::parse(text).map_err(|e| BadParam::new("query", e))?;
    match queries.disabled().find(query.expr()) {
        Some((span, why)) => {
            let detail = format!("{}: parse error: {why}", span.line_column(text));
            Err(BadParam::new("query", detail).into())
        }
        None => Ok(query),
    }
}

fn asked(caller: &Caller, params: &Params, query: &Query) -> Result<Asked> {
    let timeout = params.duration("timeout")?;
    let text = query.text().to_owned();
    Ok(Asked { tenant: caller.tenant.clone(), kind: "promql", text, timeout })
}

fn engine(queries: &Queries, params: &Params) -> Result<Engine> {
    let engine = match params.duration("lookback_delta")? {
        Some(span) if !span.is_zero() => queries.engine().with_lookback(span),
        _ => queries.engine().clone(),
    };
    // Any word asks for statistics.
    let counts = params.get("stats").is_some_and(|word| !word.is_empty());
    Ok(if counts { engine.counting() } else { engine })
}

/// Cuts an answer to at most `limit` series; zero and nothing mean no limit.
fn cut(answer: &mut Answer, limit: Option<usize>) {
    let Some(limit) = limit.filter(|n| *n > 0) else { return };
    let cut = match &mut answer.value {
        Value::Vector(samples) if samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        Value::Matrix(matrix) if matrix.len() > limit => {
            matrix.truncate(limit);
            true
        }
        _ => false,
    };
    if cut {
        answer.annotations.warn("results truncated due to limit".into());
    }
}

fn stats(params: &Params, answer: &Answer, budget: &Budget, from: ReadFrom, took: Duration) -> Option<Json> {
    let counted = answer.samples.as_ref()?;
    let took = took.as_secs_f64();
    let (_, n_samples) = budget.used();
    let mut samples = json!({ "totalQueryableSamples": counted.total(), "peakSamples": counted.peak,
        "samplesRead": n_samples });
    if params.get("stats") == Some("all") {
        let step = |(t_ms, n): &(i64, u64)| json!([seconds(*t_ms), n]);
        samples["totalQueryableSamplesPerStep"] = counted.by_step.iter().map(step).collect();
    }
    let (n_rolled, n_stood_for) = from.rolled;
    Some(json!({
        "timings": { "evalTotalTime": took, "resultSortTime": 0, "queryPreparationTime": 0,
            "innerEvalTime": took, "execQueueTime": 0, "execTotalTime": took },
        "samples": samples,
        "rollups": { "samplesRead": n_rolled, "samplesStoodFor": n_stood_for },
        "cache": { "stepsKept": from.n_kept },
    }))
}

/// A time in seconds, as a number.
fn seconds(t_ms: i64) -> Json {
    if t_ms % 1000 == 0 { json!(t_ms / 1000) } else { json!(t_ms as f64 / 1000.0) }
}

pub(super) async fn instant(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let limit = params.count("limit")?;
    let at = params.time_ms("time")?.map(Timestamp::from_millis);
    let query = parse(&queries, &params)?;
    let engine = engine(&queries, &params)?;
    let asked = asked(&caller, &params, &query)?;
    let done = queries
        .run(asked, move |queries, tenant, budget| {
            let clock = &queries.env().clock;
            let started = clock.elapsed();
            let at = at.unwrap_or_else(|| clock.now());
            let mut answer = past_damage(|| engine.instant(tenant, &query, at, budget))?;
            cut(&mut answer, limit);
            let from = ReadFrom { rolled: budget.rolled(), n_kept: 0 };
            let stats = stats(&params, &answer, budget, from, clock.elapsed().saturating_sub(started));
            Ok::<_, PromError>((writer::answer(&answer, stats.as_ref()), from))
        })
        .await??;
    Ok(answered(done.0, done.1))
}

pub(super) async fn range(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let limit = params.count("limit")?;
    let is_fresh = params.get("nocache").is_some_and(|word| matches!(word, "1" | "true"));
    let needed = |name: &str| -> Result<i64> {
        params.time_ms(name)?.ok_or_else(|| {
            let detail = format!("invalid time value for '{name}': cannot parse \"\" to a valid timestamp");
            BadParam::new(name, detail).into()
        })
    };
    let (start, end) = (needed("start")?, needed("end")?);
    if end < start {
        return Err(BadParam::new("end", "end timestamp must not be before start time").into());
    }
    let negative = params.get("step").is_some_and(|s| s.starts_with('-'));
    let zero = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    if negative {
        return Err(BadParam::new("step", zero).into());
    }
    let step = params.duration("step")?;
    let step = step.ok_or_else(|| BadParam::new("step", "cannot parse \"\" to a valid duration"))?;
    if step.is_zero() {
        return Err(BadParam::new("step", zero).into());
    }
    let query = parse(&queries, &params)?;
    if !matches!(query.value_type(), ValueType::Scalar | ValueType::Vector) {
        let detail = format!(
            "invalid expression type {:?} for range query, must be Scalar or instant Vector",
            query.value_type().describe()
        );
        return Err(BadParam::new("query", detail).into());
    }
    let engine = engine(&queries, &params)?;
    let asked = asked(&caller, &params, &query)?;
    let done = queries
        .run(asked, move |queries, tenant, budget| {
            let clock = &queries.env().clock;
            let started = clock.elapsed();
            let times = (Timestamp::from_millis(start), Timestamp::from_millis(end));
            let cache = Some(queries.cache()).filter(|_| !is_fresh);
            let (mut answer, n_kept) =
                past_damage(|| engine.range_kept(cache, tenant, &query, times, step, budget))?;
            cut(&mut answer, limit);
            let from = ReadFrom { rolled: budget.rolled(), n_kept };
            let stats = stats(&params, &answer, budget, from, clock.elapsed().saturating_sub(started));
            Ok::<_, PromError>((writer::answer(&answer, stats.as_ref()), from))
        })
        .await??;
    Ok(answered(done.0, done.1))
}

/// Exemplars of the series that any selector of the expression names; offsets and ranges make no difference.
pub(super) async fn exemplars(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let start = params.time_ms("start")?.unwrap_or(i64::MIN);
    let end = params.time_ms("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(BadParam::new("end", "end timestamp must not be before start timestamp").into());
    }
    let query = parse(&queries, &params)?;
    let asked = asked(&caller, &params, &query)?;
    let done = queries
        .run(asked, move |queries, tenant, budget| {
            let sets: Vec<Vec<Matcher>> =
                query.expr().selectors().into_iter().map(|selector| selector.matchers.clone()).collect();
            // No set would mean every series.
            let found = match sets.is_empty() {
                true => Vec::new(),
                false => queries.env().metrics.exemplars(tenant, &sets, SpanMs { start, end }, budget)?,
            };
            Ok::<_, PromError>(exemplar_list(&found))
        })
        .await??;
    Ok(body(done))
}

fn exemplar_list(found: &[(Labels, Vec<Exemplar>)]) -> Vec<u8> {
    let mut out = writer::success();
    out.push(b'[');
    for (i, (series, exemplars)) in found.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"{\"seriesLabels\":" } else { b",{\"seriesLabels\":" });
        writer::labels(&mut out, series);
        out.extend_from_slice(b",\"exemplars\":[");
        for (i, exemplar) in exemplars.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"{\"labels\":" } else { b",{\"labels\":" });
            writer::labels(&mut out, &exemplar.labels);
            out.extend_from_slice(b",\"value\":");
            writer::value(&mut out, exemplar.value);
            out.extend_from_slice(b",\"timestamp\":");
            writer::time(&mut out, exemplar.t_ms);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
    out
}

pub(super) async fn format(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&pretty(parse(&queries, &params)?.expr()).into()))
}

pub(super) async fn tree(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&tree_of(parse(&queries, &params)?.expr())))
}

fn tree_of(expr: &Expr) -> Json {
    match &expr.kind {
        ExprKind::Number { value, .. } => json!({ "type": "numberLiteral", "val": value.to_string() }),
        ExprKind::String(text) => json!({ "type": "stringLiteral", "val": text }),
        ExprKind::Vector(selector) => selector_tree("vectorSelector", selector),
        ExprKind::Matrix { selector, range, .. } => {
            let mut tree = selector_tree("matrixSelector", selector);
            tree["range"] = range.to_string().into();
            tree
        }
        ExprKind::Subquery { expr, range, step, offset } => {
            let step = step.as_ref().map(ToString::to_string);
            let mut tree = json!({ "type": "subquery", "expr": tree_of(expr), "range": range.to_string(), "step": step });
            add_offset(&mut tree, offset);
            tree
        }
        ExprKind::Call { func, args } => {
            let args: Vec<Json> = args.iter().map(tree_of).collect();
            let types: Vec<&str> = func.args.iter().map(|t| t.as_str()).collect();
            let func = json!({ "name": func.name, "argTypes": types, "variadic": func.variadic,
                "returnType": func.returns.as_str() });
            json!({ "type": "call", "func": func, "args": args })
        }
        ExprKind::Aggregate { op, param, expr, grouping } => json!({
            "type": "aggregation", "op": op.as_str(), "expr": tree_of(expr), "param": param.as_ref().map(|p| tree_of(p)),
            "grouping": grouping.labels, "without": grouping.without,
        }),
        ExprKind::Binary { op, lhs, rhs, matching, return_bool } => json!({
            "type": "binaryExpr", "op": op.as_str(), "lhs": tree_of(lhs), "rhs": tree_of(rhs),
            "matching": matching_tree(matching), "bool": return_bool,
        }),
        ExprKind::Unary { negative, expr } => {
            json!({ "type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": tree_of(expr) })
        }
        ExprKind::Paren(inner) => json!({ "type": "parenExpr", "expr": tree_of(inner) }),
    }
}

fn matching_tree(matching: &Matching) -> Json {
    let card = match matching.card {
        Card::OneToOne => "one-to-one",
        Card::ManyToOne => "many-to-one",
        Card::OneToMany => "one-to-many",
        Card::ManyToMany => "many-to-many",
    };
    json!({ "card": card, "labels": matching.labels, "on": matching.on, "include": matching.include })
}

fn selector_tree(kind: &str, selector: &Selector) -> Json {
    let matchers: Vec<Json> = selector
        .matchers
        .iter()
        .map(|m| json!({ "name": m.name(), "value": m.value(), "type": m.op().as_str() }))
        .collect();
    let mut tree =
        json!({ "type": kind, "name": selector.name.as_deref().unwrap_or(""), "matchers": matchers });
    add_offset(&mut tree, &selector.offset);
    tree
}

fn add_offset(tree: &mut Json, offset: &Offset) {
    tree["offset"] = offset.by.as_ref().map_or_else(|| "0s".into(), ToString::to_string).into();
    match offset.at {
        Some(At::Time(ms)) => tree["timestamp"] = ms.into(),
        Some(At::Start) => tree["startOrEnd"] = "start".into(),
        Some(At::End) => tree["startOrEnd"] = "end".into(),
        None => {}
    }
}
