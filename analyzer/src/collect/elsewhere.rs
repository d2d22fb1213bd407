//! Lets checks read other stores by the same rules.
//!
//! A check with a `source` is answered by a collector whose series or records are fetched from there; all that is
//! built on them, as members of cohorts and wholeness, is the same code. What questions of one look fetch is shared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use greylight_query::promql;
use greylight_store::model::TenantId;
use greylight_store::read::SpanMs;
use parking_lot::Mutex;

use super::metrics::Booked;
use super::{CollectError, Collector, Question};
use crate::policy::{Policy, Source};
use crate::sources::Sources;

/// The other stores that a collector can read. Clones share what was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elsewhere {
    sources: Sources,
    /// Cohorts whose members are found, as in the collector's own store.
    cohorts: Vec<String>,
    span: Option<SpanMs>,
    /// Collectors of sources, where cohorts are joined: for one look. By name and the labels that tell records apart.
    open: Arc<Mutex<BTreeMap<Key, Collector>>>,
    reads: Reads,
}

/// What a collector reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reads {
    /// The own store.
    #[default]
    Own,
    /// A source that has series alone.
    Series,
    /// A source that has log records alone.
    Records,
}

type Key = (TenantId, String, Vec<String>);

impl Elsewhere {
    pub(crate) fn new(sources: Sources) -> Self {
        Self { sources, ..Self::default() }
    }

    /// The same sources, in which members of cohorts are found; nothing is open yet.
    pub(super) fn joined(&self, cohorts: Vec<String>, span: SpanMs) -> Self {
        let sources = self.sources.clone();
        Self { sources, cohorts, span: Some(span), reads: self.reads, ..Self::default() }
    }

    /// Tells whether series are read from another store.
    pub(super) fn has_foreign_series(&self) -> bool {
        self.reads == Reads::Series
    }
}

impl Collector {
    /// The collector of what a question's check reads.
    pub(super) fn at(&self, q: &Question<'_>) -> Result<Cow<'_, Self>, CollectError> {
        match &q.check.source {
            // One that reads a source has no further ones.
            Some(name) => self.at_source(q.tenant, name, q.unit_names),
            None => Ok(Cow::Borrowed(self)),
        }
    }

    /// The collectors of all that a policy reads: of the own store, and of each source.
    pub(crate) fn everywhere<'c>(
        &'c self,
        tenant: &TenantId,
        policy: &Policy,
    ) -> Result<Vec<Cow<'c, Self>>, CollectError> {
        let mut all = vec![Cow::Borrowed(self)];
        for name in policy.sources() {
            all.push(self.at_source(tenant, name, &policy.unit)?);
        }
        Ok(all)
    }

    fn at_source(
        &self,
        tenant: &TenantId,
        name: &str,
        labels: &[String],
    ) -> Result<Cow<'_, Self>, CollectError> {
        let key = (tenant.clone(), name.to_owned(), labels.to_vec());
        if let Some(known) = self.elsewhere.open.lock().get(&key) {
            return Ok(Cow::Owned(known.clone()));
        }
        let sources = &self.elsewhere.sources;
        let doors = sources.open(tenant, name, labels).ok_or_else(|| {
            CollectError::Unsupported(format!("no source is called {name:?}; {}", sources.named(tenant)))
        })?;
        let own = Self {
            engine: promql::Engine::new(doors.metrics.clone(), self.engine.options().clone()),
            metrics: doors.metrics,
            logs: doors.logs,
            elsewhere: Elsewhere {
                reads: if doors.has_records_only { Reads::Records } else { Reads::Series },
                ..Elsewhere::default()
            },
            ..self.clone()
        };
        let own = match self.elsewhere.span {
            Some(span) => own.joined(self.elsewhere.cohorts.iter().cloned(), span)?,
            None => own,
        };
        // Only questions of one look may share what they fetch; later ones are to see what came since.
        if self.elsewhere.span.is_some() {
            self.elsewhere.open.lock().insert(key, own.clone());
        }
        Ok(Cow::Owned(own))
    }

    /// Finds in which intervals each unit wrote a record, which tells that it was up where nothing else can: in a
    /// source that has log records alone.
    pub(super) fn up_by_records(
        &self,
        q: &Question<'_>,
        events: &Source,
    ) -> Result<Option<BTreeMap<String, Booked>>, CollectError> {
        let Source::Logs(query) = events else { return Ok(None) };
        if self.elsewhere.reads != Reads::Records {
            return Ok(None);
        }
        let mut units: BTreeMap<String, Booked> = BTreeMap::new();
        for (key, counts) in self.counted(q, "*", &query.matchers, &[])? {
            let booked = units.entry(key.unit()).or_insert_with(|| Booked::new(q.grid.n));
            for (i, _) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                booked.present[i] = true;
            }
        }
        Ok((!units.is_empty()).then_some(units))
    }
}
