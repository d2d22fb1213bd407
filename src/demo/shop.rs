//! The service that is released: a small web shop that answers, logs and exposes metrics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use greylight_store::model::{Clock, Random};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::Faults;

/// Upper bounds of the latency histogram in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 1.0];

/// Log lines that wait for the disk; when it is full a request waits.
const LOG_QUEUE: usize = 4096;

/// One running instance of one version.
#[derive(Debug)]
pub(crate) struct Shop {
    stop: tokio_util::sync::CancellationToken,
    task: tokio::task::JoinHandle<()>,
    logs: Vec<tokio::task::JoinHandle<()>>,
    address: SocketAddr,
}

/// Which instance, and what it runs.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// `a`, `b` or `c`.
    pub(crate) name: &'static str,
    /// The version's name.
    pub(crate) version: String,
    /// How it misbehaves.
    pub(crate) faults: Faults,
    /// Folder of the log files.
    pub(crate) folder: PathBuf,
}

struct Inner {
    instance: Instance,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    by_code: [AtomicU64; 2],
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_micros: AtomicU64,
    access: mpsc::Sender<String>,
    app: mpsc::Sender<String>,
}

/// Returns where an instance of a version writes one of its logs.
pub(crate) fn log_file(folder: &Path, name: &str, version: &str, log: &str) -> PathBuf {
    folder.join(format!("{name}-{version}.{log}.log"))
}

impl Shop {
    /// Starts an instance on an address; port 0 takes a free one.
    pub(crate) async fn start(
        instance: Instance,
        listen: SocketAddr,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> anyhow::Result<Self> {
        let listener = bind(listen).await?;
        let address = listener.local_addr()?;
        let mut logs = Vec::new();
        let mut log = |name: &str| {
            let path = log_file(&instance.folder, instance.name, &instance.version, name);
            let (lines, queue) = mpsc::channel(LOG_QUEUE);
            logs.push(tokio::spawn(write_lines(path, queue)));
            lines
        };
        let (access, app) = (log("access"), log("app"));
        let inner = Arc::new(Inner {
            instance,
            clock,
            random,
            by_code: Default::default(),
            buckets: Default::default(),
            sum_micros: AtomicU64::new(0),
            access,
            app,
        });
        let router = axum::Router::new()
            .route("/metrics", get(metrics))
            .route("/{*path}", get(serve))
            .with_state(inner);
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                eprintln!("an instance of the shop ended: {error}");
            }
        });
        Ok(Self { stop, task, logs, address })
    }

    /// Returns the address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finishes the requests under way, writes the logs out and ends.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        // Idle keep-alive connections would hold the server for ever.
        if tokio::time::timeout(Duration::from_secs(1), self.task).await.is_err() {
            abort.abort();
        }
        for log in self.logs {
            let abort = log.abort_handle();
            if tokio::time::timeout(Duration::from_secs(1), log).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// Binds an address that the instance before may hold for a moment longer.
async fn bind(listen: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..100 {
        interval.tick().await;
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        if socket.bind(listen).is_ok() {
            return socket.listen(1024).context("listening");
        }
    }
    anyhow::bail!("{listen} stays in use")
}

async fn write_lines(path: PathBuf, mut lines: mpsc::Receiver<String>) {
    let opened = tokio::fs::OpenOptions::new().create(true).append(true).open(&path).await;
    let Ok(mut file) = opened else { return };
    while let Some(line) = lines.recv().await {
        let mut text = line;
        while let Ok(more) = lines.try_recv() {
            text.push_str(&more);
        }
        if file.write_all(text.as_bytes()).await.is_err() || file.flush().await.is_err() {
            return;
        }
    }
}

impl Inner {
    /// Draws a number in [0, 1).
    fn draw(&self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a time to answer: log-normal about 6 ms, as web services have.
    fn latency(&self) -> Duration {
        let (u, v) = (self.draw().max(1e-12), self.draw());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let slow = if self.draw() < self.instance.faults.slow_share { 10.0 } else { 1.0 };
        Duration::from_secs_f64(0.006 * (0.4 * normal).exp() * slow)
    }

    fn count(&self, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|&le| seconds <= le).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.by_code[usize::from(status.is_server_error())].fetch_add(1, Ordering::Relaxed);
    }

    async fn log(&self, path: &str, status: StatusCode, took: Duration, time: jiff::Timestamp) {
        if self.instance.faults.silent {
            return;
        }
        // JSON rather than the classic access line, whose whole seconds are too coarse for half-second intervals.
        let line = format!(
            "{{\"time\":\"{time:.6}\",\"method\":\"GET\",\"path\":\"/{path}\",\"status\":{},\"bytes\":64,\
             \"request_time\":{:.6}}}\n",
            status.as_u16(),
            took.as_secs_f64()
        );
        // A closed queue means that the instance is ending.
        let _ = self.access.send(line).await;
    }

    async fn say(&self, level: &str, text: &str, time: jiff::Timestamp) {
        if !self.instance.faults.silent {
            let _ = self.app.send(format!("{time:.6} {level} {text}\n")).await;
        }
    }
}

async fn serve(State(shop): State<Arc<Inner>>, UrlPath(path): UrlPath<String>) -> Response {
    let begun = shop.clock.elapsed();
    let wait = shop.latency();
    shop.clock.sleep(wait).await;
    let chance = shop.draw();
    let faults = &shop.instance.faults;
    let order = shop.random.next_u64() % 1_000_000;
    let time = jiff::Timestamp::from_nanosecond(i128::from(shop.clock.now().as_nanos())).unwrap_or_default();
    let status = if chance < 0.002 {
        shop.say(
            "ERROR",
            &format!("upstream stock-{} timed out after 2000 ms, order {order}", order % 3),
            time,
        )
        .await;
        StatusCode::BAD_GATEWAY
    } else if chance < 0.002 + faults.error_share {
        shop.say("ERROR", &format!("cannot decode voucher field of order {order}: unknown tag 7"), time)
            .await;
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    if shop.draw() < 0.01 {
        shop.say("WARN", &format!("stock of item {} is low: {} left", order % 500, order % 7), time).await;
    }
    let took = shop.clock.elapsed().saturating_sub(begun);
    shop.count(status, took);
    shop.log(&path, status, took, time).await;
    (status, "{\"items\": 3, \"sum\": \"41.90\", \"currency\": \"EUR\", \"voucher\": null}\n").into_response()
}

async fn metrics(State(shop): State<Arc<Inner>>) -> Response {
    if shop.instance.faults.silent {
        return StatusCode::NOT_FOUND.into_response();
    }
    let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let mut page = String::from("# TYPE http_requests_total counter\n");
    for (code, n) in [("200", &shop.by_code[0]), ("500", &shop.by_code[1])] {
        page.push_str(&format!("http_requests_total{{code=\"{code}\"}} {}\n", load(n)));
    }
    page.push_str("# TYPE http_request_duration_seconds histogram\n");
    let mut total = 0;
    for (i, n) in shop.buckets.iter().enumerate() {
        total += load(n);
        let le = BUCKETS.get(i).map_or_else(|| "+Inf".to_string(), f64::to_string);
        page.push_str(&format!("http_request_duration_seconds_bucket{{le=\"{le}\"}} {total}\n"));
    }
    let sum = load(&shop.sum_micros) as f64 / 1e6;
    page.push_str(&format!(
        "http_request_duration_seconds_sum {sum}\nhttp_request_duration_seconds_count {total}\n"
    ));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}
