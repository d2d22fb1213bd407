//! Every answer equals that of a look at each record, wherever the records are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::query::{Node, number};
use super::rows::{id_of, write_value};
use super::testing::records;
use super::*;
use crate::append::LogBatch;
use crate::disk::{Disk, MemDisk};
use crate::metrics::Target;
use crate::metrics::segment::window_of;
use crate::model::severity_word;
use crate::model::{LogRecord, ManualClock, Matcher, TenantId, TimeRange, Timestamp};
use crate::read::{Budget, Limits};
use crate::segment::SegmentIds;

/// A tenant's logs on a disk in memory.
struct Place {
    disk: Arc<MemDisk>,
    target: Target,
    logs: TenantLogs,
}

impl Place {
    fn new() -> Self {
        let disk = Arc::new(MemDisk::default());
        let ids = SegmentIds::after(0);
        let target = Target {
            disk: Arc::clone(&disk) as Arc<dyn Disk>,
            tenant: TenantId::default(),
            ids,
            sequence: 1,
        };
        let templates = Arc::<SharedTemplates>::default();
        let logs = TenantLogs {
            head: Arc::new(Head::new(Arc::clone(&templates))),
            frozen: Vec::new(),
            segments: Vec::new(),
            missing: Vec::new(),
            templates,
        };
        Self { disk, target, logs }
    }

    fn append(&self, records: &[LogRecord]) {
        self.logs.head.append_batch(&LogBatch { records: records.to_vec() });
    }

    fn open(&self, meta: crate::segment::SegmentMeta) -> Arc<Segment> {
        segment::open(&self.target.disk, meta).unwrap()
    }

    /// Seals the head. The one that follows remembers nothing, as after a restart.
    fn seal(&mut self) {
        let frozen = self.logs.head.freeze();
        self.target.sequence += 1;
        let metas = segment::write(&self.target, &frozen, &self.logs.segments).unwrap();
        let new: Vec<_> = metas.into_iter().map(|meta| self.open(meta)).collect();
        self.logs.segments.extend(new);
        self.logs.head = Arc::new(Head::new(Arc::clone(&self.logs.templates)));
    }

    fn merge(&mut self) {
        let mut windows: BTreeMap<i64, Vec<Arc<Segment>>> = BTreeMap::new();
        for segment in self.logs.segments.drain(..) {
            windows.entry(segment.meta().window.start).or_default().push(segment);
        }
        for (start, inputs) in windows {
            let n: u64 = inputs.iter().map(|s| s.meta().n_rows).sum();
            let meta = merge(&self.target, &inputs, window_of(start, segment::WINDOW_MS), 1).unwrap();
            assert_eq!(meta.n_rows, n, "inputs hold no record twice");
            let merged = self.open(meta);
            self.logs.segments.push(merged);
        }
    }

    /// Opens all segments again, with their indexes as `change` leaves them.
    fn with_indexes(&mut self, change: impl Fn(&MemDisk, &Path)) {
        let metas: Vec<_> = self.logs.segments.drain(..).map(|s| s.meta().clone()).collect();
        for meta in metas {
            change(&self.disk, &meta.files[1].path);
            let segment = self.open(meta);
            self.logs.segments.push(segment);
        }
    }
}

fn budget() -> Budget {
    Budget::new(Limits::default(), Arc::new(ManualClock::at(Timestamp::default())))
}

