//! Rule files over a real server: the page's example, alerts on their way out, and Prometheus beside it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use greylight_wire::remote_write::{Encoder, Sample};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::prometheus_peer::Prometheus;
use crate::server::{Server, now_ms, run, with_query};

const PAGE: &str = include_str!("../docs/rules.md");
const EXAMPLE: &str = include_str!("../docs/examples/rules.yml");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Bodies that were posted, with their paths and whether they were signed.
type Posted = Arc<Mutex<Vec<(String, bool, Value)>>>;

/// Takes whatever is posted, as Alertmanager and as a webhook.
async fn receiver() -> (String, Posted) {
    let posted = Posted::default();
    let take = |State(posted): State<Posted>, uri: axum::http::Uri, headers: HeaderMap, body: String| async move {
        let is_signed = headers.contains_key("webhook-signature");
        let body = serde_json::from_str(&body).unwrap_or(Value::Null);
        posted.lock().unwrap().push((uri.path().to_owned(), is_signed, body));
    };
    let app = axum::Router::new().fallback(take).with_state(posted.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, posted)
}

/// Series whose values stay as they are, from a minute ago to some minutes ahead, so that it does not matter when they
/// are asked.
fn steady() -> Vec<u8> {
    let begin = now_ms() - 60_000;
    let mut encoder = Encoder::default();
    for (host, value) in [("a", 0.25), ("b", 1_234_567.0), ("c", 12.0)] {
        let samples: Vec<Sample> = (0..80).map(|k| Sample { t_ms: begin + k * 5_000, value }).collect();
        encoder.series([("__name__", "level"), ("host", host), ("job", "shop")].into_iter(), &samples);
    }
    encoder.finish()
}

async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..300 {
        if let Some(found) = found().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come within 30 s");
}

const RULES: &str = r#"
groups:
- name: shop
  interval: 1s
  rules:
  - record: job:level:sum
    expr: sum by (job) (level)
  - record: job:level:double
    expr: job:level:sum * 2
    labels: {kind: doubled}
  - record: wrong
    expr: level + on (job) level
  - alert: High
    expr: level > 1
    labels: {severity: '{{ if gt $value 100.0 }}page{{ else }}mail{{ end }}', team: shop}
    annotations:
      value: '{{ $value }} {{ humanize $value }} {{ $value | printf "%.1f" }} {{ humanizeDuration $value }}'
      labels: '{{ range $k, $v := $labels }}{{ $k }}={{ $v }} {{ end }}{{ .Labels.host | toUpper }} {{ $labels }}'
      query: '{{ with query "sort(level)" }}{{ range . }}{{ .Labels.host }}:{{ .Value | humanize1024 }},{{ end }}{{ end }}'
      site: '{{ $externalLabels.site }} {{ reReplaceAll "(.).*" "$1" $labels.job | title }} {{ humanizePercentage 0.1234567 }}'
      failed: '{{ if gt $value 80 }}x{{ end }}'
  - alert: Waits
    expr: sum(level) > 0
    for: 1h
    keep_firing_for: 5m
  - alert: Never
    expr: level < 0
"#;

