//! Lines of the loghub sets are grouped as well as by the prototype, from their messages and as they are.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod csv;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use csv::csv;
use greylight_store::pattern::{Learner, Splitter, TemplateId, Templates, message_start};

const SETS: [&str; 8] = ["Android", "Apache", "BGL", "HDFS", "HealthApp", "Linux", "OpenStack", "Spark"];

/// Lines of one set.
struct Set {
    raw: Vec<String>,
    messages: Vec<String>,
    /// Which lines are of one template.
    events: Vec<String>,
}

impl Set {
    fn read(folder: &Path, name: &str) -> Self {
        let read = |end: &str| std::fs::read_to_string(folder.join(format!("{name}_2k.log{end}")));
        let rows = csv(&read("_structured_corrected.csv").or_else(|_| read("_structured.csv")).unwrap());
        let column = |name: &str| {
            let at = rows[0].iter().position(|head| head == name).unwrap();
            rows[1..].iter().map(|row| row[at].clone()).collect()
        };
        let raw = read("").unwrap().lines().map(str::to_owned).collect();
        Self { raw, messages: column("Content"), events: column("EventId") }
    }
}

/// Grouping accuracy over lines, and its F score over groups, of templates that were found.
fn scores(events: &[String], found: &[TemplateId]) -> (f64, f64) {
    let mut truth: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut groups: HashMap<TemplateId, Vec<usize>> = HashMap::new();
    for (n, (event, template)) in events.iter().zip(found).enumerate() {
        truth.entry(event).or_default().push(n);
        groups.entry(*template).or_default().push(n);
    }
    let true_groups: HashSet<&Vec<usize>> = truth.values().collect();
    let equal: Vec<_> = groups.values().filter(|group| true_groups.contains(group)).collect();
    let n_lines: usize = equal.iter().map(|group| group.len()).sum();
    let (precision, recall) =
        (equal.len() as f64 / groups.len() as f64, equal.len() as f64 / truth.len() as f64);
    (n_lines as f64 / events.len() as f64, 2.0 * precision * recall / (precision + recall))
}

/// The template of each line, whose message begins where `start` says.
fn templates(lines: &[String], start: impl Fn(&str) -> usize) -> Vec<TemplateId> {
    let (mut splitter, mut model) = (Splitter::default(), Templates::default());
    let mut add = |line: &String| {
        let split = splitter.split_behind(line.as_bytes(), start(line));
        model.insert(&split.pattern[split.message..], 1);
        split.id()
    };
    let ids: Vec<_> = lines.iter().map(&mut add).collect();
    ids.into_iter().map(|id| model.template_of(id).unwrap()).collect()
}

/// The scores that the method was chosen by; a change that loses some of them is seen here.
#[test]
fn loghub_is_grouped_as_well_as_by_the_prototype() {
    let Some(data) = std::env::var_os("GREYLIGHT_TEST_DATA") else {
        println!("skipped: GREYLIGHT_TEST_DATA names no data");
        return;
    };
    let (mut of_messages, mut of_raw, mut n_exact) = ([0.0; 2], [0.0; 2], 0);
    for name in SETS {
        let set = Set::read(&Path::new(&data).join("loghub").join(name), name);
        let mut learner = Learner::default();
        let _ = set.raw.iter().find(|line| learner.add(line.as_bytes()));
        let known = [learner.header()];
        let start = |line: &str| message_start(line.as_bytes(), &known);
        for (sums, found) in
            [(&mut of_messages, templates(&set.messages, |_| 0)), (&mut of_raw, templates(&set.raw, start))]
        {
            let (accuracy, f_score) = scores(&set.events, &found);
            sums[0] += accuracy / SETS.len() as f64;
            sums[1] += f_score / SETS.len() as f64;
        }
        let is_exact = |(line, message): &(&String, &String)| line[start(line)..].trim() == message.trim();
        n_exact += set.raw.iter().zip(&set.messages).filter(is_exact).count();
    }
    println!(
        "messages {of_messages:.4?}, raw lines {of_raw:.4?}, {n_exact} of 16000 begin where they should"
    );
    assert!(of_messages[0] >= 0.974 && of_messages[1] >= 0.9915, "messages: {of_messages:.4?}");
    assert!(of_raw[0] >= 0.974 && of_raw[1] >= 0.9915, "raw lines: {of_raw:.4?}");
    assert!(n_exact >= 15_999, "{n_exact} messages begin where they should");
}
