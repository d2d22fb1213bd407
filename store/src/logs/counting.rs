//! Counts rows by interval and key.

use std::collections::HashMap;

use super::eval::field_text;
use super::fields::FieldAt;
use super::rows::Block;
use super::source::{CountGroup, Intervals};
use crate::model::{Timestamp, severity_word};
use crate::read::ReadError;

/// Returns what tells a row's interval; times are read only when rows fall into different ones.
pub(super) fn interval_reader<'b>(
    block: &'b dyn Block,
    intervals: Intervals,
) -> Result<Box<dyn Fn(u32) -> Option<usize> + 'b>, ReadError> {
    let (first, last) = block.span();
    let index = move |t: i64| intervals.index(Timestamp::from_nanos(t));
    if let (Some(a), Some(b)) = (index(first), index(last))
        && a == b
    {
        return Ok(Box::new(move |_| Some(a)));
    }
    let times = block.times()?;
    let (start, step) =
        (intervals.start.as_nanos(), i64::try_from(intervals.step.as_nanos()).unwrap_or(i64::MAX));
    if step > 0 && first.checked_sub(start).is_some() && last.checked_sub(start).is_some() {
        let n = intervals.n;
        return Ok(Box::new(move |row| {
            let since = times[row as usize] - start;
            usize::try_from(since.div_euclid(step)).ok().filter(|&i| i < n)
        }));
    }
    Ok(Box::new(move |row| index(times[row as usize])))
}

/// Reads one key of a row.
pub(super) enum KeyReader {
    Field(String, Vec<FieldAt>),
    Severity,
    Shape(Vec<String>),
}

/// The keys of one block's rows.
pub(super) struct Keys<'b> {
    block: &'b dyn Block,
    readers: &'b [KeyReader],
    shapes: &'b [u32],
    /// Those that keys hang on, if any does.
    severities: Option<&'b [u8]>,
    streams: Option<&'b [u32]>,
    /// Whether shape, severity and stream say all of a row's key.
    is_numbered: bool,
}

impl<'b> Keys<'b> {
    pub(super) fn new(block: &'b dyn Block, readers: &'b [KeyReader]) -> Result<Self, ReadError> {
        let by_severity = readers.iter().any(|r| matches!(r, KeyReader::Severity));
        let by_field = readers.iter().any(|r| matches!(r, KeyReader::Field(..)));
        let is_numbered = readers.iter().all(|reader| match reader {
            KeyReader::Field(_, at) => at.iter().all(|at| matches!(at, FieldAt::Label)),
            KeyReader::Severity | KeyReader::Shape(_) => true,
        });
        Ok(Self {
            block,
            readers,
            shapes: block.shapes()?,
            severities: by_severity.then(|| block.severities()).transpose()?,
            streams: (by_field && is_numbered).then(|| block.streams()).transpose()?,
            is_numbered,
        })
    }

    /// Numbers that are the same for rows of the block with the same key.
    fn numbers(&self, row: usize) -> Option<(u32, u8, u32)> {
        let severity = self.severities.map_or(0, |list| list[row]);
        self.is_numbered.then(|| (self.shapes[row], severity, self.streams.map_or(0, |list| list[row])))
    }
}

/// Counts by key; neighbouring rows mostly have the same key.
#[derive(Default)]
pub(super) struct Groups {
    by_key: HashMap<Vec<String>, usize>,
    groups: Vec<CountGroup>,
    /// The parts of the present key, one behind the other, and where each ends.
    key: String,
    ends: Vec<usize>,
    last: Option<usize>,
    last_key: String,
    last_ends: Vec<usize>,
    last_numbers: Option<(u32, u8, u32)>,
}

impl Groups {
    /// Goes on to another block, in which numbers mean something else.
    pub(super) fn start_block(&mut self) {
        self.last_numbers = None;
    }

    pub(super) fn count(
        &mut self,
        keys: &Keys<'_>,
        row: u32,
        interval: usize,
        n: usize,
    ) -> Result<(), ReadError> {
        let row = row as usize;
        let numbers = keys.numbers(row);
        let at = match self.last.filter(|_| numbers.is_some() && numbers == self.last_numbers) {
            Some(at) => at,
            None => self.find(keys, row, n)?,
        };
        self.last_numbers = numbers;
        self.groups[at].counts[interval] += 1;
        Ok(())
    }

    /// Returns the group of a row's key.
    fn find(&mut self, keys: &Keys<'_>, row: usize, n: usize) -> Result<usize, ReadError> {
        let block = keys.block;
        self.key.clear();
        self.ends.clear();
        for reader in keys.readers {
            match reader {
                KeyReader::Severity => self.key.push_str(severity_word(block.severities()?[row])),
                KeyReader::Shape(texts) => self.key.push_str(&texts[keys.shapes[row] as usize]),
                KeyReader::Field(name, at) => {
                    let start = self.key.len();
                    if !field_text(block, row, &at[keys.shapes[row] as usize], name, &mut self.key)? {
                        self.key.truncate(start);
                    }
                }
            }
            self.ends.push(self.key.len());
        }
        // Nothing is compared where there is nothing: a comparison of no bytes may take 100 ns.
        let is_same = self.ends.is_empty()
            || self.ends == self.last_ends && (self.key.is_empty() || self.key == self.last_key);
        Ok(match self.last.filter(|_| is_same) {
            Some(at) => at,
            None => self.group(n),
        })
    }

    fn group(&mut self, n: usize) -> usize {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let parts: Vec<String> =
            starts.zip(&self.ends).map(|(from, &to)| self.key[from..to].to_owned()).collect();
        let at = *self.by_key.entry(parts).or_insert_with_key(|parts| {
            self.groups.push(CountGroup { key: parts.clone(), counts: vec![0; n] });
            self.groups.len() - 1
        });
        self.last = Some(at);
        self.last_key.clone_from(&self.key);
        self.last_ends.clone_from(&self.ends);
        at
    }

    pub(super) fn finish(mut self) -> Vec<CountGroup> {
        self.groups.sort_by(|a, b| b.total().cmp(&a.total()).then_with(|| a.key.cmp(&b.key)));
        self.groups
    }
}
