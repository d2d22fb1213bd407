//! What else happened in a verdict's time, as JSON.

use serde::{Deserialize, Serialize};

/// A change that is no release: a flag, a migration, a new node pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeJson {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// What kind of change, in the caller's words: `flag`, `config`, `migration`.
    pub kind: String,
    /// The service that it is of; none: of all.
    pub service: Option<String>,
    /// When, in RFC 3339.
    pub time: String,
    /// Who made it.
    pub by: Option<String>,
    /// What it is.
    pub text: String,
    /// Where to read more.
    pub link: Option<String>,
}

/// Another release that ran at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverlapJson {
    /// Its id.
    pub release: String,
    /// Its service.
    pub service: String,
    /// The version that it brings.
    pub canary: String,
    /// When it started.
    pub started_at: String,
    /// How many of this release's canary units it changes too.
    pub shared_units: usize,
    /// `own`: what this release shows is its own; `undecidable`: both change the same units.
    pub blame: String,
    /// The same in words.
    pub text: String,
}
