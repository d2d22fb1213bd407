//! Aggregations over series. Those that need one number or three of each group are folded while
//! the series stream by; the others take all values of a group.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use greylight_store::model::{Histogram, Labels};

use super::super::histogram::{self, Mismatch};
use super::super::plan::{Grid, Node};
use super::super::syntax::{AggregateOp, Grouping, Span};
use super::super::{EvalError, syntax};
use super::block::{ABSENT, Block, Row, is_absent};
use super::numeric::{self, Mean, kahan_add};
use super::subset::{Numbered, Subset};
use super::{Evaluator, Result, Val};

/// What is known of one group at one step.
#[derive(Clone, Copy, Debug)]
enum Cell {
    None,
    Sum(f64, f64),
    Mean(Mean),
    One(f64),
    Spread { count: f64, mean: f64, sum: f64 },
}

impl Cell {
    fn add(&mut self, op: AggregateOp, v: f64) {
        *self = match (&*self, op) {
            (Self::None, AggregateOp::Sum) => Self::Sum(v, 0.0),
            (Self::None, AggregateOp::Avg) => Self::Mean(Mean::first(v)),
            (Self::None, AggregateOp::Count | AggregateOp::Group) => Self::One(1.0),
            (Self::None, AggregateOp::Stddev | AggregateOp::Stdvar) => {
                let sum = if v.is_finite() { 0.0 } else { f64::NAN };
                Self::Spread { count: 1.0, mean: v, sum }
            }
            (Self::None, _) => Self::One(v),
            (Self::Sum(sum, c), _) => {
                let (sum, c) = kahan_add(v, *sum, *c);
                Self::Sum(sum, c)
            }
            (Self::Mean(mean), _) => {
                let mut mean = *mean;
                mean.add(v);
                Self::Mean(mean)
            }
            (Self::One(one), AggregateOp::Count) => Self::One(one + 1.0),
            (Self::One(one), AggregateOp::Min) => Self::One(if v < *one || one.is_nan() { v } else { *one }),
            (Self::One(one), AggregateOp::Max) => Self::One(if v > *one || one.is_nan() { v } else { *one }),
            (Self::One(one), _) => Self::One(*one),
            (Self::Spread { count, mean, sum }, _) => {
                let count = count + 1.0;
                let delta = v - mean;
                let mean = mean + delta / count;
                Self::Spread { count, mean, sum: sum + delta * (v - mean) }
            }
        };
    }

    fn merge(&mut self, op: AggregateOp, other: &Self) {
        *self = match (&*self, other) {
            (Self::None, other) => *other,
            (mine, Self::None) => *mine,
            (Self::Sum(a, ca), Self::Sum(b, cb)) => {
                let (sum, c) = kahan_add(*b, *a, *ca);
                Self::Sum(sum, if sum.is_infinite() { 0.0 } else { c + cb })
            }
            (Self::Mean(a), Self::Mean(b)) => {
                let mut mean = *a;
                mean.merge(b);
                Self::Mean(mean)
            }
            (Self::One(a), Self::One(b)) => match op {
                AggregateOp::Count => Self::One(a + b),
                AggregateOp::Min => Self::One(if b < a || a.is_nan() { *b } else { *a }),
                AggregateOp::Max => Self::One(if b > a || a.is_nan() { *b } else { *a }),
                _ => Self::One(*a),
            },
            // Chan, Golub and LeVeque: variances of two parts become that of the whole.
            (
                Self::Spread { count: na, mean: ma, sum: sa },
                Self::Spread { count: nb, mean: mb, sum: sb },
            ) => {
                let count = na + nb;
                let delta = mb - ma;
                let sum = sa + sb + delta * delta * na * nb / count;
                Self::Spread { count, mean: ma + delta * nb / count, sum }
            }
            (mine, _) => *mine,
        };
    }

    fn get(&self, op: AggregateOp) -> f64 {
        match self {
            Self::None => ABSENT,
            Self::Sum(sum, _) if sum.is_infinite() => *sum,
            Self::Sum(sum, c) => sum + c,
            Self::Mean(mean) => mean.get(),
            Self::One(one) => *one,
            Self::Spread { count, sum, .. } => {
                let variance = sum / count;
                if op == AggregateOp::Stddev { variance.sqrt() } else { variance }
            }
        }
    }
}

/// Space of a cell, in values, as limits count it.
const VALUES_PER_CELL: usize = size_of::<Cell>().div_ceil(size_of::<f64>());

