//! Vectors that a run has made, beside the generations until one that holds them is live: a run that was stopped or killed
//! does not cost them. A log of whole records; what was being written when the run ended is cut off.
//!
//! Layout, little endian: the BLAKE3 hash of the model (32 bytes); then for each text its hash (32 bytes), the number of its
//! rows (u32), for each row its scale (f32) and its values (i8), and the CRC-32 of all that.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::TextHash;
use crate::retrieval::dense::{OwnedRow, Row};
use crate::retrieval::{EmbeddingModel, RetrievalError};

const NAME: &str = "vectors.log";
const HEADER_BYTES: usize = 32;
/// Before the rows: the hash of the text and their number.
const HEAD_BYTES: usize = 36;
const CRC_BYTES: usize = 4;
/// Longer records are damage: no passage has as many parts.
const ROWS_MAX: usize = 1 << 12;

pub(super) struct KeptVectors {
    path: PathBuf,
    dims: usize,
    header: [u8; HEADER_BYTES],
    /// `None`: nothing was kept yet.
    file: Option<File>,
    /// Where the record of each text begins, and its rows.
    records: HashMap<TextHash, (u64, usize)>,
    end: u64,
}

impl KeptVectors {
    /// What an unfinished run with the same model has left in `root`; what another model made is removed.
    pub fn open(root: &Path, model: &EmbeddingModel) -> Result<Self, RetrievalError> {
        let path = root.join(NAME);
        let header = *blake3::hash(format!("{} {} {}", model.name, model.hash, model.dims).as_bytes()).as_bytes();
        let mut kept = KeptVectors {
            path,
            dims: model.dims,
            header,
            file: None,
            records: HashMap::new(),
            end: HEADER_BYTES as u64,
        };
        match File::options().read(true).write(true).open(&kept.path) {
            Ok(file) => kept.read(file).map_err(RetrievalError::file("read", &kept.path))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(RetrievalError::file("open", &kept.path)(e)),
        }
        Ok(kept)
    }

    fn read(&mut self, file: File) -> io::Result<()> {
        let length = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut header = [0; HEADER_BYTES];
        if length < self.end || reader.read_exact(&mut header).is_err() || header != self.header {
            return fs::remove_file(&self.path);
        }
        while let Some((text, rows)) = self.next(&mut reader, length - self.end)? {
            self.records.insert(text, (self.end, rows));
            self.end += self.bytes_of(rows) as u64;
        }
        drop(reader);
        file.set_len(self.end)?;
        self.file = Some(file);
        Ok(())
    }

    /// The next record, if it is whole.
    fn next(&self, reader: &mut impl Read, left: u64) -> io::Result<Option<(TextHash, usize)>> {
        if left < HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut record = vec![0; HEAD_BYTES];
        reader.read_exact(&mut record)?;
        let rows = rows_in(&record);
        if rows > ROWS_MAX || left < self.bytes_of(rows) as u64 {
            return Ok(None);
        }
        record.resize(self.bytes_of(rows), 0);
        reader.read_exact(&mut record[HEAD_BYTES..])?;
        Ok(is_whole(&record).then(|| (text_in(&record), rows)))
    }

    fn bytes_of(&self, rows: usize) -> usize {
        HEAD_BYTES + rows * (4 + self.dims) + CRC_BYTES
    }

    pub fn texts(&self) -> impl Iterator<Item = &TextHash> {
        self.records.keys()
    }

    /// Appends the rows of a text; `dims` values each.
    pub fn keep<'r>(&mut self, text: TextHash, rows: impl Iterator<Item = Row<'r>>) -> Result<(), RetrievalError> {
        let mut record = text.to_vec();
        record.extend([0; 4]);
        let mut count = 0u32;
        for row in rows {
            record.extend(row.scale.to_le_bytes());
            record.extend(row.values.iter().map(|value| *value as u8));
            count += 1;
        }
        record[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        record.extend(crc32fast::hash(&record).to_le_bytes());
        self.append(&record).map_err(RetrievalError::file("write", &self.path))?;
        self.records.insert(text, (self.end, count as usize));
        self.end += record.len() as u64;
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&self.path)?;
                file.write_all(&self.header)?;
                none.insert(file)
            }
        };
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(record)
    }

    /// The rows of a text; `None`: it was not kept.
    pub fn rows(&self, text: &TextHash) -> Result<Option<Vec<OwnedRow>>, RetrievalError> {
        let (Some(&(start, rows)), Some(file)) = (self.records.get(text), &self.file) else { return Ok(None) };
        let mut record = vec![0; self.bytes_of(rows)];
        file.read_exact_at(&mut record, start).map_err(RetrievalError::file("read", &self.path))?;
        if !is_whole(&record) || text_in(&record) != *text {
            return Err(RetrievalError::damaged(&self.path, "it is not what was written"));
        }
        let rows = record[HEAD_BYTES..record.len() - CRC_BYTES].chunks_exact(4 + self.dims);
        Ok(Some(rows.map(OwnedRow::from_bytes).collect()))
    }

    /// Removes what is kept in `root`.
    pub fn remove(root: &Path) -> Result<(), RetrievalError> {
        let path = root.join(NAME);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RetrievalError::file("remove", path)(e)),
            _ => Ok(()),
        }
    }
}

