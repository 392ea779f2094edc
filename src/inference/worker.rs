//! The engine that the rest of the house talks to: one thread, named `generate`, owns the weights and the caches and
//! takes jobs from a bounded queue. How jobs share the work is in [`super::scheduler`].

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ahead::{Ahead, AheadRoom, AheadStanding, Coming, ReadAheadOptions};
use super::config::LlamaConfig;
use super::error::{InferenceError, Result};
use super::job::{AheadPassage, GenerateRequest, GenerationEvent, Job, PromptCosts, PromptPassage};
use super::kv::{KeptPrefixes, KvCache, KvFormat};
use super::llama::{Feed, Llama, Wanted};
use super::memory::MemoryPlan;
use super::packed;
use super::rates::Rates;
use super::scheduler::{Load, Scheduler, Shared};
use super::tokens::{ChatMessage, ChatRole, Tokens};
use super::weights::ModelFile;
use crate::domain::PassageId;

/// Tokens of the first measurement.
const WARM_UP_TOKENS: usize = 64;

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The GGUF file.
    pub model: PathBuf,
    /// Upper bound of the context; the model's own bound holds as well.
    pub context_tokens_max: usize,
    /// Conversations that are served at the same time; at least 1.
    pub slots: usize,
    pub kv_format: KvFormat,
    /// Jobs that may wait for a slot; at least 1.
    pub queue_max: usize,
    /// Whether beginnings of prompts are kept on disk, beside the model.
    pub keep_prefixes: bool,
    /// `None`: nothing is read ahead.
    pub read_ahead: Option<ReadAheadOptions>,
}

impl EngineOptions {
    /// With the defaults of the settings.
    pub fn new(model: impl Into<PathBuf>) -> Self {
        EngineOptions {
            model: model.into(),
            context_tokens_max: 8192,
            slots: 3,
            kv_format: KvFormat::F16,
            queue_max: 4,
            keep_prefixes: true,
            read_ahead: None,
        }
    }
}

