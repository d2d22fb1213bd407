//! Why a request was not taken at all.

use greylight_store::append::AppendError;
use greylight_store::model::ErrorKind;
use greylight_wire::compress::CompressError;
use greylight_wire::loki::LokiError;
use greylight_wire::otlp::OtlpError;
use greylight_wire::remote_write::DecodeError;

/// Why a request was not taken at all. What was stored before is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The request came without an identity.
    #[error("this needs credentials with the scope write")]
    Unauthorized,
    /// The caller may not write.
    #[error("the credentials do not allow writing; they lack the scope write")]
    Forbidden,
    /// Too many requests at once.
    #[error("too many requests at once, the limit is {limit}; try again later")]
    TooManyRequests {
        /// `[ingest] requests_max`.
        limit: usize,
    },
    /// Bodies being received take all the memory that they may.
    #[error("too many bytes are being received at once, the limit is {limit}; try again later")]
    TooManyBytes {
        /// `[ingest] in_flight_bytes_max`.
        limit: usize,
    },
    /// The body is over the cap.
    #[error("the body is larger than the limit of {limit} bytes")]
    BodyTooLarge {
        /// `[ingest] body_bytes_max`.
        limit: usize,
    },
    /// The body took too long to arrive.
    #[error("the body did not arrive within {limit:?}")]
    BodyTooSlow {
        /// `[ingest] body_time_max`.
        limit: std::time::Duration,
    },
    /// The connection broke while the body arrived.
    #[error("the body ended early")]
    BodyBroken,
    /// A media type that this door does not take.
    #[error("content type {found:?} is not supported, use {allowed}")]
    ContentType {
        /// As sent; empty if there was none.
        found: String,
        /// What is taken.
        allowed: &'static str,
    },
    /// A content encoding that this door does not take.
    #[error("content encoding {found:?} is not supported, use {allowed}")]
    ContentEncoding {
        /// As sent.
        found: String,
        /// What is taken.
        allowed: &'static str,
    },
    /// The body does not decompress, or to more than it may.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The body is no remote write request.
    #[error(transparent)]
    RemoteWrite(#[from] DecodeError),
    /// The body is no OTLP request.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// The body is no Loki push.
    #[error(transparent)]
    Loki(#[from] LokiError),
    /// The store did not take the batch.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The decoder died; the server's log says why.
    #[error("decoding ended without a result")]
    Died,
}

/// Why whole requests are refused, in our metrics.
pub(crate) const ERROR_NAMES: [&str; 9] = [
    "unauthorized",
    "overloaded",
    "body_too_large",
    "body_incomplete",
    "content_type",
    "content_encoding",
    "malformed",
    "store",
    "internal",
];

impl IngestError {
    /// Returns its place in [`ERROR_NAMES`].
    pub(crate) fn name_index(&self) -> usize {
        match self {
            Self::Unauthorized | Self::Forbidden => 0,
            Self::TooManyRequests { .. } | Self::TooManyBytes { .. } => 1,
            Self::BodyTooLarge { .. } => 2,
            Self::Compress(error) if error.is_limit() => 2,
            Self::BodyTooSlow { .. } | Self::BodyBroken => 3,
            Self::ContentType { .. } => 4,
            Self::ContentEncoding { .. } => 5,
            Self::Compress(_) | Self::RemoteWrite(_) | Self::Otlp(_) | Self::Loki(_) => 6,
            Self::Append(_) => 7,
            Self::Died => 8,
        }
    }

    /// Says what the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unauthorized => ErrorKind::Unauthorized,
            Self::Forbidden => ErrorKind::Forbidden,
            Self::TooManyRequests { .. } | Self::TooManyBytes { .. } => ErrorKind::Unavailable,
            Self::BodyTooLarge { .. } => ErrorKind::TooLarge,
            Self::Compress(error) if error.is_limit() => ErrorKind::TooLarge,
            Self::BodyTooSlow { .. }
            | Self::BodyBroken
            | Self::ContentType { .. }
            | Self::ContentEncoding { .. }
            | Self::Compress(_)
            | Self::RemoteWrite(_)
            | Self::Otlp(_)
            | Self::Loki(_) => ErrorKind::Invalid,
            Self::Append(error) => error.kind(),
            Self::Died => ErrorKind::Internal,
        }
    }
}
