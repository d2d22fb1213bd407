//! Queries that would kill a server which let them: each is refused or ended in time, and the server lives on.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::server::{Server, answer, now_ms, with_query};

/// What a query may take here.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much later an answer may come on a machine that is busy.
const GRACE: Duration = Duration::from_secs(30);

async fn filled(folder: &std::path::Path) -> (Server, i64) {
    let config = folder.join("greylight.toml");
    std::fs::write(&config, format!("[query]\ntimeout = \"{}s\"\n", TIMEOUT.as_secs())).unwrap();
    let server = Server::start(&folder.join("data"), &["--config", config.to_str().unwrap()]).await;
    let now_ms = now_ms();
    for i in 0..500 {
        let (pod, host) = (format!("pod-{i}"), format!("host-{}", i % 20));
        let samples: Vec<(i64, f64)> = (0..120).map(|k| (now_ms - 30_000 * k, (i * k) as f64)).collect();
        let labels = [("__name__", "x"), ("host", host.as_str()), ("pod", pod.as_str())];
        assert!(server.write(&labels, &samples).await.is_success());
    }
    let lines: Vec<_> = (0..2000)
        .map(|i| json!([((now_ms - i) * 1_000_000).to_string(), format!("line {i} aaaaaaaaaaaaaaaa")]))
        .collect();
    let body = json!({ "streams": [{ "stream": { "job": "a" }, "values": lines }] });
    assert!(server.post("/loki/api/v1/push").json(&body).send().await.unwrap().status().is_success());
    (server, now_ms)
}

/// PromQL that asks for far more than there is.
fn promql() -> Vec<String> {
    let nested = |n: usize, open: &str, inner: &str, close: &str| open.repeat(n) + inner + &close.repeat(n);
    vec![
        "sum_over_time(x[1h:1ms])".into(),
        "max_over_time(max_over_time(max_over_time(x[1h:1s])[1h:1s])[1h:1s])".into(),
        "quantile_over_time(0.5, rate(x[5m])[10h:1s])".into(),
        "x * on () group_left () count by () (x)".into(),
        "x + ignoring (pod, host) group_right () x".into(),
        "count by (pod, host) (x) * on (host) group_left x".into(),
        "{__name__=~\".*\"}".into(),
        "{pod=~\"(a|b|ab|ba)*(a|b|ab|ba)*(a|b|ab|ba)*(a|b|ab|ba)*$\"}".into(),
        format!("{{pod=~\"{}\"}}", "(p|o|d|[0-9]){1,900}".repeat(3)),
        format!("{{pod=~\"{}\"}}", "a".repeat(20_000)),
        nested(20_000, "(", "1", ")"),
        nested(20_000, "-", "1", ""),
        nested(3_000, "sum(", "x", ")"),
        vec!["x"; 20_000].join(" or "),
        vec!["1"; 20_000].join(" + "),
        format!("label_replace(x, \"a\", \"{}\", \"pod\", \"(.*)\")", "$1".repeat(7_000)),
        "count_values(\"v\", x[1h])".into(),
        "topk(1e18, x)".into(),
        "limitk(1e300, x)".into(),
        "x offset 100000y".into(),
        "x[100000y]".into(),
        "sum_over_time(vector(1)[1000y:1ms])".into(),
        "predict_linear(x[1h], 1e308) ^ 1e308 % 0".into(),
        "absent_over_time(x[1h]) == bool NaN".into(),
    ]
}

/// SQL of the same sort.
fn sql() -> Vec<String> {
    let ors = (0..20_000).map(|i| format!("value = {i}")).collect::<Vec<_>>().join(" OR ");
    vec![
        "SELECT count(*) FROM metrics a, metrics b, metrics c".into(),
        "SELECT a.value FROM metrics a CROSS JOIN metrics b ORDER BY a.value + b.value".into(),
        format!("SELECT count(*) FROM metrics WHERE {ors}"),
        "SELECT * FROM generate_series(1, 10000000000)".into(),
        "SELECT repeat('a', 1000000000)".into(),
        "SELECT lpad('a', 2000000000, 'b')".into(),
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT {}", vec!["1"; 20_000].join(" + ")),
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t".into(),
        "SELECT array_agg(a.value) FROM metrics a, metrics b".into(),
        "SELECT string_agg(body, body) FROM logs a, logs b".into(),
        "SELECT * FROM metrics; DROP TABLE metrics".into(),
        "COPY metrics TO '/tmp/x'".into(),
        "SELECT regexp_replace(body, '(a*)*(a*)*(a*)*b', '') FROM logs".into(),
    ]
}

