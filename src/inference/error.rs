//! Everything that can go wrong between a model file and a generated token.

use std::path::PathBuf;

use thiserror::Error;

/// Errors of the inference room. Those about the model file name it and say what to do.
#[derive(Debug, Error)]
pub enum InferenceError {
    #[error("cannot open the model file `{path}`; fetch it with `cervella models pull` or correct the path")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is not a GGUF file; fetch the model with `cervella models pull`")]
    NotGguf { path: PathBuf },
    #[error("`{path}` is GGUF version {version}, versions 2 and 3 are read; fetch a newer conversion of the model")]
    GgufVersion { path: PathBuf, version: u32 },
    #[error(
        "`{path}` ends too early ({problem}): the download was cut off, fetch it again with `cervella models pull`"
    )]
    Truncated { path: PathBuf, problem: String },
    #[error("`{path}` is damaged ({problem}); fetch it again with `cervella models pull`")]
    Damaged { path: PathBuf, problem: String },
    #[error(
        "`{path}` holds a model of architecture `{found}`, only `llama` is served; choose a Llama model with `cervella models pull`"
    )]
    Architecture { path: PathBuf, found: String },
    #[error(
        "`{path}` lacks the metadata `{key}`; fetch a complete conversion of the model with `cervella models pull`"
    )]
    MissingMetadata { path: PathBuf, key: String },
    #[error("the metadata `{key}` of `{path}` is not usable ({problem}); fetch another conversion of the model")]
    BadMetadata { path: PathBuf, key: String, problem: String },
    #[error("`{path}` lacks the tensor `{tensor}`; fetch it again with `cervella models pull`")]
    MissingTensor { path: PathBuf, tensor: String },
    #[error(
        "the tensor `{tensor}` of `{path}` has the shape {found:?} where {expected:?} is needed; fetch the model again with `cervella models pull`"
    )]
    TensorShape { path: PathBuf, tensor: String, expected: Vec<usize>, found: Vec<usize> },
    #[error(
        "the tensor `{tensor}` of `{path}` is stored as {found}, which is not supported; fetch the model in Q4_K_M with `cervella models pull`"
    )]
    TensorType { path: PathBuf, tensor: String, found: String },
    #[error("`{path}` needs something that is not supported: {what}; choose another model with `cervella models pull`")]
    Unsupported { path: PathBuf, what: String },
    #[error("the tokenizer in `{path}` is not usable ({problem}); fetch another conversion of the model")]
    Tokenizer { path: PathBuf, problem: String },
    #[error("the chat template of the model cannot be rendered")]
    Template(#[from] minijinja::Error),
    #[error("text could not be split into tokens: {0}")]
    Encode(String),
    #[error("the prompt has {prompt_tokens} tokens, the context holds {context_tokens}")]
    PromptTooLong { prompt_tokens: usize, context_tokens: usize },
    #[error("a prompt without tokens cannot be continued")]
    EmptyPrompt,
    #[error("{waiting} generations are already waiting")]
    QueueFull { waiting: usize },
    #[error("the engine is stopped")]
    Stopped,
    #[error("the generation ended in a panic; its cache was cleared and the engine goes on")]
    Panicked,
    #[error("a step that this generation shared with another one failed")]
    StepFailed,
    #[error(
        "the model `{path}` needs {needed_mb} MB of memory ({weights_mb} MB of weights, {cache_mb} MB for {slots} conversations of {context_tokens} tokens), and {available_mb} MB are free; choose a smaller model in `models.answer`, or lower `inference.context_tokens_max` or `inference.slots`"
    )]
    TooLarge {
        path: PathBuf,
        needed_mb: u64,
        weights_mb: u64,
        cache_mb: u64,
        slots: usize,
        context_tokens: usize,
        available_mb: u64,
    },
    #[error("the thread of the engine cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("{bytes} bytes of memory cannot be had")]
    Memory { bytes: u64, source: std::io::Error },
    #[error("a computation of the model failed")]
    Compute(#[source] Box<candle_core::Error>),
}

impl From<candle_core::Error> for InferenceError {
    fn from(error: candle_core::Error) -> Self {
        InferenceError::Compute(Box::new(error))
    }
}

/// Result of the inference room.
pub type Result<T, E = InferenceError> = std::result::Result<T, E>;
