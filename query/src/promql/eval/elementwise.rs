//! Operations on one value at a time: they change a row in place, whatever other rows there are.

use std::sync::Arc;

use greylight_store::model::Histogram;

use super::super::histogram;
use super::super::syntax::{BinaryOp, FunctionId, Span};
use super::Evaluator;
use super::block::{ABSENT, HISTOGRAM, Row, is_absent};

/// One operation; scalars come as one value a step.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Negate,
    Math(fn(f64) -> f64),
    Clamp { low: Vec<f64>, high: Vec<f64> },
    Round { to: Vec<f64> },
    Scalar { op: BinaryOp, other: Vec<f64>, scalar_left: bool, return_bool: bool, span: Span },
}

impl Op {
    /// Changes a row.
    pub(super) fn apply(&self, eval: &Evaluator<'_>, row: &mut Row, values: &mut [f64]) {
        row.drop_name |= self.drops_name();
        if row.histograms.is_empty() {
            return self.apply_to_numbers(values);
        }
        let before = std::mem::take(&mut row.histograms);
        let mut refused = false;
        for (k, histogram) in before.iter(values) {
            match self.of_histogram(k, histogram) {
                Some(made) => row.histograms.put(k, Arc::new(made)),
                None => refused = true,
            }
        }
        if let (true, Self::Scalar { op, scalar_left, span, .. }) = (refused, self) {
            let (left, right) = if *scalar_left { ("float", "histogram") } else { ("histogram", "float") };
            eval.note_types(left, *op, right, *span);
        }
        let steps: Vec<usize> = before.iter(values).map(|(k, _)| k).collect();
        steps.into_iter().for_each(|k| values[k] = ABSENT);
        self.apply_to_numbers(values);
        row.histograms.steps().for_each(|k| values[k] = HISTOGRAM);
    }

    /// Returns what becomes of a histogram, if it can be done to one.
    fn of_histogram(&self, k: usize, histogram: &Histogram) -> Option<Histogram> {
        let mut made = histogram.clone();
        match self {
            Self::Negate => histogram::scale(&mut made, -1.0),
            Self::Scalar { op: BinaryOp::Mul, other, .. } => histogram::scale(&mut made, other[k]),
            Self::Scalar { op: BinaryOp::Div, other, scalar_left: false, .. } => {
                histogram::divide(&mut made, other[k]);
            }
            _ => return None,
        }
        histogram::compact(&mut made);
        Some(made)
    }

    fn apply_to_numbers(&self, values: &mut [f64]) {
        match self {
            Self::Negate => map(values, |_, v| -v),
            Self::Math(f) => map(values, |_, v| f(v)),
            Self::Clamp { low, high } => map(values, |k, v| clamp(v, low[k], high[k])),
            Self::Round { to } => map(values, |k, v| {
                let inverse = 1.0 / to[k];
                (v * inverse + 0.5).floor() / inverse
            }),
            Self::Scalar { op, other, scalar_left: true, return_bool, .. } if op.is_comparison() => {
                map(values, |k, v| filter(*op, other[k], v, v, *return_bool));
            }
            Self::Scalar { op, other, return_bool, .. } if op.is_comparison() => {
                map(values, |k, v| filter(*op, v, other[k], v, *return_bool));
            }
            Self::Scalar { op, other, scalar_left: true, .. } => {
                map(values, |k, v| arithmetic(*op, other[k], v))
            }
            Self::Scalar { op, other, .. } => map(values, |k, v| arithmetic(*op, v, other[k])),
        }
    }

    fn drops_name(&self) -> bool {
        match self {
            Self::Scalar { op, return_bool, .. } => !op.is_comparison() || *return_bool,
            _ => true,
        }
    }
}

#[inline]
fn map(values: &mut [f64], f: impl Fn(usize, f64) -> f64) {
    for (k, v) in values.iter_mut().enumerate() {
        if !is_absent(*v) {
            *v = f(k, *v);
        }
    }
}

fn clamp(v: f64, low: f64, high: f64) -> f64 {
    if low > high {
        return ABSENT;
    }
    if v.is_nan() || low.is_nan() || high.is_nan() {
        return f64::NAN;
    }
    v.min(high).max(low)
}

#[inline]
fn filter(op: BinaryOp, lhs: f64, rhs: f64, kept: f64, return_bool: bool) -> f64 {
    match (compare(op, lhs, rhs), return_bool) {
        (yes, true) => f64::from(u8::from(yes)),
        (true, false) => kept,
        (false, false) => ABSENT,
    }
}

/// Compares two numbers.
pub(super) fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => false,
    }
}

/// Computes with two numbers.
pub(super) fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => power(a, b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// `x ^ y`; squares and cubes, which dashboards use, without the general algorithm's rounding.
fn power(a: f64, b: f64) -> f64 {
    if b == 2.0 { a * a } else { a.powf(b) }
}

/// Computes with two scalars; comparisons give 0 or 1.
pub(super) fn scalar(op: BinaryOp, a: f64, b: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(compare(op, a, b))) } else { arithmetic(op, a, b) }
}

/// Returns the function of one number behind a name, if it is one.
pub(super) fn math(func: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match func {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => f64::exp,
        F::Ln => f64::ln,
        F::Log2 => f64::log2,
        F::Log10 => f64::log10,
        F::Sqrt => f64::sqrt,
        F::Sgn => |v| {
            if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            }
        },
        F::Sin => f64::sin,
        F::Cos => f64::cos,
        F::Tan => f64::tan,
        F::Asin => f64::asin,
        F::Acos => f64::acos,
        F::Atan => f64::atan,
        F::Sinh => f64::sinh,
        F::Cosh => f64::cosh,
        F::Tanh => f64::tanh,
        F::Asinh => f64::asinh,
        F::Acosh => f64::acosh,
        F::Atanh => f64::atanh,
        F::Deg => |v| v * 180.0 / std::f64::consts::PI,
        F::Rad => |v| v * std::f64::consts::PI / 180.0,
        F::Year => |v| civil(v).0 as f64,
        F::Month => |v| civil(v).1 as f64,
        F::DayOfMonth => |v| civil(v).2 as f64,
        F::DaysInMonth => |v| {
            let (year, month, _) = civil(v);
            days_in_month(year, month) as f64
        },
        F::DayOfYear => |v| {
            let (year, month, day) = civil(v);
            ((1..month).map(|m| days_in_month(year, m)).sum::<i64>() + day) as f64
        },
        // The epoch was a Thursday.
        F::DayOfWeek => |v| ((v as i64).div_euclid(86_400) + 4).rem_euclid(7) as f64,
        F::Hour => |v| ((v as i64).rem_euclid(86_400) / 3600) as f64,
        F::Minute => |v| ((v as i64).rem_euclid(3600) / 60) as f64,
        _ => return None,
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a time in seconds, UTC, in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(seconds: f64) -> (i64, i64, i64) {
    // Far enough for every year of four digits, and nothing below overflows.
    let days = (seconds as i64).div_euclid(86_400).clamp(-1 << 40, 1 << 40) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(civil(0.0), (1970, 1, 1));
        assert_eq!(civil(951_782_400.0), (2000, 2, 29));
        assert_eq!(civil(-1.0), (1969, 12, 31));
        let f = math(FunctionId::DayOfYear).unwrap();
        assert_eq!(f(951_868_800.0), 61.0);
        assert_eq!(math(FunctionId::DayOfWeek).unwrap()(0.0), 4.0);
    }
}
