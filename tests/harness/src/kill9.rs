//! Kills a loaded server again and again and counts what came through.
//!
//! Senders number what they send. A request that got no answer is sent again, as agents do, so
//! every number must be stored once, whatever the server was doing when it was killed. After each
//! restart everything that was acknowledged is read back through the query APIs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use greylight_wire::remote_write::{Encoder, Sample};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::subject;

/// Samples of one request, spread over a few series.
const SAMPLES_A_REQUEST: u64 = 40;
const SERIES_A_SENDER: u64 = 4;
/// Log records of one request.
const RECORDS_A_REQUEST: u64 = 10;

/// Kills a loaded server with SIGKILL and checks that what it acknowledged is there, once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often the server is killed.
    #[arg(long, default_value_t = 20)]
    pub(crate) kills: u32,
    /// The server's binary. Default: `greylight` in the folder of this command's binary, else the
    /// release build.
    #[arg(long)]
    pub(crate) bin: Option<PathBuf>,
    /// Connections that send samples, and as many that send log records.
    #[arg(long, default_value_t = 3)]
    pub(crate) senders: u32,
    /// The server lives at most so many milliseconds after it is ready.
    #[arg(long, default_value_t = 500)]
    pub(crate) alive_ms: u64,
    /// Repeats a run as far as timing allows. Default: drawn, and printed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Keeps the data folder here instead of a temporary one.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
}

/// What the run found.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    samples: u64,
    records: u64,
    lost: u64,
    doubled: u64,
    wrong: u64,
    ready_ms: Vec<u128>,
}

/// Runs it and prints the counts.
///
/// # Errors
/// When something acknowledged was lost, doubled or changed, or the server did not come back.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Another part of the process may have chosen a provider already; either will do for loopback.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run_async(args))
}

async fn run_async(args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(subject::drawn_seed);
    println!("seed {seed}");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let temporary = tempfile::tempdir()?;
    let data = args.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    let bin = subject::binary(args.bin.as_deref(), "greylight")?;
    let mut tally = Tally::default();
    let load = Arc::new(Load::new(args.senders)?);
    for kill in 1..=args.kills {
        let mut server = Server::start(&bin, &data)?;
        tally.ready_ms.push(server.ready_in.as_millis());
        load.check(&server.url, &mut tally).await.with_context(|| format!("after kill {}", kill - 1))?;
        let senders = load.start(&server.url, chance.random());
        let alive = Duration::from_millis(chance.random_range(0..=args.alive_ms));
        // The kill comes at a random moment of real time; that is what is tested.
        pause(alive).await;
        server.kill()?;
        load.stop(senders).await?;
        tally.kills += 1;
        println!(
            "kill {kill} after {} ms: {} samples and {} records acknowledged",
            alive.as_millis(),
            load.acknowledged(Kind::Samples),
            load.acknowledged(Kind::Records)
        );
    }
    let mut server = Server::start(&bin, &data)?;
    tally.ready_ms.push(server.ready_in.as_millis());
    load.check(&server.url, &mut tally).await.context("at the end")?;
    load.flush(&server.url).await?;
    load.check(&server.url, &mut tally).await.context("after the last flush")?;
    server.kill()?;
    report(&tally, &load)
}

fn report(tally: &Tally, load: &Load) -> anyhow::Result<()> {
    let (samples, records) = (load.acknowledged(Kind::Samples), load.acknowledged(Kind::Records));
    let slowest = tally.ready_ms.iter().max().copied().unwrap_or(0);
    println!(
        "kills {}, acknowledged {samples} samples and {records} records, checked {} samples and {} records, \
         lost {}, doubled {}, wrong {}, slowest start {slowest} ms",
        tally.kills, tally.samples, tally.records, tally.lost, tally.doubled, tally.wrong
    );
    ensure!(samples > 0 && records > 0, "nothing was acknowledged, so nothing was tested");
    ensure!(tally.lost + tally.doubled + tally.wrong == 0, "a promise was broken");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server under test runs in real time, so its kill does too"
)]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

#[expect(clippy::disallowed_methods, reason = "how long a real start takes is a figure of this run")]
fn moment() -> Instant {
    Instant::now()
}

/// A server under test.
pub(crate) struct Server {
    child: Child,
    url: String,
    pub(crate) ready_in: Duration,
}

impl Server {
    pub(crate) fn start(bin: &Path, data: &Path) -> anyhow::Result<Self> {
        let started = moment();
        let mut child = Command::new(bin)
            .args(["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "off", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", bin.display()))?;
        let stdout = child.stdout.take().context("the server's output is read")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addresses: Value =
            serde_json::from_str(&line).with_context(|| format!("the server's first line was {line:?}"))?;
        let http = addresses["http"].as_str().context("the server says where it listens")?;
        Ok(Self { child, url: format!("http://{http}"), ready_in: started.elapsed() })
    }

    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A run that fails leaves no server behind; one that was killed already cannot be again.
        let _ = self.kill();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Samples,
    Records,
}

