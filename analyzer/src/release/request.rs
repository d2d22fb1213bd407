//! What a deploy tool sends, checked once.

use std::collections::BTreeMap;
use std::iter;

use greylight_store::model::{ErrorKind, Problem, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::deliver::Webhook;
use crate::judge::Engine;
use crate::policy::Span;

/// Longest name, key or label value in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 256;
/// Longest matcher, log query or reason in bytes.
pub(crate) const QUERY_BYTES_MAX: usize = 4096;
/// Most labels, vars or webhooks of one release.
const ENTRIES_MAX: usize = 32;

/// A release as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewRelease {
    pub(crate) key: Option<String>,
    pub(crate) service: String,
    pub(crate) environment: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) baseline: CohortRequest,
    pub(crate) canary: CohortRequest,
    /// Pods of the old version that started together with the canary.
    pub(crate) fresh: Option<CohortRequest>,
    pub(crate) policy: PolicyRequest,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
    pub(crate) pre_period: Option<Span>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) by: Option<String>,
    pub(crate) phase: Option<PhaseCall>,
}

/// What is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Deploy,
    Config,
    Flag,
    Infrastructure,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Config => "config",
            Self::Flag => "flag",
            Self::Infrastructure => "infrastructure",
        }
    }
}

/// One side, as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CohortRequest {
    pub(crate) name: String,
    /// Label matchers, without braces.
    pub(crate) matchers: String,
    /// Matchers of its history where they differ.
    pub(crate) pre_matchers: Option<String>,
    /// Fills `$NAME` in queries.
    pub(crate) vars: BTreeMap<String, String>,
    /// A log query joined by AND to each log query.
    pub(crate) filter: Option<String>,
}

/// Which policy judges.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PolicyRequest {
    /// A stored one.
    Named(String),
    /// The policy itself.
    Inline(Value),
}

/// The deploy tool has begun a phase, or moved share or scope within it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PhaseCall {
    pub(crate) phase: String,
    pub(crate) traffic_share: Option<f64>,
    pub(crate) scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseJson {
    key: Option<String>,
    service: String,
    environment: Option<String>,
    region: Option<String>,
    #[serde(default)]
    kind: Kind,
    baseline: CohortJson,
    canary: CohortJson,
    fresh: Option<CohortJson>,
    policy: Option<Value>,
    start: Option<String>,
    end: Option<String>,
    pre_period: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    webhooks: Vec<WebhookJson>,
    by: Option<String>,
    phase: Option<String>,
    traffic_share: Option<f64>,
    scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CohortJson {
    name: String,
    #[serde(rename = "match")]
    matchers: Option<String>,
    pre_match: Option<String>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    #[serde(rename = "where")]
    filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookJson {
    url: String,
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseCallJson {
    phase: String,
    traffic_share: Option<f64>,
    scope: Option<String>,
}

/// What the deploy tool did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) action: String,
    pub(crate) traffic_share: Option<f64>,
    pub(crate) by: Option<String>,
    pub(crate) time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeJson {
    action: String,
    traffic_share: Option<f64>,
    by: Option<String>,
    time: Option<String>,
}

/// A person's decision over the verdict.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverrideRequest {
    pub(crate) decision: OverrideDecision,
    pub(crate) by: String,
    pub(crate) why: String,
}

/// What a person may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverrideDecision {
    Go,
    NoGo,
}

/// How a release is to be judged again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplayRequest {
    /// None: the one that it pinned.
    pub(crate) policy: Option<PolicyRequest>,
    pub(crate) engine: Engine,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayJson {
    policy: Option<Value>,
    engine: Option<Value>,
}

impl NewRelease {
    /// Parses the body of `POST /api/v1/releases`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        let json: ReleaseJson = strict(body)?;
        text("service", &json.service, TEXT_BYTES_MAX)?;
        for (field, value) in [
            ("key", &json.key),
            ("environment", &json.environment),
            ("region", &json.region),
            ("by", &json.by),
        ] {
            value.as_deref().map_or(Ok(()), |v| text(field, v, TEXT_BYTES_MAX))?;
        }
        map("labels", &json.labels)?;
        let phase = phase_call(json.phase, json.traffic_share, json.scope)?;
        let start = json.start.as_deref().map(|t| time("start", t)).transpose()?;
        let end = json.end.as_deref().map(|t| time("end", t)).transpose()?;
        if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            return Err(Problem::new(ErrorKind::Invalid, "end is not after start")
                .field("end")
                .value(json.end));
        }
        let baseline = cohort("baseline", json.baseline, &json.service)?;
        let canary = cohort("canary", json.canary, &json.service)?;
        let fresh = json.fresh.map(|one| fresh(one, &json.service, [&baseline, &canary])).transpose()?;
        Ok(Self {
            baseline,
            canary,
            fresh,
            policy: policy(json.policy)?,
            webhooks: webhooks(json.webhooks)?,
            pre_period: json.pre_period.as_deref().map(|t| span("pre_period", t)).transpose()?,
            key: json.key,
            service: json.service,
            environment: json.environment,
            region: json.region,
            kind: json.kind,
            start,
            end,
            labels: json.labels,
            by: json.by,
            phase,
        })
    }
}

