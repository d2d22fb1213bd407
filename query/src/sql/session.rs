//! Plans and runs one statement in a session of its own.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt as _;
use futures::future::{Either, select};
use greylight_store::model::TenantId;
use greylight_store::read::{Budget, ReadError};

use super::format::Output;
use super::gaps::Gaps;
use super::guard::Guards;
use super::logs::LogTable;
use super::metrics::{Kind, MetricFunction, MetricTable};
use super::view::ViewTable;
use super::{Format, SqlError, gate, steps};
use crate::queries::{Queries, QueryEnv};

/// How often a running query looks whether it should end.
const CHECK_EVERY: Duration = Duration::from_millis(25);

/// A statement and how its answer is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) text: String,
    pub(crate) format: Format,
    /// At most so many rows.
    pub(crate) limit: usize,
}

/// What statements are asked of, and how much memory one may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'a> {
    pub(super) env: &'a QueryEnv,
    pub(super) memory_bytes_max: usize,
}

impl<'a> Base<'a> {
    fn of(queries: &'a Queries) -> Self {
        Self { env: queries.env(), memory_bytes_max: queries.config().memory_bytes_max }
    }
}

/// Runs a statement. Blocks; needs a large stack, which the threads of queries have.
///
/// # Errors
/// [`SqlError`] when it is refused, cannot be planned, fails, or passes a limit.
pub(crate) fn run(
    queries: &Queries,
    tenant: &TenantId,
    request: &Request,
    budget: &Budget,
) -> Result<Output, SqlError> {
    let statement = gate::check(&request.text)?;
    execute_all(Base::of(queries), tenant, statement, request.limit, budget)
}

/// Runs a statement that may be asked, up to `limit` rows. As [`run`] otherwise.
///
/// # Errors
/// As [`run`].
pub(super) fn execute_all(
    base: Base<'_>,
    tenant: &TenantId,
    statement: Statement,
    limit: usize,
    budget: &Budget,
) -> Result<Output, SqlError> {
    within(base, budget, execute(base, tenant, statement, limit, budget))
}

/// Plans a statement and returns the columns of its answer. As [`run`] otherwise.
///
/// # Errors
/// As [`run`].
pub(crate) fn describe(
    queries: &Queries,
    tenant: &TenantId,
    text: &str,
    budget: &Budget,
) -> Result<SchemaRef, SqlError> {
    let statement = gate::check(text)?;
    let base = Base::of(queries);
    within(base, budget, async {
        let context = context(base, tenant, budget, &Gaps::default())?;
        let state = context.state();
        let plan = state.statement_to_plan(statement).await?;
        Ok(Arc::clone(DataFrame::new(state, plan).schema().inner()))
    })
}

/// Returns the tables that a statement may name, with their columns.
///
/// # Errors
/// [`SqlError::Internal`] when the session cannot be made.
pub(crate) fn tables(
    queries: &Queries,
    tenant: &TenantId,
    budget: &Budget,
) -> Result<Vec<(String, SchemaRef)>, SqlError> {
    let base = Base::of(queries);
    within(base, budget, async {
        let context = context(base, tenant, budget, &Gaps::default())?;
        let mut names = vec!["metrics", "histograms", "logs"];
        names.extend(queries.env().views.iter().map(|view| view.name()));
        let mut tables = Vec::new();
        for name in names {
            tables.push((name.to_owned(), context.table_provider(name).await?.schema()));
        }
        Ok(tables)
    })
}

/// Runs work of DataFusion on this thread alone, and ends it with the budget.
fn within<T>(
    base: Base<'_>,
    budget: &Budget,
    work: impl Future<Output = Result<T, DataFusionError>>,
) -> Result<T, SqlError> {
    // A runtime of this thread alone: what the query spawns ends with it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| SqlError::Internal(format!("starting a runtime failed: {e}")))?;
    let memory_bytes = base.memory_bytes_max;
    runtime.block_on(async {
        let mut work = std::pin::pin!(work);
        loop {
            // Planning and running yield now and then; between them the budget is looked at.
            match select(work, base.env.clock.sleep(CHECK_EVERY)).await {
                Either::Left((done, _)) => return done.map_err(|e| translate(e, memory_bytes)),
                Either::Right(((), rest)) => {
                    budget.check()?;
                    work = rest;
                }
            }
        }
    })
}

