//! Releases, looks and pinned data as the store keeps them: JSON documents, each with a version.
//!
//! | kind | id | body |
//! |---|---|---|
//! | `release` | release id (ULID) | [`ReleaseFormat`] |
//! | `release_live` | release id | empty; present while looks may still be made |
//! | `release_key` | BLAKE3 of the key, hex | the key and its latest release |
//! | `release_pre` | `{release}/{phase:03}` | [`PinFormat`]: the history that a phase is judged by |
//! | `release_verdict` | `{release}/{revision:08}` | the verdict's JSON, one document a revision |
//! | `release_look` | `{release}/{look:08}` | [`LookFormat`]: a look's result and the data new in it |

use std::collections::{BTreeMap, BTreeSet};

use greylight_store::model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::{Move, PhaseProgress, Pinned, Release, State};
use super::request::NewRelease;
use crate::judge::wire::{BirthJson, DataJson, SidesJson};
use crate::verdict::wire::{CheckJson, VerdictJson};
use crate::verdict::{Decision, PhaseState};

/// Version of every document here.
const VERSION: u32 = 1;

pub(crate) const RELEASE: &str = "release";
pub(crate) const LIVE: &str = "release_live";
pub(crate) const KEY: &str = "release_key";
pub(crate) const PRE: &str = "release_pre";
pub(crate) const LOOK: &str = "release_look";
pub(crate) const VERDICT: &str = "release_verdict";

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("{kind} {id} is not readable: {detail}")]
    Unreadable { kind: &'static str, id: String, detail: String },
    #[error(
        "{kind} {id} has format {version}, which a newer Greylight wrote; this one reads up to {VERSION}"
    )]
    Newer { kind: &'static str, id: String, version: u32 },
}

#[derive(Serialize, Deserialize)]
struct ReleaseFormat {
    version: u32,
    id: String,
    attempt: u32,
    body: Value,
    created_at_ns: i64,
    start_ns: i64,
    policy_name: String,
    policy_revision: Option<u64>,
    policy: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packs: Option<Value>,
    state: String,
    phases: Vec<PhaseFormat>,
    verdict: Option<VerdictJson>,
    #[serde(default)]
    outcomes: Vec<Value>,
    overridden: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct PhaseFormat {
    started_at_ns: Option<i64>,
    moves: Vec<MoveFormat>,
    state: String,
    decided_at_ns: Option<i64>,
    looks: u64,
    #[serde(default)]
    alpha_spent: f64,
}

#[derive(Serialize, Deserialize)]
struct MoveFormat {
    at_ns: i64,
    traffic_share: Option<f64>,
    scope: Option<String>,
}

/// Pinned data by check.
pub(crate) type PinnedData = BTreeMap<String, SidesJson>;

/// The history that a phase is judged by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PinFormat {
    version: u32,
    pub(crate) canary_units: Vec<String>,
    /// Units of the fresh cohort, where the release has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fresh_units: Vec<String>,
    pub(crate) data: PinnedData,
    /// Earlier starts of the service's pods, by check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) births: BTreeMap<String, Vec<BirthJson>>,
    /// Log templates that a person had accepted for the service.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) accepted: BTreeSet<String>,
}

/// A look: its result, and the data that was new in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LookFormat {
    version: u32,
    /// Counts the release's looks from 1.
    pub(crate) number: u64,
    /// Counts the phase's looks from 1.
    pub(crate) number_in_phase: u64,
    pub(crate) at_ns: i64,
    pub(crate) phase: String,
    pub(crate) interval_start_ms: i64,
    pub(crate) decision: String,
    pub(crate) revision: u64,
    pub(crate) checks: Vec<CheckJson>,
    /// Units of the canary that were first seen in this look; the phase's history has the earlier ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) canary_units: Vec<String>,
    /// Likewise of the fresh cohort.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fresh_units: Vec<String>,
    pub(crate) data: PinnedData,
    /// What the fresh cohort showed, by check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fresh: BTreeMap<String, DataJson>,
}

impl PinFormat {
    pub(crate) fn new(
        canary_units: Vec<String>,
        fresh_units: Vec<String>,
        data: PinnedData,
        births: BTreeMap<String, Vec<BirthJson>>,
        accepted: BTreeSet<String>,
    ) -> Self {
        Self { version: VERSION, canary_units, fresh_units, data, births, accepted }
    }
}

impl LookFormat {
    pub(crate) fn new(
        number: u64,
        number_in_phase: u64,
        at: Timestamp,
        phase: &str,
        interval_start_ms: i64,
    ) -> Self {
        Self {
            version: VERSION,
            number,
            number_in_phase,
            at_ns: at.as_nanos(),
            phase: phase.to_string(),
            interval_start_ms,
            decision: String::new(),
            revision: 0,
            checks: Vec::new(),
            canary_units: Vec::new(),
            fresh_units: Vec::new(),
            data: PinnedData::new(),
            fresh: BTreeMap::new(),
        }
    }

