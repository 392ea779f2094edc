//! A cited answer, as it is printed by `ask --json` and shown in every chat.

use jiff::civil::Date;
use serde::{Deserialize, Serialize, Serializer};

use super::passage::place;
use super::{Language, PassageId, QuestionKey};

/// Whether the documents held an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Answered,
    Abstained,
}

/// A source of an answer: `[n]` in the text points here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    pub n: usize,
    pub path: String,
    /// Address of the document on the web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    pub title: String,
    pub heading: String,
    /// Day of the document's last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Text that stands in the cited document, word for word.
    pub quote: String,
    pub passage_id: PassageId,
    pub language: Language,
}

impl Citation {
    /// Where the quote stands, for people: title, headings, day.
    pub fn place(&self) -> String {
        place(&self.title, &self.heading, self.date)
    }
}

/// Milliseconds, from the question's arrival where nothing else is said; `None` for a step that was not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerTimings {
    /// Looking for passages.
    pub retrieve: f64,
    /// What it took to tell whether they hold the answer, not counted from the arrival.
    pub gate: f64,
    /// What it took in all to compare the model's sentences with them, mostly while it was writing.
    pub check: f64,
    /// What of both came on top of the model's writing: the gate, and comparing what was left when it had finished.
    pub added: f64,
    /// What the model took to write the question anew, not counted from the arrival; `None` if it was not asked to.
    pub rewrite: Option<f64>,
    /// First text shown to the reader: the best passage, quoted, or the abstention.
    pub first_text: f64,
    /// How long the model was busy with other answers, not counted from the arrival; `None` if it was not asked.
    pub wait: Option<f64>,
    /// First token out of the model.
    pub first_token: Option<f64>,
    pub total: f64,
}

/// What the model read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    pub prompt: usize,
    /// Tokens that the prompt was allowed to have, by its own limit and by the time until the first word.
    pub budget: usize,
    /// Prompt tokens that were still in the KV cache from an earlier question.
    pub cached: usize,
    pub generated: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// CommonMark with citation marks `[n]`.
    #[serde(rename = "answer")]
    pub text: String,
    /// What was looked for, where that is not the question as it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    pub language: Language,
    pub verdict: Verdict,
    pub citations: Vec<Citation>,
    pub timings_ms: AnswerTimings,
    pub tokens: TokenCounts,
    /// Sentences that the model wrote and no passage says: nobody saw them. In JSON, how many.
    #[serde(serialize_with = "length")]
    pub withheld: Vec<String>,
    /// The message that it was given to before, if people confirmed it there.
    #[serde(skip)]
    pub copy_of: Option<QuestionKey>,
    /// What is kept of it, if it may be given again to whoever asks the same.
    #[serde(skip)]
    pub kept: Option<GivenAnswer>,
}

fn length<S: Serializer>(sentences: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(sentences.len() as u64)
}

/// What is kept of an answer that people may confirm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Key of what was asked.
    pub asked: String,
    pub text: String,
    pub language: Language,
    pub citations: Vec<Citation>,
    /// The passages that had been found, those of the best hit first.
    pub found: Vec<PassageId>,
}
