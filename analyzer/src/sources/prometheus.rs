//! Series behind Prometheus's API: Prometheus, VictoriaMetrics, Thanos, Mimir, and a server of ours.
//!
//! Raw samples are asked for as range vectors of instant queries, piece by piece, since all of these answer them.
//! Markers that a series is gone are not in such answers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use greylight_store::model::{Labels, METRIC_NAME, MatchOp, Matcher, TenantId};
use greylight_store::read::{
    Budget, MetricMetadata, MetricSource, ReadError, Samples, Select, Selection, SpanMs,
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::{Client, Fault};

/// How much time is asked for at first; the next pieces depend on how much that was.
const PIECE_MS: i64 = 3600 * 1000;
/// Least and most time of one piece.
const PIECE_MS_MIN: i64 = 60 * 1000;
const PIECE_MS_MAX: i64 = 24 * 3600 * 1000;
/// A piece with fewer samples is followed by a longer one.
const PIECE_SAMPLES: usize = 100_000;
/// The latest time that is asked for, in the year 9999.
const END_MS: i64 = 253_402_300_799_999;

/// Series of one source.
#[derive(Debug)]
pub(super) struct Metrics {
    client: Arc<Client>,
}

impl Metrics {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    fn series(&self, matchers: &[Matcher], span: SpanMs) -> Result<Vec<Labels>, ReadError> {
        let span = bounded(span);
        let pairs =
            [("match[]", selector(matchers)), ("start", seconds(span.start)), ("end", seconds(span.end))];
        let answer: Answer<Vec<Names>> = asked(&self.client, "api/v1/series", &pairs)?;
        let mut all = BTreeSet::new();
        for names in answer.data.unwrap_or_default() {
            all.insert(names.labels(&self.client, None)?);
        }
        Ok(all.into_iter().collect())
    }
}

impl MetricSource for Metrics {
    fn select(
        &self,
        _tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        let series = self.series(select.matchers, select.span)?;
        budget.charge_series(series.len())?;
        Ok(Box::new(Found {
            client: Arc::clone(&self.client),
            selector: selector(select.matchers),
            has_name: metric(select.matchers).is_some(),
            span: bounded(select.span),
            series,
            columns: Mutex::default(),
            with_samples: Mutex::default(),
        }))
    }

    fn select_last(
        &self,
        _tenant: &TenantId,
        select: &Select<'_>,
        budget: &Budget,
    ) -> Result<Box<dyn Selection>, ReadError> {
        let span = bounded(select.span);
        let metric = metric(select.matchers);
        let mut last = BTreeMap::new();
        for (labels, value) in last_values(&self.client, &selector(select.matchers), metric, span)? {
            match value {
                Some(value) => last.insert(labels, vec![(span.end, value)]),
                None => return Err(native(&self.client, &labels)),
            };
        }
        budget.charge_series(last.len())?;
        budget.charge_samples(last.len())?;
        let (series, columns): (Vec<Labels>, Vec<_>) = last.into_iter().unzip();
        Ok(Box::new(Found {
            client: Arc::clone(&self.client),
            selector: String::new(),
            has_name: true,
            span,
            series,
            columns: Mutex::new(Some(Arc::new(columns.into_iter().map(Column::from).collect()))),
            with_samples: Mutex::default(),
        }))
    }

    fn label_names(
        &self,
        _tenant: &TenantId,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let mut names = BTreeSet::new();
        for matchers in sets {
            let series = self.series(matchers, span)?;
            budget.charge_series(series.len())?;
            names.extend(series.iter().flat_map(Labels::iter).map(|(name, _)| name.to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        _tenant: &TenantId,
        name: &str,
        sets: &[Vec<Matcher>],
        span: SpanMs,
        budget: &Budget,
    ) -> Result<Vec<String>, ReadError> {
        let mut values = BTreeSet::new();
        for matchers in sets {
            let series = self.series(matchers, span)?;
            budget.charge_series(series.len())?;
            values.extend(series.iter().filter_map(|labels| labels.get(name)).map(str::to_owned));
        }
        Ok(values.into_iter().collect())
    }

    fn metadata(&self, _tenant: &TenantId, _name: Option<&str>) -> Result<Vec<MetricMetadata>, ReadError> {
        Ok(Vec::new())
    }
}

/// Times and values of one series.
#[derive(Debug, Default)]
struct Column {
    t_ms: Vec<i64>,
    values: Vec<f64>,
}

impl From<Vec<(i64, f64)>> for Column {
    fn from(samples: Vec<(i64, f64)>) -> Self {
        let (t_ms, values) = samples.into_iter().unzip();
        Self { t_ms, values }
    }
}

/// Series that were found; their samples are fetched when they are first read.
#[derive(Debug)]
struct Found {
    client: Arc<Client>,
    selector: String,
    /// Whether the selector names a metric: its samples are then wanted together.
    has_name: bool,
    span: SpanMs,
    series: Vec<Labels>,
    columns: Mutex<Option<Arc<Vec<Column>>>>,
    /// The series that have any sample in the span, once one turned out to have none: Prometheus lists those too that
    /// ended before.
    with_samples: Mutex<Option<BTreeSet<Labels>>>,
}

impl Found {
    fn all(&self, budget: &Budget) -> Result<Arc<Vec<Column>>, ReadError> {
        // Held while it fetches: several threads may read, and one fetch is for all of them.
        let mut columns = self.columns.lock();
        if let Some(known) = &*columns {
            return Ok(Arc::clone(known));
        }
        let fetched = Arc::new(self.fetch(&self.selector, 0..self.series.len(), budget)?);
        *columns = Some(Arc::clone(&fetched));
        Ok(fetched)
    }

    /// Fetches one series alone.
    fn one(&self, at: usize, budget: &Budget) -> Result<Column, ReadError> {
        let labels = &self.series[at];
        let mut with_samples = self.with_samples.lock();
        if with_samples.as_ref().is_some_and(|known| !known.contains(labels)) {
            return Ok(Column::default());
        }
        let column = self.fetch(&exactly(labels), at..at + 1, budget)?.pop().unwrap_or_default();
        if column.t_ms.is_empty() && with_samples.is_none() {
            let known = last_values(&self.client, &self.selector, None, self.span)?;
            *with_samples = Some(known.into_iter().map(|(labels, _)| labels).collect());
        }
        Ok(column)
    }

    /// Fetches what a selector finds of these series, all of the span.
    fn fetch(&self, selector: &str, wanted: Range<usize>, budget: &Budget) -> Result<Vec<Column>, ReadError> {
        let place: HashMap<&Labels, usize> =
            self.series[wanted.clone()].iter().enumerate().map(|(i, labels)| (labels, i)).collect();
        let mut columns: Vec<Column> = wanted.map(|_| Column::default()).collect();
        let (mut from, mut piece) = (self.span.start, PIECE_MS);
        while !columns.is_empty() && from <= self.span.end {
            let to = from.saturating_add(piece - 1).min(self.span.end);
            let answer = match self.piece(selector, from, to) {
                Err(Fault::TooLarge) if piece > PIECE_MS_MIN => {
                    piece = (piece / 8).max(PIECE_MS_MIN);
                    continue;
                }
                Err(Fault::TooLarge) => return Err(self.client.too_large()),
                Err(Fault::Read(error)) => return Err(error),
                Ok(answer) => answer,
            };
            let mut n = 0;
            for one in answer {
                let labels = one.metric.labels(&self.client, None)?;
                // One that came since the series were listed has no sample that a look could want.
                let Some(&at) = place.get(&labels) else { continue };
                // Where all metrics of a cohort are read, they are read to see what is there.
                if self.has_name && !one.histograms.is_empty() {
                    return Err(native(&self.client, &labels));
                }
                n += one.values.len();
                columns[at].extend(&one.values, from, to);
            }
            budget.charge_samples(n)?;
            if n < PIECE_SAMPLES {
                piece = (piece * 4).min(PIECE_MS_MAX);
            }
            from = to + 1;
        }
        Ok(columns)
    }

    /// Asks for the samples between two times, both inside. Windows are open on the left in Prometheus 3, closed
    /// before: a millisecond more is asked for, and what lies there is cut.
    fn piece(&self, selector: &str, from: i64, to: i64) -> Result<Vec<RangeSeries>, Fault> {
        let pairs = [("query", format!("{selector}[{}ms]", to - from + 1)), ("time", seconds(to))];
        let answer: Answer<Matrix> = self.client.form("api/v1/query", &pairs)?;
        answer.ok(&self.client).map_err(Fault::Read)?;
        Ok(answer.data.map(|data| data.result).unwrap_or_default())
    }
}

impl Column {
    fn extend(&mut self, points: &[Point], from: i64, to: i64) {
        for point in points {
            let is_later = self.t_ms.last().is_none_or(|last| *last < point.t_ms);
            if (from..=to).contains(&point.t_ms) && is_later {
                self.t_ms.push(point.t_ms);
                self.values.push(point.value);
            }
        }
    }

    fn samples(&self) -> Samples<'_> {
        Samples { t_ms: &self.t_ms, values: &self.values, histograms: &[], counts: &[] }
    }
}

impl Selection for Found {
    fn series(&self) -> &[Labels] {
        &self.series
    }

    fn read(
        &self,
        series: Range<usize>,
        budget: &Budget,
        sink: &mut dyn FnMut(usize, Samples<'_>),
    ) -> Result<(), ReadError> {
        // All metrics of a cohort are much; one series of them is asked for alone, as to see whether a unit is there.
        if series.len() == 1 && self.series.len() > 1 && !self.has_name {
            let column = self.one(series.start, budget)?;
            sink(series.start, column.samples());
            return Ok(());
        }
        let columns = self.all(budget)?;
        for i in series {
            sink(i, columns[i].samples());
        }
        Ok(())
    }

    fn missing(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Asks for the last value of each series in a span; none of those that end in a native histogram.
fn last_values(
    client: &Client,
    selector: &str,
    metric: Option<&str>,
    span: SpanMs,
) -> Result<Vec<(Labels, Option<f64>)>, ReadError> {
    let query = format!("last_over_time({selector}[{}ms])", span.end - span.start + 1);
    let pairs = [("query", query), ("time", seconds(span.end))];
    let answer: Answer<Vector> = asked(client, "api/v1/query", &pairs)?;
    let all = answer.data.map(|data| data.result).unwrap_or_default();
    let one = |one: OneSample| Ok((one.metric.labels(client, metric)?, one.value.map(|point| point.value)));
    all.into_iter().map(one).collect()
}

fn native(client: &Client, labels: &Labels) -> ReadError {
    client.wrong(format!(
        "{labels} has native histograms, which do not come whole from a source; scrape its classic buckets as well, or send \
         it here by remote write"
    ))
}

fn metric(matchers: &[Matcher]) -> Option<&str> {
    let named = |one: &&Matcher| one.name() == METRIC_NAME && one.op() == MatchOp::Equal;
    matchers.iter().find(named).map(Matcher::value)
}

/// Keeps a span within times that can be asked for.
fn bounded(span: SpanMs) -> SpanMs {
    let start = span.start.clamp(0, END_MS);
    SpanMs { start, end: span.end.clamp(start, END_MS) }
}

fn seconds(t_ms: i64) -> String {
    format!("{}.{:03}", t_ms / 1000, t_ms % 1000)
}

/// Writes matchers as PromQL and LogQL read them.
pub(super) fn selector(matchers: &[Matcher]) -> String {
    let one =
        |matcher: &Matcher| format!("{}{}{}", matcher.name(), matcher.op().as_str(), quoted(matcher.value()));
    format!("{{{}}}", matchers.iter().map(one).collect::<Vec<_>>().join(","))
}

fn exactly(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn asked<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    pairs: &[(&str, String)],
) -> Result<Answer<T>, ReadError> {
    let answer: Answer<T> = client.form(path, pairs).map_err(|fault| match fault {
        Fault::TooLarge => client.too_large(),
        Fault::Read(error) => error,
    })?;
    answer.ok(client)?;
    Ok(answer)
}

/// The envelope of the API.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<T>,
}

impl<T> Answer<T> {
    fn ok(&self, client: &Client) -> Result<(), ReadError> {
        match (self.status.as_str(), &self.data) {
            ("success", Some(_)) => Ok(()),
            _ => Err(client.wrong(format!("answered {:?} without data: {}", self.status, self.error))),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Matrix {
    result: Vec<RangeSeries>,
}

#[derive(Debug, Deserialize)]
struct RangeSeries {
    metric: Names,
    #[serde(default)]
    values: Vec<Point>,
    #[serde(default)]
    histograms: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Vector {
    result: Vec<OneSample>,
}

#[derive(Debug, Deserialize)]
struct OneSample {
    metric: Names,
    value: Option<Point>,
}

/// A label set as JSON.
#[derive(Debug, Deserialize)]
struct Names(BTreeMap<String, String>);

impl Names {
    /// Reads them; `metric` is the name of those that came without one.
    fn labels(mut self, client: &Client, metric: Option<&str>) -> Result<Labels, ReadError> {
        if let (Some(metric), false) = (metric, self.0.contains_key(METRIC_NAME)) {
            self.0.insert(METRIC_NAME.to_owned(), metric.to_owned());
        }
        Labels::from_pairs(self.0)
            .map_err(|error| client.wrong(format!("answered labels that are none: {error}")))
    }
}

/// A sample as JSON: seconds, and the value as text.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    t_ms: i64,
    value: f64,
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Pair<'a>(f64, #[serde(borrow)] Cow<'a, str>);
        let Pair(at, text) = Pair::deserialize(deserializer)?;
        let wrong = |what: &str| serde::de::Error::custom(format!("[{at}, {text:?}] has no {what}"));
        let value = text.parse().map_err(|_| wrong("number"))?;
        let t_ms = (at * 1000.0).round();
        if !(0.0..=END_MS as f64).contains(&t_ms) {
            return Err(wrong("time"));
        }
        Ok(Self { t_ms: t_ms as i64, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_are_read_to_the_millisecond_and_the_bit() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"x","a":"ü"},
            "values":[[1795255200.123,"0.1"],[1795255201,"NaN"],[1795255202.5,"+Inf"],[1795255203.001,"1e+06"]]}]}}"#;
        let answer: Answer<Matrix> = serde_json::from_str(text).unwrap();
        let points = &answer.data.unwrap().result[0].values;
        let times: Vec<i64> = points.iter().map(|p| p.t_ms - 1_795_255_200_000).collect();
        assert_eq!(times, [123, 1000, 2500, 3001]);
        assert_eq!((points[0].value, points[2].value, points[3].value), (0.1, f64::INFINITY, 1e6));
        assert!(points[1].value.is_nan());
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        for bad in ["[1,2]", "[\"1\",\"2\"]", "[1,\"x\"]", "[-1,\"2\"]", "[1e300,\"2\"]", "[1]", "{}"] {
            assert!(serde_json::from_str::<Point>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_are_cut_to_their_time_and_never_repeat() {
        let points =
            |all: &[i64]| all.iter().map(|&t_ms| Point { t_ms, value: t_ms as f64 }).collect::<Vec<_>>();
        let mut column = Column::default();
        column.extend(&points(&[9, 10, 15, 15, 12, 19, 20]), 10, 19);
        column.extend(&points(&[19, 20, 21]), 20, 29);
        assert_eq!(column.t_ms, [10, 15, 19, 20, 21]);
        assert_eq!(column.values, [10.0, 15.0, 19.0, 20.0, 21.0]);
    }

    #[test]
    fn spans_are_kept_within_what_can_be_asked() {
        assert_eq!(bounded(SpanMs { start: -5, end: -1 }), SpanMs { start: 0, end: 0 });
        assert_eq!(bounded(SpanMs::ALL), SpanMs { start: 0, end: END_MS });
        assert_eq!(seconds(1_005), "1.005");
    }

    proptest! {
        #[test]
        fn any_json_is_taken_or_refused(
            text in "(\\{|\\}|\\[|\\]|,|:|\"(status|success|data|result|metric|values|value|histograms|a)\"|\"1\"|-?[0-9]{1,3}(e9)?|null){0,40}"
        ) {
            let _ = serde_json::from_str::<Answer<Matrix>>(&text);
            let _ = serde_json::from_str::<Answer<Vector>>(&text);
            let _ = serde_json::from_str::<Answer<Vec<Names>>>(&text);
        }

        #[test]
        fn selectors_read_back(value in "\\PC{0,12}|[\"\\\\\n\t\u{7f}a]{0,8}") {
            let matchers = [Matcher::equal(METRIC_NAME, "x"), Matcher::new("a", MatchOp::NotEqual, &value).unwrap()];
            let limits = greylight_query::promql::syntax::SyntaxLimits::default();
            let read = greylight_query::promql::syntax::parse_selector(&selector(&matchers), &limits).unwrap();
            prop_assert!(read.iter().any(|one| one.name() == "a" && one.value() == value));
        }
    }
}
