//! Functions of whole vectors.

use super::super::EvalError;
use super::super::plan::{Grid, Node};
use super::super::syntax::FunctionId;
use super::block::{Block, is_absent};
use super::{Evaluator, Result, absent, elementwise, histogram, info, labels, single};

impl Evaluator<'_> {
    /// Evaluates a call that is neither a window nor done value by value.
    pub(super) fn call(&self, node: &Node, grid: &Grid) -> Result<Block> {
        use FunctionId as F;
        let Node::Call { func, args, spans, absent_labels } = node else {
            return Err(EvalError::internal("call"));
        };
        match func {
            F::VectorOf => Ok(single(self.scalar(&args[0], grid)?)),
            F::Absent => {
                let block = self.vector(&args[0], grid)?;
                Ok(absent(&block, absent_labels))
            }
            F::HistogramQuantile => {
                let q = self.scalar(&args[0], grid)?;
                let block = self.vector(&args[1], grid)?;
                histogram::quantile(self, &q, &block, (spans[0], spans[1]))
            }
            F::HistogramFraction => {
                let (low, high) = (self.scalar(&args[0], grid)?, self.scalar(&args[1], grid)?);
                let block = self.vector(&args[2], grid)?;
                histogram::fraction(self, (&low, &high), &block, spans[2])
            }
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramSum
            | F::HistogramStddev
            | F::HistogramStdvar => Ok(histogram::number(*func, self.vector(&args[0], grid)?)),
            F::Info => {
                let base = self.vector(&args[0], grid)?;
                // An argument that is the same at each step is wrapped.
                let selector = match args.get(1) {
                    Some(Node::Series(series)) => Some(series),
                    Some(Node::Fixed(inner)) => match &**inner {
                        Node::Series(series) => Some(series),
                        _ => None,
                    },
                    _ => None,
                };
                info::eval(self, base, selector, grid)
            }
            F::LabelReplace | F::LabelJoin | F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => {
                let mut block = self.vector(&args[0], grid)?;
                block.drop_empty();
                let texts: Vec<String> =
                    args[1..].iter().map(|arg| self.text(arg, grid)).collect::<Result<_>>()?;
                by_labels(*func, block, &texts.iter().map(String::as_str).collect::<Vec<_>>())
            }
            F::Timestamp => {
                let mut block = self.vector(&args[0], grid)?;
                let n = grid.n;
                for row in &mut block.rows {
                    row.drop_name = true;
                    row.histograms.clear();
                }
                for (i, v) in block.values.iter_mut().enumerate().filter(|(_, v)| !is_absent(**v)) {
                    *v = grid.time(i % n) as f64 / 1000.0;
                }
                Ok(block)
            }
            func => {
                // What is left are the dates without an argument, which take the step's time.
                let Some(f) = elementwise::math(*func) else {
                    return Err(EvalError::internal("function"));
                };
                Ok(single((0..grid.n).map(|k| f(grid.time(k) as f64 / 1000.0)).collect()))
            }
        }
    }
}

/// Functions that change or order by labels.
fn by_labels(func: FunctionId, block: Block, texts: &[&str]) -> Result<Block> {
    use FunctionId as F;
    match (func, texts) {
        (F::LabelReplace, [target, replacement, source, regex]) => {
            labels::replace(block, [target, replacement, source, regex])
        }
        (F::LabelJoin, [target, separator, sources @ ..]) => labels::join(block, target, separator, sources),
        (F::Sort, _) => Ok(labels::sort(block, false)),
        (F::SortDesc, _) => Ok(labels::sort(block, true)),
        (F::SortByLabel, names) => Ok(labels::sort_by(block, names, false)),
        (F::SortByLabelDesc, names) => Ok(labels::sort_by(block, names, true)),
        _ => Err(EvalError::internal("labels")),
    }
}
