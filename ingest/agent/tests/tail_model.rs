//! Files that grow, rotate in every way and are read by an agent that crashes: each line comes once.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use greylight_agent::clock::{Clock, ManualClock, Timestamp};
use greylight_agent::counters::Counters;
use greylight_agent::disk::{FailingDisk, MemoryDisk};
use greylight_agent::docker::LabelRules;
use greylight_agent::queue::{Order, Queue, QueueOptions, WhenFull};
use greylight_agent::tail::{LogSourceConfig, TailConfig, TailParts, Tailer, Turn};
use greylight_wire::compress::Encoding;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use parking_lot::Mutex;
use proptest::prelude::*;
use prost::Message;

/// One log file, its rotated copies, and the agent that reads them.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) disk: FailingDisk,
    memory: MemoryDisk,
    clock: ManualClock,
    tailer: Option<Tailer>,
    ledger: Option<Arc<Mutex<Queue>>>,
    pub(crate) source: LogSourceConfig,
    pub(crate) counters: Arc<Counters>,
    delivered: Vec<LogRecord>,
    n_rotations: usize,
    n_lines: usize,
    /// The current file has been seen by a running agent.
    seen: bool,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let memory = MemoryDisk::default();
        let disk = FailingDisk::new(Arc::new(memory.clone()));
        let base = dir.path().display().to_string();
        let source = LogSourceConfig {
            paths: vec![format!("{base}/app.log"), format!("{base}/app.log.[0-9]*")],
            ..LogSourceConfig::default()
        };
        let mut bench = Self {
            dir,
            disk,
            memory,
            clock: ManualClock::at(Timestamp::from_millis(1_795_255_200_000)),
            tailer: None,
            ledger: None,
            source,
            counters: Arc::default(),
            delivered: Vec::new(),
            n_rotations: 0,
            n_lines: 0,
            seen: false,
        };
        bench.start();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start(&mut self) {
        let options = QueueOptions { segment_bytes: 4096, bytes_max: 1 << 30, when_full: WhenFull::Refuse };
        let queue =
            Queue::open(Arc::new(self.disk.clone()), Path::new("/q"), options).expect("the queue opens");
        let ledger = Arc::new(Mutex::new(queue));
        let parts = TailParts {
            agent: "host-1".to_owned(),
            labels: BTreeMap::new(),
            container_labels: LabelRules::default(),
            ledger: Arc::clone(&ledger),
            compression: Encoding::Identity,
            clock: Arc::new(self.clock.clone()),
            counters: Arc::clone(&self.counters),
        };
        let config = TailConfig { batch_bytes: 2000, ..TailConfig::default() };
        self.tailer = Some(
            Tailer::new(config, std::slice::from_ref(&self.source), parts).expect("the source is right"),
        );
        self.ledger = Some(ledger);
    }

    pub(crate) fn crash(&mut self) {
        self.tailer = None;
        self.ledger = None;
        self.memory.crash(|_| 0);
        self.start();
    }

    pub(crate) fn append(&mut self, text: &str) {
        self.append_bytes(text.as_bytes());
    }

    pub(crate) fn append_bytes(&mut self, bytes: &[u8]) {
        let path = self.path("app.log");
        // A file without a byte is none that anyone can have seen.
        self.seen &= std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0);
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the log file opens");
        file.write_all(bytes).expect("the log file takes bytes");
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.clock.advance(span);
        for _ in 0..100 {
            match self.tailer.as_mut().expect("it runs").turn() {
                Turn::Busy => {}
                Turn::Rest | Turn::Blocked => break,
            }
        }
        // Folders are looked at once a second.
        self.seen |= span >= Duration::from_secs(1);
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..40 {
            self.pass(Duration::from_millis(500));
        }
    }

    /// Takes what is queued, as a server would.
    pub(crate) fn deliver(&mut self) {
        let mut ledger = self.ledger.as_ref().expect("it runs").lock();
        while let Some(batch) = ledger.take(Order::OldestFirst) {
            let request =
                ExportLogsServiceRequest::decode(batch.payload.as_slice()).expect("a batch is OTLP");
            ledger.ack(batch.seq);
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            self.delivered.extend(scopes.flat_map(|scope| scope.log_records));
        }
        ledger.close();
    }

    pub(crate) fn bodies(&mut self) -> Vec<String> {
        self.deliver();
        self.delivered.iter().map(body).collect()
    }

    pub(crate) fn records(&mut self) -> &[LogRecord] {
        self.deliver();
        &self.delivered
    }

    fn write_lines(&mut self, kinds: &[u8]) {
        for kind in kinds {
            let n = self.n_lines;
            self.n_lines += 1;
            let long = "x".repeat(n * 37 % 300);
            self.append(&match kind {
                0 => format!("plain #{n}# {long}\n"),
                1 => format!("    indented #{n}#\n"),
                _ => format!("{{\"n\":\"#{n}#\",\"pad\":\"{long}\"}}\n"),
            });
        }
    }

    fn shift(&self, name: impl Fn(usize) -> String) {
        for k in (1..20).rev() {
            let (from, to) = (self.path(&name(k)), self.path(&name(k + 1)));
            if from.exists() {
                rename(&from, &to);
            }
        }
    }

    fn rotate(&mut self, how: Rotation) {
        let current = self.path("app.log");
        if !current.exists() {
            return;
        }
        self.n_rotations += 1;
        let outside = format!("old-{}", self.n_rotations);
        match how {
            Rotation::RenameInside => {
                self.shift(|k| format!("app.log.{k}"));
                rename(&current, &self.path("app.log.1"));
            }
            Rotation::RenameOutside => {
                self.look();
                rename(&current, &self.path(&outside));
            }
            Rotation::CopyInside => {
                self.shift(|k| format!("app.log.{k}"));
                std::fs::copy(&current, self.path("app.log.1")).expect("a copy is made");
                truncate(&current);
            }
            Rotation::CopyOutside => {
                self.look();
                let copy = self.path(&format!("app.log-{outside}"));
                std::fs::copy(&current, copy).expect("a copy is made");
                truncate(&current);
            }
            Rotation::Truncate => {
                // What was not read when a file is truncated is gone, for anyone.
                self.settle();
                truncate(&current);
            }
        }
        self.seen = false;
    }

    /// A file that no pattern finds after its rotation must have been seen before.
    fn look(&mut self) {
        if !self.seen {
            self.pass(Duration::from_secs(1));
        }
    }

    fn check_all_once(&mut self) {
        self.append("the end\n");
        self.settle();
        let all = self.bodies().join("\n");
        let n_lines = self.n_lines;
        for n in 0..n_lines {
            let count = all.matches(&format!("#{n}#")).count();
            assert_eq!(count, 1, "line {n} of {n_lines} came {count} times\n{all}");
        }
        let mut uids: Vec<String> =
            self.delivered.iter().map(|record| attribute(record, "log.record.uid")).collect();
        let n_records = uids.len();
        uids.sort();
        uids.dedup();
        assert_eq!(uids.len(), n_records, "two records have one identity");
    }
}

