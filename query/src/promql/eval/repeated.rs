//! Parts of an expression that occur more than once, evaluated once.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::super::plan::{Grid, Node, SeriesNode, Window, WindowSource};
use super::block::Block;

/// Where parts occur that occur again, and what the first of each gave.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    /// The group of each such node, by its place in memory.
    groups: HashMap<usize, usize>,
    held: Vec<Mutex<Option<Held>>>,
    n_members: Vec<usize>,
}

/// What a part gave, for those of its group that are still to come.
#[derive(Debug)]
struct Held {
    grid: Grid,
    block: Block,
    /// The samples behind each step.
    counts: Vec<u64>,
    n_to_come: usize,
}

impl Repeated {
    /// Finds the parts of a plan that are worth it; series alone are not, since they are streamed.
    pub(crate) fn find(plan: &Node) -> Self {
        let mut parts = Vec::new();
        collect(plan, &mut parts);
        if parts.len() < 2 {
            return Self::default();
        }
        let mut out = Self::default();
        // By size, so that long chains are not compared link by link.
        let mut firsts: HashMap<usize, Vec<(&Node, Vec<usize>)>> = HashMap::new();
        for (part, size) in parts {
            let (place, firsts) = (place_of(part), firsts.entry(size).or_default());
            match firsts.iter_mut().find(|(first, _)| is_same(first, part)) {
                Some((_, places)) => places.push(place),
                None => firsts.push((part, vec![place])),
            }
        }
        for (_, places) in firsts.into_values().flatten().filter(|(_, places)| places.len() > 1) {
            out.groups.extend(places.iter().map(|place| (*place, out.held.len())));
            out.held.push(Mutex::new(None));
            out.n_members.push(places.len());
        }
        out
    }

    /// Tells whether a node occurs again.
    pub(super) fn has(&self, node: &Node) -> bool {
        self.groups.contains_key(&place_of(node))
    }

    /// Returns what an equal part gave at the same steps, and the samples behind each, if that is held.
    pub(super) fn get(&self, node: &Node, grid: &Grid) -> Option<(Block, Vec<u64>)> {
        let mut held = self.held[*self.groups.get(&place_of(node))?].lock();
        let found = held.as_mut().filter(|held| held.grid == *grid)?;
        found.n_to_come -= 1;
        if found.n_to_come > 0 {
            return Some((found.block.clone(), found.counts.clone()));
        }
        held.take().map(|held| (held.block, held.counts))
    }

    /// Holds what a part gave for those that are equal to it.
    pub(super) fn put(&self, node: &Node, grid: &Grid, block: &Block, counts: &[u64]) {
        let Some(&group) = self.groups.get(&place_of(node)) else { return };
        let n_to_come = self.n_members[group] - 1;
        *self.held[group].lock() =
            Some(Held { grid: *grid, block: block.clone(), counts: counts.to_vec(), n_to_come });
    }
}

fn place_of(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Gathers the parts that are worth it with how many nodes each has, and returns how many nodes there are.
fn collect<'n>(node: &'n Node, parts: &mut Vec<(&'n Node, usize)>) -> usize {
    let mut all = |nodes: &'n [Node]| nodes.iter().map(|node| collect(node, parts)).sum::<usize>();
    let (size, is_worth_it) = match node {
        Node::Number(_)
        | Node::Text(_)
        | Node::Time
        | Node::Series(_)
        | Node::Raw(_)
        | Node::Timestamps(_) => (1, false),
        Node::Window { window, params, .. } => {
            let params = all(params);
            match &window.source {
                WindowSource::Subquery { node: inner, .. } => (1 + params + collect(inner, parts), true),
                WindowSource::Series(_) => (1 + params, false),
            }
        }
        Node::Call { args, .. } => (1 + all(args), true),
        Node::Aggregate { param, expr, .. } => {
            let param = param.as_deref().map_or(0, |param| collect(param, parts));
            (1 + param + collect(expr, parts), true)
        }
        Node::Binary { lhs, rhs, .. } => (1 + collect(lhs, parts) + collect(rhs, parts), true),
        Node::Negate(inner) | Node::Fixed(inner) => (1 + collect(inner, parts), false),
    };
    if is_worth_it {
        parts.push((node, size));
    }
    size
}

/// Tells whether two nodes are the same but for their places in the text.
fn is_same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Number(a), Node::Number(b)) => a.to_bits() == b.to_bits(),
        (Node::Text(a), Node::Text(b)) => a == b,
        (Node::Time, Node::Time) => true,
        (Node::Series(a), Node::Series(b)) | (Node::Timestamps(a), Node::Timestamps(b)) => {
            are_same_series(a, b)
        }
        (
            Node::Window { func, window, params, param_span: _ },
            Node::Window { func: other, window: b_window, params: b_params, param_span: _ },
        ) => func == other && are_same_windows(window, b_window) && are_same(params, b_params),
        (
            Node::Call { func, args, spans: _, absent_labels },
            Node::Call { func: other, args: b_args, spans: _, absent_labels: b_labels },
        ) => func == other && absent_labels == b_labels && are_same(args, b_args),
        (
            Node::Aggregate { op, param, expr, grouping, span: _ },
            Node::Aggregate { op: other, param: b_param, expr: b_expr, grouping: b_grouping, span: _ },
        ) => {
            let params = match (param, b_param) {
                (Some(a), Some(b)) => is_same(a, b),
                (None, None) => true,
                _ => false,
            };
            op == other && grouping == b_grouping && params && is_same(expr, b_expr)
        }
        (
            Node::Binary { op, lhs, rhs, matching, return_bool, span: _ },
            Node::Binary {
                op: other,
                lhs: b_lhs,
                rhs: b_rhs,
                matching: b_matching,
                return_bool: b_bool,
                span: _,
            },
        ) => {
            op == other
                && return_bool == b_bool
                && matching == b_matching
                && is_same(lhs, b_lhs)
                && is_same(rhs, b_rhs)
        }
        (Node::Negate(a), Node::Negate(b)) | (Node::Fixed(a), Node::Fixed(b)) => is_same(a, b),
        _ => false,
    }
}

fn are_same(a: &[Node], b: &[Node]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
}

fn are_same_series(a: &SeriesNode, b: &SeriesNode) -> bool {
    a.shift == b.shift && a.matchers == b.matchers
}

fn are_same_windows(a: &Window, b: &Window) -> bool {
    let sources = match (&a.source, &b.source) {
        (WindowSource::Series(a), WindowSource::Series(b)) => are_same_series(a, b),
        (
            WindowSource::Subquery { node, step_ms, shift },
            WindowSource::Subquery { node: other, step_ms: b_step, shift: b_shift },
        ) => step_ms == b_step && shift == b_shift && is_same(node, other),
        _ => false,
    };
    sources && a.range_ms == b.range_ms && a.absent_labels == b.absent_labels
}
