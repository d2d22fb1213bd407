//! Health, our own metrics, and what an operator can do.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use greylight_ingest::{Ingest, Protocol};
use greylight_query::Queries;
use greylight_store::model::{Caller, Clock, ErrorKind, Problem, Timestamp};
use greylight_store::{Status, Store};
use serde_json::{Value, json};

use crate::auth::refuse;

/// What the operator's routes look at.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    store: Store,
    ingest: Ingest,
    queries: Queries,
    started_at: Timestamp,
    clock: Arc<dyn Clock>,
}

impl Admin {
    pub(crate) fn new(store: Store, ingest: Ingest, queries: Queries, clock: Arc<dyn Clock>) -> Self {
        Self { store, ingest, queries, started_at: clock.now(), clock }
    }
}

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
    let page = crate::own_metrics::page(&admin.store.status(), admin.ingest.stats(), admin.started_at);
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
        "receivers": receivers(&admin), "tables": tables, "jobs": jobs(&status), "agents": [], "queries": queries,
        "head": { "bytes": status.head_bytes, "series": status.n_head_series },
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
        json!({ "name": protocol.name(), "state": state, "accepted": accepted, "refused": refused, "unit": unit,
            "requests": stats.n_requests(protocol) })
    };
    Protocol::ALL.into_iter().map(receiver).collect()
}

fn jobs(status: &Status) -> Vec<Value> {
    let failure = status.last_failure.as_ref();
    let job = |name: &str, n: u64, state: &str| json!({ "name": name, "state": state, "text": format!("{n} done since start") });
    let mut jobs =
        vec![job("seal", status.n_seals, "healthy"), job("compaction", status.n_merges, "healthy")];
    if let Some((at, why)) = failure {
        jobs.push(json!({ "name": "retry", "state": "failed", "text": format!("{} failures since start", status.n_failures),
            "last_at": at.to_string(), "error": why }));
    }
    jobs
}
