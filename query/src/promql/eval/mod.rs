//! Runs a plan: every node gives its values at all steps at once.

mod aggregate;
mod binary;
mod block;
mod call;
mod chain;
mod elementwise;
mod hash;
mod histogram;
mod info;
mod labels;
mod mixed;
mod notes;
pub(in crate::promql) mod numeric;
mod repeated;
mod subset;
mod tally;
mod window;

use std::sync::atomic::AtomicBool;

use greylight_store::model::{Labels, TenantId};
use greylight_store::read::{Budget, MetricSource};
use parking_lot::Mutex;

use super::plan::{Grid, Node, Shift, Window, WindowSource};
use super::syntax::{BinaryOp, Card, FunctionId, Span};
use super::{Annotations, EvalError, RawSeries};
use block::ABSENT;
pub(crate) use block::{Block, HISTOGRAM, Histograms, Row, is_absent, without_name};
use chain::Chain;
use elementwise::Op;
use mixed::{Mixed, Windows};
pub(crate) use repeated::Repeated;
pub(crate) use tally::{Tally, size};
use window::{Numbers, Scratch, WindowSpec};

type Result<T> = std::result::Result<T, EvalError>;

/// One running query.
#[derive(Debug)]
pub(super) struct Evaluator<'a> {
    pub(super) source: &'a dyn MetricSource,
    pub(super) tenant: &'a TenantId,
    pub(super) budget: &'a Budget,
    pub(super) text: &'a str,
    pub(super) lookback_ms: i64,
    /// Whether names go at the end, or with each operation.
    pub(super) delayed_names: bool,
    pub(super) n_threads: usize,
    /// Most values that one intermediate result may hold.
    pub(super) values_max: usize,
    pub(super) subquery_points_max: usize,
    pub(super) notes: Mutex<Annotations>,
    pub(super) repeated: Repeated,
    pub(super) tally: Tally,
    /// Whether data was missing from what was read.
    pub(super) is_partial: AtomicBool,
}

/// What a node gives.
#[derive(Debug)]
pub(super) enum Val {
    /// One number a step.
    Scalar(Vec<f64>),
    Vector(Block),
    Text(String),
}

fn names_are_kept(func: FunctionId) -> bool {
    matches!(func, FunctionId::LastOverTime | FunctionId::FirstOverTime)
}

