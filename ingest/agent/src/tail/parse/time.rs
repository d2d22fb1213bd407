//! Times as programs write them.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;

use super::Context;
use crate::clock::Timestamp;

/// A time zone: `UTC`, `+08:00` or a name such as `Asia/Shanghai`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

/// A name of no known time zone.
#[derive(Debug, thiserror::Error)]
#[error("unknown time zone {name:?}: write UTC, an offset such as +08:00, or a name such as Asia/Shanghai")]
pub struct ZoneError {
    name: String,
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(name: String) -> Result<Self, ZoneError> {
        if let Some((seconds, rest)) = read_offset(name.as_bytes())
            && rest == name.len()
            && let Ok(offset) = Offset::from_seconds(seconds)
        {
            return Ok(Self(TimeZone::fixed(offset)));
        }
        TimeZone::get(&name).map(Self).map_err(|_| ZoneError { name })
    }
}

/// Reads a whole word as a time.
pub(super) fn parse(text: &str, context: &Context<'_>) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(prefix) = Prefix::read(text.as_bytes()) {
        return if prefix.len == text.len() { prefix.resolve(context) } else { None };
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return from_epoch(text.parse().ok()?, text.parse().ok());
    }
    None
}

/// Takes a number as seconds, milliseconds, microseconds or nanoseconds since the epoch, by its size.
///
/// - `exact`: the same number where it is whole; spares its digits below a double's precision.
pub(super) fn from_epoch(number: f64, exact: Option<i64>) -> Option<Timestamp> {
    let scale: i64 = match number.abs() {
        // Seconds until the year 5138; what is smaller than a day in 1990 is no time of a log.
        n if n < 631_152_000.0 => return None,
        n if n < 1e11 => 1_000_000_000,
        n if n < 1e14 => 1_000_000,
        n if n < 1e17 => 1000,
        n if n < 9e18 => 1,
        _ => return None,
    };
    match exact {
        Some(whole) => whole.checked_mul(scale).map(Timestamp::from_nanos),
        None => {
            let whole = number.trunc();
            // Micros are all that a double of this size holds.
            let micros = ((number - whole) * 1e6).round() as i64;
            let nanos = micros.checked_mul(scale)? / 1_000_000;
            (whole as i64).checked_mul(scale)?.checked_add(nanos).map(Timestamp::from_nanos)
        }
    }
}

/// A time at the start of a text, not yet placed in a zone or a year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prefix {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    offset: Option<i32>,
    /// Bytes of the text that it takes.
    pub(super) len: usize,
}

