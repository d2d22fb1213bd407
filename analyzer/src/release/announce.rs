//! What a release will be able to show, said before it is judged.
//!
//! An announcement reads the history that the first look of each phase would pin, and asks the judge's tests what they
//! would find in it ([`crate::judge::foretell`]). Nothing is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use greylight_store::model::{ErrorKind, Problem, TenantId, Timestamp};
use greylight_store::read::SpanMs;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cohort;
use super::look::{self, LookError};
use super::model::Release;
use super::request::{self, NewRelease, PolicyRequest};
use super::service::{Filter, Releases};
use crate::collect::{CollectError, Collector};
use crate::judge::{CheckData, Expected, Foretold, foretell};

/// Most units of a side that a request may name or expect.
const UNITS_MAX: usize = 10_000;

/// A body of `POST /api/v1/policies/{name}/announce`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AnnounceRequest {
    release: Subject,
    expected: Asked,
}

/// Which release is asked about.
#[derive(Clone, Debug, PartialEq)]
enum Subject {
    Known(String),
    New(Value),
}

/// What the caller knows of the canary before it is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    canary: Option<usize>,
    fresh: Option<usize>,
    units: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnnounceJson {
    release: Value,
    canary: Option<usize>,
    fresh: Option<usize>,
    #[serde(default)]
    units: BTreeSet<String>,
}

impl AnnounceRequest {
    /// Parses a body: `{ "release": body or id, "canary": 2, "fresh": 0, "units": [..] }`.
    pub(crate) fn parse(body: &Value) -> Result<Self, Problem> {
        if !body.is_object() {
            let text = "the body is an object: { \"release\": an id or the body of POST /api/v1/releases }";
            return Err(Problem::new(ErrorKind::Invalid, text));
        }
        let json: AnnounceJson = request::strict(body)?;
        let release = match json.release {
            Value::String(id) => Subject::Known(id),
            Value::Object(map) if map.contains_key("policy") => {
                let text = "the policy is the one in the address; leave it out";
                let problem = Problem::new(ErrorKind::Invalid, text).field("release.policy");
                return Err(problem.value(map["policy"].clone()));
            }
            new @ Value::Object(_) => Subject::New(new),
            other => {
                let text = "is the id of a release, or the body of POST /api/v1/releases without a policy";
                return Err(Problem::new(ErrorKind::Invalid, text).field("release").value(other));
            }
        };
        for (field, number, least) in [("canary", json.canary, 1), ("fresh", json.fresh, 0)] {
            if let Some(number) = number.filter(|number| !(least..=UNITS_MAX).contains(number)) {
                let problem = Problem::new(ErrorKind::Invalid, format!("is a number of units from {least}"));
                return Err(problem.field(field).value(number).limit(UNITS_MAX));
            }
        }
        if json.units.len() > UNITS_MAX {
            let problem = Problem::new(ErrorKind::Invalid, "has too many units").field("units");
            return Err(problem.value(json.units.len()).limit(UNITS_MAX));
        }
        let expected = Asked { canary: json.canary, fresh: json.fresh, units: json.units };
        Ok(Self { release, expected })
    }
}

/// An announcement that is ready to be computed.
#[derive(Debug)]
pub(crate) struct Job {
    tenant: TenantId,
    release: Release,
    asked: Asked,
    refused: BTreeSet<String>,
    collector: Collector,
    now: Timestamp,
}

/// What a release will be able to show.
#[derive(Debug)]
pub(crate) struct Announcement {
    pub(crate) release: Release,
    pub(crate) expected: Expected,
    /// Whether the canary is taken to run on these of the baseline's units, since nothing else is known.
    pub(crate) in_place: Vec<String>,
    /// By phase.
    pub(crate) phases: Vec<Vec<Foretold>>,
}

