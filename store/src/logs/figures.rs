//! How many bytes log lines take, and how long work on them lasts. Runs when `GREYLIGHT_LOG_LINES`
//! says how many; in a release build the times mean something.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::append::LogBatch;
use crate::disk::{Disk, MemDisk};
use crate::metrics::Target;
use crate::metrics::segment::window_of;
use crate::model::{Labels, LogRecord, Random, SeededRandom, SystemClock, TenantId, TimeRange, Timestamp};
use crate::read::{Budget, Limits};
use crate::segment::SegmentIds;

const START_NS: i64 = 1_767_225_600_000_000_000;

/// Seconds that this thread has worked, so that others on the machine do not count.
fn worked() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = worked();
    work();
    worked() - start
}

/// JSON lines of about 212 bytes from twenty services on ten hosts, each with a random trace id:
/// the form in which log stores are compared.
struct Lines {
    random: SeededRandom,
    t: i64,
}

impl Lines {
    fn below(&self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn pick(&self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len() as u64) as usize]
    }

    fn next(&mut self) -> LogRecord {
        self.t += 1000 + self.below(6_999_000) as i64;
        let (service, host) = (format!("svc-{}", self.below(20)), format!("host_{}", self.below(10)));
        let user = 1 + self.below(199_999);
        let ms = ((self.below(1_000_000) as f64 / 1e6).powi(4) * 20_000.0).round() / 10.0;
        let (level, msg) = self.message(&service, user, ms);
        let body = serde_json::json!({
            "ts": self.t / 1_000_000,
            "level": level,
            "service": service,
            "host": host,
            "trace_id": format!("{:016x}{:016x}", self.random.next_u64(), self.random.next_u64()),
            "duration_ms": ms,
            "user_id": user,
            "message": msg,
        });
        LogRecord {
            time: Timestamp::from_nanos(self.t),
            observed_time: Timestamp::from_nanos(self.t),
            severity_number: if level == "error" { 17 } else { 9 },
            severity_text: String::new(),
            body: body.to_string(),
            labels: Labels::from_pairs([("service", service), ("host", host)]).unwrap(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            uid: None,
        }
    }

    fn message(&self, service: &str, user: u64, ms: f64) -> (&'static str, String) {
        match self.below(100) {
            0..=54 => {
                let verb = self.pick(&["GET", "GET", "GET", "POST", "PUT", "DELETE"]);
                let what = self.pick(&["orders", "users", "carts", "items", "payments", "sessions"]);
                let code = self.pick(&["200", "200", "200", "200", "201", "304", "404"]);
                let (v, n) = (1 + self.below(3), 1 + self.below(999_999));
                ("info", format!("{verb} /api/v{v}/{what}/{n} {code} {ms}ms"))
            }
            55..=69 => {
                let (how, what) =
                    (self.pick(&["hit", "miss", "evict"]), self.pick(&["profile", "price", "stock"]));
                ("debug", format!("cache {how} for key {service}:{what}:{user} in shard {}", self.below(64)))
            }
            70..=79 => (
                "info",
                format!(
                    "consumed message offset={} partition={} topic={} lag={}",
                    self.below(90_000_000),
                    self.below(48),
                    self.pick(&["events", "billing", "audit"]),
                    self.below(5000)
                ),
            ),
            80..=87 => {
                let agent = self.pick(&[
                    "Mozilla/5.0 (X11; Linux x86_64)",
                    "okhttp/4.9.1",
                    "curl/8.5.0",
                    "Go-http-client/2.0",
                ]);
                let [a, b, c] = [self.below(255), self.below(255), self.below(255)];
                ("info", format!("user {user} logged in from 10.{a}.{b}.{c} agent {agent}"))
            }
            88..=93 => {
                let table = self.pick(&["orders", "invoices", "stock"]);
                let (id, limit) = (1 + self.below(9_999_999), 1 + self.below(499));
                let took = ms * 10.0;
                (
                    "warn",
                    format!("slow query took {took}ms: SELECT * FROM {table} WHERE id = {id} LIMIT {limit}"),
                )
            }
            94..=97 => {
                let up = self.pick(&["inventory:8080", "billing:9000", "auth:7000"]);
                let (took, attempt) = (500 + self.below(4500), 1 + self.below(3));
                ("error", format!("upstream {up} timed out after {took}ms, attempt {attempt} of 3"))
            }
            _ => {
                let why = self.pick(&[
                    "nil pointer dereference",
                    "index out of range [7] with length 3",
                    "context deadline exceeded",
                ]);
                let file = self.pick(&["handler", "store", "client"]);
                let (line, routine) = (10 + self.below(890), 1 + self.below(90_000));
                ("error", format!("panic recovered: {why} at {file}.go:{line} goroutine {routine}"))
            }
        }
    }
}

