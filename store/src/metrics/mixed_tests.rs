//! Floats, native histograms and exemplars together, against a map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::exemplars::tests::exemplars;
use super::histogram_codec::tests::histograms;
use super::histogram_codec::{Before, HistogramCodec};
use super::segment::{self, WINDOW_MS};
use super::tests::{Bench, budget};
use super::{IndexCache, TenantMetrics};
use crate::append::MetricBatch;
use crate::model::{Exemplar, Histogram, Labels, Matcher};
use crate::read::{Budget, Limits, ReadError, Select, Selection, SpanMs};

/// What is at one time of a series, comparable bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Float(u64),
    Histogram(Vec<u8>),
}

pub(crate) type Rows = BTreeMap<(Labels, i64), Held>;
/// Series, time, own labels and bits of the value of each.
pub(crate) type Exemplars = BTreeSet<(Labels, i64, Labels, u64)>;

/// Something that is sent: a float or a histogram.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Float(f64),
    Histogram(Histogram),
}

impl Value {
    pub(crate) fn held(&self) -> Held {
        match self {
            Self::Float(value) => Held::Float(value.to_bits()),
            Self::Histogram(histogram) => held(&Arc::new(histogram.clone())),
        }
    }
}

fn held(histogram: &Arc<Histogram>) -> Held {
    let mut bytes = Vec::new();
    HistogramCodec::default().put(histogram, Before::Other, &mut bytes);
    Held::Histogram(bytes)
}

/// Floats, NaN of several kinds among them, and histograms.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => (-99i64..999).prop_map(|n| Value::Float(n as f64 / 10.0)),
        1 => any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        1 => Just(Value::Float(f64::NAN)),
        4 => histograms().prop_map(Value::Histogram),
    ]
}

/// An exemplar of any labels and bits, at a time that the caller gives.
pub(crate) fn exemplar() -> impl Strategy<Value = Exemplar> {
    exemplars()
}

pub(crate) fn key_of(series: &Labels, e: &Exemplar) -> (Labels, i64, Labels, u64) {
    (series.clone(), e.t_ms, e.labels.clone(), e.value.to_bits())
}

/// Reads everything that a selection has.
pub(crate) fn rows_of(selection: &dyn Selection, budget: &Budget) -> Result<Rows, ReadError> {
    let mut rows = Rows::new();
    selection.read(0..selection.series().len(), budget, &mut |i, samples| {
        let mut histograms = samples.histograms.iter().peekable();
        assert!(samples.t_ms.is_sorted_by(|a, b| a < b), "times rise strictly");
        for (at, (t_ms, value)) in samples.t_ms.iter().zip(samples.values).enumerate() {
            let held = match histograms.next_if(|h| h.0 == at) {
                Some((_, histogram)) => {
                    assert!(value.is_nan(), "a histogram's place has NaN");
                    held(histogram)
                }
                None => Held::Float(value.to_bits()),
            };
            assert!(
                rows.insert((selection.series()[i].clone(), *t_ms), held).is_none(),
                "a series comes once"
            );
        }
        assert!(histograms.next().is_none(), "histograms are in the order of their places");
    })?;
    Ok(rows)
}

pub(crate) fn exemplars_of(list: Vec<(Labels, Vec<Exemplar>)>) -> Exemplars {
    let n: usize = list.iter().map(|(_, list)| list.len()).sum();
    assert!(list.is_sorted_by(|a, b| a.0 < b.0), "series are sorted and distinct");
    let all: Exemplars =
        list.iter().flat_map(|(series, list)| list.iter().map(move |e| key_of(series, e))).collect();
    assert_eq!(all.len(), n, "each comes once");
    all
}

fn read(metrics: &TenantMetrics, span: SpanMs) -> Result<Rows, ReadError> {
    let budget = budget();
    let selection = metrics.select(&Select { matchers: &[], span }, None, &budget)?;
    rows_of(selection.as_ref(), &budget)
}

fn labels(n: u8) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<(u8, i64, Value)>),
    /// A histogram that grows.
    Growing(u8, i64, usize, Histogram),
    Exemplars(Vec<(u8, Exemplar)>),
    Freeze,
    Seal,
    Merge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = -2 * WINDOW_MS..2 * WINDOW_MS;
    let close = (0i64..40).prop_map(|n| n * 1000);
    let rows = proptest::collection::vec((0u8..5, prop_oneof![time.clone(), close.clone()], value()), 0..40);
    let list = proptest::collection::vec((0u8..7, exemplar()), 0..12);
    let step = prop_oneof![
        4 => rows.prop_map(Step::Rows),
        2 => (0u8..5, close, 1usize..90, histograms()).prop_map(|(l, t, n, h)| Step::Growing(l, t, n, h)),
        2 => list.prop_map(Step::Exemplars),
        2 => Just(Step::Freeze),
        2 => Just(Step::Seal),
        1 => Just(Step::Merge),
    ];
    proptest::collection::vec(step, 1..12)
}

