//! Disks that are full, fail or stand still: what is acknowledged stays, what cannot be kept is refused.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use greylight_store::Store;
use greylight_store::config::ByteSize;
use greylight_store::disk::{Fault, Operation};
use greylight_store::metrics::Deletion;
use greylight_store::model::TenantId;
use greylight_store::read::SpanMs;

use super::facts::{Facts, Record, Sample};
use super::rig::{NOW_MS, Rig, put_records, put_samples};
use super::{Outcome, must};

/// What fails once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No room to write, make or reserve.
    Full(Operation),
    /// An error of the disk at any change but a sync.
    Broken(Operation),
    /// A sync fails.
    Sync,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Full(Operation::Write),
        Self::Full(Operation::Create),
        Self::Full(Operation::Reserve),
        Self::Broken(Operation::Write),
        Self::Broken(Operation::Create),
        Self::Broken(Operation::Folder),
        Self::Sync,
    ];

    fn fault(self, after: u64) -> Fault {
        let (operation, error) = match self {
            Self::Full(operation) => (operation, io::ErrorKind::StorageFull),
            Self::Broken(operation) => (operation, io::ErrorKind::Other),
            Self::Sync => (Operation::Sync, io::ErrorKind::Other),
        };
        Fault { operation, after, error, short: (after * 37 % 200) as usize, for_ever: false }
    }
}

/// What faults led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) n_faults: u64,
    /// Senders that were refused.
    pub(crate) n_refused: u64,
    /// Pieces of work in the background, or flushes, that failed and were done later.
    pub(crate) n_delayed: u64,
    /// Times that the store went read-only until a restart.
    pub(crate) n_read_only: u64,
}

/// Lets the `after`th operation of a kind fail once, and tells whether that came.
pub(crate) async fn once(kind: Kind, after: u64, tally: &mut Tally) -> Outcome<bool> {
    let rig = Rig::new()?;
    let store = rig.open().await?;
    rig.faulty.inject(kind.fault(after));
    let (mut kept, mut sent) = (Facts::default(), Facts::default());
    let n_refused = tally.n_refused;
    let n_failed = work(&store, &mut kept, &mut sent, tally).await?;
    let status = store.status();
    let came = n_failed > 0 || tally.n_refused > n_refused || status.n_failures > 0;
    tally.n_faults += u64::from(came);
    tally.n_delayed += status.n_failures;
    check(&rig, &store, &kept, &sent)?;
    if let Kind::Full(_) = kind {
        must(!status.read_only, || "a full disk made the store read-only".into())?;
    }
    rig.faulty.heal();
    let last = [("last".to_owned(), NOW_MS, 1.0)];
    sent.put_samples(&last);
    if status.read_only {
        tally.n_read_only += 1;
        // The disk is well again, but what it did with the bytes is not known.
        let refused = put_samples(&store, &last).await;
        must(refused.is_err_and(|e| e.to_string().contains("read-only")), || {
            "a store whose log failed takes samples again".into()
        })?;
        must(store.status().refusing.is_some_and(|why| why.contains("read-only")), || {
            "the status does not say that the store is read-only".into()
        })?;
    } else {
        put_samples(&store, &last).await?;
        kept.put_samples(&last);
        store.flush().await?;
    }
    check(&rig, &store, &kept, &sent)?;
    store.shutdown().await?;
    let store = rig.open().await?;
    check(&rig, &store, &kept, &sent)?;
    put_samples(&store, &last).await?;
    store.flush().await?;
    rig.end(store).await?;
    Ok(came)
}

/// Puts and flushes; returns how much of it failed.
async fn work(store: &Store, kept: &mut Facts, sent: &mut Facts, tally: &mut Tally) -> Outcome<u64> {
    let mut n_failed = 0;
    for i in 0..6i64 {
        let at = NOW_MS + i * 1000 - (i % 2) * 9_000_000;
        let samples: Vec<Sample> = (0..5).map(|n| (format!("s{n}"), at, (i * n) as f64 / 3.0)).collect();
        sent.put_samples(&samples);
        match put_samples(store, &samples).await {
            Ok(()) => kept.put_samples(&samples),
            Err(error) => refused(&error.to_string(), tally)?,
        }
        let records: Vec<Record> = (0..5).map(|n| (at, format!("request {i} of cart took {n} ms"))).collect();
        sent.put_records(&records);
        match put_records(store, &records).await {
            Ok(()) => kept.put_records(&records),
            Err(error) => refused(&error.to_string(), tally)?,
        }
        if i % 2 == 1 {
            n_failed += u64::from(store.flush().await.is_err());
        }
    }
    Ok(n_failed)
}

