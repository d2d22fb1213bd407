//! Reading the kernel's small files.

use std::io;
use std::path::{Path, PathBuf};

/// Why a collector gave nothing, or not everything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CollectError {
    /// A file could not be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("{path} has no line that can be read")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a whole file as text.
pub(super) fn text(path: &Path) -> Result<String, CollectError> {
    let bytes = std::fs::read(path).map_err(|source| CollectError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Reads a file that need not be there.
pub(super) fn optional(path: &Path) -> Option<String> {
    text(path).ok()
}

/// Reads a file that holds one number, and need not be there.
pub(super) fn number(path: &Path) -> Option<f64> {
    optional(path)?.trim().parse().ok()
}

/// Reads `name value` lines.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once([' ', '\t'])?;
        Some((name, value.trim().parse().ok()?))
    })
}

/// Returns the names in a folder, sorted; none if it cannot be read.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}
