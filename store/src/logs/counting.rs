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
}

impl Groups {
    pub(super) fn count(
        &mut self,
        block: &dyn Block,
        row: u32,
        readers: &[KeyReader],
        interval: usize,
        n: usize,
    ) -> Result<(), ReadError> {
        let row = row as usize;
        self.key.clear();
        self.ends.clear();
        for reader in readers {
            match reader {
                KeyReader::Severity => self.key.push_str(severity_word(block.severities()?[row])),
                KeyReader::Shape(texts) => self.key.push_str(&texts[block.shapes()?[row] as usize]),
                KeyReader::Field(name, at) => {
                    let start = self.key.len();
                    if !field_text(block, row, &at[block.shapes()?[row] as usize], name, &mut self.key)? {
                        self.key.truncate(start);
                    }
                }
            }
            self.ends.push(self.key.len());
        }
        let is_same = self.key == self.last_key && self.ends == self.last_ends;
        let at = match self.last.filter(|_| is_same) {
            Some(at) => at,
            None => self.group(n),
        };
        self.groups[at].counts[interval] += 1;
        Ok(())
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
