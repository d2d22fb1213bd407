//! Prometheus remote write: a reader for 1.0 and 2.0 and a writer of 1.0.
//!
//! [`decode_v1`] and [`decode_v2`] walk an already decompressed body once and hand each series to a
//! [`Sink`], borrowed from the body. Nothing is allocated for a sample or a label: the two growing arrays
//! (labels of one series, samples of one series) live for the whole body. Native histograms and exemplars,
//! which few series have, are decoded into values of their own.
//!
//! A body that is malformed anywhere fails as a whole, so a sink commits only after `Ok`. What is wrong
//! with one series alone ([`LabelError`]) is the sink's to report while it keeps the others.
//!
//! An answer to 2.0 carries `X-Prometheus-Remote-Write-Samples-Written`, `-Histograms-Written` and
//! `-Exemplars-Written` as plain integers, also with a 4xx. Without them its sender takes the receiver for
//! one that misread the body as 1.0.

mod decode;
mod native;
mod encode;
mod split;

pub use crate::proto::DecodeError;
pub use decode::{Label, LabelError, LabelWalk, Metadata, Series, Sink, decode_v1, decode_v2};
pub use encode::Encoder;
pub(crate) use encode::put_series;
pub use native::Exemplar;
pub use split::{Half, split};

/// One sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Epoch milliseconds.
    pub t_ms: i64,
    /// The value, with the bits that were sent: a stale marker stays one.
    pub value: f64,
}

/// Which version of the protocol a body is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// Reads the version off a `Content-Type`. A missing or empty one means 1.0; `None` for another media
    /// type or message.
    pub fn from_content_type(content_type: Option<&str>) -> Option<Self> {
        let mut parts = content_type.unwrap_or("").split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        if !media.is_empty() && !media.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let message = parts.find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
        });
        match message {
            None | Some("prometheus.WriteRequest") => Some(Self::V1),
            Some("io.prometheus.write.v2.Request") => Some(Self::V2),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
