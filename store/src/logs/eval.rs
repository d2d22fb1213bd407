//! Finds the rows of a block that a search selects.
//!
//! A search is first decided for each shape: what its pattern's constant text says holds for all
//! its rows. What is left asks single slots, and only as a last resort a body in full.

use std::sync::Arc;

use super::anchored::{Anchored, Buffers, parts_of};
use super::attributes::text_in_rest;
use super::fields::{self, FieldAt};
use super::patterns::SharedTemplates;
use super::query::{Node, Scratch, Test};
use super::rows::{Block, Shape, Tables};
use super::source::LogSelect;
use crate::model::{Labels, Matcher, severity_word, write_hex};
use crate::pattern::{VARIABLE, words};
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
    /// A single word, or one that begins so, in one of the variables.
    Word(Test),
    Field(FieldAt, String, Test),
    /// The message inside the body passes; the words are those that it then has in variables.
    Message(FieldAt, Test, Vec<String>),
    Anchored(Arc<Anchored>),
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
    /// Whether no row of any block with these tables can be selected.
    is_hopeless: bool,
}

/// Tells for which rows a plan may hold; an index answers.
pub(crate) trait Candidates {
    /// Returns, for each block of rows, whether a row of it may pass; `None` when all may.
    fn of(&self, plan: &Plan) -> Result<Option<Vec<bool>>, ReadError>;
    /// Returns, for each block of rows, whether a variable of a row may have letters that the test asks for; `None`
    /// when all may.
    fn with_letters(&self, anchored: &Anchored) -> Result<Option<Vec<bool>>, ReadError>;
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

    fn with_letters(&self, _anchored: &Anchored) -> Result<Option<Vec<bool>>, ReadError> {
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
        let plan = |shape: &Arc<Shape>| planner.plan(select.query.root(), shape);
        let plans: Vec<Plan> = tables.shapes.iter().map(plan).collect();
        let streams: Option<Vec<bool>> = (!select.matchers.is_empty())
            .then(|| tables.streams.iter().map(|labels| all_match(&select.matchers, labels)).collect());
        let range = (select.range.start().as_nanos(), select.range.end().as_nanos());
        let is_hopeless = plans.iter().all(|p| matches!(p, Plan::Fixed(false)))
            || streams.as_ref().is_some_and(|s| !s.contains(&true));
        Self { tables: Arc::clone(tables), plans, streams, range, is_hopeless }
    }

    /// Tells whether it was prepared for these tables.
    pub(crate) fn is_for(&self, tables: &Arc<Tables>) -> bool {
        Arc::ptr_eq(&self.tables, tables)
    }

    /// Tells whether a row that happened in a span may be selected.
    pub(crate) fn may_select(&self, (first, last): (i64, i64)) -> bool {
        last >= self.range.0 && first < self.range.1 && !self.is_hopeless
    }

    /// Asks an index once for each of some shapes; `None` where no row of them can be selected.
    pub(crate) fn ask(
        &self,
        shapes: impl Iterator<Item = u32>,
        index: &dyn Candidates,
        budget: &Budget,
    ) -> Result<Option<Asked>, ReadError> {
        let mut asked = Asked(Vec::new());
        let mut may_pass = false;
        for shape in shapes {
            budget.check()?;
            let at = shape as usize;
            let blocks = match &self.plans[at] {
                Plan::Fixed(value) => {
                    may_pass |= value;
                    continue;
                }
                plan => index.of(plan)?,
            };
            may_pass |= blocks.as_ref().is_none_or(|blocks| blocks.contains(&true));
            if blocks.is_some() {
                asked.0.resize(asked.0.len().max(at + 1), None);
                asked.0[at] = blocks;
            }
        }
        Ok(may_pass.then_some(asked))
    }

    /// Returns the selected rows of a block, in its order.
    pub(crate) fn rows(
        &self,
        block: &dyn Block,
        candidates: &dyn Candidates,
        asked: &Asked,
        budget: &Budget,
    ) -> Result<Vec<u32>, ReadError> {
        budget.check()?;
        let (first, last) = block.span();
        if !self.may_select((first, last)) {
            return Ok(Vec::new());
        }
        let is_inside = self.range.0 <= first && last < self.range.1;
        let times = if is_inside { None } else { Some(block.times()?) };
        let streams = match &self.streams {
            Some(selected) => Some((selected, block.streams()?)),
            None => None,
        };
        let is_out = |row: usize| {
            times.is_some_and(|t| t[row] < self.range.0 || t[row] >= self.range.1)
                || streams.is_some_and(|(selected, of)| !selected[of[row] as usize])
        };
        let mut row_eval = RowEval::new(candidates);
        // A block has at most a few hundred thousand rows, so numbers of rows fit.
        let (mut out, mut n_looked): (Vec<u32>, usize) = (Vec::new(), 0);
        let mut end = 0;
        for run in block.shapes()?.chunk_by(|a, b| a == b) {
            let start = end;
            end += run.len();
            let plan = &self.plans[run[0] as usize];
            if let Plan::Fixed(value) = plan {
                out.extend(
                    (start..if *value { end } else { start }).filter(|r| !is_out(*r)).map(|r| r as u32),
                );
                continue;
            }
            let blocks = asked.0.get(run[0] as usize).and_then(Option::as_ref);
            row_eval.start_run();
            let mut row = start;
            while row < end {
                let number = row / candidates.block_rows();
                let part = row..end.min((number + 1).saturating_mul(candidates.block_rows()));
                row = part.end;
                if blocks.is_some_and(|blocks| !blocks.get(number).copied().unwrap_or(false)) {
                    continue;
                }
                for row in part.filter(|row| !is_out(*row)) {
                    n_looked += 1;
                    if n_looked % CHECK_ROWS == 0 {
                        budget.charge_samples(CHECK_ROWS)?;
                    }
                    row_eval.start(row);
                    if row_eval.holds(plan, block)? {
                        out.push(row as u32);
                    }
                }
            }
        }
        budget.charge_samples(n_looked % CHECK_ROWS)?;
        Ok(out)
    }
}

