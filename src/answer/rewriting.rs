//! A question that found nothing by itself, written anew by the model with the one before it: see
//! `docs/decisions/0014-follow-ups.md`. The model may choose words of the two, and bring none of its own.

use std::time::{Duration, Instant};

use super::AnswerError;
use super::finding::Finder;
use super::follow_up::is_short;
use crate::domain::{Language, Question};
use crate::inference::{
    AheadPrompt, ChatMessage, ChatRole, FinishReason, GenerateRequest, GenerationEvent, InferenceError, SamplingOptions,
};
use crate::prompt;
use crate::retrieval::terms;

/// A question is written in less, or the machine has other work.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Tokens of a question.
const NEW_TOKENS_MAX: usize = 64;
/// Words of the question that the model may leave out: a pronoun with the verb before it.
const LEFT_OUT_MAX: usize = 1;

/// The question by itself, or `None` if what the model wrote is not that question; outside of it, `None`: there is nothing
/// that the model could be asked.
///
/// # Errors
/// The reader went away; the model cannot be asked.
pub(super) fn rewritten(finder: &Finder<'_>, language: Language) -> Result<Option<Option<String>>, AnswerError> {
    let Finder { message, question: Question { text: question, after, .. }, options } = finder;
    let Some(writer) = message.answerer.writer.as_deref() else { return Ok(None) };
    let before = after.as_deref().map(str::trim).filter(|before| !before.is_empty() && is_short(question));
    let Some(before) = before else { return Ok(None) };
    let (rules, text) = prompt::rewrite(language, before, question)?;
    let request = GenerateRequest {
        messages: vec![ChatMessage::new(ChatRole::System, rules), ChatMessage::new(ChatRole::User, text)],
        ahead: AheadPrompt::default(),
        new_tokens_max: NEW_TOKENS_MAX,
        sampling: SamplingOptions::default(),
        stop: vec!["\n".to_owned()],
        deadline: Instant::now() + TIME_MAX.min(options.deadline),
        cancel: message.cancel.clone(),
        speculate: options.speculate,
    };
    let mut stream = match writer.submit(request) {
        Ok(stream) => stream,
        Err(InferenceError::QueueFull { .. } | InferenceError::PromptTooLong { .. }) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let (mut wrote, mut is_whole) = (String::new(), false);
    while let Some(event) = stream.blocking_recv() {
        match event {
            GenerationEvent::Text(piece) => wrote.push_str(&piece),
            // Whoever waits for the word that the documents do not say does not wait behind others for it as well.
            GenerationEvent::Queued { ahead, .. } if ahead > 0 => return Ok(None),
            GenerationEvent::Finished { reason: FinishReason::Cancelled, .. } => return Err(AnswerError::Cancelled),
            GenerationEvent::Finished { reason, .. } => is_whole = reason == FinishReason::Stop,
            GenerationEvent::Failed(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the question was not written anew");
                return Ok(Some(None));
            }
            GenerationEvent::Queued { .. } | GenerationEvent::Started { .. } => {}
        }
    }
    let wrote = wrote.trim().trim_matches(['"', '«', '»', '“', '”']).trim();
    Ok(Some((is_whole && is_made_of(wrote, before, question, language)).then(|| wrote.to_owned())))
}

/// Whether a text says the question with words of the one before, and no others.
fn is_made_of(wrote: &str, before: &str, question: &str, language: Language) -> bool {
    let [wrote, before, question] = [wrote, before, question].map(|text| terms(text, language));
    let adds = wrote.iter().any(|term| before.contains(term) && !question.contains(term));
    let invents = wrote.iter().any(|term| !before.contains(term) && !question.contains(term));
    let left_out = question.iter().filter(|term| !wrote.contains(term)).count();
    adds && !invents && left_out <= LEFT_OUT_MAX && left_out < question.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_may_only_bring_words_of_the_question_before() {
        let before = "quanti giorni di ferie ho all'anno?";
        let fits = |wrote: &str| is_made_of(wrote, before, "in part-time?", Language::Italian);
        assert!(fits("Quanti giorni di ferie ho in part-time?"));
        assert!(fits("quante ferie ho all'anno in part-time?"));
        for wrong in
            ["", "in part-time?", "Quanti giorni di ferie?", "Hai 26 giorni di ferie in part-time.", "non lo so"]
        {
            assert!(!fits(wrong), "{wrong}");
        }
        // The question before is not the one that was asked, however short that is.
        for short in ["Pasqua?", "grazie!", "e?"] {
            assert!(!is_made_of(before, before, short, Language::Italian), "{short}");
        }
    }
}