/// The text of a field, found without any of the code that searches.
fn field(record: &LogRecord, name: &str) -> Option<String> {
    let own = record.attributes.iter().find(|(n, _)| n == name);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match name {
        "severity" if severity_word(record.severity_number).is_empty() => {
            return Some(record.severity_text.clone());
        }
        "severity" => return Some(severity_word(record.severity_number).into()),
        "trace_id" if own.is_none() => return record.trace_id.map(|id| hex(&id)),
        "span_id" if own.is_none() => return record.span_id.map(|id| hex(&id)),
        _ => {}
    }
    if let Some((_, value)) = own {
        let mut text = String::new();
        write_value(value, &mut text);
        return Some(text);
    }
    type Raw<'a> = BTreeMap<&'a str, &'a serde_json::value::RawValue>;
    if let Ok(object) = serde_json::from_str::<Raw<'_>>(&record.body)
        && let Some(raw) = object.get(name)
    {
        return Some(serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned()));
    }
    if record.body.starts_with("level=") && record.body.contains(" ts=") {
        let key = format!("{name}=");
        let at = if record.body.starts_with(&key) {
            Some(key.len())
        } else {
            record.body.find(&format!(" {key}")).map(|at| at + 1 + key.len())
        };
        if let Some(at) = at {
            let rest = &record.body[at..];
            let text = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => rest.split(' ').next(),
            };
            return text.map(str::to_owned);
        }
    }
    record.labels.get(name).map(str::to_owned)
}

fn matches(node: &Node, record: &LogRecord) -> bool {
    let mut scratch = query::Scratch::default();
    match node {
        Node::All => true,
        Node::Body(test) => test.matches(&record.body, &mut scratch),
        Node::Field(name, test) => field(record, name).is_some_and(|text| test.matches(&text, &mut scratch)),
        Node::And(parts) => parts.iter().all(|p| matches(p, record)),
        Node::Or(parts) => parts.iter().any(|p| matches(p, record)),
        Node::Not(part) => !matches(part, record),
    }
}

fn selects(select: &LogSelect, record: &LogRecord) -> bool {
    select.range.contains(record.time)
        && select.matchers.iter().all(|m| m.matches_labels(&record.labels))
        && matches(select.query.root(), record)
}

/// Regular expressions about words that the records have, of all forms that are decided by letters, or are not.
fn expression() -> impl Strategy<Value = String> {
    use proptest::sample::select;
    let before = select(&["", "", "[0-9]+ ", ".*", r"\b", "^", "x?", "(a|user) ", "[^ ]", r#"""#][..]);
    let core = select(
        &[
            "time",
            "error",
            "user",
            "登录失败",
            "录失",
            "out",
            "(?i:ERROR)",
            "(user|GET|time)",
            "us",
            "serti",
            "[a-z]+",
        ][..],
    );
    let after =
        select(&["", "", r" \d+", "[0-9]", r"\b", "$", " .*out", "(1|2)", r"\S*$", " out", "123", r"\n"][..]);
    (before, core, after).prop_map(|(before, core, after)| format!("/{before}{core}{after}/"))
}

/// Searches in words that the records have.
fn query_text() -> impl Strategy<Value = String> {
    let term = prop_oneof![
        Just("error".to_owned()),
        Just("\"time out\"".to_owned()),
        Just("登录失败".to_owned()),
        "(us|user1|tim|err|out)\\*",
        Just("get".to_owned()),
        expression(),
        expression().prop_map(|e| format!("msg:{e}")),
        "msg:(tim\\*|us\\*|\"time out\"|\"out user\"|12time|u0075ser|登录失败)",
        Just("/[0-9]{2}ms|a\\/1/".to_owned()),
        "[0-9]{1,2}",
        "[a-f0-9]{1,2}\\*",
        Just("10.0.0.5".to_owned()),
        "level:[a-c]",
        "(a|b|c|n|f|ts):(>|<=)[0-9]{1,2}",
        "[abc]:[abc]\\*",
        "[abcn]:\\*",
        "msg:(user|error|out)",
        "job:[ab]",
        "severity:(error|warn|info)",
        "host:x",
        Just("a:/^[ab]/".to_owned()),
        "c:=ab",
        Just("trace_id:0*".to_owned()),
        Just("things".to_owned()),
    ];
    term.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT {a}")),
        ]
    })
}

