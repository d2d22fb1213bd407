//! The whole agent against a small server: what it scrapes and follows arrives, whatever the server answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use greylight_agent::clock::SystemClock;
use greylight_agent::{Agent, AgentConfig, AgentHandle};
use greylight_wire::compress::{Caps, Encoding, decode};
use greylight_wire::number::is_stale_nan;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::server::{Request, Server};
use crate::tail_model::{attribute, body};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    t_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    family: String,
}

fn write_request(request: &Request) -> Option<WriteRequest> {
    if request.path != "/api/v1/write" {
        return None;
    }
    assert!(request.head.contains("content-encoding: snappy"), "{}", request.head);
    let caps = Caps { decoded_bytes_max: 1 << 26, ratio_max: 1 << 20 };
    let body = decode(Encoding::Snappy, &request.body, caps).expect("a request is snappy");
    Some(WriteRequest::decode(body.as_slice()).expect("a request is remote write"))
}

/// Returns `name{labels} value` of each sample; stale markers show as `stale`.
fn samples(requests: &[Request]) -> Vec<String> {
    let mut shown = Vec::new();
    for series in requests.iter().filter_map(write_request).flat_map(|request| request.series) {
        let labels: Vec<String> =
            series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        assert!(labels.is_sorted(), "{labels:?}");
        for sample in series.samples {
            let value =
                if is_stale_nan(sample.value) { "stale".to_owned() } else { sample.value.to_string() };
            shown.push(format!("{} {value}", labels.join(",")));
        }
    }
    shown
}

fn bodies(requests: &[Request]) -> Vec<String> {
    let mut bodies = Vec::new();
    for request in requests.iter().filter(|request| request.path == "/v1/logs") {
        let decoded = ExportLogsServiceRequest::decode(request.body.as_slice()).expect("a request is OTLP");
        for scope in decoded.resource_logs.iter().flat_map(|resource| &resource.scope_logs) {
            for record in &scope.log_records {
                assert_eq!(attribute(record, "log.record.uid").len(), 32);
                bodies.push(body(record));
            }
        }
    }
    bodies
}

async fn start(dir: &Path, server: &Server, more: &str) -> (AgentHandle, CancellationToken) {
    let text = format!(
        "[agent]\nname = \"host-1\"\nlabels = {{ track = \"none\" }}\ndata = \"{dir}/data\"\nown_metrics = \"0s\"\nhost.enabled = false\n\
         container.enabled = false\n[agent.server]\nurl = \"{url}\"\ncompression = \"none\"\ntenant = \"shop\"\n\
         token = \"s3cret\"\n[agent.tail]\npoll = \"20ms\"\nflush = \"20ms\"\ndiscovery = \"250ms\"\n{more}",
        dir = dir.display(),
        url = server.url(),
    );
    let config = AgentConfig::parse(&text).expect("the settings are right");
    let shutdown = CancellationToken::new();
    let clock = Arc::new(SystemClock::default());
    let handle = Agent::start(config, clock, shutdown.clone()).await.expect("the agent starts");
    (handle, shutdown)
}

fn scrape(server: &Server, dir: &Path) -> String {
    format!(
        "[[agent.scrape]]\njob = \"cart\"\ninterval = \"250ms\"\nrefresh = \"100ms\"\n\
         target_files = [\"{dir}/targets.json\"]\n\
         [[agent.scrape.targets]]\ntargets = [\"{address}\"]\nlabels = {{ track = \"canary\" }}\n",
        dir = dir.display(),
        address = server.address,
    )
}

fn logs(dir: &Path) -> String {
    format!(
        "[[agent.logs]]\npaths = [\"{}/*.log\"]\nlabels = {{ service_name = \"cart\" }}\nmultiline_wait = \"50ms\"\n",
        dir.display()
    )
}

