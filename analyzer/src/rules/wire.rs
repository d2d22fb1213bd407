//! Rules and alerts in the words of Prometheus's API.

use std::collections::BTreeMap;
use std::time::Duration;

use greylight_query::promql::SyntaxLimits;
use greylight_query::promql::syntax::parse_selector;
use greylight_store::model::{Matcher, TenantId, Timestamp};
use serde_json::{Map, Value, json};

use super::Rules;
use super::alert::Alert;
use super::file::{Alerting, Kind};
use super::group::{GroupState, Health, RuleState};
use super::template::exponent_text;

/// Largest `group_limit` that makes sense.
const GROUPS_MAX: usize = 1_000_000;

/// Which rules are asked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Only alerts, or only recordings.
    is_alert: Option<bool>,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    matchers: Vec<Vec<Matcher>>,
    without_alerts: bool,
    limit: Option<usize>,
    token: Option<String>,
}

/// A parameter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid parameter \"{name}\": {detail}")]
pub(crate) struct WantedError {
    name: &'static str,
    detail: String,
}

fn wrong(name: &'static str, detail: impl Into<String>) -> WantedError {
    WantedError { name, detail: detail.into() }
}

impl Wanted {
    /// Reads the parameters of a request; those that are not known are left alone, as Prometheus does.
    ///
    /// # Errors
    /// [`WantedError`] names the parameter and its value.
    pub(crate) fn parse(params: &[(String, String)]) -> Result<Self, WantedError> {
        let first = |name: &str| {
            params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
        };
        let all = |name: &str| -> Vec<String> {
            params.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
        };
        let is_alert = match first("type").map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("alert") => Some(true),
            Some("record") => Some(false),
            Some(other) => return Err(wrong("type", format!("not supported value {other:?}"))),
        };
        let without_alerts = match first("exclude_alerts") {
            None => false,
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => true,
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => false,
            Some(other) => {
                return Err(wrong("exclude_alerts", format!("{other:?} is neither true nor false")));
            }
        };
        let limit = first("group_limit").map(|text| {
            let limit = text.parse::<usize>().ok().filter(|n| (1..=GROUPS_MAX).contains(n));
            limit.ok_or_else(|| wrong("group_limit", format!("{text:?} is no number above 0")))
        });
        let (limit, token) = (limit.transpose()?, first("group_next_token").map(str::to_owned));
        if token.is_some() && limit.is_none() {
            let detail = "group_limit needs to be present in order to paginate over the groups";
            return Err(wrong("group_next_token", detail));
        }
        let matcher = |text: &String| {
            let read = parse_selector(text, &SyntaxLimits::default());
            let matchers = read.map_err(|e| wrong("match[]", e.to_string()))?;
            if matchers.iter().all(Matcher::matches_empty) {
                return Err(wrong("match[]", "match[] must contain at least one non-empty matcher"));
            }
            Ok(matchers)
        };
        let matchers = all("match[]").iter().map(matcher).collect::<Result<_, _>>()?;
        Ok(Self {
            is_alert,
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            matchers,
            without_alerts,
            limit,
            token,
        })
    }

    fn takes(&self, state: &RuleState) -> bool {
        let rule = &state.rule;
        let is_alert = matches!(rule.kind, Kind::Alerting(_));
        let label = |name: &str| rule.labels.get(name).map_or("", String::as_str);
        let fits = |set: &Vec<Matcher>| set.iter().all(|matcher| matcher.matches(label(matcher.name())));
        self.is_alert.is_none_or(|wanted| wanted == is_alert)
            && (self.names.is_empty() || self.names.contains(&rule.name))
            && (self.matchers.is_empty() || self.matchers.iter().any(fits))
    }
}

/// Names the place of a group in a list.
fn token_of(group: &GroupState) -> String {
    let hash = blake3::hash(format!("{};{}", group.file, group.name).as_bytes()).to_hex();
    hash.as_str()[..40].to_owned()
}

impl Rules {
    /// Lists the rules of a tenant.
    ///
    /// # Errors
    /// [`WantedError`] when the list does not go on where the token says.
    pub(crate) fn list(&self, tenant: &TenantId, wanted: &Wanted) -> Result<Value, WantedError> {
        let all: &[_] = if self.is_of(tenant) { &self.groups } else { &[] };
        let mut rest = all;
        if let Some(token) = &wanted.token {
            let Some(at) = all.iter().position(|group| token_of(group) == *token) else {
                let detail = format!("invalid group_next_token '{token}'. were rule groups changed?");
                return Err(wrong("group_next_token", detail));
            };
            rest = &all[at..];
        }
        let mut groups = Vec::new();
        let fits = |list: &[String], text: &String| list.is_empty() || list.contains(text);
        for group in rest {
            if !fits(&wanted.groups, &group.name) || !fits(&wanted.files, &group.file) {
                continue;
            }
            let rules: Vec<Value> = group
                .rules
                .iter()
                .filter(|state| wanted.takes(state))
                .map(|state| rule_json(state, wanted.without_alerts))
                .collect();
            if rules.is_empty() {
                continue;
            }
            if wanted.limit == Some(groups.len()) {
                return Ok(json!({ "groups": groups, "groupNextToken": token_of(group) }));
            }
            groups.push(group_json(group, rules));
        }
        Ok(json!({ "groups": groups }))
    }

