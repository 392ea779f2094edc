//! What writes the text of an answer: the engine, or what stands in its place in a test of what follows.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::inference::{
    AheadPassage, ChatMessage, Coming, Engine, GenerateRequest, GenerationEvent, InferenceError, PromptCosts,
};

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

    /// See [`Engine::reads_ahead`].
    fn reads_ahead(&self) -> bool {
        false
    }

    /// See [`Engine::read_ahead`].
    ///
    /// # Errors
    /// The conversation cannot be encoded.
    fn read_ahead(&self, _: &[ChatMessage], _: &[AheadPassage]) -> Result<Option<PromptCosts>, InferenceError> {
        Ok(None)
    }

    /// See [`Engine::coming`].
    fn coming(&self) -> Option<Coming> {
        None
    }

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

    fn reads_ahead(&self) -> bool {
        Engine::reads_ahead(self)
    }

    fn read_ahead(
        &self,
        messages: &[ChatMessage],
        passages: &[AheadPassage],
    ) -> Result<Option<PromptCosts>, InferenceError> {
        Engine::read_ahead(self, messages, passages)
    }

    fn coming(&self) -> Option<Coming> {
        Engine::coming(self)
    }

    fn submit(&self, request: GenerateRequest) -> Result<mpsc::Receiver<GenerationEvent>, InferenceError> {
        Engine::submit(self, request)
    }
}
