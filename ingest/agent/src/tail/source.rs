//! A kind of log files: where they are, what they are of, how they are read.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use encoding_rs::Encoding;
use greylight_wire::logs::Value;
use regex::Regex;
use serde::Deserialize;

use super::TailParts;
use super::assemble::Rules;
use super::parse::{Format, Zone};
use super::wrapper::Wrapper;
use crate::docker::Container;

/// How the lines of a source are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFormat {
    /// Each line is looked at, whatever it is of the below.
    #[default]
    Auto,
    /// Text, perhaps with a time and a level in front.
    Plain,
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// Access lines of nginx or Apache.
    #[serde(alias = "nginx", alias = "apache")]
    Access,
    /// Docker's json-file driver around lines of any format.
    Docker,
    /// containerd's or CRI-O's lines around lines of any format.
    Cri,
}

/// Whether lines are joined to the record before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multiline {
    /// Indented lines and the stack traces of Java, Python, Go, .NET and Node.
    #[default]
    Auto,
    /// Each line is a record.
    Off,
}

/// Where a file begins that was there before the agent first ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At its first line.
    #[default]
    Beginning,
    /// Behind its last line; files that appear later are read whole.
    End,
}

/// Settings of a kind of log files: `[[agent.logs]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSourceConfig {
    /// File patterns: `*`, `?`, `[a-z]`, `{a,b}`, `**` for folders.
    pub paths: Vec<String>,
    /// Patterns of file names that are left alone. Default: compressed files.
    pub exclude: Vec<String>,
    /// Labels of its records, such as `service_name`, `service_version`, `track`, `instance`.
    pub labels: BTreeMap<String, String>,
    /// A regular expression on the path whose named groups are further labels.
    pub path_labels: Option<String>,
    /// How lines are written. Default `auto`.
    pub format: SourceFormat,
    /// Whether lines are joined. Default `auto`.
    pub multiline: Multiline,
    /// How long a record waits for lines that may belong to it. Default `500ms`.
    #[serde(with = "humantime_serde")]
    pub multiline_wait: Duration,
    /// Character encoding, such as `utf-8`, `gbk`, `gb18030`. Default `utf-8`.
    pub encoding: String,
    /// Zone of times that name none. Default `UTC`.
    pub timezone: Zone,
    /// Length at which a line is cut. Default 256 KiB.
    pub line_bytes_max: usize,
    /// Where files that are there at the first start begin. Default `beginning`.
    pub start_at: StartAt,
}

impl Default for LogSourceConfig {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            exclude: [".gz", ".zst", ".bz2", ".xz", ".zip"].map(|suffix| format!("*{suffix}")).to_vec(),
            labels: BTreeMap::new(),
            path_labels: None,
            format: SourceFormat::Auto,
            multiline: Multiline::Auto,
            multiline_wait: Duration::from_millis(500),
            encoding: "utf-8".to_owned(),
            timezone: Zone::default(),
            line_bytes_max: 256 * 1024,
            start_at: StartAt::Beginning,
        }
    }
}

/// Why a log source cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It names no files.
    #[error("logs[{index}].paths is empty")]
    NoPaths {
        /// Its place in the list.
        index: usize,
    },
    /// A character encoding that is unknown, or whose newlines cannot be told from other bytes.
    #[error("logs[{index}].encoding is {encoding:?}: not a known encoding that contains ASCII")]
    Encoding {
        /// Its place in the list.
        index: usize,
        /// What was asked for.
        encoding: String,
    },
    /// A regular expression that is none.
    #[error("logs[{index}].path_labels is not a regular expression")]
    PathLabels {
        /// Its place in the list.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// A group of `path_labels` that cannot be a label.
    #[error(
        "logs[{index}].path_labels has a group {name:?}: a label is a letter, then letters, digits and _"
    )]
    PathLabelName {
        /// Its place in the list.
        index: usize,
        /// The group's name.
        name: String,
    },
    /// A line length that nothing fits in.
    #[error("logs[{index}].line_bytes_max is {value}: must be 16 to 16777216")]
    LineBytes {
        /// Its place in the list.
        index: usize,
        /// What was asked for.
        value: usize,
    },
}

/// A checked [`LogSourceConfig`].
#[derive(Debug)]
pub(super) struct Source {
    pub(super) config: LogSourceConfig,
    pub(super) encoding: &'static Encoding,
    path_labels: Option<Regex>,
}

impl Source {
    pub(super) fn new(index: usize, config: &LogSourceConfig) -> Result<Self, SourceError> {
        if config.paths.is_empty() {
            return Err(SourceError::NoPaths { index });
        }
        if !(16..=16 * 1024 * 1024).contains(&config.line_bytes_max) {
            return Err(SourceError::LineBytes { index, value: config.line_bytes_max });
        }
        let encoding = Encoding::for_label(config.encoding.as_bytes())
            // In the others a byte 0x0A need not be a newline.
            .filter(|encoding| encoding.is_ascii_compatible())
            .ok_or_else(|| SourceError::Encoding { index, encoding: config.encoding.clone() })?;
        let path_labels = config.path_labels.as_deref().map(Regex::new).transpose();
        let path_labels = path_labels.map_err(|e| SourceError::PathLabels { index, source: Box::new(e) })?;
        let mut groups = path_labels.iter().flat_map(Regex::capture_names).flatten();
        if let Some(name) = groups.find(|name| !is_label_name(name)) {
            return Err(SourceError::PathLabelName { index, name: name.to_owned() });
        }
        Ok(Self { config: config.clone(), encoding, path_labels })
    }

