//! `POST /api/v1/sql`.

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use greylight_store::model::{Caller, ErrorKind, Problem};

use super::error::{OwnError, check_scope};
use super::params::Params;
use crate::Queries;
use crate::queries::Asked;
use crate::sql::{self, Format, Request};

/// Rows of an answer, unless asked otherwise.
const ROWS: usize = 10_000;

pub(super) async fn run(
    State(queries): State<Queries>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response, OwnError> {
    check_scope(&caller)?;
    let missing = || Problem::new(ErrorKind::Invalid, "the query is missing").field("query");
    let text = params.get("query").ok_or_else(missing)?.to_owned();
    let word = params.get("format").unwrap_or("json");
    let format: Format = word.parse().map_err(|()| {
        Problem::new(ErrorKind::Invalid, "format is none of json, csv, arrow").field("format").value(word)
    })?;
    let max = queries.config().rows_max;
    let limit = params.count("limit")?.unwrap_or(ROWS.min(max));
    if limit > max {
        let problem = Problem::new(ErrorKind::Limit, format!("limit is above {max} rows"));
        return Err(problem.field("limit").value(limit).limit(max).into());
    }
    let asked = Asked {
        tenant: caller.tenant.clone(),
        kind: "sql",
        text: text.clone(),
        timeout: params.duration("timeout")?,
    };
    let request = Request { text, format, limit };
    let done = sql::ask(&queries, asked, move |queries, tenant, budget| {
        let output = sql::run(queries, tenant, &request, budget)?;
        Ok((output.write(request.format)?, output.truncated(), output.partial()))
    });
    let (body, truncated, partial) = done.await?;
    let word = |yes: bool| if yes { "true" } else { "false" };
    let headers = [
        (header::CONTENT_TYPE, format.media_type()),
        // CSV and Arrow have no other place to say it.
        (header::HeaderName::from_static("greylight-truncated"), word(truncated)),
        (header::HeaderName::from_static("greylight-partial"), word(partial)),
    ];
    Ok((headers, body).into_response())
}
