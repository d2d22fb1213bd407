//! Through the doors of a real server and back: data in, questions, restarts, wrong input.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::server::{Server, answer, now_ms, run, with_query};

async fn push_loki(server: &Server, lines: &[(i64, &str)]) -> StatusCode {
    let values: Vec<Value> =
        lines.iter().map(|(t_ms, line)| json!([format!("{}", t_ms * 1_000_000), line])).collect();
    let body = json!({ "streams": [{ "stream": { "service_name": "cart", "service_version": "1" }, "values": values }] });
    server.post("/loki/api/v1/push").json(&body).send().await.unwrap().status()
}

async fn bodies(server: &Server, query: &str) -> Vec<String> {
    let body = json!({ "query": query, "match": "{service_name=\"cart\"}", "limit": 100,
        "start": "1970-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z" });
    let (status, found) = answer(server.post("/api/v1/logs/search").json(&body)).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let records = found["records"].as_array().unwrap().iter();
    records.map(|r| r["body"].as_str().unwrap().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_found_again_after_kills_and_flushes() {
    let folder = tempfile::tempdir().unwrap();
    let t = now_ms() - 60_000;
    let server = Server::start(folder.path(), &[]).await;
    assert!(
        server.write(&[("__name__", "m"), ("host", "a")], &[(t, 1.5), (t + 1000, 2.5)]).await.is_success()
    );
    assert!(
        push_loki(&server, &[(t, "order 17 failed"), (t + 1, "{\"level\":\"info\",\"status\":503}")])
            .await
            .is_success()
    );
    server.kill();
    let server = Server::start(folder.path(), &[]).await;
    assert_eq!(
        server.promql("m", t + 1500).await,
        [(json!({"__name__": "m", "host": "a"}), "2.5".to_string())]
    );
    assert_eq!(bodies(&server, "failed").await, ["order 17 failed"]);
    let (status, _) = answer(server.post("/api/v1/admin/flush")).await;
    assert_eq!(status, StatusCode::OK);
    // Sent again, as a sender does that did not hear the answer: there is one copy.
    assert!(server.write(&[("__name__", "m"), ("host", "a")], &[(t, 1.5)]).await.is_success());
    assert!(push_loki(&server, &[(t, "order 17 failed")]).await.is_success());
    assert_eq!(server.promql("count_over_time(m[5m])", t + 1500).await[0].1, "2");
    assert_eq!(bodies(&server, "order").await.len(), 1);
    assert_eq!(bodies(&server, "status:>=500").await.len(), 1);
    assert!(server.terminate().success());
    let server = Server::start(folder.path(), &[]).await;
    assert_eq!(server.promql("count_over_time(m[5m])", t + 1500).await[0].1, "2");
    assert_eq!(bodies(&server, "").await.len(), 2);
    assert!(server.terminate().success());
    let (code, out, _) = run(&["store", "verify", "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("0 problems"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_answers_say_partial() {
    let folder = tempfile::tempdir().unwrap();
    let t = now_ms() - 60_000;
    let server = Server::start(folder.path(), &[]).await;
    assert!(server.write(&[("__name__", "m")], &[(t, 1.0)]).await.is_success());
    answer(server.post("/api/v1/admin/flush")).await;
    assert!(server.terminate().success());
    let parquet =
        files(folder.path()).into_iter().find(|p| p.extension().is_some_and(|e| e == "parquet")).unwrap();
    let mut bytes = std::fs::read(&parquet).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&parquet, bytes).unwrap();
    let (code, out, _) = run(&["store", "verify", "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code, 1, "{out}");
    let server = Server::start(folder.path(), &[]).await;
    let (status, found) = server
        .json(&with_query("/api/v1/query", &[("query", "m"), ("time", &(t / 1000 + 1).to_string())]))
        .await;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert!(found["warnings"].as_array().is_some_and(|w| !w.is_empty()), "{found}");
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_of_logs_is_set_aside_by_the_read_that_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    let t = now_ms() - 60_000;
    let server = Server::start(folder.path(), &[]).await;
    // Two windows, so two files.
    let before = t - 6 * 3_600_000;
    assert!(push_loki(&server, &[(before, "order 1 failed"), (t, "order 2 failed")]).await.is_success());
    answer(server.post("/api/v1/admin/flush")).await;
    let is_rows = |p: &std::path::PathBuf| p.extension().is_some_and(|e| e == "parquet");
    let parquet = files(folder.path()).into_iter().find(is_rows).unwrap();
    let mut bytes = std::fs::read(&parquet).unwrap();
    // The server has the file open, and has checked it; the footer says where everything is.
    let n = bytes.len();
    bytes[4..n - 8].iter_mut().for_each(|b| *b ^= 0xff);
    std::fs::write(&parquet, bytes).unwrap();
    let found = bodies(&server, "failed").await;
    assert_eq!(found.len(), 1, "{found:?}");
    let query = json!({ "query": "pattern:* failed", "start": "1970-01-01T00:00:00Z" });
    for path in ["/api/v1/logs/search", "/api/v1/logs/patterns"] {
        let (status, found) = answer(server.post(path).json(&query)).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        assert_eq!(
            (&found["partial"], found["warnings"].as_array().map(Vec::len)),
            (&json!(true), Some(1)),
            "{path}"
        );
    }
    let sql = json!({ "query": "SELECT count(*) FROM logs" });
    let (status, found) = answer(server.post("/api/v1/sql").json(&sql)).await;
    assert_eq!(
        (status, &found["rows"], &found["partial"]),
        (StatusCode::OK, &json!([[1]]), &json!(true)),
        "{found}"
    );
    let (_, status) = server.json("/api/v1/admin/status").await;
    assert_eq!(status["missing"].as_array().map(Vec::len), Some(1), "{status}");
    assert!(server.terminate().success());
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_of_the_log_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let t = now_ms() - 60_000;
    let server = Server::start(folder.path(), &[]).await;
    assert!(server.write(&[("__name__", "m")], &[(t, 1.0)]).await.is_success());
    server.kill();
    let log = files(folder.path()).into_iter().filter(|p| p.to_string_lossy().contains("wal")).max().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.extend_from_slice(b"GLW1 torn in the middle of a frame");
    std::fs::write(&log, bytes).unwrap();
    let server = Server::start(folder.path(), &[]).await;
    assert_eq!(server.promql("m", t + 1000).await[0].1, "1");
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_gets_a_clear_answer_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let t = now_ms() - 60_000;
    let server = Server::start(folder.path(), &[]).await;
    assert!(server.write(&[("__name__", "m")], &[(t, 1.0)]).await.is_success());
    let (status, text) = server.write_body(b"no snappy".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    let far = now_ms() + 3_600_000;
    assert_eq!(server.write(&[("__name__", "m")], &[(far, 1.0)]).await, StatusCode::BAD_REQUEST);
    for (path, word) in [
        ("/api/v1/query?query=m%7B", "parse error"),
        ("/api/v1/query_range?query=m&start=0&end=1000000&step=1", "11,000"),
    ] {
        let (status, body) = server.json(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body["error"].as_str().unwrap().contains(word), "{body}");
    }
    let ors = format!("SELECT 1 WHERE {}1=1", "1=2 OR ".repeat(20_000));
    for query in ["SELEC 1", "DROP TABLE logs", "INSERT INTO logs VALUES (1)", &ors] {
        let (status, body) = answer(server.post("/api/v1/sql").json(&json!({ "query": query }))).await;
        assert!(status.is_client_error(), "{status} {body}");
        assert!(body["error"]["message"].is_string(), "{body}");
    }
    assert_eq!(server.promql("m", t + 1000).await[0].1, "1");
    let (status, page) = answer(server.get("/metrics")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.as_str().unwrap().contains("greylight_store_samples_total"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_serves_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Server::start(folder.path(), &[]).await;
    let data = folder.path().to_str().unwrap();
    let (code, _, err) = run(&["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "off", "--data", data]);
    assert_eq!(code, 3);
    assert!(err.contains("in use"), "{err}");
}

#[test]
fn listening_to_the_world_needs_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (code, _, err) = run(&["serve", "--listen", "0.0.0.0:0", "--grpc-listen", "off", "--data", data]);
    assert_eq!(code, 3);
    assert!(err.contains("--insecure") && err.contains("tokens"), "{err}");
}

#[test]
fn files_are_checked_before_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/");
    let (code, out, err) = run(&["check", &format!("{root}policy.yaml"), &format!("{root}greylight.toml")]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, _) = run(&["check", &file("greylight.toml", "[server]\nlisen = \"x\"")]);
    assert_eq!(code, 1);
    assert!(out.contains("lisen"), "{out}");
    let (code, out, _) = run(&["check", &file("policy.yaml", "name: x\nphases: []\nfoo: 1")]);
    assert_eq!(code, 1);
    assert!(out.contains("foo") || out.contains("phases"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_keep_others_out() {
    let folder = tempfile::tempdir().unwrap();
    let (_, out, _) = run(&["token", "--scopes", "write"]);
    let token = out.lines().next().unwrap().rsplit(' ').next().unwrap().to_string();
    let line = out.lines().last().unwrap().trim();
    let config = folder.path().join("greylight.toml");
    std::fs::write(&config, format!("[auth]\ntokens = [{line}]")).unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--config", config.to_str().unwrap()]).await;
    for path in ["/api/v1/query?query=up", "/api/v1/releases", "/metrics", "/api/v1/admin/status"] {
        assert_eq!(server.json(path).await.0, StatusCode::UNAUTHORIZED, "{path}");
        let shown = answer(server.get(path).bearer_auth(&token)).await;
        assert_eq!(shown.0, StatusCode::FORBIDDEN, "{path} {}", shown.1);
    }
    assert_eq!(server.json("/livez").await.0, StatusCode::OK);
    let body = json!({ "streams": [] });
    let push = server.post("/loki/api/v1/push").bearer_auth(&token).json(&body).send().await.unwrap();
    assert!(push.status().is_success(), "{}", push.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_server_is_restored_by_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let config = path("greylight.toml");
    std::fs::write(&config, format!("[store]\nbackup_folder = {:?}\n", path("backups"))).unwrap();
    let t = now_ms() - 60_000;
    let server = Server::start(path("data").as_ref(), &["--config", &config]).await;
    assert!(server.write(&[("__name__", "m")], &[(t, 1.0), (t + 1000, 2.0)]).await.is_success());
    assert!(push_loki(&server, &[(t, "order 17 failed")]).await.is_success());
    let (code, out, error) = run(&["store", "backup", "daily", "--server", &server.url]);
    assert_eq!(code, 0, "{error}");
    assert!(serde_json::from_str::<Value>(&out).unwrap()["segments"].as_u64() >= Some(2), "{out}");
    assert!(server.write(&[("__name__", "m")], &[(t + 2000, 3.0)]).await.is_success());
    let (status, refused) =
        answer(server.post("/api/v1/admin/backup").json(&json!({"path": "../elsewhere"}))).await;
    assert_eq!((status, &refused["error"]["kind"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
    let (code, _, error) = run(&["store", "backup", "daily", "--server", &server.url]);
    assert!(code == 3 && error.contains("not empty"), "{code} {error}");
    server.kill();
    let (code, out, error) = run(&["store", "restore", &path("backups/daily"), "--data", &path("again")]);
    assert!(code == 0 && out.contains("0 problems"), "{out} {error}");
    let server = Server::start(path("again").as_ref(), &[]).await;
    assert_eq!(server.promql("count_over_time(m[5m])", t + 3000).await[0].1, "2");
    assert_eq!(bodies(&server, "").await, ["order 17 failed"]);
    let delete = "/api/v1/admin/tsdb/delete_series";
    let one = with_query(delete, &[("match[]", "m"), ("end", &format!("{}.{:03}", t / 1000, t % 1000))]);
    assert_eq!(answer(server.post(&one)).await.0, StatusCode::NO_CONTENT);
    let (status, refused) = answer(server.post(delete)).await;
    assert_eq!((status, &refused["errorType"]), (StatusCode::BAD_REQUEST, &json!("bad_data")));
    assert_eq!(server.promql("count_over_time(m[5m])", t + 3000).await[0].1, "1");
    let delete = "/api/v1/admin/logs/delete";
    let (status, refused) = answer(server.post(delete)).await;
    assert_eq!((status, &refused["error"]["field"]), (StatusCode::BAD_REQUEST, &json!("query")));
    for (query, n) in [("nobody", 0), ("order 17", 1), ("order 17", 0)] {
        let (status, deleted) = answer(server.post(delete).json(&json!({ "query": query }))).await;
        assert_eq!((status, &deleted["records"]), (StatusCode::OK, &json!(n)), "{deleted}");
    }
    assert_eq!(bodies(&server, "").await, [""; 0]);
    assert!(server.terminate().success());
    // The folder of the killed server has the third sample in its log, and so has its backup.
    let (code, _, error) = run(&["store", "backup", &path("cold"), "--data", &path("data")]);
    assert_eq!(code, 0, "{error}");
    let (code, _, error) = run(&["store", "restore", &path("cold"), "--data", &path("third")]);
    assert_eq!(code, 0, "{error}");
    let server = Server::start(path("third").as_ref(), &[]).await;
    assert_eq!(server.promql("count_over_time(m[5m])", t + 3000).await[0].1, "3");
    assert!(server.terminate().success());
}
