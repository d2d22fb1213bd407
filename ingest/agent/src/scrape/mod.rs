//! Reads Prometheus endpoints.
//!
//! Each target is read by a task of its own at its own phase. Beside a page's samples it gives `up`,
//! `scrape_duration_seconds`, `scrape_samples_scraped` and the like; series that have left the page, and all of a
//! target's when it fails or goes, end with a stale marker.

mod page;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use greylight_wire::number::stale_nan;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::client::{Client, FetchError};
use crate::clock::Clock;
use crate::counters::Counters;
use crate::metric::{Collected, Labels, OwnedSample, Page};
use page::PageReader;
pub use targets::{Target, TargetError, read_target_file};

/// Settings of one job: `[[agent.scrape]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrapeConfig {
    /// Label `job`.
    pub job: String,
    /// How often each target is read; at least `250ms`. Default `15s`.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long a target may take; at most the interval. Default `10s`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// `http` or `https`. Default `http`.
    pub scheme: String,
    /// Path of the page. Default `/metrics`.
    pub path: String,
    /// Whether a page's own `job`, `instance` and the like win over the target's. Default false.
    pub honor_labels: bool,
    /// Whether a page's own timestamps are kept. Default true.
    pub honor_timestamps: bool,
    /// Length of a page that is still read. Default 16 MiB.
    pub body_bytes_max: usize,
    /// Samples of a page beyond which it counts as failed; 0 for no limit. Default 0.
    pub samples_max: usize,
    /// Targets with their labels, such as `service_name`, `service_version`, `track`.
    pub targets: Vec<TargetGroup>,
    /// Files of targets, `[{"targets": [..], "labels": {..}}]` as JSON or YAML, read again when they change.
    pub target_files: Vec<PathBuf>,
    /// How often target files are looked at. Default `1s`.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            job: String::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            scheme: "http".to_owned(),
            path: "/metrics".to_owned(),
            honor_labels: false,
            honor_timestamps: true,
            body_bytes_max: 16 * 1024 * 1024,
            samples_max: 0,
            targets: Vec::new(),
            target_files: Vec::new(),
            refresh: Duration::from_secs(1),
        }
    }
}

/// Addresses that share labels, as in Prometheus' target files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetGroup {
    /// `host:port` each.
    pub targets: Vec<String>,
    /// Labels of all their series. `__metrics_path__` and `__scheme__` override the job's.
    pub labels: BTreeMap<String, String>,
}

/// What a job's tasks share.
#[derive(Clone, Debug)]
pub(crate) struct ScrapeParts {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    /// Bounded: a scraper waits when nobody takes what it has read.
    pub(crate) out: mpsc::Sender<Collected>,
    pub(crate) shutdown: CancellationToken,
}

/// Keeps a task for each target of a job, as the target files change.
#[derive(Debug)]
pub(crate) struct Job {
    config: Arc<ScrapeConfig>,
    parts: ScrapeParts,
    running: HashMap<Target, (CancellationToken, JoinHandle<()>)>,
    files: targets::Files,
}

impl Job {
    pub(crate) fn new(config: ScrapeConfig, parts: ScrapeParts) -> Self {
        let files = targets::Files::new(&config.target_files);
        Self { config: Arc::new(config), parts, running: HashMap::new(), files }
    }

    /// Runs until it is told to stop, and ends all tasks then.
    pub(crate) async fn run(mut self) {
        while !self.parts.shutdown.is_cancelled() {
            self.refresh().await;
            tokio::select! {
                () = self.parts.clock.sleep(self.config.refresh) => {}
                () = self.parts.shutdown.cancelled() => {}
            }
        }
        for (_, (stop, task)) in self.running {
            stop.cancel();
            // A task that has failed has said so itself.
            let _ = task.await;
        }
    }

    async fn refresh(&mut self) {
        let mut wanted = targets::of_groups(&self.config, &self.config.targets);
        wanted.extend(self.files.targets(&self.config));
        for target in &mut wanted {
            target.add(&self.parts.labels);
        }
        let gone: Vec<Target> =
            self.running.keys().filter(|target| !wanted.contains(target)).cloned().collect();
        for target in gone {
            if let Some((stop, task)) = self.running.remove(&target) {
                stop.cancel();
                // Its stale markers come before the first sample of whatever takes its place.
                let _ = task.await;
            }
        }
        for target in wanted {
            let (parts, config) = (&self.parts, &self.config);
            self.running.entry(target).or_insert_with_key(|target| {
                // Not a child of the shutdown: when the agent stops, the targets have not gone.
                let gone = CancellationToken::new();
                let scraper = Scraper::new(target.clone(), Arc::clone(config), parts.clone());
                (gone.clone(), tokio::spawn(scraper.run(gone)))
            });
        }
    }
}

/// Reads one target.
#[derive(Debug)]
struct Scraper {
    target: Target,
    config: Arc<ScrapeConfig>,
    parts: ScrapeParts,
    /// The series of the last page by a hash of their labels: those not in the next one are stale.
    last: HashMap<u64, Labels>,
}

impl Scraper {
    fn new(target: Target, config: Arc<ScrapeConfig>, parts: ScrapeParts) -> Self {
        Self { target, config, parts, last: HashMap::new() }
    }

