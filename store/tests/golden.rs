//! Folders that earlier releases wrote are read for ever.
//!
//! `golden/N` was written by the first release with version N of some format, by
//! `examples/golden.rs`, and is never written again.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod content;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use greylight_store::logs::{Flow, LogSelect, LogSource, Order, PageRequest, Query};
use greylight_store::model::{
    Buckets, Exemplar, Histogram, LogRecord, MatchOp, Matcher, SystemClock, TimeRange,
};
use greylight_store::read::{Budget, Limits, MetricSource, Select, SpanMs, WholeBuckets};
use greylight_store::records::OutgoingFilter;
use greylight_store::{Store, StoreConfig, StoreEnv, verify};

use content::{
    exemplars, headed_records, histograms, later_records, metadata, records, series, tenant, whole_day,
};

/// Samples by series: time, bits of the value, and the histogram in words, if it is one.
type Samples = BTreeMap<Vec<(String, String)>, Vec<(i64, u64, Option<String>)>>;

/// Every bit of a histogram, which its own comparison would take NaN for different.
fn in_words(histogram: &Histogram) -> String {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let Histogram { zero_threshold, zero_count, count, sum, positive, negative, .. } = histogram;
    let parts = bits(&[*zero_threshold, *zero_count, *count, *sum]);
    let side = |buckets: &Buckets| format!("{:?} {:?}", buckets.spans, bits(&buckets.counts));
    let (reset, schema, bounds) = (histogram.reset, histogram.schema, bits(&histogram.custom_bounds));
    format!("{reset} {schema} {parts:?} {} {} {bounds:?}", side(positive), side(negative))
}

fn exemplars_of(store: &Store) -> Vec<String> {
    let found = store.reader().exemplars(&tenant(), &[], SpanMs::ALL, &budget()).unwrap();
    let mut all: Vec<String> = found
        .iter()
        .flat_map(|(series, list)| list.iter().map(move |e| word(series.metric_name(), e)))
        .collect();
    all.sort();
    all
}

