//! The way of a message, on a blocking thread: its questions are answered one after the other, and their answers become one.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::several::{QUESTIONS, questions};
use super::{AnswerError, AnswerEvent, Answerer, pipeline};
use crate::domain::{Answer, Language, Question, Verdict};
use crate::prompt;

/// A message and where its answer goes.
pub(super) struct Message<'a> {
    pub answerer: &'a Answerer,
    pub question: &'a Question,
    pub trace_id: &'a str,
    pub start: Instant,
    pub cancel: &'a CancellationToken,
    pub events: &'a mpsc::Sender<AnswerEvent>,
}

/// Where an answer stands among those to the questions of its message.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub is_first: bool,
    /// Of several answers each is told when it is whole.
    pub is_only: bool,
    /// The highest number among the citations of those before.
    pub cited: usize,
}

impl Message<'_> {
    /// Answers the message, or each of the first questions that it holds; `language` is the reader's, `None` if it cannot be
    /// told from the message. The last event is left to the caller.
    pub fn run(&self, language: Option<Language>) -> Result<Answer, AnswerError> {
        let parts = questions(&self.question.text);
        let mut answer = match &parts[..] {
            [_] => {
                let place = Place { is_first: true, is_only: true, cited: 0 };
                pipeline::answer(self, self.question, language, place)?
            }
            parts => self.one_by_one(parts, language)?,
        };
        answer.timings_ms.total = pipeline::milliseconds(self.start);
        Ok(answer)
    }

    fn one_by_one(&self, parts: &[String], mut language: Option<Language>) -> Result<Answer, AnswerError> {
        let mut whole: Option<Answer> = None;
        let mut answered = 0;
        for (at, text) in parts.iter().take(QUESTIONS).enumerate() {
            let after = self.question.after.clone().filter(|_| at == 0);
            let part = Question { text: text.clone(), after, ..self.question.clone() };
            let cited = whole.iter().flat_map(|whole| &whole.citations).map(|citation| citation.n).max();
            let place = Place { is_first: at == 0, is_only: false, cited: cited.unwrap_or_default() };
            let mut answer = match pipeline::answer(self, &part, language, place) {
                Err(error) if at > 0 && !matches!(error, AnswerError::Cancelled) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the rest of a message is not answered");
                    break;
                }
                answered => answered?,
            };
            answer.text = format!("{}{}", heading(at), answer.text);
            self.send(AnswerEvent::Text(answer.text.clone()))?;
            language = Some(answer.language);
            whole = Some(match whole {
                None => answer,
                Some(whole) => together(whole, answer),
            });
            answered = at + 1;
        }
        let Some(mut whole) = whole else { return Err(AnswerError::Cancelled) };
        if parts.len() > answered {
            let piece = format!("\n\n{}", prompt::left_out(whole.language)?);
            whole.text.push_str(&piece);
            self.send(AnswerEvent::Text(piece))?;
        }
        // What was looked for is said of single questions.
        whole.question = None;
        Ok(whole)
    }

    /// # Errors
    /// `Cancelled`, also when nobody listens any more.
    pub fn send(&self, event: AnswerEvent) -> Result<(), AnswerError> {
        if self.cancel.is_cancelled() {
            return Err(AnswerError::Cancelled);
        }
        self.events.blocking_send(event).map_err(|_| AnswerError::Cancelled)
    }
}

/// Of the question at this place, from 0. Its words are not repeated, because an answer holds no text that is not checked;
/// and a number would be one that no document tells.
fn heading(at: usize) -> String {
    let gap = if at == 0 { "" } else { "\n\n" };
    let letter = ('a'..='z').nth(at).unwrap_or('z');
    format!("{gap}**{letter})**\n\n")
}

/// Two answers as one.
fn together(mut whole: Answer, answer: Answer) -> Answer {
    whole.text.push_str(&answer.text);
    if answer.verdict == Verdict::Answered {
        whole.verdict = Verdict::Answered;
    }
    whole.citations.extend(answer.citations);
    let (timings, more) = (&mut whole.timings_ms, answer.timings_ms);
    timings.retrieve += more.retrieve;
    timings.gate += more.gate;
    timings.check += more.check;
    timings.added += more.added;
    timings.wait = match (timings.wait, more.wait) {
        (Some(wait), Some(more)) => Some(wait + more),
        (wait, more) => wait.or(more),
    };
    timings.rewrite = timings.rewrite.or(more.rewrite);
    timings.first_token = timings.first_token.or(more.first_token);
    let (tokens, more) = (&mut whole.tokens, answer.tokens);
    tokens.prompt += more.prompt;
    tokens.budget = tokens.budget.max(more.budget);
    tokens.cached += more.cached;
    tokens.generated += more.generated;
    whole.withheld.extend(answer.withheld);
    whole
}
