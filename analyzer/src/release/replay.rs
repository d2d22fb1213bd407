//! Judges a release again from what its looks pinned: by its own policy, by another, or by Kayenta's judge.
//!
//! A replay reads the pinned history and looks and nothing else, so it comes to the same bits after
//! raw data were dropped. It changes nothing: neither looks nor verdict are stored.

use std::iter;

use greylight_store::model::{ErrorKind, Problem, TenantId, Timestamp};
use greylight_store::records::{Document, Page};
use indexmap::IndexMap;

use super::fit;
use super::format::{self, LookFormat, PinFormat};
use super::look::{self, Found, LookError, Memory};
use super::model::{PhaseProgress, Pinned, Release, State};
use super::request::{NewRelease, PolicyRequest, ReplayRequest};
use super::same::{self, Difference};
use super::service::{Releases, unreadable};
use super::{pinned, verdict};
use crate::judge::{CheckData, Engine, Request};
use crate::kayenta;
use crate::kayenta::report::ComparisonJson;
use crate::policies::problem;
use crate::verdict::wire::{CheckJson, ReasonJson, VerdictJson};
use crate::verdict::{Cause, Reason};

/// What a replay came to.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) release: Release,
    pub(crate) engine: Engine,
    /// The policy that judged.
    pub(crate) policy: Pinned,
    /// Whether it is the release's own.
    pub(crate) is_own: bool,
    /// What differs from the record first; none where all is the same, or another policy judged.
    pub(crate) difference: Option<Difference>,
    /// Each look made again.
    pub(crate) looks: Vec<LookFormat>,
    /// None for engine kayenta.
    pub(crate) verdict: Option<VerdictJson>,
    /// The phases that pinned data.
    pub(crate) phases: Vec<PhaseReplay>,
}

/// One phase of a replay.
#[derive(Clone, Debug)]
pub(crate) struct PhaseReplay {
    pub(crate) name: String,
    /// What this crate's procedures say; none where they were not asked, or the phase before is not go.
    pub(crate) ours: Option<PhaseLook>,
    /// What Kayenta's judge says, or why it says nothing; none where it was not asked.
    pub(crate) kayenta: Option<Result<ComparisonJson, String>>,
}

/// The last look of a phase.
#[derive(Clone, Debug)]
pub(crate) struct PhaseLook {
    pub(crate) decision: &'static str,
    pub(crate) at: Timestamp,
    pub(crate) n_looks: u64,
    pub(crate) score: u8,
    pub(crate) reasons: Vec<ReasonJson>,
    pub(crate) checks: Vec<CheckJson>,
}

/// What a phase pinned.
#[derive(Clone, Debug)]
struct PinnedPhase {
    pre: PinFormat,
    looks: Vec<LookFormat>,
}

/// A replay that is ready to be computed.
#[derive(Debug)]
pub(crate) struct Job {
    release: Release,
    engine: Engine,
    policy: Pinned,
    is_own: bool,
    /// What each phase of the policy has pinned, and as which phase of the release.
    phases: Vec<Option<(usize, PinnedPhase)>>,
}

impl Releases {
    /// Reads what a release pinned and checks that it can be judged as asked.
    pub(crate) async fn replay(
        &self,
        tenant: &TenantId,
        id: &str,
        request: ReplayRequest,
    ) -> Result<Job, Problem> {
        let release = self.get(tenant, id).await?;
        if release.phases.iter().all(|phase| phase.n_looks == 0) {
            let text = format!(
                "no look has been made for release {} yet, so nothing is pinned; its state is {}",
                release.id,
                release.state.word()
            );
            return Err(Problem::new(ErrorKind::Conflict, text));
        }
        let other = match request.policy {
            None => None,
            // Packs would choose by what the store shows today; the release pinned what they chose.
            Some(PolicyRequest::Named(name))
                if name == release.policy.name && release.policy.packs.is_some() =>
            {
                None
            }
            Some(policy) => {
                let pinned = self.pin(tenant, &NewRelease { policy, ..release.request.clone() }).await?;
                Some(pinned).filter(|pinned| pinned.document != release.policy.document)
            }
        };
        let is_own = other.is_none();
        let policy = other.unwrap_or_else(|| release.policy.clone());
        let mut all = self.pinned(tenant, &release).await?;
        let phases = if is_own {
            all.into_iter().enumerate().map(|(idx, one)| Some((idx, one?))).collect()
        } else {
            let own = &release.policy.policy;
            let has_births = |phase: usize, check: &str| {
                all[phase].as_ref().is_some_and(|one| one.pre.births.contains_key(check))
            };
            let is_pinned = |phase: usize| all[phase].is_some();
            let places = fit::places(own, &policy.policy, is_pinned, has_births)?;
            let take = |place: usize| all[place].take().map(|one| (place, one));
            places.into_iter().map(take).collect()
        };
        Ok(Job { release, engine: request.engine, policy, is_own, phases })
    }

