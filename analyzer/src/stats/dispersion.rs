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

/// Says whether the history of one side lets its counts be treated as independent events.
///
/// Needs 30 events and a dispersion of at most 1.3, on intervals and on blocks of 15 intervals, which
/// see a slow wave of a side's own rate. A day has 96 blocks; with fewer than that, good data passes
/// 1.3 too often by chance (12 blocks: 22 %), so there blocks refuse only beyond their own 99 %
/// quantile as well.
pub fn is_trusted(intervals: &[(f64, f64)], law: EventLaw) -> bool {
    const EVENTS_MIN: f64 = 30.0;
    const RATIO_MAX: f64 = 1.3;
    const BLOCK: usize = 15;
    const DAY: usize = 1_440;
    let events: f64 = intervals.iter().map(|(events, _)| events).sum();
    if events < EVENTS_MIN || dispersion(intervals, law).ratio > RATIO_MAX {
        return false;
    }
    let blocks: Vec<(f64, f64)> = (intervals.chunks_exact(BLOCK))
        .map(|block| block.iter().fold((0.0, 0.0), |(x, n), (events, exposure)| (x + events, n + exposure)))
        .collect();
    let slow = dispersion(&blocks, law);
    if slow.ratio <= RATIO_MAX || slow.df < 1.0 {
        return true;
    }
    intervals.len() < DAY && chi_square_sf(slow.ratio * slow.df, slow.df) >= 0.01
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
        assert!(!is_trusted(&clumped, EventLaw::Poisson));
    }

    #[test]
    fn too_few_events_are_not_trusted() {
        assert!(!is_trusted(&[(1.0, 100.0); 29], EventLaw::Binomial));
        assert!(is_trusted(&[(1.0, 100.0); 30], EventLaw::Binomial));
    }

    #[test]
    fn a_slow_wave_is_seen_on_blocks_only() {
        // Rates of 8 and 12 in turn, 60 intervals each: minutes hide it, blocks do not.
        let wave: Vec<(f64, f64)> =
            (0..1_440).map(|i| (if (i / 60) % 2 == 0 { 8.0 } else { 12.0 }, 1e6)).collect();
        assert!(dispersion(&wave, EventLaw::Poisson).ratio < 1.3);
        assert!(!is_trusted(&wave, EventLaw::Poisson));
    }
}
