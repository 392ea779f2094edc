//! What can go wrong between a query and its hits.

use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum RetrievalError {
    #[error("there is no index in {0}: run `cervella index`")]
    NoIndex(PathBuf),
    #[error("the index in {path} is damaged ({what}): run `cervella index --full`")]
    Damaged { path: PathBuf, what: String },
    #[error("the index in {path} was made by another version of this program: run `cervella index --full`")]
    OtherFormat { path: PathBuf, format: u32 },
    #[error("the index was built with another embedding model than {model}: run `cervella index --full`")]
    OtherModel { model: String },
    #[error("another process is writing the index in {0}: wait until it has finished")]
    Locked(PathBuf),
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the full-text index failed")]
    Lexical(#[from] tantivy::TantivyError),
    #[error("cannot load ONNX Runtime from {path}: {reason}; run `cervella models pull onnxruntime`")]
    Runtime { path: PathBuf, reason: String },
    #[error("cannot load the embedding model from {path}: {reason}; run `cervella models verify`")]
    Model { path: PathBuf, reason: String },
    #[error(
        "cannot load the reranking model from {path}: {reason}; name another folder in `models.reranker`, or leave it empty"
    )]
    Reranker { path: PathBuf, reason: String },
    #[error("embedding failed: {0}")]
    Embedding(String),
    #[error("the index knows more than 65,536 collections: run `cervella index --full`")]
    TooManyCollections,
    #[error("the thread of the embedding or the reranking model has stopped")]
    Stopped,
    #[error("too many searches are waiting; try again in a moment")]
    Busy,
}

impl RetrievalError {
    /// Whether an index run from the folders mends it.
    pub fn wants_run(&self) -> bool {
        use RetrievalError::{Damaged, NoIndex, OtherFormat, OtherModel};
        matches!(self, NoIndex(_) | OtherFormat { .. } | OtherModel { .. } | Damaged { .. })
    }

    /// For `map_err` on file operations: remembers what was tried on which path.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| RetrievalError::File { action, path, source }
    }

    pub(super) fn damaged(path: impl Into<PathBuf>, what: impl std::fmt::Display) -> Self {
        RetrievalError::Damaged { path: path.into(), what: format!("{what}") }
    }
}
