//! Tests of this module.

use super::*;
use crate::model::{Clock, ManualClock};
use crate::read::SpanMs;
use crate::records::{Expect, Order, OutboxItem, Records, Transaction};
use crate::segment::{SegmentFile, Table};
use std::sync::Arc;
use std::time::Duration;

async fn catalog() -> (tempfile::TempDir, Arc<dyn Catalog>) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&CatalogAt::Sqlite(folder.path().join("catalog.sqlite"))).await.unwrap();
    (folder, catalog)
}

fn segment(id: u64) -> SegmentMeta {
    SegmentMeta {
        id: SegmentId(id),
        tenant: TenantId::default(),
        table: Table::Metrics,
        level: 0,
        window: SpanMs { start: 0, end: 7_199_999 },
        span: SpanMs { start: -5, end: 10 },
        n_rows: 3,
        n_series: 1,
        sequence: id,
        files: vec![SegmentFile { path: format!("a/{id}").into(), bytes: 7, blake3: [id as u8; 32] }],
    }
}

fn seal(from: u64, to: u64, segments: Vec<SegmentMeta>) -> Seal {
    let metadata = MetricMetadata {
        name: "up".into(),
        kind: crate::append::MetricKind::Gauge,
        help: format!("from {from}"),
        unit: String::new(),
    };
    Seal {
        position_before: from,
        position_after: to,
        segments,
        metadata: vec![(TenantId::default(), metadata)],
    }
}

#[tokio::test]
async fn a_seal_happens_once_and_is_there_after_opening_again() {
    let (folder, catalog) = catalog().await;
    catalog.seal(&seal(0, 5, vec![segment(1), segment(2)]), &|| {}).await.unwrap();
    let again = catalog.seal(&seal(0, 5, vec![segment(3)]), &|| {}).await;
    assert!(matches!(again, Err(CatalogError::Raced(_))), "{again:?}");
    catalog.seal(&seal(5, 9, vec![segment(3)]), &|| {}).await.unwrap();
    catalog.close().await;
    let catalog = open(&CatalogAt::Sqlite(folder.path().join("catalog.sqlite"))).await.unwrap();
    let loaded = catalog.load().await.unwrap();
    assert_eq!(loaded.segments, [segment(1), segment(2), segment(3)]);
    assert_eq!((loaded.wal_position, loaded.last_id), (9, 3));
    assert_eq!(loaded.metadata.len(), 1);
    assert_eq!(loaded.metadata[0].1.help, "from 5");
    catalog.check().await.unwrap();
}

#[tokio::test]
async fn of_two_merges_of_one_segment_one_wins_and_ids_are_not_used_again() {
    let (_folder, catalog) = catalog().await;
    catalog.seal(&seal(0, 5, vec![segment(1), segment(2)]), &|| {}).await.unwrap();
    catalog.replace(&[SegmentId(1), SegmentId(2)], &[segment(3)], &|| {}).await.unwrap();
    let late = catalog.replace(&[SegmentId(2)], &[segment(4)], &|| {}).await;
    assert!(matches!(late, Err(CatalogError::Raced(_))), "{late:?}");
    catalog.quarantine(SegmentId(3), "bit flip").await.unwrap();
    let loaded = catalog.load().await.unwrap();
    assert_eq!(loaded.segments, []);
    assert_eq!(loaded.quarantined, [(segment(3), "bit flip".to_string())]);
    catalog.replace(&[SegmentId(3)], &[], &|| {}).await.unwrap();
    assert_eq!(catalog.load().await.unwrap().last_id, 3);
}

