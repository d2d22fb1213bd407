//! Operators between two vectors: series are matched by labels once, then step by step.

use std::collections::HashMap;
use std::sync::Arc;

use greylight_store::model::{Histogram, Labels};

use super::super::EvalError;
use super::super::histogram;
use super::super::syntax::{BinaryOp, Card, Matching, Span};
use super::block::{Block, HISTOGRAM, Row, is_absent, without_name};
use super::elementwise::{arithmetic, compare};
use super::subset::{Numbered, Subset};
use super::{Evaluator, Result};

/// Rows of both sides with one signature.
#[derive(Debug, Default)]
struct Match {
    left: Vec<usize>,
    right: Vec<usize>,
}

/// Gathers rows by signature; in the order of the left rows, then of those on the right alone.
fn matches(lhs: &Block, rhs: &Block, matching: &Matching) -> Vec<(Labels, Match)> {
    let mut numbered = Numbered::default();
    let mut out: Vec<(Labels, Match)> = Vec::new();
    for (block, is_left) in [(lhs, true), (rhs, false)] {
        for (i, row) in block.rows.iter().enumerate() {
            let at = match numbered.find(&row.labels, Subset::of_match(matching)) {
                Ok(at) => at,
                Err((at, labels)) => {
                    out.push((labels, Match::default()));
                    at
                }
            };
            let found = &mut out[at].1;
            if is_left { found.left.push(i) } else { found.right.push(i) }
        }
    }
    out
}

/// Evaluates a set operator.
pub(super) fn set(op: BinaryOp, mut lhs: Block, rhs: Block, matching: &Matching) -> Block {
    let n_steps = lhs.n_steps;
    let groups = matches(&lhs, &rhs, matching);
    let mut rhs = rhs;
    for (_, found) in &groups {
        for k in 0..n_steps {
            match op {
                BinaryOp::And | BinaryOp::Unless => {
                    let there = found.right.iter().any(|i| !is_absent(rhs.row(*i)[k]));
                    if there != (op == BinaryOp::And) {
                        found.left.iter().for_each(|i| lhs.row_mut(*i)[k] = super::block::ABSENT);
                    }
                }
                _ => {
                    if found.left.iter().any(|i| !is_absent(lhs.row(*i)[k])) {
                        found.right.iter().for_each(|i| rhs.row_mut(*i)[k] = super::block::ABSENT);
                    }
                }
            }
        }
    }
    if op == BinaryOp::Or {
        merge_equal(&mut lhs, &rhs);
    }
    lhs.drop_empty();
    lhs
}

/// Adds rows to a block; into the row of equal labels where there is one.
fn merge_equal(into: &mut Block, from: &Block) {
    let at: HashMap<Labels, usize> =
        into.rows.iter().enumerate().map(|(i, row)| (row.labels.clone(), i)).collect();
    let mut histograms = Vec::new();
    for (row, values) in from.iter() {
        let to = at.get(&row.labels).copied().unwrap_or_else(|| into.push_absent(row.bare()));
        for (k, (mine, theirs)) in into.row_mut(to).iter_mut().zip(values).enumerate() {
            if !is_absent(*mine) {
                continue;
            }
            *mine = *theirs;
            if let Some(histogram) = row.histograms.at(k, *theirs) {
                histograms.push((to, k, histogram.clone()));
            }
        }
    }
    for (to, k, histogram) in histograms {
        into.put(to, k, histogram);
    }
}

/// One operator between vectors.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub(super) op: BinaryOp,
    pub(super) matching: &'a Matching,
    pub(super) return_bool: bool,
    pub(super) span: Span,
}

/// What two values of matching series give.
enum Computed {
    /// Nothing: the comparison does not hold, or there is no such operation.
    Nothing,
    Number(f64),
    Histogram(Arc<Histogram>),
}

/// One of two operands.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Number(f64),
    Histogram(&'a Arc<Histogram>),
}