    /// Returns how its lines become records.
    pub(super) fn rules(&self) -> Rules {
        let (wrapper, format) = match self.config.format {
            SourceFormat::Auto => (Wrapper::Detect, Format::Auto),
            SourceFormat::Plain => (Wrapper::Bare, Format::Plain),
            SourceFormat::Json => (Wrapper::Bare, Format::Json),
            SourceFormat::Logfmt => (Wrapper::Bare, Format::Logfmt),
            SourceFormat::Access => (Wrapper::Bare, Format::Access),
            SourceFormat::Docker => (Wrapper::Docker, Format::Auto),
            SourceFormat::Cri => (Wrapper::Cri, Format::Auto),
        };
        let multiline = self.config.multiline == Multiline::Auto;
        Rules { wrapper, format, multiline, wait: self.config.multiline_wait }
    }

    /// Returns the resource of a file's records: what its path tells, the agent's labels, those of the container
    /// that writes it, the source's own, in rising order of weight.
    ///
    /// Each label is selected by on the server under the name that it has here, as on metrics: it goes by
    /// OpenTelemetry's name where the server makes this label of that, else by its own.
    pub(super) fn resource(&self, path: &Path, parts: &TailParts) -> Vec<(String, Value)> {
        let shown = path.display().to_string();
        let mut labels = of_path(&shown);
        // Docker keeps what it knows of a container beside its log.
        let container = labels.get("container.id").and_then(|_| Container::read(path.parent()?));
        if let Some(container) = &container {
            labels.extend(of_docker(container));
        }
        labels.insert("instance".to_owned(), parts.agent.clone());
        labels.extend(parts.labels.iter().map(|(name, value)| (resource_name(name), value.clone())));
        if let Some(container) = &container {
            let named = parts.container_labels.apply(&container.labels);
            labels.extend(named.map(|(name, value)| (resource_name(name), value.to_owned())));
        }
        labels.extend(self.config.labels.iter().map(|(name, value)| (resource_name(name), value.clone())));
        if let Some(regex) = &self.path_labels
            && let Some(found) = regex.captures(&shown)
        {
            for name in regex.capture_names().flatten() {
                let value = found.name(name).map(|m| m.as_str().to_owned());
                labels.extend(value.map(|value| (resource_name(name), value)));
            }
        }
        for (label, name) in CADVISOR {
            if let Some(value) = labels.get(name).cloned() {
                labels.insert(label.to_owned(), value);
            }
        }
        labels.insert("log.file.path".to_owned(), shown);
        labels.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
    }
}

/// cAdvisor's labels and OpenTelemetry's names for the same. The server makes `k8s_pod_name` of the latter, as
/// Loki does, so a record carries both, and one matcher selects a pod's metrics and its records.
const CADVISOR: [(&str, &str); 4] = [
    ("namespace", "k8s.namespace.name"),
    ("pod", "k8s.pod.name"),
    ("container", "k8s.container.name"),
    ("name", "container.name"),
];

/// Says whether a name can be that of a label: a letter, then letters, digits and underscores. Others would be
/// changed on their way to the server, or stay attributes there, which matchers do not see.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the name under which a resource carries a label.
fn resource_name(label: &str) -> String {
    let name = match label {
        "service_name" => "service.name",
        "service_namespace" => "service.namespace",
        "service_version" => "service.version",
        "deployment_environment_name" => "deployment.environment.name",
        "track" => "greylight.track",
        "namespace" => "k8s.namespace.name",
        "pod" => "k8s.pod.name",
        "container" => "k8s.container.name",
        other => other,
    };
    name.to_owned()
}

/// Reads what the paths of container runtimes tell:
/// `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log` and
/// `/var/lib/docker/containers/<id>/<id>-json.log`.
fn of_path(path: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut put = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
    if let Some((_, rest)) = path.split_once("/pods/") {
        let mut parts = rest.split('/');
        let pod: Vec<&str> = parts.next().unwrap_or_default().split('_').collect();
        if let ([namespace, name, uid], Some(container), Some(_)) =
            (pod.as_slice(), parts.next(), parts.next())
        {
            put("k8s.namespace.name", namespace);
            put("k8s.pod.name", name);
            put("k8s.pod.uid", uid);
            put("k8s.container.name", container);
        }
    }
    if let Some((_, rest)) = path.split_once("/containers/")
        && let Some((id, file)) = rest.split_once('/')
        && file.starts_with(id)
    {
        put("container.id", id);
    }
    labels
}