#[test]
fn figures_of_a_million_lines() {
    let Some(n_lines) = std::env::var("GREYLIGHT_LOG_LINES").ok().and_then(|n| n.parse::<usize>().ok())
    else {
        println!("skipped: GREYLIGHT_LOG_LINES says not how many lines to take");
        return;
    };
    let mut lines = Lines { random: SeededRandom::new(7), t: START_NS };
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
    let target = Target {
        disk: Arc::clone(&disk),
        tenant: TenantId::default(),
        ids: SegmentIds::after(0),
        sequence: 1,
    };
    let templates = Arc::<SharedTemplates>::default();
    let mut logs = TenantLogs {
        head: Arc::new(Head::new(Arc::clone(&templates))),
        frozen: Vec::new(),
        segments: Vec::new(),
        missing: Vec::new(),
        templates,
    };
    let (mut raw, mut wal, mut append, mut seal) = (0, 0.0, 0.0, 0.0);
    for at in (0..n_lines).step_by(2000) {
        let records: Vec<LogRecord> = (0..2000).map(|_| lines.next()).collect();
        raw += records.iter().map(|r| r.body.len()).sum::<usize>();
        let batch = LogBatch { records };
        let mut frame = Vec::new();
        wal += seconds(|| wal_codec::encode(&batch, &mut frame));
        append += seconds(|| _ = logs.head.append_batch(&batch));
        if (at + 2000) % 200_000 == 0 || at + 2000 >= n_lines {
            println!("head {} MB", logs.head.bytes() >> 20);
            let frozen = logs.head.freeze();
            let mut metas = Vec::new();
            seal += seconds(|| metas = segment::write(&target, &frozen, &logs.segments).unwrap());
            logs.segments.extend(metas.into_iter().map(|m| segment::open(&disk, m).unwrap()));
            logs.head = Arc::new(logs.head.successor());
        }
    }
    let each = |s: f64| s * 1e6 / n_lines as f64;
    println!(
        "{:.1} bytes a line; us a line: log {:.2}, head {:.2}, seal {:.2}",
        raw as f64 / n_lines as f64,
        each(wal),
        each(append),
        each(seal)
    );
    let shares = |segments: &[Arc<Segment>]| {
        let of = |file: usize| {
            segments.iter().map(|s| s.meta().files[file].bytes).sum::<u64>() as f64 / raw as f64
        };
        println!("{} segments: rows {:.4} of raw, index {:.4}", segments.len(), of(0), of(1));
    };
    shares(&logs.segments);
    let window = window_of(START_NS / 1_000_000, segment::WINDOW_MS);
    let took = seconds(|| {
        let meta = merge(&target, &logs.segments, window, 1).unwrap();
        logs.segments = vec![segment::open(&disk, meta).unwrap()];
    });
    println!("merge {:.2} us a line", each(took));
    shares(&logs.segments);
    searches(&logs);
}

fn searches(logs: &TenantLogs) {
    let budget = || Budget::new(Limits::default(), Arc::new(SystemClock::default()));
    let select = |text: &str| LogSelect {
        query: Query::parse(text).unwrap(),
        matchers: Vec::new(),
        range: TimeRange::ALL,
    };
    let one = Intervals { start: Timestamp::from_nanos(START_NS), step: Duration::from_secs(1 << 20), n: 1 };
    for round in ["first", "again"] {
        for text in [
            "panic",
            "\"timed out after\"",
            "upstream",
            "u1",
            "1234",
            "duration_ms:>1900",
            "/deadline exceeded at s/",
        ] {
            let mut n = 0;
            let took = seconds(|| {
                n = logs
                    .count(&select(text), one, &[], &budget())
                    .unwrap()
                    .groups
                    .first()
                    .map_or(0, |g| g.total());
            });
            println!("{round}: count {text}: {n} in {:.1} ms", took * 1e3);
        }
        let hours = Intervals { start: one.start, step: Duration::from_secs(3600), n: 2 };
        let took = seconds(|| {
            drop(logs.count(&select("*"), hours, &[GroupBy::Field("level".into())], &budget()).unwrap())
        });
        println!("{round}: count by hour and level in {:.1} ms", took * 1e3);
        let page = PageRequest { order: Order::NewestFirst, limit: 100, after: None };
        let mut last = None;
        let took =
            seconds(|| last = logs.search(&select("level:error"), &page, &budget()).unwrap().records.pop());
        println!("{round}: newest 100 errors in {:.1} ms", took * 1e3);
        let trace = last
            .map(|r| derived_fields(&r.record.body))
            .and_then(|f| f.into_iter().find(|f| f.0 == "trace_id"));
        if let Some((_, crate::model::AttributeValue::String(id))) = trace {
            let took =
                seconds(|| assert_eq!(logs.search(&select(&id), &page, &budget()).unwrap().records.len(), 1));
            println!("{round}: one trace id in {:.1} ms", took * 1e3);
        }
    }
}
