//! Backtests over HTTP.

use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use greylight_store::model::Caller;
use serde_json::json;

use super::{Answer, Payload, Small, body};
use crate::backtest::service::Backtests;
use crate::policies::POLICY_BYTES_MAX;

/// Returns the routes.
pub(super) fn router(backtests: Backtests) -> Router {
    Router::new()
        .route("/api/v1/backtests", post(start).get(list))
        .route("/api/v1/backtests/{id}", get(show).delete(end))
        .layer(DefaultBodyLimit::max(POLICY_BYTES_MAX))
        .with_state(backtests)
}

async fn start(
    State(backtests): State<Backtests>,
    Extension(caller): Extension<Caller>,
    Payload(bytes): Small,
) -> Answer {
    let started = backtests.start(&caller.tenant, body(&bytes)?).await?;
    Ok((StatusCode::ACCEPTED, Json(started)).into_response())
}

async fn list(State(backtests): State<Backtests>, Extension(caller): Extension<Caller>) -> Answer {
    let all = backtests.list(&caller.tenant).await?;
    Ok(Json(json!({ "backtests": all })).into_response())
}

async fn show(
    State(backtests): State<Backtests>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    Ok(Json(backtests.get(&caller.tenant, &id).await?).into_response())
}

async fn end(
    State(backtests): State<Backtests>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    Ok(match backtests.delete(&caller.tenant, &id).await? {
        Some(ended) => Json(ended).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
