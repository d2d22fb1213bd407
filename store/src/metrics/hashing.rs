//! Hashers for keys that are hashes or running numbers, and for byte strings.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes [`IdentityHasher`]s.
pub(crate) type IdentityState = BuildHasherDefault<IdentityHasher>;

/// Returns the low half of a wide integer as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdentityHasher(u64);

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

    fn write_u32(&mut self, n: u32) {
        // No hash but a running number: spread over the high bits too, which maps compare first.
        self.0 = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
}

/// Makes [`BytesHasher`]s.
pub(crate) type BytesState = BuildHasherDefault<BytesHasher>;

/// Hashes byte strings by xxh3.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BytesHasher(u64);

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
