//! A release's data as Kayenta would see it, judged by Kayenta's judge.

use indexmap::IndexMap;

use super::clean::percentile;
use super::config::{CanaryConfig, Metric};
use super::error::KayentaError;
use super::judge::{JUDGE_NAME, JudgeResult, NetflixJudge};
use super::pairs::{MetricSet, MetricSetPair, pair};
use super::runs::Window;
use super::score::Thresholds;
use super::settings::{Direction, Settings};
use crate::judge::{CheckData, Counts, Data, Histogram, PatternCounts, Series, Values};
use crate::policy::{Check, CheckKind, Harm, Phase, Severity, Vote};
use crate::verdict::Decision;

/// What Kayenta's judge would have said of the same data.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// `Pass` as go, `Fail` as no-go, `Marginal` as inconclusive.
    pub decision: Decision,
    /// The judge's own result.
    pub result: JudgeResult,
    /// The pairs that it saw.
    pub pairs: Vec<MetricSetPair>,
}

/// Quantiles by which a distribution is shown to Kayenta, which knows single series only.
const QUANTILES: [f64; 2] = [0.5, 0.99];

/// Judges a phase's data within a window by Kayenta's judge, with its defaults and the thresholds that
/// its guide begins with.
///
/// # Errors
/// [`KayentaError`] if no check has data on both sides.
pub fn beside(
    phase: &Phase,
    data: &IndexMap<String, CheckData>,
    interval_ms: i64,
    window: Window,
) -> Result<Comparison, KayentaError> {
    let config = derived_config(phase);
    let pairs = derived_pairs(phase, data, interval_ms, window);
    if pairs.is_empty() {
        return Err(KayentaError::field("data", "no check has data on both sides"));
    }
    let result = NetflixJudge { config: &config, thresholds: Thresholds::default() }.judge(&pairs)?;
    Ok(Comparison { decision: decision(result.score.class), result, pairs })
}

/// Returns the decision that a class of score comes to.
pub(super) fn decision(class: super::score::Class) -> Decision {
    match class {
        super::score::Class::Pass => Decision::Go,
        super::score::Class::Marginal => Decision::Inconclusive,
        super::score::Class::Fail => Decision::NoGo,
    }
}

/// Makes a configuration from a phase: a group a check, weighed as the check; a check without a vote is
/// muted; nothing is critical.
pub(super) fn derived_config(phase: &Phase) -> CanaryConfig {
    let weighed = || phase.checks.iter().filter(|check| check.vote != Vote::None);
    let total: f64 = weighed().map(|check| check.weight).sum();
    let metrics = (phase.checks.iter())
        .flat_map(|check| metric_names(check).into_iter().map(move |name| (check, name)))
        .map(|(check, name)| Metric {
            name,
            query: None,
            groups: vec![check.name.clone()],
            settings: Settings {
                direction: match check.harm {
                    Harm::Up => Direction::Increase,
                    Harm::Down => Direction::Decrease,
                    Harm::Either => Direction::Either,
                },
                muted: check.vote == Vote::None,
                ..Settings::default()
            },
            scope_name: None,
        })
        .collect();
    CanaryConfig {
        id: None,
        name: Some(phase.name.clone()),
        description: None,
        config_version: None,
        applications: Vec::new(),
        judge: Some(JUDGE_NAME.to_owned()),
        metrics,
        templates: IndexMap::new(),
        group_weights: weighed().map(|check| (check.name.clone(), 100.0 * check.weight / total)).collect(),
        score_thresholds: None,
        warnings: Vec::new(),
    }
}

fn quantiles(check: &Check) -> Vec<f64> {
    let at = check.margin.as_ref().map(|margin| margin.at.clone()).unwrap_or_default();
    if at.is_empty() { QUANTILES.to_vec() } else { at }
}

fn metric_names(check: &Check) -> Vec<String> {
    match check.kind {
        CheckKind::Distribution { .. } => {
            quantiles(check).iter().map(|at| format!("{} at {at}", check.name)).collect()
        }
        _ => vec![check.name.clone()],
    }
}

/// Makes pairs of a phase's data: one value an interval.
pub(super) fn derived_pairs(
    phase: &Phase,
    data: &IndexMap<String, CheckData>,
    interval_ms: i64,
    window: Window,
) -> Vec<MetricSetPair> {
    let mut pairs = Vec::new();
    for check in &phase.checks {
        let Some(sides) = data.get(&check.name).map(|one| &one.run) else { continue };
        let (Some(control), Some(experiment)) = (&sides.baseline, &sides.canary) else { continue };
        let (control, experiment) = (columns(check, control), columns(check, experiment));
        for (name, (control, experiment)) in
            metric_names(check).into_iter().zip(control.into_iter().zip(experiment))
        {
            let set = |points: Vec<(i64, f64)>| MetricSet {
                name: name.clone(),
                tags: std::collections::BTreeMap::new(),
                start_ms: window.start_ms,
                end_ms: window.end_ms,
                step_ms: interval_ms,
                values: (points.into_iter())
                    .filter(|(t_ms, _)| (window.start_ms..window.end_ms).contains(t_ms))
                    .map(|(_, value)| value)
                    .collect(),
            };
            // Both sides have one series without tags and of one name, so that pairing cannot fail.
            pairs.extend(pair(&[set(control)], &[set(experiment)]).into_iter().flatten());
        }
    }
    pairs
}

