//! Vectors of passages in 8 bits, in one immutable, memory-mapped file. A generation has two
//! such files: one row for each passage, and the rows of each passage's parts.
//!
//! Layout, little endian: a header of 64 bytes (magic, dims, rows, passages), the means of the Italian and the English
//! rows (`dims` f32 each), `rows` rows of `dims` i8, `rows` facts of 16 bytes (see [`Facts`]), and for each passage, in
//! the order of their ids, its id and its rows (16 + 4 + 4 bytes). Exact search can be filtered, is never out of date,
//! and cannot be half written; how far it carries, and what comes before it in large files:
//! `docs/decisions/0011-exact-search.md`. That the file is what was written is checked by [`super::generation`].

mod row;
mod sketches;
mod stretches;
mod twins;

use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::RetrievalError;
use super::centring::{LanguageMeans, LanguageSums, inverse_length, offset};
use super::filter::Filter;
use crate::domain::{Language, PassageId};
pub(super) use row::{OwnedRow, Row};
use row::{QueryRow, Scan};
use sketches::{EXACT_ROWS_MAX, Sketches};
use stretches::each_stretch;

const MAGIC: &[u8; 8] = b"CERVVEC3";
const HEADER_BYTES: usize = 64;
const FACTS_BYTES: usize = 16;
const ID_BYTES: usize = 16;
const PASSAGE_BYTES: usize = ID_BYTES + 8;

/// What a row can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub language: Language,
    /// Number of its collection in the generation.
    pub collection: u16,
}

/// What is known of a row beside its values.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Facts {
    /// What one step of its values is worth.
    scale: f32,
    /// 1 / its length after centring.
    inverse_length: f32,
    /// Place of its passage in the table of passages.
    passage: u32,
    tag: Tag,
}

impl Facts {
    fn to_bytes(self) -> [u8; FACTS_BYTES] {
        let language = match self.tag.language {
            Language::Italian => 0u16,
            Language::English => 1,
        };
        let mut bytes = [0; FACTS_BYTES];
        bytes[..4].copy_from_slice(&self.scale.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.inverse_length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.passage.to_le_bytes());
        bytes[12..14].copy_from_slice(&language.to_le_bytes());
        bytes[14..].copy_from_slice(&self.tag.collection.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; FACTS_BYTES]) -> Self {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let language = if bytes[12] == 0 { Language::Italian } else { Language::English };
        let collection = u16::from_le_bytes([bytes[14], bytes[15]]);
        Facts {
            scale: f32::from_bits(number(0)),
            inverse_length: f32::from_bits(number(4)),
            passage: number(8),
            tag: Tag { language, collection },
        }
    }
}

/// An open vector file; the rows of a passage stand one after the other.
pub(super) struct Vectors {
    map: Mmap,
    dims: usize,
    rows: usize,
    passages: usize,
    means: LanguageMeans,
    /// `None`: so few rows that all are compared.
    sketches: Option<Sketches>,
}

/// A query, with what it meets in every passage of a language if it is centred.
pub(super) struct DenseQuery {
    row: QueryRow,
    is_centred: bool,
    is_exact: bool,
    italian_offset: f32,
    english_offset: f32,
}

impl Vectors {
    /// Maps the file and checks its header and its length.
    pub(super) fn open(path: &Path) -> Result<Self, RetrievalError> {
        let file = File::open(path).map_err(RetrievalError::file("open", path))?;
        // SAFETY: the file is written once under another name and never changed after its rename; deleting it leaves
        // the mapping alive.
        let map = unsafe { Mmap::map(&file) }.map_err(RetrievalError::file("map", path))?;
        if map.len() < HEADER_BYTES || &map[..8] != MAGIC {
            return Err(RetrievalError::damaged(path, "not a vector file"));
        }
        let number = |at: usize| u32::from_le_bytes(map[at..at + 4].try_into().expect("four bytes")) as usize;
        let (dims, rows, passages) = (number(8), number(12), number(16));
        let length = (2 * dims).checked_mul(4).and_then(|means| {
            let rows = rows.checked_mul(dims + FACTS_BYTES)?;
            HEADER_BYTES.checked_add(means)?.checked_add(rows)?.checked_add(passages.checked_mul(PASSAGE_BYTES)?)
        });
        if dims == 0 || length != Some(map.len()) {
            return Err(RetrievalError::damaged(path, "the vector file is cut short"));
        }
        let means = LanguageMeans::from_bytes(&map[HEADER_BYTES..HEADER_BYTES + 8 * dims]);
        let mut vectors = Vectors { map, dims, rows, passages, means, sketches: None };
        vectors.sketches = (rows > EXACT_ROWS_MAX).then(|| Sketches::of(&vectors));
        Ok(vectors)
    }