    /// Reads what each phase pinned; none where it had no look.
    async fn pinned(
        &self,
        tenant: &TenantId,
        release: &Release,
    ) -> Result<Vec<Option<PinnedPhase>>, Problem> {
        let page = Page { prefix: Some(format!("{}/", release.id)), ..Page::default() };
        let documents = self.0.records.list(tenant, format::LOOK, page).await.map_err(|e| problem(&e))?;
        // Long releases pin many megabytes: never on a thread that answers others.
        let decoded = tokio::task::spawn_blocking(move || {
            let decode = |document: Document| format::decode(format::LOOK, &document.id, &document.body);
            documents.into_iter().map(decode).collect::<Result<Vec<LookFormat>, _>>()
        });
        let decoded = decoded.await.map_err(|e| Problem::new(ErrorKind::Internal, e))?;
        let mut looks = decoded.map_err(|e| unreadable(&e))?;
        // A look that was made since the release was read is not in its verdict.
        let n_looks: u64 = release.phases.iter().map(|phase| phase.n_looks).sum();
        looks.retain(|look| look.number <= n_looks);
        let mut phases = Vec::new();
        for (idx, phase) in release.policy.policy.phases.iter().enumerate() {
            let id = format::pre_id(&release.id, idx);
            let pre = self.0.records.get(tenant, format::PRE, &id).await.map_err(|e| problem(&e))?;
            let (own, others): (Vec<_>, Vec<_>) =
                looks.into_iter().partition(|look| look.phase == phase.name);
            looks = others;
            let Some(pre) = pre.filter(|_| !own.is_empty()) else {
                phases.push(None);
                continue;
            };
            let decoded = tokio::task::spawn_blocking(move || format::decode(format::PRE, &id, &pre.body));
            let decoded = decoded.await.map_err(|e| Problem::new(ErrorKind::Internal, e))?;
            let pre = decoded.map_err(|e| unreadable(&e))?;
            phases.push(Some(PinnedPhase { pre, looks: own }));
        }
        Ok(phases)
    }
}

impl Job {
    /// Judges; takes as long as all looks of the release together.
    pub(crate) fn run(mut self) -> Result<Replay, Problem> {
        self.keep_own_checks();
        let unread = |error: LookError| {
            tracing::error!(release = self.release.id, %error, "pinned data cannot be judged again");
            Problem::new(ErrorKind::Internal, format!("the pinned data cannot be judged again: {error}"))
        };
        let mut subject = self.subject();
        let mut out = Replay {
            release: self.release.clone(),
            engine: self.engine,
            policy: self.policy.clone(),
            is_own: self.is_own,
            difference: None,
            looks: Vec::new(),
            verdict: None,
            phases: Vec::new(),
        };
        for idx in 0..self.phases.len() {
            let Some((_, pinned)) = &self.phases[idx] else { continue };
            let asks_us =
                self.engine != Engine::Kayenta && subject.phases[..idx].iter().all(PhaseProgress::is_go);
            let ours =
                if asks_us { Some(self.phase(&mut subject, idx, &mut out).map_err(unread)?) } else { None };
            let kayenta = match self.engine {
                Engine::Greylight => None,
                Engine::Kayenta | Engine::Both => Some(self.kayenta(idx, pinned).map_err(unread)?),
            };
            let name = self.policy.policy.phases[idx].name.clone();
            out.phases.push(PhaseReplay { name, ours: ours.flatten(), kayenta });
        }
        if self.engine != Engine::Kayenta {
            self.conclude(subject, &mut out);
        }
        Ok(out)
    }

    /// Drops pinned data of checks that another policy left out.
    fn keep_own_checks(&mut self) {
        if self.is_own {
            return;
        }
        for (phase, pinned) in self.policy.policy.phases.iter().zip(&mut self.phases) {
            let Some((_, pinned)) = pinned else { continue };
            let has = |name: &str| phase.checks.iter().any(|check| check.name == name);
            pinned.pre.data.retain(|name, _| has(name));
            pinned.pre.births.retain(|name, _| has(name));
            for look in &mut pinned.looks {
                look.data.retain(|name, _| has(name));
                look.fresh.retain(|name, _| has(name));
            }
        }
    }

    /// The release as it was before its first look, with the deploy tool's calls still to come.
    fn subject(&self) -> Release {
        let progress = |pinned: &Option<(usize, PinnedPhase)>| PhaseProgress {
            moves: pinned
                .as_ref()
                .map(|(own, _)| self.release.phases[*own].moves.clone())
                .unwrap_or_default(),
            ..PhaseProgress::waiting()
        };
        Release {
            policy: self.policy.clone(),
            state: State::Running,
            phases: self.phases.iter().map(progress).collect(),
            verdict: None,
            overridden: None,
            ..self.release.clone()
        }
    }