fn rename(from: &Path, to: &Path) {
    #[expect(clippy::disallowed_methods, reason = "a test rotates as logrotate does")]
    std::fs::rename(from, to).expect("a log file is renamed");
}

fn truncate(path: &Path) {
    OpenOptions::new().write(true).truncate(true).open(path).expect("a log file is truncated");
}

pub(crate) fn body(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("a body is text, not {other:?}"),
    }
}

pub(crate) fn attribute(record: &LogRecord, name: &str) -> String {
    let found = record.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}

#[derive(Clone, Copy, Debug)]
enum Rotation {
    RenameInside,
    RenameOutside,
    CopyInside,
    CopyOutside,
    Truncate,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Pass(u64),
    Rotate(Rotation),
    Crash,
    Fail(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rotation = prop_oneof![
        Just(Rotation::RenameInside),
        Just(Rotation::RenameOutside),
        Just(Rotation::CopyInside),
        Just(Rotation::CopyOutside),
        Just(Rotation::Truncate),
    ];
    let step = prop_oneof![
        6 => proptest::collection::vec(0_u8..3, 1..12).prop_map(Step::Write),
        4 => (1_u64..3000).prop_map(Step::Pass),
        2 => rotation.prop_map(Step::Rotate),
        1 => Just(Step::Crash),
        1 => (0_u64..6).prop_map(Step::Fail),
    ];
    proptest::collection::vec(step, 1..60)
}

fn run(steps: Vec<Step>) {
    let mut bench = Bench::new();
    for step in steps {
        match step {
            Step::Write(kinds) => bench.write_lines(&kinds),
            Step::Pass(ms) => bench.pass(Duration::from_millis(ms)),
            Step::Rotate(how) => bench.rotate(how),
            Step::Crash => bench.crash(),
            Step::Fail(writes) => {
                // What the ledger did not take was seen by nobody, should the agent crash now.
                let seen = bench.seen;
                bench.disk.fail_after(writes);
                bench.pass(Duration::from_secs(1));
                bench.disk.heal();
                bench.seen = seen;
            }
        }
    }
    bench.check_all_once();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_line_comes_once(steps in steps()) {
        run(steps);
    }
}

#[test]
fn the_clock_of_a_bench_moves() {
    let mut bench = Bench::new();
    let before = bench.clock.now();
    bench.pass(Duration::from_secs(1));
    assert!(bench.clock.now() > before);
}
