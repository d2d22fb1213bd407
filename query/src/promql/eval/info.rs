//! `info`: gives series the labels of the info metrics of their target.

use std::collections::HashMap;

use greylight_store::model::{Labels, METRIC_NAME, Matcher};

use super::super::EvalError;
use super::super::plan::{Grid, Node, SeriesNode};
use super::block::{Block, Row, is_absent};
use super::{Evaluator, Result};

/// The info metric that is read when none is named.
const DEFAULT_NAME: &str = "target_info";
/// Labels that name a target.
const IDENTIFYING: [&str; 2] = ["job", "instance"];

/// Evaluates `info(base, selector)`.
pub(super) fn eval(
    eval: &Evaluator<'_>,
    base: Block,
    selector: Option<&SeriesNode>,
    grid: &Grid,
) -> Result<Block> {
    let (names, data): (Vec<Matcher>, Vec<Matcher>) = match selector {
        Some(node) => node.matchers.iter().cloned().partition(|m| m.name() == METRIC_NAME),
        None => (Vec::new(), Vec::new()),
    };
    let names = if names.is_empty() { vec![Matcher::equal(METRIC_NAME, DEFAULT_NAME)] } else { names };
    let matchers = names.iter().chain(&data).cloned().collect();
    let shift = selector.map_or_else(Default::default, |node| node.shift);
    let node = SeriesNode { matchers, shift };
    // Their samples are counted with their values.
    let outer = eval.tally.open();
    let times = eval.vector(&Node::Timestamps(node.clone()), grid)?;
    eval.tally.close(outer);
    let found = Found { times, block: eval.vector(&Node::Series(node), grid)? };
    let by_target = found.by_target();
    let mut out = Block::new(grid.n);
    let mut at: HashMap<Labels, usize> = HashMap::new();
    let mut weight = 0;
    for (row, values) in base.iter() {
        eval.check()?;
        eval.check_size(out.values.len() + weight)?;
        weight += row.histograms.weight();
        let is_info = names.iter().all(|m| m.matches(row.labels.metric_name()));
        let infos = by_target.get(&target(&row.labels)).map_or(&[][..], Vec::as_slice);
        for (k, v) in values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
            let Some(labels) =
                (if is_info { Some(row.labels.clone()) } else { found.enrich(row, infos, &data, k)? })
            else {
                continue;
            };
            let to = match at.get(&labels) {
                Some(to) => *to,
                None => {
                    at.insert(labels.clone(), out.len());
                    out.push_absent(Row::new(labels, row.drop_name))
                }
            };
            let slot = &mut out.row_mut(to)[k];
            if !is_absent(std::mem::replace(slot, *v)) {
                let text = "vector cannot contain metrics with the same labelset";
                return Err(EvalError::Execution(text.into()));
            }
            if let Some(histogram) = row.histograms.at(k, *v) {
                out.put(to, k, histogram.clone());
            }
        }
    }
    Ok(out)
}

fn target(labels: &Labels) -> Vec<String> {
    IDENTIFYING.iter().map(|name| labels.get(name).unwrap_or("").to_owned()).collect()
}

/// Info series, and when their samples were taken.
#[derive(Debug)]
struct Found {
    block: Block,
    times: Block,
}

impl Found {
    fn by_target(&self) -> HashMap<Vec<String>, Vec<usize>> {
        let mut out: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        for (i, row) in self.block.rows.iter().enumerate() {
            out.entry(target(&row.labels)).or_default().push(i);
        }
        out
    }

    /// Returns a series' labels with those of its info series at a step; `None` when a label was
    /// asked for that no info series has.
    fn enrich(&self, row: &Row, infos: &[usize], data: &[Matcher], k: usize) -> Result<Option<Labels>> {
        // The newest sample of each info metric counts.
        let mut newest: HashMap<&str, usize> = HashMap::new();
        for i in infos.iter().copied().filter(|i| !is_absent(self.block.row(*i)[k])) {
            let labels = &self.block.rows[i].labels;
            if self.block.rows[i].histograms.at(k, self.block.row(i)[k]).is_some() {
                let text = format!("this should be an info metric, with float samples: {labels}");
                return Err(EvalError::Execution(text));
            }
            let name = labels.metric_name();
            let Some(before) = newest.insert(name, i) else { continue };
            let (t, t_before) = (self.times.row(i)[k], self.times.row(before)[k]);
            if t == t_before {
                let (a, b) = (&self.block.rows[before].labels, &self.block.rows[i].labels);
                let text =
                    format!("found duplicate series for info metric: existing {a} @ {t}, new {b} @ {t}");
                return Err(EvalError::Execution(text));
            }
            if t < t_before {
                newest.insert(name, before);
            }
        }
        let mut added: HashMap<&str, &str> = HashMap::new();
        for i in newest.values() {
            for (name, value) in &self.block.rows[*i].labels {
                let wanted = data.is_empty() || data.iter().any(|m| m.name() == name);
                let own =
                    name == METRIC_NAME || IDENTIFYING.contains(&name) || row.labels.get(name).is_some();
                if !wanted || own {
                    continue;
                }
                if added.insert(name, value).is_some_and(|before| before != value) {
                    return Err(EvalError::Execution(format!("conflicting label: {name}")));
                }
            }
        }
        if added.is_empty() {
            return Ok(data.iter().all(Matcher::matches_empty).then(|| row.labels.clone()));
        }
        let with = |labels: greylight_store::model::LabelsBuilder, (name, value): (&&str, &&str)| {
            labels.set(name, value)
        };
        Ok(Some(added.iter().fold(row.labels.to_builder(), with).build()))
    }
}
