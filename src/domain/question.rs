//! A question as a person asked it.

use super::{Language, Reader};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    /// Who the answer is shown to: it draws on nothing that they may not read.
    pub reader: Reader,
    /// What was asked before in the same conversation, which the text may refer to.
    pub after: Option<String>,
    /// `None`: detected from the text.
    pub language: Option<Language>,
    /// How many passages may go into the prompt; `None`: as the settings say.
    pub passages_max: Option<usize>,
}

impl Question {
    pub fn new(text: impl Into<String>, reader: Reader) -> Self {
        Question { text: text.into(), reader, after: None, language: None, passages_max: None }
    }
}
