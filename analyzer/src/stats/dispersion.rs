//! Whether counts scatter as independent events do, or come in clumps.
//!
//! Pearson's dispersion of events over exposure: the mean over intervals of (seen - expected)^2 over
//! the binomial variance. Near 1 for independent events, `c` for events that come `c` at a time.
//!
//! Source: McCullagh and Nelder, "Generalized Linear Models", 2nd ed., 1989, 4.5.

use super::special::chi_square_sf;

/// How events scatter around their mean rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispersion {
    /// Pearson's statistic over its degrees of freedom; 1 where there is nothing to tell.
    pub ratio: f64,
    /// Degrees of freedom: intervals with exposure, less one.
    pub df: f64,
}

/// Whether each exposure unit can have several events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLaw {
    /// At most one event a trial: ratio checks.
    Binomial,
    /// Any number in a stretch of exposure: count checks.
    Poisson,
}

/// Computes Pearson's dispersion of `(events, exposure)` pairs.
pub fn dispersion(intervals: &[(f64, f64)], law: EventLaw) -> Dispersion {
    let (events, exposure) =
        intervals.iter().fold((0.0, 0.0), |(x, n), (events, exposure)| (x + events, n + exposure));
    let rate = events / exposure;
    let df = intervals.iter().filter(|(_, exposure)| *exposure > 0.0).count() as f64 - 1.0;
    let spread = match law {
        EventLaw::Binomial => 1.0 - rate,
        EventLaw::Poisson => 1.0,
    };
    if !(rate > 0.0 && spread > 0.0 && df >= 1.0) {
        return Dispersion { ratio: 1.0, df: df.max(0.0) };
    }
    let squares: f64 = (intervals.iter().filter(|(_, exposure)| *exposure > 0.0))
        .map(|(events, exposure)| (events - rate * exposure).powi(2) / (rate * exposure * spread))
        .sum();
    Dispersion { ratio: squares / df, df }
}

/// Computes Pearson's dispersion of how the events of both sides fall, given how many there are: `(canary, baseline)`
/// pairs of events and exposure, taking the ratio of the rates to be the same all the time.
///
/// What both sides have in common, such as a daily wave, is not seen; a rate that wanders on one side is.
pub fn split_dispersion(intervals: &[[(f64, f64); 2]]) -> Dispersion {
    let sum = |side: usize| {
        let of = intervals.iter().map(|sides| sides[side]);
        of.fold((0.0, 0.0), |(x, n), (events, exposure)| (x + events, n + exposure))
    };
    let [canary, baseline] = [0, 1].map(|side| sum(side).0 / sum(side).1);
    let theta = canary / baseline;
    let compared = || {
        intervals.iter().filter_map(|[canary, baseline]| {
            let m = canary.0 + baseline.0;
            let odds = theta * canary.1 / baseline.1;
            let r = odds / (1.0 + odds);
            (m > 0.0 && 0.0 < r && r < 1.0).then(|| (canary.0 - m * r).powi(2) / (m * r * (1.0 - r)))
        })
    };
    let df = compared().count() as f64 - 1.0;
    if !(theta > 0.0 && theta.is_finite() && df >= 1.0) {
        return Dispersion { ratio: 1.0, df: df.max(0.0) };
    }
    Dispersion { ratio: compared().sum::<f64>() / df, df }
}

/// How the events of a history came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scatter {
    /// As independent events do.
    Independent,
    /// In clumps that are over within an interval, or too few to tell; what a clump holds on average.
    Clumped(f64),
    /// With rates that wander over intervals.
    Wandering(f64),
}

const EVENTS_MIN: f64 = 30.0;
const RATIO_MAX: f64 = 1.3;
/// Intervals in a block: the longer ones see what wanders slowly under a small share, of which there are few.
const BLOCKS: [usize; 2] = [15, 60];
/// Part of good histories that may pass for wandering or clumped where blocks are few.
const QUANTILE: f64 = 0.01;
/// Blocks above whose number their ratio alone decides.
const MANY: f64 = 90.0;

