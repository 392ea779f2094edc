//! Documents that are to be forgotten: out of the index at once, and not read again however often the folders are.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{CollectionEntry, Manifest};
use super::run::IngestError;
use crate::domain::PassageId;
use crate::retrieval::{BuildLock, IndexStore, RetrievalError};

const LIST: &str = "forgotten.json";
/// Held by the one who changes the list.
const LIST_LOCK: &str = "forgotten.lock";
/// Why a file of the list is not read.
pub(super) const REASON: &str = "forgotten: `cervella forget --undo PATH` has it read again";

/// A document that is forgotten: what stands at this path, and what has this content wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForgottenDocument {
    pub collection: String,
    /// As passages name it.
    pub path: String,
    /// Hash of its content, hexadecimal.
    pub hash: String,
    /// Where its file lay.
    pub file: Option<PathBuf>,
}

/// The list beside the index; a new index made from the folders keeps to it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Forgotten(BTreeSet<ForgottenDocument>);

/// What was taken out of the index, and what a search of its files for the rest has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    pub documents: Vec<ForgottenDocument>,
    pub passages: usize,
    /// Passages of these documents that are still in the index: none.
    pub passages_left: usize,
    /// Files that are still in the folders; they are skipped.
    pub files_left: Vec<PathBuf>,
}

impl Forgotten {
    /// # Errors
    /// The list is there and cannot be read: nothing may be indexed then, it could hold what must not be.
    pub fn of(store: &IndexStore) -> Result<Self, IngestError> {
        let path = store.root().join(LIST);
        match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|e| IngestError::List { path, source: e.into() }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Forgotten::default()),
            Err(source) => Err(IngestError::List { path, source }),
        }
    }

    /// `hash`: of the file's content.
    pub fn holds(&self, collection: &str, path: &str, hash: &str) -> bool {
        let at_path = |document: &ForgottenDocument| document.collection == collection && document.path == path;
        self.0.iter().any(|document| at_path(document) || (!hash.is_empty() && document.hash == hash))
    }

    pub fn documents(&self) -> impl Iterator<Item = &ForgottenDocument> {
        self.0.iter()
    }

    /// The documents that a path names: as hits do, or as their file.
    fn named(&self, collection: Option<&str>, path: &str) -> Vec<ForgottenDocument> {
        let real = real(path);
        let of_collection = |document: &&ForgottenDocument| collection.is_none_or(|only| only == document.collection);
        let is_meant = |document: &&ForgottenDocument| document.path == path || document.file.as_ref() == Some(&real);
        self.documents().filter(of_collection).filter(is_meant).cloned().collect()
    }

    /// Changes the list on the disk, one change after the other.
    fn change(store: &IndexStore, change: impl FnOnce(&mut Self)) -> Result<(), IngestError> {
        let path = store.root().join(LIST_LOCK);
        let lock = File::create(&path).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = lock.map_err(|source| IngestError::List { path, source })?;
        let mut list = Forgotten::of(store)?;
        change(&mut list);
        Ok(store.write(LIST, &serde_json::to_vec_pretty(&list).map_err(IngestError::Manifest)?)?)
    }
}

/// Takes the document at `path` out of the index, and keeps it out. `path`: as hits name it, or where the file lies;
/// `collection`: only there. What is forgotten already is so once more.
///
/// # Errors
/// `NoDocument`, `SeveralDocuments`; `ForgottenLater` while an index run is under way.
pub fn forget(store: &IndexStore, collection: Option<&str>, path: &str) -> Result<ForgetReport, IngestError> {
    let live = store.open_current()?;
    let mut documents = named(&Manifest::of(&live)?, collection, path);
    drop(live);
    documents.extend(Forgotten::of(store)?.named(collection, path));
    documents.sort();
    documents.dedup();
    let collections: BTreeSet<&str> = documents.iter().map(|document| document.collection.as_str()).collect();
    if collections.len() > 1 {
        let collections = collections.into_iter().collect::<Vec<_>>().join(", ");
        return Err(IngestError::SeveralDocuments { path: path.to_owned(), collections });
    }
    if documents.is_empty() {
        return Err(IngestError::NoDocument { path: path.to_owned() });
    }
    // First the list: whatever happens from here on, the next run knows.
    Forgotten::change(store, |list| list.0.extend(documents.iter().cloned()))?;
    let lock = match store.lock() {
        Err(RetrievalError::Locked(_)) => return Err(IngestError::ForgottenLater { path: path.to_owned() }),
        lock => lock?,
    };
    let gone = drop_forgotten(store, lock)?;
    // An index that was damaged before may hold the document too, and so may what an unfinished run has left.
    store.remove_put_aside()?;
    store.remove_kept()?;
    let live = store.open_current()?;
    let mut report = ForgetReport { documents, passages: gone.len(), ..ForgetReport::default() };
    for document in &report.documents {
        report.passages_left += live.passages_of(&document.collection, &document.path)?;
        report.files_left.extend(document.file.clone().filter(|file| file.exists()));
    }
    for id in gone {
        report.passages_left += usize::from(live.passage(id)?.is_some());
    }
    Ok(report)
}

