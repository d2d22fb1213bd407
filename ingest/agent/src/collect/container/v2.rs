//! Version 2 files.

use std::path::Path;

use super::v1::limit;
use super::{Io, Stats};
use crate::collect::host::pressure_total;
use crate::collect::read;

/// Reads all files of a cgroup.
pub(super) fn read(dir: &Path) -> Stats {
    let mut stats = Stats::default();
    let text = |file: &str| read::optional(&dir.join(file)).unwrap_or_default();
    cpu(&text("cpu.stat"), &text("cpu.max"), &mut stats);
    // From a weight of 1 to 10000 back to the shares of 2 to 262144 that runtimes made it of.
    stats.cpu_shares = read::number(&dir.join("cpu.weight"))
        .map(|weight| (2.0 + (weight - 1.0) * 262_142.0 / 9999.0).round());
    memory(&text("memory.stat"), &mut stats);
    stats.memory_usage = read::number(&dir.join("memory.current"));
    stats.memory_max_usage = read::number(&dir.join("memory.peak"));
    stats.memory_swap = read::number(&dir.join("memory.swap.current"));
    let inactive_file = find(&text("memory.stat"), "inactive_file").unwrap_or(0.0);
    stats.memory_working_set = stats.memory_usage.map(|usage| (usage - inactive_file).max(0.0));
    stats.memory_limit = limit(&text("memory.max"));
    stats.memory_swap_limit = limit(&text("memory.swap.max"));
    stats.memory_reservation = limit(&text("memory.low"));
    let events = text("memory.events");
    stats.memory_failcnt = find(&events, "max");
    stats.oom_events = find(&events, "oom_kill");
    io(&text("io.stat"), &mut stats);
    stats.threads = read::number(&dir.join("pids.current"));
    stats.threads_max = limit(&text("pids.max"));
    let processes = text("cgroup.procs");
    if !processes.is_empty() {
        stats.processes = Some(processes.lines().count() as f64);
        stats.first_process = processes.lines().next().and_then(|line| line.parse().ok());
    }
    for (resource, file) in [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")] {
        let text = text(file);
        let seconds = |kind: &str| pressure_total(&text, kind).map(|micros| micros / 1e6);
        if !text.is_empty() {
            stats.pressure.insert(resource, (seconds("some"), seconds("full")));
        }
    }
    stats
}

fn find(text: &str, name: &str) -> Option<f64> {
    read::pairs(text).find(|(other, _)| *other == name).map(|(_, value)| value)
}

fn cpu(stat: &str, max: &str, stats: &mut Stats) {
    for (name, value) in read::pairs(stat) {
        let seconds = Some(value / 1e6);
        match name {
            "usage_usec" => stats.cpu_total = seconds,
            "user_usec" => stats.cpu_user = seconds,
            "system_usec" => stats.cpu_system = seconds,
            "nr_periods" => stats.cfs_periods = Some(value),
            "nr_throttled" => stats.cfs_throttled_periods = Some(value),
            "throttled_usec" => stats.cfs_throttled_seconds = seconds,
            _ => {}
        }
    }
    if let Some((quota, period)) = max.trim().split_once(' ') {
        stats.cpu_quota = quota.parse().ok();
        stats.cpu_period = period.parse().ok();
    }
    if stats.cpu_quota.is_none() {
        // Without a quota nothing is throttled, and cAdvisor shows none of these.
        (stats.cfs_periods, stats.cfs_throttled_periods, stats.cfs_throttled_seconds) = (None, None, None);
    }
}

fn memory(stat: &str, stats: &mut Stats) {
    for (name, value) in read::pairs(stat) {
        match name {
            "file" => stats.memory_cache = Some(value),
            "anon" => stats.memory_rss = Some(value),
            "file_mapped" => stats.memory_mapped_file = Some(value),
            "pgfault" => stats.page_faults = Some(value),
            "pgmajfault" => stats.major_page_faults = Some(value),
            _ => {}
        }
    }
}

/// Reads `8:0 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0` lines.
fn io(text: &str, stats: &mut Stats) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().filter(|device| device.contains(':')) else { continue };
        let mut io = Io::default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            match name {
                "rbytes" => io.read_bytes = value,
                "wbytes" => io.written_bytes = value,
                "rios" => io.reads = value,
                "wios" => io.writes = value,
                _ => {}
            }
        }
        stats.io.insert(device.to_owned(), io);
    }
}
