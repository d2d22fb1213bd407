//! The judge alone: policy and data in, the decision at each look out.

use greylight_store::model::Timestamp;
use indexmap::IndexMap;

use super::analysis::{Analysis, Look, PhaseRun};
use super::data::{BirthData, CheckData, Data, Sides};
use super::error::JudgeError;
use super::wire::{AnswerJson, BirthJson, CheckDataJson, DataJson, LookJson, RequestJson};
use crate::kayenta;
use crate::policy::{self, Check, Phase, Policy, Queries};
use crate::verdict::wire::VerdictJson;
use crate::verdict::{Decision, Evidence, PhaseResult, PhaseState, Verdict};

/// What judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The procedures of this crate.
    #[default]
    Greylight,
    /// Kayenta's judge.
    Kayenta,
    /// The procedures of this crate decide, and Kayenta's judge is shown beside them.
    Both,
}

impl Engine {
    pub(crate) const ALL: [Self; 3] = [Self::Greylight, Self::Kayenta, Self::Both];

    /// Returns the word of the contract.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Greylight => "greylight",
            Self::Kayenta => "kayenta",
            Self::Both => "both",
        }
    }

    /// Reads the word of the contract.
    fn from_word(word: Option<&str>) -> Result<Self, JudgeError> {
        let Some(word) = word else { return Ok(Self::default()) };
        Self::ALL.into_iter().find(|engine| engine.word() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(", ");
            JudgeError::field("engine", format!("{word:?} is none of {known}"))
        })
    }
}

/// A policy and the data to judge by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The policy; its queries may be absent.
    pub policy: Policy,
    /// What judges.
    pub engine: Engine,
    /// Which of the policy's phases.
    pub phase: usize,
    /// Start of the release and of the phase.
    pub start_ms: i64,
    /// Data by check name.
    pub data: IndexMap<String, CheckData>,
    /// Digest of the data as it came.
    pub digest: String,
}

impl From<&Answer> for AnswerJson {
    fn from(answer: &Answer) -> Self {
        Self {
            looks: answer.looks.iter().map(LookJson::from).collect(),
            verdict: VerdictJson::from(&answer.verdict),
        }
    }
}

/// The decision at each look, and the state at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// One for each interval to the end of the data or of the phase.
    pub looks: Vec<Look>,
    /// The state at the end.
    pub verdict: Verdict,
}

/// Answers a body of `POST /api/v1/judge`.
///
/// # Errors
/// [`JudgeError`] if the body, its policy or its data is wrong.
pub fn answer(body: &[u8]) -> Result<AnswerJson, JudgeError> {
    let mut body: RequestJson =
        serde_json::from_slice(body).map_err(|error| JudgeError::Syntax { detail: error.to_string() })?;
    let engine = Engine::from_word(body.engine.as_deref())?;
    let options = body.kayenta.take();
    match engine {
        Engine::Greylight if options.is_some() => {
            Err(JudgeError::field("kayenta", "means nothing to engine greylight"))
        }
        Engine::Greylight => Ok(AnswerJson::from(&run(&Request::from_json(body)?)?)),
        Engine::Both => {
            let request = Request::from_json(body)?;
            let mut answer = AnswerJson::from(&run(&request)?);
            answer.verdict.kayenta = Some(kayenta::compared(options.as_ref(), Some(&request))?);
            Ok(answer)
        }
        Engine::Kayenta => kayenta_alone(body, options.as_ref()),
    }
}

