//! SQL: answers, formats, and statements that must not bring the server down.

use std::sync::Arc;

use axum::http::StatusCode;
use greylight_query::sql::{Point, PointQueries};
use greylight_query::{QueryConfig, QueryEnv};
use greylight_store::model::{Buckets, Clock, Histogram, Labels, ManualClock, Span, TenantId, Timestamp};
use greylight_store::read::{Budget, Limits};
use serde_json::{Value, json};

use crate::memory::{Damage, Memory, MemoryLogs};
use crate::server::{NOW_S, memory, post_json, router, router_with};

async fn sql(query: &str) -> (StatusCode, Value) {
    let (status, body) = post_json(&router(), "/api/v1/sql", json!({ "query": query })).await;
    (status, serde_json::from_slice(&body).unwrap())
}

async fn rows(query: &str) -> Value {
    let (status, answer) = sql(query).await;
    assert_eq!(status, StatusCode::OK, "{query}: {answer}");
    answer["rows"].clone()
}

#[tokio::test]
async fn samples_are_rows() {
    let query = "SELECT labels['job'] AS job, max(value) AS v, count(*) AS n FROM metrics \
                 WHERE name = 'http_requests_total' GROUP BY 1 ORDER BY 1";
    let (_, answer) = sql(query).await;
    assert_eq!(answer["rows"], json!([["api", 600.0, 61], ["web", 1200.0, 61]]));
    assert_eq!(answer["columns"][1], json!({ "name": "v", "type": "number" }));
    assert_eq!(answer["truncated"], false);
    let query =
        "SELECT time, labels FROM metrics WHERE labels['job'] = 'web' AND time >= '2026-11-21T10:00:00Z'";
    let want = json!([["2026-11-21T10:00:00.000000000Z", { "instance": "a:1", "job": "web" }]]);
    assert_eq!(rows(query).await, want);
    assert_eq!(rows("SELECT count(*) FROM metrics WHERE labels['job'] IS NULL").await, json!([[0]]));
}

#[tokio::test]
async fn labels_may_be_columns() {
    let query = "SELECT job, nope, count(*) FROM metrics('job', 'nope') WHERE job = 'web' GROUP BY job, nope";
    assert_eq!(rows(query).await, json!([["web", null, 61]]));
    let query = "SELECT m.instance, metrics.labels['job'] FROM metrics('instance') AS m JOIN metrics \
                 ON metrics.time = m.time AND metrics.value = m.value WHERE m.value = 1200 GROUP BY 1, 2";
    assert_eq!(rows(query).await, json!([["a:1", "web"]]));
    let (_, answer) = sql("SELECT * FROM metrics('instance', 'job') LIMIT 1").await;
    let names: Vec<&Value> = answer["columns"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["name", "labels", "time", "value", "instance", "job"]);
    for (query, why) in [
        ("SELECT 1 FROM metrics(3)", "takes names of labels"),
        ("SELECT 1 FROM metrics('value')", "labels['value']"),
        ("SELECT 1 FROM metrics('a', 'a')", "already"),
        ("SELECT 1 FROM logs('a')", "FROM takes"),
    ] {
        let (status, answer) = sql(query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer.to_string().contains(why), "{query}: {answer}");
    }
}

