//! What the chat page asks of the rest of the house.

use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::answer::AnswerEvent;
use crate::domain::{Language, Passage, PassageId, Question};

/// The service behind the page; `app` connects it.
pub trait Answering: Send + Sync + 'static {
    /// The events of one answer, through a bounded channel. Returns at once: the work is done elsewhere. Cancelling
    /// `cancel` or dropping the receiver stops the work within one token.
    fn ask(&self, question: Question, cancel: CancellationToken) -> mpsc::Receiver<AnswerEvent>;

    /// All passages of the document that holds `passage`, in the order of the document; empty when the passage is
    /// no longer in the index. May block: it is called on a thread that may wait.
    ///
    /// # Errors
    /// The index cannot be read.
    fn document(&self, passage: PassageId) -> Result<Vec<Passage>, DocumentError>;

    /// How the service stands. Must not block.
    fn status(&self) -> ServiceStatus;

    /// What does not do its work, for people; `None`: all does, or is still being loaded. Must not block.
    fn failing(&self) -> Option<String>;

    /// What was measured, for Prometheus.
    fn metrics(&self) -> String;
}

#[derive(Debug, Error)]
pub enum DocumentError {
    #[error("the passages of a document could not be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the page shows before a question is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// The models are loaded and the index is open: questions are taken.
    pub ready: bool,
    /// Name of the model for a reader, e.g. `Llama 3.1 8B Instruct`; empty while it is not known.
    pub model: String,
    /// Documents in the index.
    pub documents: usize,
    /// Passages in the index.
    pub passages: usize,
    /// Questions a newcomer can try, in the order in which they are shown.
    pub samples: Vec<SampleQuestion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SampleQuestion {
    pub text: String,
    pub language: Language,
}
