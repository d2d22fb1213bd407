//! `/proc/stat` by CPU, and `/proc/schedstat`.

use std::collections::BTreeMap;

use crate::metric::Page;

// What user space calls a tick is a hundredth of a second on every architecture we run on.
const TICKS_A_SECOND: f64 = 100.0;
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
// A CPU whose idle time falls by more was taken off and put back; less is the kernel's own inexactness.
const BACK_SECONDS_MAX: f64 = 3.0;

/// Seconds by mode of each CPU as last shown: idle and iowait run backwards in the kernel, counters must not.
#[derive(Debug, Default)]
pub(super) struct Cpus {
    last: BTreeMap<String, [f64; 10]>,
}

impl Cpus {
    /// Shows `/proc/stat`; `None` if it has no CPU.
    pub(super) fn collect(&mut self, stat: &str, page: &mut Page) -> Option<()> {
        let mut n_cpus = 0;
        for (cpu, seconds) in stat.lines().filter_map(parse_line) {
            n_cpus += 1;
            let last = self.last.entry(cpu.to_owned()).or_insert(seconds);
            advance(last, &seconds);
            for (mode, value) in MODES.into_iter().zip(*last) {
                let labels = [("cpu", cpu), ("mode", mode)];
                page.counter(
                    "node_cpu_seconds_total",
                    "Seconds the CPUs spent in each mode.",
                    &labels,
                    value,
                );
            }
            for (mode, value) in [("user", last[8]), ("nice", last[9])] {
                let help = "Seconds the CPUs spent in guests (VMs) for each mode.";
                page.counter("node_cpu_guest_seconds_total", help, &[("cpu", cpu), ("mode", mode)], value);
            }
        }
        (n_cpus > 0).then_some(())
    }
}

/// Takes over newer values, none of which may be lower, but for a CPU that began anew.
fn advance(last: &mut [f64; 10], new: &[f64; 10]) {
    if last[IDLE] - new[IDLE] >= BACK_SECONDS_MAX {
        *last = *new;
    }
    for (last, new) in last.iter_mut().zip(new) {
        *last = last.max(*new);
    }
}

/// Reads `cpu0 1 2 3 ...` into seconds; older kernels have fewer columns.
fn parse_line(line: &str) -> Option<(&str, [f64; 10])> {
    let mut words = line.split_ascii_whitespace();
    let cpu = words.next()?.strip_prefix("cpu")?;
    if cpu.is_empty() || !cpu.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut seconds = [0.0; 10];
    for (second, word) in seconds.iter_mut().zip(words) {
        *second = word.parse::<u64>().ok()? as f64 / TICKS_A_SECOND;
    }
    Some((cpu, seconds))
}

/// Shows `/proc/schedstat`.
pub(super) fn schedstat(text: &str, page: &mut Page) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let [.., running, waiting, slices] = numbers.as_slice() else { continue };
        if numbers.len() != 9 {
            continue;
        }
        let labels = [("cpu", cpu)];
        let help = "Number of seconds CPU spent running a process.";
        page.counter("node_schedstat_running_seconds_total", help, &labels, running / 1e9);
        let help = "Number of seconds spent by processing waiting for this CPU.";
        page.counter("node_schedstat_waiting_seconds_total", help, &labels, waiting / 1e9);
        let help = "Number of timeslices executed by CPU.";
        page.counter("node_schedstat_timeslices_total", help, &labels, *slices);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_never_falls_unless_the_cpu_began_anew() {
        let mut cpus = Cpus::default();
        let mut idle_after = |idle: u64| {
            let mut page = Page::default();
            cpus.collect(&format!("cpu  1 1\ncpu0 100 0 0 {idle} 0 0 0 0 0 0\n"), &mut page).unwrap();
            page.families()[0].samples[IDLE].1
        };
        assert_eq!(idle_after(1000), 10.0);
        assert_eq!(idle_after(990), 10.0);
        assert_eq!(idle_after(1100), 11.0);
        assert_eq!(idle_after(200), 2.0);
    }
}
