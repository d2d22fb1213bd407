//! Decides a regular expression, or a text to be found, by the letters that it must have.
//!
//! Letters stand in the constant text of a shape's pattern or inside a variable, never over the edge
//! of one. Where they stand in constant text is found once a shape; whether variables have them is
//! asked of the index, by blocks of rows. Only rows of which neither says enough are put together.

use std::ops::Range;

use super::eval::field_text;
use super::fields::FieldAt;
use super::query::{Anchor, Found, Scratch, Test};
use super::rows::{Block, Shape};
use crate::pattern::VARIABLE;
use crate::read::ReadError;

/// Places of letters in one text from which a match is tried; a text with more is looked at as a whole, once.
const STARTS_MAX: usize = 8;

/// A test with anchors, of the body or the message inside it.
#[derive(Clone, Debug)]
pub(crate) struct Anchored {
    pub(crate) test: Test,
    pub(crate) at: FieldAt,
    /// The constant text, in the shape's pattern; variables lie between its parts.
    parts: Vec<Range<usize>>,
    first_slot: usize,
    pub(crate) places: Vec<Place>,
}

/// Where letters stand in constant text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    anchor: usize,
    part: usize,
    offset: usize,
}

/// The constant parts of the text that a place in a shape's body is, and the slot of its first variable.
pub(super) fn parts_of(shape: &Shape, at: &FieldAt) -> Option<(Vec<Range<usize>>, usize)> {
    let (range, first_slot) = match at {
        FieldAt::Body => (0..shape.pattern.len(), 0),
        FieldAt::Message { start, end, first } => (*start..*end, *first),
        _ => return None,
    };
    let mut parts = Vec::new();
    let mut from = range.start;
    for part in shape.pattern[range].split(char::from(VARIABLE)) {
        parts.push(from..from + part.len());
        from += part.len() + 1;
    }
    Some((parts, first_slot))
}

impl Anchored {
    /// Prepares a test for a shape; `None` where it has no anchors, or the text is not made of parts.
    pub(super) fn new(test: &Test, shape: &Shape, at: &FieldAt) -> Option<Self> {
        let anchors = test.anchors()?;
        let (parts, first_slot) = parts_of(shape, at)?;
        let lower = shape.pattern.to_ascii_lowercase();
        let mut places = Vec::new();
        for (anchor, Anchor { letters, .. }) in anchors.iter().enumerate() {
            for (part, range) in parts.iter().enumerate() {
                let mut from = range.start;
                while let Some(n) =
                    memchr::memmem::find(&lower.as_bytes()[from..range.end], letters.text.as_bytes())
                {
                    places.push(Place { anchor, part, offset: from + n });
                    from += n + 1;
                }
            }
        }
        Some(Self { test: test.clone(), at: at.clone(), parts, first_slot, places })
    }

    /// The slots of the variables in which rows of a row's shape may have the letters.
    pub(super) fn slots(&self, block: &dyn Block, row: usize) -> Result<Vec<usize>, ReadError> {
        let mut out = Vec::new();
        for slot in self.first_slot..self.first_slot + self.parts.len() - 1 {
            for anchor in self.test.anchors().unwrap_or_default() {
                if block.may_hold(row, slot, &anchor.letters.text)? {
                    out.push(slot);
                    break;
                }
            }
        }
        Ok(out)
    }

    /// Tells whether a row's text passes. `slots` are those of the variables that may have the letters.
    pub(super) fn holds(
        &self,
        block: &dyn Block,
        row: usize,
        slots: &[usize],
        buffers: &mut Buffers,
    ) -> Result<bool, ReadError> {
        let shape = &block.tables().shapes[block.shapes()?[row] as usize];
        let row = Row { block, row, pattern: shape.pattern.as_bytes() };
        let found = match self.found_in_constant(&row, &mut buffers.text)? {
            Found::No => self.found_in_variables(&row, slots, buffers)?,
            found => found,
        };
        match found {
            Found::Yes => return Ok(true),
            Found::No => return Ok(false),
            Found::Unclear => {}
        }
        buffers.text.clear();
        let has_text = field_text(block, row.row, &self.at, "", &mut buffers.text)?;
        Ok(has_text && self.test.matches(&buffers.text, &mut buffers.scratch))
    }

