//! Log records of another store: fetched page by page, then searched as the store's own.

use std::sync::Arc;

use greylight_store::append::LogBatch;
use greylight_store::model::{Labels, LogRecord, Matcher, TenantId, TimeRange, Timestamp};
use greylight_store::pattern::TemplateId;
use greylight_store::read::{
    Budget, Fetched, Flow, FoundRecord, GroupBy, Intervals, LogCounts, LogNumbers, LogOrder, LogPage,
    LogPatterns, LogSelect, LogSource, Missing, PageRequest, ReadError, RecordId,
};
use parking_lot::Mutex;

use super::client::Fault;

/// Memory of the records that are kept for the next question of a look.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Most memory of the records of one question.
const FETCHED_BYTES_MAX: usize = 1 << 30;
/// Longest time of one page's question, in nanoseconds: other stores have limits of their own.
const PIECE_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Gives records in order of time.
pub(super) trait Pages: Send + Sync + std::fmt::Debug {
    /// Asks for the oldest records whose labels match, of `from` and later and before `to` (epoch nanoseconds), and at
    /// most so many.
    fn page(&self, matchers: &[Matcher], from: i64, to: i64, limit: usize) -> Result<Vec<LogRecord>, Fault>;

    /// Tells whether records carry a label of this name wherever they have something for it, whatever was asked for.
    fn has_label(&self, name: &str) -> bool;

    /// How many one page may have.
    fn limit(&self) -> usize;

    /// Says that answers are too large.
    fn too_large(&self) -> ReadError;
}

/// Records of one source, for the questions of one look.
#[derive(Debug)]
pub(super) struct Records {
    pages: Arc<dyn Pages>,
    /// Holds nothing but the templates.
    first: Fetched,
    name: String,
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    matchers: Vec<Matcher>,
    range: TimeRange,
    fetched: Fetched,
}

impl Records {
    pub(super) fn new(pages: Arc<dyn Pages>, first: Fetched, name: &str) -> Self {
        Self { pages, first, name: name.to_owned(), kept: Mutex::default() }
    }

