//! The engine that the rest of the house talks to: one thread, named `generate`, owns the weights and the cache and
//! takes one job after the other from a bounded queue. What a job does is in [`super::job`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::error::{InferenceError, Result};
use super::job::{GenerateRequest, GenerationEvent, Generator, Job};
use super::kv::KvCache;
use super::llama::Llama;
use super::tokens::{ChatMessage, Tokens};
use super::weights::ModelFile;

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The GGUF file.
    pub model: PathBuf,
    /// Upper bound of the context; the model's own bound holds as well.
    pub context_tokens_max: usize,
    /// Jobs that may wait while one runs; at least 1.
    pub queue_max: usize,
}

/// A running engine. Dropping it stops it.
pub struct Engine {
    tokens: Arc<Tokens>,
    model_name: String,
    context_tokens: usize,
    queue_max: usize,
    jobs: Mutex<Option<SyncSender<Job>>>,
    stop: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread reports once it has loaded.
struct Loaded {
    tokens: Arc<Tokens>,
    model_name: String,
    context_tokens: usize,
}

impl Engine {
    /// Starts the thread, loads the model in it and waits until it can answer at full speed: the first forward pass,
    /// in which candle prepares its own copy of some weights, is over. Takes seconds; call it off the async threads.
    ///
    /// # Errors
    /// The model cannot be loaded, or the thread not be started.
    pub fn start(options: EngineOptions) -> Result<Self> {
        let queue_max = options.queue_max.max(1);
        let (jobs, waiting) = mpsc::sync_channel(queue_max);
        let (report, loaded) = mpsc::sync_channel(1);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let run = move || match load(&options) {
            Ok((loaded, mut generator)) => {
                if report.send(Ok(loaded)).is_ok() {
                    serve(&waiting, &stopping, &mut generator);
                }
            }
            Err(error) => drop(report.send(Err(error))),
        };
        let thread =
            std::thread::Builder::new().name("generate".to_owned()).spawn(run).map_err(InferenceError::Thread)?;
        let Loaded { tokens, model_name, context_tokens } = loaded.recv().unwrap_or(Err(InferenceError::Panicked))?;
        Ok(Engine {
            tokens,
            model_name,
            context_tokens,
            queue_max,
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
        let prompt = self.tokens.encode_chat(&request.messages)?;
        if prompt.is_empty() {
            return Err(InferenceError::EmptyPrompt);
        }
        if prompt.len() >= self.context_tokens {
            let context_tokens = self.context_tokens;
            return Err(InferenceError::PromptTooLong { prompt_tokens: prompt.len(), context_tokens });
        }
        let new_tokens_max = request.new_tokens_max.min(self.context_tokens - prompt.len());
        // A text for every token, one for what was held back, the start and the end.
        let (events, receiver) = tokio::sync::mpsc::channel(new_tokens_max + 3);
        let span = tracing::info_span!("generate", prompt_tokens = prompt.len(), new_tokens_max);
        let job = Job { prompt, new_tokens_max, request, events, span, queued: Instant::now() };
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(InferenceError::Stopped)?;
        match jobs.try_send(job) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(InferenceError::QueueFull { waiting: self.queue_max }),
            Err(TrySendError::Disconnected(_)) => Err(InferenceError::Stopped),
        }
    }

    /// Tokens that a conversation takes as a prompt, up to where the model's turn begins.
    ///
    /// # Errors
    /// The model's chat template refuses the conversation.
    pub fn prompt_tokens(&self, messages: &[ChatMessage]) -> Result<usize> {
        Ok(self.tokens.encode_chat(messages)?.len())
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

    /// Takes no more jobs, ends the running one as cancelled and the waiting ones as stopped, and joins the thread.
    /// Whoever wants to let work finish waits for its events first. Blocks for at most one token or prefill chunk.
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

fn load(options: &EngineOptions) -> Result<(Loaded, Generator)> {
    let start = Instant::now();
    let file = ModelFile::open(&options.model)?;
    let tokens = Arc::new(Tokens::read(&file)?);
    let model = Llama::load(&file)?;
    let context_tokens = model.config().context_tokens.min(options.context_tokens_max);
    let mut cache = KvCache::new(model.config(), context_tokens)?;
    warm_up(&model, &mut cache)?;
    let stem = || options.model.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let model_name = file.text("general.name").map(str::to_owned).or_else(stem).unwrap_or_default();
    let ready_ms = start.elapsed().as_millis() as u64;
    tracing::info!(model = model_name, context_tokens, file_bytes = file.size_bytes(), ready_ms, "model loaded");
    let loaded = Loaded { tokens: tokens.clone(), model_name, context_tokens };
    Ok((loaded, Generator::new(model, cache, tokens)))
}

/// Runs a few tokens so that candle's packed copies of the weights and the pages of the file are there before the
/// first question. More than one row, because some types are packed only for products of several rows.
pub fn warm_up(model: &Llama, cache: &mut KvCache) -> Result<()> {
    let count = 4.min(cache.capacity());
    model.forward(&vec![0; count], cache)?;
    cache.truncate(0);
    Ok(())
}

/// What the loop needs of whoever does the work.
trait Handler {
    fn handle(&mut self, job: &Job, stop: &CancellationToken);
    /// Called after [`handle`](Self::handle) panicked: nothing it left behind may be trusted.
    fn recover(&mut self);
}

impl Handler for Generator {
    fn handle(&mut self, job: &Job, stop: &CancellationToken) {
        self.run(job, stop);
    }

    fn recover(&mut self) {
        self.clear();
    }
}

/// Takes jobs until the queue is closed and empty. A panic ends the job it happened in, and nothing else.
fn serve(jobs: &Receiver<Job>, stop: &CancellationToken, handler: &mut impl Handler) {
    while let Ok(job) = jobs.recv() {
        let _entered = job.span.enter();
        if stop.is_cancelled() {
            job.fail(InferenceError::Stopped);
        } else if catch_unwind(AssertUnwindSafe(|| handler.handle(&job, stop))).is_err() {
            tracing::error!("a generation ended in a panic");
            handler.recover();
            job.fail(InferenceError::Panicked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::job::FinishReason;
    use crate::inference::sampling::SamplingOptions;

    struct PanicsOnce {
        recovered: usize,
        handled: usize,
    }

    impl Handler for PanicsOnce {
        fn handle(&mut self, job: &Job, _: &CancellationToken) {
            self.handled += 1;
            assert_ne!(self.handled, 1, "the first job fails");
            job.finish(FinishReason::Stop, 0);
        }

        fn recover(&mut self) {
            self.recovered += 1;
        }
    }

    fn job() -> (Job, tokio::sync::mpsc::Receiver<GenerationEvent>) {
        let (events, receiver) = tokio::sync::mpsc::channel(4);
        let request = GenerateRequest {
            messages: Vec::new(),
            new_tokens_max: 1,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            deadline: Instant::now(),
            cancel: CancellationToken::new(),
        };
        let job = Job {
            prompt: vec![1],
            new_tokens_max: 1,
            request,
            events,
            span: tracing::Span::none(),
            queued: Instant::now(),
        };
        (job, receiver)
    }

    #[test]
    fn a_panic_ends_one_job_and_the_next_is_served() {
        let (sender, jobs) = mpsc::sync_channel(2);
        let ((first, mut first_events), (second, mut second_events)) = (job(), job());
        sender.send(first).unwrap();
        sender.send(second).unwrap();
        drop(sender);
        let mut handler = PanicsOnce { recovered: 0, handled: 0 };
        serve(&jobs, &CancellationToken::new(), &mut handler);
        assert!(matches!(first_events.try_recv(), Ok(GenerationEvent::Failed(InferenceError::Panicked))));
        assert!(matches!(second_events.try_recv(), Ok(GenerationEvent::Finished { .. })));
        assert_eq!((handler.recovered, handler.handled), (1, 2));
    }

    #[test]
    fn jobs_that_wait_when_the_engine_stops_are_told() {
        let (sender, jobs) = mpsc::sync_channel(1);
        let (waiting, mut events) = job();
        sender.send(waiting).unwrap();
        drop(sender);
        let stop = CancellationToken::new();
        stop.cancel();
        let mut handler = PanicsOnce { recovered: 0, handled: 0 };
        serve(&jobs, &stop, &mut handler);
        assert!(matches!(events.try_recv(), Ok(GenerationEvent::Failed(InferenceError::Stopped))));
        assert_eq!(handler.handled, 0);
    }
}
