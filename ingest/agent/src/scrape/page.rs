//! Turns a page into samples with the target's labels.

use std::borrow::Cow;

use greylight_wire::exposition::{Format, MetricType, ParseError, Sample, Visitor, parse};
use xxhash_rust::xxh3::Xxh3;

use super::ScrapeConfig;
use crate::client::Fetched;
use crate::metric::{Collected, FamilyInfo, Labels, OwnedSample, sort};

/// Takes a page's samples.
pub(super) struct PageReader<'a> {
    target: &'a Labels,
    config: &'a ScrapeConfig,
    t_ms: i64,
    out: &'a mut Collected,
}

impl<'a> PageReader<'a> {
    pub(super) fn new(
        target: &'a Labels,
        config: &'a ScrapeConfig,
        t_ms: i64,
        out: &'a mut Collected,
    ) -> Self {
        Self { target, config, t_ms, out }
    }

    /// Reads a page; one of no known type is taken for the plain text format, as it mostly is.
    pub(super) fn read(&mut self, page: &Fetched) -> Result<(), ParseError> {
        let format = Format::from_content_type(&page.content_type).unwrap_or(Format::PrometheusText);
        parse(&page.body, format, self)
    }

    /// Joins a sample's own labels with the target's.
    ///
    /// Of a name in both the target's wins and the page's is kept as `exported_<name>`, unless the page is trusted.
    fn labels(&self, sample: &Sample<'_>) -> Labels {
        let mut labels: Labels = Vec::with_capacity(sample.labels.len() + self.target.len() + 1);
        labels.push((Cow::Borrowed("__name__"), sample.name.to_owned()));
        for (name, value) in sample.labels {
            let taken = self.target.iter().any(|(other, _)| other == name);
            let name: Cow<'static, str> = match taken && !self.config.honor_labels && !value.is_empty() {
                true => Cow::Owned(format!("exported_{name}")),
                false => Cow::Owned(name.clone().into_owned()),
            };
            labels.push((name, value.clone().into_owned()));
        }
        for (name, value) in self.target {
            if !labels.iter().any(|(other, _)| other == name) {
                labels.push((name.clone(), value.clone()));
            }
        }
        sort(&mut labels);
        labels
    }
}

impl Visitor for PageReader<'_> {
    fn sample(&mut self, sample: &Sample<'_>) {
        let t_ms = sample.timestamp_ms.filter(|_| self.config.honor_timestamps).unwrap_or(self.t_ms);
        self.out.samples.push(OwnedSample { labels: self.labels(sample), t_ms, value: sample.value });
    }

    fn metric_type(&mut self, family: &str, kind: MetricType) {
        match self.out.families.last_mut().filter(|info| info.name == family) {
            Some(info) => info.kind = kind,
            None => self.put_family(family, kind, ""),
        }
    }

    fn help(&mut self, family: &str, help: &str) {
        match self.out.families.last_mut().filter(|info| info.name == family) {
            Some(info) => info.help = Cow::Owned(help.to_owned()),
            None => self.put_family(family, MetricType::Unknown, help),
        }
    }
}

impl PageReader<'_> {
    fn put_family(&mut self, family: &str, kind: MetricType, help: &str) {
        let (name, help) = (Cow::Owned(family.to_owned()), Cow::Owned(help.to_owned()));
        self.out.families.push(FamilyInfo { name, kind, help });
    }
}

/// Hashes a label set.
pub(super) fn hash(labels: &Labels) -> u64 {
    let mut hash = Xxh3::new();
    for (name, value) in labels {
        hash.update(name.as_bytes());
        hash.update(&[0xff]);
        hash.update(value.as_bytes());
        hash.update(&[0xff]);
    }
    hash.digest()
}
