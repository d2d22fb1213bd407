//! Finds the rows of a block that a search selects.
//!
//! A search is first decided for each shape: what its pattern's constant text says holds for all
//! its rows. What is left asks single slots, and only as a last resort a body in full.

use std::sync::Arc;

use super::attributes::text_in_rest;
use super::fields::{self, FieldAt};
use super::patterns::SharedTemplates;
use super::query::{Node, Scratch, Test};
use super::rows::{Block, Shape, Tables};
use super::source::LogSelect;
use crate::model::{Labels, Matcher, severity_word, write_hex};
use crate::pattern::VARIABLE;
use crate::read::{Budget, ReadError};

/// Rows looked at between two checks of the budget.
const CHECK_ROWS: usize = 4096;

/// What is left of a search for the rows of one shape.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// The same for all rows.
    Fixed(bool),
    /// The body passes; the words are those that it then has in variables.
    Body(Test, Vec<String>),
    /// A single word in one of the variables.
    Word(Test),
    Field(FieldAt, String, Test),
    And(Vec<Plan>),
    Or(Vec<Plan>),
    Not(Box<Plan>),
}

/// A search, ready for the blocks that share one set of tables.
#[derive(Debug)]
pub(crate) struct Compiled {
    tables: Arc<Tables>,
    /// One plan for each shape.
    pub(crate) plans: Vec<Plan>,
    /// Whether each stream is selected; `None` when all are.
    streams: Option<Vec<bool>>,
    range: (i64, i64),
}

/// Tells for which rows a plan may hold; an index answers.
pub(crate) trait Candidates {
    /// Returns, for each block of rows, whether a row of it may pass; `None` when all may.
    fn of(&self, plan: &Plan) -> Result<Option<Vec<bool>>, ReadError>;
    /// Rows in one of those blocks.
    fn block_rows(&self) -> usize;
}

/// No index: any row may pass.
#[derive(Debug)]
pub(crate) struct AnyRow;

impl Candidates for AnyRow {
    fn of(&self, _plan: &Plan) -> Result<Option<Vec<bool>>, ReadError> {
        Ok(None)
    }

    fn block_rows(&self) -> usize {
        usize::MAX
    }
}

impl Compiled {
    /// Prepares a search for blocks that have these tables.
    pub(crate) fn new(select: &LogSelect, tables: &Arc<Tables>, templates: &SharedTemplates) -> Self {
        let mut planner = Planner { templates, scratch: Scratch::default() };
        let plans = tables.shapes.iter().map(|shape| planner.plan(select.query.root(), shape)).collect();
        let streams = (!select.matchers.is_empty())
            .then(|| tables.streams.iter().map(|labels| all_match(&select.matchers, labels)).collect());
        let range = (select.range.start().as_nanos(), select.range.end().as_nanos());
        Self { tables: Arc::clone(tables), plans, streams, range }
    }

    /// Tells whether it was prepared for these tables.
    pub(crate) fn is_for(&self, tables: &Arc<Tables>) -> bool {
        Arc::ptr_eq(&self.tables, tables)
    }

