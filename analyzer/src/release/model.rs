//! A release under analysis.

use std::sync::Arc;

use greylight_store::model::Timestamp;
use serde_json::Value;

use super::request::NewRelease;
use crate::policy::{self, Policy, PolicyError, Queries, Starts};
use crate::verdict::wire::VerdictJson;
use crate::verdict::{Decision, PhaseState};

/// A release: what was asked, what is pinned, and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) id: String,
    /// How often this key was started, from 1.
    pub(crate) attempt: u32,
    /// The body of the request, as it came; parsed again when loaded.
    pub(crate) body: Value,
    pub(crate) request: NewRelease,
    pub(crate) created_at: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) policy: Pinned,
    pub(crate) state: State,
    pub(crate) phases: Vec<PhaseProgress>,
    /// The latest verdict; its revision counts from 1.
    pub(crate) verdict: Option<VerdictJson>,
    pub(crate) outcomes: Vec<Value>,
    pub(crate) overridden: Option<Value>,
}

/// The policy that judges, as it was when the release started.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub(crate) name: String,
    /// The stored policy's revision; none where it came with the request.
    pub(crate) revision: Option<u64>,
    pub(crate) document: Value,
    /// Which checks packs gave it and which not, where it was made of packs.
    pub(crate) packs: Option<Value>,
    /// The document as it holds for this release: with the request's own settings over its own.
    pub(crate) policy: Arc<Policy>,
}

impl Pinned {
    /// Pins a policy's document for one release.
    ///
    /// `name` and `revision` are the stored policy's; a document that came with the request has
    /// neither, and is called what it calls itself.
    pub(crate) fn new(
        name: Option<String>,
        revision: Option<u64>,
        document: Value,
        request: &NewRelease,
    ) -> Result<Self, PolicyError> {
        let mut policy = policy::from_document(&document, Queries::Required)?;
        if let Some(pre_period) = &request.pre_period {
            policy.pre_period = pre_period.clone();
        }
        let name = name.unwrap_or_else(|| policy.name.clone());
        Ok(Self { name, revision, document, packs: None, policy: Arc::new(policy) })
    }
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its start lies ahead.
    Pending,
    /// Looks are made, or a phase waits for its call.
    Running,
    /// The verdict is final.
    Decided,
    /// Someone stopped it.
    Cancelled,
    /// It cannot go on, for a reason that its verdict names.
    Failed,
}

impl State {
    pub(crate) const ALL: [Self; 5] =
        [Self::Pending, Self::Running, Self::Decided, Self::Cancelled, Self::Failed];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Decided => "decided",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Tells whether looks may still be made.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// How far a phase is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PhaseProgress {
    /// The edge at which it began; none while it waits.
    pub(crate) started_at: Option<Timestamp>,
    /// Calls of the deploy tool within it, in order of time.
    pub(crate) moves: Vec<Move>,
    pub(crate) state: PhaseState,
    pub(crate) decided_at: Option<Timestamp>,
    pub(crate) n_looks: u64,
    /// What its looks spent of alpha so far.
    pub(crate) alpha_spent: f64,
}

/// The deploy tool moved share or scope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Move {
    pub(crate) at: Timestamp,
    pub(crate) traffic_share: Option<f64>,
    pub(crate) scope: Option<String>,
}

impl PhaseProgress {
    pub(crate) fn waiting() -> Self {
        Self {
            started_at: None,
            moves: Vec::new(),
            state: PhaseState::Waiting,
            decided_at: None,
            n_looks: 0,
            alpha_spent: 0.0,
        }
    }

    /// Begins the phase.
    pub(crate) fn begin(&mut self, at: Timestamp) {
        self.started_at = Some(at);
        self.state = PhaseState::Begun(Decision::Inconclusive);
    }

    /// Returns the share that holds now: the last call's, else the policy's.
    pub(crate) fn share(&self, declared: Option<f64>) -> Option<f64> {
        self.moves.iter().rev().find_map(|m| m.traffic_share).or(declared)
    }

    /// Returns the scope that holds now, where a call named one.
    pub(crate) fn scope(&self) -> Option<&str> {
        self.moves.iter().rev().find_map(|m| m.scope.as_deref())
    }

    pub(crate) fn is_go(&self) -> bool {
        self.state == PhaseState::Begun(Decision::Go)
    }
}

impl Release {
    /// Returns the index of the phase that is under way or waits for its call; none when all went.
    pub(crate) fn current_phase(&self) -> Option<usize> {
        self.phases.iter().position(|phase| !phase.is_go())
    }

    pub(crate) fn interval_ms(&self) -> i64 {
        i64::try_from(self.policy.policy.interval.millis()).unwrap_or(i64::MAX).max(1)
    }

    /// Returns the first edge of the grid at or after `t`: edges are start + k × interval.
    pub(crate) fn edge_at_or_after(&self, t: Timestamp) -> Timestamp {
        let (start, step) = (self.start.as_millis(), self.interval_ms());
        // Rounded up, so that a part of a millisecond counts as after.
        let t_ms = t.as_nanos().div_euclid(1_000_000) + i64::from(t.as_nanos().rem_euclid(1_000_000) > 0);
        let k = (t_ms - start).div_euclid(step) + i64::from((t_ms - start).rem_euclid(step) > 0);
        Timestamp::from_millis(start + k * step)
    }

    /// Begins the phases that need no call and whose turn it is.
    pub(crate) fn begin_next(&mut self, at: Timestamp) {
        let Some(i) = self.current_phase() else { return };
        let starts = self.policy.policy.phases[i].starts;
        if self.phases[i].started_at.is_none() && (starts == Starts::Next || i == 0) {
            self.phases[i].begin(at);
        }
    }

    /// Returns the decision so far.
    pub(crate) fn decision(&self) -> Decision {
        match self.verdict.as_ref().map(|v| v.decision.as_str()) {
            Some("go") => Decision::Go,
            Some("no_go") => Decision::NoGo,
            _ => Decision::Inconclusive,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.verdict.as_ref().map_or(0, |v| v.revision)
    }
}
