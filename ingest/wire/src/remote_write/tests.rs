//! Tests of both directions and both versions.

use super::*;
use crate::compress::{Caps, Encoding, decode};
use crate::exposition::MetricType;
use crate::histogram::{NativeBuckets, NativeHistogram, ResetHint};
use crate::number::{STALE_NAN_BITS, stale_nan};
use crate::proto::{put_bytes, put_varint};
use proptest::prelude::*;

/// Labels, and times with the bits of values.
type SeenSeries = (Vec<(String, String)>, Vec<(i64, u64)>);

#[derive(Default, Debug, PartialEq)]
struct Seen {
    series: Vec<SeenSeries>,
    bad: Vec<LabelError>,
    metadata: Vec<String>,
    histograms: Vec<NativeHistogram>,
    exemplars: Vec<String>,
}

impl<'a> Sink<'a> for Seen {
    fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
        self.histograms.extend_from_slice(series.histograms());
        self.exemplars
            .extend(series.exemplars().iter().map(|e| format!("{:?} @{} {}", e.labels, e.t_ms, e.value)));
        let samples = series.samples().iter().map(|s| (s.t_ms, s.value.to_bits())).collect();
        if let Some(mut walk) = series.walk() {
            let walked: Vec<_> = walk.by_ref().filter(|(_, value)| !value.is_empty()).collect();
            let named = walked.iter().all(|(name, _)| !name.is_empty());
            if walk.is_complete() && named && walked.is_sorted_by(|a, b| a.0 < b.0) {
                assert_eq!(series.labels(), Ok(&walked[..]));
            }
        }
        match series.labels() {
            Ok(labels) => {
                let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
                self.series.push((labels, samples));
            }
            Err(LabelError::Malformed(error)) => return Err(error),
            Err(error) => self.bad.push(error),
        }
        Ok(())
    }

    fn metadata(&mut self, m: Metadata<'a>) {
        self.metadata.push(format!("{} {} {} {}", m.family, m.metric_type.word(), m.help, m.unit));
    }
}

const CAPS: Caps = Caps { decoded_bytes_max: 1 << 20, ratio_max: 100 };

fn seen_v1(body: &[u8]) -> Seen {
    let mut seen = Seen::default();
    decode_v1(body, &mut seen).expect("a valid body");
    seen
}

fn pairs(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// A series message of 1.0 with these labels, in this order.
fn labelled(labels: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut series = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        put_bytes(&mut label, 1, name);
        put_bytes(&mut label, 2, value);
        put_bytes(&mut series, 1, &label);
    }
    series
}

fn request(field: u8, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        put_bytes(&mut body, field, message);
    }
    body
}

#[test]
fn an_encoded_request_reads_back() {
    let mut encoder = Encoder::default();
    let labels = [("__name__", "up"), ("instance", "主机-1"), ("path", &"x".repeat(200))];
    let samples = [Sample { t_ms: -5, value: 1.5 }, Sample { t_ms: 1_795_255_200_000, value: stale_nan() }];
    encoder.series(labels.into_iter(), &samples);
    let metadata = Metadata { family: "up", metric_type: MetricType::Gauge, help: "Is it?", unit: "" };
    encoder.metadata(&metadata);
    assert_eq!(encoder.n_samples(), 2);
    let body = decode(Encoding::Snappy, &encoder.finish(), CAPS).expect("own output");
    assert!(encoder.is_empty());
    let seen = seen_v1(&body);
    let want = vec![(-5, 1.5_f64.to_bits()), (1_795_255_200_000, STALE_NAN_BITS)];
    assert_eq!(seen.series, [(pairs(&labels), want)]);
    assert_eq!(seen.metadata, ["up gauge Is it? "]);
}

#[test]
fn labels_are_sorted_and_empty_values_dropped() {
    let body = request(1, &[labelled(&[(b"b", b"2"), (b"c", b""), (b"__name__", b"m")])]);
    assert_eq!(seen_v1(&body).series[0].0, pairs(&[("__name__", "m"), ("b", "2")]));
}

#[test]
fn bad_labels_are_reported_and_the_rest_is_kept() {
    let body = request(
        1,
        &[
            labelled(&[(b"a", b"1"), (b"a", b"2")]),
            labelled(&[(b"", b"1")]),
            labelled(&[(b"a", b"\xff\xfe")]),
            labelled(&[(b"a", b"ok")]),
        ],
    );
    let seen = seen_v1(&body);
    assert_eq!(seen.series.len(), 1);
    assert_eq!(
        seen.bad,
        [
            LabelError::Duplicate("a".into()),
            LabelError::EmptyName("1".into()),
            LabelError::NotUtf8("\u{fffd}\u{fffd}".into()),
        ]
    );
}

