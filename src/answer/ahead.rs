//! Prompts of passages that the model has read before anybody asked.

use super::{AnswerError, Writer};
use crate::domain::PassageId;
use crate::inference::{AheadPassage, ChatMessage, ChatRole};
use crate::prompt::{self, Candidate, Prompt, PromptError};
use crate::retrieval::{Hit, IndexedPassage};

/// The prompt of as many passages as can be read with so many tokens, the best first. What was read before costs little of them, and what
/// was not will be.
pub(super) fn affordable(
    writer: &dyn Writer,
    candidates: &[Candidate<'_>],
    hits: &[Hit],
    tokens_max: usize,
    with: impl Fn(&[Candidate<'_>]) -> Result<Prompt, AnswerError>,
) -> Result<Option<Prompt>, AnswerError> {
    let all = with(candidates)?;
    let costs =
        writer.read_ahead(&messages(&all.system, &all.user), &ahead_passages(&all, |index| hits[index].passage.id));
    let costs = costs.inspect_err(|error| tracing::debug!(%error, "a prompt is not read ahead")).ok().flatten();
    let Some(costs) = costs else { return Ok(None) };
    let mut left = tokens_max.saturating_sub(costs.besides);
    let mut chosen = Vec::new();
    for (&index, cost) in all.passages.iter().zip(costs.passages) {
        if cost <= left {
            left -= cost;
            chosen.push(index);
        }
    }
    if chosen.is_empty() || chosen == all.passages {
        return Ok((!chosen.is_empty()).then_some(all));
    }
    let candidates: Vec<Candidate<'_>> = chosen.iter().map(|&index| candidates[index]).collect();
    let mut prompt = with(&candidates)?;
    prompt.passages.iter_mut().for_each(|index| *index = chosen[*index]);
    Ok(Some(prompt))
}

pub(super) fn messages(system: &str, user: &str) -> Vec<ChatMessage> {
    vec![ChatMessage::new(ChatRole::System, system), ChatMessage::new(ChatRole::User, user)]
}

/// The passages of a prompt, each of which stands in it as it does in its document; `id`: of a candidate.
pub(super) fn ahead_passages(prompt: &Prompt, id: impl Fn(usize) -> PassageId) -> Vec<AheadPassage> {
    let ranges = prompt::passage_ranges(&prompt.user).into_iter();
    let passages = ranges.zip(&prompt.passages).map(|(range, &index)| AheadPassage {
        id: id(index),
        first: prompt::as_first(&prompt.user[range.clone()]),
        range,
    });
    passages.collect()
}

/// A conversation that begins as every one does whose first passage is this one, so that the model can read it before anybody asks:
/// people mostly ask in the language of the document.
///
/// # Errors
/// A template that cannot be rendered.
pub fn begun_with(indexed: &IndexedPassage) -> Result<(Vec<ChatMessage>, Vec<AheadPassage>), PromptError> {
    let IndexedPassage { passage, context, .. } = indexed;
    let candidate = Candidate { context: context.as_deref(), ..Candidate::new(passage) };
    let prompt = prompt::prompt(passage.language, "", &[candidate], usize::MAX, |_, _| 0)?;
    let passages = ahead_passages(&prompt, |_| passage.id);
    Ok((messages(&prompt.system, &prompt.user), passages))
}
