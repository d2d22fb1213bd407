//! Numbers and texts as Go's fmt and Prometheus's humanizers write them.

use greylight_store::model::Timestamp;

use super::eval::{Value, kind_of};
use super::{ExpandError, OUTPUT_BYTES_MAX};

/// Widest field and longest fraction that a template may ask for.
const WIDTH_MAX: usize = 1_000;

/// A text that a function makes, no longer than what a whole template may write.
#[derive(Debug)]
pub(super) struct Made {
    by: &'static str,
    text: String,
}

impl Made {
    pub(super) fn by(function: &'static str) -> Self {
        Self { by: function, text: String::new() }
    }

    pub(super) fn push(&mut self, part: &str) -> Result<(), ExpandError> {
        if self.text.len() + part.len() > OUTPUT_BYTES_MAX {
            return Err(self.too_long());
        }
        self.text.push_str(part);
        Ok(())
    }

    pub(super) fn too_long(&self) -> ExpandError {
        ExpandError(format!("{}: the text is longer than {OUTPUT_BYTES_MAX} bytes", self.by))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn value(self) -> Value {
        Value::of(&self.text)
    }
}

/// Writes a number as Go's `%v`: the shortest digits, an exponent below 1e-4 and from 1e+06 on.
pub(super) fn float_text(v: f64) -> String {
    let plain = v == 0.0 || (1e-4..1e6).contains(&v.abs());
    if plain { format!("{v}") } else { exponent_text(v, None, 'e') }
}

fn special(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("NaN")
    } else if v == f64::INFINITY {
        Some("+Inf")
    } else if v == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// Writes mantissa and exponent, the latter with a sign and at least two digits.
pub(in crate::rules) fn exponent_text(v: f64, precision: Option<usize>, letter: char) -> String {
    if let Some(word) = special(v) {
        return word.into();
    }
    let text = match precision {
        Some(precision) => format!("{v:.precision$e}"),
        None => format!("{v:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}{letter}{sign}{exponent:0>2}")
}

/// Writes `%.{precision}g`.
fn general(v: f64, precision: usize, letter: char) -> String {
    if let Some(word) = special(v) {
        return word.into();
    }
    let precision = precision.max(1);
    let scientific = format!("{v:.*e}", precision - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let whole = |text: &str| -> String {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let limit = i64::try_from(precision).unwrap_or(i64::MAX);
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}{letter}{sign}{:02}", whole(digits), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    whole(&format!("{v:.decimals$}"))
}

/// Writes four significant digits.
pub(super) fn significant(v: f64) -> String {
    general(v, 4, 'e')
}

fn scaled(mut v: f64, step: f64, prefixes: &[&'static str], is_done: impl Fn(f64) -> bool) -> String {
    let mut prefix = "";
    for next in prefixes {
        if is_done(v.abs()) {
            break;
        }
        prefix = next;
        v /= step;
    }
    significant(v) + prefix
}

fn scaled_up(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = next;
        v *= 1000.0;
    }
    (v, prefix)
}

/// Writes a number with a metric prefix.
pub(super) fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return significant(v);
    }
    if v.abs() >= 1.0 {
        return scaled(v, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"], |v| v < 1000.0);
    }
    let (v, prefix) = scaled_up(v);
    significant(v) + prefix
}

/// Writes a number with a binary prefix.
pub(super) fn humanize_1024(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() {
        return significant(v);
    }
    scaled(v, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"], |v| v < 1024.0)
}

/// Writes seconds as days, hours, minutes and seconds.
pub(super) fn humanize_duration(v: f64) -> String {
    if !v.is_finite() {
        return significant(v);
    }
    if v == 0.0 {
        return significant(v) + "s";
    }
    if v.abs() < 1.0 {
        let (v, prefix) = scaled_up(v);
        return significant(v) + prefix + "s";
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let whole = v.abs() as i64;
    let (seconds, minutes) = (whole % 60, whole / 60 % 60);
    let (hours, days) = (whole / 3600 % 24, whole / 86_400);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", significant(v.abs()))
    }
}

/// Writes seconds since the epoch as Go prints a time.
pub(super) fn humanize_timestamp(v: f64) -> Result<String, String> {
    if !v.is_finite() {
        return Ok(significant(v));
    }
    if (v * 1e9).abs() >= i64::MAX as f64 {
        let text = float_text(v);
        return Err(format!(
            "{text} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    // To the millisecond, as Prometheus keeps times.
    let ms = Timestamp::from_nanos((v * 1e9) as i64).as_millis();
    let text = Timestamp::from_millis(ms).to_string();
    Ok(text.replacen('T', " ", 1).replacen('Z', " +0000 UTC", 1))
}

/// Flags of one verb.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

/// Writes as Go's `fmt.Sprintf`, its words for mistakes included.
pub(super) fn printf(format: &str, args: &[Value]) -> Result<Made, ExpandError> {
    let mut out = Made::by("printf");
    let mut n_extra = 0;
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c.encode_utf8(&mut [0; 4]))?;
            continue;
        }
        let flags = flags_of(&mut chars)?;
        match chars.next() {
            Some('%') => out.push("%")?,
            None => out.push("%!(NOVERB)")?,
            Some(verb) => match args.next() {
                Some(arg) => out.push(&verb_text(verb, flags, arg)?)?,
                None => out.push(&format!("%!{verb}(MISSING)"))?,
            },
        }
    }
    for (i, arg) in args.enumerate() {
        out.push(if i == 0 { "%!(EXTRA " } else { ", " })?;
        out.push(&format!("{}={}", kind_of(arg), arg.text()?))?;
        n_extra = i + 1;
    }
    if n_extra > 0 {
        out.push(")")?;
    }
    Ok(out)
}

fn flags_of(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Flags, ExpandError> {
    let mut flags = Flags::default();
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
        match flag {
            '-' => flags.minus = true,
            '+' => flags.plus = true,
            '0' => flags.zero = true,
            ' ' => flags.space = true,
            _ => return Err(ExpandError("printf: the flag # is not supported".into())),
        }
    }
    let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut n = 0usize;
        while let Some(digit) = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
            n = n * 10 + digit as usize;
            if n > WIDTH_MAX {
                return Err(ExpandError(format!("printf: {n} is wider than {WIDTH_MAX}")));
            }
        }
        Ok(n)
    };
    flags.width = number(chars)?;
    if chars.next_if_eq(&'.').is_some() {
        flags.precision = Some(number(chars)?);
    }
    Ok(flags)
}

fn verb_text(verb: char, flags: Flags, arg: &Value) -> Result<String, ExpandError> {
    let bad = || Ok(format!("%!{verb}({}={})", kind_of(arg), arg.text()?));
    let text = match (verb, arg) {
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'v', Value::Float(v)) => {
            return Ok(padded(float_verb(verb, flags, *v), flags, v.is_finite()));
        }
        ('d' | 'v', Value::Int(n)) => return Ok(padded(signed(n.to_string(), flags), flags, true)),
        ('x', Value::Int(n)) => return Ok(padded(based(*n, |n| format!("{n:x}")), flags, true)),
        ('X', Value::Int(n)) => return Ok(padded(based(*n, |n| format!("{n:X}")), flags, true)),
        ('o', Value::Int(n)) => return Ok(padded(based(*n, |n| format!("{n:o}")), flags, true)),
        ('b', Value::Int(n)) => return Ok(padded(based(*n, |n| format!("{n:b}")), flags, true)),
        ('s' | 'v', Value::Text(text)) => match flags.precision {
            Some(n) => text.chars().take(n).collect(),
            None => text.as_ref().to_owned(),
        },
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('x', Value::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        ('t' | 'v', Value::Bool(b)) => b.to_string(),
        ('s' | 'v', Value::Map(_)) | ('v', Value::Nil) => arg.text()?,
        _ => return bad(),
    };
    Ok(padded(text, flags, false))
}

fn based(n: i64, text: impl Fn(u64) -> String) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, text(n.unsigned_abs()))
}

