//! Debian's Prometheus beside a server: the same samples, the same questions, the same numbers.
//!
//! Its windows are closed on the left, since it is 2.42, so no sample lies on a boundary here; nothing is asked that
//! Prometheus 3 answers in another way. Without the program the tests say so and pass.

mod expressions;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greylight_wire::remote_write::{Encoder, Sample};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::server::{Server, client, with_query};
use expressions::Generator;

const PROGRAM: &str = "prometheus";
/// Questions of a run, unless `GREYLIGHT_DIFFERENTIAL` says otherwise.
const N_QUESTIONS: usize = 400;
const SEED: u64 = 20_261_121;
/// When the samples begin: a full hour of a day in the past, so that both take them for old ones.
const START_S: i64 = 1_795_219_200;
const SPAN_S: i64 = 2 * 3600;
/// Samples lie this far behind a full second, instants and windows elsewhere.
const SAMPLE_MS: i64 = 123;
const INSTANT_MS: i64 = 500;

/// A running Prometheus. It is killed when this is dropped.
pub(crate) struct Prometheus {
    child: Child,
    pub(crate) url: String,
    http: Client,
}

impl Prometheus {
    /// Starts one over a folder; `None` where the program is not installed.
    pub(crate) async fn start(folder: &Path, config: &str) -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-remote-write-receiver", "--log.level=error"])
            .arg("--enable-feature=promql-per-step-stats")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("skipped: there is no {PROGRAM} here (apt-get install prometheus)");
            return None;
        };
        let url = format!("http://127.0.0.1:{port}");
        let peer = Self { child, url, http: client() };
        for _ in 0..300 {
            let ready = peer.http.get(format!("{}/-/ready", peer.url)).send().await;
            if ready.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return Some(peer);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{PROGRAM} is not ready after 30 s");
    }

    pub(crate) async fn write(&self, body: Vec<u8>) {
        let request = self
            .http
            .post(format!("{}/api/v1/write", self.url))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .body(body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Series = (Vec<(String, String)>, Vec<Sample>);

/// Counters with resets, gauges, buckets; some with gaps, one that ends.
fn series(rng: &mut ChaCha8Rng) -> Vec<Series> {
    let mut all = Vec::new();
    let times: Vec<i64> =
        (0..SPAN_S / 15).map(|k| (START_S + 15 * k + 1 + i64::from(k % 7 == 3)) * 1000 + SAMPLE_MS).collect();
    for job in ["api", "web"] {
        for instance in ["1", "2", "3"] {
            let labels = |name: &str, more: &[(&str, &str)]| {
                let mut labels: Vec<(String, String)> =
                    [("__name__", name), ("instance", instance), ("job", job)]
                        .iter()
                        .chain(more)
                        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                        .collect();
                labels.sort();
                labels
            };
            let gap = rng.random_range(100..200)..rng.random_range(200..260);
            let ends = if instance == "3" { 380 } else { usize::MAX };
            let kept = |k: usize, gappy: bool| k < ends && !(gappy && gap.contains(&k));
            let (mut count, mut level) = (1e6, 50.0);
            let mut buckets = [1e6, 2e6, 3e6, 4e6];
            let mut columns: Vec<Vec<Sample>> = vec![Vec::new(); 7];
            for (k, t_ms) in times.iter().copied().enumerate() {
                // Restarts of a counter that begins high: its start is not extrapolated to in either version.
                count = if rng.random_bool(0.01) { 1e6 } else { count + rng.random_range(0.0..100.0) };
                level += rng.random_range(-5.0..5.0);
                let mut grown = 0.0;
                for bucket in &mut buckets {
                    grown += rng.random_range(0.0_f64..9.0).floor();
                    *bucket += grown;
                }
                let flat = (k / 40) as f64;
                for (i, value) in [count, level, flat].into_iter().chain(buckets).enumerate() {
                    if kept(k, i < 2) {
                        columns[i].push(Sample { t_ms, value });
                    }
                }
            }
            let les = ["0.1", "0.5", "2", "+Inf"];
            let mut columns = columns.into_iter();
            for name in ["c_total", "g", "flat"] {
                all.push((
                    labels(name, &[("zone", if instance == "1" { "x" } else { "y" })]),
                    columns.next().unwrap(),
                ));
            }
            for le in les {
                all.push((labels("h_bucket", &[("le", le)]), columns.next().unwrap()));
            }
        }
        let info: Vec<Sample> = times.iter().map(|t_ms| Sample { t_ms: *t_ms, value: 1.0 }).collect();
        let labels = [("__name__", "info"), ("job", job), ("version", if job == "api" { "1" } else { "2" })];
        all.push((labels.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(), info));
    }
    all
}

/// Writes all series in requests that follow one another in time, as Prometheus wants them.
fn bodies(all: &[Series]) -> Vec<Vec<u8>> {
    let stretch_ms = 600_000;
    (0..SPAN_S * 1000 / stretch_ms + 1)
        .filter_map(|k| {
            let from = START_S * 1000 + k * stretch_ms;
            let mut encoder = Encoder::default();
            for (labels, samples) in all {
                let part: Vec<Sample> =
                    samples.iter().filter(|s| (from..from + stretch_ms).contains(&s.t_ms)).copied().collect();
                if !part.is_empty() {
                    encoder.series(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())), &part);
                }
            }
            (!encoder.is_empty()).then(|| encoder.finish())
        })
        .collect()
}