impl Evaluator<'_> {
    pub(super) fn check(&self) -> Result<()> {
        Ok(self.budget.check()?)
    }

    pub(super) fn check_size(&self, n_values: usize) -> Result<()> {
        self.tally.hold(n_values);
        if n_values > self.values_max {
            return Err(EvalError::Limit {
                what: "values of an intermediate result ([query] values_max)",
                limit: self.values_max,
            });
        }
        Ok(())
    }

    /// Evaluates a node at all steps of a grid.
    pub(super) fn eval(&self, node: &Node, grid: &Grid) -> Result<Val> {
        match node {
            Node::Number(v) => Ok(Val::Scalar(vec![*v; grid.n])),
            Node::Text(text) => Ok(Val::Text(text.clone())),
            Node::Time => Ok(Val::Scalar((0..grid.n).map(|k| grid.time(k) as f64 / 1000.0).collect())),
            Node::Fixed(inner) => {
                let outer = self.tally.open();
                let value = self.eval(inner, &Grid { n: 1, ..*grid })?;
                let n_samples = self.tally.close(outer).iter().sum();
                // As if it had been evaluated at each of them.
                self.tally.add(&vec![n_samples; grid.n]);
                Ok(match value {
                    Val::Scalar(v) => Val::Scalar(vec![v[0]; grid.n]),
                    Val::Vector(block) => {
                        self.check_size(block.len().saturating_mul(grid.n))?;
                        Val::Vector(block.repeated(grid.n))
                    }
                    text => text,
                })
            }
            Node::Negate(inner) if self.is_scalar(inner) => {
                let values = self.scalar(inner, grid)?;
                Ok(Val::Scalar(values.into_iter().map(|v| -v).collect()))
            }
            Node::Binary { op, lhs, rhs, .. } if self.is_scalar(lhs) && self.is_scalar(rhs) => {
                let (a, b) = (self.scalar(lhs, grid)?, self.scalar(rhs, grid)?);
                Ok(Val::Scalar(a.iter().zip(&b).map(|(a, b)| elementwise::scalar(*op, *a, *b)).collect()))
            }
            Node::Call { func: FunctionId::Pi, .. } => Ok(Val::Scalar(vec![std::f64::consts::PI; grid.n])),
            Node::Call { func: FunctionId::Scalar, args, .. } => Ok(Val::Scalar(self.only(&args[0], grid)?)),
            Node::Raw(_) => Err(EvalError::internal("range vector inside an expression")),
            _ => Ok(Val::Vector(self.vector(node, grid)?)),
        }
    }

    fn is_scalar(&self, node: &Node) -> bool {
        match node {
            Node::Number(_) | Node::Time => true,
            Node::Fixed(inner) | Node::Negate(inner) => self.is_scalar(inner),
            Node::Binary { lhs, rhs, .. } => self.is_scalar(lhs) && self.is_scalar(rhs),
            Node::Call { func, .. } => matches!(func, FunctionId::Pi | FunctionId::Scalar),
            _ => false,
        }
    }

    fn scalar(&self, node: &Node, grid: &Grid) -> Result<Vec<f64>> {
        match self.eval(node, grid)? {
            Val::Scalar(values) => Ok(values),
            _ => Err(EvalError::internal("scalar")),
        }
    }

    fn text(&self, node: &Node, grid: &Grid) -> Result<String> {
        match self.eval(node, grid)? {
            Val::Text(text) => Ok(text),
            _ => Err(EvalError::internal("string")),
        }
    }

    /// The value of a vector of one series; NaN at steps where there are none or several.
    fn only(&self, node: &Node, grid: &Grid) -> Result<Vec<f64>> {
        let block = self.vector(node, grid)?;
        let mut out = vec![f64::NAN; grid.n];
        let mut seen = vec![false; grid.n];
        for (row, values) in block.iter() {
            // Histograms are no numbers, and do not make a number ambiguous.
            let is_number = |k: usize, v: f64| !is_absent(v) && row.histograms.at(k, v).is_none();
            for (k, v) in values.iter().enumerate().filter(|(k, v)| is_number(*k, **v)) {
                out[k] = if seen[k] { f64::NAN } else { *v };
                seen[k] = true;
            }
        }
        Ok(out)
    }

    /// Takes the operations on single values off a node: they are done row by row.
    fn peel<'n>(&self, node: &'n Node, grid: &Grid) -> Result<(&'n Node, Vec<Op>)> {
        let mut ops = Vec::new();
        let mut node = node;
        loop {
            let (inner, op) = match node {
                Node::Negate(inner) => (&**inner, Op::Negate),
                Node::Binary { op, lhs, rhs, return_bool, span, .. } => {
                    let (op, return_bool, span) = (*op, *return_bool, *span);
                    if self.is_scalar(rhs) {
                        let other = self.scalar(rhs, grid)?;
                        (&**lhs, Op::Scalar { op, other, scalar_left: false, return_bool, span })
                    } else if self.is_scalar(lhs) {
                        let other = self.scalar(lhs, grid)?;
                        (&**rhs, Op::Scalar { op, other, scalar_left: true, return_bool, span })
                    } else {
                        break;
                    }
                }
                Node::Call { func, args, .. } => match self.peel_call(*func, args, grid)? {
                    Some(op) => (&args[0], op),
                    None => break,
                },
                _ => break,
            };
            ops.push(op);
            node = inner;
        }
        ops.reverse();
        Ok((node, ops))
    }

    fn peel_call(&self, func: FunctionId, args: &[Node], grid: &Grid) -> Result<Option<Op>> {
        if args.is_empty() {
            return Ok(None);
        }
        let n = grid.n;
        Ok(Some(match func {
            FunctionId::Clamp => {
                Op::Clamp { low: self.scalar(&args[1], grid)?, high: self.scalar(&args[2], grid)? }
            }
            FunctionId::ClampMin => {
                Op::Clamp { low: self.scalar(&args[1], grid)?, high: vec![f64::INFINITY; n] }
            }
            FunctionId::ClampMax => {
                Op::Clamp { low: vec![f64::NEG_INFINITY; n], high: self.scalar(&args[1], grid)? }
            }
            FunctionId::Round => {
                let to = if args.len() > 1 { self.scalar(&args[1], grid)? } else { vec![1.0; n] };
                Op::Round { to }
            }
            func => match elementwise::math(func) {
                Some(f) => Op::Math(f),
                None => return Ok(None),
            },
        }))
    }

    /// Opens a node as series from the store, if that is all it is.
    fn chain(&self, node: &Node, grid: &Grid) -> Result<Option<Chain>> {
        let outer = self.tally.open();
        let (base, ops) = self.peel(node, grid)?;
        // Names that go at once may make series equal, which only all of them together show.
        let chain = match absent_window(base).is_some() || !self.delayed_names {
            true => None,
            false => Chain::open(self, base, grid, ops)?,
        };
        let counts = self.tally.close(outer);
        // What is no chain is evaluated anew, and counted then.
        if chain.is_some() {
            self.tally.add(&counts);
        }
        Ok(chain)
    }

    /// Evaluates a node that gives a vector.
    pub(super) fn vector(&self, node: &Node, grid: &Grid) -> Result<Block> {
        let mut block = self.named_vector(node, grid)?;
        if !self.delayed_names {
            finish(&mut block)?;
        }
        Ok(block)
    }

    fn named_vector(&self, node: &Node, grid: &Grid) -> Result<Block> {
        self.check()?;
        let (base, ops) = self.peel(node, grid)?;
        let is_absent_window = absent_window(base).is_some();
        let own_ops = if is_absent_window { Vec::new() } else { ops.clone() };
        let mut block = if let Some(chain) = Chain::open(self, base, grid, own_ops)? {
            let block = chain.block(self, grid.n)?;
            self.check_size(block.weight())?;
            if !is_absent_window {
                return Ok(block);
            }
            block
        } else {
            self.whole(base, grid)?
        };
        if let Some(labels) = absent_window(base) {
            block = absent(&block, labels);
        }
        self.check_size(block.weight())?;
        let n = block.n_steps;
        for (row, values) in block.rows.iter_mut().zip(block.values.chunks_exact_mut(n.max(1))) {
            ops.iter().for_each(|op| op.apply(self, row, values));
        }
        Ok(block)
    }

    /// Evaluates a node that needs its whole input at once; one that occurs again only once.
    fn whole(&self, base: &Node, grid: &Grid) -> Result<Block> {
        if !self.repeated.has(base) {
            return self.whole_anew(base, grid);
        }
        if let Some((block, counts)) = self.repeated.get(base, grid) {
            self.tally.add(&counts);
            return Ok(block);
        }
        let before = self.notes.lock().len();
        let outer = self.tally.open();
        let block = self.whole_anew(base, grid)?;
        let counts = self.tally.close(outer);
        self.tally.add(&counts);
        // Notes name places in the text, and each place has its own.
        if self.notes.lock().len() == before && block.weight() <= self.values_max / 4 {
            self.repeated.put(base, grid, &block, &counts);
        }
        Ok(block)
    }

    fn whole_anew(&self, base: &Node, grid: &Grid) -> Result<Block> {
        Ok(match base {
            Node::Aggregate { .. } => aggregate::eval(self, base, grid)?,
            Node::Binary { op, lhs, rhs, matching, return_bool, span } => {
                let lhs = self.vector(lhs, grid)?;
                if op.is_set() && lhs.rows.is_empty() && *op != BinaryOp::Or {
                    return Ok(lhs);
                }
                let rhs = self.vector(rhs, grid)?;
                if matching.card == Card::ManyToMany {
                    binary::set(*op, lhs, rhs, matching)
                } else {
                    let operation =
                        binary::Operation { op: *op, matching, return_bool: *return_bool, span: *span };
                    operation.eval(self, lhs, rhs)?
                }
            }
            Node::Window { .. } => self.subquery_window(base, grid)?,
            Node::Call { .. } => self.call(base, grid)?,
            Node::Fixed(_) => match self.eval(base, grid)? {
                Val::Vector(block) => block,
                _ => return Err(EvalError::internal("vector")),
            },
            _ => return Err(EvalError::internal("vector")),
        })
    }

    fn window_spec(
        &self,
        func: FunctionId,
        window: &Window,
        shift: Shift,
        (params, param_span): (&[Node], Span),
        grid: &Grid,
    ) -> Result<WindowSpec> {
        let params: Vec<Vec<f64>> = params.iter().map(|p| self.scalar(p, grid)).collect::<Result<_>>()?;
        if func == FunctionId::QuantileOverTime {
            self.note_quantile(&params[0], param_span);
        }
        if func == FunctionId::DoubleExponentialSmoothing {
            for (what, value) in ["smoothing", "trend"].iter().zip(&params) {
                if let Some(bad) = value.iter().find(|v| !(**v > 0.0 && **v < 1.0)) {
                    let short = if *what == "smoothing" { "sf" } else { "tf" };
                    let text = format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {bad:.6}");
                    return Err(EvalError::Execution(text));
                }
            }
        }
        Ok(WindowSpec { func, grid: *grid, shift, range_ms: window.range_ms, params })
    }

    /// Windows over what a subquery gives; and `absent_over_time`, which looks at all series at once.
    fn subquery_window(&self, node: &Node, grid: &Grid) -> Result<Block> {
        let Node::Window { func, window, params, param_span } = node else {
            return Err(EvalError::internal("window"));
        };
        let WindowSource::Subquery { node: inner, step_ms, shift } = &window.source else {
            return Err(EvalError::internal("window"));
        };
        let spec = self.window_spec(*func, window, *shift, (params, *param_span), grid)?;
        // What counts are the samples that the subquery gives the windows, not those that it is made of.
        let outer = self.tally.open();
        let (t_ms, block) = self.subquery(inner, *step_ms, shift, window.range_ms, grid)?;
        self.tally.close(outer);
        let mut counts = vec![0; grid.n];
        let mut out = Block::new(grid.n);
        let mut scratch = Scratch::default();
        let (mut live, mut weight) = (Scratch::default(), 0);
        let mut noted = String::new();
        for (row, values) in block.iter() {
            self.check()?;
            let drop_name = row.drop_name || !names_are_kept(*func);
            let at = out.push_absent(Row::new(row.labels.clone(), drop_name));
            let name = row.labels.metric_name();
            let made = &mut out.values[at * grid.n..];
            // Absent values have the bits of the mark of staleness, and go the same way.
            if row.histograms.is_empty() {
                let numbers = live.live(Numbers::all(&t_ms, values));
                if self.tally.is_on() {
                    tally::add_windows(&mut counts, &spec, numbers);
                }
                window::eval_row(&spec, numbers, made, &mut scratch);
            } else {
                let samples = Mixed::split(&t_ms, values, row.histograms.iter(values));
                if self.tally.is_on() {
                    tally::add_mixed_windows(&mut counts, &spec, &samples);
                }
                let to = (&mut out.rows[at].histograms, made);
                Windows::eval(self, &spec, &samples, (name, window.span), to, &mut scratch);
            }
            weight += grid.n + out.rows[at].histograms.weight();
            self.check_size(weight)?;
            if matches!(func, FunctionId::Rate | FunctionId::Increase)
                && !name.is_empty()
                && name != noted
                && out.has_number(at)
            {
                noted = name.into();
                self.note_counter_name(name, window.span);
            }
        }
        self.tally.add(&counts);
        out.drop_empty();
        Ok(out)
    }

    fn subquery(
        &self,
        inner: &Node,
        step_ms: i64,
        shift: &Shift,
        range_ms: i64,
        grid: &Grid,
    ) -> Result<(Vec<i64>, Block)> {
        let (first, last) = shift.bounds(grid);
        // Steps are multiples of the step, whatever the query's own times are; open on the left.
        let before = first.saturating_sub(range_ms);
        let start = before.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
        if start > last {
            return Ok((Vec::new(), Block::new(0)));
        }
        let n = usize::try_from(last.saturating_sub(start) / step_ms).unwrap_or(usize::MAX).saturating_add(1);
        if n > self.subquery_points_max {
            return Err(EvalError::Limit { what: "steps of a subquery", limit: self.subquery_points_max });
        }
        let sub = Grid { start, step: step_ms, n };
        let block = self.vector(inner, &sub)?;
        Ok(((0..n).map(|k| sub.time(k)).collect(), block))
    }

    /// Reads the samples of a range vector that is the whole query.
    pub(super) fn raw(&self, window: &Window, t: i64) -> Result<Vec<RawSeries>> {
        let grid = Grid::instant(t);
        match &window.source {
            WindowSource::Series(series) => {
                let selection = chain::select(self, series, &grid, window.range_ms, None)?;
                let end = series.shift.time(&grid, 0);
                let start = end.saturating_sub(window.range_ms);
                let labels = selection.series();
                let mut out = Vec::new();
                selection.read(0..labels.len(), self.budget, &mut |i, samples| {
                    let from = samples.t_ms.partition_point(|t| *t <= start);
                    let to = samples.t_ms.partition_point(|t| *t <= end);
                    let histograms = samples.histograms.iter().map(|(k, histogram)| (*k, histogram));
                    let columns = (samples.t_ms, samples.values);
                    out.extend(RawSeries::cut(&labels[i], columns, histograms, from..to));
                })?;
                let n_samples = out.iter().map(RawSeries::size).sum();
                self.tally.add(&[n_samples]);
                self.tally.hold(usize::try_from(n_samples).unwrap_or(usize::MAX));
                Ok(out)
            }
            WindowSource::Subquery { node, step_ms, shift } => {
                let outer = self.tally.open();
                let (t_ms, mut block) = self.subquery(node, *step_ms, shift, window.range_ms, &grid)?;
                let n_samples = self.tally.close(outer).iter().sum();
                self.tally.add(&[n_samples]);
                finish(&mut block)?;
                Ok(block
                    .iter()
                    .filter_map(|(row, values)| {
                        let histograms = row.histograms.iter(values);
                        RawSeries::cut(&row.labels, (&t_ms, values), histograms, 0..values.len())
                    })
                    .collect())
            }
        }
    }
}