#[test]
fn a_long_label_beside_text_in_chinese_is_read() {
    let long = "长".repeat(100);
    let body = request(1, &[labelled(&[(b"a", long.as_bytes()), (b"b", "标签".as_bytes())])]);
    assert_eq!(seen_v1(&body).series[0].0, pairs(&[("a", &long), ("b", "标签")]));
}

#[test]
fn labels_between_samples_still_count() {
    let mut series = labelled(&[(b"__name__", b"m")]);
    put_bytes(&mut series, 2, &[0x10, 7]);
    series.extend(labelled(&[(b"a", b"1")]));
    put_bytes(&mut series, 3, b"");
    put_bytes(&mut series, 4, b"");
    put_bytes(&mut series, 4, b"");
    let seen = seen_v1(&request(1, &[series]));
    assert_eq!(seen.series, [(pairs(&[("__name__", "m"), ("a", "1")]), vec![(7, 0)])]);
    assert_eq!((seen.exemplars.len(), seen.histograms.len()), (1, 2));
}

#[test]
fn a_tag_in_two_bytes_is_still_a_label() {
    let mut series = labelled(&[(b"__name__", b"m")]);
    let label = labelled(&[(b"a", b"1")]);
    series.extend([0x8a, 0x00]);
    series.extend(&label[1..]);
    assert_eq!(seen_v1(&request(1, &[series])).series[0].0, pairs(&[("__name__", "m"), ("a", "1")]));
}

#[test]
fn malformed_bodies_fail() {
    let mut good = request(1, &[labelled(&[(b"a", b"1")])]);
    good.push(0x0a);
    assert!(matches!(decode_v1(&good, &mut Seen::default()), Err(DecodeError::Truncated { .. })));
    // A label message that claims more bytes than it has.
    let body = request(1, &[vec![0x0a, 0x02, 0x0a, 0x05]]);
    assert!(matches!(decode_v1(&body, &mut Seen::default()), Err(DecodeError::Truncated { .. })));
    // Field 1 of the request as a number.
    let error = decode_v1(&[0x08, 0x01], &mut Seen::default());
    assert_eq!(error, Err(DecodeError::WireType { field: 1, wire_type: 0 }));
}

fn v2(symbols: &[&str], references: &[u64]) -> Vec<u8> {
    let mut body = Vec::new();
    for symbol in symbols {
        put_bytes(&mut body, 4, symbol.as_bytes());
    }
    let mut packed = Vec::new();
    for reference in references {
        put_varint(&mut packed, *reference);
    }
    let mut series = Vec::new();
    put_bytes(&mut series, 1, &packed);
    let mut sample = vec![0x09];
    sample.extend_from_slice(&2.5_f64.to_le_bytes());
    sample.extend_from_slice(&[0x10, 9, 0x18, 3]);
    put_bytes(&mut series, 2, &sample);
    put_bytes(&mut series, 5, &[0x08, 3, 0x18, 3]);
    put_bytes(&mut body, 5, &series);
    body
}

#[test]
fn version_two_is_read() {
    let mut seen = Seen::default();
    decode_v2(&v2(&["", "__name__", "m_bucket", "help"], &[1, 2]), &mut seen).expect("valid");
    assert_eq!(seen.series, [(pairs(&[("__name__", "m_bucket")]), vec![(9, 2.5_f64.to_bits())])]);
    assert_eq!(seen.metadata, ["m histogram help "]);
}

#[test]
fn bad_symbol_tables_are_refused() {
    let of = |body: Vec<u8>| decode_v2(&body, &mut Seen::default());
    assert_eq!(
        of(v2(&["", "a", "b", "c"], &[1, 9])),
        Err(DecodeError::SymbolRange { reference: 9, n_symbols: 4 })
    );
    assert_eq!(of(v2(&["x", "a", "b", "c"], &[1, 2])), Err(DecodeError::FirstSymbol { found: "x".into() }));
    assert_eq!(of(v2(&["", "a", "b", "c"], &[1, 2, 3])), Err(DecodeError::OddReferences { count: 3 }));
}

#[test]
fn a_reader_of_version_one_sees_nothing_in_version_two() {
    assert_eq!(seen_v1(&v2(&["", "__name__", "m", "h"], &[1, 2])), Seen::default());
}

#[test]
fn content_types_name_the_version() {
    let of = Version::from_content_type;
    assert_eq!(of(None), Some(Version::V1));
    assert_eq!(of(Some("application/x-protobuf")), Some(Version::V1));
    assert_eq!(of(Some("application/x-protobuf;proto=prometheus.WriteRequest")), Some(Version::V1));
    assert_eq!(of(Some("application/x-protobuf; proto=io.prometheus.write.v2.Request")), Some(Version::V2));
    assert_eq!(of(Some("application/x-protobuf;proto=other")), None);
    assert_eq!(of(Some("application/json")), None);
}