    /// Returns the look as it was before it was judged: what it was about, and the data new in it.
    pub(crate) fn again(&self) -> Self {
        Self { decision: String::new(), revision: 0, checks: Vec::new(), ..self.clone() }
    }
}

/// Returns the id of a phase's pinned history.
pub(crate) fn pre_id(release: &str, phase: usize) -> String {
    format!("{release}/{phase:03}")
}

/// Returns the id of a look.
pub(crate) fn look_id(release: &str, number: u64) -> String {
    format!("{release}/{number:08}")
}

/// Returns the id of one revision of a verdict.
pub(crate) fn verdict_id(release: &str, revision: u64) -> String {
    format!("{release}/{revision:08}")
}

/// Returns the id of a key's document; keys may hold any character.
pub(crate) fn key_id(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().to_string()
}

/// Encodes a document.
pub(crate) fn encode<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents hold only strings as keys and finite or null numbers")
}

/// Decodes a document and refuses one from a newer version.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(
    kind: &'static str,
    id: &str,
    body: &[u8],
) -> Result<T, FormatError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let unreadable =
        |e: serde_json::Error| FormatError::Unreadable { kind, id: id.to_string(), detail: e.to_string() };
    let head: Head = serde_json::from_slice(body).map_err(unreadable)?;
    if head.version > VERSION {
        return Err(FormatError::Newer { kind, id: id.to_string(), version: head.version });
    }
    serde_json::from_slice(body).map_err(unreadable)
}

/// Encodes a release.
pub(crate) fn encode_release(release: &Release) -> Vec<u8> {
    encode(&ReleaseFormat {
        version: VERSION,
        id: release.id.clone(),
        attempt: release.attempt,
        body: release.body.clone(),
        created_at_ns: release.created_at.as_nanos(),
        start_ns: release.start.as_nanos(),
        policy_name: release.policy.name.clone(),
        policy_revision: release.policy.revision,
        policy: release.policy.document.clone(),
        packs: release.policy.packs.clone(),
        state: release.state.word().to_string(),
        phases: release.phases.iter().map(phase_format).collect(),
        verdict: release.verdict.clone(),
        outcomes: release.outcomes.clone(),
        overridden: release.overridden.clone(),
    })
}

fn phase_format(phase: &PhaseProgress) -> PhaseFormat {
    let moves = phase.moves.iter().map(|m| MoveFormat {
        at_ns: m.at.as_nanos(),
        traffic_share: m.traffic_share,
        scope: m.scope.clone(),
    });
    PhaseFormat {
        started_at_ns: phase.started_at.map(Timestamp::as_nanos),
        moves: moves.collect(),
        state: phase.state.word().to_string(),
        decided_at_ns: phase.decided_at.map(Timestamp::as_nanos),
        looks: phase.n_looks,
        alpha_spent: phase.alpha_spent,
    }
}

/// Decodes a release.
pub(crate) fn decode_release(id: &str, body: &[u8]) -> Result<Release, FormatError> {
    let format: ReleaseFormat = decode(RELEASE, id, body)?;
    let unreadable = |detail: String| FormatError::Unreadable { kind: RELEASE, id: id.to_string(), detail };
    let request = NewRelease::parse(&format.body).map_err(|p| unreadable(p.to_string()))?;
    let policy = Pinned::new(Some(format.policy_name), format.policy_revision, format.policy, &request);
    let policy = policy.map_err(|e| unreadable(e.to_string()))?;
    let policy = Pinned { packs: format.packs, ..policy };
    let state =
        State::from_word(&format.state).ok_or_else(|| unreadable(format!("state {:?}", format.state)))?;
    let phases: Option<Vec<PhaseProgress>> = format.phases.into_iter().map(phase).collect();
    Ok(Release {
        id: format.id,
        attempt: format.attempt,
        body: format.body,
        request,
        created_at: Timestamp::from_nanos(format.created_at_ns),
        start: Timestamp::from_nanos(format.start_ns),
        policy,
        state,
        phases: phases.ok_or_else(|| unreadable("a phase's state".into()))?,
        verdict: format.verdict,
        outcomes: format.outcomes,
        overridden: format.overridden,
    })
}

fn phase(format: PhaseFormat) -> Option<PhaseProgress> {
    let state = match format.state.as_str() {
        "waiting" => PhaseState::Waiting,
        "go" => PhaseState::Begun(Decision::Go),
        "no_go" => PhaseState::Begun(Decision::NoGo),
        "inconclusive" => PhaseState::Begun(Decision::Inconclusive),
        _ => return None,
    };
    let moves = format.moves.into_iter().map(|m| Move {
        at: Timestamp::from_nanos(m.at_ns),
        traffic_share: m.traffic_share,
        scope: m.scope,
    });
    Some(PhaseProgress {
        started_at: format.started_at_ns.map(Timestamp::from_nanos),
        moves: moves.collect(),
        state,
        decided_at: format.decided_at_ns.map(Timestamp::from_nanos),
        n_looks: format.looks,
        alpha_spent: format.alpha_spent,
    })
}
