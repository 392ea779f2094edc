//! Questions whose answers are known.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::DEPTH;
use crate::answer::{refers_back, self_contained};
use crate::domain::{Language, Question, Reader};
use crate::retrieval::{Generation, Hit, RetrievalError, SearchQuery, Weights};

/// A line of a question file, or of a file of dialogues; their formats are part of the command contract.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Dialogue { id: String, lang: Language, turns: Vec<Turn> },
    Question(EvalQuestion),
}

#[derive(Deserialize)]
struct Turn {
    question: String,
    gold: Vec<String>,
}

impl Line {
    /// The turns of a dialogue as they are looked for, each after the last one that stood by itself.
    fn questions(self) -> Vec<EvalQuestion> {
        let (id, lang, turns) = match self {
            Line::Question(question) => return vec![question],
            Line::Dialogue { id, lang, turns } => (id, lang, turns),
        };
        let mut subject: Option<String> = None;
        let ask = |(at, turn): (usize, Turn)| {
            let asked = Question { after: subject.clone(), ..Question::new(&turn.question, Reader::Operator) };
            if subject.is_none() || !refers_back(&turn.question) {
                subject = Some(turn.question);
            }
            EvalQuestion {
                id: format!("{id}.{}", at + 1),
                lang,
                question: self_contained(&asked),
                answerable: true,
                kind: if at == 0 { "opening" } else { "follow-up" }.to_owned(),
                index_langs: Vec::new(),
                gold: turn.gold,
                also_ok: Vec::new(),
                must_contain: Vec::new(),
            }
        };
        turns.into_iter().enumerate().map(ask).collect()
    }
}

/// A question whose answer is known.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct EvalQuestion {
    pub id: String,
    pub lang: Language,
    pub question: String,
    pub answerable: bool,
    pub kind: String,
    /// Empty: both.
    #[serde(default)]
    index_langs: Vec<Language>,
    #[serde(default)]
    gold: Vec<String>,
    #[serde(default)]
    also_ok: Vec<String>,
    /// What a right answer says.
    #[serde(default)]
    pub must_contain: Vec<String>,
}

impl EvalQuestion {
    /// # Errors
    /// The file cannot be read, a line is not a question, or there is none.
    pub fn read(file: &Path) -> anyhow::Result<Vec<Self>> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let questions = lines
            .map(|(at, line)| {
                serde_json::from_str(line).with_context(|| format!("{}, line {}", file.display(), at + 1))
            })
            .collect::<anyhow::Result<Vec<Line>>>()?;
        let questions: Vec<EvalQuestion> = questions.into_iter().flat_map(Line::questions).collect();
        anyhow::ensure!(!questions.is_empty(), "{} holds no question", file.display());
        Ok(questions)
    }

    pub fn query(&self, weights: Weights) -> SearchQuery {
        self.query_like(SearchQuery::new(&self.question, DEPTH), weights)
    }

    /// `query`, in the documents that this question is asked of.
    pub fn query_like(&self, query: SearchQuery, weights: Weights) -> SearchQuery {
        let document_language = match self.index_langs[..] {
            [only] => Some(only),
            _ => None,
        };
        SearchQuery { document_language, weights, ..query }
    }

    /// Whether an index holds one of the right documents: without any, nothing in it can answer.
    ///
    /// # Errors
    /// Errors of the index.
    pub fn is_indexed(&self, generation: &Generation) -> Result<bool, RetrievalError> {
        for path in self.gold.iter().chain(&self.also_ok) {
            for collection in &generation.summary().collections {
                if generation.passages_of(collection, path)? > 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Places of the right documents among the hits, from 1.
    pub fn right_ranks(&self, hits: &[Hit]) -> Vec<usize> {
        let mut seen: Vec<&str> = Vec::new();
        let mut ranks = Vec::new();
        for (at, hit) in hits.iter().enumerate() {
            // A second passage of a right document is not a second right document.
            if self.is_right(&hit.passage.path) && !seen.contains(&hit.passage.path.as_str()) {
                seen.push(&hit.passage.path);
                ranks.push(at + 1);
            }
        }
        ranks
    }

    /// Whether a document is one that answers.
    pub fn is_right(&self, path: &str) -> bool {
        self.gold.iter().chain(&self.also_ok).any(|right| right == path)
    }

    pub fn right_documents(&self) -> usize {
        self.gold.len() + self.also_ok.len()
    }
}
