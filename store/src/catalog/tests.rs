//! Tests of this module.

use super::*;
use crate::model::{Clock, ManualClock};
use crate::read::SpanMs;
use crate::records::{Expect, Order, OutboxItem, Records, Transaction};
use crate::segment::{SegmentFile, Table};
use std::sync::Arc;
use std::time::Duration;

/// Has every rule tested in each database.
macro_rules! in_each_database {
    ($($rule:ident),* $(,)?) => {
        mod in_sqlite {
            $(
                #[tokio::test]
                async fn $rule() {
                    let folder = tempfile::tempdir().unwrap();
                    super::$rule(&super::CatalogAt::Sqlite(folder.path().join("catalog.sqlite"))).await;
                }
            )*
        }

        #[tokio::test]
        async fn every_rule_holds_in_postgresql() {
            let Some(server) = super::postgres::Server::start().await else { return };
            $($rule(&server.database(stringify!($rule)).await).await;)*
        }
    };
}

in_each_database!(
    a_seal_happens_once_and_is_there_after_opening_again,
    of_two_merges_of_one_segment_one_wins_and_ids_are_not_used_again,
    a_newer_catalog_is_refused_and_left_alone,
    documents_change_together_or_not_at_all,
    lists_run_both_ways_by_page_and_prefix,
    the_outbox_keeps_order_by_key_and_lets_queues_take_turns,
    a_document_that_changed_by_itself_is_refused,
    a_message_that_changed_by_itself_is_refused,
    a_row_that_came_or_went_by_itself_is_noticed,
    a_copy_holds_everything,
);

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

async fn a_seal_happens_once_and_is_there_after_opening_again(at: &CatalogAt) {
    let catalog = open(at).await.unwrap();
    catalog.seal(&seal(0, 5, vec![segment(1), segment(2)]), &|| {}).await.unwrap();
    let again = catalog.seal(&seal(0, 5, vec![segment(3)]), &|| {}).await;
    assert!(matches!(again, Err(CatalogError::Raced(_))), "{again:?}");
    catalog.seal(&seal(5, 9, vec![segment(3)]), &|| {}).await.unwrap();
    catalog.close().await;
    let catalog = open(at).await.unwrap();
    let loaded = catalog.load().await.unwrap();
    assert_eq!(loaded.segments, [segment(1), segment(2), segment(3)]);
    assert_eq!((loaded.wal_position, loaded.last_id), (9, 3));
    assert_eq!(loaded.metadata.len(), 1);
    assert_eq!(loaded.metadata[0].1.help, "from 5");
    catalog.check().await.unwrap();
}

async fn of_two_merges_of_one_segment_one_wins_and_ids_are_not_used_again(at: &CatalogAt) {
    let catalog = open(at).await.unwrap();
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

async fn a_newer_catalog_is_refused_and_left_alone(at: &CatalogAt) {
    let catalog = open(at).await.unwrap();
    catalog.close().await;
    let newer = database(at).await.unwrap();
    newer.write("INSERT INTO schema_version (version) VALUES (99)").await;
    newer.close().await;
    let error = open(at).await.unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

async fn a_copy_holds_everything(at: &CatalogAt) {
    let first = open(at).await.unwrap();
    first.seal(&seal(0, 5, vec![segment(1), segment(2)]), &|| {}).await.unwrap();
    first.quarantine(SegmentId(2), "bit flip").await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(10)));
    let records = Records::new(Arc::clone(&first), Arc::clone(&clock));
    let tenant = TenantId::default();
    // More rows than are copied at once.
    let mut many = Transaction::default();
    for n in 0..1500 {
        many = many.put("k", format!("{n:04}"), Expect::Absent, format!("body {n}"));
    }
    let item = OutboxItem {
        id: "m".into(),
        queue: "q".into(),
        ordering_key: "r".into(),
        body: vec![0, 255],
        not_before: Timestamp::from_millis(10),
    };
    records.commit(&tenant, many.send(item)).await.unwrap();
    records.retry_at("m", Timestamp::from_millis(20), "503").await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.sqlite");
    first.copy_to(&path).await.unwrap();
    let second = open(&CatalogAt::Sqlite(path)).await.unwrap();
    let (a, b) = (first.load().await.unwrap(), second.load().await.unwrap());
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    let copied = Records::new(second, clock);
    for records in [&records, &copied] {
        let document = records.get(&tenant, "k", "1499").await.unwrap().unwrap();
        assert_eq!(document.body, b"body 1499");
        let listed = records.outgoing(&tenant, OutgoingFilter::default()).await.unwrap();
        assert_eq!((listed[0].body.as_slice(), listed[0].tries.len()), ([0, 255].as_slice(), 1));
    }
}

