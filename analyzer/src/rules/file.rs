//! Rule files, as Prometheus reads them.
//!
//! Everything is checked when the file is read: names, expressions, durations and templates. The first mistake of each
//! rule is told with file, group and rule, all of a file at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use greylight_query::promql::syntax::parse_duration_ms;
use greylight_query::promql::{Query, ValueType};
use greylight_store::model::METRIC_NAME;

use super::template::Template;

/// Largest file: the rules of a large Kubernetes monitoring set take about 0.5 MiB.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;
/// Most rules of one file; the same set has about 500.
const RULES_MAX: usize = 10_000;
/// Mistakes that are told of one file.
const MISTAKES_MAX: usize = 20;

/// One group: rules that are evaluated in order, at one time.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) interval: Option<Duration>,
    pub(super) query_offset: Option<Duration>,
    /// Most series or alerts of one rule; 0 or less for no limit.
    pub(super) limit: i64,
    pub(super) rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Name of the metric, or of the alert.
    pub(super) name: String,
    pub(super) query: Query,
    /// The group's labels under the rule's own.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Recording,
    Alerting(Alerting),
}

/// What an alerting rule has beside its expression.
#[derive(Clone, Debug)]
pub(super) struct Alerting {
    /// How long the expression must hold before the alert fires.
    pub(super) hold: Duration,
    /// How long an alert goes on firing when the expression holds no more.
    pub(super) keep_firing: Duration,
    pub(super) labels: Vec<(String, Template)>,
    pub(super) annotations: Vec<(String, String, Template)>,
}

/// Why a file cannot be used: each mistake a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileError(Vec<String>);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n  "))
    }
}

/// On disk: the names are Prometheus's.
mod format {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    /// A value that is left out is the empty text.
    pub(super) type Pairs = Option<BTreeMap<String, Option<String>>>;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct File {
        pub(super) groups: Option<Vec<Group>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Group {
        pub(super) name: Option<String>,
        pub(super) interval: Option<String>,
        pub(super) query_offset: Option<String>,
        pub(super) limit: Option<i64>,
        pub(super) labels: Pairs,
        pub(super) rules: Option<Vec<Rule>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Rule {
        pub(super) record: Option<String>,
        pub(super) alert: Option<String>,
        pub(super) expr: Option<String>,
        #[serde(rename = "for")]
        pub(super) hold: Option<String>,
        pub(super) keep_firing_for: Option<String>,
        pub(super) labels: Pairs,
        pub(super) annotations: Pairs,
    }
}

/// Reads a rule file.
pub(super) fn parse(text: &str) -> Result<Vec<Group>, FileError> {
    let wrong = |detail: String| FileError(vec![detail]);
    if text.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("the file is {} bytes long, the limit is {FILE_BYTES_MAX}", text.len())));
    }
    // A file of nothing but comments has no groups, as in Prometheus.
    let is_blank = |line: &str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_blank) {
        return Ok(Vec::new());
    }
    let file: format::File = serde_saphyr::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let groups = file.groups.unwrap_or_default();
    let n_rules: usize = groups.iter().map(|g| g.rules.as_ref().map_or(0, Vec::len)).sum();
    if n_rules > RULES_MAX {
        return Err(wrong(format!("the file has {n_rules} rules, the limit is {RULES_MAX}")));
    }
    let mut mistakes = Vec::new();
    let mut names = HashSet::new();
    let mut read = Vec::new();
    for (i, group) in groups.into_iter().enumerate() {
        let name = group.name.clone().unwrap_or_default();
        if name.is_empty() {
            mistakes.push(format!("group {}: groupname must not be empty", i + 1));
        } else if !names.insert(name.clone()) {
            mistakes.push(format!("groupname: {name:?} is repeated in the same file"));
        }
        read.push(parse_group(name, group, &mut mistakes));
    }
    if mistakes.is_empty() {
        return Ok(read);
    }
    let n = mistakes.len();
    mistakes.truncate(MISTAKES_MAX);
    if n > MISTAKES_MAX {
        mistakes.push(format!("and {} more mistakes", n - MISTAKES_MAX));
    }
    Err(FileError(mistakes))
}

