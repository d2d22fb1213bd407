//! What clients ask about the server itself.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use greylight_store::model::Caller;
use greylight_store::read::{Select, SpanMs};
use serde_json::{Value as Json, json};

use super::error::{PromError, check_scope};
use super::params::Params;
use super::query::data;
use crate::Queries;
use crate::queries::Asked;

type Result<T> = std::result::Result<T, PromError>;

/// The version of Prometheus whose language and API this is; clients choose by it what they ask.
const PROMETHEUS_VERSION: &str = "3.5.0";
/// Entries of each list of the statistics, unless asked otherwise.
const TOP_N: usize = 10;
const TOP_N_MAX: usize = 10_000;

/// The server scrapes nothing; its agents do.
pub(super) async fn targets(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} })))
}

/// Without a map of features: with one, Grafana takes the server for Mimir.
pub(super) async fn build(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&build_info()))
}

fn build_info() -> Json {
    let revision = concat!("greylight-", env!("CARGO_PKG_VERSION"));
    json!({ "version": PROMETHEUS_VERSION, "revision": revision, "branch": "", "buildUser": "", "buildDate": "",
        "goVersion": "" })
}

/// The same outside of the API's envelope.
pub(super) async fn version(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(super::query::body(build_info().to_string().into_bytes()))
}

pub(super) async fn target_metadata(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&json!([])))
}

pub(super) async fn scrape_pools(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&json!({ "scrapePools": [] })))
}

/// The log is read before the server listens, so it is always done.
pub(super) async fn wal_replay(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&json!({ "min": 0, "max": 0, "current": 0, "state": "done" })))
}

pub(super) async fn runtime(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
) -> Result<Response> {
    check_scope(&caller)?;
    let now = queries.env().clock.now().to_string();
    Ok(data(
        &json!({ "serverTime": now, "reloadConfigSuccess": true, "corruptionCount": 0, "goroutineCount": 0,
        "GOMAXPROCS": queries.config().concurrent_max, "storageRetention": "" }),
    ))
}

pub(super) async fn flags(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
) -> Result<Response> {
    check_scope(&caller)?;
    let config = queries.config();
    let seconds = |span: std::time::Duration| format!("{}s", span.as_secs_f64());
    Ok(data(&json!({
        "query.lookback-delta": seconds(config.lookback),
        "query.max-concurrency": config.concurrent_max.to_string(),
        "query.max-samples": config.samples_max.to_string(),
        "query.timeout": seconds(config.timeout),
    })))
}

/// There is no Prometheus configuration; the text is empty, which is valid YAML.
pub(super) async fn config(Extension(caller): Extension<Caller>) -> Result<Response> {
    check_scope(&caller)?;
    Ok(data(&json!({ "yaml": "" })))
}

pub(super) async fn tsdb(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response> {
    check_scope(&caller)?;
    let limit = params.count("limit")?.filter(|n| *n > 0).unwrap_or(TOP_N).min(TOP_N_MAX);
    let asked = Asked { tenant: caller.tenant, kind: "promql", text: "statistics".into(), timeout: None };
    let stats = queries.run(asked, move |queries, tenant, budget| -> Result<Json> {
        let select = Select { matchers: &[], span: SpanMs::ALL };
        let selection = queries.env().metrics.select(tenant, &select, budget)?;
        let mut by_name: HashMap<&str, u64> = HashMap::new();
        let mut by_pair: HashMap<String, u64> = HashMap::new();
        let mut values: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
        for (i, labels) in selection.series().iter().enumerate() {
            if i % 1024 == 0 {
                budget.check()?;
            }
            *by_name.entry(labels.metric_name()).or_default() += 1;
            for (name, value) in labels {
                *by_pair.entry(format!("{name}={value}")).or_default() += 1;
                values.entry(name).or_default().insert(value, value.len());
            }
        }
        let counts = values.iter().map(|(name, v)| ((*name).to_owned(), v.len() as u64)).collect();
        let bytes =
            values.iter().map(|(name, v)| ((*name).to_owned(), v.values().sum::<usize>() as u64)).collect();
        let names = by_name.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
        let n_pairs = by_pair.len();
        // As Prometheus has them where there is nothing.
        let nothing = SpanMs { start: i64::MAX, end: i64::MIN };
        let n_chunks = queries.env().metrics.n_chunks(tenant).unwrap_or(0);
        let bounds = queries.env().metrics.bounds(tenant).unwrap_or(nothing);
        Ok(json!({
            "headStats": { "numSeries": selection.series().len(), "numLabelPairs": n_pairs, "chunkCount": n_chunks,
                "minTime": bounds.start, "maxTime": bounds.end },
            "seriesCountByMetricName": top(names, limit),
            "labelValueCountByLabelName": top(counts, limit),
            "memoryInBytesByLabelName": top(bytes, limit),
            "seriesCountByLabelValuePair": top(by_pair.into_iter().collect(), limit),
        }))
    });
    Ok(data(&stats.await??))
}

fn top(mut counts: Vec<(String, u64)>, limit: usize) -> Json {
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(limit);
    counts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