impl Releases {
    /// Prepares an announcement of a stored policy.
    pub(crate) async fn announce(
        &self,
        tenant: &TenantId,
        policy: &str,
        asked: AnnounceRequest,
    ) -> Result<Job, Problem> {
        let named = PolicyRequest::Named(policy.to_owned());
        let (mut request, body, start) = match asked.release {
            Subject::New(body) => {
                let request = NewRelease::parse(&body).map_err(|problem| match problem.field.clone() {
                    Some(field) => problem.field(format!("release.{field}")),
                    None => problem.field("release"),
                })?;
                (request, body, None)
            }
            Subject::Known(id) => {
                let known = self.get(tenant, &id).await?;
                (known.request, known.body, Some(known.start))
            }
        };
        request.policy = named;
        // A phase call belongs to the policy of the release that made it.
        request.phase = None;
        request.start = start.or(request.start);
        let pinned = self.pin(tenant, &request).await?;
        let release = self.fresh(request, body, pinned, 1)?;
        self.job(tenant, release, asked.expected).await
    }

    /// Prepares the announcement of a release by its own policy.
    pub(crate) async fn announce_release(&self, tenant: &TenantId, id: &str) -> Result<Job, Problem> {
        let release = self.get(tenant, id).await?;
        self.job(tenant, release, Asked::default()).await
    }

    /// Prepares the announcement of a policy for the last release that it judged; none if it judged none.
    pub(crate) async fn announce_last(
        &self,
        tenant: &TenantId,
        policy: &str,
    ) -> Result<Option<Job>, Problem> {
        const LOOKED_AT: usize = 200;
        let (latest, _) = self.list(tenant, &Filter::default(), LOOKED_AT, None).await?;
        let used = |release: &Release| release.policy.revision.is_some() && release.policy.name == policy;
        let Some(last) = latest.into_iter().find(used) else { return Ok(None) };
        let asked = AnnounceRequest { release: Subject::Known(last.id), expected: Asked::default() };
        self.announce(tenant, policy, asked).await.map(Some)
    }

    async fn job(&self, tenant: &TenantId, release: Release, asked: Asked) -> Result<Job, Problem> {
        Ok(Job {
            refused: self.refused_versions(tenant, &release).await?,
            tenant: tenant.clone(),
            release,
            asked,
            collector: self.0.collector.clone(),
            now: self.0.clock.now(),
        })
    }
}

impl Job {
    /// Reads the history and asks the tests; takes as long as the first look of each phase, and more.
    pub(crate) fn run(mut self) -> Result<Announcement, Problem> {
        self.announcement().map_err(|error| match error {
            LookError::Collect(error) => {
                let kind = if error.may_pass() { ErrorKind::Unavailable } else { ErrorKind::Invalid };
                Problem::new(kind, error).field("policy")
            }
            error => Problem::new(ErrorKind::Internal, error),
        })
    }

    fn announcement(&mut self) -> Result<Announcement, LookError> {
        let units = self.units()?;
        let policy = Arc::clone(&self.release.policy.policy);
        let mut phases = Vec::with_capacity(policy.phases.len());
        let release_start = self.release.start;
        for (idx, phase) in policy.phases.iter().enumerate() {
            // Each as if it began with the release: what it will read before that is the same for all.
            self.release.phases[idx].started_at.get_or_insert(release_start);
            let (sides, births) = look::before(
                &self.collector,
                &self.tenant,
                &self.release,
                idx,
                (&units.canary, &units.fresh),
                &self.refused,
            )?;
            let data: IndexMap<String, CheckData> = (sides.into_iter())
                .map(|(check, pre)| {
                    let births = births.get(&check).cloned().unwrap_or_default();
                    (check, CheckData { pre, births, ..CheckData::default() })
                })
                .collect();
            let expected = Expected { share: share(&self.release, idx), ..units.expected };
            let run = look::phase_run(&self.release, &self.release.phases[idx]);
            phases.push(foretell(&policy, phase, &run, &data, &expected)?);
        }
        Ok(Announcement {
            release: self.release.clone(),
            expected: units.expected,
            in_place: units.in_place,
            phases,
        })
    }