fn select() -> impl Strategy<Value = LogSelect> {
    let matchers = proptest::collection::vec(
        prop_oneof![
            Just(Matcher::equal("job", "a")),
            Just(Matcher::equal("host", "")),
            Just(Matcher::equal("host", "x"))
        ],
        0..2,
    );
    let range = prop_oneof![
        Just(TimeRange::ALL),
        (0..100i64, 1..60i64).prop_map(|(from, n)| {
            TimeRange::new(Timestamp::from_millis(from), Timestamp::from_millis(from + n))
                .expect("n is positive")
        })
    ];
    (query_text(), matchers, range).prop_map(|(text, matchers, range)| LogSelect {
        query: Query::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}")),
        matchers,
        range,
    })
}

/// Asks all questions and compares with a look at each record of `all`, which holds none twice.
fn check(logs: &TenantLogs, all: &[LogRecord], select: &LogSelect, place: &str) {
    let mut want: Vec<&LogRecord> = all.iter().filter(|r| selects(select, r)).collect();
    want.sort_by_key(|r| id_of(r));
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut after = None;
        let mut got = Vec::new();
        loop {
            let page = logs.search(select, &PageRequest { order, limit: 3, after }, &budget()).unwrap();
            assert_eq!(page.missing, Vec::<String>::new(), "{place}");
            got.extend(page.records);
            after = page.next;
            if after.is_none() {
                break;
            }
            assert_eq!(after, got.last().map(|r| r.id));
        }
        if order == Order::NewestFirst {
            got.reverse();
        }
        let got: Vec<&LogRecord> = got.iter().map(|r| &r.record).collect();
        assert_eq!(got, want, "{place}: {select:?}");
    }
    let intervals = Intervals { start: Timestamp::from_millis(7), step: Duration::from_millis(20), n: 4 };
    let by = [GroupBy::Severity, GroupBy::Field("level".into())];
    let mut counts: BTreeMap<Vec<String>, Vec<u64>> = BTreeMap::new();
    let mut numbers = vec![Vec::new(); intervals.n];
    for record in &want {
        let Some(at) = intervals.index(record.time) else { continue };
        let key = vec![
            severity_word(record.severity_number).to_owned(),
            field(record, "level").unwrap_or_default(),
        ];
        counts.entry(key).or_insert_with(|| vec![0; intervals.n])[at] += 1;
        numbers[at].extend(field(record, "n").and_then(|text| number(&text)));
    }
    let got = logs.count(select, intervals, &by, &budget()).unwrap();
    let got: BTreeMap<_, _> = got.groups.into_iter().map(|g| (g.key, g.counts)).collect();
    assert_eq!(got, counts, "{place}: {select:?}");
    let mut got = logs.numbers(select, intervals, "n", &budget()).unwrap().values;
    for list in got.iter_mut().chain(&mut numbers) {
        list.sort_by(f64::total_cmp);
    }
    assert_eq!(got, numbers, "{place}: {select:?}");
    let patterns = logs.patterns(select, usize::MAX, &budget()).unwrap().patterns;
    assert_eq!(patterns.iter().map(|p| p.count).sum::<u64>(), want.len() as u64, "{place}");
}