/// Searches of logs.
fn searches() -> Vec<String> {
    vec![
        "*a*a*a*a*a*a*a*b".into(),
        "/(a*)*(a*)*(a*)*b/".into(),
        format!("/{}/", "(a|aa){1,900}".repeat(3)),
        vec!["a"; 20_000].join(" OR "),
        "(".repeat(20_000),
        "NOT ".repeat(20_000) + "a",
    ]
}

fn form(server: &Server, path: &str, pairs: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let encoded = with_query("", pairs).trim_start_matches('?').to_owned();
    server.post(path).header("content-type", "application/x-www-form-urlencoded").body(encoded)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_kills_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (server, now_ms) = filled(folder.path()).await;
    let (start, end) = (((now_ms - 3_600_000) / 1000).to_string(), (now_ms / 1000).to_string());
    let mut requests = Vec::new();
    for expr in promql() {
        let form_pairs = [("query", expr.as_str()), ("start", &start), ("end", &end), ("step", "1")];
        requests.push((expr.clone(), form(&server, "/api/v1/query_range", &form_pairs)));
        requests.push((expr.clone(), form(&server, "/api/v1/query", &[("query", expr.as_str())])));
    }
    for query in sql() {
        requests.push((query.clone(), server.post("/api/v1/sql").json(&json!({ "query": query }))));
    }
    for query in searches() {
        let body = json!({ "query": query });
        requests.push((query.clone(), server.post("/api/v1/logs/search").json(&body)));
        requests.push((query.clone(), server.post("/api/v1/logs/histogram").json(&body)));
    }
    let n = requests.len();
    for (text, request) in requests {
        let shown: String = text.chars().take(80).collect();
        let begun = Instant::now();
        let (status, body) = answer(request).await;
        let took = begun.elapsed();
        assert!(took < TIMEOUT + GRACE, "{shown}: {} ms", took.as_millis());
        // Refused for what it is, ended by a limit, or answered; never a fault of the server.
        let known = [200, 400, 413, 414, 422, 429, 503];
        assert!(known.contains(&status.as_u16()), "{shown}: {status} {body}");
        if status != StatusCode::OK {
            let said = body["error"]["message"].as_str().or(body["error"].as_str()).unwrap_or_default();
            assert!(!said.is_empty(), "{shown}: {status} without a reason: {body}");
        }
        let (status, body) = server.json("/api/v1/query?query=1%2B1").await;
        assert_eq!((status, &body["data"]["result"][1]), (StatusCode::OK, &json!("2")), "after {shown}");
    }
    // Data still comes in and is found.
    assert!(server.write(&[("__name__", "alive")], &[(now_ms, 1.0)]).await.is_success());
    assert_eq!(server.promql("alive", now_ms).await.len(), 1);
    eprintln!("{n} requests survived");
    assert!(server.terminate().success());
}

/// Seconds of CPU that a process has spent.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_ends_when_the_client_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let (server, now_ms) = filled(folder.path()).await;
    // The time-out of the configuration would end it after two seconds; nothing else but the client does before.
    let path = with_query(
        "/api/v1/query",
        &[
            ("query", "max_over_time(max_over_time(max_over_time(x[1h:1s])[1h:1s])[1h:1s])"),
            ("time", &(now_ms / 1000).to_string()),
        ],
    );
    let asked = tokio::time::timeout(Duration::from_millis(500), server.get(&path).send()).await;
    assert!(asked.is_err(), "the query was answered before its client went away");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = cpu_s(server.pid());
    tokio::time::sleep(Duration::from_millis(800)).await;
    let spent = cpu_s(server.pid()) - before;
    assert!(spent < 0.2, "{spent} s of CPU in 0.8 s after the client was gone for 0.1 s");
}
