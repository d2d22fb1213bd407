//! Head, segments, merge and selection against a map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::segment::{self, Target, WINDOW_MS, window_of};
use super::series_table::tests::matchers;
use super::{Head, IndexCache, Segment, TenantMetrics, merge};
use crate::append::MetricBatch;
use crate::disk::{Disk, MemDisk};
use crate::model::{Labels, ManualClock, MatchOp, Matcher, TenantId, Timestamp};
use crate::read::{Budget, Limits, ReadError, STALE_NAN_BITS, Select, SpanMs};
use crate::segment::{SegmentIds, SegmentMeta};

type Rows = BTreeMap<(Labels, i64), u64>;

pub(super) fn budget() -> Budget {
    Budget::new(Limits::default(), Arc::new(ManualClock::at(Timestamp::default())))
}

/// A store's worth of metrics without the store.
pub(super) struct Bench {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) memory: MemDisk,
    ids: SegmentIds,
    cache: Arc<IndexCache>,
    pub(super) metrics: TenantMetrics,
    sequence: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        let memory = MemDisk::default();
        let metrics = TenantMetrics {
            head: Arc::new(Head::new()),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: Vec::new(),
        };
        let cache = Arc::new(IndexCache::new(1 << 20));
        Self {
            disk: Arc::new(memory.clone()),
            memory,
            ids: SegmentIds::after(0),
            cache,
            metrics,
            sequence: 0,
        }
    }

    fn target(&mut self) -> Target {
        self.sequence += 1;
        Target {
            disk: self.disk.clone(),
            tenant: TenantId::default(),
            ids: self.ids.clone(),
            sequence: self.sequence,
        }
    }

    fn append(&self, rows: &[(Labels, i64, u64)]) {
        let mut batch = MetricBatch::default();
        for (labels, t, bits) in rows {
            batch.start_labels(labels).push(*t, f64::from_bits(*bits));
        }
        self.metrics.head.append_batch(&batch);
    }

    pub(super) fn freeze(&mut self) {
        let frozen = self.metrics.head.freeze();
        self.metrics.head = Arc::new(frozen.head().successor());
        self.metrics.frozen.push(frozen);
    }

    fn open(&self, meta: SegmentMeta) -> Arc<Segment> {
        meta.verify(self.disk.as_ref()).unwrap();
        segment::open(&self.disk, meta, &self.cache).unwrap()
    }

    pub(super) fn seal(&mut self) {
        for frozen in std::mem::take(&mut self.metrics.frozen) {
            let target = self.target();
            for meta in segment::write(&target, &frozen).unwrap() {
                assert_eq!(meta.window, window_of(meta.span.start, WINDOW_MS));
                assert_eq!(meta.window, window_of(meta.span.end, WINDOW_MS));
                let segment = self.open(meta);
                self.metrics.segments.push(segment);
            }
        }
    }

    /// Merges all segments of each day.
    pub(super) fn merge(&mut self, day_ms: i64) {
        let mut days: BTreeMap<i64, Vec<Arc<Segment>>> = BTreeMap::new();
        for segment in std::mem::take(&mut self.metrics.segments) {
            days.entry(window_of(segment.meta().span.start, day_ms).start).or_default().push(segment);
        }
        for (start, inputs) in days {
            let target =
                Target { sequence: inputs.iter().map(|s| s.meta().sequence).max().unwrap(), ..self.target() };
            let meta = merge(&target, &inputs, window_of(start, day_ms), 2).unwrap();
            let segment = self.open(meta);
            self.metrics.segments.push(segment);
        }
    }

    fn read(&self, matchers: &[Matcher], span: SpanMs) -> Rows {
        let budget = budget();
        let selection = self.metrics.select(&Select { matchers, span }, None, &budget).unwrap();
        let labels = selection.series().to_vec();
        assert!(labels.is_sorted_by(|a, b| a < b), "series are sorted and distinct");
        let mut rows = Rows::new();
        let mut seen = Vec::new();
        let middle = labels.len() / 2;
        for range in [0..middle, middle..labels.len()] {
            let mut sink = |i: usize, samples: crate::read::Samples<'_>| {
                seen.push(i);
                assert!(samples.t_ms.is_sorted_by(|a, b| a < b), "times rise strictly");
                assert_eq!(samples.t_ms.len(), samples.values.len());
                let row = samples.t_ms.iter().zip(samples.values);
                rows.extend(row.map(|(t, v)| ((labels[i].clone(), *t), v.to_bits())));
            };
            selection.read(range, &budget, &mut sink).unwrap();
        }
        assert_eq!(seen, (0..labels.len()).collect::<Vec<_>>());
        rows
    }
}

