//! How full file systems are.
//!
//! A mount whose server is gone blocks whoever asks about it, for good. So a thread of its own asks; when it does
//! not answer in time its mount is marked as stuck and left out until it does, and another thread takes the rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use regex::Regex;
use rustix::fs::StatVfs;

use super::mounts::{Mount, parse};
use super::read::{self, CollectError};
use super::{HostConfig, Paths, of_init};
use crate::metric::Page;

type Ask = dyn Fn(&Path) -> Result<StatVfs, rustix::io::Errno> + Send + Sync;

/// Collects `node_filesystem_*`.
pub(super) struct Filesystems {
    procfs: PathBuf,
    rootfs: PathBuf,
    mount_points_exclude: Regex,
    fs_types_exclude: Regex,
    timeout: Duration,
    stuck: Arc<Mutex<BTreeSet<String>>>,
    ask: Arc<Ask>,
}

impl std::fmt::Debug for Filesystems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filesystems").field("stuck", &self.stuck).finish_non_exhaustive()
    }
}

impl Filesystems {
    pub(super) fn new(config: &HostConfig, paths: &Paths) -> Result<Self, regex::Error> {
        Ok(Self {
            procfs: paths.procfs.clone(),
            rootfs: paths.rootfs.clone(),
            mount_points_exclude: Regex::new(&config.mount_points_exclude)?,
            fs_types_exclude: Regex::new(&config.fs_types_exclude)?,
            timeout: config.mount_timeout,
            stuck: Arc::default(),
            ask: Arc::new(|path| rustix::fs::statvfs(path)),
        })
    }

    pub(super) fn collect(&self, page: &mut Page) -> Result<(), CollectError> {
        let text = read::text(&of_init(&self.procfs, "mountinfo"))?;
        let mounts = self.mounts(&text);
        let answers = self.ask_all(&mounts);
        for (mount, answer) in mounts.iter().zip(answers) {
            show(mount, answer, page);
        }
        Ok(())
    }

    fn mounts(&self, text: &str) -> Vec<Mount> {
        let mut seen = BTreeSet::new();
        let root = self.rootfs.to_str().unwrap_or("/").trim_end_matches('/');
        parse(text)
            .map(|mut mount| {
                // An agent in a container that sees the host below a folder of its own shows the host's names.
                if let Some(inside) = mount.mount_point.strip_prefix(root).filter(|_| !root.is_empty())
                    && (inside.is_empty() || inside.starts_with('/'))
                {
                    mount.mount_point = if inside.is_empty() { "/".to_owned() } else { inside.to_owned() };
                }
                mount
            })
            .filter(|mount| !self.mount_points_exclude.is_match(&mount.mount_point))
            .filter(|mount| !self.fs_types_exclude.is_match(&mount.fs_type))
            .filter(|mount| {
                seen.insert((mount.device.clone(), mount.mount_point.clone(), mount.fs_type.clone()))
            })
            .collect()
    }

    /// Asks about each mount, at most for the time-out in all; `Err` says why there is no answer.
    fn ask_all(&self, mounts: &[Mount]) -> Vec<Result<StatVfs, &'static str>> {
        let mut answers: Vec<_> = mounts.iter().map(|_| Err("mountpoint timeout")).collect();
        let mut left = self.timeout;
        let mut next = 0;
        // Half of what is left for each stuck mount, so that those behind it are asked as well.
        while next < mounts.len() {
            let asked = self.ask_in_thread(&mounts[next..]);
            let wait = left / 2;
            loop {
                match asked.recv_timeout(wait) {
                    Ok(answer) => {
                        answers[next] = answer;
                        next += 1;
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return answers,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.stuck.lock().insert(mounts[next].mount_point.clone());
                        left = left.saturating_sub(wait);
                        next += 1;
                        break;
                    }
                }
            }
        }
        answers
    }

    fn ask_in_thread(&self, mounts: &[Mount]) -> mpsc::Receiver<Result<StatVfs, &'static str>> {
        let (answer, answers) = mpsc::channel();
        let points: Vec<String> = mounts.iter().map(|mount| mount.mount_point.clone()).collect();
        let (stuck, ask, root) = (Arc::clone(&self.stuck), Arc::clone(&self.ask), self.rootfs.clone());
        std::thread::spawn(move || {
            for point in points {
                if stuck.lock().contains(&point) {
                    if answer.send(Err("mountpoint timeout")).is_err() {
                        return;
                    }
                    continue;
                }
                let result = ask(&root.join(point.trim_start_matches('/'))).map_err(|_| "statfs error");
                stuck.lock().remove(&point);
                // Nobody listens any more when it took too long.
                if answer.send(result).is_err() {
                    return;
                }
            }
        });
        answers
    }
}

