//! The index run: the folders of the collections compared with the manifest, what changed read into the next
//! generation, what is gone dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::forget::{self, Forgotten};
use super::last_run::LastRun;
use super::manifest::{CollectionEntry, Difference, FileEntry, KnownFile, Manifest};
use super::reading::{Reading, Work};
use super::walk::{FoundFile, Roots, Skipped, walk};
use crate::domain::{Collection, PassageId};
use crate::retrieval::{BuildLock, Embedder, Generation, IndexStore, RetrievalError};

#[derive(Debug, Error)]
pub enum IngestError {
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    #[error("the manifest of the index cannot be written")]
    Manifest(#[source] serde_json::Error),
    #[error("the knowledge folder {folder} cannot be read ({reason}): the index stays as it was")]
    Folder { folder: PathBuf, reason: String },
    #[error("the index run was stopped: the index stays as it was")]
    Cancelled,
    #[error("the new index is worse than the live one: the index stays as it was")]
    Refused,
    #[error("the list of forgotten documents in {path} cannot be used")]
    List { path: PathBuf, source: std::io::Error },
    #[error("there is no document `{path}`")]
    NoDocument { path: String },
    #[error("there is a document `{path}` in several collections ({collections}): name one with --collection")]
    SeveralDocuments { path: String, collections: String },
    #[error("`{path}` is on the list of forgotten documents; an index run is under way and drops it when it ends")]
    ForgottenLater { path: String },
}

/// A file that is not in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    pub collection: String,
    pub path: String,
    pub reason: String,
}

/// What an index run needs.
pub struct IndexRun<'a> {
    pub store: &'a IndexStore,
    pub embedder: &'a Embedder,
    /// All that there are.
    pub collections: &'a [Collection],
    /// Reads the folders of this one alone; the others stay as they are in the index.
    pub only: Option<&'a str>,
    /// The program that extracts archives and binary files in a process of their own: this one.
    pub executable: &'a Path,
    /// Reads everything again instead of what changed.
    pub full: bool,
    /// A folder that is empty and on another disk than before was emptied; otherwise its share is not mounted.
    pub emptied: bool,
    pub progress: &'a dyn Progress,
    /// Has the last word before the new index goes live.
    pub admission: Option<&'a dyn Admission>,
    pub cancel: &'a CancellationToken,
}

/// Decides whether a new index may take the place of the live one.
pub trait Admission: Sync {
    /// # Errors
    /// It cannot be told; then the index stays as it was.
    fn admits(&self, next: &Generation, live: Option<&Generation>) -> Result<bool, RetrievalError>;
}

/// Where a run reports how far it is.
pub trait Progress: Sync {
    /// So many files are to be read.
    fn start(&self, files: usize);
    /// One more file was read and gave so many passages.
    fn file(&self, passages: usize);
    fn finish(&self);
}

/// Nobody waits for the run.
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _files: usize) {}
    fn file(&self, _passages: usize) {}
    fn finish(&self) {}
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IndexReport {
    pub documents: usize,
    pub passages: usize,
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    pub unchanged: usize,
    /// Passages whose vectors were made; the rest was known.
    pub embedded_passages: usize,
    pub skipped: Vec<SkippedFile>,
    /// Files with passages of which something could not be read.
    pub partly_read: Vec<SkippedFile>,
    pub seconds: f64,
}

/// A collection whose folders were walked.
struct Looked<'a> {
    collection: &'a Collection,
    files: BTreeMap<String, (FoundFile, String)>,
    difference: Difference,
    devices: BTreeMap<PathBuf, u64>,
}

