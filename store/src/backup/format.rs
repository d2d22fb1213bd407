//! What lies in a backup's `backup.json`.
//!
//! | key | content |
//! |---|---|
//! | `format` | 1; a newer one is refused |
//! | `created_at` | when the backup was begun, RFC 3339 |
//! | `written_by` | the release that wrote it |
//! | `catalog` | the catalog's file: `path`, `bytes`, `blake3` in hexadecimal digits |
//! | `log` | files of the write-ahead log, likewise; none from a server that runs |
//!
//! The segments' files are named in the catalog, with their checksums.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::segment::SegmentFile;

/// The format that this release writes.
pub(super) const FORMAT: u32 = 1;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) created_at: Timestamp,
    pub(super) catalog: SegmentFile,
    pub(super) log: Vec<SegmentFile>,
}

/// Why a manifest was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ManifestError {
    Newer(u32),
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    format: u32,
    created_at: String,
    written_by: String,
    catalog: WireFile,
    log: Vec<WireFile>,
}

#[derive(Serialize, Deserialize)]
struct WireFile {
    path: String,
    bytes: u64,
    blake3: String,
}

/// Writes a manifest.
pub(super) fn write(manifest: &Manifest) -> Vec<u8> {
    let wire = Wire {
        format: FORMAT,
        created_at: manifest.created_at.to_string(),
        written_by: format!("greylight {}", env!("CARGO_PKG_VERSION")),
        catalog: wire_file(&manifest.catalog),
        log: manifest.log.iter().map(wire_file).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&wire).expect("numbers and texts are always JSON");
    text.push(b'\n');
    text
}

/// Reads a manifest.
pub(super) fn read(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let damaged = |detail: &dyn std::fmt::Display| ManifestError::Damaged(detail.to_string());
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
    // Looked at first, since a newer format may have other keys.
    let format = value["format"].as_u64().ok_or_else(|| damaged(&"it names no format"))?;
    if format > u64::from(FORMAT) {
        return Err(ManifestError::Newer(u32::try_from(format).unwrap_or(u32::MAX)));
    }
    let wire: Wire = serde_json::from_value(value).map_err(|e| damaged(&e))?;
    let created_at =
        time_of(&wire.created_at).ok_or_else(|| damaged(&format!("{:?} is no time", wire.created_at)))?;
    let file = |file: &WireFile| file_of(file).ok_or_else(|| damaged(&format!("{:?} is no file", file.path)));
    Ok(Manifest {
        created_at,
        catalog: file(&wire.catalog)?,
        log: wire.log.iter().map(file).collect::<Result<_, _>>()?,
    })
}

fn time_of(text: &str) -> Option<Timestamp> {
    let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    i64::try_from(nanos).ok().map(Timestamp::from_nanos)
}

fn wire_file(file: &SegmentFile) -> WireFile {
    let blake3 = blake3::Hash::from_bytes(file.blake3).to_hex().to_string();
    WireFile { path: file.path.to_string_lossy().into_owned(), bytes: file.bytes, blake3 }
}

fn file_of(file: &WireFile) -> Option<SegmentFile> {
    let blake3 = *blake3::Hash::from_hex(&file.blake3).ok()?.as_bytes();
    is_inside(Path::new(&file.path)).then(|| SegmentFile {
        path: file.path.as_str().into(),
        bytes: file.bytes,
        blake3,
    })
}

/// Tells whether a path stays in the folder that it is taken from.
pub(crate) fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(log: Vec<(String, u64, [u8; 32])>) -> Manifest {
        let file = |(name, bytes, blake3): (String, u64, [u8; 32])| SegmentFile {
            path: Path::new("wal").join(name),
            bytes,
            blake3,
        };
        Manifest {
            created_at: Timestamp::from_millis(1_795_255_200_123),
            catalog: file(("catalog.sqlite".into(), 7, [9; 32])),
            log: log.into_iter().map(file).collect(),
        }
    }

    proptest! {
        #[test]
        fn a_manifest_comes_back(log in proptest::collection::vec(("[a-z0-9]{1,9}", 0..u64::MAX / 2, any::<[u8; 32]>()), 0..4)) {
            let manifest = manifest(log);
            prop_assert_eq!(read(&write(&manifest)), Ok(manifest));
        }

        #[test]
        fn any_bytes_are_a_manifest_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(read(&bytes).is_err());
        }
    }

    #[test]
    fn a_newer_format_and_paths_that_lead_outside_are_refused() {
        let text = String::from_utf8(write(&manifest(Vec::new()))).unwrap();
        let newer = text.replace("\"format\": 1", "\"format\": 2").replace("catalog\"", "other\"");
        assert_eq!(read(newer.as_bytes()), Err(ManifestError::Newer(2)));
        for path in ["../x", "/etc/x", "a/../../b", ""] {
            let text = text.replace("wal/catalog.sqlite", path);
            assert!(matches!(read(text.as_bytes()), Err(ManifestError::Damaged(_))), "{path}");
        }
    }
}
