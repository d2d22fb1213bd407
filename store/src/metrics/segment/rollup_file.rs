//! Files of rollups: what [`rollup`](super::super::rollup) keeps of the series of a segment, a file for each width.
//!
//! A file of [blocks](super::blocks) with the keys first and last series. A block has, for each series in order:
//! its number as difference from the one before (from 0 at first); flags (bit 0: both sides of falls are kept, else
//! extremes; bit 1: each sample but the first stands for as many as its time is units from the one before, and the
//! first for itself); how many samples; the time of the first as signed difference from that of the series before,
//! a unit in milliseconds, and for each further sample how many units it is from the one before; without bit 1 how
//! many each stands for; the scale, signed differences of mantissas from 0 at first, and the exceptions: how many,
//! then for each its place and eight bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::decimal::{self, Decimals};
use super::super::rollup::{Keeps, Kept};
use super::super::varint;
use super::SegmentError;
use super::blocks::{BLOCK_BYTES, BlockFile, BlockPlace, BlockWriter, Content};
use super::row_writer::Effort;
use crate::disk::Disk;
use crate::read::{ReadError, Samples};
use crate::segment::SegmentFile;

const FALLS: u8 = 1;
const COUNTS_ARE_UNITS: u8 = 2;

/// More samples of one series in a day are damage, not data.
const SAMPLES_MAX: u64 = 1 << 20;

/// Takes series in order; creates the file with the first that is worth it.
#[derive(Debug)]
pub(super) struct RollupWriter {
    path: PathBuf,
    width_ms: i64,
    content: Content,
    effort: Effort,
    blocks: Option<BlockWriter>,
    plain: Vec<u8>,
    kept: Kept,
    decimals: Decimals,
    first: u32,
    last: Option<(u32, i64)>,
}

impl RollupWriter {
    /// Makes a writer for the file at `path`.
    pub(super) fn new(path: PathBuf, content: Content, width_ms: i64, effort: Effort) -> Self {
        Self {
            path,
            width_ms,
            content,
            effort,
            blocks: None,
            plain: Vec::new(),
            kept: Kept::default(),
            decimals: Decimals::default(),
            first: 0,
            last: None,
        }
    }

    /// Returns the file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a series, if its rollup is worth it.
    pub(super) fn push_series(
        &mut self,
        disk: &Arc<dyn Disk>,
        series: u32,
        samples: Samples<'_>,
    ) -> Result<(), SegmentError> {
        let Some(keeps) = self.kept.fill(self.width_ms, samples) else { return Ok(()) };
        let (before, time_before) = self.last.unwrap_or((0, 0));
        if self.last.is_none() {
            self.first = series;
        }
        varint::put(&mut self.plain, u64::from(series - before));
        self.put(keeps, time_before);
        self.last = Some((series, self.kept.t_ms[0]));
        if self.plain.len() >= BLOCK_BYTES {
            self.finish_block(disk)?;
        }
        Ok(())
    }

    fn put(&mut self, keeps: Keeps, time_before: i64) {
        let (out, kept) = (&mut self.plain, &self.kept);
        let steps = || kept.t_ms.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
        let unit = steps().fold(0, greatest_common_divisor).max(1);
        let expected = std::iter::once(1).chain(steps().map(|step| step / unit));
        let are_units = kept.counts.iter().zip(expected).all(|(count, want)| u64::from(*count) == want);
        let falls = if keeps == Keeps::Falls { FALLS } else { 0 };
        out.push(falls | if are_units { COUNTS_ARE_UNITS } else { 0 });
        varint::put(out, kept.t_ms.len() as u64);
        varint::put(out, varint::zigzag(kept.t_ms[0].wrapping_sub(time_before)));
        varint::put(out, unit);
        steps().for_each(|step| varint::put(out, step / unit));
        if !are_units {
            kept.counts.iter().for_each(|count| varint::put(out, u64::from(*count)));
        }
        self.decimals.fill(&kept.values);
        out.push(self.decimals.scale);
        let mut last = 0;
        for mantissa in &self.decimals.mantissas {
            varint::put(out, varint::zigzag(mantissa.wrapping_sub(last)));
            last = *mantissa;
        }
        varint::put(out, self.decimals.exceptions.len() as u64);
        for &at in &self.decimals.exceptions {
            varint::put(out, u64::from(at));
            out.extend_from_slice(&kept.values[at as usize].to_bits().to_le_bytes());
        }
    }

