//! Floats as decimals: `value = mantissa / 10^scale`, exact to the bit or not at all.
//!
//! Both numbers are exact as floats and division rounds correctly, so every reader that divides
//! gets the same bits. What does not come back that way (full-precision floats, NaN, infinities,
//! -0) is an exception and is kept as it is.

/// Largest scale: 10^22 is the last power of ten that is exact as a float.
pub(super) const SCALE_MAX: u8 = 22;

const POWERS: [f64; SCALE_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Returns the mantissa of `value` at a scale, if it gives `value` back bit for bit.
#[inline]
pub(super) fn mantissa(value: f64, scale: u8) -> Option<i64> {
    let mantissa = if scale == 0 { value as i64 } else { round(value * POWERS[usize::from(scale)])? };
    (float(mantissa, scale).to_bits() == value.to_bits()).then_some(mantissa)
}

// 1.5 * 2^52.
const SHIFTER: f64 = 6_755_399_441_055_744.0;

// Adding 1.5 * 2^52 leaves the nearest integer in the low bits: no call, as rounding would be on
// processors without SSE 4.1, which is what we compile for.
#[inline]
fn round(x: f64) -> Option<i64> {
    const LIMIT: f64 = (1u64 << 51) as f64;
    (x.abs() < LIMIT).then(|| ((x + SHIFTER).to_bits() as i64).wrapping_sub(SHIFTER.to_bits() as i64))
}

/// Returns the float that a mantissa stands for.
#[inline]
pub(super) fn float(mantissa: i64, scale: u8) -> f64 {
    if scale == 0 { mantissa as f64 } else { mantissa as f64 / POWERS[usize::from(scale)] }
}

/// Appends the floats that mantissas of one scale stand for.
pub(super) fn floats(mantissas: &[i64], scale: u8, out: &mut Vec<f64>) {
    // Within 51 bits, adding to the bits of 1.5 * 2^52 converts without a conversion, which
    // processors of our baseline have for one number at a time only.
    const LIMIT: i64 = 1 << 51;
    const SHIFTER_BITS: i64 = SHIFTER.to_bits() as i64;
    let small = mantissas.iter().fold(0, |all, &m| all | (m ^ (m >> 63))) < LIMIT;
    let power = POWERS[usize::from(scale)];
    let shifted = |m: i64| f64::from_bits(m.wrapping_add(SHIFTER_BITS) as u64) - SHIFTER;
    match (small, scale) {
        (true, 0) => out.extend(mantissas.iter().map(|&m| shifted(m))),
        (true, _) => out.extend(mantissas.iter().map(|&m| shifted(m) / power)),
        (false, 0) => out.extend(mantissas.iter().map(|&m| m as f64)),
        (false, _) => out.extend(mantissas.iter().map(|&m| m as f64 / power)),
    }
}

/// The decimals of a run of values; kept to be filled again.
#[derive(Debug, Default)]
pub(super) struct Decimals {
    /// One a value; an exception repeats the one before it, which costs least.
    pub(super) mantissas: Vec<i64>,
    /// Positions of values that are no decimals.
    pub(super) exceptions: Vec<u32>,
    /// The scale of all mantissas.
    pub(super) scale: u8,
}

impl Decimals {
    /// Takes a run of values at the smallest scale that leaves few exceptions. With more than one
    /// in eight, all of the run is exceptions: it is no run of decimals.
    pub(super) fn fill(&mut self, values: &[f64]) {
        // A scale for the sake of one value in 64 would cost the others more than it saves.
        let few = values.len() / 64;
        self.scale = 0;
        loop {
            let whole = self.try_scale(values, few);
            if whole {
                return;
            }
            let failed = self.exceptions.iter().map(|&i| values[i as usize]);
            match failed.filter_map(|v| scale_of(v, self.scale + 1)).min() {
                Some(next) => self.scale = next,
                None => break,
            }
        }
        if !self.try_scale(values, values.len() / 8) {
            self.scale = 0;
            self.mantissas.clear();
            self.mantissas.resize(values.len(), 0);
            self.exceptions.clear();
            self.exceptions.extend(0..values.len() as u32);
        }
    }

    // Stops, and says no, at the first exception over the limit.
    fn try_scale(&mut self, values: &[f64], n_exceptions_max: usize) -> bool {
        self.mantissas.clear();
        self.exceptions.clear();
        let mut last = 0;
        for (i, &value) in values.iter().enumerate() {
            match mantissa(value, self.scale) {
                Some(mantissa) => last = mantissa,
                None => {
                    self.exceptions.push(i as u32);
                    if self.exceptions.len() > n_exceptions_max {
                        return false;
                    }
                }
            }
            self.mantissas.push(last);
        }
        true
    }
}

fn scale_of(value: f64, from: u8) -> Option<u8> {
    (from..=SCALE_MAX).find(|&scale| mantissa(value, scale).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[f64], scale: u8, n_exceptions: usize) {
        let mut decimals = Decimals::default();
        decimals.fill(values);
        assert_eq!((decimals.scale, decimals.exceptions.len()), (scale, n_exceptions), "{values:?}");
    }

    #[test]
    fn the_scale_is_the_smallest_that_serves() {
        check(&[1.0, 2.0, -3.0], 0, 0);
        check(&[1.0, 2.5], 1, 0);
        check(&[0.01, 2.5, 1e9], 2, 0);
        check(&[0.1 + 0.2, 1.0 / 3.0, std::f64::consts::PI], 0, 3);
        check(&[f64::NAN], 0, 1);
        check(&[9.0e18, 1.0e18], 0, 0);
        let mut walk: Vec<f64> = (0..640).map(f64::from).collect();
        walk[100] = f64::NAN;
        walk[200] = 0.123_456;
        check(&walk, 0, 2);
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(values in proptest::collection::vec(
            prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits), (any::<i32>(), 0u8..6).prop_map(|(m, s)| float(m.into(), s))],
            0..200,
        )) {
            let mut decimals = Decimals::default();
            decimals.fill(&values);
            let mut back = Vec::new();
            floats(&decimals.mantissas, decimals.scale, &mut back);
            for &i in &decimals.exceptions {
                back[i as usize] = values[i as usize];
            }
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&values));
        }
    }
}
