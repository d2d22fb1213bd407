//! The text index of a segment: which blocks of rows have a word, which row groups an identifier.
//!
//! Words of constant text are in the layout's patterns already, once each; this holds the words of
//! slots. A document is a block of [`BLOCK_ROWS`] rows: rows are ordered by pattern and stream, so
//! a word's rows are close together, and a posting a row would be many times larger. Words that
//! look like identifiers go into a bloom filter for each row group; numbers go nowhere.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `GLTEXT02` |
//! | 8 | length of the file with the rows, little-endian |
//! | 4 | number of row groups |
//! | 4 a group | its blocks |
//! | a group | bloom filter: 4 bytes number of 64-bit words, the words |
//! | 4 | number of index files |
//! | a file | 4 bytes length of its name, name, 8 bytes length, content: a tantivy index of one segment |
//! | 4 | CRC32C of all before |

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tantivy::directory::{Directory, RamDirectory};
use tantivy::postings::TermInfo;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{DocSet, InvertedIndexReader, SingleSegmentIndexWriter, TERMINATED, TantivyDocument, Term};
use xxhash_rust::xxh3::xxh3_64;

use super::anchored::Anchored;
use super::eval::{Candidates, Plan};
use super::fields::FieldAt;
use super::query::{Letters, Test};
use crate::metrics::hashing::{BytesState, IdentityState};
use crate::model::{SpanId, TraceId, write_hex};
use crate::pattern::{WORD_BYTES_MAX, WordPlace, classify, for_each_word, is_cjk, shows_letters, word_place};
use crate::read::ReadError;

const MAGIC: &[u8; 8] = b"GLTEXT02";
/// The version before: blocks have no marks.
const MAGIC_WITHOUT_MARKS: &[u8; 8] = b"GLTEXT01";
/// What a block has as a word when it has words that hide letters, as [`classify`] says.
const HIDDEN: &str = "\u{1}hidden";
/// What a block has as a word when a slot's text begins or ends with an escape, or half of one.
const EDGE: &str = "\u{1}edge";
/// Rows of one document.
const BLOCK_ROWS: usize = 1024;
/// Bits a key and probes of a bloom filter: about 2 % false positives.
const BLOOM_BITS: usize = 8;
const BLOOM_PROBES: u64 = 5;
/// What tantivy may use while it builds; it asks for at least 15 MB.
const BUILD_BYTES: usize = 15_000_000;

/// Collects the words of a segment while its row groups are made. Only those of the present row group are in memory
/// as they are; what tantivy makes of those before it is much smaller.
#[derive(Default)]
pub(super) struct IndexBuilder {
    /// For each finished row group how many blocks it has, and its filter.
    groups: Vec<(usize, Vec<u64>)>,
    present: Option<GroupWords>,
    writer: Option<WordsWriter>,
    /// Texts whose words the present block has already.
    seen: HashSet<u64, IdentityState>,
    seen_block: usize,
    /// The block that was last marked as one that hides letters.
    hidden_in: Option<usize>,
    buffer: String,
}

#[derive(Debug, Default)]
struct GroupWords {
    blocks: Vec<HashSet<Box<str>, BytesState>>,
    ids: HashSet<u64, IdentityState>,
}

impl GroupWords {
    fn add(&mut self, block: usize, word: &str) {
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, HashSet::default);
        }
        if !self.blocks[block].contains(word) {
            self.blocks[block].insert(word.into());
        }
    }
}

