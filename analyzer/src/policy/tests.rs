//! Tests of this module.

use super::*;
use proptest::prelude::*;

const MINIMAL: &str = "
name: cart
phases:
  - name: one
    lasts: { at_most: 1h }
    checks:
      - name: errors
        kind: ratio
        events: e{$cohort}
        trials: t{$cohort}
        margin: { absolute: 0.002 }
";

#[test]
fn queries_that_cannot_be_asked_are_refused_where_they_stand() {
    let asked = |what: &str| {
        let check = format!("{{ name: x, vote: veto, {what} }}");
        self::check(&format!(
            "name: p\nphases:\n  - {{ name: a, lasts: {{ at_most: 1h }}, checks: [{check}] }}"
        ))
    };
    for fine in [
        "kind: mean, value: 'sum(rate(x{$cohort}[$interval]))'",
        "kind: mean, value: 'x{$extra}'",
        "kind: count, events: 'x{pod=~\"cart-$hash-.*\"}'",
        "kind: patterns, logs: '{$cohort}'",
        "kind: mean, value: { sql: 'SELECT time, value FROM metrics WHERE $cohort AND time >= $start AND time < $end' }",
    ] {
        asked(fine).unwrap_or_else(|e| panic!("{fine}: {e}"));
    }
    for (wrong, field, said) in [
        ("kind: mean, value: 'sum(rate(x{$cohort}[$interval])'", "value", "unclosed left parenthesis"),
        ("kind: count, events: ['x{$cohort}', 'y{$cohort']", "events", "y{$cohort"),
        ("kind: distribution, histogram: 'sum(x)'", "histogram", "sum(x)"),
        ("kind: ratio, events: { logs: 'a AND' }, trials: { logs: '*' }", "events", "a AND"),
        ("kind: distribution, values: { logs: '*', match: '{a=b}', field: t }", "values", "a=b"),
        ("kind: mean, value: { sql: 'SELECT 1' }", "value", "$cohort is not in it"),
        ("kind: mean, value: { sql: 'DROP TABLE x -- $cohort $start $end' }", "value", "DROP"),
        ("kind: mean, value: { logql: 'rate({$cohort}[1m])' }", "value", "`logql`"),
    ] {
        let error = asked(wrong).unwrap_err();
        let path = format!("phases[0].checks[0].{field}");
        assert_eq!(error.field(), Some(path.as_str()), "{wrong}: {error}");
        assert!(error.to_string().contains(said), "{wrong}: {error}");
    }
}

/// The policy of the contract, without what comes later.
const WHOLE: &str = r#"
name: cart-http
alpha: 0.01
alpha_go: 0.05
interval: 1m
delay: 15s
pre_period: 24h
warm_up: 2m
unit: [pod, k8s_pod_name, instance]
share_tolerance: { relative: 20% }
valid_for: 1h
phases:
  - name: functional
    weight: 1
    lasts: { at_least: 10m, at_most: 1h }
    scope: '{zone="edge-1"}'
    starts: next
    traffic_share: 0.01
    checks:
      - name: error share
        kind: ratio
        events: http_requests_total{code=~"5..", $cohort}
        trials: http_requests_total{$cohort}
        harm: up
        margin: { absolute: 0.002 }
        tolerated: { relative: 0% }
        vote: full
        weight: 1
        missing: inconclusive
        minimum: { events: 0, trials: 500 }
      - name: errors in the access log
        kind: ratio
        events: { logs: 'status:>=500', match: '{$cohort}' }
        trials: { logs: '*', match: '{$cohort}' }
        margin: { absolute: 0.005 }
      - name: log patterns
        kind: patterns
        logs: '{$cohort}'
        severity: warn
        trials: http_requests_total{$cohort}
  - name: performance
    weight: 3
    starts: on_call
    lasts: { at_least: 30m, at_most: 2h }
    scope: { canary: '{zone="a"}', baseline: '{zone="b"}' }
    checks:
      - name: latency
        kind: distribution
        histogram: http_request_duration_seconds{$cohort}
        harm: up
        margin: { relative: 10%, at: [0.5, 0.99] }
      - name: cpu per request
        kind: mean
        value: sum by (instance) (rate(cpu{$cohort}[$interval])) / sum by (instance) (rate(req{$cohort}[$interval]))
        margin: { relative: 10% }
      - name: time in the access log
        kind: distribution
        values: { logs: '*', match: '{$cohort}', field: request_time }
        margin: { relative: 10% }
      - name: restarts
        kind: count
        events: kube_pod_container_status_restarts_total{namespace="shop", pod=~"cart-$hash-.*"}
        harm: up
        vote: veto