#[tokio::test]
async fn native_histograms_are_rows_of_their_own() {
    let labels = |name: &str| Labels::from_pairs([("__name__", name), ("job", "api")]).unwrap();
    let histogram = Histogram {
        count: 7.0,
        sum: 9.5,
        zero_threshold: 0.001,
        zero_count: 2.0,
        positive: Buckets { spans: vec![Span { offset: 0, length: 2 }], counts: vec![1.0, 3.0] },
        negative: Buckets { spans: vec![Span { offset: 1, length: 1 }], counts: vec![1.0] },
        ..Histogram::default()
    };
    let mut memory = memory();
    memory.add_histograms(
        labels("latency"),
        [(1_000, Arc::new(histogram.clone())), (2_000, Arc::new(histogram))],
    );
    // One series may hold both kinds: each table has its own.
    memory.add(labels("latency"), [(3_000, 5.0)]);
    let (router, _) = router_with(QueryConfig::default(), memory);
    let ask = async |query: &str| {
        let (status, body) = post_json(&router, "/api/v1/sql", json!({ "query": query })).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["rows"].clone()
    };
    let rows =
        ask("SELECT * FROM histograms('job') WHERE job = 'api' AND time > '1970-01-01T00:00:01.5Z'").await;
    let buckets = json!([
        { "lower": -2.0, "upper": -1.0, "count": 1.0 },
        { "lower": -0.001, "upper": 0.001, "count": 2.0 },
        { "lower": 0.5, "upper": 1.0, "count": 1.0 },
        { "lower": 1.0, "upper": 2.0, "count": 3.0 }
    ]);
    let time = "1970-01-01T00:00:02.000000000Z";
    let want = json!([["latency", { "job": "api" }, time, 7.0, 9.5, 0.001, 2.0, buckets, "api"]]);
    assert_eq!(rows, want);
    assert_eq!(ask("SELECT sum(sum) / sum(count) FROM histograms").await, json!([[9.5 / 7.0]]));
    assert_eq!(ask("SELECT buckets[4]['count'] FROM histograms LIMIT 1").await, json!([[3.0]]));
    assert_eq!(ask("SELECT value FROM metrics WHERE name = 'latency'").await, json!([[5.0]]));
    let (status, _) = sql("SELECT 1 FROM histograms('count')").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn counters_rise_from_row_to_row() {
    let steps = "SELECT job, time, increase(value) OVER w AS rise, rate(value, time) OVER w AS rate, \
                 delta(-value) OVER w AS delta, increase(-value) OVER w AS resets FROM metrics('job') \
                 WINDOW w AS (PARTITION BY job ORDER BY time)";
    let query = format!(
        "SELECT job, sum(rise), min(rate), max(rate), sum(delta), count(rise), count(*) \
                         FROM ({steps}) GROUP BY job ORDER BY job"
    );
    let want = json!([["api", 600.0, 1.0, 1.0, -600.0, 60, 61], ["web", 1200.0, 2.0, 2.0, -1200.0, 60, 61]]);
    assert_eq!(rows(&query).await, want);
    // What falls at each row began anew at each row.
    let query = format!("SELECT sum(resets) FROM ({steps}) WHERE job = 'api'");
    assert_eq!(rows(&query).await, json!([[-18300.0]]));
    let query = format!(
        "SELECT time_bucket(INTERVAL '5 minutes', time) AS t, sum(rise) FROM ({steps}) \
                         WHERE job = 'api' GROUP BY t ORDER BY t"
    );
    let want = json!([
        ["2026-11-21T09:50:00.000000000Z", 290.0],
        ["2026-11-21T09:55:00.000000000Z", 300.0],
        ["2026-11-21T10:00:00.000000000Z", 10.0]
    ]);
    assert_eq!(rows(&query).await, want);
    // In the order of all rows, whose times repeat: no second lies between two of them.
    let query =
        "SELECT count(rate) FROM (SELECT rate(value, time) OVER (ORDER BY time) AS rate FROM metrics)";
    assert_eq!(rows(query).await, json!([[60]]));
    for (query, why) in [
        ("SELECT increase(name) OVER (ORDER BY time) FROM metrics", "column of numbers"),
        ("SELECT rate(value, value) OVER (ORDER BY time) FROM metrics", "rate(value, time)"),
        ("SELECT rate(value) OVER (ORDER BY time) FROM metrics", "rate"),
        ("SELECT increase(value) FROM metrics", "increase"),
    ] {
        let (status, answer) = sql(query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert!(answer.to_string().contains(why), "{query}: {answer}");
    }
}

#[tokio::test]
async fn views_and_logs_are_tables_too() {
    let query = "SELECT id, start, looks FROM releases ORDER BY id DESC LIMIT 1";
    assert_eq!(rows(query).await, json!([["default-b", "2026-11-21T10:00:00.000000000Z", null]]));
    let query = "SELECT severity, count(*) FROM logs GROUP BY severity ORDER BY 2 DESC";
    assert_eq!(rows(query).await, json!([["info", 2], ["error", 1]]));
    let query = "SELECT body, attributes['code'] FROM logs WHERE labels['service_name'] = 'cart' AND severity = 'error'";
    assert_eq!(rows(query).await, json!([["connection refused", "503"]]));
}

#[tokio::test]
async fn formats_and_the_row_limit() {
    let body = json!({ "query": "SELECT 'a,b' AS x, 1 AS y UNION ALL SELECT NULL, 2", "format": "csv" });
    let (_, csv) = post_json(&router(), "/api/v1/sql", body).await;
    assert_eq!(String::from_utf8(csv).unwrap(), "x,y\r\n\"a,b\",1\r\n,2\r\n");
    let body = json!({ "query": "SELECT value FROM metrics", "limit": 5 });
    let (_, answer) = post_json(&router(), "/api/v1/sql", body).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((answer["rows"].as_array().unwrap().len(), &answer["truncated"]), (5, &json!(true)));
    let body = json!({ "query": "SELECT value FROM metrics", "format": "arrow" });
    let (status, arrow) = post_json(&router(), "/api/v1/sql", body).await;
    assert_eq!(status, StatusCode::OK);
    let reader = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(arrow), None).unwrap();
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 122);
}

