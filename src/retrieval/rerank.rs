//! The first hits in the order of a cross-encoder, which reads the question and a passage together. Off unless a model is
//! set: see `docs/decisions/0019-reranking.md`.

use std::path::PathBuf;
use std::time::Duration;

use fastembed::{RerankInitOptionsUserDefined, TextRerank, UserDefinedRerankingModel};

use super::embed::{TOKENS_MAX, load_runtime, tokenizer_files, weights};
use super::generation::below_its_title;
use super::model_thread::ModelThread;
use super::{Hit, Precision, RetrievalError};

/// Questions that may wait, a second of work each; others are answered in our own order.
const QUEUE_MAX: usize = 4;
/// Passages that are read in one go; each is padded to the longest of them.
const BATCH: usize = 4;

#[derive(Clone, Debug)]
pub struct RerankerOptions {
    /// Folder with `model.onnx`, whose output is named `logits`, and the files of its tokenizer, as of an embedding model.
    pub model: PathBuf,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    pub precision: Precision,
    /// `None`: as many as the machine has cores.
    pub threads: Option<usize>,
    /// How many hits it puts in order.
    pub depth: usize,
}

/// The handle of the `rerank` thread. Dropping it stops and joins the thread.
pub struct Reranker {
    depth: usize,
    thread: ModelThread<(String, Vec<String>), Vec<f32>>,
}

impl Reranker {
    /// Loads the library and the model (seconds) and starts the thread.
    ///
    /// # Errors
    /// A missing or unfit library, and a model folder that is not complete or holds no cross-encoder.
    pub fn start(options: &RerankerOptions) -> Result<Self, RetrievalError> {
        let unfit = |reason: String| RetrievalError::Reranker { path: options.model.clone(), reason };
        let environment = load_runtime(&options.runtime)?;
        let weights = weights(&options.model, options.precision).map_err(unfit)?;
        let model = UserDefinedRerankingModel::new(weights, tokenizer_files(&options.model).map_err(unfit)?);
        let mut init = RerankInitOptionsUserDefined::new().with_environment(environment).with_max_length(TOKENS_MAX);
        if let Some(threads) = options.threads {
            init = init.with_intra_threads(threads);
        }
        let mut session = TextRerank::try_new_from_user_defined(model, init).map_err(|e| unfit(e.to_string()))?;
        // The first run allocates the arenas and shows whether it is a cross-encoder at all.
        scores(&mut session, "", &[String::new()]).map_err(|e| unfit(e.to_string()))?;
        let thread = ModelThread::start(
            "rerank",
            QUEUE_MAX,
            &options.model,
            move |(question, texts): (String, Vec<String>)| scores(&mut session, &question, &texts),
        )?;
        Ok(Reranker { depth: options.depth, thread })
    }

    pub(super) fn is_stuck(&self, time_max: Duration) -> bool {
        self.thread.is_stuck(time_max)
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Puts the first hits in the model's order. Places keep their scores: what the scores of a question look like tells
    /// whether its answer is there, and a cross-encoder's have another scale.
    ///
    /// # Errors
    /// `Busy` when too many questions wait, `Stopped` when the thread is gone, `Embedding` from the model.
    pub(super) fn reorder(&self, question: &str, hits: &mut [Hit]) -> Result<(), RetrievalError> {
        let first = hits.len().min(self.depth);
        let first = &mut hits[..first];
        let texts = first.iter().map(|hit| below_its_title(&hit.passage, hit.context.as_deref())).collect();
        let scores = self.thread.ask((question.to_owned(), texts))?;
        let places: Vec<f32> = first.iter().map(|hit| hit.score).collect();
        first.iter_mut().zip(scores).for_each(|(hit, score)| hit.explanation.cross_encoder = Some(score));
        let score = |hit: &Hit| hit.explanation.cross_encoder.unwrap_or(f32::MIN);
        first.sort_by(|a, b| score(b).total_cmp(&score(a)));
        first.iter_mut().zip(places).for_each(|(hit, score)| hit.score = score);
        Ok(())
    }
}

/// What the model says of each text, in their order; more is better.
fn scores(session: &mut TextRerank, question: &str, texts: &[String]) -> Result<Vec<f32>, RetrievalError> {
    let failed = |reason: String| RetrievalError::Embedding(reason);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // A panic inside the runtime costs this question's order, not the thread.
    let run = || session.rerank(question, &texts[..], false, Some(BATCH));
    let ranked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .map_err(|_| failed("the reranking model panicked".to_owned()))?
        .map_err(|e| failed(e.to_string()))?;
    let mut scores = vec![f32::MIN; texts.len()];
    ranked.into_iter().for_each(|result| scores[result.index] = result.score);
    Ok(scores)
}