    fn found_in_constant(&self, row: &Row<'_>, text: &mut String) -> Result<Found, ReadError> {
        let anchors = self.test.anchors().unwrap_or_default();
        if self.places.len() > STARTS_MAX {
            return Ok(Found::Unclear);
        }
        for &Place { anchor, part, offset } in &self.places {
            let Range { start, end } = self.parts[part];
            // Half of an escape may stand in front.
            if offset == start && part > 0 && self.at != FieldAt::Body {
                return Ok(Found::Unclear);
            }
            let spot = Spot {
                after: [&row.pattern[offset..end], &[]],
                next: part,
                before: [&row.pattern[start..offset], &[]],
                previous: part,
            };
            match self.found_at(row, &anchors[anchor], &spot, text)? {
                Found::No => {}
                found => return Ok(found),
            }
        }
        Ok(Found::No)
    }

    fn found_in_variables(
        &self,
        row: &Row<'_>,
        slots: &[usize],
        buffers: &mut Buffers,
    ) -> Result<Found, ReadError> {
        let Buffers { text, value, lower, .. } = buffers;
        let mut n_starts = 0;
        for &slot in slots {
            value.clear();
            row.block.value(row.row, slot, value)?;
            if self.is_escaped(value) {
                return Ok(Found::Unclear);
            }
            lower.clear();
            lower.push_str(value);
            lower.make_ascii_lowercase();
            let number = slot - self.first_slot;
            for anchor in self.test.anchors().unwrap_or_default() {
                for at in memchr::memmem::find_iter(lower.as_bytes(), anchor.letters.text.as_bytes()) {
                    n_starts += 1;
                    if n_starts > STARTS_MAX {
                        return Ok(Found::Unclear);
                    }
                    let spot = Spot {
                        after: [&value.as_bytes()[at..], &row.pattern[self.parts[number + 1].clone()]],
                        next: number + 1,
                        before: [&value.as_bytes()[..at], &row.pattern[self.parts[number].clone()]],
                        previous: number,
                    };
                    match self.found_at(row, anchor, &spot, text)? {
                        Found::No => {}
                        found => return Ok(found),
                    }
                }
            }
        }
        Ok(Found::No)
    }

    /// An escape stands for something else in a message.
    fn is_escaped(&self, value: &str) -> bool {
        self.at != FieldAt::Body && value.contains('\\')
    }

    /// Matches from letters on, first forwards, then backwards.
    fn found_at(
        &self,
        row: &Row<'_>,
        anchor: &Anchor,
        spot: &Spot<'_>,
        text: &mut String,
    ) -> Result<Found, ReadError> {
        let Some(mut run) = anchor.after.start(None) else { return Ok(Found::Unclear) };
        let slots = (spot.next..self.parts.len() - 1).map(|n| (n, n + 1));
        let found = match self.walk(row, spot.after, slots, text, &mut |piece| run.feed(piece))? {
            Some(found) => found,
            None => run.finish(),
        };
        let Some(before) = &anchor.before else { return Ok(found) };
        if found != Found::Yes {
            return Ok(found);
        }
        let beside = spot.after[0].first().copied();
        let Some(mut run) = before.start(beside) else { return Ok(Found::Unclear) };
        let slots = (0..spot.previous).rev().map(|n| (n, n));
        Ok(match self.walk(row, spot.before, slots, text, &mut |piece| run.feed(piece))? {
            Some(found) => found,
            None => run.finish(),
        })
    }

    /// Feeds what is at hand, and then variables, each with the constant text that follows on this way.
    fn walk(
        &self,
        row: &Row<'_>,
        at_hand: [&[u8]; 2],
        slots: impl Iterator<Item = (usize, usize)>,
        text: &mut String,
        feed: &mut dyn FnMut(&[u8]) -> Option<Found>,
    ) -> Result<Option<Found>, ReadError> {
        if let Some(found) = at_hand.into_iter().find_map(&mut *feed) {
            return Ok(Some(found));
        }
        for (variable, part) in slots {
            text.clear();
            row.block.value(row.row, self.first_slot + variable, text)?;
            if self.is_escaped(text) {
                return Ok(Some(Found::Unclear));
            }
            let constant = &row.pattern[self.parts[part].clone()];
            if let Some(found) = feed(text.as_bytes()).or_else(|| feed(constant)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Memory that is used again from row to row.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) text: String,
    value: String,
    lower: String,
    pub(super) scratch: Scratch,
}

struct Row<'a> {
    block: &'a dyn Block,
    row: usize,
    pattern: &'a [u8],
}

/// Letters in a text: what is at hand of it on both sides, and which variables come then.
struct Spot<'a> {
    /// The letters and what follows.
    after: [&'a [u8]; 2],
    next: usize,
    before: [&'a [u8]; 2],
    previous: usize,
}
