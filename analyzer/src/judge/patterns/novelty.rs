//! How much that is new was to be expected: shown, never tested.

use crate::verdict::Novelty;

/// How often each pattern was seen where the released version wrote the records.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings {
    n: f64,
    once: f64,
    twice: f64,
}

impl Sightings {
    /// Counts patterns by how often they were seen.
    pub(super) fn of(counts: impl Iterator<Item = f64>) -> Self {
        let mut all = Self::default();
        for count in counts {
            all.n += count;
            all.once += f64::from(u8::from(count == 1.0));
            all.twice += f64::from(u8::from(count == 2.0));
        }
        all
    }

    /// Says what `m` further records of the same kind would bring.
    ///
    /// - The share of records with a pattern never seen: patterns seen once over records (Good 1953,
    ///   after Turing).
    /// - How many such patterns: Chao's estimate of those still unseen, each coming at the rate that
    ///   makes up that share (Chao 1984; Shen, Chao, Lin 2003).
    ///
    /// `None` where nothing was seen, so that everything is new.
    pub(super) fn novelty(&self, m: f64, seen: u64) -> Option<Novelty> {
        if self.n <= 0.0 {
            return None;
        }
        let share = self.once / self.n;
        let unseen = self.once * (self.once - 1.0).max(0.0) / (2.0 * (self.twice + 1.0));
        let expected = if unseen > 0.0 {
            let rate = self.once / (self.n * unseen + self.once);
            unseen * (1.0 - (1.0 - rate).powf(m))
        } else {
            // Too few to say how many; at most one a record.
            share * m
        };
        Some(Novelty { share, expected: expected.min(share * m), seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn novelty_grows_with_the_records_to_what_is_unseen() {
        // 10 patterns once, 4 twice, 1 often: n = 118; f0 = 10 * 9 / (2 * 5) = 9.
        let counts = [1.0; 10].into_iter().chain([2.0; 4]).chain([100.0]);
        let sightings = Sightings::of(counts);
        let novelty = |m: f64| sightings.novelty(m, 0).unwrap();
        assert!((novelty(1.0).share - 10.0 / 118.0).abs() < 1e-12);
        let rate = 10.0 / (118.0 * 9.0 + 10.0);
        assert!((novelty(50.0).expected - 9.0 * (1.0 - (1.0_f64 - rate).powf(50.0))).abs() < 1e-9);
        assert!((novelty(1e9).expected - 9.0).abs() < 1e-6);
        assert_eq!(novelty(0.0).expected, 0.0);
        assert_eq!(Sightings::of([5.0, 7.0].into_iter()).novelty(100.0, 0).unwrap().expected, 0.0);
        assert!(Sightings::of(std::iter::empty()).novelty(100.0, 0).is_none());
    }
}
