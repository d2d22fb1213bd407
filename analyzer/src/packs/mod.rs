//! Ready-made packs of checks, for releases whose team has written no policy.
//!
//! A pack is data: the YAML files beside this one. Each of its checks has a phase, a margin with the reason for it,
//! and ways to get its data, the better one first. [`choose`](choose::choose) takes of each check the first way that
//! both cohorts have data for, and makes an ordinary policy of them, read by the ordinary parser and pinned with the
//! release like any other. `docs/packs.md` describes the packs and this language.
//!
//! Texts of a way may hold `$each` (the way is tried for each entry of its list), `$requests` and its kin of
//! `requests.yaml`, and `$within` (the bound within which nine of ten values of the baseline lie); `$cohort` and
//! `$interval` stay for the policy.

mod choose;
mod exposed;
mod fill;

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use choose::{Asked, Chosen, choose};

/// Name of the policy that packs make where none of that name is stored.
pub(crate) const DEFAULT: &str = "default";

/// Checks that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pack {
    pack: String,
    /// What it is for, for readers of the file.
    #[expect(dead_code, reason = "documents the pack where it is written")]
    about: String,
    checks: Vec<Offer>,
}

/// A check that is taken where one of its ways has data.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offer {
    /// The check's name, unique over all packs.
    name: String,
    phase: String,
    /// Why its margin is what it is.
    why: String,
    /// It is left out where one of these was taken.
    #[serde(default)]
    unless: Vec<String>,
    /// The check without its data.
    check: Map<String, Value>,
    from: Vec<Way>,
}

/// One way to get a check's data.
#[derive(Clone, Debug, Deserialize)]
struct Way {
    source: String,
    /// Tried for each of these in the place of `$each`.
    #[serde(default)]
    each: Vec<String>,
    /// Selectors of series, and `{ logs }` of records, that must be there beside what the check reads.
    #[serde(default)]
    needs: Vec<Value>,
    /// What `$within` is found in: the selector of cumulated buckets, or a log query with a field.
    #[serde(default)]
    within: Option<Value>,
    /// Values of `by` beyond which the way is passed over.
    #[serde(default)]
    values_max: Option<usize>,
    /// Joined to the check.
    #[serde(flatten)]
    data: Map<String, Value>,
}

/// How requests of one protocol are counted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    role: String,
    ways: Vec<RoleWay>,
}

/// One way to count requests: texts and log queries by name, `requests` and `source` among them.
#[derive(Clone, Debug, Deserialize)]
struct RoleWay {
    #[serde(default)]
    each: Vec<String>,
    #[serde(flatten)]
    texts: Map<String, Value>,
}

/// What packs are made of.
#[derive(Debug)]
struct Library {
    /// The policy without its checks.
    frame: Value,
    roles: Vec<Role>,
    packs: Vec<Pack>,
}

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
        serde_saphyr::from_str(text).expect("a test reads every embedded file")
    }
    let packs = [
        include_str!("http.yaml"),
        include_str!("grpc.yaml"),
        include_str!("container.yaml"),
        include_str!("process.yaml"),
        include_str!("jvm.yaml"),
        include_str!("node.yaml"),
        include_str!("go.yaml"),
        include_str!("python.yaml"),
        include_str!("kafka.yaml"),
        include_str!("database.yaml"),
        include_str!("business.yaml"),
        include_str!("logs.yaml"),
        include_str!("compatibility.yaml"),
        include_str!("together.yaml"),
    ];
    Library {
        frame: read(include_str!("policy.yaml")),
        roles: read(include_str!("requests.yaml")),
        packs: packs.into_iter().map(read).collect(),
    }
});

#[cfg(test)]
mod tests;
