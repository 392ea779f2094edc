//! Sentences that the model wrote, no passage says and nobody saw, kept for the admin: they tell what the documents lack, or
//! where the check is too strict. The only text that this room keeps, in files that only their owner reads.

use serde::{Deserialize, Serialize};

use crate::domain::Language;

/// Characters of a text that are kept.
const TEXT_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// As in the log.
    pub trace_id: String,
    pub question: String,
    pub language: Language,
    pub sentence: String,
}

impl Withheld {
    /// Long texts are cut.
    pub fn new(trace_id: &str, question: &str, language: Language, sentence: &str) -> Self {
        let short = |text: &str| text.chars().take(TEXT_MAX).collect();
        Withheld { trace_id: trace_id.to_owned(), question: short(question), language, sentence: short(sentence) }
    }
}