/// A search for a template's id finds what a look at each record's template finds.
fn check_templates(logs: &TenantLogs, all: &[LogRecord], place: &str) {
    let find = |text: &str| {
        let query = Query::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let select = LogSelect { query, matchers: Vec::new(), range: TimeRange::ALL };
        let page = PageRequest { order: Order::OldestFirst, limit: usize::MAX, after: None };
        let found = logs.search(&select, &page, &budget()).unwrap().records;
        let step = Duration::from_secs(4_000_000_000);
        let intervals = Intervals { start: Timestamp::default(), step, n: 1 };
        let counts = logs.count(&select, intervals, &[], &budget()).unwrap();
        assert_eq!(counts.groups.first().map_or(0, |g| g.total()), found.len() as u64, "{place}: {text}");
        found
    };
    let found = find("*");
    assert_eq!(found.len(), all.len(), "{place}");
    let ids = |records: &[FoundRecord]| records.iter().map(|r| r.id).collect::<Vec<_>>();
    let with = |keep: &dyn Fn(&FoundRecord) -> bool| {
        found.iter().filter(|r| keep(r)).map(|r| r.id).collect::<Vec<_>>()
    };
    let templates: BTreeSet<_> = found.iter().map(|r| r.template).collect();
    for id in &templates {
        assert_eq!(ids(&find(&format!("pattern:{id}"))), with(&|r| r.template == *id), "{place} {id}");
        assert_eq!(ids(&find(&format!("pattern:=\"{id}\""))), with(&|r| r.template == *id), "{place} {id}");
        let either = with(&|r| r.template == *id || r.record.severity_number >= 17);
        assert_eq!(ids(&find(&format!("pattern:{id} OR severity_number:>=17"))), either, "{place} {id}");
        assert_eq!(ids(&find(&format!("NOT pattern:{id}"))), with(&|r| r.template != *id), "{place} {id}");
    }
    let text: Vec<String> = templates.iter().map(ToString::to_string).collect();
    if let Some(first) = text.first() {
        assert_eq!(ids(&find(&format!("pattern:({})", text.join(" OR ")))), ids(&found), "{place}");
        let begins = with(&|r| r.template.to_string().starts_with(&first[..2]));
        assert_eq!(ids(&find(&format!("pattern:{}*", &first[..2]))), begins, "{place}");
    }
    assert_eq!(find("pattern:0123456789abcdef").len(), 0, "{place}");
    assert_eq!(ids(&find("pattern:*")), ids(&found), "{place}");
}

fn check_context(logs: &TenantLogs, all: &[LogRecord], place: &str) {
    let Some(middle) = all.get(all.len() / 2) else { return };
    let mut stream: Vec<&LogRecord> = all.iter().filter(|r| r.labels == middle.labels).collect();
    stream.sort_by_key(|r| id_of(r));
    let at = stream.iter().position(|r| *r == middle).unwrap();
    let want = &stream[at.saturating_sub(2)..(at + 3).min(stream.len())];
    let got = logs.context(id_of(middle), 2, 2, &budget()).unwrap().records;
    assert_eq!(got.iter().map(|r| &r.record).collect::<Vec<_>>(), want, "{place}");
    let streams = logs.streams(&[], TimeRange::ALL, &budget()).unwrap();
    let want: BTreeSet<_> = all.iter().map(|r| r.labels.clone()).collect();
    assert_eq!(streams, want.into_iter().collect::<Vec<_>>(), "{place}");
}

fn unique(records: &[LogRecord]) -> Vec<LogRecord> {
    let mut seen = BTreeSet::new();
    records.iter().filter(|r| seen.insert(id_of(r))).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn searches_equal_a_look_at_each_record(
        early in records(25),
        late in records(25),
        selects in proptest::collection::vec(select(), 1..6),
    ) {
        let all = unique(&[early.clone(), late.clone()].concat());
        let place = Place::new();
        place.append(&early);
        place.append(&late);
        let each = |place: &Place, name: &str| {
            selects.iter().for_each(|select| check(&place.logs, &all, select, name));
            check_context(&place.logs, &all, name);
            check_templates(&place.logs, &all, name);
        };
        each(&place, "head");

        let mut place = Place::new();
        place.append(&early);
        place.seal();
        // Some of what is sealed comes again.
        place.append(&early[..early.len() / 2]);
        place.append(&late);
        each(&place, "segments and head");
        place.seal();
        each(&place, "segments");
        place.merge();
        each(&place, "merged segments");
        place.with_indexes(|disk, index| disk.damage(index, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }));
        each(&place, "damaged indexes");
        place.with_indexes(|disk, index| disk.remove(index).unwrap());
        each(&place, "no indexes");
        let metas: Vec<_> = place.logs.segments.drain(..).map(|s| segment::rebuild_index(&s).unwrap()).collect();
        place.logs.segments = metas.into_iter().map(|meta| place.open(meta)).collect();
        each(&place, "indexes made anew");
        prop_assert!(place.logs.segments.iter().all(|s| s.has_index()));
        // One that was written for other rows.
        let other = Place::new();
        other.append(&[plain(1, "other 5 rows")]);
        let mut other = other;
        other.seal();
        let stale = other.disk.read(&other.logs.segments[0].meta().files[1].path).unwrap();
        place.with_indexes(|disk, index| disk.damage(index, |bytes| *bytes = stale.to_vec()));
        each(&place, "stale indexes");
        prop_assert!(place.logs.segments.iter().all(|s| !s.has_index()));
    }
}

