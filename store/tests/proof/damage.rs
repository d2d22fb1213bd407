//! Files that are cut, and bits that flip, in everything that a store keeps.
//!
//! What is then asked must be answered as ever, or answered in part with a sentence that says so, or refused. No row
//! may be wrong, none may be missing in silence, and nothing may panic.

use std::collections::BTreeMap;
use std::path::Path;

use greylight_store::Store;
use greylight_store::config::ByteSize;
use greylight_store::metrics::Deletion;
use greylight_store::model::{TenantId, Timestamp};
use greylight_store::read::SpanMs;
use greylight_store::records::{Expect, OutboxItem, OutgoingFilter, Transaction};

use super::facts::{Facts, Found, Record, Sample};
use super::rig::{Image, NOW_MS, Rig, put_records, put_samples};
use super::{Chance, Outcome, must};

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A file of the log.
    Log,
    /// Rows of metrics.
    Samples,
    /// Series of metrics.
    Series,
    /// Rows of logs.
    Records,
    /// The index of logs.
    Index,
    /// The catalog.
    Catalog,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Log, Self::Samples, Self::Series, Self::Records, Self::Index, Self::Catalog];

    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let kinds = [
            (".wal", Self::Log),
            (".samples.parquet", Self::Samples),
            (".series.parquet", Self::Series),
            (".parquet", Self::Records),
            (".index", Self::Index),
        ];
        kinds.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| kind)
    }
}

/// How trials ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) n_trials: u64,
    /// Everything was answered.
    pub(crate) n_whole: u64,
    /// Something was missing, and every answer said so.
    pub(crate) n_partial: u64,
    /// The store did not open, or a query failed, and said why.
    pub(crate) n_refused: u64,
}

/// A folder and what it holds.
#[derive(Debug)]
pub(crate) struct Subject {
    image: Image,
    facts: Facts,
    /// What the log's last file adds, group by group, the first entry without any.
    prefixes: Vec<Facts>,
}

impl Subject {
    /// Makes a small folder with everything in it: segments of both tables in several windows and two files of
    /// the log.
    pub(crate) async fn new() -> Outcome<Self> {
        let mut rig = Rig::new()?;
        rig.config.wal_file_bytes = ByteSize(1 << 20);
        let mut facts = Facts::default();
        let store = rig.open().await?;
        for i in 0..2 {
            put(&store, &mut facts, i).await?;
            seal(&store).await?;
        }
        put(&store, &mut facts, 2).await?;
        let message = OutboxItem {
            id: MESSAGE.into(),
            queue: "hook".into(),
            ordering_key: String::new(),
            body: DOCUMENT.into(),
            not_before: Timestamp::from_millis(NOW_MS),
        };
        let both = Transaction::default().put("release", "r1", Expect::Absent, DOCUMENT).send(message);
        store.records().commit(&TenantId::default(), both).await?;
        store.shutdown().await?;
        // Another process begins another file of the log.
        let store = rig.open().await?;
        let mut prefixes = vec![facts.clone()];
        for i in 3..6 {
            put(&store, &mut facts, i).await?;
            prefixes.push(facts.clone());
        }
        store.shutdown().await?;
        Ok(Self { image: rig.image()?, facts, prefixes })
    }

    /// Returns how many bytes there are of each kind.
    pub(crate) fn bytes(&self) -> BTreeMap<Kind, u64> {
        let mut bytes = BTreeMap::from([(Kind::Catalog, self.image.catalog.len() as u64)]);
        for (path, content) in &self.image.files {
            if let Some(kind) = Kind::of(path) {
                *bytes.entry(kind).or_default() += content.len() as u64;
            }
        }
        bytes
    }

    /// Flips one bit of all bits of a kind.
    pub(crate) async fn flip(&self, kind: Kind, bit: u64, tally: &mut Tally) -> Outcome<()> {
        let mut image = self.image.clone();
        let mut at = (bit / 8) as usize;
        let mask = 1u8 << (bit % 8);
        let mut name = "the catalog".to_owned();
        if kind == Kind::Catalog {
            image.catalog[at] ^= mask;
        } else {
            for (path, content) in image.files.iter_mut().filter(|(path, _)| Kind::of(path) == Some(kind)) {
                if at < content.len() {
                    content[at] ^= mask;
                    name = path.display().to_string();
                    break;
                }
                at -= content.len();
            }
        }
        let done = self.look(&image, tally).await;
        done.map_err(|e| format!("bit {} of byte {at} of {name}: {e}", bit % 8).into())
    }

    /// Cuts a file to a part of its length, and sometimes fills the rest with zeros.
    pub(crate) async fn cut(&self, kind: Kind, chance: &mut Chance, tally: &mut Tally) -> Outcome<()> {
        let mut image = self.image.clone();
        let mut files: Vec<_> =
            image.files.iter_mut().filter(|(path, _)| Kind::of(path) == Some(kind)).collect();
        // The end of the log's last file is another matter: there, a cut is no damage.
        if kind == Kind::Log {
            files.pop();
        }
        let n = files.len() as u64;
        let (path, content) = files.swap_remove(chance.below(n) as usize);
        let (len, name) = (content.len(), path.display().to_string());
        let at = chance.below(len as u64) as usize;
        content.truncate(at);
        if chance.one_in(2) {
            content.resize(len, 0);
        }
        self.look(&image, tally).await.map_err(|e| format!("{name} cut at {at}: {e}").into())
    }

