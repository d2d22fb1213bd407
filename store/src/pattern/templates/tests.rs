//! Tests of this module.

use proptest::prelude::*;

use super::super::Splitter;
use super::*;

fn model(lines: &[&str]) -> (Templates, Vec<PatternId>) {
    let mut splitter = Splitter::default();
    let mut model = Templates::default();
    let ids = lines
        .iter()
        .map(|line| {
            let split = splitter.split(line.as_bytes());
            model.insert(split.pattern, 1);
            split.id()
        })
        .collect();
    (model, ids)
}

fn texts(lines: &[&str]) -> Vec<String> {
    let (model, ids) = model(lines);
    let mut out: Vec<String> = ids.iter().filter_map(|id| model.text(model.template_of(*id)?)).collect();
    out.dedup();
    out
}

#[test]
fn names_behind_an_entity_join_and_states_do_not() {
    assert_eq!(
        texts(&[
            "session closed for user cyrus",
            "session closed for user news",
            "session closed for user test"
        ]),
        ["session closed for user <*>"]
    );
    assert_eq!(texts(&["VM Paused (event)", "VM Resumed (event)", "VM Started (event)"]).len(), 3);
}

#[test]
fn lists_and_units_do_not_part_templates() {
    assert_eq!(texts(&["got 5 B", "got 5.2 KB"]), ["got <*> <*>"]);
    assert_eq!(texts(&["at 1, 2 end", "at 1, 2, 3 end"]), ["at <*> end"]);
}

#[test]
fn the_older_template_keeps_its_id_and_the_younger_forwards() {
    let (before, ids) = model(&["login by user ann", "login by user bob"]);
    let (a, b) = (before.template_of(ids[0]).unwrap(), before.template_of(ids[1]).unwrap());
    assert_ne!(a, b);
    let (after, _) =
        model(&["login by user ann", "login by user bob", "login by user eve", "login by user joe"]);
    assert_eq!(after.template_of(ids[1]), Some(a));
    assert_eq!(after.current(b), Some(a));
    assert!(after.forwards().contains(&(b, a)));
    assert_eq!(after.patterns_of(a).len(), 4);
}

#[test]
fn stack_traces_join_by_what_was_said_but_never_by_fault() {
    let record = |user: &str, exception: &str, frame: &str| {
        format!("login of user {user} failed\njava.io.{exception}: {user}\n\tat shop.{frame}(A.java:1)\n")
    };
    let records = [
        record("ann", "IOException", "Cart.add"),
        record("bob", "IOException", "Cart.add"),
        record("eve", "IOException", "Cart.add"),
        record("eve", "IOException", "Cart.drop"),
        record("eve", "EOFException", "Cart.add"),
        record("eve", "EOFException", "Cart.sum"),
        record("eve", "EOFException", "Cart.size"),
    ];
    let mut found = texts(&records.iter().map(String::as_str).collect::<Vec<_>>());
    found.sort();
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(
        found.contains(&"login of user <*> failed java.io.IOException <*> at shop.Cart.add <*>".to_owned()),
        "{found:?}"
    );
}

#[test]
fn a_json_line_is_grouped_by_its_message() {
    let (model, ids) =
        model(&[r#"{"level":"info","msg":"it is done"}"#, r#"{"level":"info","msg":"it is done","n":1}"#]);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(model.template_of(ids[0]), model.template_of(ids[1]));
}

#[test]
fn free_text_stays_bounded() {
    let mut splitter = Splitter::default();
    let mut model = Templates::default();
    let word = |n: usize| -> String {
        [n % 20, n / 20 % 20, n / 400 % 20]
            .iter()
            .map(|&d| char::from(b'g' + u8::try_from(d).unwrap()))
            .collect()
    };
    for n in 0..20_000usize {
        let line =
            format!("order {} went to {} because {}", word(n * 7), word(n * 13 + 5), word(n * 29 + 11));
        model.insert(splitter.split(line.as_bytes()).pattern, 1);
    }
    let n_templates = model.texts().len();
    assert!(n_templates < 200, "{n_templates} templates");
    assert!(model.size().0 <= PATTERNS_MAX);
}

proptest! {
    #[test]
    fn any_patterns_are_taken_and_keep_a_text(lines in proptest::collection::vec("[a-c ]{0,9}[0-9]?[=:,|\"(]{0,2}[A-C_.]{0,4}", 0..80)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (model, ids) = model(&lines);
        for id in ids {
            let template = model.template_of(id);
            prop_assert!(template.is_some());
            prop_assert!(template.and_then(|t| model.text(t)).is_some());
        }
    }
}
