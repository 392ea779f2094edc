//! The on-disk set of an index: full-text files, vectors, the manifest of the folders it was made from. A generation
//! is built beside the live one under a `.partial` name and becomes current by one rename; it never changes after
//! that. A crash at any moment leaves the old set or the new one.
//!
//! `index/CURRENT` holds the name of the live generation, `index/LOCK` is held by the one process that builds.

mod builder;
mod files;
mod kept;
mod store;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dense::{DenseQuery, Tag, Vectors};
use super::embed::EmbeddingModel;
use super::filter::Filter;
use super::lexical::Lexical;
use super::pairs::TermPairs;
use super::{RetrievalError, Weights};
use crate::domain::{Passage, PassageId};
pub use builder::{Builder, Prepared};
use files::FileSums;
pub use store::{BuildLock, IndexStore};

/// Layout and analysis version of a generation; another one is rebuilt from the folders.
pub const FORMAT: u32 = 7;

const LEXICAL: &str = "lexical";
const VECTORS: &str = "vectors.bin";
const PART_VECTORS: &str = "part_vectors.bin";
const PAIRS: &str = "term_pairs.json";
const MANIFEST: &str = "manifest.json";
const SUMMARY: &str = "generation.json";

/// Rows up to which the parts of all passages are searched too, and not only those of the candidates.
const PART_ROWS_MAX: usize = 1 << 19;

/// Of everything that the vectors of a passage are made from.
pub type TextHash = [u8; 32];

/// A passage below its title and headings, as models read it.
pub(super) fn below_its_title(passage: &Passage, context: Option<&str>) -> String {
    let mut text = passage.title.clone();
    for heading in &passage.headings {
        text.push_str(" › ");
        text.push_str(heading);
    }
    for part in context.into_iter().chain([passage.text.as_str()]) {
        text.push('\n');
        text.push_str(part);
    }
    text
}

/// A passage as it is kept in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedPassage {
    pub passage: Passage,
    /// Text that belongs to the passage but stands elsewhere in the document, such as the header row of its table:
    /// searched and shown to the model, never quoted.
    pub context: Option<String>,
    /// What stands between it and the passage before, where both are of one section; `None`: a section begins here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
}

impl IndexedPassage {
    /// A passage with nothing around it.
    pub fn alone(passage: Passage) -> Self {
        IndexedPassage { passage, context: None, follows: None }
    }

    /// What the embedding model reads: see [`below_its_title`].
    pub fn text_to_embed(&self) -> String {
        below_its_title(&self.passage, self.context.as_deref())
    }

    pub fn text_hash(&self) -> TextHash {
        let mut hasher = blake3::Hasher::new();
        for text in std::iter::once(self.text_to_embed()).chain(self.parts().into_iter().map(|part| part.text)) {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

/// The vectors of a passage, unit length each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassageVectors {
    /// Of [`IndexedPassage::text_to_embed`].
    pub whole: Vec<f32>,
    /// Of [`IndexedPassage::parts`].
    pub parts: Vec<Vec<f32>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSummary {
    pub format: u32,
    pub model: EmbeddingModel,
    pub passages: usize,
    pub documents: usize,
    /// Names of the collections, by the number that passages are tagged with.
    pub collections: Vec<String>,
    /// Seconds since 1970-01-01 UTC.
    pub built_at: u64,
    /// Of all its other files.
    files: FileSums,
}

impl GenerationSummary {
    /// What its files take on the disk, without this summary.
    pub fn bytes(&self) -> u64 {
        self.files.bytes()
    }
}

/// An open generation. Its files may be deleted while it is in use.
pub struct Generation {
    folder: PathBuf,
    pub(super) lexical: Lexical,
    pub(super) vectors: Vectors,
    part_vectors: Vectors,
    pub(super) pairs: TermPairs,
    summary: GenerationSummary,
}

/// A question's vector in a generation.
pub(super) struct Meaning<'a> {
    generation: &'a Generation,
    whole: DenseQuery,
    parts: DenseQuery,
    /// Weight of the best part.
    best_part: f32,
}

/// How well a passage fits a question, between -1 and 1 each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fit {
    pub whole: f32,
    /// Of its best part, which may be the whole.
    pub best_part: f32,
    /// Weighted mean of both.
    pub cosine: f32,
}

impl Meaning<'_> {
    /// The passages that fit best, as a whole or in a part; about `limit`, in no order, some more than once.
    pub fn candidates(&self, limit: usize, filter: &Filter<'_>) -> Vec<PassageId> {
        let Generation { vectors, part_vectors, .. } = self.generation;
        let mut found = vectors.search(&self.whole, limit, filter);
        if self.best_part > 0.0 && part_vectors.row_count() <= PART_ROWS_MAX {
            found.extend(part_vectors.search(&self.parts, limit, filter));
        }
        found
    }

    pub fn fit(&self, id: PassageId) -> Fit {
        let Generation { vectors, part_vectors, .. } = self.generation;
        let whole = vectors.cosine(&self.whole, id).unwrap_or(0.0);
        let best_part = part_vectors.cosine(&self.parts, id).map_or(whole, |part| part.max(whole));
        Fit { whole, best_part, cosine: self.best_part * best_part + (1.0 - self.best_part) * whole }
    }