/// A record as a program writes it; `n` makes them differ.
fn plain(n: i64, body: &str) -> LogRecord {
    LogRecord {
        time: Timestamp::from_millis(n),
        observed_time: Timestamp::from_millis(n),
        severity_number: 9,
        severity_text: String::new(),
        body: body.into(),
        labels: crate::model::Labels::from_pairs([("job", "a")]).unwrap(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        uid: None,
    }
}

/// More rows than one row group and one index block have.
#[test]
fn large_segments_find_a_needle_and_merge() {
    let mut place = Place::new();
    let body = |n: i64| match n % 4 {
        0 => format!("user u{} logged in from 10.0.0.{}", n % 97, n % 250),
        1 => format!("{{\"level\":\"info\",\"trace\":\"{:032x}\",\"took\":{}.{}}}", n * 7919, n % 50, n % 10),
        2 => format!("read /var/data/{}/part{} in {}ms", n % 13, n % 3, n % 500),
        _ => "heartbeat".to_owned(),
    };
    let n_half = 40_000i64;
    let mut all: Vec<LogRecord> = (0..2 * n_half).map(|n| plain(n, &body(n))).collect();
    all[31_234].body = "a needle in here".into();
    let (first, second) = all.split_at(n_half as usize);
    place.append(first);
    place.seal();
    place.append(second);
    place.seal();
    let select = |text: &str| LogSelect {
        query: Query::parse(text).unwrap(),
        matchers: Vec::new(),
        range: TimeRange::ALL,
    };
    let trace = format!("{:032x}", 1001 * 7919);
    let searches = [
        "needle",
        "u42",
        "heartbeat",
        trace.as_str(),
        "took:>49",
        "\"part2 in 46ms\"",
        "var NOT part1",
        "level:info",
        "need*",
        "/part[12] in 4[0-9]ms/",
        r"/from 10\.0\.0\.2\d$/",
        r"/^a \w+ in/",
        "/(?i)NEEDLE|user u4[0-3] /",
        "user NOT u42",
    ];
    for round in ["sealed", "merged"] {
        for text in searches {
            let select = select(text);
            let want = all.iter().filter(|r| selects(&select, r)).count() as u64;
            let step = Duration::from_secs(4_000_000_000);
            let intervals = Intervals { start: Timestamp::default(), step, n: 1 };
            let got = place.logs.count(&select, intervals, &[], &budget()).unwrap();
            assert_eq!(got.groups.first().map_or(0, |g| g.counts[0]), want, "{round} {text}");
            assert!(want > 0, "{text}");
        }
        let page = PageRequest { order: Order::NewestFirst, limit: 100, after: None };
        let got = place.logs.search(&select("read"), &page, &budget()).unwrap();
        let want: Vec<&LogRecord> =
            all.iter().rev().filter(|r| r.body.starts_with("read")).take(100).collect();
        assert_eq!(got.records.iter().map(|r| &r.record).collect::<Vec<_>>(), want, "{round}");
        place.merge();
    }
    assert_eq!(place.logs.segments.len(), 1);
}

#[test]
fn a_damaged_file_of_rows_is_an_error_or_partial_and_never_a_wrong_answer() {
    let mut place = Place::new();
    let all: Vec<LogRecord> = (0..300).map(|n| plain(n, &format!("line {n} of {}", n % 7))).collect();
    place.append(&all);
    place.seal();
    let meta = place.logs.segments[0].meta().clone();
    let select =
        LogSelect { query: Query::parse("line").unwrap(), matchers: Vec::new(), range: TimeRange::ALL };
    let n_bytes = meta.files[0].bytes as usize;
    let mut n_noticed = 0;
    for at in (0..n_bytes).step_by(17) {
        place.disk.damage(&meta.files[0].path, |bytes| bytes[at] ^= 0x10);
        place.logs.segments = vec![place.open(meta.clone())];
        let page = PageRequest { order: Order::OldestFirst, limit: 1000, after: None };
        match place.logs.search(&select, &page, &budget()) {
            Err(_) => n_noticed += 1,
            Ok(page) if !page.missing.is_empty() => n_noticed += 1,
            // What Parquet does not checksum may come back changed; the catalog's checksum finds it.
            Ok(page) => assert!(page.records.len() <= all.len()),
        }
        place.disk.damage(&meta.files[0].path, |bytes| bytes[at] ^= 0x10);
    }
    assert!(n_noticed > 0);
}

/// Which pattern a line has hangs on the words that came before it; which record it is does not.
#[test]
fn a_record_that_comes_again_under_another_pattern_is_known() {
    let line = |n: i64, user: &str| plain(n, &format!("login by user {user}"));
    let all: Vec<LogRecord> =
        ["ann", "bob", "eve", "joe", "sam", "tim"].iter().zip(1..).map(|(u, n)| line(n, u)).collect();
    let mut place = Place::new();
    place.append(&all);
    place.seal();
    // Another process, which knows other words.
    place.logs.templates = Arc::default();
    place.logs.head = Arc::new(Head::new(Arc::clone(&place.logs.templates)));
    let others: Vec<LogRecord> =
        ["kim", "lea", "max", "pia"].iter().zip(101..).map(|(u, n)| line(n, u)).collect();
    place.append(&others);
    place.append(&all);
    let select = LogSelect { query: Query::all(), matchers: Vec::new(), range: TimeRange::ALL };
    let whole = [all, others].concat();
    check(&place.logs, &whole, &select, "segment and head");
    let page = PageRequest { order: Order::OldestFirst, limit: 100, after: None };
    let before = place.logs.search(&select, &page, &budget()).unwrap().records;
    place.seal();
    check(&place.logs, &whole, &select, "segments");
    place.merge();
    check(&place.logs, &whole, &select, "merged");
    assert_eq!(before.len(), whole.len());
}

#[test]
fn a_template_id_goes_on_finding_when_its_template_joins_another() {
    let place = Place::new();
    let find = |text: &str| {
        let query = Query::parse(text).unwrap();
        let select = LogSelect { query, matchers: Vec::new(), range: TimeRange::ALL };
        let page = PageRequest { order: Order::OldestFirst, limit: 1000, after: None };
        place.logs.search(&select, &page, &budget()).unwrap().records
    };
    // Words that are values after all: the more of them come, the more templates become one.
    let mut noted = BTreeSet::new();
    for (n, user) in ["ann", "bob", "eve", "joe", "sam", "tim"].iter().enumerate() {
        place.append(&[plain(n as i64, &format!("login by user {user}"))]);
        noted.extend(find("*").iter().map(|r| r.template));
    }
    let all = find("*");
    let now: BTreeSet<_> = all.iter().map(|r| r.template).collect();
    assert!(now.len() < noted.len(), "no template joined another: {now:?} {noted:?}");
    for id in noted {
        let current = place.logs.templates.current(id).expect("it was given out");
        let want: Vec<_> = all.iter().filter(|r| r.template == current).map(|r| r.id).collect();
        assert_eq!(find(&format!("pattern:{id}")).iter().map(|r| r.id).collect::<Vec<_>>(), want, "{id}");
    }
}

#[test]
fn an_attribute_called_pattern_is_searched_as_well() {
    let place = Place::new();
    let mut record = plain(1, "a request");
    record.attributes.push(("pattern".into(), crate::model::AttributeValue::String("/cart/{id}".into())));
    place.append(&[record, plain(2, "another one here")]);
    let count = |text: &str| {
        let query = Query::parse(text).unwrap();
        let select = LogSelect { query, matchers: Vec::new(), range: TimeRange::ALL };
        let page = PageRequest { order: Order::OldestFirst, limit: 10, after: None };
        place.logs.search(&select, &page, &budget()).unwrap().records.len()
    };
    assert_eq!(
        (count("pattern:cart"), count("pattern:=\"/cart/{id}\""), count("NOT pattern:cart")),
        (1, 1, 1)
    );
}

/// A search finds something, and what a look at each record finds.
fn check_found(place: &Place, all: &[LogRecord], text: &str, round: &str) {
    let query = Query::parse(text).unwrap();
    let select = LogSelect { query, matchers: Vec::new(), range: TimeRange::ALL };
    let mut want: Vec<_> = all.iter().filter(|r| selects(&select, r)).collect();
    want.sort_by_key(|r| id_of(r));
    let page = PageRequest { order: Order::OldestFirst, limit: usize::MAX, after: None };
    let got = place.logs.search(&select, &page, &budget()).unwrap().records;
    assert_eq!(got.iter().map(|r| &r.record).collect::<Vec<_>>(), want, "{round}: {text}");
    assert!(!want.is_empty(), "{text}");
}

/// What is rare in random records: many places for one match, ids that no digit marks, words that are cut.
#[test]
fn rare_forms_are_found_in_segments() {
    let mut place = Place::new();
    let bodies = [
        format!("say {}q1 now", "xyz-".repeat(300)),
        format!("say {}now", "xyz-".repeat(300)),
        format!("open @scope/{}1error done", "\u{212a}".repeat(42)),
        format!("{{\"msg\":\"say {}q2\",\"n\":1}}", "xyz-".repeat(300)),
        "plain".to_owned(),
    ];
    let mut all: Vec<LogRecord> = (0..).zip(&bodies).map(|(n, body)| plain(n, body)).collect();
    all[4].span_id = Some([0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 0xab, 0xcd]);
    place.append(&all);
    for round in ["head", "sealed", "merged"] {
        for text in [
            "/xyz.*q[0-9]/",
            "msg:/xyz.*q2/",
            "/error/",
            "/(?i)ERROR d/",
            "span_id:abcdefabcdefabcd",
            "say NOT /q[0-9]/",
            "xy*",
        ] {
            check_found(&place, &all, text, round);
        }
        if round == "head" { place.seal() } else { place.merge() }
    }
}

/// Thousands of names make neither thousands of columns nor a shape for each record.
#[test]
fn records_of_thousands_of_attribute_names_have_few_columns() {
    use crate::model::AttributeValue;
    let mut place = Place::new();
    let random = crate::model::SeededRandom::new(11);
    let below = |n: u64| crate::model::Random::next_u64(&random) % n;
    let mut all: Vec<LogRecord> = (0..6000)
        .map(|n| {
            let mut record = plain(n, &format!("request {n} done"));
            record.attributes.push(("status".into(), AttributeValue::Int(200 + n % 3)));
            for at in 0..10 {
                let name = format!("key_{}", below(5000));
                if record.attributes.iter().all(|a| a.0 != name) {
                    record.attributes.push((name, AttributeValue::Double(n as f64 / 8.0)));
                }
                if at == 4 {
                    record
                        .attributes
                        .push(("user".into(), AttributeValue::String(format!("u\"{}\n", n % 50))));
                }
            }
            record
        })
        .collect();
    // One that has them all.
    let mut rich = plain(6000, "everything at once");
    rich.attributes = (0..5000).map(|n| (format!("key_{n}"), AttributeValue::Int(n))).collect();
    all.push(rich);
    let names: BTreeSet<_> = all.iter().flat_map(|r| &r.attributes).map(|a| a.0.clone()).collect();
    assert!(names.len() > 5000);
    for part in all.chunks(3000) {
        place.append(part);
        let blocks = place.logs.head.blocks();
        let tables = blocks.last().unwrap().tables.clone();
        assert!(tables.shapes.len() < 120, "{} shapes", tables.shapes.len());
        let own =
            |name: &str| tables.shapes.iter().filter(|s| s.attributes.iter().any(|a| a.0 == name)).count();
        assert!(own("status") + 1 >= tables.shapes.len() && own("user") + 1 >= tables.shapes.len());
        place.seal();
    }
    let searches =
        ["key_17:*", "key_4711:>100", "status:201 user:u", "key_3:=\"3\"", "NOT key_5:* status:200"];
    for round in ["sealed", "merged"] {
        for segment in &place.logs.segments {
            let n_columns = segment.n_columns().unwrap();
            assert!(n_columns < 256, "{n_columns} columns, {round}");
        }
        for text in searches {
            check_found(&place, &all, text, round);
        }
        place.merge();
    }
}

/// What is counted is counted without the variables of bodies: with these damaged, counts are as before.
#[test]
fn counts_read_no_bodies() {
    let mut place = Place::new();
    let all: Vec<LogRecord> = (0..900)
        .map(|n| LogRecord {
            severity_number: [9, 17][n as usize % 2],
            ..plain(n, &format!("read {n} of {}", n % 7))
        })
        .collect();
    place.append(&all);
    place.seal();
    let select = |text: &str| LogSelect {
        query: Query::parse(text).unwrap(),
        matchers: Vec::new(),
        range: TimeRange::ALL,
    };
    let intervals = Intervals { start: Timestamp::default(), step: Duration::from_millis(100), n: 9 };
    let keys = [GroupBy::Severity, GroupBy::Template, GroupBy::Pattern, GroupBy::Field("job".into())];
    let count = |place: &Place, text: &str| place.logs.count(&select(text), intervals, &keys, &budget());
    let words = ["*", "read", "severity:error", "NOT severity:error", "job:a"];
    let before: Vec<_> = words.iter().map(|text| count(&place, text).unwrap().groups).collect();
    let meta = place.logs.segments[0].meta().clone();
    let places = place.logs.segments[0].slot_places().unwrap();
    assert!(!places.is_empty());
    place.disk.damage(&meta.files[0].path, |bytes| {
        places.iter().for_each(|(start, len)| bytes[(start + len / 2) as usize] ^= 1);
    });
    place.logs.segments = vec![place.open(meta)];
    for (text, want) in words.iter().zip(before) {
        assert_eq!(count(&place, text).unwrap().groups, want, "{text}");
        assert_eq!(want.iter().map(|group| group.total()).sum::<u64>() % 450, 0, "{text}");
    }
    let page = PageRequest { order: Order::NewestFirst, limit: 1, after: None };
    assert!(place.logs.search(&select("*"), &page, &budget()).is_err(), "bodies are damaged");
}

/// The same for names of fields of JSON lines.
#[test]
fn json_lines_of_thousands_of_field_names_have_few_columns() {
    let mut place = Place::new();
    let random = crate::model::SeededRandom::new(12);
    let below = |n: u64| crate::model::Random::next_u64(&random) % n;
    let all: Vec<LogRecord> = (0..2000)
        .map(|n| {
            let mut object = serde_json::Map::new();
            object.insert("level".into(), ["info", "warn"][n as usize % 2].into());
            (0..10).for_each(|_| drop(object.insert(format!("key_{}", below(5000)), below(1000).into())));
            plain(n, &serde_json::Value::Object(object).to_string())
        })
        .collect();
    for part in all.chunks(1000) {
        place.append(part);
        place.seal();
    }
    for round in ["sealed", "merged"] {
        for segment in &place.logs.segments {
            let n_columns = segment.n_columns().unwrap();
            assert!(n_columns < 64, "{n_columns} columns, {round}");
        }
        for text in ["key_17:*", "key_4711:>100 OR key_4712:<500", "level:warn NOT key_5:*"] {
            check_found(&place, &all, text, round);
        }
        place.merge();
    }
}
