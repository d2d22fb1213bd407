//! Log searches, in the shapes of our own API.

use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use greylight_store::model::{Caller, ErrorKind, Problem, TimeRange, Timestamp, severity_word};
use greylight_store::read::{
    Budget, FoundRecord, GroupBy, Intervals, LogOrder, LogQuery, LogSelect, PageRequest, ReadError, RecordId,
};
use serde_json::{Map, Value, json};

use super::error::{OwnError, check_scope};
use super::params::{BadParam, Params};
use crate::Queries;
use crate::promql::syntax::{SyntaxLimits, format_duration, parse_matchers, parse_selector};
use crate::queries::Asked;
use crate::record::record_json;

type Answer = Result<Json<Value>, OwnError>;

/// Records of one page.
const PAGE_RECORDS: usize = 100;
const PAGE_RECORDS_MAX: usize = 5000;
/// Intervals of one histogram.
const INTERVALS: i64 = 60;
const INTERVALS_MAX: usize = 11_000;
/// Values that a histogram tells apart; the rest counts as a whole.
const VALUES_MAX: usize = 50;
const PATTERNS: usize = 100;
const PATTERNS_MAX: usize = 1000;
const NEIGHBOURS: usize = 10;
const NEIGHBOURS_MAX: usize = 500;
/// What a histogram without a range shows.
const LAST_HOUR: Duration = Duration::from_secs(3600);

fn select(params: &Params, range: TimeRange) -> Result<LogSelect, OwnError> {
    let invalid = |name: &str, e: &dyn std::fmt::Display| {
        OwnError(Problem::new(ErrorKind::Invalid, e).field(name).value(params.get(name).unwrap_or("")))
    };
    let query = LogQuery::parse(params.get("query").unwrap_or("")).map_err(|e| invalid("query", &e))?;
    let limits = SyntaxLimits::default();
    let matchers = match params.get("match").map(str::trim) {
        None => Vec::new(),
        Some(text) if text.starts_with('{') => {
            parse_matchers(text, &limits).map_err(|e| invalid("match", &e))?
        }
        Some(text) => parse_selector(text, &limits).map_err(|e| invalid("match", &e))?,
    };
    Ok(LogSelect { query, matchers, range })
}

/// The log records that a request names by `query`, `match`, `start` (inclusive) and `end` (exclusive), as the searches
/// of this module understand them. A request with neither `query` nor `match` is refused, so that nobody names
/// everything by accident.
#[derive(Debug)]
pub struct SelectedLogs(pub LogSelect);

impl<S: Send + Sync> FromRequest<S> for SelectedLogs {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let params = Params::from_request(request, state).await?;
        if params.get("query").is_none() && params.get("match").is_none() {
            let problem = Problem::new(ErrorKind::Invalid, "neither query nor match says which records");
            return Err(OwnError(problem.field("query")).into_response());
        }
        let select = || select(&params, range(&params, Timestamp::MIN, Timestamp::MAX)?);
        select().map(Self).map_err(IntoResponse::into_response)
    }
}

fn range(params: &Params, default_start: Timestamp, default_end: Timestamp) -> Result<TimeRange, OwnError> {
    let start = params.instant("start")?.unwrap_or(default_start);
    let end = params.instant("end")?.unwrap_or(default_end);
    TimeRange::new(start, end).map_err(|e| OwnError(Problem::new(ErrorKind::Invalid, e).field("end")))
}

fn capped(params: &Params, name: &str, default: usize, max: usize) -> Result<usize, OwnError> {
    let n = params.count(name)?.unwrap_or(default);
    if n <= max {
        return Ok(n);
    }
    Err(OwnError(
        Problem::new(ErrorKind::Limit, format!("{name} is above {max}")).field(name).value(n).limit(max),
    ))
}

fn asked(caller: &Caller, params: &Params) -> Result<Asked, OwnError> {
    let text = format!("{} {}", params.get("match").unwrap_or("{}"), params.get("query").unwrap_or("*"));
    Ok(Asked { tenant: caller.tenant.clone(), kind: "logs", text, timeout: params.duration("timeout")? })
}