/// An answer as label sets with their points; an error as its type.
type Points = Vec<(String, f64)>;
type Outcome = Result<BTreeMap<String, Points>, String>;

async fn ask(http: &Client, url: &str, path: &str) -> Outcome {
    let answer = http.get(format!("{url}{path}")).send().await.unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    if body["status"] != "success" {
        return Err(body["errorType"].as_str().unwrap_or("?").to_owned());
    }
    let point = |p: &Value| (p[0].to_string(), p[1].as_str().unwrap().parse::<f64>().unwrap());
    let result = &body["data"]["result"];
    if body["data"]["resultType"] == "scalar" {
        return Ok(BTreeMap::from([("scalar".into(), vec![point(result)])]));
    }
    let rows = result.as_array().unwrap().iter().map(|row| {
        let points = match &row["values"] {
            Value::Array(values) => values.iter().map(point).collect(),
            _ => vec![point(&row["value"])],
        };
        (row["metric"].to_string(), points)
    });
    Ok(rows.collect())
}

fn close(a: f64, b: f64) -> bool {
    // Sums in another order differ in their last digits, and variances near zero are differences of large numbers.
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-7 * a.abs().max(b.abs()).max(1.0)
}

/// Says how two answers differ.
fn difference(theirs: &Outcome, ours: &Outcome) -> Option<String> {
    let (theirs, ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Err(theirs), Err(ours)) => {
            return (theirs != ours).then(|| format!("errors {theirs} and {ours}"));
        }
        (theirs, ours) => return Some(format!("{theirs:?} and {ours:?}")),
    };
    let names = |side: &BTreeMap<String, Points>| side.keys().cloned().collect::<Vec<_>>();
    if names(theirs) != names(ours) {
        return Some(format!("series {:?} and {:?}", names(theirs), names(ours)));
    }
    for (name, points) in theirs {
        let other = &ours[name];
        let same = points.len() == other.len()
            && points.iter().zip(other).all(|(a, b)| a.0 == b.0 && close(a.1, b.1));
        if !same {
            let at = points.iter().zip(other).find(|(a, b)| a.0 != b.0 || !close(a.1, b.1));
            return Some(format!("{name}: {} and {} points, first {at:?}", points.len(), other.len()));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn random_expressions_have_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(peer) = Prometheus::start(&folder.path().join("peer"), "global: {}\n").await else { return };
    let server = Server::start(&folder.path().join("ours"), &[]).await;
    let seed = std::env::var("GREYLIGHT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(SEED);
    let n: usize =
        std::env::var("GREYLIGHT_DIFFERENTIAL").ok().and_then(|s| s.parse().ok()).unwrap_or(N_QUESTIONS);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let all = series(&mut rng);
    for body in bodies(&all) {
        peer.write(body.clone()).await;
        let (status, text) = server.write_body(body).await;
        assert!(status.is_success(), "{text}");
    }
    let (mut differ, mut n_empty, mut n_failed) = (Vec::new(), 0, 0);
    for i in 0..n {
        // Half of them are asked of segments.
        if i == n / 2 {
            assert!(server.post("/api/v1/admin/flush").send().await.unwrap().status().is_success());
        }
        let expr = Generator::new(&mut rng).vector(3);
        let t_ms = (START_S + rng.random_range(600..SPAN_S)) * 1000 + INSTANT_MS;
        let time = |t_ms: i64| format!("{}.{:03}", t_ms / 1000, t_ms % 1000);
        let path = if i % 2 == 0 {
            with_query("/api/v1/query", &[("query", &expr), ("time", &time(t_ms))])
        } else {
            let end = t_ms + rng.random_range(0..1800) * 1000;
            let step = ["1", "17", "60", "301"][rng.random_range(0..4)];
            let pairs =
                [("query", expr.as_str()), ("start", &time(t_ms)), ("end", &time(end)), ("step", step)];
            with_query("/api/v1/query_range", &pairs)
        };
        let (theirs, ours) =
            (ask(&peer.http, &peer.url, &path).await, ask(&peer.http, &server.url, &path).await);
        n_empty += usize::from(theirs.as_ref().is_ok_and(BTreeMap::is_empty));
        n_failed += usize::from(theirs.is_err());
        if let Some(text) = difference(&theirs, &ours) {
            differ.push(format!("{expr}\n  {path}\n  {text}"));
        }
    }
    eprintln!(
        "{n} questions, seed {seed}: {} differ, {n_empty} empty, {n_failed} refused by both",
        differ.len()
    );
    assert!(n_empty + n_failed < n / 3, "most questions should have an answer");
    assert!(differ.is_empty(), "{} of {n} differ, seed {seed}:\n{}", differ.len(), differ.join("\n"));
}

/// Samples behind each step: `[time, number]`.
async fn counts(http: &Client, url: &str, path: &str) -> (Value, Vec<(f64, u64)>) {
    let answer = http.get(format!("{url}{path}")).send().await.unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["status"], "success", "{path}: {body}");
    let samples = &body["data"]["stats"]["samples"];
    let steps =
        samples["totalQueryableSamplesPerStep"].as_array().unwrap_or_else(|| panic!("{path}: {body}"));
    let step = |step: &Value| (step[0].as_f64().unwrap(), step[1].as_u64().unwrap());
    (samples["totalQueryableSamples"].clone(), steps.iter().map(step).collect())
}

const COUNTED: [&str; 28] = [
    "1 + time()",
    "g",
    "g offset 7m",
    "g @ 1795221000.5",
    "nothing or g",
    "c_total[5m]",
    "g[20m:1m] offset 3m",
    "rate(c_total[5m])",
    "sum by (job) (rate(c_total[5m])) / sum by (job) (rate(c_total[5m]))",
    "rate(c_total[20s])",
    "rate(c_total[5m] @ 1795221000.5)",
    "absent_over_time(g{instance='3'}[3m])",
    "absent(g{instance='3'})",
    "timestamp(g)",
    "quantile_over_time(0.5, g[3m])",
    "predict_linear(g[10m], 60)",
    "max_over_time(rate(c_total[5m])[30m:1m])",
    "sum(max_over_time(g[15m:30s]))",
    "sum(max_over_time(sum_over_time(g[5m:20s])[10m:1m]))",
    "sum(g * scalar(flat{instance='1',job='api'}))",
    "max(abs(g) + scalar(count(c_total)))",
    "max(sum by (job) (g) * scalar(count(c_total)))",
    "topk(scalar(count(g)) - 4, g)",
    "g and on (instance) (c_total > 1e6)",
    "g * on (job) group_left (version) info",
    "histogram_quantile(0.9, sum by (le) (rate(h_bucket[4m])))",
    "label_replace(g, 'a', '$1', 'job', '(.*)')",
    "sort_desc(count_values('v', flat))",
];

/// Counts of samples are those of Prometheus with `stats=all`, from heads and from segments.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_samples_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let Some(peer) = Prometheus::start(&folder.path().join("peer"), "global: {}\n").await else { return };
    let server = Server::start(&folder.path().join("ours"), &[]).await;
    for body in bodies(&series(&mut ChaCha8Rng::seed_from_u64(SEED))) {
        peer.write(body.clone()).await;
        assert!(server.write_body(body).await.0.is_success());
    }
    let mut differ = Vec::new();
    for turn in 0..2 {
        for expr in COUNTED {
            let (time, end) = (format!("{}.5", START_S + 3600), format!("{}.5", START_S + 6000));
            let mut paths =
                vec![with_query("/api/v1/query", &[("query", expr), ("time", &time), ("stats", "all")])];
            let steps =
                if expr.ends_with(']') || expr.contains("] offset") { &[][..] } else { &["17", "60", "301"] };
            paths.extend(steps.iter().map(|step| {
                let pairs =
                    [("query", expr), ("start", &time), ("end", &end), ("step", step), ("stats", "all")];
                with_query("/api/v1/query_range", &pairs)
            }));
            for path in paths {
                let theirs = counts(&peer.http, &peer.url, &path).await;
                let ours = counts(&peer.http, &server.url, &path).await;
                if theirs != ours {
                    let at = theirs.1.iter().zip(&ours.1).find(|(a, b)| a != b);
                    differ.push(format!("{expr}: {path}: {} and {}, first {at:?}", theirs.0, ours.0));
                }
            }
        }
        if turn == 0 {
            assert!(server.post("/api/v1/admin/flush").send().await.unwrap().status().is_success());
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_from_a_server_and_takes_its_federation() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("ours"), &[]).await;
    let config = format!("remote_read: [{{ url: '{}/api/v1/read', read_recent: true }}]\n", server.url);
    let Some(peer) = Prometheus::start(&folder.path().join("peer"), &config).await else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for body in bodies(&series(&mut rng)) {
        assert!(server.write_body(body).await.0.is_success());
    }
    let time = format!("{}.5", START_S + 3600);
    for expr in [
        "c_total",
        "rate(g[5m])",
        "sum by(job)({job=~\"a.*|web\",le!=\"\"})",
        "g{instance!~\"1|2\"}",
        "nothing",
    ] {
        let path = with_query("/api/v1/query", &[("query", expr), ("time", &time)]);
        let (theirs, ours) =
            (ask(&peer.http, &peer.url, &path).await, ask(&peer.http, &server.url, &path).await);
        assert_eq!(difference(&theirs, &ours), None, "{expr}");
        assert_eq!(theirs.unwrap().is_empty(), expr == "nothing", "{expr}");
    }
    let now_ms = crate::server::now_ms();
    assert!(
        server.write(&[("__name__", "up"), ("job", "a b\"")], &[(now_ms - 1000, 1.0)]).await.is_success()
    );
    let page = server.get("/federate?match[]=up").send().await.unwrap().text().await.unwrap();
    assert_eq!(page, format!("# TYPE up untyped\nup{{job=\"a b\\\"\",instance=\"\"}} 1 {}\n", now_ms - 1000));
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let out = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    // It reads the page, and only misses the help text that a federation has not.
    assert!(!said.contains("error while linting") && !said.contains("parsing"), "{said}");
}
