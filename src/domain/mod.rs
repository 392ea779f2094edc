//! The words every room uses: languages, passages, questions, citations and answers.
//! No I/O lives here and nothing here depends on another room.

mod answer;
mod chat;
mod collection;
mod detect;
mod language;
mod passage;
mod question;
mod sentences;

pub use answer::{Answer, AnswerTimings, Citation, GivenAnswer, TokenCounts, Verdict};
pub use chat::{Chat, MessageId, Platform, Principal, QuestionKey, Thread};
pub use collection::{Collection, DEFAULT_COLLECTION, LinkTemplate, Reader, Readership, Scope};
pub use detect::LanguageDetector;
pub use language::{Language, UnknownLanguage};
pub use passage::{InvalidPassageId, Passage, PassageId};
pub use question::Question;
pub use sentences::sentences;