fn add_missing(answer: &mut Value, missing: Vec<String>) {
    answer["partial"] = (!missing.is_empty()).into();
    if !missing.is_empty() {
        answer["warnings"] = missing.into();
    }
}

/// Runs a question about logs; what it took is added to its answer.
async fn run(
    queries: &Queries,
    asked: Asked,
    work: impl FnOnce(&Queries, &greylight_store::model::TenantId, &Budget) -> Result<Value, ReadError>
    + Send
    + 'static,
) -> Answer {
    let done = queries.run(asked, move |queries, tenant, budget| {
        let clock = &queries.env().clock;
        let started = clock.elapsed();
        let mut answer = work(queries, tenant, budget)?;
        let elapsed = clock.elapsed().saturating_sub(started);
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        answer["stats"] = json!({ "elapsed_ms": elapsed_ms, "scanned": budget.used().1 });
        Ok::<_, ReadError>(answer)
    });
    Ok(Json(done.await??))
}

pub(super) async fn search(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Answer {
    check_scope(&caller)?;
    let select = select(&params, range(&params, Timestamp::MIN, Timestamp::MAX)?)?;
    let order = match params.get("order").unwrap_or("newest") {
        "newest" => LogOrder::NewestFirst,
        "oldest" => LogOrder::OldestFirst,
        other => return Err(BadParam::new("order", format!("{other:?} is neither newest nor oldest")).into()),
    };
    let limit = capped(&params, "limit", PAGE_RECORDS, PAGE_RECORDS_MAX)?;
    let after = record_id(&params, "cursor")?;
    run(&queries, asked(&caller, &params)?, move |queries, tenant, budget| {
        let page = PageRequest { order, limit, after };
        let page = queries.env().logs.search(tenant, &select, &page, budget)?;
        let records: Vec<Value> = page.records.iter().map(record_json).collect();
        let mut answer = json!({ "records": records, "cursor": page.next.map(|id| id.to_string()) });
        add_missing(&mut answer, page.missing);
        Ok(answer)
    })
    .await
}

fn record_id(params: &Params, name: &str) -> Result<Option<RecordId>, OwnError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|e| OwnError(Problem::new(ErrorKind::Invalid, e).field(name).value(text)))
}

pub(super) async fn histogram(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Answer {
    check_scope(&caller)?;
    let now = queries.env().clock.now();
    let range = range(&params, now.saturating_sub(LAST_HOUR), now)?;
    let select = select(&params, range)?;
    let intervals = intervals(&params, range)?;
    let by = params.get("by").map(|by| match by {
        "severity" => GroupBy::Severity,
        "pattern" => GroupBy::Template,
        field => GroupBy::Field(field.into()),
    });
    run(&queries, asked(&caller, &params)?, move |queries, tenant, budget| {
        let keys: Vec<GroupBy> = by.into_iter().collect();
        let counts = queries.env().logs.count(tenant, &select, intervals, &keys, budget)?;
        let mut buckets: Vec<(u64, Map<String, Value>)> = vec![(0, Map::new()); intervals.n];
        for (rank, group) in counts.groups.iter().enumerate() {
            for ((total, by), n) in buckets.iter_mut().zip(&group.counts).filter(|(_, n)| **n > 0) {
                *total += n;
                if let Some(key) = group.key.first().filter(|_| rank < VALUES_MAX) {
                    by.insert(key.clone(), (*n).into());
                }
            }
        }
        let total: u64 = buckets.iter().map(|(n, _)| n).sum();
        let start = intervals.start;
        let buckets: Vec<Value> = buckets
            .into_iter()
            .enumerate()
            .map(|(i, (count, by))| {
                let after = intervals.step.saturating_mul(u32::try_from(i).unwrap_or(u32::MAX));
                let mut bucket = json!({ "time": start.saturating_add(after).to_string(), "count": count });
                if !keys.is_empty() {
                    bucket["by"] = by.into();
                }
                bucket
            })
            .collect();
        let step_ms = i64::try_from(intervals.step.as_millis()).unwrap_or(i64::MAX);
        let mut answer = json!({ "step": format_duration(step_ms), "buckets": buckets, "total": total });
        add_missing(&mut answer, counts.missing);
        Ok(answer)
    })
    .await
}

/// Intervals of a round width that begin at multiples of it.
fn intervals(params: &Params, range: TimeRange) -> Result<Intervals, OwnError> {
    let span_ms = i64::try_from(range.end().since(range.start()).as_millis()).unwrap_or(i64::MAX);
    let step_ms = match params.duration("step")? {
        Some(step) => i64::try_from(step.as_millis()).unwrap_or(i64::MAX),
        None => round_step(span_ms / INTERVALS),
    };
    if step_ms == 0 {
        return Err(BadParam::new("step", "step is zero").into());
    }
    let first = range.start().as_millis().div_euclid(step_ms).saturating_mul(step_ms);
    let to_end = range.end().since(Timestamp::from_millis(first)).as_nanos();
    let step = Duration::from_millis(step_ms.unsigned_abs());
    let n = usize::try_from(to_end.div_ceil(step.as_nanos())).unwrap_or(usize::MAX);
    if n > INTERVALS_MAX {
        let problem =
            Problem::new(ErrorKind::Limit, format!("step makes {n} intervals, more than {INTERVALS_MAX}"));
        return Err(OwnError(problem.field("step").limit(INTERVALS_MAX)));
    }
    Ok(Intervals { start: Timestamp::from_millis(first), step, n })
}

fn round_step(ms: i64) -> i64 {
    const STEPS_S: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 21_600];
    let fits = STEPS_S.iter().map(|s| s * 1000).find(|step| *step >= ms);
    // Whole days, rounded up.
    fits.unwrap_or_else(|| (ms.saturating_add(86_399_999) / 86_400_000).saturating_mul(86_400_000))
}