/// What an index has said: for shapes by their number, which blocks of rows may pass; `None` when all may.
#[derive(Debug, Default)]
pub(crate) struct Asked(Vec<Option<Vec<bool>>>);

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
                at @ FieldAt::Message { .. } => message_plan(name, test, shape, at, &mut self.scratch),
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
        Test::Words(_) | Test::Id(..) if test.words().len() == 1 => {
            return if shape.has_word(&test.words()[0]) {
                Plan::Fixed(true)
            } else {
                Plan::Word(test.clone())
            };
        }
        Test::Prefix(list, last) if list.is_empty() => {
            return if shape.has_prefix(last) { Plan::Fixed(true) } else { Plan::Word(test.clone()) };
        }
        _ => {}
    }
    let mut parts = shape.pattern.split(char::from(VARIABLE));
    if test.is_of_parts() && parts.any(|part| test.matches(part, scratch)) {
        return Plan::Fixed(true);
    }
    if let Some(anchored) = Anchored::new(test, shape, &FieldAt::Body) {
        return Plan::Anchored(Arc::new(anchored));
    }
    let missing = test.words().iter().filter(|w| !shape.has_word(w)).cloned().collect();
    Plan::Body(test.clone(), missing)
}

/// Decides what a shape decides of the message inside a JSON line. Escapes may make another text of a variable, and of
/// the bytes beside one that ends in a backslash: only what is farther from variables is sure.
fn message_plan(name: &str, test: &Test, shape: &Shape, at: FieldAt, scratch: &mut Scratch) -> Plan {
    let as_field = |at| Plan::Field(at, name.into(), test.clone());
    let Some((parts, _)) = parts_of(shape, &at) else { return as_field(at) };
    let texts: Vec<&str> = parts.into_iter().map(|part| &shape.pattern[part]).collect();
    if texts.iter().any(|text| text.contains('\\')) {
        return as_field(at);
    }
    if let [text] = texts.as_slice() {
        return Plan::Fixed(test.matches(text, scratch));
    }
    let last = texts.len() - 1;
    let mut inner = texts.iter().enumerate().map(|(n, text)| inner(text, n == 0, n == last));
    if test.is_of_parts() && inner.any(|text| test.matches(text, scratch)) {
        return Plan::Fixed(true);
    }
    if let Some(anchored) = Anchored::new(test, shape, &at) {
        return Plan::Anchored(Arc::new(anchored));
    }
    let own: Vec<String> = texts.iter().flat_map(|text| words(text)).collect();
    let missing = test.words().iter().filter(|w| !own.contains(w)).cloned().collect();
    Plan::Message(at, test.clone(), missing)
}

/// What is left of a part of a text without the bytes that border on variables, and the words there.
fn inner(text: &str, is_first: bool, is_last: bool) -> &str {
    let mut text = text;
    if !is_first {
        let mut chars = text.chars();
        let starts_with_word = chars.next().is_some_and(char::is_alphanumeric);
        text = if starts_with_word { text.trim_start_matches(char::is_alphanumeric) } else { chars.as_str() };
    }
    if is_last { text } else { text.trim_end_matches(char::is_alphanumeric) }
}

/// Evaluates plans for one row after the other; the body is put together at most once a row.
struct RowEval<'a> {
    candidates: &'a dyn Candidates,
    /// What the index says to parts of the present shape's plan, by where they are in memory.
    known: Vec<(*const Plan, Option<Vec<bool>>)>,
    /// For plans of one word the slots that may have it.
    slots: Vec<(*const Plan, Vec<usize>)>,
    row: usize,
    body: String,
    has_body: bool,
    buffers: Buffers,
}

impl<'a> RowEval<'a> {
    fn new(candidates: &'a dyn Candidates) -> Self {
        let (known, slots, body, buffers) = Default::default();
        Self { candidates, known, slots, row: 0, body, has_body: false, buffers }
    }

    /// Goes on to rows of another shape, whose plan has other parts.
    fn start_run(&mut self) {
        self.known.clear();
        self.slots.clear();
    }