    /// The cosine of each part of a passage, in their order.
    pub fn fits_of_parts(&self, id: PassageId) -> Vec<f32> {
        self.generation.part_vectors.cosines(&self.parts, id).collect()
    }
}

impl Generation {
    /// # Errors
    /// `OtherFormat`, `Damaged` when a file is not what was written, errors of the file system.
    fn open(folder: &Path) -> Result<Self, RetrievalError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = folder.join(SUMMARY);
        let json = fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => RetrievalError::damaged(&path, "the file is missing"),
            _ => RetrievalError::file("read", &path)(e),
        })?;
        let Version { format } = serde_json::from_slice(&json).map_err(|e| RetrievalError::damaged(&path, e))?;
        if format != FORMAT {
            return Err(RetrievalError::OtherFormat { path, format });
        }
        let summary: GenerationSummary =
            serde_json::from_slice(&json).map_err(|e| RetrievalError::damaged(&path, e))?;
        summary.files.verify(folder, &path)?;
        let lexical = Lexical::open(&folder.join(LEXICAL))?;
        let vectors = Vectors::open(&folder.join(VECTORS))?;
        let part_vectors = Vectors::open(&folder.join(PART_VECTORS))?;
        if [lexical.count(), vectors.passages()] != [summary.passages; 2] {
            return Err(RetrievalError::damaged(folder, "its parts hold different numbers of passages"));
        }
        if [vectors.dims(), part_vectors.dims()] != [summary.model.dims; 2] {
            return Err(RetrievalError::damaged(folder, "its vectors are not those of its model"));
        }
        let pairs = TermPairs::read(&folder.join(PAIRS))?;
        Ok(Generation { folder: folder.to_owned(), lexical, vectors, part_vectors, pairs, summary })
    }

    /// `question`: its vector, centred if the weights say so.
    pub(super) fn meaning(&self, question: &[f32], weights: &Weights) -> Meaning<'_> {
        Meaning {
            generation: self,
            whole: self.vectors.query(question, weights.centred, !weights.sketches),
            parts: self.part_vectors.query(question, weights.centred, !weights.sketches),
            best_part: weights.best_part,
        }
    }

    /// Where each part of a passage stands in its text, with its cosine to another text's vector, neither of them centred;
    /// empty: the passage is not in this generation.
    pub(super) fn parts_beside(
        &self,
        id: PassageId,
        vector: &[f32],
    ) -> Result<Vec<(Range<usize>, f32)>, RetrievalError> {
        let Some(passage) = self.passage(id)? else { return Ok(Vec::new()) };
        let query = self.part_vectors.query(vector, false, true);
        let ranges = passage.parts().into_iter().map(|part| part.range);
        Ok(ranges.zip(self.part_vectors.cosines(&query, id)).collect())
    }

    pub fn summary(&self) -> &GenerationSummary {
        &self.summary
    }

    /// Folder name, such as `generation-7`.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The manifest that was handed to [`Builder::prepare`].
    pub fn manifest(&self) -> Result<Vec<u8>, RetrievalError> {
        let path = self.folder.join(MANIFEST);
        fs::read(&path).map_err(RetrievalError::file("read", path))
    }

    pub fn holds(&self, id: PassageId) -> bool {
        self.vectors.tag(id).is_some()
    }

    /// `None`: the passage is not in this generation.
    pub fn passage(&self, id: PassageId) -> Result<Option<IndexedPassage>, RetrievalError> {
        self.lexical.passage(id)
    }

    /// All passages of the document that holds this passage, in their order; empty when it is not in this generation.
    pub fn document_of(&self, id: PassageId) -> Result<Vec<Passage>, RetrievalError> {
        match self.lexical.passage(id)? {
            Some(indexed) => self.lexical.document(&indexed.passage),
            None => Ok(Vec::new()),
        }
    }

    /// How many passages a document has, by its collection and path.
    pub fn passages_of(&self, collection: &str, path: &str) -> Result<usize, RetrievalError> {
        self.lexical.passages_of(collection, path)
    }

    /// All passages of the collections whose name is wanted.
    pub fn passages_in(&self, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = PassageId> {
        let wanted: Vec<bool> = self.summary.collections.iter().map(|name| is_wanted(name)).collect();
        let is_in = move |tag: Tag| wanted.get(usize::from(tag.collection)) == Some(&true);
        self.vectors.ids().filter(move |id| self.vectors.tag(*id).is_some_and(&is_in))
    }

    /// Passages from all over the index, at most so many.
    pub fn sample(&self, passages_max: usize) -> Result<Vec<IndexedPassage>, RetrievalError> {
        let step = self.vectors.passages().div_ceil(passages_max.max(1)).max(1);
        let ids = self.vectors.ids().step_by(step).take(passages_max);
        ids.filter_map(|id| self.lexical.passage(id).transpose()).collect()
    }
}