fn growing(start: i64, n: usize, histogram: &Histogram) -> Vec<(i64, Value)> {
    let mut histogram = histogram.clone();
    let step = |i: usize| {
        histogram.count += 1.0;
        if let Some(count) = histogram.positive.counts.first_mut() {
            *count += 1.0;
        }
        (start + i as i64 * 1000, Value::Histogram(histogram.clone()))
    };
    (0..n).map(step).collect()
}

fn append(bench: &Bench, map: &mut Rows, rows: &[(u8, i64, Value)]) {
    let mut batch = MetricBatch::default();
    for (n, t_ms, value) in rows {
        let mut writer = batch.start_labels(&labels(*n));
        match value {
            Value::Float(value) => writer.push(*t_ms, *value),
            Value::Histogram(histogram) => writer.push_histogram(*t_ms, histogram.clone()).unwrap(),
        }
        map.insert((labels(*n), *t_ms), value.held());
    }
    bench.metrics.head.append_batch(&batch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_answer_is_what_a_map_would_give(steps in steps(), span in (-3 * WINDOW_MS..2 * WINDOW_MS, 0..3 * WINDOW_MS)) {
        let (mut bench, mut map, mut noted) = (Bench::new(), Rows::new(), Exemplars::new());
        for step in &steps {
            match step {
                Step::Rows(rows) => append(&bench, &mut map, rows),
                Step::Growing(n, start, len, histogram) => {
                    let rows = growing(*start, *len, histogram).into_iter().map(|(t, h)| (*n, t, h));
                    append(&bench, &mut map, &rows.collect::<Vec<_>>());
                }
                Step::Exemplars(list) => {
                    let mut batch = MetricBatch::default();
                    for (n, exemplar) in list {
                        // Windows at the ends of time are another test's.
                        let exemplar = Exemplar { t_ms: exemplar.t_ms % (3 * WINDOW_MS), ..exemplar.clone() };
                        noted.insert(key_of(&labels(*n), &exemplar));
                        batch.push_exemplar(labels(*n), exemplar).unwrap();
                    }
                    bench.metrics.head.append_batch(&batch);
                }
                Step::Freeze => bench.freeze(),
                Step::Seal => bench.seal(),
                Step::Merge => bench.merge(8 * WINDOW_MS),
            }
        }
        prop_assert_eq!(read(&bench.metrics, SpanMs::ALL).unwrap(), map.clone());
        let span = SpanMs { start: span.0, end: span.0 + span.1 };
        let inside = |t: i64| span.start <= t && t <= span.end;
        let want: Rows = map.into_iter().filter(|((_, t), _)| inside(*t)).collect();
        prop_assert_eq!(read(&bench.metrics, span).unwrap(), want);

        let find = |sets: &[Vec<Matcher>], span| exemplars_of(bench.metrics.exemplars(sets, span, &budget()).unwrap());
        prop_assert_eq!(find(&[], SpanMs::ALL), noted.clone());
        let sets = [vec![Matcher::equal("n", "1")], vec![Matcher::equal("n", "6")]];
        let ones = [labels(1), labels(6)];
        noted.retain(|(series, t, ..)| ones.contains(series) && inside(*t));
        prop_assert_eq!(find(&sets, span), noted);
    }
}

fn long() -> Bench {
    let (bench, mut map) = (Bench::new(), Rows::new());
    for n in 0..6u8 {
        let counts: Vec<f64> = (0..60).map(|i| f64::from(i * u32::from(n))).collect();
        let positive = crate::model::Buckets {
            spans: vec![crate::model::Span { offset: -7, length: 60 }],
            counts: counts.clone(),
        };
        let count = counts.iter().sum();
        let histogram = Histogram { schema: 3, count, sum: 0.1, positive, ..Histogram::default() };
        let rows: Vec<_> = growing(0, 400, &histogram).into_iter().map(|(t, h)| (n, t, h)).collect();
        append(&bench, &mut map, &rows);
        append(&bench, &mut map, &[(n, 70_500, Value::Float(f64::NAN)), (n, 70_501, Value::Float(4.0))]);
    }
    let mut batch = MetricBatch::default();
    for i in 0..3_000i64 {
        let labels_of = Labels::from_pairs([("trace_id", format!("{:032x}", i * 7919))]).unwrap();
        batch
            .push_exemplar(labels(9), Exemplar { labels: labels_of, t_ms: i * 100, value: i as f64 })
            .unwrap();
    }
    bench.metrics.head.append_batch(&batch);
    bench
}

#[test]
fn damage_is_an_error_and_never_another_value() {
    let mut bench = long();
    let want = read(&bench.metrics, SpanMs::ALL).unwrap();
    let all = |metrics: &TenantMetrics| metrics.exemplars(&[], SpanMs::ALL, &budget()).map(exemplars_of);
    let noted = all(&bench.metrics).unwrap();
    bench.freeze();
    bench.seal();
    bench.merge(86_400_000);
    let meta = bench.metrics.segments[0].meta().clone();
    assert_eq!(meta.files.len(), 4);
    let mut n_found = 0;
    for file in &meta.files[2..] {
        for step in 0..60 {
            let at = (file.bytes as usize - 1) * step / 59;
            bench.memory.damage(&file.path, |bytes| bytes[at] ^= 0x10);
            let cache = Arc::new(IndexCache::new(1 << 20));
            let segment = segment::open(&bench.disk, meta.clone(), &cache).unwrap();
            let metrics = TenantMetrics { segments: vec![segment], ..bench.metrics.clone() };
            for result in
                [read(&metrics, SpanMs::ALL).map(|rows| rows == want), all(&metrics).map(|e| e == noted)]
            {
                match result {
                    Ok(is_same) => assert!(is_same, "byte {at} of {}", file.path.display()),
                    Err(error) => {
                        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
                        n_found += 1;
                    }
                }
            }
            bench.memory.damage(&file.path, |bytes| bytes[at] ^= 0x10);
        }
    }
    // A frame's header has bits that no decoder looks at.
    assert!(n_found > 110, "{n_found} of 120");
}

#[test]
fn histograms_take_few_bytes_and_only_where_they_are() {
    let mut bench = long();
    let in_memory = bench.metrics.head.bytes();
    bench.freeze();
    bench.seal();
    bench.merge(86_400_000);
    let meta = bench.metrics.segments[0].meta().clone();
    let bytes = |extension: &str| {
        let file = meta.files.iter().find(|file| file.path.extension().is_some_and(|e| e == extension));
        file.map_or(0, |file| file.bytes)
    };
    assert!(bytes("histograms") < 2_400 * 20, "{} bytes for 2400 histograms", bytes("histograms"));
    assert!(bytes("exemplars") < 3_000 * 20, "{} bytes for 3000 exemplars", bytes("exemplars"));
    assert!(in_memory < 2_400 * 250 + 3_000 * 200 + 200_000, "{in_memory} bytes in memory");
    let mut plain = Bench::new();
    append(&plain, &mut Rows::new(), &[(1, 5, Value::Float(1.0))]);
    plain.freeze();
    plain.seal();
    assert_eq!(plain.metrics.segments[0].meta().files.len(), 2);
}

#[test]
fn exemplars_alone_make_a_segment() {
    let mut bench = Bench::new();
    let mut batch = MetricBatch::default();
    let exemplar = Exemplar { labels: labels(1), t_ms: 5, value: 1.0 };
    batch.push_exemplar(labels(1), exemplar.clone()).unwrap();
    bench.metrics.head.append_batch(&batch);
    assert!(!bench.metrics.head.is_empty());
    bench.freeze();
    bench.seal();
    for _ in 0..2 {
        let meta = bench.metrics.segments[0].meta();
        assert_eq!((meta.n_rows, meta.span), (0, SpanMs { start: 5, end: 5 }));
        assert_eq!(read(&bench.metrics, SpanMs::ALL).unwrap(), Rows::new());
        let found = bench.metrics.exemplars(&[], SpanMs::ALL, &budget()).unwrap();
        assert_eq!(found, [(labels(1), vec![exemplar.clone()])]);
        bench.merge(86_400_000);
    }
}

#[test]
fn limits_count_histograms_by_their_memory_and_exemplars_as_samples() {
    let bench = long();
    let with = |samples| {
        let limits = Limits { samples, ..Limits::default() };
        Budget::new(limits, Arc::new(crate::model::ManualClock::at(crate::model::Timestamp::default())))
    };
    let few = with(20_000);
    let selection = bench.metrics.select(&Select { matchers: &[], span: SpanMs::ALL }, None, &few).unwrap();
    assert!(matches!(rows_of(selection.as_ref(), &few), Err(ReadError::Limit { what: "samples", .. })));
    let find = |samples| bench.metrics.exemplars(&[], SpanMs::ALL, &with(samples));
    assert!(matches!(find(2_999), Err(ReadError::Limit { what: "samples", .. })));
    assert_eq!(find(3_000).unwrap()[0].1.len(), 3_000);
}
