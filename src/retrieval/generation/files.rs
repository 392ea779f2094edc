//! Files of a generation: shared with the one before, synced, and known by their checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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

    /// Compares all files with what was written, unless this process has done so before. `summary`: the file that these
    /// sums were read from, by which they are known again.
    ///
    /// # Errors
    /// `Damaged`: a file is missing, cannot be read, or is not what was written.
    pub fn verify(&self, folder: &Path, summary: &Path) -> Result<(), RetrievalError> {
        let verified = || VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = identity(summary).map_err(RetrievalError::file("read", summary))?;
        if verified().contains(&identity) {
            return Ok(());
        }
        self.compare(folder)?;
        let mut verified = verified();
        if verified.len() == VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(identity);
        Ok(())
    }

    fn compare(&self, folder: &Path) -> Result<(), RetrievalError> {
        for (name, sum) in &self.0 {
            let path = folder.join(name);
            match hash(&path) {
                Ok(hash) if hash == sum.blake3 => {}
                Ok(_) => return Err(RetrievalError::damaged(path, "it is not what was written")),
                Err(RetrievalError::File { source, .. }) if is_damage(&source) => {
                    return Err(RetrievalError::damaged(path, source));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

/// Device, inode and time of the last change: a rename keeps them.
type Identity = (u64, u64, i64, i64);

/// Generations whose files were compared: a service looks at its index again and again.
static VERIFIED: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());
const VERIFIED_MAX: usize = 64;

fn identity(path: &Path) -> io::Result<Identity> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// The file is gone, or the disk does not give it back.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
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
    // Not mapped: a block that cannot be read would end the process instead of being told.
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(drop))
        .map_err(RetrievalError::file("read", path))?;
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

/// Copies a folder and those in it to a new place, onto the disk; the locks of the full-text index are left out.
pub(super) fn copy_files(from: &Path, to: &Path) -> Result<(), RetrievalError> {
    fs::create_dir_all(to).map_err(RetrievalError::file("create", to))?;
    for name in names(from)?.into_iter().filter(|name| !name.ends_with(".lock")) {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() { copy_files(&source, &target)? } else { copy_file(&source, &target)? }
    }
    sync_folder(to)
}

/// Onto the disk.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), RetrievalError> {
    fs::copy(from, to).map_err(RetrievalError::file("copy", from))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(RetrievalError::file("write", to))
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
        assert!(sums.compare(folder.path()).is_ok());
        for name in names {
            let path = folder.path().join(name);
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 4;
                fs::write(&path, &changed).unwrap();
                assert!(sums.compare(folder.path()).is_err(), "{name} changed at {at}");
                fs::write(&path, &whole[..at]).unwrap();
                assert!(sums.compare(folder.path()).is_err(), "{name} cut at {at}");
            }
            fs::remove_file(&path).unwrap();
            assert!(matches!(sums.compare(folder.path()), Err(RetrievalError::Damaged { .. })), "{name} removed");
            fs::write(&path, &whole).unwrap();
        }
        assert!(sums.compare(folder.path()).is_ok());
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
