//! How the values that one slot has in a run of rows are kept.
//!
//! A run is the rows of one shape in one row group. Its slots are looked at as a whole: values
//! that are all one text are kept once; whole numbers, decimals and the numbers inside texts go
//! into columns of integers, hexadecimal identifiers into columns of bytes, times as differences
//! from the record's own; the rest are columns of texts with a dictionary. Every choice is made
//! only where each single text comes back byte for byte.

use std::collections::HashSet;
use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use crate::metrics::hashing::{BytesState, IdentityState};
use crate::model::write_hex;

/// Stands for a whole number inside a text; the next nine stand for decimals with 1 to 9 digits
/// behind the point. Texts that hold one of these are kept as they are.
const MARK: char = '\u{e000}';
const MARK_LAST: char = '\u{e009}';
/// Numbers kept apart in one text.
const NUMBERS_MAX: usize = 8;
/// Longest text kept in the layout instead of a column.
const CONSTANT_BYTES_MAX: usize = 256;

/// Where and how the values of a slot are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// One text for all rows.
    Constant(String),
    /// Column of texts.
    Text(usize),
    /// Column of integers: the whole number.
    Int(usize),
    /// Column of integers: the whole number less the record's time in these units of nanoseconds.
    IntTime(usize, i64),
    /// Column of bytes: lower-case hexadecimal digits.
    Hex(usize),
    /// Column of bytes: a lower-case uuid.
    Uuid(usize),
    /// Column of integers: nanoseconds after the record's time, written as RFC 3339.
    Time(usize, TimeForm),
    /// A text with marks for its numbers, the same for all rows or in a column of texts, and
    /// columns of integers for the numbers in order.
    Parts(Form, Vec<usize>),
}

/// The text around numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Constant(String),
    Column(usize),
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeForm {
    /// Digits behind the second's point; 0 for no point.
    pub(super) digits: u8,
    /// `T` or a blank.
    pub(super) separator: char,
    /// Whether `Z` ends it; nothing does otherwise.
    pub(super) has_z: bool,
}

/// The values of one slot in a run.
#[derive(Debug, Default)]
pub(super) struct Values {
    text: String,
    ends: Vec<usize>,
}

impl Values {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// The text to which the next value is appended; [`end`](Self::end) ends it.
    pub(super) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    pub(super) fn end(&mut self) {
        self.ends.push(self.text.len());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, &to)| &self.text[from..to])
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// What a run puts into columns, before columns have numbers. `n` rows each.
#[derive(Debug)]
pub(super) enum Encoded {
    Constant(String),
    /// The values as they are.
    Text,
    Int(Vec<i64>),
    IntTime(Vec<i64>, i64),
    Hex(Bytes),
    Uuid(Bytes),
    Time(Vec<i64>, TimeForm),
    Parts {
        forms: Values,
        one_form: bool,
        numbers: Vec<Vec<Option<i64>>>,
    },
}

/// Values of one length, one behind the other.
#[derive(Debug)]
pub(super) struct Bytes {
    bytes: Vec<u8>,
    /// Length of a value; above 0.
    width: usize,
}

impl Bytes {
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.width)
    }
}

/// Chooses how to keep the values of a slot. `times` are the rows' times.
pub(super) fn encode(values: &Values, times: &[i64]) -> Encoded {
    let first = values.iter().next().unwrap_or_default();
    if first.len() <= CONSTANT_BYTES_MAX && values.iter().all(|v| v == first) {
        return Encoded::Constant(first.to_owned());
    }
    let ints: Option<Vec<i64>> = values.iter().map(whole_number).collect();
    if let Some(ints) = &ints
        && let Some(near_time) = less_time(ints, times)
    {
        return near_time;
    }
    // Few texts in many rows: a dictionary takes a few bits a row, whatever they look like.
    if values.len() >= 64 && has_at_most(256.min(values.len() / 8), values) {
        return Encoded::Text;
    }
    if let Some(ints) = ints {
        return Encoded::Int(ints);
    }
    hex(values)
        .or_else(|| uuid(values))
        .or_else(|| time(values, times))
        .or_else(|| parts(values))
        .unwrap_or(Encoded::Text)
}

/// Tells whether there are at most `n` distinct values.
fn has_at_most(n: usize, values: &Values) -> bool {
    let mut distinct: HashSet<&str, BytesState> = HashSet::default();
    values.iter().all(|value| !distinct.insert(value) || distinct.len() <= n)
}