fn word(series: &str, exemplar: &Exemplar) -> String {
    format!("{series} {} {} {:x}", exemplar.labels, exemplar.t_ms, exemplar.value.to_bits())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn budget() -> Budget {
    Budget::new(Limits::default(), Arc::new(SystemClock::default()))
}

fn samples_of(store: &Store) -> Samples {
    let select = Select { matchers: &[], span: SpanMs::ALL };
    let selection = store.reader().select(&tenant(), &select, &budget()).unwrap();
    assert_eq!(selection.missing(), [""; 0]);
    let name = |labels: &greylight_store::model::Labels| -> Vec<(String, String)> {
        labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    };
    let names: Vec<_> = selection.series().iter().map(name).collect();
    let mut all = Samples::new();
    let read = selection.read(0..names.len(), &budget(), &mut |i, samples| {
        let mut histograms = samples.histograms.iter().peekable();
        let rows = samples.t_ms.iter().zip(samples.values).enumerate().map(|(at, (t_ms, value))| {
            match histograms.next_if(|h| h.0 == at) {
                Some((_, histogram)) => (*t_ms, 0, Some(in_words(histogram))),
                None => (*t_ms, value.to_bits(), None),
            }
        });
        all.entry(names[i].clone()).or_default().extend(rows);
    });
    read.unwrap();
    all
}

fn records_of(store: &Store) -> Vec<LogRecord> {
    let select = LogSelect { query: Query::parse("*").unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
    let mut all = Vec::new();
    let missing = store.reader().scan(&tenant(), &select, Order::OldestFirst, &budget(), &mut |found| {
        all.push(found.record);
        Flow::Continue
    });
    assert_eq!(missing.unwrap(), [""; 0]);
    all.sort_by_key(|record| record.time);
    all
}

fn expected(version: &str) -> (Samples, Vec<LogRecord>, Vec<String>) {
    let mut samples = Samples::new();
    let mut all = Vec::new();
    for sealed in [true, false] {
        for (labels, values) in series(sealed) {
            let labels = labels.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let values = values.into_iter().map(|(t, v)| (t, v.to_bits(), None));
            samples.entry(labels).or_default().extend(values);
        }
        all.extend(records(sealed));
        if version >= "5" {
            all.extend(later_records(sealed));
        }
        if version >= "7" {
            all.extend(headed_records(sealed));
        }
    }
    if version >= "6" {
        samples.extend(whole_day().into_iter().map(|(labels, values)| {
            let labels = labels.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            (labels, values.into_iter().map(|(t, v)| (t, v.to_bits(), None)).collect())
        }));
    }
    all.sort_by_key(|record| record.time);
    let mut noted = Vec::new();
    for sealed in [true, false] {
        if version == "1" {
            continue;
        }
        for (name, t_ms, histogram) in histograms(sealed) {
            let series = samples.entry(vec![("__name__".to_owned(), name.to_owned())]).or_default();
            series.push((t_ms, 0, Some(in_words(&histogram))));
        }
        noted.extend(exemplars(sealed).iter().map(|(series, exemplar)| word(series, exemplar)));
    }
    samples.values_mut().for_each(|list| list.sort());
    noted.sort();
    (samples, all, noted)
}

/// Checks that rollups are read, those by hours and those by minutes.
fn assert_rolled(store: &Store) {
    for (every_ms, n_stood_for) in [(3_600_000, 1200 + 2 * 1440), (60_000, 1200)] {
        let budget = budget();
        let of_days = Matcher::new("__name__", MatchOp::Regex, "day_.*|fast").unwrap();
        let select = Select { matchers: &[of_days], span: SpanMs::ALL };
        let buckets = WholeBuckets { every_ms, falls: false };
        let selection = store.reader().select_buckets(&tenant(), &select, buckets, &budget).unwrap();
        let n = selection.series().len();
        selection.read(0..n, &budget, &mut |_, _| {}).unwrap();
        assert_eq!(budget.rolled().1, n_stood_for);
    }
}

/// Checks that lines behind a header are known by their message, those in the log too.
fn assert_headed(store: &Store) {
    let labels = vec![Matcher::equal("service_name", "headed")];
    let select = LogSelect { query: Query::all(), matchers: labels, range: TimeRange::ALL };
    let patterns = store.reader().patterns(&tenant(), &select, 10, &budget()).unwrap().patterns;
    let found: Vec<_> = patterns.iter().map(|p| (p.text.as_str(), p.count)).collect();
    assert_eq!(found, [("job <*> done", 344), ("<*> INFO core.Main: job <*> done", 256)]);
}

/// Checks that indexes of all versions leave nothing out.
fn assert_searched(store: &Store, records: &[LogRecord]) {
    for text in [r"[a-z]{3} \d", "job [0-9]+ done", r"INFO|(?i)error", "[0-9]5"] {
        let query = Query::regex(text).unwrap();
        let select = LogSelect { query, matchers: Vec::new(), range: TimeRange::ALL };
        let page = PageRequest { order: Order::OldestFirst, limit: usize::MAX, after: None };
        let found = store.reader().search(&tenant(), &select, &page, &budget()).unwrap().records;
        let want = regex::Regex::new(text).unwrap();
        assert_eq!(found.len(), records.iter().filter(|r| want.is_match(&r.body)).count(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_folder_that_a_release_wrote_is_read_in_full() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for version in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        let folder = tempfile::tempdir().unwrap();
        copy(&golden.join(version), folder.path());
        let report = verify(&StoreEnv::on_folder(folder.path()).unwrap()).await.unwrap();
        assert!(report.is_clean() && report.n_files >= 4, "{report:?}");
        let env = StoreEnv::on_folder(folder.path()).unwrap();
        let store = Store::open(StoreConfig::default(), env).await.unwrap();
        let n_frames = match version {
            "7" | "8" => 4,
            "5" | "6" => 3,
            _ => 2,
        };
        assert_eq!(store.status().wal.n_replayed, n_frames, "one part is in the log only");
        let (samples, records, noted) = expected(version);
        for rewritten in [false, true] {
            assert_eq!(samples_of(&store), samples, "rewritten: {rewritten}");
            assert_eq!(records_of(&store), records, "rewritten: {rewritten}");
            assert_eq!(exemplars_of(&store), noted, "rewritten: {rewritten}");
            assert_searched(&store, &records);
            let known = store.reader().metadata(&tenant(), None).unwrap();
            assert_eq!(known, [metadata()]);
            store.flush().await.unwrap();
        }
        if version >= "6" {
            assert_rolled(&store);
        }
        if version >= "7" {
            assert_headed(&store);
        }
        let document = store.records().get(&tenant(), "release", "r1").await.unwrap().unwrap();
        assert_eq!((document.version, document.body.as_slice()), (1, b"body".as_slice()));
        let waiting = store.records().outgoing(&tenant(), OutgoingFilter::default()).await.unwrap();
        assert_eq!((waiting.len(), waiting[0].id.as_str()), (1, "message-1"));
        assert_eq!(waiting[0].body, b"{\"decision\":\"go\"}");
        store.shutdown().await.unwrap();
    }
}