/// Answers with Kayenta's decision in the verdict, and no looks: its judgements are in the field.
fn kayenta_alone(
    mut body: RequestJson,
    options: Option<&serde_json::Value>,
) -> Result<AnswerJson, JudgeError> {
    let given = if body.policy.is_null() {
        if !body.data.is_empty() {
            return Err(JudgeError::field("policy", "is required with data, since it names the checks"));
        }
        // Configuration and pairs come in Kayenta's own form; a verdict needs a phase to speak of.
        body.policy = serde_json::json!({
            "name": "kayenta",
            "phases": [{
                "name": "kayenta", "lasts": { "at_most": "1h" },
                "checks": [{ "name": "metrics", "kind": "mean", "vote": "none" }],
            }],
        });
        body.start_ms = Some(0);
        None
    } else {
        if body.data.is_empty() && body.start_ms.is_none() {
            body.start_ms = Some(0);
        }
        Some(())
    };
    let request = Request::from_json(body)?;
    let compared = kayenta::compared(options, given.map(|()| &request))?;
    let phase = &request.policy.phases[request.phase];
    let mut verdict = VerdictJson::from(&verdict(&request, phase, None));
    verdict.decision.clone_from(&compared.decision);
    verdict.is_final = true;
    // A score outside 0 to 100 comes of weights that do not add up.
    verdict.score = compared.score.0.clamp(0.0, 100.0) as u8;
    verdict.reasons = compared.reasons();
    for phase in &mut verdict.phases {
        if phase.name == verdict.phase {
            phase.decision.clone_from(&compared.decision);
        }
    }
    verdict.kayenta = Some(compared);
    Ok(AnswerJson { looks: Vec::new(), verdict })
}

/// Judges by this crate's procedures: a pure function, same request, same bits.
///
/// # Errors
/// [`JudgeError::Field`] if data does not fit its check's kind.
pub fn run(request: &Request) -> Result<Answer, JudgeError> {
    let phase = &request.policy.phases[request.phase];
    let start = PhaseRun {
        release_start_ms: request.start_ms,
        phase_start_ms: request.start_ms,
        ..PhaseRun::default()
    };
    let mut analysis = Analysis::new(&request.policy, phase, start, &request.data)?;
    let data = analysis.place(&request.data)?;
    let last = last_instant(&request.data).map_or(0, |last_ms| {
        let interval = i64::try_from(request.policy.interval.millis()).unwrap_or(i64::MAX);
        let behind = (last_ms - request.start_ms).div_euclid(interval) + 1;
        usize::try_from(behind).unwrap_or(0)
    });
    let n_looks = last.min(analysis.last_interval() + 1);
    let looks: Vec<Look> = (0..n_looks).map(|interval| analysis.look(interval, &data)).collect();
    let verdict = verdict(request, phase, looks.last());
    Ok(Answer { looks, verdict })
}

fn instants(data: &IndexMap<String, CheckData>) -> impl Iterator<Item = (i64, i64)> {
    data.values()
        .flat_map(|one| [&one.run.baseline, &one.run.canary, &one.fresh])
        .flatten()
        .filter_map(Data::span_ms)
}

fn last_instant(data: &IndexMap<String, CheckData>) -> Option<i64> {
    instants(data).map(|(_, last)| last).max()
}

