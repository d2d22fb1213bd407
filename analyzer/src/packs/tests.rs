//! The embedded files: readable, complete, and each way a check that the ordinary parser takes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::fill::{self, Terms};
use super::{LIBRARY, Offer, Way};
use crate::policy::{self, Queries};

/// Terms as a service of this protocol has them, for each way of a role.
fn terms() -> Vec<Terms> {
    let mut all = Vec::new();
    for role in &LIBRARY.roles {
        for way in &role.ways {
            let each = if way.each.is_empty() { vec![String::new()] } else { way.each.clone() };
            for entry in each {
                let own = Terms::from([("each".to_owned(), json!(entry))]);
                let texts = fill::fill_map(&way.texts, &own).expect("a role fills itself");
                let mut terms = Terms::new();
                for (name, value) in texts {
                    for prefix in ["", "http_", "grpc_"] {
                        terms.insert(format!("{prefix}{name}"), value.clone());
                    }
                }
                assert_eq!(
                    terms.len(),
                    18,
                    "source, requests, failures, successes, refusals, code: {terms:?}"
                );
                all.push(terms);
            }
        }
    }
    all
}

fn policy_of(offer: &Offer, way: &Way, terms: &Terms) -> Option<Result<policy::Policy, policy::PolicyError>> {
    let data = match fill::fill_map(&way.data, terms) {
        Ok(data) => data,
        // A query of metrics over requests that are counted in logs is passed over.
        Err(fill::Unfilled::LogQuery(_)) => return None,
        Err(other) => panic!("{}: {other:?}", offer.name),
    };
    let mut check = Map::from_iter([("name".to_owned(), json!(offer.name))]);
    check.extend(offer.check.clone());
    check.extend(data);
    let mut document = LIBRARY.frame.clone();
    document["phases"] = json!([{ "name": offer.phase, "lasts": { "at_most": "1h" }, "checks": [check] }]);
    Some(policy::from_document(&document, Queries::Required))
}

#[test]
fn every_way_of_every_pack_is_a_check() {
    let mut n = 0;
    for pack in &LIBRARY.packs {
        for offer in &pack.checks {
            assert!(!offer.why.is_empty() && !offer.from.is_empty(), "{}", offer.name);
            for way in &offer.from {
                for mut terms in terms() {
                    let each = if way.each.is_empty() { vec![String::new()] } else { way.each.clone() };
                    for entry in each {
                        terms.insert("each".into(), json!(entry));
                        terms.insert("within".into(), json!("0.25"));
                        fill::fill_text(&way.source, &terms).expect("a source fills");
                        let Some(policy) = policy_of(offer, way, &terms) else { continue };
                        let policy = policy.unwrap_or_else(|e| panic!("{}: {e}", offer.name));
                        let check = &policy.phases[0].checks[0];
                        queries_parse(check);
                        n += 1;
                    }
                }
            }
        }
    }
    assert!(n > 500, "{n}");
}

fn queries_parse(check: &policy::Check) {
    use crate::policy::{CheckKind, Distribution, Source, ValueQuery};
    let filled = |text: &str| text.replace("$cohort", "a=\"1\"").replace("$interval", "1m");
    let selector = |text: &String| {
        crate::collect::parsed(&filled(text)).unwrap_or_else(|e| panic!("{}: {e}", check.name));
    };
    let source = |source: &Source| match source {
        Source::Selectors(all) => all.iter().for_each(selector),
        Source::Logs(query) => {
            greylight_store::read::LogQuery::parse(&query.query)
                .unwrap_or_else(|e| panic!("{}: {e}", check.name));
        }
        Source::Given => panic!("{} reads nothing", check.name),
    };
    match &check.kind {
        CheckKind::Ratio { events, trials } => [events, trials].into_iter().for_each(source),
        CheckKind::Count { events } => source(events),
        CheckKind::Mean { value: ValueQuery::PromQl(query) } => {
            greylight_query::promql::Query::parse(&filled(query))
                .unwrap_or_else(|e| panic!("{}: {query}: {e}", check.name));
        }
        CheckKind::Distribution { data: Distribution::Histogram(all) } => all.iter().for_each(selector),
        CheckKind::Distribution { data: Distribution::Values(query) } => {
            greylight_store::read::LogQuery::parse(&query.query)
                .unwrap_or_else(|e| panic!("{}: {e}", check.name));
        }
        CheckKind::Patterns { .. } | CheckKind::Composite => {}
        other => panic!("{}: {other:?}", check.name),
    }
}

#[test]
fn names_are_unique_and_phases_known() {
    let phases: BTreeSet<&str> = LIBRARY.frame["phases"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|phase| phase["name"].as_str())
        .collect();
    let mut names = BTreeSet::new();
    for offer in LIBRARY.packs.iter().flat_map(|pack| &pack.checks) {
        assert!(names.insert(offer.name.as_str()), "{} comes twice", offer.name);
        assert!(phases.contains(offer.phase.as_str()), "{}: phase {}", offer.name, offer.phase);
    }
    for offer in LIBRARY.packs.iter().flat_map(|pack| &pack.checks) {
        assert!(offer.unless.iter().all(|name| names.contains(name.as_str())), "{}", offer.name);
    }
}

/// Each pack, check and metric name is on the page, with the reason for the margin.
#[test]
fn the_page_tells_every_check() {
    let page = include_str!("../../../docs/packs.md");
    for pack in &LIBRARY.packs {
        assert!(page.contains(&format!("**{}**", pack.pack)), "{} is not on the page", pack.pack);
        for offer in &pack.checks {
            assert!(page.contains(&offer.name), "{}: {} is not on the page", pack.pack, offer.name);
            let entries = offer.from.iter().flat_map(|way| &way.each);
            for entry in entries.map(|entry| entry.split('{').next().unwrap_or(entry)) {
                let base = entry.trim_end_matches("_sum").trim_end_matches("_count");
                assert!(page.contains(base), "{}: {base} is not on the page", offer.name);
            }
        }
    }
    let frame: &Value = &LIBRARY.frame;
    assert!(page.contains(frame["interval"].as_str().unwrap_or("?")));
}