fn parse_group(name: String, group: format::Group, mistakes: &mut Vec<String>) -> Group {
    let mut tell = |detail: String| mistakes.push(format!("group {name:?}: {detail}"));
    let mut span = |field: &str, text: &Option<String>| match duration(field, text) {
        Ok(span) => span,
        Err(detail) => {
            tell(detail);
            None
        }
    };
    let interval = span("interval", &group.interval).filter(|span| !span.is_zero());
    let query_offset = span("query_offset", &group.query_offset);
    let labels = texts(group.labels);
    if let Err(detail) = check_labels(&labels) {
        tell(detail);
    }
    let mut rules = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (i, rule) in group.rules.unwrap_or_default().into_iter().enumerate() {
        let said = rule.alert.as_ref().or(rule.record.as_ref()).cloned().unwrap_or_default();
        match parse_rule(rule, &labels) {
            Ok(rule) => {
                if let Some(before) = seen.insert(identity(&rule), i + 1) {
                    tell(format!("rule {}, {said:?}: is the same as rule {before}", i + 1));
                }
                rules.push(rule);
            }
            Err(detail) => tell(format!("rule {}, {said:?}: {detail}", i + 1)),
        }
    }
    Group { name, interval, query_offset, limit: group.limit.unwrap_or(0), rules }
}

fn texts(pairs: format::Pairs) -> BTreeMap<String, String> {
    pairs.into_iter().flatten().map(|(name, text)| (name, text.unwrap_or_default())).collect()
}

/// Returns a text that two rules share if one of them is of no use.
fn identity(rule: &Rule) -> String {
    let more = match &rule.kind {
        Kind::Recording => "record".to_owned(),
        Kind::Alerting(alerting) => {
            let annotations: Vec<_> = alerting.annotations.iter().map(|(n, text, _)| (n, text)).collect();
            format!("{:?} {:?} {annotations:?}", alerting.hold, alerting.keep_firing)
        }
    };
    format!("{:?} {:?} {:?} {more}", rule.name, rule.query.expr().to_string(), rule.labels)
}

fn parse_rule(rule: format::Rule, group_labels: &BTreeMap<String, String>) -> Result<Rule, String> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, is_alert) = match (set(&rule.record), set(&rule.alert)) {
        (Some(_), Some(_)) => return Err("only one of 'record' and 'alert' must be set".into()),
        (None, None) => return Err("one of 'record' or 'alert' must be set".into()),
        (Some(name), None) => (name, false),
        (None, Some(name)) => (name, true),
    };
    let Some(expr) = set(&rule.expr) else { return Err("field 'expr' must be set in rule".into()) };
    let query = Query::parse(&expr).map_err(|e| format!("could not parse expression: {e}"))?;
    if !matches!(query.value_type(), ValueType::Scalar | ValueType::Vector) {
        let found = query.value_type().describe();
        return Err(format!("the expression gives a {found}; a rule needs an instant vector or a scalar"));
    }
    let hold = duration("for", &rule.hold)?.unwrap_or_default();
    let keep_firing = duration("keep_firing_for", &rule.keep_firing_for)?.unwrap_or_default();
    let (labels, annotations) = (texts(rule.labels), texts(rule.annotations));
    check_labels(&labels)?;
    if let Some(name) = annotations.keys().find(|name| name.is_empty()) {
        return Err(format!("invalid annotation name: {name:?}"));
    }
    // The rule's own labels go over those of its group.
    let labels: BTreeMap<String, String> =
        group_labels.iter().chain(&labels).map(|(n, v)| (n.clone(), v.clone())).collect();
    let kind = if is_alert {
        let read = |what: &str, name: &str, text: &str| {
            Template::parse(text).map_err(|e| format!("{what} {name:?}: template: {e}"))
        };
        let label_templates = labels
            .iter()
            .map(|(n, text)| Ok((n.clone(), read("label", n, text)?)))
            .collect::<Result<_, String>>()?;
        let annotations = annotations
            .into_iter()
            .map(|(n, text)| {
                let template = read("annotation", &n, &text)?;
                Ok((n, text, template))
            })
            .collect::<Result<_, String>>()?;
        Kind::Alerting(Alerting { hold, keep_firing, labels: label_templates, annotations })
    } else {
        check_recording(&name, &annotations, hold, keep_firing)?;
        Kind::Recording
    };
    Ok(Rule { name, query, labels, kind })
}

fn check_recording(
    name: &str,
    annotations: &BTreeMap<String, String>,
    hold: Duration,
    keep_firing: Duration,
) -> Result<(), String> {
    let field = if !annotations.is_empty() {
        Some("annotations")
    } else if !hold.is_zero() {
        Some("for")
    } else if !keep_firing.is_zero() {
        Some("keep_firing_for")
    } else {
        None
    };
    if let Some(field) = field {
        return Err(format!("invalid field '{field}' in recording rule"));
    }
    if name.contains(['{', '}']) {
        return Err(format!("braces present in the recording rule name; should it be in expr?: {name}"));
    }
    Ok(())
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    match labels.keys().find(|name| name.is_empty() || *name == METRIC_NAME) {
        Some(name) => Err(format!("invalid label name: {name:?}")),
        None => Ok(()),
    }
}