async fn documents_change_together_or_not_at_all(at: &CatalogAt) {
    let catalog = open(at).await.unwrap();
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

/// A catalog with a document and a message that was tried.
async fn with_rows(at: &CatalogAt) -> (Arc<Database>, Records) {
    let database = Arc::new(database(at).await.unwrap());
    let catalog: Arc<dyn Catalog> = Arc::<Database>::clone(&database);
    let records = Records::new(catalog, Arc::new(ManualClock::at(Timestamp::from_millis(10))));
    let item = OutboxItem {
        id: "m".into(),
        queue: "q".into(),
        ordering_key: String::new(),
        body: vec![0, 255],
        not_before: Timestamp::from_millis(10),
    };
    let tenant = TenantId::default();
    let all = Transaction::default().put("k", "a", Expect::Absent, "1").put("k", "b", Expect::Absent, "2");
    records.commit(&tenant, all.send(item)).await.unwrap();
    let again = Transaction::default().put("k", "a", Expect::Any, "3").delete("k", "b", Expect::Any);
    records.commit(&tenant, again).await.unwrap();
    records.retry_at("m", Timestamp::from_millis(10), "503").await.unwrap();
    records.again("m", Timestamp::from_millis(10)).await.unwrap();
    database.load().await.unwrap();
    database.check().await.unwrap();
    (database, records)
}

#[track_caller]
fn is_damage<T: fmt::Debug>(done: Result<T, RecordsError>) {
    assert!(matches!(done, Err(RecordsError::Catalog(CatalogError::Damaged(_)))), "{done:?}");
}

async fn a_document_that_changed_by_itself_is_refused(at: &CatalogAt) {
    let (database, records) = with_rows(at).await;
    let tenant = TenantId::default();
    assert_eq!(records.get(&tenant, "k", "a").await.unwrap().unwrap().body, b"3");
    for change in [
        "UPDATE documents SET version = 3",
        "UPDATE documents SET updated_at = 0, version = 2",
        "UPDATE documents SET updated_at = 10000000, kind = 'l'",
    ] {
        database.write(change).await;
        let kind = if change.contains("kind") { "l" } else { "k" };
        is_damage(records.get(&tenant, kind, "a").await);
        is_damage(records.list(&tenant, kind, Page::default()).await);
        assert!(matches!(database.check().await, Err(CatalogError::Damaged(_))), "{change}");
    }
    // Written anew, it is whole again.
    database.write("UPDATE documents SET kind = 'k', version = 8").await;
    records.commit(&tenant, Transaction::default().put("k", "a", Expect::Any, "4")).await.unwrap();
    assert_eq!(records.get(&tenant, "k", "a").await.unwrap().unwrap().version, 9);
    database.check().await.unwrap();
    database.load().await.unwrap();
}

async fn a_message_that_changed_by_itself_is_refused(at: &CatalogAt) {
    let (database, records) = with_rows(at).await;
    let (tenant, now) = (TenantId::default(), Timestamp::from_millis(10));
    let all = || records.outgoing(&tenant, OutgoingFilter::default());
    assert_eq!((records.due(now, 9).await.unwrap().len(), all().await.unwrap()[0].tries.len()), (1, 1));
    database.write("UPDATE outbox SET queue = 'elsewhere'").await;
    is_damage(records.due(now, 9).await);
    is_damage(all().await);
    is_damage(records.delivered("m", "200").await);
    is_damage(records.again("m", now).await);
    database.write("UPDATE outbox SET queue = 'q'").await;
    assert_eq!(all().await.unwrap()[0].queue, "q");
    database.write("UPDATE outbox_tries SET is_taken = 1").await;
    is_damage(all().await);
    assert!(matches!(database.check().await, Err(CatalogError::Damaged(_))));
}

async fn a_row_that_came_or_went_by_itself_is_noticed(at: &CatalogAt) {
    let (database, _) = with_rows(at).await;
    let gone = "DELETE FROM outbox_tries";
    let twice =
        "INSERT INTO documents SELECT tenant, kind, 'c', version, updated_at, body, checksum FROM documents";
    for change in [gone, twice, "DELETE FROM outbox", "DELETE FROM documents WHERE id = 'a'"] {
        database.write(change).await;
        let error = database.load().await.unwrap_err();
        assert!(matches!(error, CatalogError::Damaged(_)), "{change}: {error}");
        // What each of these took away or added is made good before the next.
        database
            .write(
                "UPDATE positions SET value = (SELECT CAST(COALESCE(SUM(checksum), 0) AS BIGINT) FROM documents) \
                 WHERE name = 'documents'",
            )
            .await;
        database
            .write(
                "UPDATE positions SET value = (SELECT CAST(COALESCE(SUM(checksum), 0) AS BIGINT) FROM outbox) \
                 WHERE name = 'outbox_rows'",
            )
            .await;
        database.write("UPDATE positions SET value = 0 WHERE name = 'outbox_tries'").await;
        database.load().await.unwrap();
    }
}

async fn lists_run_both_ways_by_page_and_prefix(at: &CatalogAt) {
    let catalog = open(at).await.unwrap();
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

async fn the_outbox_keeps_order_by_key_and_lets_queues_take_turns(at: &CatalogAt) {
    let catalog = open(at).await.unwrap();
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
async fn one_server_has_a_database_and_a_copy_needs_an_empty_one() {
    let Some(server) = super::postgres::Server::start().await else { return };
    let at = server.database("one").await;
    let first = open(&at).await.unwrap();
    let error = open(&at).await.unwrap_err();
    let shown = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(shown.contains("another server uses this catalog"), "{error}: {shown}");
    first.seal(&seal(0, 5, vec![segment(1)]), &|| {}).await.unwrap();
    first.close().await;
    let folder = tempfile::tempdir().unwrap();
    let file = CatalogAt::Sqlite(folder.path().join("catalog.sqlite"));
    super::copy(&at, &file).await.unwrap();
    let error = super::copy(&file, &at).await.unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    let empty = server.database("two").await;
    super::copy(&file, &empty).await.unwrap();
    assert_eq!(open(&empty).await.unwrap().load().await.unwrap().segments, [segment(1)]);
}

#[test]
fn an_address_is_shown_without_its_password() {
    let url = DatabaseUrl::new("postgres://me:p@ss@db.example:5432/greylight?password=x").unwrap();
    assert_eq!(url.to_string(), "postgres://db.example:5432/greylight");
    assert_eq!(format!("{url:?}"), "\"postgres://db.example:5432/greylight\"");
    assert_eq!(DatabaseUrl::new("mysql://x").unwrap_err().to_string(), DatabaseUrlError.to_string());
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
        let folder = tempfile::tempdir().unwrap();
        let at = CatalogAt::Sqlite(folder.path().join("catalog.sqlite"));
        let catalog = open(&at).await.unwrap();
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
        let catalog = open(&at).await.unwrap();
        let error = catalog.load().await.unwrap_err();
        assert!(matches!(error, CatalogError::Damaged(_)), "{change}: {error}");
    }
}
