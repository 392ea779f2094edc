//! Embeddings by fastembed on a thread of their own, so that a query never waits behind a generation. Queries overtake
//! passages: the index run hands over small batches and a query waits for one of them at most.

mod int8;
mod model;
mod onnx;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use fastembed::TextEmbedding;
use tokenizers::Tokenizer;

use model::{Loaded, load_model, load_runtime};

use super::RetrievalError;
use super::centring::{LanguageMeans, QUESTIONS};
use crate::domain::LanguageDetector;

/// Requests that may wait for the thread.
const QUEUE_MAX: usize = 64;
/// What is embedded in one go, with its padding: about a third of a second of work on two cores.
const BATCH_BYTES: usize = 8192;

/// The prefixes that the e5 models were trained with (Wang et al., "Multilingual E5 Text Embeddings", 2024, section 3).
const QUERY_PREFIX: &str = "query: ";
const PASSAGE_PREFIX: &str = "passage: ";

#[derive(Clone, Debug)]
pub struct EmbedderOptions {
    /// Folder with `model.onnx`, `tokenizer.json`, `config.json`, `special_tokens_map.json` and
    /// `tokenizer_config.json`.
    pub model: PathBuf,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    pub precision: Precision,
    /// `None`: as many as the machine has cores.
    pub threads: Option<usize>,
}

/// What the weights are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As the model's file has them.
    F32,
    /// Quantized when they are first needed, and kept beside the file.
    Int8,
}

/// Which model made a vector; vectors of different models cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EmbeddingModel {
    pub name: String,
    /// Hash of the weights and the tokenizer.
    pub hash: String,
    pub dims: usize,
}

/// The handle of the `embed` thread. Dropping the last one stops and joins it.
pub struct Embedder {
    model: EmbeddingModel,
    /// What questions have in common.
    question_means: LanguageMeans,
    tokenizer: Arc<Tokenizer>,
    wake: Option<mpsc::SyncSender<()>>,
    queues: Arc<Queues>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    texts: Vec<String>,
    reply: mpsc::SyncSender<Result<Vec<Vec<f32>>, RetrievalError>>,
}

/// Two lanes; the thread takes from the first as long as it holds anything.
#[derive(Default)]
struct Queues {
    queries: Mutex<std::collections::VecDeque<Job>>,
    passages: Mutex<std::collections::VecDeque<Job>>,
}

impl Embedder {
    /// Loads the library and the model (seconds) and starts the thread.
    ///
    /// # Errors
    /// A missing or unfit library, and a model folder that is not complete, each with what to do about it.
    pub fn start(options: &EmbedderOptions) -> Result<Self, RetrievalError> {
        let environment = load_runtime(&options.runtime)?;
        let Loaded { model, tokenizer, mut session } = load_model(options, environment)?;
        let question_means = question_means(&mut session, model.dims)?;
        let queues = Arc::new(Queues::default());
        let (wake, woken) = mpsc::sync_channel::<()>(2 * QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("embed".to_owned())
            .spawn({
                let queues = Arc::clone(&queues);
                move || {
                    while woken.recv().is_ok() {
                        if let Some(job) = queues.next() {
                            let vectors = embed(&mut session, &job.texts);
                            // The asker may have gone away; then nobody misses the vectors.
                            let _ = job.reply.send(vectors);
                        }
                    }
                }
            })
            .map_err(RetrievalError::file("start the embedding thread for", &options.model))?;
        let tokenizer = Arc::new(tokenizer);
        Ok(Embedder { model, question_means, tokenizer, wake: Some(wake), queues, thread: Some(thread) })
    }

    pub fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    /// The vector of a question: `dims` values, unit length.
    ///
    /// # Errors
    /// `Busy` when too many queries wait, `Stopped` when the thread is gone, `Embedding` from the model.
    pub fn query(&self, text: &str) -> Result<Vec<f32>, RetrievalError> {
        let texts = vec![format!("{QUERY_PREFIX}{text}")];
        self.run(&self.queues.queries, texts)?.pop().ok_or_else(|| RetrievalError::Embedding("no vector".to_owned()))
    }

    /// The vector of a question without what all questions of its language share, for searching: see
    /// [`super::centring`].
    ///
    /// # Errors
    /// As [`Embedder::query`].
    pub(super) fn centred_query(&self, text: &str) -> Result<Vec<f32>, RetrievalError> {
        Ok(self.question_means.centred(&self.query(text)?, LanguageDetector.detect(text)))
    }

    /// The vectors of passages, in their order: `dims` values each, unit length.
    ///
    /// # Errors
    /// As [`Embedder::query`].
    pub fn passages(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
        // Texts of like length go together: a batch is padded to its longest.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| texts[i].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        while !order.is_empty() {
            // The longest is the last.
            let longest = texts[order[order.len() - 1]].len().max(1);
            let batch = order.split_off(order.len().saturating_sub((BATCH_BYTES / longest).max(1)));
            let prefixed = batch.iter().map(|&i| format!("{PASSAGE_PREFIX}{}", texts[i])).collect();
            for (&i, vector) in batch.iter().zip(self.run(&self.queues.passages, prefixed)?) {
                vectors[i] = vector;
            }
        }
        Ok(vectors)
    }

    /// Tokens of a text as the model counts them, without its begin and end marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }

    fn run(
        &self,
        lane: &Mutex<std::collections::VecDeque<Job>>,
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>, RetrievalError> {
        let (reply, answer) = mpsc::sync_channel(1);
        {
            let mut lane = lane.lock().map_err(|_| RetrievalError::Stopped)?;
            if lane.len() >= QUEUE_MAX {
                return Err(RetrievalError::Busy);
            }
            lane.push_back(Job { texts, reply });
        }
        self.wake.as_ref().ok_or(RetrievalError::Stopped)?.send(()).map_err(|_| RetrievalError::Stopped)?;
        answer.recv().map_err(|_| RetrievalError::Stopped)?
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Queues {
    fn next(&self) -> Option<Job> {
        let first = |lane: &Mutex<std::collections::VecDeque<Job>>| lane.lock().ok()?.pop_front();
        first(&self.queries).or_else(|| first(&self.passages))
    }
}

fn embed(session: &mut TextEmbedding, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
    let failed = |reason: String| RetrievalError::Embedding(reason);
    // A panic inside the runtime costs this batch, not the thread.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.embed(texts, Some(texts.len()))))
        .map_err(|_| failed("the embedding model panicked".to_owned()))?
        .map_err(|e| failed(e.to_string()))
}

fn question_means(session: &mut TextEmbedding, dims: usize) -> Result<LanguageMeans, RetrievalError> {
    let mut vectors = Vec::new();
    for (language, questions) in QUESTIONS {
        let texts: Vec<String> = questions.iter().map(|question| format!("{QUERY_PREFIX}{question}")).collect();
        vectors.extend(embed(session, &texts)?.into_iter().map(|vector| (language, vector)));
    }
    Ok(LanguageMeans::of(dims, vectors.iter().map(|(language, vector)| (*language, &vector[..]))))
}
