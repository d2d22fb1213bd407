//! Tests of this module.

use proptest::prelude::*;

use super::*;
use crate::logs::derived_fields;
use crate::logs::rows::Tail;
use crate::logs::testing::line;
use crate::pattern::{Splitter, restore, words};

fn labels(service: &str) -> Labels {
    Labels::from_pairs([("service_name", service)]).unwrap()
}

/// Lines of one tenant, as a head takes them.
#[derive(Default)]
struct Lines {
    templates: SharedTemplates,
    splitter: Splitter,
    general: General,
}

impl Lines {
    /// Places a line, checks that nothing of it is lost, and returns its pattern.
    fn add(&mut self, service: &str, body: &str) -> String {
        let split = self.splitter.split(body.as_bytes());
        let pattern = std::str::from_utf8(split.pattern).unwrap();
        let place = self.templates.place(&labels(service), pattern, &mut self.general);
        self.general.split(pattern, split.variables, &place, 0..body.len());
        let (pattern, spans) = (&self.general.pattern, &self.general.variables);
        let mut back = Vec::new();
        assert!(
            restore(pattern.as_bytes(), spans.iter().map(|s| s.of(body.as_bytes())), &mut back)
                && back == body.as_bytes(),
            "{body:?} {pattern:?}"
        );
        // No word crosses the edge of a variable, on which searches rely.
        let mut cut = Vec::new();
        let mut at = 0;
        for span in spans {
            cut.extend(words(&body[at..span.start as usize]));
            cut.extend(words(&body[span.start as usize..span.end as usize]));
            at = span.end as usize;
        }
        cut.extend(words(&body[at..]));
        assert_eq!(cut, words(body), "{pattern:?}");
        pattern.clone()
    }

    fn n_patterns(&self) -> usize {
        self.templates.state.lock().model.size().0
    }
}

