//! Label sets.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Sorted, unique name–value pairs that identify a series or a log stream.
///
/// Held as one shared byte string: for each pair the length of the name (LEB128), the name, the
/// length of the value, the value. Pairs are sorted by name; no value is empty, since an empty
/// value means the same as no label. Equal sets are equal bytes, so the bytes serve as a key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

/// Why bytes or pairs are no label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A name occurs twice.
    #[error("label {0:?} occurs twice")]
    Duplicate(String),
    /// A name is empty.
    #[error("a label has an empty name (its value is {0:?})")]
    EmptyName(String),
    /// The bytes are not the encoding of a label set.
    #[error("bytes at offset {0} are no label set")]
    Encoding(usize),
}

impl Labels {
    /// Returns the value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Sorted, so the search ends early.
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// Returns the metric's name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// Walks the pairs in order of name.
    pub fn iter(&self) -> Pairs<'_> {
        Pairs { rest: &self.0 }
    }

    /// Returns how many pairs there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Tells whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes a label set from canonical bytes, checking them in full.
    ///
    /// # Errors
    /// [`LabelsError::Encoding`] when lengths, UTF-8, order or an empty value break the rule.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LabelsError> {
        let mut rest = bytes;
        let mut last: Option<&str> = None;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let pair = take_checked(&mut rest).and_then(|n| Some((n, take_checked(&mut rest)?)));
            let Some((name, value)) = pair else { return Err(LabelsError::Encoding(at)) };
            if value.is_empty() || name.is_empty() || last.is_some_and(|l| l >= name) {
                return Err(LabelsError::Encoding(at));
            }
            last = Some(name);
        }
        Ok(Self(bytes.into()))
    }

    /// Makes a label set from pairs in any order; pairs with an empty value are left out.
    ///
    /// # Errors
    /// [`LabelsError::Duplicate`] or [`LabelsError::EmptyName`].
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, LabelsError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut bytes = Vec::new();
        for (i, (name, value)) in pairs.iter().enumerate() {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name.is_empty() {
                return Err(LabelsError::EmptyName(value.into()));
            }
            if i > 0 && pairs[i - 1].0.as_ref() == name {
                return Err(LabelsError::Duplicate(name.into()));
            }
            if !value.is_empty() {
                encode_pair(&mut bytes, name, value);
            }
        }
        Ok(Self(bytes.into()))
    }

    /// Returns a builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

/// Appends one pair in the canonical encoding; the caller keeps names sorted and values non-empty.
pub(crate) fn encode_pair(out: &mut Vec<u8>, name: &str, value: &str) {
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

fn take_len(rest: &mut &[u8]) -> Option<usize> {
    let mut n = 0usize;
    for shift in (0..28).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        n |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

fn take_checked<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let n = take_len(rest)?;
    let text = rest.get(..n)?;
    *rest = &rest[n..];
    std::str::from_utf8(text).ok()
}

/// The pairs of a label set, in order of name.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Checked when the set was made, so neither part can fail here.
        Some((take_checked(&mut self.rest)?, take_checked(&mut self.rest)?))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Orders by pairs, names before values, as Prometheus does.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl fmt::Display for Labels {
    /// Writes `name{label="value", ...}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().filter(|(n, _)| *n != METRIC_NAME).enumerate() {
            write!(f, "{}{name}={value:?}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a changed label set.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: std::collections::BTreeMap<String, String>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self.pairs.remove(name);
        } else {
            self.pairs.insert(name.into(), value.into());
        }
        self
    }

    /// Removes a label.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.pairs.remove(name);
        self
    }

    /// Keeps the labels that `keep` says yes to.
    #[must_use]
    pub fn retain(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.pairs.retain(|name, _| keep(name));
        self
    }

    /// Makes the set.
    pub fn build(self) -> Labels {
        let mut bytes = Vec::new();
        for (name, value) in self.pairs.iter().filter(|(name, _)| !name.is_empty()) {
            encode_pair(&mut bytes, name, value);
        }
        Labels(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_of_pairs_and_empty_values_do_not_matter() {
        let a = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", "")]).unwrap();
        let b = Labels::from_pairs([("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.get("b"), Some("2"));
        assert_eq!(a.get("aa"), None);
        assert_eq!(Labels::from_pairs([("a", "1"), ("a", "1")]), Err(LabelsError::Duplicate("a".into())));
    }

    proptest! {
        #[test]
        fn bytes_come_back(pairs in proptest::collection::btree_map("[a-z\u{4e2d}]{1,5}", ".{1,300}", 0..6)) {
            let labels = Labels::from_pairs(&pairs).unwrap();
            prop_assert_eq!(Labels::from_bytes(labels.as_bytes()).unwrap(), labels.clone());
            let back: Vec<_> = labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            prop_assert_eq!(back, pairs.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(labels.to_builder().build(), labels);
        }

        #[test]
        fn any_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(labels) = Labels::from_bytes(&bytes) {
                let again = Labels::from_pairs(labels.iter()).unwrap();
                prop_assert!(again.len() == labels.len());
            }
        }
    }
}
