//! Health, our own metrics, and what an operator can do.

mod delete;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use greylight_analyzer::Analyzer;
use greylight_ingest::{AgentStatus, Ingest, Protocol};
use greylight_query::Queries;
use greylight_store::model::{Caller, Clock, ErrorKind, Problem, Timestamp};
use greylight_store::{JobStatus, Status, Store};
use serde_json::{Value, json};

use crate::auth::refuse;

/// What the operator's routes look at.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    store: Store,
    ingest: Ingest,
    queries: Queries,
    analyzer: Arc<Analyzer>,
    limits: Limits,
    started_at: Timestamp,
    clock: Arc<dyn Clock>,
}

/// What the settings allow in memory, shown beside what is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Heads, before senders are told to wait.
    pub(crate) head_bytes: u64,
    /// Bodies that are being received.
    pub(crate) receiving_bytes: u64,
    /// One SQL query.
    pub(crate) query_bytes: u64,
}

impl Admin {
    pub(crate) fn new(
        store: Store,
        ingest: Ingest,
        queries: Queries,
        analyzer: Arc<Analyzer>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, ingest, queries, analyzer, limits, started_at: clock.now(), clock }
    }
}

/// An agent that sent nothing for so long is shown as silent.
const SILENT_AFTER: Duration = Duration::from_secs(120);

/// Returns the routes of operators.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/-/healthy", get(alive))
        .route("/readyz", get(ready))
        .route("/-/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/admin/status", get(status))
        .route("/api/v1/admin/flush", post(flush))
        .route("/api/v1/admin/backup", post(backup))
        .route("/api/v1/admin/tsdb/delete_series", post(delete::delete_series).put(delete::delete_series))
        .route("/api/v1/admin/logs/delete", post(delete::delete_records))
        .route("/api/v1/queries/{id}", delete(end_query))
        .with_state(admin)
}

/// The process answers; a full disk must not make anyone restart it.
async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(admin): State<Admin>) -> Response {
    let status = admin.store.status();
    match not_ready(&status) {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn not_ready(status: &Status) -> Option<&'static str> {
    status
        .read_only
        .then_some("read-only: a write to the log failed; see the server's log, mend the disk and restart")
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let page =
        crate::own_metrics::page(&admin.store.status(), admin.ingest.stats(), admin.started_at, |page| {
            admin.analyzer.render(page);
        });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

/// Seals the heads and compacts until nothing is left to do, then answers.
async fn flush(State(admin): State<Admin>) -> Response {
    match admin.store.flush().await {
        Ok(()) => Json(json!({ "flushed": true })).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "flushing failed");
            refuse(&Problem::new(error.kind(), error))
        }
    }
}

/// What a caller says about a backup.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupRequest {
    /// Path below the folder for backups.
    path: String,
}

/// Makes a backup and answers when it is complete and checked.
async fn backup(State(admin): State<Admin>, body: axum::body::Bytes) -> Response {
    let request: BackupRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            return refuse(&Problem::new(
                ErrorKind::Invalid,
                format!("the body is not as it should be: {error}"),
            ));
        }
    };
    match admin.store.backup_below(&request.path).await {
        Ok(report) => {
            tracing::info!(
                path = request.path,
                n_files = report.n_files,
                bytes = report.bytes,
                "made a backup"
            );
            Json(crate::commands::report_json(&report, &request.path)).into_response()
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a backup failed");
            refuse(&Problem::new(error.kind(), error))
        }
    }
}

async fn end_query(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    if admin.queries.end(&caller.tenant, &id) {
        return StatusCode::NO_CONTENT.into_response();
    }
    refuse(&Problem::new(ErrorKind::NotFound, format!("no query {id:?} is running")))
}

