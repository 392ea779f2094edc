//! The index run: folders compared with the manifest, what changed extracted, cut, embedded and handed to the next
//! generation, what is gone dropped.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::chunk::{PassageDraft, PassageSize, passages};
use super::document::Document;
use super::extract::{ExtractLimits, Extractor};
use super::manifest::{FileEntry, FileState, Manifest};
use super::walk::{FoundFile, walk};
use crate::domain::{Language, LanguageDetector, Passage, PassageId};
use crate::retrieval::{Builder, Embedder, Generation, IndexStore, IndexedPassage, PassageVectors, RetrievalError};

/// Passages that are embedded together; few enough to stop soon, enough to sort by length.
const BATCH: usize = 64;
/// Letters from which on a passage tells its own language, against that of its document.
const OWN_LANGUAGE_LETTERS: usize = 160;

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
}

/// A file that is not in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    pub path: String,
    pub reason: String,
}

/// What an index run needs.
pub struct IndexRun<'a> {
    pub store: &'a IndexStore,
    pub embedder: &'a Embedder,
    pub folders: &'a [PathBuf],
    /// The program that extracts PDF and DOCX files in a process of their own: this one.
    pub executable: &'a Path,
    /// Reads everything again instead of what changed.
    pub full: bool,
    pub progress: &'a dyn Progress,
    pub cancel: &'a CancellationToken,
}

/// Where a run reports how far it is.
pub trait Progress: Sync {
    /// So many files are to be read.
    fn start(&self, files: usize);
    /// One more file was read and gave so many passages.
    fn file(&self, passages: usize);
    fn finish(&self);
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
    pub embedded_passages: usize,
    pub skipped: Vec<SkippedFile>,
    pub seconds: f64,
}

