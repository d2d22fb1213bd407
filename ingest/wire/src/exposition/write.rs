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
        for (keyword, text) in [("HELP", help), ("TYPE", word(self.format, kind))] {
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

    /// Begins a family of which only name and type are known. The name is written as it is, in quotes where it is no
    /// plain one.
    pub fn family_type(&mut self, name: &str, kind: MetricType) {
        self.out.push_str("# TYPE ");
        self.name(name);
        self.out.push(' ');
        self.out.push_str(word(self.format, kind));
        self.out.push('\n');
    }

    /// Adds a sample of the family begun last. `name` is the series' name with its suffixes.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.series(name, labels);
        write_value(&mut self.out, value);
        self.out.push('\n');
    }

    /// Adds a sample with its time, in epoch milliseconds; in seconds in OpenMetrics.
    pub fn sample_at(&mut self, name: &str, labels: &[(&str, &str)], value: f64, t_ms: i64) {
        self.series(name, labels);
        write_value(&mut self.out, value);
        self.out.push(' ');
        match self.format {
            Format::PrometheusText => self.out.push_str(&t_ms.to_string()),
            Format::OpenMetrics => write_value(&mut self.out, t_ms as f64 / 1000.0),
        }
        self.out.push('\n');
    }

    /// Writes name and labels, with a space behind them.
    fn series(&mut self, name: &str, labels: &[(&str, &str)]) {
        let mut separator = '{';
        if is_plain_name(name) {
            self.out.push_str(name);
        } else {
            self.out.push('{');
            self.name(name);
            separator = ',';
        }
        for (label, text) in labels {
            self.out.push(separator);
            separator = ',';
            self.name(label);
            self.out.push_str("=\"");
            escape(&mut self.out, text, true);
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
    }

    fn name(&mut self, name: &str) {
        if is_plain_name(name) {
            self.out.push_str(name);
        } else {
            self.out.push('"');
            escape(&mut self.out, name, true);
            self.out.push('"');
        }
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

fn word(format: Format, kind: MetricType) -> &'static str {
    match (format, kind) {
        (Format::PrometheusText, MetricType::Unknown) => "untyped",
        (Format::PrometheusText, MetricType::Info | MetricType::StateSet) => "gauge",
        (Format::PrometheusText, MetricType::GaugeHistogram) => "histogram",
        _ => kind.word(),
    }
}

/// Tells whether a name is read without quotes by everyone: letters, digits, `_` and `:`, no digit first.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    !name.is_empty() && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_plain_stand_in_quotes() {
        let mut page = Writer::new(Format::PrometheusText);
        page.family_type("http.requests", MetricType::Unknown);
        page.sample_at("http.requests", &[("a.b", "x\"y"), ("job", "")], 1.5, -7);
        page.family_type("up", MetricType::Gauge);
        page.sample_at("up", &[], f64::NAN, 60_000);
        let want = "# TYPE \"http.requests\" untyped\n{\"http.requests\",\"a.b\"=\"x\\\"y\",job=\"\"} 1.5 -7\n\
                    # TYPE up gauge\nup NaN 60000\n";
        assert_eq!(page.finish(), want);
    }
}
