//! cAdvisor's names for what cgroup files say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use greylight_wire::exposition::MetricType;

use super::identity::Identity;
use super::{Io, Stats};
use crate::clock::Timestamp;
use crate::collect::host::parse_dev;
use crate::collect::read;
use crate::metric::{Labels, Page};

/// One cgroup with all that is known of it.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) path: &'a str,
    pub(super) identity: &'a Identity,
    pub(super) stats: &'a Stats,
    /// `/proc/<pid>/net/dev` of its network namespace.
    pub(super) network: Option<String>,
    pub(super) now: Timestamp,
    pub(super) created: Option<f64>,
}

/// Shows the machine.
pub(super) fn machine(procfs: &Path, page: &mut Page) {
    let cpus = read::optional(&procfs.join("cpuinfo")).unwrap_or_default();
    let n = cpus.lines().filter(|line| line.starts_with("processor")).count();
    if n > 0 {
        page.gauge("machine_cpu_cores", "Number of logical CPU cores.", &[], n as f64);
    }
    let memory = read::optional(&procfs.join("meminfo")).unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    if let Some(kib) = kib {
        page.gauge("machine_memory_bytes", "Amount of memory installed on the machine.", &[], kib * 1024.0);
    }
}

/// Reads the names of block devices by major:minor, as `/dev/<name>`.
pub(super) fn devices(sysfs: &Path) -> BTreeMap<String, String> {
    let dir = sysfs.join("dev/block");
    let name = |number: &String| {
        let target = std::fs::read_link(dir.join(number)).ok()?;
        Some(format!("/dev/{}", target.file_name()?.to_str()?))
    };
    let numbers = read::names(&dir);
    numbers.into_iter().filter_map(|number| name(&number).map(|name| (number, name))).collect()
}

/// Shows one cgroup.
pub(super) fn container(shown: &Shown<'_>, devices: &BTreeMap<String, String>, page: &mut Page) {
    let Identity { name, image, namespace, pod, container, labels: of_container } = shown.identity;
    let own = [("id", shown.path), ("name", name), ("image", image), ("namespace", namespace), ("pod", pod)];
    // Those that are empty are no labels: `image!=""` leaves out what is no container.
    let own = own.into_iter().chain([("container", container.as_str())]);
    let mut labels: Labels = own.map(|(name, value)| (Cow::Borrowed(name), value.to_owned())).collect();
    labels.extend(of_container.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone())));
    let mut out = Out { page, labels };
    out.gauge(
        "container_last_seen",
        "Last time a container was seen by the exporter",
        Some(shown.now.as_seconds()),
    );
    let help = "Start time of the container since unix epoch in seconds.";
    out.gauge("container_start_time_seconds", help, shown.created);
    cpu(shown.stats, &mut out);
    memory(shown.stats, &mut out);
    limits(shown.stats, &mut out);
    tasks(shown.stats, &mut out);
    for (number, io) in &shown.stats.io {
        let device = devices.get(number).map_or("", String::as_str);
        disk(*io, device, &mut out);
    }
    if let Some(text) = &shown.network {
        network(text, &mut out);
    }
}

struct Out<'p> {
    page: &'p mut Page,
    labels: Labels,
}