/// A refusal says what to do about it.
fn refused(why: &str, tally: &mut Tally) -> Outcome<()> {
    tally.n_refused += 1;
    let is_clear = ["bytes free", "read-only", "takes nothing for now"].iter().any(|word| why.contains(word));
    must(is_clear, || format!("a refusal says only {why:?}"))
}

fn check(rig: &Rig, store: &Store, kept: &Facts, sent: &Facts) -> Outcome<()> {
    let found = rig.read(store)?;
    must(found.missing.is_empty(), || format!("answers lack {:?}", found.missing))?;
    must(kept.is_part_of(&found.facts), || {
        format!("of what was acknowledged, {}", kept.difference(&found.facts, i64::MIN).unwrap_or_default())
    })?;
    must(found.facts.is_part_of(sent), || {
        format!("of what was sent, {}", sent.difference(&found.facts, i64::MAX).unwrap_or_default())
    })
}

/// Lets time pass until something is so.
async fn pass_until(rig: &Rig, what: &str, is_so: impl Fn() -> bool) -> Outcome<()> {
    for _ in 0..5000 {
        if is_so() {
            return Ok(());
        }
        rig.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(std::thread::yield_now).await?;
    }
    Err(format!("{what} does not happen").into())
}

/// Fills the disk for a while: ingest is refused, reads go on, and all is as before when there is room again.
pub(crate) async fn full_for_a_while(free_bytes: u64) -> Outcome<Tally> {
    let mut rig = Rig::new()?;
    rig.config.disk_free_min = ByteSize(1000);
    let store = rig.open().await?;
    let (mut kept, mut sent) = (Facts::default(), Facts::default());
    let mut tally = Tally::default();
    work(&store, &mut kept, &mut sent, &mut tally).await?;
    must(tally.n_refused == 0, || "refused before the disk was full".into())?;
    rig.memory.set_free_bytes(Some(free_bytes));
    work(&store, &mut kept, &mut sent, &mut tally).await?;
    pass_until(&rig, "noticing the full disk", || store.status().refusing.is_some()).await?;
    work(&store, &mut kept, &mut sent, &mut tally).await?;
    must(tally.n_refused > 0 && !store.status().read_only, || format!("a full disk: {:?}", store.status()))?;
    check(&rig, &store, &kept, &sent)?;
    rig.memory.set_free_bytes(None);
    pass_until(&rig, "noticing that there is room", || store.status().refusing.is_none()).await?;
    let before = tally.n_refused;
    work(&store, &mut kept, &mut sent, &mut tally).await?;
    must(tally.n_refused == before, || "still refused although there is room".into())?;
    store.flush().await?;
    check(&rig, &store, &kept, &sent)?;
    store.shutdown().await?;
    let store = rig.open().await?;
    check(&rig, &store, &kept, &sent)?;
    rig.end(store).await?;
    tally.n_faults = 1;
    Ok(tally)
}

/// Makes each file of the segments unreadable in turn: answers lack its rows and say so, and no others.
/// Returns how many files that were.
pub(crate) async fn unreadable() -> Outcome<u64> {
    let mut n = 0;
    while unreadable_file(n).await? {
        n += 1;
    }
    Ok(n as u64)
}

