//! Tests of both directions and both versions.

use super::*;
use crate::compress::{Caps, Encoding, decode};
use crate::exposition::MetricType;
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
    n_histograms: usize,
    n_exemplars: usize,
}

impl<'a> Sink<'a> for Seen {
    fn series(&mut self, series: &mut Series<'a, '_>) -> Result<(), DecodeError> {
        self.n_histograms += series.n_histograms();
        self.n_exemplars += series.n_exemplars();
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
    assert_eq!((seen.n_exemplars, seen.n_histograms), (1, 2));
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
