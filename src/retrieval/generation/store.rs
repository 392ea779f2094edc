//! The folder that holds the generations: which one is live, who may build the next, what is left over.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builder::Builder;
use super::files::{self, copy_file, copy_files, share_files, sync_folder, write_synced};
use super::kept::KeptVectors;
use super::{Generation, LEXICAL, PART_VECTORS, VECTORS};
use crate::retrieval::dense::VectorsWriter;
use crate::retrieval::lexical::LexicalWriter;
use crate::retrieval::{EmbeddingModel, RetrievalError};

const CURRENT: &str = "CURRENT";
const LOCK: &str = "LOCK";
const PARTIAL: &str = "partial";
/// A generation in a folder that it was copied to.
const COPY: &str = "generation";
/// Before the number of a generation.
const GENERATION: &str = "generation-";
/// Before the name of a generation that was put aside.
const DAMAGED: &str = "damaged-";

/// The folder that holds the generations.
#[derive(Clone, Debug)]
pub struct IndexStore {
    root: PathBuf,
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
    /// `NoIndex`, `OtherFormat`, `Damaged`, or an error of the file system.
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
            kept: KeptVectors::open(&self.root, model)?,
            partial,
            collections: base.as_ref().map_or_else(Vec::new, |base| base.summary.collections.clone()),
            base,
            model: model.clone(),
            removed: HashSet::new(),
            added: 0,
            lock,
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

    /// Renames the live generation, so that nobody opens it again and it can be looked into; an older one that was put
    /// aside is removed. Returns where it is.
    ///
    /// # Errors
    /// `NoIndex`, errors of the file system.
    pub fn put_aside(&self, _lock: &BuildLock) -> Result<PathBuf, RetrievalError> {
        let name = self.current_name()?;
        self.remove_put_aside()?;
        // First the pointer: one that leads nowhere would be in everybody's way, a folder that nothing leads to is swept.
        let current = self.root.join(CURRENT);
        fs::remove_file(&current).map_err(RetrievalError::file("remove", current))?;
        sync_folder(&self.root)?;
        let (from, to) = (self.root.join(&name), self.root.join(format!("{DAMAGED}{name}")));
        if name.starts_with(GENERATION) && from.is_dir() {
            fs::rename(&from, &to).map_err(RetrievalError::file("rename", from))?;
        }
        sync_folder(&self.root)?;
        Ok(to)
    }

    /// Removes what was put aside.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn remove_put_aside(&self) -> Result<(), RetrievalError> {
        self.remove(|name| name.starts_with(DAMAGED))
    }

    /// Removes the vectors that an unfinished run has made.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn remove_kept(&self) -> Result<(), RetrievalError> {
        KeptVectors::remove(&self.root)
    }

    /// Replaces a small file beside the generations: a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RetrievalError> {
        let partial = self.root.join(format!("{name}.partial"));
        write_synced(&partial, bytes)?;
        fs::rename(&partial, self.root.join(name)).map_err(RetrievalError::file("rename", &partial))?;
        sync_folder(&self.root)
    }

    /// Copies the live generation, and the small files beside it, into a new folder. Others may build meanwhile.
    ///
    /// # Errors
    /// `NoIndex`, errors of the file system.
    pub fn copy_to(&self, folder: &Path) -> Result<(), RetrievalError> {
        loop {
            let name = self.current_name()?;
            match copy_files(&self.root.join(&name), &folder.join(COPY)) {
                // It was replaced and removed meanwhile.
                Err(_) if self.current_name()? != name => {
                    fs::remove_dir_all(folder).map_err(RetrievalError::file("remove", folder))?;
                }
                copied => {
                    copied?;
                    break;
                }
            }
        }
        for name in files::names(&self.root)?.into_iter().filter(|name| name.ends_with(".json")) {
            copy_file(&self.root.join(&name), &folder.join(&name))?;
        }
        sync_folder(folder)
    }

    /// Whether what [`IndexStore::copy_to`] has copied can be used.
    ///
    /// # Errors
    /// `OtherFormat` or `Damaged`; errors of the file system.
    pub fn check_copy(folder: &Path) -> Result<(), RetrievalError> {
        Generation::open(&folder.join(COPY)).map(drop)
    }

    /// Makes the generation that was copied the live one, at once and as a whole; the files beside it are left to those whose
    /// they are.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn restore(&self, _lock: &BuildLock, folder: &Path) -> Result<(), RetrievalError> {
        self.sweep()?;
        let partial = self.root.join(PARTIAL);
        copy_files(&folder.join(COPY), &partial)?;
        self.publish(&partial).map(drop)
    }

    /// Makes the folder of a generation the live one, and removes the one that was.
    pub(super) fn publish(&self, partial: &Path) -> Result<PathBuf, RetrievalError> {
        let name = format!("{GENERATION}{}", self.next_number()?);
        let folder = self.root.join(&name);
        fs::rename(partial, &folder).map_err(RetrievalError::file("rename", partial))?;
        sync_folder(&self.root)?;
        self.write(CURRENT, name.as_bytes())?;
        self.sweep()?;
        self.remove_kept()?;
        Ok(folder)
    }

    /// A number that no generation has or had: whoever follows the index tells them apart by it.
    fn next_number(&self) -> Result<u64, RetrievalError> {
        let number = |name: String| name.trim_start_matches(DAMAGED).strip_prefix(GENERATION)?.parse::<u64>().ok();
        Ok(files::names(&self.root)?.into_iter().filter_map(number).max().unwrap_or(0) + 1)
    }

    /// Removes what a killed run left behind and the generations that are not live any more.
    fn sweep(&self) -> Result<(), RetrievalError> {
        let live = self.current_name().ok();
        self.remove(|name| name == PARTIAL || (name.starts_with(GENERATION) && Some(name) != live.as_deref()))
    }

    fn remove(&self, is_stale: impl Fn(&str) -> bool) -> Result<(), RetrievalError> {
        for name in files::names(&self.root)?.into_iter().filter(|name| is_stale(name)) {
            let path = self.root.join(name);
            fs::remove_dir_all(&path).map_err(RetrievalError::file("remove", path))?;
        }
        Ok(())
    }
}

/// Held by the one who builds.
pub struct BuildLock(#[expect(dead_code, reason = "the lock ends with the file")] File);
