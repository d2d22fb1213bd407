//! A table's log of commits, as the Delta protocol has it (reader version 1, writer version 2).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{DeltaError, checkpoint, io_at};
use crate::disk::Disk;

const FOLDER: &str = "_delta_log";
const LAST_CHECKPOINT: &str = "_last_checkpoint";
const CHECKPOINT: &str = ".checkpoint.parquet";
const COMMIT: &str = ".json";

/// What the commits up to the last one say.
#[derive(Debug)]
pub(super) struct Log {
    root: PathBuf,
    folder: PathBuf,
    version: Option<u64>,
    checkpoint: Option<u64>,
    protocol: Option<Value>,
    metadata: Option<Value>,
    live: BTreeMap<String, Value>,
    /// Files that left, and when.
    removed: BTreeMap<String, i64>,
}

fn version_of(name: &Path, end: &str) -> Option<u64> {
    name.to_str()?.strip_suffix(end).filter(|digits| digits.len() == 20)?.parse().ok()
}

impl Log {
    /// Reads the newest checkpoint and the commits after it; a table that is not there yet has none.
    pub(super) fn read(disk: &dyn Disk, root: &Path) -> Result<Self, DeltaError> {
        let folder = root.join(FOLDER);
        let names = disk.list(&folder).map_err(io_at("listing", &folder))?;
        let checkpoint = names.iter().filter_map(|name| version_of(name, CHECKPOINT)).max();
        let mut log = Self {
            root: root.to_owned(),
            folder,
            version: checkpoint,
            checkpoint,
            protocol: None,
            metadata: None,
            live: BTreeMap::new(),
            removed: BTreeMap::new(),
        };
        if let Some(version) = checkpoint {
            let path = log.file(version, CHECKPOINT);
            let bytes = disk.read(&path).map_err(io_at("reading", &path))?;
            let actions = checkpoint::decode(bytes).map_err(|detail| log.damaged(&path, detail))?;
            actions.iter().try_for_each(|action| log.apply(action, &path))?;
        }
        let mut versions: Vec<u64> = names.iter().filter_map(|name| version_of(name, COMMIT)).collect();
        versions.retain(|version| checkpoint.is_none_or(|checkpoint| *version > checkpoint));
        versions.sort_unstable();
        for version in versions {
            let path = log.file(version, COMMIT);
            if version != log.next_version() {
                return Err(log.damaged(&path, format!("commit {} is missing before it", log.next_version())));
            }
            let bytes = disk.read(&path).map_err(io_at("reading", &path))?;
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let action = serde_json::from_slice(line).map_err(|e| log.damaged(&path, e.to_string()))?;
                log.apply(&action, &path)?;
            }
            log.version = Some(version);
        }
        Ok(log)
    }

    fn file(&self, version: u64, end: &str) -> PathBuf {
        self.folder.join(format!("{version:020}{end}"))
    }

    fn damaged(&self, path: &Path, detail: impl Into<String>) -> DeltaError {
        DeltaError::Damaged { path: path.to_owned(), detail: detail.into(), root: self.root.clone() }
    }

    fn apply(&mut self, action: &Value, path: &Path) -> Result<(), DeltaError> {
        let of = |value: &Value| value["path"].as_str().map(str::to_owned);
        let lacks_path = "an action has no path";
        if let Some(add) = action.get("add").filter(|add| !add.is_null()) {
            let file = of(add).ok_or_else(|| self.damaged(path, lacks_path))?;
            self.removed.remove(&file);
            self.live.insert(file, json!({"add": add}));
        }
        if let Some(remove) = action.get("remove").filter(|remove| !remove.is_null()) {
            let file = of(remove).ok_or_else(|| self.damaged(path, lacks_path))?;
            self.live.remove(&file);
            self.removed.insert(file, remove["deletionTimestamp"].as_i64().unwrap_or(i64::MIN));
        }
        for (name, slot) in [("protocol", &mut self.protocol), ("metaData", &mut self.metadata)] {
            if let Some(value) = action.get(name).filter(|value| !value.is_null()) {
                *slot = Some(json!({name: value}));
            }
        }
        Ok(())
    }

    fn next_version(&self) -> u64 {
        self.version.map_or(0, |version| version + 1)
    }

    /// Returns the version of the last commit.
    pub(super) fn version(&self) -> Option<u64> {
        self.version
    }

    /// Returns how many commits there are that no checkpoint has.
    pub(super) fn n_since_checkpoint(&self) -> u64 {
        self.next_version() - self.checkpoint.map_or(0, |version| version + 1)
    }

    /// Walks the files that the table has.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        self.live.keys()
    }

    /// Tells whether the table has a file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.live.contains_key(path)
    }

    /// Tells whether the table has a file, or had it not long ago.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.has(path) || self.removed.contains_key(path)
    }

    /// Returns the files that left before a time.
    pub(super) fn removed_before(&self, t_ms: i64) -> Vec<String> {
        self.removed.iter().filter(|(_, at)| **at < t_ms).map(|(path, _)| path.clone()).collect()
    }

    /// Adds a commit; it is durable, and seen by readers, when this returns.
    pub(super) fn commit(&mut self, disk: &dyn Disk, actions: &[Value]) -> Result<(), DeltaError> {
        let path = self.file(self.next_version(), COMMIT);
        let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
        disk.create_dir_all(&self.folder).map_err(io_at("making", &self.folder))?;
        disk.write_atomic(&path, text.as_bytes()).map_err(io_at("writing", &path))?;
        self.version = Some(self.next_version());
        actions.iter().try_for_each(|action| self.apply(action, &path))
    }

    /// Writes a checkpoint of all commits, without files that left before a time, and removes what is older than the
    /// checkpoint before this one.
    pub(super) fn checkpoint(&mut self, disk: &dyn Disk, before_ms: i64) -> Result<(), DeltaError> {
        let Some(version) = self.version else { return Ok(()) };
        self.removed.retain(|_, at| *at >= before_ms);
        let removed = self.removed.iter().map(
            |(path, at)| json!({"remove": {"path": path, "deletionTimestamp": at, "dataChange": false}}),
        );
        let actions: Vec<Value> = self
            .protocol
            .iter()
            .chain(&self.metadata)
            .chain(self.live.values())
            .cloned()
            .chain(removed)
            .collect();
        let path = self.file(version, CHECKPOINT);
        let failed = |e: String| io_at("encoding", &path)(io::Error::other(e));
        let bytes = checkpoint::encode(&actions).map_err(failed)?;
        disk.write_atomic(&path, &bytes).map_err(io_at("writing", &path))?;
        let last = self.folder.join(LAST_CHECKPOINT);
        let text = json!({"version": version, "size": actions.len()}).to_string();
        disk.write_atomic(&last, text.as_bytes()).map_err(io_at("writing", &last))?;
        // Who began to read before may be at the older checkpoint.
        if let Some(oldest) = self.checkpoint.replace(version) {
            self.clean_up(disk, oldest)?;
        }
        Ok(())
    }

    fn clean_up(&self, disk: &dyn Disk, oldest: u64) -> Result<(), DeltaError> {
        for name in disk.list(&self.folder).map_err(io_at("listing", &self.folder))? {
            let version = version_of(&name, COMMIT).or_else(|| version_of(&name, CHECKPOINT));
            if version.is_some_and(|version| version < oldest) {
                let path = self.folder.join(name);
                disk.remove(&path).map_err(io_at("removing", &path))?;
            }
        }
        disk.sync_dir(&self.folder).map_err(io_at("making durable", &self.folder))
    }
}
