//! Puts an effect into the canary's data: what the release would have shown with so much harm.
//!
//! - Events (ratio, count): each happens once more, or not at all, with the effect's chance; bursts stay bursts.
//! - Means and raw values: times the factor. Means that may be 0 or negative: moved by that part of the usual mean.
//! - Buckets: all values times the factor, by the shape of the history inside of each bucket, as a margin is.
//! - Log patterns: a pattern never seen before, in that share of the records.

use indexmap::IndexMap;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::judge::{Counts, Data, Histogram, Pattern, Sides};
use crate::policy::{Check, CheckKind, Harm};
use crate::stats::scores::{Change, Sheet};

/// Variance of a binomial above which it is drawn as a rounded normal.
const NORMAL_FROM: f64 = 400.0;

/// Puts an effect into a canary's data. `None` where the kind has nothing that can be moved so.
///
/// - `part`: of what was there; positive.
/// - `pre`: the history, which gives means and shapes.
pub(super) fn inject(
    check: &Check,
    canary: &Data,
    pre: &Sides,
    part: f64,
    rng: &mut ChaCha8Rng,
) -> Option<Data> {
    let is_down = check.harm == Harm::Down;
    // Less than nothing cannot be left.
    if is_down && part >= 1.0 && !matches!(check.kind, CheckKind::Patterns { .. }) {
        return None;
    }
    let factor = if is_down { 1.0 - part } else { 1.0 + part };
    Some(match canary {
        Data::Counts(counts) => {
            let is_ratio = matches!(check.kind, CheckKind::Ratio { .. });
            Data::Counts(change_counts(counts, factor, is_ratio, rng))
        }
        Data::Values(series) => {
            let before = means(pre);
            let is_positive = before.iter().all(|value| *value > 0.0);
            let usual = before.iter().sum::<f64>() / before.len().max(1) as f64;
            let change = |value: f64| {
                if is_positive { value * factor } else { value + (factor - 1.0) * usual.abs() }
            };
            let mut series = series.clone();
            series.iter_mut().flat_map(|one| &mut one.v).flatten().for_each(|value| *value = change(*value));
            Data::Values(series)
        }
        Data::Histogram(histogram) => Data::Histogram(change_histogram(histogram, pre, factor)),
        Data::Raw(values) => {
            let mut values = values.clone();
            let all = values.units.values_mut().flat_map(|unit| &mut unit.values).chain(&mut values.values);
            all.flatten().flatten().for_each(|value| *value *= factor);
            Data::Raw(values)
        }
        Data::Patterns(counts) => {
            let mut counts = counts.clone();
            let severity = match check.kind {
                CheckKind::Patterns { severity: Some(severity), .. } => severity.word(),
                _ => "error",
            };
            let new = Pattern {
                text: "a pattern that a backtest put in".to_owned(),
                severity: Some(severity.to_owned()),
                counts: counts.records.iter().map(|n| n.map(|n| binomial(n, part, rng))).collect(),
                ..Pattern::default()
            };
            // No id of a template is a word.
            counts.patterns.insert("backtest".to_owned(), new);
            Data::Patterns(counts)
        }
        Data::By(values) => {
            let of_value = |(value, data): (&String, &Data)| {
                let own = |side: &Option<Data>| match side {
                    Some(Data::By(values)) => values.get(value).cloned(),
                    _ => None,
                };
                let pre = Sides { baseline: own(&pre.baseline), canary: own(&pre.canary) };
                Some((value.clone(), inject(check, data, &pre, part, rng)?))
            };
            Data::By(values.iter().map(of_value).collect::<Option<_>>()?)
        }
        Data::Users(_) => return None,
    })
}

/// Lists the values of a history.
fn means(pre: &Sides) -> Vec<f64> {
    let sides = [&pre.baseline, &pre.canary];
    let series = sides.into_iter().flatten().filter_map(|data| match data {
        Data::Values(series) => Some(series),
        _ => None,
    });
    series.flatten().flat_map(|one| one.v.iter().flatten().copied()).collect()
}

fn change_counts(counts: &Counts, factor: f64, is_ratio: bool, rng: &mut ChaCha8Rng) -> Counts {
    // Where units are told their sum is what the side shows.
    if !counts.units.is_empty() {
        let units: IndexMap<String, Counts> = (counts.units.iter())
            .map(|(unit, own)| (unit.clone(), change_counts(own, factor, is_ratio, rng)))
            .collect();
        let mut sums: Vec<Option<f64>> = counts.events.iter().map(|events| events.map(|_| 0.0)).collect();
        for own in units.values() {
            for (sum, events) in sums.iter_mut().zip(&own.events) {
                *sum = sum.map(|sum| sum + events.unwrap_or(0.0));
            }
        }
        return Counts { events: sums, units, ..counts.clone() };
    }
    let (whole, rest) = (factor.floor(), factor - factor.floor());
    let mut changed = counts.clone();
    for (events, exposure) in changed.events.iter_mut().zip(&counts.exposure) {
        let (Some(events), Some(exposure)) = (events, exposure) else { continue };
        let more = whole * *events + binomial(*events, rest, rng);
        *events = if is_ratio { more.min(*exposure) } else { more };
    }
    changed
}

