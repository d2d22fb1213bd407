//! Tests of this module.

use proptest::prelude::*;

use super::*;
use crate::append::LogBatch;
use crate::logs::Query;
use crate::model::{Labels, LogRecord, MatchOp, Matcher, TimeRange, Timestamp};
use crate::read::SpanMs;
use crate::store::tests::{Model, NOW_MS, Rig, everything, log_record, put, records, sample};

const HOUR_MS: i64 = 3_600_000;

fn deletion(names: &str, start: i64, end: i64) -> Deletion {
    let matcher = Matcher::new("__name__", MatchOp::Regex, names).unwrap();
    Deletion { sets: vec![vec![matcher]], span: SpanMs { start, end } }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_samples_are_gone_from_answers_and_files_and_stay_so() {
    let mut rig = Rig::new();
    let store = rig.open().await;
    let tenant = TenantId::default();
    let mut model = Model::new();
    for hour in 0..6 {
        let t = NOW_MS - hour * HOUR_MS;
        put(&store, &mut model, &[sample("a", t, 1.0), sample("ab", t, 2.0), sample("c", t, 3.0)]).await;
        if hour == 3 {
            store.flush().await.unwrap();
        }
    }
    let (from, to) = (NOW_MS - 4 * HOUR_MS, NOW_MS - HOUR_MS);
    let other = store.delete_series(&TenantId::new("other").unwrap(), deletion("a", from, to)).await.unwrap();
    assert_eq!(other, Deleted::default());
    let done = store.delete_series(&tenant, deletion("a.*", from, to)).await.unwrap();
    assert_eq!(done.n_rows, 8);
    model.retain(|(name, t), _| !(name.starts_with('a') && (from..=to).contains(t)));
    assert_eq!(everything(&store.reader(), &rig.clock), (model.clone(), Vec::new()));
    assert_eq!(store.delete_series(&tenant, deletion("a.*", from, to)).await.unwrap(), Deleted::default());
    // The same times are taken again.
    put(&store, &mut model, &[sample("a", from, 9.0)]).await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    store.flush().await.unwrap();
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    let all = Deletion { sets: vec![Vec::new()], span: SpanMs::ALL };
    assert_eq!(store.delete_series(&tenant, all).await.unwrap().n_rows, model.len() as u64);
    assert_eq!(everything(&store.reader(), &rig.clock).0, Model::new());
    assert!(rig.memory.files().iter().all(|f| !f.starts_with("tenants")), "{:?}", rig.memory.files());
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_deletes_nothing() {
    use crate::disk::{Fault, Operation};
    let mut rig = Rig::new();
    let store = rig.open().await;
    let mut model = Model::new();
    let hours = [0, 5, 9].map(|h| NOW_MS - h * HOUR_MS);
    for t in hours {
        put(&store, &mut model, &[sample("a", t, 1.0), sample("b", t, 1.0)]).await;
    }
    store.flush().await.unwrap();
    let files = rig.memory.files();
    for after in 0..9 {
        let error = std::io::ErrorKind::StorageFull;
        rig.faulty.inject(Fault { operation: Operation::Write, after, error, short: 0, for_ever: false });
        let all = deletion("a", i64::MIN, i64::MAX);
        if store.delete_series(&TenantId::default(), all).await.is_ok() {
            assert!(after > 0, "the fault did not come");
            model.retain(|(name, _), _| name != "a");
            rig.faulty.heal();
            break;
        }
        assert_eq!(everything(&store.reader(), &rig.clock), (model.clone(), Vec::new()));
        assert_eq!(rig.memory.files(), files, "nothing half done stays on the disk");
    }
    assert_eq!(everything(&store.reader(), &rig.clock), (model.clone(), Vec::new()));
    assert!(store.verify().await.unwrap().is_clean());
    rig.crash(store, 0).await;
    let store = rig.open().await;
    assert_eq!(everything(&store.reader(), &rig.clock).0, model);
    store.shutdown().await.unwrap();
}

fn record(n: i64, body: &str) -> LogRecord {
    let labels = Labels::from_pairs([("service_name", if n % 2 == 0 { "cart" } else { "shop" })]).unwrap();
    LogRecord { labels, ..log_record(NOW_MS - n * 60_000, body) }
}

fn select(query: &str, service: Option<&str>, newest: i64, oldest: i64) -> LogSelect {
    let at = |n: i64| Timestamp::from_millis(NOW_MS - n * 60_000);
    LogSelect {
        query: Query::parse(query).unwrap(),
        matchers: service.map(|name| Matcher::equal("service_name", name)).into_iter().collect(),
        range: TimeRange::new(at(oldest), at(newest - 1)).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_and_may_come_again() {
    let mut rig = Rig::new();
    let mut store = rig.open().await;
    let tenant = TenantId::default();
    let all: Vec<LogRecord> =
        (0..600).map(|n| record(n, &format!("user u{} did {n} things", n % 7))).collect();
    for part in all.chunks(150) {
        store.appender().logs(&tenant, LogBatch { records: part.to_vec() }).await.unwrap();
        store.inner.seal().await.unwrap();
    }
    let shown = |keep: &dyn Fn(i64) -> bool| -> Vec<(i64, String)> {
        let kept = all.iter().enumerate().filter(|(n, _)| keep(*n as i64));
        let mut kept: Vec<_> = kept.map(|(_, r)| (r.time.as_millis(), r.body.clone())).collect();
        kept.sort();
        kept
    };
    let other = TenantId::new("other").unwrap();
    assert_eq!(store.delete_records(&other, select("*", None, 0, 600)).await.unwrap(), Deleted::default());
    let is_first = |n: i64| n % 7 == 3 && n % 2 == 0 && (50..=400).contains(&n);
    let done = store.delete_records(&tenant, select("u3", Some("cart"), 50, 400)).await.unwrap();
    assert_eq!(done.n_rows, (0..600).filter(|&n| is_first(n)).count() as u64);
    assert_eq!(records(&store.reader(), &rig.clock), shown(&|n| !is_first(n)));
    let again = store.delete_records(&tenant, select("u3", Some("cart"), 50, 400)).await.unwrap();
    assert_eq!(again, Deleted::default());
    // What was deleted may come again, what was not is still known.
    let some: Vec<LogRecord> = all[90..110].to_vec();
    store.appender().logs(&tenant, LogBatch { records: some.clone() }).await.unwrap();
    let want = shown(&|n| !is_first(n) || (90..110).contains(&n));
    assert_eq!(records(&store.reader(), &rig.clock), want);
    for flush in [false, true] {
        rig.crash(store, 0).await;
        store = rig.open().await;
        assert_eq!(records(&store.reader(), &rig.clock), want);
        if flush {
            store.flush().await.unwrap();
            assert_eq!(records(&store.reader(), &rig.clock), want);
        }
    }
    let done = store.delete_records(&tenant, select("*", None, 0, 600)).await.unwrap();
    assert_eq!(done.n_rows, want.len() as u64);
    assert_eq!(records(&store.reader(), &rig.clock), []);
    assert!(rig.memory.files().iter().all(|f| !f.starts_with("tenants")), "{:?}", rig.memory.files());
    store.shutdown().await.unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(usize, i64)>),
    Delete(usize, i64, i64),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let minute = 0..400i64;
    prop_oneof![
        4 => proptest::collection::vec((0..4usize, minute.clone()), 1..12).prop_map(Step::Put),
        2 => (0..5usize, minute.clone(), minute).prop_map(|(n, a, b)| Step::Delete(n, a.min(b), a.max(b))),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_left_is_what_a_map_would_hold(steps in proptest::collection::vec(step(), 1..14)) {
        const NAMES: [&str; 4] = ["a", "b", "ba", "c"];
        const SELECTORS: [&str; 5] = ["a", "b", "b.*", "c|a", ".*"];
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let store = rig.open().await;
            let mut model = Model::new();
            let at = |minute: i64| NOW_MS - minute * 60_000;
            for (i, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(samples) => {
                        let mut samples: Vec<_> =
                            samples.iter().map(|(n, m)| sample(NAMES[*n], at(*m), i as f64)).collect();
                        samples.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
                        put(&store, &mut model, &samples).await;
                    }
                    Step::Delete(n, near, far) => {
                        let pattern = regex::Regex::new(&format!("^(?:{})$", SELECTORS[n])).unwrap();
                        store.delete_series(&TenantId::default(), deletion(SELECTORS[n], at(far), at(near))).await.unwrap();
                        model.retain(|(name, t), _| !(pattern.is_match(name) && (at(far)..=at(near)).contains(t)));
                    }
                    Step::Flush => store.flush().await.unwrap(),
                }
                assert_eq!(everything(&store.reader(), &rig.clock), (model.clone(), Vec::new()));
            }
            assert!(store.verify().await.unwrap().is_clean());
            store.shutdown().await.unwrap();
        });
    }
}
