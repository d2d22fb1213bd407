//! Procedure D: whole distributions as three scores, which go through procedure M.
//!
//! A reference distribution over buckets (the pooled history, else the pooled release so far) gives
//! a bucket with cumulated shares (lo, hi] the scores
//! - rank: `(lo + hi) / 2`, which sees a shift of the middle,
//! - exponential: the mean of `-log(1 - u)` over the bucket, at most 7, which sees the upper part,
//! - tail: the part of the bucket above 0.95, which sees rare slow requests.
//!
//! The difference of the sides' mean scores in an interval is one value for [`super::means`]: the
//! interval is the unit, so requests of one interval need not be independent. Any buckets will do.
//!
//! [`Sheet::shift`] says which difference a given change of all values would make: each edge `e` moves to
//! `F(e / (1 + m))`, with `log(1 - F)` linear in the logarithm of the value inside a bucket.
//!
//! Source: Savage, Ann. Math. Stat. 27, 1956 (exponential scores); Wilcoxon, Biometrics 1, 1945 (ranks).

/// One of the three scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Middle of the bucket's ranks.
    Rank,
    /// Exponential score.
    Exponential,
    /// Part above the 95 % quantile.
    Tail,
}

impl Score {
    /// All of them, in the order of [`Sheet`].
    pub const ALL: [Self; 3] = [Self::Rank, Self::Exponential, Self::Tail];

    /// Returns the score that answers for a quantile.
    pub fn for_quantile(q: f64) -> Self {
        match q {
            q if q < 0.75 => Self::Rank,
            q if q <= 0.95 => Self::Exponential,
            _ => Self::Tail,
        }
    }

    /// Returns the quantile shown where the policy names none for this score.
    pub fn quantile(self) -> f64 {
        match self {
            Self::Rank => 0.5,
            Self::Exponential => 0.9,
            Self::Tail => 0.99,
        }
    }

    fn idx(self) -> usize {
        self as usize
    }
}

/// How all values of a side are thought to change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Each value times this factor; positive.
    Times(f64),
    /// This much is added to each value.
    Plus(f64),
}

/// The scores of each bucket, and the reference they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    edges: Vec<f64>,
    cumulated: Vec<f64>,
    total: f64,
    scores: [Vec<f64>; 3],
}

impl Sheet {
    /// Makes the sheet of a reference distribution; `None` if it is empty.
    ///
    /// - `edges`: upper edges, ascending, the last `+Inf`.
    /// - `counts`: each bucket's own count.
    pub fn new(edges: &[f64], counts: &[f64]) -> Option<Self> {
        let total: f64 = counts.iter().sum();
        if total.is_nan() || total <= 0.0 || edges.len() != counts.len() {
            return None;
        }
        let mut cumulated = Vec::with_capacity(counts.len());
        let mut sum = 0.0;
        for count in counts {
            sum += count;
            cumulated.push((sum / total).min(1.0));
        }
        let mut scores = [const { Vec::new() }; 3];
        let mut lo = 0.0;
        for hi in &cumulated {
            scores[0].push(0.5 * (lo + hi));
            scores[1].push(exponential(lo, *hi));
            scores[2].push(part_above(lo, *hi));
            lo = *hi;
        }
        Some(Self { edges: edges.to_vec(), cumulated, total, scores })
    }

    /// Computes the mean score of one interval's bucket counts; `None` if they are all zero.
    pub fn mean(&self, score: Score, counts: &[f64]) -> Option<f64> {
        let total: f64 = counts.iter().sum();
        let sum: f64 = counts.iter().zip(&self.scores[score.idx()]).map(|(count, score)| count * score).sum();
        (total > 0.0).then(|| sum / total)
    }

    /// Returns the scores of other buckets, by their upper edges: each has that of the reference's bucket in which it ends.
    pub fn scores_at(&self, score: Score, edges: &[f64]) -> Vec<f64> {
        edges.iter().map(|edge| self.scores[score.idx()][self.place(*edge)]).collect()
    }

    /// Finds the reference's bucket in which another one ends.
    pub fn place(&self, edge: f64) -> usize {
        self.edges.partition_point(|own| *own < edge).min(self.edges.len() - 1)
    }

    /// Returns the upper edges of the reference's buckets.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Computes by how much a change of all values of the reference moves its mean score.
    pub fn shift(&self, score: Score, change: Change) -> f64 {
        let scores = &self.scores[score.idx()];
        let (mut moved_below, mut below, mut shift) = (0.0, 0.0, 0.0);
        for (bucket, edge) in self.edges.iter().enumerate() {
            let moved = if edge.is_finite() { self.share_below(undo(*edge, change)) } else { 1.0 };
            shift += (moved - moved_below - (self.cumulated[bucket] - below)) * scores[bucket];
            moved_below = moved;
            below = self.cumulated[bucket];
        }
        shift
    }

    /// Computes what part of the reference lies at or below each edge, as it is or after a change of all values.
    pub fn below(&self, change: Option<Change>) -> Vec<f64> {
        let Some(change) = change else { return self.cumulated.clone() };
        let moved = |edge: &f64| if edge.is_finite() { self.share_below(undo(*edge, change)) } else { 1.0 };
        self.edges.iter().map(moved).collect()
    }

