//! The policies of the pages about kinds of checks are ones that can be used.

use greylight_analyzer::policy::{CheckKind, check};

const PAGES: [(&str, &str); 7] = [
    ("ratio", include_str!("../../docs/checks/ratio.md")),
    ("count", include_str!("../../docs/checks/count.md")),
    ("mean", include_str!("../../docs/checks/mean.md")),
    ("distribution", include_str!("../../docs/checks/distribution.md")),
    ("users", include_str!("../../docs/checks/users.md")),
    ("patterns", include_str!("../../docs/checks/patterns.md")),
    ("composite", include_str!("../../docs/checks/composite.md")),
];

/// Lists a page's indented blocks, without what they are indented by.
fn blocks(page: &str) -> Vec<String> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for line in page.lines() {
        match (line.starts_with("    "), all.last_mut()) {
            (true, Some(block)) => block.push(line),
            (false, Some(block)) if !block.is_empty() => all.push(Vec::new()),
            _ => {}
        }
    }
    let by =
        |block: &[&str]| block.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let lines = |block: &Vec<&str>| {
        let by = by(block);
        block.iter().map(|line| format!("{}\n", &line[by..])).collect::<String>()
    };
    all.iter().filter(|block| !block.is_empty()).map(lines).collect()
}

#[test]
fn each_page_has_a_policy_that_can_be_used() {
    for (kind, page) in PAGES {
        let policies: Vec<String> =
            blocks(page).into_iter().filter(|block| block.starts_with("name:")).collect();
        assert!(!policies.is_empty(), "{kind}");
        let mut n = 0;
        for text in policies {
            let policy = check(&text).unwrap_or_else(|e| panic!("{kind}: {e}\n{text}"));
            let checks = policy.phases.iter().flat_map(|phase| &phase.checks);
            n += checks.filter(|check| check.kind.word() == kind).count();
        }
        assert!(n > 0, "the page of {kind} has no check of that kind");
    }
    // Every kind has its page.
    assert_eq!(PAGES.last().map(|(kind, _)| *kind), Some(CheckKind::Composite.word()));
}

#[test]
fn the_policies_about_phases_can_be_used() {
    let page = include_str!("../../docs/phases.md");
    let policies: Vec<String> = blocks(page).into_iter().filter(|block| block.starts_with("name:")).collect();
    assert_eq!(policies.len(), 3);
    for text in policies {
        check(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
}

#[test]
fn the_page_of_sources_has_a_policy_that_reads_each_kind() {
    let page = include_str!("../../docs/sources.md");
    let text = blocks(page).into_iter().find(|block| block.starts_with("name:")).expect("there is a policy");
    let policy = check(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let names: Vec<&str> = policy.sources().into_iter().collect();
    assert_eq!(names, ["access", "logs", "metrics"]);
    for name in names {
        assert!(page.contains(&format!("name = \"{name}\"")), "{name} is configured");
    }
}