/// The sum of the histograms of one group at one step.
#[derive(Debug)]
struct Sum {
    sum: Histogram,
    n: f64,
    /// The first one's metric.
    name: String,
    /// They have no sum: why, and the name of the metric that showed it.
    mismatch: Option<(Mismatch, String)>,
}

impl Sum {
    fn add(&mut self, other: &Histogram, n: f64, name: &str) {
        self.n += n;
        if self.mismatch.is_none()
            && let Err(mismatch) = histogram::add(&mut self.sum, other)
        {
            self.mismatch = Some((mismatch, name.into()));
        }
    }
}

/// Groups and what is known of them, one cell a step.
#[derive(Debug, Default)]
struct Groups {
    n_steps: usize,
    numbered: Numbered,
    rows: Vec<Row>,
    cells: Vec<Cell>,
    /// Beside the cells, by their place: sums of histograms.
    sums: BTreeMap<usize, Sum>,
    /// Space of the sums, as limits count it.
    weight: usize,
    /// Histograms were passed over.
    ignored: bool,
}

impl Groups {
    fn size(&self) -> usize {
        self.cells.len() * VALUES_PER_CELL + self.weight
    }

    /// Takes in a histogram at a cell.
    fn add_histogram(&mut self, op: AggregateOp, cell: usize, histogram: &Histogram, name: &str) {
        match op {
            AggregateOp::Sum | AggregateOp::Avg => self.add_to_sum(cell, histogram, 1.0, name),
            AggregateOp::Count | AggregateOp::Group => self.cells[cell].add(op, 1.0),
            _ => self.ignored = true,
        }
    }

    fn add_to_sum(&mut self, cell: usize, histogram: &Histogram, n: f64, name: &str) {
        match self.sums.entry(cell) {
            Entry::Vacant(entry) => {
                self.weight += histogram::weight(histogram);
                entry.insert(Sum { sum: histogram.clone(), n, name: name.into(), mismatch: None });
            }
            Entry::Occupied(mut entry) => {
                let before = histogram::weight(&entry.get().sum);
                entry.get_mut().add(histogram, n, name);
                self.weight = self.weight + histogram::weight(&entry.get().sum) - before;
            }
        }
    }

    fn grow(&mut self, row: Row) {
        self.rows.push(row);
        self.cells.resize(self.rows.len() * self.n_steps, Cell::None);
    }

    fn find(&mut self, labels: &Labels, drop_name: bool) -> usize {
        let (at, is_new) = self.numbered.find_whole(labels);
        if is_new {
            self.grow(Row::new(labels.clone(), drop_name));
        }
        at
    }

    fn add(&mut self, op: AggregateOp, grouping: &Grouping, block: &Block) {
        for (row, values) in block.iter() {
            let at = match self.numbered.find(&row.labels, Subset::of_group(grouping)) {
                Ok(at) => at,
                Err((at, labels)) => {
                    self.grow(Row::new(labels, row.drop_name));
                    at
                }
            };
            let start = at * self.n_steps;
            if !row.histograms.is_empty() {
                for (k, v) in values.iter().enumerate() {
                    match row.histograms.at(k, *v) {
                        Some(histogram) => {
                            self.add_histogram(op, start + k, histogram, row.labels.metric_name());
                        }
                        None if is_absent(*v) => {}
                        None => self.cells[start + k].add(op, *v),
                    }
                }
                continue;
            }
            let cells = &mut self.cells[start..start + self.n_steps];
            for (cell, v) in cells.iter_mut().zip(values) {
                if !is_absent(*v) {
                    cell.add(op, *v);
                }
            }
        }
    }

    fn merge(&mut self, op: AggregateOp, other: Self) {
        let mut to = Vec::with_capacity(other.rows.len());
        for (i, row) in other.rows.iter().enumerate() {
            let at = self.find(&row.labels, row.drop_name);
            let theirs = &other.cells[i * self.n_steps..(i + 1) * self.n_steps];
            let mine = &mut self.cells[at * self.n_steps..(at + 1) * self.n_steps];
            mine.iter_mut().zip(theirs).for_each(|(a, b)| a.merge(op, b));
            to.push(at);
        }
        for (cell, sum) in other.sums {
            let at = to[cell / self.n_steps] * self.n_steps + cell % self.n_steps;
            self.add_to_sum(at, &sum.sum, sum.n, &sum.name);
            if let Some(mine) = self.sums.get_mut(&at) {
                mine.mismatch = mine.mismatch.take().or(sum.mismatch);
            }
        }
        self.ignored |= other.ignored;
    }

