//! Which segments are past their retention: pure, so that it can be tested on what no clock would bring.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::RetentionConfig;
use crate::model::{TenantId, Timestamp};
use crate::segment::{SegmentId, SegmentMeta, Table};

/// Data is dropped by the newest row's time where the clock is ahead of it by more than this, so
/// that a clock that jumped by years does not empty the store.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Finds the segments to drop: those whose every row is older than is kept, and of what is left in
/// a tenant's table beyond its size, those that end first.
///
/// A table's newest segment stays, however large it is: a size that one segment passes would
/// otherwise drop data as it is sealed. So does a segment of metrics that was written over one that stays: without it,
/// samples that it replaced would be in answers again.
pub(super) fn expired(
    segments: &[SegmentMeta],
    retention: &RetentionConfig,
    now: Timestamp,
) -> Vec<SegmentId> {
    let newest_ms = segments.iter().map(|meta| meta.span.end).max().unwrap_or(i64::MIN);
    let now = now.min(Timestamp::from_millis(newest_ms).saturating_add(CLOCK_AHEAD_MAX));
    let mut tables: BTreeMap<(&TenantId, Table), Vec<&SegmentMeta>> = BTreeMap::new();
    for meta in segments {
        tables.entry((&meta.tenant, meta.table)).or_default().push(meta);
    }
    let mut expired = Vec::new();
    for ((tenant, table), mut metas) in tables {
        let limit = retention.of(tenant, table);
        if let Some(age) = limit.age {
            let end = now.saturating_sub(age).as_millis();
            metas.sort_by_key(|meta| (meta.sequence, meta.id));
            let mut stay: Vec<&SegmentMeta> = Vec::new();
            for meta in metas {
                if meta.span.end < end && !stay.iter().any(|other| replaces(meta, other)) {
                    expired.push(meta.id);
                } else {
                    stay.push(meta);
                }
            }
            metas = stay;
        }
        if let Some(bytes_max) = limit.bytes {
            expired.extend(beyond(metas, bytes_max.0));
        }
    }
    expired
}

/// Tells whether a segment may hold samples that came in the place of another's. Log records replace nothing.
fn replaces(meta: &SegmentMeta, other: &SegmentMeta) -> bool {
    meta.table == Table::Metrics
        && (other.sequence, other.id) < (meta.sequence, meta.id)
        && other.span.start <= meta.span.end
        && meta.span.start <= other.span.end
}

