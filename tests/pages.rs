//! The commands of the pages that a new user follows, run in their order against a server with a service in it.

use std::process::Command;

use serde_json::json;

use crate::server::{Server, binary, now_ms};

const PAGES: [(&str, &str); 2] = [
    ("first-hour", include_str!("../docs/first-hour.md")),
    ("verdicts", include_str!("../docs/verdicts.md")),
];
const MINUTE_MS: i64 = 60_000;
/// Minutes of history.
const HISTORY: i64 = 2_900;

/// Writes requests, errors and logs of two versions of a service, both old enough to be compared.
async fn fill(server: &Server) {
    let now = now_ms();
    for (version, hosts, share) in [("1.4.2", 3, 100.0), ("1.5.0", 1, 30.0)] {
        for host in 0..hosts {
            let instance = format!("{version}-{host}");
            let of = |name: &'static str, code: &'static str| {
                let mut labels = vec![
                    ("__name__", name),
                    ("instance", instance.as_str()),
                    ("job", "cart"),
                    ("service_name", "cart"),
                    ("service_version", version),
                ];
                if !code.is_empty() {
                    labels.push(("code", code));
                }
                labels
            };
            let minutes: Vec<i64> = (0..HISTORY).map(|k| now - (HISTORY - k) * MINUTE_MS).collect();
            let samples = |value: &dyn Fn(usize) -> f64| -> Vec<(i64, f64)> {
                minutes.iter().enumerate().map(|(k, t)| (*t, value(k))).collect()
            };
            let jitter = |k: usize| 1.0 + 0.05 * (((k * 7919 + host * 31) % 97) as f64 / 48.0 - 1.0);
            for (labels, values) in [
                (of("up", ""), samples(&|_| 1.0)),
                (of("http_requests_total", "200"), samples(&|k| share * k as f64)),
                (of("http_requests_total", "500"), samples(&|k| (k / 20) as f64)),
                (of("process_resident_memory_bytes", ""), samples(&|k| 1e8 * jitter(k))),
                (of("process_cpu_seconds_total", ""), samples(&|k| 0.01 * share * k as f64)),
            ] {
                assert!(server.write(&labels, &values).await.is_success());
            }
        }
    }
    let line = |k: i64| {
        json!([format!("{}", (now - k * MINUTE_MS) * 1_000_000), format!("level=info order {k} paid")])
    };
    let values: Vec<_> = (1..50).map(line).collect();
    let body = json!({ "streams": [{ "stream": { "service_name": "cart", "service_version": "1.4.2" }, "values": values }] });
    assert!(server.post("/loki/api/v1/push").json(&body).send().await.unwrap().status().is_success());
}

/// Splits a command as a shell does that knows single quotes.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        out.push(word);
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_the_pages_work() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    fill(&server).await;
    let mut n_run = 0;
    for (page, text) in PAGES {
        for line in text.lines().filter_map(|line| line.strip_prefix("    greylight ")) {
            let args = words(line);
            // These run until they are ended: the server is there, and what agents do has tests of its own.
            if ["serve", "agent"].contains(&args[0].as_str()) {
                continue;
            }
            let out = Command::new(binary())
                .args(&args)
                .env("GREYLIGHT_SERVER", &server.url)
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()
                .unwrap();
            let (said, error) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            // A release that has just begun is not decided: the gate says so with 2.
            let wanted = if args[0] == "gate" { 2 } else { 0 };
            assert_eq!(out.status.code(), Some(wanted), "{page}: greylight {line}\n{said}\n{error}");
            assert!(!said.trim().is_empty() || args[0] == "gate", "{page}: greylight {line} says nothing");
            n_run += 1;
        }
    }
    assert!(n_run >= 10, "{n_run}");
}
