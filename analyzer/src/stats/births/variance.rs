//! How much pods vary: about their own level, between each other, and from event to event.

use super::{Part, mean};

/// Variance of a pod's mean over so many intervals about its own level.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Lengths and variances.
    at: Vec<(f64, f64)>,
    n_pods: f64,
    n_intervals: f64,
}

/// Lengths of windows; doubled from the last on as long as two fit into the history.
const LENGTHS: [usize; 7] = [1, 2, 4, 8, 15, 30, 60];

impl Windows {
    /// Learns from the old pods' differences; `None` with under two pods.
    pub(super) fn new(old: &[Vec<f64>]) -> Option<Self> {
        let n_intervals = old.iter().map(Vec::len).max().unwrap_or(0);
        if old.len() < 2 {
            return None;
        }
        let (n_pods, n) = (old.len() as f64, n_intervals as f64);
        let doubled = std::iter::successors(Some(120_usize), |length| Some(2 * length));
        let lengths = LENGTHS.into_iter().chain(doubled).take_while(|length| 2 * length <= n_intervals);
        let at = lengths
            .map(|length| {
                let squares = old.iter().flat_map(|pod| {
                    let level = mean(pod);
                    pod.chunks_exact(length).map(move |window| (mean(window) - level).powi(2))
                });
                let (sum, count) = squares
                    .filter(|square| square.is_finite())
                    .fold((0.0, 0.0), |(sum, count), square| (sum + square, count + 1.0));
                let variance = sum / count * n_pods / (n_pods - 1.0) / (1.0 - length as f64 / n);
                (length as f64, variance)
            })
            .filter(|(_, variance)| variance.is_finite())
            .collect::<Vec<_>>();
        (!at.is_empty()).then_some(Self { at, n_pods, n_intervals: n })
    }

    /// Computes the variance for `t` intervals, straight between the lengths in the logarithm of both. Longer
    /// windows than the history can show vary as the longest of them: more than they will.
    pub(super) fn at(&self, t: usize) -> f64 {
        let t = t as f64;
        let above = self.at.partition_point(|(length, _)| *length < t);
        if above == 0 {
            return self.at[0].1;
        }
        let Some((right, v_right)) = self.at.get(above).copied() else {
            return self.at[self.at.len() - 1].1;
        };
        let (left, v_left) = self.at[above - 1];
        if !(v_left > 0.0 && v_right > 0.0) {
            return v_left.max(v_right);
        }
        let part = (t / left).ln() / (right / left).ln();
        (v_left.ln() + part * (v_right / v_left).ln()).exp()
    }

    /// Returns the degrees of freedom of [`Windows::at`].
    pub(super) fn df(&self, t: usize) -> f64 {
        // Windows of memory are worth less than they are many.
        const WORTH: f64 = 1.5;
        const DF_LEAST: f64 = 4.0;
        ((self.n_pods - 1.0) * self.n_intervals / (WORTH * t as f64)).max(DF_LEAST)
    }
}

/// How levels differ between pods, and what starts of one event share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Variance between pods; of one event where events tell.
    pub tau2: f64,
    /// Its degrees of freedom.
    pub df: f64,
    /// Variance between events.
    pub omega2: f64,
    /// Its degrees of freedom.
    pub omega_df: f64,
    /// Whether the births say how much of their scatter is the event's, so that several pods of a canary count
    /// singly.
    pub tells: bool,
    /// Number of events.
    pub(super) n_events: f64,
    /// Sum of squared sizes of the events over the square of their sum.
    pub(super) event_weight: f64,
}

impl Standing {
    /// - `old`: levels of the old pods.
    /// - `births`: event and level of each birth.
    pub(super) fn new(part: Part, old: &[f64], births: &[(usize, f64)], n_canary: usize) -> Self {
        let n_old = old.len() as f64;
        let among_old = squares(old);
        let events = by_event(births);
        let (n_births, n_events) = (births.len(), events.len());
        let within: f64 = events.iter().map(|levels| squares(levels)).sum();
        let (k, j) = (n_births as f64, n_events as f64);
        let sizes: f64 = events.iter().map(|levels| (levels.len() as f64).powi(2)).sum();
        let mut standing = Self {
            tau2: among_old / (n_old - 1.0),
            df: n_old - 1.0,
            omega2: 0.0,
            omega_df: f64::INFINITY,
            tells: false,
            n_events: j,
            event_weight: if n_births > 0 { sizes / (k * k) } else { 0.0 },
        };
        let is_enough = n_births >= n_events + WITHIN_MIN;
        let pooled_within = (among_old + within) / (n_old - 1.0 + k - j);
        match part {
            Part::Old => {}
            Part::Fresh if is_enough => {
                (standing.tau2, standing.df) = (pooled_within, n_old - 1.0 + k - j);
            }
            Part::Births if tells(n_canary, n_events) && is_enough => {
                standing.tells = true;
                (standing.tau2, standing.df) = (pooled_within, n_old - 1.0 + k - j);
                let levels: Vec<f64> = births.iter().map(|(_, level)| *level).collect();
                let between = squares(&levels) - within;
                let size = (k - sizes / k) / (j - 1.0);
                standing.omega2 = ((between / (j - 1.0) - within / (k - j)) / size).max(0.0);
                standing.omega_df = j - 1.0;
            }
            Part::Births | Part::Fresh if n_births > 0 => {
                let levels: Vec<f64> = births.iter().map(|(_, level)| *level).collect();
                (standing.tau2, standing.df) =
                    ((among_old + squares(&levels)) / (n_old + k - 2.0), n_old + j - 2.0);
            }
            Part::Births | Part::Fresh => {}
        }
        standing
    }
}

/// Births beyond one an event from which the scatter within events is known.
const WITHIN_MIN: usize = 5;

/// Says whether there are enough events to tell what starts of one event share: five, and twenty before three
/// and more pods of a canary count singly, since with few events their common part is badly known.
fn tells(n_canary: usize, n_events: usize) -> bool {
    match n_canary {
        0 | 1 => false,
        2 => n_events >= 5,
        _ => n_events >= 20,
    }
}

fn by_event(births: &[(usize, f64)]) -> Vec<Vec<f64>> {
    let mut sorted = births.to_vec();
    sorted.sort_by_key(|(event, _)| *event);
    sorted.chunk_by(|a, b| a.0 == b.0).map(|event| event.iter().map(|(_, level)| *level).collect()).collect()
}

/// Sums the squared distances from the mean.
fn squares(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre).powi(2)).sum()
}
