//! Kills an agent again and again while its log file grows and rotates, and counts which lines came through.
//!
//! Lines are numbered. A receiver decodes what arrives; a batch whose answer was lost comes again, as it may, with
//! the same record ids, and counts once. At the end every number must have come under one id: none lost, none
//! doubled.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use greylight_wire::otlp::{LogOptions, translate_logs};
use prost::Message as _;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::subject;

/// Kills an agent with SIGKILL while its file grows and rotates, and checks that each line comes once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often the agent is killed.
    #[arg(long, default_value_t = 20)]
    pub(crate) kills: u32,
    /// The agent's binary. Default: `greylight-agent` in the folder of this command's binary, else the release
    /// build.
    #[arg(long)]
    pub(crate) bin: Option<PathBuf>,
    /// The agent lives at most so many milliseconds.
    #[arg(long, default_value_t = 1500)]
    pub(crate) alive_ms: u64,
    /// Lines written a second.
    #[arg(long, default_value_t = 2000)]
    pub(crate) rate: u64,
    /// Repeats a run as far as timing allows. Default: drawn, and printed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// What arrived: record ids by line number.
#[derive(Debug, Default)]
struct Arrived {
    ids: HashMap<u64, HashSet<String>>,
    n_records: u64,
}

/// Runs it and prints the counts.
///
/// # Errors
/// When a line was lost or came under two ids, or the agent did not start.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(subject::drawn_seed);
    println!("seed {seed}");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let bin = subject::binary(args.bin.as_deref(), "greylight-agent")?;
    let dir = tempfile::tempdir()?;
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let url = receive(&arrived)?;
    let writer = Writer::start(dir.path(), args.rate, chance.random());
    for kill in 1..=args.kills {
        let mut agent = start(&bin, dir.path(), &url)?;
        let alive = Duration::from_millis(chance.random_range(20..=args.alive_ms.max(21)));
        pause(alive);
        if let Some(status) = agent.try_wait()? {
            bail!("the agent ended by itself: {status}");
        }
        agent.kill()?;
        agent.wait()?;
        println!(
            "kill {kill} after {} ms: {} lines written",
            alive.as_millis(),
            writer.written.load(Ordering::SeqCst)
        );
    }
    let written = writer.stop()?;
    let mut agent = start(&bin, dir.path(), &url)?;
    let deadline = now() + Duration::from_secs(120);
    while now() < deadline && distinct(&arrived) < written {
        pause(Duration::from_millis(200));
    }
    // A line that comes twice would come now.
    pause(Duration::from_secs(3));
    agent.kill()?;
    agent.wait()?;
    report(args.kills, written, &arrived)
}

fn report(kills: u32, written: u64, arrived: &Mutex<Arrived>) -> anyhow::Result<()> {
    let arrived = arrived.lock().map_err(|_| anyhow::anyhow!("the receiver failed"))?;
    let lost: Vec<u64> = (0..written).filter(|n| !arrived.ids.contains_key(n)).collect();
    let doubled: Vec<u64> = arrived.ids.iter().filter(|(_, ids)| ids.len() > 1).map(|(n, _)| *n).collect();
    println!(
        "kills {kills}, lines written {written}, records received {}, lost {}, doubled {}",
        arrived.n_records,
        lost.len(),
        doubled.len()
    );
    ensure!(written > 0, "nothing was written, so nothing was tested");
    ensure!(lost.is_empty(), "lines were lost, the first of them {:?}", &lost[..lost.len().min(5)]);
    ensure!(doubled.is_empty(), "lines came under two ids, such as {:?}", &doubled[..doubled.len().min(5)]);
    Ok(())
}

fn distinct(arrived: &Mutex<Arrived>) -> u64 {
    arrived.lock().map_or(0, |arrived| arrived.ids.len() as u64)
}

fn start(bin: &Path, dir: &Path, url: &str) -> anyhow::Result<Child> {
    let config = dir.join("agent.toml");
    let text = format!(
        "[agent]\nname = \"killed\"\ndata = \"{dir}/data\"\nown_metrics = \"0s\"\nhost.enabled = false\n\
         container.enabled = false\nserver.url = \"{url}\"\nserver.compression = \"none\"\n\
         [agent.tail]\npoll = \"20ms\"\nflush = \"20ms\"\ndiscovery = \"250ms\"\n\
         [[agent.logs]]\npaths = [\"{dir}/app.log\", \"{dir}/app.log.[0-9]*\"]\n",
        dir = dir.display()
    );
    std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&config)?
        .write_all(text.as_bytes())?;
    let child = Command::new(bin)
        .arg("--config")
        .arg(&config)
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("could not start {}", bin.display()))?;
    Ok(child)
}

