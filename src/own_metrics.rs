//! Our own exposition: base units, standard names.

use greylight_ingest::IngestStats;
use greylight_store::Status;
use greylight_store::model::Timestamp;
use greylight_wire::exposition::{Format, MetricType, Writer};

/// Linux counts processor time in hundredths of a second on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of a page of memory on every architecture that we build for.
const PAGE_BYTES: f64 = 4096.0;

/// Writes the page of `/metrics`; `more` adds what another part says of itself.
pub(crate) fn page(
    status: &Status,
    ingest: &IngestStats,
    started_at: Timestamp,
    more: impl FnOnce(&mut Writer),
) -> String {
    let mut page = Writer::new(Format::PrometheusText);
    page.family("greylight_build_info", MetricType::Gauge, "The version that runs; always 1.");
    page.sample("greylight_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    process(&mut page, started_at);
    ingest.render(&mut page);
    store(&mut page, status);
    tables(&mut page, status);
    more(&mut page);
    page.finish()
}

fn process(page: &mut Writer, started_at: Timestamp) {
    gauge(
        page,
        "process_start_time_seconds",
        "When the process started.",
        started_at.as_millis() as f64 / 1e3,
    );
    let Some(fields) = stat_fields() else { return };
    let field = |n: usize| fields.get(n - 3).copied().unwrap_or(0.0);
    counter(page, "process_cpu_seconds", "Processor time spent.", (field(14) + field(15)) / TICKS_PER_SECOND);
    gauge(page, "process_resident_memory_bytes", "Memory in use.", field(24) * PAGE_BYTES);
}

/// Reads the fields of `/proc/self/stat` from the third on, as proc(5) counts them: those behind the command's name,
/// which may hold anything.
fn stat_fields() -> Option<Vec<f64>> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect())
}

/// Says how much memory the process has.
pub(crate) fn resident_bytes() -> Option<u64> {
    // A count of pages, far below what a float holds exactly.
    stat_fields()?.get(24 - 3).map(|pages| (pages * PAGE_BYTES) as u64)
}

/// Says how much memory the process may have: what its control group allows, else what the machine has.
pub(crate) fn memory_limit_bytes() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // Version 1 writes a number beyond any memory where there is no limit.
    groups.into_iter().find_map(number).into_iter().chain(total.map(|kib| kib * 1024)).min()
}

fn store(page: &mut Writer, status: &Status) {
    let flag = |on: bool| if on { 1.0 } else { 0.0 };
    gauge(
        page,
        "greylight_store_read_only",
        "1 after a write of the log or the catalog failed.",
        flag(status.read_only),
    );
    gauge(page, "greylight_store_refusing", "1 while ingest is refused.", flag(status.refusing.is_some()));
    gauge(page, "greylight_store_free_bytes", "Bytes free on the disk.", status.free_bytes as f64);
    gauge(page, "greylight_head_bytes", "Bytes that the heads hold.", status.head_bytes as f64);
    gauge(page, "greylight_head_series", "Series in the heads.", status.n_head_series as f64);
    counter(page, "greylight_store_samples", "Samples taken.", status.n_samples as f64);
    counter(page, "greylight_store_log_records", "Log records taken.", status.n_log_records as f64);
    counter(
        page,
        "greylight_store_coarse_log_records",
        "Log records stored under a coarse pattern, since their service has too many.",
        status.n_coarse_records as f64,
    );
    counter(page, "greylight_wal_frames", "Frames written to the log.", status.wal.n_frames as f64);
    counter(page, "greylight_wal_bytes", "Bytes written to the log.", status.wal.bytes_written as f64);
    counter(page, "greylight_wal_fsyncs", "Syncs of the log.", status.wal.n_syncs as f64);
    counter(
        page,
        "greylight_wal_fsync_seconds",
        "Time spent in syncs of the log.",
        status.wal.sync_time.as_secs_f64(),
    );
    gauge(
        page,
        "greylight_wal_replay_seconds",
        "Time that replay took at the start.",
        status.wal.replay_time.as_secs_f64(),
    );
    counter(page, "greylight_store_seals", "Heads sealed into segments.", status.n_seals as f64);
    counter(page, "greylight_store_merges", "Merges of segments.", status.n_merges as f64);
    counter(
        page,
        "greylight_store_failures",
        "Background steps that failed and were tried again.",
        status.n_failures as f64,
    );
    counter(
        page,
        "greylight_scrub_bytes",
        "Bytes of files read again and held against their checksums.",
        status.scrubbed_bytes as f64,
    );
    counter(
        page,
        "greylight_damaged_segments",
        "Segments found damaged and taken out of answers.",
        status.n_damaged as f64,
    );
    gauge(
        page,
        "greylight_corrupt_files",
        "Files left out of answers because they are damaged.",
        status.missing.len() as f64,
    );
}

fn tables(page: &mut Writer, status: &Status) {
    for (name, help) in [
        ("greylight_table_bytes", "Bytes of a table's files."),
        ("greylight_table_rows", "Rows of a table's files."),
        ("greylight_table_segments", "Segments of a table."),
    ] {
        page.family(name, MetricType::Gauge, help);
        for table in &status.tables {
            let value = match name {
                "greylight_table_bytes" => table.bytes,
                "greylight_table_rows" => table.n_rows,
                _ => table.n_segments,
            };
            page.sample(
                name,
                &[("tenant", table.tenant.as_str()), ("table", table.table.as_str())],
                value as f64,
            );
        }
    }
}

fn gauge(page: &mut Writer, name: &str, help: &str, value: f64) {
    page.family(name, MetricType::Gauge, help);
    page.sample(name, &[], value);
}

fn counter(page: &mut Writer, name: &str, help: &str, value: f64) {
    page.family(name, MetricType::Counter, help);
    page.sample(&format!("{name}_total"), &[], value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_store() {
        let status = Status { n_samples: 7, ..Status::default() };
        let page = page(&status, &IngestStats::default(), Timestamp::from_millis(1500), |_| {});
        assert!(page.contains("\ngreylight_store_samples_total 7\n"), "{page}");
        assert!(page.contains("\nprocess_start_time_seconds 1.5\n"), "{page}");
        assert!(page.contains("\nprocess_resident_memory_bytes "), "{page}");
        let (used, limit) = (resident_bytes().expect("Linux"), memory_limit_bytes().expect("Linux"));
        assert!(1 << 20 < used && used < limit, "{used} of {limit}");
    }
}
