//! Answers from rollups are the answers from all samples, to the bit.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use greylight_query::promql::{Engine, EngineOptions, Query};
use greylight_query::{Queries, QueryConfig, QueryEnv};
use greylight_store::append::MetricBatch;
use greylight_store::model::{Caller, Labels, ManualClock, Matcher, Scopes, TenantId, Timestamp};
use greylight_store::read::{
    Budget, Limits, MetricMetadata, MetricSource, ReadError, Reader, STALE_NAN_BITS, Select, Selection,
    SpanMs,
};
use greylight_store::{Store, StoreConfig, StoreEnv};
use proptest::prelude::*;
use tower::ServiceExt as _;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A midnight.
const START_MS: i64 = 1_795_219_200_000;

/// The same store, asked for all samples always.
#[derive(Debug)]
struct WithoutRollups(Reader);

impl MetricSource for WithoutRollups {
    fn select(
        &self,
        tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        self.0.select(tenant, select, budget)
    }

    fn label_names(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        self.0.label_names(tenant, sets, span, budget)
    }

    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        self.0.label_values(tenant, name, sets, span, budget)
    }

    fn metadata(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        self.0.metadata(tenant, name)
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    clock: ManualClock,
    store: Store,
}

impl Bench {
    /// Opens a store at a time long after its data.
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(START_MS + 9 * DAY_MS));
        let env = StoreEnv::on_folder(folder.path()).unwrap();
        let env = StoreEnv { clock: Arc::new(clock.clone()), ..env };
        let store = Store::open(StoreConfig::default(), env).await.unwrap();
        Self { _folder: folder, clock, store }
    }

    async fn put(&self, kind: &str, samples: impl Iterator<Item = (i64, f64)>) {
        let mut batch = MetricBatch::default();
        {
            let mut row =
                batch.start_labels(&Labels::from_pairs([("__name__", "m_total"), ("kind", kind)]).unwrap());
            samples.for_each(|(t_ms, value)| row.push(t_ms, value));
        }
        self.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    }

    /// Evaluates over steps, with rollups and without; returns how many samples rollups stood for.
    fn ask(&self, text: &str, (start, end): (i64, i64), step_ms: i64) -> u64 {
        let query = Query::parse(text).unwrap();
        let times = (Timestamp::from_millis(START_MS + start), Timestamp::from_millis(START_MS + end));
        let step = Duration::from_millis(step_ms as u64);
        let of = |source: Arc<dyn MetricSource>| {
            let budget = Budget::new(Limits::default(), Arc::new(self.clock.clone()));
            let engine = Engine::new(source, EngineOptions::default());
            let answer = engine.range(&TenantId::default(), &query, times, step, &budget).unwrap();
            (format!("{:?} {:?}", answer.value, answer.annotations), budget.rolled().1)
        };
        let (with, n_stood_for) = of(Arc::new(self.store.reader()));
        let (without, none) = of(Arc::new(WithoutRollups(self.store.reader())));
        assert_eq!(with, without, "{text} {start} {end} {step_ms}");
        assert_eq!(none, 0);
        n_stood_for
    }
}

/// Times at a distance, over some days, with a gap of three hours in each.
fn times(step_ms: i64, days: i64) -> impl Iterator<Item = i64> {
    let all = (0..days * DAY_MS / step_ms).map(move |i| i * step_ms);
    all.filter(|t| !(7 * HOUR_MS + 5..10 * HOUR_MS + 7).contains(&t.rem_euclid(DAY_MS))).map(|t| START_MS + t)
}

