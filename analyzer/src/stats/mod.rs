//! The statistics of verdicts: pure functions and small accumulators, each with its source.
//!
//! [`boundary`] spends a check's budget over the looks; everything else asks it for levels.
//! [`counts`] compares events over trials exactly (procedure C), [`counts_power`] says beforehand how often it finds harm, [`bets`] does so where events come
//! in clumps and for lists of log patterns (L), [`means`] compares autocorrelated values (M), [`hosts`] hosts where nothing has a history (H), [`births`] new pods that have no history (N), [`pod_rates`] their errors,
//! [`scores`] turns distributions into values for it (D), [`users`] compares amounts by user, [`rates`] bounds single rates,
//! [`dispersion`] says whether counts may be trusted to be binomial, and [`share`] tests a declared
//! traffic share. [`classical`] has the fixed tests that readers know, for reports and for other systems'
//! engines. [`special`] holds the distributions.
//!
//! Invariant: same input, same bits. No clock, no store, no chance. A probability that cannot be
//! computed is 1, never 0.

pub mod special;
pub mod boundary;
pub mod counts;
pub mod counts_power;
pub mod bets;
pub mod rates;
pub mod dispersion;
pub mod means;
pub mod hosts;
pub mod births;
pub mod pod_rates;
pub mod scores;
pub mod users;
pub mod share;
pub mod classical;

#[cfg(test)]
mod reference;
