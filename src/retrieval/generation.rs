//! The on-disk set of an index: full-text files, vectors, the manifest of the folders it was made from. A generation
//! is built beside the live one under a `.partial` name and becomes current by one rename; it never changes after
//! that. A crash at any moment leaves the old set or the new one.
//!
//! `index/CURRENT` holds the name of the live generation, `index/LOCK` is held by the one process that builds.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RetrievalError;
use super::dense::{Tag, Vectors, VectorsWriter};
use super::embed::EmbeddingModel;
use super::lexical::{Lexical, LexicalWriter};
use crate::domain::{Passage, PassageId};

/// Layout and analysis version of a generation; another one is rebuilt from the folders.
pub const FORMAT: u32 = 4;

const CURRENT: &str = "CURRENT";
const LOCK: &str = "LOCK";
const LEXICAL: &str = "lexical";
const VECTORS: &str = "vectors.bin";
const PART_VECTORS: &str = "part_vectors.bin";
const MANIFEST: &str = "manifest.json";
const SUMMARY: &str = "generation.json";
const PARTIAL: &str = "partial";

/// Weight of the best part beside the whole passage: see `docs/decisions/0005-fusion.md`.
const BEST_PART_WEIGHT: f32 = 0.7;

/// A passage as it is kept in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedPassage {
    pub passage: Passage,
    /// Text that belongs to the passage but stands elsewhere in the document, such as the header row of its table:
    /// searched and shown to the model, never quoted.
    pub context: Option<String>,
}

impl IndexedPassage {
    /// What the embedding model reads: the passage below its title and headings.
    pub fn text_to_embed(&self) -> String {
        let mut text = self.passage.title.clone();
        for heading in &self.passage.headings {
            text.push_str(" › ");
            text.push_str(heading);
        }
        for part in self.context.iter().chain([&self.passage.text]) {
            text.push('\n');
            text.push_str(part);
        }
        text
    }
}

/// The vectors of a passage, unit length each.
#[derive(Clone, Debug, PartialEq)]
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
}

/// The folder that holds the generations.
#[derive(Clone, Debug)]
pub struct IndexStore {
    root: PathBuf,
}

/// An open generation. Its files may be deleted while it is in use.
pub struct Generation {
    folder: PathBuf,
    pub(super) lexical: Lexical,
    pub(super) vectors: Vectors,
    pub(super) part_vectors: Vectors,
    summary: GenerationSummary,
}

impl IndexStore {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        IndexStore { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Name of the live generation.
    ///
    /// # Errors
    /// `NoIndex` when nothing was indexed yet.
    pub fn current_name(&self) -> Result<String, RetrievalError> {
        let path = self.root.join(CURRENT);
        match fs::read_to_string(&path) {
            Ok(name) => Ok(name.trim().to_owned()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(RetrievalError::NoIndex(self.root.clone())),
            Err(e) => Err(RetrievalError::file("read", path)(e)),
        }
    }

    /// Opens the live generation.
    ///
    /// # Errors
    /// `NoIndex`, `Damaged`, or an error of the file system.
    pub fn open_current(&self) -> Result<Generation, RetrievalError> {
        // A builder in another process may replace and delete the generation between the two steps.
        let name = self.current_name()?;
        match Generation::open(&self.root.join(&name)) {
            Err(_) if self.current_name()? != name => Generation::open(&self.root.join(self.current_name()?)),
            opened => opened,
        }
    }

    /// Starts a new generation; with a `base`, as a copy of it that shares its files.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn build(
        &self,
        lock: BuildLock,
        model: &EmbeddingModel,
        base: Option<Arc<Generation>>,
    ) -> Result<Builder, RetrievalError> {
        self.sweep()?;
        let partial = self.root.join(PARTIAL);
        let lexical = partial.join(LEXICAL);
        fs::create_dir_all(&lexical).map_err(RetrievalError::file("create", &lexical))?;
        if let Some(base) = &base {
            share_files(&base.folder.join(LEXICAL), &lexical)?;
        }
        Ok(Builder {
            store: self.clone(),
            lexical: LexicalWriter::open(&lexical)?,
            vectors: VectorsWriter::create(&partial.join(VECTORS), model.dims)?,
            part_vectors: VectorsWriter::create(&partial.join(PART_VECTORS), model.dims)?,
            partial,
            collections: base.as_ref().map_or_else(Vec::new, |base| base.summary.collections.clone()),
            base,
            model: model.clone(),
            removed: HashSet::new(),
            _lock: lock,
        })
    }

