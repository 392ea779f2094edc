//! A generation in the making.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::{FileSums, sync_folder, write_synced};
use super::kept::KeptVectors;
use super::store::{BuildLock, IndexStore};
use super::{
    FORMAT, Generation, GenerationSummary, IndexedPassage, LEXICAL, MANIFEST, PAIRS, PassageVectors, SUMMARY, TextHash,
    VECTORS,
};
use crate::domain::{Passage, PassageId};
use crate::retrieval::dense::{OwnedRow, Tag, Vectors, VectorsWriter};
use crate::retrieval::lexical::{Lexical, LexicalWriter};
use crate::retrieval::pairs::TermPairs;
use crate::retrieval::{EmbeddingModel, RetrievalError};

/// A generation in the making. Dropped unfinished, it leaves nothing that anybody reads.
pub struct Builder {
    pub(super) store: IndexStore,
    pub(super) partial: PathBuf,
    pub(super) lexical: LexicalWriter,
    pub(super) vectors: VectorsWriter,
    pub(super) part_vectors: VectorsWriter,
    pub(super) kept: KeptVectors,
    pub(super) base: Option<Arc<Generation>>,
    /// See [`GenerationSummary::collections`]; those of the base keep their numbers.
    pub(super) collections: Vec<String>,
    pub(super) model: EmbeddingModel,
    pub(super) removed: HashSet<PassageId>,
    /// Passages that are not the base's.
    pub(super) added: usize,
    pub(super) lock: BuildLock,
}

/// A generation that is whole and on the disk, and not live yet. Dropped, it leaves nothing that anybody reads.
pub struct Prepared {
    generation: Generation,
    store: IndexStore,
    /// Nobody else may build before this one is live or given up.
    _lock: BuildLock,
}

impl Builder {
    /// `vectors`: as many values each as the model has dimensions.
    pub fn add(&mut self, passage: &IndexedPassage, vectors: &PassageVectors) -> Result<(), RetrievalError> {
        let (id, tag) = self.add_text(passage)?;
        self.vectors.push(id, tag, &vectors.whole)?;
        vectors.parts.iter().try_for_each(|vector| self.part_vectors.push(id, tag, vector))
    }

    /// Keeps the vectors of a passage for the next run, in case this one does not come to its end.
    pub fn keep(&mut self, passage: &IndexedPassage, vectors: &PassageVectors) -> Result<(), RetrievalError> {
        let rows: Vec<OwnedRow> =
            std::iter::once(&vectors.whole).chain(&vectors.parts).map(|v| OwnedRow::of(v)).collect();
        self.kept.keep(passage.text_hash(), rows.iter().map(OwnedRow::as_row))
    }

    /// The texts whose vectors an unfinished run has kept.
    pub fn kept_texts(&self) -> HashSet<TextHash> {
        self.kept.texts().copied().collect()
    }

    /// Adds a passage with the vectors that were kept of its text.
    ///
    /// # Errors
    /// `Damaged` when they were not.
    pub fn add_kept(&mut self, passage: &IndexedPassage) -> Result<(), RetrievalError> {
        let rows = self.kept.rows(&passage.text_hash())?.unwrap_or_default();
        let Some((whole, parts)) = rows.split_first() else {
            return Err(RetrievalError::damaged(self.store.root(), "vectors that were kept are gone"));
        };
        let (id, tag) = self.add_text(passage)?;
        self.vectors.push_row(id, tag, whole.as_row())?;
        parts.iter().try_for_each(|part| self.part_vectors.push_row(id, tag, part.as_row()))
    }

    /// Adds a passage with the vectors that another one has in `of`: they stand for the same text.
    pub fn add_known(
        &mut self,
        passage: &IndexedPassage,
        of: &Generation,
        other: PassageId,
    ) -> Result<(), RetrievalError> {
        let (id, tag) = self.add_text(passage)?;
        self.copy_vectors(of, other, id, tag)
    }

    fn add_text(&mut self, passage: &IndexedPassage) -> Result<(PassageId, Tag), RetrievalError> {
        self.lexical.add(passage)?;
        self.added += 1;
        let Passage { id, language, ref collection, .. } = passage.passage;
        Ok((id, Tag { language, collection: self.number_of(collection)? }))
    }

    fn copy_vectors(
        &mut self,
        from: &Generation,
        of: PassageId,
        id: PassageId,
        tag: Tag,
    ) -> Result<(), RetrievalError> {
        from.vectors.vectors_of(of).try_for_each(|row| self.vectors.push_row(id, tag, row))?;
        from.part_vectors.vectors_of(of).try_for_each(|row| self.part_vectors.push_row(id, tag, row))
    }

    fn number_of(&mut self, collection: &str) -> Result<u16, RetrievalError> {
        let known = self.collections.iter().position(|name| name == collection);
        let number = known.unwrap_or_else(|| {
            self.collections.push(collection.to_owned());
            self.collections.len() - 1
        });
        u16::try_from(number).map_err(|_| RetrievalError::TooManyCollections)
    }

    /// Leaves a passage of the base out of the new generation. To be called before any passage is added.
    pub fn remove(&mut self, id: PassageId) {
        self.lexical.remove(id);
        self.removed.insert(id);
    }

    /// Brings the generation to disk and opens it: what cannot be read back never becomes the live one. `kept` are the
    /// passages of the base that stay.
    ///
    /// # Errors
    /// Errors of the file system; the live generation stays what it was.
    pub fn prepare(
        mut self,
        kept: impl IntoIterator<Item = PassageId>,
        documents: usize,
        manifest: &[u8],
    ) -> Result<Prepared, RetrievalError> {
        let base = self.base.take();
        if let Some(base) = &base {
            for id in kept.into_iter().filter(|id| !self.removed.contains(id)).collect::<Vec<_>>() {
                if let Some(tag) = base.vectors.tag(id) {
                    self.copy_vectors(base, id, id, tag)?;
                }
            }
        }
        self.lexical.finish()?;
        let passages = self.vectors.passages();
        self.vectors.finish()?;
        self.part_vectors.finish()?;
        let vectors = Vectors::open(&self.partial.join(VECTORS))?;
        let lexical = Lexical::open(&self.partial.join(LEXICAL))?;
        let changes = self.added + self.removed.len();
        let known = base.as_ref().map(|base| base.pairs.after(changes, passages, &lexical)).transpose()?.flatten();
        let pairs = known.map_or_else(|| TermPairs::learn(&lexical, &vectors), Ok)?;
        write_synced(&self.partial.join(PAIRS), &pairs.to_json()?)?;
        write_synced(&self.partial.join(MANIFEST), manifest)?;
        let known = base.map(|base| base.summary.files.clone()).unwrap_or_default();
        let summary = GenerationSummary {
            format: FORMAT,
            model: self.model,
            passages,
            documents,
            collections: self.collections,
            built_at: std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()),
            files: FileSums::of(&self.partial, &known)?,
        };
        let json = serde_json::to_vec_pretty(&summary).map_err(|e| RetrievalError::damaged(&self.partial, e))?;
        write_synced(&self.partial.join(SUMMARY), &json)?;
        sync_folder(&self.partial.join(LEXICAL))?;
        sync_folder(&self.partial)?;
        let generation = Generation::open(&self.partial)?;
        Ok(Prepared { generation, store: self.store, _lock: self.lock })
    }
}

impl Prepared {
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Makes it the live one.
    ///
    /// # Errors
    /// Errors of the file system; the live generation stays what it was, or is this one.
    pub fn publish(mut self) -> Result<Generation, RetrievalError> {
        self.generation.folder = self.store.publish(&self.generation.folder)?;
        Ok(self.generation)
    }
}
