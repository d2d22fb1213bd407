//! The segments of metrics as Delta Lake tables, so that other engines read the very same Parquet files.
//!
//! For each tenant `delta/<tenant>/samples` and `delta/<tenant>/series`, with hard links to the files of the segments
//! and a log of commits beside them. The catalog is the source of truth: a publication compares it with what the log
//! says and commits the difference. One process has the folder, so commits never race. A link to a file that left the
//! table stays for a while, since readers that began before still look for it.
//!
//! A crash at any point leaves a table as it was before or after a commit: links come before the commit that names
//! them and go after the one that lets go of them.

mod log;
mod checkpoint;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::disk::Disk;
use crate::model::{Random, TenantId, Timestamp};
use crate::segment::{SegmentMeta, Table};
use log::Log;

/// The folder of all tables.
pub(crate) const FOLDER: &str = "delta";

/// Commits after which a checkpoint is written, so that who opens a table reads little.
const CHECKPOINT_EVERY: u64 = 32;

/// What a publication did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Tables that there are.
    pub n_tables: u64,
    /// Files that came into tables.
    pub n_added: u64,
    /// Files that left tables.
    pub n_removed: u64,
}

/// Why tables were not published. What was published before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The disk refused.
    #[error("{doing} {path} failed")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A log makes no sense.
    #[error("{path} is damaged: {detail}; remove the folder {root} to have it published anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
        /// The folder of its table.
        root: PathBuf,
    },
}

fn io_at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeltaError {
    let path = path.to_owned();
    move |source| DeltaError::Io { doing, path, source }
}

/// One of a tenant's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Samples,
    Series,
}

/// Name and type of each column of the files that a table has; what partitions a table is not in the files.
type Columns = [(&'static str, &'static str)];

const SAMPLES: &Columns = &[
    ("series_id", "integer"),
    ("time_ms", "timestamp"),
    ("mantissa", "long"),
    ("scale", "integer"),
    ("raw", "double"),
];
const SERIES: &Columns = &[
    ("series_id", "integer"),
    ("labels", "map"),
    ("first_row", "long"),
    ("n_rows", "long"),
    ("start_ms", "long"),
    ("end_ms", "long"),
    ("step_ms", "long"),
    ("scale", "integer"),
    ("has_raw", "boolean"),
];
const PARTITIONS: &Columns = &[("date", "date"), ("segment", "string"), ("sequence", "long")];

impl Kind {
    const ALL: [Self; 2] = [Self::Samples, Self::Series];

    fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Series => "series",
        }
    }

    fn columns(self) -> &'static Columns {
        match self {
            Self::Samples => SAMPLES,
            Self::Series => SERIES,
        }
    }

    /// The place of the table's file among those of a segment.
    fn position(self) -> usize {
        match self {
            Self::Samples => 0,
            Self::Series => 1,
        }
    }

    fn n_rows(self, meta: &SegmentMeta) -> u64 {
        match self {
            Self::Samples => meta.n_rows,
            Self::Series => meta.n_series,
        }
    }

    fn schema(self) -> Value {
        let field = |(name, of): &(&str, &str)| {
            let of = match *of {
                "map" => {
                    json!({"type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": true})
                }
                simple => json!(simple),
            };
            json!({"name": name, "type": of, "nullable": true, "metadata": {}})
        };
        let fields: Vec<Value> = self.columns().iter().chain(PARTITIONS).map(field).collect();
        json!({"type": "struct", "fields": fields})
    }

    /// The actions that begin a table.
    fn begin(self, random: &dyn Random, now: Timestamp) -> [Value; 2] {
        let id = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        // A version 4 UUID of the RFC 4122 variant.
        let id = id & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        let hex = format!("{id:032x}");
        let id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let partitions: Vec<&str> = PARTITIONS.iter().map(|(name, _)| *name).collect();
        [
            json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
            json!({"metaData": {
                "id": id,
                "name": self.name(),
                "format": {"provider": "parquet", "options": {}},
                "schemaString": self.schema().to_string(),
                "partitionColumns": partitions,
                "configuration": {},
                "createdTime": now.as_millis(),
            }}),
        ]
    }

    /// The action that brings a segment's file into the table.
    fn add(self, meta: &SegmentMeta, now: Timestamp) -> Option<(String, Value)> {
        let n_rows = self.n_rows(meta);
        let file = meta.files.get(self.position()).filter(|_| n_rows > 0)?;
        let mut parts = file.path.iter().rev().filter_map(|part| part.to_str());
        let (name, folder) = (parts.next()?, parts.next()?);
        let path = format!("{folder}/{name}");
        let mut stats = json!({"numRecords": n_rows});
        if self == Self::Samples {
            let time = |t_ms| json!({"time_ms": Timestamp::from_millis(t_ms).to_string()});
            stats["minValues"] = time(meta.span.start);
            stats["maxValues"] = time(meta.span.end);
        }
        let add = json!({"add": {
            "path": path,
            "partitionValues": {
                "date": folder.strip_prefix("date="),
                "segment": meta.id.to_string(),
                "sequence": meta.sequence.to_string(),
            },
            "size": file.bytes,
            "modificationTime": now.as_millis(),
            // Of merges too: nobody who reads changes may miss rows that were born and merged between two commits.
            "dataChange": true,
            "stats": stats.to_string(),
        }});
        Some((path, add))
    }
}

