//! One generation in its slot: how much of the prompt is read, what was written, and what it gives to the next step.
//! When steps happen, and which generations share them, is [`super::scheduler`]'s business.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::error::Result;
use super::job::{FinishReason, GenerationEvent, Job};
use super::kv::KvCache;
use super::llama::Wanted;
use super::sampling::Sampler;
use super::speculate::PromptLookup;
use super::tokens::{StopFilter, TokenStream, Tokens};
use super::unread::Unread;

/// A job that has a slot.
pub(super) struct Generation {
    pub(super) job: Job,
    tokens: Arc<Tokens>,
    /// The prompt and what was written so far.
    history: Vec<u32>,
    /// What the next step reads, and the guesses among it: all but the first, unless the prompt is still being read.
    pub(super) feed: Vec<u32>,
    /// Where the feed stands.
    pub(super) runs: Vec<Range<usize>>,
    /// Of the prompt.
    unread: Unread,
    pub(super) wanted: Wanted,
    drafted: usize,
    lookup: Option<PromptLookup>,
    sampler: Sampler,
    stream: TokenStream,
    filter: StopFilter,
    figures: Figures,
    started: Instant,
}

/// For the log and the last event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) cached_tokens: usize,
    pub(super) generated_tokens: usize,
    pub(super) drafted_tokens: usize,
    pub(super) accepted_tokens: usize,
    pub(super) prefill: Duration,
}

impl Generation {
    /// `unread`: positions of the prompt that the slot's cache does not hold yet, or not as they are to be.
    pub(super) fn new(mut job: Job, unread: Unread, tokens: Arc<Tokens>) -> Self {
        job.place.take();
        let cached_tokens = job.prompt.len() - unread.len();
        job.send(GenerationEvent::Started { prompt_tokens: job.prompt.len(), cached_tokens });
        Generation {
            history: job.prompt.clone(),
            feed: Vec::new(),
            runs: Vec::new(),
            unread,
            wanted: Wanted::Nothing,
            drafted: 0,
            lookup: job.request.speculate.then(PromptLookup::new),
            sampler: Sampler::new(job.request.sampling),
            stream: TokenStream::new(tokens.clone()),
            filter: StopFilter::new(job.request.stop.clone()),
            figures: Figures { cached_tokens, ..Figures::default() },
            started: Instant::now(),
            tokens,
            job,
        }
    }

    pub(super) fn interrupted(&self, stop: &CancellationToken) -> Option<FinishReason> {
        self.job.interrupted(stop)
    }

    /// Tokens of the prompt that are still to be read; 0: it is being answered.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Tokens that may still be written.
    pub(super) fn unwritten(&self) -> usize {
        self.job.new_tokens_max - self.figures.generated_tokens
    }

    /// Rows of logits that the step computes for this generation.
    pub(super) fn logit_rows(&self) -> usize {
        self.wanted.rows(self.feed.len())
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// Prepares the next step: `rows` of the prompt at most.
    pub(super) fn plan_prefill(&mut self, rows: usize) {
        self.runs = self.unread.next(rows);
        self.feed = self.runs.iter().cloned().flat_map(|run| &self.history[run]).copied().collect();
        self.wanted = if self.feed.len() == self.unread() { Wanted::Last } else { Wanted::Nothing };
        self.drafted = 0;
    }

    /// Prepares the next step: the last token, and guesses of what follows it, at most `drafts`.
    pub(super) fn plan_decode(&mut self, cache: &KvCache, drafts: usize, cost: impl Fn(usize) -> f64) {
        let room = (cache.capacity() - cache.len()).saturating_sub(1).min(self.unwritten().saturating_sub(1));
        self.feed.clear();
        self.feed.extend(self.history.last());
        if let Some(lookup) = &mut self.lookup {
            self.feed.extend(lookup.draft(&self.history, room.min(drafts), cost));
        }
        self.runs.clear();
        self.runs.push(cache.len()..cache.len() + self.feed.len());
        self.drafted = self.feed.len() - 1;
        self.wanted = Wanted::All;
    }

    /// Takes in what the step gave: `logits` of the wanted tokens of the feed, `vocabulary` each. `cache` loses the
    /// guesses that were wrong.
    ///
    /// # Errors
    /// The logits are not numbers.
    pub(super) fn advance(
        &mut self,
        cache: &mut KvCache,
        logits: &[f32],
        vocabulary: usize,
    ) -> Result<Option<FinishReason>> {
        // Of an answer's tokens nothing was unread.
        self.unread.read(self.runs.iter().map(Range::len).sum());
        if self.wanted == Wanted::Nothing {
            return Ok(None);
        }
        if self.figures.generated_tokens == 0 {
            self.figures.prefill = self.started.elapsed();
        }
        let before = cache.len() - self.drafted;
        let mut accepted = 0;
        let mut finished = None;
        for row in logits.chunks_exact(vocabulary) {
            let token = self.sampler.sample(row)?;
            finished = self.take(token);
            let guessed = self.feed.get(1 + accepted).filter(|_| self.drafted > 0);
            if finished.is_some() || guessed != Some(&token) {
                break;
            }
            accepted += 1;
        }
        cache.truncate(before + accepted);
        self.figures.drafted_tokens += self.drafted;
        self.figures.accepted_tokens += accepted;
        if let Some(lookup) = &mut self.lookup {
            lookup.learn(self.drafted, accepted);
        }
        Ok(finished)
    }

    /// Takes the next token of the answer.
    fn take(&mut self, token: u32) -> Option<FinishReason> {
        if self.tokens.is_stop(token) {
            return Some(FinishReason::Stop);
        }
        self.history.push(token);
        self.figures.generated_tokens += 1;
        if let Some(text) = self.stream.push(token) {
            let filtered = self.filter.push(&text);
            if !filtered.text.is_empty() {
                self.job.send(GenerationEvent::Text(filtered.text));
            }
            if filtered.stopped {
                // Nothing behind a stop text is shown.
                self.filter = StopFilter::default();
                self.stream = TokenStream::new(self.tokens.clone());
                return Some(FinishReason::Stop);
            }
        }
        (self.figures.generated_tokens == self.job.new_tokens_max).then_some(FinishReason::Length)
    }

    /// Sends the last events.
    pub(super) fn finish(self, reason: FinishReason) {
        let Generation { job, stream, mut filter, figures, started, .. } = self;
        let rest = stream.finish().map(|text| filter.push(&text).text);
        let rest: String = rest.into_iter().chain(filter.finish()).collect();
        if !rest.is_empty() {
            job.send(GenerationEvent::Text(rest));
        }
        let _entered = job.span.enter();
        tracing::info!(
            ?reason,
            waited_ms = started.duration_since(job.queued).as_millis() as u64,
            cached_tokens = figures.cached_tokens,
            generated_tokens = figures.generated_tokens,
            drafted_tokens = figures.drafted_tokens,
            accepted_tokens = figures.accepted_tokens,
            prefill_ms = figures.prefill.as_millis() as u64,
            decode_ms = started.elapsed().saturating_sub(figures.prefill).as_millis() as u64,
            "generation ended"
        );
        job.finish(reason, figures.generated_tokens, figures.accepted_tokens);
    }
}
