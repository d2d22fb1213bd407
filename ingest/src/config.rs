//! Settings of the receivers.

use std::fmt;
use std::time::Duration;

use greylight_store::ByteSize;
use greylight_wire::compress::Caps;
use greylight_wire::loki::LokiOptions;
use greylight_wire::otlp::{LogOptions, MetricOptions};

/// Settings of the receivers: section `[ingest]`, variables `GREYLIGHT_INGEST__*`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Largest body as it is sent. Default `8MiB`.
    pub body_bytes_max: ByteSize,
    /// Largest body after decompression. Default `64MiB`, what OTLP recommends.
    pub decoded_bytes_max: ByteSize,
    /// Most that a body may grow in decompression, beyond its first MiB. Default 100.
    pub expansion_max: usize,
    /// Requests that are received at once; more are told to come again. Default 256.
    pub requests_max: usize,
    /// Memory that bodies being received may take at once. Default `256MiB`.
    pub in_flight_bytes_max: ByteSize,
    /// Longest that a request waits for such memory before it is told to come again. Default `2s`.
    #[serde(with = "humantime_serde")]
    pub room_wait_max: Duration,
    /// What `Retry-After` says to those that were not taken. Default `5s`.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// Longest that a body may take to arrive. Default `30s`.
    #[serde(with = "humantime_serde")]
    pub body_time_max: Duration,
    /// Furthest that a sample or record may lie in the future. Default `10m`.
    #[serde(with = "humantime_serde")]
    pub future_max: Duration,
    /// Labels of one series or stream. Default 64.
    pub labels_max: usize,
    /// Longest label or attribute name. Default `256B`.
    pub name_bytes_max: ByteSize,
    /// Longest label value. Default `4KiB`.
    pub label_value_bytes_max: ByteSize,
    /// Longest log body; a longer one is cut there, and its length kept as `greylight.truncated_bytes`.
    /// Default `256KiB`.
    pub line_bytes_max: ByteSize,
    /// Attributes of one log record. Default 256.
    pub attributes_max: usize,
    /// Names and values of one log record's attributes together. Default `64KiB`.
    pub attribute_bytes_max: ByteSize,
    /// Resource attributes that become labels of every OTLP series. `job`, `instance` and `target_info` come
    /// on top.
    pub otlp_metric_labels: Vec<String>,
    /// Resource attributes that become labels of every OTLP log record. `job` and `instance` come on top.
    pub otlp_log_labels: Vec<String>,
    /// Adds `otel_scope_name` and `otel_scope_version` to OTLP series. Default true.
    pub otlp_scope_labels: bool,
    /// Adds a `service_name` to Loki streams without one, as Loki does. Default true.
    pub loki_service_name: bool,
    /// Finds the severity of Loki's lines in level-like labels, metadata and words. Default true.
    pub loki_severity: bool,
}

impl Default for IngestConfig {
    fn default() -> Self {
        let metrics = MetricOptions::default();
        Self {
            body_bytes_max: ByteSize(8 << 20),
            decoded_bytes_max: ByteSize(64 << 20),
            expansion_max: 100,
            requests_max: 256,
            in_flight_bytes_max: ByteSize(256 << 20),
            room_wait_max: Duration::from_secs(2),
            retry_after: Duration::from_secs(5),
            body_time_max: Duration::from_secs(30),
            future_max: Duration::from_secs(10 * 60),
            labels_max: 64,
            name_bytes_max: ByteSize(256),
            label_value_bytes_max: ByteSize(4 << 10),
            line_bytes_max: ByteSize(256 << 10),
            attributes_max: 256,
            attribute_bytes_max: ByteSize(64 << 10),
            otlp_metric_labels: metrics.promote,
            otlp_log_labels: LogOptions::default().promote,
            otlp_scope_labels: metrics.scope_labels,
            loki_service_name: true,
            loki_severity: true,
        }
    }
}

