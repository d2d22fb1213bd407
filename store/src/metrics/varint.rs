//! Numbers of variable length: LEB128, zigzag for integers with a sign, and floats that often are integers.

/// Appends an unsigned integer, seven bits a byte, lowest first.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes an unsigned integer off the front; `None` when the bytes end or it is over 64 bits.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let mut n = u64::from(first & 0x7f);
    let mut rest = rest;
    for shift in (7..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        n |= bits << shift;
        if byte < 0x80 {
            *bytes = rest;
            return Some(n);
        }
    }
    None
}

/// Folds the sign into the lowest bit, so that small numbers of either sign stay small.
#[inline]
pub(super) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline]
pub(super) fn unzigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ -((n & 1) as i64)
}

/// Appends a float: `zigzag << 1` in LEB128 if it is an integer below 2^53 in magnitude, else the byte 1 and
/// eight bytes.
#[inline]
pub(super) fn put_float(out: &mut Vec<u8>, value: f64) {
    const EXACT: f64 = (1u64 << 53) as f64;
    let whole = value as i64;
    if value.abs() < EXACT && (whole as f64).to_bits() == value.to_bits() {
        put(out, zigzag(whole) << 1);
    } else {
        out.push(1);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

/// Takes a float off the front; `None` for what [`put_float`] does not write.
#[inline]
pub(super) fn take_float(bytes: &mut &[u8]) -> Option<f64> {
    let tagged = take(bytes)?;
    if tagged & 1 == 0 {
        return Some(unzigzag(tagged >> 1) as f64);
    }
    let bits = take_bits(bytes)?;
    (tagged == 1).then_some(bits)
}

/// Takes the eight bytes of a float.
#[inline]
pub(super) fn take_bits(bytes: &mut &[u8]) -> Option<f64> {
    let (raw, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(f64::from_bits(u64::from_le_bytes(*raw)))
}

/// Takes one byte.
#[inline]
pub(super) fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// Appends a length and bytes.
pub(super) fn put_slice(out: &mut Vec<u8>, slice: &[u8]) {
    put(out, slice.len() as u64);
    out.extend_from_slice(slice);
}

/// Takes a length and so many bytes.
pub(super) fn take_slice<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = usize::try_from(take(bytes)?).ok()?;
    let (slice, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(slice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(n in any::<u64>(), shift in 0u32..64, tail in any::<u8>()) {
            let n = n >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, n);
            bytes.push(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Some(n));
            prop_assert_eq!(rest, &[tail]);
            prop_assert_eq!(zigzag(unzigzag(n)), n);
        }

        #[test]
        fn any_bytes_are_an_integer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = &bytes[..];
            if take(&mut rest).is_none() {
                prop_assert_eq!(rest.len(), bytes.len());
            }
        }
    }
}
