//! Files of a generation: shared with the one before, synced, and known by their checksums.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::retrieval::RetrievalError;

/// Size and BLAKE3 hash of each file of a folder, by its path in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSums(BTreeMap<String, FileSum>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileSum {
    bytes: u64,
    blake3: String,
}

impl FileSums {
    /// Of all files in `folder`. Segments of the full-text index have names of their own and never change: those that
    /// are `known` are not read again.
    pub fn of(folder: &Path, known: &FileSums) -> Result<Self, RetrievalError> {
        let mut sums = BTreeMap::new();
        for entry in walkdir::WalkDir::new(folder) {
            let entry = entry.map_err(|e| RetrievalError::file("list", folder)(e.into()))?;
            let Ok(name) = entry.path().strip_prefix(folder) else { continue };
            let name = name.to_string_lossy().into_owned();
            if !entry.file_type().is_file() || is_of_tantivy(&name) {
                continue;
            }
            let bytes = entry.metadata().map_err(|e| RetrievalError::file("read", entry.path())(e.into()))?.len();
            let known = known.0.get(&name).filter(|known| is_segment(&name) && known.bytes == bytes);
            let sum = match known {
                Some(known) => known.clone(),
                None => FileSum { bytes, blake3: hash(entry.path())? },
            };
            sums.insert(name, sum);
        }
        Ok(FileSums(sums))
    }

    pub fn bytes(&self) -> u64 {
        self.0.values().map(|sum| sum.bytes).sum()
    }

    /// # Errors
    /// `Damaged`: a file is missing or not what was written.
    pub fn verify(&self, folder: &Path) -> Result<(), RetrievalError> {
        for (name, sum) in &self.0 {
            let path = folder.join(name);
            match hash(&path) {
                Ok(hash) if hash == sum.blake3 => {}
                Ok(_) => return Err(RetrievalError::damaged(path, "it is not what was written")),
                Err(RetrievalError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Err(RetrievalError::damaged(path, "the file is missing"));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

/// Locks and the list of files are tantivy's own, and may change when it is opened.
fn is_of_tantivy(name: &str) -> bool {
    name.ends_with(".lock") || name.ends_with(".managed.json")
}

fn is_segment(name: &str) -> bool {
    name.starts_with(super::LEXICAL) && !name.ends_with(".json")
}

fn hash(path: &Path) -> Result<String, RetrievalError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(path).map_err(RetrievalError::file("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The names of what a folder holds.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, RetrievalError> {
    let list = || -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    list().map_err(RetrievalError::file("list", folder))
}

/// Links the files of a full-text index into a new folder: its segments never change, and the files that do
/// (`meta.json`, `.managed.json`) are replaced by rename. Copies where the file system has no links.
pub(super) fn share_files(from: &Path, to: &Path) -> Result<(), RetrievalError> {
    for name in names(from)?.into_iter().filter(|name| !name.ends_with(".lock")) {
        let (source, target) = (from.join(&name), to.join(&name));
        if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map_err(RetrievalError::file("copy", source))?;
        }
    }
    Ok(())
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RetrievalError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(RetrievalError::file("write", path))
}

pub(super) fn sync_folder(path: &Path) -> Result<(), RetrievalError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(RetrievalError::file("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_cut_or_missing_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(super::super::LEXICAL)).unwrap();
        let names = ["vectors.bin", "lexical/a.store", "lexical/meta.json"];
        names.iter().for_each(|name| fs::write(folder.path().join(name), name.as_bytes()).unwrap());
        fs::write(folder.path().join("lexical/.managed.json"), b"[]").unwrap();
        let sums = FileSums::of(folder.path(), &FileSums::default()).unwrap();
        assert_eq!(sums.bytes(), names.map(str::len).iter().sum::<usize>() as u64);
        assert!(sums.verify(folder.path()).is_ok());
        for name in names {
            let path = folder.path().join(name);
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 4;
                fs::write(&path, &changed).unwrap();
                assert!(sums.verify(folder.path()).is_err(), "{name} changed at {at}");
                fs::write(&path, &whole[..at]).unwrap();
                assert!(sums.verify(folder.path()).is_err(), "{name} cut at {at}");
            }
            fs::remove_file(&path).unwrap();
            assert!(matches!(sums.verify(folder.path()), Err(RetrievalError::Damaged { .. })), "{name} removed");
            fs::write(&path, &whole).unwrap();
        }
        assert!(sums.verify(folder.path()).is_ok());
    }

    #[test]
    fn a_segment_that_is_known_is_not_read_again_and_others_are() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(super::super::LEXICAL)).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        for name in ["lexical/a.store", "vectors.bin"] {
            write(name, "one");
        }
        let before = FileSums::of(folder.path(), &FileSums::default()).unwrap();
        write("vectors.bin", "two");
        let after = FileSums::of(folder.path(), &before).unwrap();
        assert_eq!(before.0["lexical/a.store"], after.0["lexical/a.store"]);
        assert_ne!(before.0["vectors.bin"], after.0["vectors.bin"]);
    }
}
