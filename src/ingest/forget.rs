//! Documents that are to be forgotten: out of the index at once, and not read again however often the folders are.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{CollectionEntry, FileEntry, Manifest};
use super::run::IngestError;
use crate::domain::PassageId;
use crate::retrieval::IndexStore;

const LIST: &str = "forgotten.json";
/// Why a file of the list is not read.
pub(super) const REASON: &str = "forgotten: `cervella forget --undo` has it read again";

/// A document by the collection and the path that passages name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentName {
    pub collection: String,
    pub path: String,
}

/// The list beside the index; a new index made from the folders keeps to it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Forgotten(BTreeSet<DocumentName>);

/// What was taken out of the index, and what a search of its files for the rest has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    pub documents: Vec<DocumentName>,
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

    pub fn holds(&self, collection: &str, path: &str) -> bool {
        // The set has no borrowed form of a pair of texts, and is short.
        self.0.iter().any(|name| name.collection == collection && name.path == path)
    }

    pub fn documents(&self) -> impl Iterator<Item = &DocumentName> {
        self.0.iter()
    }

    fn write(&self, store: &IndexStore) -> Result<(), IngestError> {
        let path = store.root().join(LIST);
        let write = || {
            std::fs::create_dir_all(store.root())?;
            let partial = path.with_extension("partial");
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)?;
            std::fs::File::open(store.root())?.sync_all()
        };
        write().map_err(|source| IngestError::List { path: path.clone(), source })
    }
}

/// Takes the documents at `path` out of the index, and keeps them out. `path`: as hits name it, or where the file lies;
/// `collection`: only there.
///
/// # Errors
/// `NoDocument`; `Locked` while an index run is under way: the documents are on the list then, and the next run drops them.
pub fn forget(store: &IndexStore, collection: Option<&str>, path: &str) -> Result<ForgetReport, IngestError> {
    let live = store.open_current()?;
    let documents = named(&Manifest::of(&live)?, collection, path);
    drop(live);
    if documents.is_empty() {
        return Err(IngestError::NoDocument { path: path.to_owned() });
    }
    let mut list = Forgotten::of(store)?;
    list.0.extend(documents.iter().cloned());
    // First the list: whatever happens from here on, the next run knows.
    list.write(store)?;
    let lock = store.lock()?;
    let base = Arc::new(store.open_current()?);
    let mut manifest = Manifest::of(&base)?;
    let mut report = ForgetReport { documents, ..ForgetReport::default() };
    let mut gone: Vec<PassageId> = Vec::new();
    for name in &report.documents {
        let Some(entry) = manifest.collections.get_mut(&name.collection) else { continue };
        gone.extend(entry.files.remove(&name.path).iter().flat_map(FileEntry::passages));
        report.files_left.extend(file_of(entry, &name.path));
    }
    report.passages = gone.len();
    let kept: Vec<PassageId> = manifest.files().flat_map(|file| file.entry.passages()).copied().collect();
    let mut builder = store.build(lock, &base.summary().model.clone(), Some(base))?;
    gone.iter().for_each(|&id| builder.remove(id));
    let json = serde_json::to_vec(&manifest).map_err(IngestError::Manifest)?;
    let live = builder.prepare(kept, manifest.documents(), &json)?.publish()?;
    for name in &report.documents {
        report.passages_left += live.passages_of(&name.collection, &name.path)?;
    }
    Ok(report)
}

/// Takes the documents at `path` off the list; the next index run reads them again.
///
/// # Errors
/// `NoDocument`: nothing at this path is forgotten.
pub fn undo_forget(store: &IndexStore, collection: Option<&str>, path: &str) -> Result<Vec<DocumentName>, IngestError> {
    let mut list = Forgotten::of(store)?;
    let is_meant = |name: &&DocumentName| name.path == path && collection.is_none_or(|only| only == name.collection);
    let back: Vec<DocumentName> = list.documents().filter(is_meant).cloned().collect();
    if back.is_empty() {
        return Err(IngestError::NoDocument { path: path.to_owned() });
    }
    list.0.retain(|name| !back.contains(name));
    list.write(store)?;
    Ok(back)
}

fn named(manifest: &Manifest, collection: Option<&str>, path: &str) -> Vec<DocumentName> {
    let real = Path::new(path).canonicalize().ok();
    let files = manifest.files().filter(|file| collection.is_none_or(|only| only == file.collection));
    let is_meant = |collection: &str, name: &str| {
        let entry = manifest.collections.get(collection);
        name == path || real.is_some() && entry.and_then(|entry| file_of(entry, name)) == real
    };
    let meant = files.filter(|file| is_meant(file.collection, file.path));
    meant.map(|file| DocumentName { collection: file.collection.to_owned(), path: file.path.to_owned() }).collect()
}

/// Where the file of a document lies; `None`: it is gone.
fn file_of(entry: &CollectionEntry, name: &str) -> Option<PathBuf> {
    let folders = &entry.collection.folders;
    folders.iter().find_map(|folder| folder.join(name).canonicalize().ok())
}