"#;

#[track_caller]
fn refused(text: &str, field: &str, message: &str) {
    let error = check(text).unwrap_err();
    assert_eq!(error.field(), Some(field), "{error}");
    assert!(error.to_string().contains(message), "{error}");
}

#[test]
fn the_policy_of_the_contract_is_read() {
    let policy = check(WHOLE).unwrap();
    assert_eq!(policy.phases.len(), 2);
    assert_eq!(policy.alpha.get(), 0.01);
    let functional = &policy.phases[0];
    assert_eq!(functional.scope, Scope::Both("{zone=\"edge-1\"}".to_owned()));
    assert_eq!(functional.n_looks(&policy.interval), 60);
    assert_eq!(functional.checks[0].minimum, Minimum { events: 0.0, trials: 500.0 });
    assert_eq!(functional.checks[2].vote, Vote::Veto);
    let performance = &policy.phases[1];
    assert_eq!(performance.starts, Starts::OnCall);
    assert_eq!(performance.at_most.text(), "2h");
    assert_eq!(performance.checks[0].margin.as_ref().unwrap().at, [0.5, 0.99]);
    assert_eq!(performance.checks[0].margin.as_ref().unwrap().amount, Amount::Relative(0.1));
    // A quarter of alpha for the first phase, a third of that for each of its checks.
    assert!((policy.budget(functional, &functional.checks[0]) - 0.01 / 4.0 / 3.0).abs() < 1e-15);
    let spent: f64 = policy
        .phases
        .iter()
        .flat_map(|phase| phase.checks.iter().map(|check| policy.budget(phase, check)))
        .sum();
    assert!((spent - 0.01).abs() < 1e-15);
}

#[test]
fn json_says_the_same_as_yaml() {
    let json = serde_json::to_string(&document(WHOLE).unwrap()).unwrap();
    assert_eq!(check(&json).unwrap(), check(WHOLE).unwrap());
}

#[test]
fn defaults_fill_what_is_left_out() {
    let policy = check(MINIMAL).unwrap();
    assert_eq!((policy.alpha.get(), policy.alpha_go.get()), (0.01, 0.05));
    assert_eq!(policy.interval.millis(), 60_000);
    assert_eq!(policy.warm_up.millis(), 120_000);
    assert_eq!(policy.phases[0].checks[0].vote, Vote::Full);
    assert_eq!(policy.phases[0].at_least.millis(), 0);
}

