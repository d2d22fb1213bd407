//! A real server as a process of its own, for whole-system scenarios.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use greylight_wire::remote_write::{Encoder, Sample};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// Address of the gRPC listener.
    pub(crate) grpc: String,
    pub(crate) http: Client,
}

/// Returns the path of the binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_greylight")
}

/// Makes a client of HTTP.
pub(crate) fn client() -> Client {
    // A second call is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// Runs the binary to its end and returns exit code, standard output and standard error.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(binary()).args(args).env_remove("GREYLIGHT_SERVER").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

impl Server {
    /// Starts a server on free ports over a folder and waits until it answers.
    pub(crate) async fn start(data: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(addresses) = serde_json::from_str::<Value>(&line) else {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("the server did not start: {line:?} {log}");
        };
        // Drained on a thread of its own, so that a long log cannot stop the server.
        let mut log = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let url = format!("http://{}", addresses["http"].as_str().unwrap());
        let grpc = addresses["grpc"].as_str().unwrap().to_owned();
        Self { child, url, grpc, http: client() }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// Gets JSON and its status.
    pub(crate) async fn json(&self, path: &str) -> (StatusCode, Value) {
        answer(self.get(path)).await
    }

    /// Sends samples of one series by remote write.
    pub(crate) async fn write(&self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> StatusCode {
        let mut encoder = Encoder::default();
        let samples: Vec<Sample> = samples.iter().map(|&(t_ms, value)| Sample { t_ms, value }).collect();
        encoder.series(labels.iter().copied(), &samples);
        self.write_body(encoder.finish()).await.0
    }

    /// Sends a body to remote write's door.
    pub(crate) async fn write_body(&self, body: Vec<u8>) -> (StatusCode, String) {
        let request = self
            .post("/api/v1/write")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Evaluates PromQL at an instant and returns label sets with values.
    pub(crate) async fn promql(&self, expr: &str, t_ms: i64) -> Vec<(Value, String)> {
        let time = format!("{}.{:03}", t_ms / 1000, t_ms % 1000);
        let (status, body) =
            self.json(&with_query("/api/v1/query", &[("query", expr), ("time", &time)])).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let rows = body["data"]["result"].as_array().unwrap().iter();
        rows.map(|row| (row["metric"].clone(), row["value"][1].as_str().unwrap().to_string())).collect()
    }

    /// Names the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server as an operator does, and returns how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended servers are gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds an encoded query to a path.
pub(crate) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("http://h", pairs).unwrap();
    format!("{path}?{}", url.query().unwrap())
}

/// Sends a request and reads JSON.
pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Now, in milliseconds.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