/// Makes a session over the tables of a tenant.
fn context(
    base: Base<'_>,
    tenant: &TenantId,
    budget: &Budget,
    gaps: &Gaps,
) -> Result<SessionContext, DataFusionError> {
    let env = base.env;
    let context = SessionContext::new_with_state(session(base.memory_bytes_max, budget)?);
    for kind in [Kind::Floats, Kind::Histograms] {
        let source = env.metrics.clone();
        let table = MetricTable::new(kind, source, tenant.clone(), budget.clone(), gaps.clone());
        context.register_udtf(kind.table(), Arc::new(MetricFunction(table.clone())));
        context.register_table(kind.table(), Arc::new(table))?;
    }
    let logs = LogTable::new(env.logs.clone(), tenant.clone(), budget.clone(), gaps.clone());
    context.register_table("logs", Arc::new(logs))?;
    for view in &env.views {
        context.register_table(view.name(), Arc::new(ViewTable::new(view.clone(), tenant.clone())))?;
    }
    Ok(context)
}

async fn execute(
    base: Base<'_>,
    tenant: &TenantId,
    statement: Statement,
    limit: usize,
    budget: &Budget,
) -> Result<Output, DataFusionError> {
    let memory_bytes = base.memory_bytes_max;
    let gaps = Gaps::default();
    let context = context(base, tenant, budget, &gaps)?;
    let state = context.state();
    let plan = state.statement_to_plan(statement).await?;
    // One row more tells whether there were more.
    let frame = DataFrame::new(state, plan).limit(0, Some(limit.saturating_add(1)))?;
    let schema = Arc::clone(frame.schema().inner());
    let mut stream = frame.execute_stream().await?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut n_rows = 0;
    let mut n_bytes = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        budget.check().map_err(|e| DataFusionError::External(Box::new(SqlError::Read(e))))?;
        n_rows += batch.num_rows();
        n_bytes += batch.get_array_memory_size();
        if n_bytes > memory_bytes {
            return Err(DataFusionError::ResourcesExhausted("answer".into()));
        }
        batches.push(batch);
    }
    let truncated = n_rows > limit;
    // Scans that are ahead of the rows that were taken end here, and have said what they lack.
    drop(stream);
    Ok(Output { schema, batches, limit, truncated, missing: gaps.list() })
}

fn session(memory_bytes: usize, budget: &Budget) -> Result<SessionState, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(8192);
    let known = |name: &str, aliases: &[String]| {
        gate::is_allowed(name) || aliases.iter().any(|a| gate::is_allowed(a))
    };
    let mut scalars = SessionStateDefaults::default_scalar_functions();
    scalars.retain(|f| known(f.name(), f.aliases()));
    // The name that it has elsewhere.
    let bucket = scalars.iter().find(|f| f.name() == "date_bin");
    scalars.extend(bucket.map(|f| Arc::new(f.as_ref().clone().with_aliases(["time_bucket"]))));
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    aggregates.retain(|f| known(f.name(), f.aliases()));
    let mut windows = SessionStateDefaults::default_window_functions();
    windows.retain(|f| known(f.name(), f.aliases()));
    windows.extend(steps::all());
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalars)
        .with_aggregate_functions(aggregates)
        .with_window_functions(windows)
        .with_physical_optimizer_rule(Arc::new(Guards { budget: budget.clone() }))
        .build())
}

/// Finds our own error behind DataFusion's, and the kind of DataFusion's own.
fn translate(error: DataFusionError, memory_bytes: usize) -> SqlError {
    let error = match error {
        DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
            Ok(own) => return *own,
            Err(other) => DataFusionError::External(other),
        },
        other => other,
    };
    // Parts of a plan share errors and wrap them in turn, so the cause may lie deep.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(at) = cause {
        let own = at
            .downcast_ref::<DataFusionError>()
            .or_else(|| at.downcast_ref::<Arc<DataFusionError>>().map(|e| &**e));
        if matches!(own, Some(DataFusionError::ResourcesExhausted(_))) {
            return SqlError::Memory { limit: memory_bytes };
        }
        if let Some(SqlError::Read(read)) = at.downcast_ref::<SqlError>()
            && let Some(copy) = copy_of(read)
        {
            return SqlError::Read(copy);
        }
        if let Some(SqlError::Pairs { limit }) = at.downcast_ref::<SqlError>() {
            return SqlError::Pairs { limit: *limit };
        }
        cause = at.source();
    }
    match error.find_root() {
        root @ (DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)) => SqlError::Plan(root.strip_backtrace()),
        root => SqlError::Execution(root.strip_backtrace()),
    }
}

/// Copies the errors that someone further out acts on; the others stay inside the error that holds them.
fn copy_of(error: &ReadError) -> Option<ReadError> {
    match error {
        ReadError::Limit { what, limit, setting } => Some(ReadError::Limit { what, limit: *limit, setting }),
        ReadError::Deadline { limit_ms } => Some(ReadError::Deadline { limit_ms: *limit_ms }),
        ReadError::Cancelled => Some(ReadError::Cancelled),
        ReadError::Corrupt { path, detail } => {
            Some(ReadError::Corrupt { path: path.clone(), detail: detail.clone() })
        }
        _ => None,
    }
}
