//! Label sets of many series with an index from label to series, immutable.
//!
//! Every distinct pair of a name and a value has a number; pairs are numbered in order, so
//! comparing numbers compares pairs. A series is the rising list of its pairs, and series are
//! numbered in the order of their label sets. Memory is about 100 bytes a series with a dozen
//! labels, and each distinct pair once.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use super::hashing::BytesState;
use super::varint;
use crate::model::{Labels, MatchOp, Matcher};

/// Label sets of many series, sorted and distinct; a series is named by its position.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    // Canonical bytes of each pair, one behind the other.
    pair_bytes: Vec<u8>,
    pair_ends: Vec<u32>,
    names: Vec<Name>,
    // Pairs of each series, series of each pair.
    series: Lists,
    postings: Lists,
}

#[derive(Debug)]
struct Name {
    name: String,
    pairs: Range<u32>,
}

/// Lists of integers, one behind the other.
#[derive(Debug, Default)]
struct Lists {
    ends: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    fn get(&self, i: u32) -> &[u32] {
        let i = i as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.items[start as usize..self.ends[i] as usize]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn bytes(&self) -> usize {
        (self.ends.capacity() + self.items.capacity()) * 4
    }

    /// Turns lists of items into lists of positions by item, `0..n_items`.
    fn invert(&self, n_items: usize) -> Self {
        let mut ends = vec![0u32; n_items];
        for &item in &self.items {
            ends[item as usize] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            // Starts for now; each moves to its end as its list fills.
            (sum, *end) = (sum + *end, sum);
        }
        let mut items = vec![0u32; self.items.len()];
        for i in 0..self.len() as u32 {
            for &item in self.get(i) {
                let at = &mut ends[item as usize];
                items[*at as usize] = i;
                *at += 1;
            }
        }
        Self { ends, items }
    }
}

/// Takes label sets for a table.
#[derive(Debug, Default)]
pub(super) struct SeriesTableBuilder {
    numbers: HashMap<Box<[u8]>, u32, BytesState>,
    series: Lists,
}

impl SeriesTableBuilder {
    /// Adds a pair to the series that [`finish_series`](Self::finish_series) ends.
    pub(super) fn push_pair(&mut self, canonical: &[u8]) {
        let next = self.numbers.len() as u32;
        let number = match self.numbers.get(canonical) {
            Some(&number) => number,
            None => {
                self.numbers.insert(canonical.into(), next);
                next
            }
        };
        self.series.items.push(number);
    }

    /// Ends a series.
    pub(super) fn finish_series(&mut self) {
        self.series.ends.push(self.series.items.len() as u32);
    }

    /// Adds a series.
    pub(super) fn push(&mut self, labels: &Labels) {
        let mut rest = labels.as_bytes();
        while let Some(pair) = take_pair(&mut rest) {
            self.push_pair(pair);
        }
        self.finish_series();
    }

    /// Makes the table, and says at which position each of its series was added. Of equal label
    /// sets each is kept, in the order in which they came; callers add distinct ones.
    pub(super) fn finish(self) -> (SeriesTable, Vec<u32>) {
        let mut pairs: Vec<(Box<[u8]>, u32)> = self.numbers.into_iter().collect();
        pairs.sort_unstable_by(|a, b| split_pair(&a.0).cmp(&split_pair(&b.0)));
        let mut table = SeriesTable::default();
        let mut renumbered = vec![0u32; pairs.len()];
        for (number, (pair, old)) in pairs.iter().enumerate() {
            renumbered[*old as usize] = number as u32;
            table.push_pair(pair);
        }
        let mut unsorted = self.series;
        unsorted.items.iter_mut().for_each(|item| *item = renumbered[*item as usize]);
        let mut order: Vec<u32> = (0..unsorted.len() as u32).collect();
        if !order.is_sorted_by_key(|&i| unsorted.get(i)) {
            order.sort_by(|&a, &b| unsorted.get(a).cmp(unsorted.get(b)));
        }
        table.series.items.reserve_exact(unsorted.items.len());
        for &i in &order {
            table.series.items.extend_from_slice(unsorted.get(i));
            table.series.ends.push(table.series.items.len() as u32);
        }
        table.postings = table.series.invert(pairs.len());
        (table, order)
    }
}

impl SeriesTable {
    fn push_pair(&mut self, pair: &[u8]) {
        let number = self.pair_ends.len() as u32;
        let name = split_pair(pair).0;
        match self.names.last_mut() {
            Some(last) if last.name == name => last.pairs.end = number + 1,
            _ => self.names.push(Name { name: name.into(), pairs: number..number + 1 }),
        }
        self.pair_bytes.extend_from_slice(pair);
        self.pair_ends.push(self.pair_bytes.len() as u32);
    }

