//! Which endpoints are read: those of the configuration and those of target files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ScrapeConfig, TargetGroup};
use crate::metric::{Labels, sort};

/// One endpoint with the labels of its series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Address of its page.
    pub url: String,
    /// Labels of its series, with `job` and `instance`, sorted.
    pub labels: Labels,
}

impl Target {
    /// Adds the agent's labels; the target's own win.
    pub(super) fn add(&mut self, labels: &BTreeMap<String, String>) {
        for (name, value) in labels {
            if !self.labels.iter().any(|(other, _)| other == name) {
                self.labels.push((Cow::Owned(name.clone()), value.clone()));
            }
        }
        sort(&mut self.labels);
    }
}

/// Why a target file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It is not there, or must not be read.
    #[error("could not read target file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no list of targets.
    #[error("target file {path} is no list of targets: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads a target file: JSON by its name, else YAML.
///
/// # Errors
/// [`TargetError`] if it cannot be read, or is no list of groups.
pub fn read_target_file(path: &Path) -> Result<Vec<TargetGroup>, TargetError> {
    let read = |source| TargetError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let malformed = |why: String| TargetError::Malformed { path: path.to_owned(), why };
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(&text).map_err(|e| malformed(e.to_string()));
    }
    serde_saphyr::from_str(&text).map_err(|e| malformed(e.to_string()))
}

/// The target files of a job, each with what it held when it could last be read.
#[derive(Debug)]
pub(super) struct Files {
    files: BTreeMap<PathBuf, Vec<TargetGroup>>,
}

impl Files {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        Self { files: paths.iter().map(|path| (path.clone(), Vec::new())).collect() }
    }

    /// Returns all their targets as they are now.
    ///
    /// A file is small and looked at once a second, so it is read, not watched. One that is being written, or is
    /// wrong, changes nothing: its targets stay.
    pub(super) fn targets(&mut self, config: &ScrapeConfig) -> Vec<Target> {
        let mut targets = Vec::new();
        for (path, groups) in &mut self.files {
            match read_target_file(path) {
                Ok(read) => *groups = read,
                Err(e) => tracing::warn!(error = &e as &dyn std::error::Error, "target file left as it was"),
            }
            targets.extend(of_groups(config, groups));
        }
        targets
    }
}

/// Returns the targets of groups; the first of two that are equal.
pub(super) fn of_groups(config: &ScrapeConfig, groups: &[TargetGroup]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for group in groups {
        for address in &group.targets {
            let target = target(config, group, address);
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    targets
}

fn target(config: &ScrapeConfig, group: &TargetGroup, address: &str) -> Target {
    let of =
        |name: &str, default: &str| group.labels.get(name).cloned().unwrap_or_else(|| default.to_owned());
    let scheme = of("__scheme__", &config.scheme);
    let path = of("__metrics_path__", &config.path);
    let mut labels: Labels = group
        .labels
        .iter()
        // As in Prometheus, names that begin so are for the scraper alone.
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(name, value)| (Cow::Owned(name.clone()), value.clone()))
        .collect();
    for (name, value) in [("job", config.job.as_str()), ("instance", address)] {
        if !labels.iter().any(|(other, _)| other == name) {
            labels.push((Cow::Borrowed(name), value.to_owned()));
        }
    }
    sort(&mut labels);
    let slash = if path.starts_with('/') { "" } else { "/" };
    Target { url: format!("{scheme}://{address}{slash}{path}"), labels }
}
