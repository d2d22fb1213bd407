//! PromQL: text to a tree, a tree to a plan, a plan to values.
//!
//! Flow: [`Query::parse`] reads and checks a text once; [`Engine::instant`] and [`Engine::range`]
//! fix its times and evaluate each part at all steps at once over slices of series. Sums over many
//! series stream: an aggregation holds its groups and one piece of its input.
//!
//! Values are numbers, in one column a series. Those that are native histograms are kept beside them, so that what
//! works on numbers need not look for them; the module `histogram` computes with them.
//!
//! All calls block; run them where blocking is allowed.

mod annotations;
mod cache;
mod error;
pub(crate) mod histogram;
mod eval;
mod plan;
mod result;
pub mod syntax;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use greylight_store::model::{TenantId, Timestamp};
use greylight_store::read::{Budget, MetricSource};
use parking_lot::Mutex;

pub use annotations::Annotations;
pub(crate) use cache::ResultCache;
pub use error::EvalError;
pub(crate) use histogram::{Bucket, buckets};
pub(crate) use result::RawSeries;
pub use result::{Answer, Matrix, Sample, SampleCounts, Value};
pub use syntax::{SyntaxError, SyntaxLimits, ValueType};

use cache::{Cached, Evaluated};
use eval::{Block, Evaluator, Repeated, Tally, Val, is_absent};
use plan::{Context, Grid, Node};
use syntax::Expr;

/// A parsed and checked expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    text: String,
    expr: Expr,
}

impl Query {
    /// Parses an expression within the usual limits.
    ///
    /// # Errors
    /// [`SyntaxError`] with the place of the first fault.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_within(text, &SyntaxLimits::default())
    }

    /// Parses an expression within the given limits.
    ///
    /// # Errors
    /// [`SyntaxError`] with the place of the first fault.
    pub fn parse_within(text: &str, limits: &SyntaxLimits) -> Result<Self, SyntaxError> {
        Ok(Self { text: text.into(), expr: syntax::parse(text, limits)? })
    }

    /// Returns the text as it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Returns what the expression gives.
    pub fn value_type(&self) -> ValueType {
        self.expr.value_type()
    }
}

impl std::str::FromStr for Query {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

/// How an engine evaluates.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How old a sample may be to still stand for its series. Default 5 minutes.
    pub lookback: Duration,
    /// Names of metrics go at the end of an evaluation, so that `by (__name__)` still sees them. Default true.
    pub delayed_names: bool,
    /// Step of subqueries that name none. Default 1 minute.
    pub subquery_step: Duration,
    /// Threads that one query may use. Default: as many as there are cores.
    pub n_threads: usize,
    /// Most steps of one range query. Default 11,000.
    pub points_max: usize,
    /// Most steps of one subquery. Default 100,000.
    pub subquery_points_max: usize,
    /// Most values (8 bytes each) that one intermediate result may hold. Default 20 million.
    pub values_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            delayed_names: true,
            subquery_step: Duration::from_secs(60),
            n_threads: std::thread::available_parallelism().map_or(1, usize::from),
            points_max: 11_000,
            subquery_points_max: 100_000,
            values_max: 20_000_000,
        }
    }
}

/// Evaluates expressions over a source of metrics.
#[derive(Clone, Debug)]
pub struct Engine {
    source: Arc<dyn MetricSource>,
    options: EngineOptions,
    counts: bool,
}

impl Engine {
    /// Makes an engine.
    pub fn new(source: Arc<dyn MetricSource>, options: EngineOptions) -> Self {
        Self { source, options, counts: false }
    }

    /// Returns the source that it reads.
    pub fn source(&self) -> &Arc<dyn MetricSource> {
        &self.source
    }

    /// Returns how it evaluates.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Returns the same engine with another lookback.
    #[must_use]
    pub fn with_lookback(&self, lookback: Duration) -> Self {
        let options = EngineOptions { lookback, ..self.options.clone() };
        Self { options, ..self.clone() }
    }

    /// Returns the same engine, whose answers say how many samples were looked at; that takes a little time.
    #[must_use]
    pub fn counting(&self) -> Self {
        Self { counts: true, ..self.clone() }
    }

    /// Evaluates at one instant.
    ///
    /// # Errors
    /// [`EvalError`] when the evaluation fails, passes a limit, or is cancelled.
    pub fn instant(
        &self,
        tenant: &TenantId,
        query: &Query,
        at: Timestamp,
        budget: &Budget,
    ) -> Result<Answer, EvalError> {
        let t = at.as_millis();
        let context = self.context(t, t, 0);
        let node = plan::lower(&query.expr, &context)?;
        let evaluator = self.evaluator((tenant, budget), query, &node);
        let value = match &node {
            Node::Raw(window) => Value::Matrix(Matrix::raw(evaluator.raw(window, t)?)),
            node => match evaluator.eval(node, &Grid::instant(t))? {
                Val::Scalar(v) => Value::Scalar { t_ms: t, value: v[0] },
                Val::Text(text) => Value::String { t_ms: t, text },
                Val::Vector(mut block) => {
                    eval::finish(&mut block)?;
                    evaluator.check_size(block.weight())?;
                    Value::Vector(samples(block, t))
                }
            },
        };
        let samples = self.samples(&Grid::instant(t), evaluator.tally.take(), &evaluator.tally);
        Ok(Answer { value, annotations: evaluator.notes.into_inner(), samples })
    }

