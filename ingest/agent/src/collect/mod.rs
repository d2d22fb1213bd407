//! Reads what the kernel tells about a host and its containers.

pub mod container;
pub mod host;
mod read;

use crate::metric::Page;

/// Shows what this process costs, under the names that every Prometheus client uses.
pub(crate) fn own_process(page: &mut Page) {
    let Some(stat) = read::optional("/proc/self/stat".as_ref()) else { return };
    // The command's name is in brackets, and may hold anything.
    let Some((_, fields)) = stat.rsplit_once(')') else { return };
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        let help = "Total user and system CPU time spent in seconds.";
        page.counter("process_cpu_seconds_total", help, &[], (user + system) / 100.0);
    }
    let status = read::optional("/proc/self/status".as_ref()).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    if let Some(kib) = kib {
        page.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[], kib * 1024.0);
    }
    let open = read::names("/proc/self/fd".as_ref()).len();
    page.gauge("process_open_fds", "Number of open file descriptors.", &[], open as f64);
}