    async fn run(mut self, gone: CancellationToken) {
        let interval = self.config.interval;
        let shutdown = self.parts.shutdown.clone();
        let mut next = self.parts.clock.elapsed() + self.phase();
        loop {
            let wait = next.saturating_sub(self.parts.clock.elapsed());
            tokio::select! {
                () = self.parts.clock.sleep(wait) => {}
                () = gone.cancelled() => break,
                () = self.parts.shutdown.cancelled() => return,
            }
            let collected = tokio::select! {
                collected = self.scrape() => collected,
                () = gone.cancelled() => break,
                () = shutdown.cancelled() => return,
            };
            if self.parts.out.send(collected).await.is_err() {
                return;
            }
            next += interval;
            // A target that takes longer than its interval skips a reading, and keeps its phase.
            let now = self.parts.clock.elapsed();
            while next < now {
                next += interval;
            }
        }
        let farewell = self.farewell();
        // Nobody listens any more when the agent stops; then the target has not gone.
        let _ = self.parts.out.send(farewell).await;
    }

    /// Spreads targets over the interval, each always at the same place.
    fn phase(&self) -> Duration {
        let hash = xxh3_64(self.target.url.as_bytes());
        self.config.interval.mul_f64(hash as f64 / u64::MAX as f64)
    }

    /// Reads the page once.
    async fn scrape(&mut self) -> Collected {
        let t_ms = self.parts.clock.now().as_millis();
        let before = self.parts.clock.elapsed();
        let timeout = self.config.timeout.min(self.config.interval);
        let fetched = self.parts.client.fetch(&self.target.url, timeout, self.config.body_bytes_max).await;
        let took = self.parts.clock.elapsed().saturating_sub(before);
        self.parts.counters.scrapes.add(1);
        let mut collected = Collected::default();
        let read = fetched.map_err(|e| describe(&e)).and_then(|page| self.read(&page, t_ms, &mut collected));
        if let Err(why) = &read {
            self.parts.counters.scrapes_failed.add(1);
            tracing::debug!(url = self.target.url, why, "scrape failed");
            // A page counts whole or not at all.
            collected = Collected::default();
        }
        let scraped = collected.samples.len();
        let added = self.mark_stale(&mut collected, t_ms);
        let up = read.is_ok();
        self.report(&mut collected, t_ms, up, took, scraped, added);
        collected
    }

    fn read(
        &self,
        page: &crate::client::Fetched,
        t_ms: i64,
        collected: &mut Collected,
    ) -> Result<(), String> {
        let mut reader = PageReader::new(&self.target.labels, &self.config, t_ms, collected);
        reader.read(page).map_err(|e| e.to_string())?;
        match self.config.samples_max {
            max if max > 0 && collected.samples.len() > max => {
                Err(format!("the page has {} samples, more than {max}", collected.samples.len()))
            }
            _ => Ok(()),
        }
    }

    /// Adds a stale marker for each series that was there before and is not now; returns how many series are new.
    fn mark_stale(&mut self, collected: &mut Collected, t_ms: i64) -> usize {
        let mut now: HashMap<u64, Labels> = HashMap::with_capacity(collected.samples.len());
        let mut n_new = 0;
        for sample in &collected.samples {
            let hash = page::hash(&sample.labels);
            let old = self.last.remove(&hash);
            n_new += usize::from(old.is_none() && !now.contains_key(&hash));
            now.insert(hash, old.unwrap_or_else(|| sample.labels.clone()));
        }
        let gone = std::mem::replace(&mut self.last, now);
        collected.samples.extend(gone.into_values().map(|labels| OwnedSample {
            labels,
            t_ms,
            value: stale_nan(),
        }));
        n_new
    }

    /// Adds what is known of the reading itself.
    fn report(
        &self,
        collected: &mut Collected,
        t_ms: i64,
        up: bool,
        took: Duration,
        scraped: usize,
        added: usize,
    ) {
        let mut page = Page::default();
        page.gauge("up", "Whether the target's page could be read.", &[], f64::from(u8::from(up)));
        let help = "How long reading the page took.";
        page.gauge("scrape_duration_seconds", help, &[], took.as_secs_f64());
        page.gauge("scrape_samples_scraped", "Samples on the page.", &[], scraped as f64);
        let help = "Samples left after relabeling, which is all of them.";
        page.gauge("scrape_samples_post_metric_relabeling", help, &[], scraped as f64);
        page.gauge("scrape_series_added", "Series that were not on the page before.", &[], added as f64);
        let report = page.finish(t_ms, &self.target.labels);
        self.parts.counters.samples.add((scraped + report.samples.len()) as u64);
        collected.samples.extend(report.samples);
        collected.families.extend(report.families);
    }

    /// Ends all series of a target that is gone.
    fn farewell(&mut self) -> Collected {
        let t_ms = self.parts.clock.now().as_millis();
        let mut collected = Collected::default();
        self.mark_stale(&mut collected, t_ms);
        let mut report = Collected::default();
        self.report(&mut report, t_ms, false, Duration::ZERO, 0, 0);
        let ended = report.samples.into_iter().map(|sample| OwnedSample { value: stale_nan(), ..sample });
        collected.samples.extend(ended);
        collected
    }
}

fn describe(e: &FetchError) -> String {
    match std::error::Error::source(e) {
        Some(cause) => format!("{e}: {cause}"),
        None => e.to_string(),
    }
}
