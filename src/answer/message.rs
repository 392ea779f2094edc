//! The way of a message, on a blocking thread: its questions are answered one after the other, and their answers become one.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::several::questions;
use super::{AnswerError, AnswerEvent, Answerer, pipeline};
use crate::domain::{Answer, Language, Question, Verdict};
use crate::prompt;

/// Questions of one message that are answered.
const QUESTIONS: usize = 3;

/// Answers `question`, or each of the first questions that it holds; `language` is the reader's, `None` if it cannot be told
/// from the question.
pub(super) fn run(
    answerer: &Answerer,
    question: &Question,
    mut language: Option<Language>,
    trace_id: &str,
    cancel: &CancellationToken,
    events: &mpsc::Sender<AnswerEvent>,
) -> Result<(), AnswerError> {
    let start = Instant::now();
    let parts = questions(&question.text);
    let is_one = parts.len() == 1;
    let mut answers: Vec<Answer> = Vec::new();
    for (at, text) in parts.iter().take(QUESTIONS).enumerate() {
        let after = question.after.clone().filter(|_| at == 0);
        let part = Question { text: text.clone(), after, ..question.clone() };
        let cited = answers.iter().flat_map(|answer| &answer.citations).map(|citation| citation.n).max();
        let heading = (!is_one).then(|| heading(at));
        let place = Place { is_first: at == 0, cited: cited.unwrap_or_default(), heading };
        let answer = pipeline::answer(answerer, &part, language, place, trace_id, cancel, events)?;
        language = Some(answer.language);
        answers.push(answer);
    }
    let answered = answers.len();
    let Some(mut answer) = (if is_one { answers.pop() } else { together(answers) }) else { return Ok(()) };
    if parts.len() > answered {
        let piece = format!("\n\n{}", prompt::left_out(answer.language)?);
        answer.text.push_str(&piece);
        send(AnswerEvent::Text(piece), cancel, events)?;
    }
    answer.timings_ms.total = pipeline::milliseconds(start);
    send(AnswerEvent::Done(Box::new(answer)), cancel, events)
}

/// Where an answer stands among those to the questions of a message.
pub(super) struct Place {
    pub is_first: bool,
    /// The highest number among the citations of those before.
    pub cited: usize,
    /// What stands above it.
    pub heading: Option<String>,
}

/// Of the question at this place, from 0. Its words are not repeated, because an answer holds no text that is not checked;
/// and a number would be one that no document tells.
fn heading(at: usize) -> String {
    let gap = if at == 0 { "" } else { "\n\n" };
    let letter = char::from(b'a' + at as u8);
    format!("{gap}**{letter})**\n\n")
}

/// The answers to the questions of a message as one; `None`: there are none.
fn together(answers: Vec<Answer>) -> Option<Answer> {
    let below_headings = answers.into_iter().enumerate().map(|(at, answer)| {
        let text = format!("{}{}", heading(at), answer.text);
        Answer { text, ..answer }
    });
    below_headings.reduce(|mut whole, answer| {
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
        let (tokens, more) = (&mut whole.tokens, answer.tokens);
        tokens.prompt += more.prompt;
        tokens.budget = tokens.budget.max(more.budget);
        tokens.cached += more.cached;
        tokens.generated += more.generated;
        whole
    })
}

/// # Errors
/// `Cancelled`, also when nobody listens any more.
pub(super) fn send(
    event: AnswerEvent,
    cancel: &CancellationToken,
    events: &mpsc::Sender<AnswerEvent>,
) -> Result<(), AnswerError> {
    if cancel.is_cancelled() {
        return Err(AnswerError::Cancelled);
    }
    events.blocking_send(event).map_err(|_| AnswerError::Cancelled)
}