    /// The right to build the next generation. To be taken before the base is opened: another builder would replace it.
    ///
    /// # Errors
    /// `Locked` while somebody else has it; errors of the file system.
    pub fn lock(&self) -> Result<BuildLock, RetrievalError> {
        fs::create_dir_all(&self.root).map_err(RetrievalError::file("create", &self.root))?;
        let path = self.root.join(LOCK);
        let file = File::create(&path).map_err(RetrievalError::file("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(BuildLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(RetrievalError::Locked(self.root.clone())),
            Err(fs::TryLockError::Error(e)) => Err(RetrievalError::file("lock", path)(e)),
        }
    }

    /// Removes what a killed run left behind and the generations that are not live any more.
    fn sweep(&self) -> Result<(), RetrievalError> {
        let live = self.current_name().ok();
        let entries = fs::read_dir(&self.root).map_err(RetrievalError::file("list", &self.root))?;
        for entry in entries {
            let entry = entry.map_err(RetrievalError::file("list", &self.root))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stale = name == PARTIAL || (name.starts_with("generation-") && Some(&name) != live.as_ref());
            if stale {
                fs::remove_dir_all(entry.path()).map_err(RetrievalError::file("remove", entry.path()))?;
            }
        }
        Ok(())
    }
}

impl Generation {
    fn open(folder: &Path) -> Result<Self, RetrievalError> {
        let path = folder.join(SUMMARY);
        let summary = fs::read(&path).map_err(RetrievalError::file("read", &path))?;
        let summary: GenerationSummary =
            serde_json::from_slice(&summary).map_err(|e| RetrievalError::damaged(&path, e))?;
        if summary.format != FORMAT {
            return Err(RetrievalError::damaged(&path, format!("format {} instead of {FORMAT}", summary.format)));
        }
        let lexical = Lexical::open(&folder.join(LEXICAL))?;
        let vectors = Vectors::open(&folder.join(VECTORS))?;
        let part_vectors = Vectors::open(&folder.join(PART_VECTORS))?;
        if [lexical.count(), vectors.passages(), part_vectors.passages()] != [summary.passages; 3] {
            return Err(RetrievalError::damaged(folder, "its parts hold different numbers of passages"));
        }
        if [vectors.dims(), part_vectors.dims()] != [summary.model.dims; 2] {
            return Err(RetrievalError::damaged(folder, "its vectors are not those of its model"));
        }
        Ok(Generation { folder: folder.to_owned(), lexical, vectors, part_vectors, summary })
    }

    /// How well passages fit a centred question: the weighted mean of the cosines of the whole and of its best part,
    /// which may be the whole.
    pub(super) fn cosine(&self, question: Vec<f32>) -> impl Fn(PassageId) -> f32 {
        let parts = self.part_vectors.query(question.clone());
        let whole = self.vectors.query(question);
        move |id| {
            let whole = self.vectors.cosine(&whole, id).unwrap_or(0.0);
            let best = self.part_vectors.cosine(&parts, id).map_or(whole, |part| part.max(whole));
            BEST_PART_WEIGHT * best + (1.0 - BEST_PART_WEIGHT) * whole
        }
    }

    pub fn summary(&self) -> &GenerationSummary {
        &self.summary
    }