/// Parses the body of `POST /api/v1/policies/default/preview`: the release that the policy is wanted for.
pub(crate) fn preview(body: &Value) -> Result<NewRelease, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PreviewJson {
        release: Value,
    }
    let json: PreviewJson = strict(body)?;
    NewRelease::parse(&json.release).map_err(|problem| {
        let field = problem.field.as_ref().map_or_else(|| "release".to_owned(), |f| format!("release.{f}"));
        problem.field(field)
    })
}

impl PhaseCall {
    /// Parses the body of `POST /api/v1/releases/{id}/phase`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        let json: PhaseCallJson = strict(body)?;
        let call = phase_call(Some(json.phase), json.traffic_share, json.scope)?;
        Ok(call.expect("a named phase gives a call"))
    }
}

impl Outcome {
    /// Parses the body of `POST /api/v1/releases/{id}/outcome`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        let json: OutcomeJson = strict(body)?;
        if !["promoted", "rolled_back", "paused"].contains(&json.action.as_str()) {
            let problem = Problem::new(ErrorKind::Invalid, "an action is promoted, rolled_back or paused");
            return Err(problem.field("action").value(json.action));
        }
        let time = json.time.as_deref().map(|t| time("time", t)).transpose()?;
        Ok(Self { action: json.action, traffic_share: share(json.traffic_share)?, by: json.by, time })
    }
}

impl OverrideRequest {
    /// Parses the body of `POST /api/v1/releases/{id}/override`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        let request: Self = strict(body)?;
        text("by", &request.by, TEXT_BYTES_MAX)?;
        text("why", &request.why, QUERY_BYTES_MAX)?;
        Ok(request)
    }
}

impl ReplayRequest {
    /// Parses the body of `POST /api/v1/releases/{id}/replay`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        if !body.is_object() {
            let text = "the body is an object: { \"policy\", \"engine\" }, both optional";
            return Err(Problem::new(ErrorKind::Invalid, text));
        }
        let json: ReplayJson = strict(body)?;
        let engine = match &json.engine {
            None => Engine::Greylight,
            Some(word) => Engine::ALL.into_iter().find(|e| word == e.word()).ok_or_else(|| {
                let known = Engine::ALL.map(Engine::word).join(", ");
                let problem = Problem::new(ErrorKind::Invalid, format!("an engine is one of {known}"));
                problem.field("engine").value(word.clone())
            })?,
        };
        let policy = json.policy.map(|json| policy(Some(json))).transpose()?;
        Ok(Self { policy, engine })
    }
}

/// Reads a body into its type; an unknown or missing key is named.
pub(crate) fn strict<T: serde::de::DeserializeOwned>(body: &Value) -> Result<T, Problem> {
    T::deserialize(body).map_err(|error| {
        let message = error.to_string();
        let problem = Problem::new(ErrorKind::Invalid, &message);
        match message.split('`').nth(1) {
            Some(field) if message.contains("field") => problem.field(field),
            _ => problem,
        }
    })
}

fn cohort(side: &str, json: CohortJson, service: &str) -> Result<CohortRequest, Problem> {
    text(&format!("{side}.name"), &json.name, TEXT_BYTES_MAX)?;
    map(&format!("{side}.vars"), &json.vars)?;
    for (field, value) in [("match", &json.matchers), ("pre_match", &json.pre_match), ("where", &json.filter)]
    {
        value.as_deref().map_or(Ok(()), |v| text(&format!("{side}.{field}"), v, QUERY_BYTES_MAX))?;
    }
    let matchers = match json.matchers {
        Some(matchers) => inside(&format!("{side}.match"), &matchers)?,
        None => format!("service_name={service:?}, service_version={:?}", json.name),
    };
    let pre_matchers = json.pre_match.map(|m| inside(&format!("{side}.pre_match"), &m)).transpose()?;
    Ok(CohortRequest { name: json.name, matchers, pre_matchers, vars: json.vars, filter: json.filter })
}