/// Returns the labels that `absent_over_time` gives its answer, if a node is one.
fn absent_window(node: &Node) -> Option<&Labels> {
    match node {
        Node::Window { func: FunctionId::AbsentOverTime, window, .. } => Some(&window.absent_labels),
        _ => None,
    }
}

/// A row without labels.
pub(super) fn unnamed_row() -> Row {
    Row::new(Labels::default(), false)
}

fn single(values: Vec<f64>) -> Block {
    Block { n_steps: values.len(), rows: vec![unnamed_row()], values }
}

/// A row of ones where a block has no value.
fn absent(block: &Block, labels: &Labels) -> Block {
    let mut values = vec![1.0; block.n_steps];
    for (_, row) in block.iter() {
        values.iter_mut().zip(row).filter(|(_, v)| !is_absent(**v)).for_each(|(out, _)| *out = ABSENT);
    }
    let rows = vec![Row::new(labels.clone(), true)];
    Block { n_steps: block.n_steps, rows, values }
}

/// Drops the names that had to wait until now, and empty rows; rows that become equal are merged
/// where they have no step in common.
pub(super) fn finish(block: &mut Block) -> Result<()> {
    block.drop_empty();
    for row in block.rows.iter_mut().filter(|row| row.drop_name) {
        row.labels = without_name(&row.labels);
        row.drop_name = false;
    }
    let mut at = std::collections::HashMap::with_capacity(block.len());
    let mut doubled = false;
    for i in 0..block.len() {
        let first = *at.entry(block.rows[i].labels.clone()).or_insert(i);
        if first == i {
            continue;
        }
        doubled = true;
        for k in 0..block.n_steps {
            let value = std::mem::replace(&mut block.row_mut(i)[k], ABSENT);
            let histogram = block.rows[i].histograms.at(k, value).cloned();
            let slot = &mut block.row_mut(first)[k];
            if !is_absent(value) && !is_absent(*slot) {
                return Err(EvalError::Execution(
                    "vector cannot contain metrics with the same labelset".into(),
                ));
            }
            if !is_absent(value) {
                *slot = value;
            }
            if let Some(histogram) = histogram {
                block.put(first, k, histogram);
            }
        }
    }
    if doubled {
        block.drop_empty();
    }
    Ok(())
}