impl IndexBuilder {
    /// Starts the next row group.
    ///
    /// # Errors
    /// When the words of the one before cannot be taken in.
    pub(super) fn start_group(&mut self) -> io::Result<()> {
        self.end_group()?;
        self.present = Some(GroupWords::default());
        self.seen.clear();
        self.hidden_in = None;
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        let Some(group) = self.present.take() else { return Ok(()) };
        self.groups.push((group.blocks.len(), bloom(&group.ids)));
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(WordsWriter::new()?),
        };
        group.blocks.into_iter().try_for_each(|block| writer.add(block))
    }

    /// Adds a text that rows of the present group have in a slot, all of them.
    pub(super) fn add_constant(&mut self, rows: Range<usize>, text: &str, may_be_escaped: bool) {
        let mut row = rows.start;
        while row < rows.end {
            self.add(row, text, may_be_escaped);
            row = (row / BLOCK_ROWS + 1) * BLOCK_ROWS;
        }
    }

    /// Adds the text that a row of the present group has in a slot. In a JSON line it may be
    /// escaped, and searches of fields see it without escapes.
    pub(super) fn add(&mut self, row: usize, text: &str, may_be_escaped: bool) {
        let block = row / BLOCK_ROWS;
        if block != self.seen_block {
            self.seen.clear();
            self.seen_block = block;
        }
        let is_escaped = may_be_escaped && text.contains('\\');
        if !self.seen.insert(xxh3_64(text.as_bytes()) ^ u64::from(is_escaped)) {
            return;
        }
        self.add_words(block, text);
        if is_escaped {
            if text.starts_with('\\') || text.ends_with('\\') {
                self.mark(block, EDGE);
            }
            let plain = super::fields::unescaped(text).into_owned();
            self.add_words(block, &plain);
        }
    }

    /// Adds the ids of a row of the present group.
    pub(super) fn add_ids(&mut self, trace: Option<TraceId>, span: Option<SpanId>) {
        let Some(group) = &mut self.present else { return };
        let buffer = &mut self.buffer;
        let mut add = |bytes: &[u8]| {
            buffer.clear();
            write_hex(bytes, buffer);
            group.ids.insert(xxh3_64(buffer.as_bytes()));
        };
        if let Some(id) = trace {
            add(&id);
        }
        if let Some(id) = span {
            add(&id);
        }
    }

    fn add_words(&mut self, block: usize, text: &str) {
        let Some(group) = &mut self.present else { return };
        let is_marked = self.hidden_in == Some(block);
        let mut hides = is_marked || is_cut(text);
        for_each_word(text, &mut self.buffer, &mut |word| {
            let (place, hides_letters) = classify(word);
            match place {
                WordPlace::Filter => drop(group.ids.insert(xxh3_64(word.as_bytes()))),
                WordPlace::Posting => group.add(block, word),
                WordPlace::Nowhere => {}
            }
            hides |= hides_letters;
        });
        if hides && !is_marked {
            self.hidden_in = Some(block);
            self.mark(block, HIDDEN);
        }
    }

    fn mark(&mut self, block: usize, mark: &str) {
        if let Some(group) = &mut self.present {
            group.add(block, mark);
        }
    }

    /// Builds the index file for a file of rows of this length.
    pub(super) fn finish(mut self, rows_bytes: u64) -> io::Result<Vec<u8>> {
        self.end_group()?;
        let mut out = MAGIC.to_vec();
        out.extend(rows_bytes.to_le_bytes());
        put_len(&mut out, self.groups.len())?;
        for (n_blocks, _) in &self.groups {
            put_len(&mut out, *n_blocks)?;
        }
        for (_, filter) in &self.groups {
            put_len(&mut out, filter.len())?;
            filter.iter().for_each(|word| out.extend(word.to_le_bytes()));
        }
        let writer = self.writer.map_or_else(WordsWriter::new, Ok)?;
        let files = writer.finish()?;
        put_len(&mut out, files.len())?;
        for (name, content) in files {
            put_len(&mut out, name.len())?;
            out.extend(name.as_bytes());
            out.extend((content.len() as u64).to_le_bytes());
            out.extend(content);
        }
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        Ok(out)
    }
}

impl std::fmt::Debug for IndexBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexBuilder").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

/// Tells whether a text has a word that is cut before it is folded into fewer bytes.
fn is_cut(text: &str) -> bool {
    let parts_words = |c: char| !c.is_alphanumeric() || is_cjk(c);
    text.len() > WORD_BYTES_MAX
        && !text.is_ascii()
        && text.split(parts_words).any(|word| word.len() > WORD_BYTES_MAX)
}

fn put_len(out: &mut Vec<u8>, n: usize) -> io::Result<()> {
    out.extend(u32::try_from(n).map_err(io::Error::other)?.to_le_bytes());
    Ok(())
}

fn schema() -> (Schema, Field) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default().set_tokenizer("raw").set_fieldnorms(false);
    let options =
        TextOptions::default().set_indexing_options(indexing.set_index_option(IndexRecordOption::Basic));
    let field = builder.add_text_field("word", options);
    (builder.build(), field)
}

/// Builds the tantivy index; its documents are the blocks of all groups in order.
struct WordsWriter {
    directory: RamDirectory,
    field: Field,
    writer: SingleSegmentIndexWriter,
}

impl WordsWriter {
    fn new() -> io::Result<Self> {
        let (schema, field) = schema();
        let directory = RamDirectory::create();
        let writer = tantivy::Index::builder()
            .schema(schema)
            .single_segment_index_writer(directory.clone(), BUILD_BYTES)
            .map_err(io::Error::other)?;
        Ok(Self { directory, field, writer })
    }

