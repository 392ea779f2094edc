//! Files to passages in the next generation: extracted, cut, embedded where their text is new.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc;

use tokio_util::sync::CancellationToken;

use super::chunk::{PassageDraft, PassageSize, passages};
use super::document::Document;
use super::extract::{ExtractLimits, Extractor};
use super::manifest::{FileEntry, FileState, Manifest};
use super::run::{IngestError, Progress};
use super::walk::FoundFile;
use crate::domain::{Collection, Language, LanguageDetector, Passage, PassageId};
use crate::retrieval::{
    Builder, Embedder, Generation, IndexedPassage, Part, PassageEmbedder, PassageVectors, RetrievalError, TextHash,
};

/// Passages that are sorted by length and embedded together.
const WINDOW: usize = 256;
/// Texts that are not worth a copy of the model, which takes seconds to load; a question may wait a moment for them.
const FEW_TEXTS: usize = 128;
/// Files that are extracted ahead of the embedding.
const FILES_AHEAD: usize = 64;
/// Steps that wait to be written.
const STEPS_AHEAD: usize = 16;

/// Letters from which on a passage tells its own language, against that of its document.
const OWN_LANGUAGE_LETTERS: usize = 160;

/// A file that is to be read.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub collection: &'a Collection,
    pub file: &'a FoundFile,
    /// Of its content.
    pub hash: &'a str,
}

pub(super) struct Reading<'a> {
    pub embedder: &'a Embedder,
    pub executable: &'a Path,
    /// Holds the vectors of texts that are known.
    pub base: Option<&'a Generation>,
    pub progress: &'a dyn Progress,
    pub cancel: &'a CancellationToken,
}

/// The passages that leave the index, by what the embedding model read: a renamed, moved or edited file brings most of
/// them back. Empty without an index to take vectors from.
type Leaving = HashMap<TextHash, PassageId>;

/// A file that was read, with its passages or without.
struct ReadFile {
    /// Place among the work.
    at: usize,
    entry: FileEntry,
    passages: Vec<IndexedPassage>,
}

/// What is ready to be written, in the order of its arrival.
enum Step {
    File {
        at: usize,
        entry: FileEntry,
    },
    Embedded(Vec<(IndexedPassage, PassageVectors)>),
    /// The vectors are those of another passage.
    Known(IndexedPassage, PassageId),
    /// The vectors were made by a run that did not come to its end.
    Kept(IndexedPassage),
}

