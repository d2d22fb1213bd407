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
/// otherwise drop data as it is sealed.
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
            expired.extend(metas.extract_if(.., |meta| meta.span.end < end).map(|meta| meta.id));
        }
        if let Some(bytes_max) = limit.bytes {
            expired.extend(beyond(metas, bytes_max.0));
        }
    }
    expired
}

/// Returns the segments of one table that are in the way of its size, oldest first.
fn beyond(mut metas: Vec<&SegmentMeta>, bytes_max: u64) -> Vec<SegmentId> {
    metas.sort_by_key(|meta| (meta.span.end, meta.id));
    let mut bytes: u64 = metas.iter().map(|meta| meta.bytes()).sum();
    let mut gone = Vec::new();
    for meta in &metas[..metas.len().saturating_sub(1)] {
        if bytes <= bytes_max {
            break;
        }
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
