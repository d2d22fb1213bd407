//! `/proc/diskstats`.

use regex::Regex;

use crate::metric::Page;

const SECTOR_BYTES: f64 = 512.0;

/// Name, help and scale of each column behind a disk's name.
///
/// Source: Linux, Documentation/admin-guide/iostats.rst. Columns 12 to 15 came with 4.18, 16 and 17 with 5.5.
const COLUMNS: [(&str, &str, f64); 17] = [
    ("reads_completed_total", "The total number of reads completed successfully.", 1.0),
    ("reads_merged_total", "The total number of reads merged.", 1.0),
    ("read_bytes_total", "The total number of bytes read successfully.", SECTOR_BYTES),
    ("read_time_seconds_total", "The total number of seconds spent by all reads.", 0.001),
    ("writes_completed_total", "The total number of writes completed successfully.", 1.0),
    ("writes_merged_total", "The number of writes merged.", 1.0),
    ("written_bytes_total", "The total number of bytes written successfully.", SECTOR_BYTES),
    ("write_time_seconds_total", "This is the total number of seconds spent by all writes.", 0.001),
    ("io_now", "The number of I/Os currently in progress.", 1.0),
    ("io_time_seconds_total", "Total seconds spent doing I/Os.", 0.001),
    ("io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", 0.001),
    ("discards_completed_total", "The total number of discards completed successfully.", 1.0),
    ("discards_merged_total", "The total number of discards merged.", 1.0),
    ("discarded_sectors_total", "The total number of sectors discarded successfully.", 1.0),
    ("discard_time_seconds_total", "This is the total number of seconds spent by all discards.", 0.001),
    ("flush_requests_total", "The total number of flush requests completed successfully", 1.0),
    (
        "flush_requests_time_seconds_total",
        "This is the total number of seconds spent by all flush requests.",
        0.001,
    ),
];

/// Shows `/proc/diskstats`.
pub(super) fn collect(text: &str, exclude: &Regex, page: &mut Page) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let Some(device) = words.next().filter(|device| !exclude.is_match(device)) else { continue };
        for ((name, help, scale), word) in COLUMNS.into_iter().zip(words) {
            let Ok(value) = word.parse::<u64>() else { break };
            // Divided where the scale is a thousandth: 0.001 is no exact number, and peers divide.
            let value = if scale < 1.0 { value as f64 / 1000.0 } else { value as f64 * scale };
            let (name, labels) = (format!("node_disk_{name}"), [("device", device)]);
            if name == "node_disk_io_now" {
                page.gauge(name, help, &labels, value);
            } else {
                page.counter(name, help, &labels, value);
            }
        }
    }
}
