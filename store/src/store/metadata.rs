//! What is known about a tenant's metric families.

use std::collections::{BTreeMap, BTreeSet};

use crate::append::MetricMetadata;

/// What is known about metric families, and which of it the catalog does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    by_name: BTreeMap<String, MetricMetadata>,
    changed: BTreeSet<String>,
}

impl Metadata {
    /// Takes what the catalog knows.
    pub(super) fn restore(&mut self, metadata: MetricMetadata) {
        self.by_name.insert(metadata.name.clone(), metadata);
    }

    /// Takes what a batch says. The last word on a family counts.
    pub(super) fn learn(&mut self, said: &[MetricMetadata]) {
        for metadata in said {
            if self.by_name.get(&metadata.name) != Some(metadata) {
                self.by_name.insert(metadata.name.clone(), metadata.clone());
                self.changed.insert(metadata.name.clone());
            }
        }
    }

    /// Returns what changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<MetricMetadata> {
        let changed = std::mem::take(&mut self.changed);
        changed.iter().filter_map(|name| self.by_name.get(name).cloned()).collect()
    }

    /// Returns what is known about one family, or all, sorted by name.
    pub(crate) fn list(&self, name: Option<&str>) -> Vec<MetricMetadata> {
        match name {
            Some(name) => self.by_name.get(name).cloned().into_iter().collect(),
            None => self.by_name.values().cloned().collect(),
        }
    }
}
