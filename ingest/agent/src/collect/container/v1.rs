//! Version 1 files.

use std::path::{Path, PathBuf};

use super::hierarchy::below;
use super::{Io, Stats};
use crate::collect::read;

// What an unset limit reads as: the largest number of pages, whatever their size.
const UNLIMITED: f64 = 9.2e18;
const TICKS_A_SECOND: f64 = 100.0;

/// Returns a controller's folder, whatever it shares it with.
pub(super) fn folder(root: &Path, controller: &str) -> Option<PathBuf> {
    let shared = match controller {
        "cpu" | "cpuacct" => vec![controller, "cpu,cpuacct", "cpuacct,cpu"],
        other => vec![other],
    };
    shared.into_iter().map(|name| root.join(name)).find(|folder| folder.is_dir())
}

/// Reads all files of a cgroup.
pub(super) fn read(root: &Path, path: &str) -> Stats {
    let mut stats = Stats::default();
    let dir = |controller: &str| folder(root, controller).map(|folder| below(&folder, path));
    if let Some(dir) = dir("cpuacct") {
        stats.cpu_total = read::number(&dir.join("cpuacct.usage")).map(|nanos| nanos / 1e9);
        for (name, ticks) in read::pairs(&read::optional(&dir.join("cpuacct.stat")).unwrap_or_default()) {
            match name {
                "user" => stats.cpu_user = Some(ticks / TICKS_A_SECOND),
                "system" => stats.cpu_system = Some(ticks / TICKS_A_SECOND),
                _ => {}
            }
        }
    }
    if let Some(dir) = dir("cpu") {
        cpu(&dir, &mut stats);
    }
    if let Some(dir) = dir("memory") {
        memory(&dir, &mut stats);
        let processes = read::optional(&dir.join("cgroup.procs")).unwrap_or_default();
        stats.processes = Some(processes.lines().count() as f64);
        stats.first_process = processes.lines().next().and_then(|line| line.parse().ok());
    }
    if let Some(dir) = dir("blkio") {
        let bytes = read::optional(&dir.join("blkio.throttle.io_service_bytes")).unwrap_or_default();
        let operations = read::optional(&dir.join("blkio.throttle.io_serviced")).unwrap_or_default();
        blkio(&bytes, |io| (&mut io.read_bytes, &mut io.written_bytes), &mut stats);
        blkio(&operations, |io| (&mut io.reads, &mut io.writes), &mut stats);
    }
    if let Some(dir) = dir("pids") {
        stats.threads = read::number(&dir.join("pids.current"));
        stats.threads_max = limit(&read::optional(&dir.join("pids.max")).unwrap_or_default());
    }
    stats
}

fn cpu(dir: &Path, stats: &mut Stats) {
    let quota = read::number(&dir.join("cpu.cfs_quota_us")).filter(|quota| *quota > 0.0);
    for (name, value) in read::pairs(&read::optional(&dir.join("cpu.stat")).unwrap_or_default()) {
        match name {
            "nr_periods" => stats.cfs_periods = quota.map(|_| value),
            "nr_throttled" => stats.cfs_throttled_periods = quota.map(|_| value),
            "throttled_time" => stats.cfs_throttled_seconds = quota.map(|_| value / 1e9),
            _ => {}
        }
    }
    stats.cpu_quota = quota;
    stats.cpu_period = read::number(&dir.join("cpu.cfs_period_us"));
    stats.cpu_shares = read::number(&dir.join("cpu.shares"));
}

fn memory(dir: &Path, stats: &mut Stats) {
    let number = |file: &str| read::number(&dir.join(file));
    stats.memory_usage = number("memory.usage_in_bytes");
    stats.memory_max_usage = number("memory.max_usage_in_bytes");
    stats.memory_failcnt = number("memory.failcnt");
    // No limit is 0, as in cAdvisor.
    let or_none = |bytes: f64| if bytes >= UNLIMITED { 0.0 } else { bytes };
    stats.memory_limit = number("memory.limit_in_bytes").map(or_none);
    stats.memory_swap_limit = number("memory.memsw.limit_in_bytes").map(or_none);
    stats.memory_reservation = number("memory.soft_limit_in_bytes").map(or_none);
    let mut inactive_file = 0.0;
    for (name, value) in read::pairs(&read::optional(&dir.join("memory.stat")).unwrap_or_default()) {
        match name {
            "total_cache" => stats.memory_cache = Some(value),
            "total_rss" => stats.memory_rss = Some(value),
            "total_swap" => stats.memory_swap = Some(value),
            "total_mapped_file" => stats.memory_mapped_file = Some(value),
            "total_inactive_file" => inactive_file = value,
            "total_pgfault" => stats.page_faults = Some(value),
            "total_pgmajfault" => stats.major_page_faults = Some(value),
            _ => {}
        }
    }
    stats.memory_working_set = stats.memory_usage.map(|usage| (usage - inactive_file).max(0.0));
    let control = read::optional(&dir.join("memory.oom_control")).unwrap_or_default();
    stats.oom_events = read::pairs(&control).find(|(name, _)| *name == "oom_kill").map(|(_, n)| n);
}

/// Reads `8:0 Read 5` lines.
fn blkio(text: &str, of: impl Fn(&mut Io) -> (&mut f64, &mut f64), stats: &mut Stats) {
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [device, what, value] = words.as_slice() else { continue };
        let Ok(value) = value.parse() else { continue };
        let io = stats.io.entry((*device).to_owned()).or_default();
        let (read, written) = of(io);
        match *what {
            "Read" => *read = value,
            "Write" => *written = value,
            _ => {}
        }
    }
}

/// Reads a limit; `max` is none, which is 0 as in cAdvisor.
pub(super) fn limit(text: &str) -> Option<f64> {
    match text.trim() {
        "" => None,
        "max" => Some(0.0),
        number => number.parse().ok(),
    }
}
