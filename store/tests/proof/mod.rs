//! Proof of durability: what the store promises, tried under crashes, power losses, damage and faults.
//!
//! Each module makes one kind of trial from a seed. The store's tests make a few of each, the commands of
//! `tests/harness` many. A trial that finds a broken promise is an error that says which.

pub(crate) mod facts;
pub(crate) mod rig;
pub(crate) mod model;
pub(crate) mod power;
pub(crate) mod rush;
pub(crate) mod damage;
pub(crate) mod faults;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use greylight_store::model::{OsRandom, Random};

/// What a trial gives, or which promise was broken.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The variable that repeats a run.
const SEED: &str = "GREYLIGHT_SEED";

/// Returns the seed that the environment names, else a drawn one, and prints it.
pub(crate) fn seed() -> u64 {
    let named = std::env::var(SEED).ok().and_then(|text| text.parse().ok());
    let seed = named.unwrap_or_else(|| OsRandom.next_u64() >> 16);
    println!("{SEED}={seed}");
    seed
}

/// Names the seed in an error, so that whoever reads it can repeat the trial.
pub(crate) fn seeded<T>(seed: u64, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|e| format!("{e} ({SEED}={seed})").into())
}

/// Fails with a sentence where a promise does not hold.
pub(crate) fn must(holds: bool, broken: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(broken().into()) }
}

/// Chance from a seed.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns a number below `n`, or 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
