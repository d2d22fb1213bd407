//! Which attributes of a record have slots of their own.
//!
//! A name that is common has one; the rest of a record's attributes are one slot together, so that thousands of
//! distinct names make neither thousands of columns nor a shape for each record.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use xxhash_rust::xxh3::Xxh3;

use super::rows::{Kind, read_value, write_value};
use crate::model::{AttributeValue, LogRecord};

/// Slots that the attributes of one record have beside the one for the rest.
const SLOTS_MAX: usize = 64;
/// A name is common that at least one of so many records has. Fewer in tests, whose few records are to have rare names.
const COMMON: u32 = if cfg!(test) { 6 } else { 256 };
/// Shapes of one pattern in a head from which on a name has to be in a quarter of the records.
const SHAPES_MANY: u32 = 32;
/// Shapes of one pattern from which on a further one has no name of its own.
const SHAPES_MAX: u32 = 64;
/// Records after which counts are halved, so that they follow what is sent.
const RECORDS: u32 = 8192;
/// Names that are counted; a further one is rare until some are forgotten.
const NAMES_MAX: usize = 4096;

/// How the attributes of a record are kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Positions of those with slots of their own, in order.
    pub(crate) own: Vec<usize>,
    /// The text of the slot of the rest; empty when there is none.
    pub(crate) rest: String,
}

/// An attribute in the slot of the rest: its position in the record, name, type and text.
type RestItem<'a> = (usize, &'a str, char, String);

impl Kept {
    /// Gives slots to all, as far as a record may have slots.
    pub(super) fn all(&mut self, record: &LogRecord) {
        self.choose(record, |_| true);
    }

    fn choose(&mut self, record: &LogRecord, is_own: impl Fn(&str) -> bool) {
        let attributes = &record.attributes;
        self.own.clear();
        self.own.extend((0..attributes.len()).filter(|&at| is_own(&attributes[at].0)).take(SLOTS_MAX));
        self.rest.clear();
        if self.own.len() == attributes.len() {
            return;
        }
        let mut own = self.own.iter().peekable();
        let mut rest: Vec<RestItem<'_>> = Vec::new();
        for (at, (name, value)) in attributes.iter().enumerate() {
            if own.next_if(|own| **own == at).is_none() {
                let mut text = String::new();
                write_value(value, &mut text);
                rest.push((at, name, Kind::of(value).code(), text));
            }
        }
        self.rest = serde_json::to_string(&rest).expect("numbers and texts are always JSON");
    }
}

/// Reads the slot of the rest: positions, names and values; `None` for a text that is none.
pub(super) fn read_rest(text: &str) -> Option<Vec<(usize, String, AttributeValue)>> {
    let items: Vec<(usize, String, char, String)> = serde_json::from_str(text).ok()?;
    let read = |(at, name, kind, text): (usize, String, char, String)| {
        Some((at, name, read_value(Kind::of_code(kind)?, &text)?))
    };
    items.into_iter().map(read).collect()
}

/// Finds the text of an attribute in the slot of the rest.
pub(super) fn text_in_rest(rest: &str, name: &str) -> Option<String> {
    let items: Vec<(usize, String, char, String)> = serde_json::from_str(rest).ok()?;
    items.into_iter().find(|item| item.1 == name).map(|item| item.3)
}

/// How often names of attributes occur among the records that had no known shape: those with other names each.
#[derive(Debug, Default)]
pub(super) struct CommonNames {
    names: HashMap<Box<str>, u32, BuildHasherDefault<Xxh3>>,
    n_records: u32,
    /// By pattern: shapes that this head has of it.
    n_shapes: HashMap<u64, u32>,
}

impl CommonNames {
    /// Counts the names of a record.
    pub(super) fn note(&mut self, record: &LogRecord) {
        self.n_records += 1;
        if self.n_records > RECORDS {
            self.n_records /= 2;
            self.names.retain(|_, n| {
                *n /= 2;
                *n > 0
            });
        }
        for (name, _) in &record.attributes {
            if let Some(n) = self.names.get_mut(name.as_str()) {
                *n += 1;
            } else if self.names.len() < NAMES_MAX {
                self.names.insert(name.as_str().into(), 1);
            }
        }
    }

    /// Chooses how to keep the attributes of a record of a pattern; `is_known` tells whether the shape that this
    /// makes is there already.
    pub(super) fn choose(
        &mut self,
        record: &LogRecord,
        pattern: u64,
        kept: &mut Kept,
        is_known: impl Fn(&Kept) -> bool,
    ) {
        let n_shapes = self.n_shapes.get(&pattern).copied().unwrap_or(0);
        let has_room = [(COMMON, SHAPES_MANY), (4, SHAPES_MAX)];
        for (share, n_max) in has_room {
            let count = |name: &str| self.names.get(name).copied().unwrap_or(0);
            kept.choose(record, |name| count(name).saturating_mul(share) >= self.n_records);
            if is_known(kept) {
                return;
            }
            if n_shapes < n_max {
                *self.n_shapes.entry(pattern).or_default() += 1;
                return;
            }
        }
        kept.choose(record, |_| false);
    }

    /// Goes on to the next head, which has no shapes yet.
    pub(super) fn successor(&mut self) -> Self {
        self.n_shapes.clear();
        std::mem::take(self)
    }
}
