//! Deploy tools: each decides a release alike, and a server that is killed at any look loses nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::server::{Server, answer, now_ms, run};

const MINUTE_MS: i64 = 60_000;

/// Writes an hour of requests of two versions, of which the second fails in `failed` of a thousand.
async fn fill(server: &Server, service: &str, failed: f64) -> i64 {
    let start = now_ms() - 70 * MINUTE_MS;
    for (version, instance, share, rate) in [("1", "a", 900.0, 1.0), ("2", "b", 300.0, failed)] {
        for (code, per_minute) in [("200", share * (1.0 - rate / 1e3)), ("500", share * rate / 1e3)] {
            let labels = [
                ("__name__", "http_requests_total"),
                ("code", code),
                ("instance", instance),
                ("service_name", service),
                ("service_version", version),
            ];
            let samples: Vec<(i64, f64)> = (-20..68)
                .map(|k| (start + k * MINUTE_MS + 500, (per_minute * (k + 21) as f64).floor()))
                .collect();
            assert!(server.write(&labels, &samples).await.is_success());
        }
    }
    start
}

fn body(service: &str, key: &str, start_ms: i64) -> Value {
    json!({ "service": service, "key": key, "baseline": { "name": "1" }, "canary": { "name": "2" },
        "start": jiff::Timestamp::from_millisecond(start_ms).unwrap().to_string(),
        "policy": { "name": "p", "delay": "1s", "unit": ["instance"],
            "phases": [{ "name": "one", "lasts": { "at_least": "10m", "at_most": "30m" } },
                { "name": "two", "lasts": { "at_least": "10m", "at_most": "30m" } }],
            "checks": [{ "name": "error share", "kind": "ratio", "events": "http_requests_total{code=\"500\", $cohort}",
                "trials": "http_requests_total{$cohort}", "margin": { "absolute": 0.01 } }] } })
}

/// Asks until a verdict is final.
async fn verdict(server: &Server, id: &str) -> Value {
    for _ in 0..600 {
        let (status, verdict) = server.json(&format!("/api/v1/releases/{id}/verdict?wait=1s&after=0")).await;
        assert_eq!(status, StatusCode::OK, "{verdict}");
        if verdict["final"] == true {
            return verdict;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("release {id} is never decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_decides_a_release_alike() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    for (service, failed, decision, exit) in [("good", 1.0, "go", 0), ("bad", 60.0, "no_go", 1)] {
        let start = fill(&server, service, failed).await;
        let request = body(service, service, start);
        let (status, release) = answer(server.post("/api/v1/releases").json(&request)).await;
        assert_eq!(status, StatusCode::CREATED, "{release}");
        // A tool that polls.
        let polled = verdict(&server, &format!("key:{service}")).await;
        assert_eq!(polled["decision"], decision, "{polled:#}");
        // A tool with one static request and no memory: the same body again and again.
        let (status, again) = answer(server.post("/api/v1/releases").json(&request)).await;
        assert_eq!((status, &again["id"]), (StatusCode::OK, &release["id"]), "{again}");
        assert_eq!(again["verdict"]["decision"], polled["decision"]);
        assert_eq!(again["verdict"]["evidence"]["digest"], polled["evidence"]["digest"]);
        // A tool that knows numbers only: 75 is marginal, 95 passes.
        let score = polled["score"].as_u64().unwrap();
        assert_eq!((score >= 95, score < 75), (exit == 0, exit == 1), "{score}");
        // A shell.
        let (code, _, error) = run(&["gate", "--key", service, "--server", &server.url, "--timeout", "30s"]);
        assert_eq!(code, exit, "{error}");
    }
}

/// Counts messages by id, and remembers which of them are final.
type Heard = Arc<Mutex<BTreeMap<String, bool>>>;

/// Listens for webhooks until the test ends.
fn listen(heard: &Heard) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut id, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some((name, value)) = line.split_once(':') {
                    match name.to_ascii_lowercase().as_str() {
                        "webhook-id" => id = value.trim().to_owned(),
                        "content-length" => length = value.trim().parse().unwrap_or(0),
                        _ => {}
                    }
                }
            }
            let mut bytes = vec![0; length];
            if reader.read_exact(&mut bytes).is_err() {
                continue;
            }
            let message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            heard.lock().unwrap().insert(id, message["data"]["final"] == true);
            let _ = stream
                .write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_look_goes_on_with_the_same_looks() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("greylight.toml");
    std::fs::write(&config, "[deliveries]\nallow = [\"127.0.0.1\"]\n").unwrap();
    let data = folder.path().join("data");
    let args = ["--config", config.to_str().unwrap()];
    let heard = Heard::default();
    let port = listen(&heard);
    let mut server = Server::start(&data, &args).await;
    let start = fill(&server, "cart", 2.0).await;
    let looks = async |server: &Server, id: &str| {
        let (_, looks) = server.json(&format!("/api/v1/releases/{id}/looks")).await;
        let part = |look: &Value| json!([look["number"], look["decision"], look["checks"]]);
        looks["looks"].as_array().unwrap().iter().map(part).collect::<Vec<_>>()
    };
    let mut reference = Vec::new();
    for kill_after_ms in [None, Some(0), Some(15), Some(40), Some(80), Some(150)] {
        let mut request = body("cart", &format!("cart-{kill_after_ms:?}"), start);
        request["webhooks"] = json!([{ "url": format!("http://127.0.0.1:{port}/verdict") }]);
        heard.lock().unwrap().clear();
        let (status, release) = answer(server.post("/api/v1/releases").json(&request)).await;
        assert_eq!(status, StatusCode::CREATED, "{release}");
        let id = release["id"].as_str().unwrap().to_owned();
        if let Some(ms) = kill_after_ms {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            server.kill();
            server = Server::start(&data, &args).await;
        }
        let verdict = verdict(&server, &id).await;
        let made = looks(&server, &id).await;
        assert!(made.len() >= 10, "{}", made.len());
        if reference.is_empty() {
            reference = made;
        } else {
            assert_eq!(made, reference, "killed after {kill_after_ms:?} ms: {verdict:#}");
        }
        // Every message is sent at least once, under one id: a receiver that knows ids hears of one end.
        for _ in 0..200 {
            if heard.lock().unwrap().values().any(|is_final| *is_final) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let n_final = heard.lock().unwrap().values().filter(|is_final| **is_final).count();
        assert_eq!(n_final, 1, "killed after {kill_after_ms:?} ms");
    }
}