#[tokio::test]
async fn a_newer_catalog_is_refused_and_left_alone() {
    let (folder, catalog) = catalog().await;
    catalog.close().await;
    let at = CatalogAt::Sqlite(folder.path().join("catalog.sqlite"));
    let CatalogAt::Sqlite(path) = &at;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::query("INSERT INTO schema_version (version) VALUES (99)").execute(&pool).await.unwrap();
    pool.close().await;
    let error = open(&at).await.unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn documents_change_together_or_not_at_all() {
    let (_folder, catalog) = catalog().await;
    let clock = ManualClock::at(Timestamp::from_millis(1000));
    let records = Records::new(catalog, Arc::new(clock.clone()));
    let tenant = TenantId::default();
    let first =
        Transaction::default().put("release", "b", Expect::Absent, "1").put("release", "a", Expect::Any, "x");
    records.commit(&tenant, first).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let both = Transaction::default().put("release", "a", Expect::Version(1), "y").put(
        "release",
        "b",
        Expect::Version(7),
        "2",
    );
    let error = records.commit(&tenant, both).await.unwrap_err();
    assert_eq!(error.to_string(), "release \"b\" is at version 1, expected 7");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let a = records.get(&tenant, "release", "a").await.unwrap().unwrap();
    assert_eq!((a.version, a.body.as_slice()), (1, b"x".as_slice()));
    records
        .commit(&tenant, Transaction::default().put("release", "a", Expect::Version(1), "y"))
        .await
        .unwrap();
    let a = records.get(&tenant, "release", "a").await.unwrap().unwrap();
    assert_eq!((a.version, a.updated_at.as_millis()), (2, 2000));
    records.commit(&tenant, Transaction::default().delete("release", "a", Expect::Version(2))).await.unwrap();
    assert_eq!(records.get(&tenant, "release", "a").await.unwrap(), None);
    assert_eq!(records.tenants().await.unwrap(), std::slice::from_ref(&tenant));
    assert_eq!(records.get(&TenantId::new("other").unwrap(), "release", "b").await.unwrap(), None);
    let empty = records.commit(&tenant, Transaction::default().put("", "x", Expect::Any, "")).await;
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn lists_run_both_ways_by_page_and_prefix() {
    let (_folder, catalog) = catalog().await;
    let records = Records::new(catalog, Arc::new(ManualClock::at(Timestamp::default())));
    let tenant = TenantId::default();
    let mut all = Transaction::default();
    for id in ["a", "b/1", "b/2", "b/3", "b", "c", "中"] {
        all = all.put("k", id, Expect::Absent, "");
    }
    records.commit(&tenant, all).await.unwrap();
    let list = async |page: Page| -> Vec<String> {
        records.list(&tenant, "k", page).await.unwrap().into_iter().map(|d| d.id).collect()
    };
    assert_eq!(list(Page::default()).await, ["a", "b", "b/1", "b/2", "b/3", "c", "中"]);
    let prefix = Some("b/".to_string());
    assert_eq!(list(Page { prefix: prefix.clone(), limit: 2, ..Page::default() }).await, ["b/1", "b/2"]);
    let page = Page { after: Some("b/3".into()), order: Order::Descending, prefix, limit: 9 };
    assert_eq!(list(page).await, ["b/2", "b/1"]);
    let newest = Page { order: Order::Descending, limit: 1, ..Page::default() };
    assert_eq!(list(newest).await, ["中"]);
    assert_eq!(list(Page { after: Some("c".into()), ..Page::default() }).await, ["中"]);
}

#[tokio::test]
async fn the_outbox_keeps_order_by_key_and_lets_queues_take_turns() {
    let (_folder, catalog) = catalog().await;
    let clock = ManualClock::at(Timestamp::from_millis(10));
    let records = Records::new(catalog, Arc::new(clock.clone()));
    let tenant = TenantId::default();
    let item = |id: &str, queue: &str, key: &str| OutboxItem {
        id: id.into(),
        queue: queue.into(),
        ordering_key: key.into(),
        body: vec![1],
        not_before: Timestamp::from_millis(10),
    };
    let all = [
        ("3", "slow", "r1"),
        ("1", "slow", "r1"),
        ("2", "slow", "r2"),
        ("4", "fast", "r1"),
        ("5", "slow", ""),
    ];
    let mut transaction = Transaction::default().put("look", "1", Expect::Absent, "");
    for (id, queue, key) in all {
        transaction = transaction.send(item(id, queue, key));
    }
    records.commit(&tenant, transaction).await.unwrap();
    let due = async |limit| -> Vec<String> {
        records.due(clock.now(), limit).await.unwrap().into_iter().map(|o| o.id).collect()
    };
    assert_eq!(due(9).await, ["3", "4", "2", "5"]);
    assert_eq!(due(2).await, ["3", "4"]);
    records.retry_at("3", Timestamp::from_millis(500), "503").await.unwrap();
    assert_eq!(due(9).await, ["2", "4", "5"], "3 waits, and 1 behind it");
    clock.advance(Duration::from_secs(1));
    records.delivered("3", "200").await.unwrap();
    records.give_up("2", "410").await.unwrap();
    assert_eq!(due(9).await, ["1", "4", "5"]);
    let filter = OutgoingFilter { ordering_key: Some("r1".into()), ..OutgoingFilter::default() };
    let listed = records.outgoing(&tenant, filter).await.unwrap();
    let seen: Vec<_> = listed.iter().map(|o| (o.id.as_str(), o.state, o.attempts)).collect();
    let waiting = OutgoingState::Waiting;
    assert_eq!(seen, [("3", OutgoingState::Delivered, 2), ("1", waiting, 0), ("4", waiting, 0)]);
    let tries: Vec<_> = listed[0].tries.iter().map(|t| (t.at.as_millis(), t.is_taken, &t.note[..])).collect();
    assert_eq!(tries, [(10, false, "503"), (1010, true, "200")]);
    records.again("3", clock.now()).await.unwrap();
    assert_eq!(due(9).await, ["3", "4", "5"], "sent again, it goes before what came after it");
    records.delivered("3", "again 200").await.unwrap();
    let filter = OutgoingFilter { ids: vec!["3".into()], ..OutgoingFilter::default() };
    let listed = records.outgoing(&tenant, filter).await.unwrap();
    assert_eq!((listed[0].attempts, listed[0].tries.len()), (1, 3));
    assert_eq!(records.again("nine", clock.now()).await.unwrap_err().kind(), ErrorKind::NotFound);
    let by_id = OutgoingFilter { ids: vec!["2".into(), "9".into()], ..OutgoingFilter::default() };
    assert_eq!(records.outgoing(&tenant, by_id).await.unwrap()[0].state, OutgoingState::GivenUp);
    let twice = records.commit(&tenant, Transaction::default().send(item("5", "x", ""))).await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(records.delivered("nine", "").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_does_not_add_up_is_refused() {
    for change in [
        "UPDATE segments SET end_ms = 11 WHERE id = 1",
        "UPDATE segments SET tenant = 'other' WHERE id = 2",
        "DELETE FROM segments WHERE id = 1",
        "UPDATE segment_files SET bytes = 8 WHERE segment = 1",
        "UPDATE positions SET value = 4 WHERE name = 'wal'",
        "UPDATE segments SET n_rows = 'x' WHERE id = 1",
        "DELETE FROM positions WHERE name = 'sum'",
    ] {
        let (folder, catalog) = catalog().await;
        catalog.seal(&seal(0, 5, vec![segment(1), segment(2), segment(3)]), &|| {}).await.unwrap();
        catalog.replace(&[SegmentId(3)], &[segment(4)], &|| {}).await.unwrap();
        catalog.quarantine(SegmentId(2), "bit flip").await.unwrap();
        catalog.load().await.unwrap();
        catalog.close().await;
        let path = folder.path().join("catalog.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql(change).execute(&pool).await.unwrap();
        pool.close().await;
        let catalog = open(&CatalogAt::Sqlite(path)).await.unwrap();
        let error = catalog.load().await.unwrap_err();
        assert!(matches!(error, CatalogError::Damaged(_)), "{change}: {error}");
    }
}
