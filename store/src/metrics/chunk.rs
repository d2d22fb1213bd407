//! Samples of one series, packed: what the head keeps of all but the newest.
//!
//! | part | bytes |
//! |---|---|
//! | length of what follows | 2 |
//! | first time, last time | 8, 8 |
//! | times | DELTA_BINARY_PACKED differences from one to the next, without the first |
//! | scale | 1; `RAW`: all values follow as they are |
//! | exceptions | 1: how many; for each its position (1) and value (8) |
//! | mantissas | DELTA_BINARY_PACKED |
//!
//! Chunks lie one behind the other in one array a series. They never leave memory.

use super::decimal::{self, Decimals};
use super::delta;
use crate::read::SpanMs;

const RAW: u8 = u8::MAX;
const HEADER: usize = 2 + 8 + 8;

/// Arrays for packing, kept from one chunk to the next.
#[derive(Debug, Default)]
pub(super) struct Packer {
    deltas: Vec<i64>,
    values: Vec<f64>,
    decimals: Decimals,
}

impl Packer {
    /// Appends a chunk of 1 to 255 samples of strictly rising times.
    pub(super) fn pack(&mut self, samples: &[(i64, f64)], out: &mut Vec<u8>) {
        debug_assert!((1..=255).contains(&samples.len()));
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&samples[0].0.to_le_bytes());
        out.extend_from_slice(&samples[samples.len() - 1].0.to_le_bytes());
        self.deltas.clear();
        self.deltas.extend(samples.windows(2).map(|pair| pair[1].0.wrapping_sub(pair[0].0)));
        delta::encode(&self.deltas, out);
        self.pack_values(samples, out);
        let len = u16::try_from(out.len() - start - 2).expect("255 samples take less than 64 KiB");
        out[start..start + 2].copy_from_slice(&len.to_le_bytes());
    }

    fn pack_values(&mut self, samples: &[(i64, f64)], out: &mut Vec<u8>) {
        self.values.clear();
        self.values.extend(samples.iter().map(|s| s.1));
        self.decimals.fill(&self.values);
        let exceptions = &self.decimals.exceptions;
        if exceptions.len() == samples.len() {
            out.push(RAW);
            self.values.iter().for_each(|v| out.extend_from_slice(&v.to_bits().to_le_bytes()));
            return;
        }
        out.push(self.decimals.scale);
        out.push(exceptions.len() as u8);
        for &i in exceptions {
            out.push(i as u8);
            out.extend_from_slice(&self.values[i as usize].to_bits().to_le_bytes());
        }
        delta::encode(&self.decimals.mantissas, out);
    }
}

/// Walks the chunks that lie in an array.
#[derive(Clone, Debug)]
pub(super) struct Chunks<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    #[inline]
    fn next(&mut self) -> Option<Chunk<'a>> {
        let (len, rest) = self.0.split_first_chunk::<2>()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        self.0 = rest;
        let time = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let span = SpanMs { start: time(0)?, end: time(8)? };
        Some(Chunk { span, body: bytes.get(HEADER - 2..)? })
    }
}

/// One packed chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    /// Times of its first and last sample.
    pub(super) span: SpanMs,
    body: &'a [u8],
}

/// Arrays for unpacking, kept from one chunk to the next.
#[derive(Debug, Default)]
pub(super) struct Unpacker {
    mantissas: Vec<i64>,
}

impl Unpacker {
    /// Appends a chunk's samples.
    pub(super) fn unpack(&mut self, chunk: &Chunk<'_>, t_ms: &mut Vec<i64>, values: &mut Vec<f64>) {
        // Chunks never leave memory, so what was packed is what is here.
        const PACKED: &str = "a chunk holds what was packed into it";
        let mut t = chunk.span.start;
        let start = t_ms.len();
        t_ms.push(0);
        let rest = delta::decode(chunk.body, usize::MAX, t_ms).expect(PACKED);
        t_ms[start] = t;
        for slot in &mut t_ms[start + 1..] {
            t = t.wrapping_add(*slot);
            *slot = t;
        }
        let (&scale, rest) = rest.split_first().expect(PACKED);
        let bits = |raw: &[u8]| f64::from_bits(u64::from_le_bytes(raw.try_into().expect(PACKED)));
        if scale == RAW {
            values.extend(rest.chunks_exact(8).map(bits));
            return;
        }
        let (&n_exceptions, rest) = rest.split_first().expect(PACKED);
        let (exceptions, rest) = rest.split_at(usize::from(n_exceptions) * 9);
        self.mantissas.clear();
        delta::decode(rest, usize::MAX, &mut self.mantissas).expect(PACKED);
        let start = values.len();
        decimal::floats(&self.mantissas, scale, values);
        for exception in exceptions.chunks_exact(9) {
            values[start + usize::from(exception[0])] = bits(&exception[1..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_come_back_bit_for_bit(chunks in proptest::collection::vec(
            proptest::collection::btree_map(prop_oneof![any::<i64>(), 0i64..500],
                prop_oneof![any::<u64>(), (-9i64..999).prop_map(|n| (n as f64 / 10.0).to_bits())], 1..200),
            1..4,
        )) {
            let (mut packer, mut bytes) = (Packer::default(), Vec::new());
            let mut want = Vec::new();
            for chunk in &chunks {
                let chunk: &BTreeMap<i64, u64> = chunk;
                let samples: Vec<_> = chunk.iter().map(|(t, v)| (*t, f64::from_bits(*v))).collect();
                packer.pack(&samples, &mut bytes);
                want.extend(chunk.iter().map(|(t, v)| (*t, *v)));
            }
            let (mut t, mut v) = (Vec::new(), Vec::new());
            let mut unpacker = Unpacker::default();
            for (chunk, want) in Chunks(&bytes).zip(&chunks) {
                prop_assert_eq!(chunk.span.start, *want.keys().next().unwrap());
                unpacker.unpack(&chunk, &mut t, &mut v);
            }
            let got: Vec<_> = t.into_iter().zip(v.into_iter().map(f64::to_bits)).collect();
            prop_assert_eq!(got, want);
        }
    }
}