    /// `vector`: a question of unit length, `dims` values; centred, if the rows are to be. `is_exact`: all rows are
    /// compared with it, however many there are.
    pub(super) fn query(&self, vector: &[f32], is_centred: bool, is_exact: bool) -> DenseQuery {
        let offset = |language| if is_centred { offset(vector, self.means.of_language(language)) } else { 0.0 };
        DenseQuery {
            row: QueryRow::of(vector),
            is_centred,
            // Sketches are of centred rows.
            is_exact: is_exact || !is_centred,
            italian_offset: offset(Language::Italian),
            english_offset: offset(Language::English),
        }
    }

    pub(super) fn dims(&self) -> usize {
        self.dims
    }

    pub(super) fn passages(&self) -> usize {
        self.passages
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows
    }

    /// The highest of a passage's rows, between -1 and 1; `None`: it has none in the file.
    pub(super) fn cosine(&self, query: &DenseQuery, id: PassageId) -> Option<f32> {
        self.cosines(query, id).max_by(f32::total_cmp)
    }

    /// Of each of a passage's rows, in the order in which they were pushed.
    pub(super) fn cosines(&self, query: &DenseQuery, id: PassageId) -> impl Iterator<Item = f32> {
        let scan = Scan::of_this_processor();
        self.rows_of(id).map(move |row| self.cosine_of_row(scan, query, row, self.facts(row)))
    }

    fn cosine_of_row(&self, scan: Scan, query: &DenseQuery, row: usize, facts: Facts) -> f32 {
        let offset = match facts.tag.language {
            Language::Italian => query.italian_offset,
            Language::English => query.english_offset,
        };
        let product = scan.product(&query.row, self.values(row)) * facts.scale;
        if query.is_centred { (product - offset) * facts.inverse_length } else { product }
    }

    /// The rows of a passage as they were written.
    pub(super) fn vectors_of(&self, id: PassageId) -> impl Iterator<Item = Row<'_>> {
        self.rows_of(id).map(|row| Row { values: self.values(row), scale: self.facts(row).scale })
    }

    /// All passages, in the order of their ids.
    pub(super) fn ids(&self) -> impl ExactSizeIterator<Item = PassageId> {
        (0..self.passages).map(|at| self.passage(at).0)
    }

    pub(super) fn tag(&self, id: PassageId) -> Option<Tag> {
        self.rows_of(id).next().map(|row| self.facts(row).tag)
    }

    /// The passages of the `limit` rows with the highest cosine to `query`, best first; one may come more than once.
    pub(super) fn search(&self, query: &DenseQuery, limit: usize, filter: &Filter<'_>) -> Vec<PassageId> {
        let mut best = each_stretch(self.rows, |rows| match self.sketches.as_ref().filter(|_| !query.is_exact) {
            Some(sketches) => {
                let admits_all = filter.admits_all();
                let is_admitted = |row| admits_all || filter.admits(self.facts(row).tag);
                let nearest = sketches.nearest(query.row.values(), rows, limit, is_admitted);
                self.best_of(query, nearest.into_iter(), limit, filter)
            }
            None => self.best_of(query, rows, limit, filter),
        })
        .concat();
        best.sort_unstable();
        best.truncate(limit);
        best.into_iter().map(|candidate| self.passage(candidate.passage as usize).0).collect()
    }

    fn best_of(
        &self,
        query: &DenseQuery,
        rows: impl Iterator<Item = usize>,
        limit: usize,
        filter: &Filter<'_>,
    ) -> Vec<Candidate> {
        let scan = Scan::of_this_processor();
        let mut best = BinaryHeap::with_capacity(limit + 1);
        let mut least = f32::NEG_INFINITY;
        for row in rows {
            let facts = self.facts(row);
            if !filter.admits(facts.tag) {
                continue;
            }
            let cosine = self.cosine_of_row(scan, query, row, facts);
            if best.len() < limit || cosine > least {
                best.push(Candidate { cosine, row, passage: facts.passage });
                if best.len() > limit {
                    best.pop();
                }
                least = best.peek().map_or(least, |worst: &Candidate| worst.cosine);
            }
        }
        best.into_vec()
    }

    fn values(&self, row: usize) -> &[i8] {
        let start = HEADER_BYTES + 8 * self.dims + row * self.dims;
        row::as_i8(&self.map[start..start + self.dims])
    }

    fn facts(&self, row: usize) -> Facts {
        let start = HEADER_BYTES + 8 * self.dims + self.rows * self.dims + row * FACTS_BYTES;
        Facts::from_bytes(self.map[start..start + FACTS_BYTES].try_into().expect("sixteen bytes"))
    }

    /// The passage at a place of the table, and its rows.
    fn passage(&self, at: usize) -> (PassageId, Range<usize>) {
        let start = HEADER_BYTES + 8 * self.dims + self.rows * (self.dims + FACTS_BYTES) + at * PASSAGE_BYTES;
        let bytes = &self.map[start..start + PASSAGE_BYTES];
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let first = number(ID_BYTES);
        (PassageId(bytes[..ID_BYTES].try_into().expect("sixteen bytes")), first..first + number(ID_BYTES + 4))
    }

    /// Empty: the passage is not in the file.
    fn rows_of(&self, id: PassageId) -> Range<usize> {
        let (mut low, mut high) = (0, self.passages);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, rows) = self.passage(middle);
            match found.cmp(&id) {
                std::cmp::Ordering::Equal => return rows,
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        0..0
    }
}

