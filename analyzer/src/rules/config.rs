//! Settings of rules, and from patterns of files to groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use greylight_store::model::{METRIC_NAME, TenantId};

use super::file::{self, FILE_BYTES_MAX, Group};
use crate::anomaly::AnomalyWebhook;
use crate::deliver::Webhook;

/// Most files that all patterns may name.
const FILES_MAX: usize = 1_000;

/// Prometheus rule files: section `[rules]`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Rule files: paths whose last part may hold `*` and `?`; relative ones lie beside the configuration file.
    pub files: Vec<String>,
    /// Tenant whose series are read and written. Default `default`.
    pub tenant: String,
    /// How often groups are evaluated that do not say. Default `1m`.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Groups that do not say are evaluated as of so long ago. Default `0s`.
    #[serde(with = "humantime_serde")]
    pub query_offset: Duration,
    /// Labels that alerts get when they are sent, and that templates see as `$externalLabels`. Default none.
    pub external_labels: BTreeMap<String, String>,
    /// Address of this server as receivers of alerts reach it. Default the HTTP listener's.
    pub external_url: Option<String>,
    /// Alertmanagers that alerts are sent to. Default none.
    pub alertmanagers: Vec<String>,
    /// Webhooks that are told when alerts begin and end. Default none.
    pub webhooks: Vec<AnomalyWebhook>,
    /// Folder that relative paths begin in; the server puts the configuration file's here.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            tenant: TenantId::default().to_string(),
            interval: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            external_labels: BTreeMap::new(),
            external_url: None,
            alertmanagers: Vec::new(),
            webhooks: Vec::new(),
            folder: PathBuf::new(),
        }
    }
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// A setting is wrong.
    #[error("[rules] {key}: {detail}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong with which value.
        detail: String,
    },
    /// A folder or file cannot be read.
    #[error("rule file {}: cannot be read", .path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file holds what is no rule.
    #[error("rule file {}:\n  {detail}", .path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// Its mistakes, a line each.
        detail: String,
    },
}

/// A text that is no rule file: its mistakes, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RuleFileError(String);

/// Checks the text of a rule file as a server would, and returns how many rules it has.
///
/// # Errors
/// [`RuleFileError`] with each mistake, its group and its rule.
pub fn check_rules(text: &str) -> Result<usize, RuleFileError> {
    let groups = file::parse(text).map_err(|e| RuleFileError(e.to_string()))?;
    Ok(groups.iter().map(|group| group.rules.len()).sum())
}

/// Tells a rule file from other YAML: its groups stand at the top.
pub fn is_rule_file(text: &str) -> bool {
    text.lines().any(|line| ["groups:", "\"groups\":", "'groups':"].iter().any(|key| line.starts_with(key)))
        || serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| json.get("groups").is_some())
}

/// What the settings say, checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) tenant: TenantId,
    pub(super) groups: Vec<(String, Group)>,
    pub(super) alertmanagers: Vec<Webhook>,
    pub(super) webhooks: Vec<Webhook>,
}

impl RulesConfig {
    /// Checks the settings and every rule file.
    ///
    /// # Errors
    /// [`RulesError`] names the setting, or the file, the group and the rule.
    pub fn check(&self) -> Result<(), RulesError> {
        self.read().map(drop)
    }

    pub(super) fn read(&self) -> Result<Checked, RulesError> {
        let wrong = |key: &'static str, detail: String| RulesError::Setting { key, detail };
        let tenant = TenantId::new(&self.tenant).map_err(|e| wrong("tenant", e.to_string()))?;
        if self.interval < Duration::from_millis(1) {
            return Err(wrong("interval", format!("{:?} is below 1ms", self.interval)));
        }
        let bad_label = self.external_labels.keys().find(|name| name.is_empty() || *name == METRIC_NAME);
        if let Some(name) = bad_label {
            return Err(wrong("external_labels", format!("invalid label name: {name:?}")));
        }
        if let Some(url) = &self.external_url {
            Webhook::parse(url, None).map_err(|e| wrong("external_url", e.to_string()))?;
        }
        let alertmanager = |url: &String| {
            let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            Webhook::parse(&url, None).map_err(|e| wrong("alertmanagers", e.to_string()))
        };
        let webhook = |hook: &AnomalyWebhook| {
            Webhook::parse(&hook.url, hook.secret.as_deref()).map_err(|e| wrong("webhooks", e.to_string()))
        };
        Ok(Checked {
            tenant,
            groups: self.groups()?,
            alertmanagers: self.alertmanagers.iter().map(alertmanager).collect::<Result<_, _>>()?,
            webhooks: self.webhooks.iter().map(webhook).collect::<Result<_, _>>()?,
        })
    }

