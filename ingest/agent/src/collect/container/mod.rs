//! Container metrics under cAdvisor's names, types and labels, from cgroup files of either version.
//!
//! No runtime is asked: [`hierarchy`] finds the cgroups, [`identity`] reads from path and log folders which container
//! a cgroup is, [`v1`] and [`v2`] read its files, and [`show`] gives them cAdvisor's names.

mod hierarchy;
mod identity;
mod show;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::host::Paths;
use crate::clock::Clock;
use crate::docker::LabelRules;
use crate::metric::Page;
use hierarchy::Hierarchy;

/// Settings of container metrics: section `[agent.container]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerConfig {
    /// Whether they are collected. Default true.
    pub enabled: bool,
    /// How often. Default `15s`.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Label `job`. Default `cadvisor`; kube-prometheus wants `kubelet`.
    pub job: String,
    /// Whether cgroups that are no containers (slices, services, pods) are shown as well. Default false, but for the
    /// root, which is the machine.
    pub all_cgroups: bool,
    /// Which labels of a container become labels of its series and its log records. Default: those that name its
    /// service, version and track.
    pub labels: LabelRules,
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(15),
            job: "cadvisor".to_owned(),
            all_cgroups: false,
            labels: LabelRules::default(),
        }
    }
}

/// What a cgroup's files say; absent where a controller or a file is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stats {
    pub(crate) cpu_total: Option<f64>,
    pub(crate) cpu_user: Option<f64>,
    pub(crate) cpu_system: Option<f64>,
    pub(crate) cfs_periods: Option<f64>,
    pub(crate) cfs_throttled_periods: Option<f64>,
    pub(crate) cfs_throttled_seconds: Option<f64>,
    pub(crate) memory_usage: Option<f64>,
    pub(crate) memory_max_usage: Option<f64>,
    pub(crate) memory_working_set: Option<f64>,
    pub(crate) memory_rss: Option<f64>,
    pub(crate) memory_cache: Option<f64>,
    pub(crate) memory_mapped_file: Option<f64>,
    pub(crate) memory_swap: Option<f64>,
    pub(crate) memory_failcnt: Option<f64>,
    pub(crate) page_faults: Option<f64>,
    pub(crate) major_page_faults: Option<f64>,
    pub(crate) oom_events: Option<f64>,
    pub(crate) memory_limit: Option<f64>,
    pub(crate) memory_swap_limit: Option<f64>,
    pub(crate) memory_reservation: Option<f64>,
    pub(crate) cpu_quota: Option<f64>,
    pub(crate) cpu_period: Option<f64>,
    pub(crate) cpu_shares: Option<f64>,
    pub(crate) processes: Option<f64>,
    pub(crate) threads: Option<f64>,
    pub(crate) threads_max: Option<f64>,
    /// By major:minor of the device.
    pub(crate) io: BTreeMap<String, Io>,
    /// Seconds of waiting and of standing still, by resource.
    pub(crate) pressure: BTreeMap<&'static str, (Option<f64>, Option<f64>)>,
    /// A process of it, whose network namespace is the container's.
    pub(crate) first_process: Option<u32>,
}

/// What a cgroup has read from and written to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Io {
    pub(crate) read_bytes: f64,
    pub(crate) written_bytes: f64,
    pub(crate) reads: f64,
    pub(crate) writes: f64,
}

/// Collects container metrics.
#[derive(Debug)]
pub struct Containers {
    config: ContainerConfig,
    paths: Paths,
    clock: Arc<dyn Clock>,
    names: identity::Names,
}

impl Containers {
    /// Makes a collector.
    pub fn new(config: &ContainerConfig, paths: &Paths, clock: Arc<dyn Clock>) -> Self {
        Self { config: config.clone(), paths: paths.clone(), clock, names: identity::Names::default() }
    }

    /// Reads all containers once. Blocks: files are read.
    pub fn collect(&mut self) -> Page {
        let mut page = Page::default();
        let Some(hierarchy) = Hierarchy::find(&self.paths.cgroup) else { return page };
        show::machine(&self.paths.procfs, &mut page);
        let devices = show::devices(&self.paths.sysfs);
        let now = self.clock.now();
        let mut seen = Vec::new();
        for path in hierarchy.cgroups() {
            let id = identity::container_id(&path);
            let is_shown = id.is_some() || path == "/" || self.config.all_cgroups;
            if !is_shown {
                continue;
            }
            let identity = self.names.of(&path, id, &self.paths, &self.config.labels);
            let stats = hierarchy.read(&path);
            let network = self.network(&path, &stats);
            let created = hierarchy.created(&path);
            show::container(
                &show::Shown { path: &path, identity: &identity, stats: &stats, network, now, created },
                &devices,
                &mut page,
            );
            seen.push(path);
        }
        self.names.keep_only(&seen);
        page
    }

    /// Reads the traffic of a container's network namespace; none if that is the host's, which is not its own.
    fn network(&self, path: &str, stats: &Stats) -> Option<String> {
        let namespace = |pid: &str| std::fs::read_link(self.process(pid).join("ns/net")).ok();
        if path == "/" {
            return super::read::optional(&self.process("1").join("net/dev"));
        }
        let pid = stats.first_process?.to_string();
        if namespace(&pid).is_some() && namespace(&pid) == namespace("1") {
            return None;
        }
        super::read::optional(&self.process(&pid).join("net/dev"))
    }

    fn process(&self, pid: &str) -> PathBuf {
        self.paths.procfs.join(pid)
    }
}
