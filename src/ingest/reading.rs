//! Files to passages in the next generation: extracted, cut, embedded where their text is new.

use std::collections::HashMap;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::chunk::{PassageDraft, PassageSize, passages};
use super::document::Document;
use super::extract::{ExtractLimits, Extractor};
use super::manifest::{FileEntry, FileState, Manifest};
use super::run::{IngestError, Progress};
use super::walk::FoundFile;
use crate::domain::{Collection, Language, LanguageDetector, Passage, PassageId};
use crate::retrieval::{Builder, Embedder, Generation, IndexedPassage, PassageVectors, RetrievalError};

/// Passages that are embedded together; few enough to stop soon, enough to sort by length.
const BATCH: usize = 64;
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

type TextHash = [u8; 32];

/// The passages that leave the index, by what the embedding model read: a renamed, moved or edited file brings most of
/// them back.
type Leaving = HashMap<TextHash, PassageId>;

impl Reading<'_> {
    /// Reads the files into the builder and notes them in the manifest; `removed`: the passages that leave the index.
    /// Returns how many passages were embedded.
    pub fn run(
        &self,
        work: &[Work<'_>],
        removed: &[PassageId],
        builder: &mut Builder,
        manifest: &mut Manifest,
    ) -> Result<usize, IngestError> {
        self.progress.start(work.len());
        let leaving = self.leaving(removed)?;
        let extractor = Extractor::new(self.executable, ExtractLimits::default());
        let mut pending: Vec<IndexedPassage> = Vec::new();
        let mut embedded = 0;
        for work in work {
            self.go_on()?;
            let mut hash = work.hash.to_owned();
            let (state, passages) = match extractor.extract(&work.file.path) {
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
            let of_collection = manifest.collections.entry(work.collection.name.clone()).or_default();
            of_collection.files.insert(work.file.name.clone(), entry);
            for passage in passages {
                match self.known(&leaving, &passage) {
                    Some(vectors) => builder.add(&passage, &vectors)?,
                    None => pending.push(passage),
                }
            }
            while pending.len() >= BATCH {
                let rest = pending.split_off(BATCH);
                embedded += self.embed(&std::mem::replace(&mut pending, rest), builder)?;
                self.go_on()?;
            }
        }
        embedded += self.embed(&pending, builder)?;
        self.progress.finish();
        Ok(embedded)
    }

    fn go_on(&self) -> Result<(), IngestError> {
        if self.cancel.is_cancelled() { Err(IngestError::Cancelled) } else { Ok(()) }
    }

    fn leaving(&self, removed: &[PassageId]) -> Result<Leaving, RetrievalError> {
        let mut leaving = Leaving::new();
        for &id in removed {
            if let Some(passage) = self.base.map(|base| base.passage(id)).transpose()?.flatten() {
                leaving.insert(text_hash(&passage), id);
            }
        }
        Ok(leaving)
    }

    /// The vectors of a passage that stood elsewhere, word for word.
    fn known(&self, leaving: &Leaving, passage: &IndexedPassage) -> Option<PassageVectors> {
        self.base?.vectors_of(*leaving.get(&text_hash(passage))?)
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
                    language: own.then(|| LanguageDetector.detect(&draft.text)).flatten().unwrap_or(language),
                    headings: draft.headings,
                    link: collection.link.as_ref().map(|link| link.fill(&file.relative, draft.anchor.as_deref())),
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

/// Of everything that the vectors of a passage are made from.
fn text_hash(passage: &IndexedPassage) -> TextHash {
    let mut hasher = blake3::Hasher::new();
    for text in std::iter::once(passage.text_to_embed()).chain(passage.parts()) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
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