/// Two days of samples every 15 seconds, a third in the head, and an hour of samples every second.
async fn filled() -> Bench {
    let bench = Bench::open().await;
    let wave = |t: i64| ((t / 7001 * 271) % 613) as f64 / 8.0;
    // Adds up to numbers that are no decimals, and begins anew twice a day.
    let counter = |t: i64| ((t - START_MS) % (11 * HOUR_MS)) as f64 / 700.0;
    for days in [2, 3] {
        let late = move |t: &i64| days == 2 || *t >= START_MS + 2 * DAY_MS + HOUR_MS;
        let at = |step| times(step, days).filter(late);
        bench.put("counter", at(15_000).map(|t| (t, counter(t)))).await;
        bench.put("wave", at(15_000).map(|t| (t + 77, wave(t)))).await;
        bench.put("constant", at(15_000).map(|t| (t, 4.0))).await;
        bench.put("rare", at(600_000).map(|t| (t, wave(t)))).await;
        let odd = |t: i64| match (t / 15_000) % 97 {
            5 => f64::NAN,
            6 => -0.0,
            7 => 0.0,
            8 => f64::INFINITY,
            _ => wave(t),
        };
        bench.put("odd", at(15_000).map(|t| (t, odd(t)))).await;
        // Ends and comes back every five hours.
        let stale = |t: i64| t % (5 * HOUR_MS) == 0;
        let marked = |t: i64| if stale(t) { f64::from_bits(STALE_NAN_BITS) } else { counter(t) };
        bench.put("stale", at(15_000).map(|t| (t, marked(t)))).await;
        if days == 2 {
            bench.put("fast", times(1000, 1).map(|t| (t, counter(t) * 7.0))).await;
            bench.store.flush().await.unwrap();
        }
    }
    bench
}

#[tokio::test]
async fn answers_from_rollups_are_those_from_all_samples() {
    let bench = filled().await;
    let span = (0, 3 * DAY_MS);
    for func in ["rate", "increase", "delta", "resets", "min_over_time", "max_over_time", "count_over_time"]
        .into_iter()
        .chain([
            "first_over_time",
            "last_over_time",
            "present_over_time",
            "absent_over_time",
            "ts_of_first_over_time",
            "ts_of_last_over_time",
        ])
    {
        for (range, step) in [("1h", HOUR_MS), ("5h", HOUR_MS), ("2h", 6 * HOUR_MS), ("1d", 12 * HOUR_MS)] {
            let text = format!("{func}(m_total[{range}])");
            assert!(bench.ask(&text, span, step) > 30_000, "{text}");
        }
        let text = format!("{func}(m_total{{kind=\"fast\"}}[3m])");
        assert!(bench.ask(&text, (0, 8 * HOUR_MS), 60_000) > 20_000, "{text}");
        assert_eq!(bench.ask(&text, (1, 8 * HOUR_MS), 60_000), 0, "no window ends with a minute");
    }
    for text in ["m_total", "sum by (kind) (m_total)", "timestamp(m_total)", "-m_total"] {
        assert!(bench.ask(text, span, HOUR_MS) > 10_000, "{text}");
    }
    for text in [
        "rate(m_total{kind=\"wave\"}[90m])",
        "avg_over_time(m_total{kind=\"wave\"}[1h])",
        "changes(m_total{kind=\"wave\"}[1h])",
        "rate(m_total{kind=\"wave\"}[1h])",
    ] {
        assert_eq!(bench.ask(text, span, HOUR_MS), 0, "{text} needs every sample");
    }
    assert!(bench.ask("max_over_time(m_total{kind=\"wave\"}[1h] offset 2h)", span, HOUR_MS) > 10_000);
    assert_eq!(bench.ask("max_over_time(m_total{kind=\"wave\"}[1h] offset 1m)", span, HOUR_MS), 0);
    assert!(
        bench.ask("max_over_time(m_total[6h] @ 1795262400)", (5, DAY_MS), 17_000) > 1000,
        "one window, of hours"
    );
}

