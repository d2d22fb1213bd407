//! The agent's settings: section `[agent]` of a TOML file, overridden by `GREYLIGHT_AGENT__*` variables.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use greylight_wire::compress::Encoding;
use serde::Deserialize;

use crate::collect::container::ContainerConfig;
use crate::collect::host::{HostConfig, Paths};
use crate::scrape::ScrapeConfig;
use crate::tail::{LogSourceConfig, TailConfig, is_label_name};

/// All settings of an agent: section `[agent]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Its name: label `instance` of host metrics and a part of every log record's identity. Default: the host's
    /// name. Must stay the same over restarts.
    pub name: String,
    /// Folder of its queues. Default `./greylight-agent-data`.
    pub data: PathBuf,
    /// Labels of every series and record, such as `deployment_environment_name` or `zone`.
    pub labels: BTreeMap<String, String>,
    /// Where everything goes.
    pub server: ServerConfig,
    /// How much is kept while the server is away.
    pub queue: QueueConfig,
    /// Where the kernel's files are.
    pub paths: Paths,
    /// Host metrics.
    pub host: HostConfig,
    /// Container metrics.
    pub container: ContainerConfig,
    /// Prometheus endpoints that are read.
    pub scrape: Vec<ScrapeConfig>,
    /// How log files are followed.
    pub tail: TailConfig,
    /// Log files that are followed.
    pub logs: Vec<LogSourceConfig>,
    /// How often the agent's own counts are sent. Default `15s`; `0s` for never.
    #[serde(with = "humantime_serde")]
    pub own_metrics: Duration,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            data: "./greylight-agent-data".into(),
            labels: BTreeMap::new(),
            server: ServerConfig::default(),
            queue: QueueConfig::default(),
            paths: Paths::default(),
            host: HostConfig::default(),
            container: ContainerConfig::default(),
            scrape: Vec::new(),
            tail: TailConfig::default(),
            logs: Vec::new(),
            own_metrics: Duration::from_secs(15),
        }
    }
}

/// Where everything goes: section `[agent.server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// A Greylight server. Default `http://127.0.0.1:4680`.
    pub url: String,
    /// Another place for metrics, by remote write. Default `/api/v1/write` of `url`.
    pub metrics_url: Option<String>,
    /// Another place for logs, by OTLP. Default `/v1/logs` of `url`.
    pub logs_url: Option<String>,
    /// Sent as a bearer token.
    pub token: Option<Secret>,
    /// Sent as `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// How long a request may take. Default `30s`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How log batches are compressed. Default `gzip`.
    pub compression: Compression,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:4680".to_owned(),
            metrics_url: None,
            logs_url: None,
            token: None,
            tenant: None,
            timeout: Duration::from_secs(30),
            compression: Compression::Gzip,
        }
    }
}

impl ServerConfig {
    /// Returns where metrics go.
    pub fn metrics_url(&self) -> String {
        self.metrics_url.clone().unwrap_or_else(|| format!("{}/api/v1/write", self.url.trim_end_matches('/')))
    }

    /// Returns where logs go.
    pub fn logs_url(&self) -> String {
        self.logs_url.clone().unwrap_or_else(|| format!("{}/v1/logs", self.url.trim_end_matches('/')))
    }
}

/// How log batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip, which every OTLP receiver takes.
    #[default]
    Gzip,
}