/// What a publication works with.
pub(crate) struct Publisher<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) random: &'a dyn Random,
    pub(crate) now: Timestamp,
    /// How long a file that left a table is kept for those who read it.
    pub(crate) keep: Duration,
}

impl Publisher<'_> {
    /// Makes the tables of all tenants what the segments are. Nobody may remove files of segments meanwhile.
    pub(crate) fn publish(&self, segments: &[SegmentMeta]) -> Result<Published, DeltaError> {
        let mut tenants: BTreeMap<String, Vec<&SegmentMeta>> = BTreeMap::new();
        let names = self.disk.list(Path::new(FOLDER)).map_err(io_at("listing", Path::new(FOLDER)))?;
        for name in names {
            // Tenants whose last segment is gone have a table without files.
            if let Some(tenant) = name.to_str().filter(|name| TenantId::new(name).is_ok()) {
                tenants.insert(tenant.to_owned(), Vec::new());
            }
        }
        for meta in segments.iter().filter(|meta| meta.table == Table::Metrics) {
            tenants.entry(meta.tenant.to_string()).or_default().push(meta);
        }
        let mut published = Published::default();
        for (tenant, metas) in tenants {
            for kind in Kind::ALL {
                let root = Path::new(FOLDER).join(&tenant).join(kind.name());
                self.publish_table(kind, &root, &metas, &mut published)?;
            }
        }
        Ok(published)
    }

    fn publish_table(
        &self,
        kind: Kind,
        root: &Path,
        metas: &[&SegmentMeta],
        published: &mut Published,
    ) -> Result<(), DeltaError> {
        let mut log = Log::read(self.disk, root)?;
        let mut wanted: BTreeMap<String, (&Path, Value)> = BTreeMap::new();
        for meta in metas {
            if let Some((path, add)) = kind.add(meta, self.now) {
                wanted.insert(path, (&meta.files[kind.position()].path, add));
            }
        }
        let gone: Vec<String> = log.paths().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        wanted.retain(|path, _| !log.has(path));
        if log.version().is_none() && wanted.is_empty() {
            return Ok(());
        }
        published.n_tables += 1;
        if !wanted.is_empty() || !gone.is_empty() {
            self.link(root, wanted.iter().map(|(path, (file, _))| (path.as_str(), *file)))?;
            let mut actions = Vec::new();
            if log.version().is_none() {
                actions.extend(kind.begin(self.random, self.now));
            }
            published.n_added += wanted.len() as u64;
            published.n_removed += gone.len() as u64;
            actions.extend(wanted.into_values().map(|(_, add)| add));
            actions.extend(gone.into_iter().map(|path| {
                json!({"remove": {"path": path, "deletionTimestamp": self.now.as_millis(), "dataChange": true}})
            }));
            log.commit(self.disk, &actions)?;
        }
        let before = self.now.saturating_sub(self.keep).as_millis();
        for path in log.removed_before(before) {
            self.unlink(&root.join(&path))?;
        }
        if log.n_since_checkpoint() >= CHECKPOINT_EVERY {
            log.checkpoint(self.disk, before)?;
            self.sweep(root, &log)?;
        }
        Ok(())
    }

    fn link<'p>(
        &self,
        root: &Path,
        files: impl Iterator<Item = (&'p str, &'p Path)>,
    ) -> Result<(), DeltaError> {
        let mut folders = BTreeSet::new();
        for (path, file) in files {
            let link = root.join(path);
            let folder = link.parent().unwrap_or(root).to_path_buf();
            if !folders.contains(&folder) {
                self.disk.create_dir_all(&folder).map_err(io_at("making", &folder))?;
                folders.insert(folder);
            }
            // What a publication left that was cut off, or a segment that was out of answers for a while.
            self.unlink(&link)?;
            self.disk.link(file, &link).map_err(io_at("linking", &link))?;
        }
        folders
            .iter()
            .try_for_each(|folder| self.disk.sync_dir(folder).map_err(io_at("making durable", folder)))
    }

    fn unlink(&self, path: &Path) -> Result<(), DeltaError> {
        match self.disk.remove(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_at("removing", path)(source)),
            _ => Ok(()),
        }
    }

    /// Removes links that the log does not know: of publications that were cut off.
    fn sweep(&self, root: &Path, log: &Log) -> Result<(), DeltaError> {
        for folder in self.disk.list(root).map_err(io_at("listing", root))? {
            let Some(day) = folder.to_str().filter(|name| name.starts_with("date=")) else { continue };
            let folder = root.join(&folder);
            for name in self.disk.list(&folder).map_err(io_at("listing", &folder))? {
                let path = format!("{day}/{}", name.display());
                if !log.knows(&path) {
                    self.unlink(&root.join(path))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
