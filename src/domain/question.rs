//! A question as a person asked it.

use super::Language;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    /// `None`: detected from the text.
    pub language: Option<Language>,
    /// How many passages may go into the prompt; `None`: as the settings say.
    pub passages_max: Option<usize>,
}

impl Question {
    pub fn new(text: impl Into<String>) -> Self {
        Question { text: text.into(), language: None, passages_max: None }
    }
}
