//! A model that writes what a test tells it to, in the place of the engine.

use std::sync::Arc;
use std::time::Duration;

use cervella::answer::{AnswerOptions, Answerer, Writer};
use cervella::domain::Readership;
use cervella::inference::{ChatMessage, FinishReason, GenerateRequest, GenerationEvent, InferenceError};
use cervella::retrieval::Searcher;
use tokio::sync::mpsc;

/// What it writes to a conversation.
pub type Script = Box<dyn Fn(&[ChatMessage]) -> String + Send + Sync>;

pub struct ScriptedModel(pub Script);

impl Writer for ScriptedModel {
    fn context_tokens(&self) -> usize {
        8192
    }

    fn prompt_tokens(&self, messages: &[ChatMessage]) -> Result<usize, InferenceError> {
        Ok(messages.iter().map(|message| message.content.len() / 3).sum())
    }

    fn prompt_tokens_within(&self, _: &str, _: Duration) -> Result<usize, InferenceError> {
        Ok(8192)
    }

    fn submit(&self, request: GenerateRequest) -> Result<mpsc::Receiver<GenerationEvent>, InferenceError> {
        let text: Vec<char> = (self.0)(&request.messages).chars().collect();
        let (events, receiver) = mpsc::channel(text.len() + 2);
        let pieces = text.chunks(5).map(|piece| GenerationEvent::Text(piece.iter().collect()));
        let finished = GenerationEvent::Finished { reason: FinishReason::Stop, generated_tokens: 1, guessed_tokens: 0 };
        for event in pieces.chain([finished]) {
            events.try_send(event).unwrap();
        }
        Ok(receiver)
    }
}

/// Answers with a model that writes what `writes` says.
pub fn answerer(
    searcher: &Arc<Searcher>,
    writes: impl Fn(&[ChatMessage]) -> String + Send + Sync + 'static,
) -> Arc<Answerer> {
    let options = AnswerOptions {
        passages_max: 4,
        prompt_tokens_max: 2000,
        first_token_target: None,
        speculate: false,
        new_tokens_max: 96,
        deadline: Duration::from_secs(120),
        evidence_min: 0.4,
        evidence_sure: 0.4,
        contact: None,
        questions_max: 4,
    };
    let writer = Arc::new(ScriptedModel(Box::new(writes)));
    Arc::new(Answerer::new(Arc::clone(searcher), Readership::default(), Some(writer), options))
}
