//! The table `logs`: one row a record.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::{ArrayRef, StringBuilder, TimestampNanosecondArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use greylight_store::model::{AttributeValue, TenantId, TimeRange, Timestamp, hex};
use greylight_store::read::{Budget, Flow, FoundRecord, LogOrder, LogQuery, LogSelect, LogSource};

use super::gaps::Gaps;
use super::metrics::{Batches, Scan, UTC, append_labels, map_builder, map_type, own_error, time_type};
use super::pushdown::Wanted;

/// Rows of a batch.
const BATCH_ROWS: usize = 4096;
/// Batches that may wait to be taken; a scan that is ahead waits.
const BATCHES_AHEAD: usize = 2;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The table.
#[derive(Debug)]
pub(super) struct LogTable {
    source: Arc<dyn LogSource>,
    tenant: TenantId,
    budget: Budget,
    gaps: Gaps,
    schema: SchemaRef,
}

impl LogTable {
    pub(super) fn new(source: Arc<dyn LogSource>, tenant: TenantId, budget: Budget, gaps: Gaps) -> Self {
        let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
        let schema = Schema::new(vec![
            Field::new("time", time_type(), false),
            Field::new("observed_time", time_type(), false),
            Field::new("severity_number", DataType::UInt8, false),
            text("severity", false),
            text("body", false),
            Field::new("labels", map_type(), false),
            Field::new("attributes", map_type(), false),
            text("trace_id", true),
            text("span_id", true),
            text("pattern", false),
        ]);
        Self { source, tenant, budget, gaps, schema: Arc::new(schema) }
    }
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let inexact = |filter: &&Expr| {
            if Wanted::helps(filter, &[]) {
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
        let wanted = Wanted::from_filters(filters, &[]);
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let start = wanted.start.map_or(Timestamp::MIN, Timestamp::from_nanos);
        let end = wanted.end.map_or(Timestamp::MAX, |t| Timestamp::from_nanos(t.saturating_add(1)));
        let range = TimeRange::new(start, end).ok();
        let table = Self {
            source: self.source.clone(),
            tenant: self.tenant.clone(),
            budget: self.budget.clone(),
            gaps: self.gaps.clone(),
            schema: schema.clone(),
        };
        Scan::plan(schema, limit, move || {
            // A range that is empty selects nothing.
            let Some(range) = range else { return Ok(Box::new(std::iter::empty()) as Batches) };
            let matchers = wanted.matchers.clone();
            let select = LogSelect { query: LogQuery::all(), matchers, range };
            table.open(select, columns.clone())
        })
    }
}

impl LogTable {
    /// Starts a thread that scans and hands over batches.
    fn open(&self, select: LogSelect, columns: Vec<usize>) -> Result<Batches> {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        let (source, tenant, budget) = (self.source.clone(), self.tenant.clone(), self.budget.clone());
        let (schema, gaps) = (self.schema.clone(), self.gaps.clone());
        let scan = move || {
            let mut filler = Filler { sender, schema, columns, records: Vec::new() };
            let result = source.scan(&tenant, &select, LogOrder::OldestFirst, &budget, &mut |record| {
                filler.records.push(record);
                if filler.records.len() < BATCH_ROWS { Flow::Continue } else { filler.send() }
            });
            match result {
                Ok(missing) => {
                    // First, as whoever takes the last batch may look at once.
                    gaps.add(missing);
                    // Stop and continue are the same at the end.
                    let _ = filler.send();
                }
                // Nobody takes batches any more: the query is over.
                Err(error) => drop(filler.sender.send(Err(own_error(error)))),
            }
        };
        let thread = std::thread::Builder::new().name("query-logs".into()).spawn(scan)?;
        Ok(Box::new(Taker { receiver: Some(receiver), thread: Some(thread) }))
    }
}

/// Collects records and sends them as batches.
struct Filler {
    sender: SyncSender<Result<RecordBatch>>,
    schema: SchemaRef,
    columns: Vec<usize>,
    records: Vec<FoundRecord>,
}

impl Filler {
    fn send(&mut self) -> Flow {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return Flow::Continue;
        }
        let batch = self.batch(&records);
        if self.sender.send(batch).is_ok() { Flow::Continue } else { Flow::Stop }
    }

    fn batch(&self, records: &[FoundRecord]) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|c| column(*c, records)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// Takes batches; ends the scan when it is dropped.
struct Taker {
    receiver: Option<Receiver<Result<RecordBatch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Iterator for Taker {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.as_ref()?.recv().ok()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Closed first: a scan that waits to send then stops.
        self.receiver = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a scan of logs panicked");
        }
    }
}

fn times(records: &[FoundRecord], time: impl Fn(&FoundRecord) -> Timestamp) -> ArrayRef {
    let nanos = records.iter().map(|r| time(r).as_nanos());
    Arc::new(TimestampNanosecondArray::from_iter_values(nanos).with_timezone(UTC))
}

fn texts<T: AsRef<str>>(records: &[FoundRecord], text: impl Fn(&FoundRecord) -> Option<T>) -> ArrayRef {
    let mut out = StringBuilder::new();
    records.iter().for_each(|r| out.append_option(text(r)));
    Arc::new(out.finish())
}

fn column(column: usize, records: &[FoundRecord]) -> Result<ArrayRef> {
    Ok(match column {
        0 => times(records, |r| r.record.time),
        1 => times(records, |r| r.record.observed_time),
        2 => Arc::new(UInt8Array::from_iter_values(records.iter().map(|r| r.record.severity_number))),
        3 => texts(records, |r| {
            let word = greylight_store::model::severity_word(r.record.severity_number);
            Some(if word.is_empty() { r.record.severity_text.clone() } else { word.to_owned() })
        }),
        4 => {
            let mut out = StringBuilder::new();
            records.iter().for_each(|r| out.append_value(&r.record.body));
            Arc::new(out.finish())
        }
        5 => {
            let mut maps = map_builder();
            for r in records {
                append_labels(&mut maps, &r.record.labels)?;
            }
            Arc::new(maps.finish())
        }
        6 => {
            let mut maps = map_builder();
            for r in records {
                for (name, value) in &r.record.attributes {
                    maps.keys().append_value(name);
                    maps.values().append_option(attribute_text(value));
                }
                maps.append(true)?;
            }
            Arc::new(maps.finish())
        }
        7 => texts(records, |r| r.record.trace_id.map(|id| hex(&id))),
        8 => texts(records, |r| r.record.span_id.map(|id| hex(&id))),
        _ => texts(records, |r| Some(r.template.to_string())),
    })
}

fn attribute_text(value: &AttributeValue) -> Option<String> {
    Some(match value {
        AttributeValue::String(text) | AttributeValue::Json(text) => text.clone(),
        AttributeValue::Int(n) => n.to_string(),
        AttributeValue::Double(n) => n.to_string(),
        AttributeValue::Bool(b) => b.to_string(),
        AttributeValue::Bytes(bytes) => hex(bytes),
        AttributeValue::Null => return None,
    })
}
