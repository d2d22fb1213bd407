//! The doors: Kayenta's remote-judge contract, and the second engine of `POST /api/v1/judge`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::beside::{Comparison, decision, derived_config, derived_pairs};
use super::config::{CanaryConfig, Purpose, Reader, read_thresholds};
use super::error::KayentaError;
use super::judge::{JudgeResult, NetflixJudge};
use super::pairs::{MetricSet, MetricSetPair, pair};
use super::report::{ComparisonJson, JudgementJson};
use super::runs::{Plan, Progress, Window, progress};
use super::wire::{JudgeResultJson, MetricSetJson, MetricSetPairJson};
use crate::judge::Request;
use crate::verdict::Decision;

/// Answers a body of `POST /kayenta/judge`: `{ canaryConfig, scoreThresholds, metricSetPairList }`.
///
/// # Errors
/// [`KayentaError`] if the body is wrong or names a metric that the configuration lacks.
pub fn remote_judge(body: &[u8]) -> Result<JudgeResultJson, KayentaError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        canary_config: Value,
        score_thresholds: Map<String, Value>,
        metric_set_pair_list: Vec<MetricSetPairJson>,
    }
    let body: Body =
        serde_json::from_slice(body).map_err(|error| KayentaError::Syntax { detail: error.to_string() })?;
    let config = CanaryConfig::read(&body.canary_config, "canaryConfig", Purpose::Judge)?;
    let thresholds = read_thresholds(&body.score_thresholds, "scoreThresholds", &mut Reader::default())?;
    let pairs: Vec<MetricSetPair> = body.metric_set_pair_list.into_iter().map(MetricSetPair::from).collect();
    let result = NetflixJudge { config: &config, thresholds }.judge(&pairs)?;
    Ok(JudgeResultJson::from(&result))
}

/// Field `kayenta` of a body of `POST /api/v1/judge`; all may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct OptionsJson {
    /// Omitted: derived from the policy.
    canary_config: Option<Value>,
    /// Omitted: the configuration's, else 95 and 75.
    score_thresholds: Option<Map<String, Value>>,
    /// Pairs; omitted: made of the body's data.
    metric_set_pair_list: Option<Vec<MetricSetPairJson>>,
    /// Series of both sides, to be paired.
    metric_sets: Option<MetricSetsJson>,
    /// Distance of judgements; omitted: one at the end.
    analysis_interval_mins: Option<u32>,
    /// How much each judgement looks at; 0: all since the start.
    lookback_mins: u32,
    /// Left out after the start; omitted: the policy's warm-up.
    begin_after_mins: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricSetsJson {
    control: Vec<MetricSetJson>,
    experiment: Vec<MetricSetJson>,
}

/// Judges a request's data by Kayenta's judge.
///
/// - `options`: the field `kayenta` of the body.
/// - `request`: policy and data; may be absent where the options hold configuration and pairs.
///
/// # Errors
/// [`KayentaError`] if the options are wrong, or policy or data lack what they do not hold.
pub fn compared(options: Option<&Value>, request: Option<&Request>) -> Result<ComparisonJson, KayentaError> {
    let options: OptionsJson = match options {
        None | Some(Value::Null) => OptionsJson::default(),
        Some(value) => OptionsJson::deserialize(value)
            .map_err(|error| KayentaError::field("kayenta", error.to_string()))?,
    };
    let (config, is_given) = match (&options.canary_config, request) {
        (Some(config), _) => (CanaryConfig::read(config, "kayenta.canaryConfig", Purpose::Judge)?, true),
        (None, Some(request)) => (derived_config(&request.policy.phases[request.phase]), false),
        (None, None) => {
            return Err(KayentaError::field("kayenta.canaryConfig", "is required without a policy"));
        }
    };
    let mut reader = Reader { warnings: config.warnings.clone() };
    let thresholds = match &options.score_thresholds {
        Some(fields) => read_thresholds(fields, "kayenta.scoreThresholds", &mut reader)?,
        None => config.score_thresholds.unwrap_or_default(),
    };
    let judge = NetflixJudge { config: &config, thresholds };
    let judged = match given_pairs(&options)? {
        Some(pairs) => Judged::once(&judge, pairs)?,
        None => {
            let request = request.ok_or_else(|| {
                KayentaError::field("kayenta.metricSetPairList", "is required without data")
            })?;
            Judged::over(&judge, request, &options)?
        }
    };
    Ok(judged.into_json(if is_given { "given" } else { "derived" }, reader.warnings))
}

