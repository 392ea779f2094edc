//! Vectors of passages in one immutable, memory-mapped file, searched exactly. A generation has two such files: one row
//! for each passage, and one row for each of its parts, which are looked at for candidates only.
//!
//! Layout, little endian: a header of 64 bytes (magic, version, dims, count, CRC-32 of what follows the rows), `count`
//! rows of `dims` f32 (unit length), `count` passage ids of 16 bytes, `count` tags of 4 bytes (language, an unused byte,
//! number of the collection). Exact search is right up to a few hundred thousand passages: it can be filtered, is never
//! out of date, and cannot be half written.

use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::RetrievalError;
use super::centring::{LanguageMeans, inverse_length, offset};
use super::filter::Filter;
use crate::domain::{Language, PassageId};

const MAGIC: &[u8; 8] = b"CERVVEC2";
const HEADER_BYTES: usize = 64;
const ID_BYTES: usize = 16;
const TAG_BYTES: usize = 4;

/// What a row can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub language: Language,
    /// Number of its collection in the generation.
    pub collection: u16,
}

impl Tag {
    fn to_bytes(self) -> [u8; TAG_BYTES] {
        let language = match self.language {
            Language::Italian => 0,
            Language::English => 1,
        };
        let [low, high] = self.collection.to_le_bytes();
        [language, 0, low, high]
    }

    fn from_bytes([language, _, low, high]: [u8; TAG_BYTES]) -> Self {
        let language = match language {
            0 => Language::Italian,
            _ => Language::English,
        };
        Tag { language, collection: u16::from_le_bytes([low, high]) }
    }
}

/// An open vector file; the rows of a passage stand one after the other.
pub(super) struct Vectors {
    map: Mmap,
    dims: usize,
    count: usize,
    rows_of: HashMap<PassageId, Range<usize>>,
    means: LanguageMeans,
    /// For each row, 1 / its length after centring.
    inverse_lengths: Vec<f32>,
}

/// A centred query, with what it meets in every passage of a language.
pub(super) struct DenseQuery {
    vector: Vec<f32>,
    italian_offset: f32,
    english_offset: f32,
}

impl Vectors {
    /// Maps the file and checks its header, its length and the checksum of its tables.
    pub(super) fn open(path: &Path) -> Result<Self, RetrievalError> {
        let file = File::open(path).map_err(RetrievalError::file("open", path))?;
        // SAFETY: the file is written once under another name and never changed after its rename; deleting it leaves
        // the mapping alive.
        let map = unsafe { Mmap::map(&file) }.map_err(RetrievalError::file("map", path))?;
        if map.len() < HEADER_BYTES || &map[..8] != MAGIC {
            return Err(RetrievalError::damaged(path, "not a vector file"));
        }
        let number = |at: usize| u32::from_le_bytes(map[at..at + 4].try_into().expect("four bytes"));
        let (dims, count, crc) = (number(8) as usize, number(12) as usize, number(16));
        let tables = HEADER_BYTES.saturating_add(dims.saturating_mul(4).saturating_mul(count));
        if dims == 0 || map.len() != tables.saturating_add(count.saturating_mul(ID_BYTES + TAG_BYTES)) {
            return Err(RetrievalError::damaged(path, "the vector file is cut short"));
        }
        if crc32(&map[tables..]) != crc {
            return Err(RetrievalError::damaged(
                path,
                "the passage table of the vector file does not match its checksum",
            ));
        }
        let mut rows_of: HashMap<PassageId, Range<usize>> = HashMap::with_capacity(count);
        for (row, id) in map[tables..tables + count * ID_BYTES].chunks_exact(ID_BYTES).enumerate() {
            rows_of.entry(PassageId(id.try_into().expect("sixteen bytes"))).or_insert(row..row).end = row + 1;
        }
        let mut vectors = Vectors {
            map,
            dims,
            count,
            rows_of,
            means: LanguageMeans::of(dims, std::iter::empty()),
            inverse_lengths: Vec::new(),
        };
        let rows = || (0..count).map(|row| (vectors.tag_of_row(row).language, vectors.row(row)));
        let means = LanguageMeans::of(dims, rows());
        let inverse_lengths = rows().map(|(language, row)| inverse_length(row, means.of_language(language))).collect();
        vectors.means = means;
        vectors.inverse_lengths = inverse_lengths;
        Ok(vectors)
    }

