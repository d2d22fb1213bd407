//! Prometheus remote read: a reader of requests, a writer of answers in samples.
//!
//! Chunks, the other form of an answer, carry the encoding of Prometheus's own blocks; senders that take them take
//! samples as well.

use crate::compress::{Encoding, encode};
use crate::histogram::NativeHistogram;
use crate::proto::{DecodeError, Reader, put_bytes};
use crate::remote_write::{Sample, put_series};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// Each is answered by itself.
    pub queries: Vec<Query<'a>>,
    /// Whether an answer in samples is taken: it is where no form was named.
    pub takes_samples: bool,
}

/// The samples in a span of the series that match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// First millisecond since the epoch.
    pub start_ms: i64,
    /// Last millisecond, inside.
    pub end_ms: i64,
    /// All must match.
    pub matchers: Vec<Matcher<'a>>,
}

/// A condition on one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matcher<'a> {
    /// How the value is compared.
    pub kind: MatchKind,
    /// The label.
    pub name: &'a str,
    /// What its value is compared with.
    pub value: &'a str,
}

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchKind {
    /// It is the same.
    #[default]
    Equal,
    /// It is not.
    NotEqual,
    /// It matches a regular expression as a whole.
    Regex,
    /// It does not.
    NotRegex,
}

/// Why a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is no such message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A matcher of a kind that there is not.
    #[error("matcher type {0} is none of 0 (=), 1 (!=), 2 (=~), 3 (!~)")]
    MatchKind(u64),
}

/// Number of the form of answers in samples.
const SAMPLES: u64 = 0;

/// Decodes a request, already decompressed.
///
/// # Errors
/// [`RequestError`] if it is no such message.
pub fn decode(body: &[u8]) -> Result<Request<'_>, RequestError> {
    let mut request = Request::default();
    let mut forms = Vec::new();
    let mut reader = Reader::new(body);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, value) => request.queries.push(query(value.into_bytes(field)?)?),
            (2, crate::proto::Value::Bytes(packed)) => {
                let mut packed = Reader::new(packed);
                while !packed.is_empty() {
                    forms.push(packed.varint()?);
                }
            }
            (2, value) => forms.push(value.into_varint(field)?),
            _ => {}
        }
    }
    request.takes_samples = forms.is_empty() || forms.contains(&SAMPLES);
    Ok(request)
}

fn query(message: &[u8]) -> Result<Query<'_>, RequestError> {
    let mut query = Query::default();
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => query.start_ms = value.into_varint(field)?.cast_signed(),
            2 => query.end_ms = value.into_varint(field)?.cast_signed(),
            3 => query.matchers.push(matcher(value.into_bytes(field)?)?),
            // Hints may be passed over.
            _ => {}
        }
    }
    Ok(query)
}

fn matcher(message: &[u8]) -> Result<Matcher<'_>, RequestError> {
    let mut matcher = Matcher { kind: MatchKind::Equal, name: "", value: "" };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => {
                matcher.kind = match value.into_varint(field)? {
                    0 => MatchKind::Equal,
                    1 => MatchKind::NotEqual,
                    2 => MatchKind::Regex,
                    3 => MatchKind::NotRegex,
                    other => return Err(RequestError::MatchKind(other)),
                }
            }
            2 => matcher.name = value.into_str(field)?,
            3 => matcher.value = value.into_str(field)?,
            _ => {}
        }
    }
    Ok(matcher)
}

/// Builds an answer, a query after the other.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    body: Vec<u8>,
    result: Vec<u8>,
}

