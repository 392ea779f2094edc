//! The words every room uses: languages, passages, questions, citations and answers.
//! No I/O lives here and nothing here depends on another room.

mod answer;
mod language;
mod passage;
mod question;

pub use answer::{Answer, AnswerTimings, Citation, TokenCounts, Verdict};
pub use language::{Language, UnknownLanguage};
pub use passage::{InvalidPassageId, Passage, PassageId};
pub use question::Question;
