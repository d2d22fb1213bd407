//! Parquet's DELTA_BINARY_PACKED encoding of 64-bit integers.
//!
//! Blocks of 128 differences in four miniblocks of 32, each packed to the width of its largest
//! difference from the block's base. Arithmetic wraps, so any integers come back.
//!
//! Source: the Apache Parquet format, "Delta Encoding".

use super::varint;

const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;
const MINIBLOCKS: usize = BLOCK / MINIBLOCK;
// Longest miniblock, and room for the last whole-word load to run past it.
const PADDED: usize = MINIBLOCK * 8 + 16;

// Differences in a block that lie in so small a range are packed as half bytes.
const NIBBLE: u64 = 16;

/// Appends the encoding of `values`.
///
/// Any width that holds the differences and any base below them is valid. Where they lie within a
/// range of 16 they are packed to 4 bits, over a base that stays from block to block, though fewer
/// bits would do: then equal differences are equal half bytes, which the entropy coder of the
/// page's compression sees, as it cannot in 3 bits. This saves an eighth of an integer gauge.
pub(super) fn encode(values: &[i64], out: &mut Vec<u8>) {
    varint::put(out, BLOCK as u64);
    varint::put(out, MINIBLOCKS as u64);
    varint::put(out, values.len() as u64);
    let Some((&first, rest)) = values.split_first() else {
        varint::put(out, 0);
        return;
    };
    varint::put(out, varint::zigzag(first));
    let mut last = first;
    let mut nibble_base = 0;
    for chunk in rest.chunks(BLOCK) {
        let mut deltas = [0i64; BLOCK];
        let (mut min, mut max) = (i64::MAX, i64::MIN);
        for (delta, &value) in deltas.iter_mut().zip(chunk) {
            *delta = value.wrapping_sub(last);
            last = value;
            min = min.min(*delta);
            max = max.max(*delta);
        }
        let nibbles = (1..NIBBLE).contains(&max.abs_diff(min));
        if nibbles && (nibble_base > min || max.abs_diff(nibble_base) >= NIBBLE) {
            // In the middle, so that it serves the next blocks too.
            let slack = (NIBBLE - 1 - max.abs_diff(min)) as i64;
            nibble_base = min.saturating_sub(slack / 2);
        }
        let base = if nibbles { nibble_base } else { min };
        encode_block(&deltas[..chunk.len()], base, nibbles, out);
    }
}

fn encode_block(deltas: &[i64], base: i64, nibbles: bool, out: &mut Vec<u8>) {
    varint::put(out, varint::zigzag(base));
    let mut above = [0u64; BLOCK];
    for (above, &delta) in above.iter_mut().zip(deltas) {
        *above = delta.wrapping_sub(base) as u64;
    }
    let widths_at = out.len();
    out.extend_from_slice(&[0; MINIBLOCKS]);
    for i in 0..deltas.len().div_ceil(MINIBLOCK) {
        let miniblock: &[u64; MINIBLOCK] =
            above[i * MINIBLOCK..][..MINIBLOCK].try_into().expect("a block is four miniblocks");
        let width = 64 - miniblock.iter().fold(0, |all, v| all | v).leading_zeros();
        let width = if nibbles { 4 } else { width };
        out[widths_at + i] = width as u8;
        pack(miniblock, width, out);
    }
}

fn pack(values: &[u64; MINIBLOCK], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut word, mut n_bits) = (0u128, 0u32);
    for &value in values {
        word |= u128::from(value) << n_bits;
        n_bits += width;
        if n_bits >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            n_bits -= 64;
        }
    }
    // 32 values of any width end on a whole number of 4-byte words.
    out.extend_from_slice(&word.to_le_bytes()[..n_bits as usize / 8]);
}

/// Bytes that are no such encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Appends the first `n_max` values to `out` and returns the bytes behind the encoding, which are
/// only right when all values were read.
pub(super) fn decode<'a>(bytes: &'a [u8], n_max: usize, out: &mut Vec<i64>) -> Result<&'a [u8], Malformed> {
    let mut rest = bytes;
    let (n, mut last) = take_header(&mut rest)?;
    let n = n.min(n_max as u64) as usize;
    if n == 0 {
        return Ok(rest);
    }
    // A count that lies cannot reserve much: 128 values take at least 5 bytes.
    out.reserve(n.min(1 + rest.len() / 5 * BLOCK + BLOCK));
    out.push(last);
    let mut left = n - 1;
    while left > 0 {
        let min = varint::unzigzag(varint::take(&mut rest).ok_or(Malformed)?);
        let (widths, tail) = rest.split_first_chunk::<MINIBLOCKS>().ok_or(Malformed)?;
        rest = tail;
        for &width in widths {
            if left == 0 {
                break;
            }
            let n_here = left.min(MINIBLOCK);
            let (packed, tail) = rest.split_at_checked(usize::from(width) * 4).ok_or(Malformed)?;
            rest = tail;
            last = unpack(packed, width, min, last, n_here, out)?;
            left -= n_here;
        }
    }
    Ok(rest)
}

