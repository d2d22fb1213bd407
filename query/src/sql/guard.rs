//! Keeps what makes many rows out of few within the budget.
//!
//! A plan looks at the budget where it reads tables. Joins and recursion go on for long after that, and a join may
//! compare many pairs without a row coming out. Here the rows of each pass by the budget, and where all pairs are
//! compared their number is bounded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt as _;
use greylight_store::read::Budget;

use super::SqlError;
use super::metrics::own_error;

/// Pairs of rows that one join without an equality may compare: a second or two of work.
const PAIRS_MAX: u64 = 200_000_000;

/// Puts a guard around each part of a plan that multiplies rows.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) budget: Budget,
}

impl PhysicalOptimizerRule for Guards {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| {
            let multiplies = node.name().ends_with("JoinExec")
                || matches!(node.name(), "RecursiveQueryExec" | "UnnestExec");
            if !multiplies {
                return Ok(Transformed::no(node));
            }
            let compares_all = matches!(node.name(), "CrossJoinExec" | "NestedLoopJoinExec");
            let node = if compares_all { self.bound_pairs(node)? } else { node };
            Ok(Transformed::yes(self.around(node, Role::Watch)))
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &str {
        "Guards"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl Guards {
    /// Counts the rows of both sides together.
    fn bound_pairs(&self, join: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let sides = Arc::new(Sides::default());
        let children = join.children().into_iter().enumerate();
        let children = children
            .map(|(i, child)| self.around(Arc::clone(child), Role::Count(Arc::clone(&sides), i == 0)))
            .collect();
        datafusion::physical_plan::replace_children_if_necessary(join, children)
    }

    fn around(&self, input: Arc<dyn ExecutionPlan>, role: Role) -> Arc<dyn ExecutionPlan> {
        Arc::new(Guard {
            properties: Arc::clone(input.properties()),
            input,
            role,
            budget: self.budget.clone(),
        })
    }
}

/// Rows that came by on either side of a join.
#[derive(Debug, Default)]
struct Sides {
    left: AtomicU64,
    right: AtomicU64,
}

/// What a guard does with the rows that pass it.
#[derive(Clone, Debug)]
enum Role {
    /// Looks at the budget.
    Watch,
    /// Counts them too, as rows of the left or the other side.
    Count(Arc<Sides>, bool),
}

impl Role {
    fn pass(&self, batch: &RecordBatch, budget: &Budget) -> Result<()> {
        budget.check().map_err(own_error)?;
        let Self::Count(sides, is_left) = self else { return Ok(()) };
        let side = if *is_left { &sides.left } else { &sides.right };
        side.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        let pairs = sides.left.load(Ordering::Relaxed).saturating_mul(sides.right.load(Ordering::Relaxed));
        if pairs > PAIRS_MAX {
            return Err(DataFusionError::External(Box::new(SqlError::Pairs { limit: PAIRS_MAX })));
        }
        Ok(())
    }
}

/// Lets rows through within the budget.
#[derive(Debug)]
struct Guard {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    role: Role,
    budget: Budget,
}

impl DisplayAs for Guard {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl ExecutionPlan for Guard {
    fn name(&self) -> &str {
        "Guard"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self {
                properties: Arc::clone(input.properties()),
                input,
                role: self.role.clone(),
                budget: self.budget.clone(),
            })),
            _ => Err(DataFusionError::Internal("a guard has one input".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (role, budget) = (self.role.clone(), self.budget.clone());
        let schema = input.schema();
        let rows = input.map(move |batch| batch.and_then(|batch| role.pass(&batch, &budget).map(|()| batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
