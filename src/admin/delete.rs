//! Deletes samples by selector, as Prometheus's admin API does, and log records by search.

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use greylight_query::http::{SelectedLogs, parse_time_ms};
use greylight_query::promql::SyntaxLimits;
use greylight_query::promql::syntax::parse_selector;
use greylight_store::metrics::Deletion;
use greylight_store::model::{Caller, Problem};
use greylight_store::read::SpanMs;
use serde_json::json;

use super::Admin;

/// Answers 204 when the samples are gone.
pub(super) async fn delete_series(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    form: Bytes,
) -> Response {
    let deletion = match deletion_of(&query.unwrap_or_default(), &String::from_utf8_lossy(&form)) {
        Ok(deletion) => deletion,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, "bad_data", &why),
    };
    match admin.store.delete_series(&caller.tenant, deletion).await {
        Ok(deleted) => {
            let tenant = caller.tenant.as_str();
            tracing::info!(tenant, deleted.n_rows, deleted.n_segments, "deleted samples");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "deleting samples failed");
            let status =
                StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refuse(status, "internal", &error.to_string())
        }
    }
}

/// Answers with how many records are gone.
pub(super) async fn delete_records(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    SelectedLogs(select): SelectedLogs,
) -> Response {
    match admin.store.delete_records(&caller.tenant, select).await {
        Ok(deleted) => {
            let tenant = caller.tenant.as_str();
            tracing::info!(tenant, deleted.n_rows, deleted.n_segments, "deleted log records");
            Json(json!({ "records": deleted.n_rows, "segments": deleted.n_segments })).into_response()
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "deleting log records failed");
            let problem = Problem::new(error.kind(), &error);
            let status =
                StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(problem.to_json())).into_response()
        }
    }
}

/// Answers in Prometheus's envelope, which its clients read.
fn refuse(status: StatusCode, kind: &str, why: &str) -> Response {
    (status, Json(json!({ "status": "error", "errorType": kind, "error": why }))).into_response()
}

/// Reads what is to be deleted from the address and the form.
fn deletion_of(query: &str, form: &str) -> Result<Deletion, String> {
    let url = reqwest::Url::parse(&format!("http://h/?{form}&{query}")).map_err(|e| e.to_string())?;
    let mut deletion = Deletion { sets: Vec::new(), span: SpanMs::ALL };
    for (name, value) in url.query_pairs().filter(|(_, value)| !value.is_empty()) {
        let time =
            || parse_time_ms(&value).ok_or_else(|| format!("invalid time value for '{name}': {value:?}"));
        match name.as_ref() {
            "match[]" => {
                let set = parse_selector(&value, &SyntaxLimits::default());
                deletion.sets.push(set.map_err(|e| format!("invalid parameter \"match[]\": {e}"))?);
            }
            "start" => deletion.span.start = time()?,
            "end" => deletion.span.end = time()?,
            _ => {}
        }
    }
    if deletion.sets.is_empty() {
        return Err("no match[] parameter provided".into());
    }
    if deletion.span.end < deletion.span.start {
        return Err("end timestamp must not be before start timestamp".into());
    }
    Ok(deletion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_form_are_read_alike() {
        let in_address =
            deletion_of("match%5B%5D=up%7Bjob%3D%22a%22%7D&match[]=x&start=1.5&end=1970-01-01T00:00:09Z", "");
        let in_form = deletion_of("", "match[]=up%7Bjob=%22a%22%7D&match%5B%5D=x&start=1.5&end=9");
        for deletion in [in_address.unwrap(), in_form.unwrap()] {
            assert_eq!((deletion.sets.len(), deletion.sets[0].len()), (2, 2));
            assert_eq!((deletion.span.start, deletion.span.end), (1500, 9000));
        }
        assert_eq!(deletion_of("match[]=up", "").unwrap().span, SpanMs::ALL);
    }

    #[test]
    fn what_names_nothing_or_makes_no_sense_is_refused() {
        for query in
            ["", "start=1", "match[]={}", "match[]=up[5m]", "match[]=up&start=x", "match[]=up&start=5&end=4"]
        {
            assert!(deletion_of(query, "").is_err(), "{query}");
        }
    }
}
