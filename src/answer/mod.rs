//! From a question to a cited answer: retrieve, gate, prompt, generate, verify, cite.
//! What is done with the events (a terminal, a web page, a chat platform) is `chat`'s business.

mod address;
mod ahead;
mod check;
mod citing;
mod claims;
mod confirmed;
mod disagreement;
mod draft;
mod event;
mod evidence;
mod finding;
mod follow_up;
mod gate;
mod message;
mod observer;
mod pipeline;
mod quote;
mod rewriting;
mod several;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Citation, GivenAnswer, Language, LanguageDetector, Passage, PassageId, Question, QuestionKey, Reader, Readership,
};
use crate::inference::InferenceError;
use crate::prompt::{self, FailureReason, PromptError};
use crate::retrieval::{Hit, RetrievalError, Searcher};

pub use ahead::begun_with;
pub use check::{Checker, Meanings, Support};
pub use claims::facts;
pub use confirmed::ConfirmedAnswers;
pub use event::AnswerEvent;
pub use evidence::Evidence;
pub use follow_up::{refers_back, self_contained};
pub use gate::{Gate, Sample};
use message::Message;
pub use observer::{Ending, Observer};
pub use several::{QUESTIONS, questions};
pub use writer::Writer;

/// Events that wait for a slow reader; then the model waits.
const EVENTS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub struct AnswerOptions {
    /// Passages in the prompt at most.
    pub passages_max: usize,
    /// Tokens of the prompt at most.
    pub prompt_tokens_max: usize,
    /// From the question to the model's first word; `None`: the prompt is as long as it may be.
    pub first_token_target: Option<Duration>,
    /// Whether the model's next tokens are guessed from the prompt.
    pub speculate: bool,
    pub new_tokens_max: usize,
    /// From the question to the end of its answer.
    pub deadline: Duration,
    /// Probability of evidence below which the answer is that the documents do not say.
    pub evidence_min: f64,
    /// Probability of evidence below which passages are quoted only, and said to be perhaps no answer.
    pub evidence_sure: f64,
    /// Whom to ask what the documents do not say.
    pub contact: Option<String>,
    /// Questions in work or waiting at the same time.
    pub questions_max: usize,
}

#[derive(Debug, Error)]
pub enum AnswerError {
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    #[error(transparent)]
    Inference(#[from] InferenceError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The reader went away or stopped the answer.
    #[error("the answer was cancelled")]
    Cancelled,
    #[error("a part of the program panicked: the log says where")]
    Panicked,
}

/// Answers questions, each on a blocking thread of its own.
pub struct Answerer {
    searcher: Arc<Searcher>,
    readership: Readership,
    /// `None`: no model is installed, and answers are quotes.
    writer: Option<Arc<dyn Writer>>,
    options: RwLock<Arc<AnswerOptions>>,
    questions_max: usize,
    confirmed: OnceLock<Arc<dyn ConfirmedAnswers>>,
    observer: OnceLock<Arc<dyn Observer>>,
    places: Arc<Semaphore>,
    asked: AtomicU64,
}

impl Answerer {
    pub fn new(
        searcher: Arc<Searcher>,
        readership: Readership,
        writer: Option<Arc<dyn Writer>>,
        options: AnswerOptions,
    ) -> Self {
        let places = Arc::new(Semaphore::new(options.questions_max));
        Answerer {
            searcher,
            readership,
            writer,
            questions_max: options.questions_max,
            options: RwLock::new(Arc::new(options)),
            confirmed: OnceLock::new(),
            observer: OnceLock::new(),
            places,
            asked: AtomicU64::new(0),
        }
    }

    /// From now on the observer hears how each question ended. A second call changes nothing.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    /// Questions in work or waiting.
    pub fn in_work(&self) -> usize {
        self.questions_max.saturating_sub(self.places.available_permits())
    }

