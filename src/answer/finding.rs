//! What is looked for, what is found, and how likely it is to hold the answer.

use std::time::Instant;

use super::evidence::Evidence;
use super::gate::Gate;
use super::message::Message;
use super::rewriting::rewritten;
use super::{AnswerError, AnswerOptions};
use crate::domain::{Language, Question};
use crate::retrieval::{AskedWords, Hit, SearchQuery};

/// The first hits, among which those in the reader's language come first unless they score less by more than this.
const OWN_LANGUAGE_AMONG: usize = 4;
const OWN_LANGUAGE_SCORE: f32 = 0.03;

/// Looks for what answers a question of a message.
#[derive(Clone, Copy)]
pub(super) struct Finder<'a> {
    pub message: &'a Message<'a>,
    pub question: &'a Question,
    pub options: &'a AnswerOptions,
}

pub(super) struct Found {
    /// What was looked for.
    pub text: String,
    /// The words of that.
    pub asked: AskedWords,
    /// Those in the reader's language first where they are as good.
    pub hits: Vec<Hit>,
    /// The reader's, or else that of the best hit.
    pub language: Language,
    /// That the hits hold the answer.
    pub probability: f64,
    /// Milliseconds of the search, and of what follows.
    pub retrieve: f64,
    pub gate: f64,
}

impl Finder<'_> {
    /// Hits that an answer is made of.
    pub fn passages_max(&self) -> usize {
        self.question.passages_max.unwrap_or(self.options.passages_max)
    }

    /// What is found by `text`; `told` is the reader's language.
    pub fn find(&self, text: String, told: Option<Language>) -> Result<Found, AnswerError> {
        let _entered = tracing::info_span!("retrieve").entered();
        let start = Instant::now();
        let answerer = self.message.answerer;
        let scope = answerer.readership.scope(&self.question.reader);
        let mut query = SearchQuery { scope, ..Evidence::query(&text) };
        query.top = query.top.max(self.passages_max());
        let mut hits = answerer.searcher.search(&query)?.hits;
        let searched = Instant::now();
        let language = told.or_else(|| hits.first().map(|hit| hit.passage.language)).unwrap_or(Language::English);
        let asked = answerer.searcher.asked_words(&text, &hits)?;
        let probability = Gate::fitted().probability(&Evidence::of(&asked, &hits));
        prefer(language, &mut hits);
        let retrieve = (searched - start).as_secs_f64() * 1000.0;
        let gate = searched.elapsed().as_secs_f64() * 1000.0;
        Ok(Found { text, asked, hits, language, probability, retrieve, gate })
    }

    /// What is found by the question as the model says it by itself, where that is more likely to hold the answer than
    /// `found`; and the milliseconds that the model took, where it was asked.
    pub fn find_rewritten(&self, found: Found) -> Result<(Found, Option<f64>), AnswerError> {
        let start = Instant::now();
        let Some(written) = rewritten(self, found.language)? else { return Ok((found, None)) };
        let took = Some(start.elapsed().as_secs_f64() * 1000.0);
        let Some(text) = written else { return Ok((found, took)) };
        let other = self.find(text, Some(found.language))?;
        if other.probability <= found.probability {
            return Ok((found, took));
        }
        let (retrieve, gate) = (found.retrieve + other.retrieve, found.gate + other.gate);
        Ok((Found { retrieve, gate, ..other }, took))
    }
}

/// Brings forward what the reader need not translate.
fn prefer(language: Language, hits: &mut [Hit]) {
    let among = hits.len().min(OWN_LANGUAGE_AMONG);
    let score = |hit: &Hit| if hit.passage.language == language { hit.score + OWN_LANGUAGE_SCORE } else { hit.score };
    hits[..among].sort_by(|a, b| score(b).total_cmp(&score(a)));
}
