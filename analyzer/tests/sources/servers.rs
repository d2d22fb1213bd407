//! Servers that answer as Loki and Elasticsearch document it, with their limits, and with faults where asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use greylight_analyzer::SourceKind;
use greylight_query::promql::syntax::{SyntaxLimits, parse_selector};
use greylight_store::model::LogRecord;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What a request meets in the place of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Status(u16),
    /// The connection ends within the body.
    Cut,
}

struct Shelf {
    records: Mutex<Vec<LogRecord>>,
    faults: Mutex<VecDeque<Fault>>,
    n_paged: AtomicUsize,
}

/// A server on a port of its own.
pub(super) struct Server {
    pub(super) url: String,
    shelf: Arc<Shelf>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(kind: SourceKind, records: Vec<LogRecord>) -> Self {
        let shelf = Arc::new(Shelf {
            records: Mutex::new(records),
            faults: Mutex::default(),
            n_paged: AtomicUsize::new(0),
        });
        let app = match kind {
            SourceKind::Loki => Router::new().route("/pre/fix/loki/api/v1/query_range", get(loki)),
            _ => Router::new().route("/pre/fix/{index}/_search", post(elastic)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pre/fix", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let (app, ended) = (app.with_state(shelf.clone()), stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(ended).await.unwrap();
        });
        Self { url, shelf, stop, task }
    }

    /// The next requests meet these.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shelf.faults.lock().extend(faults);
    }

    pub(super) fn n_faults_left(&self) -> usize {
        self.shelf.faults.lock().len()
    }

    /// Answers that had as many records as one may have.
    pub(super) fn n_paged(&self) -> usize {
        self.shelf.n_paged.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, records: Vec<LogRecord>) {
        self.shelf.records.lock().extend(records);
    }

    /// Ends it and returns where it was.
    pub(super) async fn end(self) -> String {
        self.stop.cancel();
        self.task.await.unwrap();
        self.url
    }
}

impl Shelf {
    /// Gives a fault, or what is right.
    fn answer(&self, right: impl FnOnce() -> Result<Value, String>) -> Response {
        match self.faults.lock().pop_front() {
            Some(Fault::Status(status)) => {
                let status = StatusCode::from_u16(status).unwrap();
                return (status, format!("no:\n status {}", status.as_u16())).into_response();
            }
            Some(Fault::Cut) => {
                let parts =
                    [Ok(Bytes::from_static(b"{\"status\":\"succ")), Err(std::io::Error::other("cut"))];
                return Body::from_stream(futures::stream::iter(parts)).into_response();
            }
            None => {}
        }
        match right() {
            Ok(answer) => Json(answer).into_response(),
            Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
        }
    }

    /// The oldest of the records that are wanted.
    fn page(&self, limit: usize, wanted: impl Fn(&LogRecord) -> bool) -> Vec<LogRecord> {
        let mut found: Vec<LogRecord> =
            self.records.lock().iter().filter(|one| wanted(one)).cloned().collect();
        found.sort_by_key(|one| one.time);
        if found.len() >= limit {
            self.n_paged.fetch_add(1, Ordering::Relaxed);
            found.truncate(limit);
        }
        found
    }
}

async fn loki(
    State(shelf): State<Arc<Shelf>>,
    headers: HeaderMap,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Response {
    shelf.answer(|| {
        if headers.get("x-scope-orgid").is_none_or(|org| org != "team") {
            return Err("no org id".into());
        }
        let number = |name: &str| query[name].parse::<i64>().map_err(|e| format!("{name}: {e}"));
        let (start, end, limit) = (number("start")?, number("end")?, number("limit")?);
        if limit > 5000 {
            return Err("max entries limit per query exceeded".into());
        }
        let matchers =
            parse_selector(&query["query"], &SyntaxLimits::default()).map_err(|e| format!("parse error: {e}"))?;
        if query["direction"] != "forward" || matchers.iter().all(|one| one.matches_empty()) {
            return Err("queries require at least one matcher that is not empty".into());
        }
        let is_apart = headers.contains_key("x-loki-response-encoding-flags");
        let page = shelf.page(usize::try_from(limit).unwrap(), |one| {
            (start..end).contains(&one.time.as_nanos()) && matchers.iter().all(|m| m.matches_labels(&one.labels))
        });
        let mut streams = std::collections::BTreeMap::new();
        for one in &page {
            let value = json!([one.time.as_nanos().to_string(), one.body, { "structuredMetadata": { "k": "v" } }]);
            streams.entry(&one.labels).or_insert_with(Vec::new).push(value);
        }
        let result: Vec<Value> = streams
            .into_iter()
            .map(|(labels, values)| {
                let stream: std::collections::BTreeMap<&str, &str> = labels.iter().collect();
                json!({ "stream": stream, "values": values })
            })
            .collect();
        assert!(is_apart);
        Ok(json!({ "status": "success", "data": { "resultType": "streams", "encodingFlags": ["categorize-labels"],
            "result": result, "stats": { "summary": {} } } }))
    })
}

/// A document as Filebeat sends it.
fn document(one: &LogRecord) -> Value {
    let label = |name: &str| one.labels.get(name).unwrap();
    json!({ "@timestamp": one.time.to_string(), "message": one.body, "log": { "level": one.severity_text },
        "service": { "name": label("service_name"), "version": label("service_version") },
        "host": { "name": label("instance") }, "labels": { "job": label("job") } })
}

/// Tells whether a document meets one filter of a question, as far as questions of ours go.
fn meets(document: &Value, filter: &Value) -> bool {
    filter["bool"]["should"].as_array().unwrap().iter().any(|one| {
        let (field, value) = one["term"].as_object().unwrap().iter().next().unwrap();
        let found = field.split('.').try_fold(document, |at, name| at.get(name));
        found.is_some_and(|found| found == value)
    })
}

async fn elastic(State(shelf): State<Arc<Shelf>>, Json(question): Json<Value>) -> Response {
    shelf.answer(|| {
        let size = question["size"].as_u64().and_then(|size| usize::try_from(size).ok()).ok_or("no size")?;
        if size > 10_000 {
            return Err("Result window is too large".into());
        }
        if question["sort"][0]["@timestamp"]["order"] != "asc" {
            return Err("not sorted".into());
        }
        let filters = question["query"]["bool"]["filter"].as_array().ok_or("no filter")?;
        let range = &filters[0]["range"]["@timestamp"];
        let at = |name: &str| {
            let time: jiff::Timestamp = range[name].as_str().ok_or("no time")?.parse().map_err(|_| "no time")?;
            i64::try_from(time.as_nanosecond()).map_err(|_| "no time")
        };
        let (from, to) = (at("gte")?, at("lt")?);
        let page = shelf.page(size, |one| {
            let document = document(one);
            (from..to).contains(&one.time.as_nanos()) && filters[1..].iter().all(|one| meets(&document, one))
        });
        let hit = |one: &LogRecord| {
            let name = named(&format!("{}{}{}", one.time, one.labels, one.body));
            json!({ "_index": "logs-1", "_id": name, "_score": null, "_source": document(one),
                "sort": [one.time.as_nanos()] })
        };
        Ok(json!({ "took": 3, "timed_out": false, "_shards": { "total": 1, "successful": 1, "skipped": 0, "failed": 0 },
            "hits": { "max_score": null, "hits": page.iter().map(hit).collect::<Vec<_>>() } }))
    })
}

/// A name for a document.
fn named(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..20].to_owned()
}
