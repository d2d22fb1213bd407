//! What an evaluation gives.

use greylight_store::model::Labels;

use super::Annotations;
use super::eval::{Block, is_absent};

/// A value and what is to be said about it.
#[derive(Debug)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
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
    /// The value.
    pub value: f64,
}

/// Samples of one series at times of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSeries {
    /// The series.
    pub labels: Labels,
    /// Times in milliseconds, rising.
    pub t_ms: Vec<i64>,
    /// Values, as many.
    pub values: Vec<f64>,
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

    /// Walks the samples of a series: times in milliseconds, and values.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len).
    pub fn samples(&self, i: usize) -> impl Iterator<Item = (i64, f64)> + '_ {
        let (times, values): (Times<'_>, &[f64]) = match &self.shape {
            Shape::Steps { block, order, start_ms, step_ms } => {
                (Times::Steps(*start_ms, *step_ms), block.row(order[i]))
            }
            Shape::Raw(series) => (Times::Own(&series[i].t_ms), &series[i].values),
        };
        let with_time = values.iter().enumerate().map(move |(k, v)| (times.get(k), *v));
        with_time.filter(|(_, v)| !is_absent(*v))
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