fn show(mount: &Mount, answer: Result<StatVfs, &'static str>, page: &mut Page) {
    let mut labels = vec![
        ("device", mount.device.as_str()),
        ("mountpoint", mount.mount_point.as_str()),
        ("fstype", mount.fs_type.as_str()),
    ];
    if let Err(why) = answer {
        labels.push(("device_error", why));
    }
    let error = f64::from(u8::from(answer.is_err()));
    let help = "Whether an error occurred while getting statistics for the given device.";
    page.gauge("node_filesystem_device_error", help, &labels, error);
    let Ok(stat) = answer else { return };
    let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
    for (name, help, value) in [
        ("node_filesystem_size_bytes", "Filesystem size in bytes.", bytes(stat.f_blocks)),
        ("node_filesystem_free_bytes", "Filesystem free space in bytes.", bytes(stat.f_bfree)),
        (
            "node_filesystem_avail_bytes",
            "Filesystem space available to non-root users in bytes.",
            bytes(stat.f_bavail),
        ),
        ("node_filesystem_files", "Filesystem total file nodes.", stat.f_files as f64),
        ("node_filesystem_files_free", "Filesystem total free file nodes.", stat.f_ffree as f64),
        ("node_filesystem_readonly", "Filesystem read-only status.", f64::from(u8::from(mount.read_only))),
    ] {
        page.gauge(name, help, &labels, value);
    }
    let info = [
        ("device", mount.device.as_str()),
        ("major", mount.major.as_str()),
        ("minor", mount.minor.as_str()),
        ("mountpoint", mount.mount_point.as_str()),
    ];
    page.gauge("node_filesystem_mount_info", "Filesystem mount information.", &info, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
28 27 0:40 / /mnt/gone rw - nfs4 server:/x rw\n\
29 27 0:41 / /mnt/my\\040disk ro,nosuid shared:1 - tmpfs tmpfs rw,size=4k\n\
30 27 0:42 / /proc rw - proc proc rw\n\
31 27 0:43 / /var/lib/docker/x rw - ext4 /dev/vdb rw\n";

    #[test]
    fn a_mount_that_hangs_costs_its_own_answer_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("1")).unwrap();
        crate::tail::tests::write(&dir.path().join("1/mountinfo"), MOUNTS.as_bytes());
        let config = HostConfig { mount_timeout: Duration::from_millis(200), ..HostConfig::default() };
        let paths = Paths { procfs: dir.path().to_owned(), ..Paths::default() };
        let mut filesystems = Filesystems::new(&config, &paths).unwrap();
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        filesystems.ask = Arc::new(move |path| {
            if path.ends_with("gone") {
                let _ = hang.lock().recv();
            }
            rustix::fs::statvfs("/")
        });
        let shown = || {
            let mut page = Page::default();
            filesystems.collect(&mut page).unwrap();
            page.to_string()
        };
        let first = shown();
        let errors = |text: &str| text.matches("device_error{").count();
        assert_eq!(errors(&first), 3, "{first}");
        assert!(
            first.contains("mountpoint=\"/mnt/gone\",fstype=\"nfs4\",device_error=\"mountpoint timeout\"} 1")
        );
        assert!(
            first.contains("node_filesystem_readonly{device=\"tmpfs\",mountpoint=\"/mnt/my disk\""),
            "{first}"
        );
        assert!(
            first
                .contains("node_filesystem_size_bytes{device=\"/dev/vda\",mountpoint=\"/\",fstype=\"ext4\"}")
        );
        // It stays marked while it hangs, and is asked again once it has answered.
        assert!(shown().contains("mountpoint timeout"));
        drop(release);
        while !filesystems.stuck.lock().is_empty() {
            std::thread::yield_now();
        }
        assert!(!shown().contains("mountpoint timeout"));
    }
}
