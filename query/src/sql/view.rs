//! Tables that other crates bring: small, and whole in memory.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use greylight_store::model::{Problem, TenantId, Timestamp};

use super::SqlError;
use super::metrics::{UTC, time_type};

/// A table that another crate brings.
#[async_trait]
pub trait View: Send + Sync + fmt::Debug {
    /// Returns the table's name in SQL, lower case.
    fn name(&self) -> &str;

    /// Returns its columns.
    fn columns(&self) -> Vec<Column>;

    /// Returns all rows that a tenant has, each with one cell for every column, of its type or null.
    ///
    /// # Errors
    /// What stood in the way, as it should be shown to the client.
    async fn rows(&self, tenant: &TenantId) -> Result<Vec<Vec<Cell>>, Problem>;
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnType,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Texts.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// True or false.
    Boolean,
    /// Instants.
    Time,
}

/// One value of a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// An instant.
    Time(Timestamp),
}

/// A view as DataFusion sees it.
#[derive(Debug)]
pub(super) struct ViewTable {
    view: Arc<dyn View>,
    tenant: TenantId,
    schema: SchemaRef,
}

impl ViewTable {
    pub(super) fn new(view: Arc<dyn View>, tenant: TenantId) -> Self {
        let field = |column: &Column| {
            let kind = match column.kind {
                ColumnType::Text => DataType::Utf8,
                ColumnType::Integer => DataType::Int64,
                ColumnType::Number => DataType::Float64,
                ColumnType::Boolean => DataType::Boolean,
                ColumnType::Time => time_type(),
            };
            Field::new(column.name, kind, true)
        };
        let fields: Vec<Field> = view.columns().iter().map(field).collect();
        Self { view, tenant, schema: Arc::new(Schema::new(fields)) }
    }

    fn batch(&self, rows: &[Vec<Cell>]) -> Result<RecordBatch, DataFusionError> {
        let columns = self.view.columns();
        let arrays = columns.iter().enumerate().map(|(i, column)| array(column.kind, rows, i)).collect();
        Ok(RecordBatch::try_new(self.schema.clone(), arrays)?)
    }
}

fn array(kind: ColumnType, rows: &[Vec<Cell>], i: usize) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.get(i).unwrap_or(&Cell::Null));
    match kind {
        ColumnType::Text => Arc::new(StringArray::from_iter(cells().map(|c| match c {
            Cell::Text(text) => Some(text.as_str()),
            _ => None,
        }))),
        ColumnType::Integer => Arc::new(Int64Array::from_iter(cells().map(|c| match c {
            Cell::Integer(n) => Some(*n),
            _ => None,
        }))),
        ColumnType::Number => Arc::new(Float64Array::from_iter(cells().map(|c| match c {
            Cell::Number(n) => Some(*n),
            Cell::Integer(n) => Some(*n as f64),
            _ => None,
        }))),
        ColumnType::Boolean => Arc::new(BooleanArray::from_iter(cells().map(|c| match c {
            Cell::Boolean(b) => Some(*b),
            _ => None,
        }))),
        ColumnType::Time => {
            let times = cells().map(|c| match c {
                Cell::Time(t) => Some(t.as_nanos()),
                _ => None,
            });
            Arc::new(TimestampNanosecondArray::from_iter(times).with_timezone(UTC))
        }
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let rows = self.view.rows(&self.tenant).await;
        let rows = rows.map_err(|problem| DataFusionError::External(Box::new(SqlError::View(problem))))?;
        let table = MemTable::try_new(self.schema.clone(), vec![vec![self.batch(&rows)?]])?;
        table.scan(state, projection, filters, limit).await
    }
}
