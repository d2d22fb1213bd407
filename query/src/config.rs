//! What queries may cost.

use std::time::Duration;

use greylight_store::read::Limits;

use crate::promql::EngineOptions;

/// Query settings: section `[query]`, variables `GREYLIGHT_QUERY__*`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Longest that a query may take. Default `30s`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Queries that run at once. Default twice the number of cores.
    pub concurrent_max: usize,
    /// Longest that a query waits for its turn. Default `5s`.
    #[serde(with = "humantime_serde")]
    pub queue_wait: Duration,
    /// Queries that wait at most, over all tenants; more are refused. Default 500.
    pub queued_max: usize,
    /// Series that one query may read. Default 100,000.
    pub series_max: u64,
    /// Samples or log records that one query may read. Default 50 million.
    pub samples_max: u64,
    /// Values (8 bytes each) that one intermediate result of PromQL may hold. Default 20 million.
    pub values_max: usize,
    /// Steps of a range query. Default 11,000.
    pub points_max: usize,
    /// How old a sample may be to still stand for its series. Default `5m`.
    #[serde(with = "humantime_serde")]
    pub lookback: Duration,
    /// Memory for results of range queries that dashboards ask for again, in bytes; 0 keeps none. Default 64 MiB.
    pub cache_bytes: usize,
    /// Rows that one SQL answer holds at most. Default 100,000.
    pub rows_max: usize,
    /// Memory that one SQL query may use, in bytes. Default 512 MiB.
    pub memory_bytes_max: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            concurrent_max: 2 * std::thread::available_parallelism().map_or(1, usize::from),
            queue_wait: Duration::from_secs(5),
            queued_max: 500,
            series_max: 100_000,
            samples_max: 50_000_000,
            values_max: 20_000_000,
            points_max: 11_000,
            lookback: Duration::from_secs(300),
            cache_bytes: 64 << 20,
            rows_max: 100_000,
            memory_bytes_max: 512 << 20,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting is zero and must not be.
    #[error("[query] {0} is zero; it must be at least 1")]
    Zero(&'static str),
    /// Something is to be taken away that is not there.
    #[error(
        "--disable-feature={0}: there is no such PromQL function, nor is it promql-experimental-functions, \
         promql-duration-expr or promql-delayed-name-removal"
    )]
    Feature(String),
}

impl QueryConfig {
    /// Checks that each setting makes sense.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let settings = [
            ("timeout", self.timeout.is_zero()),
            ("concurrent_max", self.concurrent_max == 0),
            ("queued_max", self.queued_max == 0),
            ("series_max", self.series_max == 0),
            ("samples_max", self.samples_max == 0),
            ("values_max", self.values_max == 0),
            ("points_max", self.points_max == 0),
            ("lookback", self.lookback.is_zero()),
            ("rows_max", self.rows_max == 0),
            ("memory_bytes_max", self.memory_bytes_max == 0),
        ];
        match settings.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }

    /// Returns what one query may read, within `timeout` where that is shorter.
    pub(crate) fn limits(&self, timeout: Option<Duration>) -> Limits {
        let time = timeout.map_or(self.timeout, |t| t.min(self.timeout));
        Limits { series: self.series_max, samples: self.samples_max, time }
    }

    pub(crate) fn engine(&self) -> EngineOptions {
        EngineOptions {
            lookback: self.lookback,
            points_max: self.points_max,
            values_max: self.values_max,
            ..EngineOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_zero_is_named() {
        assert_eq!(QueryConfig::default().check(), Ok(()));
        let config = QueryConfig { rows_max: 0, ..QueryConfig::default() };
        assert_eq!(config.check(), Err(ConfigError::Zero("rows_max")));
    }
}
