//! The table `metrics`: one row a sample.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, MapBuilder, StringBuilder, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, plan_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use greylight_store::model::{Labels, METRIC_NAME, TenantId};
use greylight_store::read::{Budget, MetricSource, ReadError, Select, Selection, SpanMs};

use super::SqlError;
use super::gaps::Gaps;
use super::pushdown::Wanted;

/// Series that are read at once; their samples are in memory together.
const SERIES_AT_ONCE: usize = 16;
/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

type Result<T> = std::result::Result<T, DataFusionError>;

/// Batches, made when they are asked for; making one may block.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A scan that begins when it is run.
pub(super) struct Scan {
    schema: SchemaRef,
    open: Box<dyn Fn() -> Result<Batches> + Send + Sync>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Scan {
    /// Makes a plan of one partition out of what `open` gives.
    pub(super) fn plan(
        schema: SchemaRef,
        limit: Option<usize>,
        open: impl Fn() -> Result<Batches> + Send + Sync + 'static,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan: Arc<dyn PartitionStream> = Arc::new(Self { schema: schema.clone(), open: Box::new(open) });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![scan], None, [], false, limit)?))
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches: Batches = match (self.open)() {
            Ok(batches) => batches,
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

pub(super) fn own_error(error: ReadError) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::Read(error)))
}

/// The type of times: nanoseconds, UTC.
pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()))
}

pub(super) const UTC: &str = "+00:00";

/// The type of labels and attributes: a map of texts.
pub(super) fn map_type() -> DataType {
    let entries = DataType::Struct(
        vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)].into(),
    );
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

pub(super) fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
}

/// Labels that get columns of their own in one statement, at most.
const LABELS_MAX: usize = 64;

/// The table.
#[derive(Clone, Debug)]
pub(super) struct MetricTable {
    source: Arc<dyn MetricSource>,
    tenant: TenantId,
    budget: Budget,
    gaps: Gaps,
    /// Labels that have columns of their own, after the others.
    own_columns: Arc<[String]>,
    schema: SchemaRef,
}

/// The table with columns for labels: `metrics('job', 'instance')`.
#[derive(Debug)]
pub(super) struct MetricFunction(pub(super) MetricTable);

impl TableFunctionImpl for MetricFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let mut names: Vec<String> = Vec::new();
        for arg in args.exprs() {
            let name = match arg {
                Expr::Literal(value, _) => value.try_as_str().flatten(),
                _ => None,
            };
            match name {
                Some(name) if FIELDS.contains(&name) || names.iter().any(|n| n == name) => {
                    return plan_err!(
                        "metrics(...) has a column {name:?} already; read that label as labels['{name}']"
                    );
                }
                Some(name) => names.push(name.to_owned()),
                None => {
                    return plan_err!("metrics(...) takes names of labels, as in metrics('job', 'instance')");
                }
            }
        }
        if names.len() > LABELS_MAX {
            return plan_err!("metrics(...) takes {LABELS_MAX} labels at most, not {}", names.len());
        }
        Ok(Arc::new(self.0.with_columns(names)))
    }
}

/// The columns that there always are.
const FIELDS: [&str; 4] = ["name", "labels", "time", "value"];

impl MetricTable {
    pub(super) fn new(source: Arc<dyn MetricSource>, tenant: TenantId, budget: Budget, gaps: Gaps) -> Self {
        let schema = Arc::new(Schema::empty());
        Self { source, tenant, budget, gaps, own_columns: Arc::default(), schema }.with_columns(Vec::new())
    }

    fn with_columns(&self, names: Vec<String>) -> Self {
        let types = [DataType::Utf8, map_type(), time_type(), DataType::Float64];
        let fields = FIELDS.into_iter().zip(types).map(|(name, of)| Field::new(name, of, false));
        let own = names.iter().map(|name| Field::new(name, DataType::Utf8, true));
        let schema = Arc::new(Schema::new(fields.chain(own).collect::<Vec<_>>()));
        Self { own_columns: names.into(), schema, ..self.clone() }
    }
}