/// The senders and what they know.
struct Load {
    client: reqwest::Client,
    base_ms: i64,
    /// For each sender, how many of its numbers were acknowledged, and how many were ever sent.
    senders: Vec<(Kind, AtomicU64, AtomicU64)>,
    stopping: AtomicBool,
}

impl Load {
    #[expect(clippy::disallowed_methods, reason = "the server refuses what lies in its future")]
    fn new(n: u32) -> anyhow::Result<Self> {
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
        let sender = |kind| (kind, AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self {
            client: reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?,
            // Times run ahead by a millisecond a number, across several windows of the store.
            base_ms: i64::try_from(now_ms)? - 6 * 3_600_000,
            senders: (0..n).flat_map(|_| [sender(Kind::Samples), sender(Kind::Records)]).collect(),
            stopping: AtomicBool::new(false),
        })
    }

    fn acknowledged(&self, kind: Kind) -> u64 {
        self.senders
            .iter()
            .filter(|(k, ..)| *k == kind)
            .map(|(_, acknowledged, _)| acknowledged.load(Ordering::SeqCst))
            .sum()
    }

    fn start(self: &Arc<Self>, url: &str, seed: u64) -> tokio::task::JoinSet<()> {
        self.stopping.store(false, Ordering::SeqCst);
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..self.senders.len() {
            let (load, url) = (Arc::clone(self), url.to_owned());
            tasks.spawn(async move { while load.send_one(i, &url).await {} });
        }
        let (load, url) = (Arc::clone(self), url.to_owned());
        tasks.spawn(async move {
            // Sealing and merging go on under load too, so that kills meet them.
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            while !load.stopping.load(Ordering::SeqCst) {
                pause(Duration::from_millis(chance.random_range(0..150))).await;
                if load.flush(&url).await.is_err() {
                    return;
                }
            }
        });
        tasks
    }

    async fn stop(&self, mut tasks: tokio::task::JoinSet<()>) -> anyhow::Result<()> {
        self.stopping.store(true, Ordering::SeqCst);
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    }

    async fn flush(&self, url: &str) -> anyhow::Result<()> {
        self.client.post(format!("{url}/api/v1/admin/flush")).send().await?.error_for_status()?;
        Ok(())
    }