    /// Returns records among which those of a question are, fetched once for all questions about them.
    fn of(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Fetched, ReadError> {
        let within = |one: &Kept| one.range.start() <= range.start() && range.end() <= one.range.end();
        let is_in = |one: &Matcher, all: &[Matcher]| {
            all.iter()
                .any(|other| (one.name(), one.op(), one.value()) == (other.name(), other.op(), other.value()))
        };
        // A question that narrows one that was fetched, as to one unit, is answered by what that gave.
        let holds = |one: &&Kept| {
            within(one)
                && one.matchers.iter().all(|known| is_in(known, matchers))
                && matchers
                    .iter()
                    .all(|asked| is_in(asked, &one.matchers) || self.pages.has_label(asked.name()))
        };
        let mut kept = self.kept.lock();
        if let Some(known) = kept.iter().find(holds) {
            return Ok(known.fetched.clone());
        }
        let fetched = self.first.next(tenant);
        self.fetch(&fetched, matchers, range, budget)?;
        kept.push(Kept { matchers: matchers.to_vec(), range, fetched: fetched.clone() });
        while kept.len() > 1 && kept.iter().map(|one| one.fetched.bytes()).sum::<usize>() > KEPT_BYTES_MAX {
            kept.remove(0);
        }
        Ok(fetched)
    }

    fn fetch(
        &self,
        into: &Fetched,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<(), ReadError> {
        let (mut from, end) = (range.start().as_nanos(), range.end().as_nanos());
        while from < end {
            let to = from.saturating_add(PIECE_NS).min(end);
            walk(&*self.pages, &self.name, matchers, (from, to), &mut |records| {
                budget.charge_samples(records.len())?;
                into.take(&LogBatch { records });
                if into.bytes() > FETCHED_BYTES_MAX {
                    let limit = FETCHED_BYTES_MAX >> 20;
                    return Err(refused(
                        &self.name,
                        format!(
                            "the records of one question take more than {limit} MiB; narrow the check's `match`"
                        ),
                    ));
                }
                Ok(())
            })?;
            from = to;
        }
        Ok(())
    }

    fn asked<T>(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        budget: &Budget,
        ask: impl FnOnce(&dyn LogSource) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let fetched = self.of(tenant, &select.matchers, select.range, budget)?;
        ask(fetched.reader())
    }
}

/// Hands on all records between two times, page by page; some of them twice.
///
/// The next page begins with the time of the last record, since the page may have ended between records of one time.
fn walk(
    pages: &dyn Pages,
    name: &str,
    matchers: &[Matcher],
    (mut from, to): (i64, i64),
    take: &mut dyn FnMut(Vec<LogRecord>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    const LIMIT_MIN: usize = 100;
    let mut limit = pages.limit();
    loop {
        let records = match pages.page(matchers, from, to, limit) {
            Ok(records) => records,
            Err(Fault::TooLarge) if limit > LIMIT_MIN => {
                limit = (limit / 8).max(LIMIT_MIN);
                continue;
            }
            Err(Fault::TooLarge) => return Err(pages.too_large()),
            Err(Fault::Read(error)) => return Err(error),
        };
        let n = records.len();
        let last = records.iter().map(|record| record.time.as_nanos()).max();
        take(records)?;
        match last {
            Some(last) if n >= limit && last > from => from = last,
            Some(_) if n >= limit => {
                let at = Timestamp::from_nanos(from);
                return Err(refused(
                    name,
                    format!(
                        "{limit} records or more are of one time, {at}, so they cannot be told apart by pages; narrow \
                         the check's `match`"
                    ),
                ));
            }
            _ => return Ok(()),
        }
    }
}

fn refused(name: &str, detail: String) -> ReadError {
    ReadError::Elsewhere { source_name: name.to_owned(), detail, may_pass: false }
}

impl LogSource for Records {
    fn search(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        page: &PageRequest,
        budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        self.asked(tenant, select, budget, |logs| logs.search(tenant, select, page, budget))
    }

    fn scan(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        order: LogOrder,
        budget: &Budget,
        sink: &mut dyn FnMut(FoundRecord) -> Flow,
    ) -> Result<Missing, ReadError> {
        self.asked(tenant, select, budget, |logs| logs.scan(tenant, select, order, budget, sink))
    }

    fn count(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        by: &[GroupBy],
        budget: &Budget,
    ) -> Result<LogCounts, ReadError> {
        self.asked(tenant, select, budget, |logs| logs.count(tenant, select, intervals, by, budget))
    }

    fn numbers(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        intervals: Intervals,
        field: &str,
        budget: &Budget,
    ) -> Result<LogNumbers, ReadError> {
        self.asked(tenant, select, budget, |logs| logs.numbers(tenant, select, intervals, field, budget))
    }

    fn patterns(
        &self,
        tenant: &TenantId,
        select: &LogSelect,
        limit: usize,
        budget: &Budget,
    ) -> Result<LogPatterns, ReadError> {
        self.asked(tenant, select, budget, |logs| logs.patterns(tenant, select, limit, budget))
    }

    fn context(
        &self,
        _tenant: &TenantId,
        id: RecordId,
        _before: usize,
        _after: usize,
        _budget: &Budget,
    ) -> Result<LogPage, ReadError> {
        Err(refused(&self.name, format!("what lies beside record {id} cannot be asked for")))
    }

    fn streams(
        &self,
        tenant: &TenantId,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Vec<Labels>, ReadError> {
        let mut all = std::collections::BTreeSet::new();
        for set in sets {
            let fetched = self.of(tenant, set, range, budget)?;
            all.extend(fetched.reader().streams(tenant, std::slice::from_ref(set), range, budget)?);
        }
        Ok(all.into_iter().collect())
    }

    fn template_text(&self, tenant: &TenantId, id: TemplateId) -> Option<String> {
        self.first.reader().template_text(tenant, id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    /// Records by time, some of one time.
    #[derive(Debug)]
    struct Shelf {
        times: Vec<i64>,
        limit: usize,
        /// Answers with more records are too large.
        most: usize,
    }

    fn record(at: i64, number: usize) -> LogRecord {
        LogRecord {
            time: Timestamp::from_nanos(at),
            observed_time: Timestamp::from_nanos(at),
            severity_number: 0,
            severity_text: String::new(),
            body: format!("n {number}"),
            labels: Labels::from_pairs([("a", "b")]).unwrap(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            uid: None,
        }
    }

    impl Pages for Shelf {
        fn page(&self, _: &[Matcher], from: i64, to: i64, limit: usize) -> Result<Vec<LogRecord>, Fault> {
            let within = self.times.iter().enumerate().filter(|(_, at)| (from..to).contains(at));
            let page: Vec<LogRecord> = within.take(limit).map(|(i, at)| record(*at, i)).collect();
            if page.len() > self.most { Err(Fault::TooLarge) } else { Ok(page) }
        }

        fn has_label(&self, _: &str) -> bool {
            true
        }

        fn limit(&self) -> usize {
            self.limit
        }

        fn too_large(&self) -> ReadError {
            refused("shelf", "too large".into())
        }
    }

    fn walked(shelf: &Shelf, to: i64) -> Result<BTreeMap<String, i64>, ReadError> {
        let mut all = BTreeMap::new();
        walk(shelf, "shelf", &[], (0, to), &mut |records| {
            all.extend(records.into_iter().map(|one| (one.body, one.time.as_nanos())));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn more_of_one_time_than_a_page_holds_are_named() {
        let shelf = Shelf { times: vec![5; 7], limit: 7, most: 99 };
        let error = walked(&shelf, 10).unwrap_err().to_string();
        assert!(
            error.contains("7 records or more are of one time, 1970-01-01T00:00:00.000000005Z"),
            "{error}"
        );
        assert!(walked(&Shelf { times: vec![5; 6], ..shelf }, 10).unwrap().len() == 6);
    }

    #[test]
    fn answers_that_are_too_large_are_asked_for_in_parts() {
        let shelf = Shelf { times: (0..1000).collect(), limit: 500, most: 120 };
        assert_eq!(walked(&shelf, 5000).unwrap().len(), 1000);
        let error = walked(&Shelf { most: 50, ..shelf }, 5000).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
    }

    proptest! {
        #[test]
        fn no_record_is_lost(mut times in proptest::collection::vec(0_i64..40, 0..120), to in 1_i64..50) {
            times.sort_unstable();
            let most = times.chunk_by(|a, b| a == b).map(<[i64]>::len).max().unwrap_or(0);
            let shelf = Shelf { times: times.clone(), limit: most + 1, most: usize::MAX };
            let want: BTreeMap<String, i64> = times
                .iter()
                .enumerate()
                .filter(|(_, at)| **at < to)
                .map(|(i, at)| (format!("n {i}"), *at))
                .collect();
            prop_assert_eq!(walked(&shelf, to).unwrap(), want);
        }
    }
}
