//! One series: residuals, their rarity, and when to speak.

use std::collections::VecDeque;
use std::time::Duration;

use super::tail::Tail;

/// Sampled values of the long median, spread over a week.
const LONG: usize = 500;
/// Slots of a day in the daily profile.
const SLOTS: usize = 288;
/// Days that the profile remembers.
const DAYS: usize = 7;
/// Days of a slot that are needed before it is trusted.
const DAYS_MIN: usize = 3;
/// Values before the first alert: without a past everything is new.
const VALUES_MIN: usize = 1_000;
/// One residual adds at most so much to the score.
const SCORE_MAX_EACH: f64 = 16.0;
const DAY_MS: i64 = 86_400_000;

/// Judges one series value by value, in constant memory.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    config: DetectorConfig,
    n_values: usize,
    last: Option<f64>,
    long: VecDeque<f64>,
    /// Medians are expensive; they change slowly.
    long_median: Option<f64>,
    profile: Vec<VecDeque<f64>>,
    tails: [Tail; 2],
    /// Scores of alerts and of what came after, for the rest.
    rest: VecDeque<(i64, f64)>,
}

/// How a detector decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct DetectorConfig {
    /// Distance of values.
    pub(super) interval: Duration,
    /// Alerts a day that are accepted when nothing is wrong.
    pub(super) alerts_per_day: f64,
    /// Quiet time after an alert unless the score tops it.
    pub(super) rest: Duration,
}

/// Something that hardly ever happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Anomaly {
    /// When, in epoch milliseconds.
    pub(super) t_ms: i64,
    /// The value.
    pub(super) value: f64,
    /// What was expected: the daily profile, else the long median.
    pub(super) expected: f64,
    /// Sum of -log10 of the residuals' chances.
    pub(super) score: f64,
    /// The rarest residual happens by chance once in so many days.
    pub(super) once_in_days: f64,
}

impl Detector {
    pub(super) fn new(config: DetectorConfig) -> Self {
        Self {
            config,
            n_values: 0,
            last: None,
            long: VecDeque::new(),
            long_median: None,
            profile: vec![VecDeque::new(); SLOTS],
            tails: Default::default(),
            rest: VecDeque::new(),
        }
    }

    /// Takes the next value; returns an anomaly where it is one that should be told.
    pub(super) fn push(&mut self, t_ms: i64, value: f64) -> Option<Anomaly> {
        if !value.is_finite() {
            return None;
        }
        let slot = slot(t_ms);
        let residuals = self.residuals(value, slot);
        let chances: Vec<f64> =
            residuals.iter().zip(&self.tails).filter_map(|(r, tail)| tail.chance((*r)?)).collect();
        let score: f64 = chances.iter().map(|p| (-p.log10()).min(SCORE_MAX_EACH)).sum();
        let rarest = chances.iter().copied().fold(1.0, f64::min);
        let found = self.decide(t_ms, value, slot, score, rarest, chances.len());
        self.learn(value, slot, residuals);
        found
    }

    /// Residuals against the value before and against the same time of day.
    ///
    /// A slowly moving residual (against a long median, or of the last hour's level) would be rare
    /// by the count of values, but its values hang together: it is left out.
    fn residuals(&self, value: f64, slot: usize) -> [Option<f64>; 2] {
        [self.last.map(|last| value - last), self.usual(slot).map(|usual| value - usual)]
    }

    /// The median of the same time of day, with its neighbours, over the last days.
    fn usual(&self, slot: usize) -> Option<f64> {
        if self.profile[slot].len() < DAYS_MIN {
            return None;
        }
        let near = [(slot + SLOTS - 1) % SLOTS, slot, (slot + 1) % SLOTS];
        Some(median(near.iter().flat_map(|&s| self.profile[s].iter().copied())))
    }