fn verdict(request: &Request, phase: &Phase, last: Option<&Look>) -> Verdict {
    let start = Timestamp::from_millis(request.start_ms);
    let sides = request.data.values().flat_map(|one| [&one.run, &one.pre]);
    let all = sides.flat_map(|sides| [&sides.baseline, &sides.canary]).flatten();
    let (first, rows) = all.fold((request.start_ms, 0), |(first, rows), data| {
        (data.span_ms().map_or(first, |(start, _)| first.min(start)), rows + data.n_rows())
    });
    let watermark = last.map(|look| look.at);
    let decision = last.map_or(Decision::Inconclusive, |look| look.decision);
    let phases = (request.policy.phases.iter().enumerate())
        .map(|(idx, one)| PhaseResult {
            name: one.name.clone(),
            state: if idx == request.phase { PhaseState::Begun(decision) } else { PhaseState::Waiting },
            started_at: (idx == request.phase).then_some(start),
            decided_at: last.filter(|_| idx == request.phase).and_then(|look| look.decided_at),
            looks: last.filter(|_| idx == request.phase).map_or(0, |look| look.looks),
            at_least: one.at_least.to_string(),
            at_most: one.at_most.to_string(),
            traffic_share: one.traffic_share,
        })
        .collect();
    Verdict {
        release: None,
        key: None,
        service: None,
        revision: 1,
        decision,
        is_final: last.is_some_and(|look| look.is_final),
        phase: phase.name.clone(),
        policy: request.policy.name.clone(),
        policy_revision: None,
        started_at: Some(start),
        by: None,
        cohorts: None,
        phases,
        validity: last.map(|look| look.validity.clone()).unwrap_or_default(),
        decided_at: last.and_then(|look| look.decided_at),
        watermark,
        expires_at: watermark.map(|at| at.saturating_add(request.policy.valid_for.duration())),
        alpha: request.policy.alpha.get(),
        alpha_spent: last.map_or(0.0, |look| look.alpha_spent),
        score: last.map_or(0, |look| look.score),
        time_left: last.and_then(|look| look.time_left),
        reasons: last.map(|look| look.reasons.clone()).unwrap_or_default(),
        checks: last.map(|look| look.checks.clone()).unwrap_or_default(),
        evidence: Some(Evidence {
            start: Timestamp::from_millis(first),
            end: watermark.unwrap_or(start),
            rows,
            digest: request.digest.clone(),
        }),
    }
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// [`JudgeError`] if engine, policy, phase or data is wrong.
    pub fn from_json(body: RequestJson) -> Result<Self, JudgeError> {
        let engine = Engine::from_word(body.engine.as_deref())?;
        let policy = policy::from_document(&body.policy, Queries::Optional)?;
        let phase = phase_idx(&policy, body.phase.as_deref())?;
        let serialized = serde_json::to_vec(&body.data)
            .map_err(|error| JudgeError::Syntax { detail: error.to_string() })?;
        let digest = format!("blake3:{}", blake3::hash(&serialized).to_hex());
        let data = read_data(&policy.phases[phase], body.data)?;
        let first = instants(&data).map(|(first, _)| first).min();
        let start_ms = match body.start_ms.or(first) {
            Some(start_ms) => start_ms,
            None => return Err(JudgeError::field("start_ms", "is required where no side has data")),
        };
        if first.is_some_and(|first| first < start_ms) {
            return Err(JudgeError::field("start_ms", "data before it belongs in `pre`"));
        }
        let pre = data.values().flat_map(|one| [&one.pre.baseline, &one.pre.canary]).flatten();
        if pre.filter_map(Data::span_ms).any(|(_, last)| last >= start_ms) {
            return Err(JudgeError::field("start_ms", "data at or after it does not belong in `pre`"));
        }
        const FAR_MS: u64 = 253_402_300_799_999;
        if start_ms.unsigned_abs() > FAR_MS {
            return Err(JudgeError::field(
                "start_ms",
                format!("epoch milliseconds up to the year 9999, not {start_ms}"),
            ));
        }
        Ok(Self { policy, engine, phase, start_ms, data, digest })
    }
}

fn phase_idx(policy: &Policy, name: Option<&str>) -> Result<usize, JudgeError> {
    match name {
        None if policy.phases.len() == 1 => Ok(0),
        None => Err(JudgeError::field("phase", "is required, since the policy has several phases")),
        Some(name) => (policy.phases.iter().position(|phase| phase.name == name))
            .ok_or_else(|| JudgeError::field("phase", format!("the policy has no phase {name:?}"))),
    }
}