fn given_pairs(options: &OptionsJson) -> Result<Option<Vec<MetricSetPair>>, KayentaError> {
    match (&options.metric_set_pair_list, &options.metric_sets) {
        (Some(_), Some(_)) => {
            Err(KayentaError::field("kayenta.metricSets", "cannot be given together with metricSetPairList"))
        }
        (Some(pairs), None) => Ok(Some(pairs.iter().cloned().map(MetricSetPair::from).collect())),
        (None, Some(sets)) => paired(sets).map(Some),
        (None, None) => Ok(None),
    }
}

/// Pairs the series of each metric, in the order in which names come.
fn paired(sets: &MetricSetsJson) -> Result<Vec<MetricSetPair>, KayentaError> {
    let read = |side: &[MetricSetJson], name: &str| {
        (side.iter().enumerate())
            .map(|(idx, one)| one.clone().into_set(&format!("kayenta.metricSets.{name}[{idx}]")))
            .collect::<Result<Vec<_>, _>>()
    };
    let (control, experiment) = (read(&sets.control, "control")?, read(&sets.experiment, "experiment")?);
    let mut names: Vec<&str> = Vec::new();
    for set in control.iter().chain(&experiment) {
        if !names.contains(&set.name.as_str()) {
            names.push(&set.name);
        }
    }
    let mut pairs = Vec::new();
    for name in names {
        let own = |side: &[MetricSet]| -> Vec<MetricSet> {
            side.iter().filter(|set| set.name == name).cloned().collect()
        };
        pairs.extend(pair(&own(&control), &own(&experiment))?);
    }
    Ok(pairs)
}

/// Judgements of one request, in order.
struct Judged {
    last: Comparison,
    judgements: Vec<JudgementJson>,
}

impl Judged {
    fn once(judge: &NetflixJudge<'_>, pairs: Vec<MetricSetPair>) -> Result<Self, KayentaError> {
        let result = judge.judge(&pairs)?;
        let last = Comparison { decision: decision(result.score.class), result, pairs };
        Ok(Self { judgements: vec![JudgementJson::new(None, &last)], last })
    }

    /// Judges the body's data, once at its end or as often as an interval asks for.
    fn over(
        judge: &NetflixJudge<'_>,
        request: &Request,
        options: &OptionsJson,
    ) -> Result<Self, KayentaError> {
        const MINUTE_MS: i64 = 60_000;
        let phase = &request.policy.phases[request.phase];
        let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let interval_ms = millis(request.policy.interval.millis());
        let warm_up_ms = options
            .begin_after_mins
            .map_or(millis(request.policy.warm_up.millis()), |minutes| i64::from(minutes) * MINUTE_MS);
        let end_ms = (request.data.values())
            .flat_map(|one| [&one.run.baseline, &one.run.canary])
            .flatten()
            .filter_map(|data| data.span_ms().map(|(_, last)| last))
            .max()
            .map_or(request.start_ms, |last| last.saturating_add(interval_ms));
        let start_ms = request.start_ms.saturating_add(warm_up_ms);
        let windows = match options.analysis_interval_mins {
            None => vec![Window { start_ms, end_ms }],
            Some(minutes) => Plan {
                start_ms: request.start_ms,
                warm_up_ms,
                lifetime_ms: end_ms.saturating_sub(start_ms),
                interval_ms: i64::from(minutes) * MINUTE_MS,
                lookback_ms: i64::from(options.lookback_mins) * MINUTE_MS,
                has_end: false,
            }
            .windows(),
        };
        let (mut judgements, mut scores, mut last) = (Vec::new(), Vec::new(), None);
        for window in &windows {
            let pairs = derived_pairs(phase, &request.data, interval_ms, *window);
            if pairs.is_empty() {
                break;
            }
            let result: JudgeResult = judge.judge(&pairs)?;
            scores.push(result.score.score);
            let mut judgement = Comparison { decision: decision(result.score.class), result, pairs };
            let state = progress(&scores, windows.len(), &judge.thresholds);
            // One judgement alone keeps its three labels; a run of them has its own rule.
            if options.analysis_interval_mins.is_some() {
                judgement.decision = match state {
                    Progress::Running => Decision::Inconclusive,
                    Progress::Passed => Decision::Go,
                    Progress::Failed => Decision::NoGo,
                };
            }
            judgements.push(JudgementJson::new(Some(*window), &judgement));
            last = Some(judgement);
            if state == Progress::Failed {
                break;
            }
        }
        let last = last.ok_or_else(|| {
            KayentaError::field("data", "no check has data on both sides within a judgement's window")
        })?;
        Ok(Self { last, judgements })
    }

    fn into_json(self, config: &str, warnings: Vec<String>) -> ComparisonJson {
        let mut json = ComparisonJson::from(&self.last);
        json.config = config.to_owned();
        json.warnings.extend(warnings);
        json.judgements = self.judgements;
        json
    }
}
