//! Rules and alerts as Prometheus's API has them.

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use greylight_store::model::Caller;
use serde_json::{Value, json};

use crate::rules::{Rules, Wanted};

/// Returns the routes, those under Loki's name for its rules too.
pub(super) fn router(rules: Rules) -> Router {
    Router::new()
        .route("/api/v1/rules", get(list))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/alertmanagers", get(alertmanagers))
        .route("/prometheus/api/v1/rules", get(list))
        .route("/prometheus/api/v1/alerts", get(alerts))
        .layer(middleware::from_fn(greylight_query::http::cross_origin))
        .with_state(rules)
}

fn data(data: &Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

async fn list(
    State(rules): State<Rules>,
    Extension(caller): Extension<Caller>,
    Query(params): Query<Vec<(String, String)>>,
) -> Response {
    let listed = Wanted::parse(&params).and_then(|wanted| rules.list(&caller.tenant, &wanted));
    match listed {
        Ok(listed) => data(&listed),
        Err(error) => {
            let body = json!({ "status": "error", "errorType": "bad_data", "error": error.to_string() });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

async fn alerts(State(rules): State<Rules>, Extension(caller): Extension<Caller>) -> Response {
    data(&rules.alerts(&caller.tenant))
}

async fn alertmanagers(State(rules): State<Rules>, Extension(caller): Extension<Caller>) -> Response {
    data(&rules.alertmanagers(&caller.tenant))
}