/// A running engine. Dropping it stops it.
pub struct Engine {
    tokens: Arc<Tokens>,
    rates: Arc<Rates>,
    load: Arc<Load>,
    model_name: String,
    context_tokens: usize,
    slots: usize,
    queue_max: usize,
    waiting: Arc<AtomicUsize>,
    ahead: Option<Arc<Ahead>>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    stop: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread reports once it has loaded.
struct Loaded {
    shared: Shared,
    model_name: String,
    context_tokens: usize,
}

impl Engine {
    /// Starts the thread, loads the model in it and waits until it can answer at full speed. The first time with a
    /// model takes longer: its weights are packed for this processor. Call it off the async threads.
    ///
    /// # Errors
    /// The model cannot be loaded or is too large for this machine, or the thread cannot be started.
    pub fn start(options: EngineOptions) -> Result<Self> {
        let (queue_max, slots) = (options.queue_max.max(1), options.slots.max(1));
        let (jobs, queue) = mpsc::sync_channel(queue_max);
        let (report, loaded) = mpsc::sync_channel(1);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let run = move || match load(&options, slots) {
            Ok((loaded, mut scheduler)) => {
                if report.send(Ok(loaded)).is_ok() {
                    scheduler.serve(&queue, &stopping);
                }
            }
            Err(error) => drop(report.send(Err(error))),
        };
        let thread =
            std::thread::Builder::new().name("generate".to_owned()).spawn(run).map_err(InferenceError::Thread)?;
        let Loaded { shared, model_name, context_tokens } = loaded.recv().unwrap_or(Err(InferenceError::Panicked))?;
        Ok(Engine {
            tokens: shared.tokens,
            rates: shared.rates,
            load: shared.load,
            model_name,
            context_tokens,
            slots,
            queue_max,
            waiting: shared.waiting,
            ahead: shared.ahead,
            jobs: Mutex::new(Some(jobs)),
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a generation and returns its events; see [`GenerationEvent`] for their order. The channel has room for
    /// all of them, so a slow reader holds nobody up. Dropping the receiver ends the job.
    ///
    /// # Errors
    /// The prompt is empty or does not fit the context, the queue is full, or the engine is stopped.
    pub fn submit(&self, request: GenerateRequest) -> Result<tokio::sync::mpsc::Receiver<GenerationEvent>> {
        let (prompt, mut passages) = self.encode(&request.messages, &request.ahead.passages)?;
        if prompt.is_empty() {
            return Err(InferenceError::EmptyPrompt);
        }
        if prompt.len() >= self.context_tokens {
            let context_tokens = self.context_tokens;
            return Err(InferenceError::PromptTooLong { prompt_tokens: prompt.len(), context_tokens });
        }
        let new_tokens_max = request.new_tokens_max.min(self.context_tokens - prompt.len());
        // A text for every token, one for what was held back, the place in the queue, the start and the end.
        let (events, receiver) = tokio::sync::mpsc::channel(new_tokens_max + 4);
        let span = tracing::info_span!("generate", prompt_tokens = prompt.len(), new_tokens_max);
        let shared_tokens = self.shared_tokens(&request.messages, &prompt)?;
        if let Some(ahead) = &self.ahead {
            ahead.fetch(&prompt, &mut passages);
        }
        let place = Some(Waiting::new(&self.waiting));
        let job = Job {
            prompt,
            passages,
            shared_tokens,
            new_tokens_max,
            request,
            events,
            span,
            queued: Instant::now(),
            place,
        };
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(InferenceError::Stopped)?;
        if let Some((ahead, wait)) = self.wait() {
            job.send(GenerationEvent::Queued { ahead, wait });
        }
        match jobs.try_send(job) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(InferenceError::QueueFull { waiting: self.queue_max }),
            Err(TrySendError::Disconnected(_)) => Err(InferenceError::Stopped),
        }
    }

    /// A prompt, and its passages if they may have been read before.
    fn encode(&self, messages: &[ChatMessage], ahead: &[AheadPassage]) -> Result<(Vec<u32>, Vec<PromptPassage>)> {
        if ahead.is_empty() || !self.reads_ahead() {
            return Ok((self.tokens.encode_chat(messages)?, Vec::new()));
        }
        let cuts: Vec<usize> = ahead.iter().map(|passage| passage.range.end).collect();
        let (prompt, ends) = self.tokens.encode_chat_apart(messages, &cuts)?;
        let mut passages = Vec::new();
        for (passage, ends) in ahead.iter().zip(ends.windows(2)) {
            let (range, first) = (ends[0]..ends[1], self.tokens.encode(&passage.first)?);
            passages.push(PromptPassage { id: passage.id, range, first, piece: None });
        }
        Ok((prompt, passages))
    }

    /// What a prompt costs whose passages may have been read before; those that were not will be, when nobody asks. `None`: nothing is
    /// read ahead.
    ///
    /// # Errors
    /// The model's chat template refuses the conversation.
    pub fn read_ahead(&self, messages: &[ChatMessage], passages: &[AheadPassage]) -> Result<Option<PromptCosts>> {
        let Some(ahead) = self.useful_ahead() else { return Ok(None) };
        let (prompt, passages) = self.encode(messages, passages)?;
        let rules = passages.first().map_or(0, |first| first.range.start);
        ahead.want(&prompt[..rules], &passages);
        let besides = prompt.len() - passages.iter().map(|passage| passage.range.len()).sum::<usize>();
        Ok(Some(PromptCosts { besides, passages: ahead.costs(&prompt, &passages) }))
    }

    /// Room for passages that nobody asked for yet; `None`: nothing is read ahead.
    pub fn room_ahead(&self) -> Option<AheadRoom> {
        self.useful_ahead().map(Ahead::room)
    }

    /// Wants the passages of a prompt read when nobody asks and nothing that was asked for waits. Returns whether there is room for them.
    ///
    /// # Errors
    /// The model's chat template refuses the conversation.
    pub fn read_later(
        &self,
        messages: &[ChatMessage],
        passages: &[AheadPassage],
        room: &mut AheadRoom,
    ) -> Result<bool> {
        let Some(ahead) = self.useful_ahead() else { return Ok(false) };
        let (prompt, passages) = self.encode(messages, passages)?;
        let Some(first) = passages.first() else { return Ok(true) };
        Ok(ahead.want_later(&prompt[..first.range.start], &passages, room))
    }

    /// A question is being answered: nothing is read ahead while this lives. `None`: nothing is read ahead anyhow.
    pub fn coming(&self) -> Option<Coming> {
        self.ahead.as_ref().map(|ahead| ahead.coming())
    }

    /// Has these passages read ahead before all others, and in their place if need be, until this is called again.
    pub fn expect_always(&self, passages: HashSet<PassageId>) {
        if let Some(ahead) = &self.ahead {
            ahead.expect_always(passages);
        }
    }

    /// Passages that are always expected or that prompts were made of before, those that are most expected in the next ones first.
    pub fn expected_passages(&self) -> Vec<PassageId> {
        self.ahead.as_ref().map_or_else(Vec::new, |ahead| ahead.by_expectation())
    }

    /// Whether passages are read ahead.
    pub fn reads_ahead(&self) -> bool {
        self.useful_ahead().is_some()
    }

    /// `None`: nothing is read ahead, or not any more, because it did harm.
    fn useful_ahead(&self) -> Option<&Ahead> {
        self.ahead.as_deref().filter(|ahead| !ahead.found_harm())
    }

    /// From now on only of passages that are still in the index anything is kept. The first call counts.
    pub fn keep_only(&self, is_current: impl Fn(PassageId) -> bool + Send + Sync + 'static) {
        if let Some(ahead) = &self.ahead {
            ahead.keep_only(Box::new(is_current));
        }
    }

    /// How much is read ahead; `None`: nothing is.
    pub fn ahead(&self) -> Option<AheadStanding> {
        self.useful_ahead().map(|ahead| ahead.standing())
    }

    /// Passages that wait to be read ahead.
    pub fn unread_ahead(&self) -> usize {
        self.ahead.as_ref().map_or(0, |ahead| ahead.left())
    }

    /// Jobs ahead of one that comes now, and how long it will wait by the measured rates; `None`: a slot is free.
    fn wait(&self) -> Option<(usize, Duration)> {
        let running = self.load.running();
        // The newest is the one that asks.
        let waiting = self.waiting.load(Ordering::Relaxed).saturating_sub(1);
        if running.len() + waiting < self.slots {
            return None;
        }
        let mut left: Vec<f64> =
            running.iter().map(|left| self.rates.seconds(left.prompt_tokens, left.new_tokens)).collect();
        left.sort_by(f64::total_cmp);
        // The slot that is free first, and as much again for everybody who is ahead in the queue.
        let first = left.first().copied().unwrap_or_default();
        let each = left.iter().sum::<f64>() / left.len().max(1) as f64 / self.slots as f64;
        Some((running.len() + waiting, Duration::from_secs_f64(first + each * waiting as f64)))
    }

    /// Tokens at the front of `prompt` that every conversation with the same rules begins with.
    fn shared_tokens(&self, messages: &[ChatMessage], prompt: &[u32]) -> Result<usize> {
        let Some(rules) = messages.first().filter(|message| message.role == ChatRole::System) else { return Ok(0) };
        let other = self.tokens.encode_chat(&[rules.clone(), ChatMessage::new(ChatRole::User, "")])?;
        Ok(prompt.iter().zip(&other).take_while(|(a, b)| a == b).count())
    }

    /// Tokens that a conversation takes as a prompt, up to where the model's turn begins.
    ///
    /// # Errors
    /// The model's chat template refuses the conversation.
    pub fn prompt_tokens(&self, messages: &[ChatMessage]) -> Result<usize> {
        Ok(self.tokens.encode_chat(messages)?.len())
    }

    /// Tokens of a prompt that begins with these rules and can be read within this time by the measured rate; the rules
    /// themselves are read already.
    ///
    /// # Errors
    /// The model's chat template refuses the conversation.
    pub fn prompt_tokens_within(&self, rules: &str, time: Duration) -> Result<usize> {
        let messages = [ChatMessage::new(ChatRole::System, rules), ChatMessage::new(ChatRole::User, "")];
        let read = self.tokens.encode_chat(&messages)?.len();
        Ok(read + (self.rates.prefill_tokens_per_second() * time.as_secs_f64()) as usize)
    }

    /// Tokens of a text by itself.
    ///
    /// # Errors
    /// See [`Tokens::encode`].
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        Ok(self.tokens.encode(text)?.len())
    }

    /// The tokenizer, for those who count without the engine.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.clone()
    }

