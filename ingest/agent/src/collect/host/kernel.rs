//! Small files of the kernel: load, boot time, processes, file handles, clock, names.

use std::path::Path;

use super::read;
use crate::clock::Timestamp;
use crate::metric::Page;

/// Shows the lines of `/proc/stat` that are not about one CPU.
pub(super) fn stat(text: &str, page: &mut Page) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) =
            (words.next(), words.next().and_then(|word| word.parse::<f64>().ok()))
        else {
            continue;
        };
        match name {
            "intr" => {
                page.counter("node_intr_total", "Total number of interrupts serviced.", &[], value);
            }
            "ctxt" => {
                page.counter("node_context_switches_total", "Total number of context switches.", &[], value);
            }
            "processes" => page.counter("node_forks_total", "Total number of forks.", &[], value),
            "btime" => page.gauge("node_boot_time_seconds", "Node boot time, in unixtime.", &[], value),
            "procs_running" => {
                page.gauge("node_procs_running", "Number of processes in runnable state.", &[], value);
            }
            "procs_blocked" => {
                let help = "Number of processes blocked waiting for I/O to complete.";
                page.gauge("node_procs_blocked", help, &[], value);
            }
            _ => {}
        }
    }
}

/// Shows `/proc/loadavg`.
pub(super) fn loadavg(text: &str, page: &mut Page) -> Option<()> {
    let mut words = text.split_ascii_whitespace();
    let names = [("node_load1", "1m load average."), ("node_load5", "5m load average.")];
    for (name, help) in names.into_iter().chain([("node_load15", "15m load average.")]) {
        page.gauge(name, help, &[], words.next()?.parse().ok()?);
    }
    Some(())
}

/// Shows `/proc/sys/fs/file-nr`: allocated, unused, maximum.
pub(super) fn filefd(text: &str, page: &mut Page) -> Option<()> {
    let mut words = text.split_ascii_whitespace();
    let allocated = words.next()?.parse().ok()?;
    let maximum = words.nth(1)?.parse().ok()?;
    page.gauge("node_filefd_allocated", "File descriptor statistics: allocated.", &[], allocated);
    page.gauge("node_filefd_maximum", "File descriptor statistics: maximum.", &[], maximum);
    Some(())
}

/// Shows `/proc/sys/net/netfilter`, which is empty where the module is not loaded.
pub(super) fn conntrack(dir: &Path, page: &mut Page) {
    if let Some(entries) = read::number(&dir.join("nf_conntrack_count")) {
        let help = "Number of currently allocated flow entries for connection tracking.";
        page.gauge("node_nf_conntrack_entries", help, &[], entries);
    }
    if let Some(limit) = read::number(&dir.join("nf_conntrack_max")) {
        let help = "Maximum size of connection tracking table.";
        page.gauge("node_nf_conntrack_entries_limit", help, &[], limit);
    }
}

/// Shows `/proc/sys/kernel/random`.
pub(super) fn entropy(dir: &Path, page: &mut Page) {
    if let Some(bits) = read::number(&dir.join("entropy_avail")) {
        page.gauge("node_entropy_available_bits", "Bits of available entropy.", &[], bits);
    }
    if let Some(bits) = read::number(&dir.join("poolsize")) {
        page.gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", &[], bits);
    }
}

/// Shows the clock.
pub(super) fn time(now: Timestamp, page: &mut Page) {
    page.gauge("node_time_seconds", "System time in seconds since epoch (1970).", &[], now.as_seconds());
}

/// Shows the names of the system.
///
/// Those in `/proc/sys/kernel` are of the namespace in which proc was mounted, so that an agent in a container that
/// has the host's proc shows the host.
pub(super) fn uname(dir: &Path, page: &mut Page) {
    let own = rustix::system::uname();
    let of = |file: &str, own: &std::ffi::CStr| {
        let read = read::optional(&dir.join(file)).map(|text| text.trim_end().to_owned());
        read.unwrap_or_else(|| own.to_string_lossy().into_owned())
    };
    let (sysname, release) = (of("ostype", own.sysname()), of("osrelease", own.release()));
    let (version, nodename) = (of("version", own.version()), of("hostname", own.nodename()));
    let domainname = of("domainname", own.domainname());
    let labels = [
        ("domainname", domainname.as_str()),
        ("machine", &own.machine().to_string_lossy()),
        ("nodename", &nodename),
        ("release", &release),
        ("sysname", &sysname),
        ("version", &version),
    ];
    let help = "Labeled system information as provided by the uname system call.";
    page.gauge("node_uname_info", help, &labels, 1.0);
}