    /// Tells whether no row of any block with these tables can be selected.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.plans.iter().all(|p| matches!(p, Plan::Fixed(false)))
            || self.streams.as_ref().is_some_and(|s| !s.contains(&true))
    }

    /// Returns the selected rows of a block, in its order.
    pub(crate) fn rows(
        &self,
        block: &dyn Block,
        candidates: &dyn Candidates,
        budget: &Budget,
    ) -> Result<Vec<u32>, ReadError> {
        budget.check()?;
        let (first, last) = block.span();
        if last < self.range.0 || first >= self.range.1 || self.is_hopeless() {
            return Ok(Vec::new());
        }
        let is_inside = self.range.0 <= first && last < self.range.1;
        let times = if is_inside { None } else { Some(block.times()?) };
        let streams = match &self.streams {
            Some(selected) => Some((selected, block.streams()?)),
            None => None,
        };
        let shapes = block.shapes()?;
        let may_pass = self.candidates(shapes, candidates)?;
        let mut row_eval = RowEval::default();
        let (mut out, mut n_looked) = (Vec::new(), 0);
        for (row, &shape) in shapes.iter().enumerate() {
            let plan = &self.plans[shape as usize];
            if matches!(plan, Plan::Fixed(false))
                || times.is_some_and(|t| t[row] < self.range.0 || t[row] >= self.range.1)
                || streams.is_some_and(|(selected, of)| !selected[of[row] as usize])
            {
                continue;
            }
            if !matches!(plan, Plan::Fixed(_)) {
                let blocks = may_pass.get(shape as usize).and_then(Option::as_ref);
                if blocks.is_some_and(|b| !b.get(row / candidates.block_rows()).copied().unwrap_or(false)) {
                    continue;
                }
                n_looked += 1;
                if n_looked % CHECK_ROWS == 0 {
                    budget.charge_samples(CHECK_ROWS)?;
                }
                row_eval.start(row);
                if !row_eval.holds(plan, block)? {
                    continue;
                }
            }
            // A block has at most a few hundred thousand rows.
            out.push(row as u32);
        }
        budget.charge_samples(n_looked % CHECK_ROWS)?;
        Ok(out)
    }

    /// Asks the index once for each shape that occurs and is not decided.
    fn candidates(
        &self,
        shapes: &[u32],
        index: &dyn Candidates,
    ) -> Result<Vec<Option<Vec<bool>>>, ReadError> {
        let mut out: Vec<Option<Vec<bool>>> = Vec::new();
        let mut asked = vec![false; self.plans.len()];
        for &shape in shapes {
            let at = shape as usize;
            if std::mem::replace(&mut asked[at], true) || matches!(self.plans[at], Plan::Fixed(_)) {
                continue;
            }
            if let Some(blocks) = index.of(&self.plans[at])? {
                out.resize(out.len().max(at + 1), None);
                out[at] = Some(blocks);
            }
        }
        Ok(out)
    }
}

pub(crate) fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.matches_labels(labels))
}

/// Decides what a shape decides.
struct Planner<'t> {
    templates: &'t SharedTemplates,
    scratch: Scratch,
}

impl Planner<'_> {
    fn plan(&mut self, node: &Node, shape: &Shape) -> Plan {
        match node {
            Node::All => Plan::Fixed(true),
            Node::Body(test) => body_plan(test, shape, &mut self.scratch),
            // A shape has one template, so this is as good as an index.
            Node::Field(name, test)
                if name == fields::PATTERN && self.templates.passes(shape, test, &mut self.scratch) =>
            {
                Plan::Fixed(true)
            }
            Node::Field(name, test) => match fields::find(shape, name) {
                FieldAt::Body => body_plan(test, shape, &mut self.scratch),
                at => Plan::Field(at, name.clone(), test.clone()),
            },
            Node::Not(part) => match self.plan(part, shape) {
                Plan::Fixed(value) => Plan::Fixed(!value),
                part => Plan::Not(Box::new(part)),
            },
            Node::And(parts) => self.joined(parts, shape, false),
            Node::Or(parts) => self.joined(parts, shape, true),
        }
    }

    /// `decisive` is the value of a part that decides the whole.
    fn joined(&mut self, parts: &[Node], shape: &Shape, decisive: bool) -> Plan {
        let mut left = Vec::new();
        for part in parts {
            match self.plan(part, shape) {
                Plan::Fixed(value) if value == decisive => return Plan::Fixed(decisive),
                Plan::Fixed(_) => {}
                part => left.push(part),
            }
        }
        match left.len() {
            0 => Plan::Fixed(!decisive),
            1 => left.swap_remove(0),
            _ if decisive => Plan::Or(left),
            _ => Plan::And(left),
        }
    }
}

fn body_plan(test: &Test, shape: &Shape, scratch: &mut Scratch) -> Plan {
    if shape.n_variables == 0 {
        return Plan::Fixed(test.matches(&shape.pattern, scratch));
    }
    match test {
        // No word crosses the edge of a variable, so it is in the constant text or in one of them.
        Test::Words(list) if list.len() == 1 => {
            if shape.has_word(&list[0]) {
                Plan::Fixed(true)
            } else {
                Plan::Word(test.clone())
            }
        }
        Test::Words(_) | Test::Prefix(..) | Test::Contains(_)
            if shape.pattern.split(char::from(VARIABLE)).any(|part| test.matches(part, scratch)) =>
        {
            Plan::Fixed(true)
        }
        test => {
            let missing = test.words().iter().filter(|w| !shape.has_word(w)).cloned().collect();
            Plan::Body(test.clone(), missing)
        }
    }
}