impl Out<'_> {
    fn counter(&mut self, name: &'static str, help: &'static str, value: Option<f64>) {
        self.with(name, help, &[], value);
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.page.put_labelled(name, MetricType::Gauge, help, self.labels.clone(), value);
        }
    }

    /// Shows a counter with more labels.
    fn with(
        &mut self,
        name: &'static str,
        help: &'static str,
        more: &[(&'static str, &str)],
        value: Option<f64>,
    ) {
        if let Some(value) = value {
            let more = more.iter().map(|(name, value)| (Cow::Borrowed(*name), (*value).to_owned()));
            let labels = self.labels.iter().cloned().chain(more).collect();
            self.page.put_labelled(name, MetricType::Counter, help, labels, value);
        }
    }
}

fn cpu(stats: &Stats, out: &mut Out<'_>) {
    let help = "Cumulative cpu time consumed in seconds.";
    out.with("container_cpu_usage_seconds_total", help, &[("cpu", "total")], stats.cpu_total);
    let help = "Cumulative user cpu time consumed in seconds.";
    out.counter("container_cpu_user_seconds_total", help, stats.cpu_user);
    let help = "Cumulative system cpu time consumed in seconds.";
    out.counter("container_cpu_system_seconds_total", help, stats.cpu_system);
    let help = "Number of elapsed enforcement period intervals.";
    out.counter("container_cpu_cfs_periods_total", help, stats.cfs_periods);
    let help = "Number of throttled period intervals.";
    out.counter("container_cpu_cfs_throttled_periods_total", help, stats.cfs_throttled_periods);
    let help = "Total time duration the container has been throttled.";
    out.counter("container_cpu_cfs_throttled_seconds_total", help, stats.cfs_throttled_seconds);
    const PRESSURE: [(&str, [&str; 4]); 3] = [
        (
            "cpu",
            [
                "container_pressure_cpu_waiting_seconds_total",
                "Total time duration tasks in the container have waited due to CPU congestion.",
                "container_pressure_cpu_stalled_seconds_total",
                "Total time duration no tasks in the container could make progress due to CPU congestion.",
            ],
        ),
        (
            "memory",
            [
                "container_pressure_memory_waiting_seconds_total",
                "Total time duration tasks in the container have waited due to memory congestion.",
                "container_pressure_memory_stalled_seconds_total",
                "Total time duration no tasks in the container could make progress due to memory congestion.",
            ],
        ),
        (
            "io",
            [
                "container_pressure_io_waiting_seconds_total",
                "Total time duration tasks in the container have waited due to IO congestion.",
                "container_pressure_io_stalled_seconds_total",
                "Total time duration no tasks in the container could make progress due to IO congestion.",
            ],
        ),
    ];
    for (resource, [waiting, waiting_help, stalled, stalled_help]) in PRESSURE {
        let (some, full) = stats.pressure.get(resource).copied().unwrap_or_default();
        out.counter(waiting, waiting_help, some);
        out.counter(stalled, stalled_help, full);
    }
}

fn memory(stats: &Stats, out: &mut Out<'_>) {
    let help = "Current memory usage in bytes, including all memory regardless of when it was accessed";
    out.gauge("container_memory_usage_bytes", help, stats.memory_usage);
    out.gauge(
        "container_memory_max_usage_bytes",
        "Maximum memory usage recorded in bytes",
        stats.memory_max_usage,
    );
    out.gauge(
        "container_memory_working_set_bytes",
        "Current working set in bytes.",
        stats.memory_working_set,
    );
    out.gauge("container_memory_rss", "Size of RSS in bytes.", stats.memory_rss);
    out.gauge("container_memory_cache", "Number of bytes of page cache memory.", stats.memory_cache);
    out.gauge(
        "container_memory_mapped_file",
        "Size of memory mapped files in bytes.",
        stats.memory_mapped_file,
    );
    out.gauge("container_memory_swap", "Container swap usage in bytes.", stats.memory_swap);
    out.counter("container_memory_failcnt", "Number of memory usage hits limits", stats.memory_failcnt);
    let help = "Cumulative count of memory allocation failures.";
    for (kind, value) in [("pgfault", stats.page_faults), ("pgmajfault", stats.major_page_faults)] {
        let labels = [("failure_type", kind), ("scope", "hierarchy")];
        out.with("container_memory_failures_total", help, &labels, value);
    }
    let help = "Count of out of memory events observed for the container";
    out.counter("container_oom_events_total", help, stats.oom_events);
}

fn limits(stats: &Stats, out: &mut Out<'_>) {
    out.gauge("container_spec_cpu_quota", "CPU quota of the container.", stats.cpu_quota);
    out.gauge("container_spec_cpu_period", "CPU period of the container.", stats.cpu_period);
    out.gauge("container_spec_cpu_shares", "CPU share of the container.", stats.cpu_shares);
    out.gauge("container_spec_memory_limit_bytes", "Memory limit for the container.", stats.memory_limit);
    let help = "Memory swap limit for the container.";
    out.gauge("container_spec_memory_swap_limit_bytes", help, stats.memory_swap_limit);
    let help = "Memory reservation limit for the container.";
    out.gauge("container_spec_memory_reservation_limit_bytes", help, stats.memory_reservation);
}

fn tasks(stats: &Stats, out: &mut Out<'_>) {
    out.gauge("container_processes", "Number of processes running inside the container.", stats.processes);
    out.gauge("container_threads", "Number of threads running inside the container", stats.threads);
    let help = "Maximum number of threads allowed inside the container, infinity if value is zero";
    out.gauge("container_threads_max", help, stats.threads_max);
}

fn disk(io: Io, device: &str, out: &mut Out<'_>) {
    let labels = [("device", device)];
    let help = "Cumulative count of bytes read";
    out.with("container_fs_reads_bytes_total", help, &labels, Some(io.read_bytes));
    let help = "Cumulative count of bytes written";
    out.with("container_fs_writes_bytes_total", help, &labels, Some(io.written_bytes));
    let help = "Cumulative count of reads completed";
    out.with("container_fs_reads_total", help, &labels, Some(io.reads));
    let help = "Cumulative count of writes completed";
    out.with("container_fs_writes_total", help, &labels, Some(io.writes));
}

fn network(text: &str, out: &mut Out<'_>) {
    const COLUMNS: [(usize, &str, &str); 8] = [
        (0, "container_network_receive_bytes_total", "Cumulative count of bytes received"),
        (1, "container_network_receive_packets_total", "Cumulative count of packets received"),
        (
            2,
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
        ),
        (
            3,
            "container_network_receive_packets_dropped_total",
            "Cumulative count of packets dropped while receiving",
        ),
        (8, "container_network_transmit_bytes_total", "Cumulative count of bytes transmitted"),
        (9, "container_network_transmit_packets_total", "Cumulative count of packets transmitted"),
        (
            10,
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
        ),
        (
            11,
            "container_network_transmit_packets_dropped_total",
            "Cumulative count of packets dropped while transmitting",
        ),
    ];
    // As in cAdvisor, what stays inside and what is the host's end of a container's wire is left out.
    let is_shown = |device: &str| !["lo", "docker", "veth"].iter().any(|prefix| device.starts_with(prefix));
    for (device, numbers) in parse_dev(text).filter(|(device, _)| is_shown(device)) {
        for (column, name, help) in COLUMNS {
            out.with(name, help, &[("interface", device)], Some(numbers[column]));
        }
    }
}
