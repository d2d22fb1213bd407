//! What the tables of one statement lack because files are damaged.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// Sentences about what is missing, gathered from all scans of one statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps(Arc<Mutex<BTreeSet<String>>>);

impl Gaps {
    /// Adds what one scan lacks.
    pub(super) fn add(&self, missing: Vec<String>) {
        self.0.lock().extend(missing);
    }

    /// Returns each sentence once, sorted.
    pub(super) fn list(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}
