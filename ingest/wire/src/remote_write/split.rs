//! Cuts a 1.0 body in two, for receivers that find it too large.

use super::decode::decode_v1;
use super::{Series, Sink};
use crate::proto::{DecodeError, Reader, Value, put_bytes};

/// A part of a body that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// A whole request of its own, uncompressed.
    pub body: Vec<u8>,
    /// Samples in it.
    pub n_samples: usize,
}

/// Cuts an uncompressed 1.0 body in two requests of about the same size which together hold what it holds.
/// `None` when it has a single sample, or a single family's metadata, and cannot be cut.
///
/// # Errors
/// [`DecodeError`] if it is no such body.
pub fn split(body: &[u8]) -> Result<Option<[Half; 2]>, DecodeError> {
    let entries = entries(body)?;
    if let [only] = entries.as_slice() {
        return split_series(body, only.clone());
    }
    // The first entry goes left and the last one right, however large they are.
    let middle = entries.iter().take_while(|entry| entry.end <= body.len() / 2).count();
    let middle = middle.clamp(1, entries.len().saturating_sub(1).max(1));
    match entries.get(middle) {
        Some(entry) => Ok(Some([half(body[..entry.start].to_vec())?, half(body[entry.start..].to_vec())?])),
        None => Ok(None),
    }
}

/// Finds the fields of a message, tags included.
fn entries(message: &[u8]) -> Result<Vec<std::ops::Range<usize>>, DecodeError> {
    let mut reader = Reader::new(message);
    let mut entries = Vec::new();
    loop {
        let start = reader.at();
        if reader.field()?.is_none() {
            return Ok(entries);
        }
        entries.push(start..reader.at());
    }
}

/// Cuts the samples of a body's only series.
fn split_series(body: &[u8], only: std::ops::Range<usize>) -> Result<Option<[Half; 2]>, DecodeError> {
    let Some((1, Value::Bytes(series))) = Reader::new(&body[only]).field()? else { return Ok(None) };
    let is_sample = |field: &std::ops::Range<usize>| series[field.start] == 2 << 3 | 2;
    let fields = entries(series)?;
    let n_samples = fields.iter().filter(|field| is_sample(field)).count();
    if n_samples < 2 {
        return Ok(None);
    }
    let mut parts = [Vec::new(), Vec::new()];
    let mut n_seen = 0;
    for field in fields {
        let bytes = &series[field.clone()];
        if is_sample(&field) {
            parts[usize::from(n_seen >= n_samples / 2)].extend_from_slice(bytes);
            n_seen += 1;
        } else {
            parts.iter_mut().for_each(|part| part.extend_from_slice(bytes));
        }
    }
    let [left, right] = parts.map(|part| {
        let mut body = Vec::with_capacity(part.len() + 11);
        put_bytes(&mut body, 1, &part);
        half(body)
    });
    Ok(Some([left?, right?]))
}

fn half(body: Vec<u8>) -> Result<Half, DecodeError> {
    let mut count = Count(0);
    decode_v1(&body, &mut count)?;
    Ok(Half { n_samples: count.0, body })
}

struct Count(usize);

impl<'a> Sink<'a> for Count {
    fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
        self.0 += series.samples().len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compress::{Caps, Encoding, decode};
    use crate::exposition::MetricType;
    use crate::remote_write::{Encoder, Metadata, Sample};

    #[derive(Debug, Default, PartialEq)]
    struct Seen(Vec<String>);

    impl<'a> Sink<'a> for Seen {
        fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
            let (labels, samples) = series.labels_and_samples().expect("good labels");
            self.0.extend(samples.iter().map(|sample| format!("{labels:?} {sample:?}")));
            Ok(())
        }
        fn metadata(&mut self, metadata: Metadata<'a>) {
            self.0.push(metadata.family.to_owned());
        }
    }

    fn body(series: &[usize], n_families: usize) -> Vec<u8> {
        let mut encoder = Encoder::default();
        for (i, n) in series.iter().enumerate() {
            let name = format!("m{i}");
            let samples: Vec<Sample> = (0..*n).map(|t| Sample { t_ms: t as i64, value: i as f64 }).collect();
            encoder.series([("__name__", name.as_str())].into_iter(), &samples);
        }
        for i in 0..n_families {
            let family = format!("f{i}");
            let metric_type = MetricType::Gauge;
            encoder.metadata(&Metadata { family: &family, metric_type, help: "", unit: "" });
        }
        let caps = Caps { decoded_bytes_max: 1 << 20, ratio_max: 1 << 20 };
        decode(Encoding::Snappy, &encoder.finish(), caps).expect("own output")
    }

    fn seen(body: &[u8]) -> Vec<String> {
        let mut seen = Seen::default();
        decode_v1(body, &mut seen).expect("own output");
        seen.0
    }

    /// Cuts until nothing can be cut; returns the smallest parts.
    fn pieces(body: Vec<u8>) -> Vec<Half> {
        let mut done = Vec::new();
        let mut left = vec![half(body).expect("own output")];
        while let Some(part) = left.pop() {
            match split(&part.body).expect("own output") {
                Some([a, b]) => left.extend([b, a]),
                None => done.push(part),
            }
        }
        done
    }

    #[test]
    fn what_cannot_be_cut_is_left() {
        for (series, families) in [(vec![], 0), (vec![1], 0), (vec![], 1)] {
            assert_eq!(split(&body(&series, families)), Ok(None), "{series:?} {families}");
        }
        assert!(split(&[0x0a, 0x7f]).is_err());
    }

    proptest! {
        #[test]
        fn parts_hold_what_the_whole_held(
            series in proptest::collection::vec(0_usize..5, 0..8), families in 0_usize..3,
        ) {
            let whole = body(&series, families);
            let parts = pieces(whole.clone());
            let again: Vec<String> = parts.iter().flat_map(|part| seen(&part.body)).collect();
            prop_assert_eq!(again, seen(&whole));
            prop_assert!(parts.iter().all(|part| part.n_samples <= 1));
            prop_assert_eq!(parts.iter().map(|part| part.n_samples).sum::<usize>(), series.iter().sum::<usize>());
        }

        #[test]
        fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&body);
        }
    }
}