fn config(folder: &Path, receiver: &str) -> String {
    std::fs::create_dir_all(folder.join("rules")).unwrap();
    std::fs::write(folder.join("rules/shop.yml"), RULES).unwrap();
    let file = folder.join("greylight.toml");
    let text = format!(
        "[rules]\nfiles = [\"rules/*.yml\"]\nalertmanagers = [\"{receiver}\"]\n\
         webhooks = [{{ url = \"{receiver}/hook\", secret = \"{SECRET}\" }}]\n\
         external_labels = {{ site = \"east\" }}\n[deliveries]\nallow = [\"127.0.0.1\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn series_are_recorded_and_alerts_go_out() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, posted) = receiver().await;
    let config = config(folder.path(), &receiver);
    let (code, out, _) = run(&["check", &config, folder.path().join("rules/shop.yml").to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("a valid rule file, 6 rules"), "{out}");
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--config", &config]).await;
    assert!(server.write_body(steady()).await.0.is_success());
    let double = until("the recorded series", async || {
        server.promql("job:level:double", now_ms()).await.into_iter().next()
    })
    .await;
    assert_eq!(double.0, json!({ "__name__": "job:level:double", "job": "shop", "kind": "doubled" }));
    assert_eq!(double.1, "2469158.5");
    until("the series of alerts", async || {
        let found = server.promql("ALERTS{alertstate=\"firing\"}", now_ms()).await;
        (found.len() == 2).then_some(())
    })
    .await;
    let alerts = until("Alertmanager's request", async || {
        let posted = posted.lock().unwrap();
        let found = posted.iter().find(|(path, _, _)| path == "/api/v2/alerts").map(|p| p.2.clone());
        found.filter(|alerts| alerts.as_array().is_some_and(|a| a.len() == 2))
    })
    .await;
    let alert = &alerts[0];
    let want = json!({ "alertname": "High", "host": "b", "job": "shop", "severity": "page", "site": "east", "team": "shop" });
    assert_eq!(alert["labels"], want);
    let generator = alert["generatorURL"].as_str().unwrap();
    assert_eq!(generator, format!("{}/graph?g0.expr=level+%3E+1&g0.tab=1", server.url));
    let time = |name: &str| alert[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("endsAt").duration_since(time("startsAt")).as_secs(), 240);
    let (_, is_signed, message) = until("the webhook's request", async || {
        posted.lock().unwrap().iter().find(|(path, _, _)| path == "/hook").cloned()
    })
    .await;
    assert!(is_signed);
    assert_eq!(message["type"], "rules.alerts");
    assert_eq!(message["data"]["alerts"][0]["status"], "firing");
    let page = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let key = format!("{{rule_group=\"{};shop\"}}", folder.path().join("rules/shop.yml").display());
    assert!(page.contains(&format!("\nprometheus_rule_group_rules{key} 6\n")), "{page}");
    let failures = format!("\nprometheus_rule_evaluation_failures_total{key} ");
    assert!(page.contains(&failures) && !page.contains(&format!("{failures}0\n")), "{page}");
    let (_, found) = server.json("/api/v1/alertmanagers").await;
    assert_eq!(found["data"]["activeAlertmanagers"], json!([{ "url": format!("{receiver}/api/v2/alerts") }]));
    let (status, _) = crate::server::answer(server.post("/api/v1/rules")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    // Another tenant has none of them.
    let (_, others) =
        crate::server::answer(server.get("/api/v1/rules").header("x-scope-orgid", "other")).await;
    assert_eq!(others["data"], json!({ "groups": [] }));
    assert!(server.terminate().success());
}

#[test]
fn mistakes_are_found_before_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "http://127.0.0.1:1");
    let file = folder.path().join("rules/bad.yml");
    std::fs::write(&file, "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'rate(x[5m)'}\n").unwrap();
    for checked in [config.as_str(), file.to_str().unwrap()] {
        let (code, out, _) = run(&["check", checked]);
        assert_eq!(code, 1, "{out}");
        assert!(out.contains("bad.yml") && out.contains("group \"g\": rule 1, \"A\""), "{out}");
    }
    let data = folder.path().join("data");
    let (code, _, error) =
        run(&["serve", "--listen", "127.0.0.1:0", "--config", &config, "--data", data.to_str().unwrap()]);
    assert_ne!(code, 0);
    assert!(error.contains("bad.yml"), "{error}");
}

/// What is the same in both answers: everything but times and paths, and what 2.42 has not.
fn comparable(groups: &Value) -> Value {
    let mut groups = groups.clone();
    for group in groups.as_array_mut().unwrap() {
        let group = group.as_object_mut().unwrap();
        for name in ["file", "evaluationTime", "lastEvaluation"] {
            assert!(group.remove(name).is_some(), "{name}");
        }
        for rule in group["rules"].as_array_mut().unwrap() {
            let rule = rule.as_object_mut().unwrap();
            for name in ["evaluationTime", "lastEvaluation"] {
                assert!(rule.remove(name).is_some(), "{name}");
            }
            // The words of errors are the engines' own.
            if let Some(error) = rule.get_mut("lastError") {
                *error = json!("");
            }
            // Added after 2.42.
            rule.remove("keepFiringFor");
            let Some(alerts) = rule.get_mut("alerts") else { continue };
            let alerts = alerts.as_array_mut().unwrap();
            for alert in alerts.iter_mut() {
                let alert = alert.as_object_mut().unwrap();
                assert!(alert.remove("activeAt").is_some());
                if let Some(failed) = alert["annotations"].get_mut("failed") {
                    assert!(failed.as_str().unwrap().starts_with("<error expanding template: "), "{failed}");
                    *failed = json!("");
                }
            }
            // Its order is that of a hash table.
            alerts.sort_by_key(|alert| alert["labels"].to_string());
        }
    }
    groups
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_says_the_same_of_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "http://127.0.0.1:1");
    let peer_config = format!(
        "global: {{ external_labels: {{ site: east }} }}\nrule_files: ['{}']\n",
        folder.path().join("rules/shop.yml").display()
    );
    let Some(peer) = Prometheus::start(&folder.path().join("peer"), &peer_config).await else { return };
    let server = Server::start(&folder.path().join("data"), &["--config", &config]).await;
    let body = steady();
    peer.write(body.clone()).await;
    assert!(server.write_body(body).await.0.is_success());
    let is_done = |groups: &Value| groups[0]["rules"][3]["alerts"].as_array().is_some_and(|a| a.len() == 2);
    let groups = async |url: &str| {
        let (_, answer) = crate::server::answer(server.http.get(format!("{url}/api/v1/rules"))).await;
        Some(answer["data"]["groups"].clone()).filter(is_done)
    };
    let theirs = until("Prometheus's alerts", async || groups(&peer.url).await).await;
    let ours = until("our alerts", async || groups(&server.url).await).await;
    assert_eq!(comparable(&ours), comparable(&theirs));
    // What was written: labels and values, but for the second since when.
    for expr in ["{__name__=~\"job:.*\"}", "ALERTS", "ALERTS_FOR_STATE * 0"] {
        let ask = async |url: &str| {
            let path = with_query("/api/v1/query", &[("query", expr)]);
            let (_, answer) = crate::server::answer(server.http.get(format!("{url}{path}"))).await;
            let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            let mut rows: Vec<String> =
                rows.iter().map(|row| format!("{} {}", row["metric"], row["value"][1])).collect();
            rows.sort();
            rows
        };
        let theirs =
            until("Prometheus's series", async || Some(ask(&peer.url).await).filter(|rows| rows.len() >= 2))
                .await;
        let ours =
            until("our series", async || Some(ask(&server.url).await).filter(|rows| rows.len() >= 2)).await;
        assert_eq!(ours, theirs, "{expr}");
    }
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_page_runs_as_it_is_written() {
    let shown: String = EXAMPLE.lines().map(|line| format!("    {line}\n").replace("    \n", "\n")).collect();
    assert!(PAGE.contains(&shown), "docs/rules.md shows docs/examples/rules.yml");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::write(path("rules/shop.yml"), EXAMPLE).unwrap();
    let toml: String = PAGE
        .split("Name the file in the server's configuration:")
        .nth(1)
        .unwrap()
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    assert!(toml.contains("[rules]"), "{toml}");
    std::fs::write(path("greylight.toml"), toml).unwrap();
    // The commands of the page, with the folder in place of the current one.
    let checks: Vec<&str> =
        PAGE.lines().filter_map(|line| line.strip_prefix("    greylight check ")).collect();
    assert_eq!(checks.len(), 1);
    for name in checks[0].split_whitespace() {
        let (code, out, _) = run(&["check", &path(name)]);
        assert_eq!(code, 0, "{out}");
        let said = out.replace(&format!("{}/", folder.path().display()), "");
        assert!(PAGE.contains(&format!("    {}", said.trim())), "{said}");
    }
    let server = Server::start(&folder.path().join("data"), &["--config", &path("greylight.toml")]).await;
    let asks: Vec<&str> =
        PAGE.lines().filter_map(|line| line.strip_prefix("    curl -g 'http://127.0.0.1:4680")).collect();
    assert_eq!(asks.len(), 2, "{asks:?}");
    for ask in asks {
        let (status, answer) = server.json(ask.trim_end_matches('\'')).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let (_, answer) = server.json("/api/v1/rules").await;
    assert_eq!(answer["data"]["groups"][0]["rules"].as_array().unwrap().len(), 3, "{answer}");
    assert!(server.terminate().success());
}
