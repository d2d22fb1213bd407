//! The tables `metrics` and `histograms`: one row a sample, of floats or of native histograms.

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
use greylight_store::model::{Histogram, Labels, METRIC_NAME, TenantId};
use greylight_store::read::{Budget, MetricSource, ReadError, Samples, Select, Selection, SpanMs, is_stale};

use super::SqlError;
use super::gaps::Gaps;
use super::histograms;
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

/// Which samples a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Floats: the table `metrics`.
    Floats,
    /// Native histograms: the table `histograms`.
    Histograms,
}

impl Kind {
    /// Returns the table's name.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Floats => "metrics",
            Self::Histograms => "histograms",
        }
    }

    /// Returns the columns of every sample: those of a series, then those of its values.
    fn fields(self) -> Vec<Field> {
        let field = |name: &str, of: DataType| Field::new(name, of, false);
        let mut fields =
            vec![field("name", DataType::Utf8), field("labels", map_type()), field("time", time_type())];
        debug_assert_eq!(fields.len(), N_OF_SERIES);
        match self {
            Self::Floats => fields.push(field("value", DataType::Float64)),
            Self::Histograms => fields.extend(histograms::fields()),
        }
        fields
    }
}

/// Columns that both tables have: the name, the labels and the time.
const N_OF_SERIES: usize = 3;

/// The table.
#[derive(Clone, Debug)]
pub(super) struct MetricTable {
    kind: Kind,
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
        let (table, fields) = (self.0.kind.table(), self.0.kind.fields());
        for arg in args.exprs() {
            let name = match arg {
                Expr::Literal(value, _) => value.try_as_str().flatten(),
                _ => None,
            };
            match name {
                Some(name) if fields.iter().any(|f| f.name() == name) || names.iter().any(|n| n == name) => {
                    return plan_err!(
                        "{table}(...) has a column {name:?} already; read that label as labels['{name}']"
                    );
                }
                Some(name) => names.push(name.to_owned()),
                None => {
                    return plan_err!("{table}(...) takes names of labels, as in {table}('job', 'instance')");
                }
            }
        }
        if names.len() > LABELS_MAX {
            return plan_err!("{table}(...) takes {LABELS_MAX} labels at most, not {}", names.len());
        }
        Ok(Arc::new(self.0.with_columns(names)))
    }
}

impl MetricTable {
    pub(super) fn new(
        kind: Kind,
        source: Arc<dyn MetricSource>,
        tenant: TenantId,
        budget: Budget,
        gaps: Gaps,
    ) -> Self {
        let schema = Arc::new(Schema::empty());
        Self { kind, source, tenant, budget, gaps, own_columns: Arc::default(), schema }
            .with_columns(Vec::new())
    }

    fn with_columns(&self, names: Vec<String>) -> Self {
        let fields = self.kind.fields().into_iter();
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
        let (kind, own_columns) = (self.kind, Arc::clone(&self.own_columns));
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
                kind,
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
    kind: Kind,
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
        let range = self.next..self.selection.series().len().min(self.next + SERIES_AT_ONCE);
        self.next = range.end;
        let span = self.span;
        match self.kind {
            Kind::Floats => {
                let mut rows: Vec<Row<f64>> = Vec::new();
                let mut take = |i: usize, s: Samples<'_>| {
                    let mut histograms = s.histograms.iter().map(|(k, _)| *k).peekable();
                    for (k, (t, v)) in s.t_ms.iter().zip(s.values).enumerate() {
                        let is_histogram = histograms.next_if_eq(&k).is_some();
                        // A mark that a series is gone is no value.
                        if span.start <= *t && *t <= span.end && !is_histogram && !is_stale(*v) {
                            rows.push((i, *t, *v));
                        }
                    }
                };
                self.selection.read(range, &self.budget, &mut take).map_err(own_error)?;
                self.push(&rows, |_, rows| {
                    Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., v)| *v)))
                })
            }
            Kind::Histograms => {
                let mut rows: Vec<Row<Arc<Histogram>>> = Vec::new();
                let mut take = |i: usize, s: Samples<'_>| {
                    let all = s.histograms.iter().map(|(k, histogram)| (s.t_ms[*k], histogram));
                    let inside = all.filter(|(t, _)| span.start <= *t && *t <= span.end);
                    rows.extend(inside.map(|(t, histogram)| (i, t, Arc::clone(histogram))));
                };
                self.selection.read(range, &self.budget, &mut take).map_err(own_error)?;
                self.push(&rows, histograms::column)
            }
        }
    }

    /// Makes batches of rows; `value` makes a column of the values, the first of them being 0.
    fn push<T>(&mut self, rows: &[Row<T>], value: impl Fn(usize, &[Row<T>]) -> ArrayRef) -> Result<()> {
        let (labels, first_own) = (self.selection.series(), self.kind.fields().len());
        for rows in rows.chunks(BATCH_ROWS) {
            let of = |c: &usize| match *c {
                c if c >= first_own => Ok(label_column(&self.own_columns[c - first_own], labels, rows)),
                c if c >= N_OF_SERIES => Ok(value(c - N_OF_SERIES, rows)),
                c => series_column(c, labels, rows),
            };
            let columns = self.columns.iter().map(of).collect::<Result<Vec<_>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            self.ready.push_back(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?);
        }
        Ok(())
    }
}

/// A sample: the place of its series, its time in milliseconds, and its value.
pub(super) type Row<T> = (usize, i64, T);

fn series_column<T>(column: usize, labels: &[Labels], rows: &[Row<T>]) -> Result<ArrayRef> {
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
        _ => {
            let nanos = rows.iter().map(|(_, t, _)| t.saturating_mul(1_000_000));
            Arc::new(TimestampNanosecondArray::from_iter_values(nanos).with_timezone(UTC))
        }
    })
}

fn label_column<T>(name: &str, labels: &[Labels], rows: &[Row<T>]) -> ArrayRef {
    let mut texts = StringBuilder::new();
    rows.iter().for_each(|(i, ..)| texts.append_option(labels[*i].get(name)));
    Arc::new(texts.finish())
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
