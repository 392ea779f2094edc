//! One generation: from the tokens of a prompt to a stream of events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::error::{InferenceError, Result};
use super::kv::KvCache;
use super::llama::Llama;
use super::sampling::{Sampler, SamplingOptions};
use super::tokens::{ChatMessage, StopFilter, TokenStream, Tokens};

/// What is asked of the engine.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    pub messages: Vec<ChatMessage>,
    /// The answer ends after this many tokens, or where the context ends.
    pub new_tokens_max: usize,
    pub sampling: SamplingOptions,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// The answer ends here, complete or not.
    pub deadline: Instant,
    pub cancel: CancellationToken,
}

/// What happens during a generation: `Started`, any number of `Text`, then `Finished` or `Failed`. A job that fails,
/// or is over before it started, has only the last one.
#[derive(Debug)]
pub enum GenerationEvent {
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

/// A queued request.
pub(super) struct Job {
    pub prompt: Vec<u32>,
    pub new_tokens_max: usize,
    pub request: GenerateRequest,
    pub events: Sender<GenerationEvent>,
    pub span: tracing::Span,
    pub queued: Instant,
}

impl Job {
    /// The channel has room for every event of the job, so this fails only when nobody listens.
    fn send(&self, event: GenerationEvent) {
        let _ = self.events.try_send(event);
    }

    pub(super) fn finish(&self, reason: FinishReason, generated_tokens: usize) {
        self.send(GenerationEvent::Finished { reason, generated_tokens });
    }

    pub(super) fn fail(&self, error: InferenceError) {
        self.send(GenerationEvent::Failed(error));
    }

    /// Whether the job should end now.
    fn interrupted(&self, stop: &CancellationToken) -> Option<FinishReason> {
        if self.request.cancel.is_cancelled() || stop.is_cancelled() || self.events.is_closed() {
            return Some(FinishReason::Cancelled);
        }
        (Instant::now() >= self.request.deadline).then_some(FinishReason::Deadline)
    }
}

/// The model and the one sequence that it keeps between jobs.
pub(super) struct Generator {
    model: Llama,
    cache: KvCache,
    tokens: Arc<Tokens>,
}

/// Figures of a job for the log.
#[derive(Default)]
struct Progress {
    generated_tokens: usize,
    cached_tokens: usize,
    prefill: Duration,
}

impl Generator {
    pub(super) fn new(model: Llama, cache: KvCache, tokens: Arc<Tokens>) -> Self {
        Generator { model, cache, tokens }
    }

    /// Forgets the sequence.
    pub(super) fn clear(&mut self) {
        self.cache.truncate(0);
    }

    /// Runs `job` to its last event. Interruptions are looked for at every token and between chunks of the prompt.
    pub(super) fn run(&mut self, job: &Job, stop: &CancellationToken) {
        let start = Instant::now();
        let mut progress = Progress::default();
        let outcome = self.generate(job, stop, &mut progress);
        let decode = start.elapsed().saturating_sub(progress.prefill);
        tracing::info!(
            reason = ?outcome.as_ref().ok(),
            waited_ms = start.duration_since(job.queued).as_millis() as u64,
            cached_tokens = progress.cached_tokens,
            generated_tokens = progress.generated_tokens,
            prefill_ms = progress.prefill.as_millis() as u64,
            decode_ms = decode.as_millis() as u64,
            "generation ended"
        );
        match outcome {
            Ok(reason) => job.finish(reason, progress.generated_tokens),
            Err(error) => job.fail(error),
        }
    }

    fn generate(&mut self, job: &Job, stop: &CancellationToken, progress: &mut Progress) -> Result<FinishReason> {
        if let Some(reason) = job.interrupted(stop) {
            return Ok(reason);
        }
        let start = Instant::now();
        progress.cached_tokens = self.cache.reuse(&job.prompt);
        let prompt_tokens = job.prompt.len();
        job.send(GenerationEvent::Started { prompt_tokens, cached_tokens: progress.cached_tokens });
        let new = &job.prompt[progress.cached_tokens..];
        let logits = self.model.forward_while(new, &mut self.cache, || job.interrupted(stop).is_none())?;
        progress.prefill = start.elapsed();
        let Some(mut logits) = logits else {
            return Ok(job.interrupted(stop).unwrap_or(FinishReason::Cancelled));
        };

        let tokens = self.tokens.clone();
        let mut stream = TokenStream::new(&tokens);
        let mut filter = StopFilter::new(job.request.stop.clone());
        let mut sampler = Sampler::new(job.request.sampling);
        let reason = loop {
            if let Some(reason) = job.interrupted(stop) {
                break reason;
            }
            if progress.generated_tokens == job.new_tokens_max {
                break FinishReason::Length;
            }
            let token = sampler.sample(&logits)?;
            if tokens.is_stop(token) {
                break FinishReason::Stop;
            }
            progress.generated_tokens += 1;
            if let Some(text) = stream.push(token) {
                let filtered = filter.push(&text);
                if !filtered.text.is_empty() {
                    job.send(GenerationEvent::Text(filtered.text));
                }
                if filtered.stopped {
                    return Ok(FinishReason::Stop);
                }
            }
            if progress.generated_tokens < job.new_tokens_max {
                logits = self.model.forward(&[token], &mut self.cache)?;
            }
        };
        let rest: String =
            stream.finish().map(|text| filter.push(&text).text).into_iter().chain(filter.finish()).collect();
        if !rest.is_empty() {
            job.send(GenerationEvent::Text(rest));
        }
        Ok(reason)
    }
}