impl IndexRun<'_> {
    /// # Errors
    /// A folder that cannot be read, another run in progress, a full disk, a cancelled run: the live index stays as it
    /// was. A file that cannot be read is reported and skipped.
    pub fn run(&self) -> Result<IndexReport, IngestError> {
        let lock = self.store.lock()?;
        let start = Instant::now();
        let outcome = self.run_locked(lock, start);
        let outcome = outcome.and_then(|report| self.forget_late().map(|()| report));
        LastRun::of(&outcome, start.elapsed()).write(self.store);
        outcome
    }

    fn run_locked(&self, lock: BuildLock, start: Instant) -> Result<IndexReport, IngestError> {
        let (base, damaged) = self.base()?;
        let before = match &base {
            Some(base) => Manifest::of(base)?,
            None => Manifest::default(),
        };
        let mut report = IndexReport::default();
        let looked = self.look(&before, base.is_some(), &mut report.skipped)?;
        // Not before it is known that the folders can be read.
        if let Some(damage) = damaged {
            let aside = self.store.put_aside(&lock)?;
            let aside = aside.display();
            tracing::warn!("the index is damaged ({damage}): it was put aside as {aside}, everything is read again");
        }
        let mut manifest = self.kept(&before, &looked);
        for Looked { difference, .. } in &looked {
            report.added += difference.added.len();
            report.changed += difference.changed.len();
            report.unchanged += difference.unchanged.len();
        }
        let gone: Vec<&FileEntry> =
            before.files().filter(|file| !manifest.holds(file.collection, file.path)).map(|file| file.entry).collect();
        report.removed = gone.len() - report.changed;

        let up_to_date = report.added + gone.len() == 0 && before.settings().eq(manifest.settings());
        if let Some(base) = base.as_ref().filter(|_| up_to_date) {
            (report.documents, report.passages) = (base.summary().documents, base.summary().passages);
        } else {
            let removed: Vec<PassageId> = gone.iter().flat_map(|file| file.passages()).copied().collect();
            let kept: Vec<PassageId> = manifest.files().flat_map(|file| file.entry.passages()).copied().collect();
            let mut builder = self.store.build(lock, self.embedder.model(), base.clone())?;
            removed.iter().for_each(|&id| builder.remove(id));
            let work = looked.iter().flat_map(|looked| {
                let names = looked.difference.added.iter().chain(&looked.difference.changed);
                names.map(|name| {
                    let (file, hash) = &looked.files[name];
                    Work { collection: looked.collection, file, hash }
                })
            });
            let reading = Reading {
                embedder: self.embedder,
                executable: self.executable,
                base: base.as_deref().filter(|_| !self.full),
                progress: self.progress,
                cancel: self.cancel,
            };
            report.embedded_passages = reading.run(&work.collect::<Vec<_>>(), &removed, &mut builder, &mut manifest)?;
            report.documents = manifest.documents();
            let json = serde_json::to_vec(&manifest).map_err(IngestError::Manifest)?;
            let prepared = builder.prepare(kept, report.documents, &json)?;
            self.admit(prepared.generation())?;
            report.passages = prepared.publish()?.summary().passages;
        }
        for KnownFile { collection, path, entry } in manifest.files() {
            let Some(reason) = entry.unread() else { continue };
            let list = if entry.passages().is_empty() { &mut report.skipped } else { &mut report.partly_read };
            list.push(SkippedFile {
                collection: collection.to_owned(),
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Whoever forgets a document while a run is under way leaves it to that run, which may have read it already. If by now
    /// another run is under way, it has read the list.
    fn forget_late(&self) -> Result<(), IngestError> {
        match self.store.lock() {
            Err(RetrievalError::Locked(_)) => Ok(()),
            lock => forget::drop_forgotten(self.store, lock?).map(drop),
        }
    }

    fn admit(&self, next: &Generation) -> Result<(), IngestError> {
        let Some(admission) = self.admission else { return Ok(()) };
        let live = self.store.open_current().ok().filter(|live| live.summary().model == next.summary().model);
        if admission.admits(next, live.as_ref())? { Ok(()) } else { Err(IngestError::Refused) }
    }

    /// Walks the folders and compares them with what was indexed.
    fn look(
        &self,
        before: &Manifest,
        has_base: bool,
        skipped: &mut Vec<SkippedFile>,
    ) -> Result<Vec<Looked<'_>>, IngestError> {
        let missing = |missing: Skipped| IngestError::Folder { folder: missing.path, reason: missing.reason };
        let roots = Roots::of(self.collections).map_err(missing)?;
        // Without an index there is nothing that could stay as it is.
        let only = self.only.filter(|_| has_base);
        let forgotten = Forgotten::of(self.store)?;
        let none = CollectionEntry::default();
        let mut all = Vec::new();
        for collection in self.collections.iter().filter(|collection| only.is_none_or(|only| only == collection.name)) {
            let walked = walk(collection, &roots);
            let known = before.collections.get(&collection.name).unwrap_or(&none);
            // A share that is not mounted must not look like a folder whose documents were all deleted.
            let unmounted = walked.roots.iter().find(|root| {
                root.is_empty && known.devices.get(&root.folder).is_some_and(|&device| device != root.device)
            });
            let unmounted = unmounted.map(|root| Skipped {
                path: root.folder.clone(),
                reason: "it is empty and on another disk than before: is the share mounted? `cervella index --emptied` if it is \
                         meant to be empty".to_owned(),
            });
            if let Some(reason) = walked.missing.or(unmounted.filter(|_| !self.emptied)) {
                return Err(missing(reason));
            }
            let devices = walked.roots.into_iter().map(|root| (root.folder, root.device)).collect();
            let mut skip = |path: String, reason: String| {
                skipped.push(SkippedFile { collection: collection.name.clone(), path, reason });
            };
            for file in walked.skipped {
                skip(file.path.display().to_string(), file.reason);
            }
            let mut files = BTreeMap::new();
            for file in walked.files {
                if self.cancel.is_cancelled() {
                    return Err(IngestError::Cancelled);
                }
                match hash(&file.path) {
                    Ok(hash) if forgotten.holds(&collection.name, &file.name, &hash) => {
                        skip(file.name, forget::REASON.to_owned());
                    }
                    Ok(hash) => drop(files.insert(file.name.clone(), (file, hash))),
                    Err(error) => skip(file.name, format!("cannot be read: {error}")),
                }
            }
            let hashes = files.iter().map(|(name, (_, hash))| (name.clone(), hash.clone())).collect();
            let mut difference = known.difference(collection, &hashes);
            if self.full {
                difference.changed.append(&mut difference.unchanged);
            }
            all.push(Looked { collection, files, difference, devices });
        }
        Ok(all)
    }

    /// What of the index stays as it is.
    fn kept(&self, before: &Manifest, looked: &[Looked<'_>]) -> Manifest {
        let mut manifest = Manifest::default();
        for Looked { collection, difference, devices, .. } in looked {
            let known = before.collections.get(&collection.name);
            let kept =
                difference.unchanged.iter().filter_map(|path| Some((path.clone(), known?.files.get(path)?.clone())));
            let entry =
                CollectionEntry { collection: (*collection).clone(), devices: devices.clone(), files: kept.collect() };
            manifest.collections.insert(collection.name.clone(), entry);
        }
        if self.only.is_some() {
            for (name, entry) in &before.collections {
                manifest.collections.entry(name.clone()).or_insert_with(|| entry.clone());
            }
        }
        manifest
    }

    /// The generation that this run can build on: the live one, if it is whole and made by the same model; and what is
    /// wrong with it, if it is damaged.
    fn base(&self) -> Result<(Option<Arc<Generation>>, Option<String>), IngestError> {
        match self.store.open_current() {
            Ok(_) if self.full && self.only.is_none() => Ok((None, None)),
            Ok(live) if live.summary().model == *self.embedder.model() => Ok((Some(Arc::new(live)), None)),
            Ok(_) => {
                tracing::warn!("the index was built with another embedding model: everything is read again");
                Ok((None, None))
            }
            Err(RetrievalError::NoIndex(_)) => Ok((None, None)),
            Err(RetrievalError::OtherFormat { .. }) => {
                tracing::warn!("the index was made by another version of this program: everything is read again");
                Ok((None, None))
            }
            Err(RetrievalError::Damaged { path, what }) => Ok((None, Some(format!("{}: {what}", path.display())))),
            Err(error) => Err(error.into()),
        }
    }
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}