/// Evaluates plans for one row after the other; the body is put together at most once a row.
#[derive(Debug, Default)]
struct RowEval {
    row: usize,
    body: String,
    has_body: bool,
    text: String,
    scratch: Scratch,
}

impl RowEval {
    fn start(&mut self, row: usize) {
        self.row = row;
        self.has_body = false;
    }

    fn holds(&mut self, plan: &Plan, block: &dyn Block) -> Result<bool, ReadError> {
        Ok(match plan {
            Plan::Fixed(value) => *value,
            Plan::Body(test, _) => {
                if !self.has_body {
                    self.body.clear();
                    block.body(self.row, &mut self.body)?;
                    self.has_body = true;
                }
                test.matches(&self.body, &mut self.scratch)
            }
            Plan::Word(test) => self.has_word(test, block)?,
            Plan::Field(at, name, test) => {
                self.text.clear();
                let found = field_text(block, self.row, at, name, &mut self.text)?;
                found && test.matches(&self.text, &mut self.scratch)
            }
            Plan::Not(part) => !self.holds(part, block)?,
            Plan::And(parts) => {
                for part in parts {
                    if !self.holds(part, block)? {
                        return Ok(false);
                    }
                }
                true
            }
            Plan::Or(parts) => {
                for part in parts {
                    if self.holds(part, block)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }

    fn has_word(&mut self, test: &Test, block: &dyn Block) -> Result<bool, ReadError> {
        let n = block.tables().shapes[block.shapes()?[self.row] as usize].n_variables;
        let n_bytes = test.words().first().map_or(0, String::len);
        for slot in 0..n {
            self.text.clear();
            block.value(self.row, slot, &mut self.text)?;
            if self.text.len() >= n_bytes && test.matches(&self.text, &mut self.scratch) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Appends the text of a field; `false` when the row does not have it.
pub(crate) fn field_text(
    block: &dyn Block,
    row: usize,
    at: &FieldAt,
    name: &str,
    out: &mut String,
) -> Result<bool, ReadError> {
    use std::fmt::Write as _;
    match at {
        FieldAt::Slot(slot) => block.value(row, *slot, out)?,
        FieldAt::Escaped(slot) => {
            let start = out.len();
            block.value(row, *slot, out)?;
            unescape_from(out, start);
        }
        FieldAt::Message { start, end, first } => {
            let from = out.len();
            let shape = &block.tables().shapes[block.shapes()?[row] as usize];
            for (n, part) in shape.pattern[*start..*end].split(char::from(VARIABLE)).enumerate() {
                if n > 0 {
                    block.value(row, first + n - 1, out)?;
                }
                out.push_str(part);
            }
            unescape_from(out, from);
        }
        FieldAt::Body => block.body(row, out)?,
        FieldAt::Unsplit => {
            let mut body = String::new();
            block.body(row, &mut body)?;
            match fields::text_in_body(&body, name) {
                Some(text) => out.push_str(&text),
                None => return Ok(false),
            }
        }
        FieldAt::Rest(slot) => {
            let mut rest = String::new();
            block.value(row, *slot, &mut rest)?;
            match text_in_rest(&rest, name) {
                Some(text) => out.push_str(&text),
                None => return Ok(false),
            }
        }
        FieldAt::FirstOf(places) => {
            for at in places {
                if field_text(block, row, at, name, out)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        FieldAt::Severity => {
            let number = block.severities()?[row];
            let text = &block.tables().texts[block.texts()?[row] as usize];
            out.push_str(if severity_word(number).is_empty() { text } else { severity_word(number) });
        }
        FieldAt::SeverityNumber => {
            let _ = write!(out, "{}", block.severities()?[row]);
        }
        FieldAt::TraceId => match block.trace_id(row)? {
            Some(id) => write_hex(&id, out),
            None => return Ok(false),
        },
        FieldAt::SpanId => match block.span_id(row)? {
            Some(id) => write_hex(&id, out),
            None => return Ok(false),
        },
        FieldAt::Label => match block.tables().streams[block.streams()?[row] as usize].get(name) {
            Some(value) => out.push_str(value),
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn unescape_from(out: &mut String, start: usize) {
    if out[start..].contains('\\') {
        let text = fields::unescaped(&out[start..]).into_owned();
        out.truncate(start);
        out.push_str(&text);
    }
}
