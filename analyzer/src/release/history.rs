//! Values of each check interval by interval, for pictures: history before the release, then the phases.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::format::{LookFormat, PinFormat};
use crate::judge::wire::{DataJson, EdgeJson, SidesJson};

/// Intervals of history that are drawn: enough to see how the service usually is.
const HISTORY_MAX: usize = 240;
/// Part of the traffic that a distribution's line shows: its median.
const QUANTILE: f64 = 0.5;

type Points = Vec<(i64, f64)>;

/// Draws each check's values from what its phase's looks pinned.
///
/// A ratio is events over trials, a count its rate a second, a mean the average over hosts, a
/// distribution its median, patterns their records that count.
pub(crate) fn of(pre: Option<&PinFormat>, looks: &[LookFormat], phase: &str) -> BTreeMap<String, Value> {
    let mut lines: BTreeMap<String, [Points; 2]> = BTreeMap::new();
    if let Some(pre) = pre {
        for (check, sides) in &pre.data {
            let mut points = points_of(sides);
            for side in &mut points {
                let surplus = side.len().saturating_sub(HISTORY_MAX);
                side.drain(..surplus);
            }
            lines.insert(check.clone(), points);
        }
    }
    for look in looks.iter().filter(|look| look.phase == phase) {
        for (check, sides) in &look.data {
            let line = lines.entry(check.clone()).or_default();
            for (into, new) in line.iter_mut().zip(points_of(sides)) {
                into.extend(new);
            }
        }
    }
    let draw = |(check, [baseline, canary]): (String, [Points; 2])| {
        (check, json!({ "baseline": pairs(baseline), "canary": pairs(canary) }))
    };
    lines.into_iter().map(draw).collect()
}

fn pairs(mut points: Points) -> Vec<Value> {
    // A corrected value comes later and replaces the earlier one.
    let latest: BTreeMap<i64, f64> = points.drain(..).collect();
    latest.into_iter().map(|(t, v)| json!([t, v])).collect()
}

fn points_of(sides: &SidesJson) -> [Points; 2] {
    [&sides.baseline, &sides.canary].map(|side| side.as_ref().map(points).unwrap_or_default())
}

fn points(data: &DataJson) -> Points {
    if let Some(by) = &data.by {
        return points(&all_values(by.values()));
    }
    if let Some(series) = &data.series {
        return means(series.iter().flat_map(|s| s.t_ms.iter().copied().zip(s.v.iter().copied())));
    }
    let Some(t_ms) = &data.t_ms else { return Vec::new() };
    let row = |i: usize| -> Option<f64> {
        if let (Some(events), Some(trials)) = (&data.events, data.trials.as_ref().or(data.exposure.as_ref()))
        {
            let (events, trials) = ((*events.get(i)?)?, (*trials.get(i)?)?);
            return (trials > 0.0).then(|| events / trials);
        }
        if let Some(patterns) = &data.patterns {
            (*data.records.as_ref()?.get(i)?)?;
            return Some(
                patterns.values().filter_map(|p| (*p.counts.get(i)?).filter(|n| n.is_finite())).sum(),
            );
        }
        if let Some(values) = &data.values {
            return median(values.get(i)?.as_ref()?);
        }
        bucket_median(data.le.as_ref()?, data.counts.as_ref()?.get(i)?.as_ref()?)
    };
    t_ms.iter().enumerate().filter_map(|(i, &t)| Some((t, row(i)?))).collect()
}