    /// The name that the model file gives itself.
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// Positions that prompt and answer share.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Whether the thread is gone, or has made one step for longer than any step takes.
    pub fn is_stuck(&self, step_max: Duration) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished) || self.load.in_step().is_some_and(|step| step > step_max)
    }

    /// Takes no more jobs, ends the running ones as cancelled and the waiting ones as stopped, and joins the thread.
    /// Whoever wants to let work finish waits for its events first. Blocks for at most one layer of a step.
    pub fn stop(&self) {
        self.stop.cancel();
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the engine's thread ended in a panic");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Counts as waiting as long as it lives.
#[derive(Debug)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn load(options: &EngineOptions, slots: usize) -> Result<(Loaded, Scheduler)> {
    let start = Instant::now();
    let file = ModelFile::open(&options.model)?;
    let tokens = Arc::new(Tokens::read(&file)?);
    let config = LlamaConfig::read(&file)?;
    let context_tokens = config.context_tokens.min(options.context_tokens_max);
    check_memory(&file, &MemoryPlan::of(&file, &config, options), slots, context_tokens)?;
    let mut model = Llama::load(&file)?;
    let mut caches =
        (0..slots).map(|_| KvCache::new(&config, context_tokens, options.kv_format)).collect::<Result<Vec<_>>>()?;
    let rates = Arc::new(warm_up(&mut model, &mut caches[0])?);
    let kept = options.keep_prefixes.then(|| packed::beside(file.path(), "kv"));
    let identity = packed::identity_of(&file);
    let kept = KeptPrefixes::open(&config, options.kv_format, identity, kept);
    let ahead = options
        .read_ahead
        .as_ref()
        .map(|options| Arc::new(Ahead::new(options, identity, config.kv_shape(context_tokens, KvFormat::F16))));
    let stem = || options.model.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let model_name = file.text("general.name").map(str::to_owned).or_else(stem).unwrap_or_default();
    let ready_ms = start.elapsed().as_millis() as u64;
    tracing::info!(
        model = model_name,
        context_tokens,
        slots,
        prefill_tokens_per_second = rates.prefill_tokens_per_second(),
        ready_ms,
        "model loaded"
    );
    let shared = Shared { tokens, rates, load: Arc::default(), waiting: Arc::default(), ahead };
    let scheduler = Scheduler::new(model, caches, kept, &shared);
    Ok((Loaded { shared, model_name, context_tokens }, scheduler))
}

