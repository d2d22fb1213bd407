//! What an evaluation gives.

use std::ops::Range;
use std::sync::Arc;

use greylight_store::model::{Histogram, Labels};

use super::Annotations;
use super::eval::{Block, HISTOGRAM, Histograms, is_absent, size};

/// A value and what is to be said about it.
#[derive(Debug)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
    /// What was looked at, where the engine [counts](super::Engine::counting) it.
    pub samples: Option<SampleCounts>,
}

/// How many samples an evaluation looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleCounts {
    /// Those behind each step, with its time in milliseconds; a histogram counts for several.
    pub by_step: Vec<(i64, u64)>,
    /// The most values that were held at once.
    pub peak: usize,
}

impl SampleCounts {
    /// Returns the sum over all steps.
    pub fn total(&self) -> u64 {
        self.by_step.iter().map(|(_, n)| n).sum()
    }
}

/// What an expression gave.
#[derive(Debug)]
pub enum Value {
    /// A number.
    Scalar {
        /// When.
        t_ms: i64,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// When.
        t_ms: i64,
        /// The text.
        text: String,
    },
    /// A value for each series, in the order of the answer.
    Vector(Vec<Sample>),
    /// Values over time for each series, sorted by labels.
    Matrix(Matrix),
}

/// One series' value at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series.
    pub labels: Labels,
    /// When, in milliseconds.
    pub t_ms: i64,
    /// The value; NaN where it is a histogram.
    pub value: f64,
    /// The value, where it is a native histogram.
    pub histogram: Option<Arc<Histogram>>,
}

/// Samples of one series at times of its own.
#[derive(Clone, Debug)]
pub(crate) struct RawSeries {
    labels: Labels,
    /// Times in milliseconds, rising.
    t_ms: Vec<i64>,
    /// Values, as many.
    values: Vec<f64>,
    histograms: Histograms,
}

impl RawSeries {
    /// Takes the live samples in a range of columns, if there are any; `histograms` come with their places, rising.
    pub(super) fn cut<'a>(
        labels: &Labels,
        (t_ms, values): (&[i64], &[f64]),
        histograms: impl Iterator<Item = (usize, &'a Arc<Histogram>)>,
        range: Range<usize>,
    ) -> Option<Self> {
        let first = range.start;
        let mut histograms = histograms.skip_while(|(at, _)| *at < first).peekable();
        let (mut times, mut taken, mut out) = (Vec::new(), Vec::new(), Histograms::default());
        for k in range {
            let histogram = histograms.next_if(|(at, _)| *at == k);
            if let Some((_, histogram)) = histogram {
                out.put(taken.len(), histogram.clone());
                taken.push(HISTOGRAM);
            } else if is_absent(values[k]) {
                continue;
            } else {
                taken.push(values[k]);
            }
            times.push(t_ms[k]);
        }
        let labels = labels.clone();
        (!times.is_empty()).then_some(Self { labels, t_ms: times, values: taken, histograms: out })
    }

    /// Returns how many samples there are; a histogram counts for several, as in Prometheus.
    pub(super) fn size(&self) -> u64 {
        let histograms = self.histograms.iter(&self.values).map(|(_, histogram)| size(histogram) - 1);
        self.values.len() as u64 + histograms.sum::<u64>()
    }
}

/// Values over time of many series.
#[derive(Debug)]
pub struct Matrix {
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// All series on the same steps.
    Steps {
        block: Block,
        order: Vec<usize>,
        start_ms: i64,
        step_ms: i64,
    },
    Raw(Vec<RawSeries>),
}

impl Matrix {
    pub(super) fn raw(mut series: Vec<RawSeries>) -> Self {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Self { shape: Shape::Raw(series) }
    }

    pub(super) fn scalar(values: Vec<f64>) -> Block {
        let mut block = Block::new(values.len());
        block.push_absent(super::eval::unnamed_row());
        block.values = values;
        block
    }

    pub(super) fn from_block(block: Block, start_ms: i64, step_ms: i64) -> Self {
        let mut order: Vec<usize> = (0..block.len()).collect();
        order.sort_by(|a, b| block.rows[*a].labels.cmp(&block.rows[*b].labels));
        Self { shape: Shape::Steps { block, order, start_ms, step_ms } }
    }

    /// Returns how many series there are.
    pub fn len(&self) -> usize {
        match &self.shape {
            Shape::Steps { order, .. } => order.len(),
            Shape::Raw(series) => series.len(),
        }
    }

    /// Tells whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the series after the first `n`.
    pub fn truncate(&mut self, n: usize) {
        match &mut self.shape {
            Shape::Steps { order, .. } => order.truncate(n),
            Shape::Raw(series) => series.truncate(n),
        }
    }

    /// Returns the labels of a series.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len).
    pub fn labels(&self, i: usize) -> &Labels {
        match &self.shape {
            Shape::Steps { block, order, .. } => &block.rows[order[i]].labels,
            Shape::Raw(series) => &series[i].labels,
        }
    }

    /// Walks the samples of a series that are numbers: times in milliseconds, and values.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len).
    pub fn samples(&self, i: usize) -> impl Iterator<Item = (i64, f64)> + '_ {
        let (times, values, histograms) = self.columns(i);
        let numbers = values
            .iter()
            .enumerate()
            .filter(move |(k, v)| !is_absent(**v) && histograms.at(*k, **v).is_none());
        numbers.map(move |(k, v)| (times.get(k), *v))
    }

    /// Walks the samples of a series that are native histograms: times in milliseconds, and histograms.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len).
    pub fn histograms(&self, i: usize) -> impl Iterator<Item = (i64, &Arc<Histogram>)> + '_ {
        let (times, values, histograms) = self.columns(i);
        histograms.iter(values).map(move |(k, histogram)| (times.get(k), histogram))
    }

    fn columns(&self, i: usize) -> (Times<'_>, &[f64], &Histograms) {
        match &self.shape {
            Shape::Steps { block, order, start_ms, step_ms } => {
                let times = Times::Steps(*start_ms, *step_ms);
                (times, block.row(order[i]), &block.rows[order[i]].histograms)
            }
            Shape::Raw(series) => (Times::Own(&series[i].t_ms), &series[i].values, &series[i].histograms),
        }
    }
}

#[derive(Clone, Copy)]
enum Times<'a> {
    Steps(i64, i64),
    Own(&'a [i64]),
}

impl Times<'_> {
    fn get(&self, k: usize) -> i64 {
        match self {
            Self::Steps(start, step) => start + step * k as i64,
            Self::Own(times) => times[k],
        }
    }
}
