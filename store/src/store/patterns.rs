//! Keeps the patterns of log lines in the catalog, in the order in which they came, and the headers that lines have.
//!
//! Ids of templates hang on that order. What is to be kept is written before the heads that it came with
//! are sealed; what comes after it is in the write-ahead log, and comes again in the same order.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Frozen, Inner, OpenError, StoreError};
use crate::catalog::Catalog;
use crate::logs::SharedTemplates;
use crate::model::TenantId;
use crate::pattern::Header;
use crate::records::{Change, Document, Expect, Page, RecordsError};

/// Documents of this kind hold patterns; their ids are the number of the first one.
const KIND: &str = "greylight.patterns";
/// The document of this kind, with this id, holds the headers of lines by service.
const HEADERS_KIND: &str = "greylight.headers";
const HEADERS_ID: &str = "all";
const VERSION: u8 = 1;
/// Patterns of one document.
const DOCUMENT_PATTERNS: usize = 4096;
/// No document is longer when it is unpacked: a pattern is at most as long as a record.
const DOCUMENT_BYTES_MAX: usize = 1 << 30;

/// What was saved for one tenant.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) tenant: TenantId,
    /// In the order in which they came.
    pub(super) patterns: Vec<String>,
    /// The number that the next one has.
    pub(super) next: usize,
    /// By service.
    pub(super) headers: Vec<(u64, Vec<Header>)>,
}

/// A service's hash in hexadecimal digits, and its headers as text.
type HeadersDoc = Vec<(String, Vec<String>)>;

/// Reads what was saved. Without a document that is damaged, ids of templates may be others than before; that is no
/// reason to answer nothing at all.
pub(super) async fn load(catalog: &dyn Catalog) -> Result<Vec<Saved>, OpenError> {
    let mut all = Vec::new();
    for tenant in catalog.tenants().await.map_err(unread)? {
        let documents = catalog.documents(&tenant, KIND, &Page::default()).await.map_err(unread)?;
        let headers = catalog.document(&tenant, HEADERS_KIND, HEADERS_ID).await.map_err(unread)?;
        let mut saved = Saved { tenant, patterns: Vec::new(), next: 0, headers: Vec::new() };
        if let Some(document) = headers {
            check_version(&document)?;
            match unpack(&document.body).and_then(read_headers) {
                Ok(headers) => saved.headers = headers,
                Err(why) => {
                    tracing::error!(tenant = %saved.tenant, why, "saved headers of lines are damaged")
                }
            }
        }
        for document in documents {
            let first = usize::from_str_radix(&document.id, 16).unwrap_or(saved.next);
            check_version(&document)?;
            match unpack::<Vec<String>>(&document.body) {
                Ok(patterns) => {
                    saved.next = saved.next.max(first + patterns.len());
                    saved.patterns.extend(patterns);
                }
                Err(why) => {
                    saved.next = saved.next.max(first.saturating_add(DOCUMENT_PATTERNS));
                    tracing::error!(tenant = %saved.tenant, document = document.id, why, "saved patterns are damaged");
                }
            }
        }
        if saved.next > 0 || !saved.headers.is_empty() {
            all.push(saved);
        }
    }
    Ok(all)
}

fn check_version(document: &Document) -> Result<(), OpenError> {
    match document.body.first() {
        Some(&version) if version > VERSION => {
            let path = format!("document {} {}", document.kind, document.id).into();
            Err(OpenError::Newer { path, found: version.into(), known: VERSION.into() })
        }
        _ => Ok(()),
    }
}

fn read_headers(doc: HeadersDoc) -> Result<Vec<(u64, Vec<Header>)>, String> {
    let read = |(service, headers): (String, Vec<String>)| {
        let service = u64::from_str_radix(&service, 16).map_err(|e| format!("service {service}: {e}"))?;
        let headers = headers.iter().map(|text| text.parse().map_err(|e| format!("{e}")));
        Ok((service, headers.collect::<Result<_, String>>()?))
    };
    doc.into_iter().map(read).collect()
}

fn unread(error: RecordsError) -> OpenError {
    match error {
        RecordsError::Catalog(error) => OpenError::Catalog(error),
        error => OpenError::Log(std::io::Error::other(error)),
    }
}

impl Inner {
    /// Saves the patterns that came with frozen heads, and any that came since.
    pub(super) async fn save_patterns(self: &Arc<Self>, frozen: &Frozen) -> Result<(), StoreError> {
        for part in frozen.tenants.iter().filter(|part| part.logs.is_some()) {
            let view = self.current.snapshot.load().tenants.get(&part.tenant).cloned();
            let Some(view) = view else { continue };
            let templates = Arc::clone(&view.logs.templates);
            // A folder that has none saved: the order that its segments give is the one to keep.
            let learned = tokio::task::spawn_blocking(move || view.logs.learn()).await;
            learned.map_err(|_| StoreError::Died("reading patterns"))?;
            self.save_patterns_of(&part.tenant, &templates).await?;
        }
        Ok(())
    }