    /// Finds the units of both sides, or what is to be expected of them.
    fn units(&self) -> Result<Units, LookError> {
        const RECENT_INTERVALS: i64 = 10;
        let release = &self.release;
        let request = &release.request;
        let (mut canary, mut fresh) = (BTreeSet::new(), BTreeSet::new());
        let end_ms = self.now.as_millis().max(release.start.as_millis() + release.interval_ms());
        let span =
            SpanMs { start: release.start.as_millis().saturating_sub(look::MEMBER_MS), end: end_ms - 1 };
        let collector = look::joined(&self.collector, release, 0, span)?;
        look::new_units(&collector, &self.tenant, release, end_ms, (&mut canary, &mut fresh))?;
        let mut baseline = BTreeSet::new();
        let matchers = request.baseline.pre_matchers.as_ref().unwrap_or(&request.baseline.matchers);
        let parsed = cohort::matchers(matchers)
            .map_err(|e| CollectError::Query { query: matchers.clone(), detail: e.to_string() })?;
        let end = release.start.as_millis() - 1;
        let span = SpanMs { start: end - RECENT_INTERVALS * release.interval_ms(), end };
        let names = &release.policy.policy.unit;
        for one in collector.everywhere(&self.tenant, &release.policy.policy)? {
            one.metric_units(&self.tenant, &parsed, names, span, &mut baseline)?;
        }
        let mut in_place = Vec::new();
        if canary.is_empty() {
            canary.extend(self.asked.units.iter().cloned());
        }
        // Where no births are taken pods keep their names, as hosts do: those that the canary will run on have a history.
        if canary.is_empty() && release.policy.policy.births.is_none() {
            let n = self.asked.canary.unwrap_or(1).min(baseline.len().saturating_sub(1));
            in_place = baseline.iter().take(n).cloned().collect();
            canary.extend(in_place.iter().cloned());
        }
        let known = |asked: Option<usize>, units: &BTreeSet<String>| match units.len() {
            0 => asked,
            n => Some(n),
        };
        let expected = Expected {
            canary: known(self.asked.canary, &canary).unwrap_or(1),
            baseline: baseline.difference(&canary).count(),
            fresh: known(self.asked.fresh, &fresh).unwrap_or(0),
            share: None,
        };
        Ok(Units { canary, fresh, in_place, expected })
    }
}

struct Units {
    canary: BTreeSet<String>,
    fresh: BTreeSet<String>,
    in_place: Vec<String>,
    expected: Expected,
}

/// Returns the share that a phase declares: where it rises by plan, the mean of it.
fn share(release: &Release, idx: usize) -> Option<f64> {
    let phase = &release.policy.policy.phases[idx];
    let planned = (!phase.ramp.is_empty()).then(|| phase.ramp.iter().sum::<f64>() / phase.ramp.len() as f64);
    release.phases[idx].share(phase.traffic_share).or(planned).filter(|share| 0.0 < *share && *share < 1.0)
}

/// Writes an announcement as the API gives it.
pub(crate) fn wire(announcement: &Announcement) -> Value {
    let Announcement { release, expected, in_place, phases } = announcement;
    let policy = &release.policy;
    let words = super::announce_words::Words::new(release);
    let of_phase = |(phase, checks): (&crate::policy::Phase, &Vec<Foretold>)| {
        json!({
            "name": phase.name,
            "at_least": phase.at_least.to_string(),
            "at_most": phase.at_most.to_string(),
            "text": words.phase(phase, checks),
            "checks": checks.iter().map(|check| words.check(phase, check)).collect::<Vec<_>>(),
        })
    };
    json!({
        "policy": { "name": policy.name, "revision": policy.revision },
        "release": {
            "service": release.request.service,
            "baseline": release.request.baseline.name,
            "canary": release.request.canary.name,
            "start": release.start.to_string(),
        },
        "cohorts": {
            "canary": expected.canary,
            "baseline": expected.baseline,
            "fresh": expected.fresh,
            "in_place": in_place,
        },
        "phases": policy.policy.phases.iter().zip(phases).map(of_phase).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_what_is_wrong_with_it() {
        let parsed = AnnounceRequest::parse(&json!({ "release": "01J", "canary": 3 })).unwrap();
        assert_eq!(parsed.release, Subject::Known("01J".into()));
        assert_eq!(parsed.expected.canary, Some(3));
        for (body, field) in [
            (json!({}), Some("release")),
            (json!({ "release": 3 }), Some("release")),
            (json!({ "release": { "policy": "x" } }), Some("release.policy")),
            (json!({ "release": "x", "canary": 0 }), Some("canary")),
            (json!({ "release": "x", "fresh": 10_001 }), Some("fresh")),
            (json!({ "release": "x", "pods": 3 }), Some("pods")),
            (json!([]), None),
        ] {
            assert_eq!(AnnounceRequest::parse(&body).unwrap_err().field.as_deref(), field, "{body}");
        }
    }
}