    fn decide(
        &mut self,
        t_ms: i64,
        value: f64,
        slot: usize,
        score: f64,
        rarest: f64,
        n: usize,
    ) -> Option<Anomaly> {
        let rest_ms = i64::try_from(self.config.rest.as_millis()).unwrap_or(i64::MAX);
        while self.rest.front().is_some_and(|(t, _)| t_ms.saturating_sub(*t) > rest_ms) {
            self.rest.pop_front();
        }
        let values_a_day = 86_400.0 / self.config.interval.as_secs_f64();
        // Bonferroni over the residuals: their sum alone says how rare a value is only up to a constant.
        let level = self.config.alerts_per_day / values_a_day / n.max(1) as f64;
        let record = self.rest.iter().map(|(_, s)| *s).fold(0.0, f64::max);
        if self.n_values < VALUES_MIN || rarest > level || score <= record {
            return None;
        }
        self.rest.push_back((t_ms, score));
        let expected = self.usual(slot).or(self.long_median).unwrap_or(value);
        let once_in_days = 1.0 / (rarest * n.max(1) as f64 * values_a_day);
        Some(Anomaly { t_ms, value, expected, score, once_in_days })
    }

    fn learn(&mut self, value: f64, slot: usize, residuals: [Option<f64>; 2]) {
        for (tail, residual) in self.tails.iter_mut().zip(residuals) {
            if let Some(residual) = residual {
                tail.learn(residual);
            }
        }
        self.n_values += 1;
        self.last = Some(value);
        push(&mut self.profile[slot], value, DAYS);
        // A week is sampled down to LONG values; until then every value counts.
        let week = 7.0 * 86_400.0 / self.config.interval.as_secs_f64();
        let every = ((week / LONG as f64) as usize).clamp(1, self.n_values.div_ceil(LONG).max(1));
        if self.n_values.is_multiple_of(every) {
            push(&mut self.long, value, LONG);
            let stale = self.long.len() < 50 || self.n_values.is_multiple_of(every * 10);
            if self.long_median.is_none() || stale {
                self.long_median = Some(median(self.long.iter().copied()));
            }
        }
    }
}

fn slot(t_ms: i64) -> usize {
    let part = t_ms.rem_euclid(DAY_MS) * SLOTS as i64 / DAY_MS;
    usize::try_from(part).unwrap_or(0).min(SLOTS - 1)
}

fn push(ring: &mut VecDeque<f64>, value: f64, kept: usize) {
    ring.push_back(value);
    if ring.len() > kept {
        ring.pop_front();
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    *median
}

#[cfg(test)]
mod tests {
    use greylight_store::model::{Random, SeededRandom};

    use super::*;

    const CONFIG: DetectorConfig = DetectorConfig {
        interval: Duration::from_secs(60),
        alerts_per_day: 0.05,
        rest: Duration::from_secs(3600),
    };

    /// Day-shaped traffic with noise.
    fn series(seed: u64, n: usize) -> Vec<(i64, f64)> {
        let random = SeededRandom::new(seed);
        let uniform = move || ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        (0..n as i64)
            .map(|i| {
                let noise: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
                let day = (i as f64 * 60_000.0 / DAY_MS as f64 * std::f64::consts::TAU).sin();
                (i * 60_000, 100.0 + 30.0 * day + 3.0 * noise)
            })
            .collect()
    }

    #[test]
    fn quiet_series_stay_near_the_budget() {
        // 20 series of 7 days: 7 alerts are meant; tails fitted on some eighty peaks err by a factor of a few.
        let alerts: usize = (0..20)
            .map(|seed| {
                let mut detector = Detector::new(CONFIG);
                series(seed, 7 * 1440).into_iter().filter_map(|(t, v)| detector.push(t, v)).count()
            })
            .sum();
        assert!(alerts <= 30, "{alerts} alerts, 7 meant");
    }

    #[test]
    fn a_drop_to_zero_is_told_once_and_again_only_when_worse() {
        let mut detector = Detector::new(CONFIG);
        let mut told = Vec::new();
        for (t, v) in series(99, 4 * 1440) {
            let broken = t >= 4 * DAY_MS - 30 * 60_000;
            told.extend(detector.push(t, if broken { 0.0 } else { v }).filter(|_| broken));
        }
        assert!(!told.is_empty() && told.len() <= 4, "{told:?}");
        assert!(told[0].t_ms < 4 * DAY_MS - 28 * 60_000, "told within two minutes: {told:?}");
        assert!(told[0].once_in_days > 20.0 && told[0].expected > 50.0, "{told:?}");
    }
}
