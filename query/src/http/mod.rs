//! The HTTP APIs: Prometheus's for metrics, our own for SQL and logs.
//!
//! A handler reads its parameters, hands the work to [`Queries`] and writes the answer; when the
//! client goes away the handler's future is dropped, and the work with it.

mod error;
mod json;
mod params;
mod query;
mod series;
mod federate;
mod remote_read;
mod status;
mod logs;
mod sql;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::compression::CompressionLayer;
use tower_http::compression::CompressionLevel;

use crate::Queries;
pub(crate) use error::check_scope;
pub use logs::SelectedLogs;
pub use params::parse_time_ms;

/// Returns the routes of all query APIs. A `Caller` must stand in each request's extensions.
pub fn router(queries: Queries) -> Router {
    Router::new()
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route("/api/v1/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/api/v1/format_query", get(query::format).post(query::format))
        .route("/api/v1/parse_query", get(query::tree).post(query::tree))
        .route("/api/v1/series", get(series::series).post(series::series))
        .route("/api/v1/labels", get(series::labels).post(series::labels))
        .route("/api/v1/label/{name}/values", get(series::values))
        .route("/api/v1/read", post(remote_read::read))
        .route("/federate", get(federate::federate))
        .route("/version", get(status::version))
        .route("/api/v1/metadata", get(series::metadata))
        .route("/api/v1/targets", get(status::targets))
        .route("/api/v1/targets/metadata", get(status::target_metadata))
        .route("/api/v1/scrape_pools", get(status::scrape_pools))
        .route("/api/v1/status/buildinfo", get(status::build))
        .route("/api/v1/status/runtimeinfo", get(status::runtime))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/walreplay", get(status::wal_replay))
        .route("/api/v1/status/tsdb", get(status::tsdb))
        .route("/api/v1/logs/search", get(logs::search).post(logs::search))
        .route("/api/v1/logs/histogram", get(logs::histogram).post(logs::histogram))
        .route("/api/v1/logs/patterns", get(logs::patterns).post(logs::patterns))
        .route("/api/v1/logs/context", get(logs::context).post(logs::context))
        .route("/api/v1/sql", post(sql::run))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(middleware::from_fn(cross_origin))
        .with_state(queries)
}

/// Answers browsers of other origins as Prometheus does.
pub async fn cross_origin(request: Request, next: Next) -> Response {
    let has_origin = request.headers().contains_key(header::ORIGIN);
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if has_origin {
        let set = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        ];
        for (name, value) in set {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
