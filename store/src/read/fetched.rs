//! Log records of another store, held in memory for the time of some questions.

use std::sync::Arc;

use super::Reader;
use crate::append::LogBatch;
use crate::logs::{Head, SharedTemplates};
use crate::model::TenantId;
use crate::store::{Current, TenantView};

/// Log records that were fetched from elsewhere, read as the store's own: the same searches, the same templates.
///
/// What is fetched next shares the templates, so that a template has one id in all that comes from one place.
#[derive(Clone, Debug)]
pub struct Fetched {
    view: Arc<TenantView>,
    reader: Reader,
}

impl Fetched {
    /// Makes one that holds nothing yet and knows no template.
    pub fn new(tenant: &TenantId) -> Self {
        Self::with(tenant, Arc::default())
    }

    /// Makes one that holds nothing yet and knows the templates of this one.
    pub fn next(&self, tenant: &TenantId) -> Self {
        Self::with(tenant, Arc::clone(&self.view.logs.templates))
    }

    fn with(tenant: &TenantId, templates: Arc<SharedTemplates>) -> Self {
        let current = Arc::new(Current::default());
        let view = current.change(|snapshot| {
            let view = snapshot.tenant(tenant);
            view.logs.head = Arc::new(Head::new(Arc::clone(&templates)));
            view.logs.templates = templates;
            Arc::new(view.clone())
        });
        Self { view, reader: Reader::new(current) }
    }

    /// Takes records; those that it holds already are left out.
    pub fn take(&self, batch: &LogBatch) {
        self.view.logs.head.append_batch(batch);
    }

    /// Returns how many records it holds.
    pub fn n_records(&self) -> usize {
        self.view.logs.head.n_records()
    }

    /// Returns about how much memory the records take.
    pub fn bytes(&self) -> usize {
        self.view.logs.head.bytes()
    }

    /// Returns what answers questions about the records, asked for the tenant that it was made for.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::logs::{GroupBy, Intervals, LogSelect, LogSource, Query};
    use crate::model::{Labels, LogRecord, ManualClock, TimeRange, Timestamp};
    use crate::read::{Budget, Limits, ReadError};

    fn record(ms: i64, body: &str) -> LogRecord {
        LogRecord {
            time: Timestamp::from_millis(ms),
            observed_time: Timestamp::from_millis(ms),
            severity_number: 9,
            severity_text: String::new(),
            body: body.into(),
            labels: Labels::from_pairs([("app", "cart")]).unwrap(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            uid: None,
        }
    }

    fn by_template(fetched: &Fetched, tenant: &TenantId) -> Result<Vec<(String, u64)>, ReadError> {
        let range = TimeRange::new(Timestamp::from_millis(0), Timestamp::from_millis(100)).unwrap();
        let select = LogSelect { query: Query::parse("*").unwrap(), matchers: Vec::new(), range };
        let budget = Budget::new(Limits::default(), Arc::new(ManualClock::at(Timestamp::from_millis(0))));
        let intervals = Intervals { start: range.start(), step: Duration::from_millis(100), n: 1 };
        let counts = fetched.reader().count(tenant, &select, intervals, &[GroupBy::Template], &budget)?;
        Ok(counts.groups.into_iter().map(|group| (group.key[0].clone(), group.counts[0])).collect())
    }

    #[test]
    fn a_template_has_one_id_in_all_that_is_fetched() {
        let tenant = TenantId::default();
        let first = Fetched::new(&tenant);
        let lines = ["took 5 ms", "took 7 ms", "took 7 ms"];
        let records = lines.iter().zip([1, 2, 2]).map(|(line, ms)| record(ms, line)).collect();
        first.take(&LogBatch { records });
        assert_eq!(first.n_records(), 2);
        let next = first.next(&tenant);
        next.take(&LogBatch { records: vec![record(3, "took 9 ms")] });
        let (a, b) = (by_template(&first, &tenant).unwrap(), by_template(&next, &tenant).unwrap());
        assert_eq!((a.len(), a[0].1), (1, 2));
        assert_eq!((b.len(), b[0].1), (1, 1));
        assert_eq!(a[0].0, b[0].0);
        let id = a[0].0.parse().unwrap();
        assert_eq!(next.reader().template_text(&tenant, id).as_deref(), Some("took <*> ms"));
    }
}
