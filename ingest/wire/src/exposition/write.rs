//! Builds a page.

use super::{Format, MetricType};
use crate::number::write_value;

/// Builds a page, a family after the other.
///
/// ```
/// use greylight_wire::exposition::{Format, MetricType, Writer};
/// let mut page = Writer::new(Format::PrometheusText);
/// page.family("greylight_ingest_samples", MetricType::Counter, "Samples that were stored.");
/// page.sample("greylight_ingest_samples_total", &[("protocol", "otlp")], 3.0);
/// assert!(page.finish().ends_with("greylight_ingest_samples_total{protocol=\"otlp\"} 3\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Writer {
    out: String,
    format: Format,
}

impl Writer {
    /// Starts an empty page.
    pub fn new(format: Format) -> Self {
        Self { out: String::new(), format }
    }

    /// Begins a family. `name` goes without `_total`: in the Prometheus text format a counter's family
    /// carries its series' name, so the suffix is added here.
    pub fn family(&mut self, name: &str, kind: MetricType, help: &str) {
        let suffix = match (self.format, kind) {
            (Format::PrometheusText, MetricType::Counter) => "_total",
            _ => "",
        };
        let word = match (self.format, kind) {
            (Format::PrometheusText, MetricType::Unknown) => "untyped",
            (Format::PrometheusText, MetricType::Info | MetricType::StateSet) => "gauge",
            (Format::PrometheusText, MetricType::GaugeHistogram) => "histogram",
            _ => kind.word(),
        };
        for (keyword, text) in [("HELP", help), ("TYPE", word)] {
            self.out.push_str("# ");
            self.out.push_str(keyword);
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str(suffix);
            self.out.push(' ');
            escape(&mut self.out, text, self.format == Format::OpenMetrics);
            self.out.push('\n');
        }
    }

    /// Adds a sample of the family begun last. `name` is the series' name with its suffixes.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            self.out.push(separator);
            separator = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(&mut self.out, text, true);
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
        write_value(&mut self.out, value);
        self.out.push('\n');
    }

    /// Adds a classic histogram of the family begun last.
    ///
    /// - `buckets`: upper bound and count **up to** it, rising; `+Inf` is added from `count`.
    /// - `sum`, `count`: of all observations.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, up_to) in buckets.iter().copied().chain([(f64::INFINITY, count)]) {
            let mut le = String::new();
            write_value(&mut le, bound);
            let with_le = [labels, &[("le", le.as_str())]].concat();
            self.sample(&bucket, &with_le, up_to as f64);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }

    /// Ends the page and returns it.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}