/// Returns the segments of one table that are in the way of its size, oldest first.
fn beyond(mut metas: Vec<&SegmentMeta>, bytes_max: u64) -> Vec<SegmentId> {
    metas.sort_by_key(|meta| (meta.span.end, meta.id));
    let mut bytes: u64 = metas.iter().map(|meta| meta.bytes()).sum();
    let mut gone = Vec::new();
    while bytes > bytes_max {
        let n_old = metas.len().saturating_sub(1);
        let may_go = |i: &usize| !metas.iter().any(|other| replaces(metas[*i], other));
        let Some(next) = (0..n_old).find(may_go) else { break };
        let meta = metas.remove(next);
        bytes -= meta.bytes();
        gone.push(meta.id);
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{ByteSize, TenantRetention};
    use crate::read::SpanMs;
    use crate::segment::SegmentFile;
    use crate::store::tests::{Model, NOW_MS, Rig, everything, put, sample};

    const HOUR_MS: i64 = 3_600_000;

    fn segment(id: u64, tenant: &str, table: Table, end_h: i64, bytes: u64) -> SegmentMeta {
        let span = SpanMs { start: (end_h - 1) * HOUR_MS, end: end_h * HOUR_MS };
        SegmentMeta {
            id: SegmentId(id),
            tenant: TenantId::new(tenant).unwrap(),
            table,
            level: 0,
            window: span,
            span,
            n_rows: 1,
            n_series: 1,
            sequence: id,
            files: vec![SegmentFile { path: id.to_string().into(), bytes, blake3: [0; 32] }],
        }
    }

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    #[track_caller]
    fn check(segments: &[SegmentMeta], retention: &RetentionConfig, now_h: i64, want: &[u64]) {
        let mut got: Vec<u64> = expired(segments, retention, Timestamp::from_millis(now_h * HOUR_MS))
            .into_iter()
            .map(|id| id.0)
            .collect();
        got.sort_unstable();
        assert_eq!(got, want);
    }

    #[test]
    fn each_setting_drops_what_it_names_and_nothing_else() {
        let (metrics, logs) = (Table::Metrics, Table::Logs);
        let all = [
            segment(1, "default", metrics, 10, 40),
            segment(2, "default", metrics, 20, 40),
            segment(3, "default", metrics, 30, 40),
            segment(4, "default", logs, 10, 40),
            segment(5, "default", logs, 30, 40),
            segment(6, "shop", metrics, 10, 40),
            segment(7, "shop", logs, 10, 40),
            segment(8, "shop", logs, 31, 40),
        ];
        let none = RetentionConfig::default;
        let size = |n| Some(ByteSize(n));
        check(&all, &none(), 1000, &[]);
        check(&all, &RetentionConfig { metrics: Some(hours(15)), ..none() }, 31, &[1, 6]);
        check(&all, &RetentionConfig { logs: Some(hours(15)), ..none() }, 31, &[4, 7]);
        check(&all, &RetentionConfig { metrics_bytes: size(119), ..none() }, 31, &[1]);
        check(&all, &RetentionConfig { metrics_bytes: size(120), ..none() }, 31, &[]);
        check(&all, &RetentionConfig { metrics_bytes: size(79), ..none() }, 31, &[1, 2]);
        check(&all, &RetentionConfig { metrics_bytes: size(0), ..none() }, 31, &[1, 2]);
        check(&all, &RetentionConfig { logs_bytes: size(50), ..none() }, 31, &[4, 7]);
        let shop = |own: TenantRetention| RetentionConfig {
            tenants: [("shop".to_string(), own)].into(),
            logs_bytes: size(50),
            ..none()
        };
        check(&all, &shop(TenantRetention::default()), 31, &[4, 7]);
        check(&all, &shop(TenantRetention { logs_bytes: size(80), ..Default::default() }), 31, &[4]);
        check(&all, &shop(TenantRetention { metrics: Some(hours(1)), ..Default::default() }), 31, &[4, 6, 7]);
        let own = TenantRetention { metrics_bytes: size(1), logs: Some(hours(1)), ..Default::default() };
        check(&all, &shop(own), 32, &[4, 7]);
        // What is too old does not count for the size.
        let both = RetentionConfig { metrics: Some(hours(15)), metrics_bytes: size(80), ..none() };
        check(&all, &both, 31, &[1, 6]);
    }

    #[test]
    fn what_replaced_samples_goes_with_them_or_after_them() {
        let over = |id, start, end| {
            let mut meta = segment(id, "default", Table::Metrics, end, 40);
            meta.span.start = start * HOUR_MS;
            meta
        };
        let by_age = RetentionConfig { metrics: Some(hours(10)), ..Default::default() };
        let by_size = |n| RetentionConfig { metrics_bytes: Some(ByteSize(n)), ..Default::default() };
        // 2 was written over the begin of 1, and 3 over that of 2.
        let all = [over(1, 0, 20), over(2, 5, 9), over(3, 1, 6), over(4, 21, 30)];
        check(&all, &by_age, 25, &[]);
        check(&all, &by_age, 30, &[]);
        check(&all, &by_age, 31, &[1, 2, 3]);
        check(&all, &by_size(159), 31, &[1]);
        check(&all, &by_size(119), 31, &[1, 2]);
        check(&all, &by_size(79), 31, &[1, 2, 3]);
        // What came before the rest replaces nothing of it.
        check(&[over(1, 0, 9), over(2, 5, 20)], &by_age, 25, &[1]);
        let logs = |meta: &SegmentMeta| SegmentMeta { table: Table::Logs, ..meta.clone() };
        let by_age = RetentionConfig { logs: Some(hours(10)), ..Default::default() };
        check(&all.each_ref().map(logs), &by_age, 25, &[2, 3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_replaced_sample_does_not_come_back_when_what_replaced_it_is_old() {
        let mut rig = Rig::new();
        let age = Duration::from_secs(3600);
        rig.config.retention = RetentionConfig { metrics: Some(age), ..RetentionConfig::default() };
        let store = rig.open().await;
        let mut model = Model::new();
        // Both in one window that is not over, so that nothing is merged.
        put(&store, &mut model, &[sample("a", NOW_MS - 600_000, 1.0), sample("a", NOW_MS - 1, 1.0)]).await;
        store.inner.seal().await.unwrap();
        put(&store, &mut model, &[sample("a", NOW_MS - 600_000, 2.0)]).await;
        store.inner.seal().await.unwrap();
        rig.clock.advance(age - Duration::from_secs(60));
        store.inner.retire().await.unwrap();
        assert_eq!(everything(&store.reader(), &rig.clock).0, model);
        rig.clock.advance(Duration::from_secs(120));
        store.inner.retire().await.unwrap();
        assert_eq!(everything(&store.reader(), &rig.clock).0, Model::new());
        store.shutdown().await.unwrap();
    }

    proptest! {
        #[test]
        fn what_is_left_fits_and_is_newer_than_what_went(
            sizes in proptest::collection::vec((0..50i64, 1..100u64), 1..30), bytes_max in 0..2000u64,
        ) {
            let all: Vec<SegmentMeta> = (1..)
                .zip(&sizes)
                .map(|(id, &(end, bytes))| segment(id, "t", Table::Logs, end, bytes))
                .collect();
            let retention = RetentionConfig { logs_bytes: Some(ByteSize(bytes_max)), ..Default::default() };
            let gone = expired(&all, &retention, Timestamp::from_millis(50 * HOUR_MS));
            let (out, left): (Vec<_>, Vec<_>) = all.iter().partition(|meta| gone.contains(&meta.id));
            let bytes: u64 = left.iter().map(|meta| meta.bytes()).sum();
            prop_assert!(bytes <= bytes_max || left.len() == 1);
            let last_out = out.iter().map(|meta| meta.span.end).max().unwrap_or(i64::MIN);
            prop_assert!(left.iter().all(|meta| meta.span.end >= last_out));
            // No more goes than must.
            if let Some(last) = gone.last().and_then(|id| out.iter().find(|meta| meta.id == *id)) {
                prop_assert!(bytes + last.bytes() > bytes_max);
            }
        }
    }
}