/// Returns what Docker knows of a container besides its labels, under OpenTelemetry's names.
fn of_docker(container: &Container) -> impl Iterator<Item = (String, String)> {
    let names = ["k8s.namespace.name", "k8s.pod.name", "k8s.container.name"];
    let kubernetes = names.into_iter().zip(container.kubernetes());
    let own =
        [("container.name", container.name.as_str()), ("container.image.name", container.image.as_str())];
    let known = kubernetes.chain(own).filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::disk::MemoryDisk;
    use crate::docker::LabelRules;
    use crate::queue::{Queue, QueueOptions, WhenFull};

    fn show(config: &LogSourceConfig, path: &str) -> String {
        let options = QueueOptions { segment_bytes: 4096, bytes_max: 1 << 20, when_full: WhenFull::Refuse };
        let queue = Queue::open(Arc::new(MemoryDisk::default()), Path::new("/q"), options).unwrap();
        let parts = TailParts {
            agent: "node-1".to_owned(),
            labels: BTreeMap::from([
                ("zone".to_owned(), "edge-1".to_owned()),
                ("service_version".to_owned(), "0".to_owned()),
            ]),
            container_labels: LabelRules::default(),
            ledger: Arc::new(Mutex::new(queue)),
            compression: greylight_wire::compress::Encoding::Identity,
            clock: Arc::new(ManualClock::at(Timestamp::default())),
            counters: Arc::default(),
        };
        let source = Source::new(0, config).unwrap();
        let resource = source.resource(Path::new(path), &parts);
        let show = |(name, value): (String, Value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other:?}"),
        };
        resource.into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn labels_come_from_path_agent_and_source() {
        let mut config = LogSourceConfig { paths: vec!["x".to_owned()], ..LogSourceConfig::default() };
        config.labels.insert("service_name".to_owned(), "cart".to_owned());
        config.path_labels = Some(r"/(?<instance>[a-z]+)-v(?<service_version>\d+)\.log$".to_owned());
        assert_eq!(
            show(&config, "/l/b-v2.log"),
            "instance=b log.file.path=/l/b-v2.log service.name=cart service.version=2 zone=edge-1"
        );
        let pod = show(&config, "/var/log/pods/shop_cart-7f_11-22/app/0.log");
        assert!(
            pod.starts_with(
                "container=app instance=node-1 k8s.container.name=app k8s.namespace.name=shop \
                 k8s.pod.name=cart-7f k8s.pod.uid=11-22"
            ) && pod.contains(" namespace=shop pod=cart-7f "),
            "{pod}"
        );
        let docker = show(&config, "/var/lib/docker/containers/ab12/ab12-json.log");
        assert!(docker.starts_with("container.id=ab12 "), "{docker}");
        assert!(docker.contains(" service.version=0 "), "{docker}");
    }

    #[test]
    fn a_container_s_log_has_its_labels() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("containers/ab12");
        std::fs::create_dir_all(&folder).unwrap();
        let settings =
            br#"{"Name":"/shop-cart-1","Config":{"Image":"cart:1.4","Labels":{"service.version":"1.4",
            "com.docker.compose.service":"cart","greylight.track":"canary","tier":"web",
            "io.kubernetes.pod.name":"cart-7f"}}}"#;
        crate::tail::tests::write(&folder.join("config.v2.json"), settings);
        let mut config = LogSourceConfig { paths: vec!["x".to_owned()], ..LogSourceConfig::default() };
        config.labels.insert("track".to_owned(), "baseline".to_owned());
        let path = folder.join("ab12-json.log").display().to_string();
        let shown = show(&config, &path);
        let expected = "container.id=ab12 container.image.name=cart:1.4 container.name=shop-cart-1 \
                        greylight.track=baseline instance=node-1 k8s.pod.name=cart-7f";
        assert!(shown.starts_with(expected), "{shown}");
        let rest = " name=shop-cart-1 pod=cart-7f service.name=cart service.version=1.4 zone=edge-1";
        assert!(shown.ends_with(rest), "the container's labels weigh more than the agent's: {shown}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let with = |change: fn(&mut LogSourceConfig)| {
            let mut config = LogSourceConfig { paths: vec!["x".to_owned()], ..LogSourceConfig::default() };
            change(&mut config);
            Source::new(3, &config).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(with(|c| c.encoding = "GB18030".to_owned()), Ok(()));
        assert!(with(|c| c.encoding = "utf-16le".to_owned()).unwrap_err().contains("\"utf-16le\""));
        assert!(with(|c| c.encoding = "klingon".to_owned()).unwrap_err().contains("logs[3].encoding"));
        assert!(with(|c| c.paths.clear()).unwrap_err().contains("paths is empty"));
        assert!(with(|c| c.path_labels = Some("(".to_owned())).is_err());
        let error = with(|c| c.path_labels = Some("(?<a.b>x)".to_owned())).unwrap_err();
        assert!(error.contains("logs[3].path_labels has a group \"a.b\""), "{error}");
        assert!(with(|c| c.line_bytes_max = 1).unwrap_err().contains("must be"));
    }
}
