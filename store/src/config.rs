//! Settings of the store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::catalog::DatabaseUrl;

/// Settings of the store: section `[store]`, variables `GREYLIGHT_STORE__*`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Longest that data stays in the head before it is sealed. Default `30m`.
    #[serde(with = "humantime_serde")]
    pub head_age_max: Duration,
    /// Size of the head in memory at which it is sealed; ingest is refused at twice this. Default `64MiB`.
    pub head_bytes_max: ByteSize,
    /// Size at which a file of the write-ahead log is closed and the next one begun. Default `64MiB`.
    pub wal_file_bytes: ByteSize,
    /// Free space below which ingest is refused, while reads, deletes and retention go on. Default `256MiB`.
    pub disk_free_min: ByteSize,
    /// Rate at which stored files are read again in the background and held against their checksums; `0`
    /// for not at all. Default `4MiB`, 2.3 TiB a week.
    pub scrub_bytes_per_second: ByteSize,
    /// PostgreSQL database that has the catalog, `postgres://USER:PASSWORD@HOST:PORT/NAME`, in place of the file
    /// `catalog.sqlite` in the data folder. One server a database.
    pub catalog: Option<DatabaseUrl>,
    /// Folder below which a caller with the scope `admin` may have backups made. Default: nowhere.
    pub backup_folder: Option<PathBuf>,
    /// How often metrics are published as Delta tables in the folder `delta` of the data folder. Default: never.
    #[serde(with = "humantime_serde")]
    pub delta_every: Option<Duration>,
    /// How long files that left a Delta table stay, for who began to read it before. Default `1h`.
    #[serde(with = "humantime_serde")]
    pub delta_keep: Duration,
    /// How long data is kept; what is not named is kept for ever.
    pub retention: RetentionConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            head_age_max: Duration::from_secs(30 * 60),
            head_bytes_max: ByteSize(64 << 20),
            wal_file_bytes: ByteSize(64 << 20),
            // Two files of the log and the segments of one head fit in it, so that what was taken can be sealed.
            disk_free_min: ByteSize(256 << 20),
            // A disk reads this in a twentieth of a second, and a core hashes it in a five-hundredth.
            scrub_bytes_per_second: ByteSize(4 << 20),
            catalog: None,
            backup_folder: None,
            delta_every: None,
            // Longer than a query runs.
            delta_keep: Duration::from_secs(3600),
            retention: RetentionConfig::default(),
        }
    }
}

/// How long data is kept: section `[store.retention]`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Age at which samples are dropped. Default: never.
    #[serde(with = "humantime_serde")]
    pub metrics: Option<Duration>,
    /// Age at which log records are dropped. Default: never.
    #[serde(with = "humantime_serde")]
    pub logs: Option<Duration>,
    /// Size of each tenant's files of metrics beyond which the oldest are dropped. Default: any.
    pub metrics_bytes: Option<ByteSize>,
    /// Size of each tenant's files of logs beyond which the oldest are dropped. Default: any.
    pub logs_bytes: Option<ByteSize>,
    /// Tenants that differ: `[store.retention.tenants.NAME]`.
    pub tenants: BTreeMap<String, TenantRetention>,
}

/// How long one tenant's data is kept; what is not named is as for everyone.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantRetention {
    /// Age at which samples are dropped.
    #[serde(with = "humantime_serde")]
    pub metrics: Option<Duration>,
    /// Age at which log records are dropped.
    #[serde(with = "humantime_serde")]
    pub logs: Option<Duration>,
    /// Size of the files of metrics beyond which the oldest are dropped.
    pub metrics_bytes: Option<ByteSize>,
    /// Size of the files of logs beyond which the oldest are dropped.
    pub logs_bytes: Option<ByteSize>,
}

/// What is kept of one tenant's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Age at which rows are dropped; `None` for never.
    pub age: Option<Duration>,
    /// Size of all files beyond which the oldest are dropped; `None` for any.
    pub bytes: Option<ByteSize>,
}

/// Why settings of the store are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[store] {key} = {value} is not {allowed}")]
pub struct ConfigError {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl StoreConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key, value: &dyn fmt::Display, allowed| {
            Err(ConfigError { key, value: value.to_string(), allowed })
        };
        if self.head_age_max < Duration::from_secs(1) {
            return refuse("head_age_max", &format!("{:?}", self.head_age_max), "at least 1s");
        }
        if self.head_bytes_max.0 < 1 << 20 {
            return refuse("head_bytes_max", &self.head_bytes_max, "at least 1MiB");
        }
        if !(1 << 20..=1 << 30).contains(&self.wal_file_bytes.0) {
            return refuse("wal_file_bytes", &self.wal_file_bytes, "from 1MiB to 1GiB");
        }
        if self.scrub_bytes_per_second.0 != 0 && self.scrub_bytes_per_second.0 < 64 << 10 {
            return refuse("scrub_bytes_per_second", &self.scrub_bytes_per_second, "0 or at least 64KiB");
        }
        if let Some(every) = self.delta_every.filter(|every| *every < Duration::from_secs(1)) {
            return refuse("delta_every", &format!("{every:?}"), "at least 1s");
        }
        for name in self.retention.tenants.keys() {
            if crate::model::TenantId::new(name).is_err() {
                return refuse("retention.tenants", name, "the name of a tenant");
            }
        }
        Ok(())
    }
}