/// A whole number that is written as its value alone gives it.
fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = match digits.as_bytes() {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [b'0', ..] => false,
        all => all.iter().all(u8::is_ascii_digit),
    };
    if is_canonical { text.parse().ok() } else { None }
}

/// Numbers that are the record's time in some unit, or close to it.
fn less_time(ints: &[i64], times: &[i64]) -> Option<Encoded> {
    let unit = [1_000_000, 1_000, 1_000_000_000, 1].into_iter().find(|unit| {
        let is_near = |(n, t): (&i64, &i64)| {
            n.checked_sub(t.div_euclid(*unit)).is_some_and(|d| d.unsigned_abs() < 1 << 20)
                && n.unsigned_abs() > 1 << 28
        };
        ints.iter().zip(times).all(is_near)
    })?;
    Some(Encoded::IntTime(ints.iter().zip(times).map(|(n, t)| n - t.div_euclid(unit)).collect(), unit))
}

fn hex(values: &Values) -> Option<Encoded> {
    let len = values.iter().next()?.len();
    if len < 8 || len % 2 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(values.len() * len / 2);
    for value in values.iter() {
        if value.len() != len {
            return None;
        }
        push_hex(value.as_bytes(), &mut bytes)?;
    }
    Some(Encoded::Hex(Bytes { bytes, width: len / 2 }))
}

fn push_hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    for pair in text.as_chunks::<2>().0 {
        out.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(())
}

const UUID_PARTS: [usize; 5] = [4, 2, 2, 2, 6];

fn uuid(values: &Values) -> Option<Encoded> {
    let mut bytes = Vec::new();
    for value in values.iter() {
        if value.len() != 36 {
            return None;
        }
        let mut parts = value.as_bytes().split(|&b| b == b'-');
        for n in UUID_PARTS {
            let part = parts.next().filter(|part| part.len() == 2 * n)?;
            push_hex(part, &mut bytes)?;
        }
    }
    Some(Encoded::Uuid(Bytes { bytes, width: 16 }))
}

fn time(values: &Values, times: &[i64]) -> Option<Encoded> {
    let form = time_form(values.iter().next()?)?;
    let offset = |(text, t): (&str, &i64)| read_time(text, form)?.checked_sub(*t);
    let offsets = values.iter().zip(times).map(offset).collect::<Option<_>>()?;
    Some(Encoded::Time(offsets, form))
}

/// Reads a time of one form only, so that [`write_time`] gives the same text: nanoseconds since the epoch.
fn read_time(text: &str, form: TimeForm) -> Option<i64> {
    let bytes = text.as_bytes();
    let n_digits = usize::from(form.digits);
    let end = if n_digits == 0 { 19 } else { 20 + n_digits };
    let marks = [(4, '-'), (7, '-'), (10, form.separator), (13, ':'), (16, ':')];
    let has_marks = bytes.len() == end + usize::from(form.has_z)
        && marks.iter().all(|&(at, mark)| char::from(bytes[at]) == mark)
        && (n_digits == 0 || bytes[19] == b'.')
        && (!form.has_z || bytes[end] == b'Z');
    if !has_marks {
        return None;
    }
    let number = |digits: &[u8]| {
        let add = |n: i64, d: &u8| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0'));
        digits.iter().try_fold(0, add)
    };
    let [year, month, day] = [number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..10])?];
    let [hour, minute, second] = [number(&bytes[11..13])?, number(&bytes[14..16])?, number(&bytes[17..19])?];
    let narrow = |n: i64| i8::try_from(n).ok();
    jiff::civil::Date::new(i16::try_from(year).ok()?, narrow(month)?, narrow(day)?).ok()?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction =
        if n_digits == 0 { 0 } else { number(&bytes[20..end])? * 10i64.pow(9 - u32::from(form.digits)) };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, by counting years from March on, so that a leap day is
/// the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
    // Days from 0000-03-01 to 1970-01-01.
    days - 719_468
}

fn time_form(text: &str) -> Option<TimeForm> {
    let bytes = text.as_bytes();
    let separator = char::from(*bytes.get(10)?);
    if !matches!(separator, 'T' | ' ') || bytes.get(4) != Some(&b'-') || bytes.len() < 19 {
        return None;
    }
    let has_z = text.ends_with('Z');
    let end = bytes.len() - usize::from(has_z);
    let digits = match end - 19 {
        0 => 0,
        n @ 2..=10 if bytes[19] == b'.' => u8::try_from(n - 1).ok()?,
        _ => return None,
    };
    Some(TimeForm { digits, separator, has_z })
}