impl Prefix {
    /// Reads `2026-11-21T10:00:00.5+08:00`, `2026-11-21 10:00:00,123`, `2026/11/21 10:00:00`,
    /// `21/Nov/2026:10:00:00 +0000`, `Sat Nov 21 10:00:00.1 2026` and `Nov 21 10:00:00`.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match *bytes.first()? {
            b'0'..=b'9' if bytes.get(2) == Some(&b'/') => Self::read_common_log(bytes),
            b'0'..=b'9' => Self::read_iso(bytes),
            b'A'..=b'Z' => Self::read_month_first(bytes),
            _ => None,
        }
    }

    fn read_iso(bytes: &[u8]) -> Option<Self> {
        let year = number(bytes, 0, 4)?;
        let separator = *bytes.get(4)?;
        if !matches!(separator, b'-' | b'/') || *bytes.get(7)? != separator {
            return None;
        }
        let (month, day) = (number(bytes, 5, 2)?, number(bytes, 8, 2)?);
        if !matches!(*bytes.get(10)?, b'T' | b't' | b' ' | b'_') {
            return None;
        }
        let (clock, mut len) = Clock::read(bytes, 11)?;
        // A blank before an offset is common (`... 10:00:00.123 +0800`), and before anything else not ours.
        let blank = usize::from(bytes.get(len) == Some(&b' '));
        let mut offset = None;
        if let Some((seconds, used)) = bytes.get(len + blank..).and_then(read_offset)
            && (blank == 0 || used > 3)
        {
            offset = Some(seconds);
            len += blank + used;
        }
        Some(Self::new(Some(year), month, day, clock, offset, len))
    }

    fn read_common_log(bytes: &[u8]) -> Option<Self> {
        let day = number(bytes, 0, 2)?;
        let month = month(bytes.get(3..6)?)?;
        let year = number(bytes, 7, 4)?;
        if bytes[6] != b'/' || *bytes.get(11)? != b':' {
            return None;
        }
        let (clock, len) = Clock::read(bytes, 12)?;
        if bytes.get(len) != Some(&b' ') {
            return Some(Self::new(Some(year), month, day, clock, None, len));
        }
        let (offset, used) = read_offset(bytes.get(len + 1..)?)?;
        Some(Self::new(Some(year), month, day, clock, Some(offset), len + 1 + used))
    }

    fn read_month_first(bytes: &[u8]) -> Option<Self> {
        const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
        let has_weekday = DAYS.contains(&bytes.get(..3)?) && bytes.get(3) == Some(&b' ');
        let start = if has_weekday { 4 } else { 0 };
        let month = month(bytes.get(start..start + 3)?)?;
        if *bytes.get(start + 3)? != b' ' {
            return None;
        }
        let day = match *bytes.get(start + 4)? {
            b' ' => number(bytes, start + 5, 1)?,
            _ => number(bytes, start + 4, 2)?,
        };
        if *bytes.get(start + 6)? != b' ' {
            return None;
        }
        let (clock, len) = Clock::read(bytes, start + 7)?;
        if has_weekday
            && bytes.get(len) == Some(&b' ')
            && let Some(year) = number(bytes, len + 1, 4)
        {
            return Some(Self::new(Some(year), month, day, clock, None, len + 5));
        }
        Some(Self::new(None, month, day, clock, None, len))
    }

    fn new(year: Option<i16>, month: i16, day: i16, clock: Clock, offset: Option<i32>, len: usize) -> Self {
        let small = |n: i16| i8::try_from(n).unwrap_or(-1);
        let Clock { hour, minute, second, nanos } = clock;
        let (month, day) = (small(month), small(day));
        let (hour, minute, second) = (small(hour), small(minute), small(second));
        Self { year, month, day, hour, minute, second, nanos, offset, len }
    }

    /// Places it: a missing zone is the context's, a missing year is the one that lies nearest before a day
    /// from now, so that December read in January is last year's.
    pub(super) fn resolve(&self, context: &Context<'_>) -> Option<Timestamp> {
        if let Some(year) = self.year {
            return self.in_year(year, context);
        }
        let now = jiff::Timestamp::from_nanosecond(i128::from(context.now.as_nanos())).ok()?;
        let year = now.to_zoned(context.zone.0.clone()).year();
        let this = self.in_year(year, context);
        let latest = context.now.as_nanos().saturating_add(24 * 3600 * 1_000_000_000);
        match this {
            Some(time) if time.as_nanos() <= latest => this,
            _ => self.in_year(year - 1, context),
        }
    }

    fn in_year(&self, year: i16, context: &Context<'_>) -> Option<Timestamp> {
        // A leap second is the last moment of its minute.
        let (second, nanos) = if self.second == 60 { (59, 999_999_999) } else { (self.second, self.nanos) };
        let civil = DateTime::new(year, self.month, self.day, self.hour, self.minute, second, nanos).ok()?;
        let time = match self.offset {
            Some(seconds) => Offset::from_seconds(seconds).ok()?.to_timestamp(civil).ok()?,
            None => context.zone.0.to_ambiguous_timestamp(civil).compatible().ok()?,
        };
        i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
    }
}

#[derive(Clone, Copy)]
struct Clock {
    hour: i16,
    minute: i16,
    second: i16,
    nanos: i32,
}

impl Clock {
    /// Reads `10:00:00`, perhaps with `.` or `,` and up to nine digits.
    fn read(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let (hour, minute, second) =
            (number(bytes, at, 2)?, number(bytes, at + 3, 2)?, number(bytes, at + 6, 2)?);
        if bytes[at + 2] != b':' || bytes[at + 5] != b':' {
            return None;
        }
        let mut end = at + 8;
        let mut nanos = 0;
        if matches!(bytes.get(end), Some(b'.' | b',')) {
            let digits = bytes[end + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            for i in 0..9 {
                let digit = if i < digits { i32::from(bytes[end + 1 + i] - b'0') } else { 0 };
                nanos = nanos * 10 + digit;
            }
            end += if digits > 0 { 1 + digits } else { 0 };
        }
        Some((Self { hour, minute, second, nanos }, end))
    }
}

/// Reads `Z`, `+08`, `+0800` or `+08:00`: seconds east of Greenwich and bytes used.
fn read_offset(bytes: &[u8]) -> Option<(i32, usize)> {
    let sign = match bytes.first()? {
        b'Z' | b'z' => return Some((0, 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = i32::from(number(bytes, 1, 2)?);
    let colon = usize::from(bytes.get(3) == Some(&b':'));
    let (minutes, used) = match number(bytes, 3 + colon, 2) {
        Some(minutes) => (i32::from(minutes), 5 + colon),
        None => (0, 3),
    };
    Some((sign * (hours * 3600 + minutes * 60), used))
}

fn number(bytes: &[u8], at: usize, digits: usize) -> Option<i16> {
    let mut value = 0;
    for &b in bytes.get(at..at + digits)? {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i16::from(b - b'0');
    }
    Some(value)
}

fn month(name: &[u8]) -> Option<i16> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    MONTHS.iter().position(|m| *m == name).and_then(|i| i16::try_from(i + 1).ok())
}
