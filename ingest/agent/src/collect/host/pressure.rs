//! `/proc/pressure`: how long tasks waited for a resource.

use std::path::Path;

use super::read::{self, CollectError};
use crate::metric::Page;

/// Shows the files in `dir`; a kernel that was built without them fails the collector.
pub(super) fn collect(dir: &Path, page: &mut Page) -> Result<(), CollectError> {
    let show = |page: &mut Page, name: &'static str, help: &'static str, micros: Option<f64>| {
        if let Some(micros) = micros {
            page.counter(name, help, &[], micros / 1e6);
        }
    };
    let cpu = read::text(&dir.join("cpu"))?;
    let help = "Total time in seconds that processes have waited for CPU time";
    show(page, "node_pressure_cpu_waiting_seconds_total", help, total(&cpu, "some"));
    let io = read::text(&dir.join("io"))?;
    let help = "Total time in seconds that processes have waited due to IO congestion";
    show(page, "node_pressure_io_waiting_seconds_total", help, total(&io, "some"));
    let help = "Total time in seconds no process could make progress due to IO congestion";
    show(page, "node_pressure_io_stalled_seconds_total", help, total(&io, "full"));
    let memory = read::text(&dir.join("memory"))?;
    let help = "Total time in seconds that processes have waited for memory";
    show(page, "node_pressure_memory_waiting_seconds_total", help, total(&memory, "some"));
    let help = "Total time in seconds no process could make progress due to memory congestion";
    show(page, "node_pressure_memory_stalled_seconds_total", help, total(&memory, "full"));
    // It came with 6.1, and has this line alone.
    let irq = read::optional(&dir.join("irq")).unwrap_or_default();
    let help = "Total time in seconds no process could make progress due to IRQ congestion";
    show(page, "node_pressure_irq_stalled_seconds_total", help, total(&irq, "full"));
    Ok(())
}

/// Reads the microseconds of `some avg10=0.00 avg60=0.00 avg300=0.00 total=5`.
pub(in crate::collect) fn total(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
    line.split_once("total=")?.1.trim().parse().ok()
}