impl<'a> Operand<'a> {
    fn of(row: &'a Row, k: usize, value: f64) -> Self {
        row.histograms.at(k, value).map_or(Self::Number(value), Self::Histogram)
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Operation<'_> {
    /// Evaluates an arithmetic or comparing operator.
    pub(super) fn eval(&self, eval: &Evaluator<'_>, lhs: Block, rhs: Block) -> Result<Block> {
        // From here on the right side is the one, the left side may be many.
        let swapped = self.matching.card == Card::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let n_steps = many.n_steps;
        let has_any = |block: &Block| {
            let mut any = vec![false; n_steps];
            for (_, values) in block.iter() {
                any.iter_mut().zip(values).for_each(|(a, v)| *a |= !is_absent(*v));
            }
            any
        };
        // Where one side is empty nothing can match, and nothing is wrong with the other.
        let live: Vec<bool> = has_any(&many).iter().zip(has_any(&one)).map(|(a, b)| *a && b).collect();
        let mut out = Output { block: Block::new(n_steps), at: HashMap::new(), weight: 0 };
        for (group_labels, found) in matches(&many, &one, self.matching) {
            eval.check()?;
            eval.check_size(out.block.values.len() + out.weight)?;
            if found.left.is_empty() || found.right.is_empty() {
                self.check_unique(&group_labels, &one, &found.right, &live, swapped)?;
                continue;
            }
            let mut pairs = Pairs { made: HashMap::new() };
            let mut taken = vec![false; if self.matching.card == Card::OneToOne { n_steps } else { 0 }];
            self.check_unique(&group_labels, &one, &found.right, &live, swapped)?;
            for left in &found.left {
                for right in &found.right {
                    self.pair(eval, &many, *left, &one, *right, swapped, &mut out, &mut pairs, &mut taken)?;
                }
            }
        }
        let mut block = out.block;
        block.drop_empty();
        Ok(block)
    }

    /// Two series of one signature on the side of the one, at one step, are an error.
    fn check_unique(
        &self,
        group: &Labels,
        one: &Block,
        rows: &[usize],
        live: &[bool],
        swapped: bool,
    ) -> Result<()> {
        if rows.len() < 2 {
            return Ok(());
        }
        for k in (0..one.n_steps).filter(|k| live[*k]) {
            let mut there = rows.iter().filter(|i| !is_absent(one.row(**i)[k]));
            if let (Some(first), Some(second)) = (there.next(), there.next()) {
                let side = if swapped { "left" } else { "right" };
                let (a, b) = (&one.rows[*second].labels, &one.rows[*first].labels);
                let (group, a, b) = (plain_labels(group), plain_labels(a), plain_labels(b));
                return Err(EvalError::Execution(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
                     [{a}, {b}];many-to-many matching not allowed: matching labels must be unique on one side"
                )));
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one pair of rows and what it is written to")]
    fn pair(
        &self,
        eval: &Evaluator<'_>,
        many: &Block,
        left: usize,
        one: &Block,
        right: usize,
        swapped: bool,
        out: &mut Output,
        pairs: &mut Pairs,
        taken: &mut [bool],
    ) -> Result<()> {
        let mut to: Option<usize> = None;
        let (many_row, one_row) = (&many.rows[left], &one.rows[right]);
        let numbers_alone = many_row.histograms.is_empty() && one_row.histograms.is_empty();
        for k in 0..many.n_steps {
            let (l, r) = (many.row(left)[k], one.row(right)[k]);
            if is_absent(l) || is_absent(r) {
                continue;
            }
            let computed = if numbers_alone {
                let (a, b) = if swapped { (r, l) } else { (l, r) };
                self.of_numbers(a, b)
            } else {
                let (l, r) = (Operand::of(many_row, k, l), Operand::of(one_row, k, r));
                let (a, b) = if swapped { (r, l) } else { (l, r) };
                self.of_any(eval, a, b)
            };
            let (value, histogram) = match computed {
                Computed::Nothing => continue,
                Computed::Number(value) => (value, None),
                Computed::Histogram(histogram) => (HISTOGRAM, Some(histogram)),
            };
            if let Some(taken) = taken.get_mut(k) {
                if *taken {
                    let text = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
                    return Err(EvalError::Execution(text.into()));
                }
                *taken = true;
            }
            let at = *to.get_or_insert_with(|| {
                let row = self.result_row(many_row, one_row);
                out.find(row, pairs, left)
            });
            let slot = &mut out.block.row_mut(at)[k];
            if !is_absent(*slot) {
                let within = pairs.made.get(&at).is_some_and(|rows| rows.len() > 1);
                let text = if within {
                    "multiple matches for labels: grouping labels must ensure unique matches"
                } else {
                    "vector cannot contain metrics with the same labelset"
                };
                return Err(EvalError::Execution(text.into()));
            }
            *slot = value;
            if let Some(histogram) = histogram {
                out.weight += histogram::weight(&histogram);
                out.block.put(at, k, histogram);
            }
        }
        Ok(())
    }

    #[inline]
    fn of_numbers(&self, a: f64, b: f64) -> Computed {
        if !self.op.is_comparison() {
            return Computed::Number(arithmetic(self.op, a, b));
        }
        match (compare(self.op, a, b), self.return_bool) {
            (yes, true) => Computed::Number(f64::from(u8::from(yes))),
            // The value of the side that was written on the left.
            (true, false) => Computed::Number(a),
            (false, false) => Computed::Nothing,
        }
    }

    fn of_any(&self, eval: &Evaluator<'_>, a: Operand<'_>, b: Operand<'_>) -> Computed {
        let made = |histogram: &Arc<Histogram>, change: &dyn Fn(&mut Histogram)| {
            let mut made = Histogram::clone(histogram);
            change(&mut made);
            histogram::compact(&mut made);
            Computed::Histogram(Arc::new(made))
        };
        match (self.op, a, b) {
            (_, Operand::Number(a), Operand::Number(b)) => self.of_numbers(a, b),
            (BinaryOp::Mul, Operand::Histogram(h), Operand::Number(by))
            | (BinaryOp::Mul, Operand::Number(by), Operand::Histogram(h)) => {
                made(h, &|h| histogram::scale(h, by))
            }
            (BinaryOp::Div, Operand::Histogram(h), Operand::Number(by)) => {
                made(h, &|h| histogram::divide(h, by))
            }
            (BinaryOp::Add | BinaryOp::Sub, Operand::Histogram(a), Operand::Histogram(b)) => {
                let mut sum = Histogram::clone(a);
                let combine = if self.op == BinaryOp::Add { histogram::add } else { histogram::subtract };
                if combine(&mut sum, b).is_err() {
                    eval.note_layouts(self.op, self.span);
                    return Computed::Nothing;
                }
                histogram::compact(&mut sum);
                Computed::Histogram(Arc::new(sum))
            }
            (BinaryOp::Eq | BinaryOp::Ne, Operand::Histogram(a), Operand::Histogram(b)) => {
                match (histogram::is_equal(a, b) == (self.op == BinaryOp::Eq), self.return_bool) {
                    (yes, true) => Computed::Number(f64::from(u8::from(yes))),
                    (true, false) => Computed::Histogram(a.clone()),
                    (false, false) => Computed::Nothing,
                }
            }
            (op, a, b) => {
                eval.note_types(a.kind(), op, b.kind(), self.span);
                Computed::Nothing
            }
        }
    }

    fn result_row(&self, many: &Row, one: &Row) -> Row {
        let compares = self.op.is_comparison();
        let base = if compares { many.labels.clone() } else { without_name(&many.labels) };
        let listed = |name: &str| self.matching.labels.iter().any(|l| l == name);
        let mut builder = base.to_builder();
        if self.matching.card == Card::OneToOne {
            builder = builder.retain(|name| listed(name) == self.matching.on);
        }
        for name in &self.matching.include {
            builder = builder.set(name, one.labels.get(name).unwrap_or(""));
        }
        Row::new(builder.build(), compares && (self.return_bool || many.drop_name))
    }
}

/// The result, and where its rows are.
#[derive(Debug)]
struct Output {
    block: Block,
    at: HashMap<Labels, usize>,
    /// Space of its histograms.
    weight: usize,
}

/// Which rows of one match group were written to which result.
#[derive(Debug)]
struct Pairs {
    made: HashMap<usize, Vec<usize>>,
}

impl Output {
    fn find(&mut self, row: Row, pairs: &mut Pairs, left: usize) -> usize {
        let at = match self.at.get(&row.labels) {
            Some(at) => *at,
            None => {
                let labels = row.labels.clone();
                let at = self.block.push_absent(row);
                self.at.insert(labels, at);
                at
            }
        };
        let made = pairs.made.entry(at).or_default();
        if !made.contains(&left) {
            made.push(left);
        }
        at
    }
}

/// Writes labels as Prometheus does in errors.
fn plain_labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