/// Refuses a model that does not fit, with the numbers, before anything of it is read.
fn check_memory(file: &ModelFile, plan: &MemoryPlan, slots: usize, context_tokens: usize) -> Result<()> {
    let Some(available) = plan.available_bytes.filter(|available| plan.needed_bytes() > *available) else {
        return Ok(());
    };
    let mb = |bytes: u64| bytes / 1_000_000;
    Err(InferenceError::TooLarge {
        path: file.path().to_owned(),
        needed_mb: mb(plan.needed_bytes()),
        weights_mb: mb(plan.weights_bytes),
        cache_mb: mb(plan.cache_bytes),
        slots,
        context_tokens,
        available_mb: mb(available),
    })
}

/// Reads and writes a little, so that the pages of the weights are there before the first question, and the first
/// rates are known.
fn warm_up(model: &mut Llama, cache: &mut KvCache) -> Result<Rates> {
    let tokens = vec![0; WARM_UP_TOKENS.min(cache.capacity() - 1)];
    let mut measure = |tokens: &[u32]| -> Result<f64> {
        let start = Instant::now();
        model.step(&mut [Feed::new(cache, tokens, Wanted::Last)], &|| true)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let rates = (measure(&tokens)? / tokens.len() as f64, measure(&[0])?);
    cache.truncate(0);
    Ok(Rates::new(rates.0, rates.1))
}
