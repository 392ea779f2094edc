//! What can go wrong with the store. No message holds a value of a row.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot {action} {}: {source}", path.display())]
    Folder { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the store {} is in use by another process: stop that one, or choose another data folder", .0.display())]
    Locked(PathBuf),
    #[error(
        "the store has layout {found} and this version knows layouts up to {known}: run the version that wrote it, or a \
         later one"
    )]
    Newer { found: u32, known: u32 },
    #[error("no room is left on the disk of the store ({0})")]
    Full(io::ErrorKind),
    #[error("the disk of the store is read-only")]
    ReadOnly,
    #[error("the disk of the store fails: {0}")]
    Disk(#[source] io::Error),
    #[error("the disk of the store failed a moment ago")]
    Unavailable,
    #[error("the disk of the store did not answer in time")]
    TimedOut,
    #[error("the store cannot be read")]
    Damaged,
    #[error("the export {} cannot be used: {what}", path.display())]
    Export { path: PathBuf, what: String },
    #[error("the file system of {} cannot exchange two folders: move the store out of the way, and restore again", .0.display())]
    Exchange(PathBuf),
    #[error("the {what} cannot be read")]
    DamagedRow { what: String },
    #[error("the {what} cannot be written as JSON")]
    Encode { what: String },
    #[error("a value of {bytes} bytes is too large: up to {bytes_max} are kept")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the database refused: {0}")]
    Engine(String),
}

impl StoreError {
    pub(super) fn damaged(key: &super::keys::Key) -> Self {
        StoreError::DamagedRow { what: key.describe() }
    }

    pub(super) fn folder(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| StoreError::Folder { action, path: path.into(), source }
    }

    /// Whether the same call may succeed later: the disk failed, not the row.
    pub fn may_pass(&self) -> bool {
        self.ends_the_database() || matches!(self, StoreError::Unavailable | StoreError::TimedOut)
    }

    /// After these sled answers every write with the same error until it is opened again. Damage is not among them: what
    /// can still be read stays in use.
    pub(super) fn ends_the_database(&self) -> bool {
        matches!(self, StoreError::Full(_) | StoreError::ReadOnly | StoreError::Disk(_) | StoreError::Engine(_))
    }
}