    /// Returns the length of the log's last file.
    pub(crate) fn tail_bytes(&self) -> u64 {
        self.tail().map_or(0, |i| self.image.files[i].1.len() as u64)
    }

    fn tail(&self) -> Option<usize> {
        (0..self.image.files.len()).rfind(|&i| Kind::of(&self.image.files[i].0) == Some(Kind::Log))
    }

    /// Cuts the log's last file, as a death in the middle of a write does: what came before is there, whole.
    pub(crate) async fn tear(&self, len: u64) -> Outcome<()> {
        let mut image = self.image.clone();
        let Some(tail) = self.tail() else { return Err("there is no log".into()) };
        image.files[tail].1.truncate(len as usize);
        let rig = Rig::from_image(&image)?;
        for again in [false, true] {
            let store = rig.open().await?;
            let found = rig.read(&store)?;
            store.shutdown().await?;
            must(found.missing.is_empty(), || {
                format!("cut at {len}, again: {again}: lacks {:?}", found.missing)
            })?;
            let is_prefix = self
                .prefixes
                .iter()
                .any(|facts| facts.is_part_of(&found.facts) && found.facts.is_part_of(&self.facts));
            must(is_prefix, || format!("cut at {len}, again: {again}: what is left is no prefix"))?;
        }
        Ok(())
    }

    /// Opens the folder, reads it, checks it, seals it, and reads it again in a second life.
    async fn look(&self, image: &Image, tally: &mut Tally) -> Outcome<()> {
        tally.n_trials += 1;
        let rig = Rig::from_image(image)?;
        let mut partial = false;
        for life in 0..2 {
            let store = match rig.open().await {
                Ok(store) => store,
                Err(error) => {
                    must(!error.to_string().is_empty(), || "an error says nothing".into())?;
                    tally.n_refused += 1;
                    return Ok(());
                }
            };
            look_at_records(&store).await.map_err(|e| format!("life {life}: {e}"))?;
            for look in 0..3 {
                match rig.read(&store) {
                    Ok(found) => {
                        partial |= self.judge(&found).map_err(|e| format!("life {life}, look {look}: {e}"))?
                    }
                    // The first reader may be who finds it; whoever asks next is answered.
                    Err(_) if look == 0 => {}
                    Err(error) => return Err(format!("life {life}, look {look}: {error}").into()),
                }
                match look {
                    0 => drop(store.verify().await?),
                    // What is damaged may be in the way of a merge, which says so.
                    _ => drop(store.flush().await),
                }
            }
            store.shutdown().await?;
        }
        if partial {
            tally.n_partial += 1;
        } else {
            tally.n_whole += 1;
        }
        Ok(())
    }

    /// Tells whether an answer is partial; an error where a row is wrong, or missing in silence.
    fn judge(&self, found: &Found) -> Outcome<bool> {
        must(found.facts.is_part_of(&self.facts), || {
            format!("wrong: {}", self.facts.difference(&found.facts, i64::MAX).unwrap_or_default())
        })?;
        let is_whole = self.facts.is_part_of(&found.facts);
        must(is_whole || !found.missing.is_empty(), || {
            format!("in silence: {}", self.facts.difference(&found.facts, i64::MIN).unwrap_or_default())
        })?;
        Ok(!found.missing.is_empty())
    }
}

const DOCUMENT: &str = "what the release is";
const MESSAGE: &str = "01K00000000000000000000000";

/// Reads the document and the message: they are as they were put, or refused.
async fn look_at_records(store: &Store) -> Outcome<()> {
    let (records, tenant) = (store.records(), TenantId::default());
    if let Ok(found) = records.get(&tenant, "release", "r1").await {
        let body = found.map(|document| document.body);
        must(body.as_deref() == Some(DOCUMENT.as_bytes()), || format!("the document says {body:?}"))?;
    }
    if let Ok(found) = records.outgoing(&tenant, OutgoingFilter::default()).await {
        let is_whole = matches!(found.as_slice(), [item] if item.id == MESSAGE && item.queue == "hook"
            && item.body == DOCUMENT.as_bytes() && item.attempts == 0);
        must(is_whole, || format!("the outbox has {found:?}"))?;
    }
    Ok(())
}

async fn put(store: &Store, facts: &mut Facts, i: i64) -> Outcome<()> {
    let at = NOW_MS + i * 1000;
    // Series that no batch before had, so that every frame says something that later ones use.
    let samples: Vec<Sample> = (0..4)
        .map(|n| (format!("s{}", n + i), at - (i % 2) * 9_000_000, (n + i) as f64 / 3.0))
        .chain([("always".to_owned(), at, f64::NAN), ("always".to_owned(), at - 9_000_000, 7.0)])
        .collect();
    put_samples(store, &samples).await?;
    facts.put_samples(&samples);
    let body = |n: i64| {
        format!("request {i} of cart-{n} from 10.0.{i}.{n} took {} ms id {:032x}", n * 7, n * i * 977)
    };
    let records: Vec<Record> = (0..4).map(|n| (at - n * 9_000_000, body(n))).collect();
    put_records(store, &records).await?;
    facts.put_records(&records);
    Ok(())
}

/// Seals and does not merge: a deletion seals first, and this one has nothing to delete.
async fn seal(store: &Store) -> Outcome<()> {
    let nothing = Deletion { sets: vec![Vec::new()], span: SpanMs::ALL };
    store.delete_series(&TenantId::new("nobody")?, nothing).await?;
    Ok(())
}
