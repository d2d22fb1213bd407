//! Classical tests of two samples at one fixed look: for reports, and for other systems' engines.
//!
//! [`mann_whitney`] compares ranks, [`welch()`] means, [`kolmogorov_smirnov`] and [`anderson_darling`]
//! whole distributions, [`fisher()`] events over trials.
//!
//! They assume independent observations and one look. Greylight's own verdicts do not rest on them:
//! values of an operations metric remember the minute before, and releases are looked at more than
//! once. Reports show them beside the verdict because readers know them.
//!
//! Each is symmetric: exchanging the sides exchanges the one-sided probabilities.

mod anderson;
mod fisher;
mod rank;
mod smirnov;
mod welch;

pub use anderson::{AndersonDarling, anderson_darling};
pub use fisher::{FisherExact, fisher};
pub use rank::{MannWhitney, mann_whitney};
pub use smirnov::{KolmogorovSmirnov, kolmogorov_smirnov};
pub use welch::{Welch, welch};

pub(crate) use rank::{rank_sum, sorted};

/// Why a test cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatError {
    /// A sample has fewer observations than the test needs.
    #[error("a sample has {n} observations, and the test needs {need}")]
    TooFew {
        /// How many there are.
        n: usize,
        /// How many it takes.
        need: usize,
    },
    /// A value is NaN or infinite.
    #[error("a sample holds a value that is not a finite number")]
    NonFinite,
    /// All values are equal, so nothing varies.
    #[error("the values do not vary")]
    NoSpread,
    /// A count is above what can be counted exactly.
    #[error("a count is above {}", fisher::COUNT_MAX)]
    CountTooLarge,
}

/// Chances of data at least as far out, if nothing differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// In the direction of a smaller canary.
    pub less: f64,
    /// In the direction of a larger canary.
    pub greater: f64,
    /// In either direction.
    pub two_sided: f64,
}

impl Tails {
    /// Joins two one-sided chances: twice the smaller, at most 1.
    fn doubled(less: f64, greater: f64) -> Self {
        Self { less, greater, two_sided: (2.0 * less.min(greater)).min(1.0) }
    }
}

/// How a probability was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// From the distribution over all ways to deal the pooled values to the sides.
    Exact,
    /// From the limit for large samples.
    Limit,
    /// From many random ways to deal the pooled values, by a fixed seed.
    Dealt,
}

impl Law {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Limit => "limit",
            Self::Dealt => "dealt",
        }
    }
}

fn check(sample: &[f64], need: usize) -> Result<(), StatError> {
    if sample.len() < need {
        return Err(StatError::TooFew { n: sample.len(), need });
    }
    if sample.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(StatError::NonFinite) }
}

#[cfg(test)]
mod tests;