impl Answer {
    /// Adds a series to the result of the current query. Series come sorted by their labels.
    ///
    /// - `samples`, `histograms`: oldest first.
    pub fn series<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
        samples: &[Sample],
        histograms: &[NativeHistogram],
    ) {
        put_series(&mut self.result, labels, samples, histograms);
    }

    /// Ends the result of the current query.
    pub fn end_query(&mut self) {
        put_bytes(&mut self.body, 1, &self.result);
        self.result.clear();
    }

    /// Says how many bytes there are, before compression.
    pub fn n_bytes(&self) -> usize {
        self.body.len() + self.result.len()
    }

    /// Returns the snappy-compressed answer; send it with `Content-Type: application/x-protobuf` and
    /// `Content-Encoding: snappy`.
    pub fn finish(self) -> Vec<u8> {
        encode(Encoding::Snappy, &self.body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compress::{Caps, decode as decompress};
    use crate::histogram::{NativeBuckets, ResetHint};
    use crate::proto::put_varint;
    use crate::remote_write::{Series, Sink, decode_v1};

    fn number(out: &mut Vec<u8>, field: u64, value: u64) {
        put_varint(out, field << 3);
        put_varint(out, value);
    }

    fn request(kind: u64, forms: &[u64]) -> Vec<u8> {
        let (mut matcher, mut query, mut body) = (Vec::new(), Vec::new(), Vec::new());
        number(&mut matcher, 1, kind);
        put_bytes(&mut matcher, 2, b"job");
        put_bytes(&mut matcher, 3, b"a.*");
        number(&mut query, 1, (-5_i64).cast_unsigned());
        number(&mut query, 2, 7);
        put_bytes(&mut query, 3, &matcher);
        put_bytes(&mut query, 4, b"");
        put_bytes(&mut body, 1, &query);
        forms.iter().for_each(|form| number(&mut body, 2, *form));
        body
    }

    #[test]
    fn a_request_says_what_it_wants_and_how() {
        let body = request(2, &[1, 0]);
        let matcher = Matcher { kind: MatchKind::Regex, name: "job", value: "a.*" };
        let query = Query { start_ms: -5, end_ms: 7, matchers: vec![matcher] };
        assert_eq!(decode(&body), Ok(Request { queries: vec![query], takes_samples: true }));
        assert!(decode(&request(0, &[])).unwrap().takes_samples);
        assert!(!decode(&request(0, &[1])).unwrap().takes_samples);
        assert_eq!(decode(&request(9, &[])), Err(RequestError::MatchKind(9)));
    }

    type Taken = (Vec<(String, String)>, Vec<Sample>, Vec<NativeHistogram>);

    #[derive(Default)]
    struct Take(Vec<Taken>);

    impl<'a> Sink<'a> for Take {
        fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
            let labels = series.labels().unwrap().iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
            self.0.push((labels, series.samples().to_vec(), series.histograms().to_vec()));
            Ok(())
        }
    }

    #[test]
    fn an_answer_reads_back() {
        let labels = [("__name__", "h"), ("job", "a")];
        let samples = [Sample { t_ms: -1, value: 2.5 }, Sample { t_ms: 1 << 41, value: f64::INFINITY }];
        let histogram = NativeHistogram {
            t_ms: 60_000,
            reset: ResetHint::Gauge,
            schema: -4,
            zero_threshold: 0.001,
            zero_count: 1.5,
            count: 10.5,
            sum: -3.0,
            positive: NativeBuckets { spans: vec![(-3, 2), (5, 1)], counts: vec![1.0, 2.0, 3.0] },
            negative: NativeBuckets { spans: vec![(0, 1)], counts: vec![3.0] },
            custom_bounds: vec![0.5, 1.0],
        };
        let mut answer = Answer::default();
        answer.series(labels.into_iter(), &samples, std::slice::from_ref(&histogram));
        answer.end_query();
        answer.end_query();
        let n_bytes = answer.n_bytes();
        let body = answer.finish();
        let caps = Caps { decoded_bytes_max: 1000, ratio_max: 100 };
        let body = decompress(Encoding::Snappy, &body, caps).unwrap();
        assert_eq!(body.len(), n_bytes);
        let mut reader = Reader::new(&body);
        let mut results = Vec::new();
        while let Some((field, value)) = reader.field().unwrap() {
            let mut take = Take::default();
            decode_v1(value.into_bytes(field).unwrap(), &mut take).unwrap();
            results.push(take.0);
        }
        let owned = labels.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        assert_eq!(results, [vec![(owned, samples.to_vec(), vec![histogram])], vec![]]);
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&body);
        }
    }
}