/// Returns one column of `(time, value)` for each metric of a check.
fn columns(check: &Check, data: &Data) -> Vec<Vec<(i64, f64)>> {
    if let Data::Counts(counts) = data {
        vec![rates(counts)]
    } else if let Data::Values(series) = data {
        vec![means(series)]
    } else if let Data::Histogram(histogram) = data {
        quantiles(check).into_iter().map(|at| bucket_quantiles(histogram, at)).collect()
    } else if let Data::Raw(values) = data {
        quantiles(check).into_iter().map(|at| raw_quantiles(values, at)).collect()
    } else if let Data::Patterns(patterns) = data {
        vec![records(check, patterns)]
    } else {
        Vec::new()
    }
}

fn rates(counts: &Counts) -> Vec<(i64, f64)> {
    let both = counts.events.iter().zip(&counts.exposure);
    (counts.t_ms.iter().zip(both))
        .map(|(t_ms, (events, exposure))| {
            let rate = events.zip(*exposure).map(|(events, exposure)| events / exposure);
            (*t_ms, rate.filter(|rate| rate.is_finite()).unwrap_or(f64::NAN))
        })
        .collect()
}

/// Mean over the instances that have a value.
fn means(series: &[Series]) -> Vec<(i64, f64)> {
    let mut sums: std::collections::BTreeMap<i64, (f64, f64)> = std::collections::BTreeMap::new();
    for one in series {
        for (t_ms, value) in one.t_ms.iter().zip(&one.v) {
            let entry = sums.entry(*t_ms).or_default();
            if let Some(value) = value.filter(|value| value.is_finite()) {
                *entry = (entry.0 + value, entry.1 + 1.0);
            }
        }
    }
    sums.into_iter().map(|(t_ms, (sum, n))| (t_ms, if n > 0.0 { sum / n } else { f64::NAN })).collect()
}

fn bucket_quantiles(histogram: &Histogram, at: f64) -> Vec<(i64, f64)> {
    let quantile = |counts: &Vec<f64>| {
        let total: f64 = counts.iter().sum();
        let mut below = 0.0;
        for (idx, count) in counts.iter().enumerate() {
            if total > 0.0 && *count > 0.0 && below + count >= at * total {
                let high = histogram.le[idx];
                let low = if idx > 0 { histogram.le[idx - 1] } else { high.min(0.0) };
                // What lies above the last edge is known only to be above it.
                let part = (at * total - below) / count;
                return if high.is_finite() { low + (high - low) * part } else { low };
            }
            below += count;
        }
        f64::NAN
    };
    (histogram.t_ms.iter().zip(&histogram.counts))
        .map(|(t_ms, counts)| (*t_ms, counts.as_ref().map_or(f64::NAN, quantile)))
        .collect()
}

fn raw_quantiles(values: &Values, at: f64) -> Vec<(i64, f64)> {
    let quantile = |values: &Vec<f64>| {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        percentile(&sorted, at)
    };
    (values.t_ms.iter().zip(&values.values))
        .map(|(t_ms, values)| (*t_ms, values.as_ref().and_then(quantile).unwrap_or(f64::NAN)))
        .collect()
}

/// Records of the check's severity over the exposure: Kayenta is blind to messages.
fn records(check: &Check, data: &PatternCounts) -> Vec<(i64, f64)> {
    let least = match check.kind {
        CheckKind::Patterns { severity, .. } => severity,
        _ => None,
    };
    let is_counted = |own: &Option<String>| {
        let own = own.as_deref().and_then(Severity::from_word);
        own.zip(least).is_none_or(|(own, least)| own >= least)
    };
    let exposure = data.trials.as_ref().unwrap_or(&data.records);
    (data.t_ms.iter().enumerate())
        .map(|(idx, t_ms)| {
            let all = data.patterns.values().filter(|one| is_counted(&one.severity));
            let n: f64 = all.filter_map(|one| one.counts.get(idx).copied().flatten()).sum();
            let rate = exposure.get(idx).copied().flatten().map(|exposure| n / exposure);
            (*t_ms, rate.filter(|rate| rate.is_finite()).unwrap_or(f64::NAN))
        })
        .collect()
}