fn write(path: &Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test writes what the agent only reads")]
    std::fs::write(path, text).expect("the file is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_s_samples_arrive_and_end_with_stale_markers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.show(Some("# TYPE requests_total counter\nrequests_total{code=\"200\"} 5\ngone 1\n"));
    let (handle, shutdown) = start(dir.path(), &server, &scrape(&server, dir.path())).await;
    let labels = format!("instance={},job=cart,track=canary", server.address);
    let has = |wanted: String| {
        let server = server.clone();
        async move { server.until(|requests| samples(requests).contains(&wanted).then_some(())).await }
    };
    has(format!("__name__=requests_total,code=200,{labels} 5")).await;
    has(format!("__name__=up,{labels} 1")).await;
    has(format!("__name__=scrape_samples_scraped,{labels} 2")).await;
    server.show(Some("requests_total{code=\"200\"} 6\n"));
    has(format!("__name__=gone,{labels} stale")).await;
    server.show(None);
    has(format!("__name__=up,{labels} 0")).await;
    has(format!("__name__=requests_total,code=200,{labels} stale")).await;
    // Another target comes by file, and goes again.
    server.show(Some("alive 1\n"));
    let file = dir.path().join("targets.json");
    write(&file, &format!("[{{\"targets\":[\"{}\"],\"labels\":{{\"track\":\"file\"}}}}]", server.address));
    let labels = format!("instance={},job=cart,track=file", server.address);
    has(format!("__name__=alive,{labels} 1")).await;
    write(&file, "[]");
    has(format!("__name__=alive,{labels} stale")).await;
    has(format!("__name__=up,{labels} stale")).await;
    server
        .until(|requests| {
            let mut all = requests.iter().filter_map(write_request).flat_map(|request| request.metadata);
            all.any(|metadata| metadata.family == "requests_total" && metadata.kind == 1).then_some(())
        })
        .await;
    shutdown.cancel();
    handle.join().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_must_wait_comes_again_as_it_was() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.answer(&[(503, "Retry-After: 0\r\n"), (429, ""), (401, "")]);
    write(&dir.path().join("a.log"), "one\ntwo\n");
    let (handle, shutdown) = start(dir.path(), &server, &logs(dir.path())).await;
    let sent = server.until(|requests| (requests.len() >= 4).then(|| requests.to_vec())).await;
    assert!(sent.iter().all(|request| request.body == sent[0].body), "the same batch came in other bytes");
    assert!(
        sent[0].head.contains("x-scope-orgid: shop") && sent[0].head.contains("authorization: bearer s3cret")
    );
    assert!(sent[0].head.contains("x-greylight-agent: host-1"), "{}", sent[0].head);
    let whole =
        server.until(|requests| (bodies(&requests[3..]).len() >= 2).then(|| bodies(&requests[3..]))).await;
    assert_eq!(whole, ["one", "two"]);
    assert_eq!(handle.counters().send_retries.get(), 3);
    shutdown.cancel();
    handle.join().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_is_dropped_and_counted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.answer(&[(400, "")]);
    let path = dir.path().join("a.log");
    write(&path, "{\"one\":1}\n");
    let (handle, shutdown) = start(dir.path(), &server, &logs(dir.path())).await;
    server.until(|requests| (!requests.is_empty()).then_some(())).await;
    write(&path, "{\"one\":1}\n{\"two\":2}\n");
    let second =
        server.until(|requests| requests.get(1).map(|request| bodies(std::slice::from_ref(request)))).await;
    assert_eq!(second, ["{\"two\":2}"]);
    assert_eq!(handle.counters().logs_refused.get(), 1);
    shutdown.cancel();
    handle.join().await;
}

fn accepted(requests: &[Request]) -> Vec<Request> {
    requests.iter().filter(|request| request.status < 300).cloned().collect()
}

async fn until_drained(handle: &AgentHandle) {
    let drained = async {
        while !handle.is_drained() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), drained).await.expect("the queue empties");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_too_many_for_one_request_are_sent_in_smaller_ones() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.refuse_above(2000);
    // A part that must wait goes on where it was; the fourth request that fits is told to come again.
    server.answer(&[(204, ""), (204, ""), (204, ""), (503, "Retry-After: 0\r\n")]);
    let giant = "x".repeat(3000);
    let mut lines: Vec<String> = (0..100).map(|n| format!("order {n} paid")).collect();
    write(&dir.path().join("a.log"), &format!("{}\n{giant}\nlast\n", lines.join("\n")));
    let (handle, shutdown) = start(dir.path(), &server, &logs(dir.path())).await;
    lines.push("last".to_owned());
    server.until(|requests| (bodies(&accepted(requests)).len() >= 101).then_some(())).await;
    until_drained(&handle).await;
    let all = server.until(|requests| Some(requests.to_vec())).await;
    assert_eq!(bodies(&accepted(&all)), lines, "each record came once, in order");
    assert!(all.iter().any(|request| request.status == 413), "nothing was too large");
    let counters = handle.counters();
    assert_eq!(
        (counters.logs_sent.get(), counters.logs_oversized.get(), counters.logs_refused.get()),
        (101, 1, 0)
    );
    assert_eq!(counters.send_retries.get(), 1);
    shutdown.cancel();
    handle.join().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_too_many_for_one_request_are_sent_in_smaller_ones() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.refuse_above(300);
    let page: String = (0..40).map(|n| format!("family_{n}_of_many_{} {n}\n", "y".repeat(n))).collect();
    let giant = format!("giant{{text=\"{}\"}} 1\n", (0..400).map(|n| format!("{n:x}")).collect::<String>());
    server.show(Some(&(page + &giant)));
    let (handle, shutdown) = start(dir.path(), &server, &scrape(&server, dir.path())).await;
    for n in 0..40 {
        let name = format!("__name__=family_{n}_of_many_");
        let came = |requests: &[Request]| samples(&accepted(requests)).iter().any(|s| s.starts_with(&name));
        server.until(|requests| came(requests).then_some(())).await;
    }
    let counters = handle.counters();
    let giant_is_refused = async {
        while counters.metrics_oversized.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), giant_is_refused).await.expect("too large on its own");
    shutdown.cancel();
    assert_eq!(counters.metrics_refused.get(), 0);
    let all = server.until(|requests| Some(requests.to_vec())).await;
    assert!(!samples(&accepted(&all)).iter().any(|s| s.starts_with("__name__=giant")));
    handle.join().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_no_success() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.show(Some("a page"));
    server.answer(&[(302, "Location: /login\r\nRetry-After: 0\r\n"), (405, "Retry-After: 0\r\n")]);
    write(&dir.path().join("a.log"), "one\n");
    let (handle, shutdown) = start(dir.path(), &server, &logs(dir.path())).await;
    let last = server.until(|requests| accepted(requests).pop()).await;
    assert_eq!(bodies(&[last]), ["one"]);
    until_drained(&handle).await;
    assert_eq!((handle.counters().send_retries.get(), handle.counters().logs_sent.get()), (2, 1));
    shutdown.cancel();
    handle.join().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_is_sent_by_the_next_agent() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    server.answer(&[(503, ""); 50]);
    write(&dir.path().join("a.log"), "one\n");
    let (handle, shutdown) = start(dir.path(), &server, &logs(dir.path())).await;
    let first = server.until(|requests| requests.first().cloned()).await;
    let second = Agent::start(
        AgentConfig::parse(&format!("[agent]\ndata = \"{}/data\"\n", dir.path().display()))
            .expect("right settings"),
        Arc::new(SystemClock::default()),
        CancellationToken::new(),
    );
    assert!(second.await.is_err(), "two agents share a folder");
    shutdown.cancel();
    handle.join().await;
    let reachable = Server::start().await;
    let (handle, shutdown) = start(dir.path(), &reachable, &logs(dir.path())).await;
    let again = reachable.until(|requests| requests.first().cloned()).await;
    assert_eq!(again.body, first.body);
    assert_eq!(bodies(&[again]), ["one"]);
    until_drained(&handle).await;
    shutdown.cancel();
    handle.join().await;
    let none = Server::start().await;
    let (handle, shutdown) = start(dir.path(), &none, &logs(dir.path())).await;
    shutdown.cancel();
    handle.join().await;
    none.until(|requests| requests.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_metrics_carry_the_labels_that_dashboards_select() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start().await;
    let text = format!(
        "[agent]\nname = \"host-1\"\ndata = \"{}/data\"\nlabels = {{ zone = \"edge-1\" }}\n\
         [agent.server]\nurl = \"{}\"\n",
        dir.path().display(),
        server.url()
    );
    let shutdown = CancellationToken::new();
    let config = AgentConfig::parse(&text).expect("the settings are right");
    let handle =
        Agent::start(config, Arc::new(SystemClock::default()), shutdown.clone()).await.expect("it starts");
    let base = "instance=host-1,job=node-exporter";
    for wanted in [
        format!("__name__=node_cpu_seconds_total,cpu=0,{base},mode=idle,zone=edge-1 "),
        format!("__name__=up,{base},zone=edge-1 1"),
        format!("__name__=node_load1,{base},zone=edge-1 "),
        "__name__=greylight_agent_samples_total,instance=host-1,job=greylight-agent".to_owned(),
    ] {
        server.until(|requests| samples(requests).iter().any(|s| s.starts_with(&wanted)).then_some(())).await;
    }
    shutdown.cancel();
    handle.join().await;
}
