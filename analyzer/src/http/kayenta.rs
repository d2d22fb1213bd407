//! Kayenta's remote-judge contract over HTTP.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;
use crate::kayenta::remote_judge;

/// Answers `POST /kayenta/judge`: the result as Kayenta's own judge would give it, errors in Kayenta's
/// form.
pub(super) async fn judge(State(api): State<Api>, bytes: Bytes) -> Response {
    let refuse =
        |status: StatusCode, message: String| (status, Json(json!({ "message": message }))).into_response();
    let Ok(slot) = api.judges.acquire_owned().await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is ending".into());
    };
    // Many pairs take a while: never on a thread that answers others.
    let judged = tokio::task::spawn_blocking(move || {
        let result = remote_judge(&bytes);
        drop(slot);
        result
    });
    match judged.await {
        Ok(Ok(result)) => Json(result).into_response(),
        Ok(Err(error)) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