async fn status(State(admin): State<Admin>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let status = admin.store.status();
    let now = admin.clock.now();
    let tables: Vec<Value> = status
        .tables
        .iter()
        .filter(|table| table.tenant == caller.tenant)
        .map(|table| {
            json!({ "name": table.table.as_str(), "rows": table.n_rows, "bytes": table.bytes, "segments": table.n_segments,
                "oldest": table.first.map(|t| t.to_string()), "newest": table.last.map(|t| t.to_string()) })
        })
        .collect();
    let queries: Vec<Value> = admin
        .queries
        .running(&caller.tenant)
        .into_iter()
        .map(|q| {
            json!({ "id": q.id, "query": q.text, "kind": q.kind, "elapsed_ms": q.elapsed.as_millis() as u64,
                "limit_ms": q.limit.as_millis() as u64, "rows": q.n_samples })
        })
        .collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"), "started_at": admin.started_at.to_string(), "now": now.to_string(),
        "tenant": caller.tenant.as_str(), "read_only": not_ready(&status), "refusing": status.refusing,
        "receivers": receivers(&admin), "tables": tables, "jobs": jobs(&status),
        "agents": agents(&admin, &caller, now), "queries": queries,
        "head": { "bytes": status.head_bytes, "series": status.n_head_series },
        "memory": { "used_bytes": crate::own_metrics::resident_bytes(),
            "limit_bytes": crate::own_metrics::memory_limit_bytes() },
        "limits": { "head_bytes": admin.limits.head_bytes, "receiving_bytes": admin.limits.receiving_bytes,
            "query_bytes": admin.limits.query_bytes },
        "disk": { "free_bytes": status.free_bytes }, "missing": status.missing,
        "wal": { "bytes_written": status.wal.bytes_written, "syncs": status.wal.n_syncs,
            "sequence": status.wal.sequence, "sealed_sequence": status.wal.sealed_sequence },
    }))
}

fn receivers(admin: &Admin) -> Vec<Value> {
    let stats = admin.ingest.stats();
    let receiver = |protocol: Protocol| {
        let (accepted, refused, unit) = match protocol {
            Protocol::Loki => (stats.n_records_of(protocol), stats.n_records_refused_of(protocol), "records"),
            _ => {
                let both = stats.n_samples_of(protocol) + stats.n_records_of(protocol);
                let refused = stats.n_samples_refused_of(protocol) + stats.n_records_refused_of(protocol);
                (both, refused, "samples")
            }
        };
        let state = if stats.n_requests(protocol) == 0 { "idle" } else { "receiving" };
        let refusals: Vec<Value> = stats
            .refusals_of(protocol)
            .into_iter()
            .map(|r| {
                let unit = if r.is_request { "requests" } else { "items" };
                json!({ "reason": r.reason, "count": r.count, "unit": unit })
            })
            .collect();
        json!({ "name": protocol.name(), "state": state, "accepted": accepted, "refused": refused, "unit": unit,
            "requests": stats.n_requests(protocol), "refusals": refusals,
            "last_at": stats.stored_at(protocol).map(|t| t.to_string()) })
    };
    Protocol::ALL.into_iter().map(receiver).collect()
}

fn jobs(status: &Status) -> Vec<Value> {
    let job = |job: &JobStatus| {
        let state = match (&job.error, job.last_at) {
            (Some(_), _) => "failed",
            (None, None) => "idle",
            (None, Some(_)) => "healthy",
        };
        let mut text = format!("{} done since start", job.n_done);
        if job.n_failed > 0 {
            text.push_str(&format!(", {} failed", job.n_failed));
        }
        json!({ "name": job.name, "state": state, "text": text, "done": job.n_done, "failed": job.n_failed,
            "last_at": job.last_at.map(|t| t.to_string()), "next_at": job.next_at.map(|t| t.to_string()),
            "error": job.error })
    };
    status.jobs.iter().map(job).collect()
}

fn agents(admin: &Admin, caller: &Caller, now: Timestamp) -> Vec<Value> {
    let agent = |agent: AgentStatus| {
        let is_silent = now.since(agent.last_seen) > SILENT_AFTER;
        json!({ "name": agent.name, "state": if is_silent { "silent" } else { "healthy" }, "version": agent.version,
            "last_seen": agent.last_seen.to_string(), "samples": agent.n_samples, "records": agent.n_records,
            "refused": agent.n_refused })
    };
    admin.ingest.agents(&caller.tenant).into_iter().map(agent).collect()
}
