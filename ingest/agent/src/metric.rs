//! Samples on their way from a collector to the queue.

use std::borrow::Cow;
use std::collections::BTreeMap;

use greylight_wire::exposition::MetricType;

/// Labels of one series. Those of a sample that is sent have `__name__` among them, are sorted by name and unique,
/// and none is empty.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// One sample of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedSample {
    /// The series.
    pub labels: Labels,
    /// Milliseconds since the epoch.
    pub t_ms: i64,
    /// The value; a stale marker's payload passes unchanged.
    pub value: f64,
}

/// What is known of a metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyInfo {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its type.
    pub kind: MetricType,
    /// What it means.
    pub help: Cow<'static, str>,
}

/// What one collection has brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// The samples.
    pub samples: Vec<OwnedSample>,
    /// What is known of their families.
    pub families: Vec<FamilyInfo>,
}

/// A metric family with its samples of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Name, type and meaning.
    pub info: FamilyInfo,
    /// Labels of its own and value of each sample.
    pub samples: Vec<(Labels, f64)>,
}

/// What a collector shows at one moment; families keep the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    families: Vec<Family>,
    index: BTreeMap<Cow<'static, str>, usize>,
}

impl Page {
    /// Adds a sample, and its family when it is the first.
    pub fn put(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: MetricType,
        help: impl Into<Cow<'static, str>>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels = labels.iter().map(|(name, value)| (Cow::Borrowed(*name), (*value).to_owned())).collect();
        self.put_labelled(name, kind, help, labels, value);
    }

    /// Adds a sample some of whose labels have names that are not known beforehand.
    pub fn put_labelled(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: MetricType,
        help: impl Into<Cow<'static, str>>,
        labels: Labels,
        value: f64,
    ) {
        let name = name.into();
        let i = match self.index.get(&name) {
            Some(&i) => i,
            None => {
                self.index.insert(name.clone(), self.families.len());
                let info = FamilyInfo { name, kind, help: help.into() };
                self.families.push(Family { info, samples: Vec::new() });
                self.families.len() - 1
            }
        };
        self.families[i].samples.push((labels, value));
    }

    /// Adds a counter's sample.
    pub fn counter(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.put(name, MetricType::Counter, help, labels, value);
    }

    /// Adds a gauge's sample.
    pub fn gauge(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.put(name, MetricType::Gauge, help, labels, value);
    }

    /// Returns the families.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Returns the number of samples.
    pub fn n_samples(&self) -> usize {
        self.families.iter().map(|family| family.samples.len()).sum()
    }

    /// Finishes it: every sample at `t_ms`, with `base` labels beside its own. Its own win; empty values are none.
    pub fn finish(self, t_ms: i64, base: &[(Cow<'static, str>, String)]) -> Collected {
        let mut collected = Collected::default();
        for Family { info, samples } in self.families {
            for (own, value) in samples {
                let mut labels: Labels = Vec::with_capacity(own.len() + base.len() + 1);
                labels.push((Cow::Borrowed("__name__"), info.name.clone().into_owned()));
                labels.extend(own);
                for (name, value) in base {
                    if !labels.iter().any(|(other, _)| other == name) {
                        labels.push((name.clone(), value.clone()));
                    }
                }
                sort(&mut labels);
                collected.samples.push(OwnedSample { labels, t_ms, value });
            }
            collected.families.push(info);
        }
        collected
    }
}

/// Brings labels into the order of the wire, and drops empty ones, which are no labels.
pub fn sort(labels: &mut Labels) {
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort_by(|a, b| a.0.cmp(&b.0));
}

/// Shows a page as exposition text, for tests and people.
impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for family in &self.families {
            for (labels, value) in &family.samples {
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let braces =
                    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                writeln!(f, "{}{braces} {value}", family.info.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_labels_win_and_empty_ones_go() {
        let mut page = Page::default();
        page.gauge("up", "Up.", &[("job", "own"), ("empty", "")], 1.0);
        let base = [("instance".into(), "a".to_owned()), ("job".into(), "base".to_owned())];
        let collected = page.finish(5, &base);
        let labels: Vec<String> =
            collected.samples[0].labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(labels, ["__name__=up", "instance=a", "job=own"]);
    }
}
