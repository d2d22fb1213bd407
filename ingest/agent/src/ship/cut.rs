//! Cuts a batch that the server finds too large into smaller requests.

use greylight_wire::compress::{Caps, CompressError, Encoding, decode, encode};
use greylight_wire::otlp::{ExportLogsServiceRequest, split_logs};
use greylight_wire::remote_write;
use prost::Message as _;

use crate::client::Content;

/// A request, and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Samples or records.
    pub(super) items: u64,
    pub(super) payload: Vec<u8>,
}

/// Why a batch cannot be cut. It came out of the queue with a good checksum, so this is a fault of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum CutError {
    #[error("the batch does not decompress")]
    Compress(#[from] CompressError),
    #[error("the batch is no remote write request")]
    RemoteWrite(#[from] remote_write::DecodeError),
    #[error("the batch is no OTLP request")]
    Otlp(#[from] prost::DecodeError),
}

// What is undone here was made by this agent, so the caps only have to stop nonsense.
const CAPS: Caps = Caps { decoded_bytes_max: 1 << 30, ratio_max: usize::MAX };

/// Cuts a request in two of about the same size. `None` when it holds a single sample or record.
pub(super) fn cut(content: Content, payload: &[u8]) -> Result<Option<[Part; 2]>, CutError> {
    match content {
        Content::RemoteWrite => {
            let body = decode(Encoding::Snappy, payload, CAPS)?;
            let halves = remote_write::split(&body)?;
            Ok(halves.map(|halves| {
                halves.map(|half| Part {
                    items: half.n_samples as u64,
                    payload: encode(Encoding::Snappy, &half.body),
                })
            }))
        }
        Content::OtlpLogs(encoding) => {
            let request = ExportLogsServiceRequest::decode(decode(encoding, payload, CAPS)?.as_slice())?;
            Ok(split_logs(&request).map(|halves| {
                halves.map(|(half, n_records)| Part {
                    items: n_records as u64,
                    payload: encode(encoding, &half.encode_to_vec()),
                })
            }))
        }
    }
}