proptest! {
    #[test]
    fn any_request_reads_back(
        series in proptest::collection::vec(
            (
                proptest::collection::btree_map("\\PC{1,150}", "\\PC{1,150}", 0..5),
                proptest::collection::vec((any::<i64>(), any::<u64>()), 0..5),
            ),
            0..5,
        ),
    ) {
        let mut encoder = Encoder::default();
        for (labels, samples) in &series {
            let samples: Vec<_> =
                samples.iter().map(|(t_ms, bits)| Sample { t_ms: *t_ms, value: f64::from_bits(*bits) }).collect();
            encoder.series(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())), &samples);
        }
        let body = decode(Encoding::Snappy, &encoder.finish(), CAPS).expect("own output");
        let want: Vec<_> =
            series.into_iter().map(|(labels, samples)| (labels.into_iter().collect(), samples)).collect();
        prop_assert_eq!(seen_v1(&body).series, want);
    }

    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_v1(&body, &mut Seen::default());
        let _ = decode_v2(&body, &mut Seen::default());
    }

    #[test]
    fn damaged_bodies_never_panic(at in 0_usize..60, byte in any::<u8>()) {
        let mut one = request(1, &[labelled(&[(b"__name__", b"m"), (b"a", "值".as_bytes())])]);
        let mut two = v2(&["", "__name__", "m", "h"], &[1, 2]);
        for body in [&mut one, &mut two] {
            let length = body.len();
            body[at % length] = byte;
        }
        let _ = decode_v1(&one, &mut Seen::default());
        let _ = decode_v2(&two, &mut Seen::default());
    }
}

/// The messages as their `.proto` files have them, by another encoder than ours.
mod message {
    use prost::{Message, Oneof};

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Histogram {
        #[prost(oneof = "Count", tags = "1, 2")]
        pub(super) count: Option<Count>,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(oneof = "ZeroCount", tags = "6, 7")]
        pub(super) zero_count: Option<ZeroCount>,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "9")]
        pub(super) negative_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "10")]
        pub(super) negative_counts: Vec<f64>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, packed = "false", tag = "12")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(double, repeated, packed = "false", tag = "13")]
        pub(super) positive_counts: Vec<f64>,
        #[prost(int32, tag = "14")]
        pub(super) reset_hint: i32,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub(super) custom_values: Vec<f64>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Count {
        #[prost(uint64, tag = "1")]
        Int(u64),
        #[prost(double, tag = "2")]
        Float(f64),
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum ZeroCount {
        #[prost(uint64, tag = "6")]
        Int(u64),
        #[prost(double, tag = "7")]
        Float(f64),
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }
}

/// Puts a histogram into a request of either version.
fn with_histogram(version: Version, histogram: &message::Histogram) -> Vec<u8> {
    let bytes = prost::Message::encode_to_vec(histogram);
    match version {
        Version::V1 => {
            let mut series = labelled(&[(b"__name__", b"m")]);
            put_bytes(&mut series, 4, &bytes);
            request(1, &[series])
        }
        Version::V2 => {
            let mut body = Vec::new();
            ["", "__name__", "m"].iter().for_each(|symbol| put_bytes(&mut body, 4, symbol.as_bytes()));
            let mut series = Vec::new();
            put_bytes(&mut series, 1, &[1, 2]);
            put_bytes(&mut series, 3, &bytes);
            put_bytes(&mut body, 5, &series);
            body
        }
    }
}

fn seen(version: Version, body: &[u8]) -> Result<Seen, DecodeError> {
    let mut seen = Seen::default();
    match version {
        Version::V1 => decode_v1(body, &mut seen)?,
        Version::V2 => decode_v2(body, &mut seen)?,
    }
    Ok(seen)
}