    /// From the next question on these hold; `questions_max` stays what it is.
    pub fn set_options(&self, options: AnswerOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    fn options(&self) -> Arc<AnswerOptions> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on answers are looked for first among those that people confirmed. A second call changes nothing.
    pub fn remember(&self, confirmed: Arc<dyn ConfirmedAnswers>) {
        let _ = self.confirmed.set(confirmed);
    }

    /// The confirmed answer to what was asked, if it is right for somebody who finds `found`.
    fn confirmed(&self, asked: &str, language: Option<Language>, found: &[Hit]) -> Option<(QuestionKey, GivenAnswer)> {
        let known = self.confirmed.get()?.to(asked);
        known.into_iter().find(|(_, given)| confirmed::stands(given, language, found))
    }

    pub fn searcher(&self) -> &Arc<Searcher> {
        &self.searcher
    }

    /// Starts the answer to a question and returns its events. Cancelling the token or dropping the receiver stops the
    /// work within one token. To be called inside a tokio runtime.
    pub fn ask(self: &Arc<Self>, question: Question, cancel: CancellationToken) -> mpsc::Receiver<AnswerEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let trace_id = self.trace_id();
        let place = Arc::clone(&self.places).try_acquire_owned();
        let answerer = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let span = tracing::info_span!("question", trace_id);
            let _entered = span.enter();
            let language = question.language.or_else(|| {
                let texts = [Some(question.text.as_str()), question.after.as_deref()].into_iter().flatten();
                texts.filter_map(|text| LanguageDetector.detect(text)).next()
            });
            // `None`: cancelled.
            let outcome = match place {
                Err(_) => Err(Some(FailureReason::Busy)),
                Ok(_) if question.text.trim().is_empty() => Err(Some(FailureReason::Empty)),
                Ok(_place) => {
                    let _coming = answerer.writer.as_ref().and_then(|writer| writer.coming());
                    let message = Message {
                        answerer: &answerer,
                        question: &question,
                        trace_id: &trace_id,
                        start: Instant::now(),
                        cancel: &cancel,
                        events: &sender,
                    };
                    // Somebody waits for a word, whatever happens.
                    let ran = catch_unwind(AssertUnwindSafe(|| message.run(language)));
                    ran.unwrap_or(Err(AnswerError::Panicked)).map_err(|e| match e {
                        AnswerError::Cancelled => None,
                        AnswerError::Retrieval(RetrievalError::Busy) => Some(FailureReason::Busy),
                        other => {
                            tracing::error!(error = &other as &dyn std::error::Error, "the question failed");
                            Some(FailureReason::Internal)
                        }
                    })
                }
            };
            let ended = |ending| answerer.observer.get().iter().for_each(|o| o.ended(&question, &trace_id, ending));
            match outcome {
                Ok(answer) if !cancel.is_cancelled() => {
                    ended(Ending::Answered(&answer));
                    let _ = sender.blocking_send(AnswerEvent::Done(Box::new(answer)));
                }
                Ok(_) | Err(None) => {
                    tracing::info!("cancelled");
                    ended(Ending::Cancelled);
                }
                Err(Some(reason)) => {
                    ended(Ending::Failed);
                    let message = prompt::failed(language.unwrap_or(Language::English), reason).unwrap_or_default();
                    let _ = sender.blocking_send(AnswerEvent::Failed { message, trace_id: trace_id.clone() });
                }
            }
        });
        receiver
    }

    /// The passages that fit a question best, each with the sentence that does, best first. Blocks; for people who choose
    /// among quotes themselves.
    ///
    /// # Errors
    /// The index cannot be read, or the embedding model is busy.
    pub fn quotes(&self, text: &str, reader: &Reader, quotes_max: usize) -> Result<Vec<Citation>, AnswerError> {
        pipeline::quotes(self, text, reader, quotes_max)
    }

    /// All passages of the document that holds this passage, in their order; empty when it is not in the index, or not
    /// for this reader.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn document_of(&self, passage: PassageId, reader: &Reader) -> Result<Vec<Passage>, RetrievalError> {
        let passages = self.searcher.generation().document_of(passage)?;
        let scope = self.readership.scope(reader);
        Ok(if passages.iter().all(|passage| scope.holds(&passage.collection)) { passages } else { Vec::new() })
    }

    /// Eight hexadecimal digits, different for every question of a process and very likely over restarts.
    fn trace_id(&self) -> String {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let hash = blake3::hash(format!("{number} {now}").as_bytes());
        hash.to_hex()[..8].to_owned()
    }
}
