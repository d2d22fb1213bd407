//! What is kept of answers is what would be answered now.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use greylight_query::{Queries, QueryConfig, QueryEnv};
use greylight_store::append::MetricBatch;
use greylight_store::metrics::Deletion;
use greylight_store::model::{Caller, Labels, ManualClock, MatchOp, Matcher, Scopes, TenantId, Timestamp};
use greylight_store::read::SpanMs;
use greylight_store::{Store, StoreConfig, StoreEnv};
use proptest::prelude::*;
use serde_json::Value as Json;
use tower::ServiceExt as _;

use crate::server::{self, NOW_S, ask_json};

const HOUR: i64 = 3600;
/// A midnight, in seconds.
const START: i64 = 1_795_219_200;

struct Bench {
    _folder: tempfile::TempDir,
    store: Store,
    router: Router,
}

impl Bench {
    async fn open(cache_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<ManualClock> = Arc::new(ManualClock::at(Timestamp::from_millis(1000 * START)));
        let env = StoreEnv::on_folder(folder.path()).unwrap();
        let store =
            Store::open(StoreConfig::default(), StoreEnv { clock: clock.clone(), ..env }).await.unwrap();
        let (metrics, logs) = (Arc::new(store.reader()), Arc::new(store.reader()));
        let env = QueryEnv { metrics, logs, views: Vec::new(), clock };
        let queries = Queries::new(env, QueryConfig { cache_bytes, ..QueryConfig::default() }, &[]).unwrap();
        let caller = Caller { tenant: TenantId::default(), scopes: Scopes::all() };
        let router = greylight_query::http::router(queries).layer(axum::Extension(caller));
        Self { _folder: folder, store, router }
    }

    /// Stores a sample every `gap` seconds.
    async fn put(&self, host: usize, (start, end): (i64, i64), gap: usize, value: f64) {
        let mut batch = MetricBatch::default();
        {
            let labels = [("__name__", "m_total"), ("host", ["a", "b", "c"][host])];
            let mut row = batch.start_labels(&Labels::from_pairs(labels).unwrap());
            for (i, t) in (start..end).step_by(gap).enumerate() {
                row.push(1000 * (START + t), value + i as f64 / 4.0);
            }
        }
        self.store.appender().metrics(&TenantId::default(), batch).await.unwrap();
    }

    async fn delete(&self, host: usize) {
        let host = Matcher::new("host", MatchOp::Equal, ["a", "b", "c"][host]).unwrap();
        let span = SpanMs { start: 1000 * START, end: 1000 * (START + 3 * HOUR) };
        self.store
            .delete_series(&TenantId::default(), Deletion { sets: vec![vec![host]], span })
            .await
            .unwrap();
    }

    async fn get(&self, path: &str) -> (Json, u64) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let kept = response.headers().get("greylight-cache").map_or(0, |said| {
            let said = said.to_str().unwrap();
            said.strip_suffix(" steps").unwrap().parse().unwrap()
        });
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (serde_json::from_slice(&bytes).unwrap(), kept)
    }

    /// Asks with what is kept and without; returns how many steps were kept.
    async fn ask(&self, query: &str, (start, end): (i64, i64), step: i64) -> u64 {
        let query: String = form_urlencoded(query);
        let (start, end) = (START + start, START + end);
        let path = format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}");
        let (answer, n_kept) = self.get(&path).await;
        let (fresh, none) = self.get(&format!("{path}&nocache=1")).await;
        assert_eq!(fresh["status"], "success", "{fresh}");
        assert_eq!(none, 0);
        assert_eq!(answer, fresh, "{path}");
        n_kept
    }
}

fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_dashboard_that_comes_back_is_answered_from_what_is_kept() {
    let bench = Bench::open(64 << 20).await;
    for host in 0..3 {
        bench.put(host, (0, 6 * HOUR), 15, host as f64).await;
    }
    let query = "sum by (host) (increase(m_total[5m]))";
    assert_eq!(bench.ask(query, (0, 6 * HOUR), 30).await, 0);
    assert_eq!(bench.ask(query, (0, 6 * HOUR), 30).await, 0, "what is not sealed may change");
    bench.store.flush().await.unwrap();
    bench.put(0, (6 * HOUR, 7 * HOUR), 15, 9.0).await;
    assert_eq!(bench.ask(query, (0, 7 * HOUR), 30).await, 0);
    // Two hours each; of the last one a part looks at what is in the head.
    assert_eq!(bench.ask(query, (0, 7 * HOUR), 30).await, 6 * 120);
    assert_eq!(bench.ask(query, (90, 7 * HOUR), 30).await, 6 * 120 - 3);
    assert_eq!(bench.ask(query, (90 + 7, 7 * HOUR), 30).await, 0, "its steps are at other times");
    assert_eq!(bench.ask(query, (0, 7 * HOUR), 60).await, 0, "and these are other steps");
    assert_eq!(bench.ask("sum by (host) (increase(m_total[6m]))", (0, 7 * HOUR), 30).await, 0);
    for text in
        ["m_total @ end()", "m_total offset -5m", "sum(m_total) / scalar(m_total{host=\"a\"} @ 1795219300)"]
    {
        for _ in 0..2 {
            assert_eq!(bench.ask(text, (0, 7 * HOUR), 30).await, 0, "{text} looks elsewhere");
        }
    }
    // A late sample takes away what it lies in, and what looks back on it.
    bench.put(1, (3 * HOUR, 3 * HOUR + 1), 15, 77.0).await;
    bench.ask(query, (0, 7 * HOUR), 30).await;
    bench.store.flush().await.unwrap();
    bench.ask(query, (0, 7 * HOUR), 30).await;
    assert_eq!(bench.ask(query, (0, 7 * HOUR), 30).await, 7 * 120 + 1, "all of it is in segments now");
    bench.delete(2).await;
    assert!(bench.ask(query, (0, 7 * HOUR), 30).await <= 5 * 120, "what is deleted is gone at once");
}

/// The second time its chunks are evaluated one by one; then they are kept with what there is to say of each.
#[tokio::test]
async fn warnings_and_infos_are_kept_with_their_chunks() {
    let bench = Bench::open(64 << 20).await;
    bench.put(0, (0, 6 * HOUR), 15, 0.0).await;
    bench.store.flush().await.unwrap();
    // Passes 1 in the fourth hour.
    let query = "quantile(scalar(floor(m_total / 100)), m_total)";
    let ask = async |query: &str, from: i64| bench.ask(query, (from, 6 * HOUR - 60), 60).await;
    assert_eq!(ask(query, 0).await, 0);
    assert_eq!(ask(query, 0).await, 0);
    assert_eq!(ask(query, 0).await, 360);
    let path = |from: i64, to: i64| {
        let query = form_urlencoded(query);
        format!("/api/v1/query_range?query={query}&start={}&end={}&step=60", START + from, START + to)
    };
    let (answer, n_kept) = bench.get(&path(0, 2 * HOUR - 60)).await;
    assert_eq!((n_kept, &answer["warnings"]), (120, &Json::Null), "{answer}");
    let (answer, n_kept) = bench.get(&path(2 * HOUR, 4 * HOUR - 60)).await;
    assert_eq!(n_kept, 120);
    assert!(answer["warnings"].as_array().is_some_and(|all| all.len() == 1), "{answer}");
    // Of a part of a chunk there may be less to say, so that is evaluated anew.
    assert_eq!(ask(query, 3 * HOUR).await, 120);
    // The same words on two lines are at other places.
    let broken = "quantile(scalar(floor(m_total /\n100)), m_total)";
    assert_eq!(ask(broken, 0).await, 0);
    let info = "rate(m_total[5m]) + rate({host=\"a\"}[5m]) + ignoring(host) quantile(2, m_total)";
    for n_kept in [0, 0, 360] {
        assert_eq!(ask(info, 0).await, n_kept);
    }
}

