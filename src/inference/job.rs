//! What is asked of the engine, and what it tells about it.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::error::InferenceError;
use super::kv::Piece;
use super::sampling::SamplingOptions;
use super::tokens::ChatMessage;
use super::worker::Waiting;
use crate::domain::PassageId;

/// A passage in the last message of a conversation, which may have been read before anybody asked.
#[derive(Clone, Debug)]
pub struct AheadPassage {
    pub id: PassageId,
    /// Where it stands, in bytes of the message. Passages follow each other from its beginning.
    pub range: Range<usize>,
    /// Its text as if it were the first passage: of it is kept what does not depend on its place.
    pub first: String,
}

/// Tokens of a prompt that count for how long it takes, if nothing is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptCosts {
    /// Those of no passage, the rules among them.
    pub besides: usize,
    /// Of each passage.
    pub passages: Vec<usize>,
}

impl PromptCosts {
    pub fn total(&self) -> usize {
        self.besides + self.passages.iter().sum::<usize>()
    }
}

/// The passages of a prompt, and the time for it.
#[derive(Clone, Debug, Default)]
pub struct AheadPrompt {
    pub passages: Vec<AheadPassage>,
    /// Tokens that may count for how long the prompt takes, its rules among them. What is left of them when those are read that
    /// nobody knows goes to reading passages anew in their places, as far as the engine's options go.
    pub tokens_max: usize,
}

/// What is asked of the engine.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    pub messages: Vec<ChatMessage>,
    /// What need not be read anew whole, where it was read before. Without passages the prompt is read as it stands.
    pub ahead: AheadPrompt,
    /// The answer ends after this many tokens, or where the context ends.
    pub new_tokens_max: usize,
    pub sampling: SamplingOptions,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// The answer ends here, complete or not.
    pub deadline: Instant,
    pub cancel: CancellationToken,
    /// Whether the next tokens are guessed from the prompt: faster where the answer repeats it, and the same text.
    pub speculate: bool,
}

/// What happens during a generation: `Queued` if it has to wait, `Started`, any number of `Text`, then `Finished` or `Failed`. A job that fails,
/// or is over before it started, has only the last one.
#[derive(Debug)]
pub enum GenerationEvent {
    /// So many are served before, and it will probably take so long until this one is begun.
    Queued {
        ahead: usize,
        wait: Duration,
    },
    /// The prompt's tokens, and how many of them were still in the cache.
    Started {
        prompt_tokens: usize,
        cached_tokens: usize,
    },
    /// Text to append.
    Text(String),
    Finished {
        reason: FinishReason,
        generated_tokens: usize,
        /// Of these, the ones that were guessed right.
        guessed_tokens: usize,
    },
    Failed(InferenceError),
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, or a stop text appeared.
    Stop,
    /// As many tokens as were allowed.
    Length,
    Deadline,
    /// By its token, by the end of the engine, or because nobody listens any more.
    Cancelled,
}

/// An [`AheadPassage`] in tokens.
#[derive(Debug)]
pub(super) struct PromptPassage {
    pub id: PassageId,
    /// Positions in the prompt.
    pub range: Range<usize>,
    /// As many tokens, or else it is not read ahead: its number takes more of them than that of the first.
    pub first: Vec<u32>,
    /// What was read of it before.
    pub piece: Option<Piece>,
}

impl PromptPassage {
    pub(super) fn without_piece(&self) -> Self {
        PromptPassage { id: self.id, range: self.range.clone(), first: self.first.clone(), piece: None }
    }

    pub(super) fn may_be_read_ahead(&self) -> bool {
        self.first.len() == self.range.len()
    }

    /// Positions at its beginning that have to be read anew in its place: `share` of them, and whatever is not as it was
    /// read. The first passage stands where it was read.
    pub(super) fn anew(&self, prompt: &[u32], rules_tokens: usize, share: f64) -> Range<usize> {
        let Range { start, end } = self.range;
        let differing = prompt[start..end].iter().zip(&self.first).rposition(|(own, first)| own != first);
        let differing = differing.map_or(0, |at| at + 1);
        let share = if start == rules_tokens { 0 } else { ((end - start) as f64 * share).ceil() as usize };
        start..start + share.max(differing).min(end - start)
    }

    /// Tokens that are computed of it when nothing is mended.
    pub(super) fn cost(&self, prompt: &[u32], rules_tokens: usize, is_read: bool) -> usize {
        if is_read { self.anew(prompt, rules_tokens, 0.0).len() } else { self.range.len() }
    }
}

/// A queued request.
pub(super) struct Job {
    pub prompt: Vec<u32>,
    pub passages: Vec<PromptPassage>,
    /// Tokens at the front of the prompt that other conversations begin with too.
    pub shared_tokens: usize,
    pub new_tokens_max: usize,
    pub request: GenerateRequest,
    pub events: Sender<GenerationEvent>,
    pub span: tracing::Span,
    pub queued: Instant,
    /// Given up when the job gets a slot.
    pub place: Option<Waiting>,
}

impl Job {
    /// The channel has room for every event of the job, so this fails only when nobody listens.
    pub(super) fn send(&self, event: GenerationEvent) {
        let _ = self.events.try_send(event);
    }

    pub(super) fn finish(&self, reason: FinishReason, generated_tokens: usize, guessed_tokens: usize) {
        self.send(GenerationEvent::Finished { reason, generated_tokens, guessed_tokens });
    }

    pub(super) fn fail(&self, error: InferenceError) {
        self.send(GenerationEvent::Failed(error));
    }

    /// Whether the job should end now.
    pub(super) fn interrupted(&self, stop: &CancellationToken) -> Option<FinishReason> {
        if self.request.cancel.is_cancelled() || stop.is_cancelled() || self.events.is_closed() {
            return Some(FinishReason::Cancelled);
        }
        (Instant::now() >= self.request.deadline).then_some(FinishReason::Deadline)
    }
}