fn value_bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (-1_000i64..1_000).prop_map(|n| (n as f64 / 10.0).to_bits()),
        1 => any::<u64>(),
        1 => Just(STALE_NAN_BITS),
        1 => Just((-0.0f64).to_bits()),
    ]
}

fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-d]", "[x-z]{1,2}", 0..3).prop_map(|p| Labels::from_pairs(p).unwrap())
}

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<(Labels, i64, u64)>),
    Regular(Labels, i64, i64, usize),
    Freeze,
    Seal,
    Merge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = -3 * WINDOW_MS..3 * WINDOW_MS;
    let rows = proptest::collection::vec((labels(), time.clone(), value_bits()), 0..60);
    let step = prop_oneof![
        3 => rows.prop_map(Step::Rows),
        2 => (labels(), time, 1i64..40_000, 1usize..400).prop_map(|(l, t, step, n)| Step::Regular(l, t, step, n)),
        2 => Just(Step::Freeze),
        2 => Just(Step::Seal),
        1 => Just(Step::Merge),
    ];
    proptest::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_answer_is_what_a_map_would_give(
        steps in steps(),
        matchers in matchers(),
        span in (-4 * WINDOW_MS..4 * WINDOW_MS, 0..6 * WINDOW_MS),
    ) {
        let mut bench = Bench::new();
        let mut map = Rows::new();
        for step in &steps {
            match step {
                Step::Rows(rows) => {
                    bench.append(rows);
                    map.extend(rows.iter().map(|(l, t, v)| ((l.clone(), *t), *v)));
                }
                Step::Regular(labels, start, step, n) => {
                    let rows: Vec<_> = (0..*n as i64)
                        .map(|i| (labels.clone(), start + i * step, ((i % 7) as f64).to_bits()))
                        .collect();
                    bench.append(&rows);
                    map.extend(rows.into_iter().map(|(l, t, v)| ((l, t), v)));
                }
                Step::Freeze => bench.freeze(),
                Step::Seal => bench.seal(),
                Step::Merge => bench.merge(4 * WINDOW_MS),
            }
        }
        prop_assert_eq!(bench.read(&[], SpanMs::ALL), map.clone());
        let span = SpanMs { start: span.0, end: span.0 + span.1 };
        let matches = |labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels));
        let want: Rows = map
            .iter()
            .filter(|((l, t), _)| matches(l) && span.start <= *t && *t <= span.end)
            .map(|(k, v)| (k.clone(), *v))
            .collect();
        prop_assert_eq!(bench.read(&matchers, span), want);

        let found: BTreeSet<&Labels> = map.keys().map(|k| &k.0).filter(|l| matches(l)).collect();
        let sets = [matchers.clone(), vec![Matcher::equal("a", "nowhere")]];
        let names: BTreeSet<String> = found.iter().flat_map(|l| l.iter().map(|p| p.0.to_string())).collect();
        let got = bench.metrics.label_names(&sets, SpanMs::ALL, &budget()).unwrap();
        prop_assert_eq!(got, names.into_iter().collect::<Vec<_>>());
        let values: BTreeSet<String> = found.iter().filter_map(|l| l.get("b").map(str::to_string)).collect();
        let got = bench.metrics.label_values("b", &sets, SpanMs::ALL, &budget()).unwrap();
        prop_assert_eq!(got, values.into_iter().collect::<Vec<_>>());
        let all: BTreeSet<String> = map.keys().filter_map(|k| k.0.get("b").map(str::to_string)).collect();
        let got = bench.metrics.label_values("b", &[], SpanMs::ALL, &budget()).unwrap();
        prop_assert_eq!(got, all.into_iter().collect::<Vec<_>>());
    }
}

/// Twenty gauges and counters over six hours, more than one page of each column.
fn long_series() -> Vec<(Labels, i64, u64)> {
    let mut rows = Vec::new();
    for n in 0..20u32 {
        let labels = Labels::from_pairs([("__name__", "long"), ("n", &format!("{n:02}"))]).unwrap();
        let mut value = 0.0;
        for i in 0..2_000i64 {
            value += f64::from((n * 7 + i as u32) % 13) / if n % 2 == 0 { 1.0 } else { 100.0 };
            let jitter = if n % 3 == 0 { i % 5 } else { 0 };
            let bits = if i == 1_000 { STALE_NAN_BITS } else { value.to_bits() };
            rows.push((labels.clone(), 1_795_132_800_000 + i * 6_000 + jitter, bits));
        }
    }
    rows
}

fn as_map(rows: &[(Labels, i64, u64)]) -> Rows {
    rows.iter().map(|(l, t, v)| ((l.clone(), *t), *v)).collect()
}