    fn finish_block(&mut self, disk: &Arc<dyn Disk>) -> Result<(), SegmentError> {
        let Some((last, _)) = self.last.take() else { return Ok(()) };
        let blocks = match &mut self.blocks {
            Some(blocks) => blocks,
            none => none.insert(BlockWriter::create(disk, self.path.clone(), self.content, self.effort)?),
        };
        blocks.push((i64::from(self.first), i64::from(last)), &self.plain)?;
        self.plain.clear();
        Ok(())
    }

    /// Makes the file durable; `None` where no series was worth it.
    pub(super) fn finish(&mut self, disk: &Arc<dyn Disk>) -> Result<Option<SegmentFile>, SegmentError> {
        self.finish_block(disk)?;
        self.blocks.take().map(BlockWriter::finish).transpose()
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Reads rollups, best in the order of series: a block is decompressed once for all that follow each other in it.
#[derive(Debug)]
pub(in crate::metrics) struct RollupReader {
    file: BlockFile,
    places: Vec<BlockPlace>,
    block: Option<usize>,
    plain: Vec<u8>,
    /// Where the next series of the block begins, and the one before it.
    at: usize,
    last: Option<(u32, i64)>,
    /// The series that was decoded last.
    keeps: Keeps,
    kept: Kept,
    mantissas: Vec<i64>,
}

impl RollupReader {
    /// Opens a file and reads where its blocks are.
    pub(super) fn open(file: &BlockFile) -> Result<Self, ReadError> {
        Ok(Self {
            file: file.clone(),
            places: file.places()?,
            block: None,
            plain: Vec::new(),
            at: 0,
            last: None,
            keeps: Keeps::Extremes,
            kept: Kept::default(),
            mantissas: Vec::new(),
        })
    }

    /// Finds what is kept of a series; `None` where it must be read from its rows.
    pub(in crate::metrics) fn series(&mut self, series: u32) -> Result<Option<(Keeps, &Kept)>, ReadError> {
        let key = i64::from(series);
        let at = self.places.partition_point(|place| place.keys.1 < key);
        let Some(place) = self.places.get(at).filter(|place| place.keys.0 <= key) else { return Ok(None) };
        if self.block != Some(at) || self.last.is_some_and(|(last, _)| last > series) {
            if self.block != Some(at) {
                self.block = None;
                self.plain = self.file.block(place)?;
            }
            (self.block, self.at, self.last) = (Some(at), 0, None);
        }
        while self.last.is_none_or(|(last, _)| last < series) && self.at < self.plain.len() {
            if self.take().is_none() {
                self.block = None;
                return Err(self.file.damaged("a block does not decode"));
            }
        }
        Ok(self.last.is_some_and(|(last, _)| last == series).then_some((self.keeps, &self.kept)))
    }

    /// Decodes the next series of the block.
    fn take(&mut self) -> Option<()> {
        let mut rest = &self.plain[self.at..];
        let step = u32::try_from(varint::take(&mut rest)?).ok()?;
        let (series, time_before) = match self.last {
            // Numbers rise, so a difference of 0 comes only at first.
            Some((last, t_ms)) => (last.checked_add(step).filter(|_| step > 0)?, t_ms),
            None => (step, 0),
        };
        let flags = varint::take_byte(&mut rest).filter(|flags| *flags <= FALLS | COUNTS_ARE_UNITS)?;
        self.keeps = if flags & FALLS > 0 { Keeps::Falls } else { Keeps::Extremes };
        let n = varint::take(&mut rest).filter(|n| (1..=SAMPLES_MAX).contains(n))?;
        let kept = &mut self.kept;
        kept.clear();
        let first = time_before.wrapping_add(varint::unzigzag(varint::take(&mut rest)?));
        let unit = varint::take(&mut rest)?;
        kept.t_ms.push(first);
        kept.counts.push(1);
        let mut t_ms = first;
        for _ in 1..n {
            let n_units = varint::take(&mut rest)?;
            t_ms = t_ms.checked_add_unsigned(n_units.checked_mul(unit).filter(|step| *step > 0)?)?;
            kept.t_ms.push(t_ms);
            kept.counts.push(u32::try_from(n_units).ok().or((flags & COUNTS_ARE_UNITS == 0).then_some(0))?);
        }
        if flags & COUNTS_ARE_UNITS == 0 {
            for count in &mut kept.counts {
                *count = u32::try_from(varint::take(&mut rest)?).ok()?;
            }
        }
        let scale = varint::take_byte(&mut rest).filter(|scale| *scale <= decimal::SCALE_MAX)?;
        self.mantissas.clear();
        let mut last = 0_i64;
        for _ in 0..n {
            last = last.wrapping_add(varint::unzigzag(varint::take(&mut rest)?));
            self.mantissas.push(last);
        }
        decimal::floats(&self.mantissas, scale, &mut kept.values);
        for _ in 0..varint::take(&mut rest).filter(|k| *k <= n)? {
            let at = usize::try_from(varint::take(&mut rest)?).ok()?;
            *kept.values.get_mut(at)? = varint::take_bits(&mut rest)?;
        }
        self.at = self.plain.len() - rest.len();
        self.last = Some((series, first));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::MemDisk;

    type Series = (u32, Vec<i64>, Vec<f64>);
    /// Number of the series after the one before, time, gaps with values, and what it is like.
    type Drawn = (u32, (i32, Vec<(u64, i16, f64)>), u8);

    fn write(all: &[Series]) -> Option<BlockFile> {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
        let mut writer = RollupWriter::new("f".into(), Content::Minutes, 60_000, Effort::Small);
        for (series, t_ms, values) in all {
            let samples = Samples { t_ms, values, histograms: &[], counts: &[] };
            writer.push_series(&disk, *series, samples).unwrap();
        }
        let file = writer.finish(&disk).unwrap()?;
        Some(BlockFile::new(Content::Minutes, "f".into(), disk.open(&file.path).unwrap()))
    }

    fn series() -> impl Strategy<Value = Vec<Series>> {
        let samples =
            (any::<i32>(), proptest::collection::vec((1..2500u64, any::<i16>(), any::<f64>()), 30..90));
        let one = (1..5u32, samples, 0..3u8);
        proptest::collection::vec(one, 0..12).prop_map(|all| {
            let mut number = 0;
            let of = |(step, (start, samples), kind): Drawn| {
                number += step;
                let mut t = i64::from(start);
                let mut t_ms = Vec::new();
                for (gap, _, _) in &samples {
                    t += if kind == 0 { 1000 } else { *gap as i64 };
                    t_ms.push(t);
                }
                let value = |(i, sample): (usize, &(u64, i16, f64))| match kind {
                    0 => i as f64,
                    1 => f64::from(sample.1) / 100.0,
                    _ => sample.2,
                };
                (number, t_ms, samples.iter().enumerate().map(value).collect())
            };
            all.into_iter().map(of).collect()
        })
    }

    proptest! {
        #[test]
        fn what_was_kept_comes_back_in_any_order(all in series(), order in proptest::collection::vec(0..60u32, 1..40)) {
            let Some(file) = write(&all) else { return Ok(()) };
            let mut reader = RollupReader::open(&file).unwrap();
            let mut expected = Kept::default();
            for number in order {
                let found = reader.series(number).unwrap();
                let given = all.iter().find(|series| series.0 == number);
                let want = given.and_then(|(_, t_ms, values)| {
                    expected.fill(60_000, Samples { t_ms, values, histograms: &[], counts: &[] })
                });
                prop_assert_eq!(found.as_ref().map(|found| found.0), want);
                if let Some((_, kept)) = found {
                    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(&kept.t_ms, &expected.t_ms);
                    prop_assert_eq!(&kept.counts, &expected.counts);
                    prop_assert_eq!(bits(&kept.values), bits(&expected.values));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
            let mut blocks = BlockWriter::create(&disk, "f".into(), Content::Hours, Effort::Quick).unwrap();
            blocks.push((0, 100), &plain).unwrap();
            blocks.finish().unwrap();
            let file = BlockFile::new(Content::Hours, "f".into(), disk.open(Path::new("f")).unwrap());
            let mut reader = RollupReader::open(&file).unwrap();
            for number in 0..100 {
                let _ = reader.series(number);
            }
        }
    }
}