fn text_in(record: &[u8]) -> TextHash {
    record[..HEAD_BYTES - 4].try_into().expect("a hash")
}

fn rows_in(record: &[u8]) -> usize {
    u32::from_le_bytes(record[HEAD_BYTES - 4..HEAD_BYTES].try_into().expect("four bytes")) as usize
}

fn is_whole(record: &[u8]) -> bool {
    let (body, crc) = record.split_at(record.len() - CRC_BYTES);
    crc32fast::hash(body).to_le_bytes() == crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> EmbeddingModel {
        EmbeddingModel { name: name.to_owned(), hash: String::new(), dims: 3 }
    }

    fn rows(seed: i8) -> Vec<OwnedRow> {
        (0..seed).map(|at| OwnedRow { values: vec![seed, at, -at], scale: f32::from(seed) }).collect()
    }

    fn keep(kept: &mut KeptVectors, seed: i8) {
        kept.keep([seed as u8; 32], rows(seed).iter().map(OwnedRow::as_row)).unwrap();
    }

    #[test]
    fn what_was_kept_is_there_for_the_next_run() {
        let root = tempfile::tempdir().unwrap();
        let mut kept = KeptVectors::open(root.path(), &model("a")).unwrap();
        assert_eq!(kept.rows(&[1; 32]).unwrap(), None);
        keep(&mut kept, 1);
        keep(&mut kept, 3);
        assert_eq!(kept.rows(&[3; 32]).unwrap(), Some(rows(3)));
        drop(kept);
        let mut kept = KeptVectors::open(root.path(), &model("a")).unwrap();
        assert_eq!(kept.texts().count(), 2);
        assert_eq!(kept.rows(&[1; 32]).unwrap(), Some(rows(1)));
        keep(&mut kept, 2);
        drop(kept);
        let kept = KeptVectors::open(root.path(), &model("a")).unwrap();
        assert_eq!([1, 2, 3].map(|seed| kept.rows(&[seed as u8; 32]).unwrap()), [1, 2, 3].map(|seed| Some(rows(seed))));
    }

    #[test]
    fn a_record_that_is_cut_or_changed_ends_the_log() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(NAME);
        let mut kept = KeptVectors::open(root.path(), &model("a")).unwrap();
        (1..4).for_each(|seed| keep(&mut kept, seed));
        let second = kept.records[&[2; 32]].0 as usize;
        let third = kept.records[&[3; 32]].0 as usize;
        let whole = fs::read(&path).unwrap();
        for at in second..whole.len() {
            let expect = if at < third { 1 } else { 2 };
            let mut changed = whole.clone();
            changed[at] ^= 64;
            for bytes in [&changed[..], &whole[..at]] {
                fs::write(&path, bytes).unwrap();
                let mut kept = KeptVectors::open(root.path(), &model("a")).unwrap();
                assert_eq!(kept.texts().count(), expect, "byte {at}");
                keep(&mut kept, 5);
                drop(kept);
                let kept = KeptVectors::open(root.path(), &model("a")).unwrap();
                assert_eq!(kept.rows(&[5; 32]).unwrap(), Some(rows(5)));
                assert_eq!(kept.texts().count(), expect + 1);
            }
        }
    }

    #[test]
    fn vectors_of_another_model_are_removed() {
        let root = tempfile::tempdir().unwrap();
        keep(&mut KeptVectors::open(root.path(), &model("a")).unwrap(), 1);
        let mut kept = KeptVectors::open(root.path(), &model("b")).unwrap();
        assert_eq!(kept.texts().count(), 0);
        assert!(!root.path().join(NAME).exists());
        keep(&mut kept, 2);
        KeptVectors::remove(root.path()).unwrap();
        KeptVectors::remove(root.path()).unwrap();
        assert_eq!(KeptVectors::open(root.path(), &model("b")).unwrap().texts().count(), 0);
    }
}