    /// Sends a sender's next numbers; `false` when the server is gone.
    async fn send_one(&self, i: usize, url: &str) -> bool {
        if self.stopping.load(Ordering::SeqCst) {
            return false;
        }
        let (kind, acknowledged, sent) = &self.senders[i];
        let from = acknowledged.load(Ordering::SeqCst);
        let (request, n) = match kind {
            Kind::Samples => (self.samples(i, from, url), SAMPLES_A_REQUEST),
            Kind::Records => (self.records(i, from, url), RECORDS_A_REQUEST),
        };
        sent.fetch_max(from + n, Ordering::SeqCst);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                acknowledged.store(from + n, Ordering::SeqCst);
                true
            }
            Ok(answer) => {
                // Busy for now: the same numbers go out again.
                answer.status().as_u16() == 503
            }
            Err(_) => false,
        }
    }

    fn samples(&self, i: usize, from: u64, url: &str) -> reqwest::RequestBuilder {
        let mut encoder = Encoder::default();
        let sender = i.to_string();
        for series in 0..SERIES_A_SENDER {
            let series_text = series.to_string();
            let labels =
                [("__name__", "kill9_number"), ("sender", sender.as_str()), ("series", series_text.as_str())];
            let numbers = (from..from + SAMPLES_A_REQUEST).filter(|n| n % SERIES_A_SENDER == series);
            let samples: Vec<Sample> = numbers
                .map(|n| Sample { t_ms: self.base_ms + n as i64 * 5, value: n as f64 + 0.25 })
                .collect();
            encoder.series(labels.into_iter(), &samples);
        }
        self.client
            .post(format!("{url}/api/v1/write"))
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(encoder.finish())
    }

    fn records(&self, i: usize, from: u64, url: &str) -> reqwest::RequestBuilder {
        let line = |n: u64| {
            let time_ns = (self.base_ms + n as i64 * 20) * 1_000_000;
            serde_json::json!([
                time_ns.to_string(),
                format!("record number={n} of sender {i} from 10.0.0.{}", n % 250)
            ])
        };
        let values: Vec<Value> = (from..from + RECORDS_A_REQUEST).map(line).collect();
        let stream = serde_json::json!({ "job": "kill9", "sender": i.to_string() });
        let body = serde_json::json!({ "streams": [{ "stream": stream, "values": values }] });
        self.client
            .post(format!("{url}/loki/api/v1/push"))
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Reads everything back and compares.
    async fn check(&self, url: &str, tally: &mut Tally) -> anyhow::Result<()> {
        for (i, (kind, acknowledged, sent)) in self.senders.iter().enumerate() {
            let found = match kind {
                Kind::Samples => self.stored_samples(url, i, tally).await?,
                Kind::Records => self.stored_records(url, i, tally).await?,
            };
            let (acknowledged, sent) = (acknowledged.load(Ordering::SeqCst), sent.load(Ordering::SeqCst));
            let lost: Vec<u64> = (0..acknowledged).filter(|n| !found.contains_key(n)).collect();
            let doubled: Vec<u64> = found.iter().filter(|(_, count)| **count > 1).map(|(n, _)| *n).collect();
            let invented: Vec<u64> = found.keys().filter(|n| **n >= sent).copied().collect();
            for (what, numbers) in [("lost", &lost), ("doubled", &doubled), ("never sent", &invented)] {
                if let Some(first) = numbers.first() {
                    println!("sender {i} ({kind:?}): {} {what}, such as {first}", numbers.len());
                }
            }
            tally.lost += lost.len() as u64;
            tally.doubled += doubled.len() as u64;
            tally.wrong += invented.len() as u64;
            match kind {
                Kind::Samples => tally.samples += acknowledged,
                Kind::Records => tally.records += acknowledged,
            }
        }
        Ok(())
    }

    async fn get(&self, url: String, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut address = reqwest::Url::parse(&url)?;
        address.query_pairs_mut().extend_pairs(query);
        let answer = self.client.get(address).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Returns how often each number is stored, by PromQL over raw samples.
    async fn stored_samples(
        &self,
        url: &str,
        i: usize,
        tally: &mut Tally,
    ) -> anyhow::Result<HashMap<u64, u32>> {
        let query = format!("kill9_number{{sender=\"{i}\"}}[12h]");
        let time = format!("{}", self.base_ms / 1000 + 8 * 3600);
        let answer = self.get(format!("{url}/api/v1/query"), &[("query", &query), ("time", &time)]).await?;
        ensure!(
            answer["warnings"].as_array().is_none_or(Vec::is_empty),
            "the answer is partial: {}",
            answer["warnings"]
        );
        let mut found = HashMap::new();
        for series in answer["data"]["result"].as_array().context("the query gives series")? {
            for pair in series["values"].as_array().context("a series has samples")? {
                let t_ms = (pair[0].as_f64().context("a time is a number")? * 1000.0).round() as i64;
                let value: f64 = pair[1].as_str().context("a value is a text")?.parse()?;
                let n = value.floor();
                if value != n + 0.25 || t_ms != self.base_ms + n as i64 * 5 {
                    println!("sender {i}: a sample at {t_ms} has the value {value}");
                    tally.wrong += 1;
                    continue;
                }
                *found.entry(n as u64).or_default() += 1;
            }
        }
        Ok(found)
    }

    /// Returns how often each number is stored, by paging through the log search.
    async fn stored_records(
        &self,
        url: &str,
        i: usize,
        tally: &mut Tally,
    ) -> anyhow::Result<HashMap<u64, u32>> {
        let matchers = format!("{{job=\"kill9\",sender=\"{i}\"}}");
        let start = format!("{}", self.base_ms / 1000 - 1);
        let end = format!("{}", self.base_ms / 1000 + 8 * 3600);
        let mut cursor = String::new();
        let mut found = HashMap::new();
        loop {
            let mut query = vec![
                ("query", "*"),
                ("match", matchers.as_str()),
                ("start", &start),
                ("end", &end),
                ("limit", "5000"),
            ];
            if !cursor.is_empty() {
                query.push(("cursor", &cursor));
            }
            let answer = self.get(format!("{url}/api/v1/logs/search"), &query).await?;
            if answer["partial"] == true {
                bail!("the answer is partial: {answer}");
            }
            let records = answer["records"].as_array().context("the search gives records")?;
            for record in records {
                let body = record["body"].as_str().context("a record has a body")?;
                match body
                    .split("number=")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next())
                    .map(str::parse::<u64>)
                {
                    Some(Ok(n)) if body.contains(&format!("of sender {i} ")) => {
                        *found.entry(n).or_default() += 1
                    }
                    _ => {
                        println!("sender {i}: a record says {body:?}");
                        tally.wrong += 1;
                    }
                }
            }
            match answer["cursor"].as_str() {
                Some(next) if !records.is_empty() => cursor = next.to_owned(),
                _ => return Ok(found),
            }
        }
    }
}
