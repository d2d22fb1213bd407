//! Statements whose rows are values over time, for callers inside the program.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema, TimeUnit, TimestampMillisecondType};
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
        let texts = columns(&output.schema)?;
        let mut points = Vec::new();
        for batch in &output.batches {
            let column = |name: &str, kind: &DataType| {
                let column = batch.column_by_name(name).map(|column| cast(column, kind));
                match column {
                    Some(Ok(column)) => Ok(column),
                    _ => Err(SqlError::Internal(format!("column {name:?} is not what the plan says"))),
                }
            };
            let times = column("time", &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            let values = column("value", &DataType::Float64)?;
            let (times, values) =
                (times.as_primitive::<TimestampMillisecondType>(), values.as_primitive::<Float64Type>());
            let texts = texts.iter().map(|name| Ok((name.as_str(), column(name, &DataType::Utf8)?)));
            let texts = texts.collect::<Result<Vec<(&str, ArrayRef)>, SqlError>>()?;
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

/// Checks the columns of an answer, and names those that are texts.
fn columns(schema: &Schema) -> Result<Vec<String>, SqlError> {
    let wrong = |text: String| Err(SqlError::Plan(format!("the answer {text}")));
    for name in ["time", "value"] {
        if schema.index_of(name).is_err() {
            return wrong(format!("has no column {name:?}"));
        }
    }
    let mut texts = Vec::new();
    for field in schema.fields() {
        let (name, kind) = (field.name(), field.data_type());
        let (fits, wanted) = match name.as_str() {
            "time" => (matches!(kind, DataType::Timestamp(..)), "a time"),
            "value" => (kind.is_numeric(), "a number"),
            _ => {
                texts.push(name.clone());
                let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
                (is_text || *kind == DataType::Null, "a text, as labels are")
            }
        };
        if !fits {
            return wrong(format!("has a column {name:?} of type {kind}, which should be {wanted}"));
        }
    }
    Ok(texts)
}