/// Reads the cohort of fresh pods, which must not be one of the two sides again.
fn fresh(json: CohortJson, service: &str, sides: [&CohortRequest; 2]) -> Result<CohortRequest, Problem> {
    if let Some(pre) = &json.pre_match {
        let text = "fresh pods started together with the canary, so they have no history; leave it out";
        return Err(Problem::new(ErrorKind::Invalid, text).field("fresh.pre_match").value(pre.clone()));
    }
    let fresh = cohort("fresh", json, service)?;
    match iter::zip(["baseline", "canary"], sides).find(|(_, side)| side.matchers == fresh.matchers) {
        None => Ok(fresh),
        Some((side, _)) => {
            let text = format!("selects what {side}.match does; name what only the fresh pods have");
            let problem = Problem::new(ErrorKind::Invalid, text).field("fresh.match");
            Err(problem.value(format!("{{{}}}", fresh.matchers)))
        }
    }
}

/// Takes the braces off a selector and checks what is inside.
pub(crate) fn inside(field: &str, selector: &str) -> Result<String, Problem> {
    let trimmed = selector.trim();
    let inner = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let bad = |why: String| Problem::new(ErrorKind::Invalid, why).field(field).value(selector);
    let inner = inner.ok_or_else(|| bad("matchers are written as {label=\"value\", ...}".into()))?;
    let matchers = super::cohort::matchers(inner).map_err(|e| bad(e.to_string()))?;
    if matchers.iter().all(greylight_store::model::Matcher::matches_empty) {
        return Err(bad(
            "at least one matcher must not match the empty value: this one selects everything".into()
        ));
    }
    Ok(inner.trim().trim_end_matches(',').to_string())
}

pub(crate) fn policy(json: Option<Value>) -> Result<PolicyRequest, Problem> {
    match json {
        None => Ok(PolicyRequest::Named("default".into())),
        Some(Value::String(name)) => Ok(PolicyRequest::Named(name)),
        Some(inline @ Value::Object(_)) => Ok(PolicyRequest::Inline(inline)),
        Some(other) => {
            let text = "a policy is the name of a stored one, or the policy itself";
            Err(Problem::new(ErrorKind::Invalid, text).field("policy").value(other))
        }
    }
}

fn webhooks(json: Vec<WebhookJson>) -> Result<Vec<Webhook>, Problem> {
    if json.len() > ENTRIES_MAX {
        let problem = Problem::new(ErrorKind::Invalid, "too many webhooks").field("webhooks");
        return Err(problem.value(json.len()).limit(ENTRIES_MAX));
    }
    let parse = |(i, json): (usize, WebhookJson)| {
        Webhook::parse(&json.url, json.secret.as_deref()).map_err(|e| e.problem(&format!("webhooks[{i}]")))
    };
    json.into_iter().enumerate().map(parse).collect()
}

fn phase_call(
    phase: Option<String>,
    traffic_share: Option<f64>,
    scope: Option<String>,
) -> Result<Option<PhaseCall>, Problem> {
    let traffic_share = share(traffic_share)?;
    let scope = scope.map(|s| inside("scope", &s)).transpose()?;
    match phase {
        Some(phase) => Ok(Some(PhaseCall { phase, traffic_share, scope })),
        None if traffic_share.is_none() && scope.is_none() => Ok(None),
        None => {
            let text = "traffic_share and scope belong to a phase; name it";
            Err(Problem::new(ErrorKind::Invalid, text).field("phase"))
        }
    }
}

fn share(share: Option<f64>) -> Result<Option<f64>, Problem> {
    match share {
        Some(share) if !(0.0..=1.0).contains(&share) => {
            let problem = Problem::new(ErrorKind::Invalid, "a traffic share is between 0 and 1");
            Err(problem.field("traffic_share").value(share))
        }
        other => Ok(other),
    }
}