    fn into_block(self, eval: &Evaluator<'_>, op: AggregateOp, span: Span) -> Block {
        if self.ignored {
            eval.note_ignored_in_aggregation(op.as_str(), span);
        }
        let values = self.cells.iter().map(|cell| cell.get(op)).collect();
        let mut out = Block { n_steps: self.n_steps, rows: self.rows, values };
        for (cell, Sum { mut sum, n, mismatch, .. }) in self.sums {
            let (i, k) = (cell / self.n_steps, cell % self.n_steps);
            if !is_absent(out.values[cell]) {
                out.values[cell] = ABSENT;
                eval.note_mixed_aggregation(span);
            } else if let Some((mismatch, name)) = mismatch {
                eval.note_mismatch(mismatch, &name, span);
            } else {
                if op == AggregateOp::Avg {
                    histogram::divide(&mut sum, n);
                }
                histogram::compact(&mut sum);
                out.put(i, k, Arc::new(sum));
            }
        }
        out
    }
}

/// Evaluates an aggregation.
pub(super) fn eval(eval: &Evaluator<'_>, node: &Node, grid: &Grid) -> Result<Block> {
    let Node::Aggregate { op, param, expr, grouping, span } = node else {
        return Err(EvalError::internal("aggregation"));
    };
    let op = *op;
    let fresh = |n_steps| Groups { n_steps, ..Groups::default() };
    if !op.has_param() {
        if let Some(chain) = eval.chain(expr, grid)? {
            let parts = chain.fold(eval, grid.n, fresh, |groups, piece| {
                groups.add(op, grouping, &piece);
                eval.check_size(groups.size())?;
                eval.check()
            })?;
            let merged = parts.into_iter().reduce(|mut all, part| {
                all.merge(op, part);
                all
            });
            return Ok(merged.unwrap_or_else(|| fresh(grid.n)).into_block(eval, op, *span));
        }
        let mut groups = fresh(grid.n);
        groups.add(op, grouping, &eval.vector(expr, grid)?);
        return Ok(groups.into_block(eval, op, *span));
    }
    let block = eval.vector(expr, grid)?;
    let param = match param {
        Some(param) => eval.eval(param, grid)?,
        None => return Err(EvalError::internal("parameter")),
    };
    match (op, param) {
        (AggregateOp::CountValues, Val::Text(label)) => count_values(eval, &block, grouping, &label, *span),
        (AggregateOp::Quantile, Val::Scalar(q)) => {
            eval.note_quantile(&q, *span);
            Ok(quantiles(eval, &block, grouping, &q, *span))
        }
        (_, Val::Scalar(k)) => choose(eval, op, block, grouping, &k, *span),
        _ => Err(EvalError::internal("parameter type")),
    }
}

/// Returns the rows of each group, groups in the order of their first row.
fn members(block: &Block, grouping: &Grouping) -> Vec<(Labels, Vec<usize>)> {
    let mut numbered = Numbered::default();
    let mut groups: Vec<(Labels, Vec<usize>)> = Vec::new();
    for (i, row) in block.rows.iter().enumerate() {
        match numbered.find(&row.labels, Subset::of_group(grouping)) {
            Ok(at) => groups[at].1.push(i),
            Err((_, labels)) => groups.push((labels, vec![i])),
        }
    }
    groups
}

fn quantiles(eval: &Evaluator<'_>, block: &Block, grouping: &Grouping, q: &[f64], span: Span) -> Block {
    let mut out = Block::new(block.n_steps);
    let (mut values, mut ignored) = (Vec::new(), false);
    for (labels, rows) in members(block, grouping) {
        let at = out.push_absent(Row::new(labels, block.rows[rows[0]].drop_name));
        for (k, q) in q.iter().enumerate() {
            values.clear();
            for (i, v) in rows.iter().map(|i| (*i, block.row(*i)[k])).filter(|(_, v)| !is_absent(*v)) {
                if block.rows[i].histograms.at(k, v).is_some() {
                    ignored = true;
                } else {
                    values.push(v);
                }
            }
            if !values.is_empty() {
                out.row_mut(at)[k] = numeric::quantile(*q, &mut values);
            }
        }
    }
    if ignored {
        eval.note_ignored_in_aggregation(AggregateOp::Quantile.as_str(), span);
    }
    out.drop_empty();
    out
}

