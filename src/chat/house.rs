//! What the chat platforms ask of the rest of the house; `app` connects it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::answer::AnswerEvent;
use crate::domain::{Citation, PassageId, Platform, Question, Reader};

pub trait House: Send + Sync + 'static {
    /// The events of one answer, through a bounded channel. Returns at once. Cancelling `cancel` or dropping the receiver
    /// stops the work within one token.
    fn ask(&self, question: Question, cancel: CancellationToken) -> mpsc::Receiver<AnswerEvent>;

    /// The passages that this reader may see and that fit best, quoted, best first. Blocks.
    fn quotes(&self, text: &str, reader: &Reader, quotes_max: usize) -> Vec<Citation>;

    /// Whether all these passages are still in the index, and this reader may see them. Blocks.
    fn still_shows(&self, passages: &[PassageId], reader: &Reader) -> bool;

    /// Somebody said of an answer whether it helped. Must not block.
    fn rated(&self, platform: Platform, helpful: bool);

    /// How the house stands. Must not block.
    fn condition(&self) -> Condition;

    /// Names of the collections.
    fn collections(&self) -> Vec<String>;

    /// Brings the index up to date (`None`: all collections) and tells how it goes, through a bounded channel; the last
    /// event is `Done`, `Busy` or `Failed`.
    fn reindex(&self, collection: Option<String>) -> mpsc::Receiver<ReindexEvent>;
}

/// What `status` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// Name of the model; empty when answers are quotes.
    pub model: String,
    pub documents: usize,
    pub passages: usize,
    /// Resident memory of the process in megabytes.
    pub memory_mb: u64,
    pub up: Duration,
    /// The newest errors, newest first: how long ago, and what happened.
    pub errors: Vec<(Duration, String)>,
    /// Each platform and how its connection stands.
    pub connections: Vec<(&'static str, super::connection::Connection)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReindexEvent {
    /// So many files of so many were read.
    Reading {
        files: usize,
        of: usize,
    },
    Done {
        documents: usize,
        passages: usize,
        embedded: usize,
        skipped: usize,
    },
    /// Another run is under way.
    Busy,
    Failed,
}