/// Takes what is on the list out of the index, and says which passages of it were still there.
pub(super) fn drop_forgotten(store: &IndexStore, lock: BuildLock) -> Result<Vec<PassageId>, IngestError> {
    let forgotten = Forgotten::of(store)?;
    if forgotten.0.is_empty() {
        return Ok(Vec::new());
    }
    let base = Arc::new(store.open_current()?);
    let mut manifest = Manifest::of(&base)?;
    let files = manifest.files().count();
    let mut gone: Vec<PassageId> = Vec::new();
    for (collection, entry) in &mut manifest.collections {
        entry.files.retain(|path, file| {
            let is_kept = !forgotten.holds(collection, path, &file.hash);
            if !is_kept {
                gone.extend(file.passages());
            }
            is_kept
        });
    }
    if manifest.files().count() == files {
        return Ok(Vec::new());
    }
    let kept: Vec<PassageId> = manifest.files().flat_map(|file| file.entry.passages()).copied().collect();
    let mut builder = store.build(lock, &base.summary().model.clone(), Some(base))?;
    gone.iter().for_each(|&id| builder.remove(id));
    let json = serde_json::to_vec(&manifest).map_err(IngestError::Manifest)?;
    builder.prepare(kept, manifest.documents(), &json)?.publish()?;
    Ok(gone)
}

/// Makes the index that was copied into a folder the live one. What was forgotten before or after the copy was made stays so.
///
/// # Errors
/// Errors of the index and of the lists.
pub fn restore_index(store: &IndexStore, lock: BuildLock, folder: &Path) -> Result<(), IngestError> {
    let before = Forgotten::of(&IndexStore::new(folder))?;
    Forgotten::change(store, |list| list.0.extend(before.0))?;
    store.restore(&lock, folder)?;
    drop_forgotten(store, lock).map(drop)
}

/// Takes the document at `path` off the list; the next index run reads it again.
///
/// # Errors
/// `NoDocument`: nothing at this path is forgotten.
pub fn undo_forget(
    store: &IndexStore,
    collection: Option<&str>,
    path: &str,
) -> Result<Vec<ForgottenDocument>, IngestError> {
    let back = Forgotten::of(store)?.named(collection, path);
    if back.is_empty() {
        return Err(IngestError::NoDocument { path: path.to_owned() });
    }
    Forgotten::change(store, |list| list.0.retain(|document| !back.contains(document)))?;
    Ok(back)
}

fn named(manifest: &Manifest, collection: Option<&str>, path: &str) -> Vec<ForgottenDocument> {
    let real = real(path);
    let files = manifest.files().filter(|file| collection.is_none_or(|only| only == file.collection));
    let named = files.filter_map(|known| {
        let file = manifest.collections.get(known.collection).and_then(|entry| file_of(entry, known.path));
        let is_meant = known.path == path || file.as_ref() == Some(&real);
        is_meant.then(|| ForgottenDocument {
            collection: known.collection.to_owned(),
            path: known.path.to_owned(),
            hash: known.entry.hash.clone(),
            file,
        })
    });
    named.collect()
}

/// Also of a file that is gone, as long as its folder is there.
fn real(path: &str) -> PathBuf {
    let path = Path::new(path);
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// Where the file of a document lies; `None`: it is gone. A name that an earlier folder has too begins with that of its own.
fn file_of(entry: &CollectionEntry, name: &str) -> Option<PathBuf> {
    let folders = &entry.collection.folders;
    let direct = folders.iter().find_map(|folder| folder.join(name).canonicalize().ok());
    let below_its_folder = || {
        let (first, rest) = name.split_once('/')?;
        let of_name = folders.iter().filter(|folder| folder.file_name().is_some_and(|own| own == first));
        of_name.into_iter().find_map(|folder| folder.join(rest).canonicalize().ok())
    };
    direct.or_else(below_its_folder)
}