/// Adds up what a check with `by` has of each value. A denominator that all values share counts once.
fn all_values<'d>(values: impl Iterator<Item = &'d DataJson>) -> DataJson {
    let mut sums: BTreeMap<i64, (f64, Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut le = None;
    let mut raw: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for data in values {
        let denominators = data.trials.as_ref().or(data.exposure.as_ref());
        for (i, &t) in data.t_ms.iter().flatten().enumerate() {
            let (events, below, buckets) = sums.entry(t).or_default();
            let at = |column: Option<&Vec<Option<f64>>>| column.and_then(|column| *column.get(i)?);
            if let (Some(n), Some(of)) = (at(data.events.as_ref()), at(denominators)) {
                *events += n;
                below.push(of);
            }
            let numbers = data.values.as_ref().and_then(|values| values.get(i)?.as_ref());
            raw.entry(t).or_default().extend(numbers.into_iter().flatten());
            let row = data.counts.as_ref().and_then(|counts| counts.get(i)?.as_ref());
            if let Some(row) = row.filter(|_| le.is_none() || le == data.le) {
                le.clone_from(&data.le);
                buckets.resize(row.len(), 0.0);
                buckets.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
            }
        }
    }
    let denominator = |of: &[f64]| {
        let is_shared = of.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
        if is_shared { of.first().copied() } else { Some(of.iter().sum()) }
    };
    if raw.values().any(|numbers| !numbers.is_empty()) {
        let (t_ms, values): (Vec<i64>, Vec<Option<Vec<f64>>>) =
            raw.into_iter().map(|(t, numbers)| (t, Some(numbers))).unzip();
        return DataJson { t_ms: Some(t_ms), values: Some(values), ..DataJson::default() };
    }
    let is_histogram = le.is_some();
    DataJson {
        t_ms: Some(sums.keys().copied().collect()),
        events: (!is_histogram).then(|| sums.values().map(|(events, ..)| Some(*events)).collect()),
        trials: (!is_histogram).then(|| sums.values().map(|(_, of, _)| denominator(of)).collect()),
        counts: is_histogram
            .then(|| sums.values().map(|(.., row)| (!row.is_empty()).then(|| row.clone())).collect()),
        le,
        ..DataJson::default()
    }
}

fn means(values: impl Iterator<Item = (i64, Option<f64>)>) -> Points {
    let mut sums: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (t, v) in values {
        if let Some(v) = v {
            let sum = sums.entry(t).or_default();
            *sum = (sum.0 + v, sum.1 + 1.0);
        }
    }
    sums.into_iter().map(|(t, (sum, n))| (t, sum / n)).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The median of bucket counts, interpolated within its bucket; its lower edge in the last, open one.
fn bucket_median(le: &[EdgeJson], counts: &[f64]) -> Option<f64> {
    let edge = |i: usize| match &le[i] {
        EdgeJson::Number(edge) => *edge,
        EdgeJson::Text(text) => text.parse().unwrap_or(f64::INFINITY),
    };
    let total: f64 = counts.iter().sum();
    if total <= 0.0 || le.len() != counts.len() {
        return None;
    }
    let (mut below, wanted) = (0.0, total * QUANTILE);
    for (i, n) in counts.iter().enumerate() {
        if below + n >= wanted && *n > 0.0 {
            let low = if i == 0 { 0.0 } else { edge(i - 1) };
            let high = edge(i);
            return Some(if high.is_finite() { low + (high - low) * (wanted - below) / n } else { low });
        }
        below += n;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_within_its_bucket() {
        let le = [EdgeJson::Number(1.0), EdgeJson::Number(3.0), EdgeJson::Text("+Inf".into())];
        assert_eq!(bucket_median(&le, &[1.0, 2.0, 0.0]), Some(1.5));
        assert_eq!(bucket_median(&le, &[0.0, 0.0, 4.0]), Some(3.0));
        assert_eq!(bucket_median(&le, &[0.0, 0.0, 0.0]), None);
    }

    #[test]
    fn values_of_by_are_added_up_and_what_they_share_counts_once() {
        let of = |events: f64, trials: f64| DataJson {
            t_ms: Some(vec![0]),
            events: Some(vec![Some(events)]),
            trials: Some(vec![Some(trials)]),
            ..DataJson::default()
        };
        let by = |values: Vec<DataJson>| DataJson {
            by: Some(["a", "b"].map(String::from).into_iter().zip(values).collect()),
            ..DataJson::default()
        };
        assert_eq!(points(&by(vec![of(1.0, 10.0), of(2.0, 20.0)])), [(0, 0.1)]);
        assert_eq!(points(&by(vec![of(1.0, 10.0), of(2.0, 10.0)])), [(0, 0.3)]);
        let raw = |numbers: Vec<f64>| DataJson {
            t_ms: Some(vec![0, 1]),
            values: Some(vec![Some(numbers), None]),
            ..DataJson::default()
        };
        assert_eq!(points(&by(vec![raw(vec![9.0, 1.0]), raw(vec![4.0])])), [(0, 4.0)]);
    }

    #[test]
    fn ratios_are_drawn_where_there_were_trials() {
        let data = DataJson {
            t_ms: Some(vec![0, 1, 2]),
            events: Some(vec![Some(1.0), Some(0.0), None]),
            trials: Some(vec![Some(10.0), Some(0.0), None]),
            ..DataJson::default()
        };
        assert_eq!(points(&data), [(0, 0.1)]);
    }
}