#[test]
fn checks_of_the_policy_level_run_in_every_phase() {
    let text = MINIMAL
        .replace("    checks:\n      -", "  - name: two\n    lasts: { at_most: 2h }\nchecks:\n      -");
    let policy = check(&text).unwrap();
    assert_eq!(policy.phases.iter().map(|phase| phase.checks.len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn unknown_keys_are_refused_with_their_path() {
    refused(
        &MINIMAL.replace("kind: ratio", "kind: ratio\n        marign: 1"),
        "phases[0].checks[0].marign",
        "unknown key",
    );
    refused(&format!("{MINIMAL}alfa: 0.1\n"), "alfa", "alpha_go");
    refused(
        &MINIMAL.replace("at_most: 1h", "at_most: 1h, longest: 2h"),
        "phases[0].lasts.longest",
        "unknown key",
    );
}

#[test]
fn a_source_is_read_for_checks_that_one_store_can_serve() {
    let with = |line: &str| MINIMAL.replace("kind: ratio", &format!("kind: ratio\n        {line}"));
    let policy = check(&with("source: main")).unwrap();
    assert_eq!(policy.phases[0].checks[0].source.as_deref(), Some("main"));
    assert_eq!(policy.sources().into_iter().collect::<Vec<_>>(), ["main"]);
    assert_eq!(policy.phases[0].checks[0].needs(), Needs::Series);
    let path = "phases[0].checks[0].source";
    refused(&with("source: 1"), path, "quote it");
    refused(&with("source: ''"), path, "not empty");
    let mixed = with("source: main").replace("events: e{$cohort}", "events: { logs: 'a' }");
    refused(&mixed, path, "reads both series and log records");
    let of_kind = |kind: &str| {
        let data = format!("        source: main\n        {kind}\n");
        format!(
            "name: p\nphases:\n  - name: one\n    lasts: {{ at_most: 1h }}\n    checks:\n      - name: c\n{data}"
        )
    };
    refused(&of_kind("kind: composite"), path, "reads nothing of its own");
    let mean =
        |value: &str| of_kind(&format!("kind: mean\n        vote: none\n        value: {{ {value} }}"));
    refused(&mean("sql: select 1"), path, "answered by this server's store alone");
    refused(&mean("logql: x"), path, "a value in LogQL is not supported");
    assert!(check(&mean("promql: x")).is_ok());
    let patterns = "kind: patterns\n        logs: '{$cohort}'";
    assert_eq!(check(&of_kind(patterns)).unwrap().phases[0].checks[0].needs(), Needs::Records);
    refused(&of_kind(&format!("{patterns}\n        trials: r{{$cohort}}")), path, "reads both");
}

#[test]
fn a_phase_of_all_traffic_is_compared_with_before() {
    let phase = |line: &str| MINIMAL.replace("    checks:", &format!("    {line}\n    checks:"));
    refused(&phase("traffic_share: 1"), "phases[0].traffic_share", "baseline: { when: before }");
    refused(&phase("baseline: { when: after }"), "phases[0].baseline.when", "before");
    refused(&phase("baseline: { when: before }"), "phases[0]", "\"errors\" is of ratio");
    let mean =
        |line: &str| phase(line).replace("ratio", "mean").replace("events: e{$cohort}", "value: v{$cohort}");
    let mean = |line: &str| mean(line).replace("        trials: t{$cohort}\n", "");
    let policy = parse(&mean("baseline: { when: before }\n    traffic_share: 1"), Queries::Required).unwrap();
    assert!(policy.phases[0].is_before && policy.phases[0].traffic_share.is_none());
    refused(
        &mean("baseline: { when: before }\n    traffic_share: 0.5"),
        "phases[0].traffic_share",
        "no share",
    );
    refused(&mean("baseline: { when: before }\n    ramp: [0.1, 0.5]"), "phases[0].ramp", "no share");
}

const USERS: &str = "
name: cart
births: { window: 7d, at_most: 50 }
phases:
  - name: one
    lasts: { at_most: 1h }
    checks:
      - name: conversion
        kind: users
        users: { logs: 'event:visit', match: '{$cohort}', user: user_id, value: { query: 'event:purchase' } }
        harm: down
        margin: { relative: 3% }
      - name: everything together
        kind: composite
";

#[test]
fn users_composites_and_values_are_read() {
    let policy = check(USERS).unwrap();
    assert_eq!(policy.births, Some(Births { window: Span::from_millis(7 * 86_400_000), at_most: 50 }));
    let [users, together] = policy.phases[0].checks.as_slice() else { panic!("two checks") };
    let CheckKind::Users { users: Users::Logs { query, user, value } } = &users.kind else { panic!("users") };
    assert_eq!((query.query.as_str(), user.as_str()), ("event:visit", "user_id"));
    assert_eq!(*value, UserValue::Ever("event:purchase".to_owned()));
    assert_eq!((users.vote, together.vote, &together.kind), (Vote::Full, Vote::Veto, &CheckKind::Composite));
    let by = |line: &str| MINIMAL.replace("kind: ratio", &format!("kind: ratio\n        {line}"));
    let policy = check(&by("by: route")).unwrap();
    assert_eq!(policy.phases[0].checks[0].by, Some(By { name: "route".to_owned(), limit: 20 }));
    refused(&by("by_limit: 3"), "phases[0].checks[0].by_limit", "without `by`");
    refused(&by("by: route\n        by_limit: 0"), "phases[0].checks[0].by_limit", "1 to 1000");
    refused(
        &USERS.replace("{ query: 'event:purchase' }", "{}"),
        "phases[0].checks[0].users.value",
        "`field`",
    );
    refused(
        &USERS.replace("kind: composite", "kind: composite\n        vote: full"),
        "phases[0].checks[1].vote",
        "composite checks have no margin",
    );
    refused(
        &USERS.replace("kind: composite", "kind: composite\n        margin: { relative: 1% }"),
        "phases[0].checks[1].margin",
        "no margin",
    );
}

#[test]
fn what_yaml_reads_as_no_string_must_be_quoted() {
    refused(&MINIMAL.replace("name: cart", "name: 1.10"), "name", "quote it");
    let scope = MINIMAL.replace("    checks:", "    scope: {zone=\"edge-1\"}\n    checks:");
    refused(&scope, "phases[0].scope", "quote it");
    refused(
        &MINIMAL.replace("events: e{$cohort}", "events: {$cohort}"),
        "phases[0].checks[0].events",
        "quote it",
    );
}

#[test]
fn values_out_of_range_are_refused() {
    refused(&format!("{MINIMAL}alpha: 1\n"), "alpha", "above 0 and below 1");
    refused(&format!("{MINIMAL}interval: 1 minute\n"), "interval", "duration");
    refused(&format!("{MINIMAL}interval: 0s\n"), "interval", "at least 1ms");
    refused(
        &MINIMAL.replace("absolute: 0.002", "absolute: -1"),
        "phases[0].checks[0].margin.absolute",
        "above 0",
    );
    refused(
        &MINIMAL.replace("absolute: 0.002", "absolute: 0.1, relative: 10%"),
        "phases[0].checks[0].margin",
        "either",
    );
    refused(
        &MINIMAL.replace("at_most: 1h", "at_least: 2h, at_most: 1h"),
        "phases[0].lasts.at_least",
        "longer than at_most",
    );
    refused(&MINIMAL.replace("at_most: 1h", "at_most: 90d"), "phases[0].lasts.at_most", "20000 intervals");
    refused(
        &MINIMAL.replace("kind: ratio", "kind: ratio\n        vote: perhaps"),
        "phases[0].checks[0].vote",
        "full | veto | none",
    );
    refused(
        &MINIMAL.replace("        margin: { absolute: 0.002 }\n", ""),
        "phases[0].checks[0]",
        "without a margin",
    );
    refused("name: x\nphases: []\n", "phases", "at least one phase");
    refused("phases: []\n", "name", "is required");
    assert!(matches!(check("{").unwrap_err(), PolicyError::Syntax { .. }));
}

#[test]
fn names_are_unique_where_they_must_be() {
    let (head, item) = MINIMAL.split_once("      - ").unwrap();
    refused(&format!("{head}      - {item}      - {item}"), "phases[0]", "two checks");
    let (top, phase) = MINIMAL.split_once("  - ").unwrap();
    refused(&format!("{top}  - {phase}  - {phase}"), "phases[1]", "two phases");
}

#[test]
fn queries_may_be_left_out_for_the_judge_alone() {
    let text = MINIMAL.replace("        events: e{$cohort}\n        trials: t{$cohort}\n", "");
    refused(&text, "phases[0].checks[0].events", "required");
    let policy = parse(&text, Queries::Optional).unwrap();
    assert_eq!(
        policy.phases[0].checks[0].kind,
        CheckKind::Ratio { events: Source::Given, trials: Source::Given }
    );
}

#[test]
fn durations_read_and_write_as_prometheus_does() {
    for (text, millis) in
        [("90s", 90_000), ("1h30m", 5_400_000), ("500ms", 500), ("0", 0), ("2w", 1_209_600_000)]
    {
        assert_eq!(Span::parse(text).unwrap().millis(), millis);
    }
    for text in ["", "5", "m", "1.5h", "1m1h", "1h1h", "-1s", "1 h", "9999999999y", "1H"] {
        assert!(Span::parse(text).is_none(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = check(&text);
    }

    #[test]
    fn no_document_panics(cut in 0_usize..2_000, junk in "[\\[\\]{}:,0-9a-z\"' \n-]{0,20}") {
        let at = WHOLE.char_indices().map(|(at, _)| at).nth(cut % WHOLE.len()).unwrap_or(0);
        let _ = check(&format!("{}{junk}{}", &WHOLE[..at], &WHOLE[at..]));
    }

    #[test]
    fn spans_round_trip(millis in 0_u64..10_000_000_000) {
        let span = Span::from_millis(millis);
        prop_assert_eq!(Span::parse(span.text()).unwrap().millis(), millis);
    }
}