    /// `vector`: a centred question of unit length, `dims` values.
    pub(super) fn query(&self, vector: Vec<f32>) -> DenseQuery {
        let offset = |language| offset(&vector, self.means.of_language(language));
        let (italian_offset, english_offset) = (offset(Language::Italian), offset(Language::English));
        DenseQuery { vector, italian_offset, english_offset }
    }

    pub(super) fn dims(&self) -> usize {
        self.dims
    }

    /// Passages, not rows.
    pub(super) fn passages(&self) -> usize {
        self.rows_of.len()
    }

    /// The highest of a passage's rows, between -1 and 1; `None`: the passage is not in the file.
    pub(super) fn cosine(&self, query: &DenseQuery, id: PassageId) -> Option<f32> {
        self.rows_of.get(&id)?.clone().map(|row| self.cosine_of_row(query, row)).max_by(f32::total_cmp)
    }

    fn cosine_of_row(&self, query: &DenseQuery, row: usize) -> f32 {
        let offset = match self.tag_of_row(row).language {
            Language::Italian => query.italian_offset,
            Language::English => query.english_offset,
        };
        (dot(&query.vector, self.row(row)) - offset) * self.inverse_lengths[row]
    }

    /// The vectors of a passage as the model made them, `dims` values each.
    pub(super) fn vectors_of(&self, id: PassageId) -> impl Iterator<Item = &[f32]> {
        self.rows_of.get(&id).cloned().unwrap_or_default().map(|row| self.row(row))
    }

    /// Of each row.
    pub(super) fn ids(&self) -> impl Iterator<Item = PassageId> {
        (0..self.count).map(|row| self.id_of_row(row))
    }

    pub(super) fn tag(&self, id: PassageId) -> Option<Tag> {
        self.rows_of.get(&id).map(|rows| self.tag_of_row(rows.start))
    }

    /// The `limit` rows with the highest cosine to `query`, best first.
    pub(super) fn search(&self, query: &DenseQuery, limit: usize, filter: &Filter<'_>) -> Vec<PassageId> {
        let mut best = BinaryHeap::with_capacity(limit + 1);
        for row in 0..self.count {
            if !filter.admits(self.tag_of_row(row)) {
                continue;
            }
            best.push(Candidate { cosine: self.cosine_of_row(query, row), row });
            if best.len() > limit {
                best.pop();
            }
        }
        best.into_sorted_vec().into_iter().map(|candidate| self.id_of_row(candidate.row)).collect()
    }

    fn row(&self, row: usize) -> &[f32] {
        let start = HEADER_BYTES + row * self.dims * 4;
        let bytes = &self.map[start..start + self.dims * 4];
        // SAFETY: every bit pattern is an f32; the map is page aligned and rows start at a multiple of four bytes, so
        // there is no unaligned head or tail.
        let (head, values, tail) = unsafe { bytes.align_to::<f32>() };
        debug_assert!(head.is_empty() && tail.is_empty());
        values
    }

    fn tables(&self) -> &[u8] {
        &self.map[HEADER_BYTES + self.count * self.dims * 4..]
    }

    fn id_of_row(&self, row: usize) -> PassageId {
        PassageId(self.tables()[row * ID_BYTES..(row + 1) * ID_BYTES].try_into().expect("sixteen bytes"))
    }

    fn tag_of_row(&self, row: usize) -> Tag {
        let start = self.count * ID_BYTES + row * TAG_BYTES;
        Tag::from_bytes(self.tables()[start..start + TAG_BYTES].try_into().expect("four bytes"))
    }
}

/// Ordered so that the worst candidate is on top of the heap; ties go to the earlier row.
struct Candidate {
    cosine: f32,
    row: usize,
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

/// Writes a vector file row by row; nothing of it is kept in memory but the passage table.
pub(super) struct VectorsWriter {
    path: PathBuf,
    file: BufWriter<File>,
    dims: usize,
    ids: Vec<u8>,
    tags: Vec<u8>,
}

impl VectorsWriter {
    pub(super) fn create(path: &Path, dims: usize) -> Result<Self, RetrievalError> {
        let file = File::create(path).map_err(RetrievalError::file("create", path))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&[0; HEADER_BYTES]).map_err(RetrievalError::file("write", path))?;
        Ok(VectorsWriter { path: path.to_owned(), file, dims, ids: Vec::new(), tags: Vec::new() })
    }

