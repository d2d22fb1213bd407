//! A hasher for keys that are hashes already.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes [`IdentityHasher`]s.
pub(super) type IdentityState = BuildHasherDefault<IdentityHasher>;

/// Returns the low half of the integer that it is given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only integers are hashed here; this keeps other keys right, if slow.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
}

/// Makes [`BytesHasher`]s.
pub(super) type BytesState = BuildHasherDefault<BytesHasher>;

/// Hashes byte strings by xxh3.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BytesHasher(u64);

impl Hasher for BytesHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, n: usize) {
        // The length that stands before a slice; xxh3 hashes the length too.
        self.0 ^= n as u64;
    }
}