fn float_verb(verb: char, flags: Flags, v: f64) -> String {
    let text = match (verb, flags.precision) {
        ('f' | 'F', precision) => match special(v) {
            Some(word) => word.into(),
            None => format!("{v:.*}", precision.unwrap_or(6)),
        },
        ('e' | 'E', precision) => exponent_text(v, Some(precision.unwrap_or(6)), verb),
        (_, Some(precision)) => general(v, precision, if verb == 'G' { 'E' } else { 'e' }),
        (_, None) => special(v).map_or_else(|| float_text(v), str::to_owned),
    };
    signed(text, flags)
}

fn signed(text: String, flags: Flags) -> String {
    if text.starts_with(['-', '+']) || text == "NaN" {
        return text;
    }
    let sign = if flags.plus {
        "+"
    } else if flags.space {
        " "
    } else {
        ""
    };
    format!("{sign}{text}")
}

fn padded(text: String, flags: Flags, is_number: bool) -> String {
    let n = flags.width.saturating_sub(text.chars().count());
    if n == 0 {
        return text;
    }
    if flags.minus {
        return text + &" ".repeat(n);
    }
    if !(flags.zero && is_number) {
        return " ".repeat(n) + &text;
    }
    let digits = text.trim_start_matches(['-', '+', ' ']);
    let sign = &text[..text.len() - digits.len()];
    format!("{sign}{}{digits}", "0".repeat(n))
}