    /// Evaluates at `start`, `start + step`, and so on up to `end`.
    ///
    /// # Errors
    /// [`EvalError::Invalid`] for a step or range that cannot be, else as [`instant`](Self::instant).
    pub fn range(
        &self,
        tenant: &TenantId,
        query: &Query,
        (start, end): (Timestamp, Timestamp),
        step: Duration,
        budget: &Budget,
    ) -> Result<Answer, EvalError> {
        self.range_kept(None, tenant, query, (start, end), step, budget).map(|(answer, _)| answer)
    }

    /// As [`range`](Self::range), with what a cache has of the answer; returns how many steps came from there.
    pub(crate) fn range_kept(
        &self,
        cache: Option<&ResultCache>,
        tenant: &TenantId,
        query: &Query,
        (start, end): (Timestamp, Timestamp),
        step: Duration,
        budget: &Budget,
    ) -> Result<(Answer, usize), EvalError> {
        let grid = self.grid(query, start.as_millis(), end.as_millis(), step)?;
        let node = plan::lower(&query.expr, &self.context(grid.start, end.as_millis(), grid.step))?;
        let evaluator = self.evaluator((tenant, budget), query, &node);
        let eval = |grid: &Grid| -> Result<Evaluated, EvalError> {
            let mut block = match evaluator.eval(&node, grid)? {
                Val::Scalar(values) => Matrix::scalar(values),
                Val::Vector(block) => block,
                Val::Text(_) => return Err(EvalError::internal("string in a range query")),
            };
            eval::finish(&mut block)?;
            let notes = std::mem::take(&mut *evaluator.notes.lock());
            let is_partial = evaluator.is_partial.swap(false, Ordering::Relaxed);
            let mut counts = evaluator.tally.take();
            counts.resize(grid.n, 0);
            Ok(Evaluated { block, notes, is_partial, counts: self.counts.then_some(counts) })
        };
        let lookback_ms = millis(self.options.lookback);
        let asked = (query.text(), &node, &grid);
        let cached = Cached::new(cache, &*self.source, tenant, lookback_ms, asked, self.counts);
        let (Evaluated { block, notes: mut annotations, counts, .. }, n_kept) = match cached {
            Some(cached) => cached.answer(eval)?,
            None => (eval(&grid)?, 0),
        };
        evaluator.check_size(block.weight())?;
        let samples = self.samples(&grid, counts.unwrap_or_default(), &evaluator.tally);
        let matrix = Matrix::from_block(block, grid.start, grid.step);
        annotations.sort();
        let answer = Answer { value: Value::Matrix(matrix), annotations, samples };
        Ok((answer, n_kept))
    }

    fn samples(&self, grid: &Grid, mut counts: Vec<u64>, tally: &Tally) -> Option<SampleCounts> {
        counts.resize(grid.n, 0);
        let by_step = (0..grid.n).map(|k| grid.time(k)).zip(counts);
        self.counts.then(|| SampleCounts { by_step: by_step.collect(), peak: tally.peak() })
    }

    fn grid(&self, query: &Query, start: i64, end: i64, step: Duration) -> Result<Grid, EvalError> {
        let found = query.value_type();
        if !matches!(found, ValueType::Scalar | ValueType::Vector) {
            let text = format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                found.describe()
            );
            return Err(EvalError::Invalid(text));
        }
        if end < start {
            return Err(EvalError::Invalid("end timestamp must not be before start time".into()));
        }
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step <= 0 {
            let text =
                "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(EvalError::Invalid(text.into()));
        }
        let n = end.checked_sub(start).map_or(u64::MAX, |span| (span / step).unsigned_abs() + 1);
        match usize::try_from(n) {
            // Prometheus compares the number of intervals, not of points.
            Ok(n) if n - 1 <= self.options.points_max => Ok(Grid { start, step, n }),
            _ => Err(EvalError::Resolution { limit: self.options.points_max }),
        }
    }

    fn context(&self, start: i64, end: i64, step: i64) -> Context {
        Context { start, end, step, subquery_step_ms: millis(self.options.subquery_step).max(1) }
    }

    fn evaluator<'a>(
        &'a self,
        (tenant, budget): (&'a TenantId, &'a Budget),
        query: &'a Query,
        plan: &Node,
    ) -> Evaluator<'a> {
        Evaluator {
            source: &*self.source,
            tenant,
            budget,
            text: &query.text,
            lookback_ms: millis(self.options.lookback),
            delayed_names: self.options.delayed_names,
            n_threads: self.options.n_threads,
            values_max: self.options.values_max,
            subquery_points_max: self.options.subquery_points_max,
            notes: Mutex::default(),
            repeated: Repeated::find(plan),
            tally: Tally::new(self.counts),
            is_partial: AtomicBool::new(false),
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn samples(block: Block, t_ms: i64) -> Vec<Sample> {
    let values = block.values;
    let rows = block.rows.into_iter().zip(values);
    rows.filter(|(_, v)| !is_absent(*v))
        .map(|(row, value)| match row.histograms.at(0, value).cloned() {
            Some(histogram) => {
                Sample { labels: row.labels, t_ms, value: f64::NAN, histogram: Some(histogram) }
            }
            None => Sample { labels: row.labels, t_ms, value, histogram: None },
        })
        .collect()
}
