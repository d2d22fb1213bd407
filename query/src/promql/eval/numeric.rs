//! Sums and quantiles, with the same rounding as Prometheus.

/// Adds with Neumaier's compensation: the sum is `sum + c`.
#[inline]
pub(in crate::promql) fn kahan_add(inc: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + inc;
    let c = if t.is_infinite() {
        0.0
    } else if sum.abs() >= inc.abs() {
        c + ((sum - t) + inc)
    } else {
        c + ((inc - t) + sum)
    };
    (t, c)
}

/// Returns the compensated sum.
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut c) = (0.0, 0.0);
    for v in values {
        (sum, c) = kahan_add(*v, sum, c);
    }
    if sum.is_infinite() { sum } else { sum + c }
}

/// A mean that goes over to the incremental form where its sum would overflow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    count: f64,
    /// Sum, or the mean once `incremental`.
    value: f64,
    c: f64,
    incremental: bool,
}

impl Mean {
    pub(super) fn first(value: f64) -> Self {
        Self { count: 1.0, value, c: 0.0, incremental: false }
    }

    pub(super) fn add(&mut self, v: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (sum, c) = kahan_add(v, self.value, self.c);
            if !sum.is_infinite() {
                (self.value, self.c) = (sum, c);
                return;
            }
            self.incremental = true;
            self.value /= self.count - 1.0;
            self.c /= self.count - 1.0;
        }
        let q = (self.count - 1.0) / self.count;
        (self.value, self.c) = kahan_add(v / self.count, q * self.value, q * self.c);
    }

    /// Takes in the mean of further values.
    pub(super) fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let (sum, c) = kahan_add(other.value, self.value, self.c);
            if !sum.is_infinite() {
                *self = Self { count, value: sum, c: c + other.c, incremental: false };
                return;
            }
        }
        let share = |mean: &Self| if mean.incremental { mean.count / count } else { 1.0 / count };
        let (a, b) = (share(self), share(other));
        let (value, c) = kahan_add(other.value * b, self.value * a, self.c * a + other.c * b);
        *self = Self { count, value, c, incremental: true };
    }

    pub(super) fn get(&self) -> f64 {
        if self.incremental { self.value + self.c } else { self.value / self.count + self.c / self.count }
    }
}

/// Returns the mean of at least one value.
pub(super) fn mean(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else { return f64::NAN };
    let mut mean = Mean::first(*first);
    rest.iter().for_each(|v| mean.add(*v));
    mean.get()
}

/// Returns the population variance, by Welford's method with compensated sums.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut c_mean, mut aux, mut c_aux) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for v in values {
        count += 1.0;
        let delta = v - (mean + c_mean);
        (mean, c_mean) = kahan_add(delta / count, mean, c_mean);
        (aux, c_aux) = kahan_add(delta * (v - (mean + c_mean)), aux, c_aux);
    }
    (aux + c_aux) / count
}

/// Orders numbers with NaN before all others.
pub(super) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// Returns the `q`-quantile, interpolated between neighbours; sorts the values.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(nan_first);
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Fits a line by least squares; the value of the line is taken at `at_ms`.
pub(super) fn linear_regression(t_ms: &[i64], values: &[f64], at_ms: i64) -> (f64, f64) {
    let n = values.len() as f64;
    let first = values[0];
    if values.iter().all(|v| *v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let mut sums = [(0.0, 0.0); 4];
    for (t, y) in t_ms.iter().zip(values) {
        let x = (t - at_ms) as f64 / 1e3;
        for (s, inc) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            *s = kahan_add(inc, s.0, s.1);
        }
    }
    let [x, y, xy, x2] = sums.map(|(s, c)| s + c);
    let slope = (xy - x * y / n) / (x2 - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Writes a number as Go's `%g` does.
pub(in crate::promql) fn format_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Go decides by six digits here, however many there are.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_number_between_large_ones_is_not_lost() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(format_g(1.01), "1.01");
        assert_eq!(format_g(1e-7), "1e-07");
    }

    proptest! {
        #[test]
        fn a_mean_in_two_parts_is_the_mean(a in proptest::collection::vec(-1e6f64..1e6, 1..20),
                                           b in proptest::collection::vec(-1e6f64..1e6, 1..20)) {
            let part = |values: &[f64]| {
                let mut m = Mean::first(values[0]);
                values[1..].iter().for_each(|v| m.add(*v));
                m
            };
            let mut merged = part(&a);
            merged.merge(&part(&b));
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            prop_assert!((merged.get() - mean(&all)).abs() < 1e-6);
        }
    }
}