impl Compression {
    /// Returns the wire's name for it.
    pub fn encoding(self) -> Encoding {
        match self {
            Self::None => Encoding::Identity,
            Self::Gzip => Encoding::Gzip,
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the text, to be sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How much is kept while the server is away: section `[agent.queue]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Disk for metrics; beyond it the oldest go. Never more than a tenth of the free space. Default 512 MiB.
    pub metrics_bytes_max: u64,
    /// Disk for logs; beyond it files are not read on. Never more than a tenth of the free space. Default 512 MiB.
    pub logs_bytes_max: u64,
    /// Size of one file. Default 16 MiB.
    pub segment_bytes: u64,
    /// Whether the newest metrics are sent first after an outage. Default true.
    pub fresh_first: bool,
    /// How long samples wait for company. Default `250ms`.
    #[serde(with = "humantime_serde")]
    pub metrics_flush: Duration,
    /// Samples that are queued at once. Default 20000.
    pub batch_samples: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            metrics_bytes_max: 512 * 1024 * 1024,
            logs_bytes_max: 512 * 1024 * 1024,
            segment_bytes: 16 * 1024 * 1024,
            fresh_first: true,
            metrics_flush: Duration::from_millis(250),
            batch_samples: 20_000,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The text is no TOML, or has an unknown key or a value of the wrong kind.
    #[error("{origin}: {why}")]
    Malformed {
        /// Where it came from.
        origin: String,
        /// What is wrong, with its line.
        why: String,
    },
    /// A value makes no sense.
    #[error("agent.{key} is {value}: {allowed}")]
    Value {
        /// The setting.
        key: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
}

impl AgentConfig {
    /// Reads a file, if one is named, and then the variables that begin with `GREYLIGHT_AGENT__`; `__` goes one
    /// section deeper: `GREYLIGHT_AGENT__SERVER__URL`.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read, or anything in it cannot be used.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
            None => String::new(),
        };
        let origin = file.map_or_else(|| "settings".to_owned(), |path| path.display().to_string());
        Self::parse_with(&text, &origin, variables)
    }

    /// Reads a text as [`load`](Self::load) reads a file, without any variables.
    ///
    /// # Errors
    /// [`ConfigError`] if anything in it cannot be used.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_with(text, "settings", [])
    }

    /// Reads a text as [`load`](Self::load) reads a file; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ConfigError`] if anything in it cannot be used.
    pub fn parse_with(
        text: &str,
        origin: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            agent: AgentConfig,
        }
        let malformed = |why: String| ConfigError::Malformed { origin: origin.to_owned(), why };
        // Read as it is first: an error in the text then has its line.
        let file: File = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
        let mut variables: Vec<(String, String)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("GREYLIGHT_AGENT__")?.to_owned(), value)))
            .collect();
        if variables.is_empty() {
            return file.agent.checked();
        }
        variables.sort();
        let mut table: toml::Table = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
        for (name, value) in variables {
            put(&mut table, &name, &value);
        }
        let named = |e: toml::de::Error| ConfigError::Malformed {
            origin: format!("{origin} and GREYLIGHT_AGENT__ variables"),
            why: e.message().to_owned(),
        };
        let file: File = toml::Value::Table(table).try_into().map_err(named)?;
        file.agent.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let check = |ok: bool, key: &str, value: String, allowed| match ok {
            true => Ok(()),
            false => Err(ConfigError::Value { key: key.to_owned(), value, allowed }),
        };
        check(!self.name.is_empty(), "name", "empty".to_owned(), "must name this agent")?;
        let is_url = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        for (key, url) in [("server.url", &self.server.url)]
            .into_iter()
            .chain(self.server.metrics_url.iter().map(|url| ("server.metrics_url", url)))
            .chain(self.server.logs_url.iter().map(|url| ("server.logs_url", url)))
        {
            check(is_url(url), key, format!("{url:?}"), "must begin with http:// or https://")?;
        }
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if let Some(token) = &self.server.token {
            check(visible(token.reveal()), "server.token", "hidden".to_owned(), "must be visible ASCII")?;
        }
        if let Some(tenant) = &self.server.tenant {
            check(visible(tenant), "server.tenant", format!("{tenant:?}"), "must be visible ASCII")?;
        }
        self.check_label_names()?;
        let mib = 1024 * 1024;
        for (key, bytes, least) in [
            ("queue.metrics_bytes_max", self.queue.metrics_bytes_max, 4 * mib),
            ("queue.logs_bytes_max", self.queue.logs_bytes_max, 4 * mib),
            ("queue.segment_bytes", self.queue.segment_bytes, mib),
        ] {
            check(
                bytes >= least,
                key,
                bytes.to_string(),
                "too small: 4 MiB for a queue, 1 MiB for a segment",
            )?;
        }
        check(self.queue.batch_samples > 0, "queue.batch_samples", "0".to_owned(), "must be above 0")?;
        for (key, span) in [
            ("host.interval", self.host.interval),
            ("container.interval", self.container.interval),
            ("tail.discovery", self.tail.discovery),
        ] {
            let least = Duration::from_millis(250);
            check(span >= least, key, format!("{span:?}"), "must be 250ms or more")?;
        }
        check(
            self.tail.poll >= Duration::from_millis(10),
            "tail.poll",
            format!("{:?}", self.tail.poll),
            "must be 10ms or more",
        )?;
        check(
            self.tail.batch_bytes >= 1024,
            "tail.batch_bytes",
            self.tail.batch_bytes.to_string(),
            "must be 1024 or more",
        )?;
        for (i, job) in self.scrape.iter().enumerate() {
            let key = |name: &str| format!("scrape[{i}].{name}");
            check(!job.job.is_empty(), &key("job"), "empty".to_owned(), "must name the job")?;
            let shortest = Duration::from_millis(250);
            check(
                job.interval >= shortest,
                &key("interval"),
                format!("{:?}", job.interval),
                "must be 250ms or more",
            )?;
            check(
                job.refresh >= Duration::from_millis(100),
                &key("refresh"),
                format!("{:?}", job.refresh),
                "must be 100ms or more",
            )?;
            let scheme = job.scheme.as_str();
            check(
                matches!(scheme, "http" | "https"),
                &key("scheme"),
                format!("{scheme:?}"),
                "must be http or https",
            )?;
        }
        Ok(self)
    }

    /// Labels must keep their names on the way, so that the same matcher finds a cohort's series and records.
    fn check_label_names(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, name: &str, allowed| {
            Err(ConfigError::Value { key: key.to_owned(), value: format!("{name:?}"), allowed })
        };
        let of_logs = self.logs.iter().enumerate();
        let of_logs =
            of_logs.map(|(i, source)| (format!("logs[{i}].labels"), source.labels.keys().collect()));
        let whole: [(String, Vec<&String>); 2] = [
            ("labels".to_owned(), self.labels.keys().collect()),
            ("container.labels".to_owned(), self.container.labels.names().collect()),
        ];
        for (key, names) in whole.into_iter().chain(of_logs) {
            if let Some(name) = names.into_iter().find(|name| !is_label_name(name)) {
                return refuse(&key, name, "a label is a letter, then letters, digits and _");
            }
        }
        match self.container.labels.names().find(|name| RESERVED.contains(&name.as_str())) {
            Some(name) => {
                refuse("container.labels", name, "container metrics have a label of this name already")
            }
            None => Ok(()),
        }
    }
}

