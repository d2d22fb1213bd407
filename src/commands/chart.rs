//! Line charts for a terminal, in Braille dots.

use std::fmt::Write as _;

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// What it is called.
    pub(crate) name: String,
    /// Times in epoch seconds, rising, and values.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Columns and lines of one chart; a cell has two by four dots.
const COLUMNS: usize = 70;
const LINES: usize = 4;
/// Charts drawn; how many are left out is said.
const CHARTS_MAX: usize = 20;

/// Draws a chart for each series, all over the same time, each over its own range of values.
pub(crate) fn draw(series: &[Series]) -> String {
    let mut out = String::new();
    let times = || series.iter().flat_map(|s| s.points.iter().map(|p| p.0));
    let (from, to) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
    if from > to {
        return "no data\n".into();
    }
    for one in series.iter().take(CHARTS_MAX) {
        let name: String = one.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let last = one.points.last().map_or_else(|| "-".into(), |p| short(p.1));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name}  now {last}");
        panel(&mut out, &one.points, (from, to));
    }
    if series.len() > CHARTS_MAX {
        let _ = writeln!(
            out,
            "and {} more series; narrow the expression or take --format table",
            series.len() - CHARTS_MAX
        );
    }
    let time =
        |s: f64| jiff::Timestamp::from_second(s as i64).map_or_else(|_| s.to_string(), |t| t.to_string());
    let (left, right) = (time(from), time(to));
    let gap = (COLUMNS + 11).saturating_sub(11 + left.len() + right.len()).max(1);
    let _ = writeln!(out, "{:11}{left}{:gap$}{right}", "", "");
    out
}

/// Draws the dots of one series with the ends of its range beside them.
fn panel(out: &mut String, points: &[(f64, f64)], (from, to): (f64, f64)) {
    let finite = || points.iter().map(|p| p.1).filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let (wide, tall) = (2 * COLUMNS, 4 * LINES);
    let mut cells = [[0_u8; COLUMNS]; LINES];
    let mut before: Option<(usize, usize)> = None;
    for (t, value) in points {
        if !value.is_finite() {
            before = None;
            continue;
        }
        let x = if to > from {
            ((t - from) / (to - from) * (wide - 1) as f64).round() as usize
        } else {
            wide - 1
        };
        // A flat line runs through the middle.
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        let y = tall - 1 - (share * (tall - 1) as f64).round() as usize;
        let (from_x, from_y) = before.unwrap_or((x, y));
        for step_x in from_x..=x {
            let along = if x > from_x { (step_x - from_x) as f64 / (x - from_x) as f64 } else { 1.0 };
            dot(&mut cells, step_x, (from_y as f64 + along * (y as f64 - from_y as f64)).round() as usize);
        }
        // What is between two points of one column is part of the line.
        (from_y.min(y)..=from_y.max(y)).filter(|_| x == from_x).for_each(|step_y| dot(&mut cells, x, step_y));
        before = Some((x, y));
    }
    for (i, line) in cells.iter().enumerate() {
        let label = match i {
            0 if high >= low => short(high),
            _ if i == LINES - 1 && high > low => short(low),
            _ => String::new(),
        };
        let dots: String =
            line.iter().map(|bits| char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' ')).collect();
        let _ = writeln!(out, "{label:>9} ┤{}", dots.trim_end_matches('\u{2800}'));
    }
}

fn dot(cells: &mut [[u8; COLUMNS]; LINES], x: usize, y: usize) {
    /// Bits of the dots of a cell, by column and from top to bottom.
    const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    cells[(y / 4).min(LINES - 1)][(x / 2).min(COLUMNS - 1)] |= BITS[x % 2][y % 4];
}

/// Writes a number with about four digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = if size >= 1000.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Series {
        Series {
            name: "up{job=\"a\"}".into(),
            points: values.iter().enumerate().map(|(i, v)| (60.0 * i as f64, *v)).collect(),
        }
    }

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let text = draw(&[line(&[0.0, 50.0, 100.0])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "up{job=\"a\"}  now 100.0");
        assert!(lines[1].starts_with("    100.0 ┤") && lines[4].starts_with("        0 ┤"), "{text}");
        let first_dot = |line: &str| line.chars().skip(11).position(|c| c != '\u{2800}').unwrap();
        let starts: Vec<usize> = lines[1..5].iter().map(|l| first_dot(l)).collect();
        assert!(starts.is_sorted_by(|a, b| a > b) && starts[3] == 0, "{starts:?}");
        assert_eq!(lines[1].chars().count(), 11 + COLUMNS);
        assert!(lines[5].contains("1970-01-01T00:00:00Z") && lines[5].ends_with("1970-01-01T00:02:00Z"));
    }

    #[test]
    fn gaps_flat_lines_and_nothing_are_drawn_for_what_they_are() {
        assert_eq!(draw(&[]), "no data\n");
        let flat = draw(&[line(&[5.0, 5.0])]);
        assert_eq!(
            flat.lines()
                .filter(|l| l.contains('⠤') || l.contains('⠒') || l.contains('⣀') || l.contains('⠉'))
                .count(),
            1,
            "{flat}"
        );
        let gap = draw(&[line(&[1.0, f64::NAN, 1.0, 2.0])]);
        let dots = |text: &str| text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert!(dots(&gap) < dots(&draw(&[line(&[1.0, 1.0, 1.0, 2.0])])), "{gap}");
    }

    #[test]
    fn charts_beyond_the_limit_are_counted() {
        let text = draw(&vec![line(&[1.0, 2.0]); CHARTS_MAX + 3]);
        assert!(text.contains("and 3 more series"), "{text}");
    }
}
