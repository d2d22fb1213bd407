//! Debian's Prometheus, filled by remote write.

#![expect(clippy::disallowed_methods, reason = "the test makes the file that Prometheus reads")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greylight_store::append::MetricBatch;
use greylight_store::model::Labels;
use greylight_wire::remote_write::{Encoder, Sample};

const PROGRAM: &str = "prometheus";
/// What one request writes: Prometheus takes nothing that is much older than what it has.
const STRETCH_MS: i64 = 30 * 60_000;

/// A running Prometheus. It is killed when this is dropped.
pub(super) struct Prometheus {
    child: Child,
    pub(super) url: String,
}

impl Prometheus {
    /// Starts one over a folder; `None` where the program is not installed.
    pub(super) async fn start(folder: &Path) -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, "").unwrap();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-remote-write-receiver", "--web.route-prefix=/prom", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("skipped: there is no {PROGRAM} here (apt-get install prometheus)");
            return None;
        };
        let peer = Self { child, url: format!("http://127.0.0.1:{port}/prom") };
        let http = client();
        for _ in 0..300 {
            let ready = http.get(format!("{}/-/ready", peer.url)).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return Some(peer);
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await;
        }
        panic!("{PROGRAM} is not ready after 30 s");
    }

    pub(super) async fn write(&self, batch: &MetricBatch) {
        let http = client();
        let (first, last) = (batch.times().iter().min().unwrap(), batch.times().iter().max().unwrap());
        let mut from = *first;
        while from <= *last {
            let mut encoder = Encoder::default();
            for (labels, t_ms, values) in batch.iter() {
                let samples: Vec<Sample> = (t_ms.iter().zip(values))
                    .map(|(&t_ms, &value)| Sample { t_ms, value })
                    .filter(|sample| (from..from + STRETCH_MS).contains(&sample.t_ms))
                    .collect();
                if !samples.is_empty() {
                    encoder.series(Labels::from_bytes(labels).unwrap().iter(), &samples);
                }
            }
            let request = http
                .post(format!("{}/api/v1/write", self.url))
                .header("content-encoding", "snappy")
                .header("content-type", "application/x-protobuf")
                .body(encoder.finish());
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
            from += STRETCH_MS;
        }
    }
}

fn client() -> reqwest::Client {
    // Only the first call in a process counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
