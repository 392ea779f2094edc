//! What an answer tells while it comes into being.

use crate::domain::{Answer, Citation, Language};

/// Events of one answer, in this order: `Started`, then `Quote` if passages were found, `Waiting` if the model is busy, any
/// number of `Text`, and `Done` or `Failed` as the last one. Of several questions in a message only the first has a `Quote`,
/// and each may be `Waiting`. A cancelled answer ends without a last event.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerEvent {
    /// The question was taken. The trace id is what a person can quote when something went wrong.
    Started { trace_id: String, language: Language },
    /// The best passage, before the model has written a word.
    Quote(Citation),
    /// The model is busy: so many questions are served before, and it will take about so long until it begins.
    Waiting { ahead: usize, seconds: f64 },
    /// Checked text of the answer, to be appended; its marks `[n]` are those of the final citations.
    Text(String),
    /// The whole answer; its text replaces what was streamed.
    Done(Box<Answer>),
    /// No answer: one sentence for the reader in the question's language.
    Failed { message: String, trace_id: String },
}
