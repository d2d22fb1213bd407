//! Exemplars by series: in heads, and as bytes in the log and in segments.
//!
//! | part | bytes |
//! |---|---|
//! | series | length and canonical label bytes |
//! | exemplars | count, then for each: time (zigzag difference from the one before, from 0 at first), length and canonical bytes of its labels, value (a float) |
//!
//! Numbers are LEB128, floats are written as the values of the log are. Two exemplars of a series that differ in
//! time, labels or the bits of the value are two; the same one again is stored once.

use std::collections::{BTreeMap, BTreeSet};

use super::varint;
use crate::model::{Exemplar, Labels};
use crate::read::SpanMs;

/// Exemplars of one series, each once, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExemplarSet(BTreeSet<Key>);

/// An exemplar, ordered: time, labels, bits of the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    t_ms: i64,
    labels: Labels,
    bits: u64,
}

/// Exemplars of several series.
pub(super) type ExemplarMap = BTreeMap<Labels, ExemplarSet>;

impl Key {
    fn of(exemplar: &Exemplar) -> Self {
        let Exemplar { labels, t_ms, value } = exemplar;
        Self { t_ms: *t_ms, labels: labels.clone(), bits: value.to_bits() }
    }

    fn is_in(&self, span: SpanMs) -> bool {
        span.start <= self.t_ms && self.t_ms <= span.end
    }
}

impl ExemplarSet {
    /// Adds an exemplar; tells whether it is new.
    pub(super) fn insert(&mut self, exemplar: &Exemplar) -> bool {
        self.0.insert(Key::of(exemplar))
    }

    /// Adds those of another set that lie in a span; returns how many are new.
    pub(super) fn extend_within(&mut self, other: &Self, span: SpanMs) -> usize {
        let before = self.0.len();
        self.0.extend(other.0.iter().filter(|key| key.is_in(span)).cloned());
        self.0.len() - before
    }

    /// Leaves out those in a span; tells whether there was one.
    pub(super) fn remove(&mut self, span: SpanMs) -> bool {
        let before = self.0.len();
        self.0.retain(|key| !key.is_in(span));
        self.0.len() < before
    }

    /// Tells whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the times of all, in order.
    pub(super) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().map(|key| key.t_ms)
    }

    /// Returns the exemplars in order.
    pub(super) fn into_list(self) -> Vec<Exemplar> {
        let list = self.0.into_iter();
        list.map(|key| Exemplar { labels: key.labels, t_ms: key.t_ms, value: f64::from_bits(key.bits) })
            .collect()
    }

    /// Cuts it into sets of at most `n`, in order.
    pub(super) fn pieces(self, n: usize) -> impl Iterator<Item = Self> {
        let mut rest = self.0.into_iter();
        std::iter::from_fn(move || {
            let piece: BTreeSet<Key> = rest.by_ref().take(n).collect();
            (!piece.is_empty()).then_some(Self(piece))
        })
    }
}

/// Returns about how much memory an exemplar takes in a set.
pub(super) fn memory_bytes(exemplar: &Exemplar) -> usize {
    size_of::<Key>() + 32 + exemplar.labels.as_bytes().len()
}

/// Appends a series and its exemplars.
pub(super) fn encode(series: &Labels, exemplars: &ExemplarSet, out: &mut Vec<u8>) {
    varint::put_slice(out, series.as_bytes());
    varint::put(out, exemplars.len() as u64);
    let mut last = 0_i64;
    for Key { t_ms, labels, bits } in &exemplars.0 {
        varint::put(out, varint::zigzag(t_ms.wrapping_sub(last)));
        last = *t_ms;
        varint::put_slice(out, labels.as_bytes());
        varint::put_float(out, f64::from_bits(*bits));
    }
}

/// Takes a series and its exemplars off the front; `None` for bytes that [`encode`] did not write.
pub(super) fn decode(bytes: &mut &[u8]) -> Option<(Labels, ExemplarSet)> {
    let series = Labels::from_bytes(varint::take_slice(bytes)?).ok()?;
    let mut set = ExemplarSet::default();
    let mut t_ms = 0_i64;
    for _ in 0..varint::take(bytes)? {
        t_ms = t_ms.wrapping_add(varint::unzigzag(varint::take(bytes)?));
        let labels = Labels::from_bytes(varint::take_slice(bytes)?).ok()?;
        set.0.insert(Key { t_ms, labels, bits: varint::take_float(bytes)?.to_bits() });
    }
    Some((series, set))
}

/// Groups exemplars by their series.
pub(super) fn by_series<'a>(exemplars: impl Iterator<Item = &'a (Labels, Exemplar)>) -> ExemplarMap {
    let mut map = ExemplarMap::new();
    for (series, exemplar) in exemplars {
        map.entry(series.clone()).or_default().insert(exemplar);
    }
    map
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any exemplar.
    pub(in crate::metrics) fn exemplars() -> impl Strategy<Value = Exemplar> {
        let labels = proptest::collection::btree_map("[a-z_]{1,8}", "[0-9a-f长]{1,9}", 0..3);
        let value = prop_oneof![any::<u64>().prop_map(f64::from_bits), (-9i64..99).prop_map(|n| n as f64)];
        let time = prop_oneof![4 => 0i64..500, 1 => any::<i64>()];
        (labels, time, value).prop_map(|(labels, t_ms, value)| Exemplar {
            labels: Labels::from_pairs(labels).expect("names are distinct"),
            t_ms,
            value,
        })
    }

    proptest! {
        #[test]
        fn exemplars_come_back_bit_for_bit_and_once(list in proptest::collection::vec(exemplars(), 0..20), n in 1usize..9) {
            let series = Labels::from_pairs([("__name__", "m")]).unwrap();
            let map = by_series(list.iter().chain(&list).map(|e| (series.clone(), e.clone())).collect::<Vec<_>>().iter());
            let set = map.get(&series).cloned().unwrap_or_default();
            let mut bytes = Vec::new();
            encode(&series, &set, &mut bytes);
            bytes.push(7);
            let mut rest = &bytes[..];
            prop_assert_eq!(decode(&mut rest), Some((series, set.clone())));
            prop_assert_eq!(rest, &[7]);
            let mut again = ExemplarSet::default();
            for piece in set.clone().pieces(n) {
                prop_assert!(piece.len() <= n);
                again.extend_within(&piece, SpanMs::ALL);
            }
            prop_assert_eq!(again, set.clone());
            let bits = |e: &Exemplar| (e.t_ms, e.labels.clone(), e.value.to_bits());
            let want: BTreeSet<_> = list.iter().map(bits).collect();
            prop_assert_eq!(set.into_list().iter().map(bits).collect::<Vec<_>>(), want.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut rest = &bytes[..];
            while decode(&mut rest).is_some() {}
        }
    }
}