/// A name of plain letters, as programs and packages have.
fn name(n: usize) -> String {
    const PARTS: [&str; 16] =
        ["ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "ze"];
    format!("lib{}{}-{}{}", PARTS[n % 16], PARTS[n / 16 % 16], PARTS[n / 256 % 16], PARTS[(n * 7) % 16])
}

/// A package manager's log: names of packages are plain words, so each package makes new patterns by the split alone.
fn package_log() -> Vec<String> {
    let mut lines = Vec::new();
    for n in 0..590 {
        let (time, name) = (format!("2026-11-21 10:{:02}:{:02}", n / 60 % 60, n % 60), name(n));
        lines.push(format!("{time} install {name}:amd64 <none> 1.{n}-2"));
        for state in
            ["half-installed", "unpacked", "half-configured", "installed", "unpacked", "half-installed"]
        {
            lines.push(format!("{time} status {state} {name}:amd64 1.{n}-2"));
        }
        lines.push(format!("{time} configure {name}:amd64 1.{n}-2 <none>"));
        lines.push(format!("{time} upgrade {name}:all 1.{n}-2 1.{n}-3"));
        lines.push(format!("{time} trigproc {name}:amd64 1.{n}-2 <none>"));
        lines.push(format!("{time} status triggers-pending {name}:amd64 1.{n}-2"));
    }
    lines
}

#[test]
fn names_of_packages_make_no_pattern_each() {
    let lines = package_log();
    assert_eq!(lines.len(), 6490);
    let by_split: HashSet<Vec<u8>> = {
        let mut splitter = Splitter::default();
        lines.iter().map(|line| splitter.split(line.as_bytes()).pattern.to_vec()).collect()
    };
    assert!(by_split.len() > 2000, "{} patterns by the split alone", by_split.len());
    let mut place = Lines::default();
    let stored: HashSet<String> = lines.iter().map(|line| place.add("dpkg", line)).collect();
    assert!(stored.len() <= 200, "{} patterns", stored.len());
    assert_eq!(place.templates.n_coarse(), 0);
}

/// The same on a real log, where the machine has one.
#[test]
fn a_real_package_log_makes_few_patterns() {
    let Ok(text) = std::fs::read_to_string("/var/log/dpkg.log") else {
        println!("skipped: there is no /var/log/dpkg.log");
        return;
    };
    let mut place = Lines::default();
    let stored: HashSet<String> = text.lines().take(6490).map(|line| place.add("dpkg", line)).collect();
    println!("{} lines, {} patterns", text.lines().count().min(6490), stored.len());
    assert!(stored.len() <= 200, "{} patterns", stored.len());
}

#[test]
fn free_text_of_several_words_stays_bounded() {
    let mut place = Lines::default();
    let mut stored = HashSet::new();
    for n in 0..20_000 {
        let line =
            format!("order {} went to {} because {}", name(n * 7), name(n * 13 + 5), name(n * 29 + 11));
        stored.insert(place.add("shop", &line));
    }
    assert!(stored.len() < 1000, "{} patterns", stored.len());
}

#[test]
fn a_service_beyond_its_bound_is_stored_coarsely_and_others_are_not() {
    let mut place = Lines::default();
    // Each line has another number of words and other marks, so that none falls under another's slots.
    let line = |n: usize| {
        let marks: String = (0..16).map(|bit| if n >> bit & 1 == 1 { '!' } else { '?' }).collect();
        format!("{} {marks} said {} then", name(n), name(n / 3))
    };
    let mut stored = HashSet::new();
    for n in 0..SERVICE_PATTERNS_MAX + 3000 {
        stored.insert(place.add("chatty", &line(n)));
    }
    assert!(place.templates.n_coarse() > 0);
    assert!(stored.len() <= SERVICE_PATTERNS_MAX + COARSE_MAX + 1, "{} patterns", stored.len());
    let json = place.add("chatty", r#"{"level":"info","unheard":"of","n":5}"#);
    assert_eq!(json, "\0");
    let plain = place.add("quiet", "it is what it was");
    assert_eq!(plain, "it is what it was");
    // Two heads later the patterns that are not used any more have made room.
    place.templates.turn();
    place.templates.turn();
    assert_eq!(place.add("chatty", "it is as it was before"), "it is as it was before");
}

#[test]
fn what_was_saved_gives_the_same_ids() {
    let mut place = Lines::default();
    let mut lines = package_log();
    lines.truncate(2000);
    let stored: Vec<String> = lines.iter().map(|line| place.add("dpkg", line)).collect();
    let (n_saved, unsaved) = place.templates.unsaved();
    assert_eq!((n_saved, unsaved.len()), (0, place.n_patterns()));
    place.templates.saved(unsaved.len());
    assert_eq!(place.templates.unsaved(), (unsaved.len(), Vec::new()));
    let mut again = Lines::default();
    again.templates.restore(unsaved.iter().map(|pattern| &**pattern), unsaved.len());
    for pattern in &stored {
        let shape = Shape::new(pattern, 0, Vec::new(), Tail::default());
        assert_eq!(again.templates.of(&shape), place.templates.of(&shape), "{pattern:?}");
    }
    // Lines that come again, as they do when the log is read back, change nothing.
    lines.iter().for_each(|line| drop(again.add("dpkg", line)));
    for pattern in &stored {
        let shape = Shape::new(pattern, 0, Vec::new(), Tail::default());
        assert_eq!(again.templates.of(&shape), place.templates.of(&shape), "{pattern:?}");
    }
}

#[test]
fn a_forgotten_pattern_keeps_its_template() {
    let mut place = Lines::default();
    let patterns: Vec<String> = package_log().iter().map(|line| place.add("dpkg", line)).collect();
    let shapes: Vec<Shape> =
        patterns.iter().map(|pattern| Shape::new(pattern, 0, Vec::new(), Tail::default())).collect();
    let before: Vec<TemplateId> = shapes.iter().map(|shape| place.templates.of(shape)).collect();
    place.templates.state.lock().model.forget(|_| false);
    assert_eq!(place.n_patterns(), 0);
    let after: Vec<TemplateId> = shapes.iter().map(|shape| place.templates.of(shape)).collect();
    assert_eq!(after, before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_line_comes_back_with_its_fields(
        lines in proptest::collection::vec((line(), "[a-e]{2,3}", "[a-e]{2}"), 1..120),
    ) {
        let mut place = Lines::default();
        for (n, (line, a, b)) in lines.iter().enumerate() {
            for body in [
                line.clone(),
                format!("user {a} opened door {b} of {line}"),
                format!("{{\"level\":\"{a}\",\"msg\":\"user {a} opened \\\"{b}\\\" door\\n{b}\",\"n\":{n}}}"),
                format!("level={a} ts={n} msg=\"user {a} opened {b}\" k={b}"),
            ] {
                let pattern = place.add("s", &body);
                // Fields that the stored pattern names are those of the body.
                let fields = crate::pattern::fields_of(pattern.as_bytes());
                let spans = &place.general.variables;
                for field in &fields {
                    let span = spans[field.variable];
                    let text = &body[span.start as usize..span.end as usize];
                    let shown = if field.is_quoted { crate::logs::fields::unescaped(text).into_owned() } else { text.into() };
                    prop_assert_eq!(crate::logs::fields::text_in_body(&body, &field.name), Some(shown), "{}", body);
                }
                let n_message = usize::from(crate::pattern::message_field(pattern.as_bytes()).is_some_and(|m| !fields.iter().any(|f| f.name == m.name)));
                let mut names: Vec<String> = derived_fields(&body).into_iter().map(|field| field.0).collect();
                prop_assert_eq!(names.len(), fields.len() + n_message, "{} {:?}", body, pattern);
                names.sort();
            }
        }
    }
}
