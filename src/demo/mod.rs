//! `greylight demo`: the whole loop on this machine, with real parts over loopback.
//!
//! A server and an agent run as processes of their own. Beside them stands the world that they
//! watch: three instances of a small shop behind a splitting proxy, customers, and a deploy tool
//! that releases versions and obeys the verdicts it is sent. Nothing in the server knows that it
//! is a demo: it sees metrics, log files and calls of its API.

mod children;
mod proxy;
mod shop;
mod tool;
mod traffic;
mod world;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use greylight_store::model::{Clock, OsRandom, SystemClock};
use serde_json::{Value, json};

use self::world::World;
use crate::cli::{Demo, Remote};
use crate::client::Client;
use crate::commands::{exit, words};

/// Intervals of history before each release, as many as the policy's pre-period holds.
const HISTORY: Duration = Duration::from_millis(220 * 500);
/// Longest that a release may take: both phases, their warm-ups and delays, with room for a slow machine.
const RELEASE_MAX: Duration = Duration::from_secs(180);
const POLICY: &str = include_str!("policy.yaml");

/// A kind of release to go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A new version that behaves like the one before.
    Good,
    /// The same version again.
    Same,
    /// One request in ten is ten times slower, and one in fifty fails with a new log line.
    Bad,
    /// One request in ten is ten times slower.
    Slow,
    /// One request in fifty fails with a new log line.
    Errors,
    /// The new version exposes and logs nothing.
    Silent,
}

/// How a version misbehaves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Faults {
    pub(crate) slow_share: f64,
    pub(crate) error_share: f64,
    pub(crate) silent: bool,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Same => "same",
            Self::Bad => "bad",
            Self::Slow => "slow",
            Self::Errors => "errors",
            Self::Silent => "silent",
        }
    }

    fn faults(self) -> Faults {
        let slow_share = if matches!(self, Self::Bad | Self::Slow) { 0.1 } else { 0.0 };
        let error_share = if matches!(self, Self::Bad | Self::Errors) { 0.02 } else { 0.0 };
        Faults { slow_share, error_share, silent: self == Self::Silent }
    }

    /// The decision that a right judge comes to.
    fn wanted(self) -> &'static str {
        match self {
            Self::Good | Self::Same => "go",
            Self::Bad | Self::Slow | Self::Errors => "no_go",
            Self::Silent => "inconclusive",
        }
    }
}

/// Runs the demo.
pub(crate) async fn run(args: Demo) -> anyhow::Result<u8> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let temporary;
    let folder = match &args.keep {
        Some(folder) => folder.clone(),
        None => {
            temporary = children::TemporaryFolder::make(&OsRandom)?;
            temporary.path().to_path_buf()
        }
    };
    let demo = async {
        let mut demo = Stage::set(&args, folder, clock).await?;
        let lines = demo.releases(&args.releases).await?;
        println!();
        let mut code = exit::OK;
        for (line, right) in lines {
            println!("{line}");
            if !right {
                code = exit::NO_GO;
            }
        }
        if let Some(hint) = busy().filter(|_| code != exit::OK) {
            println!("{hint}");
        }
        if !args.exit {
            println!("\nthe pages stay up at {}; end with Ctrl-C", demo.pages());
            tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
        }
        demo.children.stop().await;
        Ok(code)
    };
    tokio::select! {
        done = demo => done,
        interrupted = tokio::signal::ctrl_c(), if args.exit => {
            interrupted.context("waiting for Ctrl-C")?;
            anyhow::bail!("interrupted")
        }
    }
}

/// Says so when other work may have kept requests and records from coming through in time.
fn busy() -> Option<String> {
    let load = rustix::system::sysinfo().loads[0] as f64 / 65536.0;
    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (load > n_cores as f64).then(|| {
        format!(
            "this machine was busy (a load of {load:.1} on {n_cores} cores), and what comes late or not at all decides \
             nothing; run the demo again when it is calm"
        )
    })
}

/// Everything that runs.
struct Stage {
    clock: Arc<dyn Clock>,
    children: children::Children,
    client: Client,
    world: World,
    receiver: tool::Receiver,
}

impl Stage {
    async fn set(args: &Demo, folder: std::path::PathBuf, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let n_versions = args.releases.len() + 1;
        let receiver = tool::Receiver::start(clock.clone(), &OsRandom).await?;
        let world = World::start(folder.clone(), clock.clone()).await?;
        let children = children::Children::start(args.listen, &folder, &world.log_plan(n_versions)).await?;
        let remote = Remote { server: children.server_url(), token: None, tenant: None };
        let client = Client::new(&remote)?;
        println!("server      {}", children.server_url());
        println!("pages       {}/ui/", children.server_url());
        println!(
            "shop        three instances of version 1 behind a proxy, {} requests a second",
            traffic::RATE
        );
        Ok(Self { clock, children, client, world, receiver })
    }

    fn pages(&self) -> String {
        format!("{}/ui/", self.children.server_url())
    }

    /// Goes through the releases; returns a last line for each, and whether its decision is right.
    async fn releases(&mut self, kinds: &[Kind]) -> anyhow::Result<Vec<(String, bool)>> {
        let policy = greylight_analyzer::policy::document(POLICY)?;
        let mut lines = Vec::new();
        for &kind in kinds {
            self.history().await?;
            let verdict = self.release(kind, &policy).await?;
            let decision = verdict["decision"].as_str().unwrap_or("inconclusive");
            let why = verdict["reasons"][0]["text"].as_str().unwrap_or("no reason given");
            lines.push((format!("{} release: {decision}  ({why})", kind.word()), decision == kind.wanted()));
        }
        Ok(lines)
    }