pub(crate) fn text(field: &str, value: &str, limit: usize) -> Result<(), Problem> {
    if value.is_empty() {
        return Err(Problem::new(ErrorKind::Invalid, "is empty").field(field));
    }
    if value.len() > limit {
        let shown: String = value.chars().take(80).collect();
        let problem =
            Problem::new(ErrorKind::Invalid, format!("has {} bytes, more than {limit}", value.len()));
        return Err(problem.field(field).value(shown).limit(limit));
    }
    Ok(())
}

pub(crate) fn map(field: &str, entries: &BTreeMap<String, String>) -> Result<(), Problem> {
    if entries.len() > ENTRIES_MAX {
        let problem = Problem::new(ErrorKind::Invalid, "has too many entries").field(field);
        return Err(problem.value(entries.len()).limit(ENTRIES_MAX));
    }
    for (name, value) in entries {
        text(&format!("{field}.{name}"), value, TEXT_BYTES_MAX)?;
    }
    Ok(())
}

pub(crate) fn time(field: &str, value: &str) -> Result<Timestamp, Problem> {
    let bad = || {
        let problem = Problem::new(ErrorKind::Invalid, "is no RFC 3339 time such as 2026-11-21T10:00:00Z");
        problem.field(field).value(value)
    };
    let parsed: jiff::Timestamp = value.parse().map_err(|_| bad())?;
    i64::try_from(parsed.as_nanosecond()).map(Timestamp::from_nanos).map_err(|_| bad())
}

fn span(field: &str, value: &str) -> Result<Span, Problem> {
    Span::parse(value).ok_or_else(|| {
        let problem = Problem::new(ErrorKind::Invalid, "is no duration such as 90s, 5m or 1h30m");
        problem.field(field).value(value)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn minimal() -> Value {
        json!({ "service": "cart", "baseline": { "name": "1.4.2" }, "canary": { "name": "1.5.0" } })
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Value), field: &str) {
        let mut body = minimal();
        change(&mut body);
        let problem = NewRelease::parse(&body).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    }

    #[test]
    fn a_replay_names_what_is_wrong_with_it() {
        let parsed = ReplayRequest::parse(&json!({})).unwrap();
        assert_eq!(parsed, ReplayRequest { policy: None, engine: Engine::Greylight });
        let parsed = ReplayRequest::parse(&json!({ "policy": "p", "engine": "both" })).unwrap();
        let want = ReplayRequest { policy: Some(PolicyRequest::Named("p".into())), engine: Engine::Both };
        assert_eq!(parsed, want);
        for (body, field) in [
            (json!({ "engine": "kayentta" }), Some("engine")),
            (json!({ "engine": 3 }), Some("engine")),
            (json!({ "policy": 3 }), Some("policy")),
            (json!({ "polcy": "p" }), Some("polcy")),
            (json!([]), None),
        ] {
            assert_eq!(ReplayRequest::parse(&body).unwrap_err().field.as_deref(), field, "{body}");
        }
    }

    #[test]
    fn cohorts_default_to_service_and_version() {
        let release = NewRelease::parse(&minimal()).unwrap();
        assert_eq!(release.canary.matchers, "service_name=\"cart\", service_version=\"1.5.0\"");
        assert_eq!(release.policy, PolicyRequest::Named("default".into()));
    }

    #[test]
    fn wrong_fields_are_named() {
        refused(|b| b["servise"] = json!("x"), "servise");
        refused(|b| b["canary"]["match"] = json!("service"), "canary.match");
        refused(|b| b["canary"]["match"] = json!("{}"), "canary.match");
        refused(|b| b["canary"]["match"] = json!("{a=~\".*\"}"), "canary.match");
        refused(|b| b["start"] = json!("yesterday"), "start");
        refused(|b| b["pre_period"] = json!("3 h"), "pre_period");
        refused(|b| b["webhooks"] = json!([{ "url": "ftp://x" }]), "webhooks[0].url");
        refused(|b| b["webhooks"] = json!([{ "url": "http://x", "secret": "s" }]), "webhooks[0].secret");
        refused(|b| b["traffic_share"] = json!(0.1), "phase");
        refused(|b| b["fresh"] = json!({ "name": "" }), "fresh.name");
        refused(|b| b["fresh"] = json!({ "name": "1.4.2" }), "fresh.match");
        refused(|b| b["fresh"] = json!({ "name": "x", "pre_match": "{a=\"b\"}" }), "fresh.pre_match");
        refused(|b| b["service"] = json!(""), "service");
        refused(|b| b["key"] = json!("x".repeat(300)), "key");
        refused(|b| b["policy"] = json!(3), "policy");
    }
}