    /// Returns how many series there are.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns about how much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|n| n.name.len() + size_of::<Name>()).sum();
        self.pair_bytes.len() + self.pair_ends.len() * 4 + names + self.series.bytes() + self.postings.bytes()
    }

    fn pair(&self, number: u32) -> &[u8] {
        let i = number as usize;
        let start = if i == 0 { 0 } else { self.pair_ends[i - 1] };
        &self.pair_bytes[start as usize..self.pair_ends[i] as usize]
    }

    fn value(&self, number: u32) -> &str {
        split_pair(self.pair(number)).1
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let i = self.names.binary_search_by(|n| n.name.as_str().cmp(name)).ok()?;
        Some(&self.names[i])
    }

    /// Returns the label set of a series.
    pub(super) fn labels(&self, series: u32) -> Labels {
        let mut bytes = Vec::with_capacity(256);
        for &pair in self.series.get(series) {
            bytes.extend_from_slice(self.pair(pair));
        }
        Labels::from_bytes(&bytes).expect("pairs of a label set, in order, are its canonical bytes")
    }

    /// Walks the pairs of a series.
    pub(super) fn pairs(&self, series: u32) -> impl Iterator<Item = (&str, &str)> {
        self.series.get(series).iter().map(|&pair| split_pair(self.pair(pair)))
    }

    /// Compares the label set of a series with another.
    pub(super) fn cmp(&self, series: u32, other: &Labels) -> Ordering {
        let mut rest = other.as_bytes();
        for &number in self.series.get(series) {
            let pair = self.pair(number);
            match rest.strip_prefix(pair) {
                Some(tail) => rest = tail,
                None => {
                    let theirs = take_pair(&mut rest).map(split_pair);
                    return Some(split_pair(pair)).cmp(&theirs);
                }
            }
        }
        if rest.is_empty() { Ordering::Equal } else { Ordering::Less }
    }

    /// Finds the series that match all matchers, in order.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut wanted: Vec<Vec<u32>> = Vec::new();
        let mut unwanted: Vec<Vec<u32>> = Vec::new();
        for matcher in matchers {
            // Those that a series without the label passes are easier told by whom they refuse.
            let empty = matcher.matches_empty();
            let set = self.union(&self.values_that(matcher, !empty));
            if empty { &mut unwanted } else { &mut wanted }.push(set);
        }
        wanted.sort_by_key(Vec::len);
        let mut wanted = wanted.into_iter();
        let mut found = match wanted.next() {
            Some(first) => first,
            None => (0..self.len() as u32).collect(),
        };
        for set in wanted {
            retain(&mut found, &set, true);
        }
        for set in unwanted {
            retain(&mut found, &set, false);
        }
        found
    }

    fn values_that(&self, matcher: &Matcher, matches: bool) -> Vec<u32> {
        let Some(name) = self.name(matcher.name()) else { return Vec::new() };
        if matcher.op() == MatchOp::Equal && matches {
            let (mut low, mut high) = (name.pairs.start, name.pairs.end);
            while low < high {
                let middle = low + (high - low) / 2;
                match self.value(middle).cmp(matcher.value()) {
                    Ordering::Less => low = middle + 1,
                    Ordering::Equal => return vec![middle],
                    Ordering::Greater => high = middle,
                }
            }
            return Vec::new();
        }
        name.pairs.clone().filter(|&pair| matcher.matches(self.value(pair)) == matches).collect()
    }

    fn union(&self, pairs: &[u32]) -> Vec<u32> {
        let mut union: Vec<u32> = pairs.iter().flat_map(|&p| self.postings.get(p)).copied().collect();
        if pairs.len() > 1 && !union.is_sorted() {
            // A series has one value of a label, so that nothing occurs twice.
            union.sort_unstable();
        }
        union
    }

    /// Calls `f` with the names of labels that the given series have, each at least once.
    pub(super) fn names_of(&self, series: Option<&[u32]>, mut f: impl FnMut(&str)) {
        let Some(series) = series else { return self.names.iter().for_each(|n| f(&n.name)) };
        for name in &self.names {
            let has = |&s: &u32| self.value_of(s, &name.pairs).is_some();
            if series.iter().any(has) {
                f(&name.name);
            }
        }
    }

    /// Calls `f` with the values of a label that the given series have, each at least once.
    pub(super) fn values_of(&self, name: &str, series: Option<&[u32]>, mut f: impl FnMut(&str)) {
        let Some(name) = self.name(name) else { return };
        let Some(series) = series else {
            return name.pairs.clone().for_each(|pair| f(self.value(pair)));
        };
        let mut seen = vec![false; name.pairs.len()];
        for &s in series {
            if let Some(pair) = self.value_of(s, &name.pairs) {
                let i = (pair - name.pairs.start) as usize;
                if !std::mem::replace(&mut seen[i], true) {
                    f(self.value(pair));
                }
            }
        }
    }

    fn value_of(&self, series: u32, name: &Range<u32>) -> Option<u32> {
        let pairs = self.series.get(series);
        let at = pairs.partition_point(|&p| p < name.start);
        pairs.get(at).copied().filter(|p| *p < name.end)
    }
}

