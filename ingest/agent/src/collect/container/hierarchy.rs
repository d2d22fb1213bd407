//! Where the cgroups are: one tree in version 2, one a controller in version 1.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Stats, v1, v2};
use crate::collect::read;

// Deeper trees are no containers of any runtime.
const DEPTH_MAX: usize = 12;

/// The mounted cgroup trees.
#[derive(Debug)]
pub(super) enum Hierarchy {
    /// A folder for each controller.
    V1(PathBuf),
    /// One folder.
    V2(PathBuf),
}

impl Hierarchy {
    /// Finds out which version is mounted at `root`.
    ///
    /// A hybrid machine has version 1 controllers, and a `unified` tree without any that are of use.
    pub(super) fn find(root: &Path) -> Option<Self> {
        if root.join("cgroup.controllers").exists() {
            return Some(Self::V2(root.to_owned()));
        }
        let has = |controller: &str| v1::folder(root, controller).is_some();
        (has("memory") || has("cpuacct")).then(|| Self::V1(root.to_owned()))
    }

    /// Returns the paths of all cgroups, parents first; `/` is the root.
    pub(super) fn cgroups(&self) -> Vec<String> {
        let mut paths = BTreeSet::new();
        match self {
            Self::V2(root) => walk(root, "/", &mut paths, DEPTH_MAX),
            Self::V1(root) => {
                // Some runtimes leave out some controllers.
                for controller in ["memory", "cpuacct"] {
                    if let Some(folder) = v1::folder(root, controller) {
                        walk(&folder, "/", &mut paths, DEPTH_MAX);
                    }
                }
            }
        }
        paths.into_iter().collect()
    }

    /// Reads the files of a cgroup.
    pub(super) fn read(&self, path: &str) -> Stats {
        match self {
            Self::V1(root) => v1::read(root, path),
            Self::V2(root) => v2::read(&below(root, path)),
        }
    }

    /// Returns when a cgroup was made, in seconds since the epoch: when its container started.
    pub(super) fn created(&self, path: &str) -> Option<f64> {
        let folder = match self {
            Self::V1(root) => {
                below(&v1::folder(root, "memory").or_else(|| v1::folder(root, "cpuacct"))?, path)
            }
            Self::V2(root) => below(root, path),
        };
        let modified = std::fs::metadata(folder).ok()?.modified().ok()?;
        Some(modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64())
    }
}

/// Returns the folder of a cgroup below the root of a tree.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn walk(dir: &Path, path: &str, paths: &mut BTreeSet<String>, depth: usize) {
    paths.insert(path.to_owned());
    if depth == 0 {
        return;
    }
    for name in read::names(dir) {
        let inside = dir.join(&name);
        // A link would lead to a cgroup that is found under its own name.
        if std::fs::symlink_metadata(&inside).is_ok_and(|metadata| metadata.is_dir()) {
            let slash = if path == "/" { "" } else { "/" };
            walk(&inside, &format!("{path}{slash}{name}"), paths, depth - 1);
        }
    }
}