// cAdvisor's own labels, and those that say who was asked.
const RESERVED: [&str; 12] = [
    "id",
    "name",
    "image",
    "namespace",
    "pod",
    "container",
    "device",
    "interface",
    "failure_type",
    "scope",
    "job",
    "instance",
];

/// Puts a variable's value where its name says. A value that reads as TOML is taken as such, so that numbers, lists
/// and tables can be given; anything else is text.
fn put(table: &mut toml::Table, name: &str, value: &str) {
    let mut path: Vec<String> = name.to_ascii_lowercase().split("__").map(str::to_owned).collect();
    let Some(last) = path.pop() else { return };
    let mut at = table.entry("agent").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    for part in path {
        let Some(inner) = at.as_table_mut() else { return };
        at = inner.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    }
    let read =
        toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut read| read.remove("v"));
    let value = read.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    if let Some(inner) = at.as_table_mut() {
        inner.insert(last, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<AgentConfig, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        AgentConfig::parse_with(text, "test.toml", variables).map_err(|e| e.to_string())
    }

    #[test]
    fn variables_win_over_the_file() {
        let text = "[agent]\nname = \"a\"\n[agent.server]\nurl = \"http://x\"\n";
        let variables = [
            ("GREYLIGHT_AGENT__SERVER__URL", "http://y/"),
            ("GREYLIGHT_AGENT__HOST__INTERVAL", "1s"),
            ("GREYLIGHT_AGENT__QUEUE__FRESH_FIRST", "false"),
            ("GREYLIGHT_AGENT__LABELS", "{ zone = \"edge-1\" }"),
            ("GREYLIGHT_AGENT__SERVER__TOKEN", "s3cret"),
            ("OTHER", "x"),
        ];
        let config = parse(text, &variables).unwrap();
        assert_eq!(config.name, "a");
        assert_eq!(config.server.metrics_url(), "http://y/api/v1/write");
        assert_eq!(config.server.logs_url(), "http://y/v1/logs");
        assert_eq!(config.host.interval, Duration::from_secs(1));
        assert!(!config.queue.fresh_first);
        assert_eq!(config.labels["zone"], "edge-1");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse("[agent]\nnmae = \"a\"\n", &[]).unwrap_err().contains("nmae"));
        assert!(parse("[agnet]\n", &[]).unwrap_err().contains("agnet"));
        assert!(parse("[agent.server]\nurl = \"ftp://x\"\n", &[]).unwrap_err().contains("ftp://x"));
        assert!(parse("", &[("GREYLIGHT_AGENT__HOST__INTREVAL", "1s")]).unwrap_err().contains("intreval"));
        let scrape = "[[agent.scrape]]\njob = \"x\"\ninterval = \"10ms\"\n";
        assert!(parse(scrape, &[]).unwrap_err().contains("scrape[0].interval"));
        assert!(parse("[agent.queue]\nlogs_bytes_max = 5\n", &[]).unwrap_err().contains("logs_bytes_max"));
        let error = parse("[agent]\nlabels = { \"team.name\" = \"a\" }\n", &[]).unwrap_err();
        assert_eq!(error, "agent.labels is \"team.name\": a label is a letter, then letters, digits and _");
        let error = parse("[[agent.logs]]\npaths = [\"x\"]\nlabels = { _x = \"a\" }\n", &[]).unwrap_err();
        assert!(error.starts_with("agent.logs[0].labels is \"_x\""), "{error}");
        let error = parse("[agent.container.labels]\n\"a-b\" = [\"x\"]\n", &[]).unwrap_err();
        assert!(error.starts_with("agent.container.labels is \"a-b\""), "{error}");
        let error = parse("[agent.container.labels]\npod = [\"x\"]\n", &[]).unwrap_err();
        assert!(error.contains("\"pod\": container metrics have a label of this name already"), "{error}");
    }
}
