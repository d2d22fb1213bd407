//! Integers of variable length: LEB128, and zigzag for those with a sign.

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
