//! Chance as it is handed to code.

use std::fmt;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};

/// A source of random bits.
pub trait Random: Send + Sync + fmt::Debug {
    /// Returns 64 random bits.
    fn next_u64(&self) -> u64;
}

/// The same sequence for the same seed; for tests and simulations.
#[derive(Debug)]
pub struct SeededRandom(Mutex<rand_chacha::ChaCha8Rng>);

impl SeededRandom {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(rand_chacha::ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }
}

/// The operating system's randomness; for ids, secrets and jitter.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws real randomness")]
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (a, b) = (SeededRandom::new(7), SeededRandom::new(7));
        assert_eq!((a.next_u64(), a.next_u64()), (b.next_u64(), b.next_u64()));
    }
}