    /// Folder name, such as `generation-7`.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The manifest that was handed to [`Builder::finish`].
    pub fn manifest(&self) -> Result<Vec<u8>, RetrievalError> {
        let path = self.folder.join(MANIFEST);
        fs::read(&path).map_err(RetrievalError::file("read", path))
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

    /// What the embedding model reads of passages all over the index, at most so many.
    pub fn texts_to_embed(&self, texts_max: usize) -> Result<Vec<String>, RetrievalError> {
        let step = (self.vectors.passages() / texts_max.max(1)).max(1);
        let passages = self.vectors.ids().step_by(step).take(texts_max).map(|id| self.lexical.passage(id));
        let texts = passages.filter_map(|passage| passage.map(|p| Some(p?.text_to_embed())).transpose());
        texts.collect()
    }

    /// `None`: the passage is not in this generation.
    pub fn vectors_of(&self, id: PassageId) -> Option<PassageVectors> {
        let whole = self.vectors.vectors_of(id).next()?.to_vec();
        Some(PassageVectors { whole, parts: self.part_vectors.vectors_of(id).map(<[f32]>::to_vec).collect() })
    }
}

/// Held by the one who builds.
pub struct BuildLock(#[expect(dead_code, reason = "the lock ends with the file")] File);

/// A generation in the making. Dropped unfinished, it leaves nothing that anybody reads.
pub struct Builder {
    store: IndexStore,
    partial: PathBuf,
    lexical: LexicalWriter,
    vectors: VectorsWriter,
    part_vectors: VectorsWriter,
    base: Option<Arc<Generation>>,
    /// See [`GenerationSummary::collections`]; those of the base keep their numbers.
    collections: Vec<String>,
    model: EmbeddingModel,
    removed: HashSet<PassageId>,
    _lock: BuildLock,
}

impl Builder {
    /// `vectors`: as many values each as the model has dimensions.
    pub fn add(&mut self, passage: &IndexedPassage, vectors: &PassageVectors) -> Result<(), RetrievalError> {
        self.lexical.add(passage)?;
        let Passage { id, language, ref collection, .. } = passage.passage;
        let tag = Tag { language, collection: self.number_of(collection)? };
        self.vectors.push(id, tag, &vectors.whole)?;
        vectors.parts.iter().try_for_each(|vector| self.part_vectors.push(id, tag, vector))
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

    /// Brings the generation to disk and makes it the live one; `kept` are the passages of the base that stay.
    ///
    /// # Errors
    /// Errors of the file system; the live generation stays what it was.
    pub fn finish(
        mut self,
        kept: impl IntoIterator<Item = PassageId>,
        documents: usize,
        manifest: &[u8],
    ) -> Result<Generation, RetrievalError> {
        if let Some(base) = &self.base {
            for id in kept {
                if self.removed.contains(&id) {
                    continue;
                }
                if let Some(tag) = base.vectors.tag(id) {
                    base.vectors.vectors_of(id).try_for_each(|vector| self.vectors.push(id, tag, vector))?;
                    let mut parts = base.part_vectors.vectors_of(id);
                    parts.try_for_each(|vector| self.part_vectors.push(id, tag, vector))?;
                }
            }
        }
        self.lexical.finish()?;
        self.vectors.finish()?;
        self.part_vectors.finish()?;
        let passages = Vectors::open(&self.partial.join(VECTORS))?.passages();
        let built_at = std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs());
        let summary = GenerationSummary {
            format: FORMAT,
            model: self.model,
            passages,
            documents,
            collections: self.collections,
            built_at,
        };
        let json = serde_json::to_vec_pretty(&summary).map_err(|e| RetrievalError::damaged(&self.partial, e))?;
        write_synced(&self.partial.join(MANIFEST), manifest)?;
        write_synced(&self.partial.join(SUMMARY), &json)?;
        sync_folder(&self.partial.join(LEXICAL))?;
        sync_folder(&self.partial)?;
        // The new set is opened before it goes live: what cannot be read back never becomes current.
        drop(Generation::open(&self.partial)?);
        let root = &self.store.root;
        let name = format!("generation-{}", next_number(self.store.current_name().ok().as_deref()));
        let folder = root.join(&name);
        fs::rename(&self.partial, &folder).map_err(RetrievalError::file("rename", &self.partial))?;
        sync_folder(root)?;
        let pointer = root.join("CURRENT.partial");
        write_synced(&pointer, name.as_bytes())?;
        fs::rename(&pointer, root.join(CURRENT)).map_err(RetrievalError::file("rename", &pointer))?;
        sync_folder(root)?;
        self.store.sweep()?;
        Generation::open(&folder)
    }
}

fn next_number(current: Option<&str>) -> u64 {
    current.and_then(|name| name.strip_prefix("generation-")?.parse::<u64>().ok()).unwrap_or(0) + 1
}

/// Links the files of a full-text index into a new folder: its segments never change, and the files that do
/// (`meta.json`, `.managed.json`) are replaced by rename. Copies where the file system has no links.
fn share_files(from: &Path, to: &Path) -> Result<(), RetrievalError> {
    for entry in fs::read_dir(from).map_err(RetrievalError::file("list", from))? {
        let entry = entry.map_err(RetrievalError::file("list", from))?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".lock") {
            continue;
        }
        let target = to.join(&name);
        if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target).map_err(RetrievalError::file("copy", entry.path()))?;
        }
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RetrievalError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(RetrievalError::file("write", path))
}

fn sync_folder(path: &Path) -> Result<(), RetrievalError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(RetrievalError::file("sync", path))
}