fn take_header(rest: &mut &[u8]) -> Result<(u64, i64), Malformed> {
    let mut take = || varint::take(rest).ok_or(Malformed);
    // Other block sizes are valid Parquet, but no file of ours has them.
    if take()? != BLOCK as u64 || take()? != MINIBLOCKS as u64 {
        return Err(Malformed);
    }
    Ok((take()?, varint::unzigzag(take()?)))
}

#[inline]
fn unpack(
    packed: &[u8],
    width: u8,
    min: i64,
    last: i64,
    n: usize,
    out: &mut Vec<i64>,
) -> Result<i64, Malformed> {
    let mut values = [0i64; MINIBLOCK];
    if width == 0 {
        let mut value = last;
        for slot in &mut values {
            value = value.wrapping_add(min);
            *slot = value;
        }
    } else {
        let mut padded = [0u8; PADDED];
        padded.get_mut(..packed.len()).ok_or(Malformed)?.copy_from_slice(packed);
        unpack_width(&padded, width, min, last, &mut values)?;
    }
    out.extend_from_slice(&values[..n]);
    Ok(values[n - 1])
}

macro_rules! dispatch {
    ($width:expr, $call:ident, $args:tt, $($w:literal)*) => {
        match $width {
            $($w => $call::<$w> $args,)*
            _ => return Err(Malformed),
        }
    };
}

fn unpack_width(
    padded: &[u8; PADDED],
    width: u8,
    min: i64,
    last: i64,
    values: &mut [i64; MINIBLOCK],
) -> Result<(), Malformed> {
    // One loop a width, so that every shift in it is a constant.
    dispatch!(width, unpack_const, (padded, min, last, values),
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);
    Ok(())
}

#[inline(always)]
fn unpack_const<const W: usize>(padded: &[u8; PADDED], min: i64, last: i64, values: &mut [i64; MINIBLOCK]) {
    let mask = u64::MAX >> (64 - W);
    let mut value = last;
    for (i, slot) in values.iter_mut().enumerate() {
        let (at, shift) = (i * W / 8, i * W % 8);
        let load =
            |at: usize| u64::from_le_bytes(padded[at..at + 8].try_into().expect("a slice of eight bytes"));
        let mut bits = load(at) >> shift;
        if shift + W > 64 {
            bits |= load(at + 8) << (64 - shift);
        }
        value = value.wrapping_add(min).wrapping_add((bits & mask) as i64);
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let any_width = (0u32..64, any::<i64>()).prop_map(|(shift, n)| n >> shift);
        prop_oneof![
            proptest::collection::vec(any_width, 0..400),
            proptest::collection::vec(-3i64..4, 0..400),
            (any::<i64>(), any::<i32>(), 0usize..400).prop_map(|(start, step, n)| {
                (0..n as i64).map(|i| start.wrapping_add(i * i64::from(step))).collect()
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_integers_come_back(values in values(), tail in any::<u8>(), some in 0usize..400) {
            let mut bytes = Vec::new();
            encode(&values, &mut bytes);
            bytes.push(tail);
            let mut back = Vec::new();
            prop_assert_eq!(decode(&bytes, usize::MAX, &mut back), Ok(&[tail][..]));
            prop_assert_eq!(&back, &values);
            back.clear();
            decode(&bytes, some, &mut back).unwrap();
            prop_assert_eq!(&back[..], &values[..some.min(values.len())]);
        }

        #[test]
        fn damaged_bytes_never_panic(values in values(), at in any::<u16>(), flip in 1u8.., noise in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = Vec::new();
            encode(&values, &mut bytes);
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= flip;
            let mut back = Vec::new();
            let _ = decode(&bytes, 1 << 20, &mut back);
            let _ = decode(&bytes[..at], 1 << 20, &mut back);
            let _ = decode(&noise, 1 << 20, &mut back);
        }
    }
}
