//! Tests of this module.

use std::path::Path;

/// Writes a file, as a program under test would.
#[expect(clippy::disallowed_methods, reason = "a test writes what the agent only reads")]
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
