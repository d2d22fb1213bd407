//! Floats, native histograms and exemplars through the whole store.

use proptest::prelude::*;

use super::tests::{NOW_MS, Rig};
use super::*;
use crate::append::MetricBatch;
use crate::metrics::mixed_tests::{Exemplars, Rows, Value, exemplar, exemplars_of, key_of, rows_of, value};
use crate::model::{Exemplar, Histogram, Labels, ManualClock, MatchOp, Matcher};
use crate::read::{Budget, Limits, MetricSource, Select, SpanMs};

fn labels(n: usize) -> Labels {
    Labels::from_pairs([("__name__", ["a", "b", "ba", "c"][n])]).unwrap()
}

fn everything(store: &Store, clock: &ManualClock) -> (Rows, Exemplars) {
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
    let (reader, tenant) = (store.reader(), TenantId::default());
    let selection = reader.select(&tenant, &Select { matchers: &[], span: SpanMs::ALL }, &budget).unwrap();
    assert_eq!(selection.missing(), [""; 0]);
    let rows = rows_of(selection.as_ref(), &budget).unwrap();
    (rows, exemplars_of(reader.exemplars(&tenant, &[], SpanMs::ALL, &budget).unwrap()))
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(usize, i64, Value)>, Vec<(usize, i64, Exemplar)>),
    Delete(usize, i64, i64),
    Flush,
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let minute = 0..400i64;
    let samples = proptest::collection::vec((0..4usize, minute.clone(), value()), 0..12);
    let list = proptest::collection::vec((0..4usize, minute.clone(), exemplar()), 0..5);
    prop_oneof![
        5 => (samples, list).prop_map(|(samples, list)| Step::Put(samples, list)),
        1 => (0..5usize, minute.clone(), minute).prop_map(|(n, a, b)| Step::Delete(n, a.min(b), a.max(b))),
        2 => Just(Step::Flush),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

async fn put(
    store: &Store,
    (rows, noted): (&mut Rows, &mut Exemplars),
    samples: &[(usize, i64, Value)],
    list: &[(usize, i64, Exemplar)],
) {
    let mut batch = MetricBatch::default();
    for (n, t_ms, value) in samples {
        let mut writer = batch.start_labels(&labels(*n));
        match value {
            Value::Float(value) => writer.push(*t_ms, *value),
            Value::Histogram(histogram) => writer.push_histogram(*t_ms, histogram.clone()).unwrap(),
        }
        rows.insert((labels(*n), *t_ms), value.held());
    }
    for (n, t_ms, exemplar) in list {
        let exemplar = Exemplar { t_ms: *t_ms, ..exemplar.clone() };
        noted.insert(key_of(&labels(*n), &exemplar));
        batch.push_exemplar(labels(*n), exemplar).unwrap();
    }
    store.appender().metrics(&TenantId::default(), batch).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_kept_is_what_a_map_would_hold(steps in proptest::collection::vec(step(), 1..14)) {
        const SELECTORS: [&str; 5] = ["a", "b", "b.*", "c|a", ".*"];
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new();
            let mut store = rig.open().await;
            let (mut rows, mut noted) = (Rows::new(), Exemplars::new());
            let at = |minute: i64| NOW_MS - minute * 60_000;
            for step in steps {
                match step {
                    Step::Put(samples, list) => {
                        let samples: Vec<_> = samples.into_iter().map(|(n, m, value)| (n, at(m), value)).collect();
                        let list: Vec<_> = list.into_iter().map(|(n, m, exemplar)| (n, at(m), exemplar)).collect();
                        put(&store, (&mut rows, &mut noted), &samples, &list).await;
                    }
                    Step::Delete(n, near, far) => {
                        let matcher = Matcher::new("__name__", MatchOp::Regex, SELECTORS[n]).unwrap();
                        let selects = |labels: &Labels| matcher.matches_labels(labels);
                        let span = SpanMs { start: at(far), end: at(near) };
                        let inside = |t: i64| span.start <= t && t <= span.end;
                        rows.retain(|(labels, t), _| !(selects(labels) && inside(*t)));
                        noted.retain(|(labels, t, ..)| !(selects(labels) && inside(*t)));
                        let deletion = metrics::Deletion { sets: vec![vec![matcher]], span };
                        store.delete_series(&TenantId::default(), deletion).await.unwrap();
                    }
                    Step::Flush => store.flush().await.unwrap(),
                    Step::Restart => {
                        store.shutdown().await.unwrap();
                        store = rig.open().await;
                    }
                    Step::Crash => {
                        rig.crash(store, 0).await;
                        store = rig.open().await;
                    }
                }
                assert_eq!(everything(&store, &rig.clock), (rows.clone(), noted.clone()));
            }
            assert!(store.verify().await.unwrap().is_clean());
            store.shutdown().await.unwrap();
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exemplars_go_with_retention() {
    let mut rig = Rig::new();
    rig.config.retention.metrics = Some(std::time::Duration::from_secs(86_400));
    let store = rig.open().await;
    let exemplar = |value: f64| Exemplar { labels: labels(3), t_ms: 0, value };
    let (mut rows, mut noted) = (Rows::new(), Exemplars::new());
    let old = (1, NOW_MS - 3 * 86_400_000, Value::Histogram(Histogram::default()));
    put(
        &store,
        (&mut Rows::new(), &mut Exemplars::new()),
        std::slice::from_ref(&old),
        &[(1, old.1, exemplar(1.0))],
    )
    .await;
    let new = (1, NOW_MS, Value::Histogram(Histogram::default()));
    put(&store, (&mut rows, &mut noted), &[new], &[(1, NOW_MS, exemplar(2.0))]).await;
    assert_eq!(everything(&store, &rig.clock).1.len(), 2);
    store.flush().await.unwrap();
    assert_eq!(everything(&store, &rig.clock), (rows, noted));
    store.shutdown().await.unwrap();
}
