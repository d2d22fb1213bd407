//! The routes over sources in memory, asked without a network.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use greylight_query::sql::{Cell, Column, ColumnType, View};
use greylight_query::{Queries, QueryConfig, QueryEnv};
use greylight_store::append::{MetricKind, MetricMetadata};
use greylight_store::model::{Caller, Labels, ManualClock, Problem, Scopes, TenantId, Timestamp};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::memory::{Memory, MemoryLogs};

/// Where the clock of the tests stands.
pub(crate) const NOW_S: i64 = 1_795_255_200;

/// A view of two rows.
#[derive(Debug)]
struct Releases;

#[async_trait::async_trait]
impl View for Releases {
    fn name(&self) -> &str {
        "releases"
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column { name: "id", kind: ColumnType::Text },
            Column { name: "start", kind: ColumnType::Time },
            Column { name: "looks", kind: ColumnType::Integer },
        ]
    }

    async fn rows(&self, tenant: &TenantId) -> Result<Vec<Vec<Cell>>, Problem> {
        let row = |id: &str, looks| {
            vec![
                Cell::Text(format!("{tenant}-{id}")),
                Cell::Time(Timestamp::from_millis(1000 * NOW_S)),
                looks,
            ]
        };
        Ok(vec![row("a", Cell::Integer(3)), row("b", Cell::Null)])
    }
}

pub(crate) fn memory() -> Memory {
    let mut memory = Memory::default();
    for (job, factor) in [("api", 1.0), ("web", 2.0)] {
        let labels = [("__name__", "http_requests_total"), ("job", job), ("instance", "a:1")];
        let labels = Labels::from_pairs(labels).unwrap();
        memory.add(labels, (0..=60).map(|i| ((NOW_S - 600 + 10 * i) * 1000, factor * 10.0 * i as f64)));
    }
    memory.metadata.push(MetricMetadata {
        name: "http_requests_total".into(),
        kind: MetricKind::Counter,
        help: "Requests.".into(),
        unit: String::new(),
    });
    memory
}

pub(crate) fn router_with(config: QueryConfig, memory: Memory) -> (Router, Queries) {
    router_of(config, memory, &[])
}

/// A server with some of PromQL taken away.
pub(crate) fn router_without(disabled: &[String]) -> (Router, Queries) {
    router_of(QueryConfig::default(), memory(), disabled)
}

fn router_of(config: QueryConfig, memory: Memory, disabled: &[String]) -> (Router, Queries) {
    let clock = ManualClock::at(Timestamp::from_millis(1000 * NOW_S));
    let env = QueryEnv {
        metrics: Arc::new(memory),
        logs: Arc::new(MemoryLogs::default()),
        views: vec![Arc::new(Releases)],
        clock: Arc::new(clock),
    };
    let queries = Queries::new(env, config, disabled).unwrap();
    let caller = Caller { tenant: TenantId::default(), scopes: Scopes::all() };
    (greylight_query::http::router(queries.clone()).layer(axum::Extension(caller)), queries)
}

pub(crate) fn router() -> Router {
    router_with(QueryConfig::default(), memory()).0
}

/// Asks with GET, or with POST where there is a form.
pub(crate) async fn ask(router: &Router, path: &str, form: Option<&str>) -> (StatusCode, Vec<u8>) {
    let request = match form {
        None => Request::get(path).body(Body::empty()),
        Some(form) => Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned())),
    };
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

pub(crate) async fn ask_json(router: &Router, path: &str) -> (StatusCode, Value) {
    let (status, body) = ask(router, path, None).await;
    let value = serde_json::from_slice(&body);
    (status, value.unwrap_or_else(|e| panic!("{path}: {e}: {}", String::from_utf8_lossy(&body))))
}

pub(crate) async fn post_json(router: &Router, path: &str, body: Value) -> (StatusCode, Vec<u8>) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}
