//! What else happened while a release ran: other releases, and changes that someone noted.
//!
//! A release is compared with a baseline at the same time, so what happens to all units alike cancels. What another
//! release does to the very units of the canary does not: then the two cannot be told apart, and the verdict says so.

use std::collections::BTreeSet;

use greylight_store::model::{Problem, TenantId, Timestamp};

use super::look::{self, LookError};
use super::model::{Release, State};
use super::request::{CohortRequest, time};
use super::service::{Filter, Releases};
use crate::changes::ChangeFilter;
use crate::collect::Collector;
use crate::verdict::{ChangeJson, OverlapJson};

/// Releases before this one that are looked at for overlaps.
const LOOKED_AT: usize = 100;
/// How long before its own start a release looks for others that still run.
const BEFORE: std::time::Duration = std::time::Duration::from_secs(2 * 86_400);

/// A release that runs at the same time.
#[derive(Clone, Debug)]
pub(super) struct Other {
    id: String,
    service: String,
    canary: CohortRequest,
    started_at: Timestamp,
}

impl Other {
    /// Tells whether its canary must not pass for the baseline of a release: the same service in another version.
    fn is_of(&self, release: &Release) -> bool {
        self.service == release.request.service && self.canary.matchers != release.request.canary.matchers
    }
}

impl Releases {
    /// Finds the releases that run, or ran, at the same time as this one.
    pub(super) async fn others(&self, tenant: &TenantId, release: &Release) -> Result<Vec<Other>, Problem> {
        let since = release.start.saturating_sub(BEFORE);
        // The newest alone: a filter would read all releases that there ever were, at each look.
        let (all, _) = self.list(tenant, &Filter::default(), LOOKED_AT, None).await?;
        let is_at_the_time = |other: &Release| {
            let ended = other.verdict.as_ref().and_then(|v| v.decided_at.as_deref());
            let ended = ended.and_then(|t| time("decided_at", t).ok());
            let is_over = !other.state.is_live() && ended.is_none_or(|ended| ended <= release.start);
            other.start >= since && other.id != release.id && other.state != State::Cancelled && !is_over
        };
        let other = |other: Release| Other {
            id: other.id,
            service: other.request.service,
            canary: other.request.canary,
            started_at: other.start,
        };
        Ok(all.into_iter().filter(is_at_the_time).map(other).collect())
    }

    /// Finds the changes that fall into a release's time, of its service or of all.
    pub(super) async fn changes_beside(
        &self,
        tenant: &TenantId,
        release: &Release,
        until: Timestamp,
    ) -> Result<Vec<ChangeJson>, Problem> {
        let filter = ChangeFilter {
            service: Some(release.request.service.clone()),
            start: Some(release.start),
            end: Some(until),
        };
        self.changes().list(tenant, &filter).await
    }
}

/// Other releases, each with the units that its canary has shown.
pub(super) type Beside = Vec<(Other, BTreeSet<String>)>;

/// Finds the units of the canaries of other releases.
pub(super) fn units(
    collector: &Collector,
    tenant: &TenantId,
    release: &Release,
    others: Vec<Other>,
    end_ms: i64,
) -> Result<Beside, LookError> {
    let mut out = Vec::with_capacity(others.len());
    for other in others {
        let mut units = BTreeSet::new();
        look::cohort_units(collector, tenant, release, &other.canary, end_ms, &mut units)?;
        out.push((other, units));
    }
    Ok(out)
}

/// Returns the units that other canaries of the service run on: they are no baseline.
pub(super) fn foreign_units(release: &Release, others: &Beside) -> BTreeSet<String> {
    let of_service = others.iter().filter(|(other, _)| other.is_of(release));
    of_service.flat_map(|(_, units)| units).cloned().collect()
}

/// Says of each other release whose doing a difference can be.
pub(super) fn overlaps(others: &Beside, canary: &BTreeSet<String>) -> Vec<OverlapJson> {
    let mut out = Vec::with_capacity(others.len());
    for (other, units) in others {
        let shared = units.intersection(canary).count();
        let (name, service) = (&other.canary.name, &other.service);
        let (blame, text) = match shared {
            0 => (
                "own",
                format!(
                    "{service} {name} is released at the same time on other units: what both sides have cancels, so a \
                     difference shown here is this release's own"
                ),
            ),
            n => (
                "undecidable",
                format!(
                    "{service} {name} is released at the same time and changes {n} of this canary's units too: which of \
                     the two a difference comes from cannot be decided"
                ),
            ),
        };
        out.push(OverlapJson {
            release: other.id.clone(),
            service: service.clone(),
            canary: name.clone(),
            started_at: other.started_at.to_string(),
            shared_units: shared,
            blame: blame.to_owned(),
            text,
        });
    }
    out
}