    /// Reads all files, in order of path and, within a file, of group, as answers list them.
    fn groups(&self) -> Result<Vec<(String, Group)>, RulesError> {
        let mut paths = Vec::new();
        for pattern in &self.files {
            paths.extend(found(&self.folder, pattern)?);
            if paths.len() > FILES_MAX {
                let detail = format!("{pattern:?} makes it more than {FILES_MAX} files");
                return Err(RulesError::Setting { key: "files", detail });
            }
        }
        paths.sort();
        paths.dedup();
        let mut groups = Vec::new();
        for path in paths {
            let text = read_text(&path)?;
            let wrong = |e: file::FileError| RulesError::File { path: path.clone(), detail: e.to_string() };
            let mut read = file::parse(&text).map_err(wrong)?;
            read.sort_by(|a, b| a.name.cmp(&b.name));
            let name = path.display().to_string();
            groups.extend(read.into_iter().map(|group| (name.clone(), group)));
        }
        Ok(groups)
    }
}

fn read_text(path: &Path) -> Result<String, RulesError> {
    let failed = |source| RulesError::Read { path: path.into(), source };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX as u64 {
        let detail = format!("the file is {bytes} bytes long, the limit is {FILE_BYTES_MAX}");
        return Err(RulesError::File { path: path.into(), detail });
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Finds the files of one pattern. One without wildcards is returned as it is: that it is missing is an error later.
fn found(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, RulesError> {
    let wrong = |detail: String| RulesError::Setting { key: "files", detail };
    let path = folder.join(pattern);
    let is_wild = |text: &str| text.contains(['*', '?']);
    let Some(last) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
        return Err(wrong(format!("{pattern:?} names no file")));
    };
    let parent = Path::new(pattern).parent().and_then(Path::to_str).unwrap_or("");
    if is_wild(parent) || pattern.contains('[') {
        return Err(wrong(format!(
            "{pattern:?}: only the last part may hold wildcards, and these are * and ?"
        )));
    }
    if !is_wild(&last) {
        return Ok(vec![path]);
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let failed = |source| RulesError::Read { path: parent.clone(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&parent).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| matches(&last, name)) && entry.path().is_file() {
            files.push(parent.join(&name));
        }
    }
    if files.is_empty() {
        tracing::warn!(pattern, "no rule file matches");
    }
    Ok(files)
}

/// Matches a file's name; as in a shell, a leading dot must be written.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last star stood, and how much it has taken.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p).is_some_and(|c| *c != '*' && (*c == '?' || *c == name[n])) {
            (p, n) = (p + 1, n + 1);
        } else if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("*.yml", ".a.yml", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.yml", "ab.yml", false),
            ("a?.yml", "ab.yml", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test makes the files that it reads")]
    fn files_are_found_beside_the_configuration_and_mistakes_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let config = |files: &[&str]| RulesConfig {
            files: files.iter().map(|f| (*f).to_owned()).collect(),
            folder: folder.path().to_owned(),
            ..RulesConfig::default()
        };
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("rules/b.yml", "groups: [{name: z}, {name: a}]");
        write("rules/a.yml", "groups: [{name: a}]");
        let checked = config(&["rules/*.yml", "rules/a.yml"]).read().unwrap();
        let names: Vec<&str> = checked.groups.iter().map(|(_, group)| group.name.as_str()).collect();
        assert_eq!(names, ["a", "a", "z"]);
        assert!(checked.groups[0].0.ends_with("rules/a.yml"), "{:?}", checked.groups[0].0);
        assert!(config(&["rules/*.json"]).check().is_ok());
        let error = config(&["rules/none.yml"]).check().unwrap_err().to_string();
        assert!(error.contains("none.yml"), "{error}");
        let error = config(&["*/a.yml"]).check().unwrap_err().to_string();
        assert!(error.contains("only the last part"), "{error}");
        write("rules/c.yml", "groups: [{name: a, rules: [{record: a, expr: 'sum('}]}]");
        let error = config(&["rules/*.yml"]).check().unwrap_err().to_string();
        assert!(error.contains("c.yml") && error.contains("rule 1, \"a\""), "{error}");
    }

    #[test]
    fn wrong_settings_are_named() {
        type Change = fn(&mut RulesConfig);
        let cases: [(&str, Change); 6] = [
            ("tenant", |c| c.tenant = "../a".into()),
            ("interval", |c| c.interval = Duration::ZERO),
            ("external_labels", |c| drop(c.external_labels.insert("__name__".into(), "a".into()))),
            ("external_url", |c| c.external_url = Some("ftp://a".into())),
            ("alertmanagers", |c| c.alertmanagers = vec!["a:9093".into()]),
            ("webhooks", |c| {
                c.webhooks = vec![AnomalyWebhook { url: "http://a".into(), secret: Some("x".into()) }]
            }),
        ];
        for (key, change) in cases {
            let mut config = RulesConfig::default();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("[rules] {key}: ")), "{error}");
        }
    }

    #[test]
    fn rule_files_are_told_from_policies() {
        assert!(is_rule_file("# a\ngroups:\n- name: a\n") && is_rule_file("{\"groups\": []}"));
        assert!(!is_rule_file("name: a\nphases: []\n") && !is_rule_file("{\"name\": \"groups\"}"));
    }
}