/// Moves each bucket's counts to where its values times the factor lie, spread inside of it as the history is.
fn change_histogram(histogram: &Histogram, pre: &Sides, factor: f64) -> Histogram {
    let mut usual = vec![0.0; histogram.le.len()];
    let mut add = |data: &Histogram| {
        let places: Vec<Option<usize>> =
            data.le.iter().map(|edge| histogram.le.iter().position(|known| known == edge)).collect();
        for row in data.counts.iter().flatten() {
            for (place, count) in places.iter().zip(row) {
                if let Some(sum) = place.and_then(|place| usual.get_mut(place)) {
                    *sum += count;
                }
            }
        }
    };
    let before: Vec<&Histogram> = [&pre.baseline, &pre.canary]
        .into_iter()
        .flatten()
        .filter_map(|data| if let Data::Histogram(one) = data { Some(one) } else { None })
        .collect();
    before.iter().for_each(|data| add(data));
    if before.is_empty() {
        add(histogram);
    }
    let Some(sheet) = Sheet::new(&histogram.le, &usual) else { return histogram.clone() };
    let moves = moves(&sheet.below(None), &sheet.below(Some(Change::Times(factor))));
    let mut changed = histogram.clone();
    for row in changed.counts.iter_mut().flatten() {
        let mut moved = vec![0.0; row.len()];
        for (from, count) in row.iter().enumerate() {
            for (to, part) in &moves[from] {
                moved[*to] += count * part;
            }
        }
        *row = moved;
    }
    changed.units.values_mut().for_each(|unit| *unit = change_histogram(unit, pre, factor));
    changed
}

/// Says which part of each bucket goes where, from the cumulated shares before and after; order is kept.
fn moves(before: &[f64], after: &[f64]) -> Vec<Vec<(usize, f64)>> {
    (0..before.len())
        .map(|from| {
            let lo = if from == 0 { 0.0 } else { before[from - 1] };
            let hi = before[from];
            // A bucket that the history never filled says nothing of where its values lie.
            if hi - lo <= 0.0 {
                return vec![(from, 1.0)];
            }
            (0..after.len())
                .filter_map(|to| {
                    let (first, last) = (if to == 0 { 0.0 } else { after[to - 1] }, after[to]);
                    let part = (hi.min(last) - lo.max(first)) / (hi - lo);
                    (part > 0.0).then_some((to, part))
                })
                .collect()
        })
        .collect()
}

/// Draws how many of `n` trials succeed; `n` need not be whole.
fn binomial(n: f64, p: f64, rng: &mut ChaCha8Rng) -> f64 {
    let n = n.round();
    if p <= 0.0 || n <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return n;
    }
    let mut uniform = || rng.random::<f64>().max(1e-300);
    let variance = n * p * (1.0 - p);
    if variance > NORMAL_FROM {
        let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        return (n * p + variance.sqrt() * normal).round().clamp(0.0, n);
    }
    // Gaps between successes are geometric; the rarer of success and failure is drawn.
    let rare = p.min(1.0 - p);
    let (mut at, mut count) = (0.0, 0.0);
    loop {
        at += (uniform().ln() / (1.0 - rare).ln()).floor() + 1.0;
        if at > n {
            return if p <= 0.5 { count } else { n - count };
        }
        count += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_have_the_mean_and_the_variance_of_a_binomial() {
        for (n, p) in [(20.0, 0.1), (200.0, 0.9), (10_000.0, 0.2)] {
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            let draws: Vec<f64> = (0..4000).map(|_| binomial(n, p, &mut rng)).collect();
            let mean = draws.iter().sum::<f64>() / 4000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4000.0;
            let want = n * p * (1.0 - p);
            assert!((mean - n * p).abs() < 5.0 * (want / 4000.0).sqrt(), "{n} {p}: {mean}");
            assert!((variance / want - 1.0).abs() < 0.15, "{n} {p}: {variance} for {want}");
        }
    }

    #[test]
    fn a_factor_across_one_edge_moves_what_lies_below_it() {
        // Values all but even between 1 and 2 on a logarithmic axis; times 2 they lie between 2 and 4.
        let moved = moves(&[0.0, 1.0, 1.0], &[0.0, 0.0, 1.0]);
        assert_eq!(moved[1], [(2, 1.0)]);
        assert_eq!(moved[0], [(0, 1.0)], "a bucket without history stays");
    }

    proptest! {
        #[test]
        fn moving_keeps_every_count(counts in proptest::collection::vec(0u32..50, 6), factor in 0.5..3.0_f64) {
            let le = vec![0.1, 0.2, 0.4, 0.8, 1.6, f64::INFINITY];
            let row: Vec<f64> = counts.iter().map(|n| f64::from(*n)).collect();
            prop_assume!(row.iter().sum::<f64>() > 0.0);
            let histogram = Histogram { t_ms: vec![0], le, counts: vec![Some(row.clone())], units: IndexMap::new() };
            let moved = change_histogram(&histogram, &Sides::default(), factor);
            let moved = moved.counts[0].clone().unwrap();
            prop_assert!((moved.iter().sum::<f64>() - row.iter().sum::<f64>()).abs() < 1e-9);
            // Larger values: no more of them lie below any edge than before.
            let below = |row: &[f64]| row.iter().scan(0.0, |sum, n| { *sum += n; Some(*sum) }).collect::<Vec<f64>>();
            let pairs = below(&row).into_iter().zip(below(&moved)).collect::<Vec<_>>();
            let sign = if factor >= 1.0 { 1.0 } else { -1.0 };
            let is_ordered = pairs.iter().all(|(before, after)| sign * (before - after) > -1e-9);
            prop_assert!(is_ordered, "{:?}", pairs);
        }
    }
}