fn read_data(
    phase: &Phase,
    data: IndexMap<String, CheckDataJson>,
) -> Result<IndexMap<String, CheckData>, JudgeError> {
    let mut read = IndexMap::new();
    for (name, one) in data {
        let path = format!("data.{name}");
        let Some(check) = phase.checks.iter().find(|check| check.name == name) else {
            return Err(JudgeError::field(path, "the phase has no check of this name"));
        };
        let kind = check.kind.word();
        let side = |data: Option<DataJson>, name: &str| {
            data.map(|data| data.into_data(kind, &format!("{path}.{name}"))).transpose()
        };
        let pre = one.pre.unwrap_or_default();
        let data = CheckData {
            run: Sides { baseline: side(one.baseline, "baseline")?, canary: side(one.canary, "canary")? },
            pre: Sides {
                baseline: side(pre.baseline, "pre.baseline")?,
                canary: side(pre.canary, "pre.canary")?,
            },
            fresh: fresh(check, one.fresh, &path)?,
            births: births(one.births, kind, &path)?,
        };
        read.insert(name, data);
    }
    Ok(read)
}

fn fresh(check: &Check, fresh: Option<DataJson>, path: &str) -> Result<Option<Data>, JudgeError> {
    let path = format!("{path}.fresh");
    let kind = check.kind.word();
    let problem = match fresh {
        Some(_) if !["mean", "distribution"].contains(&kind) => {
            format!("only kind mean and kind distribution are compared with fresh pods, not {kind}")
        }
        Some(_) if check.by.is_some() => "a check with `by` is not compared with fresh pods".to_owned(),
        fresh => return fresh.map(|data| data.into_data(kind, &path)).transpose(),
    };
    Err(JudgeError::field(path, problem))
}

/// Reads births of a check of some kind.
///
/// # Errors
/// [`JudgeError::Field`] naming what makes no sense.
pub(crate) fn births(births: Vec<BirthJson>, kind: &str, path: &str) -> Result<Vec<BirthData>, JudgeError> {
    // As many as `births.at_most` may ask for; more would only cost time.
    const BIRTHS_MAX: usize = 10_000;
    if births.len() > BIRTHS_MAX {
        return Err(JudgeError::field(format!("{path}.births"), format!("at most {BIRTHS_MAX} births")));
    }
    (births.into_iter().enumerate())
        .map(|(idx, one)| birth(one, kind, &format!("{path}.births[{idx}]")))
        .collect()
}

fn birth(one: BirthJson, kind: &str, path: &str) -> Result<BirthData, JudgeError> {
    let counted = match (one.events, one.trials) {
        (None, None) => None,
        (Some(events), Some(trials)) if events >= 0.0 && trials > 0.0 => Some((events, trials)),
        _ => {
            let problem = "needs both `events`, at least 0, and `trials`, above 0, or neither";
            return Err(JudgeError::field(path, problem));
        }
    };
    let known: &[&str] = match kind {
        "mean" => &["d"],
        "ratio" | "count" => &["events", "trials"],
        "distribution" => &["data", "peers"],
        _ => &[],
    };
    let given = [
        ("d", !one.d.is_empty()),
        ("events", one.events.is_some()),
        ("trials", one.trials.is_some()),
        ("data", one.data.is_some()),
        ("peers", one.peers.is_some()),
    ];
    if let Some((name, _)) = given.iter().find(|(name, is_given)| *is_given && !known.contains(name)) {
        let takes = if known.is_empty() { "none of them".to_owned() } else { known.join(" and ") };
        let problem = format!("does not belong to a birth of kind {kind}, which takes {takes}");
        return Err(JudgeError::field(format!("{path}.{name}"), problem));
    }
    let is_distribution = kind == "distribution";
    let shown = |data: Option<Box<DataJson>>, name: &str| {
        let path = format!("{path}.{name}");
        match data {
            None if is_distribution => Err(JudgeError::field(path, "is required")),
            None => Ok(None),
            Some(data) if data.by.is_some() || data.units.is_some() => {
                Err(JudgeError::field(path, "is what was shown together: without `by` and `units`"))
            }
            Some(data) => (*data).into_data(kind, &path).map(Some),
        }
    };
    Ok(BirthData {
        data: shown(one.data, "data")?,
        peers: shown(one.peers, "peers")?,
        event: one.event,
        d: one.d.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
        pods: one.pods,
        counted,
    })
}