impl IndexRun<'_> {
    /// # Errors
    /// A folder that cannot be read, another run in progress, a full disk, a cancelled run: the live index stays as it
    /// was. A file that cannot be read is reported and skipped.
    pub fn run(&self) -> Result<IndexReport, IngestError> {
        let start = Instant::now();
        let walked = walk(self.folders);
        self.refuse_missing_folder(&walked.skipped)?;
        let mut skipped: Vec<SkippedFile> = walked
            .skipped
            .into_iter()
            .map(|skipped| SkippedFile { path: skipped.path.display().to_string(), reason: skipped.reason })
            .collect();
        let base = self.base()?;
        let before = match &base {
            Some(base) => serde_json::from_slice(&base.manifest()?)
                .map_err(|e| RetrievalError::Damaged { path: self.store.root().into(), what: e.to_string() })?,
            None => Manifest::default(),
        };
        let mut files: BTreeMap<String, (&FoundFile, String)> = BTreeMap::new();
        for file in &walked.files {
            match hash(&file.path) {
                Ok(hash) => {
                    files.insert(file.relative.clone(), (file, hash));
                }
                Err(e) => {
                    skipped.push(SkippedFile { path: file.relative.clone(), reason: format!("cannot be read: {e}") });
                }
            }
        }
        let hashes = files.iter().map(|(path, (_, hash))| (path.clone(), hash.clone())).collect();
        let difference = before.difference(&hashes);
        let mut report = IndexReport {
            added: difference.added.len(),
            changed: difference.changed.len(),
            removed: difference.removed.len(),
            unchanged: difference.unchanged.len(),
            ..IndexReport::default()
        };
        let mut manifest = Manifest { folders: self.folders.to_vec(), files: BTreeMap::new() };
        for path in &difference.unchanged {
            manifest.files.insert(path.clone(), before.files[path].clone());
        }
        if difference.is_empty() && before.folders == manifest.folders && base.is_some() {
            let summary = base.as_ref().map(|base| base.summary().clone());
            report.documents = summary.as_ref().map_or(0, |summary| summary.documents);
            report.passages = summary.map_or(0, |summary| summary.passages);
        } else {
            let mut builder = self.store.build(self.embedder.model(), base)?;
            for path in difference.removed.iter().chain(&difference.changed) {
                before.files[path].passages().iter().for_each(|&id| builder.remove(id));
            }
            let work: Vec<&String> = difference.added.iter().chain(&difference.changed).collect();
            report.embedded_passages = self.read(&work, &files, &mut builder, &mut manifest)?;
            let kept = difference.unchanged.iter().flat_map(|path| before.files[path].passages().iter().copied());
            let documents = manifest.files.values().filter(|entry| !entry.passages().is_empty()).count();
            let json = serde_json::to_vec(&manifest).map_err(IngestError::Manifest)?;
            let generation = builder.finish(kept, documents, &json)?;
            report.documents = documents;
            report.passages = generation.summary().passages;
        }
        skipped.extend(manifest.files.iter().filter_map(|(path, entry)| match &entry.state {
            FileState::Skipped { reason } => Some(SkippedFile { path: path.clone(), reason: reason.clone() }),
            FileState::Indexed { .. } => None,
        }));
        report.skipped = skipped;
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    /// A share that is not mounted must not look like a folder whose documents were all deleted.
    fn refuse_missing_folder(&self, skipped: &[super::walk::Skipped]) -> Result<(), IngestError> {
        match skipped.iter().find(|skipped| self.folders.contains(&skipped.path)) {
            Some(missing) => Err(IngestError::Folder { folder: missing.path.clone(), reason: missing.reason.clone() }),
            None => Ok(()),
        }
    }

    /// The generation that this run can build on: the live one, if it is whole and made by the same model.
    fn base(&self) -> Result<Option<Arc<Generation>>, IngestError> {
        if self.full {
            return Ok(None);
        }
        match self.store.open_current() {
            Ok(live) if live.summary().model == *self.embedder.model() => Ok(Some(Arc::new(live))),
            Ok(_) => {
                tracing::warn!("the index was built with another embedding model: everything is read again");
                Ok(None)
            }
            Err(RetrievalError::NoIndex(_)) => Ok(None),
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, "the index is damaged: everything is read again");
                Ok(None)
            }
        }
    }

    /// Reads the files in `work` into the builder; returns how many passages were embedded.
    fn read(
        &self,
        work: &[&String],
        files: &BTreeMap<String, (&FoundFile, String)>,
        builder: &mut Builder,
        manifest: &mut Manifest,
    ) -> Result<usize, IngestError> {
        self.progress.start(work.len());
        let extractor = Extractor::new(self.executable, ExtractLimits::default());
        let mut pending: Vec<IndexedPassage> = Vec::new();
        let mut embedded = 0;
        for path in work {
            if self.cancel.is_cancelled() {
                return Err(IngestError::Cancelled);
            }
            let (file, hash) = &files[*path];
            let (state, passages) = match extractor.extract(&file.path) {
                Ok(document) => self.indexed(path, &document),
                Err(e) => (FileState::Skipped { reason: e.to_string() }, Vec::new()),
            };
            self.progress.file(passages.len());
            pending.extend(passages);
            manifest.files.insert((*path).clone(), FileEntry { hash: hash.clone(), bytes: file.bytes, state });
            while pending.len() >= BATCH {
                let rest = pending.split_off(BATCH);
                embedded += self.embed(&std::mem::replace(&mut pending, rest), builder)?;
                if self.cancel.is_cancelled() {
                    return Err(IngestError::Cancelled);
                }
            }
        }
        embedded += self.embed(&pending, builder)?;
        self.progress.finish();
        Ok(embedded)
    }

    fn embed(&self, batch: &[IndexedPassage], builder: &mut Builder) -> Result<usize, IngestError> {
        let parts: Vec<Vec<String>> = batch.iter().map(IndexedPassage::parts).collect();
        let wholes = batch.iter().map(IndexedPassage::text_to_embed);
        let texts: Vec<String> = wholes.chain(parts.iter().flatten().cloned()).collect();
        let mut vectors = self.embedder.passages(&texts)?;
        let mut of_parts = vectors.split_off(batch.len()).into_iter();
        for ((passage, parts), whole) in batch.iter().zip(&parts).zip(vectors) {
            let parts = of_parts.by_ref().take(parts.len()).collect();
            builder.add(passage, &PassageVectors { whole, parts })?;
        }
        tracing::debug!(passages = batch.len(), "embedded a batch");
        Ok(batch.len())
    }

    fn indexed(&self, path: &str, document: &Document) -> (FileState, Vec<IndexedPassage>) {
        let drafts = passages(document, &|text| self.embedder.count_tokens(text), &PassageSize::default());
        if drafts.is_empty() {
            return (FileState::Skipped { reason: "it holds no text".to_owned() }, Vec::new());
        }
        let language = language_of(document, &drafts);
        let mut times_seen: HashMap<[u8; 32], u32> = HashMap::new();
        let indexed: Vec<IndexedPassage> = drafts
            .into_iter()
            .enumerate()
            .map(|(ordinal, draft)| {
                let seen = times_seen.entry(*blake3::hash(draft.text.as_bytes()).as_bytes()).or_default();
                *seen += 1;
                let own = draft.text.chars().filter(|c| c.is_alphabetic()).count() >= OWN_LANGUAGE_LETTERS;
                let passage = Passage {
                    id: passage_id(path, &draft, *seen),
                    path: path.to_owned(),
                    title: document.title.clone(),
                    language: own.then(|| LanguageDetector.detect(&draft.text)).flatten().unwrap_or(language),
                    headings: draft.headings,
                    anchor: draft.anchor,
                    ordinal: ordinal as u32,
                    text: draft.text,
                };
                IndexedPassage { passage, context: draft.context }
            })
            .collect();
        let passages = indexed.iter().map(|indexed| indexed.passage.id).collect();
        (FileState::Indexed { title: document.title.clone(), language, passages }, indexed)
    }
}

/// What its text is written in, else what the document says of itself: templates often claim the wrong language.
fn language_of(document: &Document, drafts: &[PassageDraft]) -> Language {
    const LOOKED_AT: usize = 6;
    let text: Vec<&str> = drafts.iter().take(LOOKED_AT).map(|draft| draft.text.as_str()).collect();
    LanguageDetector.detect(&text.join("\n")).or(document.language_hint).unwrap_or(Language::English)
}

/// The same passage in the same document has the same identity in every run; equal ones are told apart by their order.
fn passage_id(path: &str, draft: &PassageDraft, seen: u32) -> PassageId {
    let mut hasher = blake3::Hasher::new();
    for part in [path, &draft.headings.join("\u{1}"), &draft.text, draft.context.as_deref().unwrap_or_default()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.update(&seen.to_le_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    PassageId(id)
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}
