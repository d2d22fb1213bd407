//! Host metrics under node_exporter's names, types, labels and rules.
//!
//! Each collector is a pure function from a file's text to samples, and a line here that says which file it is. A
//! collector that fails costs its own samples alone, and says so in `node_scrape_collector_success`.

mod cpu;
mod disk;
mod filesystem;
mod kernel;
mod memory;
mod mounts;
mod network;
mod pressure;
mod sockets;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;

pub(super) use network::parse_dev;
pub(super) use pressure::total as pressure_total;

use super::read::{self, CollectError};
use crate::clock::Clock;
use crate::metric::Page;

/// A part of the host metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collector {
    /// `node_arp_entries`.
    Arp,
    /// `node_nf_conntrack_*`.
    Conntrack,
    /// `node_cpu_*`.
    Cpu,
    /// `node_disk_*`.
    Diskstats,
    /// `node_entropy_*`.
    Entropy,
    /// `node_filefd_*`.
    Filefd,
    /// `node_filesystem_*`.
    Filesystem,
    /// `node_load*`.
    Loadavg,
    /// `node_memory_*`.
    Meminfo,
    /// `node_network_*` of each device's settings.
    Netclass,
    /// `node_network_*` of each device's traffic.
    Netdev,
    /// `node_netstat_*`.
    Netstat,
    /// `node_pressure_*`.
    Pressure,
    /// `node_schedstat_*`.
    Schedstat,
    /// `node_sockstat_*`.
    Sockstat,
    /// `node_softnet_*`.
    Softnet,
    /// `node_boot_time_seconds`, `node_context_switches_total`, `node_procs_*` and the like.
    Stat,
    /// `node_time_seconds`.
    Time,
    /// `node_uname_info`.
    Uname,
    /// `node_vmstat_*`.
    Vmstat,
}

impl Collector {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Arp,
        Self::Conntrack,
        Self::Cpu,
        Self::Diskstats,
        Self::Entropy,
        Self::Filefd,
        Self::Filesystem,
        Self::Loadavg,
        Self::Meminfo,
        Self::Netclass,
        Self::Netdev,
        Self::Netstat,
        Self::Pressure,
        Self::Schedstat,
        Self::Sockstat,
        Self::Softnet,
        Self::Stat,
        Self::Time,
        Self::Uname,
        Self::Vmstat,
    ];

    /// Returns node_exporter's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Conntrack => "conntrack",
            Self::Cpu => "cpu",
            Self::Diskstats => "diskstats",
            Self::Entropy => "entropy",
            Self::Filefd => "filefd",
            Self::Filesystem => "filesystem",
            Self::Loadavg => "loadavg",
            Self::Meminfo => "meminfo",
            Self::Netclass => "netclass",
            Self::Netdev => "netdev",
            Self::Netstat => "netstat",
            Self::Pressure => "pressure",
            Self::Schedstat => "schedstat",
            Self::Sockstat => "sockstat",
            Self::Softnet => "softnet",
            Self::Stat => "stat",
            Self::Time => "time",
            Self::Uname => "uname",
            Self::Vmstat => "vmstat",
        }
    }
}

/// Settings of host metrics: section `[agent.host]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// Whether they are collected. Default true.
    pub enabled: bool,
    /// How often. Default `15s`.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Label `job`. Default `node-exporter`, which kube-prometheus selects; node-mixin's own is `node`.
    pub job: String,
    /// Which collectors run. Default all.
    pub collectors: Vec<Collector>,
    /// Mount points that are left out, as a regular expression.
    pub mount_points_exclude: String,
    /// File system types that are left out, as a regular expression.
    pub fs_types_exclude: String,
    /// Disks that are left out, as a regular expression.
    pub disks_exclude: String,
    /// Network devices that are left out, as a regular expression; an empty one leaves out none.
    pub network_devices_exclude: String,
    /// How long all file systems together may keep a collection waiting. Default `1s`.
    #[serde(with = "humantime_serde")]
    pub mount_timeout: Duration,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(15),
            job: "node-exporter".to_owned(),
            collectors: Collector::ALL.to_vec(),
            // The defaults of node_exporter.
            mount_points_exclude:
                "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)".to_owned(),
            fs_types_exclude: "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|\
                iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|\
                tracefs)$"
                .to_owned(),
            disks_exclude: r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$".to_owned(),
            network_devices_exclude: String::new(),
            mount_timeout: Duration::from_secs(1),
        }
    }
}

/// Where the kernel's files are: section `[agent.paths]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Where proc is mounted. Default `/proc`.
    pub procfs: PathBuf,
    /// Where sysfs is mounted. Default `/sys`.
    pub sysfs: PathBuf,
    /// Where the host's root is mounted. Default `/`.
    pub rootfs: PathBuf,
    /// Where cgroups are mounted. Default `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// Where kubelet puts the logs of pods. Default `/var/log/pods`.
    pub pod_logs: PathBuf,
    /// Where kubelet links the logs of containers. Default `/var/log/containers`.
    pub container_logs: PathBuf,
    /// Where Docker keeps its containers' settings. Default `/var/lib/docker/containers`.
    pub docker_containers: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            rootfs: "/".into(),
            cgroup: "/sys/fs/cgroup".into(),
            pod_logs: "/var/log/pods".into(),
            container_logs: "/var/log/containers".into(),
            docker_containers: "/var/lib/docker/containers".into(),
        }
    }
}