#[tokio::test]
async fn the_answer_says_what_it_was_read_from() {
    let bench = filled().await;
    let env = QueryEnv {
        metrics: Arc::new(bench.store.reader()),
        logs: Arc::new(bench.store.reader()),
        views: Vec::new(),
        clock: Arc::new(bench.clock.clone()),
    };
    let queries = Queries::new(env, QueryConfig::default(), &[]).unwrap();
    let caller = Caller { tenant: TenantId::default(), scopes: Scopes::all() };
    let router = greylight_query::http::router(queries).layer(axum::Extension(caller));
    let ask = async |start: i64, more: &str| {
        let (start, end) = (start, START_MS / 1000 + 2 * 86_400);
        let query = "query=count_over_time(m_total%7Bkind=%22counter%22%7D%5B1h%5D)";
        let path = format!("/api/v1/query_range?{query}&start={start}&end={end}&step=1h{more}");
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let said = response.headers().get("greylight-rollup").map(|said| said.to_str().unwrap().to_owned());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (said, serde_json::from_slice::<serde_json::Value>(&bytes).unwrap())
    };
    let (said, answer) = ask(START_MS / 1000, "&stats=all").await;
    // Two days of 21 hours, with the samples at their ends.
    let n = 2 * 21 * 240;
    let read = answer["data"]["stats"]["rollups"]["samplesRead"].as_u64().unwrap();
    assert_eq!(answer["data"]["stats"]["rollups"]["samplesStoodFor"], n);
    assert_eq!(said, Some(format!("{read} of {n} samples")));
    assert!(read < n / 50, "{read}");
    let (said, _) = ask(START_MS / 1000 + 1, "").await;
    assert_eq!(said, None);
}

#[tokio::test]
async fn what_is_written_later_into_a_day_counts() {
    let bench = filled().await;
    let text = "max_over_time(m_total{kind=\"wave\"}[1h])";
    let others = "max_over_time(m_total{kind!=\"wave\"}[1h])";
    let before = bench.ask(text, (0, 3 * DAY_MS), HOUR_MS);
    let of_others = bench.ask(others, (0, 3 * DAY_MS), HOUR_MS);
    assert!(before > 0 && of_others > before);
    bench.put("wave", std::iter::once((START_MS + 3 * HOUR_MS, 5.0))).await;
    assert_eq!(bench.ask(text, (0, 3 * DAY_MS), HOUR_MS), 0, "it may lie in either day");
    assert_eq!(bench.ask(others, (0, 3 * DAY_MS), HOUR_MS), of_others, "of other series nothing is late");
    bench.store.flush().await.unwrap();
    assert!(bench.ask(text, (0, 3 * DAY_MS), HOUR_MS) >= before, "merged, it is in the rollup");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_samples_and_windows_answer_alike(
        series in proptest::collection::vec(
            proptest::collection::vec((1..40_000i64, -4..9i32), 100..700), 1..4),
        windows in proptest::collection::vec((0..12i64, 1..40i64, 1..5i64), 1..6),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let bench = Bench::open().await;
            for (i, samples) in series.iter().enumerate() {
                let mut t = START_MS;
                let mut total = 0.0;
                let of = |(gap, value): &(i64, i32)| {
                    t += if i == 0 { gap % 3000 + 1 } else { *gap };
                    total = match value {
                        -4 => 0.0,
                        -3 if i == 1 => return (t, f64::from_bits(STALE_NAN_BITS)),
                        value if i == 2 => f64::from(*value),
                        value => total + f64::from(value.abs()) / 10.0,
                    };
                    (t, total)
                };
                bench.put(&format!("s{i}"), samples.iter().map(of)).await;
            }
            // Two windows at least, so that a day is made of them.
            bench.put("s0", std::iter::once((START_MS + 20 * HOUR_MS, 1.0))).await;
            bench.store.flush().await.unwrap();
            for (from, n, wide) in windows {
                for (unit, range) in [(60_000, format!("{wide}m")), (HOUR_MS, format!("{wide}h"))] {
                    let span = (from * unit, (from + n) * unit);
                    for func in ["rate", "resets", "delta", "min_over_time", "max_over_time", "count_over_time"] {
                        bench.ask(&format!("{func}(m_total[{range}])"), span, unit);
                    }
                    bench.ask("m_total", span, unit);
                }
            }
        });
    }
}