#[tokio::test]
async fn what_may_not_be_asked_is_refused_in_our_own_envelope() {
    let ors = vec!["1=1"; 20_000].join(" OR ");
    let cases = [
        (format!("SELECT 1 WHERE {ors}"), 422, "bytes"),
        ("SELECT * FROM generate_series(1, 10000000000)".into(), 400, "FROM takes"),
        ("SELECT repeat('x', 1000000000)".into(), 400, "repeat"),
        ("DROP TABLE metrics".into(), 400, "only a single SELECT"),
        ("SELECT * FROM '/etc/passwd'".into(), 400, "passwd"),
        ("SELECT nope FROM metrics".into(), 400, "nope"),
        ("SELECT * FROM information_schema.tables".into(), 400, "information_schema"),
    ];
    for (query, code, text) in cases {
        let (status, answer) = sql(&query).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(status.as_u16(), code, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn memory_and_samples_have_an_end() {
    let config = QueryConfig { memory_bytes_max: 4 << 20, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory());
    let cross = "SELECT count(*) AS n, array_agg(a.value + b.value + c.value + d.value) FROM metrics a \
                 CROSS JOIN metrics b CROSS JOIN metrics c CROSS JOIN metrics d";
    let (status, body) = post_json(&router, "/api/v1/sql", json!({ "query": cross })).await;
    assert_eq!(status.as_u16(), 422, "{}", String::from_utf8_lossy(&body));
    let config = QueryConfig { samples_max: 10, ..QueryConfig::default() };
    let (router, _) = router_with(config, memory());
    let (status, body) =
        post_json(&router, "/api/v1/sql", json!({ "query": "SELECT sum(value) FROM metrics" })).await;
    assert_eq!(status.as_u16(), 422, "{}", String::from_utf8_lossy(&body));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["error"]["limit"], 10);
}

#[test]
fn values_over_time_are_read_within_their_time() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(NOW_S * 1000)));
    let env = QueryEnv {
        metrics: Arc::new(memory()),
        logs: Arc::new(MemoryLogs::default()),
        views: Vec::new(),
        clock: clock.clone(),
    };
    let queries = PointQueries::new(env);
    let run = |text: &str, rows_max: usize| {
        let limits = Limits { samples: 10, ..Limits::default() };
        queries.run(&TenantId::default(), text, rows_max, &Budget::new(limits, clock.clone()))
    };
    let last = "SELECT date_bin(INTERVAL '20000 milliseconds', time, TIMESTAMP '2026-11-21T09:59:40Z') AS time, \
                labels['job'] AS job, max(value) AS value, NULL AS none FROM metrics \
                WHERE (name = 'http_requests_total' AND labels['job'] = 'web') \
                AND time >= TIMESTAMP '2026-11-21T09:59:40Z' AND time < TIMESTAMP '2026-11-21T10:00:00Z' GROUP BY 1, 2";
    let labels = vec![("job".to_string(), "web".to_string())];
    let want = Point { labels, t_ms: (NOW_S - 20) * 1000, value: 1180.0 };
    assert_eq!(run(last, 10).unwrap(), [want]);
    let said = |text: &str, rows_max: usize| run(text, rows_max).unwrap_err().to_string();
    assert!(said("SELECT time, value FROM metrics", 1000).contains("more than 10 samples"));
    let few = "FROM metrics WHERE labels['job'] = 'web' AND time >= TIMESTAMP '2026-11-21T09:59:40Z'";
    assert_eq!(said(&format!("SELECT time, value {few}"), 2), "the answer has more than 2 rows");
    assert!(said(&format!("SELECT value {few}"), 9).contains("no column \"time\""));
    assert!(said(&format!("SELECT time, name AS value {few}"), 9).contains("which should be a number"));
    assert_eq!(run("SELECT time, value FROM metrics WHERE name = 'none'", 9).unwrap(), []);
}

#[tokio::test]
async fn a_statement_that_meets_damage_is_answered_and_says_so() {
    let damaged = || router_with(QueryConfig::default(), Memory { damage: Damage::of(2), ..memory() }).0;
    let query = "SELECT labels['job'], count(*) FROM metrics GROUP BY 1 ORDER BY 1";
    let (status, answer) = post_json(&damaged(), "/api/v1/sql", json!({ "query": query })).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["rows"], json!([["api", 61], ["web", 61]]));
    assert_eq!((&answer["partial"], answer["warnings"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    let (_, answer) = post_json(&router(), "/api/v1/sql", json!({ "query": query })).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((&answer["partial"], answer.get("warnings")), (&json!(false), None));
}