/// Writes numbered lines, and rotates the file in every way that loses none by itself.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Writer {
    fn start(dir: &Path, rate: u64, seed: u64) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (dir, stopped, count) = (dir.to_owned(), Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || write_lines(&dir, rate, seed, &stopped, &count));
        Self { stop, written, thread }
    }

    fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow::anyhow!("the writer failed"))??;
        Ok(self.written.load(Ordering::SeqCst))
    }
}

fn write_lines(dir: &Path, rate: u64, seed: u64, stop: &AtomicBool, count: &AtomicU64) -> anyhow::Result<()> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let path = dir.join("app.log");
    let mut number = 0;
    let mut since_rotation = 0;
    while !stop.load(Ordering::SeqCst) {
        let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
        let mut text = String::new();
        for _ in 0..(rate / 50).max(1) {
            let pad = "x".repeat(chance.random_range(0..120));
            text.push_str(&match number % 3 {
                0 => format!("line {number} {pad}\n"),
                1 => format!("{{\"n\":\"line {number} \",\"pad\":\"{pad}\"}}\n"),
                _ => format!("    at line {number} {pad}\n"),
            });
            number += 1;
        }
        file.write_all(text.as_bytes())?;
        drop(file);
        count.store(number, Ordering::SeqCst);
        since_rotation += 1;
        if since_rotation > 25 && chance.random_bool(0.05) {
            rotate(dir, chance.random_bool(0.5))?;
            since_rotation = 0;
        }
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Rotates as logrotate does: all copies move on by one, the oldest stay.
fn rotate(dir: &Path, by_copy: bool) -> anyhow::Result<()> {
    let name = |k: u32| dir.join(format!("app.log.{k}"));
    let last = (1..).find(|&k| !name(k).exists()).unwrap_or(1);
    for k in (1..last).rev() {
        rename(&name(k), &name(k + 1))?;
    }
    let path = dir.join("app.log");
    if by_copy {
        std::fs::copy(&path, name(1))?;
        std::fs::File::options().write(true).truncate(true).open(&path)?;
    } else {
        rename(&path, &name(1))?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the harness rotates files as logrotate does")]
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)
}

#[expect(clippy::disallowed_methods, reason = "a kill must come at a moment of real time")]
fn now() -> Instant {
    Instant::now()
}

fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Takes OTLP requests on loopback; returns its address.
fn receive(arrived: &Arc<Mutex<Arrived>>) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let arrived = Arc::clone(arrived);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let arrived = Arc::clone(&arrived);
            // An agent that is killed breaks its connection off, which is no failure of this thread.
            std::thread::spawn(move || drop(serve(stream, &arrived)));
        }
    });
    Ok(format!("http://{address}"))
}

fn serve(mut stream: TcpStream, arrived: &Mutex<Arrived>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let mut buf = vec![0; 64 * 1024];
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            fill(&mut stream, &mut buf, &mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let total: usize = end + 4 + length.unwrap_or(0);
        while bytes.len() < total {
            fill(&mut stream, &mut buf, &mut bytes)?;
        }
        if head.starts_with("post /v1/logs ") {
            note(&bytes[end + 4..total], arrived)?;
        }
        bytes.drain(..total);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

fn fill(stream: &mut TcpStream, buf: &mut [u8], bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let n = stream.read(buf)?;
    ensure!(n > 0, "the connection was closed");
    bytes.extend_from_slice(&buf[..n]);
    Ok(())
}

fn note(body: &[u8], arrived: &Mutex<Arrived>) -> anyhow::Result<()> {
    let request = greylight_wire::otlp::ExportLogsServiceRequest::decode(body)?;
    let mut arrived = arrived.lock().map_err(|_| anyhow::anyhow!("the receiver failed"))?;
    for record in
        translate_logs(request, &LogOptions::default()).into_iter().flat_map(|stream| stream.records)
    {
        arrived.n_records += 1;
        let uid = record.uid.context("a record has no id")?;
        for (at, _) in record.body.match_indices("line ") {
            let digits: String = record.body[at + 5..].chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse() {
                arrived.ids.entry(number).or_default().insert(uid.clone());
            }
        }
    }
    Ok(())
}