    fn add(&mut self, block: HashSet<Box<str>, BytesState>) -> io::Result<()> {
        let mut words: Vec<Box<str>> = block.into_iter().collect();
        words.sort_unstable();
        let mut document = TantivyDocument::default();
        words.iter().for_each(|word| document.add_text(self.field, word));
        self.writer.add_document(document).map_err(io::Error::other)
    }

    fn finish(self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let index = self.writer.finalize().map_err(io::Error::other)?;
        let mut files = Vec::new();
        let mut names: Vec<PathBuf> = index.directory().list_managed_files().into_iter().collect();
        names.push(PathBuf::from("meta.json"));
        names.sort_unstable();
        names.dedup();
        for name in names {
            let Ok(content) = self.directory.atomic_read(&name) else { continue };
            files.push((name.to_string_lossy().into_owned(), content));
        }
        Ok(files)
    }
}

fn bloom(ids: &HashSet<u64, IdentityState>) -> Vec<u64> {
    if ids.is_empty() {
        return Vec::new();
    }
    let mut words = vec![0u64; (ids.len() * BLOOM_BITS).div_ceil(64)];
    let n_bits = words.len() as u64 * 64;
    for &id in ids {
        for bit in probes(id, n_bits) {
            words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }
    words
}

fn probes(id: u64, n_bits: u64) -> impl Iterator<Item = u64> {
    let step = (id >> 32) | 1;
    (0..BLOOM_PROBES).map(move |n| id.wrapping_add(n.wrapping_mul(step)) % n_bits)
}

/// The index of one segment, in memory.
#[derive(Debug)]
pub(super) struct Index {
    /// For each row group its first document and how many it has.
    groups: Vec<(u32, u32)>,
    blooms: Vec<Vec<u64>>,
    words: Option<Words>,
    has_marks: bool,
}

struct Words {
    reader: Arc<InvertedIndexReader>,
    field: Field,
    /// Documents of words that were asked for.
    known: Mutex<HashMap<Box<str>, Arc<[u32]>>>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").finish_non_exhaustive()
    }
}

