//! Writes a 1.0 body.

use super::{Metadata, Sample, native};
use crate::compress::{Encoding, encode};
use crate::exposition::MetricType;
use crate::histogram::NativeHistogram;
use crate::proto::{bytes_len, put_bytes, put_varint, varint_len};

/// Builds one remote write 1.0 request after the other; the buffer is reused.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    body: Vec<u8>,
    n_samples: usize,
}

impl Encoder {
    /// Adds a series with its samples.
    ///
    /// - `labels`: with `__name__`, sorted by name, unique, not empty; the caller's duty, since receivers
    ///   refuse anything else.
    /// - `samples`: oldest first.
    pub fn series<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
        samples: &[Sample],
    ) {
        put_series(&mut self.body, labels, samples, &[]);
        self.n_samples += samples.len();
    }

    /// Adds what is known of a metric family.
    pub fn metadata(&mut self, metadata: &Metadata<'_>) {
        let mut message = vec![1 << 3, type_number(metadata.metric_type)];
        put_bytes(&mut message, 2, metadata.family.as_bytes());
        put_bytes(&mut message, 4, metadata.help.as_bytes());
        put_bytes(&mut message, 5, metadata.unit.as_bytes());
        put_bytes(&mut self.body, 3, &message);
    }

    /// Says how many bytes the request has before compression.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Says whether nothing was added since the last [`finish`](Self::finish).
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Says how many samples were added since the last [`finish`](Self::finish).
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// Returns the snappy-compressed request and begins the next one. Send it with `Content-Type:
    /// application/x-protobuf`, `Content-Encoding: snappy` and
    /// `X-Prometheus-Remote-Write-Version: 0.1.0`.
    pub fn finish(&mut self) -> Vec<u8> {
        let compressed = encode(Encoding::Snappy, &self.body);
        self.body.clear();
        self.n_samples = 0;
        compressed
    }
}

/// Appends a series as field 1, where requests to write and results of remote read have it.
pub(crate) fn put_series<'l>(
    out: &mut Vec<u8>,
    labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    samples: &[Sample],
    histograms: &[NativeHistogram],
) {
    let label_len = |name: &str, value: &str| bytes_len(name.len()) + bytes_len(value.len());
    let sample_len = |sample: &Sample| 9 + 1 + varint_len(sample.t_ms.cast_unsigned());
    let histograms: Vec<Vec<u8>> = histograms.iter().map(native::encode).collect();
    let length = labels.clone().map(|(name, value)| bytes_len(label_len(name, value))).sum::<usize>()
        + samples.iter().map(|sample| bytes_len(sample_len(sample))).sum::<usize>()
        + histograms.iter().map(|message| bytes_len(message.len())).sum::<usize>();
    out.push(1 << 3 | 2);
    put_varint(out, length as u64);
    for (name, value) in labels {
        out.push(1 << 3 | 2);
        put_varint(out, label_len(name, value) as u64);
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, value.as_bytes());
    }
    for sample in samples {
        out.push(2 << 3 | 2);
        put_varint(out, sample_len(sample) as u64);
        out.push(1 << 3 | 1);
        out.extend_from_slice(&sample.value.to_le_bytes());
        out.push(2 << 3);
        put_varint(out, sample.t_ms.cast_unsigned());
    }
    for message in histograms {
        put_bytes(out, 4, &message);
    }
}

fn type_number(metric_type: MetricType) -> u8 {
    match metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}