async fn unreadable_file(which: usize) -> Outcome<bool> {
    let rig = Rig::new()?;
    let store = rig.open().await?;
    let (mut kept, mut sent) = (Facts::default(), Facts::default());
    work(&store, &mut kept, &mut sent, &mut Tally::default()).await?;
    store.flush().await?;
    store.shutdown().await?;
    let files: Vec<PathBuf> = rig.memory.files().into_iter().filter(|f| f.starts_with("tenants")).collect();
    let Some(path) = files.get(which) else { return Ok(false) };
    let name = path.display().to_string();
    // Before the start, which reads ahead.
    rig.faulty.make_unreadable(path);
    let store = rig.open().await?;
    // The index of logs is only there to be quick.
    let is_needed = path.extension().is_none_or(|e| e != "index");
    let first = rig.read(&store);
    if let Err(error) = &first {
        let text = chain(error.as_ref());
        must(text.contains(&name), || format!("an error about {name} says {text:?}"))?;
    }
    // Whoever comes next is answered in part.
    for _ in 0..2 {
        let found = rig.read(&store).map_err(|e| format!("{name}: {}", chain(e.as_ref())))?;
        must(found.facts.is_part_of(&kept), || format!("{name}: wrong rows"))?;
        let said = found.missing.iter().any(|why| why.contains(&name));
        must(said == is_needed, || format!("{name}: answers lack {:?}", found.missing))?;
    }
    if is_needed {
        pass_until(&rig, "remembering the file", || store.status().n_damaged == 1).await?;
    }
    store.shutdown().await?;
    rig.faulty.heal();
    let store = rig.open().await?;
    let found = rig.read(&store)?;
    must(found.missing.is_empty() != is_needed, || format!("{name}: later, {:?}", found.missing))?;
    put_samples(&store, &[("s0".into(), NOW_MS, 5.0)]).await?;
    store.flush().await?;
    store.shutdown().await?;
    Ok(true)
}

/// Lets one read of `n` fail, once: whatever the answer, the next one is whole again before long.
pub(crate) async fn read_error(n: u64) -> Outcome<bool> {
    let rig = Rig::new()?;
    let store = rig.open().await?;
    let (mut kept, mut sent) = (Facts::default(), Facts::default());
    work(&store, &mut kept, &mut sent, &mut Tally::default()).await?;
    store.flush().await?;
    store.shutdown().await?;
    let store = rig.open().await?;
    let error = io::ErrorKind::Other;
    rig.faulty.inject(Fault { operation: Operation::Read, after: n, error, short: 0, for_ever: false });
    let mut came = false;
    for _ in 0..2 {
        match rig.read(&store) {
            Ok(found) => {
                must(found.facts.is_part_of(&kept), || "wrong rows".into())?;
                let is_whole = kept.is_part_of(&found.facts);
                must(is_whole || !found.missing.is_empty(), || "rows are missing in silence".into())?;
                came |= !found.missing.is_empty();
            }
            Err(error) => {
                let text = chain(error.as_ref());
                must(text.contains("tenants/"), || format!("an error names no file: {text:?}"))?;
                came = true;
            }
        }
    }
    pass_until(&rig, "a whole answer", || {
        rig.read(&store).is_ok_and(|found| found.missing.is_empty() && kept.is_part_of(&found.facts))
    })
    .await?;
    must(store.status().n_damaged == 0, || "one failed read counts as damage".into())?;
    // What was out of answers for a while is where it belongs in the order of writes.
    let newer: Vec<Sample> = kept.samples.keys().map(|(name, t)| (name.clone(), *t, 9.0)).collect();
    put_samples(&store, &newer).await?;
    kept.put_samples(&newer);
    sent.put_samples(&newer);
    store.flush().await?;
    check(&rig, &store, &kept, &sent)?;
    rig.end(store).await?;
    Ok(came)
}

/// Has syncs hang: senders wait and nobody is answered, readers do not, and nothing is lost in the end.
pub(crate) async fn standing_still() -> Outcome<()> {
    let rig = Rig::new()?;
    let store = rig.open().await?;
    let (mut kept, mut sent) = (Facts::default(), Facts::default());
    work(&store, &mut kept, &mut sent, &mut Tally::default()).await?;
    rig.faulty.hold(Operation::Sync);
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..40 {
        let samples = vec![(format!("slow{n}"), NOW_MS, n as f64)];
        sent.put_samples(&samples);
        let store = store.clone();
        senders.spawn(async move { put_samples(&store, &samples).await.map(|()| samples) });
    }
    pass_until(&rig, "a hanging sync", || rig.faulty.n_waiting() > 0).await?;
    check(&rig, &store, &kept, &sent)?;
    must(senders.try_join_next().is_none(), || "a sender is answered before its sync".into())?;
    rig.faulty.heal();
    while let Some(done) = senders.join_next().await {
        kept.put_samples(&done??);
    }
    check(&rig, &store, &kept, &sent)?;
    let nothing = Deletion { sets: Vec::new(), span: SpanMs::ALL };
    store.delete_series(&TenantId::new("nobody")?, nothing).await?;
    check(&rig, &store, &kept, &sent)?;
    store.shutdown().await?;
    Ok(())
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
