//! What writes the text of an answer: the engine, or what stands in its place in a test of what follows.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::inference::{ChatMessage, Engine, GenerateRequest, GenerationEvent, InferenceError};

pub trait Writer: Send + Sync {
    /// Positions that prompt and answer share.
    fn context_tokens(&self) -> usize;

    /// See [`Engine::prompt_tokens`].
    ///
    /// # Errors
    /// The conversation cannot be encoded.
    fn prompt_tokens(&self, messages: &[ChatMessage]) -> Result<usize, InferenceError>;

    /// See [`Engine::prompt_tokens_within`].
    ///
    /// # Errors
    /// The rules cannot be encoded.
    fn prompt_tokens_within(&self, rules: &str, time: Duration) -> Result<usize, InferenceError>;

    /// See [`Engine::submit`].
    ///
    /// # Errors
    /// The request cannot be taken.
    fn submit(&self, request: GenerateRequest) -> Result<mpsc::Receiver<GenerationEvent>, InferenceError>;
}

impl Writer for Engine {
    fn context_tokens(&self) -> usize {
        Engine::context_tokens(self)
    }

    fn prompt_tokens(&self, messages: &[ChatMessage]) -> Result<usize, InferenceError> {
        Engine::prompt_tokens(self, messages)
    }

    fn prompt_tokens_within(&self, rules: &str, time: Duration) -> Result<usize, InferenceError> {
        Engine::prompt_tokens_within(self, rules, time)
    }

    fn submit(&self, request: GenerateRequest) -> Result<mpsc::Receiver<GenerationEvent>, InferenceError> {
        Engine::submit(self, request)
    }
}
