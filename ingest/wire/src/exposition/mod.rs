//! The Prometheus text format (0.0.4 and 1.0.0) and OpenMetrics text, read and written.
//!
//! [`parse()`] walks a page line by line and hands each line to a [`Visitor`], borrowed from the page;
//! [`Writer`] builds a page.

mod parse;
mod write;

pub use parse::{Exemplar, Label, ParseError, Sample, Visitor, parse};
pub use write::{Writer, is_plain_name};

/// Which of the two text formats a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain`, versions 0.0.4 and 1.0.0: timestamps in milliseconds, no exemplars.
    PrometheusText,
    /// `application/openmetrics-text`: timestamps in seconds, exemplars, `# EOF` at the end.
    OpenMetrics,
}

impl Format {
    /// Reads the format off a `Content-Type`; parameters are ignored. `None` if it is neither.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or("").trim();
        if media.eq_ignore_ascii_case("text/plain") {
            Some(Self::PrometheusText)
        } else if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else {
            None
        }
    }

    /// The `Content-Type` under which a page of this format is served.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::PrometheusText => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// Not stated (`untyped` in the Prometheus text format).
    #[default]
    Unknown,
    /// Only goes up, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic or native histogram.
    Histogram,
    /// Histogram whose buckets may fall.
    GaugeHistogram,
    /// Quantiles computed by the client.
    Summary,
    /// Text in labels, value 1.
    Info,
    /// A set of booleans.
    StateSet,
}

impl MetricType {
    /// Reads a type word; both formats' words are taken.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "unknown" | "untyped" => Self::Unknown,
            _ => return None,
        })
    }

    /// The type's word in OpenMetrics and in the Prometheus metadata API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}