#[test]
fn long_series_come_back_whole_and_in_part() {
    let mut bench = Bench::new();
    let rows = long_series();
    bench.append(&rows);
    bench.freeze();
    bench.seal();
    bench.merge(86_400_000);
    assert_eq!(bench.metrics.segments.len(), 1);
    assert_eq!(bench.read(&[], SpanMs::ALL), as_map(&rows));
    let one = [Matcher::equal("n", "13")];
    let span = SpanMs { start: 1_795_132_800_000 + 5_999, end: 1_795_132_800_000 + 120_000 };
    assert_eq!(bench.read(&one, span).len(), 20);
}

#[test]
fn the_general_reader_reads_the_same_rows() {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let mut bench = Bench::new();
    let rows = long_series();
    bench.append(&rows);
    bench.freeze();
    bench.seal();
    bench.merge(86_400_000);
    let meta = bench.metrics.segments[0].meta().clone();
    let read = |i: usize| {
        let bytes = bench.disk.read(&meta.files[i].path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        reader.map(Result::unwrap).collect::<Vec<_>>()
    };
    let mut labels = Vec::new();
    for batch in read(1) {
        let maps = batch.column_by_name("labels").unwrap().as_map();
        for i in 0..batch.num_rows() {
            let entries = maps.value(i);
            let text = |c: usize| {
                entries
                    .column(c)
                    .as_string::<i32>()
                    .iter()
                    .map(|v| v.unwrap().to_string())
                    .collect::<Vec<_>>()
            };
            labels.push(Labels::from_pairs(text(0).into_iter().zip(text(1))).unwrap());
        }
    }
    let mut got = Rows::new();
    for batch in read(0) {
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let ids = column("series_id").as_primitive::<Int32Type>();
        let times = column("time_ms").as_primitive::<TimestampMillisecondType>();
        let mantissas = column("mantissa").as_primitive::<Int64Type>();
        let scales = column("scale").as_primitive::<Int32Type>();
        let raw = column("raw").as_primitive::<Float64Type>();
        for i in 0..batch.num_rows() {
            let decimal = mantissas.value(i) as f64 / 10f64.powi(scales.value(i));
            let value = if raw.is_null(i) { decimal } else { raw.value(i) };
            got.insert((labels[ids.value(i) as usize].clone(), times.value(i)), value.to_bits());
        }
    }
    assert_eq!(got, as_map(&rows));
}

#[test]
fn the_first_and_the_last_time_are_times_like_others() {
    let mut bench = Bench::new();
    let labels = Labels::from_pairs([("a", "x")]).unwrap();
    let rows: Vec<_> = [i64::MIN, i64::MIN + WINDOW_MS, -1, 0, i64::MAX - WINDOW_MS, i64::MAX]
        .map(|t| (labels.clone(), t, 1f64.to_bits()))
        .to_vec();
    bench.append(&rows);
    assert_eq!(bench.read(&[], SpanMs::ALL), as_map(&rows));
    bench.freeze();
    bench.seal();
    assert_eq!(bench.metrics.segments.len(), 6);
    assert_eq!(bench.read(&[], SpanMs::ALL), as_map(&rows));
    let target = bench.target();
    let meta = merge(&target, &bench.metrics.segments, SpanMs::ALL, 1).unwrap();
    bench.metrics.segments = vec![bench.open(meta)];
    assert_eq!(bench.read(&[], SpanMs::ALL), as_map(&rows));
}

#[test]
fn the_later_write_answers() {
    let mut bench = Bench::new();
    let labels = Labels::from_pairs([("a", "x")]).unwrap();
    let value = |n: f64| vec![(labels.clone(), 5, n.to_bits())];
    let check = |bench: &Bench, n: f64| assert_eq!(bench.read(&[], SpanMs::ALL), as_map(&value(n)));
    bench.append(&value(1.0));
    bench.append(&value(2.0));
    check(&bench, 2.0);
    bench.freeze();
    bench.append(&value(3.0));
    check(&bench, 3.0);
    bench.freeze();
    bench.seal();
    check(&bench, 3.0);
    bench.append(&value(4.0));
    check(&bench, 4.0);
    bench.freeze();
    bench.seal();
    assert_eq!(bench.metrics.segments.len(), 3);
    bench.metrics.segments.reverse();
    check(&bench, 4.0);
    bench.merge(WINDOW_MS);
    check(&bench, 4.0);
    assert_eq!(bench.metrics.segments[0].meta().n_rows, 1);
}

#[test]
fn damage_is_an_error_and_never_another_value() {
    let mut bench = Bench::new();
    let rows = long_series();
    bench.append(&rows);
    bench.freeze();
    bench.seal();
    bench.merge(86_400_000);
    let meta = bench.metrics.segments[0].meta().clone();
    let want = as_map(&rows);
    let mut n_found = 0;
    for file in &meta.files {
        for step in 0..60 {
            let at = (file.bytes as usize - 1) * step / 59;
            bench.memory.damage(&file.path, |bytes| bytes[at] ^= 0x10);
            let cache = Arc::new(IndexCache::new(1 << 20));
            let segment = segment::open(&bench.disk, meta.clone(), &cache).unwrap();
            let metrics = TenantMetrics { segments: vec![segment], ..bench.metrics.clone() };
            match read_all(&metrics) {
                Ok(got) => assert_eq!(got, want, "byte {at} of {}", file.path.display()),
                Err(e) => {
                    assert!(matches!(e, ReadError::Corrupt { .. }), "{e}");
                    n_found += 1;
                }
            }
            bench.memory.damage(&file.path, |bytes| bytes[at] ^= 0x10);
        }
    }
    // Columns that are not needed, such as `series_id`, may be damaged without harm.
    assert!(n_found > 100, "{n_found} of 120");
}

fn read_all(metrics: &TenantMetrics) -> Result<Rows, ReadError> {
    let budget = budget();
    let selection = metrics.select(&Select { matchers: &[], span: SpanMs::ALL }, None, &budget)?;
    let mut rows = Rows::new();
    selection.read(0..selection.series().len(), &budget, &mut |i, samples| {
        let labels = &selection.series()[i];
        rows.extend(
            samples.t_ms.iter().zip(samples.values).map(|(t, v)| ((labels.clone(), *t), v.to_bits())),
        );
    })?;
    Ok(rows)
}

#[test]
fn a_failed_write_leaves_no_file() {
    use crate::disk::{Fault, FaultyDisk, Operation};
    let mut bench = Bench::new();
    bench.append(&long_series());
    bench.freeze();
    let frozen = bench.metrics.frozen[0].clone();
    bench.seal();
    let day = window_of(bench.metrics.segments[0].meta().span.start, 86_400_000);
    let mut n_failed = 0;
    for after in 0.. {
        let memory = MemDisk::default();
        let disk = Arc::new(FaultyDisk::new(Arc::new(memory.clone())));
        let error = std::io::ErrorKind::StorageFull;
        disk.inject(Fault { operation: Operation::Change, after, error, short: 0, for_ever: false });
        let target = Target { disk, ..bench.target() };
        let sealed = segment::write(&target, &frozen).map(|metas| metas.len());
        let merged = merge(&target, &bench.metrics.segments, day, 2);
        match (sealed, merged) {
            (Ok(_), Ok(_)) => break,
            (Err(_), Ok(merged)) => assert_eq!(memory.files().len(), merged.files.len()),
            (Ok(sealed), Err(_)) => assert_eq!(memory.files().len(), 2 * sealed),
            (Err(_), Err(_)) => panic!("one fault failed two operations"),
        }
        n_failed += 1;
    }
    assert!(n_failed > 15, "{n_failed} steps can fail");
}

#[test]
fn limits_of_the_budget_are_kept() {
    let bench = Bench::new();
    bench.append(&long_series());
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let select = Select { matchers: &[], span: SpanMs::ALL };
    let few = Budget::new(Limits { series: 19, ..Limits::default() }, clock.clone());
    assert!(matches!(
        bench.metrics.select(&select, None, &few),
        Err(ReadError::Limit { what: "series", .. })
    ));
    let few = Budget::new(Limits { samples: 39_999, ..Limits::default() }, clock);
    let selection = bench.metrics.select(&select, None, &few).unwrap();
    let read = selection.read(0..20, &few, &mut |_, _| {});
    assert!(matches!(read, Err(ReadError::Limit { what: "samples", .. })));
}

#[test]
fn what_cannot_be_read_is_told_where_it_matters() {
    let mut bench = Bench::new();
    bench.metrics.missing.push((SpanMs { start: 0, end: 9 }, "segment 7 is damaged".into()));
    let missing =
        |span| bench.metrics.select(&Select { matchers: &[], span }, None, &budget()).unwrap().missing();
    assert_eq!(missing(SpanMs { start: 9, end: 20 }), ["segment 7 is damaged"]);
    assert!(missing(SpanMs { start: 10, end: 20 }).is_empty());
}

#[test]
fn a_small_cache_changes_no_answer() {
    let mut bench = Bench::new();
    bench.cache = Arc::new(IndexCache::new(1));
    let rows = long_series();
    bench.append(&rows);
    bench.freeze();
    bench.seal();
    assert!(bench.metrics.segments.len() > 1);
    assert_eq!(bench.read(&[Matcher::new("n", MatchOp::Regex, ".*").unwrap()], SpanMs::ALL), as_map(&rows));
    let held = bench.cache.bytes();
    bench.metrics.segments.clear();
    assert!(held > 0 && bench.cache.bytes() == 0);
}
