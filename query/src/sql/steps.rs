//! Functions from one row to the next, over windows: `increase`, `rate`, `delta`.
//!
//! They go by the order of the window, as `lag` does, and hold one row back, so that memory does not grow with a
//! series.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimeUnit};
use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

type Result<T> = std::result::Result<T, DataFusionError>;

/// Returns all of them.
pub(super) fn all() -> Vec<Arc<WindowUDF>> {
    [Kind::Increase, Kind::Rate, Kind::Delta].map(|kind| Arc::new(WindowUDF::from(Step::new(kind)))).into()
}

/// What is made of two rows that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// By how much a counter rose; one that fell began anew from zero.
    Increase,
    /// The same in a second.
    Rate,
    /// The difference.
    Delta,
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Step {
    kind: Kind,
    signature: Signature,
}

impl Step {
    fn new(kind: Kind) -> Self {
        let n_args = if kind == Kind::Rate { 2 } else { 1 };
        Self { kind, signature: Signature::any(n_args, Volatility::Immutable) }
    }
}

impl WindowUDFImpl for Step {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Increase => "increase",
            Kind::Rate => "rate",
            Kind::Delta => "delta",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Steps { kind: self.kind }))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let of = |i: usize| args.get_input_field(i).map(|field| field.data_type().clone());
        if !of(0).is_some_and(|data_type| data_type.is_numeric()) {
            return plan_err!("{} takes a column of numbers, such as value", self.name());
        }
        if self.kind == Kind::Rate && !matches!(of(1), Some(DataType::Timestamp(..))) {
            return plan_err!("rate takes a column of numbers and one of times, as in rate(value, time)");
        }
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }
}

/// Computes one of the functions over a partition.
#[derive(Debug)]
struct Steps {
    kind: Kind,
}

impl Steps {
    /// Computes the value at row `at`, from it and the row before it; the columns begin with that one.
    fn between(&self, values: [Option<f64>; 2], nanos: [Option<i64>; 2]) -> Option<f64> {
        let [Some(before), Some(now)] = values else { return None };
        // A counter that fell began anew.
        let rise = if now < before { now } else { now - before };
        match (self.kind, nanos) {
            (Kind::Delta, _) => Some(now - before),
            (Kind::Increase, _) => Some(rise),
            (Kind::Rate, [Some(from), Some(to)]) if to > from => {
                Some(rise / (to.abs_diff(from) as f64 / 1e9))
            }
            (Kind::Rate, _) => None,
        }
    }
}

/// Returns a column as floats.
fn floats(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(column, &DataType::Float64)?)
}

/// Returns a column of times as nanoseconds.
fn nanos(column: &ArrayRef) -> Result<ArrayRef> {
    let times = cast(column, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
    Ok(cast(&times, &DataType::Int64)?)
}

impl PartitionEvaluator for Steps {
    fn get_range(&self, idx: usize, _n_rows: usize) -> Result<Range<usize>> {
        Ok(idx.saturating_sub(1)..idx + 1)
    }

    fn is_causal(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        if range.len() < 2 {
            return Ok(ScalarValue::Float64(None));
        }
        let pair = |column: &ArrayRef| column.slice(range.end - 2, 2);
        let floats = floats(&pair(&values[0]))?;
        let floats = floats.as_primitive::<Float64Type>();
        let value = |i: usize| floats.is_valid(i).then(|| floats.value(i));
        let mut times = [None; 2];
        if let Some(column) = values.get(1) {
            let nanos = nanos(&pair(column))?;
            let nanos = nanos.as_primitive::<Int64Type>();
            times = [0, 1].map(|i| nanos.is_valid(i).then(|| nanos.value(i)));
        }
        Ok(ScalarValue::Float64(self.between([value(0), value(1)], times)))
    }
}