fn write_time(nanos: i64, form: TimeForm, out: &mut String) {
    let seconds = nanos.div_euclid(1_000_000_000);
    let Ok(instant) = jiff::Timestamp::from_second(seconds) else { return };
    let civil = instant.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let (date, time) = (civil.date(), civil.time());
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        form.separator,
        time.hour(),
        time.minute(),
        time.second()
    );
    if form.digits > 0 {
        let fraction = nanos.rem_euclid(1_000_000_000) / 10i64.pow(9 - u32::from(form.digits));
        let _ = write!(out, ".{fraction:0width$}", width = usize::from(form.digits));
    }
    if form.has_z {
        out.push('Z');
    }
}

/// Texts that are alike but for their numbers.
fn parts(values: &Values) -> Option<Encoded> {
    let distinct_max = 8.max(values.len() / 4);
    let mut forms = Values::default();
    let mut numbers: Vec<Vec<Option<i64>>> = Vec::new();
    let mut found = Vec::new();
    // By their hashes: how many forms there are decides about size alone.
    let mut distinct: HashSet<u64, IdentityState> = HashSet::default();
    let mut one_form = true;
    for (row, value) in values.iter().enumerate() {
        let start = forms.text().len();
        found.clear();
        split_numbers(value, forms.text(), &mut found)?;
        forms.end();
        let form = &forms.text[start..];
        one_form &= forms.ends.first().is_some_and(|end| forms.text[..*end] == *form);
        if distinct.insert(xxh3_64(form.as_bytes())) && distinct.len() > distinct_max {
            return None;
        }
        while numbers.len() < found.len() {
            numbers.push(vec![None; row]);
        }
        for (column, list) in numbers.iter_mut().enumerate() {
            list.push(found.get(column).copied());
        }
    }
    (!numbers.is_empty()).then_some(Encoded::Parts { forms, one_form, numbers })
}

/// Takes the numbers out of a text; `None` when it holds a mark or too many numbers.
fn split_numbers(text: &str, form: &mut String, numbers: &mut Vec<i64>) -> Option<()> {
    if !text.is_ascii() && text.contains(|c| (MARK..=MARK_LAST).contains(&c)) {
        return None;
    }
    let bytes = text.as_bytes();
    let digits_at = |at: usize| bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = 0;
    while at < bytes.len() {
        let n = digits_at(at);
        if n == 0 {
            let end = bytes[at..].iter().position(u8::is_ascii_digit).map_or(bytes.len(), |n| at + n);
            form.push_str(&text[at..end]);
            at = end;
            continue;
        }
        let whole_end = at + n;
        let n_fraction = if bytes.get(whole_end) == Some(&b'.') { digits_at(whole_end + 1) } else { 0 };
        let is_dotted =
            at > 0 && bytes[at - 1] == b'.' || bytes.get(whole_end + 1 + n_fraction) == Some(&b'.');
        let is_decimal = (1..=9).contains(&n_fraction) && !is_dotted && n + n_fraction <= 18;
        let is_canonical = n <= 18 && (bytes[at] != b'0' || n == 1);
        if !is_canonical || numbers.len() >= NUMBERS_MAX {
            form.push_str(&text[at..whole_end]);
            at = whole_end;
            continue;
        }
        let end = if is_decimal { whole_end + 1 + n_fraction } else { whole_end };
        // At most 18 digits.
        let digits = bytes[at..end].iter().filter(|b| **b != b'.');
        numbers.push(digits.fold(0, |n, b| n * 10 + i64::from(b - b'0')));
        // One of ten neighbouring characters, all of which are valid.
        form.push(char::from_u32(u32::from(MARK) + if is_decimal { n_fraction as u32 } else { 0 })?);
        at = end;
    }
    Some(())
}

/// What a group of rows offers to decoding. `None` for a null or a number out of range.
pub(super) trait Columns {
    fn time(&self, row: usize) -> Option<i64>;
    fn int(&self, column: usize, row: usize) -> Option<i64>;
    fn text(&self, column: usize, row: usize) -> Option<&str>;
    fn bytes(&self, column: usize, row: usize) -> Option<&[u8]>;
}