    /// Lists the alerts of a tenant that wait or fire.
    pub(crate) fn alerts(&self, tenant: &TenantId) -> Value {
        let all: &[_] = if self.is_of(tenant) { &self.groups } else { &[] };
        let states = all.iter().flat_map(|group| &group.rules);
        let alerts: Vec<Value> = states.flat_map(|state| alerts_json(state)).collect();
        json!({ "alerts": alerts })
    }

    /// Lists the Alertmanagers that alerts of a tenant are sent to.
    pub(crate) fn alertmanagers(&self, tenant: &TenantId) -> Value {
        let targets: &[_] = if self.is_of(tenant) { &self.shared.notifier.targets } else { &[] };
        let active: Vec<Value> =
            targets.iter().map(|target| json!({ "url": target.webhook.url().as_str() })).collect();
        json!({ "activeAlertmanagers": active, "droppedAlertmanagers": [] })
    }
}

fn group_json(group: &GroupState, rules: Vec<Value>) -> Value {
    let status = group.status.lock();
    json!({ "name": group.name, "file": group.file, "rules": rules, "interval": seconds(group.interval),
        "limit": group.limit, "evaluationTime": seconds(status.took), "lastEvaluation": instant(status.last_at) })
}

fn rule_json(state: &RuleState, without_alerts: bool) -> Value {
    let (rule, status) = (&state.rule, state.status.lock().clone());
    let mut out = Map::new();
    let mut set = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
    set("name", rule.name.as_str().into());
    set("query", rule.query.expr().to_string().into());
    match &rule.kind {
        Kind::Recording => {
            if !rule.labels.is_empty() {
                set("labels", pairs(&rule.labels));
            }
            set("type", "recording".into());
        }
        Kind::Alerting(Alerting { hold, keep_firing, annotations, .. }) => {
            set("state", state.state().word().into());
            set("duration", seconds(*hold));
            set("keepFiringFor", seconds(*keep_firing));
            set("labels", pairs(&rule.labels));
            let texts = annotations.iter().map(|(name, text, _)| (name.clone(), text.as_str().into()));
            set("annotations", Value::Object(texts.collect()));
            // Left out on request they are null, as in Prometheus.
            set("alerts", if without_alerts { Value::Null } else { alerts_json(state).into() });
            set("type", "alerting".into());
        }
    }
    let health = match status.health {
        Health::Unknown => "unknown",
        Health::Ok => "ok",
        Health::Err => "err",
    };
    set("health", health.into());
    if !status.last_error.is_empty() {
        set("lastError", status.last_error.into());
    }
    set("evaluationTime", seconds(status.took));
    set("lastEvaluation", instant(status.last_at).into());
    Value::Object(out)
}

fn alerts_json(state: &RuleState) -> Vec<Value> {
    state.active.lock().current().map(alert_json).collect()
}

fn alert_json(alert: &Alert) -> Value {
    let labels: Map<String, Value> = alert.labels.iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
    let annotations: Map<String, Value> =
        alert.annotations.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect();
    let mut out = json!({ "labels": labels, "annotations": annotations, "state": alert.state.word(),
        "activeAt": alert.active_at.to_string(), "value": exponent_text(alert.value, None, 'e') });
    if let Some(since) = alert.keep_firing_since {
        out["keepFiringSince"] = since.to_string().into();
    }
    out
}

fn pairs(labels: &BTreeMap<String, String>) -> Value {
    Value::Object(labels.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect())
}

/// Writes seconds as Go does: without a fraction where there is none.
fn seconds(span: Duration) -> Value {
    match span.subsec_nanos() {
        0 => span.as_secs().into(),
        _ => span.as_secs_f64().into(),
    }
}

/// Writes an instant; what never was is the beginning of Go's time.
fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(name: &str, value: &str, want: &str) {
        let error = Wanted::parse(&[(name.to_owned(), value.to_owned())]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid parameter \"{name}\": ")) && error.contains(want),
            "{error}"
        );
    }

    #[test]
    fn wrong_parameters_are_named() {
        refused("type", "alerts", "not supported value \"alerts\"");
        refused("exclude_alerts", "maybe", "\"maybe\"");
        refused("group_limit", "0", "\"0\"");
        refused("group_limit", "-1", "\"-1\"");
        refused("group_next_token", "abc", "group_limit needs to be present");
        refused("match[]", "{a=", "parse error");
        refused("match[]", "{a=\"\"}", "at least one non-empty matcher");
        assert!(Wanted::parse(&[("type".into(), "Alert".into()), ("other".into(), "1".into())]).is_ok());
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        assert_eq!(seconds(Duration::from_secs(300)).to_string(), "300");
        assert_eq!(seconds(Duration::from_millis(1500)).to_string(), "1.5");
        assert_eq!(exponent_text(1.0, None, 'e'), "1e+00");
        assert_eq!(instant(None), "0001-01-01T00:00:00Z");
    }
}