    fn start(&mut self, row: usize) {
        self.row = row;
        self.has_body = false;
    }

    /// Tells whether the present row may be one of those that `ask` asks the index for.
    fn may_be(
        &mut self,
        plan: &Plan,
        ask: impl FnOnce(&dyn Candidates) -> Result<Option<Vec<bool>>, ReadError>,
    ) -> Result<bool, ReadError> {
        let known = self.known.iter().position(|known| std::ptr::eq(known.0, plan));
        let known = known.map_or_else(
            || {
                self.known.push((std::ptr::from_ref(plan), ask(self.candidates)?));
                Ok(self.known.len() - 1)
            },
            Ok,
        )?;
        let at = self.row / self.candidates.block_rows();
        Ok(self.known[known].1.as_ref().is_none_or(|blocks| blocks.get(at).copied().unwrap_or(false)))
    }

    /// The same as [`holds`](Self::holds) for a part of a plan, which the index may decide for this row alone.
    fn part_holds(&mut self, plan: &Plan, block: &dyn Block) -> Result<bool, ReadError> {
        let is_leaf = matches!(plan, Plan::Word(_) | Plan::Body(..) | Plan::Field(..) | Plan::Message(..));
        if is_leaf && !self.may_be(plan, |index| index.of(plan))? {
            return Ok(false);
        }
        self.holds(plan, block)
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
                test.matches(&self.body, &mut self.buffers.scratch)
            }
            Plan::Word(test) => self.has_word(plan, test, block)?,
            Plan::Field(at, _, Test::Id(_, id)) if let Some(is_it) = self.has_id(at, id, block)? => is_it,
            Plan::Field(at, name, test) => self.field_passes(at, name, test, block)?,
            Plan::Message(at, test, _) => self.field_passes(at, "", test, block)?,
            Plan::Anchored(anchored) => {
                let slots: &[usize] = if self.may_be(plan, |index| index.with_letters(anchored))? {
                    let known = self.slots_of(plan, |row| anchored.slots(block, row))?;
                    &self.slots[known].1
                } else {
                    &[]
                };
                anchored.holds(block, self.row, slots, &mut self.buffers)?
            }
            Plan::Not(part) => !self.part_holds(part, block)?,
            Plan::And(parts) => {
                for part in parts {
                    if !self.part_holds(part, block)? {
                        return Ok(false);
                    }
                }
                true
            }
            Plan::Or(parts) => {
                for part in parts {
                    if self.part_holds(part, block)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }

    fn has_word(&mut self, plan: &Plan, test: &Test, block: &dyn Block) -> Result<bool, ReadError> {
        let known = self.slots_of(plan, |row| slots_with(test, block, row))?;
        for &slot in &self.slots[known].1 {
            if let Test::Id(_, id) = test
                && let Some(bytes) = block.hex(self.row, slot)?
            {
                if bytes == id.as_slice() {
                    return Ok(true);
                }
                continue;
            }
            self.buffers.text.clear();
            block.value(self.row, slot, &mut self.buffers.text)?;
            if test.matches(&self.buffers.text, &mut self.buffers.scratch) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the slots are that rows of a plan's shape are looked for in; `find` is asked once.
    fn slots_of(
        &mut self,
        plan: &Plan,
        find: impl FnOnce(usize) -> Result<Vec<usize>, ReadError>,
    ) -> Result<usize, ReadError> {
        if let Some(known) = self.slots.iter().position(|known| std::ptr::eq(known.0, plan)) {
            return Ok(known);
        }
        self.slots.push((std::ptr::from_ref(plan), find(self.row)?));
        Ok(self.slots.len() - 1)
    }

    fn field_passes(
        &mut self,
        at: &FieldAt,
        name: &str,
        test: &Test,
        block: &dyn Block,
    ) -> Result<bool, ReadError> {
        let Buffers { text, scratch, .. } = &mut self.buffers;
        text.clear();
        Ok(field_text(block, self.row, at, name, text)? && test.matches(text, scratch))
    }

    /// Tells whether the text of a field is an identifier, where it is kept as bytes.
    fn has_id(&self, at: &FieldAt, id: &[u8], block: &dyn Block) -> Result<Option<bool>, ReadError> {
        Ok(match at {
            FieldAt::Slot(slot) | FieldAt::Escaped(slot) => block.hex(self.row, *slot)?.map(|own| own == id),
            FieldAt::TraceId => Some(block.trace_id(self.row)?.is_some_and(|own| own == id)),
            FieldAt::SpanId => Some(block.span_id(self.row)?.is_some_and(|own| own == id)),
            _ => None,
        })
    }
}

/// Variables in which rows of a row's shape may have the word that a test is for.
fn slots_with(test: &Test, block: &dyn Block, row: usize) -> Result<Vec<usize>, ReadError> {
    let n = block.tables().shapes[block.shapes()?[row] as usize].n_variables;
    let Some(word) = test.words().first() else { return Ok((0..n).collect()) };
    let mut out = Vec::new();
    for slot in 0..n {
        if block.may_hold(row, slot, word)? {
            out.push(slot);
        }
    }
    Ok(out)
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