fn count_values(
    eval: &Evaluator<'_>,
    block: &Block,
    grouping: &Grouping,
    label: &str,
    span: Span,
) -> Result<Block> {
    if label.is_empty() {
        return Err(EvalError::Execution(format!("invalid label name {label:?}")));
    }
    let mut groups = Groups { n_steps: block.n_steps, ..Groups::default() };
    for (labels, rows) in members(block, grouping) {
        for i in rows {
            eval.check()?;
            for (k, v) in block.row(i).iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let text = match block.rows[i].histograms.at(k, *v) {
                    Some(histogram) => histogram::Text(histogram).to_string(),
                    None => syntax::number_text(*v),
                };
                let labels = labels.to_builder().set(label, &text).build();
                let at = groups.find(&labels, block.rows[i].drop_name);
                groups.cells[at * block.n_steps + k].add(AggregateOp::Count, *v);
            }
            eval.check_size(groups.size())?;
        }
    }
    Ok(groups.into_block(eval, AggregateOp::Count, span))
}

/// `topk`, `bottomk`, `limitk`, `limit_ratio`: the group's series themselves, some of them.
fn choose(
    eval: &Evaluator<'_>,
    op: AggregateOp,
    block: Block,
    grouping: &Grouping,
    param: &[f64],
    span: Span,
) -> Result<Block> {
    // Nothing is chosen, so nothing can be wrong with how much.
    if op != AggregateOp::LimitRatio && param.iter().all(|k| *k < 1.0) {
        return Ok(Block::new(block.n_steps));
    }
    let mut ratio = param.to_vec();
    for (k, p) in param.iter().enumerate() {
        if p.is_nan() {
            let what = if op == AggregateOp::LimitRatio { "Ratio" } else { "Parameter" };
            return Err(EvalError::Execution(format!("{what} value is NaN")));
        }
        // The bounds of 64-bit integers, as numbers.
        if op != AggregateOp::LimitRatio && p.abs() >= 9_223_372_036_854_775_807.0 {
            let (over, p) = (if *p > 0.0 { "overflows" } else { "underflows" }, numeric::format_g(*p));
            return Err(EvalError::Execution(format!("Scalar value {p} {over} int64")));
        }
        if op == AggregateOp::LimitRatio && p.abs() > 1.0 {
            ratio[k] = p.clamp(-1.0, 1.0);
            let (got, capped) = (numeric::format_g(*p), numeric::format_g(ratio[k]));
            let text = format!("ratio value should be between -1 and 1, got {got}, capping to {capped}");
            eval.warn_at(&text, span);
        }
    }
    let of_numbers = matches!(op, AggregateOp::Topk | AggregateOp::Bottomk);
    let mut ignored = false;
    let groups = members(&block, grouping);
    let mut keep = vec![false; block.values.len()];
    // In the order of an instant answer: groups, and the best first within each.
    let mut order: Vec<usize> = Vec::new();
    let mut present: Vec<usize> = Vec::new();
    for (_, rows) in &groups {
        for k in 0..block.n_steps {
            let value = |i: &usize| block.row(*i)[k];
            present.clear();
            present.extend(rows.iter().copied().filter(|i| !is_absent(value(i))));
            if of_numbers {
                let n = present.len();
                present.retain(|i| block.rows[*i].histograms.at(k, value(i)).is_none());
                ignored |= present.len() < n;
            }
            match op {
                AggregateOp::Topk => present.sort_by(|a, b| numeric::nan_first(&value(b), &value(a))),
                AggregateOp::Bottomk => {
                    present.sort_by(|a, b| match (value(a).is_nan(), value(b).is_nan()) {
                        (false, false) => numeric::nan_first(&value(a), &value(b)),
                        (a_nan, b_nan) => a_nan.cmp(&b_nan),
                    })
                }
                AggregateOp::LimitRatio => present.retain(|i| in_ratio(&block.rows[*i].labels, ratio[k])),
                _ => {}
            }
            if op != AggregateOp::LimitRatio {
                let k_max = if param[k] < 1.0 { 0 } else { param[k] as usize };
                present.truncate(k_max);
            }
            present.iter().for_each(|i| keep[i * block.n_steps + k] = true);
            if block.n_steps == 1 {
                order.extend_from_slice(&present);
            }
        }
        eval.check()?;
    }
    if ignored {
        eval.note_ignored_in_aggregation(op.as_str(), span);
    }
    let mut block = block;
    block.values.iter_mut().zip(&keep).filter(|(_, keep)| !**keep).for_each(|(v, _)| *v = ABSENT);
    if block.n_steps == 1 {
        let values = order.iter().map(|i| block.values[*i]).collect();
        let rows = order.iter().map(|i| block.rows[*i].clone()).collect();
        return Ok(Block { n_steps: 1, rows, values });
    }
    block.drop_empty();
    Ok(block)
}

/// Tells whether a series is in the share `ratio` of all series, by a hash of its labels.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0xff);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0xff);
    }
    let offset = super::hash::xxh64(&bytes) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}
