//! Writes the folder that `tests/golden.rs` reads for ever. Run once for each version of a format:
//!
//!     golden FOLDER

#[path = "../tests/golden/content.rs"]
mod content;

use std::path::Path;

use greylight_store::append::{LogBatch, MetricBatch};
use greylight_store::model::{Labels, Timestamp};
use greylight_store::records::{Expect, OutboxItem, Transaction};
use greylight_store::{Store, StoreConfig, StoreEnv};

use content::{
    BASE_MS, exemplars, headed_records, histograms, later_records, metadata, records, series, tenant,
    whole_day,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: golden FOLDER")?;
    let store = Store::open(StoreConfig::default(), StoreEnv::on_folder(Path::new(&folder))?).await?;
    send(&store, true).await?;
    store.flush().await?;
    let item = OutboxItem {
        id: "message-1".into(),
        queue: "hook".into(),
        ordering_key: "release-1".into(),
        body: b"{\"decision\":\"go\"}".to_vec(),
        not_before: Timestamp::from_millis(BASE_MS),
    };
    let transaction = Transaction::default().put("release", "r1", Expect::Absent, "body").send(item);
    store.records().commit(&tenant(), transaction).await?;
    send(&store, false).await?;
    store.shutdown().await?;
    println!("{folder}");
    Ok(())
}

/// Sends the part that is to be in segments, or the part that is to be in the log.
async fn send(store: &Store, sealed: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut batch = MetricBatch::default();
    batch.push_metadata(metadata());
    let whole_day = if sealed { whole_day() } else { Vec::new() };
    for (labels, samples) in series(sealed).into_iter().chain(whole_day) {
        let mut writer = batch.start_sorted(labels)?;
        samples.into_iter().for_each(|(t_ms, value)| writer.push(t_ms, value));
    }
    for (name, t_ms, histogram) in histograms(sealed) {
        batch.start_sorted([("__name__", name)])?.push_histogram(t_ms, histogram)?;
    }
    for (name, exemplar) in exemplars(sealed) {
        batch.push_exemplar(Labels::from_pairs([("__name__", name)])?, exemplar)?;
    }
    store.appender().metrics(&tenant(), batch).await?;
    store.appender().logs(&tenant(), LogBatch { records: records(sealed) }).await?;
    store.appender().logs(&tenant(), LogBatch { records: later_records(sealed) }).await?;
    store.appender().logs(&tenant(), LogBatch { records: headed_records(sealed) }).await?;
    Ok(())
}