    /// Makes a phase's looks again until it is decided or its data ends.
    fn phase(
        &self,
        subject: &mut Release,
        idx: usize,
        out: &mut Replay,
    ) -> Result<Option<PhaseLook>, LookError> {
        let Some((own, pinned)) = &self.phases[idx] else { return Ok(None) };
        let Some(started_at) = self.release.phases[*own].started_at else { return Ok(None) };
        let next = self.phases.get(idx + 1).and_then(Option::as_ref);
        let next = next.and_then(|(next, _)| self.release.phases[*next].started_at);
        subject.phases[idx].begin(started_at);
        let mut memory = Memory::begin_again(subject, idx, pinned.pre.clone())?;
        let mut pre = Some(pinned.pre.clone());
        let mut last = None;
        for recorded in &pinned.looks {
            if !subject.state.is_live() || subject.phases[idx].is_go() {
                break;
            }
            let look = memory.look_again(subject, recorded.again())?;
            let mut document = recorded.again();
            document.decision = look.decision.word().to_string();
            document.at_ns = look.at.as_nanos();
            document.checks = look.checks.iter().map(Into::into).collect();
            let examples = look::known_examples(&self.release, &recorded.phase);
            let overlaps = Vec::new();
            let found = Found { memory, look, document, pre: pre.take(), examples, overlaps };
            // The next phase began when the record says so; without one the clock plays no part.
            verdict::apply(subject, &found, next.unwrap_or(found.look.at));
            let mut document = found.document;
            document.revision = subject.revision();
            if self.is_own && out.difference.is_none() {
                out.difference = same::of_looks(recorded, &document);
            }
            last = Some(PhaseLook {
                decision: found.look.decision.word(),
                at: found.look.at,
                n_looks: document.number_in_phase,
                score: found.look.score,
                reasons: found.look.reasons.iter().map(ReasonJson::from).collect(),
                checks: document.checks.clone(),
            });
            document.data.clear();
            document.fresh.clear();
            out.looks.push(document);
            memory = found.memory;
        }
        Ok(last)
    }

    /// Holds the verdict against the record, or says where another policy's evidence ended.
    fn conclude(&self, subject: Release, out: &mut Replay) {
        let Some(mut verdict) = subject.verdict else { return };
        if self.is_own {
            let all = self.phases.iter().flatten().flat_map(|(_, pinned)| &pinned.looks);
            let unmade = all.skip(out.looks.len()).map(same::of_unmade);
            let recorded = self.release.verdict.as_ref();
            let of_verdict = || same::of_verdicts(recorded?, &verdict, self.release.overridden.is_some());
            out.difference = out.difference.take().or_else(|| unmade.into_iter().next()).or_else(of_verdict);
        } else if !verdict.is_final {
            let at = verdict.watermark.clone().unwrap_or_default();
            let text = format!(
                "the pinned data ends at {at}: the release's own policy needed no more, and a replay reads nothing else"
            );
            let reason = Reason::of_release(Cause::Other { code: "pinned_data_ends", text });
            verdict.reasons.insert(0, (&reason).into());
            // No look of a phase without pinned data was made, so none began.
            let waits = iter::zip(&mut verdict.phases, &self.phases).filter(|(_, pinned)| pinned.is_none());
            for (phase, _) in waits {
                phase.started_at = None;
                phase.decision = "waiting".into();
            }
        }
        out.verdict = Some(verdict);
    }

    /// Judges all data of a phase by Kayenta's judge, as the judge alone does it.
    fn kayenta(&self, idx: usize, pinned: &PinnedPhase) -> Result<Result<ComparisonJson, String>, LookError> {
        let policy = &self.policy.policy;
        let mut data: IndexMap<String, CheckData> = IndexMap::new();
        for recorded in &pinned.looks {
            for (check, sides) in look::decode_all(&policy.phases[idx], recorded.data.clone())? {
                let run = &mut data.entry(check).or_default().run;
                for (into, rows) in [(&mut run.baseline, sides.baseline), (&mut run.canary, sides.canary)] {
                    if let Some(rows) = rows {
                        pinned::append(into, rows);
                    }
                }
            }
        }
        let started_at = self.phases[idx].as_ref().and_then(|(own, _)| self.release.phases[*own].started_at);
        let request = Request {
            policy: policy.as_ref().clone(),
            engine: self.engine,
            phase: idx,
            start_ms: started_at.unwrap_or(self.release.start).as_millis(),
            data,
            digest: String::new(),
        };
        Ok(kayenta::compared(None, Some(&request)).map_err(|error| error.to_string()))
    }
}