fn duration(field: &str, text: &Option<String>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || format!("{field}: not a valid duration string: {text:?}");
    let ms = parse_duration_ms(text).and_then(|ms| u64::try_from(ms).ok()).ok_or_else(wrong)?;
    Ok(Some(Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, wanted: &[&str]) {
        let error = parse(text).expect_err(text).to_string();
        for want in wanted {
            assert!(error.contains(want), "{text}\n{error}");
        }
    }

    fn rule(lines: &str) -> String {
        format!("groups:\n- name: g\n  rules:\n  - {}\n", lines.replace('\n', "\n    "))
    }

    #[test]
    fn a_file_with_every_field_is_read() {
        let text = "groups:\n- name: g\n  interval: 30s\n  query_offset: 1m\n  limit: 5\n  labels: {team: a, n: 1}\n  \
                    rules:\n  - record: job:x:sum\n    expr: sum by(job) (x)\n    labels: {team: b}\n  - alert: A\n    \
                    expr: x > 0\n    for: 1h30m\n    keep_firing_for: 0\n    labels: {severity: 1, on: yes}\n    \
                    annotations: {s: 'value {{ $value }}'}\n";
        let groups = parse(text).unwrap();
        let group = &groups[0];
        assert_eq!((group.name.as_str(), group.limit), ("g", 5));
        assert_eq!(group.interval, Some(Duration::from_secs(30)));
        assert_eq!(group.query_offset, Some(Duration::from_secs(60)));
        assert_eq!(group.rules[0].labels["team"], "b");
        // Scalars of other types are texts as they are written.
        let labels = &group.rules[1].labels;
        assert_eq!(
            (labels["severity"].as_str(), labels["on"].as_str(), labels["n"].as_str()),
            ("1", "yes", "1")
        );
        let Kind::Alerting(alerting) = &group.rules[1].kind else { panic!("an alert") };
        assert_eq!(alerting.hold, Duration::from_secs(5400));
        let merged = "groups:\n- name: g\n  rules:\n  - &a\n    alert: A\n    expr: x\n    labels: {a: 007, b: }\n  \
                      - <<: *a\n    alert: B\n";
        let rules = &parse(merged).unwrap()[0].rules;
        assert_eq!((rules[1].name.as_str(), rules[1].labels["a"].as_str()), ("B", "007"));
        assert_eq!(rules[0].labels["b"], "");
        assert!(parse("").unwrap().is_empty() && parse("# nothing\n").unwrap().is_empty());
        assert!(parse("groups:\n").unwrap().is_empty());
        assert!(parse("groups:\n- name: g\n").unwrap()[0].rules.is_empty());
    }

    #[test]
    fn each_mistake_is_told_with_group_and_rule() {
        refused(&rule("record: a\nexpr: x\nfoo: 1"), &["foo"]);
        refused("groups:\n- name: g\n- name: g\n", &["groupname: \"g\" is repeated"]);
        refused("groups:\n- rules: []\n", &["group 1: groupname must not be empty"]);
        refused(&rule("record: a\nexpr: sum(x"), &["group \"g\": rule 1, \"a\"", "1:6", "could not parse"]);
        refused(&rule("record: a\nalert: b\nexpr: x"), &["only one of"]);
        refused(&rule("expr: x"), &["one of 'record' or 'alert'"]);
        refused(&rule("record: a"), &["'expr' must be set"]);
        refused(&rule("record: a{b}\nexpr: x"), &["braces"]);
        refused(&rule("record: a\nexpr: x\nfor: 1m"), &["invalid field 'for'"]);
        refused(&rule("record: a\nexpr: x\nannotations: {a: b}"), &["invalid field 'annotations'"]);
        refused(&rule("record: a\nexpr: x\nlabels: {__name__: b}"), &["invalid label name: \"__name__\""]);
        refused(&rule("alert: a\nexpr: x\nfor: 1x"), &["for: not a valid duration", "\"1x\""]);
        refused(&rule("alert: a\nexpr: '\"text\"'"), &["gives a string"]);
        let text = rule("alert: a\nexpr: x\nannotations: {s: '{{ $labels.x | nope }}'}");
        refused(&text, &["group \"g\": rule 1, \"a\": annotation \"s\"", "function \"nope\" not defined"]);
        let twice = "groups:\n- name: g\n  rules:\n  - {record: a, expr: x}\n  - {record: a, expr: ' x '}\n";
        refused(twice, &["rule 2, \"a\": is the same as rule 1"]);
        // The same name for another expression is what Prometheus takes, and means.
        assert!(parse(&twice.replace("' x '", "y")).is_ok());
        refused(&"#".repeat(FILE_BYTES_MAX + 1), &["the limit is 4194304"]);
        refused(&format!("groups:\n- name: g\n  rules:\n{}", "  - {}\n".repeat(10_001)), &["limit is 10000"]);
    }
}
