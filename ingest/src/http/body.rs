//! Reads a body under its cap, once there is room for it.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use futures::StreamExt as _;

use crate::admission::Admitted;
use crate::config::bytes;
use crate::error::IngestError;
use crate::receive::Ingest;

/// How much memory a body takes while it is received, as a multiple of its size: itself and what comes out
/// of it. Snappy and gzip make metrics and logs about four times smaller.
const MEMORY_FACTOR: usize = 5;

/// Reads the body. Refuses before keeping any of it if the store takes nothing, if the body says that it
/// is too large, or if there is no room.
pub(super) async fn read(ingest: &Ingest, request: Request) -> Result<(Bytes, Admitted), IngestError> {
    let limit = bytes(ingest.config().body_bytes_max);
    if let Err(refusal) = ingest.store_ready().await {
        discard(ingest, request.into_body(), limit).await;
        return Err(refusal);
    }
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        discard(ingest, request.into_body(), limit).await;
        return Err(IngestError::BodyTooLarge { limit });
    }
    let admitted = ingest.admission().enter(declared.unwrap_or(limit) * MEMORY_FACTOR).await?;
    let time = ingest.config().body_time_max;
    let body = collect(request.into_body(), limit);
    let body =
        ingest.admission().within(time, body).await.ok_or(IngestError::BodyTooSlow { limit: time })??;
    Ok((body, admitted))
}

/// Reads up to so many bytes and drops them: a sender that is cut off while it writes sees a broken pipe
/// in place of the answer.
async fn discard(ingest: &Ingest, body: Body, limit: usize) {
    let drop_all = async {
        let mut chunks = body.into_data_stream();
        let mut length = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            length += chunk.len();
            if length > limit {
                break;
            }
        }
    };
    // Whether it came to its end or took too long, the answer is the same.
    let _ = ingest.admission().within(ingest.config().body_time_max, drop_all).await;
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, IngestError> {
    let mut chunks = body.into_data_stream();
    let Some(first) = chunks.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| IngestError::BodyBroken)?;
    let mut whole: Option<Vec<u8>> = None;
    let mut length = first.len();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| IngestError::BodyBroken)?;
        length += chunk.len();
        if length > limit {
            break;
        }
        // Most bodies are one chunk, which is then not copied.
        whole.get_or_insert_with(|| first.to_vec()).extend_from_slice(&chunk);
    }
    if length > limit {
        return Err(IngestError::BodyTooLarge { limit });
    }
    Ok(whole.map_or(first, Bytes::from))
}