#[async_trait]
impl TableProvider for MetricTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let inexact = |filter: &&Expr| {
            if Wanted::helps(filter, &self.own_columns) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(inexact).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::from_filters(filters, &self.own_columns);
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let (source, tenant, budget) = (self.source.clone(), self.tenant.clone(), self.budget.clone());
        let (own_schema, gaps) = (schema.clone(), self.gaps.clone());
        let own_columns = Arc::clone(&self.own_columns);
        // Milliseconds that hold every nanosecond wanted; the filter is applied again afterwards.
        let span = SpanMs {
            start: wanted.start.map_or(i64::MIN, |t| t.div_euclid(1_000_000)),
            end: wanted.end.map_or(i64::MAX, |t| t.div_euclid(1_000_000)),
        };
        Scan::plan(schema, limit, move || {
            let select = Select { matchers: &wanted.matchers, span };
            let selection = source.select(&tenant, &select, &budget).map_err(own_error)?;
            gaps.add(selection.missing());
            Ok(Box::new(Rows {
                selection,
                budget: budget.clone(),
                span,
                columns: columns.clone(),
                own_columns: Arc::clone(&own_columns),
                schema: own_schema.clone(),
                next: 0,
                ready: VecDeque::new(),
            }))
        })
    }
}

/// Samples of a selection as batches.
struct Rows {
    selection: Box<dyn Selection>,
    budget: Budget,
    span: SpanMs,
    columns: Vec<usize>,
    own_columns: Arc<[String]>,
    schema: SchemaRef,
    next: usize,
    ready: VecDeque<RecordBatch>,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(Ok(batch));
            }
            let n = self.selection.series().len();
            if self.next >= n {
                return None;
            }
            if let Err(error) = self.read() {
                self.next = n;
                return Some(Err(error));
            }
        }
    }
}

impl Rows {
    fn read(&mut self) -> Result<()> {
        let labels = self.selection.series();
        let range = self.next..labels.len().min(self.next + SERIES_AT_ONCE);
        self.next = range.end;
        let span = self.span;
        let mut samples: Vec<(usize, i64, f64)> = Vec::new();
        self.selection
            .read(range, &self.budget, &mut |i, s| {
                let inside =
                    s.t_ms.iter().zip(s.values).filter(|(t, _)| **t >= span.start && **t <= span.end);
                // A mark that a series is gone is no value.
                let live = inside.filter(|(_, v)| !greylight_store::read::is_stale(**v));
                samples.extend(live.map(|(t, v)| (i, *t, *v)));
            })
            .map_err(own_error)?;
        for rows in samples.chunks(BATCH_ROWS) {
            let of = |c: &usize| column(*c, &self.own_columns, labels, rows);
            let columns = self.columns.iter().map(of).collect::<Result<Vec<_>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            self.ready.push_back(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?);
        }
        Ok(())
    }
}

fn column(column: usize, own: &[String], labels: &[Labels], rows: &[(usize, i64, f64)]) -> Result<ArrayRef> {
    Ok(match column {
        0 => {
            let mut names = StringBuilder::new();
            rows.iter().for_each(|(i, ..)| names.append_value(labels[*i].metric_name()));
            Arc::new(names.finish())
        }
        1 => {
            let mut maps = map_builder();
            for (i, ..) in rows {
                append_labels(&mut maps, &labels[*i])?;
            }
            Arc::new(maps.finish())
        }
        2 => {
            let nanos = rows.iter().map(|(_, t, _)| t.saturating_mul(1_000_000));
            Arc::new(TimestampNanosecondArray::from_iter_values(nanos).with_timezone(UTC))
        }
        3 => Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., v)| *v))),
        label => {
            let name = &own[label - FIELDS.len()];
            let mut texts = StringBuilder::new();
            rows.iter().for_each(|(i, ..)| texts.append_option(labels[*i].get(name)));
            Arc::new(texts.finish())
        }
    })
}

/// Appends labels but the name, which has a column of its own.
pub(super) fn append_labels(
    maps: &mut MapBuilder<StringBuilder, StringBuilder>,
    labels: &Labels,
) -> std::result::Result<(), arrow::error::ArrowError> {
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        maps.keys().append_value(name);
        maps.values().append_value(value);
    }
    maps.append(true)
}