/// Appends the text that a row has in a slot; `None` when the columns do not hold it.
pub(super) fn decode(codec: &Codec, columns: &dyn Columns, row: usize, out: &mut String) -> Option<()> {
    match codec {
        Codec::Constant(text) => out.push_str(text),
        Codec::Text(column) => out.push_str(columns.text(*column, row)?),
        Codec::Int(column) => write_int(columns.int(*column, row)?, out),
        Codec::IntTime(column, unit) => {
            let time = columns.time(row)?.checked_div_euclid(*unit)?;
            write_int(columns.int(*column, row)?.checked_add(time)?, out);
        }
        Codec::Hex(column) => write_hex(columns.bytes(*column, row)?, out),
        Codec::Uuid(column) => {
            let bytes = columns.bytes(*column, row)?;
            let mut at = 0;
            for (i, n) in UUID_PARTS.into_iter().enumerate() {
                if i > 0 {
                    out.push('-');
                }
                write_hex(bytes.get(at..at + n)?, out);
                at += n;
            }
        }
        Codec::Time(column, form) => {
            write_time(columns.int(*column, row)?.checked_add(columns.time(row)?)?, *form, out);
        }
        Codec::Parts(form, numbers) => {
            let form = match form {
                Form::Constant(text) => text.as_str(),
                Form::Column(column) => columns.text(*column, row)?,
            };
            let mut numbers = numbers.iter();
            for c in form.chars() {
                if !(MARK..=MARK_LAST).contains(&c) {
                    out.push(c);
                    continue;
                }
                let n = columns.int(*numbers.next()?, row)?;
                write_decimal(n, u32::from(c) - u32::from(MARK), out);
            }
        }
    }
    Some(())
}

/// Tells whether a text that is kept so may have letters of one word in it, in lower case, or a backslash; `true` where
/// only the columns tell.
pub(super) fn may_hold(codec: &Codec, letters: &str) -> bool {
    let has = |text: &str, part: &str| {
        text.contains('\\') || text.chars().flat_map(char::to_lowercase).collect::<String>().contains(part)
    };
    let mut runs = letters.split(|c: char| !c.is_alphabetic()).filter(|run| !run.is_empty());
    match codec {
        Codec::Constant(text) => has(text, letters),
        Codec::Text(_) | Codec::Parts(Form::Column(_), _) => true,
        Codec::Int(_) | Codec::IntTime(..) => runs.next().is_none(),
        Codec::Time(..) => runs.all(|run| run == "t" || run == "z"),
        Codec::Hex(_) | Codec::Uuid(_) => letters.bytes().all(|b| b.is_ascii_hexdigit()),
        // Numbers are digits alone.
        Codec::Parts(Form::Constant(text), _) => runs.all(|run| has(text, run)),
    }
}

fn write_int(n: i64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(n));
}

