//! Parts of label sets, as canonical bytes: found in a map without making the set itself.

use std::collections::HashMap;

use greylight_store::model::{Labels, METRIC_NAME};

use super::super::syntax::{Grouping, Matching};

/// Which labels of a set are kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subset<'a> {
    /// These alone.
    Only(&'a [String]),
    /// All but these and the name.
    Without(&'a [String]),
}

impl<'a> Subset<'a> {
    /// The labels of a series' group.
    pub(super) fn of_group(grouping: &'a Grouping) -> Self {
        if grouping.without { Self::Without(&grouping.labels) } else { Self::Only(&grouping.labels) }
    }

    /// The labels by which series match.
    pub(super) fn of_match(matching: &'a Matching) -> Self {
        if matching.on { Self::Only(&matching.labels) } else { Self::Without(&matching.labels) }
    }

    fn keeps(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|n| n == name),
            Self::Without(names) => name != METRIC_NAME && !names.iter().any(|n| n == name),
        }
    }

    /// Writes the kept labels in the encoding of [`Labels`]: lengths as LEB128 before each text.
    fn write(&self, labels: &Labels, out: &mut Vec<u8>) {
        out.clear();
        if matches!(self, Self::Only(names) if names.is_empty()) {
            return;
        }
        for (name, value) in labels.iter().filter(|(name, _)| self.keeps(name)) {
            for text in [name, value] {
                let mut n = text.len();
                while n >= 0x80 {
                    out.push((n as u8) | 0x80);
                    n >>= 7;
                }
                out.push(n as u8);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Numbers label sets in the order in which they come up.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    by_bytes: HashMap<Box<[u8]>, usize>,
    key: Vec<u8>,
}

impl Numbered {
    /// Returns the number of a part of a set; `Err` with the part itself where it is new.
    pub(super) fn find(&mut self, labels: &Labels, subset: Subset<'_>) -> Result<usize, (usize, Labels)> {
        subset.write(labels, &mut self.key);
        if let Some(at) = self.by_bytes.get(self.key.as_slice()) {
            return Ok(*at);
        }
        let at = self.by_bytes.len();
        self.by_bytes.insert(self.key.as_slice().into(), at);
        // Sorted, distinct and not empty, since it comes from a set that is.
        Err((at, Labels::from_bytes(&self.key).unwrap_or_default()))
    }

    /// Returns the number of a whole set, and whether it is new.
    pub(super) fn find_whole(&mut self, labels: &Labels) -> (usize, bool) {
        if let Some(at) = self.by_bytes.get(labels.as_bytes()) {
            return (*at, false);
        }
        let at = self.by_bytes.len();
        self.by_bytes.insert(labels.as_bytes().into(), at);
        (at, true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_is_the_set_of_its_pairs(pairs in proptest::collection::btree_map("[a-d]", ".{1,200}", 0..5)) {
            let labels = Labels::from_pairs(&pairs).unwrap();
            let names = ["a".to_owned(), "c".to_owned()];
            for subset in [Subset::Only(&names), Subset::Without(&names)] {
                let want = labels.to_builder().retain(|n| subset.keeps(n)).build();
                let mut numbered = Numbered::default();
                prop_assert_eq!(numbered.find(&labels, subset), Err((0, want.clone())));
                prop_assert_eq!(numbered.find(&labels, subset), Ok(0));
                prop_assert_eq!(numbered.find_whole(&want), (0, false));
            }
        }
    }
}