/// Samples that an answer looks at are those behind its steps, kept or not.
#[tokio::test]
async fn what_is_kept_knows_its_samples() {
    let bench = Bench::open(64 << 20).await;
    bench.put(0, (0, 6 * HOUR), 15, 1.0).await;
    bench.put(1, (HOUR, 4 * HOUR), 15, 1.0).await;
    bench.store.flush().await.unwrap();
    let path = format!(
        "/api/v1/query_range?query={}&start={}&end={}&step=60",
        form_urlencoded("sum(rate(m_total[5m]))"),
        START,
        START + 6 * HOUR
    );
    let with_stats = format!("{path}&stats=all");
    let ask = async |path: &str| {
        let (answer, n_kept) = bench.get(path).await;
        (answer["data"]["stats"]["samples"].clone(), n_kept)
    };
    assert_eq!(ask(&path).await.1, 0);
    let (fresh, none) = ask(&with_stats).await;
    assert_eq!(none, 0, "what was kept does not know its samples");
    let (mut kept, n_kept) = ask(&with_stats).await;
    assert_eq!(n_kept, 361);
    let steps = fresh["totalQueryableSamplesPerStep"].as_array().unwrap();
    assert_eq!(steps[..2], [serde_json::json!([START, 1]), serde_json::json!([START + 60, 5])]);
    assert_eq!(steps[90][1], 40);
    assert_eq!(steps.len(), 361);
    assert_eq!(fresh["totalQueryableSamples"], steps.iter().map(|s| s[1].as_u64().unwrap()).sum::<u64>());
    assert_eq!(kept["samplesRead"], 0);
    for name in ["samplesRead", "peakSamples"] {
        kept[name] = fresh[name].clone();
    }
    assert_eq!(kept, fresh);
    assert_eq!(ask(&path).await.1, 361);
}

/// Parts of an expression that are equal are read once; what is noted of each place in the text stays.
#[tokio::test]
async fn what_occurs_twice_is_evaluated_once() {
    let ask = async |query: &str| {
        let path = format!("/api/v1/query?query={}&time={NOW_S}&stats=all", form_urlencoded(query));
        let (_, answer) = ask_json(&server::router(), &path).await;
        assert_eq!(answer["status"], "success", "{answer}");
        (answer["data"]["stats"]["samples"]["samplesRead"].as_u64().unwrap(), answer)
    };
    let sum = "sum(rate(http_requests_total[5m]))";
    let (once, _) = ask(sum).await;
    assert!(once > 30, "{once}");
    for (query, times, value) in [
        (format!("{sum} / {sum}"), 1, "1"),
        (format!("({sum} + {sum}) / ({sum} + {sum})"), 1, "1"),
        (format!("{sum} - sum(rate(http_requests_total[5m] offset 10s))"), 2, "0"),
        (format!("{sum} / avg(rate(http_requests_total[5m]))"), 2, "2"),
    ] {
        let (samples, answer) = ask(&query).await;
        assert_eq!(answer["data"]["result"][0]["value"][1], value, "{query}");
        assert!(samples.abs_diff(times * once) <= 2, "{query}: {samples} for {once}");
    }
    let noted = "quantile(2, http_requests_total)";
    let (_, answer) = ask(&format!("{noted} + {noted}")).await;
    assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(2), "{answer}");
}