// Keeps what is, or is not, in a sorted set.
fn retain(found: &mut Vec<u32>, set: &[u32], wanted: bool) {
    let mut rest = set;
    found.retain(|id| {
        // Doubling steps, then halving: cheap for sets of like size and of very different size.
        let mut step = 1;
        while step < rest.len() && rest[step] < *id {
            step *= 2;
        }
        let from = step / 2;
        let to = rest.len().min(step + 1);
        rest = &rest[from + rest[from..to].partition_point(|r| r < id)..];
        (rest.first() == Some(id)) == wanted
    });
}

/// Takes the bytes of one pair off canonical label bytes.
pub(super) fn take_pair<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let start = *rest;
    for _ in 0..2 {
        let n = varint::take(rest)? as usize;
        *rest = rest.get(n..)?;
    }
    Some(&start[..start.len() - rest.len()])
}

fn split_pair(mut pair: &[u8]) -> (&str, &str) {
    let mut text = || {
        let n = varint::take(&mut pair)? as usize;
        let (text, rest) = pair.split_at_checked(n)?;
        pair = rest;
        std::str::from_utf8(text).ok()
    };
    // Only pairs of label sets are in a table, and those were checked.
    (text().unwrap_or_default(), text().unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    pub(in crate::metrics) fn label_sets() -> impl Strategy<Value = Vec<Labels>> {
        let pairs = proptest::collection::btree_map("[a-d]", "[x-z]{0,2}", 0..4);
        proptest::collection::btree_set(pairs, 0..30)
            .prop_map(|sets| sets.iter().map(|s| Labels::from_pairs(s).unwrap()).collect::<BTreeSet<_>>())
            .prop_map(|sets| sets.into_iter().rev().collect())
    }

    pub(in crate::metrics) fn matchers() -> impl Strategy<Value = Vec<Matcher>> {
        let op = prop_oneof![
            Just(MatchOp::Equal),
            Just(MatchOp::NotEqual),
            Just(MatchOp::Regex),
            Just(MatchOp::NotRegex)
        ];
        let value = prop_oneof![
            "[x-z]{0,2}",
            Just("x.*".to_string()),
            Just("y|z|".to_string()),
            Just(".+".to_string())
        ];
        proptest::collection::vec(("[a-e]", op, value), 0..4)
            .prop_map(|all| all.iter().map(|(n, op, v)| Matcher::new(n, *op, v).unwrap()).collect())
    }

    proptest! {
        #[test]
        fn finding_series_equals_trying_each(sets in label_sets(), matchers in matchers()) {
            let mut builder = SeriesTableBuilder::default();
            sets.iter().for_each(|s| builder.push(s));
            let (table, order) = builder.finish();
            let mut sorted = sets.clone();
            sorted.sort();
            let all: Vec<Labels> = (0..table.len() as u32).map(|i| table.labels(i)).collect();
            prop_assert_eq!(&all, &sorted);
            prop_assert_eq!(order.iter().map(|&i| sets[i as usize].clone()).collect::<Vec<_>>(), sorted.clone());

            let found = table.select(&matchers);
            let want: Vec<u32> = (0..all.len() as u32)
                .filter(|&i| matchers.iter().all(|m| m.matches_labels(&all[i as usize])))
                .collect();
            prop_assert_eq!(&found, &want);
            let mut names = BTreeSet::new();
            table.names_of(Some(&found), |n| { names.insert(n.to_string()); });
            let want_names: BTreeSet<_> = want.iter().flat_map(|&i| all[i as usize].iter().map(|p| p.0.to_string())).collect();
            prop_assert_eq!(names, want_names);
            let mut values = BTreeSet::new();
            table.values_of("a", Some(&found), |v| { values.insert(v.to_string()); });
            let want_values: BTreeSet<_> = want.iter().filter_map(|&i| all[i as usize].get("a").map(str::to_string)).collect();
            prop_assert_eq!(values, want_values);
            for (i, set) in all.iter().enumerate() {
                for other in &all {
                    prop_assert_eq!(table.cmp(i as u32, other), set.cmp(other));
                }
            }
        }
    }
}