    /// Lets history grow, with progress.
    async fn history(&mut self) -> anyhow::Result<()> {
        let begun = self.clock.elapsed();
        loop {
            let gone = self.clock.elapsed().saturating_sub(begun);
            progress(&format!("history     {:>3} of {} s", gone.as_secs(), HISTORY.as_secs()));
            if gone >= HISTORY {
                println!();
                return Ok(());
            }
            self.children.check()?;
            self.clock.sleep(Duration::from_secs(1).min(HISTORY - gone)).await;
        }
    }

    /// Releases one version as a deploy tool does, and returns the final verdict.
    async fn release(&mut self, kind: Kind, policy: &Value) -> anyhow::Result<Value> {
        let version = self.world.next_version();
        println!("\nrelease     version {version} ({}) on instance b, a tenth of the requests", kind.word());
        self.world.deploy("b", &version, kind.faults()).await?;
        self.world.split(0.1);
        let body = json!({
            "key": format!("shop-{version}"), "service": "shop", "by": "demo",
            "baseline": { "name": self.world.version() }, "canary": { "name": version },
            "policy": policy,
            "webhooks": [{ "url": format!("http://{}/verdict", self.receiver.address), "secret": self.receiver.secret }],
        });
        let release = self.client.post("/api/v1/releases", &body).await?;
        let id = release["id"].as_str().context("the server's answer names no release")?.to_string();
        println!("            {}releases/{id}", self.pages());
        let verdict = self.obey(&id).await?;
        self.settle(&id, &version, kind, &verdict).await?;
        println!("\n{}", words(&verdict));
        Ok(verdict)
    }

    /// Does what the webhooks say until one is final.
    async fn obey(&mut self, id: &str) -> anyhow::Result<Value> {
        let begun = self.clock.elapsed();
        let mut called = false;
        loop {
            let gone = self.clock.elapsed().saturating_sub(begun);
            anyhow::ensure!(gone < RELEASE_MAX, "no final verdict within {} s", RELEASE_MAX.as_secs());
            let told = tokio::select! {
                told = self.receiver.verdicts.recv() => told,
                () = self.clock.sleep(Duration::from_secs(1)) => {
                    self.show(id).await?;
                    continue;
                }
            };
            let verdict = told.context("the receiver ended")?;
            // Messages of the release before may still be on their way.
            if verdict["release"].as_str() != Some(id) {
                continue;
            }
            if verdict["final"].as_bool() == Some(true) {
                println!();
                return Ok(verdict);
            }
            let phases = verdict["phases"].as_array().into_iter().flatten();
            let went = phases.into_iter().any(|p| p["name"] == "tenth" && p["decision"] == "go");
            if went && !called {
                called = true;
                println!("\nwebhook     phase tenth is go: half of the requests");
                self.world.split(0.5);
                let call = json!({ "phase": "half", "traffic_share": 0.5 });
                self.client.post(&format!("/api/v1/releases/{id}/phase"), &call).await?;
            }
        }
    }

    /// Shows where the release stands.
    async fn show(&mut self, id: &str) -> anyhow::Result<()> {
        self.children.check()?;
        let verdict = self.client.get(&format!("/api/v1/releases/{id}/verdict"), &[]).await?;
        let phase = verdict["phase"].as_str().unwrap_or("-");
        let looks = verdict["phases"].as_array().into_iter().flatten().find(|p| p["name"] == phase);
        let looks = looks.and_then(|p| p["looks"].as_u64()).unwrap_or(0);
        let checks = verdict["checks"].as_array().into_iter().flatten().map(|check| {
            let decision = check["decision"].as_str().unwrap_or("-").replace('_', "-");
            format!("{} {decision}", check["name"].as_str().unwrap_or("-"))
        });
        let checks: Vec<String> = checks.collect();
        progress(&format!("judging     phase {phase}, look {looks:>2}: {}", checks.join(", ")));
        Ok(())
    }

    /// Promotes or takes back, reports it, and lets all instances run the same version again.
    async fn settle(&mut self, id: &str, version: &str, kind: Kind, verdict: &Value) -> anyhow::Result<()> {
        let go = verdict["decision"].as_str() == Some("go");
        if go {
            println!("webhook     go: all requests, then instances a and c");
            self.world.split(1.0);
            self.world.promote(version, kind.faults()).await?;
        } else {
            let decision = verdict["decision"].as_str().unwrap_or("-").replace('_', "-");
            println!(
                "webhook     {decision}: no requests, and instance b back to version {}",
                self.world.version()
            );
            self.world.split(0.0);
            self.world.take_back("b").await?;
        }
        self.world.thirds();
        let action = if go { "promoted" } else { "rolled_back" };
        let outcome = json!({ "action": action, "traffic_share": if go { 1.0 } else { 0.0 }, "by": "demo" });
        self.client.post(&format!("/api/v1/releases/{id}/outcome"), &outcome).await?;
        Ok(())
    }
}

/// Rewrites the line of progress on a terminal; elsewhere each line stands.
fn progress(line: &str) {
    use std::io::{IsTerminal, Write};
    let mut out = std::io::stdout();
    let shown: String = line.chars().take(118).collect();
    let written =
        if out.is_terminal() { write!(out, "\r\u{1b}[2K{shown}") } else { writeln!(out, "{shown}") };
    // Progress that cannot be shown is no reason to end.
    let _ = written.and_then(|()| out.flush());
}