impl RetentionConfig {
    /// Returns what is kept of a tenant's table.
    pub fn of(&self, tenant: &crate::model::TenantId, table: crate::segment::Table) -> Keep {
        let own = self.tenants.get(tenant.as_str());
        match table {
            crate::segment::Table::Metrics => Keep {
                age: own.and_then(|t| t.metrics).or(self.metrics),
                bytes: own.and_then(|t| t.metrics_bytes).or(self.metrics_bytes),
            },
            crate::segment::Table::Logs => Keep {
                age: own.and_then(|t| t.logs).or(self.logs),
                bytes: own.and_then(|t| t.logs_bytes).or(self.logs_bytes),
            },
        }
    }
}

/// A number of bytes, written `64MiB`, `1GiB`, `500kB` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not a size such as 64MiB, 1GiB or 500kB");
        let trimmed = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|&(name, unit)| Some((trimmed.strip_suffix(name)?, unit)))
            .unwrap_or((trimmed, 1));
        let n: u64 = number.trim_end().parse().map_err(|_| refused())?;
        n.checked_mul(unit).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS[..4].iter().rev().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match exact {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> serde::Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\" or a number of bytes")
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(n))
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<ByteSize, E> {
                u64::try_from(n).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;
    use crate::segment::Table;

    fn parse(text: &str) -> Result<StoreConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn each_field_is_read_and_unknown_ones_are_refused() {
        let config = parse(
            r#"{"head_age_max": "5m", "head_bytes_max": "10MiB", "wal_file_bytes": 2097152, "disk_free_min": "1GB",
                "backup_folder": "/b", "delta_every": "5m", "delta_keep": "2h", "scrub_bytes_per_second": "1MiB", "retention": {"metrics": "30d", "logs_bytes": "5GiB",
                    "tenants": {"shop": {"logs": "1d", "logs_bytes": "1GiB", "metrics_bytes": 7}}}}"#,
        )
        .unwrap();
        config.validate().unwrap();
        assert_eq!(config.head_age_max, Duration::from_secs(300));
        assert_eq!(config.head_bytes_max, ByteSize(10 << 20));
        assert_eq!(config.wal_file_bytes, ByteSize(2 << 20));
        assert_eq!(config.disk_free_min, ByteSize(1_000_000_000));
        let day = Duration::from_secs(86_400);
        let shop = TenantId::new("shop").unwrap();
        assert_eq!(config.scrub_bytes_per_second, ByteSize(1 << 20));
        assert_eq!(config.backup_folder, Some("/b".into()));
        let delta = (config.delta_every, config.delta_keep);
        assert_eq!(delta, (Some(Duration::from_secs(300)), Duration::from_secs(7200)));
        let keep = |age, bytes: Option<u64>| Keep { age, bytes: bytes.map(ByteSize) };
        assert_eq!(config.retention.of(&shop, Table::Logs), keep(Some(day), Some(1 << 30)));
        assert_eq!(config.retention.of(&shop, Table::Metrics), keep(Some(day * 30), Some(7)));
        assert_eq!(config.retention.of(&TenantId::default(), Table::Logs), keep(None, Some(5 << 30)));
        assert_eq!(config.retention.of(&TenantId::default(), Table::Metrics), keep(Some(day * 30), None));
        assert!(parse(r#"{"head_age": "5m"}"#).unwrap_err().to_string().contains("head_age"));
        assert!(parse(r#"{"head_bytes_max": "5 bananas"}"#).is_err());
    }

    #[test]
    fn values_out_of_range_name_key_value_and_range() {
        let config = StoreConfig { wal_file_bytes: ByteSize(5), ..StoreConfig::default() };
        let text = config.validate().unwrap_err().to_string();
        assert_eq!(text, "[store] wal_file_bytes = 5B is not from 1MiB to 1GiB");
        let config = StoreConfig { delta_every: Some(Duration::ZERO), ..StoreConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("delta_every = 0ns is not at least 1s"));
        StoreConfig::default().validate().unwrap();
    }

    #[test]
    fn sizes_come_back_from_their_text() {
        for n in [0, 1, 1023, 1024, 96 << 20, 1 << 40, u64::MAX] {
            assert_eq!(ByteSize(n).to_string().parse(), Ok(ByteSize(n)));
        }
        assert!("99999999999TiB".parse::<ByteSize>().is_err());
    }
}
