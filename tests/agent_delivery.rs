//! The agent against a real server: what its settings call labels selects metrics and records alike, and what the
//! server finds too large arrives in parts.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::server::{Server, answer, binary, with_query};

/// An agent as a process of its own; killed when this is dropped.
struct Agent(Child);

impl Agent {
    fn start(folder: &Path, settings: &str) -> Self {
        let config = folder.join("agent.toml");
        std::fs::write(&config, settings).unwrap();
        let mut command = Command::new(binary());
        command.arg("agent").arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer is there.
async fn until(mut ask: impl AsyncFnMut() -> Option<Value>) -> Value {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn records(server: &Server, matchers: &str, limit: usize) -> Vec<Value> {
    let body = json!({ "match": matchers, "limit": limit, "order": "oldest" });
    let (status, found) = answer(server.post("/api/v1/logs/search").json(&body)).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    found["records"].as_array().unwrap().clone()
}

fn settings(folder: &Path, server: &Server) -> String {
    let (folder, url) = (folder.display(), &server.url);
    let address = url.trim_start_matches("http://");
    format!(
        r#"
[agent]
name = "node-1"
data = "{folder}/agent"
labels = {{ zone = "edge-1", deployment_environment_name = "production" }}
host.enabled = false
container.enabled = false
own_metrics = "0s"
[agent.server]
url = "{url}"
compression = "none"
[agent.tail]
poll = "20ms"
flush = "20ms"
discovery = "250ms"
[[agent.scrape]]
job = "cart"
interval = "250ms"
[[agent.scrape.targets]]
targets = ["{address}"]
labels = {{ service_name = "cart", service_version = "2", track = "canary", team = "shop", instance = "a" }}
[[agent.logs]]
paths = ["{folder}/pods/*/*/*.log"]
labels = {{ service_name = "cart", track = "canary", team = "shop" }}
path_labels = 'v(?<service_version>\d+)\.log$'
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_matcher_selects_series_and_records() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]).await;
    let logs = folder.path().join("pods/shop_cart-7f9c_0f1e2d3c/app");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("v2.log"), "order 17 failed\n").unwrap();
    let _agent = Agent::start(folder.path(), &settings(folder.path(), &server));
    // Each label by itself, and all in one.
    let by_both = [
        "zone=\"edge-1\"",
        "deployment_environment_name=\"production\"",
        "service_name=\"cart\"",
        "service_version=\"2\"",
        "track=\"canary\"",
        "team=\"shop\"",
    ];
    let all = by_both.join(",");
    for matchers in by_both.into_iter().chain([all.as_str()]) {
        let matchers = format!("{{{matchers}}}");
        let found = until(async || records(&server, &matchers, 10).await.pop()).await;
        assert_eq!(found["body"], "order 17 failed", "{matchers}");
        let query = format!("count(up{matchers} == 1)");
        until(async || {
            let (_, body) = server.json(&with_query("/api/v1/query", &[("query", &query)])).await;
            body["data"]["result"].as_array().filter(|rows| !rows.is_empty()).map(|_| body.clone())
        })
        .await;
    }
    // What a path tells has cAdvisor's names, and the host's records its name.
    let by_path = "{namespace=\"shop\",pod=\"cart-7f9c\",container=\"app\",k8s_pod_name=\"cart-7f9c\",instance=\"node-1\"}";
    assert_eq!(records(&server, by_path, 10).await.len(), 1);
    assert_eq!(records(&server, "{team=\"other\"}", 10).await.len(), 0);
    let (status, found) = server.json("/api/v1/admin/status").await;
    assert_eq!(status, StatusCode::OK);
    let agents = found["agents"].as_array().unwrap();
    assert_eq!(
        (agents.len(), &agents[0]["name"], &agents[0]["state"]),
        (1, &json!("node-1"), &json!("healthy"))
    );
    assert_eq!(agents[0]["records"], 1, "{agents:?}");
    assert!(agents[0]["samples"].as_u64().unwrap() > 1 && agents[0]["last_seen"].is_string(), "{agents:?}");
    assert!(found["memory"]["used_bytes"].as_u64().unwrap() > 1 << 20, "{}", found["memory"]);
    let jobs = found["jobs"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap());
    assert_eq!(jobs.collect::<Vec<_>>(), ["seal", "compaction", "retention", "check"]);
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_finds_too_large_arrives_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("greylight.toml");
    std::fs::write(&config, "[ingest]\nbody_bytes_max = \"8KiB\"\ndecoded_bytes_max = \"64KiB\"\n").unwrap();
    let server = Server::start(&folder.path().join("data"), &["--config", config.to_str().unwrap()]).await;
    let logs = folder.path().join("pods/shop_cart-7f9c_0f1e2d3c/app");
    std::fs::create_dir_all(&logs).unwrap();
    let lines: Vec<String> = (0..2000).map(|n| format!("order {n} paid with {}", n * 7919 % 1000)).collect();
    let giant = "x".repeat(20_000);
    std::fs::write(logs.join("v2.log"), format!("{}\n{giant}\nthe end\n", lines.join("\n"))).unwrap();
    let _agent = Agent::start(folder.path(), &settings(folder.path(), &server));
    until(async || {
        records(&server, "{pod=\"cart-7f9c\"}", 5000).await.pop().filter(|r| r["body"] == "the end")
    })
    .await;
    let found = records(&server, "{pod=\"cart-7f9c\"}", 5000).await;
    let bodies: Vec<&str> = found.iter().map(|r| r["body"].as_str().unwrap()).collect();
    let want: Vec<&str> = lines.iter().map(String::as_str).chain(["the end"]).collect();
    assert_eq!(bodies, want);
    let (_, status) = server.json("/api/v1/admin/status").await;
    let door = status["receivers"].as_array().unwrap().iter().find(|r| r["name"] == "otlp_http").unwrap();
    let refusal = door["refusals"].as_array().unwrap().iter().find(|r| r["reason"] == "body_too_large");
    assert!(refusal.is_some_and(|r| r["count"].as_u64() > Some(1) && r["unit"] == "requests"), "{door}");
    assert!(server.terminate().success());
}
