//! What damage to the write-ahead log took, remembered beside the copy of the damaged file: after the next sealing
//! the log itself is gone, and answers lack the rows all the same.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::StoreEnv;
use crate::disk::Disk;
use crate::read::SpanMs;
use crate::wal::{QUARANTINE, Recovered};

/// Rows that were taken before the damage was found are at most this far ahead of that moment.
const AHEAD_MAX: Duration = Duration::from_secs(3600);

/// Writes down what a recovery found, and returns everything that was ever written down and that nobody has
/// removed: times whose answers may lack rows, and why.
pub(super) fn remember(env: &StoreEnv, found: &Recovered) -> io::Result<Vec<(SpanMs, String)>> {
    let folder = Path::new(QUARANTINE);
    for (path, said) in &found.losses {
        let note = folder.join(path.with_extension("loss").file_name().unwrap_or_default());
        // A file is found damaged at each start until it is sealed; the first note says until when.
        if env.disk.open(&note).is_ok() {
            continue;
        }
        let until_ms = env.clock.now().saturating_add(AHEAD_MAX).as_millis();
        let text = serde_json::json!({ "until_ms": until_ms, "said": said });
        env.disk.create_dir_all(folder)?;
        env.disk.write_atomic(&note, text.to_string().as_bytes())?;
    }
    let mut lost = Vec::new();
    for name in env.disk.list(folder)? {
        let path = folder.join(name);
        if path.extension().is_some_and(|e| e == "loss") {
            lost.extend(read(env.disk.as_ref(), &path)?);
        }
    }
    Ok(lost)
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<(SpanMs, String)>> {
    let bytes = disk.read(path)?;
    let note = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap_or_default();
    let until_ms = note["until_ms"].as_i64().unwrap_or(i64::MAX);
    let span = SpanMs { start: i64::MIN, end: until_ms };
    let sentence = |what: &str| (span, format!("rows may be missing, see {}: {what}", path.display()));
    let said = note["said"].as_array().map_or(&[][..], Vec::as_slice);
    let said: Vec<_> = said.iter().filter_map(|text| text.as_str()).map(sentence).collect();
    // A note that cannot be read says at least that there is something to say.
    Ok(if said.is_empty() { vec![sentence("the note itself is damaged")] } else { said })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::TenantId;
    use crate::read::{Budget, Limits, MetricSource, Select};
    use crate::store::tests::{Model, NOW_MS, Rig, everything, put, sample};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_damaged_log_lost_is_said_until_someone_has_seen_it() {
        let mut rig = Rig::new();
        let store = rig.open().await;
        let mut model = Model::new();
        put(&store, &mut Model::new(), &[sample("a", NOW_MS, 1.0)]).await;
        put(&store, &mut model, &[sample("b", NOW_MS, 1.0)]).await;
        rig.crash(store, 0).await;
        let path = Path::new("wal/0000000000000001.wal");
        rig.memory.damage(path, |bytes| bytes[96 + 30] ^= 1);
        for round in 0..3 {
            let store = rig.open().await;
            let (found, missing) = everything(&store.reader(), &rig.clock);
            assert_eq!((found.len(), missing.len()), (1, 1), "round {round}: {missing:?}");
            assert!(missing[0].contains("wal/0000000000000001.wal"), "{missing:?}");
            assert_eq!(store.status().missing, missing);
            let other = TenantId::new("other").unwrap();
            let budget = Budget::new(Limits::default(), Arc::new(rig.clock.clone()));
            let select = Select { matchers: &[], span: SpanMs::ALL };
            assert_eq!(store.reader().select(&other, &select, &budget).unwrap().missing(), missing);
            // What is asked of later times lacks nothing.
            let later =
                Select { matchers: &[], span: SpanMs { start: NOW_MS + 2 * 3_600_000, end: i64::MAX } };
            let tenant = TenantId::default();
            assert_eq!(store.reader().select(&tenant, &later, &budget).unwrap().missing(), [""; 0]);
            store.flush().await.unwrap();
            store.shutdown().await.unwrap();
        }
        rig.memory.remove(Path::new("quarantine/0000000000000001.loss")).unwrap();
        let store = rig.open().await;
        assert_eq!(everything(&store.reader(), &rig.clock), (model, Vec::new()));
        store.shutdown().await.unwrap();
    }
}