/// Ordered so that the best comes first and the worst is on top of a heap; ties go to the earlier row.
#[derive(Clone, Copy)]
struct Candidate {
    cosine: f32,
    row: usize,
    passage: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.cosine.total_cmp(&self.cosine).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// Inner product; eight sums side by side so that the compiler uses vector registers.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Writes a vector file row by row; of the rows themselves nothing is kept in memory.
pub(super) struct VectorsWriter {
    path: PathBuf,
    file: BufWriter<File>,
    dims: usize,
    sums: LanguageSums,
    rows: Vec<(f32, Tag)>,
    /// The rows of each passage.
    passages: BTreeMap<PassageId, Range<usize>>,
}

impl VectorsWriter {
    pub(super) fn create(path: &Path, dims: usize) -> Result<Self, RetrievalError> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path);
        let mut file = BufWriter::with_capacity(1 << 20, file.map_err(RetrievalError::file("create", path))?);
        // Header and means are known at the end.
        file.write_all(&vec![0; HEADER_BYTES + 8 * dims]).map_err(RetrievalError::file("write", path))?;
        let (sums, rows, passages) = (LanguageSums::new(dims), Vec::new(), BTreeMap::new());
        Ok(VectorsWriter { path: path.to_owned(), file, dims, sums, rows, passages })
    }

    /// `vector`: `dims` values, unit length. The vectors of a passage are pushed one after the other.
    pub(super) fn push(&mut self, id: PassageId, tag: Tag, vector: &[f32]) -> Result<(), RetrievalError> {
        self.push_row(id, tag, OwnedRow::of(vector).as_row())
    }

    /// As `push`, for a row of another file.
    pub(super) fn push_row(&mut self, id: PassageId, tag: Tag, row: Row<'_>) -> Result<(), RetrievalError> {
        if row.values.len() != self.dims {
            return Err(RetrievalError::Embedding(format!(
                "the model gave a vector of {} values where {} were expected",
                row.values.len(),
                self.dims
            )));
        }
        self.sums.add(tag.language, row.values.iter().map(|&value| f32::from(value) * row.scale));
        self.file.write_all(row::as_u8(row.values)).map_err(RetrievalError::file("write", &self.path))?;
        let at = self.rows.len();
        self.passages.entry(id).or_insert(at..at).end = at + 1;
        self.rows.push((row.scale, tag));
        Ok(())
    }

    pub(super) fn passages(&self) -> usize {
        self.passages.len()
    }

    /// Writes the tables and the header and brings everything to disk.
    pub(super) fn finish(mut self) -> Result<(), RetrievalError> {
        let path = self.path.clone();
        let failed = || RetrievalError::file("write", &path);
        self.file.flush().map_err(failed())?;
        let means = self.sums.means();
        let facts = self.facts(&means).map_err(failed())?;
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        for (at, number) in [(8, self.dims), (12, self.rows.len()), (16, self.passages.len())] {
            let number = u32::try_from(number).map_err(|_| failed()(std::io::ErrorKind::FileTooLarge.into()))?;
            header[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let mut write = || {
            self.file.write_all(&facts)?;
            for (id, rows) in &self.passages {
                self.file.write_all(&id.0)?;
                self.file.write_all(&(rows.start as u32).to_le_bytes())?;
                self.file.write_all(&(rows.len() as u32).to_le_bytes())?;
            }
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header)?;
            self.file.write_all(&means.to_bytes())?;
            self.file.flush()?;
            self.file.get_ref().sync_all()
        };
        write().map_err(failed())
    }

    fn facts(&self, means: &LanguageMeans) -> std::io::Result<Vec<u8>> {
        let mut passage_of = vec![0u32; self.rows.len()];
        for (at, rows) in self.passages.values().enumerate() {
            passage_of[rows.clone()].fill(at as u32);
        }
        // SAFETY: only this writer has the file, and it writes nothing while the map lives.
        let map = unsafe { Mmap::map(self.file.get_ref()) }?;
        let rows = row::as_i8(&map[HEADER_BYTES + 8 * self.dims..]).chunks_exact(self.dims);
        let mut facts = Vec::with_capacity(self.rows.len() * FACTS_BYTES);
        for ((values, &(scale, tag)), passage) in rows.zip(&self.rows).zip(passage_of) {
            let values = values.iter().map(|&value| f32::from(value) * scale);
            let inverse_length = inverse_length(values, means.of_language(tag.language));
            facts.extend_from_slice(&Facts { scale, inverse_length, passage, tag }.to_bytes());
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests;
