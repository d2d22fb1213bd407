//! Functions that change or order by labels.

use std::cmp::Ordering;
use std::collections::HashSet;

use greylight_store::model::{Labels, METRIC_NAME};

use super::super::EvalError;
use super::Result;
use super::block::{ABSENT, Block, Row};
use super::numeric;

fn check_distinct(block: &Block) -> Result<()> {
    let mut seen: HashSet<&Labels> = HashSet::with_capacity(block.len());
    if block.rows.iter().all(|row| seen.insert(&row.labels)) {
        return Ok(());
    }
    Err(EvalError::Execution("vector cannot contain metrics with the same labelset".into()))
}

fn relabel(row: &mut Row, name: &str, value: &str) {
    row.labels = row.labels.to_builder().set(name, value).build();
    if name == METRIC_NAME {
        // The new name is wanted, so it stays.
        row.drop_name = false;
    }
}

/// `label_replace`
pub(super) fn replace(mut block: Block, [target, replacement, source, regex]: [&str; 4]) -> Result<Block> {
    let pattern = regex::RegexBuilder::new(&format!("^(?s:{regex})$")).size_limit(1 << 20).build();
    let Ok(pattern) = pattern else {
        let text = format!("invalid regular expression in label_replace(): {regex}");
        return Err(EvalError::Execution(text));
    };
    if target.is_empty() {
        let text = format!("invalid destination label name in label_replace(): {target}");
        return Err(EvalError::Execution(text));
    }
    block.drop_empty();
    for row in &mut block.rows {
        let labels = row.labels.clone();
        let value = labels.get(source).unwrap_or("");
        if let Some(captures) = pattern.captures(value) {
            let mut expanded = String::new();
            captures.expand(replacement, &mut expanded);
            relabel(row, target, &expanded);
        }
    }
    check_distinct(&block)?;
    Ok(block)
}

/// `label_join`
pub(super) fn join(mut block: Block, target: &str, separator: &str, sources: &[&str]) -> Result<Block> {
    if target.is_empty() {
        return Err(EvalError::Execution(format!(
            "invalid destination label name in label_join(): {target}"
        )));
    }
    if let Some(bad) = sources.iter().find(|s| s.is_empty()) {
        return Err(EvalError::Execution(format!("invalid source label name in label_join(): {bad}")));
    }
    block.drop_empty();
    for row in &mut block.rows {
        let labels = row.labels.clone();
        let values: Vec<&str> = sources.iter().map(|s| labels.get(s).unwrap_or("")).collect();
        relabel(row, target, &values.join(separator));
    }
    check_distinct(&block)?;
    Ok(block)
}

fn reorder(block: &Block, order: impl Fn(usize, usize) -> Ordering) -> Block {
    let mut rows: Vec<usize> = (0..block.len()).collect();
    rows.sort_by(|a, b| order(*a, *b));
    let values = rows.iter().flat_map(|i| block.row(*i).iter().copied()).collect();
    Block { n_steps: block.n_steps, rows: rows.iter().map(|i| block.rows[*i].clone()).collect(), values }
}

/// `sort`, `sort_desc`: an instant answer by value, NaN last; over several steps there is no order. Histograms have
/// none, and are left out.
pub(super) fn sort(mut block: Block, descending: bool) -> Block {
    let n = block.n_steps.max(1);
    let mut any = false;
    for (row, values) in block.rows.iter_mut().zip(block.values.chunks_exact_mut(n)) {
        let histograms = std::mem::take(&mut row.histograms);
        for (k, v) in values.iter_mut().enumerate().filter(|_| !histograms.is_empty()) {
            if histograms.at(k, *v).is_some() {
                *v = ABSENT;
                any = true;
            }
        }
    }
    if any {
        block.drop_empty();
    }
    if block.n_steps != 1 {
        return block;
    }
    reorder(&block, |a, b| {
        let (a, b) = (block.values[a], block.values[b]);
        match (a.is_nan(), b.is_nan()) {
            (false, false) if descending => numeric::nan_first(&b, &a),
            (false, false) => numeric::nan_first(&a, &b),
            (a_nan, b_nan) => a_nan.cmp(&b_nan),
        }
    })
}

/// `sort_by_label`, `sort_by_label_desc`: by the labels named, numbers in them as numbers.
pub(super) fn sort_by(block: Block, names: &[&str], descending: bool) -> Block {
    if block.n_steps != 1 {
        return block;
    }
    reorder(&block, |a, b| {
        let (a, b) = (&block.rows[a].labels, &block.rows[b].labels);
        let by_names = names
            .iter()
            .map(|n| natural(a.get(n).unwrap_or(""), b.get(n).unwrap_or("")))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| a.cmp(b));
        if descending { by_names.reverse() } else { by_names }
    })
}

/// Orders texts piece by piece: runs of digits as numbers, the rest as text.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (x, rest_a) = piece(a);
        let (y, rest_b) = piece(b);
        let order = match (is_digit(x), is_digit(y)) {
            (true, true) => {
                let (x0, y0) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
                x0.len().cmp(&y0.len()).then_with(|| x0.cmp(y0)).then_with(|| x.len().cmp(&y.len()))
            }
            _ => x.cmp(y),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

fn is_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn piece(text: &str) -> (&str, &str) {
    let digits = is_digit(text);
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_ordered_as_numbers() {
        assert_eq!(natural("cpu2", "cpu10"), Ordering::Less);
        assert_eq!(natural("a", "b"), Ordering::Less);
        assert_eq!(natural("1.10", "1.9"), Ordering::Greater);
        assert_eq!(natural("x", "x"), Ordering::Equal);
    }
}
