//! `/proc/meminfo` and `/proc/vmstat`.

use greylight_wire::exposition::MetricType;

use super::read;
use crate::metric::Page;

/// Shows every line of `/proc/meminfo`: `Active(anon): 5 kB` is `node_memory_Active_anon_bytes` 5120.
pub(super) fn meminfo(text: &str, page: &mut Page) {
    for line in text.lines() {
        let Some((field, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(|word| word.parse::<f64>().ok()) else { continue };
        let field: String = field.replace('(', "_").replace(')', "");
        if !is_name(&field) {
            continue;
        }
        let (name, value) = match words.next() {
            Some("kB") => (format!("node_memory_{field}_bytes"), value * 1024.0),
            _ => (format!("node_memory_{field}"), value),
        };
        let help = format!("Memory information field {}.", name.trim_start_matches("node_memory_"));
        page.gauge(name, help, &[], value);
    }
}

fn is_name(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Shows the lines of `/proc/vmstat` that node_exporter keeps by default.
pub(super) fn vmstat(text: &str, page: &mut Page) {
    for (field, value) in read::pairs(text) {
        let kept = field.starts_with("oom_kill")
            || field.starts_with("pgpg")
            || field.starts_with("pswp")
            || (field.starts_with("pg") && field.contains("fault"));
        if kept && is_name(field) {
            let help = format!("/proc/vmstat information field {field}.");
            page.put(format!("node_vmstat_{field}"), MetricType::Unknown, help, &[], value);
        }
    }
}
