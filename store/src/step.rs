//! Named points on the way of data, at which a test can end the process or the power.
//!
//! Between two of them the disk or the catalog changes once, so a death at each covers every state that a
//! crash can leave behind. In a server nobody listens, and passing one costs a look at an empty option.

use std::fmt;
use std::sync::Arc;

/// A piece of work that changes what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// From heads to segments.
    Seal,
    /// From many segments to one.
    Merge,
    /// Deleting samples.
    Delete,
    /// Dropping what is past its retention.
    Retire,
}

/// A point that is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The catalog was read, nothing else yet.
    CatalogRead,
    /// The log was read back into the heads, and its torn end cut.
    LogReplayed,
    /// Files that no segment has are gone; the store is about to take and to answer.
    OrphansRemoved,
    /// A new file of the log is there, empty.
    LogFileMade,
    /// A group is written to the log and not synced.
    LogWritten,
    /// A group is durable, and in no head.
    LogSynced,
    /// A batch is in its head, and its sender not answered.
    HeadApplied,
    /// The heads take no more, and nothing of them is on the disk.
    HeadsFrozen,
    /// New files are durable, and nobody's; passed for each tenant and table that is sealed.
    Written(Work),
    /// The catalog's transaction is whole and not committed.
    Recording(Work),
    /// The catalog has it; readers do not see it yet.
    Recorded(Work),
    /// Readers see it; files that are not needed any more are still there.
    Shown(Work),
    /// Files that were not needed any more are removed, and their folder is not synced.
    Removed(Work),
}

impl Step {
    /// All that there are, in the order of a store's life.
    pub const ALL: [Self; 27] = [
        Self::CatalogRead,
        Self::LogReplayed,
        Self::OrphansRemoved,
        Self::LogFileMade,
        Self::LogWritten,
        Self::LogSynced,
        Self::HeadApplied,
        Self::HeadsFrozen,
        Self::Written(Work::Seal),
        Self::Recording(Work::Seal),
        Self::Recorded(Work::Seal),
        Self::Shown(Work::Seal),
        Self::Removed(Work::Seal),
        Self::Written(Work::Merge),
        Self::Recording(Work::Merge),
        Self::Recorded(Work::Merge),
        Self::Shown(Work::Merge),
        Self::Removed(Work::Merge),
        Self::Written(Work::Delete),
        Self::Recording(Work::Delete),
        Self::Recorded(Work::Delete),
        Self::Shown(Work::Delete),
        Self::Removed(Work::Delete),
        Self::Recording(Work::Retire),
        Self::Recorded(Work::Retire),
        Self::Shown(Work::Retire),
        Self::Removed(Work::Retire),
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CatalogRead => f.write_str("open: catalog read"),
            Self::LogReplayed => f.write_str("open: log replayed"),
            Self::OrphansRemoved => f.write_str("open: orphans removed"),
            Self::LogFileMade => f.write_str("ingest: log file made"),
            Self::LogWritten => f.write_str("ingest: log written"),
            Self::LogSynced => f.write_str("ingest: log synced"),
            Self::HeadApplied => f.write_str("ingest: head applied"),
            Self::HeadsFrozen => f.write_str("seal: heads frozen"),
            Self::Written(work) => write!(f, "{work}: written"),
            Self::Recording(work) => write!(f, "{work}: recording"),
            Self::Recorded(work) => write!(f, "{work}: recorded"),
            Self::Shown(work) => write!(f, "{work}: shown"),
            Self::Removed(work) => write!(f, "{work}: removed"),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seal => "seal",
            Self::Merge => "merge",
            Self::Delete => "delete",
            Self::Retire => "retire",
        })
    }
}

/// Who is told when a point is passed; nobody by default.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl Steps {
    /// Has `listener` told of every point, on the thread that passes it, which waits for it.
    pub fn told_to(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn pass(&self, step: Step) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Steps({})", if self.0.is_some() { "told" } else { "nobody" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<String> = Step::ALL.iter().map(|s| s.to_string()).collect();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