proptest! {
    #[test]
    fn any_histogram_reads_back_in_both_versions(
        (is_float, schema, reset, t_ms, sum) in (any::<bool>(), any::<i32>(), 0..4, any::<i64>(), -1e9..1e9),
        (count, zero_count, zero_threshold) in (any::<u32>(), any::<u32>(), 0.0..1.0),
        spans in proptest::collection::vec((any::<i32>(), any::<u32>()), 0..4),
        counts in [proptest::collection::vec(0_i64..1 << 40, 0..9), proptest::collection::vec(0_i64..1 << 40, 0..9)],
        custom_values in proptest::collection::vec(-1e3..1e3, 0..4),
        at in any::<u16>(), byte in any::<u8>(),
    ) {
        let deltas = |counts: &[i64]| -> Vec<i64> {
            let mut last = 0;
            if is_float { vec![] } else { counts.iter().map(|n| n - std::mem::replace(&mut last, *n)).collect() }
        };
        let floats = |counts: &[i64]| -> Vec<f64> { counts.iter().map(|n| *n as f64 / 4.0).collect() };
        let only_float = |counts: &[i64]| if is_float { floats(counts) } else { vec![] };
        let message_spans: Vec<_> = spans.iter().map(|&(offset, length)| message::Span { offset, length }).collect();
        let message = message::Histogram {
            count: Some(if is_float { message::Count::Float(count.into()) } else { message::Count::Int(count.into()) }),
            sum,
            schema,
            zero_threshold,
            zero_count: Some(match is_float {
                true => message::ZeroCount::Float(zero_count.into()),
                false => message::ZeroCount::Int(zero_count.into()),
            }),
            negative_spans: message_spans.iter().rev().cloned().collect(),
            negative_deltas: deltas(&counts[0]),
            negative_counts: only_float(&counts[0]),
            positive_spans: message_spans,
            positive_deltas: deltas(&counts[1]),
            positive_counts: only_float(&counts[1]),
            reset_hint: reset,
            timestamp: t_ms,
            custom_values: custom_values.clone(),
        };
        let counts_of = |counts: &[i64]| match is_float {
            true => floats(counts),
            false => counts.iter().map(|n| *n as f64).collect(),
        };
        let want = NativeHistogram {
            t_ms,
            reset: [ResetHint::Unknown, ResetHint::Yes, ResetHint::No, ResetHint::Gauge][reset as usize],
            schema,
            zero_threshold,
            zero_count: zero_count.into(),
            count: count.into(),
            sum,
            positive: NativeBuckets { spans: spans.clone(), counts: counts_of(&counts[1]) },
            negative: NativeBuckets { spans: spans.into_iter().rev().collect(), counts: counts_of(&counts[0]) },
            custom_bounds: custom_values,
        };
        for version in [Version::V1, Version::V2] {
            let mut body = with_histogram(version, &message);
            let read = seen(version, &body).expect("valid").histograms;
            prop_assert_eq!(read.as_slice(), std::slice::from_ref(&want));
            let at = usize::from(at) % body.len();
            prop_assert!(seen(version, &body[..at]).map_or(true, |seen| seen.histograms.is_empty()));
            body[at] = byte;
            let _ = seen(version, &body);
        }
    }
}

#[test]
fn a_stale_histogram_keeps_its_bits() {
    let stale = message::Histogram { sum: stale_nan(), ..message::Histogram::default() };
    let seen = seen_v1(&with_histogram(Version::V1, &stale));
    assert_eq!(seen.histograms[0].sum.to_bits(), STALE_NAN_BITS);
}

#[test]
fn exemplars_are_read_and_bad_labels_are_theirs_alone() {
    let exemplar = |labels: &[(&[u8], &[u8])], t_ms: u8| {
        let mut message = labelled(labels);
        message.push(2 << 3 | 1);
        message.extend_from_slice(&0.5_f64.to_le_bytes());
        message.extend_from_slice(&[3 << 3, t_ms]);
        message
    };
    let mut series = labelled(&[(b"__name__", b"m")]);
    put_bytes(&mut series, 3, &exemplar(&[(b"trace_id", b"abc"), (b"a", b"1")], 7));
    put_bytes(&mut series, 3, &exemplar(&[(b"a", b"\xff"), (b"b", b"1")], 8));
    let seen = seen_v1(&request(1, &[series]));
    assert_eq!(
        seen.exemplars,
        ["Ok([(\"trace_id\", \"abc\"), (\"a\", \"1\")]) @7 0.5", "Err(NotUtf8(\"\u{fffd}\")) @8 0.5"]
    );
}

#[test]
fn exemplars_of_version_two_refer_to_symbols() {
    let with = |references: &[u8]| {
        let mut body = Vec::new();
        ["", "__name__", "m", "trace_id", "abc"].iter().for_each(|s| put_bytes(&mut body, 4, s.as_bytes()));
        let mut exemplar = Vec::new();
        put_bytes(&mut exemplar, 1, references);
        exemplar.extend_from_slice(&[3 << 3, 9]);
        let mut series = Vec::new();
        put_bytes(&mut series, 1, &[1, 2]);
        put_bytes(&mut series, 4, &exemplar);
        put_bytes(&mut body, 5, &series);
        seen(Version::V2, &body).map(|seen| seen.exemplars)
    };
    assert_eq!(with(&[3, 4]), Ok(vec!["Ok([(\"trace_id\", \"abc\")]) @9 0".to_owned()]));
    assert_eq!(with(&[3, 4, 3]), Err(DecodeError::OddReferences { count: 3 }));
    assert_eq!(with(&[3, 9]), Err(DecodeError::SymbolRange { reference: 9, n_symbols: 5 }));
}
