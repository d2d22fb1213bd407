//! Which container a cgroup is: id and pod from its path, names from what runtimes and kubelet leave on disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::collect::host::Paths;
use crate::collect::read;
use crate::docker::{Container, LabelRules};

/// What is known of a cgroup; empty where it is no container, or unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Docker's name, or the runtime's id.
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    /// What its labels become, by the settings.
    pub(crate) labels: Vec<(String, String)>,
}

/// Remembers identities, as reading them costs more than the metrics.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, Identity>,
}

impl Names {
    /// Returns what is known of the cgroup at `path`.
    pub(super) fn of(&mut self, path: &str, id: Option<&str>, paths: &Paths, rules: &LabelRules) -> Identity {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let identity = id.map(|id| find(path, id, paths, rules)).unwrap_or_default();
        // What kubelet writes comes a moment after the cgroup, so what is not complete is looked at again.
        let complete = pod_uid(path).is_none() || !identity.pod.is_empty();
        if complete {
            self.known.insert(path.to_owned(), identity.clone());
        }
        identity
    }

    /// Forgets cgroups that are gone.
    pub(super) fn keep_only(&mut self, paths: &[String]) {
        let paths: BTreeSet<&String> = paths.iter().collect();
        self.known.retain(|path, _| paths.contains(path));
    }
}

/// Reads a container's id off the last part of a cgroup's path.
///
/// `/docker/<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`,
/// `kubepods/.../pod<uid>/<id>`, `nerdctl-<id>.scope`, `/lxc/<name>`.
pub(crate) fn container_id(path: &str) -> Option<&str> {
    let (parent, last) = path.rsplit_once('/')?;
    if parent.ends_with("/lxc") {
        return (!last.is_empty()).then_some(last);
    }
    // CRI-O's monitor runs beside the container, under its id.
    if last.starts_with("crio-conmon-") || last.starts_with("libpod-conmon-") {
        return None;
    }
    let name = last.strip_suffix(".scope").unwrap_or(last);
    let id = name.rsplit_once('-').map_or(name, |(_, id)| id);
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then_some(id)
}

/// Reads the pod's uid off a cgroup's path: `.../pod<uid>/...`, with `_` for `-` under systemd.
pub(crate) fn pod_uid(path: &str) -> Option<String> {
    path.split('/').find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let at = part.rfind("pod")?;
        // `kubepods-burstable-pod<uid>` or `pod<uid>`.
        let before = &part[..at];
        let uid = &part[at + 3..];
        let plain = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'_'));
        (plain && (before.is_empty() || before.ends_with('-'))).then(|| uid.replace('_', "-"))
    })
}

fn find(path: &str, id: &str, paths: &Paths, rules: &LabelRules) -> Identity {
    let mut identity = Identity { name: id.to_owned(), ..Identity::default() };
    if let Some(uid) = pod_uid(path) {
        of_pod(&uid, id, paths, &mut identity);
    }
    if let Some(container) = Container::read(&paths.docker_containers.join(id)) {
        of_docker(&container, rules, &mut identity);
    }
    identity
}

/// Reads `/var/log/pods/<namespace>_<pod>_<uid>` and `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`.
fn of_pod(uid: &str, id: &str, paths: &Paths, identity: &mut Identity) {
    for name in read::names(&paths.pod_logs) {
        let parts: Vec<&str> = name.split('_').collect();
        if let [namespace, pod, same] = parts.as_slice()
            && *same == uid
        {
            (identity.namespace, identity.pod) = ((*namespace).to_owned(), (*pod).to_owned());
        }
    }
    for name in read::names(&paths.container_logs) {
        let Some(rest) = name.strip_suffix(".log").and_then(|rest| rest.strip_suffix(id)) else { continue };
        let parts: Vec<&str> = rest.trim_end_matches('-').splitn(3, '_').collect();
        if let [pod, namespace, container] = parts.as_slice() {
            identity.pod = (*pod).to_owned();
            identity.namespace = (*namespace).to_owned();
            identity.container = (*container).to_owned();
        }
    }
}

/// Takes over what Docker keeps of a container.
fn of_docker(container: &Container, rules: &LabelRules, identity: &mut Identity) {
    identity.name.clone_from(&container.name);
    identity.image.clone_from(&container.image);
    let fields = [&mut identity.namespace, &mut identity.pod, &mut identity.container];
    for (value, field) in container.kubernetes().into_iter().zip(fields) {
        if !value.is_empty() {
            value.clone_into(field);
        }
    }
    let labels = rules.apply(&container.labels);
    identity.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
}