impl Index {
    /// Reads an index file that belongs to a file of rows of this length.
    pub(super) fn read(bytes: &[u8], rows_bytes: u64) -> Result<Self, String> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or("it is cut short")?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err("its checksum is wrong".into());
        }
        let has_marks = !body.starts_with(MAGIC_WITHOUT_MARKS);
        let magic = if has_marks { MAGIC } else { MAGIC_WITHOUT_MARKS };
        let mut rest = body.strip_prefix(magic).ok_or("it is no index, or of another version")?;
        if take_long(&mut rest)? != rows_bytes {
            return Err("it belongs to another file of rows".into());
        }
        let n_groups = take_len(&mut rest)?;
        let mut groups = Vec::new();
        let mut first = 0u32;
        for _ in 0..n_groups {
            let n = u32::try_from(take_len(&mut rest)?).map_err(|e| e.to_string())?;
            groups.push((first, n));
            first = first.checked_add(n).ok_or("it has too many blocks")?;
        }
        let mut blooms = Vec::new();
        for _ in 0..n_groups {
            let n = take_len(&mut rest)?;
            let words = take(&mut rest, n.checked_mul(8).ok_or("a filter is too long")?)?;
            blooms.push(words.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect());
        }
        let directory = RamDirectory::create();
        for _ in 0..take_len(&mut rest)? {
            let n = take_len(&mut rest)?;
            let name = std::str::from_utf8(take(&mut rest, n)?).map_err(|e| e.to_string())?.to_owned();
            let n = usize::try_from(take_long(&mut rest)?).map_err(|e| e.to_string())?;
            directory.atomic_write(Path::new(&name), take(&mut rest, n)?).map_err(|e| e.to_string())?;
        }
        let words = Words::open(directory).map_err(|e| e.to_string())?;
        Ok(Self { groups, blooms, words, has_marks })
    }

    /// For each block of a group whether it has the word.
    fn blocks(&self, group: usize, word: &str) -> Result<Vec<bool>, ReadError> {
        self.of_group(group, |words| words.documents(word))
    }

    fn of_group(
        &self,
        group: usize,
        documents: impl FnOnce(&Words) -> Result<Arc<[u32]>, ReadError>,
    ) -> Result<Vec<bool>, ReadError> {
        let (first, n) = self.groups[group];
        let mut out = vec![false; n as usize];
        if let Some(words) = &self.words {
            for &document in documents(words)?.iter() {
                if let Some(block) = document.checked_sub(first).filter(|b| *b < n) {
                    out[block as usize] = true;
                }
            }
        }
        Ok(out)
    }

    fn may_have_id(&self, group: usize, word: &str) -> bool {
        let filter = &self.blooms[group];
        let n_bits = filter.len() as u64 * 64;
        n_bits > 0
            && probes(xxh3_64(word.as_bytes()), n_bits)
                .all(|bit| filter[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }
}

impl Words {
    fn open(directory: RamDirectory) -> tantivy::Result<Option<Self>> {
        let index = tantivy::Index::open(directory)?;
        let searcher = index.reader()?.searcher();
        let Some(segment) = searcher.segment_readers().first() else { return Ok(None) };
        let field = index.schema().get_field("word")?;
        Ok(Some(Self { reader: segment.inverted_index(field)?, field, known: Mutex::default() }))
    }

    fn documents(&self, word: &str) -> Result<Arc<[u32]>, ReadError> {
        self.known(word, || {
            let mut list = Vec::new();
            if let Some(term) = self.reader.get_term_info(&Term::from_field_text(self.field, word))? {
                self.each_document(&term, &mut |document| list.push(document))?;
            }
            Ok(list)
        })
    }

    /// Documents of all words that have these letters in them.
    fn documents_with(&self, letters: &str) -> Result<Arc<[u32]>, ReadError> {
        self.known(&format!("\u{1}with {letters}"), || {
            let mut found = BTreeSet::new();
            let finder = memchr::memmem::Finder::new(letters.as_bytes());
            let mut terms = self.reader.terms().stream()?;
            while terms.advance() {
                if finder.find(terms.key()).is_some() {
                    self.each_document(terms.value(), &mut |document| {
                        found.insert(document);
                    })?;
                }
            }
            Ok(found.into_iter().collect())
        })
    }

    /// Documents of all words that begin so.
    fn documents_from(&self, prefix: &str) -> Result<Arc<[u32]>, ReadError> {
        self.known(&format!("\u{1}from {prefix}"), || {
            let mut found = BTreeSet::new();
            let mut terms = self.reader.terms().range().ge(prefix.as_bytes()).into_stream()?;
            while terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
                self.each_document(terms.value(), &mut |document| {
                    found.insert(document);
                })?;
            }
            Ok(found.into_iter().collect())
        })
    }

    fn each_document(&self, term: &TermInfo, visit: &mut dyn FnMut(u32)) -> io::Result<()> {
        let mut postings = self.reader.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
        let mut document = postings.doc();
        while document != TERMINATED {
            visit(document);
            document = postings.advance();
        }
        Ok(())
    }

    /// What was read under this name, or is now.
    fn known(
        &self,
        name: &str,
        read: impl FnOnce() -> io::Result<Vec<u32>>,
    ) -> Result<Arc<[u32]>, ReadError> {
        if let Some(list) = self.known.lock().get(name) {
            return Ok(Arc::clone(list));
        }
        let list = read().map_err(|e| ReadError::Io { path: "a text index".into(), source: e })?;
        let list: Arc<[u32]> = list.into();
        let mut known = self.known.lock();
        // Enough for the words of the searches that people repeat.
        if known.len() >= 256 {
            known.clear();
        }
        known.insert(name.into(), Arc::clone(&list));
        Ok(list)
    }
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let (taken, tail) = rest.split_at_checked(n).ok_or("it is cut short")?;
    *rest = tail;
    Ok(taken)
}

fn take_len(rest: &mut &[u8]) -> Result<usize, String> {
    let bytes = take(rest, 4)?;
    Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
}