#[tokio::test]
async fn statistics_know_chunks_and_the_first_and_the_last_sample() {
    let bench = Bench::open(0).await;
    let times = async || {
        let (answer, _) = bench.get("/api/v1/status/tsdb").await;
        let stats = &answer["data"]["headStats"];
        let n_chunks = stats["chunkCount"].as_u64().unwrap();
        (stats["minTime"].as_i64().unwrap(), stats["maxTime"].as_i64().unwrap(), n_chunks)
    };
    assert_eq!(times().await, (i64::MAX, i64::MIN, 0));
    bench.put(0, (0, 61), 15, 1.0).await;
    assert_eq!(times().await, (1000 * START, 1000 * (START + 60), 1));
    bench.store.flush().await.unwrap();
    assert_eq!(times().await, (1000 * START, 1000 * (START + 60), 1));
    bench.put(0, (120, 180), 15, 1.0).await;
    bench.put(1, (HOUR, HOUR + 31), 15, 1.0).await;
    assert_eq!(times().await, (1000 * START, 1000 * (START + HOUR + 30), 3));
}

#[tokio::test]
async fn no_more_is_kept_than_the_setting_says() {
    for (cache_bytes, is_kept) in [(0, false), (4 << 10, false), (1 << 20, true)] {
        let bench = Bench::open(cache_bytes).await;
        bench.put(0, (0, 6 * HOUR), 15, 1.0).await;
        bench.store.flush().await.unwrap();
        bench.ask("m_total", (0, 6 * HOUR), 30).await;
        // More than there is room for, each new.
        for n in 1..60 {
            bench.ask(&format!("m_total + {n}"), (0, 6 * HOUR), 10).await;
        }
        assert_eq!(bench.ask("m_total + 59", (0, 6 * HOUR), 10).await > 0, is_kept);
        assert_eq!(bench.ask("m_total", (0, 6 * HOUR), 30).await, 0, "it was not asked for longest");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put { host: usize, at: i64, long: i64, gap: usize, value: i8 },
    Flush,
    Delete(usize),
    Ask { query: usize, start: i64, long: i64, step: i64 },
}

fn steps() -> impl Strategy<Value = Step> {
    let put = (0..3usize, 0..40i64, 1..9i64, prop_oneof![Just(15usize), Just(60), Just(400)], any::<i8>());
    let ask = (0..QUERIES.len(), 0..20i64, 1..20i64, prop_oneof![Just(60i64), Just(300), Just(7)]);
    prop_oneof![
        3 => put.prop_map(|(host, at, long, gap, value)| Step::Put { host, at: at * 1800, long: long * 1800, gap, value }),
        2 => Just(Step::Flush),
        1 => (0..3usize).prop_map(Step::Delete),
        6 => ask.prop_map(|(query, start, long, step)| {
            let long = (long * 1800).min(step * 10_000);
            Step::Ask { query, start: start * 1800, long, step }
        }),
    ]
}

const QUERIES: [&str; 9] = [
    "m_total",
    "rate(m_total[10m])",
    "sum(m_total)",
    "max_over_time(m_total[1h:5m] offset 10m) or vector(1)",
    "m_total and on (host) (m_total > 3)",
    "absent(m_total{host=\"b\"})",
    // With an info, a warning at some steps, and both.
    "increase({host=~\"a|b\"}[10m]) > 0 or rate(label_replace(m_total, \"__name__\", \"g\", \"\", \"\")[20m:5m])",
    "quantile(scalar(floor(m_total{host=\"c\"} / 64)), m_total)",
    "quantile(-1, m_total) + on () group_right sum by (host) (delta(rate(m_total[5m])[20m:5m]))",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_merged_or_deleted_answers_are_fresh(steps in proptest::collection::vec(steps(), 10..60)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let bench = Bench::open(1 << 20).await;
            for step in steps {
                match step {
                    Step::Put { host, at, long, gap, value } => {
                        bench.put(host, (at, at + long), gap, f64::from(value)).await;
                    }
                    Step::Flush => bench.store.flush().await.unwrap(),
                    Step::Delete(host) => bench.delete(host).await,
                    Step::Ask { query, start, long, step } => {
                        bench.ask(QUERIES[query], (start, start + long), step).await;
                    }
                }
            }
        });
    }
}
