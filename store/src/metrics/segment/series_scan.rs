//! Goes through the series of a segment in order, a batch at a time, with their rows.

use std::sync::Arc;
use std::vec::IntoIter;

use super::index::{Places, corrupt, read};
use super::series_file::{Batches, SeriesRows};
use super::{RowReader, Segment};
use crate::metrics::samples::Columns;
use crate::model::Labels;
use crate::read::{ReadError, SpanMs};

/// Stands at one series after the other. It holds a few thousand of them, however many the segment has: this is how
/// merges read, whose inputs together may have more series than fit into memory.
#[derive(Debug)]
pub(in crate::metrics) struct SeriesScan {
    segment: Arc<Segment>,
    batches: Batches,
    batch: IntoIter<(Labels, SeriesRows)>,
    current: Option<(Labels, SeriesRows)>,
    /// Number of the series at which it stands.
    number: u32,
    /// Row after those of the current series.
    next_row: u64,
    rows: RowReader,
}

impl SeriesScan {
    /// Stands at the first series. Checks the file of series and the footer of the samples against checksums.
    pub(in crate::metrics) fn new(segment: &Arc<Segment>) -> Result<Self, ReadError> {
        let [_, series_file, ..] = segment.meta.files.as_slice() else {
            unreachable!("opening a segment checks that it has these files");
        };
        let bytes = read(segment.series.as_ref(), series_file, 0)?;
        if *blake3::hash(&bytes).as_bytes() != series_file.blake3 {
            return Err(corrupt(series_file, "its checksum differs from the catalog's".into()));
        }
        let batches = Batches::open(bytes).map_err(|detail| corrupt(series_file, detail))?;
        let places = Places::load(segment, &batches.tail, segment.meta.n_rows)?;
        let rows = RowReader::new(Arc::clone(segment), Arc::new(places));
        let batch = Vec::new().into_iter();
        let mut scan = Self {
            segment: Arc::clone(segment),
            batches,
            batch,
            current: None,
            number: 0,
            next_row: 0,
            rows,
        };
        scan.current = scan.take()?;
        Ok(scan)
    }

    /// Returns the series at which it stands; `None` at the end.
    pub(in crate::metrics) fn series(&self) -> Option<&Labels> {
        self.current.as_ref().map(|(labels, _)| labels)
    }

    /// Appends all samples of the series at which it stands, and goes on to the next one.
    pub(in crate::metrics) fn read(&mut self, columns: &mut Columns) -> Result<(), ReadError> {
        let Some((labels, place)) = self.current.take() else { return Ok(()) };
        self.rows.read(self.number, &place, SpanMs::ALL, columns)?;
        self.current = self.take()?;
        self.number += 1;
        match &self.current {
            Some((next, _)) if *next <= labels => Err(self.damaged("its series are not in order")),
            None if self.next_row != self.segment.meta.n_rows => {
                Err(self.damaged("its series have other rows than the catalog says"))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self) -> Result<Option<(Labels, SeriesRows)>, ReadError> {
        loop {
            if let Some(next) = self.batch.next() {
                return Ok(Some(next));
            }
            match self.batches.next(&mut self.next_row).map_err(|detail| self.damaged(&detail))? {
                Some(batch) => self.batch = batch.into_iter(),
                None => return Ok(None),
            }
        }
    }

    fn damaged(&self, detail: &str) -> ReadError {
        corrupt(&self.segment.meta.files[1], detail.into())
    }
}