    /// Computes the part of the reference that is at most `value`.
    fn share_below(&self, value: f64) -> f64 {
        let bucket = self.edges.partition_point(|edge| *edge < value);
        if bucket >= self.edges.len() || !value.is_finite() {
            return 1.0;
        }
        let hi = self.cumulated[bucket];
        let lo = if bucket == 0 { 0.0 } else { self.cumulated[bucket - 1] };
        let part = self.part_of_bucket(bucket, value);
        // An empty upper end would put the logarithm at minus infinity: half an observation stands for it.
        let floor = 0.5 / self.total;
        let (left, right) = ((1.0 - lo).max(floor).ln(), (1.0 - hi).max(floor).ln());
        (1.0 - (left + part * (right - left)).exp()).clamp(lo, hi.max(lo))
    }

    /// Computes how far into a bucket a value lies, in the logarithm where the bucket is positive.
    fn part_of_bucket(&self, bucket: usize, value: f64) -> f64 {
        let upper = self.edges[bucket];
        if upper.is_infinite() {
            return 0.0;
        }
        let lower = match bucket.checked_sub(1).map(|idx| self.edges[idx]) {
            Some(lower) if lower > 0.0 || upper <= 0.0 => lower,
            // The first positive bucket begins at a hundredth of its upper edge.
            _ => upper.abs() / 100.0 * upper.signum(),
        };
        let part = if lower > 0.0 {
            (value.max(lower) / lower).ln() / (upper / lower).ln()
        } else {
            (value - lower) / (upper - lower)
        };
        if part.is_nan() { 1.0 } else { part.clamp(0.0, 1.0) }
    }

    /// Computes the quantile `q` of other counts over the same buckets, interpolated as in
    /// [`Sheet::shift`]; the last finite edge for what lies above it. `None` if the counts are all zero.
    pub fn quantile(&self, counts: &[f64], q: f64) -> Option<f64> {
        let other = Self::new(&self.edges, counts)?;
        let bucket = other.cumulated.partition_point(|share| *share < q).min(other.edges.len() - 1);
        let upper = other.edges[bucket];
        if upper.is_infinite() {
            return bucket.checked_sub(1).map(|idx| other.edges[idx]);
        }
        let lower = match bucket.checked_sub(1).map(|idx| other.edges[idx]) {
            Some(lower) if lower > 0.0 || upper <= 0.0 => lower,
            _ => upper.abs() / 100.0 * upper.signum(),
        };
        let (mut a, mut b) = (lower, upper);
        for _ in 0..60 {
            let middle = 0.5 * (a + b);
            if other.share_below(middle) < q { a = middle } else { b = middle }
        }
        Some(b)
    }
}

fn undo(edge: f64, change: Change) -> f64 {
    match change {
        Change::Times(factor) => edge / factor,
        Change::Plus(term) => edge - term,
    }
}

/// Computes the mean of `-log(1 - u)` over (lo, hi], at most 7.
fn exponential(lo: f64, hi: f64) -> f64 {
    const MOST: f64 = 7.0;
    let antiderivative = |v: f64| if v > 0.0 { v - v * v.ln() } else { 0.0 };
    let (left, right) = (1.0 - lo, 1.0 - hi);
    // Differences lose digits in thin buckets, where the middle is as good.
    let mean = if hi - lo > 1e-6 {
        (antiderivative(left) - antiderivative(right)) / (hi - lo)
    } else {
        -(0.5 * (left + right)).ln()
    };
    if mean.is_nan() { MOST } else { mean.min(MOST) }
}

fn part_above(lo: f64, hi: f64) -> f64 {
    const FROM: f64 = 0.95;
    if hi - lo <= 0.0 {
        return f64::from(u8::from(lo >= FROM));
    }
    ((hi - lo.max(FROM)) / (hi - lo)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets() -> Vec<f64> {
        vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY]
    }

    #[test]
    fn scores_of_the_reference_average_to_their_known_means() {
        let counts: Vec<f64> = (1..=12).map(f64::from).collect();
        let sheet = Sheet::new(&buckets(), &counts).unwrap();
        assert!((sheet.mean(Score::Rank, &counts).unwrap() - 0.5).abs() < 1e-12);
        assert!((sheet.mean(Score::Tail, &counts).unwrap() - 0.05).abs() < 1e-12);
        // The mean of -log(1 - u) is 1; the last bucket's cap does not bind here.
        assert!((sheet.mean(Score::Exponential, &counts).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn no_change_is_no_shift_and_nothing_is_nothing() {
        let sheet = Sheet::new(&buckets(), &[1.0; 12]).unwrap();
        for score in Score::ALL {
            assert!(sheet.shift(score, Change::Times(1.0)).abs() < 1e-9);
        }
        assert!(Sheet::new(&buckets(), &[0.0; 12]).is_none());
        assert!(sheet.mean(Score::Rank, &[0.0; 12]).is_none());
    }

    proptest! {
        #[test]
        fn slower_is_a_larger_score(
            counts in prop::collection::vec(0_u32..1000, 12), factor in 1.0..3.0_f64, more in 1.0..2.0_f64,
        ) {
            let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
            prop_assume!(counts.iter().sum::<f64>() > 0.0);
            let sheet = Sheet::new(&buckets(), &counts).unwrap();
            for score in Score::ALL {
                let (small, large) = (sheet.shift(score, Change::Times(factor)), sheet.shift(score, Change::Times(factor * more)));
                prop_assert!(small >= -1e-9 && large >= small - 1e-9, "{score:?} {small} {large}");
            }
        }
    }
}