fn take_long(rest: &mut &[u8]) -> Result<u64, String> {
    let bytes = take(rest, 8)?;
    Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

/// What an index, if there is one, knows of one row group.
#[derive(Debug)]
pub(super) struct GroupIndex {
    index: Option<Arc<Index>>,
    group: usize,
}

impl GroupIndex {
    pub(super) fn new(index: Option<Arc<Index>>, group: usize) -> Self {
        // An index of another number of groups cannot be this segment's; it was read for its
        // file's length, so this is a second fence.
        let index = index.filter(|index| group < index.groups.len());
        Self { index, group }
    }

    /// Blocks that have all of the words that an index knows.
    fn with_words(&self, index: &Index, words: &[String]) -> Result<Option<Vec<bool>>, ReadError> {
        let mut out = None;
        for word in words {
            match word_place(word) {
                WordPlace::Filter if !index.may_have_id(self.group, word) => return Ok(Some(Vec::new())),
                WordPlace::Filter | WordPlace::Nowhere => {}
                WordPlace::Posting => out = both(out, Some(index.blocks(self.group, word)?)),
            }
        }
        Ok(out)
    }

    /// Adds the blocks with a mark to those that were found; where all may do, they do.
    fn or_marked(
        &self,
        index: &Index,
        blocks: Option<Vec<bool>>,
        mark: &str,
    ) -> Result<Option<Vec<bool>>, ReadError> {
        match blocks {
            Some(blocks) => Ok(either(Some(blocks), Some(index.blocks(self.group, mark)?))),
            None => Ok(None),
        }
    }

    /// Blocks that may have some of the letters in a variable.
    fn with_any_letters(&self, index: &Index, list: &[&Letters]) -> Result<Option<Vec<bool>>, ReadError> {
        if !index.has_marks {
            return Ok(None);
        }
        let mut out = Some(Vec::new());
        for letters in list {
            let blocks = match letters.pairs.as_slice() {
                [] => {
                    let has = index.of_group(self.group, |words| words.documents_with(&letters.text))?;
                    self.or_marked(index, Some(has), HIDDEN)?
                }
                pairs => self.with_words(index, pairs)?,
            };
            out = either(out, blocks);
        }
        Ok(out)
    }

    fn letters_of(&self, index: &Index, anchored: &Anchored) -> Result<Option<Vec<bool>>, ReadError> {
        let anchors = anchored.test.anchors().unwrap_or_default();
        let letters: Vec<&Letters> = anchors.iter().map(|anchor| &anchor.letters).collect();
        let blocks = self.with_any_letters(index, &letters)?;
        match anchored.at {
            FieldAt::Message { .. } => self.or_marked(index, blocks, EDGE),
            _ => Ok(blocks),
        }
    }

    fn blocks_of(&self, index: &Index, plan: &Plan) -> Result<Option<Vec<bool>>, ReadError> {
        match plan {
            Plan::Word(Test::Prefix(_, last)) if index.has_marks && shows_letters(last) => {
                let has = index.of_group(self.group, |words| words.documents_from(last))?;
                self.or_marked(index, Some(has), HIDDEN)
            }
            Plan::Word(Test::Prefix(..)) => Ok(None),
            Plan::Word(test) => self.with_words(index, test.words()),
            Plan::Field(at, _, test) => match at {
                FieldAt::Slot(_) | FieldAt::Escaped(_) => self.with_words(index, test.words()),
                // The record's own ids are in the filter, also those without a digit.
                FieldAt::TraceId | FieldAt::SpanId => Ok(match test.words() {
                    [id] if !index.may_have_id(self.group, id) => Some(Vec::new()),
                    _ => None,
                }),
                _ => Ok(None),
            },
            Plan::And(parts) => {
                let mut out = None;
                for part in parts {
                    out = both(out, self.blocks_of(index, part)?);
                }
                Ok(out)
            }
            Plan::Or(parts) => {
                let mut out = Some(Vec::new());
                for part in parts {
                    out = either(out, self.blocks_of(index, part)?);
                }
                Ok(out)
            }
            Plan::Body(_, words) => self.with_words(index, words),
            // An escape at a variable's edge may make words of both sides one.
            Plan::Message(_, _, words) if index.has_marks => {
                self.or_marked(index, self.with_words(index, words)?, EDGE)
            }
            Plan::Message(..) => Ok(None),
            // Letters in constant text may match in any row.
            Plan::Anchored(anchored) if anchored.places.is_empty() => self.letters_of(index, anchored),
            Plan::Anchored(_) => Ok(None),
            Plan::Fixed(_) | Plan::Not(_) => Ok(None),
        }
    }
}

impl Candidates for GroupIndex {
    fn of(&self, plan: &Plan) -> Result<Option<Vec<bool>>, ReadError> {
        match &self.index {
            Some(index) => self.blocks_of(index, plan),
            None => Ok(None),
        }
    }

    fn with_letters(&self, anchored: &Anchored) -> Result<Option<Vec<bool>>, ReadError> {
        match &self.index {
            Some(index) => self.letters_of(index, anchored),
            None => Ok(None),
        }
    }

    fn block_rows(&self) -> usize {
        BLOCK_ROWS
    }
}

/// `None` stands for all blocks; a block behind the end of a list has none.
fn both(a: Option<Vec<bool>>, b: Option<Vec<bool>>) -> Option<Vec<bool>> {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some(a), Some(b)) => Some(a.iter().zip(&b).map(|(a, b)| *a && *b).collect()),
    }
}

fn either(a: Option<Vec<bool>>, b: Option<Vec<bool>>) -> Option<Vec<bool>> {
    let (a, b) = (a?, b?);
    let at = |list: &[bool], i: usize| list.get(i).copied().unwrap_or(false);
    Some((0..a.len().max(b.len())).map(|i| at(&a, i) || at(&b, i)).collect())
}