impl Reading<'_> {
    /// Reads the files into the builder and notes them in the manifest; `removed`: the passages that leave the index.
    /// Extracting, embedding and writing go on at the same time. Returns how many passages were embedded.
    pub fn run(
        &self,
        work: &[Work<'_>],
        removed: &[PassageId],
        builder: &mut Builder,
        manifest: &mut Manifest,
    ) -> Result<usize, IngestError> {
        self.progress.start(work.len());
        let leaving = self.leaving(removed)?;
        let kept = builder.kept_texts();
        let mut embedded = 0;
        std::thread::scope(|scope| {
            let (to_embed, files) = mpsc::sync_channel(FILES_AHEAD);
            let (to_write, steps) = mpsc::sync_channel(STEPS_AHEAD);
            scope.spawn(move || self.extract(work, &to_embed));
            scope.spawn(|| {
                if let Err(error) = self.embed(files, &leaving, &kept, &to_write) {
                    let _ = to_write.send(Err(error));
                }
                drop(to_write);
            });
            // Leaving early drops the receiver; then the threads before it end as soon as they notice.
            for step in steps {
                match step? {
                    Step::File { at, entry } => {
                        let Work { collection, file, .. } = work[at];
                        let of_collection = manifest.collections.entry(collection.name.clone()).or_default();
                        of_collection.files.insert(file.name.clone(), entry);
                    }
                    Step::Embedded(passages) => {
                        embedded += passages.len();
                        for (passage, vectors) in &passages {
                            builder.keep(passage, vectors)?;
                            builder.add(passage, vectors)?;
                        }
                    }
                    Step::Known(passage, known) => {
                        if let Some(base) = self.base {
                            builder.add_known(&passage, base, known)?;
                        }
                    }
                    Step::Kept(passage) => builder.add_kept(&passage)?,
                }
            }
            Ok::<_, IngestError>(())
        })?;
        // The threads end early when the run is cancelled.
        self.go_on()?;
        self.progress.finish();
        Ok(embedded)
    }

    /// Sends each file on as it is read, until nobody takes it any more.
    fn extract(&self, work: &[Work<'_>], to_embed: &mpsc::SyncSender<ReadFile>) {
        let extractor = Extractor::new(self.executable, ExtractLimits::default(), self.cancel.clone());
        for (at, work) in work.iter().enumerate() {
            let mut hash = work.hash.to_owned();
            let (state, passages) = match extractor.extract(&work.file.path, work.file.format) {
                Ok(document) => self.indexed(work, &document),
                Err(error) => {
                    if error.may_pass() {
                        // No file has this hash: the next run tries again.
                        hash.clear();
                    }
                    (FileState::Skipped { reason: error.to_string() }, Vec::new())
                }
            };
            self.progress.file(passages.len());
            let entry = FileEntry { hash, bytes: work.file.bytes, state };
            if self.cancel.is_cancelled() || to_embed.send(ReadFile { at, entry, passages }).is_err() {
                return;
            }
        }
    }

    fn embed(
        &self,
        files: mpsc::Receiver<ReadFile>,
        leaving: &Leaving,
        kept: &HashSet<TextHash>,
        to_write: &mpsc::SyncSender<Result<Step, IngestError>>,
    ) -> Result<(), IngestError> {
        // Nobody takes steps any more when writing has failed, and then that is the error.
        let send = |step| to_write.send(Ok(step)).map_err(|_| IngestError::Cancelled);
        let mut own = None;
        let mut pending: Vec<IndexedPassage> = Vec::new();
        let mut files = files.into_iter();
        loop {
            let file = files.next();
            let is_last = file.is_none();
            if let Some(ReadFile { at, entry, passages }) = file {
                send(Step::File { at, entry })?;
                for passage in passages {
                    let text = passage.text_hash();
                    match leaving.get(&text) {
                        Some(&known) => send(Step::Known(passage, known))?,
                        None if kept.contains(&text) => send(Step::Kept(passage))?,
                        None => pending.push(passage),
                    }
                }
            }
            while pending.len() >= WINDOW || (is_last && !pending.is_empty()) {
                let rest = pending.split_off(pending.len().min(WINDOW));
                let window = std::mem::replace(&mut pending, rest);
                send(Step::Embedded(self.embed_window(window, &mut own)?))?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn go_on(&self) -> Result<(), IngestError> {
        if self.cancel.is_cancelled() { Err(IngestError::Cancelled) } else { Ok(()) }
    }

    fn leaving(&self, removed: &[PassageId]) -> Result<Leaving, RetrievalError> {
        let mut leaving = Leaving::new();
        for &id in removed {
            if let Some(passage) = self.base.map(|base| base.passage(id)).transpose()?.flatten() {
                leaving.insert(passage.text_hash(), id);
            }
        }
        Ok(leaving)
    }

    fn embed_window(
        &self,
        window: Vec<IndexedPassage>,
        own: &mut Option<PassageEmbedder>,
    ) -> Result<Vec<(IndexedPassage, PassageVectors)>, IngestError> {
        let parts: Vec<Vec<Part>> = window.iter().map(IndexedPassage::parts).collect();
        let wholes = window.iter().map(IndexedPassage::text_to_embed);
        let texts: Vec<String> = wholes.chain(parts.iter().flatten().map(|part| part.text.clone())).collect();
        let mut vectors = self.vectors(&texts, own)?;
        let mut of_parts = vectors.split_off(window.len()).into_iter();
        let with_vectors = window.into_iter().zip(vectors).zip(parts).map(|((passage, whole), parts)| {
            let parts = of_parts.by_ref().take(parts.len()).collect();
            (passage, PassageVectors { whole, parts })
        });
        Ok(with_vectors.collect())
    }

    fn vectors(&self, texts: &[String], own: &mut Option<PassageEmbedder>) -> Result<Vec<Vec<f32>>, IngestError> {
        let own = match own {
            Some(own) => own,
            None if texts.len() <= FEW_TEXTS => return Ok(self.embedder.passages(texts)?),
            none => none.insert(self.embedder.for_passages()?),
        };
        own.embed(texts, || {
            tracing::debug!("embedded a batch");
            self.go_on()
        })
    }

    fn indexed(&self, work: &Work<'_>, document: &Document) -> (FileState, Vec<IndexedPassage>) {
        let drafts = passages(document, &|text| self.embedder.count_tokens(text), &PassageSize::default());
        if drafts.is_empty() {
            return (FileState::Skipped { reason: "it holds no text".to_owned() }, Vec::new());
        }
        let Work { collection, file, .. } = work;
        let language = language_of(document, &drafts, collection.language);
        let mut times_seen: HashMap<TextHash, u32> = HashMap::new();
        let indexed: Vec<IndexedPassage> = drafts
            .into_iter()
            .enumerate()
            .map(|(ordinal, draft)| {
                let seen = times_seen.entry(*blake3::hash(draft.text.as_bytes()).as_bytes()).or_default();
                *seen += 1;
                let own = draft.text.chars().filter(|c| c.is_alphabetic()).count() >= OWN_LANGUAGE_LETTERS;
                let passage = Passage {
                    id: passage_id(work, &draft, *seen),
                    collection: collection.name.clone(),
                    path: file.name.clone(),
                    title: document.title.clone(),
                    date: document.date,
                    language: own.then(|| LanguageDetector.detect(&draft.text)).flatten().unwrap_or(language),
                    headings: draft.headings,
                    link: collection.link.as_ref().map(|link| link.fill(&file.relative, draft.anchor.as_deref())),
                    anchor: draft.anchor,
                    ordinal: ordinal as u32,
                    text: draft.text,
                };
                IndexedPassage { passage, context: draft.context, follows: draft.follows }
            })
            .collect();
        let passages = indexed.iter().map(|indexed| indexed.passage.id).collect();
        let (title, unread) = (document.title.clone(), document.unread.clone());
        (FileState::Indexed { title, language, passages, unread }, indexed)
    }
}

/// What its text is written in, else what the admin says of the collection, else what the document says of itself:
/// templates often claim the wrong language.
fn language_of(document: &Document, drafts: &[PassageDraft], of_collection: Option<Language>) -> Language {
    const LOOKED_AT: usize = 6;
    let text: Vec<&str> = drafts.iter().take(LOOKED_AT).map(|draft| draft.text.as_str()).collect();
    let detected = LanguageDetector.detect(&text.join("\n"));
    detected.or(of_collection).or(document.language_hint).unwrap_or(Language::English)
}

/// The same passage in the same document has the same identity in every run; equal ones are told apart by their order.
fn passage_id(work: &Work<'_>, draft: &PassageDraft, seen: u32) -> PassageId {
    let mut hasher = blake3::Hasher::new();
    let headings = draft.headings.join("\u{1}");
    let context = draft.context.as_deref().unwrap_or_default();
    for part in [&work.collection.name, &work.file.name, &headings, &draft.text, context] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.update(&seen.to_le_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    PassageId(id)
}