/// Why settings of the receivers are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[ingest] {key} = {value} is not {allowed}")]
pub struct ConfigError {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

/// Largest cap on one decoded body: the store takes batches of at most 128 MiB, and columns take up to
/// twice the body.
const DECODED_BYTES_LIMIT: u64 = 64 << 20;

impl IngestConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |key, value: &dyn fmt::Display, allowed, fits: bool| {
            if fits { Ok(()) } else { Err(ConfigError { key, value: value.to_string(), allowed }) }
        };
        let decoded = self.decoded_bytes_max;
        check(
            "decoded_bytes_max",
            &decoded,
            "from 64KiB to 64MiB",
            (64 << 10..=DECODED_BYTES_LIMIT).contains(&decoded.0),
        )?;
        check(
            "body_bytes_max",
            &self.body_bytes_max,
            "from 1KiB to decoded_bytes_max",
            (1 << 10..=decoded.0).contains(&self.body_bytes_max.0),
        )?;
        check(
            "expansion_max",
            &self.expansion_max,
            "from 1 to 10000",
            (1..=10_000).contains(&self.expansion_max),
        )?;
        check(
            "requests_max",
            &self.requests_max,
            "from 1 to 100000",
            (1..=100_000).contains(&self.requests_max),
        )?;
        check(
            "in_flight_bytes_max",
            &self.in_flight_bytes_max,
            "from decoded_bytes_max to 1TiB",
            (decoded.0..=1 << 40).contains(&self.in_flight_bytes_max.0),
        )?;
        for (key, limit) in [("labels_max", self.labels_max), ("attributes_max", self.attributes_max)] {
            check(key, &limit, "at least 1", limit >= 1)?;
        }
        for (key, limit) in [
            ("name_bytes_max", self.name_bytes_max),
            ("label_value_bytes_max", self.label_value_bytes_max),
            ("line_bytes_max", self.line_bytes_max),
            ("attribute_bytes_max", self.attribute_bytes_max),
        ] {
            check(key, &limit, "from 16B to 64MiB", (16..=DECODED_BYTES_LIMIT).contains(&limit.0))?;
        }
        for (key, span) in [("body_time_max", self.body_time_max), ("retry_after", self.retry_after)] {
            check(key, &format!("{span:?}"), "from 1s to 1h", (1..=3600).contains(&span.as_secs()))?;
        }
        Ok(())
    }

    pub(crate) fn caps(&self) -> Caps {
        Caps { decoded_bytes_max: bytes(self.decoded_bytes_max), ratio_max: self.expansion_max }
    }

    pub(crate) fn metric_options(&self) -> MetricOptions {
        MetricOptions { promote: self.otlp_metric_labels.clone(), scope_labels: self.otlp_scope_labels }
    }

    pub(crate) fn log_options(&self) -> LogOptions {
        LogOptions { promote: self.otlp_log_labels.clone() }
    }

    pub(crate) fn loki_options(&self) -> LokiOptions {
        LokiOptions { discover_service_name: self.loki_service_name, detect_severity: self.loki_severity }
    }
}

/// Sizes are validated to be far below what a pointer can address.
pub(crate) fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(json: &str, want: &str) {
        let config: IngestConfig = serde_json::from_str(json).expect("well-formed settings");
        assert_eq!(config.validate().expect_err("out of range").to_string(), want);
    }

    #[test]
    fn defaults_are_valid_and_an_empty_section_is_the_default() {
        IngestConfig::default().validate().expect("defaults are valid");
        let empty: IngestConfig = serde_json::from_str("{}").expect("an empty section");
        assert_eq!(format!("{empty:?}"), format!("{:?}", IngestConfig::default()));
    }

    #[test]
    fn choices_reach_the_decoders() {
        let json = r#"{"otlp_log_labels":["a.b"],"otlp_metric_labels":["c.d"],"otlp_scope_labels":false,
            "loki_service_name":false,"loki_severity":false}"#;
        let config: IngestConfig = serde_json::from_str(json).expect("well-formed settings");
        assert_eq!(config.log_options().promote, ["a.b"]);
        assert_eq!(config.metric_options().promote, ["c.d"]);
        assert!(!config.metric_options().scope_labels);
        let loki = config.loki_options();
        assert!(!loki.discover_service_name && !loki.detect_severity);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = serde_json::from_str::<IngestConfig>(r#"{"line_bytes": 1}"#).expect_err("unknown key");
        assert!(error.to_string().contains("`line_bytes`"), "{error}");
    }

    #[test]
    fn values_out_of_range_name_key_value_and_range() {
        refused(
            r#"{"decoded_bytes_max":"1GiB"}"#,
            "[ingest] decoded_bytes_max = 1GiB is not from 64KiB to 64MiB",
        );
        refused(
            r#"{"body_bytes_max":"65MiB"}"#,
            "[ingest] body_bytes_max = 65MiB is not from 1KiB to decoded_bytes_max",
        );
        refused(r#"{"expansion_max":0}"#, "[ingest] expansion_max = 0 is not from 1 to 10000");
        refused(r#"{"requests_max":0}"#, "[ingest] requests_max = 0 is not from 1 to 100000");
        refused(
            r#"{"in_flight_bytes_max":"1MiB"}"#,
            "[ingest] in_flight_bytes_max = 1MiB is not from decoded_bytes_max to 1TiB",
        );
        refused(r#"{"labels_max":0}"#, "[ingest] labels_max = 0 is not at least 1");
        refused(r#"{"line_bytes_max":"1B"}"#, "[ingest] line_bytes_max = 1B is not from 16B to 64MiB");
        refused(r#"{"retry_after":"0s"}"#, "[ingest] retry_after = 0ns is not from 1s to 1h");
    }
}