/// Collects host metrics; keeps what must not run backwards, and which mounts are stuck.
#[derive(Debug)]
pub struct Host {
    paths: Paths,
    collectors: Vec<Collector>,
    clock: Arc<dyn Clock>,
    cpu: cpu::Cpus,
    filesystems: filesystem::Filesystems,
    disks_exclude: Regex,
    network_devices_exclude: Option<Regex>,
}

impl Host {
    /// Makes a collector.
    ///
    /// # Errors
    /// If one of the regular expressions is none; the error names what is wrong with it.
    pub fn new(config: &HostConfig, paths: &Paths, clock: Arc<dyn Clock>) -> Result<Self, regex::Error> {
        let network = &config.network_devices_exclude;
        Ok(Self {
            paths: paths.clone(),
            collectors: config.collectors.clone(),
            clock,
            cpu: cpu::Cpus::default(),
            filesystems: filesystem::Filesystems::new(config, paths)?,
            disks_exclude: Regex::new(&config.disks_exclude)?,
            network_devices_exclude: (!network.is_empty()).then(|| Regex::new(network)).transpose()?,
        })
    }

    /// Runs all collectors once. Blocks: files are read.
    pub fn collect(&mut self) -> Page {
        let mut page = Page::default();
        for collector in self.collectors.clone() {
            let before = self.clock.elapsed();
            let result = self.run(collector, &mut page);
            let took = self.clock.elapsed().saturating_sub(before).as_secs_f64();
            if let Err(e) = &result {
                tracing::debug!(
                    collector = collector.name(),
                    error = e as &dyn std::error::Error,
                    "collector failed"
                );
            }
            let labels = [("collector", collector.name())];
            page.gauge(
                "node_scrape_collector_duration_seconds",
                "node_exporter: Duration of a collector scrape.",
                &labels,
                took,
            );
            let success = f64::from(u8::from(result.is_ok()));
            let help = "node_exporter: Whether a collector succeeded.";
            page.gauge("node_scrape_collector_success", help, &labels, success);
        }
        page
    }

    fn run(&mut self, collector: Collector, page: &mut Page) -> Result<(), CollectError> {
        let proc = |name: &str| self.paths.procfs.join(name);
        match collector {
            Collector::Arp => network::arp(&read::text(&self.net("arp"))?, page),
            Collector::Conntrack => kernel::conntrack(&proc("sys/net/netfilter"), page),
            Collector::Cpu => {
                let path = proc("stat");
                let text = read::text(&path)?;
                self.cpu.collect(&text, page).ok_or(CollectError::Malformed { path })?;
            }
            Collector::Diskstats => {
                disk::collect(&read::text(&proc("diskstats"))?, &self.disks_exclude, page)
            }
            Collector::Entropy => kernel::entropy(&proc("sys/kernel/random"), page),
            Collector::Filefd => {
                let path = proc("sys/fs/file-nr");
                kernel::filefd(&read::text(&path)?, page).ok_or(CollectError::Malformed { path })?;
            }
            Collector::Filesystem => self.filesystems.collect(page)?,
            Collector::Loadavg => {
                let path = proc("loadavg");
                kernel::loadavg(&read::text(&path)?, page).ok_or(CollectError::Malformed { path })?;
            }
            Collector::Meminfo => memory::meminfo(&read::text(&proc("meminfo"))?, page),
            Collector::Netclass => {
                let excluded = |device: &str| self.excludes_device(device);
                network::netclass(&self.paths.sysfs.join("class/net"), excluded, page);
            }
            Collector::Netdev => {
                let text = read::text(&self.net("dev"))?;
                network::netdev(&text, |device| self.excludes_device(device), page);
            }
            Collector::Netstat => {
                sockets::netstat(&read::text(&self.net("snmp"))?, page);
                sockets::netstat(&read::text(&self.net("netstat"))?, page);
                sockets::netstat6(&read::optional(&self.net("snmp6")).unwrap_or_default(), page);
            }
            Collector::Pressure => pressure::collect(&proc("pressure"), page)?,
            Collector::Schedstat => cpu::schedstat(&read::text(&proc("schedstat"))?, page),
            Collector::Sockstat => {
                let auxv = std::fs::read("/proc/self/auxv").unwrap_or_default();
                // What our own process was told holds for the machine; 4096 is what nearly all have.
                let page_bytes = sockets::page_bytes(&auxv).unwrap_or(4096.0);
                sockets::sockstat(&read::text(&self.net("sockstat"))?, page_bytes, page);
            }
            Collector::Softnet => sockets::softnet(&read::text(&self.net("softnet_stat"))?, page),
            Collector::Stat => kernel::stat(&read::text(&proc("stat"))?, page),
            Collector::Time => kernel::time(self.clock.now(), page),
            Collector::Uname => kernel::uname(&proc("sys/kernel"), page),
            Collector::Vmstat => memory::vmstat(&read::text(&proc("vmstat"))?, page),
        }
        Ok(())
    }

    fn excludes_device(&self, device: &str) -> bool {
        self.network_devices_exclude.as_ref().is_some_and(|regex| regex.is_match(device))
    }

    /// Returns a file of the host's network namespace, which is that of process 1 and not always ours.
    fn net(&self, name: &str) -> PathBuf {
        of_init(&self.paths.procfs, &format!("net/{name}"))
    }
}

/// Returns process 1's file where it can be read, else our own.
fn of_init(procfs: &Path, name: &str) -> PathBuf {
    let init = procfs.join("1").join(name);
    if std::fs::File::open(&init).is_ok() {
        return init;
    }
    if name.starts_with("net/") { procfs.join(name) } else { procfs.join("self").join(name) }
}