pub(super) async fn patterns(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Answer {
    check_scope(&caller)?;
    let now = queries.env().clock.now();
    let select = select(&params, range(&params, now.saturating_sub(LAST_HOUR), now)?)?;
    let limit = capped(&params, "limit", PATTERNS, PATTERNS_MAX)?;
    run(&queries, asked(&caller, &params)?, move |queries, tenant, budget| {
        let found = queries.env().logs.patterns(tenant, &select, limit, budget)?;
        let patterns: Vec<Value> = found
            .patterns
            .iter()
            .map(|p| {
                json!({ "id": p.template.to_string(), "text": p.text, "severity": severity_word(p.severity_number),
                    "count": p.count, "example": p.example.as_ref().map(record_json) })
            })
            .collect();
        let total: u64 = found.patterns.iter().map(|p| p.count).sum();
        let mut answer = json!({ "patterns": patterns, "total": total });
        add_missing(&mut answer, found.missing);
        Ok(answer)
    })
    .await
}

pub(super) async fn context(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Answer {
    check_scope(&caller)?;
    let needed = || Problem::new(ErrorKind::Invalid, "the record's id is missing").field("id");
    let id = record_id(&params, "id")?.ok_or_else(needed)?;
    let before = capped(&params, "before", NEIGHBOURS, NEIGHBOURS_MAX)?;
    let after = capped(&params, "after", NEIGHBOURS, NEIGHBOURS_MAX)?;
    let found = run(&queries, asked(&caller, &params)?, move |queries, tenant, budget| {
        let page = queries.env().logs.context(tenant, id, before, after, budget)?;
        let Some(at) = page.records.iter().position(|r| r.id == id) else { return Ok(Value::Null) };
        let list = |records: &[FoundRecord]| records.iter().map(record_json).collect::<Vec<_>>();
        let mut answer = json!({ "before": list(&page.records[..at]), "record": record_json(&page.records[at]),
            "after": list(&page.records[at + 1..]) });
        add_missing(&mut answer, page.missing);
        Ok(answer)
    })
    .await?;
    if found.0.get("record").is_none() {
        let problem = Problem::new(ErrorKind::NotFound, format!("there is no log record {id}"));
        return Err(OwnError(problem.field("id")));
    }
    Ok(found)
}