/// Says how the baseline's events scatter in its history.
///
/// Independent needs 30 events and a dispersion of at most 1.3, on intervals and on blocks of 15 and of 60 intervals,
/// which see a slow wave of a side's own rate. A day has 96 blocks of 15; where there are fewer, good data passes
/// 1.3 too often by chance (12 blocks: 22 %), so there blocks refuse only beyond their own 99 %
/// quantile as well.
pub fn scatter(intervals: &[(f64, f64)], law: EventLaw) -> Scatter {
    let events = intervals.iter().map(|(events, _)| events).sum();
    let slow = BLOCKS.map(|n| {
        let blocks: Vec<(f64, f64)> = intervals
            .chunks_exact(n)
            .map(|block| block.iter().fold((0.0, 0.0), |sum, one| add(sum, *one)))
            .collect();
        dispersion(&blocks, law)
    });
    judged(events, dispersion(intervals, law), slow)
}

/// Says the same of how events fall on the sides, where both have a history: `(canary, baseline)`.
pub fn split_scatter(intervals: &[[(f64, f64); 2]]) -> Scatter {
    let events = intervals.iter().flatten().map(|(events, _)| events).sum();
    let both = |sum: [(f64, f64); 2], one: &[(f64, f64); 2]| [add(sum[0], one[0]), add(sum[1], one[1])];
    let slow = BLOCKS.map(|n| {
        let blocks: Vec<[(f64, f64); 2]> =
            intervals.chunks_exact(n).map(|block| block.iter().fold([(0.0, 0.0); 2], both)).collect();
        split_dispersion(&blocks)
    });
    judged(events, split_dispersion(intervals), slow)
}

fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

fn judged(events: f64, quick: Dispersion, slow: [Dispersion; 2]) -> Scatter {
    let clump = quick.ratio.max(1.0);
    if events < EVENTS_MIN {
        return Scatter::Clumped(clump);
    }
    // Whether blocks scatter more than `expected` by more than chance gives.
    let is_beyond = |expected: f64| {
        slow.iter().filter(|blocks| blocks.df >= 1.0).any(|blocks| {
            let ratio = blocks.ratio / expected;
            let is_sure = || blocks.df >= MANY || chi_square_sf(ratio * blocks.df, blocks.df) < QUANTILE;
            ratio > RATIO_MAX && is_sure()
        })
    };
    match (quick.ratio > RATIO_MAX, is_beyond(1.0)) {
        (false, false) => Scatter::Independent,
        // Blocks of clumps scatter as the clumps do.
        _ if is_beyond(clump) => Scatter::Wandering(clump),
        _ => Scatter::Clumped(clump),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_come_five_at_a_time_have_a_dispersion_of_five() {
        let single: Vec<(f64, f64)> = (0..400).map(|i| (f64::from(u8::from(i % 4 == 0)), 1e6)).collect();
        let clumped: Vec<(f64, f64)> = single.iter().map(|(x, n)| (5.0 * x, *n)).collect();
        let (one, five) = (dispersion(&single, EventLaw::Poisson), dispersion(&clumped, EventLaw::Poisson));
        assert!((five.ratio / one.ratio - 5.0).abs() < 1e-9, "{one:?} {five:?}");
        assert_eq!(scatter(&clumped, EventLaw::Poisson), Scatter::Clumped(five.ratio));
    }

    #[test]
    fn too_few_events_are_not_trusted() {
        assert_eq!(scatter(&[(1.0, 100.0); 29], EventLaw::Binomial), Scatter::Clumped(1.0));
        assert_eq!(scatter(&[(1.0, 100.0); 30], EventLaw::Binomial), Scatter::Independent);
    }

    #[test]
    fn a_slow_wave_is_seen_on_blocks_only() {
        // Rates of 8 and 12 in turn, 60 intervals each: minutes hide it, blocks do not.
        let wave: Vec<(f64, f64)> =
            (0..1_440).map(|i| (if (i / 60) % 2 == 0 { 8.0 } else { 12.0 }, 1e6)).collect();
        assert!(dispersion(&wave, EventLaw::Poisson).ratio < 1.3);
        assert!(matches!(scatter(&wave, EventLaw::Poisson), Scatter::Wandering(_)));
        // What both sides share harms nothing; what one has to itself does.
        let calm = |i: usize| (8.0 + (i * 7 % 5) as f64, 1e6);
        let shared: Vec<_> = wave.iter().map(|one| [*one; 2]).collect();
        let own: Vec<_> = wave.iter().enumerate().map(|(i, one)| [*one, calm(i)]).collect();
        assert_eq!(split_scatter(&shared), Scatter::Independent);
        assert!(matches!(split_scatter(&own), Scatter::Wandering(_)), "{:?}", split_scatter(&own));
    }
}
