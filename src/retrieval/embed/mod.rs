//! Embeddings by fastembed: of questions and of what answers are checked with on a thread of their own
//! ([`Embedder`]), so that a query never waits behind a generation; of more than a few passages of an index run by a
//! second copy of the model that gives way to everything else ([`PassageEmbedder`]).

mod int8;
mod model;
mod onnx;
mod passages;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use fastembed::TextEmbedding;
use tokenizers::Tokenizer;

use model::{Loaded, load_model};
pub(super) use model::{TOKENS_MAX, load_runtime, tokenizer_files, weights};
pub use passages::PassageEmbedder;

use super::RetrievalError;
use super::centring::{LanguageMeans, LanguageSums, QUESTIONS};
use super::model_thread::ModelThread;
use crate::domain::LanguageDetector;

/// Requests that may wait for the thread.
const QUEUE_MAX: usize = 64;
/// Of a text whose tokens cannot be counted.
const BYTES_PER_TOKEN: usize = 4;

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
    options: EmbedderOptions,
    model: EmbeddingModel,
    /// What questions have in common.
    question_means: LanguageMeans,
    /// Loaded when it is first needed: most commands only search. `None`: it cannot be.
    tokenizer: OnceLock<Option<Tokenizer>>,
    thread: ModelThread<Vec<String>, Vec<Vec<f32>>>,
}

impl Embedder {
    /// Loads the library and the model (seconds) and starts the thread.
    ///
    /// # Errors
    /// A missing or unfit library, and a model folder that is not complete, each with what to do about it.
    pub fn start(options: &EmbedderOptions) -> Result<Self, RetrievalError> {
        let environment = load_runtime(&options.runtime)?;
        let Loaded { model, mut session } = load_model(options, environment)?;
        let question_means = question_means(&mut session, model.dims)?;
        let thread = ModelThread::start("embed", QUEUE_MAX, &options.model, move |texts: Vec<String>| {
            embed(&mut session, &texts)
        })?;
        Ok(Embedder { options: options.clone(), model, question_means, tokenizer: OnceLock::new(), thread })
    }

    /// Another copy of the model, for the passages of an index run.
    ///
    /// # Errors
    /// As [`Embedder::start`], and when it is another model by now.
    pub fn for_passages(&self) -> Result<PassageEmbedder, RetrievalError> {
        let (embedder, model) = PassageEmbedder::load(&self.options)?;
        if model != self.model {
            let reason = "it was replaced while the program runs: start it again".to_owned();
            return Err(RetrievalError::Model { path: self.options.model.clone(), reason });
        }
        Ok(embedder)
    }

    pub fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    /// Whether its thread is gone, or has been at one batch for longer than any takes.
    pub fn is_stuck(&self, batch_max: Duration) -> bool {
        self.thread.is_stuck(batch_max)
    }

    /// The vector of a question: `dims` values, unit length.
    ///
    /// # Errors
    /// `Busy` when too many queries wait, `Stopped` when the thread is gone, `Embedding` from the model.
    pub fn query(&self, text: &str) -> Result<Vec<f32>, RetrievalError> {
        let vector = self.thread.ask(vec![format!("{QUERY_PREFIX}{text}")])?.pop();
        vector.ok_or_else(|| RetrievalError::Embedding("no vector".to_owned()))
    }

    /// The vector of a question without what all questions of its language share, for searching: see
    /// [`super::centring`].
    ///
    /// # Errors
    /// As [`Embedder::query`].
    pub(super) fn centred_query(&self, text: &str) -> Result<Vec<f32>, RetrievalError> {
        Ok(self.question_means.centred(&self.query(text)?, LanguageDetector.detect(text)))
    }

    /// The vectors of a few texts as passages, in their order: `dims` values each, unit length.
    ///
    /// # Errors
    /// As [`Embedder::query`].
    pub fn passages(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
        passages::in_batches(texts, |batch| self.thread.ask(batch))
    }

    /// Tokens of a text as the model counts them, without its begin and end marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        let load = || {
            let failed =
                |error: &tokenizers::Error| tracing::warn!("tokens are estimated by the length of texts: {error}");
            model::load_tokenizer(&self.options.model).inspect_err(failed).ok()
        };
        let counted = self.tokenizer.get_or_init(load).as_ref().and_then(|own| own.encode_fast(text, false).ok());
        counted.map_or(text.len().div_ceil(BYTES_PER_TOKEN), |encoding| encoding.len())
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
    let mut sums = LanguageSums::new(dims);
    for (language, questions) in QUESTIONS {
        let texts: Vec<String> = questions.iter().map(|question| format!("{QUERY_PREFIX}{question}")).collect();
        embed(session, &texts)?.into_iter().for_each(|vector| sums.add(language, vector.into_iter()));
    }
    Ok(sums.means())
}
