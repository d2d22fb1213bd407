//! Statements whose rows are values over time, for callers inside the program.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMillisecondType};
use greylight_store::model::TenantId;
use greylight_store::read::Budget;

use super::session::{Base, execute_all};
use super::{GateError, SqlError, gate};
use crate::pool::STACK_BYTES;
use crate::{QueryConfig, QueryEnv};

/// Asks for values over time, beside the queries that people ask: in no queue and no list.
#[derive(Clone, Debug)]
pub struct PointQueries {
    env: QueryEnv,
    memory_bytes_max: usize,
}

/// One row: what it says of its columns beside `time` and `value`, and those.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Name and text of each further column that is not NULL.
    pub labels: Vec<(String, String)>,
    /// Epoch milliseconds.
    pub t_ms: i64,
    /// The value.
    pub value: f64,
}

impl PointQueries {
    /// Takes what statements read.
    pub fn new(env: QueryEnv) -> Self {
        Self { env, memory_bytes_max: QueryConfig::default().memory_bytes_max }
    }

    /// Tells whether a statement is one that may be asked; its tables and columns are not looked at.
    ///
    /// # Errors
    /// [`GateError`] says what is refused.
    pub fn check(text: &str) -> Result<(), GateError> {
        gate::check(text).map(drop)
    }

    /// Runs a statement. Blocks; rows whose time or value is NULL are left out.
    ///
    /// # Errors
    /// [`SqlError`] when it is refused, fails or passes a limit, when a file is damaged, or when its columns are no
    /// `time`, `value` and texts.
    pub fn run(
        &self,
        tenant: &TenantId,
        text: &str,
        rows_max: usize,
        budget: &Budget,
    ) -> Result<Vec<Point>, SqlError> {
        let statement = gate::check(text)?;
        let base = Base { env: &self.env, memory_bytes_max: self.memory_bytes_max };
        // Planning recurses as deep as the statement nests.
        let output = std::thread::scope(|scope| {
            let work = || execute_all(base, tenant, statement, rows_max, budget);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
            let thread = thread.map_err(|e| SqlError::Internal(format!("starting a thread failed: {e}")))?;
            thread.join().map_err(|_| SqlError::Internal("a statement failed for a fault of ours".into()))?
        })?;
        if output.truncated {
            return Err(SqlError::Execution(format!("the answer has more than {rows_max} rows")));
        }
        let mut points = Vec::new();
        for batch in &output.batches {
            let column = |name: &str, kind: &DataType| {
                let found = batch
                    .column_by_name(name)
                    .ok_or_else(|| SqlError::Plan(format!("the answer has no column {name:?}")))?;
                cast(found, kind).map_err(|_| wrong_type(name, kind, found.data_type()))
            };
            let times = column("time", &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            let values = column("value", &DataType::Float64)?;
            let (times, values) =
                (times.as_primitive::<TimestampMillisecondType>(), values.as_primitive::<Float64Type>());
            let schema = batch.schema();
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let mut texts = Vec::new();
            for name in names.filter(|name| !["time", "value"].contains(name)) {
                texts.push((name, column(name, &DataType::Utf8)?));
            }
            for row in (0..batch.num_rows()).filter(|row| times.is_valid(*row) && values.is_valid(*row)) {
                let text = |(name, column): &(&str, ArrayRef)| {
                    let column = column.as_string::<i32>();
                    column.is_valid(row).then(|| ((*name).to_string(), column.value(row).to_string()))
                };
                let labels = texts.iter().filter_map(text).collect();
                points.push(Point { labels, t_ms: times.value(row), value: values.value(row) });
            }
        }
        Ok(points)
    }
}

fn wrong_type(name: &str, wanted: &DataType, found: &DataType) -> SqlError {
    SqlError::Plan(format!("column {name:?} of the answer is {found}, where {wanted} is wanted"))
}