/// A number with so many digits behind the point; never negative.
fn write_decimal(n: i64, n_digits: u32, out: &mut String) {
    if n_digits == 0 {
        return write_int(n, out);
    }
    let unit = 10i64.pow(n_digits.min(18));
    let _ = write!(out, "{}.{:0width$}", n / unit, n % unit, width = n_digits as usize);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct One<'a> {
        times: &'a [i64],
        ints: Vec<Vec<Option<i64>>>,
        texts: Vec<Vec<String>>,
        bytes: Vec<Vec<Vec<u8>>>,
    }

    impl Columns for One<'_> {
        fn time(&self, row: usize) -> Option<i64> {
            Some(self.times[row])
        }
        fn int(&self, column: usize, row: usize) -> Option<i64> {
            self.ints[column][row]
        }
        fn text(&self, column: usize, row: usize) -> Option<&str> {
            Some(&self.texts[column][row])
        }
        fn bytes(&self, column: usize, row: usize) -> Option<&[u8]> {
            Some(&self.bytes[column][row])
        }
    }

    fn through(list: &[String], times: &[i64]) -> (Codec, Vec<String>) {
        let mut values = Values::default();
        for text in list {
            values.text().push_str(text);
            values.end();
        }
        let some = |list: Vec<i64>| vec![list.into_iter().map(Some).collect::<Vec<_>>()];
        let mut columns = One { times, ints: vec![], texts: vec![], bytes: vec![] };
        let codec = match encode(&values, times) {
            Encoded::Constant(text) => Codec::Constant(text),
            Encoded::Text => {
                columns.texts = vec![list.to_vec()];
                Codec::Text(0)
            }
            Encoded::Int(list) => {
                columns.ints = some(list);
                Codec::Int(0)
            }
            Encoded::IntTime(list, unit) => {
                columns.ints = some(list);
                Codec::IntTime(0, unit)
            }
            Encoded::Hex(list) => {
                columns.bytes = vec![list.iter().map(<[u8]>::to_vec).collect()];
                Codec::Hex(0)
            }
            Encoded::Uuid(list) => {
                columns.bytes = vec![list.iter().map(<[u8]>::to_vec).collect()];
                Codec::Uuid(0)
            }
            Encoded::Time(list, form) => {
                columns.ints = some(list);
                Codec::Time(0, form)
            }
            Encoded::Parts { forms, one_form, numbers } => {
                let forms: Vec<String> = forms.iter().map(str::to_owned).collect();
                let form = if one_form { Form::Constant(forms[0].clone()) } else { Form::Column(0) };
                columns.texts = vec![forms];
                columns.ints = numbers;
                Codec::Parts(form, (0..columns.ints.len()).collect())
            }
        };
        let mut out = Vec::new();
        for row in 0..list.len() {
            let mut text = String::new();
            decode(&codec, &columns, row, &mut text).unwrap();
            out.push(text);
        }
        (codec, out)
    }

    #[track_caller]
    fn check(list: &[&str], want: &str) {
        let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
        let times: Vec<i64> =
            (0..list.len() as i64).map(|n| 1_700_000_000_000_000_000 + n * 7_000_001).collect();
        let (codec, back) = through(&list, &times);
        assert_eq!(back, list);
        assert!(format!("{codec:?}").starts_with(want), "{codec:?}");
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let epoch = jiff::civil::date(1970, 1, 1);
        for days in (-110_000..110_000).step_by(7) {
            let date = epoch.checked_add(jiff::Span::new().days(days)).unwrap();
            let [year, month, day] = [i64::from(date.year()), date.month().into(), date.day().into()];
            assert_eq!(days_since_epoch(year, month, day), days);
        }
    }

    #[test]
    fn each_kind_of_value_has_its_form() {
        check(&["a", "a"], "Constant");
        check(&["5", "-7", "0"], "Int(");
        check(&["1700000000000", "1700000000007"], "IntTime(0, 1000000)");
        check(&["00ff00ff", "deadbeef"], "Hex");
        check(&["4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "00000000-77b3-4da6-a3ce-929d0e0e4736"], "Uuid");
        check(&["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.007Z"], "Time");
        check(&["2023-11-14 22:13:20", "2023-11-14 22:13:21"], "Time");
        check(&["12.5ms", "7.25ms", "0.5ms"], "Parts(Column");
        check(&["12.5ms", "7.2ms", "0.5ms"], "Parts(Constant");
        check(&["10.0.0.1:80", "10.0.20.255:8080"], "Parts(Constant");
        check(&["/api/v1/orders/123456", "/api/v2/orders/7"], "Parts(Constant");
        check(&["007", "7"], "Parts(Column");
        check(&["x", "yy"], "Text");
        check(&["\u{e000}5", "6"], "Text");
        check(&["5", "05"], "Parts(Column");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn values_come_back(
            list in prop_oneof![
                proptest::collection::vec("[0-9]{1,20}", 1..12),
                proptest::collection::vec("-?[0-9]{1,4}(\\.[0-9]{1,3})?(ms)?", 1..12),
                proptest::collection::vec("[a-z]{0,2}[0-9.]{0,6}[a-z]?[0-9]{0,2}", 1..12),
                proptest::collection::vec("[0-9a-f]{8}", 1..12),
                proptest::collection::vec("20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?Z?", 1..4),
                proptest::collection::vec("\\PC{0,8}|[\u{e000}-\u{e00a}]", 1..12),
            ],
            t in any::<i64>(),
        ) {
            let times: Vec<i64> = (0..list.len() as i64).map(|n| t.wrapping_add(n)).collect();
            let (codec, back) = through(&list, &times);
            prop_assert_eq!(back, list.clone());
            for word in list.iter().flat_map(|text| crate::pattern::words(text)) {
                prop_assert!(may_hold(&codec, &word), "{:?} has {}", codec, word);
                let half: String = word.chars().take(word.chars().count().div_ceil(2)).collect();
                prop_assert!(may_hold(&codec, &half), "{:?} has {}", codec, half);
            }
        }
    }
}
