//! Starts everything, and stops it in order: collectors, scrapers and tailer first, then what they have queued is
//! sent for a moment, then the queues are closed.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use greylight_wire::exposition::MetricType;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Content};
use crate::clock::{Clock, Random, SeededRandom};
use crate::collect::container::Containers;
use crate::collect::host::Host;
use crate::config::{AgentConfig, ConfigError};
use crate::counters::{Counters, Kind};
use crate::disk::{Disk, LocalDisk};
use crate::intake::MetricIntake;
use crate::metric::{Collected, Page};
use crate::queue::{Order, Queue, QueueError, QueueOptions, WhenFull};
use crate::scrape::{Job, ScrapeParts};
use crate::ship::Shipper;
use crate::tail::{SourceError, TailParts, Tailer, Turn};

// Collections that wait for the queue; each is a page of samples. When it is full, collectors and scrapers wait.
const COLLECTED_MAX: usize = 64;
// What is queued when the agent stops is sent for this long; the rest is sent after the next start.
const DRAIN: Duration = Duration::from_secs(3);

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its settings cannot be used.
    #[error("settings cannot be used")]
    Config(#[from] ConfigError),
    /// A log source's settings cannot be used.
    #[error("a log source cannot be followed")]
    Source(#[from] SourceError),
    /// A regular expression of its settings is none.
    #[error("a setting of agent.host is no regular expression")]
    Regex(#[from] Box<regex::Error>),
    /// A queue cannot be opened.
    #[error("a queue cannot be opened")]
    Queue(#[from] QueueError),
    /// Its HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    /// Another process has the folder.
    #[error("{0} is in use by another agent")]
    InUse(std::path::PathBuf),
}

/// What an agent is made of besides its settings.
#[derive(Clone, Debug)]
pub struct AgentParts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// Where its queues are.
    pub disk: Arc<dyn Disk>,
}

/// The agent.
#[derive(Debug)]
pub struct Agent;

/// A running agent.
#[derive(Debug)]
pub struct AgentHandle {
    tasks: Vec<JoinHandle<()>>,
    senders: Vec<JoinHandle<()>>,
    shutdown: CancellationToken,
    stop_sending: CancellationToken,
    state: State,
    _lock: Option<std::fs::File>,
}

#[derive(Clone, Debug)]
struct State {
    counters: Arc<Counters>,
    metrics: Arc<Mutex<Queue>>,
    logs: Arc<Mutex<Queue>>,
}

impl Agent {
    /// Starts an agent on the machine's disk; it runs until `shutdown`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if its settings cannot be used or its folder cannot be opened; nothing runs then.
    pub async fn start(
        config: AgentConfig,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Result<AgentHandle, StartError> {
        // Agents that restart together must not draw the same waits.
        let name = xxhash_rust::xxh3::xxh3_64(config.name.as_bytes());
        let random = Arc::new(SeededRandom::new(name ^ clock.now().as_nanos().cast_unsigned()));
        let lock = lock(&config.data)?;
        let parts = AgentParts { clock, random, disk: Arc::new(LocalDisk) };
        let mut handle = Self::start_with(config, parts, shutdown).await?;
        handle._lock = Some(lock);
        Ok(handle)
    }

    /// Starts an agent on any parts.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(
        config: AgentConfig,
        parts: AgentParts,
        shutdown: CancellationToken,
    ) -> Result<AgentHandle, StartError> {
        let queues = {
            let (config, disk) = (config.clone(), Arc::clone(&parts.disk));
            tokio::task::spawn_blocking(move || open_queues(&config, &disk)).await
        };
        let (metrics, logs) = queues.map_err(|e| StartError::Client(e.to_string()))??;
        let state = State { counters: Arc::default(), metrics, logs };
        let start = Start { config, parts, state, shutdown: shutdown.clone() };
        let stop_sending = CancellationToken::new();
        let (bells, senders) = start.senders(&stop_sending)?;
        let tasks = start.producers(bells)?;
        let Start { state, .. } = start;
        Ok(AgentHandle { tasks, senders, shutdown, stop_sending, state, _lock: None })
    }
}

impl AgentHandle {
    /// Waits until the agent has stopped, which it does when its shutdown token is cancelled.
    pub async fn join(self) {
        self.shutdown.cancelled().await;
        for task in self.tasks {
            if let Err(e) = task.await {
                tracing::error!(error = %e, "a task of the agent was broken off");
            }
        }
        self.stop_sending.cancel();
        for sender in self.senders {
            if let Err(e) = sender.await {
                tracing::error!(error = %e, "a sender of the agent was broken off");
            }
        }
    }

    /// Returns the agent's own metrics.
    pub fn metrics(&self) -> Page {
        own_metrics(&self.state)
    }

    /// Returns its counts.
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// Tells whether everything queued so far has been delivered.
    pub fn is_drained(&self) -> bool {
        self.state.metrics.lock().stats().n_pending == 0 && self.state.logs.lock().stats().n_pending == 0
    }
}

/// Takes the lock that keeps two agents out of one folder.
fn lock(data: &std::path::Path) -> Result<std::fs::File, StartError> {
    let failed = |source| QueueError::Disk { doing: "lock", dir: data.to_owned(), source };
    LocalDisk.create_dir(data).map_err(failed)?;
    let path = data.join("lock");
    let file =
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(StartError::InUse(data.to_owned())),
    }
}

type SharedQueue = Arc<Mutex<Queue>>;

fn open_queues(config: &AgentConfig, disk: &Arc<dyn Disk>) -> Result<(SharedQueue, SharedQueue), QueueError> {
    let open = |name: &str, bytes_max, when_full| {
        let options = QueueOptions { segment_bytes: config.queue.segment_bytes, bytes_max, when_full };
        Queue::open(Arc::clone(disk), &config.data.join(name), options)
            .map(|queue| Arc::new(Mutex::new(queue)))
    };
    // Apart, so that a flood of logs cannot push out metrics. A log file is a buffer itself, a metric is gone.
    let metrics = open("metrics", config.queue.metrics_bytes_max, WhenFull::DropOldest)?;
    let logs = open("logs", config.queue.logs_bytes_max, WhenFull::Refuse)?;
    Ok((metrics, logs))
}

/// What is needed while everything is started.
struct Start {
    config: AgentConfig,
    parts: AgentParts,
    state: State,
    shutdown: CancellationToken,
}

struct Bells {
    metrics: Arc<Notify>,
    logs: Arc<Notify>,
}

impl Start {
    fn senders(&self, stop: &CancellationToken) -> Result<(Bells, Vec<JoinHandle<()>>), StartError> {
        let server = &self.config.server;
        let token = server.token.as_ref().map(|token| token.reveal());
        let client = Client::for_sending(&self.config.name, token, server.tenant.as_deref(), server.timeout);
        let client = client.map_err(|e| StartError::Client(e.to_string()))?;
        let bells = Bells { metrics: Arc::default(), logs: Arc::default() };
        let fresh = if self.config.queue.fresh_first { Order::NewestFirst } else { Order::OldestFirst };
        let logs = Content::OtlpLogs(server.compression.encoding());
        let lanes = [
            (&self.state.metrics, server.metrics_url(), Content::RemoteWrite, fresh, &bells.metrics),
            (&self.state.logs, server.logs_url(), logs, Order::OldestFirst, &bells.logs),
        ];
        let senders = lanes.map(|(queue, url, content, order, bell)| {
            let shipper = Shipper {
                queue: Arc::clone(queue),
                client: client.clone(),
                url,
                content,
                order,
                clock: Arc::clone(&self.parts.clock),
                random: Arc::clone(&self.parts.random),
                counters: Arc::clone(&self.state.counters),
                bell: Arc::clone(bell),
                shutdown: stop.clone(),
            };
            tokio::spawn(shipper.run(DRAIN))
        });
        Ok((bells, senders.into()))
    }

    fn producers(&self, bells: Bells) -> Result<Vec<JoinHandle<()>>, StartError> {
        let (out, input) = mpsc::channel(COLLECTED_MAX);
        let mut tasks = Vec::new();
        let tailer = Tailer::new(self.config.tail.clone(), &self.config.logs, self.tail_parts())?;
        let host = Host::new(&self.config.host, &self.config.paths, Arc::clone(&self.parts.clock));
        let host = host.map_err(Box::new)?;
        tasks.push(tokio::spawn(self.intake(input, bells.metrics).run()));
        if self.config.host.enabled {
            tasks.push(self.collect_host(host, out.clone()));
        }
        if self.config.container.enabled {
            tasks.push(self.collect_containers(out.clone()));
        }
        let scraping = Client::for_scraping().map_err(|e| StartError::Client(e.to_string()))?;
        for job in &self.config.scrape {
            let parts = ScrapeParts {
                labels: self.config.labels.clone(),
                client: scraping.clone(),
                clock: Arc::clone(&self.parts.clock),
                counters: Arc::clone(&self.state.counters),
                out: out.clone(),
                shutdown: self.shutdown.clone(),
            };
            tasks.push(tokio::spawn(Job::new(job.clone(), parts).run()));
        }
        if !self.config.logs.is_empty() {
            let poll = self.config.tail.poll;
            let (clock, shutdown) = (Arc::clone(&self.parts.clock), self.shutdown.clone());
            tasks.push(tokio::spawn(follow(tailer, poll, clock, bells.logs, shutdown)));
        }
        if !self.config.own_metrics.is_zero() {
            tasks.push(self.collect_own(out));
        }
        Ok(tasks)
    }

    fn tail_parts(&self) -> TailParts {
        TailParts {
            agent: self.config.name.clone(),
            labels: self.config.labels.clone(),
            container_labels: self.config.container.labels.clone(),
            ledger: Arc::clone(&self.state.logs),
            compression: self.config.server.compression.encoding(),
            clock: Arc::clone(&self.parts.clock),
            counters: Arc::clone(&self.state.counters),
        }
    }

    fn intake(&self, input: mpsc::Receiver<Collected>, bell: Arc<Notify>) -> MetricIntake {
        MetricIntake {
            queue: Arc::clone(&self.state.metrics),
            input,
            flush: self.config.queue.metrics_flush,
            samples_max: self.config.queue.batch_samples,
            clock: Arc::clone(&self.parts.clock),
            counters: Arc::clone(&self.state.counters),
            bell,
            shutdown: self.shutdown.clone(),
        }
    }

    /// Returns the labels of everything that this host shows about itself.
    fn base(&self, job: &str) -> Vec<(Cow<'static, str>, String)> {
        let mut base: Vec<(Cow<'static, str>, String)> =
            vec![("job".into(), job.to_owned()), ("instance".into(), self.config.name.clone())];
        base.extend(self.config.labels.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone())));
        base
    }

    fn every<F>(
        &self,
        interval: Duration,
        job: &str,
        collect: F,
        out: mpsc::Sender<Collected>,
    ) -> JoinHandle<()>
    where
        F: FnMut() -> Page + Send + 'static,
    {
        let task = Periodic {
            interval,
            base: self.base(job),
            clock: Arc::clone(&self.parts.clock),
            counters: Arc::clone(&self.state.counters),
            out,
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(task.run(collect))
    }

    fn collect_host(&self, mut host: Host, out: mpsc::Sender<Collected>) -> JoinHandle<()> {
        let config = &self.config.host;
        self.every(config.interval, &config.job, move || host.collect(), out)
    }

    fn collect_containers(&self, out: mpsc::Sender<Collected>) -> JoinHandle<()> {
        let config = &self.config.container;
        let mut containers = Containers::new(config, &self.config.paths, Arc::clone(&self.parts.clock));
        self.every(config.interval, &config.job, move || containers.collect(), out)
    }

    fn collect_own(&self, out: mpsc::Sender<Collected>) -> JoinHandle<()> {
        let state = self.state.clone();
        self.every(self.config.own_metrics, "greylight-agent", move || own_metrics(&state), out)
    }
}

/// Runs a collector at its interval.
struct Periodic {
    interval: Duration,
    base: Vec<(Cow<'static, str>, String)>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    out: mpsc::Sender<Collected>,
    shutdown: CancellationToken,
}

impl Periodic {
    async fn run<F: FnMut() -> Page + Send + 'static>(self, mut collect: F) {
        let mut next = self.clock.elapsed();
        loop {
            let t_ms = self.clock.now().as_millis();
            let before = self.clock.elapsed();
            // Files are read there, some of which are slow.
            let run = tokio::task::spawn_blocking(move || {
                let page = collect();
                (page, collect)
            });
            let Ok((mut page, back)) = run.await else {
                self.counters.collector_errors.add(1);
                tracing::error!("a collector was broken off, and will not run again");
                return;
            };
            collect = back;
            let took = self.clock.elapsed().saturating_sub(before);
            let n = page.n_samples();
            page.gauge("up", "Whether the collectors could be run.", &[], 1.0);
            page.gauge("scrape_duration_seconds", "How long collecting took.", &[], took.as_secs_f64());
            page.gauge("scrape_samples_scraped", "Samples collected.", &[], n as f64);
            self.counters.samples.add(page.n_samples() as u64);
            if self.out.send(page.finish(t_ms, &self.base)).await.is_err() {
                return;
            }
            next += self.interval;
            let now = self.clock.elapsed();
            while next < now {
                next += self.interval;
            }
            tokio::select! {
                () = self.clock.sleep(next.saturating_sub(now)) => {}
                () = self.shutdown.cancelled() => return,
            }
        }
    }
}

/// Drives the tailer, whose files and disk block.
async fn follow(
    mut tailer: Tailer,
    poll: Duration,
    clock: Arc<dyn Clock>,
    bell: Arc<Notify>,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let run = tokio::task::spawn_blocking(move || {
            let turn = tailer.turn();
            (turn, tailer)
        });
        let Ok((turn, back)) = run.await else {
            tracing::error!("following log files was broken off");
            return;
        };
        tailer = back;
        bell.notify_one();
        if turn != Turn::Busy {
            tokio::select! {
                () = clock.sleep(poll) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
    let _ = tokio::task::spawn_blocking(move || tailer.close()).await;
    bell.notify_one();
}

/// Shows what the agent counts about itself, and what it costs.
fn own_metrics(state: &State) -> Page {
    let mut page = Page::default();
    for (name, kind, help, value) in state.counters.all() {
        let kind = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        page.put(name, kind, help, &[], value as f64);
    }
    for (queue, stats) in [("metrics", state.metrics.lock().stats()), ("logs", state.logs.lock().stats())] {
        let labels = [("queue", queue)];
        let help = "Batches that wait for the server.";
        page.gauge("greylight_agent_queue_batches", help, &labels, stats.n_pending as f64);
        let help = "Bytes of the batches that wait for the server.";
        page.gauge("greylight_agent_queue_pending_bytes", help, &labels, stats.pending_bytes as f64);
        let help = "Bytes of the queue's files.";
        page.gauge("greylight_agent_queue_disk_bytes", help, &labels, stats.disk_bytes as f64);
        let help = "Samples or records that were dropped because the queue was full or damaged.";
        page.counter(
            "greylight_agent_queue_dropped_items_total",
            help,
            &labels,
            stats.n_items_dropped as f64,
        );
        let help = "Bytes of the queue's files that were found damaged.";
        page.counter("greylight_agent_queue_damaged_bytes_total", help, &labels, stats.damaged_bytes as f64);
    }
    crate::collect::own_process(&mut page);
    page
}