    /// `vector`: `dims` values, unit length. The vectors of a passage are pushed one after the other.
    pub(super) fn push(&mut self, id: PassageId, tag: Tag, vector: &[f32]) -> Result<(), RetrievalError> {
        if vector.len() != self.dims {
            return Err(RetrievalError::Embedding(format!(
                "the model gave a vector of {} values where {} were expected",
                vector.len(),
                self.dims
            )));
        }
        for value in vector {
            self.file.write_all(&value.to_le_bytes()).map_err(RetrievalError::file("write", &self.path))?;
        }
        self.ids.extend_from_slice(&id.0);
        self.tags.extend_from_slice(&tag.to_bytes());
        Ok(())
    }

    /// Writes the tables and the header and brings everything to disk.
    pub(super) fn finish(mut self) -> Result<(), RetrievalError> {
        let count = self.tags.len() / TAG_BYTES;
        self.ids.extend_from_slice(&self.tags);
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&(self.dims as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(count as u32).to_le_bytes());
        header[16..20].copy_from_slice(&crc32(&self.ids).to_le_bytes());
        let mut write = || {
            self.file.write_all(&self.ids)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header)?;
            self.file.flush()?;
            self.file.get_ref().sync_all()
        };
        write().map_err(RetrievalError::file("write", &self.path))
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    fn id(n: u8) -> PassageId {
        PassageId([n; 16])
    }

    fn file_of(rows: &[(PassageId, Language, [f32; 3])]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.bin");
        let mut writer = VectorsWriter::create(&path, 3).unwrap();
        for (id, language, vector) in rows {
            let collection = u16::from(id.0[0]);
            writer.push(*id, Tag { language: *language, collection }, vector).unwrap();
        }
        writer.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn the_nearest_come_first_and_the_filter_holds() {
        let (_folder, path) = file_of(&[
            (id(1), Language::Italian, [1.0, 0.0, 0.0]),
            (id(2), Language::English, [0.0, 1.0, 0.0]),
            (id(3), Language::English, [0.6, 0.8, 0.0]),
            (id(4), Language::Italian, [0.0, 0.0, 1.0]),
        ]);
        let vectors = Vectors::open(&path).unwrap();
        let collections = ["zero", "one", "two", "three", "four"].map(str::to_owned);
        let found = |limit, language, scope: &Scope| -> Vec<_> {
            let filter = Filter::of(language, scope, &collections).unwrap();
            vectors.search(&vectors.query(vec![0.8, 0.6, 0.0]), limit, &filter)
        };
        assert_eq!(found(2, None, &Scope::Everything), [id(3), id(1)]);
        assert_eq!(found(9, Some(Language::English), &Scope::Everything), [id(3), id(2)]);
        let some = Scope::Collections(["one", "two", "gone"].map(str::to_owned).into());
        assert_eq!(found(1, None, &some), [id(1)]);
        assert_eq!(found(9, Some(Language::English), &some), [id(2)]);
        assert!(Filter::of(None, &Scope::Collections(["gone".to_owned()].into()), &collections).is_none());
        assert_eq!(vectors.vectors_of(id(2)).collect::<Vec<_>>(), [[0.0, 1.0, 0.0]]);
        assert_eq!(vectors.tag(id(1)), Some(Tag { language: Language::Italian, collection: 1 }));
        assert_eq!(vectors.vectors_of(id(9)).count(), 0);
    }

    #[test]
    fn the_best_of_a_passages_rows_counts() {
        let (_folder, path) = file_of(&[
            (id(1), Language::Italian, [1.0, 0.0, 0.0]),
            (id(1), Language::Italian, [0.0, 1.0, 0.0]),
            (id(2), Language::English, [0.0, 0.0, 1.0]),
        ]);
        let vectors = Vectors::open(&path).unwrap();
        assert_eq!(vectors.passages(), 2);
        let query = vectors.query(vec![0.0, 1.0, 0.0]);
        let best = vectors.cosine(&query, id(1)).unwrap();
        assert_eq!(best, vectors.cosine_of_row(&query, 1));
        assert!(best > vectors.cosine_of_row(&query, 0));
        assert_eq!(vectors.cosine(&query, id(9)), None);
    }

    #[test]
    fn a_file_that_was_cut_short_or_changed_is_refused() {
        let (_folder, path) = file_of(&[(id(1), Language::Italian, [1.0, 0.0, 0.0])]);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Vectors::open(&path).is_err(), "{length} bytes were accepted");
        }
        let mut changed = whole;
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, changed).unwrap();
        assert!(Vectors::open(&path).is_err());
    }

    #[test]
    fn a_vector_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = VectorsWriter::create(&folder.path().join("vectors.bin"), 3).unwrap();
        assert!(writer.push(id(1), Tag { language: Language::Italian, collection: 0 }, &[1.0]).is_err());
    }
}
