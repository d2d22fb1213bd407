//! Evaluates a select on heads and segments, source by source.

use std::rc::Rc;
use std::sync::Arc;

use super::eval::{AnyRow, Asked, Compiled};
use super::patterns::SharedTemplates;
use super::rows::{Block, MemoryBlock, Tables};
use super::segment::{GroupBlock, Segment};
use super::source::{LogSelect, Missing};
use crate::read::{Budget, ReadError};

/// Rows that are read together: a chunk of a head, or a row group of a segment.
pub(super) enum Source {
    Memory { block: MemoryBlock, hidden: Vec<u32> },
    Group { segment: Arc<Segment>, group: usize },
}

impl Source {
    pub(super) fn span(&self) -> (i64, i64) {
        match self {
            Self::Memory { block, .. } => block.span(),
            Self::Group { segment, group } => segment.group_span(*group),
        }
    }
}

/// The selected rows of one source.
pub(super) struct Selected {
    pub(super) block: Rc<dyn Block>,
    pub(super) rows: Vec<u32>,
}

/// Evaluates a select on one source after the other; keeps what depends on tables alone.
pub(super) struct Selector<'a> {
    select: &'a LogSelect,
    budget: &'a Budget,
    templates: &'a SharedTemplates,
    compiled: Vec<Compiled>,
    pub(super) missing: Missing,
}

impl<'a> Selector<'a> {
    pub(super) fn new(
        select: &'a LogSelect,
        budget: &'a Budget,
        templates: &'a SharedTemplates,
        missing: Missing,
    ) -> Self {
        Self { select, budget, templates, compiled: Vec::new(), missing }
    }

    fn compiled(&mut self, tables: &Arc<Tables>) -> &Compiled {
        let at = self.compiled.iter().position(|c| c.is_for(tables)).unwrap_or_else(|| {
            // Sources of one segment follow one another for the most part.
            if self.compiled.len() >= 8 {
                self.compiled.remove(0);
            }
            self.compiled.push(Compiled::new(self.select, tables, self.templates));
            self.compiled.len() - 1
        });
        &self.compiled[at]
    }

    /// Finds the selected rows of a source. A file that is damaged or cannot be read is an error, by which whoever
    /// holds the snapshot takes it out and asks again.
    pub(super) fn rows(&mut self, source: &Source) -> Result<Option<Selected>, ReadError> {
        let budget = self.budget;
        let (block, rows): (Rc<dyn Block>, Vec<u32>) = match source {
            Source::Memory { block, hidden } => {
                let mut rows =
                    self.compiled(&block.tables).rows(block, &AnyRow, &Asked::default(), budget)?;
                if !hidden.is_empty() {
                    rows.retain(|row| hidden.binary_search(row).is_err());
                }
                (Rc::new(block.clone()), rows)
            }
            Source::Group { segment, group } => {
                let compiled = self.compiled(segment.tables()?);
                let Some((block, rows)) = rows_of_group(compiled, segment, *group, budget)? else {
                    return Ok(None);
                };
                (Rc::new(block), rows)
            }
        };
        Ok((!rows.is_empty()).then_some(Selected { block, rows }))
    }
}

/// Opens a row group and finds its selected rows; `None` where it is known beforehand that there are none.
pub(super) fn rows_of_group(
    compiled: &Compiled,
    segment: &Arc<Segment>,
    group: usize,
    budget: &Budget,
) -> Result<Option<(GroupBlock, Vec<u32>)>, ReadError> {
    budget.check()?;
    if !compiled.may_select(segment.group_span(group)) {
        return Ok(None);
    }
    let index = segment.candidates(group);
    let Some(asked) = compiled.ask(segment.group_shapes(group)?.into_iter(), &index, budget)? else {
        return Ok(None);
    };
    let block = segment.group(group)?;
    let rows = compiled.rows(&block, &index, &asked, budget)?;
    Ok(Some((block, rows)))
}