    async fn save_patterns_of(
        &self,
        tenant: &TenantId,
        templates: &SharedTemplates,
    ) -> Result<(), StoreError> {
        let (n_saved, patterns) = templates.unsaved();
        let headers = templates.unsaved_headers();
        let failed = |source| StoreError::Disk { doing: "packing patterns of log lines", source };
        let mut changes = Vec::new();
        for (n, part) in patterns.chunks(DOCUMENT_PATTERNS).enumerate() {
            let id = format!("{:016x}", n_saved + n * DOCUMENT_PATTERNS);
            let body = pack(&part).map_err(failed)?;
            changes.push(Change::Put { kind: KIND.into(), id, expect: Expect::Absent, body });
        }
        if let Some(headers) = &headers {
            let texts = |known: &[Header]| known.iter().map(Header::to_string).collect();
            let doc: HeadersDoc =
                headers.iter().map(|(service, known)| (format!("{service:016x}"), texts(known))).collect();
            let body = pack(&doc).map_err(failed)?;
            let (kind, id) = (HEADERS_KIND.into(), HEADERS_ID.into());
            changes.push(Change::Put { kind, id, expect: Expect::Any, body });
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.catalog.change(tenant, &changes, self.env.clock.now()).await.map_err(|error| match error {
            RecordsError::Catalog(error) => StoreError::Catalog(error),
            error => failed(std::io::Error::other(error)),
        })?;
        templates.saved(patterns.len());
        if let Some(headers) = headers {
            templates.saved_headers(headers.iter().map(|(_, known)| known.len()).sum());
        }
        Ok(())
    }
}

/// Version, CRC32C of what follows, a JSON list compressed with zstd.
fn pack(list: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let packed = zstd::bulk::compress(&serde_json::to_vec(list)?, 3)?;
    let mut out = vec![VERSION];
    out.extend(crc32c::crc32c(&packed).to_le_bytes());
    out.extend(packed);
    Ok(out)
}

fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let (head, packed) = body.split_first_chunk::<5>().ok_or("it is cut short")?;
    let [VERSION, sum @ ..] = *head else { return Err("it has no known version".into()) };
    if u32::from_le_bytes(sum) != crc32c::crc32c(packed) {
        return Err("its checksum is wrong".into());
    }
    let mut json = Vec::new();
    zstd::stream::read::Decoder::new(packed)
        .and_then(|decoder| {
            std::io::Read::read_to_end(
                &mut std::io::Read::take(decoder, DOCUMENT_BYTES_MAX as u64),
                &mut json,
            )
        })
        .map_err(|e| format!("it is not compressed as it should be: {e}"))?;
    serde_json::from_slice(&json).map_err(|e| format!("it is no such list: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::LogBatch;
    use crate::logs::{LogSelect, LogSource, Order, PageRequest, Query};
    use crate::model::{Labels, LogRecord, TimeRange, Timestamp};
    use crate::pattern::Learner;
    use crate::read::{Budget, Limits};
    use crate::store::Store;
    use crate::store::tests::{NOW_MS, Rig, log_record};

    #[test]
    fn what_is_packed_comes_back_and_damage_is_noticed() {
        let patterns: Vec<Box<str>> = ["got \0 of \0", "", "登录 \0"].map(Into::into).to_vec();
        let mut packed = pack(&patterns).unwrap();
        assert_eq!(unpack::<Vec<Box<str>>>(&packed).unwrap(), patterns);
        for at in 0..packed.len() {
            packed[at] ^= 1;
            let damaged = |bytes: &[u8]| unpack::<Vec<String>>(bytes).is_err();
            assert!(damaged(&packed) && damaged(&packed[..at]), "{at}");
            packed[at] ^= 1;
        }
    }

    fn record(n: i64, body: String) -> LogRecord {
        log_record(NOW_MS + n, &body)
    }

    /// Template by body.
    fn templates(store: &Store, rig: &Rig) -> Vec<(String, String)> {
        let select = LogSelect { query: Query::all(), matchers: Vec::new(), range: TimeRange::ALL };
        let page = PageRequest { order: Order::OldestFirst, limit: 10_000, after: None };
        let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
        let found = store.reader().search(&TenantId::default(), &select, &page, &budget).unwrap();
        found.records.into_iter().map(|r| (r.record.body, r.template.to_string())).collect()
    }

    /// The order in which words came decides which template is the founder of what they join.
    #[tokio::test(flavor = "multi_thread")]
    async fn ids_of_templates_are_the_same_after_any_end() {
        let mut rig = Rig::new();
        let mut store = rig.open().await;
        let users = ["zoe", "ann", "bob", "eve", "joe", "sam", "tim", "kim", "lea", "max"];
        let tenant = TenantId::default();
        let mut n = 0;
        for round in 0..6 {
            // Later times first, so that the order of times is not that in which they came.
            for user in &users[..(round + 1) * users.len() / 6] {
                n -= 1;
                let records = vec![
                    record(n * 3_600_000, format!("login by user {user}")),
                    record(n, format!("{user} left")),
                ];
                store.appender().logs(&tenant, LogBatch { records }).await.unwrap();
            }
            let before = templates(&store, &rig);
            match round % 3 {
                0 => store.flush().await.unwrap(),
                1 => drop(store.inner.seal().await.unwrap()),
                _ => {}
            }
            assert_eq!(templates(&store, &rig), before, "round {round}, sealed");
            rig.crash(store, 0).await;
            store = rig.open().await;
            assert_eq!(templates(&store, &rig), before, "round {round}, opened again");
        }
        let found = templates(&store, &rig);
        assert!(found.iter().map(|f| &f.1).collect::<std::collections::BTreeSet<_>>().len() < found.len());
        // What was saved is gone or damaged: the store opens, and its answers are whole.
        let damaged = Change::Put {
            kind: KIND.into(),
            id: "0000000000000000".into(),
            expect: Expect::Any,
            body: vec![1, 2, 3],
        };
        store.inner.catalog.change(&tenant, &[damaged], Timestamp::from_millis(NOW_MS)).await.unwrap();
        store.shutdown().await.unwrap();
        let store = rig.open().await;
        let bodies = |found: &[(String, String)]| found.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
        assert_eq!(bodies(&templates(&store, &rig)), bodies(&found));
        store
            .appender()
            .logs(&tenant, LogBatch { records: vec![record(1, "a word never said".into())] })
            .await
            .unwrap();
        store.flush().await.unwrap();
        store.shutdown().await.unwrap();
    }

    /// Templates of messages and how many lines they have, as a list shows them.
    fn messages(store: &Store, rig: &Rig) -> Vec<(String, u64)> {
        let select = LogSelect { query: Query::all(), matchers: Vec::new(), range: TimeRange::ALL };
        let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
        let found = store.reader().patterns(&TenantId::default(), &select, 100, &budget).unwrap();
        found.patterns.into_iter().map(|p| (p.text, p.count)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_pod_of_a_service_has_the_header_of_the_others() {
        let mut rig = Rig::new();
        let tenant = TenantId::default();
        let of_pod = |pod: &str, n: i64, level: &str| {
            let labels = [("service_name", "cart"), ("pod", pod)];
            let body = format!("2024-05-01 12:00:{n:02},5 {level} core.Main: job {n} done");
            LogRecord { labels: Labels::from_pairs(labels).unwrap(), ..record(n, body) }
        };
        let store = rig.open().await;
        let n_taught = Learner::LINES as i64;
        let records = (0..n_taught).map(|n| of_pod("a", n, "INFO")).collect();
        store.appender().logs(&tenant, LogBatch { records }).await.unwrap();
        let taught = messages(&store, &rig);
        assert!(taught.len() == 1 && taught[0].0.contains("INFO"), "{taught:?}");
        let send = async |store: &Store, pod: &str, n| {
            let records = vec![of_pod(pod, n, "INFO"), of_pod(pod, n, "WARN")];
            store.appender().logs(&tenant, LogBatch { records }).await.unwrap();
        };
        send(&store, "b", 31).await;
        let of_message = |n| ("job <*> done".to_owned(), n);
        assert_eq!(messages(&store, &rig), [taught[0].clone(), of_message(2)]);
        // From the log alone, and from the catalog.
        rig.crash(store, 0).await;
        let mut store = rig.open().await;
        for (n, pod) in (2..).zip(["c", "d", "e"]) {
            send(&store, pod, 30 + n).await;
            assert_eq!(messages(&store, &rig).iter().max_by_key(|m| m.0.len()), Some(&taught[0]));
            assert!(
                messages(&store, &rig).contains(&of_message(2 * n as u64)),
                "{:?}",
                messages(&store, &rig)
            );
            match n {
                2 => drop(store.inner.seal().await.unwrap()),
                _ => store.flush().await.unwrap(),
            }
            rig.crash(store, 0).await;
            store = rig.open().await;
        }
        let records = templates(&store, &rig);
        assert_eq!(records.len(), Learner::LINES + 8);
        assert!(records.iter().all(|(body, _)| body.starts_with("2024-05-01 12:00:")));
        store.shutdown().await.unwrap();
    }
}
