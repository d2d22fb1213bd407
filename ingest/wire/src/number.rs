//! Sample values as Prometheus understands them: its two NaNs and its number syntax.

/// Bits of the NaN that marks a series as gone. Any other NaN is a value.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Bits of the NaN that stands for an ordinary "not a number" value.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// Returns the stale marker as a value.
pub const fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Says whether `value` is the stale marker, by its bits.
pub const fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Reads a value in exposition syntax: a decimal float, or `NaN`, `Inf`, `Infinity` with an optional sign,
/// in any case. Every NaN becomes the one of [`NORMAL_NAN_BITS`].
///
/// Returns `None` for anything else, hexadecimal floats among it, which Prometheus refuses too.
pub fn parse_value(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        return Some(f64::from_bits(NORMAL_NAN_BITS));
    }
    Some(value)
}

/// Appends `value` in exposition syntax: the shortest decimal that reads back as the same value.
pub fn write_value(out: &mut String, value: f64) {
    use std::fmt::Write as _;
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) {
        write!(out, "{value:e}").expect("writing to a string cannot fail");
    } else {
        write!(out, "{value}").expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn special_values_are_read() {
        assert_eq!(parse_value("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse_value("-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_value("NaN").map(f64::to_bits), Some(NORMAL_NAN_BITS));
        assert_eq!(parse_value("1e3"), Some(1000.0));
        assert_eq!(parse_value("0x1p3"), None);
        assert_eq!(parse_value(""), None);
        assert_eq!(parse_value("1_000"), None);
    }

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale_nan(stale_nan()));
        assert!(!is_stale_nan(f64::NAN));
        assert!(!is_stale_nan(f64::from_bits(NORMAL_NAN_BITS)));
    }

    proptest! {
        #[test]
        fn a_written_value_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let mut text = String::new();
            write_value(&mut text, value);
            let back = parse_value(&text).expect("own output is valid");
            prop_assert!(back == value || (back.is_nan() && value.is_nan()));
        }
    }
}
